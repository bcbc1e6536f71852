//! The binary from outside: real processes, real sockets.

mod bad_input;
mod conversation;
mod faults;
mod limits;
mod operations;
mod realtime;
mod support;
