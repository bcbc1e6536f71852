//! The JSON schema of every frame, in both directions.

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value, json};

use crate::model::INTEGER_MAX;
use crate::protocol::{Command, PROTOCOL_VERSION, Push, Reply, as_on_the_wire};

/// What a frame is to the one who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Command,
    Reply,
    Push,
}

impl Kind {
    /// `command`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Reply => "reply",
            Self::Push => "push",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Command => "CommandFrame",
            Self::Reply => "ReplyFrame",
            Self::Push => "PushFrame",
        }
    }
}

/// A frame: the key that stands in it beside `id`, and what it is for.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) description: String,
    /// Its schema among the definitions.
    pub(super) definition: String,
}

/// All frames, and the definitions that they are made of.
#[derive(Debug)]
pub(super) struct Frames {
    /// Commands, then replies, then pushes, as they stand in their enums.
    pub(super) frames: Vec<Frame>,
    pub(super) definitions: BTreeMap<String, Value>,
}

impl Frames {
    /// In the dialect and with the path of definitions that `settings` say.
    pub(super) fn new(settings: &SchemaSettings) -> Self {
        let path = settings.definitions_path.to_string();
        let wire = RecursiveTransform(as_on_the_wire);
        let settings = settings.clone().with(|settings| {
            settings.meta_schema = None;
            // Before those of a dialect: it makes references out of what may be absent.
            settings.transforms.insert(0, Box::new(wire));
        });
        let mut made = Self { frames: Vec::new(), definitions: BTreeMap::new() };
        // What the server reads, and what it writes.
        let mut read = settings.clone().for_deserialize().into_generator();
        let mut written = settings.for_serialize().into_generator();
        let roots = [
            (Kind::Command, root::<Command>(&mut read)),
            (Kind::Reply, root::<Reply>(&mut written)),
            (Kind::Push, root::<Push>(&mut written)),
        ];
        // From the generators, not from the roots: transforms find definitions only where JSON Schema has them.
        for mut generator in [read, written] {
            made.definitions.extend(generator.take_definitions(true));
        }
        for (kind, root) in roots {
            made.add(kind, &path, root);
        }
        made
    }

    /// Takes the variants of an enum, each of which is an object with one key.
    fn add(&mut self, kind: Kind, path: &str, mut root: Value) {
        let Value::Array(variants) = root["oneOf"].take() else { return };
        for mut variant in variants {
            let Value::Object(properties) = variant["properties"].take() else { continue };
            for (key, body) in properties {
                let description = match &variant["description"] {
                    Value::String(text) => text.clone(),
                    _ => self.described(path, &body),
                };
                let definition = pascal_case(&key) + kind.suffix();
                let frame = Frame { kind, key, description, definition };
                self.definitions.insert(frame.definition.clone(), frame.schema(body));
                self.frames.push(frame);
            }
        }
    }

    /// What the definition that a schema refers to says of itself.
    fn described(&self, path: &str, schema: &Value) -> String {
        let prefix = format!("#{path}/");
        let name = schema["$ref"].as_str().and_then(|text| text.strip_prefix(&prefix));
        let definition = name.and_then(|name| self.definitions.get(name));
        definition.and_then(|it| it["description"].as_str()).unwrap_or_default().to_owned()
    }

    /// A schema that takes any frame of these kinds.
    pub(super) fn any_of(&self, kinds: &[Kind], path: &str, description: &str) -> Value {
        let frames = self.frames.iter().filter(|frame| kinds.contains(&frame.kind));
        let refs = frames.map(|frame| json!({"$ref": format!("#{path}/{}", frame.definition)}));
        json!({"description": description, "oneOf": refs.collect::<Vec<_>>()})
    }
}

impl Frame {
    /// The object around a body.
    fn schema(&self, body: Value) -> Value {
        let mut properties = Map::new();
        let mut required = vec![json!(self.key)];
        if self.kind != Kind::Push {
            let description = match self.kind {
                Kind::Command => "Of the client's choice; the reply has the same.",
                _ => "That of the command; absent where it could not be read.",
            };
            let id = json!({
                "description": description, "type": "integer", "minimum": 1, "maximum": INTEGER_MAX,
            });
            properties.insert("id".to_owned(), id);
            if self.key != "error" {
                required.push(json!("id"));
            }
        }
        properties.insert(self.key.clone(), body);
        json!({
            "description": self.description,
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

fn root<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.root_schema_for::<T>().to_value()
}

/// `open` → `Open`.
fn pascal_case(name: &str) -> String {
    let mut characters = name.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

/// Where the definitions of the schema stand.
const DEFINITIONS: &str = "/$defs";

/// `docs/frames.schema.json`: JSON Schema 2020-12 of every frame.
pub fn frames_schema() -> serde_json::Result<String> {
    let settings = SchemaSettings::draft2020_12();
    let mut frames = Frames::new(&settings);
    let unions = [
        ("CommandFrame", &[Kind::Command][..], "Any frame of a client."),
        ("ServerFrame", &[Kind::Reply, Kind::Push][..], "Any frame of the server."),
    ];
    for (name, kinds, description) in unions {
        let union = frames.any_of(kinds, DEFINITIONS, description);
        frames.definitions.insert(name.to_owned(), union);
    }
    let schema = json!({
        "$schema": settings.meta_schema,
        "title": format!("Frames of the chat protocol, version {PROTOCOL_VERSION}"),
        "description": "Each text frame is one JSON object: `#/$defs/CommandFrame` from a client, `#/$defs/ServerFrame` from the server. \
            Lengths count characters here; where a limit counts bytes of UTF-8, its description says so. \
            What the schema cannot say stands in docs/protocol.md.",
        "anyOf": [{"$ref": "#/$defs/CommandFrame"}, {"$ref": "#/$defs/ServerFrame"}],
        "$defs": frames.definitions,
    });
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_up_to_date() {
        let committed = include_str!("../../docs/frames.schema.json");
        assert!(committed == frames_schema().unwrap(), "run: make documents");
    }

    #[test]
    fn nothing_is_null_and_every_integer_has_its_ends() {
        fn look(value: &Value, path: &str) {
            match value {
                Value::Object(map) => {
                    assert!(map.get("type") != Some(&json!("null")), "{path}");
                    if map.get("type") == Some(&json!("integer")) {
                        let is_bound = |key| map.contains_key(key) || map.contains_key("const");
                        assert!(is_bound("minimum") && is_bound("maximum"), "{path}: {value}");
                    }
                    map.iter().for_each(|(key, value)| look(value, &format!("{path}/{key}")));
                }
                Value::Array(values) => values.iter().for_each(|value| look(value, path)),
                other => assert!(!other.is_null(), "{path}"),
            }
        }
        let schema: Value = serde_json::from_str(&frames_schema().unwrap()).unwrap();
        look(&schema, "");
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            let text = definition["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} says what it is");
        }
    }

    #[test]
    fn a_definition_is_the_same_for_who_reads_and_who_writes() {
        let settings =
            SchemaSettings::draft2020_12().with_transform(RecursiveTransform(as_on_the_wire));
        let mut read = settings.clone().for_deserialize().into_generator();
        let mut written = settings.for_serialize().into_generator();
        let read = root::<Command>(&mut read);
        let written = [root::<Reply>(&mut written), root::<Push>(&mut written)];
        let mut both = 0;
        for written in written.iter().filter_map(|root| root["$defs"].as_object()) {
            for (name, definition) in written {
                if let Some(other) = read["$defs"].get(name) {
                    assert_eq!(definition, other, "{name}");
                    both += 1;
                }
            }
        }
        assert!(both >= 5, "{both}");
    }
}
