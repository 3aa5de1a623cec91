//! `GET /api/v1/revocations/snapshot`: everything that was revoked, with a head that is signed for this question.

use axum::body::{Body, Bytes};
use axum::extract::State as FromState;
use axum::response::IntoResponse;
use futures_util::stream::{Stream, iter};
use http::header::CONTENT_TYPE;
use kavachos_core::invalid::Invalid;
use kavachos_core::revocation::{Instance, Nonce, SnapshotAnswer, SnapshotRequest};
use kavachos_engine::{Error, RevocationSnapshot};

use super::{FOLLOWERS, FeedCall};
use crate::error::Refusal;
use crate::operation::{About, JSON, Operation};
use crate::params::Params;
use crate::reply::{Answered, Data, Reply};
use crate::state::State;

/// How many handles are written at a time: few, since a reader has so long for each step.
const STEP: usize = 256;

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "snapshotRevocations",
        tag: "Revocations",
        summary: "Take everything that was revoked, and a lease",
        text: "For a follower that starts, or whose log is another one. The head is signed over the digest of the records.",
        callers: FOLLOWERS,
    };
    Operation::get("/api/v1/revocations/snapshot", ABOUT, handle)
        .query::<Nonce>("nonce", "Stands in the head of the answer.")
        .query::<Instance>("instance", "Which process asks.")
        .refusing(&[Refusal::Conflict, Refusal::FollowerLimitExceeded])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    FeedCall(reader): FeedCall,
    mut params: Params,
) -> Reply<Data<SnapshotAnswer>> {
    let (nonce, instance) = (params.take("nonce")?, params.take("instance")?);
    params.end()?;
    let missing = |name| Invalid::at(name, "is missing");
    let question = SnapshotRequest {
        nonce: nonce.ok_or_else(|| missing("nonce"))?,
        instance: instance.ok_or_else(|| missing("instance"))?,
    };
    let snapshot = state.engine.revocation_snapshot(&reader, &question).await?;
    let body = Body::from_stream(written(snapshot));
    let response = ([(CONTENT_TYPE, JSON)], body).into_response();
    Ok(Answered::of(response))
}

/// The answer piece by piece: as one text a large one would be in memory three times.
fn written(mut snapshot: RevocationSnapshot) -> impl Stream<Item = Result<Bytes, Error>> {
    let pieces = snapshot.records.len().div_ceil(STEP);
    // One for the beginning, one for the end.
    let last = pieces.saturating_add(1);
    iter((0..=last).map(move |piece| {
        snapshot.step()?;
        match piece.checked_sub(1) {
            None => begun(&snapshot.head),
            Some(_) if piece == last => Ok(Bytes::from_static(b"]}}")),
            Some(piece) => marks(&snapshot, piece),
        }
    }))
}

fn begun(head: &str) -> Result<Bytes, Error> {
    let head = serde_json::to_string(head).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Bytes::from(format!(
        "{{\"data\":{{\"head\":{head},\"records\":["
    )))
}

fn marks(snapshot: &SnapshotAnswer, piece: usize) -> Result<Bytes, Error> {
    let first = piece.saturating_mul(STEP);
    let marks = snapshot.records.iter().skip(first).take(STEP);
    let mut text = String::new();
    for (index, mark) in marks.enumerate() {
        if first > 0 || index > 0 {
            text.push(',');
        }
        let mark =
            serde_json::to_string(mark).map_err(|error| Error::Internal(error.to_string()))?;
        text.push_str(&mark);
    }
    Ok(Bytes::from(text))
}
