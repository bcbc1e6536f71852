//! `docs/limits.md`: every limit, where it is set, and what comes above it. The numbers are those in force, not copies.

use super::{Config, Sources};
use crate::model::{AllLimits, LIMITS};

/// One limit: its name in `hello.limits`, its variable (none: it is the protocol's), and what comes above it.
type Row = (&'static str, &'static str, &'static str);

const FRAMES: &[Row] = &[
    ("frame_bytes_max", "", "close 1009, as soon as the head of the frame is here"),
    ("message_bytes_max", "", "all fragments of a message together: close 1009"),
    (
        "fragments_max",
        "",
        "frames of one message: close 1009; control frames between them do not count",
    ),
    (
        "nesting_max",
        "",
        "objects and arrays within each other, the frame's own object included: `bad_frame`",
    ),
    ("bad_frames_max", "", "within a minute: the last of them is answered, then close 4500"),
    (
        "in_flight_max",
        "",
        "commands of one session that are unanswered: the socket is not read until one is answered",
    ),
    ("content_bytes_max", "", "`invalid_field` (`content`)"),
];

const PAGES: &[Row] = &[
    ("page_bytes_max", "", "a page ends earlier, with `next`"),
    ("read_limit_max", "", "`limit` of `open`, `read` and `list`: `invalid_field` (`limit`)"),
    ("late_max", "", "late messages in one `open`: the others by `late_next`"),
    ("resume_max", "", "messages that `resume` bridges: `recovered:false` and a page"),
    ("unread_max", "", "counts stop there, with `unread_more:true`"),
    ("list_max", "", "conversations that `list` reaches"),
    ("open_max", "", "conversations that one session has open: `limit`"),
    ("ack_ranges_max", "", "ranges in one `ack`: `invalid_field` (`ranges`)"),
    ("acked_ranges_max", "", "ranges of the merged acknowledgement: `limit`, nothing changes"),
    ("group_members_max", "", "members of one group: `invite` is answered `limit`"),
    ("future_skew_ms_max", "", "`ts` ahead of the server: `ts_in_future`"),
];

const TIMES: &[Row] = &[
    ("hello_ms_max", "", "unauthenticated for longer: close 4002"),
    ("answer_ms_max", "", "every command is answered by then, `timeout` at the latest"),
    (
        "idle_ms_max",
        "CHATCTL_PING_MS",
        "and 10 s; nothing heard for longer, pongs included: close 4008",
    ),
    (
        "header_ms_max",
        "CHATCTL_HEADER_TIMEOUT_MS",
        "for the head of an HTTP request, or between two: the connection is closed",
    ),
];

const CONNECTIONS: &[Row] = &[
    (
        "connections_max",
        "CHATCTL_CONNECTIONS_MAX",
        "WebSockets of this node: close 4504; HTTP 503 beyond 1 000 of those",
    ),
    (
        "connections_per_address_max",
        "CHATCTL_CONNECTIONS_PER_ADDRESS_MAX",
        "HTTP 429 for the upgrade; closed unheard beyond 64 of those. HTTP connections count; of IPv6 a /64 is one address; headers of proxies are not believed",
    ),
    (
        "connects_per_s_max",
        "CHATCTL_CONNECTS_PER_S_MAX",
        "they wait in the queue of the kernel, a second's worth at once is let in",
    ),
    (
        "connections_per_user_max",
        "CHATCTL_CONNECTIONS_PER_USER_MAX",
        "on this node: `hello` is answered `limit`, then close 4504",
    ),
    ("http_connections_max", "", "connections that are no WebSocket: the oldest is closed"),
    ("head_bytes_max", "", "of one HTTP request: 431"),
    ("headers_max", "", "header fields of one HTTP request: 431"),
    (
        "outbox_bytes_max",
        "CHATCTL_OUTBOX_BYTES_MAX",
        "bytes that wait to be sent to one session: close 4408",
    ),
];

const RATES: &[Row] = &[
    (
        "commands_per_s_max",
        "CHATCTL_COMMANDS_PER_S_MAX",
        "`rate_limited`; every frame counts, also pings, pongs and bad ones",
    ),
    (
        "messages_per_s_max",
        "CHATCTL_MESSAGES_PER_S_MAX",
        "`send`, and changes of groups: `rate_limited`",
    ),
    (
        "incoming_bytes_per_s_max",
        "CHATCTL_INCOMING_BYTES_PER_S_MAX",
        "bytes of text frames: `rate_limited`",
    ),
    (
        "reply_bytes_per_s_max",
        "CHATCTL_REPLY_BYTES_PER_S_MAX",
        "`open`, `read`, `list`, `roster`: `rate_limited`; the reply that goes beyond it is still given",
    ),
    ("rate_burst_ms", "CHATCTL_RATE_BURST_MS", "as much as flows in in this time may come at once"),
    (
        "rate_sustained_ms",
        "CHATCTL_RATE_SUSTAINED_MS",
        "more than four of five commands refused for so long, without a second's pause: close 4029",
    ),
];

const NODE: &[Row] = &[(
    "queue_wait_ms_max",
    "CHATCTL_QUEUE_WAIT_MS",
    "when the quickest command of all sessions waits longer for the engine, those that it could not do within this time: `overloaded`",
)];

const SECTIONS: [(&str, &[Row]); 6] = [
    ("Frames and commands", FRAMES),
    ("Pages and conversations", PAGES),
    ("Times", TIMES),
    ("Connections", CONNECTIONS),
    ("Rates of one session", RATES),
    ("Work of the node", NODE),
];

/// The text of `docs/limits.md`.
pub fn limits_table() -> String {
    let mut text = String::from(
        "# Limits\n\n\
         Every limit that a client can meet, as `hello.limits` says it. Where a variable stands, the number is its default; one that an\n\
         operator took away (0) is left out of `hello`. A limit itself is still allowed: what is told in the last column comes above it.\n\n\
         A refused command (`rate_limited`) is not done and takes nothing from the buckets. After `retry_after_ms` it is let in, if\n\
         nothing else came meanwhile; of many that are refused at once each is told a time of its own, at most a second more. So a\n\
         client that comes again when it was told to is never closed, however much it has to send.\n\n\
         Generated from the tables in src/config/limits_table.rs, src/config/variables.rs and src/model/limits.rs: `make documents`.\n",
    );
    let numbers = numbers();
    for (title, rows) in SECTIONS {
        text += &format!("\n## {title}\n\n| limit | | variable | above |\n|---|---|---|---|\n");
        for (name, variable, above) in rows {
            let number = numbers.get(*name).and_then(serde_json::Value::as_u64);
            let number = number.map(grouped).unwrap_or_default();
            let variable = match variable {
                &"" => String::new(),
                key => format!("`{key}`"),
            };
            text += &format!("| `{name}` | {number} | {variable} | {above} |\n");
        }
    }
    text += "\n## Over Socket.IO\n\n\
         The same limits, with the event `closing` in the place of a close frame. One request of a client who polls may bring `frame_bytes_max` and\n\
         one byte: HTTP 413, and `closing` 1009; of a frame of a WebSocket the byte that says its kind counts. A session by polling counts as one connection of its address beside those of its requests, and its\n\
         polls are among `http_connections_max`. Pings, pongs and other bytes that are no packet: 256 KiB more than 64 a second, then `closing` 4029.\n";
    text
}

/// `hello.limits` of a server of which nothing is set.
fn numbers() -> serde_json::Value {
    let operator = Config::load(&Sources::default()).map(|config| config.limits);
    let limits = AllLimits { fixed: LIMITS, operator: operator.unwrap_or_default() };
    serde_json::to_value(limits).unwrap_or_default()
}

/// `131 072`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::VARIABLES;
    use super::*;

    #[test]
    fn the_document_is_up_to_date() {
        assert!(include_str!("../../docs/limits.md") == limits_table(), "run: make documents");
    }

    #[test]
    fn the_document_and_hello_have_the_same_limits() {
        let rows = SECTIONS.iter().flat_map(|(_, rows)| rows.iter());
        let documented: BTreeSet<_> = rows.clone().map(|(name, _, _)| name.to_string()).collect();
        let serde_json::Value::Object(numbers) = numbers() else { panic!("no object") };
        let told: BTreeSet<_> = numbers.keys().cloned().collect();
        assert_eq!(documented, told);
        assert_eq!(rows.clone().count(), told.len(), "each once");
        for (name, key, _) in rows.filter(|(_, key, _)| !key.is_empty()) {
            let variable = VARIABLES.iter().find(|variable| variable.key == *key).unwrap();
            let default: u64 = variable.default.unwrap().parse().unwrap();
            let grace = if *name == "idle_ms_max" { 10_000 } else { 0 };
            assert_eq!(numbers[*name], default + grace, "{name}");
        }
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            [7, 1_000, 131_072, 8_388_608].map(grouped),
            ["7", "1 000", "131 072", "8 388 608"]
        );
    }
}
