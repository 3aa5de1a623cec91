//! `POST /api/v1/import`: fills an empty tenant with an exported one, all of it or nothing. The body is read as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{FromRequestParts, Request, State as FromState};
use futures_util::stream::{Stream, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use kavachos_core::invalid::Invalid;
use kavachos_engine::{Imported, LedgerRoot};
use schemars::json_schema;

use super::LINES;
use crate::call::Call;
use crate::error::{Failure, Refusal};
use crate::operation::{About, Caller, Form, Operation};
use crate::params::Params;
use crate::reply::{Data, Reply, data};
use crate::signature::OF_CALLERS;
use crate::state::State;

/// Names the root that is expected.
const EXPECT_ROOT: &str = "expectRoot";

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "importTenant",
        tag: "Tenant",
        summary: "Fill an empty tenant with an exported one",
        text: "All of it or nothing; what is wrong is told with its line. The keys of the empty tenant are gone afterwards, \
               the one that called too: those of the file are in force. `warning` says when \
               none of them can administer everything.",
        callers: &[Caller::EveryScope],
    };
    Operation::post("/api/v1/import", ABOUT, handle)
        .reading(LINES)
        .query_of(
            EXPECT_ROOT,
            "The root that the records of the file must come to, as `kavach export` printed it. Another one is refused \
             before anything is read.",
            Form::known(json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })),
        )
        .refusing(&[
            Refusal::MalformedRequest,
            Refusal::Conflict,
            Refusal::RequestTimeout,
            Refusal::TooLarge,
        ])
        .refusing(&OF_CALLERS)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    request: Request,
) -> Reply<Data<Imported>> {
    let (mut parts, body) = request.into_parts();
    let Call(actor) = Call::from_request_parts(&mut parts, &state).await?;
    let mut params = Params::from_request_parts(&mut parts, &()).await?;
    let expected: Option<LedgerRoot> = params.take(EXPECT_ROOT)?;
    params.end()?;
    check_headers(&parts.headers)?;
    let max = state.max_import_bytes();
    let too_large = || Failure::FileTooLarge(max);
    if announced(&parts.headers).is_some_and(|bytes| bytes > max) {
        return Err(too_large());
    }
    let read = Arc::new(AtomicU64::new(0));
    let source = bounded(body.into_data_stream(), max, Arc::clone(&read));
    let imported = state.engine.import_tenant(&actor, source, expected).await;
    if read.load(Ordering::Relaxed) > max {
        return Err(too_large());
    }
    data(&imported?)
}

fn check_headers(headers: &HeaderMap) -> Result<(), Invalid> {
    if headers.contains_key("idempotency-key") {
        return Err(Invalid::at(
            "Idempotency-Key",
            "a tenant is filled once anyway; leave the header out",
        ));
    }
    let essence = |value: &[u8]| value.split(|byte| *byte == b';').next().map(<[u8]>::to_vec);
    let is_lines = headers.get(CONTENT_TYPE).is_none_or(|value| {
        let essence = essence(value.as_bytes()).unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(LINES.as_bytes())
    });
    if is_lines {
        return Ok(());
    }
    let why = format!("send the file as `{LINES}`");
    Err(Invalid::at("Content-Type", why))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body up to so many bytes; what lies beyond breaks it off.
fn bounded<B, E>(
    body: impl Stream<Item = Result<B, E>> + Send,
    max: u64,
    read: Arc<AtomicU64>,
) -> impl Stream<Item = Result<B, ()>> + Send
where
    B: AsRef<[u8]>,
{
    body.map(move |chunk| {
        let chunk = chunk.map_err(|_| ())?;
        let more = u64::try_from(chunk.as_ref().len()).unwrap_or(u64::MAX);
        let total = read.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if total > max { Err(()) } else { Ok(chunk) }
    })
}
