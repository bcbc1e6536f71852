//! HTTP on the admin listener.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};

use super::origin::{Guard, guard};
use super::readiness::{Report, status};
use super::revoke::{Permission, revoke};
use super::{Node, page};

/// The routes. The same guard as on the public listener: metrics are no business of web pages.
pub(super) fn router(node: Arc<Node>, loopback: bool) -> Router {
    let permission = Permission::new(loopback, node.settings.admin_token.as_ref());
    let revoke = post(revoke).with_state((Arc::clone(&node), permission));
    let rule = Arc::new(Guard { loopback, origins: node.settings.origins.clone() });
    Router::new()
        .route("/", get(|| async { "chatctl: see /status, /metrics and /readyz\n" }))
        .merge(page::routes("/status", "status.html"))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/revoke", revoke)
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here\n") })
        .with_state(node)
        .layer(middleware::from_fn_with_state(rule, guard))
}

async fn readyz(State(node): State<Arc<Node>>) -> (StatusCode, Json<Report>) {
    let report = node.readiness.report();
    (status(report.ready), Json(report))
}

async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let text = node.metrics.render(&node).await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
