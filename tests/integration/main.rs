//! The binary from outside: real processes, real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, weighs nothing for long, and is told its length by the environment"
)]

mod bad_input;
mod conversation;
mod faults;
mod limits;
mod operations;
mod realtime;
mod support;
