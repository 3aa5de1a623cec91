//! `GET /.well-known/authzen-configuration`: where this policy decision point answers.

use axum::extract::State as FromState;
use http::StatusCode;
use serde::Serialize;

use crate::params::Params;
use crate::reply::{Reply, json};
use crate::state::State;

#[derive(Serialize)]
struct Configuration<'a> {
    policy_decision_point: &'a str,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
}

pub(crate) async fn handle(FromState(state): FromState<State>, params: Params) -> Reply {
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
