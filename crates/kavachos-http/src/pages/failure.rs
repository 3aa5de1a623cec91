//! Errors, as people are told of them.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use kavachos_core::id::RequestId;
use kavachos_engine::Error;

use super::html::{self, Runs};
use super::view::{Frame, Icon, Message};
use super::words::counted;
use crate::error::Failure;
use crate::state::State;

/// The page that tells of an error, with its status and headers.
pub(crate) fn told(state: &State, failure: &Failure, id: RequestId) -> Response {
    let status = failure.status();
    let plain = failure.render(id);
    let (title, text) = match wait(&plain) {
        Some(wait) if status == StatusCode::TOO_MANY_REQUESTS => ("That was too often", wait),
        _ => words(status, failure),
    };
    let is_ours = status.is_server_error();
    let message = Message {
        frame: Frame {
            brand: state.assets().brand(),
            title: title.to_owned(),
            ..Frame::default()
        },
        icon: Icon::Warning,
        tone: if is_ours { "bad" } else { "warn" },
        text,
        next: ("/account".to_owned(), "To your account".to_owned()),
        request: is_ours.then(|| id.to_string()),
    };
    let Ok(mut page) = html::answer(status, Runs::Nothing, &message) else {
        return plain;
    };
    for name in [http::header::RETRY_AFTER, http::header::ALLOW] {
        if let Some(value) = plain.headers().get(&name) {
            page.headers_mut().insert(name, value.clone());
        }
    }
    page.into_response()
}

fn words(status: StatusCode, failure: &Failure) -> (&'static str, String) {
    let own = |text: &str| text.to_owned();
    match status {
        StatusCode::NOT_FOUND => (
            "There is no such page",
            own("The address may be mistyped, or what was here is gone or not yours to see."),
        ),
        StatusCode::FORBIDDEN => ("This was refused", sentence(&failure.shown())),
        StatusCode::METHOD_NOT_ALLOWED => (
            "This page cannot be opened like this",
            own("Go back to where you came from and use the button there."),
        ),
        StatusCode::TOO_MANY_REQUESTS => {
            ("That was too often", own("Wait a while, then try again."))
        }
        _ if matches!(failure, Failure::Engine(Error::OutcomeUnknown)) => (
            "That took too long",
            own("It may have been done all the same. Look before you try again."),
        ),
        status if status.is_server_error() => (
            "That did not work",
            own("The fault is ours. Nothing is lost; try again in a moment."),
        ),
        _ => ("That did not work", sentence(&failure.shown())),
    }
}

/// How long to wait, in words.
fn wait(answer: &Response) -> Option<String> {
    let seconds = answer
        .headers()
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    let wait = match seconds {
        0..=90 => counted(seconds, "second"),
        _ => counted(seconds.div_ceil(60), "minute"),
    };
    Some(format!("Wait {wait}, then try again."))
}

/// A message of the API as a sentence.
pub(super) fn sentence(message: &str) -> String {
    let message = message.replace('`', "");
    let mut letters = message.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    let text = first.unwrap_or_default() + letters.as_str();
    if text.ends_with(['.', '!', '?', '…']) {
        text
    } else {
        text + "."
    }
}
