//! The conformance suite: the contract of [`Registry`] in cases whose names read as its sentences.
//! Another registry is one more line at the end.

mod faults;
mod subject;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use self::subject::{
    ClusterFactory, Factory, Heard, LEASE, LocalFactory, NOTICED_MAX, Node, RedisFactory, user,
};
use crate::model::SessionId;

/// Tells of a node with another's sessions: more than one sweep takes out.
const MANY: usize = 450;

async fn the_first_session_comes_and_the_last_goes(factory: impl Factory) {
    let node = factory.node("one").await;
    let ann = user("ann");
    let (first, second) = (SessionId::generate(), SessionId::generate());
    assert!(!node.registry.online(&ann).await);
    node.registry.connect(&ann, &first).await;
    assert!(node.registry.online(&ann).await);
    node.registry.connect(&ann, &second).await;
    node.registry.disconnect(&ann, &first).await;
    assert!(node.registry.online(&ann).await);
    node.registry.disconnect(&ann, &second).await;
    assert!(!node.registry.online(&ann).await);
    assert_eq!(node.heard.of(&ann), [true, false], "each change once");
    assert!(!node.registry.online(&user("nobody")).await);
}

async fn a_session_counts_once_and_is_removed_once(factory: impl Factory) {
    let node = factory.node("one").await;
    let ann = user("ann");
    let (first, second) = (SessionId::generate(), SessionId::generate());
    node.registry.disconnect(&ann, &first).await;
    node.registry.connect(&ann, &first).await;
    node.registry.connect(&ann, &first).await;
    node.registry.connect(&ann, &second).await;
    node.registry.disconnect(&ann, &first).await;
    node.registry.disconnect(&ann, &first).await;
    assert!(node.registry.online(&ann).await, "the second session is there");
    node.registry.disconnect(&ann, &second).await;
    node.registry.disconnect(&ann, &second).await;
    assert!(!node.registry.online(&ann).await);
    assert_eq!(node.heard.of(&ann), [true, false]);
}

async fn changes_of_a_user_have_rising_versions(factory: impl Factory) {
    let node = factory.node("one").await;
    let other = if factory.has_many_nodes() { factory.node("other").await } else { node.clone() };
    let (ann, session) = (user("ann"), SessionId::generate());
    for _ in 0..20 {
        for at in [&node, &other] {
            at.registry.connect(&ann, &session).await;
            at.registry.disconnect(&ann, &session).await;
        }
    }
    let mut versions = [node.heard.versions(&ann), other.heard.versions(&ann)];
    for versions in &versions {
        assert!(versions.is_sorted_by(|one, other| one < other), "{versions:?}");
        assert!(!versions.contains(&0), "nothing was guessed");
    }
    if factory.has_many_nodes() {
        let all = versions.concat();
        versions[0].extend(versions[1].clone());
        versions[0].sort_unstable();
        versions[0].dedup();
        assert_eq!((versions[0].len(), all.len()), (80, 80), "no two are alike");
    }
}

async fn a_user_of_two_nodes_comes_once_and_goes_once(factory: impl Factory) {
    if !factory.has_many_nodes() {
        return;
    }
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    let ann = user("ann");
    let (first, second) = (SessionId::generate(), SessionId::generate());
    one.registry.connect(&ann, &first).await;
    assert!(other.registry.online(&ann).await, "known elsewhere once the call is back");
    other.registry.connect(&ann, &second).await;
    one.registry.disconnect(&ann, &first).await;
    assert!(one.registry.online(&ann).await);
    other.registry.disconnect(&ann, &second).await;
    assert!(!one.registry.online(&ann).await);
    assert_eq!((one.heard.of(&ann), other.heard.of(&ann)), (vec![true], vec![false]));
}

