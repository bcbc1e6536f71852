//! How even latencies are over minutes in which the node flushes and compacts.

use super::bare::Bare;
use super::*;
use crate::cassandra_link;

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(130);
/// Messages a second.
const RATE: f64 = 200.0;
/// The node flushes its tables this often.
const FLUSH_MS: u32 = 30_000;

/// p99 of each second, ms.
fn windows(calls: &[(Duration, Duration)]) -> Vec<f64> {
    let mut windows = vec![Vec::new(); WATCHED.as_secs() as usize];
    for (due, took) in calls {
        windows[due.as_secs() as usize].push(*took);
    }
    windows.iter_mut().map(|times| percentile(times, 0.99)).collect()
}

fn report(name: &str, windows: &[f64]) -> (usize, f64) {
    let mut sorted = windows.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let (worst, highest) =
        windows.iter().copied().enumerate().max_by(|one, other| one.1.total_cmp(&other.1)).unwrap();
    println!(
        "{name}: median window p99 {median:.1} ms, worst {highest:.1} ms in second {worst}: {:.1}",
        highest / median
    );
    (worst, highest / median)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for five minutes"]
async fn with_forced_flushes() {
    let Some(ring) = Ring::start(nodes_asked(), CommitlogSync::Batch) else { return };
    let settings = ring.keyspace(BUCKET_ROWS).await;
    let engine = engine(&settings).await;
    let bare = Bare::new(&settings, CONCURRENCY, "bare").await;
    let session =
        cassandra_link::connect(&settings.cluster, cassandra_link::profile()).await.unwrap();
    for table in ["messages", "names"] {
        let text = format!(
            "ALTER TABLE {}.{table} WITH memtable_flush_period_in_ms = {FLUSH_MS}",
            settings.keyspace
        );
        session.query_unpaged(text, ()).await.unwrap();
    }
    let write = |number: u64| {
        let room = room(&format!("wobble-{}", number as usize % CONCURRENCY));
        let call = engine.append(room.named(&ann(), &format!("{number}"), &content(), PAST));
        async move { assert!(stored(call.await).is_ok()) }
    };
    // The node's code is compiled as it is used.
    at_rate(RATE, Duration::from_secs(20), |number| bare.conditional(number as usize)).await;
    let calls = at_rate(RATE, WATCHED, |number| bare.conditional(number as usize)).await;
    report("bare loop", &windows(&calls));
    let begun = std::time::SystemTime::now();
    let calls = at_rate(RATE, WATCHED, write).await;
    let (worst, _) = report("engine", &windows(&calls));
    // What the node says of that second, and of the one before and after.
    let at = begun.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + worst as u64;
    for node in ring.nodes() {
        let log = std::fs::read_to_string(node.folder().join("out.log")).unwrap_or_default();
        let clock = |second: u64| {
            let day = second % 86_400;
            format!("{:02}:{:02}:{:02}", day / 3_600, day / 60 % 60, day % 60)
        };
        for second in at - 1..=at + 1 {
            let of = log.lines().filter(|line| line.contains(&clock(second)));
            of.for_each(|line| println!("  {}: {line}", node.address()));
        }
    }
    println!("load {}", machine_load());
}
