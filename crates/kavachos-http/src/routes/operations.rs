//! The open routes, for whoever operates the server.

use axum::extract::State as FromState;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use kavachos_store::Health;
use serde::Serialize;

use crate::reply::{Reply, data, json};
use crate::state::State;

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
struct Data {
    data: Status,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Reply {
    data(&Status { status: "ok" })
}

/// `GET /readyz`: 200 when changes can be committed, else 503.
pub(crate) async fn readyz(FromState(state): FromState<State>) -> Reply {
    let (code, status) = match state.engine.readiness().await {
        Health::Ready => (StatusCode::OK, "ready"),
        Health::Failing(_) => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
        Health::Stopped(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopped"),
    };
    json(
        code,
        &Data {
            data: Status { status },
        },
    )
}

/// `GET /metrics`: OpenMetrics text.
pub(crate) async fn metrics(FromState(state): FromState<State>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(CONTENT_TYPE, OPEN_METRICS)],
        state.metrics.render(&state.engine),
    )
        .into_response()
}

/// `GET /version`: the version of the server.
pub(crate) async fn version() -> Reply {
    data(&Version {
        version: env!("CARGO_PKG_VERSION"),
    })
}
