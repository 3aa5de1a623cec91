//! `/restore-email`: the link of the mail to an old address. Opening it only shows a button, since mail is opened by machines too.

use serde_json::{Map, Value};

use super::not_me::yours_again;
use crate::pages::Shown;
use crate::pages::api::Reply;
use crate::pages::at::At;
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Frame, Icon};

#[derive(Debug, Clone, Copy)]
pub(super) struct RestoreEmail;

impl FormPage for RestoreEmail {
    type Who = Visitor;

    fn path(self) -> &'static str {
        "/restore-email"
    }

    fn route(self, _: &At<Visitor>, _: &Form) -> Option<&'static str> {
        Some("restore-email")
    }

    fn members(self, _: &At<Visitor>, given: &Form) -> Map<String, Value> {
        given.members(&["token"])
    }

    fn door(self, _: &At<Visitor>, given: &Form) -> Door {
        Door {
            frame: Frame::titled("Take your address back?"),
            icon: Some(Icon::Warning),
            lead: "This address signs you in again. You will be signed out everywhere. Agents that were made by whoever was \
                   signed in are stopped for good, yours too. All others need new keys. Then you choose a new password."
                .to_owned(),
            hidden: given.kept(&["token"]),
            button: "Take it back",
            links: vec![("Did you change it?", "/sign-in".to_owned(), "Do nothing")],
            ..Door::default()
        }
    }

    /// What was done, and the way to a new password where there are passwords.
    fn onward(self, at: &At<Visitor>, _: &Form, _: &Reply) -> Shown {
        yours_again(at)
    }
}
