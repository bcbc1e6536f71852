//! Groups: private, invited, and left.

use serde_json::{Value, json};

use crate::support::log::CANARY;
use crate::support::services::SharedServices;
use crate::support::{Peer, Server, unique};

/// A group of these people, who all have it open.
async fn group_of(people: &mut [(&str, &mut Peer)]) -> (String, Value) {
    let (_, owner) = &mut people[0];
    let group = owner.ok("create", json!({})).await["group"].as_str().unwrap().to_owned();
    assert_eq!(group.len(), 22);
    let conv = open(owner, &group).await["conv"].clone();
    for at in 1..people.len() {
        let user = people[at].0.to_owned();
        let invited = people[0].1.ok("invite", json!({"conv": conv, "user": user})).await;
        assert_eq!(invited, json!({}));
        let listed = people[at].1.push("listed").await;
        assert_eq!((&listed["conv"], &listed["to"]), (&conv, &json!({"group": group})));
        open(people[at].1, &group).await;
    }
    (group, conv)
}

async fn open(peer: &mut Peer, group: &str) -> Value {
    peer.ok("open", json!({"to": {"group": group}})).await
}

#[tokio::test]
async fn a_group_is_made_filled_used_and_left() {
    let server = Server::start().await;
    let names = ["ann", "bob", "eve"].map(unique);
    let mut ann = server.connect(&names[0]).await;
    let mut bob = server.connect(&names[1]).await;
    let (group, conv) = group_of(&mut [(&names[0], &mut ann), (&names[1], &mut bob)]).await;
    // Any member invites; who has it open is told.
    let mut eve = server.connect(&names[2]).await;
    bob.ok("invite", json!({"conv": conv, "user": names[2]})).await;
    let joined = json!({"conv": conv, "user": names[2], "joined": true});
    loop {
        let push = ann.push("members").await;
        if push["user"] == json!(names[2]) {
            assert_eq!(push, joined);
            break;
        }
    }
    let roster = bob.ok("roster", json!({"conv": conv})).await;
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(roster, json!({"owner": names[0], "members": sorted}));
    open(&mut eve, &group).await;
    ann.send(&conv, "c1", None).await;
    for peer in [&mut bob, &mut eve] {
        assert_eq!(peer.push("msg").await["cid"], "c1");
    }
    // Only the owner removes.
    let refused = bob.error("remove", json!({"conv": conv, "user": names[2]})).await;
    assert_eq!((&refused["code"], &refused["definite"]), (&json!("not_allowed"), &json!(true)));
    assert_eq!(ann.ok("remove", json!({"conv": conv, "user": names[2]})).await, json!({}));
    assert_eq!(eve.push("removed").await, json!({"conv": conv}));
    ann.ok("remove", json!({"conv": conv, "user": names[2]})).await;
    ann.send(&conv, "c2", None).await;
    assert_eq!(bob.push("msg").await["cid"], "c2");
    // The owner's place goes to the oldest member.
    assert_eq!(ann.ok("quit", json!({"conv": conv})).await, json!({}));
    assert_eq!(ann.push("removed").await, json!({"conv": conv}));
    assert_eq!(bob.ok("roster", json!({"conv": conv})).await["owner"], json!(names[1]));
    assert_eq!(eve.pushes_so_far("msg").await, Vec::<Value>::new());
}

