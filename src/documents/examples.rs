//! One conversation from `hello` to the end, as examples: a frame for each message, and more where one does not show it.
//!
//! They are true: `tests/integration/documents.rs` says each command to a server and compares what comes back.

use serde_json::{Value, json};

use super::frames::Kind;
use crate::config::{Config, Sources};
use crate::model::{
    AllLimits, Cursor, CursorScope, GroupId, INTEGER_MAX, LIMITS, Order, Place, Position, Seq,
    UserName,
};
use crate::protocol::{ErrorBody, ErrorCode, PROTOCOL_VERSION};

/// A frame as somebody might see it.
#[derive(Debug, Clone)]
pub(super) struct Example {
    pub(super) kind: Kind,
    /// The method, `error`, or the kind of push.
    pub(super) key: String,
    /// Unlike all others.
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) payload: Value,
}

/// The noon of a day: the times of the example are near it.
const NOON: u64 = 1_767_268_800_000;
const EPOCH: &str = "019b7a5e1f2c7d3a8b4c5d6e7f8091a2";
const GROUP: &str = "b3JbZ2xvd2luZy1lbWJlcg";
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjE3NjcyNzI0MDB9.c2lnbmF0dXJl";
const LATER_TOKEN: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjE3NjcyNzYwMDB9.c2lnbmF0dXJl";
const EXPIRES: u64 = NOON + 7_200_000;

/// All of them.
pub(super) fn examples() -> serde_json::Result<Vec<Example>> {
    let mut script = Script { examples: Vec::new() };
    script.direct_chat()?;
    script.group();
    script.refusals()?;
    script.tokens();
    script.others();
    Ok(script.examples)
}

struct Script {
    examples: Vec<Example>,
}

impl Script {
    fn add(&mut self, kind: Kind, name: &'static str, summary: &'static str, payload: Value) {
        let keys = payload.as_object().into_iter().flat_map(|map| map.keys());
        let key = keys.filter(|key| *key != "id").cloned().collect();
        self.examples.push(Example { kind, key, name, summary, payload });
    }

    /// A command and its reply.
    fn call(
        &mut self,
        id: u64,
        (name, answer): (&'static str, &'static str),
        (summary, answered): (&'static str, &'static str),
        method: &str,
        (body, reply): (Value, Value),
    ) {
        self.add(Kind::Command, name, summary, json!({"id": id, method: body}));
        self.add(Kind::Reply, answer, answered, json!({"id": id, method: reply}));
    }

    fn push(&mut self, name: &'static str, summary: &'static str, payload: Value) {
        self.add(Kind::Push, name, summary, payload);
    }

