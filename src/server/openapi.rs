//! `docs/openapi.json` and `docs/openapi-admin.json`: the HTTP of the two listeners as OpenAPI 3.1 describes it.
//!
//! Two documents, because the same path answers something else on the other listener. The bodies come from the types that are written;
//! the paths stand here by hand, and `tests/integration/documents.rs` asks a server for each of them.

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::RecursiveTransform;
use serde_json::{Value, json};

use super::public::Ready;
use super::readiness::Report;
use super::revoke::RevokeAnswer;
use crate::model::Revoked;
use crate::protocol::{PROTOCOL_VERSION, WEBSOCKET_PATH, as_on_the_wire};

/// Schemas of bodies, and where the document keeps them.
struct Bodies(SchemaGenerator);

impl Bodies {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|it| {
            it.definitions_path = "/components/schemas".into();
            it.meta_schema = None;
        });
        let wire = RecursiveTransform(as_on_the_wire);
        Self(settings.with_transform(wire).for_serialize().into_generator())
    }

    fn json<T: JsonSchema>(&mut self) -> Value {
        json!({"application/json": {"schema": self.0.subschema_for::<T>()}})
    }

    fn all(mut self) -> Value {
        Value::Object(self.0.take_definitions(true))
    }
}

fn text(kind: &str) -> Value {
    json!({kind: {"schema": {"type": "string"}}})
}

/// An answer with a text for people.
fn says(description: &str) -> Value {
    json!({"description": description, "content": text("text/plain")})
}

/// What the guard answers before anything else looks at a request.
fn forbidden() -> Value {
    says(
        "The `Origin` is neither the `Host` nor allowed (CHATCTL_ALLOWED_ORIGINS), or a loopback listener was asked under another name.",
    )
}

fn page(id: &str, summary: &str) -> Value {
    json!({"get": {
        "operationId": id, "summary": summary, "security": [],
        "responses": {
            "200": {"description": "The page.", "content": text("text/html")},
            "304": {"description": "As `If-None-Match` has it."},
            "403": forbidden(),
        },
    }})
}

/// What a page is made of.
fn parts() -> Value {
    json!({"get": {
        "operationId": "pagePart", "summary": "What the page is made of", "security": [],
        "parameters": [{
            "name": "name", "in": "path", "required": true, "schema": {"type": "string"}, "example": "style.css",
        }],
        "responses": {
            "200": {
                "description": "A script, a style or a picture.",
                "content": {"text/javascript": {}, "text/css": {}, "image/svg+xml": {}},
            },
            "304": {"description": "As `If-None-Match` has it."},
            "403": forbidden(),
            "404": says("There is no such part."),
        },
    }})
}

fn healthz() -> Value {
    json!({"get": {
        "operationId": "isAlive", "summary": "Does the process live?", "security": [],
        "responses": {"200": says("It does."), "403": forbidden()},
    }})
}

fn readyz(body: &Value) -> Value {
    json!({"get": {
        "operationId": "isReady", "summary": "Should the node get clients?", "security": [],
        "responses": {
            "200": {"description": "It should.", "content": body},
            "403": forbidden(),
            "503": {"description": "It should not.", "content": body},
        },
    }})
}