#[tokio::test]
async fn forbidden_and_missing_look_the_same_in_every_method() {
    let server = Server::start().await;
    let names = ["ann", "bob"].map(unique);
    let (mut ann, mut bob) = (server.connect(&names[0]).await, server.connect(&names[1]).await);
    let (group, conv) = group_of(&mut [(&names[0], &mut ann), (&names[1], &mut bob)]).await;
    ann.send(&conv, "c1", None).await;
    bob.push("msg").await;
    ann.ok("remove", json!({"conv": conv, "user": names[1]})).await;
    bob.push("removed").await;
    let mut stranger = server.connect(&unique("eve")).await;
    let nowhere = "AAAAAAAAAAAAAAAAAAAAAA";
    let missing = stranger.error("open", json!({"to": {"group": nowhere}})).await;
    for (peer, group) in [(&mut stranger, &group), (&mut bob, &group)] {
        assert_eq!(peer.error("open", json!({"to": {"group": group}})).await, missing);
    }
    let bodies = |conv: &Value| {
        [
            ("send", json!({"conv": conv, "cid": "c1", "type": "text", "content": CANARY})),
            ("read", json!({"conv": conv})),
            ("read", json!({"conv": conv, "after_seq": 0})),
            ("read", json!({"conv": conv, "late": true})),
            ("ack", json!({"conv": conv, "up_to": 1})),
            ("leave", json!({"conv": conv})),
            ("invite", json!({"conv": conv, "user": "x"})),
            ("remove", json!({"conv": conv, "user": "x"})),
            ("quit", json!({"conv": conv})),
            ("roster", json!({"conv": conv})),
        ]
    };
    let unknown = json!("AAAAAAAAAAAAAAAAAAAAAAAA");
    for ((method, body), (_, of_nothing)) in bodies(&conv).into_iter().zip(bodies(&unknown)) {
        let missing = stranger.error(method, of_nothing).await;
        assert_eq!(missing["code"], "not_found", "{method}");
        for peer in [&mut stranger, &mut bob] {
            assert_eq!(peer.error(method, body.clone()).await, missing, "{method}");
        }
    }
    for peer in [&mut stranger, &mut bob] {
        assert_eq!(peer.ok("list", json!({})).await, json!({"items": []}));
        // Nor is a group made out of something else.
        let invite = json!({"conv": conv, "user": 7});
        assert_eq!(peer.error("invite", invite).await["field"], "user");
    }
    let channel = bob.open_channel(&unique("channel")).await["conv"].clone();
    for method in ["quit", "roster"] {
        let error = bob.error(method, json!({"conv": channel})).await;
        assert_eq!(error["code"], "not_found", "{method} of a channel");
    }
    let wrong = bob.error("open", json!({"to": {"group": "short"}})).await;
    assert_eq!((&wrong["code"], &wrong["field"]), (&json!("invalid_field"), &json!("to.group")));
}

#[tokio::test]
async fn what_was_said_before_a_second_invitation_counts_as_read() {
    let server = Server::start().await;
    let names = ["ann", "bob"].map(unique);
    let (mut ann, mut bob) = (server.connect(&names[0]).await, server.connect(&names[1]).await);
    let (group, conv) = group_of(&mut [(&names[0], &mut ann), (&names[1], &mut bob)]).await;
    ann.send(&conv, "c1", None).await;
    ann.ok("remove", json!({"conv": conv, "user": names[1]})).await;
    ann.send(&conv, "c2", None).await;
    ann.send(&conv, "c3", Some(1_000)).await;
    ann.ok("invite", json!({"conv": conv, "user": names[1]})).await;
    ann.send(&conv, "c4", None).await;
    let listed = bob.ok("list", json!({})).await;
    let entry = &listed["items"][0];
    assert_eq!((&entry["head"], &entry["unread"]), (&json!(4), &json!(1)));
    let opened = open(&mut bob, &group).await;
    assert_eq!((&opened["acked"]["up_to"], &opened["unread"]), (&json!(3), &json!(1)));
    assert_eq!((&opened["unread_late"], &opened["late"]), (&json!(0), &json!([])));
    // Who has never opened it begins at the head of their first open, whenever they were invited.
    let eve_name = unique("eve");
    let mut eve = server.connect(&eve_name).await;
    ann.ok("invite", json!({"conv": conv, "user": eve_name})).await;
    ann.send(&conv, "c5", None).await;
    assert_eq!(eve.ok("list", json!({})).await["items"][0]["unread"], 0);
    let opened = open(&mut eve, &group).await;
    assert_eq!((&opened["acked"]["up_to"], &opened["unread"]), (&json!(5), &json!(0)));
}

