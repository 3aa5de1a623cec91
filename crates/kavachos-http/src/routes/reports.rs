//! `POST /api/v1/reports`: a tool server tells which calls it allowed and refused by itself.

use std::num::NonZeroU32;

use axum::extract::State as FromState;
use kavachos_core::action::Action;
use kavachos_core::id::TokenId;
use kavachos_core::json::Object;
use kavachos_core::resource::Resource;
use kavachos_core::time::Timestamp;
use kavachos_engine::{MAX_REPORTS, Report, Reported};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Body;
use crate::call::Call;
use crate::operation::{About, Caller, Operation};
use crate::reply::{Done, Reply, done};
use crate::state::State;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Reports")]
pub(crate) struct Batch {
    /// The decisions, in any order.
    #[schemars(length(min = 1, max = MAX_REPORTS))]
    decisions: Vec<Object<Item>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Report")]
pub(crate) struct Item {
    /// The name of the token that was shown, its `jti`.
    token_id: TokenId,
    /// What was to be done.
    action: Action,
    /// With what.
    resource: Resource,
    /// Whether it was let be done.
    allowed: bool,
    /// `allowed`, or the code with which it was refused.
    #[schemars(length(min = 1, max = 64))]
    code: String,
    /// When: at most an hour ago.
    time: Timestamp,
    /// Whether the sender proved to hold the key of the token.
    proven: bool,
    /// How many refusals of the same token, action, resource and code it stands for.
    #[serde(default = "one")]
    count: NonZeroU32,
}

const fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "reportDecisions",
        tag: "Decisions",
        summary: "Report decisions that a tool server made by itself",
        text: "Each becomes a record `decision.reported` with `reportedBy`; none is taken for a decision of this server. \
               The `Idempotency-Key` is needed: it names the batch, which is recorded once. What cannot be recorded is \
               listed, and sending it again does not help.",
        callers: &[Caller::ToolServer],
    };
    Operation::post("/api/v1/reports", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Batch>,
) -> Reply<Done<Reported>> {
    let (batch, actor) = body.with(actor);
    // One more than there may be, for the engine to refuse.
    let items = batch.decisions.into_iter().take(MAX_REPORTS + 1);
    let reports: Vec<Report> = items.map(|Object(item)| item.read()).collect();
    done(&state.engine.report(&actor, &reports).await?)
}

impl Item {
    fn read(self) -> Report {
        Report {
            token: self.token_id,
            action: self.action,
            resource: self.resource,
            allowed: self.allowed,
            code: self.code,
            time: self.time,
            proven: self.proven,
            count: self.count,
        }
    }
}
