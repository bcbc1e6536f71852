//! Every metric: its kind, its labels, and what it tells. `docs/metrics.md` is made of it.

/// How values of a metric behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rises; there from its first event on.
    Counter,
    /// Rises; there from the start, so that an alarm sees its first event.
    Event,
    /// Goes up and down.
    Gauge,
    /// Times, in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Described {
    /// As it is exposed.
    pub(super) name: &'static str,
    /// How its values behave.
    pub(super) kind: Kind,
    /// Its labels, with commas between.
    labels: &'static str,
    /// What it tells.
    pub(super) help: &'static str,
}

const fn row(
    kind: Kind,
    name: &'static str,
    labels: &'static str,
    help: &'static str,
) -> Described {
    Described { name, kind, labels, help }
}

use Kind::{Counter, Event, Gauge, Histogram};

/// What each part of a node tells, by the parts.
#[rustfmt::skip]
pub(super) const METRICS: &[(&str, &[Described])] = &[
    ("Message engine", &[
        row(Histogram, "chatctl_engine_operation_seconds", "engine, operation", "Time of each operation of the message engine: append, open (the newest page), range (history), after (what follows a number), unread_late, ack, regroup, roster, mine and summary (list); append of what was stored and what was not"),
        row(Counter, "chatctl_engine_operation_errors_total", "engine, operation", "Operations of the message engine that failed; refusals by the rules are none"),
        row(Counter, "chatctl_engine_errors_total", "code", "Errors of the message engine that clients were told, by their code"),
        row(Gauge, "chatctl_engine_healthy", "engine", "1: the message engine takes writes"),
        row(Counter, "chatctl_messages_appended_total", "", "Messages that were stored by this node, each once"),
        row(Counter, "chatctl_commits_total", "", "Batches of messages that were written together (LOCAL, REDIS)"),
        row(Histogram, "chatctl_commit_seconds", "", "Time of each such batch"),
        row(Counter, "chatctl_syncs_total", "", "Syncs of the disk (LOCAL)"),
        row(Event, "chatctl_shared_reads_total", "", "Reads that were answered by the read of somebody else who asked the same"),
        row(Event, "chatctl_riak_siblings_total", "", "Objects of which several values were found and one was settled on (RIAK)"),
    ]),
    ("Deliveries and the bus", &[
        row(Histogram, "chatctl_delivery_stage_seconds", "stage", "Stages of a delivery: stored (frame to durable), told (durable to the bus having it), travelled (durable to another node), written (queued to in the socket). The counts of told and travelled are hints sent and received"),
        row(Counter, "chatctl_messages_encoded_total", "", "Messages that were made a frame, once for all sessions of a node"),
        row(Event, "chatctl_hint_gaps_total", "", "Times that the bus said that hints may be missing"),
        row(Event, "chatctl_hints_dropped_total", "", "Hints that could not be told and were put into the backlog"),
        row(Event, "chatctl_hints_unreadable_total", "", "Hints that could not be read"),
        row(Counter, "chatctl_stream_gaps_total", "closed_by", "Gaps in a stream by what closed them: the hint that was late, or a read of the engine"),
        row(Event, "chatctl_repaired_messages_total", "", "Messages that were read from the engine because no hint told of them"),
        row(Counter, "chatctl_kafka_hints_read_total", "", "Hints that were read from Kafka, also of conversations that nobody here has open"),
        row(Counter, "chatctl_kafka_positions_lost_total", "", "Positions in partitions that were lost and taken up again at the end"),
        row(Counter, "chatctl_kafka_requests_total", "client", "Requests to brokers"),
        row(Counter, "chatctl_kafka_partitions_changed_total", "", "Partitions that became heard or unheard"),
        row(Gauge, "chatctl_kafka_partitions_unheard", "", "Partitions of which nothing can be heard now"),
        row(Counter, "chatctl_kafka_producers_replaced_total", "", "Producers that the library had given up and that were made anew"),
    ]),
    ("Who is connected", &[
        row(Histogram, "chatctl_registry_operation_seconds", "registry, operation", "Time of each operation of the registry: connect, disconnect, online"),
        row(Gauge, "chatctl_registry_healthy", "registry", "1: the registry answers"),
        row(Gauge, "chatctl_connections", "", "Clients connected, by WebSocket or Socket.IO, those being refused included"),
        row(Gauge, "chatctl_sessions", "", "Those that have said hello"),
        row(Counter, "chatctl_closes_total", "code", "Connections that ended, by the code that they were closed with or how else they ended"),
        row(Counter, "chatctl_refused_total", "reason", "Connections and requests that were not let in, by why"),
        row(Event, "chatctl_accept_errors_total", "", "Connections that the system could not give, for want of descriptors"),
    ]),
    ("Limits and overload", &[
        row(Gauge, "chatctl_work_bound", "work", "How many commands may be under way; +Inf: as many as come"),
        row(Gauge, "chatctl_work_under_way", "work", "Commands that the engine works on"),
        row(Gauge, "chatctl_work_waiting", "work", "Commands that wait for a place"),
        row(Counter, "chatctl_turned_away_total", "work", "Commands that were refused as overloaded"),
        row(Counter, "chatctl_rate_limited_total", "limit", "Commands that were refused for the rate of their session, by the limit"),
        row(Gauge, "chatctl_outbox_bytes", "", "Bytes that wait for readers, of all sessions"),
        row(Event, "chatctl_slow_readers_total", "", "Sessions that were closed because they did not read"),
    ]),
    ("Identity and TLS", &[
        row(Event, "chatctl_tokens_refused_total", "", "Tokens that were refused"),
        row(Event, "chatctl_sessions_revoked_total", "", "Sessions that were closed by a revocation"),
        row(Event, "chatctl_key_looks_failed_total", "", "Looks at the source of keys that brought none"),
        row(Counter, "chatctl_tls_handshakes_failed_total", "reason", "TLS handshakes that failed, by why"),
        row(Event, "chatctl_tls_reloads_total", "", "Renewed certificates that were taken"),
        row(Event, "chatctl_tls_reloads_failed_total", "", "Renewed certificates that were not"),
        row(Gauge, "chatctl_tls_certificate_expires_seconds", "", "When the certificate ends, seconds since 1970"),
    ]),
    ("The process", &[
        row(Gauge, "chatctl_ready", "", "1: /readyz answers 200"),
        row(Counter, "chatctl_process_cpu_seconds_total", "", "CPU time of the process"),
        row(Gauge, "chatctl_process_resident_bytes", "", "Memory of the process that is in RAM"),
        row(Gauge, "chatctl_process_threads", "", "Threads of the process"),
        row(Gauge, "chatctl_runtime_workers", "", "Threads that run tasks"),
        row(Gauge, "chatctl_runtime_tasks", "", "Tasks that there are"),
        row(Gauge, "chatctl_runtime_queued_tasks", "", "Tasks that wait in the common queue for a thread"),
        row(Counter, "chatctl_runtime_busy_seconds_total", "", "Time that the threads of the runtime were not idle, summed"),
        row(Counter, "chatctl_allocations_total", "", "Allocations, only in a build with the feature faults"),
    ]),
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Described> {
    METRICS.iter().flat_map(|(_, rows)| rows.iter())
}

/// `docs/metrics.md`.
pub fn metrics_table() -> String {
    let mut text = "# Metrics\n\n\
         What `/metrics` on the admin listener shows. Times are in seconds. A labelled counter is there from its first event on, the others from the start. \
         `docker/grafana/dashboards/chatctl.json` is a dashboard of the most of them.\n\n\
         Generated from src/server/metrics_table.rs: `make documents`.\n"
        .to_owned();
    for (part, rows) in METRICS {
        text += &format!("\n## {part}\n\n| metric | kind | labels | |\n|---|---|---|---|\n");
        for Described { name, kind, labels, help } in *rows {
            let kind = match kind {
                Counter | Event => "counter",
                Gauge => "gauge",
                Histogram => "histogram",
            };
            text += &format!("| `{name}` | {kind} | {labels} | {help} |\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_is_up_to_date() {
        assert!(include_str!("../../docs/metrics.md") == metrics_table(), "run: make documents");
    }

    #[test]
    fn each_is_there_once_and_named_as_its_kind() {
        let names: BTreeSet<_> = all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all().count());
        for metric in all() {
            let total = metric.name.ends_with("_total");
            assert_eq!(total, matches!(metric.kind, Counter | Event), "{}", metric.name);
            assert!(metric.name.starts_with("chatctl_") && !metric.help.contains('\n'));
        }
    }
}
