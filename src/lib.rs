//! `chatctl`: a chat backend with pluggable engines, and the harness that judges them.
//!
//! The map of the house is in `ARCHITECTURE.md`. Imports go downward only:
//! `main → command → {server, bench, check, demo}`, `server → {chat, protocol}`,
//! `chat → {persistence, distribution, registry, identity} → {redis_link, cassandra_link, kafka_link, riak_link, model}`, `demo → harness`, `{bench, check} → {checker, nemesis} → history → harness → client → {protocol, identity} → model`,
//! `bench/floor → {redis_link, cassandra_link, kafka_link}`: bare programs beside the servers.
//! `{server, client, identity} → tls`: certificates. `command → transfer → persistence`: conversations from one engine to another.
//! `command → documents → {protocol, config}`: the protocol as documents.

pub mod bench;
pub mod cassandra_link;
pub mod chat;
pub mod check;
pub mod checker;
pub mod cli;
pub mod client;
pub mod clock;
pub mod command;
pub mod config;
pub mod demo;
pub mod distribution;
pub mod documents;
#[cfg(feature = "faults")]
pub mod faults;
mod file_stamp;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod harness;
pub mod history;
pub mod identity;
#[cfg(test)]
mod instructions;
pub mod kafka_link;
pub mod model;
mod nearest;
pub mod nemesis;
pub mod persistence;
pub mod protocol;
pub mod redis_link;
pub mod registry;
pub mod riak_link;
#[cfg(test)]
mod schema_violation;
pub mod server;
pub mod services;
pub mod tls;
pub mod transfer;
