//! Where the answer of the API leads: on to the account, to another step, or to a mail.

use axum::response::Response;
use http::header::REFRESH;
use http::{HeaderMap, HeaderValue, StatusCode};
use kavachos_engine::Error;

use crate::cookie;
use crate::pages::api::Reply;
use crate::pages::at::{At, Who};
use crate::pages::form::Form;
use crate::pages::html;
use crate::pages::view::{Door, Frame, Icon};
use crate::pages::{Shown, see_other};

/// The cookie with what a second step is shown for: a challenge, or a sign-in that waits. Scripts do not see it.
const STEP: &str = "__Host-kavach_step";
/// How long a step may take, in seconds: as long as the slowest of them, a link that is mailed.
const STEP_SECONDS: u32 = 900;
/// The longest value that is kept.
const MAX_STEP: usize = 200;

/// What the visitor began, if the browser still has it.
pub(super) fn step(headers: &HeaderMap) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let kept = cookie::value(headers, STEP);
    kept.filter(|text| !text.is_empty() && text.len() <= MAX_STEP && text.bytes().all(plain))
}

fn keep_step(answer: Response, value: &str, seconds: u32) -> Response {
    let cookie =
        format!("{STEP}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    html::with_cookie(answer, &cookie)
}

/// Where the answer leads.
pub(in crate::pages) fn onward<W: Who>(at: &At<W>, form: &Form, reply: &Reply) -> Shown {
    let step = |path: &str, name: &str| {
        keep_step(
            see_other(&form.beside(path)),
            reply.text(name),
            STEP_SECONDS,
        )
    };
    let page = match reply.text("next") {
        "" => keep_step(on(at, form.back())?, "", 0),
        "second_factor" => step("/sign-in/second-factor", "signIn"),
        "enter_code" => step("/sign-in/code", "challenge"),
        // Whoever runs the server wants another password of them.
        "reset_password" => see_other("/forgot-password"),
        "sign_in" => see_other("/sign-in?done=password_changed"),
        _ => sent(at, form.text("email"))?,
    };
    Ok(reply.onto(page))
}

/// On to a path of ours. From where clients are let in, a browser may be sent to another site at once; it would hold that
/// to the policy of the page whose form began it, so that a page stands between them, which needs no script.
fn on<W: Who>(at: &At<W>, path: &str) -> Shown {
    if !path.starts_with("/consent") {
        return Ok(see_other(path));
    }
    let page = Door {
        frame: Frame::titled("You are signed in"),
        icon: Some(Icon::Check),
        links: vec![("Nothing happens?", path.to_owned(), "Go on")],
        ..Door::default()
    };
    let mut shown = at.door(StatusCode::OK, page)?;
    let refresh = HeaderValue::from_str(&format!("0; url={path}"));
    let refresh = refresh.map_err(|_| Error::Internal("a path is no header".to_owned()))?;
    shown.headers_mut().insert(REFRESH, refresh);
    Ok(shown)
}

/// The page that says that a mail is on its way, whether it is or not.
fn sent<W: Who>(at: &At<W>, email: &str) -> Shown {
    let lead = if email.is_empty() {
        "A mail is on its way. Open its link in this browser.".to_owned()
    } else {
        format!("If all is well, a mail to {email} is on its way. Open its link in this browser.")
    };
    let page = Door {
        frame: Frame::titled("Look into your mail"),
        icon: Some(Icon::Mail),
        lead,
        links: vec![("Nothing came?", "/sign-in".to_owned(), "Start again")],
        ..Door::default()
    };
    at.door(StatusCode::OK, page)
}
