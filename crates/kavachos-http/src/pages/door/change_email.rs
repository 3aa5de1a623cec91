//! `/change-email`: the link of a mail to a new address, followed by whoever asked for it in their account.

use serde_json::{Map, Value};

use crate::pages::at::At;
use crate::pages::browser::{Browser, with_return};
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Frame, Icon};

#[derive(Debug, Clone, Copy)]
pub(super) struct ChangeEmail;

impl FormPage for ChangeEmail {
    type Who = Browser;

    fn path(self) -> &'static str {
        "/change-email"
    }

    fn route(self, _: &At<Browser>, _: &Form) -> Option<&'static str> {
        Some("change-email/confirm")
    }

    fn members(self, _: &At<Browser>, given: &Form) -> Map<String, Value> {
        given.members(&["token"])
    }

    fn door(self, at: &At<Browser>, given: &Form) -> Door {
        let here = format!("{}?token={}", self.path(), given.text("token"));
        let first = (
            "You signed in a while ago?",
            with_return("/re-authenticate", &here),
            "Prove first that it is you",
        );
        let links = if at.is_fresh() {
            Vec::new()
        } else {
            vec![first]
        };
        Door {
            frame: Frame::titled("Your new address"),
            icon: Some(Icon::Mail),
            lead: "It takes the place of the old one. You are signed out everywhere else, and your agents need new keys."
                .to_owned(),
            hidden: given.kept(&["token"]),
            button: "Take this address",
            links,
            ..Door::default()
        }
    }
}
