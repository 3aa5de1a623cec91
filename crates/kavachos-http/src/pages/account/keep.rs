//! `/account/keep`: a guest makes an account of what they have.

use serde_json::{Map, Value};

use crate::pages::api::Reply;
use crate::pages::at::At;
use crate::pages::browser::Browser;
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Field, Frame, Icon};
use crate::pages::{Shown, see_other};

const ROUTE: &str = "anonymous/upgrade";

/// Whether this human is a guest who can make an account of what they have.
pub(super) fn is_guest(at: &At<Browser>) -> bool {
    let came_as_guest = at.who.session.method.as_deref() == Some("anonymous");
    came_as_guest && at.who.user.email.is_none() && at.takes(ROUTE)
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Keep;

impl FormPage for Keep {
    type Who = Browser;

    fn path(self) -> &'static str {
        "/account/keep"
    }

    fn route(self, _: &At<Browser>, _: &Form) -> Option<&'static str> {
        Some(ROUTE)
    }

    fn members(self, _: &At<Browser>, given: &Form) -> Map<String, Value> {
        let mut members = given.members(&["email", "password"]);
        members.extend(given.filled(&["name"]));
        members
    }

    fn door(self, _: &At<Browser>, _: &Form) -> Door {
        let password = Field::new_password("password", "Password");
        Door {
            frame: Frame::titled("Keep this account"),
            lead: "You keep your agents and everything they may do.".to_owned(),
            icon: Some(Icon::Person),
            fields: vec![Field::own_name(), Field::email(), password],
            button: "Keep it",
            links: vec![("", "/account".to_owned(), "Not now")],
            ..Door::default()
        }
    }

    fn onward(self, _: &At<Browser>, _: &Form, reply: &Reply) -> Shown {
        let mailed = reply.text("next") == "verify_email";
        let path = if mailed {
            "/account?done=mail_sent"
        } else {
            "/account"
        };
        Ok(reply.onto(see_other(path)))
    }
}