#[tokio::test]
async fn a_group_has_as_many_members_as_the_limit_says() {
    let server = Server::start_with(&[("CHATCTL_LOCAL_SYNC", "memory")]).await;
    let mut ann = server.connect(&unique("ann")).await;
    let group = ann.ok("create", json!({})).await["group"].as_str().unwrap().to_owned();
    let conv = open(&mut ann, &group).await["conv"].clone();
    let limit = 1_000;
    for number in 2..=limit {
        let invite = json!({"conv": conv, "user": format!("guest-{number}")});
        assert_eq!(ann.ok("invite", invite).await, json!({}), "member {number}");
    }
    let one_more = json!({"conv": conv, "user": "one-more"});
    let refused = ann.error("invite", one_more.clone()).await;
    assert_eq!((&refused["code"], &refused["definite"]), (&json!("limit"), &json!(true)));
    // Who is in it may be invited, and a place may become free.
    ann.ok("invite", json!({"conv": conv, "user": "guest-7"})).await;
    ann.ok("remove", json!({"conv": conv, "user": "guest-7"})).await;
    ann.ok("invite", one_more).await;
    let roster = ann.ok("roster", json!({"conv": conv})).await;
    assert_eq!(roster["members"].as_array().unwrap().len(), limit);
}

/// Removed on one node, and read, written and pushed to on the other.
#[tokio::test]
async fn a_removal_holds_on_every_node_at_once() {
    let Some(services) = SharedServices::find().await else { return };
    let _alone = services.keyspace().await;
    for engine in ["REDIS", "CASSANDRA"] {
        let variables = [
            ("WS_MESSAGE_PERSISTENCE_ENGINE", engine),
            ("WS_MESSAGE_DISTRIBUTION_ENGINE", "REDIS"),
            ("WS_CONN_PERSISTENCE_ENGINE", "REDIS"),
            ("CHATCTL_LEASE_MS", "1000"),
            ("REDIS_URL", services.variable("REDIS_URL")),
            ("CASSANDRA_HOSTS", services.variable("CASSANDRA_HOSTS")),
        ];
        let (mut one, mut other) =
            (Server::start_with(&variables).await, Server::start_with(&variables).await);
        let names = ["ann", "bob"].map(unique);
        let mut ann = one.connect(&names[0]).await;
        let mut bob = other.connect(&names[1]).await;
        let (group, conv) = group_of(&mut [(&names[0], &mut ann), (&names[1], &mut bob)]).await;
        for round in 0..10 {
            let cid = |what: &str| format!("{what}-{round}");
            let before = ann.send(&conv, &cid("before"), None).await["seq"].as_u64().unwrap();
            ann.ok("remove", json!({"conv": conv, "user": names[1]})).await;
            // At once, on the node that may not have heard of it.
            let read = bob.call("read", json!({"conv": conv, "after_seq": before})).await;
            assert_eq!(read["error"]["code"], "not_found", "{engine}: {read}");
            let sent = json!({"conv": conv, "cid": cid("own"), "type": "text", "content": CANARY});
            assert_eq!(bob.error("send", sent).await["code"], "not_found");
            ann.send(&conv, &cid("after"), None).await;
            bob.push("removed").await;
            let pushed = bob.pushes_so_far("msg").await;
            let leaked = pushed.iter().find(|push| push["seq"].as_u64().unwrap() > before);
            assert_eq!(leaked, None, "{engine}: pushed after the removal was answered");
            ann.ok("invite", json!({"conv": conv, "user": names[1]})).await;
            let opened = open(&mut bob, &group).await;
            assert_eq!(opened["unread"], 0, "{engine}: {opened}");
        }
        // Others wait for a node that did not say that it goes.
        for server in [&mut one, &mut other] {
            server.signal(rustix::process::Signal::TERM);
            assert_eq!(server.wait_for_end().await, Some(0));
        }
    }
}
