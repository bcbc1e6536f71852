//! HTTP on the public listener.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{any, get};
use axum::{Json, Router, middleware};
use schemars::JsonSchema;
use serde::Serialize;

use super::origin::{Guard, guard};
use super::socketio::{self, SocketIo};
use super::{Node, page, upgrade};
use crate::protocol::WEBSOCKET_PATH;

/// The routes; the guard stands before all of them, unknown paths included.
pub(super) fn router(node: Arc<Node>, loopback: bool) -> Router {
    let rule = Arc::new(Guard { loopback, origins: node.settings.origins.clone() });
    let socket_io = Arc::new(SocketIo::new(Arc::clone(&node)));
    let socket_io = Router::new()
        .route("/socket.io", any(socketio::serve))
        .route("/socket.io/", any(socketio::serve))
        .with_state(socket_io);
    Router::new()
        .merge(page::routes("/", "index.html"))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route(WEBSOCKET_PATH, any(upgrade::upgrade))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here\n") })
        .with_state(node)
        .merge(socket_io)
        .layer(middleware::from_fn_with_state(rule, guard))
}

/// Whether the node should get clients; why not is not everybody's business.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ready {
    /// It should.
    ready: bool,
}

async fn readyz(State(node): State<Arc<Node>>) -> (StatusCode, Json<Ready>) {
    let ready = node.readiness.report().ready;
    (super::readiness::status(ready), Json(Ready { ready }))
}
