//! The documents of the protocol, made from the types that speak it: the schemas of all frames, AsyncAPI, the tables of codes.
//!
//! `docs/` holds them; tests compare, and `make documents` writes them anew.

mod asyncapi;
mod codes;
mod examples;
mod frames;

pub use asyncapi::asyncapi;
pub use codes::codes;
pub use frames::frames_schema;
