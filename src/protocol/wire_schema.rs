//! What every JSON schema of ours says beyond the types.

use schemars::Schema;
use serde_json::{Value, json};

use crate::model::INTEGER_MAX;

/// A transform of a schema: what Rust's types leave open (nothing is ever `null`, no integer is larger than every reader holds), and
/// texts as paragraphs.
pub fn as_on_the_wire(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        // Doc comments are wrapped; only an empty line begins a paragraph.
        let paragraphs: Vec<_> = text.split("\n\n").map(|part| part.replace('\n', " ")).collect();
        *text = paragraphs.join("\n\n");
    }
    let null = json!({"type": "null"});
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(kinds)) = schema.get_mut("anyOf")
        && let Some(at) = kinds.iter().position(|kind| *kind == null)
    {
        kinds.remove(at);
        if let [Value::Object(only)] = kinds.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    let is_unsigned = |format: &Value| format.as_str().is_some_and(|name| name.starts_with("uint"));
    if schema.get("format").is_some_and(is_unsigned) {
        schema.remove("format");
        if schema.get("maximum").is_none() && schema.get("const").is_none() {
            schema.insert("maximum".to_owned(), json!(INTEGER_MAX));
        }
    }
}
