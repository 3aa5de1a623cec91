//! `GET /api/v1/revocations`: records alone; with `wait`, once there is one, or after so many seconds.

use std::time::Duration;

use axum::extract::State as FromState;
use kavachos_core::invalid::Invalid;
use kavachos_engine::{MAX_FEED_WAIT, RevocationPage};
use schemars::json_schema;

use super::{FOLLOWERS, FeedCall, SINCE, number_schema, since};
use crate::error::Refusal;
use crate::operation::{About, Form, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "listRevocations",
        tag: "Revocations",
        summary: "Read what was revoked, or wait for it",
        text: "Nobody signs for these records: they can only revoke more, and give no lease. All records are kept. A number \
               beyond the last one is 409: what was followed is another log.",
        callers: FOLLOWERS,
    };
    let wait =
        json_schema!({ "type": "integer", "minimum": 0, "maximum": MAX_FEED_WAIT.as_secs() });
    Operation::get("/api/v1/revocations", ABOUT, handle)
        .query_of("since", SINCE, Form::known(number_schema()))
        .query_of(
            "wait",
            "Seconds: answers once there is a record, or after so many.",
            Form::known(wait),
        )
        .refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    FeedCall(reader): FeedCall,
    mut params: Params,
) -> Reply<Data<RevocationPage>> {
    let since = since(&mut params)?;
    let wait = params.take::<String>("wait")?;
    let wait = wait.map(|text| seconds(&text)).transpose()?;
    params.end()?;
    let wait = wait.unwrap_or_default();
    data(&state.engine.revocations_after(&reader, since, wait).await?)
}

fn seconds(text: &str) -> Result<Duration, Invalid> {
    let wait = text.parse().ok().map(Duration::from_secs);
    wait.filter(|wait| *wait <= MAX_FEED_WAIT).ok_or_else(|| {
        let message = format!("must be from 0 to {} seconds", MAX_FEED_WAIT.as_secs());
        Invalid::at("wait", message)
    })
}