    fn direct_chat(&mut self) -> serde_json::Result<()> {
        let conv = direct();
        let limits = Config::load(&Sources::default()).map(|config| config.limits);
        let limits = AllLimits { fixed: LIMITS, operator: limits.unwrap_or_default() };
        let session = json!({
            "session": "019b7a5e2a117c0e9f3d2b1a08c7d6e5", "user": "ann", "node": "019b7a5e1e9b7f64a1b2c3d4e5f60718",
            "protocol": PROTOCOL_VERSION, "engine": {"name": "LOCAL", "durability": "disk"},
            "limits": serde_json::to_value(limits)?, "ping_ms": 25_000,
        });
        self.call(
            1,
            ("hello", "welcome"),
            ("Who I am, where authentication is off", "The session, its node and every limit"),
            "hello",
            (json!({"user": "ann", "client": "example/1.0"}), session),
        );
        let [one, two, late] = [
            item(1, "bob", "b1", "Hello Ann", 0, false),
            item(2, "bob", "b2", "Are you there?", 1_000, false),
            item(3, "bob", "b3", "(written on the train)", -600_000, true),
        ];
        let page = json!({
            "conv": conv, "epoch": EPOCH, "head": 3, "acked": {"up_to": 0, "ranges": []}, "items": [one, two], "late": [late],
            "unread": 3, "unread_late": 1, "unread_before": 0, "gap": false, "next": history((0, 1)), "online": true,
        });
        self.call(
            2,
            ("open", "page"),
            ("The direct chat with bob", "The newest two, and the unread late one"),
            "open",
            (json!({"to": {"user": "bob"}, "limit": 2}), page),
        );
        let sent = |dup| json!({"seq": 4, "ts": NOON + 2_000, "late": false, "dup": dup, "at": NOON + 2_013});
        let message = json!({
            "conv": conv, "cid": "a1", "type": "text", "content": "Here I am", "ts": NOON + 2_000,
        });
        self.call(
            3,
            ("send", "stored"),
            ("A message", "It is stored"),
            "send",
            (message.clone(), sent(false)),
        );
        self.call(
            4,
            ("send_again", "stored_before"),
            ("The same once more, as after a lost answer", "It was stored before, and only once"),
            "send",
            (message, sent(true)),
        );
        self.call(
            5,
            ("read_late", "late"),
            ("My unread late messages", "There is one"),
            "read",
            (
                json!({"conv": conv, "late": true}),
                json!({"items": [item(3, "bob", "b3", "(written on the train)", -600_000, true)]}),
            ),
        );
        self.call(
            6,
            ("read_history", "history"),
            ("The newest two", "Newest first, and there is more"),
            "read",
            (
                json!({"conv": conv, "limit": 2}),
                json!({"items": [own(), item(2, "bob", "b2", "Are you there?", 1_000, false)], "next": history((1_000, 2))}),
            ),
        );
        self.call(
            7,
            ("read_on", "rest"),
            ("The same request with its cursor", "The rest, and no more"),
            "read",
            (
                json!({"conv": conv, "limit": 2, "cursor": history((1_000, 2))}),
                json!({"items": [item(1, "bob", "b1", "Hello Ann", 0, false), item(3, "bob", "b3", "(written on the train)", -600_000, true)]}),
            ),
        );
        self.call(
            8,
            ("read_after", "after"),
            ("Everything above a number", "Ascending by number"),
            "read",
            (json!({"conv": conv, "after_seq": 3}), json!({"items": [own()]})),
        );
        self.call(
            9,
            ("read_times", "times"),
            ("Between two times", "Both ends belong to it"),
            "read",
            (
                json!({"conv": conv, "from": NOON, "to": NOON + 1_000, "order": "asc"}),
                json!({"items": [item(1, "bob", "b1", "Hello Ann", 0, false), item(2, "bob", "b2", "Are you there?", 1_000, false)]}),
            ),
        );
        self.call(
            10,
            ("ack_ranges", "acked_ranges"),
            ("Only the late one was shown", "What is acknowledged, and what is unread"),
            "ack",
            (
                json!({"conv": conv, "ranges": [[3, 4]]}),
                json!({"acked": {"up_to": 0, "ranges": [[3, 4]]}, "unread": 2}),
            ),
        );
        self.call(
            11,
            ("ack_up_to", "acked_up_to"),
            ("Everything was shown", "Nothing is unread"),
            "ack",
            (
                json!({"conv": conv, "up_to": 4}),
                json!({"acked": {"up_to": 4, "ranges": []}, "unread": 0}),
            ),
        );
        self.call(
            12,
            ("list", "conversations"),
            ("My conversations", "One so far"),
            "list",
            (
                json!({"limit": 20}),
                json!({"items": [{"conv": conv, "to": {"user": "bob"}, "head": 4, "unread": 0, "newest": own()}]}),
            ),
        );
        self.call(
            13,
            ("leave", "left"),
            ("No more pushes of it", "Done"),
            "leave",
            (json!({"conv": conv}), json!({})),
        );
        self.call(
            14,
            ("open_resume", "resumed"),
            ("Open it again and bridge what was missed", "Exactly the messages above number 3"),
            "open",
            (
                json!({"to": {"user": "bob"}, "resume": {"epoch": EPOCH, "seq": 3}}),
                json!({
                    "conv": conv, "epoch": EPOCH, "head": 4, "acked": {"up_to": 4, "ranges": []}, "items": [own()],
                    "unread": 0, "unread_late": 0, "recovered": true, "online": true,
                }),
            ),
        );
        self.call(
            15,
            ("ping", "pong"),
            ("Is the server there?", "It is"),
            "ping",
            (json!({}), json!({})),
        );
        Ok(())
    }

    fn group(&mut self) {
        let (conv, to) = (group(), json!({"group": GROUP}));
        self.call(
            16,
            ("create", "created"),
            ("A group of my own", "What `open` takes"),
            "create",
            (json!({}), json!({"group": GROUP})),
        );
        let page = json!({
            "conv": conv, "epoch": EPOCH, "head": 0, "acked": {"up_to": 0, "ranges": []}, "items": [], "late": [],
            "unread": 0, "unread_late": 0, "unread_before": 0, "gap": false,
        });
        self.call(
            17,
            ("open_group", "empty"),
            ("Open it, as every conversation", "Nothing was said yet"),
            "open",
            (json!({"to": to}), page),
        );
        let bob = || json!({"conv": conv, "user": "bob"});
        self.call(
            18,
            ("invite", "invited"),
            ("Another member", "Done"),
            "invite",
            (bob(), json!({})),
        );
        self.call(
            19,
            ("roster", "members"),
            ("Who is in it?", "The owner, and everybody by name"),
            "roster",
            (json!({"conv": conv}), json!({"owner": "ann", "members": ["ann", "bob"]})),
        );
        self.call(
            20,
            ("remove", "removed_member"),
            ("One member less", "Done, on every node"),
            "remove",
            (bob(), json!({})),
        );
        self.call(
            21,
            ("quit", "gone"),
            ("I leave it for good", "Done"),
            "quit",
            (json!({"conv": conv}), json!({})),
        );
    }

