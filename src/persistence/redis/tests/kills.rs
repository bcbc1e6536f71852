//! A server that is killed under load, again and again.

use super::*;
use crate::persistence::conformance::load::asked;
use crate::persistence::conformance::subject::epoch_of;

/// How often the server is killed where nobody asks for more.
const KILLS: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_loses_and_doubles_nothing() {
    let Some(mut server) = server(&DISK) else { return };
    let engine = engine(&fresh_settings(&server)).await;
    assert_eq!(engine.durability(), Durability::DISK);
    let epoch = epoch_of(&*engine);
    let stop = Arc::new(AtomicBool::new(false));
    let stored = Arc::new(AtomicU64::new(0));
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let (engine, stop, stored) =
                (Arc::clone(&engine), Arc::clone(&stop), Arc::clone(&stored));
            tokio::spawn(async move {
                let room = room(&format!("kills-{}", sender % 2));
                let mut acked: HashMap<String, u64> = HashMap::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let cid = format!("{sender}-{number}");
                    // Sent again under the same name until it is known to be stored.
                    let seq = loop {
                        let started = Instant::now();
                        let outcome = engine.append(room.named(&ann(), &cid, &cid, PAST)).await;
                        assert!(started.elapsed() < ANSWER_MAX);
                        match outcome {
                            Ok(AppendOutcome::Stored(stored)) => break stored.message.seq.0,
                            Ok(other) => panic!("{other:?}"),
                            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                        }
                    };
                    stored.fetch_add(1, Ordering::Relaxed);
                    acked.insert(cid, seq);
                }
                (sender % 2, acked)
            })
        })
        .collect();
    for _ in 0..asked("CHATCTL_TEST_KILLS", KILLS) {
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.restart();
        server.wait();
        let (before, healed) = (stored.load(Ordering::Relaxed), Instant::now());
        while stored.load(Ordering::Relaxed) < before + 50 {
            assert!(healed.elapsed() < HEALED_MAX, "not at work again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let shared: Arc<dyn Persistence> = engine.clone();
    let mut messages = Vec::new();
    for name in ["kills-0", "kills-1"] {
        let all = everything(&shared, room(name).conv).await;
        assert!(all.iter().zip(1..).all(|(message, seq)| message.seq == Seq(seq)), "no hole");
        messages.push(all);
    }
    for sender in join_all(senders).await {
        let (which, acked) = sender.expect("a sender");
        let all = everything(&shared, room(&format!("kills-{which}")).conv).await;
        for (cid, seq) in acked {
            let found: Vec<_> = all.iter().filter(|message| message.cid.as_str() == cid).collect();
            assert_eq!(found.len(), 1, "{cid} is there once");
            assert_eq!(found[0].seq, Seq(seq));
        }
    }
    assert_eq!(epoch_of(&*engine), epoch, "nothing was lost");
    assert!(engine.lost_data().is_none());
    engine.close().await;
}
