//! What pages cost as the volume grows.

use super::*;

/// Reads of pages as one conversation grows, and spread over many; one store, reads interleaved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for minutes"]
async fn as_the_volume_grows() {
    const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
    const SPREAD: (usize, u64) = (10_000, 100);
    const ROUNDS: usize = 4_000;
    let Some(server) = server(&["--appendonly", "no"]) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    for size in SIZES {
        let (before, started) = (used_memory(&server), Instant::now());
        let retries = fill(&engine, &[room(&format!("size-{size}"))], size).await;
        let (seconds, bytes) = (started.elapsed().as_secs_f64(), used_memory(&server) - before);
        println!(
            "{size}: {:.0} writes/s, {retries} sent again, {:.0} bytes a message",
            size as f64 / seconds,
            bytes as f64 / size as f64
        );
    }
    let spread: Vec<Room> = (0..SPREAD.0).map(|at| room(&format!("spread-{at}"))).collect();
    let before = used_memory(&server);
    let retries = fill(&engine, &spread, SPREAD.1).await;
    let messages = SPREAD.0 as u64 * SPREAD.1;
    println!(
        "spread: {retries} sent again, {:.0} bytes a message",
        (used_memory(&server) - before) as f64 / messages as f64
    );
    // The last column is for those that are spread.
    let mut times = [const { [const { Vec::new() }; 3] }; 5];
    for _ in 0..ROUNDS {
        for (which, times) in times.iter_mut().enumerate() {
            let (room, size) = match SIZES.get(which) {
                Some(&size) => (room(&format!("size-{size}")), size),
                None => (spread[rand::random_range(0..SPREAD.0)].clone(), SPREAD.1),
            };
            let mut page = RangeQuery { order: Order::Desc, limit: PAGE, ..room.history() };
            let started = Instant::now();
            engine.open(room.opening(&ann(), PAGE)).await.unwrap();
            times[0].push(started.elapsed());
            let started = Instant::now();
            engine.range(page.clone()).await.unwrap();
            times[1].push(started.elapsed());
            let seq = rand::random_range(PAGE as u64 + 1..=size);
            page.start = Some((PAST + (seq - 1) * 1_000, Seq(seq)));
            let started = Instant::now();
            engine.range(page).await.unwrap();
            times[2].push(started.elapsed());
        }
    }
    println!("load {}; p50 / p99 in µs at 1e3, 1e4, 1e5, 1e6, 1e4 × 100", machine_load());
    for (way, name) in ["open", "newest range", "random cursor"].into_iter().enumerate() {
        let mut at = |which: usize, share: f64| {
            let times: &mut Vec<Duration> = &mut times[which][way];
            times.sort_unstable();
            times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6
        };
        let cells: Vec<_> =
            (0..5).map(|which| format!("{:.0} / {:.0}", at(which, 0.5), at(which, 0.99))).collect();
        let (p50, p99) = (at(3, 0.5) / at(0, 0.5), at(3, 0.99) / at(0, 0.99));
        println!("{name}: {}; 1e6 ÷ 1e3: p50 {p50:.2} p99 {p99:.2}", cells.join(", "));
    }
}
