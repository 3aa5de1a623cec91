//! `GET /.well-known/kavach-feed-keys.jwt`: what the root says of the keys of the feed, for whoever pins the root.

use axum::extract::State as FromState;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

use crate::error::Refusal;
use crate::operation::{About, Answer, Description, Form, Operation};
use crate::params::Params;
use crate::reply::{Answered, Kind, Reply};
use crate::state::State;

/// RFC 7519, section 10.3.1.
const JWT: &str = "application/jwt";

/// 200 with the document.
pub(crate) struct Document;

impl Kind for Document {
    fn tell(description: &mut Description) {
        description.answers.push(Answer {
            status: 200,
            media_type: JWT,
            form: Form::of::<String>(),
            headers: &[],
        });
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "feedKeysDocument",
        tag: "Signing keys",
        summary: "What the root says of the keys that heads of the revocation log are signed with",
        text: "A JWS (`kvk+jwt`) of `iss`, `epoch`, `keys` and `iat`, signed by the root that verifiers pin. Where no root is configured, or none has signed since the last restoration, there is none.",
        callers: &[],
    };
    Operation::get("/.well-known/kavach-feed-keys.jwt", ABOUT, handle)
        .refusing(&[Refusal::NotFound, Refusal::Conflict])
}

async fn handle(FromState(state): FromState<State>, params: Params) -> Reply<Document> {
    params.end()?;
    let document = state.engine.feed_keys_document().await?;
    let response = ([(CONTENT_TYPE, JWT)], document).into_response();
    Ok(Answered::of(response))
}
