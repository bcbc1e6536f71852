//! The KAFKA bus against brokers that fail, on real brokers of our own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::brokers::{Brokers, KafkaFactory, PARTITIONS};
use super::started;
use super::subject::{Factory as _, Heard, message, place};
use crate::distribution::kafka::{KafkaDistribution, KafkaSettings, Reading};
use crate::distribution::parts::part_of;
use crate::distribution::{Distribution as _, Hint};
use crate::model::{ChannelName, ConvId, Place};

/// A broker that goes away is noticed within this, and so is its return.
const NOTICED_MAX: Duration = Duration::from_secs(5);
/// While nothing is heard, a gap is told at least this often.
const GAP_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Gaps end this long after everything is heard: hints may still be under way.
const QUIET_AFTER: Duration = Duration::from_secs(6);
/// More than the queue holds.
const MANY: u64 = 20_000;

async fn until(what: &str, limit: Duration, holds: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

/// Gaps come again and again, as long as it lasts.
async fn gaps_go_on(heard: &Heard, conv: ConvId, how_long: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < how_long {
        let before = heard.gaps_of(conv);
        until("another gap", GAP_PAUSE_MAX, || heard.gaps_of(conv) > before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_only_broker_is_killed_sends_go_on_and_gaps_are_told() {
    let Some(mut brokers) = Brokers::start(1) else { return };
    let factory = brokers.topic(PARTITIONS).await;
    let (here, own) = started(&factory).await;
    let (_there, heard) = started(&factory).await;
    let place = place();
    here.publish(message(&place, 1, "x"));
    heard.until("another node", |hints| Heard::highest(hints) == 1).await;
    brokers.nodes()[0].kill().await.unwrap();
    until("a gap", NOTICED_MAX, || heard.gaps() > 0 && own.gaps() > 0).await;
    let begun = Instant::now();
    for seq in 2..=MANY {
        here.publish(message(&place, seq, "x"));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    own.until("the own node", |hints| hints.len() as u64 == MANY).await;
    gaps_go_on(&heard, place.conv_id(), Duration::from_secs(4)).await;
    brokers.serve().await;
    // Without another message: the highest number is told when the broker is back.
    heard.until("what was not told", |hints| Heard::highest(hints) == MANY).await;
    heard.until_told(&*here, MANY + 1, NOTICED_MAX).await;
    tokio::time::sleep(QUIET_AFTER).await;
    let before = heard.gaps();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(heard.gaps(), before, "everything is heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_broker_is_noticed_and_so_is_its_return() {
    let Some(brokers) = Brokers::start(1) else { return };
    let factory = brokers.topic(PARTITIONS).await;
    let (here, _own) = started(&factory).await;
    let (_there, heard) = started(&factory).await;
    let place = place();
    brokers.nodes()[0].signal(Signal::STOP).unwrap();
    let noticed = until("a gap", NOTICED_MAX, || heard.gaps() > 0).await;
    assert!(noticed < Duration::from_secs(3), "{noticed:?}");
    here.publish(message(&place, 1, "x"));
    gaps_go_on(&heard, place.conv_id(), Duration::from_secs(5)).await;
    brokers.nodes()[0].signal(Signal::CONT).unwrap();
    heard.until_told(&*here, 2, NOTICED_MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_brokers_one_that_is_killed_concerns_some_conversations_for_seconds() {
    let Some(mut brokers) = Brokers::start(3) else { return };
    let factory = brokers.topic(6).await;
    let (here, _own) = started(&factory).await;
    let (_there, heard) = started(&factory).await;
    let places: Vec<Arc<Place>> = (0..6).map(|part| place_in(part, 6)).collect();
    for place in &places {
        here.publish(message(place, 1, "x"));
    }
    heard.until("all", |hints| hints.len() == 6).await;
    let concerned =
        |heard: &Heard| places.iter().filter(|place| heard.gaps_of(place.conv_id()) > 0).count();
    assert_eq!(concerned(&heard), 0, "nothing was away");
    brokers.nodes()[0].kill().await.unwrap();
    until("a gap", NOTICED_MAX, || concerned(&heard) > 0).await;
    let killed = Instant::now();
    // Leaders move: everything is told again without the third broker.
    for place in &places {
        let mine = |heard: &Heard| heard.numbers_of(place.conv_id()).contains(&2);
        while !mine(&heard) {
            assert!(killed.elapsed() < Duration::from_secs(15), "a conversation is not heard");
            here.publish(message(place, 2, "x"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    eprintln!("kafka: of three brokers one killed: all heard again after {:?}", killed.elapsed());
    brokers.serve().await;
    for place in &places {
        here.publish(message(place, 3, "x"));
    }
    for place in &places {
        until("the last", NOTICED_MAX, || heard.numbers_of(place.conv_id()).contains(&3)).await;
    }
}

/// Part `p` is with broker `p % 3`; the third is away for good, and with it every copy of its parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_nobody_has_keep_neither_others_nor_a_new_node_back() {
    const PARTS: u32 = 6;
    let Some(brokers) = Brokers::start(3) else { return };
    let factory = brokers.topic_in_single_copies(PARTS).await;
    let (here, _own) = started(&factory).await;
    let some = KafkaFactory { reading: Reading::Open, ..factory.clone() };
    let (there, heard) = started(&some).await;
    brokers.nodes()[2].kill().await.unwrap();
    let (gone, healthy) = (place_in(2, PARTS), place_in(1, PARTS));
    for place in [&gone, &healthy] {
        there.opened(place.conv_id());
    }
    let told = |heard: &Heard, seq| heard.numbers_of(healthy.conv_id()).contains(&seq);
    let begun = Instant::now();
    while !told(&heard, 1) {
        assert!(begun.elapsed() < 2 * NOTICED_MAX, "a healthy part waits for another one");
        here.publish(message(&healthy, 1, "x"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!(
        "kafka: beside a part that nobody has, another one is heard after {:?}",
        begun.elapsed()
    );
    gaps_go_on(&heard, gone.conv_id(), Duration::from_secs(6)).await;
    let begun = Instant::now();
    let (_new, heard) = started(&factory).await;
    eprintln!(
        "kafka: without one of three brokers and its parts a node starts in {:?}",
        begun.elapsed()
    );
    here.publish(message(&healthy, 2, "x"));
    until("a healthy part", NOTICED_MAX, || told(&heard, 2)).await;
    gaps_go_on(&heard, gone.conv_id(), Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_anew_is_taken_up() {
    let Some(brokers) = Brokers::shared(1) else { return };
    let factory = brokers.topic(PARTITIONS).await;
    let (here, _own) = started(&factory).await;
    let (_there, heard) = started(&factory).await;
    let place = place();
    for seq in 1..=100 {
        here.publish(message(&place, seq, "x"));
    }
    heard.until("another node", |hints| Heard::highest(hints) == 100).await;
    brokers.delete(&factory.topic).await;
    until("a gap", 2 * NOTICED_MAX, || heard.gaps_of(place.conv_id()) > 0).await;
    brokers.make(&factory.topic, PARTITIONS).await;
    let begun = Instant::now();
    let mut seq = 100;
    while heard.numbers().iter().all(|&number| number <= 100) {
        seq += 1;
        here.publish(message(&place, seq, "x"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "the new topic is not heard");
    }
    eprintln!("kafka: a topic made anew is heard after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_as_it_should_be_is_said_at_the_start() {
    let Some(brokers) = Brokers::shared(1) else { return };
    let factory = brokers.topic(PARTITIONS).await;
    let start = |factory: KafkaFactory| async move {
        factory.node().start(Arc::<Heard>::default()).await.unwrap_err().to_string()
    };
    let error = start(KafkaFactory { partitions: 5, ..factory.clone() }).await;
    for part in ["4 partitions", "CHATCTL_KAFKA_PARTITIONS", "set the variable to 4"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let error = start(KafkaFactory { topic: "elsewhere".into(), ..factory.clone() }).await;
    for part in ["elsewhere", "init-env", "CHATCTL_KAFKA_TOPIC"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_the_start_fails_with_a_reason() {
    let settings = KafkaSettings {
        brokers: vec!["127.0.0.1:1".to_owned()].into(),
        topic: "hints".into(),
        partitions: PARTITIONS,
        reading: Reading::All,
        node: crate::model::NodeId::generate(),
    };
    let bus = KafkaDistribution::new(settings).unwrap();
    let error = bus.start(Arc::<Heard>::default()).await.unwrap_err().to_string();
    assert!(error.contains("KAFKA_BROKERS=127.0.0.1:1"), "{error}");
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_takes_no_second_with_many_partitions() {
    let Some(brokers) = Brokers::shared(1) else { return };
    for partitions in [16, 128] {
        let factory = brokers.topic(partitions).await;
        // The second one: the first also waits for the leaders of a topic that is new.
        drop(started(&factory).await);
        let begun = Instant::now();
        let (_bus, _heard) = started(&factory).await;
        let took = begun.elapsed();
        eprintln!("kafka: a node starts with {partitions} partitions in {took:?}");
        assert!(took < Duration::from_secs(1), "{partitions}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_reads_what_is_open_hears_that_and_is_told_of_the_rest() {
    const PARTS: u32 = 8;
    let Some(brokers) = Brokers::shared(1) else { return };
    let factory = KafkaFactory { reading: Reading::Open, ..brokers.topic(PARTS).await };
    let (here, _own) = started(&factory).await;
    let (there, heard) = started(&factory).await;
    let (open, other, common) = (place_in(3, PARTS), place_in(5, PARTS), place_in(0, PARTS));
    here.publish(message(&open, 1, "x"));
    there.opened(open.conv_id());
    // What came before the position was known is found by a look at the engine.
    until("the first look", NOTICED_MAX, || heard.gaps_of(open.conv_id()) > 0).await;
    assert_eq!(heard.gaps_of(other.conv_id()), 0);
    for seq in 2..=50 {
        for place in [&open, &other, &common] {
            here.publish(message(place, seq, "x"));
        }
    }
    until("the last", NOTICED_MAX, || heard.numbers_of(open.conv_id()).contains(&50)).await;
    until("the common", NOTICED_MAX, || heard.numbers_of(common.conv_id()).contains(&50)).await;
    // The first one came before or after the position was known.
    let numbers = heard.numbers_of(open.conv_id()).into_iter().filter(|&number| number > 1);
    assert_eq!(numbers.collect::<Vec<_>>(), (2..=50).collect::<Vec<_>>());
    assert!(heard.numbers_of(other.conv_id()).is_empty(), "nobody has it open there");
    let mentioned =
        |hint: &Hint| matches!(hint, Hint::Head { conv, .. } if *conv == other.conv_id());
    heard.until("the mention", |hints| hints.iter().any(mentioned)).await;
    // Another one is taken up beside it, which is not touched.
    tokio::time::sleep(QUIET_AFTER).await;
    let gaps = heard.gaps_of(open.conv_id());
    there.opened(other.conv_id());
    until("the first look", NOTICED_MAX, || heard.gaps_of(other.conv_id()) > 0).await;
    assert_eq!(heard.gaps_of(open.conv_id()), gaps);
    for place in [&open, &other] {
        here.publish(message(place, 51, "x"));
        until("the next", NOTICED_MAX, || heard.numbers_of(place.conv_id()).contains(&51)).await;
    }
    there.closed(open.conv_id());
    here.publish(message(&open, 52, "x"));
    until("a minute more", NOTICED_MAX, || heard.numbers_of(open.conv_id()).contains(&52)).await;
}

/// Some conversation in a part.
fn place_in(part: u32, of: u32) -> Arc<Place> {
    (0..)
        .map(|number| Place::Channel(ChannelName::new(&format!("c{number}")).unwrap()))
        .find(|place| part_of(place.conv_id(), of) == part)
        .map(Arc::new)
        .unwrap()
}
