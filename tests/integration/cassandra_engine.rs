//! The CASSANDRA engine from outside: servers over the shared node, as `init-env` has made it.

use serde_json::json;

use crate::support::services::SharedServices;
use crate::support::{Server, unique};

/// Waited for where a server was killed.
const LEASE_MS: &str = "1000";

#[tokio::test]
async fn servers_share_one_keyspace_and_one_that_must_be_alone_is() {
    let Some(shared) = SharedServices::find().await else { return };
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
    let (one, other) = (Server::start_with(&many).await, Server::start_with(&many).await);
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
}