    fn refusals(&mut self) -> serde_json::Result<()> {
        let (direct, group) = (direct(), group());
        let refused = |id: u64, error: ErrorBody| -> serde_json::Result<Value> {
            Ok(json!({"id": id, "error": serde_json::to_value(error)?}))
        };
        let message = |conv: &str, cid: &str, content: &str| json!({"conv": conv, "cid": cid, "type": "text", "content": content});
        let command = json!({"id": 22, "send": message(&group, "a2", "Is anybody here?")});
        self.add(Kind::Command, "send_nowhere", "Where I am no member", command);
        let error = refused(22, ErrorBody::not_found())?;
        self.add(
            Kind::Reply,
            "not_found",
            "Missing, forbidden or not open: nobody is told which",
            error,
        );
        let command = json!({"id": 23, "send": message(&direct, "a1", "Something else")});
        self.add(
            Kind::Command,
            "send_conflict",
            "Another message under a name that is taken",
            command,
        );
        let text = "this cid is taken by a message with another type or content";
        let error = refused(23, ErrorBody::new(ErrorCode::Conflict, text))?;
        self.add(Kind::Reply, "conflict", "The first one stays as it is", error);
        let expected = format!("an integer from 1 to {}", LIMITS.read_limit_max);
        let error = refused(24, ErrorBody::invalid_field("limit", &expected))?;
        self.add(Kind::Reply, "invalid_field", "What a `read` with a `limit` of 201 gets", error);
        let text = "id must be an integer of at least 1, once";
        let error = serde_json::to_value(ErrorBody::new(ErrorCode::BadFrame, text))?;
        let summary = "What a frame without a good `id` gets";
        self.add(Kind::Reply, "bad_frame", summary, json!({"error": error}));
        Ok(())
    }

    /// On a server with authentication.
    fn tokens(&mut self) {
        let command = json!({"id": 101, "hello": {"token": TOKEN}});
        self.add(Kind::Command, "hello_token", "Who I am, where authentication is on", command);
        self.call(
            102,
            ("refresh", "refreshed"),
            ("Another token before the first expires", "When this one does"),
            "refresh",
            (json!({"token": LATER_TOKEN}), json!({"expires": EXPIRES})),
        );
        self.push(
            "token_expiring",
            "The token is about to expire",
            json!({"notice": {"code": "token_expiring", "expires": EXPIRES}}),
        );
    }

    fn others(&mut self) {
        let (direct, group) = (direct(), group());
        let mut message = item(5, "bob", "b4", "Good.", 3_000, false);
        message["conv"] = json!(direct);
        self.push("message", "Bob says something", json!({"msg": message}));
        self.push(
            "peer_acked",
            "Bob has seen it",
            json!({"acked": {"conv": direct, "user": "bob", "up_to": 4}}),
        );
        self.push(
            "own_acked",
            "Acknowledged in another session of mine",
            json!({"acked": {"conv": direct, "user": "ann", "up_to": 5, "ranges": []}}),
        );
        self.push(
            "offline",
            "Bob has no session any more",
            json!({"presence": {"conv": direct, "user": "bob", "online": false}}),
        );
        self.push(
            "listed",
            "A conversation is mine now",
            json!({"listed": {"conv": group, "to": {"group": GROUP}, "head": 0}}),
        );
        self.push(
            "joined",
            "Somebody came into the group",
            json!({"members": {"conv": group, "user": "bob", "joined": true}}),
        );
        self.push("removed", "The group is closed here", json!({"removed": {"conv": group}}));
        self.push(
            "reset",
            "The store came back with less: open it again",
            json!({"reset": {"conv": direct, "epoch": "019b7a6000007abc8def0123456789ab"}}),
        );
        self.push(
            "draining",
            "The server is about to shut down",
            json!({"notice": {"code": "draining"}}),
        );
    }
}

/// A message, its time in ms from noon.
fn item(seq: u64, from: &str, cid: &str, content: &str, since_noon: i64, late: bool) -> Value {
    let ts = NOON.saturating_add_signed(since_noon);
    let at = NOON + 1_000 + seq;
    json!({
        "seq": seq, "from": from, "cid": cid, "type": "text", "content": content, "ts": ts, "at": at, "late": late,
    })
}

/// What the example sends.
fn own() -> Value {
    let mut item = item(4, "ann", "a1", "Here I am", 2_000, false);
    item["at"] = json!(NOON + 2_013);
    item
}

fn direct() -> String {
    place().map(|place| place.conv_id().to_string()).unwrap_or_default()
}

fn place() -> Option<Place> {
    Some(Place::direct(UserName::new("ann").ok()?, UserName::new("bob").ok()?))
}

fn group() -> String {
    GroupId::new(GROUP).map(|id| Place::Group(id).conv_id().to_string()).unwrap_or_default()
}

/// The cursor behind a message of the direct chat, in a read of all of it, newest first.
fn history((since_noon, seq): (u64, u64)) -> String {
    let Some(place) = place() else { return String::new() };
    let scope =
        CursorScope::Range { conv: place.conv_id(), from: 0, to: INTEGER_MAX, order: Order::Desc };
    Cursor::encode(&scope, Position { time: NOON + since_noon, seq: Seq(seq) })
}
