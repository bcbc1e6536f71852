//! What `docs/` says of the protocol and of HTTP, against servers that live.

mod examples;
mod http;
mod parsers;
mod schema;

use serde_json::Value;

/// A document as it is committed.
fn document(name: &str) -> Value {
    let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
