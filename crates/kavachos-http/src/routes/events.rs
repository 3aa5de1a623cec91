//! `GET /api/v1/events`: records as they come, as server-sent events (HTML, 9.2).
//!
//! Each record is one message whose `id` is its number; after a break a client sends the last one back in
//! `Last-Event-ID`, as browsers do by themselves. The last message is of the type `end` and says why.

use std::convert::Infallible;
use std::fmt::Write;

use axum::body::{Body, Bytes};
use axum::extract::State as FromState;
use axum::response::IntoResponse;
use futures_util::stream::{self, unfold};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName};
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::Scope;
use kavachos_engine::page::CursorKey;
use kavachos_engine::{AuditRecord, EventReader, Heard};
use schemars::json_schema;

use crate::call::Call;
use crate::operation::{About, Answer, Caller, Description, Form, Operation};
use crate::params::Params;
use crate::reply::{Answered, Kind, Reply};
use crate::routes::audit;
use crate::state::State;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx to hand on every message at once.
pub(super) const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The first lines: how long a client waits before it comes back, in milliseconds.
const GREETING: &str = "retry: 1000\n: records as they come\n\n";

/// 200 with messages until the caller hangs up.
pub(crate) struct Stream;

impl Kind for Stream {
    fn tell(description: &mut Description) {
        let number = json_schema!({ "type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$" });
        let text = "The `id` of the last message that was read, after a break.";
        description.header("Last-Event-ID", text, Form::known(number));
        description.answers.push(Answer {
            status: 200,
            media_type: EVENT_STREAM,
            form: Form::of::<String>(),
            headers: &[],
        });
    }
}

pub(super) const EVENT_STREAM: &str = "text/event-stream";

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "followRecords",
        tag: "Audit",
        summary: "Follow records as they come",
        text: "Server-sent events: each message is a record, `id` its number. The last message is of the type `end`, and \
               its `code` says why.",
        callers: &[Caller::Operator(Scope::AuditRead)],
    };
    let number = json_schema!({ "type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$" });
    let after = "The number of a record: those after it.";
    audit::filtered(Operation::get("/api/v1/events", ABOUT, handle)).query_of(
        "after",
        after,
        Form::known(number),
    )
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    headers: HeaderMap,
    mut params: Params,
) -> Reply<Stream> {
    let filter = audit::filter(&mut params)?;
    let given: Option<String> = params.take("after")?;
    params.end()?;
    // A browser that comes back repeats its URL: what it saw last counts, not where it began.
    let after = match last_event_id(&headers, number)? {
        Some(seen) => Some(seen),
        None => given.map(|text| number("after", &text)).transpose()?,
    };
    let reader = state.engine.listen(&actor, &filter, after).await?;
    let headers = [(CONTENT_TYPE, EVENT_STREAM), (X_ACCEL_BUFFERING, "no")];
    let response = (headers, Body::from_stream(messages(reader)));
    Ok(Answered::of(response.into_response()))
}

/// The number in `Last-Event-ID`, as the route reads its numbers.
pub(super) fn last_event_id(
    headers: &HeaderMap,
    number: impl Fn(&str, &str) -> Result<u64, Invalid>,
) -> Result<Option<u64>, Invalid> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            number("Last-Event-ID", value.to_str().unwrap_or_default()).map(Some)
        }
        (Some(_), Some(_)) => Err(Invalid::at("Last-Event-ID", "is given twice")),
    }
}

fn number(name: &str, text: &str) -> Result<u64, Invalid> {
    let wrong = || {
        Invalid::at(
            name,
            "must be the number of a record, the `id` of a message",
        )
    };
    u64::decode(text).ok_or_else(wrong)
}

/// What is still to be sent.
enum Next {
    Greeting(EventReader),
    News(EventReader),
    Nothing,
}

fn messages(reader: EventReader) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    unfold(Next::Greeting(reader), |next| async {
        let (text, next) = match next {
            Next::Greeting(reader) => (GREETING.to_owned(), Next::News(reader)),
            Next::News(reader) => news(reader).await,
            Next::Nothing => return None,
        };
        Some((Ok(Bytes::from(text)), next))
    })
}

async fn news(mut reader: EventReader) -> (String, Next) {
    match reader.hear().await {
        Heard::Records(records) => (written(&records), Next::News(reader)),
        Heard::Silence => (":\n\n".to_owned(), Next::News(reader)),
        Heard::End(end) => {
            let code = end.code();
            let text = format!("event: end\ndata: {{\"code\":\"{code}\"}}\n\n");
            (text, Next::Nothing)
        }
    }
}

fn written(records: &[AuditRecord]) -> String {
    let mut text = String::new();
    for record in records {
        // Written as JSON a record is one line; a map of JSON values can always be written.
        let data = serde_json::to_string(record).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = write!(text, "id: {}\ndata: {data}\n\n", record.seq);
    }
    text
}
