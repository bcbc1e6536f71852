//! Acknowledged writes a second, beside a bare loop with the same statements.

use super::bare::Bare;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for a minute"]
async fn beside_a_bare_loop() {
    for sync in [CommitlogSync::Periodic, CommitlogSync::Batch] {
        let Some(ring) = Ring::start(nodes_asked(), sync) else { return };
        let settings = ring.keyspace(BUCKET_ROWS).await;
        let engine = engine(&settings).await;
        let write = |name: &'static str, rooms: usize| {
            let engine = Arc::clone(&engine);
            move |worker: usize, number: u64| {
                let cid = format!("{worker:04}{number:032}");
                let room = room(&format!("{name}-{}", worker % rooms));
                let call = engine.append(room.named(&ann(), &cid, &content(), PAST + number));
                async move { assert!(stored(call.await).is_ok()) }
            }
        };
        // The node's code is compiled as it is used.
        rate(CONCURRENCY, write("warm", CONCURRENCY)).await;
        let one = Bare::new(&settings, 1, "one").await;
        let bare_one = rate(1, move |_, _| one.conditional(0)).await;
        let group = rate(CONCURRENCY, write("group", 1)).await;
        println!(
            "{sync:?}, {} nodes: {CONCURRENCY} senders in one conversation {group:.0}/s ÷ one bare client \
             {bare_one:.0}/s = {:.1}",
            nodes_asked(),
            group / bare_one
        );
        let many = Bare::new(&settings, CONCURRENCY, "many").await;
        let before = {
            let many = many.clone();
            rate(CONCURRENCY, move |worker, _| many.conditional(worker)).await
        };
        let link = engine.store.calls.now().expect("it runs");
        let (sent, conditions) = (link.sent(), link.conditions());
        let spread = rate(CONCURRENCY, write("spread", CONCURRENCY)).await;
        let acked = spread * MEASURED.as_secs_f64();
        let (sent, conditions) = (link.sent() - sent, link.conditions() - conditions);
        let after = rate(CONCURRENCY, move |worker, _| many.conditional(worker)).await;
        let bare_many = f64::midpoint(before, after);
        println!(
            "{sync:?}, {} nodes: {CONCURRENCY} conversations, one in flight each {spread:.0}/s ÷ bare loop \
             {bare_many:.0}/s = {:.2}; a message: {:.2} conditional batches, {:.2} requests in all; load {}",
            nodes_asked(),
            spread / bare_many,
            conditions as f64 / acked,
            sent as f64 / acked,
            machine_load()
        );
        engine.close().await;
    }
}