async fn after_any_race_of_sessions_the_newest_word_is_true(factory: impl Factory) {
    let nodes = match factory.has_many_nodes() {
        true => vec![factory.node("one").await, factory.node("other").await],
        false => vec![factory.node("one").await],
    };
    let mut tasks = Vec::new();
    for seed in 0..32_u64 {
        let node = nodes[seed as usize % nodes.len()].clone();
        tasks.push(tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let who = user(&format!("u{}", seed % 4));
            let session = SessionId::generate();
            for _ in 0..25 {
                node.registry.connect(&who, &session).await;
                if random.random_bool(0.3) {
                    tokio::time::sleep(Duration::from_millis(random.random_range(0..3))).await;
                }
                if random.random_bool(0.1) {
                    // Given up half-way; what follows puts it right.
                    let again = node.registry.connect(&who, &session);
                    let _ = tokio::time::timeout(Duration::from_micros(50), again).await;
                }
                node.registry.disconnect(&who, &session).await;
            }
            if seed % 4 < 2 {
                node.registry.connect(&who, &session).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for number in 0..4 {
        let who = user(&format!("u{number}"));
        for node in &nodes {
            assert_eq!(node.registry.online(&who).await, number < 2, "{who}");
        }
        let newest = nodes.iter().filter_map(|node| node.heard.newest(&who)).max();
        assert_eq!(newest.map(|(_, online)| online), Some(number < 2), "{who}");
    }
}

async fn a_closed_node_has_nobody_at_once(factory: impl Factory) {
    if !factory.has_many_nodes() {
        return;
    }
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    let (ann, bob) = (user("ann"), user("bob"));
    one.registry.connect(&ann, &SessionId::generate()).await;
    one.registry.connect(&bob, &SessionId::generate()).await;
    other.registry.connect(&bob, &SessionId::generate()).await;
    one.registry.close().await;
    assert!(!other.registry.online(&ann).await);
    assert!(other.registry.online(&bob).await);
    assert_eq!(one.heard.of(&ann), [true, false], "told by the node that closed");
    assert_eq!(one.heard.of(&bob), [true], "online elsewhere");
    assert_eq!(other.heard.of(&ann), Vec::<bool>::new());
}

async fn users_of_a_killed_node_go_within_its_lease_and_are_told_once(factory: impl Factory) {
    if !factory.has_many_nodes() {
        return;
    }
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    let third = factory.node("third").await;
    // Whoever just started does not take out others.
    tokio::time::sleep(LEASE + LEASE / 2).await;
    let stays = user("stays");
    one.registry.connect(&stays, &SessionId::generate()).await;
    other.registry.connect(&stays, &SessionId::generate()).await;
    for number in 0..MANY {
        one.registry.connect(&user(&format!("u{number}")), &SessionId::generate()).await;
    }
    one.kill().await;
    assert!(other.registry.online(&user("u0")).await, "the lease goes on");
    let heard = [&other.heard, &third.heard];
    let all = || heard.iter().map(|heard| heard.count(false)).sum::<usize>() >= MANY;
    Heard::until("all to have gone", LEASE + NOTICED_MAX, all).await;
    for number in 0..MANY {
        let who = user(&format!("u{number}"));
        assert!(!other.registry.online(&who).await);
        let told: Vec<bool> = heard.iter().flat_map(|heard| heard.of(&who)).collect();
        assert_eq!(told, [false], "{who} once, by one of the two");
    }
    assert!(
        heard.iter().any(|heard| heard.ends() > 0),
        "what the node stored last may not be told"
    );
    assert!(third.registry.online(&stays).await);
    assert!(heard.iter().all(|heard| !heard.of(&stays).contains(&false)));
}

async fn users_of_a_restarted_node_go_at_once(factory: impl Factory) {
    if !factory.has_many_nodes() {
        return;
    }
    let (one, other) = (factory.node("one").await, factory.node("other").await);
    let (ann, bob) = (user("ann"), user("bob"));
    one.registry.connect(&ann, &SessionId::generate()).await;
    one.registry.connect(&bob, &SessionId::generate()).await;
    one.kill().await;
    let again = factory.node("one").await;
    assert!(!other.registry.online(&ann).await, "once it has started");
    assert!(!again.registry.online(&ann).await);
    again.registry.connect(&bob, &SessionId::generate()).await;
    let gone = || [&again.heard, &other.heard].iter().any(|heard| heard.of(&ann) == [false]);
    Heard::until("ann to have gone", LEASE / 2, gone).await;
    assert!(other.registry.online(&bob).await);
}

async fn two_running_nodes_of_one_name_both_have_their_users(factory: impl Factory) {
    if !factory.has_many_nodes() {
        return;
    }
    let one = factory.node("same").await;
    one.registry.connect(&user("ann"), &SessionId::generate()).await;
    let other = factory.node("same").await;
    other.registry.connect(&user("bob"), &SessionId::generate()).await;
    Heard::until("ann to be back", LEASE, || one.heard.of(&user("ann")).len() > 1).await;
    // More beats than it would take to drive each other out.
    tokio::time::sleep(LEASE * 2).await;
    for node in [&one, &other] {
        assert!(node.registry.online(&user("ann")).await);
        assert!(node.registry.online(&user("bob")).await);
    }
    assert_eq!(one.heard.newest(&user("ann")).map(|(_, online)| online), Some(true));
}

/// The whole suite against one factory.
macro_rules! conformance_suite {
    ($registry:ident, $factory:expr; $($case:ident)+) => {
        mod $registry {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(factory) = $factory else { return };
                super::$case(factory).await;
            })+
        }
    };
    ($registry:ident, $factory:expr) => {
        conformance_suite! { $registry, $factory;
            the_first_session_comes_and_the_last_goes
            a_session_counts_once_and_is_removed_once
            changes_of_a_user_have_rising_versions
            a_user_of_two_nodes_comes_once_and_goes_once
            after_any_race_of_sessions_the_newest_word_is_true
            a_closed_node_has_nobody_at_once
            users_of_a_killed_node_go_within_its_lease_and_are_told_once
            users_of_a_restarted_node_go_at_once
            two_running_nodes_of_one_name_both_have_their_users
        }
    };
}

conformance_suite!(local, Some(LocalFactory));
conformance_suite!(redis_server, RedisFactory::redis());
conformance_suite!(valkey_server, RedisFactory::valkey());
conformance_suite!(redis_three_primaries, ClusterFactory::find());
