//! `/not-me`: the link of a mail about a sign-in. Opening it only shows a button, since mail is opened by machines too.

use http::StatusCode;
use serde_json::{Map, Value};

use crate::pages::Shown;
use crate::pages::api::Reply;
use crate::pages::at::At;
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Frame, Icon};

#[derive(Debug, Clone, Copy)]
pub(super) struct NotMe;

impl FormPage for NotMe {
    type Who = Visitor;

    fn path(self) -> &'static str {
        "/not-me"
    }

    fn route(self, _: &At<Visitor>, _: &Form) -> Option<&'static str> {
        Some("not-me")
    }

    fn members(self, _: &At<Visitor>, given: &Form) -> Map<String, Value> {
        given.members(&["token"])
    }

    fn door(self, _: &At<Visitor>, given: &Form) -> Door {
        Door {
            frame: Frame::titled("This was not you?"),
            icon: Some(Icon::Warning),
            lead: "You will be signed out everywhere. Agents that were made by whoever was signed in are stopped for \
                   good, yours too. All others need new keys. Then you choose a new password."
                .to_owned(),
            hidden: given.kept(&["token"]),
            button: "This was not me",
            links: vec![("Was it you?", "/sign-in".to_owned(), "Do nothing")],
            ..Door::default()
        }
    }

    /// What was done, and the way to a new password where there are passwords.
    fn onward(self, at: &At<Visitor>, _: &Form, _: &Reply) -> Shown {
        yours_again(at)
    }
}

/// The account was taken back: what was done, and the way to a new password where there are passwords.
pub(super) fn yours_again(at: &At<Visitor>) -> Shown {
    let next = if at.takes("forgot-password") {
        ("", "/forgot-password".to_owned(), "Set a new password")
    } else {
        ("", "/sign-in".to_owned(), "Sign in")
    };
    let page = Door {
        frame: Frame::titled("It is yours again"),
        icon: Some(Icon::Shield),
        lead: "All sessions have ended, and what was made in them was stopped. Look at your passkeys and codes once \
               you are signed in: remove those that you do not know."
            .to_owned(),
        links: vec![next],
        ..Door::default()
    };
    at.door(StatusCode::OK, page)
}
