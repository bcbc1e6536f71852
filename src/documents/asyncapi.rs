//! `docs/asyncapi.json`: the WebSocket as AsyncAPI 3 describes it, as seen by the server.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::examples::{Example, examples};
use super::frames::{Frame, Frames, Kind};
use crate::protocol::{PROTOCOL_VERSION, WEBSOCKET_PATH};

/// Where AsyncAPI keeps schemas. It knows the dialect of JSON Schema draft 7.
const SCHEMAS: &str = "/components/schemas";

const DESCRIPTION: &str = "JSON in text frames, one object per frame. A client sends commands `{\"id\":7,\"send\":{…}}`; each is answered by a reply of the same \
    `id`, which has the method's name or `error`. Pushes have no `id`. The first command is `hello`.\n\n\
    docs/protocol.md is the normative text: what is promised, in which order, and what to do when a connection ends. docs/errors.md has the error and \
    close codes, docs/limits.md the limits, docs/frames.schema.json the same schemas as JSON Schema 2020-12.\n\n\
    The examples are one conversation: those with the same `id` belong together, and the ids tell their order. Ids of sessions, nodes, groups and epochs, \
    cursors, tokens and times of commit are others in each run.\n\n\
    *Over Socket.IO* (path `/socket.io`, Engine.IO 4, WebSocket and polling) the same is said in events: `auth: {token}` or `{user}` of the handshake stands for \
    `hello`, whose reply comes as the event `hello`; each method is an event of its name with the same body and an acknowledgement callback that gets `{ok:{…}}` or \
    `{error:{…}}`; pushes are events of their names.";

/// The text of `docs/asyncapi.json`.
pub fn asyncapi() -> serde_json::Result<String> {
    let settings = SchemaSettings::draft07().with(|it| it.definitions_path = SCHEMAS.into());
    let frames = Frames::new(&settings);
    let examples = examples()?;
    let (mut messages, mut of_channel, mut operations) = (Map::new(), Map::new(), Map::new());
    for frame in &frames.frames {
        let name = message_name(frame.kind, &frame.key);
        let reference = json!({"$ref": format!("#/components/messages/{name}")});
        of_channel.insert(name.clone(), reference);
        messages.insert(name, message(frame, &examples));
        if let Some((name, operation)) = operation(frame) {
            operations.insert(name, operation);
        }
    }
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "chatctl",
            "version": format!("{PROTOCOL_VERSION}.0.0"),
            "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0"},
            "tags": [{"name": "chat"}],
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8080",
                "protocol": "ws",
                "description": "`chatctl serve` as it comes (CHATCTL_LISTEN).",
            },
            "tls": {
                "host": "{host}",
                "protocol": "wss",
                "description": "With a certificate (CHATCTL_TLS_CERT).",
                "variables": {"host": {"description": "Host and port.", "default": "chat.example:8080"}},
            },
        },
        "channels": {
            "frames": {
                "address": WEBSOCKET_PATH,
                "title": "The WebSocket",
                "description": "Everything of one session. A request whose `Origin` is neither the `Host` nor allowed is refused (403).",
                "servers": [{"$ref": "#/servers/local"}, {"$ref": "#/servers/tls"}],
                "messages": of_channel,
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": frames.definitions},
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// `sendCommand`.
fn message_name(kind: Kind, key: &str) -> String {
    let mut name = key.to_owned();
    name.extend(
        kind.name().chars().enumerate().map(|(at, character)| {
            if at == 0 { character.to_ascii_uppercase() } else { character }
        }),
    );
    name
}

fn message(frame: &Frame, examples: &[Example]) -> Value {
    let of_frame = |example: &&Example| example.kind == frame.kind && example.key == frame.key;
    let shown: Vec<_> = examples
        .iter()
        .filter(of_frame)
        .map(|it| json!({"name": it.name, "summary": it.summary, "payload": it.payload}))
        .collect();
    let mut message = json!({
        "name": frame.key,
        "title": format!("{} ({})", frame.key, frame.kind.name()),
        "summary": frame.description,
        "contentType": "application/json",
        "payload": {"$ref": format!("#{SCHEMAS}/{}", frame.definition)},
        "examples": shown,
    });
    if frame.kind != Kind::Push {
        message["correlationId"] = json!({"location": "$message.payload#/id"});
    }
    message
}

/// A command and its replies, or a push; a reply is no operation of its own.
fn operation(frame: &Frame) -> Option<(String, Value)> {
    let channel = json!({"$ref": "#/channels/frames"});
    let of_channel = |kind, key: &str| json!({"$ref": format!("#/channels/frames/messages/{}", message_name(kind, key))});
    let mut operation = json!({
        "channel": channel,
        "summary": frame.description,
        "messages": [of_channel(frame.kind, &frame.key)],
    });
    let name = match frame.kind {
        Kind::Reply => return None,
        Kind::Command => {
            let messages = [of_channel(Kind::Reply, &frame.key), of_channel(Kind::Reply, "error")];
            operation["action"] = json!("receive");
            operation["reply"] = json!({"channel": channel, "messages": messages});
            frame.key.clone()
        }
        Kind::Push => {
            operation["action"] = json!("send");
            message_name(frame.kind, &frame.key)
        }
    };
    Some((name, operation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ServerFrame, parse_command};

    #[test]
    fn the_document_is_up_to_date() {
        let committed = include_str!("../../docs/asyncapi.json");
        assert!(committed == asyncapi().unwrap(), "run: make documents");
    }

    #[test]
    fn its_schemas_say_what_those_of_the_frames_say() {
        /// The same, as draft 2020-12 writes it.
        fn renamed(value: &Value) -> Value {
            match value {
                Value::Object(map) => {
                    let mut map: Map<_, _> =
                        map.iter().map(|(key, value)| (key.clone(), renamed(value))).collect();
                    if let Some(Value::Array(all)) = map.remove("allOf") {
                        map.insert("$ref".to_owned(), all[0]["$ref"].clone());
                    }
                    Value::Object(map)
                }
                Value::Array(values) => values.iter().map(renamed).collect(),
                Value::String(text) => json!(text.replace("#/components/schemas/", "#/$defs/")),
                other => other.clone(),
            }
        }
        let document: Value = serde_json::from_str(&asyncapi().unwrap()).unwrap();
        let frames = Frames::new(&SchemaSettings::draft2020_12()).definitions;
        let schemas = renamed(&document["components"]["schemas"]);
        assert_eq!(schemas, serde_json::to_value(frames).unwrap());
    }

    #[test]
    fn every_message_has_an_example_that_is_what_it_says() {
        let frames = Frames::new(&SchemaSettings::draft2020_12()).frames;
        let examples = examples().unwrap();
        for Frame { kind, key, .. } in &frames {
            let shown = examples.iter().filter(|it| it.kind == *kind && it.key == *key);
            assert!(shown.count() > 0, "{kind:?} {key}");
        }
        for Example { kind, key, name, payload, .. } in &examples {
            assert!(frames.iter().any(|it| it.kind == *kind && it.key == *key), "{kind:?} {key}");
            assert!(payload.get(key).is_some(), "{name}");
            let text = payload.to_string();
            match kind {
                Kind::Command => drop(parse_command(&text).unwrap()),
                Kind::Reply | Kind::Push => drop(ServerFrame::parse(&text).unwrap()),
            }
        }
    }
}
