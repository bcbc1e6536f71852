//! Latency at a fixed rate, beside a bare loop with the same statements, and beside inserts without any condition; interleaved.

use super::bare::Bare;
use super::*;

/// How long each stretch is.
const STRETCH: Duration = Duration::from_secs(8);
/// How often bare, engine, engine, bare.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for minutes"]
async fn at_half_load() {
    let Some(ring) = Ring::start(nodes_asked(), CommitlogSync::Batch) else { return };
    let settings = ring.keyspace(BUCKET_ROWS).await;
    let engine = engine(&settings).await;
    let bare = Bare::new(&settings, CONCURRENCY, "bare").await;
    let plain = Bare::new(&settings, CONCURRENCY, "plain").await;
    let write = |name: &str, number: u64| {
        let room = room(&format!("pairs-{}", number as usize % CONCURRENCY));
        let call = engine.append(room.named(&ann(), &format!("{name}-{number}"), &content(), PAST));
        async move { assert!(stored(call.await).is_ok()) }
    };
    let most = {
        let bare = bare.clone();
        rate(CONCURRENCY, move |worker, _| bare.conditional(worker)).await
    };
    let half = most / 2.0;
    println!("most of the bare loop {most:.0}/s; at {half:.0}/s, ms:");
    at_rate(half, STRETCH, |number| write("warm", number)).await;
    let (mut of_bare, mut of_engine, mut of_plain) = (Vec::new(), Vec::new(), Vec::new());
    let times = |calls: Vec<(Duration, Duration)>| calls.into_iter().map(|(_, took)| took);
    for round in 0..ROUNDS {
        let conditional = |number: u64| bare.conditional(number as usize);
        let mut pair: [Vec<Duration>; 2] = Default::default();
        for (at, which) in [0, 1, 1, 0].into_iter().enumerate() {
            let name = format!("{round}-{at}");
            if which == 0 {
                pair[0].extend(times(at_rate(half, STRETCH, conditional).await));
            } else {
                pair[1].extend(times(at_rate(half, STRETCH, |number| write(&name, number)).await));
            }
        }
        let calls = at_rate(half, STRETCH, |number| plain.plain(number as usize)).await;
        of_plain.extend(times(calls));
        let [mut one, mut other] = pair;
        println!(
            "round {round}: bare p50 {:.2} p99 {:.2}, engine p50 {:.2} p99 {:.2}",
            percentile(&mut one, 0.5),
            percentile(&mut one, 0.99),
            percentile(&mut other, 0.5),
            percentile(&mut other, 0.99)
        );
        of_bare.extend(one);
        of_engine.extend(other);
    }
    let at = |times: &mut [Duration]| [percentile(times, 0.5), percentile(times, 0.99)];
    let (bare, engine, plain) = (at(&mut of_bare), at(&mut of_engine), at(&mut of_plain));
    println!(
        "{} nodes, batch: engine {:.2} / {:.2}, bare {:.2} / {:.2}, plain inserts {:.2} / {:.2}; engine ÷ bare p50 {:.2} p99 \
         {:.2}; engine ÷ plain p50 {:.2} p99 {:.2}; load {}",
        nodes_asked(),
        engine[0],
        engine[1],
        bare[0],
        bare[1],
        plain[0],
        plain[1],
        engine[0] / bare[0],
        engine[1] / bare[1],
        engine[0] / plain[0],
        engine[1] / plain[1],
        machine_load()
    );
}
