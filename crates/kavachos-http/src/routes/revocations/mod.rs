//! The feed of revocations, for those who accept tokens by a copy of the log.

pub(crate) mod head;
pub(crate) mod list;
pub(crate) mod snapshot;
pub(crate) mod stream;

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::Scope;
use kavachos_engine::page::CursorKey;
use kavachos_engine::{FeedAccess, FeedReader};
use schemars::{Schema, json_schema};

use crate::call::{Call, LocalCaller, client_ip};
use crate::error::Failure;
use crate::operation::{Caller, Description};
use crate::params::Params;
use crate::signature::Tells;
use crate::state::State;

/// Who may follow, besides everyone where the feed is open.
const FOLLOWERS: &[Caller] = &[Caller::ToolServer, Caller::Operator(Scope::AuditRead)];

/// A call by a follower: with a live credential, or without one where the feed is open to everyone.
pub(crate) struct FeedCall(pub(crate) FeedReader);

impl FromRequestParts<State> for FeedCall {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        let open = state.engine.settings().feed == FeedAccess::Everyone;
        let says_who = parts.headers.contains_key(AUTHORIZATION)
            || parts.extensions.get::<LocalCaller>().is_some();
        if open && !says_who {
            let address = client_ip(parts, state)?;
            return Ok(Self(FeedReader::Anyone(address)));
        }
        let Call(actor) = Call::from_request_parts(parts, state).await?;
        Ok(Self(FeedReader::Known(actor)))
    }
}

impl Tells for FeedCall {
    fn tell(description: &mut Description) {
        Call::tell(description);
    }
}

/// The number of a record, 0 for before the first.
fn since(params: &mut Params) -> Result<u64, Invalid> {
    let given: Option<String> = params.take("since")?;
    given.map_or(Ok(0), |text| number("since", &text))
}

fn number(name: &str, text: &str) -> Result<u64, Invalid> {
    let wrong = || Invalid::at(name, "must be the number of a record, its `rseq`, or 0");
    u64::decode(text).ok_or_else(wrong)
}

fn number_schema() -> Schema {
    json_schema!({ "type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$" })
}

const SINCE: &str = "The number of a record: those after it. 0 unless said, for all.";
