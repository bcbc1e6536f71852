//! A server that does not answer: stopped, or behind a network that swallows everything.

use super::proxy::Proxy;
use super::*;
use crate::persistence::conformance::load::{Sent, pause_asked, send_at};
use crate::services::resident_bytes;

/// A dead server is noticed within this.
const NOTICED_MAX: Duration = Duration::from_secs(5);
/// Appends in a second while the server stands still.
const RATE: u32 = 500;
/// Memory that waiting may take.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

fn load_rooms() -> Vec<Room> {
    (0..10).map(|at| room(&format!("load-{at}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "its report")]
async fn a_server_that_stands_still_gets_bounded_answers_and_memory() {
    let Some(server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(send_at(
        Arc::clone(&engine) as _,
        ann(),
        load_rooms(),
        "x".repeat(200),
        RATE,
        Arc::clone(&stop),
    ));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let resident = || resident_bytes(std::process::id()).unwrap_or_default();
    let (before, mut highest) = (resident(), 0);
    let pid = Pid::from_raw(server.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let (stopped, mut noticed) = (Instant::now(), None);
    while stopped.elapsed() < pause_asked() {
        if noticed.is_none() && engine.health().is_err() {
            noticed = Some(stopped.elapsed());
        }
        highest = highest.max(resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kill_process(pid, Signal::CONT).unwrap();
    let (paused, woken) = (stopped.elapsed(), Instant::now());
    tokio::time::sleep(HEALED_MAX * 2).await;
    stop.store(true, Ordering::Relaxed);
    let sent = load.await.unwrap();
    let slowest = sent.iter().map(|sent| sent.took).max().unwrap();
    let refused = sent.iter().filter(|sent| sent.outcome.is_err()).count();
    let definite = |sent: &&Sent| sent.outcome.as_ref().is_err_and(EngineError::is_definite);
    let definite = sent.iter().filter(definite).count();
    // From when on every append was stored.
    let last_refused = sent.iter().filter(|sent| sent.outcome.is_err()).map(|sent| sent.called);
    let healed = last_refused.max().unwrap().saturating_duration_since(woken);
    let growth = highest.saturating_sub(before);
    println!(
        "stood still for {paused:.1?} at {RATE}/s: {} appends, {refused} refused, {definite} of them for \
         certain, the slowest answer after {slowest:.2?}; noticed after {:.2?}; the last refused one called \
         {healed:.2?} after it ran again; memory {:.1} MiB more at most",
        sent.len(),
        noticed.unwrap_or_default(),
        growth as f64 / f64::from(1 << 20),
    );
    assert!(slowest < ANSWER_MAX, "{slowest:?}");
    assert!(noticed.is_some_and(|noticed| noticed < NOTICED_MAX), "{noticed:?}");
    assert!(healed < HEALED_MAX, "{healed:?}");
    assert!(definite > refused / 2, "what was never sent is refused for certain: {definite}");
    // Other tests of this process have memory, too.
    assert!(growth < 2 * GROWTH_BYTES_MAX, "{growth} bytes");
    let shared: Arc<dyn Persistence> = engine.clone();
    for at in 0..10 {
        let all = everything(&shared, room(&format!("load-{at}")).conv).await;
        let mut cids: Vec<_> = all.iter().map(|message| &message.cid).collect();
        cids.sort();
        cids.dedup();
        assert_eq!(cids.len(), all.len(), "nothing is there twice");
        assert!(all.iter().zip(1..).all(|(message, seq)| message.seq == Seq(seq)), "no hole");
    }
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "its report")]
async fn a_network_that_swallows_everything_is_noticed() {
    let Some(server) = server(&DISK) else { return };
    let proxy = Proxy::start(server.port()).await;
    let engine =
        engine(&RedisSettings { server: proxy.url().into(), ..fresh_settings(&server) }).await;
    let room = room("swallowed");
    append(&engine, &room).await.unwrap();
    proxy.set_blocked(true);
    let blocked = Instant::now();
    let mut calls = Vec::new();
    let mut noticed = None;
    while blocked.elapsed() < NOTICED_MAX {
        if noticed.is_none() && engine.health().is_err() {
            noticed = Some(blocked.elapsed());
        }
        let (engine, message, history) =
            (Arc::clone(&engine), room.message(&ann(), PAST), room.history());
        calls.push(tokio::spawn(async move {
            let started = Instant::now();
            let _ = tokio::join!(engine.append(message), engine.range(history));
            started.elapsed()
        }));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    proxy.set_blocked(false);
    let opened = Instant::now();
    healed(&engine, &room).await;
    println!("noticed after {noticed:.2?}, healed after {:.2?}", opened.elapsed());
    assert!(noticed.is_some(), "noticed in time");
    for call in calls {
        let took = call.await.unwrap();
        assert!(took < ANSWER_MAX, "{took:?}");
    }
    assert!(engine.range(room.history()).await.is_ok(), "reads work as well");
    engine.close().await;
}
