//! A node that does not answer: stopped for a while, alone or as one of three.

use super::*;
use crate::persistence::conformance::load::{Sent, pause_asked, send_at};
use rustix::process::{Pid, Signal, kill_process};

/// A dead node is noticed within this.
const NOTICED_MAX: Duration = Duration::from_secs(5);
/// Appends in a second while the node stands still.
const RATE: u32 = 100;

fn load_rooms() -> Vec<Room> {
    (0..10).map(|at| room(&format!("load-{at}"))).collect()
}

#[expect(clippy::print_stdout, reason = "its report")]
async fn pause(nodes: u8) {
    let Some(ring) = Ring::start(nodes, CommitlogSync::Batch) else { return };
    let settings = ring.keyspace(ROWS).await;
    let first = engine(&settings).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(send_at(
        Arc::clone(&first) as _,
        ann(),
        load_rooms(),
        "x".to_owned(),
        RATE,
        Arc::clone(&stop),
    ));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let pid = ring.nodes()[usize::from(nodes) - 1].running().expect("it runs");
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let (stopped, mut noticed) = (Instant::now(), None);
    while stopped.elapsed() < pause_asked() {
        if noticed.is_none() && first.health().is_err() {
            noticed = Some(stopped.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kill_process(pid, Signal::CONT).unwrap();
    let (paused, woken) = (stopped.elapsed(), Instant::now());
    tokio::time::sleep(HEALED_MAX * 2).await;
    stop.store(true, Ordering::Relaxed);
    let sent = load.await.unwrap();
    let slowest = sent.iter().map(|sent| sent.took).max().unwrap();
    let refused: Vec<&Sent> = sent.iter().filter(|sent| sent.outcome.is_err()).collect();
    let definite = |sent: &&&Sent| sent.outcome.as_ref().is_err_and(EngineError::is_definite);
    let definite = refused.iter().filter(definite).count();
    let last = refused.iter().map(|sent| sent.called).max();
    let last_after = last.map(|last| last.saturating_duration_since(stopped));
    let healed = last.map(|last| last.saturating_duration_since(woken)).unwrap_or_default();
    println!(
        "{nodes} nodes, one stood still for {paused:.1?} at {RATE}/s: {} appends, {} refused, {definite} of them for \
         certain, the slowest answer after {slowest:.2?}; unhealthy after {noticed:.2?}; the last refused one was called \
         {last_after:.2?} after it stopped, {healed:.2?} after it ran again",
        sent.len(),
        refused.len(),
    );
    assert!(slowest < ANSWER_MAX, "{slowest:?}");
    assert!(healed < HEALED_MAX, "{healed:?}");
    if nodes == 1 {
        assert!(noticed.is_some_and(|noticed| noticed < NOTICED_MAX), "{noticed:?}");
    } else {
        assert!(last_after.unwrap_or_default() < NOTICED_MAX, "two of three are enough");
    }
    let shared: Arc<dyn Persistence> = first.clone();
    for at in 0..10 {
        let all = everything(&shared, room(&format!("load-{at}")).conv).await;
        let mut cids: Vec<_> = all.iter().map(|message| message.cid.as_str()).collect();
        cids.sort_unstable();
        cids.dedup();
        assert_eq!(cids.len(), all.len(), "nothing is there twice");
        assert!(all.iter().zip(1..).all(|(message, seq)| message.seq == Seq(seq)), "no hole");
        let acked = sent.iter().filter_map(|sent| match &sent.outcome {
            Ok(AppendOutcome::Stored(stored)) => Some(&stored.message),
            _ => None,
        });
        for message in
            acked.filter(|message| message.cid.as_str().parse::<usize>().unwrap() % 10 == at)
        {
            assert!(all.contains(message), "{message:?} was acknowledged");
        }
    }
    first.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_node_that_stands_still_gets_bounded_answers() {
    pause(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes take a minute; `make soak`"]
async fn one_of_three_nodes_that_stands_still_is_done_without() {
    pause(3).await;
}
