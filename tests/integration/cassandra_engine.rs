//! The CASSANDRA engine from outside: servers over the shared node, as `init-env` has made it.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::services::SharedServices;
use crate::support::{Server, unique};

/// Waited for where a server was killed.
const LEASE_MS: &str = "1000";

#[tokio::test]
async fn servers_share_one_keyspace_and_one_that_must_be_alone_is() {
    let Some(shared) = SharedServices::find().await else { return };
    let _alone = shared.keyspace().await;
    let prefix = unique("cassandra:");
    let messages = [
        ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA"),
        ("CASSANDRA_HOSTS", shared.variable("CASSANDRA_HOSTS")),
        ("CHATCTL_REQUIRE_DURABILITY", "disk"),
        ("CHATCTL_LEASE_MS", LEASE_MS),
    ];
    let company = [
        ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
        ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
        ("REDIS_URL", shared.variable("REDIS_URL")),
        ("CHATCTL_REDIS_PREFIX", prefix.as_str()),
    ];
    let many: Vec<_> = messages.iter().chain(&company).copied().collect();
    let (mut one, mut other) = (Server::start_with(&many).await, Server::start_with(&many).await);
    let (ann_name, bob_name) = (unique("ann"), unique("bob"));
    let (mut ann, mut bob) = (one.connect(&ann_name).await, other.connect(&bob_name).await);
    let conv = ann.open_user(&bob_name).await["conv"].clone();
    bob.open_user(&ann_name).await;
    let past = 1_700_000_000_000;
    for (seq, ts) in [(1, past + 2), (2, past + 1), (3, past + 3)] {
        let sent = ann.send(&conv, &format!("c{seq}"), Some(ts)).await;
        assert_eq!((&sent["seq"], &sent["late"]), (&json!(seq), &json!(seq == 2)));
        let pushed = bob.push("msg").await;
        assert_eq!((&pushed["seq"], &pushed["late"]), (&json!(seq), &json!(seq == 2)));
    }
    let again = ann.send(&conv, "c1", None).await;
    assert_eq!((&again["seq"], &again["dup"]), (&json!(1), &json!(true)));
    // With a bus of its own a server would not hear of the others' messages.
    let text = Server::refused(&messages).await;
    for part in ["WS_MESSAGE_DISTRIBUTION_ENGINE=LOCAL", "CASSANDRA_KEYSPACE=chatctl"] {
        assert!(text.contains(part), "{part} in {text}");
    }

    // One that is told to end leaves at once, with clients connected; one that was killed is a tenant until its lease is
    // over, and so long a server that must be alone waits.
    other.signal(Signal::TERM);
    assert_eq!(other.wait_for_end().await, Some(0));
    one.kill().await;
    let alone = Server::start_with(&messages).await;
    let mut bob = alone.connect(&bob_name).await;
    let page = bob.open_user(&ann_name).await;
    let seqs = |items: &Value| -> Vec<_> {
        items.as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!((seqs(&page["items"]), seqs(&page["late"])), (vec![2, 1, 3], vec![]), "{page}");
    assert_eq!((&page["unread"], &page["unread_late"]), (&json!(3), &json!(1)), "{page}");
    assert_eq!(bob.send(&conv, "c4", None).await["seq"], 4);
}

#[tokio::test]
async fn what_the_keyspace_lacks_is_said_with_what_to_do() {
    let Some(shared) = SharedServices::find().await else { return };
    let hosts = ("CASSANDRA_HOSTS", shared.variable("CASSANDRA_HOSTS"));
    let engine = ("WS_MESSAGE_PERSISTENCE_ENGINE", "CASSANDRA");
    let text =
        Server::refused(&[engine, hosts, ("CHATCTL_REQUIRE_DURABILITY", "replicated+disk")]).await;
    for part in ["durability class disk", "replication_factor of 3", "CHATCTL_REQUIRE_DURABILITY"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = Server::refused(&[engine, hosts, ("CASSANDRA_KEYSPACE", "elsewhere")]).await;
    for part in ["CASSANDRA_KEYSPACE", "elsewhere", "init-env"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
