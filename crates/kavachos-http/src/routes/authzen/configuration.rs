//! `GET /.well-known/authzen-configuration`: where this policy decision point answers.

use axum::extract::State as FromState;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::operation::{About, Operation};
use crate::params::Params;
use crate::reply::{Bare, Reply, json};
use crate::state::State;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthzenConfiguration")]
pub(crate) struct Configuration<'a> {
    policy_decision_point: &'a str,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "authzenConfiguration",
        tag: "AuthZEN",
        summary: "Find the AuthZEN endpoints",
        text: "",
        callers: &[],
    };
    Operation::get("/.well-known/authzen-configuration", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    params: Params,
) -> Reply<Bare<Configuration<'static>>> {
    params.end()?;
    let public = state.public_url();
    json(
        StatusCode::OK,
        &Configuration {
            policy_decision_point: public,
            access_evaluation_endpoint: format!("{public}/access/v1/evaluation"),
            access_evaluations_endpoint: format!("{public}/access/v1/evaluations"),
        },
    )
}
