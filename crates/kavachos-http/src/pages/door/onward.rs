//! What a page does about what the API answered: on to the account, to another step, or the form again with what is wrong.

use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use crate::cookie;
use crate::pages::api::{Refusal, Reply};
use crate::pages::browser::{Visitor, with_return};
use crate::pages::form::Form;
use crate::pages::html::{self, Runs};
use crate::pages::return_to::{HOME, safe};
use crate::pages::view::{Door, Icon, Notice};
use crate::pages::{Shown, see_other};
use crate::params::Params;
use crate::state::State;

/// The cookie with what a second step is shown for: a challenge, or a sign-in that waits. Scripts do not see it.
const STEP: &str = "__Host-kavach_step";
/// How long a step may take, in seconds: as long as the slowest of them, a link that is mailed.
const STEP_SECONDS: u32 = 900;
/// The longest value that is kept.
const MAX_STEP: usize = 200;

/// Who asks, and whom.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) state: &'a State,
    pub(super) visitor: &'a Visitor,
}

/// What the visitor began, if the browser still has it.
pub(super) fn step(headers: &HeaderMap) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let kept = cookie::value(headers, STEP);
    kept.filter(|text| !text.is_empty() && text.len() <= MAX_STEP && text.bytes().all(plain))
}

fn keep_step(answer: Response, value: &str) -> Response {
    let cookie =
        format!("{STEP}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={STEP_SECONDS}");
    html::with_cookie(answer, &cookie)
}

fn forget_step(answer: Response) -> Response {
    html::with_cookie(
        answer,
        &format!("{STEP}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"),
    )
}

/// Where the answer leads.
pub(super) fn onward(ask: Ask<'_>, reply: &Reply, form: &Form) -> Shown {
    let back = safe(form.given("return_to"));
    let to = |path: &str| {
        if back == HOME {
            path.to_owned()
        } else {
            with_return(path, back)
        }
    };
    let page = match reply.text("next") {
        "" => forget_step(see_other(back)),
        "second_factor" => keep_step(
            see_other(&to("/sign-in/second-factor")),
            reply.text("signIn"),
        ),
        "enter_code" => keep_step(see_other(&to("/sign-in/code")), reply.text("challenge")),
        // Whoever runs the server wants another password of them.
        "reset_password" => see_other("/forgot-password"),
        "sign_in" => see_other("/sign-in?done=password_changed"),
        _ => sent(ask, form.text("email"))?,
    };
    Ok(reply.onto(page))
}

/// The page that says that a mail is on its way, whether it is or not.
pub(super) fn sent(ask: Ask<'_>, email: &str) -> Shown {
    let lead = if email.is_empty() {
        "A mail is on its way. Open its link in this browser.".to_owned()
    } else {
        format!("If all is well, a mail to {email} is on its way. Open its link in this browser.")
    };
    let page = Door {
        frame: ask.visitor.frame(ask.state, "Look into your mail", None),
        icon: Some(Icon::Mail),
        lead,
        links: vec![("Nothing came?", "/sign-in".to_owned(), "Start again")],
        ..Door::default()
    };
    show(ask, StatusCode::OK, &page)
}

/// A page of a visitor, with the cookie that its forms need.
pub(super) fn show(ask: Ask<'_>, status: StatusCode, page: &Door) -> Shown {
    let runs = if page.frame.passkeys {
        Runs::Passkeys
    } else {
        Runs::Nothing
    };
    Ok(ask.visitor.marked(html::answer(status, runs, page)?))
}

/// What a refusal says above the form: nothing if a field says it.
pub(super) fn above(refusal: Option<&Refusal>, fields: &[&str]) -> Option<Notice> {
    let refusal = refusal?;
    let told = refusal
        .field
        .as_deref()
        .is_some_and(|field| fields.contains(&field));
    (!told).then(|| Notice::new("bad", refusal.reason.clone()))
}

/// The status of a form that is shown, perhaps again.
pub(super) fn status(refusal: Option<&Refusal>) -> StatusCode {
    refusal.map_or(StatusCode::OK, |refusal| refusal.status)
}

/// The form of a request that is sent on.
pub(super) async fn read(
    request: axum::extract::Request,
    visitor: &Visitor,
) -> Result<(Parts, Form), crate::error::Failure> {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts, body, visitor.secret()).await?;
    Ok((parts, form))
}

/// What an address says besides its path. Others than these are let be: links get much hung on.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(params: Params) -> Self {
        Self(params.all())
    }

    pub(super) fn text(&self, name: &str) -> &str {
        let mut all = self.0.iter();
        all.find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// Where to go on from here, to be sent along.
    pub(super) fn back(&self) -> Vec<(&'static str, String)> {
        back(safe(Some(self.text("return_to"))))
    }
}

/// Where to go on, unseen in a form.
pub(super) fn back(path: &str) -> Vec<(&'static str, String)> {
    if path == HOME {
        Vec::new()
    } else {
        vec![("return_to", path.to_owned())]
    }
}

/// A way to another page, and on to the same place from there.
pub(super) fn beside(path: &str, hidden: &[(&'static str, String)]) -> String {
    match hidden.iter().find(|(name, _)| *name == "return_to") {
        Some((_, back)) => with_return(path, back),
        None => path.to_owned(),
    }
}
