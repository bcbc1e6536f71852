//! Pages a second.

use super::*;
use crate::model::INTEGER_MAX;

/// Pages a second beside `redis-benchmark` with the same script.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for half a minute"]
async fn beside_the_benchmark() {
    let Some(server) = server(&["--appendonly", "no"]) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    let room = room("reads");
    fill(&engine, std::slice::from_ref(&room), 100_000).await;
    for limit in [10, PAGE] {
        let life = engine.life().expect("known");
        let mut cmd = engine.keys.call(&engine.scripts.range, room.conv, &life);
        cmd.arg(0).arg(INTEGER_MAX).arg("desc").arg(limit).arg("").arg("");
        let before = benchmark(&server, &cmd, 50_000);
        let (shared, query) =
            (Arc::clone(&engine), RangeQuery { order: Order::Desc, limit, ..room.history() });
        let rate = rate(move |_, _| {
            let (engine, query) = (Arc::clone(&shared), query.clone());
            async move { assert_eq!(engine.range(query).await.unwrap().items.len(), limit) }
        });
        let rate = rate.await;
        let base = f64::midpoint(before, benchmark(&server, &cmd, 50_000));
        println!(
            "pages of {limit}: {rate:.0}/s ÷ {base:.0}/s = {:.2}; load {}",
            rate / base,
            machine_load()
        );
    }
}
