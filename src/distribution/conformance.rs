//! The conformance suite: the contract of [`Distribution`] in cases whose names read as its
//! sentences. Another bus is one more line at the end.

mod brokers;
mod faults;
mod kafka_faults;
mod kafka_figures;
mod subject;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::brokers::KafkaFactory;
use self::subject::{ClusterFactory, Factory, Heard, LocalFactory, RedisFactory, message, place};
use super::{Distribution, Hint};
use crate::model::{AckSet, Epoch, Revocation, Revoked, Seq, SessionId, UserName};

/// One of each kind, with everything that a hint can carry.
fn one_of_each() -> Vec<Hint> {
    let place = place();
    let conv = place.conv_id();
    let user = UserName::new("ann").unwrap();
    let acked = AckSet { up_to: Seq(3), ranges: vec![(Seq(5), Seq(7)), (Seq(9), Seq(10))] };
    vec![
        message(&place, 7, "\" \\ \n \u{0} é 🦀"),
        Hint::Head { conv, place: Arc::clone(&place), epoch: Epoch::generate(), head: Seq(8) },
        Hint::Acked { conv, user: user.clone(), acked, session: SessionId::generate() },
        Hint::Presence { user: user.clone(), online: true, version: 0 },
        Hint::Presence { user: user.clone(), online: false, version: u64::MAX },
        Hint::Became { conv, place, user: user.clone(), head: Seq(8) },
        Hint::Revoked(Revocation { revoked: Revoked::User(user), at: 8, until: 9 }),
        Hint::Doubt,
    ]
}

async fn every_kind_of_hint_arrives_as_it_was_published(factory: impl Factory) {
    let (here, heard) = started(&factory).await;
    let elsewhere = if factory.has_many_nodes() { Some(started(&factory).await) } else { None };
    for hint in one_of_each() {
        here.publish(hint.clone());
        heard.until("the own node", |hints| hints.contains(&hint)).await;
        if let Some((_, heard)) = &elsewhere {
            heard.until("another node", |hints| hints.contains(&hint)).await;
        }
    }
}

async fn the_own_node_hears_each_hint_once_and_so_do_others(factory: impl Factory) {
    let (here, heard) = started(&factory).await;
    let elsewhere = if factory.has_many_nodes() { Some(started(&factory).await) } else { None };
    let place = place();
    for seq in 1..=500 {
        here.publish(message(&place, seq, "x"));
    }
    let is_all = |hints: &[Hint]| hints.len() >= 500;
    heard.until("the own node", is_all).await;
    if let Some((bus, elsewhere)) = &elsewhere {
        elsewhere.until("another node", is_all).await;
        // What comes back to its sender comes before what is sent after it.
        bus.publish(message(&place, 501, "x"));
        heard.until("the answer", |hints| hints.len() > 500).await;
        assert_eq!(elsewhere.numbers(), (1..=501).collect::<Vec<_>>());
    }
    let numbers = heard.numbers();
    let distinct: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), distinct.len(), "each once: {numbers:?}");
    assert_eq!(heard.gaps(), 0, "nothing was away");
}

async fn what_many_publish_at_once_all_arrives(factory: impl Factory) {
    let (here, heard) = started(&factory).await;
    let elsewhere = if factory.has_many_nodes() { Some(started(&factory).await) } else { None };
    let mut senders = Vec::new();
    for sender in 0..4_u64 {
        let (bus, place) = (Arc::clone(&here), place());
        senders.push(tokio::spawn(async move {
            for number in 1..=200 {
                bus.publish(message(&place, sender * 200 + number, "x"));
                tokio::task::yield_now().await;
            }
        }));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    for heard in [Some(&heard), elsewhere.as_ref().map(|(_, heard)| heard)].into_iter().flatten() {
        heard.until("all", |hints| hints.len() >= 800).await;
        let numbers: BTreeSet<_> = heard.numbers().into_iter().collect();
        assert_eq!(numbers, (1..=800).collect());
    }
}

async fn a_closed_bus_still_told_what_was_published(factory: impl Factory) {
    let (here, heard) = started(&factory).await;
    let elsewhere = if factory.has_many_nodes() { Some(started(&factory).await) } else { None };
    let place = place();
    for seq in 1..=100 {
        here.publish(message(&place, seq, "x"));
    }
    here.close().await;
    here.publish(message(&place, 101, "no harm"));
    heard.until("the own node", |hints| hints.len() >= 100).await;
    if let Some((_, heard)) = &elsewhere {
        heard.until("another node", |hints| hints.len() >= 100).await;
    }
}

async fn started(factory: &impl Factory) -> (Arc<dyn Distribution>, Arc<Heard>) {
    let (bus, heard) = (factory.node(), Arc::<Heard>::default());
    bus.start(heard.clone()).await.unwrap();
    (bus, heard)
}

/// The whole suite against one factory.
macro_rules! conformance_suite {
    ($bus:ident, $factory:expr; $($case:ident)+) => {
        mod $bus {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(factory) = $factory else { return };
                super::$case(factory).await;
            })+
        }
    };
    ($bus:ident, $factory:expr) => {
        conformance_suite! { $bus, $factory;
            every_kind_of_hint_arrives_as_it_was_published
            the_own_node_hears_each_hint_once_and_so_do_others
            what_many_publish_at_once_all_arrives
            a_closed_bus_still_told_what_was_published
        }
    };
}

conformance_suite!(local, Some(LocalFactory));
conformance_suite!(redis_server, RedisFactory::redis());
conformance_suite!(valkey_server, RedisFactory::valkey());
conformance_suite!(redis_three_primaries, ClusterFactory::find());
conformance_suite!(kafka_one_broker, KafkaFactory::shared(1));
conformance_suite!(kafka_three_brokers, KafkaFactory::shared(3));
