//! What pages cost as a conversation grows.

use super::*;
use crate::model::Order;
use crate::persistence::RangeQuery;

/// How often each page is read.
const ROUNDS: usize = 1_500;
/// Messages on a page.
const PAGE: usize = 50;
/// The kinds of pages.
const WAYS: [&str; 3] = ["open", "newest range", "random cursor"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for minutes"]
async fn as_the_volume_grows() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let settings = ring.keyspace(BUCKET_ROWS).await;
    let writer = engine(&settings).await;
    let sizes = load::volumes_asked();
    for &size in &sizes {
        let (started, room) = (Instant::now(), room(&format!("size-{size}")));
        let mut calls = Vec::new();
        for number in 0..size {
            let (writer, room) = (Arc::clone(&writer), room.clone());
            let append =
                room.named(&ann(), &format!("{number:036}"), &content(), PAST + number * 1_000);
            let first = writer.append(append.clone());
            calls.push(async move {
                let mut outcome = first.await;
                while outcome.is_err() {
                    outcome = writer.append(append.clone()).await;
                }
            });
            if calls.len() == 2_000 {
                join_all(std::mem::take(&mut calls)).await;
            }
        }
        join_all(calls).await;
        println!("{size}: {:.0} writes/s", size as f64 / started.elapsed().as_secs_f64());
    }
    writer.close().await;
    // Another one: what it remembers is what it has read.
    let engine = engine(&settings).await;
    let mut times = vec![WAYS.map(|_| Vec::new()); sizes.len()];
    for _ in 0..ROUNDS {
        for (times, &size) in times.iter_mut().zip(&sizes) {
            let room = room(&format!("size-{size}"));
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
            let page = engine.range(page).await.unwrap();
            times[2].push(started.elapsed());
            assert_eq!((page.items.len(), page.items[0].seq), (PAGE, Seq(seq - 1)));
        }
    }
    println!("load {}; p50 / p99 in ms at {sizes:?}", machine_load());
    for (way, name) in WAYS.into_iter().enumerate() {
        let cells: Vec<[f64; 2]> = times
            .iter_mut()
            .map(|times| [percentile(&mut times[way], 0.5), percentile(&mut times[way], 0.99)])
            .collect();
        let texts: Vec<_> = cells.iter().map(|[p50, p99]| format!("{p50:.2} / {p99:.2}")).collect();
        let (least, most) = (cells[0], cells[cells.len() - 1]);
        println!(
            "{name}: {}; most ÷ least: p50 {:.2} p99 {:.2}",
            texts.join(", "),
            most[0] / least[0],
            most[1] / least[1]
        );
    }
}