fn document(
    title: &str,
    description: &str,
    server: Value,
    paths: Value,
    components: Value,
) -> serde_json::Result<String> {
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": title, "version": format!("{PROTOCOL_VERSION}.0.0"), "description": description,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [server],
        "paths": paths,
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The text of `docs/openapi.json`: the public listener.
pub fn openapi() -> serde_json::Result<String> {
    let mut bodies = Bodies::new();
    let ready = bodies.json::<Ready>();
    let socket = json!({"get": {
        "operationId": "webSocket", "summary": "The WebSocket: docs/asyncapi.json", "security": [],
        "responses": {
            "101": {"description": "A WebSocket from here on."},
            "400": says("`Sec-WebSocket-Key` is missing or none."),
            "403": forbidden(),
            "405": says("Another method than GET."),
            "426": says("No handshake of a WebSocket, or another version than 13."),
            "429": says("Too many connections from this address (docs/limits.md)."),
            "503": says("The server shuts down, or has as many connections as it takes."),
        },
    }});
    let engine = |id: &str, summary: &str| {
        json!({
            "operationId": id, "summary": summary, "security": [],
            "description": "Spoken by clients of Socket.IO (Engine.IO 4), which ask for it with a slash at its end; docs/protocol.md has what stands in its events.",
            "parameters": [
                {"name": "EIO", "in": "query", "required": true, "schema": {"const": "4"}, "example": "4"},
                {"name": "transport", "in": "query", "required": true, "schema": {"enum": ["polling", "websocket"]}, "example": "polling"},
                {"name": "sid", "in": "query", "required": false, "schema": {"type": "string"}},
            ],
            "responses": {
                "200": {"description": "Packets, or `ok`.", "content": text("text/plain")},
                "400": {
                    "description": "No request of Engine.IO 4, or of no session that there is.",
                    "content": {"application/json": {"schema": {
                        "type": "object",
                        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
                        "required": ["code", "message"],
                    }}},
                },
                "403": forbidden(),
            },
        })
    };
    let paths = json!({
        "/": page("chatPage", "A chat in the browser"),
        "/page/{name}": parts(),
        "/healthz": healthz(),
        "/readyz": readyz(&ready),
        WEBSOCKET_PATH: socket,
        "/socket.io": {"get": engine("poll", "A session, or what it has to say"), "post": engine("say", "What a client has to say")},
    });
    document(
        "chatctl: HTTP for clients",
        "The public listener (CHATCTL_LISTEN). The chat itself is a WebSocket: docs/asyncapi.json.",
        json!({"url": "http://127.0.0.1:8080", "description": "As it comes; https with CHATCTL_TLS_CERT."}),
        paths,
        json!({"schemas": bodies.all()}),
    )
}

/// The text of `docs/openapi-admin.json`: the admin listener.
pub fn openapi_admin() -> serde_json::Result<String> {
    let mut bodies = Bodies::new();
    let report = bodies.json::<Report>();
    let (mut asked, answer) = (bodies.json::<Revoked>(), bodies.json::<RevokeAnswer>());
    asked["application/json"]["examples"] = json!({
        "user": {"summary": "All tokens of a user so far", "value": {"user": "ann"}},
        "token": {"summary": "One token, by its jti", "value": {"token_id": "019b7a5e1f2c7d3a8b4c5d6e7f8091a2"}},
    });
    let revoke = json!({"post": {
        "operationId": "revoke", "summary": "Take somebody's access away, on all nodes",
        "description": "From the own machine without a secret, if the listener is of a loopback address and CHATCTL_ADMIN_TOKEN is not set.",
        "security": [{}, {"adminToken": []}],
        "requestBody": {"required": true, "content": asked},
        "responses": {
            "200": {"description": "Revoked.", "content": answer},
            "400": says("Nothing that can be revoked; or the server wants no tokens."),
            "401": says("CHATCTL_ADMIN_TOKEN is set, and was not shown."),
            "403": says("As everywhere; or the listener is of no loopback address, and CHATCTL_ADMIN_TOKEN is not set."),
            "415": says("Another type than application/json."),
            "503": says("It could not be kept for all nodes; sessions of this node were closed."),
        },
    }});
    let metrics = json!({"get": {
        "operationId": "metrics", "summary": "Metrics: docs/metrics.md", "security": [],
        "responses": {
            "200": {"description": "The text format of Prometheus.", "content": text("text/plain")},
            "403": forbidden(),
        },
    }});
    let signpost = json!({"get": {
        "operationId": "signpost", "summary": "Where to look", "security": [],
        "responses": {"200": says("The names of the other paths."), "403": forbidden()},
    }});
    let paths = json!({
        "/": signpost,
        "/status": page("statusPage", "The node of this moment"),
        "/page/{name}": parts(),
        "/healthz": healthz(),
        "/readyz": readyz(&report),
        "/metrics": metrics,
        "/revoke": revoke,
    });
    let token = json!({"type": "http", "scheme": "bearer", "description": "CHATCTL_ADMIN_TOKEN"});
    document(
        "chatctl: HTTP for operators",
        "The admin listener (CHATCTL_ADMIN_LISTEN), by default of the own machine.",
        json!({"url": "http://127.0.0.1:8081", "description": "As it comes."}),
        paths,
        json!({"schemas": bodies.all(), "securitySchemes": {"adminToken": token}}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_up_to_date() {
        let committed = [
            (include_str!("../../docs/openapi.json"), openapi()),
            (include_str!("../../docs/openapi-admin.json"), openapi_admin()),
        ];
        for (committed, made) in committed {
            assert!(committed == made.unwrap(), "run: make documents");
        }
    }
}
