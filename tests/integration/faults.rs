//! `kill -9` under load: what was acknowledged is there, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::{Peer, Server, message, scale, unique};

const WRITERS: usize = 8;
const IN_FLIGHT: usize = 16;

/// One user who writes notes, and what is known of each.
struct Writer {
    name: String,
    next: usize,
    /// Answered `ok`: the `seq`.
    acked: HashMap<String, u64>,
    /// Sent, never answered.
    unknown: Vec<String>,
}

impl Writer {
    /// Sends what is unknown again under the same `cid`, then more, until the connection breaks.
    async fn run(mut self, url: String, all_open: Arc<Barrier>) -> Self {
        let mut peer = Peer::connect(&url, &self.name).await;
        let conv = self.open(&mut peer).await;
        all_open.wait().await;
        let mut again = std::mem::take(&mut self.unknown);
        let mut waiting: HashMap<u64, String> = HashMap::new();
        for id in 1_000.. {
            let cid = again.pop().unwrap_or_else(|| {
                self.next += 1;
                format!("c{}", self.next)
            });
            let frame = json!({"id": id, "send": message(&conv, &cid, None)});
            waiting.insert(id, cid);
            let mut broken = peer.try_write(&frame.to_string()).await.is_err();
            while waiting.len() >= IN_FLIGHT || broken {
                let Some(frame) = peer.try_frame().await else {
                    broken = true;
                    break;
                };
                let Some(cid) = frame["id"].as_u64().and_then(|id| waiting.remove(&id)) else {
                    continue;
                };
                match frame["send"]["seq"].as_u64() {
                    Some(seq) => drop(self.acked.insert(cid, seq)),
                    None => self.unknown.push(cid),
                }
            }
            if broken {
                break;
            }
        }
        self.unknown.extend(waiting.into_values().chain(again));
        self
    }

    /// Sends what is unknown again; now each must be answered.
    async fn settle(&mut self, server: &Server) {
        let mut peer = server.connect(&self.name).await;
        let conv = self.open(&mut peer).await;
        for cid in self.unknown.drain(..) {
            let reply = peer.send(&conv, &cid, None).await;
            self.acked.insert(cid, reply["seq"].as_u64().unwrap());
        }
    }

    async fn open(&self, peer: &mut Peer) -> Value {
        let open = json!({"to": {"user": self.name}, "push": false});
        peer.ok("open", open).await["conv"].clone()
    }

    /// Reads everything back: what was acknowledged is where it was acknowledged, and nothing is there twice.
    async fn verify(&self, server: &Server) -> (usize, usize) {
        let mut peer = server.connect(&self.name).await;
        let conv = self.open(&mut peer).await;
        let mut found: HashMap<String, Vec<u64>> = HashMap::new();
        let mut request = json!({"conv": conv, "after_seq": 0, "limit": 200});
        let mut expected = 0;
        loop {
            let page = peer.ok("read", request.clone()).await;
            for item in page["items"].as_array().unwrap() {
                expected += 1;
                assert_eq!(item["seq"], expected, "numbers without gaps");
                found.entry(item["cid"].as_str().unwrap().to_owned()).or_default().push(expected);
            }
            let Some(next) = page.get("next") else { break };
            request["cursor"] = next.clone();
        }
        let lost = self
            .acked
            .iter()
            .filter(|(cid, seq)| !found.get(*cid).is_some_and(|seqs| seqs.contains(seq)))
            .count();
        let doubled = found.values().filter(|seqs| seqs.len() > 1).count();
        (lost, doubled)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_nothing_acknowledged_is_lost_or_doubled() {
    let kills = scale("CHATCTL_TEST_KILLS", 5);
    let seed = scale("CHATCTL_TEST_SEED", 1) as u64;
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut server = Server::start().await;
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|_| Writer {
            name: unique("writer"),
            next: 0,
            acked: HashMap::new(),
            unknown: Vec::new(),
        })
        .collect();
    let (mut settled, mut lost, mut doubled) = (0, 0, 0);
    for _ in 0..kills {
        let all_open = Arc::new(Barrier::new(WRITERS + 1));
        let running: Vec<_> = std::mem::take(&mut writers)
            .into_iter()
            .map(|writer| tokio::spawn(writer.run(server.url.clone(), Arc::clone(&all_open))))
            .collect();
        all_open.wait().await;
        tokio::time::sleep(Duration::from_millis(random.random_range(5..600))).await;
        server.kill().await;
        for writer in running {
            writers.push(writer.await.unwrap());
        }
        server.restart().await;
        for writer in &writers {
            let (missing, twice) = writer.verify(&server).await;
            lost += missing;
            doubled += twice;
        }
        settled += writers.iter().map(|writer| writer.unknown.len()).sum::<usize>();
    }
    for writer in &mut writers {
        writer.settle(&server).await;
        let (missing, twice) = writer.verify(&server).await;
        lost += missing;
        doubled += twice;
    }
    let acked: usize = writers.iter().map(|writer| writer.acked.len()).sum();
    println!(
        "seed {seed}: {kills} kills, {acked} acknowledged, {settled} retried, {lost} lost, {doubled} doubled"
    );
    assert!(acked > kills * 100, "the load was real: {acked} acknowledged");
    assert!(settled > 0, "some sends were in flight when the server died");
    assert_eq!((lost, doubled), (0, 0));
}
