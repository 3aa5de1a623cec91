//! `/sign-in`: whatever ways there are, the usual one first.

use serde_json::{Map, Value};

use super::onward::onward;
use crate::pages::Shown;
use crate::pages::api::Refusal;
use crate::pages::at::{At, Sent};
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Field, Frame, Icon, Notice, Other};

/// The route for those who are yet to say who they are.
const GUEST: &str = "anonymous";

/// How somebody is known who signs in with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Email,
    Username,
}

impl Name {
    /// The one that is asked for, or the one that there is.
    pub(super) fn chosen(at: &At<Visitor>, what: &str, given: &Form) -> Option<Self> {
        let email = at.takes(&format!("{what}/email"));
        let username = at.takes(&format!("{what}/username"));
        let wanted = given.text("with") == "username" || given.has("username");
        match (email, username) {
            (_, true) if wanted || !email => Some(Self::Username),
            (true, _) => Some(Self::Email),
            _ => None,
        }
    }

    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SignIn;

impl FormPage for SignIn {
    type Who = Visitor;

    fn path(self) -> &'static str {
        "/sign-in"
    }

    fn route(self, at: &At<Visitor>, given: &Form) -> Option<&'static str> {
        Some(match Name::chosen(at, "sign-in", given)? {
            Name::Email => "sign-in/email",
            Name::Username => "sign-in/username",
        })
    }

    fn members(self, at: &At<Visitor>, given: &Form) -> Map<String, Value> {
        let name = Name::chosen(at, "sign-in", given).map_or("email", Name::field);
        given.members(&[name, "password"])
    }

    fn door(self, at: &At<Visitor>, given: &Form) -> Door {
        let name = Name::chosen(at, "sign-in", given);
        let mut frame = Frame::titled("Welcome back");
        frame.notice = done(given.text("done"));
        let passkey = at.takes("passkey/authenticate/options");
        Door {
            frame,
            lead: "Sign in to see who acts for you.".to_owned(),
            fields: name.map_or_else(Vec::new, |name| fields(at, name, given)),
            button: name.map_or("", |_| "Sign in"),
            passkey: if passkey { "sign-in" } else { "" },
            others: others(at, given),
            links: links(at, name, given),
            hidden: given.kept(&["return_to"]),
            ..Door::default()
        }
    }
}

/// What was just done, as the address says.
fn done(what: &str) -> Option<Notice> {
    let words = match what {
        "signed_out" => "You are signed out.",
        "password_changed" => "Your password was changed. Sign in with the new one.",
        "unlinked" => {
            "It is unlinked, and you are signed out everywhere. Sign in by the other way."
        }
        _ => return None,
    };
    Some(Notice::new("ok", words))
}

fn fields(at: &At<Visitor>, name: Name, given: &Form) -> Vec<Field> {
    let known = match name {
        Name::Email => Field::email(),
        Name::Username => Field::username(),
    };
    let known = known.with_autocomplete("username webauthn");
    let mut password = Field::password("password", "Password");
    if at.takes("forgot-password") {
        password = password.with_aside("/forgot-password", "Forgot it?");
    }
    if given.has(name.field()) {
        vec![known, password.focused()]
    } else {
        vec![known.focused(), password]
    }
}

fn others(at: &At<Visitor>, given: &Form) -> Vec<Other> {
    let known = [
        (
            "magic-link/send",
            "/sign-in/link",
            "Email me a link",
            Icon::Mail,
        ),
        (
            "email-otp/send",
            "/sign-in/email-code",
            "Email me a code",
            Icon::Mail,
        ),
        (GUEST, "/sign-in/guest", "Continue as a guest", Icon::Person),
    ];
    let there = known.into_iter().filter(|(route, ..)| at.takes(route));
    let other = |(route, action, button, icon)| Other {
        action: given.beside(action),
        button,
        icon,
        hidden: given.kept(&["return_to"]),
        is_link: route != GUEST,
    };
    there.map(other).collect()
}

fn links(
    at: &At<Visitor>,
    name: Option<Name>,
    given: &Form,
) -> Vec<(&'static str, String, &'static str)> {
    let mut links = Vec::new();
    if at.takes("sign-up/email") || at.takes("sign-up/username") {
        links.push(("New here?", given.beside("/sign-up"), "Create an account"));
    }
    let both = at.takes("sign-in/email") && at.takes("sign-in/username");
    let (path, words) = match name {
        Some(Name::Email) if both => (given.beside_with("/sign-in", "username"), "a username"),
        Some(Name::Username) if both => (given.beside("/sign-in"), "an email address"),
        _ => return links,
    };
    links.push(("Or sign in with", path, words));
    links
}

/// `POST /sign-in/guest`.
pub(super) async fn as_guest(Sent { at, form }: Sent<Visitor>) -> Shown {
    let reply = at.post(GUEST, &Map::new()).await;
    onward(&at, &form, &reply.map_err(Refusal::into_failure)?)
}
