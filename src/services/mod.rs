//! Real Redis, Kafka and Cassandra for `init-env` and for tests.

mod compose;

pub use compose::{Compose, ComposeError, ComposePrograms, find_engine};
