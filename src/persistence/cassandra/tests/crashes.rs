//! A server that ends for good in the middle of an append or of sealing a bucket, while others write to the same conversation.

use super::super::crash::Point;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_server_ends_nothing_is_lost_doubled_or_left_open() {
    let Some(ring) = Ring::start(1, CommitlogSync::Periodic) else { return };
    let settings = ring.keyspace(ROWS).await;
    let points = [
        Point::BeforeAppend,
        Point::AfterAppend,
        Point::BeforeSeal,
        Point::AfterNames,
        Point::AfterSeal,
        Point::AfterFirstRow,
    ];
    for point in points {
        let name = format!("crash-{point:?}").to_lowercase();
        let engines = [engine(&settings).await, engine(&settings).await];
        let victim = engine(&settings).await;
        victim.store.crash.arm(point);
        let senders = Senders::start(&engines, 6, &name, 1);
        let room = room(&format!("{name}-0"));
        // Its first that reaches the point never comes back.
        let begun: Vec<_> = (0..200)
            .map(|number| {
                let cid = format!("victim-{number}");
                (cid.clone(), tokio::spawn(victim.append(room.named(&ann(), &cid, &cid, PAST))))
            })
            .collect();
        let reached = tokio::time::timeout(Duration::from_secs(20), victim.store.crash.reached());
        reached.await.unwrap_or_else(|_| panic!("{point:?} is never reached"));
        senders.more(100, Duration::from_secs(30)).await;
        let told: Vec<bool> = begun.iter().map(|(_, task)| task.is_finished()).collect();
        for (_, task) in &begun {
            task.abort();
        }
        drop(victim);
        // Whoever was not told sends it again elsewhere.
        let mut seqs = HashMap::new();
        for ((cid, _), _) in begun.iter().zip(&told).filter(|(_, told)| !**told) {
            seqs.insert(cid.clone(), insist(&engines[0], &room, cid, cid).await);
        }
        assert!(!seqs.is_empty(), "{point:?}: somebody was not told");
        senders.stop.store(true, Ordering::Relaxed);
        let shared: Arc<dyn Persistence> = Arc::clone(&engines[1]) as _;
        let mut acked = HashMap::new();
        for task in senders.tasks {
            acked.extend(task.await.expect("it ends"));
        }
        acked.extend(seqs);
        let all = everything(&shared, room.conv).await;
        let found: HashMap<String, u64> =
            all.iter().map(|message| (message.cid.to_string(), message.seq.0)).collect();
        assert_eq!(found.len(), all.len(), "{point:?}: nothing is there twice");
        assert!(all.iter().zip(1..).all(|(message, seq)| message.seq == Seq(seq)), "{point:?}");
        for (cid, seq) in &acked {
            assert_eq!(found.get(cid), Some(seq), "{point:?}: {cid}");
        }
        // Every name is known in every bucket, to a server that knows nothing yet.
        let fresh = engine(&settings).await;
        for message in &all {
            let cid = message.cid.as_str();
            let outcome = fresh.append(room.named(&ann(), cid, cid, None)).await.unwrap();
            let AppendOutcome::Stored(again) = outcome else { panic!("{point:?}: {outcome:?}") };
            assert!(again.dup && again.message.seq == message.seq, "{point:?}: {again:?}");
        }
        for engine in [&engines[0], &engines[1], &fresh] {
            engine.close().await;
        }
    }
}
