//! `POST /api/v1/delegate/{id}/token`: the token that the caller was promised by another agent, once.

use axum::extract::State as FromState;

use super::Token;
use crate::body::{Nothing, Question};
use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Operation};
use crate::possession::Possession;
use crate::reply::{Data, Reply, data};
use crate::routes::PathId;
use crate::state::State;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "redeemDelegation",
        tag: "Tokens",
        summary: "Make the token of a delegation that another agent gave for one",
        text: "For the agent that got it, with its own key, once. It lives until the delegation ends, and dies with everything that it comes from. A proof in the header `DPoP` (RFC 9449) binds it to a key.",
        callers: &[Caller::Agent],
    };
    Operation::post("/api/v1/delegate/{id}/token", ABOUT, handle).refusing(&[
        Refusal::NotNarrower,
        Refusal::NotFound,
        Refusal::Conflict,
    ])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    PathId(id): PathId<kavachos_core::id::kind::Grant>,
    Possession(proof): Possession,
    Question(_): Question<Nothing>,
) -> Reply<Data<Token>> {
    let minted = state.engine.redeem(&actor, id, proof.as_ref()).await?;
    data(&Token::of(minted))
}
