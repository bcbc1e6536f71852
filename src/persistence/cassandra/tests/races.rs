//! Several servers that write to one conversation at once.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "its report")]
async fn three_servers_that_race_make_one_order() {
    const SENDERS: usize = 64;
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let settings = ring.keyspace(ROWS).await;
    let engines = [engine(&settings).await, engine(&settings).await, engine(&settings).await];
    let senders = Senders::start(&engines, SENDERS, "race", 1);
    let started = Instant::now();
    senders.more(2_000, Duration::from_secs(60)).await;
    let took = started.elapsed();
    let shared: Arc<dyn Persistence> = Arc::clone(&engines[2]) as _;
    let count = senders.judge(&shared, "race", 1).await;
    println!(
        "3 servers, {SENDERS} senders, one conversation: {count} messages, the first 2000 in {took:.1?}"
    );
    // The same from every server.
    for engine in &engines[..2] {
        let other: Arc<dyn Persistence> = Arc::clone(engine) as _;
        assert_eq!(everything(&other, room("race-0").conv).await.len(), count);
    }
}
