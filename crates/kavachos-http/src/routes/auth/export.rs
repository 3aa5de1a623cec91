//! `GET /api/auth/export`: all that is kept about the human who asks, as one JSON document, written piece by piece.
//!
//! One that fails midway breaks its connection off: it never ends as if it were whole.

use axum::body::{Body, Bytes};
use axum::extract::State as FromState;
use axum::response::IntoResponse;
use futures_util::stream::{Stream, unfold};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use kavachos_engine::{
    Agent, Approval, AuditRecord, Connection, Delegation, Error, OwnData, OwnPart, Session, User,
};
use schemars::JsonSchema;
use serde_json::Value;

use crate::call::Call;
use crate::error::Refusal;
use crate::operation::{About, Caller, Description, JSON, Operation};
use crate::params::Params;
use crate::reply::{Answered, Data, Kind, Reply};
use crate::state::State;

/// Something that a way of signing in keeps.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "tells the form of what is written in pieces")]
struct Kept {
    /// The method.
    method: String,
    /// What it is: a `password`, a `passkey`, a `link` that was mailed.
    kind: String,
    /// What the method says of it.
    #[schemars(flatten)]
    more: serde_json::Map<String, Value>,
}

/// All that is kept about a human.
#[derive(JsonSchema)]
#[schemars(rename = "OwnData")]
#[expect(dead_code, reason = "tells the form of what is written in pieces")]
pub(crate) struct Everything {
    /// The account.
    account: User,
    /// What the human signs in with, and the browsers in which they did.
    methods: Vec<Kept>,
    /// The sessions, newest first, like all that follows.
    sessions: Vec<Session>,
    /// The agents, at every level.
    agents: Vec<Agent>,
    /// The applications that the human let in.
    connections: Vec<Connection>,
    /// What was given in the human's name.
    delegations: Vec<Delegation>,
    /// What the human was asked.
    approvals: Vec<Approval>,
    /// The records of what happened for them.
    audit: Vec<AuditRecord>,
}

/// 200 with all of it.
pub(crate) struct Document;

impl Kind for Document {
    fn tell(description: &mut Description) {
        description.answer::<Data<Everything>>(200);
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "exportOwnData",
        tag: "Users",
        summary: "All that is kept about you",
        text: "Without credentials, which are kept as hashes. The session must be fresh, and your own. A document that breaks off is not whole.",
        callers: &[Caller::Session],
    };
    Operation::get("/api/auth/export", ABOUT, handle).refusing(&[Refusal::Forbidden])
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    params: Params,
) -> Reply<Document> {
    params.end()?;
    let own = state.engine.own_data(&actor).await?;
    let headers = [
        (CONTENT_TYPE, JSON),
        (CONTENT_DISPOSITION, "attachment; filename=\"account.json\""),
    ];
    let body = Body::from_stream(written(own));
    Ok(Answered::of((headers, body).into_response()))
}

/// Where the document is.
struct Writing {
    own: OwnData,
    /// The part that is open, and whether anything stands in it.
    open: Option<(OwnPart, Filled)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    Yes,
    No,
}

fn written(own: OwnData) -> impl Stream<Item = Result<Bytes, Error>> {
    let begun = Writing { own, open: None };
    unfold(Some(begun), |writing| async move {
        let mut writing = writing?;
        match writing.own.step().await {
            Ok(Some((part, items))) => {
                let text = writing.piece(part, &items);
                Some((Ok(text.into()), Some(writing)))
            }
            Ok(None) => Some((Ok(Bytes::from_static(b"]}}\n")), None)),
            Err(error) => {
                tracing::warn!(%error, "what is kept about a human was not handed out to its end");
                Some((Err(error), None))
            }
        }
    })
}

impl Writing {
    fn piece(&mut self, part: OwnPart, items: &[Value]) -> String {
        let mut text = String::new();
        let mut filled = match self.open {
            Some((open, filled)) if open == part => filled,
            before => {
                text.push_str(&opening(before.map(|(open, _)| open), part));
                Filled::No
            }
        };
        for item in items {
            if filled == Filled::Yes {
                text.push(',');
            }
            // A JSON value can always be written.
            text.push_str(&item.to_string());
            filled = Filled::Yes;
        }
        self.open = Some((part, filled));
        text
    }
}

/// What closes the part before, and opens this one. The account is one thing and no list.
fn opening(before: Option<OwnPart>, part: OwnPart) -> String {
    let closed = match before {
        None => "{\"data\":{",
        Some(OwnPart::Account) => ",",
        Some(_) => "],",
    };
    let opened = match part {
        OwnPart::Account => "",
        _ => "[",
    };
    format!("{closed}\"{}\":{opened}", part.as_str())
}
