//! What the KAFKA bus costs beside a bare program on the same brokers.
#![expect(clippy::print_stdout, reason = "its only purpose")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::brokers::{Brokers, KafkaFactory, PARTITIONS};
use super::subject::{Factory as _, message, place};
use crate::distribution::{Concerned, Hint, HintSink};

/// Hints of each kind; they alternate.
const ROUNDS: u64 = 6_000;
/// Between two.
const PACE: Duration = Duration::from_micros(2_500);
/// Not measured: the brokers' code is compiled as it is used.
const WARM_UP: u64 = 1_000;

/// Passes on the number of each message that is heard.
struct Numbers(mpsc::Sender<u64>);

impl HintSink for Numbers {
    fn deliver(&self, hint: Hint) {
        if let Hint::Message(hint) = hint {
            let _ = self.0.send(hint.message.seq.0);
        }
    }

    fn gap(&self, _: Concerned) {}
}

/// A producer and a consumer with the same durability: nothing of ours between.
struct Bare {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    heard: mpsc::Receiver<u64>,
}

impl Bare {
    fn new(factory: &KafkaFactory) -> Self {
        let servers = factory.brokers.join(",");
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &servers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("socket.nagle.disable", "true")
            .create()
            .unwrap();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &servers)
            .set("group.id", "bare")
            .set("enable.auto.commit", "false")
            .set("fetch.queue.backoff.ms", "1")
            .set("socket.nagle.disable", "true")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for part in 0..i32::try_from(factory.partitions).unwrap() {
            list.add_partition_offset(&factory.topic, part, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (told, heard) = mpsc::channel();
        std::thread::spawn(move || {
            loop {
                let Some(polled) = consumer.poll(Duration::from_millis(100)) else { continue };
                let Ok(record) = polled else { continue };
                let number = std::str::from_utf8(&record.payload().unwrap()[..8]).unwrap();
                if told.send(number.parse().unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { producer, topic: factory.topic.clone(), heard }
    }

    fn tell(&self, number: u64, bytes: usize) {
        let payload = format!("{number:08}{}", "x".repeat(bytes - 8));
        let record = BaseRecord::to(&self.topic).key("k").payload(&payload).partition(1);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }
}

fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}

fn until(heard: &mpsc::Receiver<u64>, number: u64) {
    while heard.recv_timeout(Duration::from_secs(10)).expect("it is heard") != number {}
}

async fn beside_a_bare_program(count: u8) {
    let Some(brokers) = Brokers::shared(count) else { return };
    let factory = brokers.topic(PARTITIONS).await;
    let bare = Bare::new(&brokers.topic(PARTITIONS).await);
    let (here, there) = (factory.node(), factory.node());
    let (nobody, _unheard) = mpsc::channel();
    here.start(std::sync::Arc::new(Numbers(nobody))).await.unwrap();
    let (told, heard) = mpsc::channel();
    there.start(std::sync::Arc::new(Numbers(told))).await.unwrap();
    let (place, content) = (place(), "x".repeat(200));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let measure = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        for number in 1..=WARM_UP + ROUNDS {
            for is_ours in [number % 2 == 0, number % 2 != 0] {
                let sent = Instant::now();
                let took = if is_ours {
                    here.publish(message(&place, number, &content));
                    until(&heard, number);
                    sent.elapsed()
                } else {
                    bare.tell(number, 500);
                    until(&bare.heard, number);
                    sent.elapsed()
                };
                if number > WARM_UP {
                    if is_ours {
                        ours.push(took)
                    } else {
                        theirs.push(took)
                    };
                }
            }
            let next = begun + PACE * u32::try_from(number).unwrap();
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        (ours, theirs)
    });
    let (mut ours, mut theirs) = measure.await.unwrap();
    let [p50, p99] = [0.5, 0.99].map(|share| percentile(&mut ours, share));
    let [bare50, bare99] = [0.5, 0.99].map(|share| percentile(&mut theirs, share));
    println!(
        "{count} brokers: node to node p50 / p99 {p50:.2} / {p99:.2} ms, a bare program {bare50:.2} / {bare99:.2} ms: {:.2} / {:.2}",
        p50 / bare50,
        p99 / bare99
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for half a minute"]
async fn hints_between_nodes_on_one_broker() {
    beside_a_bare_program(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for half a minute"]
async fn hints_between_nodes_on_three_brokers() {
    beside_a_bare_program(3).await;
}
