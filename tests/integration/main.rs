//! The binary from outside: real processes, real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test that panics has failed, runs a few futures, and is scaled and read by people"
)]
mod bad_input;
mod bench_check;
mod bench_nemesis;
mod canaries;
mod cassandra_engine;
mod check;
mod clients;
mod compare;
mod compose;
mod config_show;
mod connection_limits;
mod conversation;
#[cfg(feature = "faults")]
mod crash_points;
mod dashboard;
mod doctor;
mod documents;
mod equivalence;
mod faults;
mod first_run;
mod floor;
mod formats;
mod gates;
mod groups;
mod growth;
mod guides;
mod host_faults;
mod identity;
mod init_env;
mod kafka_access;
mod kafka_bus;
mod kafka_costs;
mod kafka_nemesis;
mod limits;
mod links;
#[cfg(feature = "faults")]
mod mutants;
mod nemesis;
mod nodes;
mod open_loop;
mod operations;
mod overload;
mod packaging;
mod page;
mod push;
mod rates;
mod realtime;
mod redis_access;
mod redis_cluster;
mod redis_engine;
mod redis_sentinel;
mod report_page;
mod revocation;
mod riak_engine;
#[path = "../../src/persistence/conformance/riak_server/mod.rs"]
mod riak_server;
#[cfg(feature = "faults")]
mod slow_servers;
mod socketio;
mod stock_tools;
mod support;
mod tls;
mod transfer;
mod websocket_handshake;
mod websocket_rfc;
