//! The open routes, for whoever operates the server.

use axum::extract::State as FromState;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use kavachos_store::Health;
use schemars::JsonSchema;
use serde::Serialize;

use crate::operation::{About, Answer, Description, Form, Operation};
use crate::reply::{Answered, Data, Kind, Reply, data, json};
use crate::state::State;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ServerStatus")]
pub(crate) struct Status {
    #[schemars(extend("enum" = ["ok", "ready", "failing", "stopped"]))]
    status: &'static str,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Version {
    /// As in the changelog.
    version: &'static str,
}

/// 200 or 503, in the same form.
pub(crate) struct Readiness;

impl Kind for Readiness {
    fn tell(description: &mut Description) {
        description.answer::<Data<Status>>(200);
        description.answer::<Data<Status>>(503);
    }
}

/// 200 with OpenMetrics text.
pub(crate) struct Metrics;

impl Kind for Metrics {
    fn tell(description: &mut Description) {
        description.answers.push(Answer {
            status: 200,
            media_type: OPEN_METRICS,
            form: Form::of::<String>(),
            headers: &[],
        });
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of them.
pub(crate) fn operations() -> Vec<Operation> {
    let about = |id, summary, text| About {
        id,
        tag: "Operation",
        summary,
        text,
        callers: &[],
    };
    let alive = about("healthz", "Tell whether the process answers", "");
    let ready = about(
        "readyz",
        "Tell whether changes can be committed",
        "200 when they can, else 503.",
    );
    let counts = about(
        "metrics",
        "Read counters",
        "OpenMetrics text, without names and ids.",
    );
    let number = about("version", "Read the version of the server", "");
    vec![
        Operation::get("/healthz", alive, healthz),
        Operation::get("/readyz", ready, readyz),
        Operation::get("/metrics", counts, metrics),
        Operation::get("/version", number, version),
    ]
}

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Reply<Data<Status>> {
    data(&Status { status: "ok" })
}

/// `GET /readyz`: 200 when changes can be committed, else 503.
pub(crate) async fn readyz(FromState(state): FromState<State>) -> Reply<Readiness> {
    let (code, status) = match state.engine.readiness().await {
        Health::Ready => (StatusCode::OK, "ready"),
        Health::Failing(_) => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
        Health::Stopped(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopped"),
    };
    json(code, &Data::of(Status { status }))
}

/// `GET /metrics`: OpenMetrics text.
pub(crate) async fn metrics(FromState(state): FromState<State>) -> Answered<Metrics> {
    let response = (
        [(CONTENT_TYPE, OPEN_METRICS)],
        state.metrics.render(&state.engine),
    );
    Answered::of(response.into_response())
}

/// `GET /version`: the version of the server.
pub(crate) async fn version() -> Reply<Data<Version>> {
    data(&Version {
        version: env!("CARGO_PKG_VERSION"),
    })
}
