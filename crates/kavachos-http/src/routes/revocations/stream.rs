//! `GET /api/v1/revocations/stream`: records as they are committed, as server-sent events (HTML, 9.2).
//!
//! Each record is one message whose `id` is its number; after a break a client sends the last one back in
//! `Last-Event-ID`, or in `since`. There are no messages but records; why a stream ends is a comment.

use std::convert::Infallible;
use std::fmt::Write;

use axum::body::{Body, Bytes};
use axum::extract::State as FromState;
use axum::response::IntoResponse;
use futures_util::stream::{Stream as Pieces, unfold};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use kavachos_core::revocation::Record;
use kavachos_engine::{FeedNews, RevocationStream};

use super::{FOLLOWERS, FeedCall, SINCE, number, number_schema, since};
use crate::error::Refusal;
use crate::operation::{About, Form, Operation};
use crate::params::Params;
use crate::reply::{Answered, Reply};
use crate::routes::events::{EVENT_STREAM, Stream, X_ACCEL_BUFFERING, last_event_id};
use crate::state::State;

/// The first lines: how long a client waits before it comes back, in milliseconds.
const GREETING: &str = "retry: 1000\n: revocations as they come\n\n";

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "followRevocations",
        tag: "Revocations",
        summary: "Follow what is revoked as it is",
        text: "Server-sent events: each message is a record, `id` its number. Nobody signs for them: they can only revoke \
               more, and give no lease. A number beyond the last record is 409.",
        callers: FOLLOWERS,
    };
    Operation::get("/api/v1/revocations/stream", ABOUT, handle)
        .query_of("since", SINCE, Form::known(number_schema()))
        .refusing(&[Refusal::Conflict])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    FeedCall(reader): FeedCall,
    headers: HeaderMap,
    mut params: Params,
) -> Reply<Stream> {
    let begin = since(&mut params)?;
    params.end()?;
    // A client that comes back repeats its URL: what it saw last counts, not where it began.
    let seen = last_event_id(&headers, number)?;
    let stream = state
        .engine
        .follow_revocations(&reader, seen.unwrap_or(begin))
        .await?;
    let headers = [(CONTENT_TYPE, EVENT_STREAM), (X_ACCEL_BUFFERING, "no")];
    let response = (headers, Body::from_stream(messages(stream)));
    Ok(Answered::of(response.into_response()))
}

/// What is still to be sent.
enum Next {
    Greeting(RevocationStream),
    News(RevocationStream),
    Nothing,
}

fn messages(stream: RevocationStream) -> impl Pieces<Item = Result<Bytes, Infallible>> {
    unfold(Next::Greeting(stream), |next| async {
        let (text, next) = match next {
            Next::Greeting(stream) => (GREETING.to_owned(), Next::News(stream)),
            Next::News(stream) => news(stream).await,
            Next::Nothing => return None,
        };
        Some((Ok(Bytes::from(text)), next))
    })
}

async fn news(mut stream: RevocationStream) -> (String, Next) {
    match stream.hear().await {
        FeedNews::Records(records) => (written(&records), Next::News(stream)),
        FeedNews::Silence => (":\n\n".to_owned(), Next::News(stream)),
        FeedNews::End(end) => (format!(": {}\n\n", end.code()), Next::Nothing),
    }
}

fn written(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        // Written as JSON a record is one line, and can always be written.
        let data = serde_json::to_string(record).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = write!(text, "id: {}\ndata: {data}\n\n", record.rseq);
    }
    text
}
