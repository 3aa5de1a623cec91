//! Links that were mailed, followed. Opening one only shows a button, since mail is opened by machines too; the button is
//! what uses it.

use serde_json::{Map, Value};

use crate::pages::at::At;
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Field, Frame, Icon};

/// `/magic-link`: a link that signs in, with a warning where another browser asked for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Magic;

impl FormPage for Magic {
    type Who = Visitor;

    fn path(self) -> &'static str {
        "/magic-link"
    }

    fn route(self, _: &At<Visitor>, _: &Form) -> Option<&'static str> {
        Some("magic-link/verify")
    }

    fn members(self, _: &At<Visitor>, given: &Form) -> Map<String, Value> {
        let mut members = given.members(&["token"]);
        if given.has("confirm") {
            members.insert("confirm".to_owned(), true.into());
        }
        members
    }

    fn asks_for(self, next: &str) -> Option<(&'static str, &'static str)> {
        (next == "confirm").then_some(("confirm", "yes"))
    }

    fn door(self, _: &At<Visitor>, given: &Form) -> Door {
        let (icon, lead, button) = if given.has("confirm") {
            let lead = "This link was asked for in another browser. Go on only if it was you who asked: somebody else who \
                        sends you a link wants you in an account of theirs.";
            (Icon::Warning, lead, "It was me, sign in here")
        } else {
            (Icon::Mail, "You are one step away.", "Sign in")
        };
        Door {
            frame: Frame::titled("Sign in"),
            icon: Some(icon),
            lead: lead.to_owned(),
            hidden: given.kept(&["token", "confirm"]),
            button,
            links: vec![("", "/sign-in".to_owned(), "Another way to sign in")],
            ..Door::default()
        }
    }
}

/// `/verify-email`: a link that confirms an address, of an account or of a guest who wants one. In another browser than the
/// one that asked for it, it asks for the password.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verify;

impl FormPage for Verify {
    type Who = Visitor;

    fn path(self) -> &'static str {
        "/verify-email"
    }

    fn route(self, _: &At<Visitor>, given: &Form) -> Option<&'static str> {
        Some(if given.has("guest") {
            "anonymous/upgrade/verify"
        } else {
            "verify-email"
        })
    }

    fn members(self, _: &At<Visitor>, given: &Form) -> Map<String, Value> {
        let mut members = given.members(&["token"]);
        members.extend(given.filled(&["password"]));
        members
    }

    fn asks_for(self, next: &str) -> Option<(&'static str, &'static str)> {
        (next == "enter_password").then_some(("with", "password"))
    }

    fn door(self, _: &At<Visitor>, given: &Form) -> Door {
        let (lead, fields) = if given.text("with") == "password" {
            let lead = "You began in another browser. Type the password that you chose there.";
            (
                lead,
                vec![Field::password("password", "Password").focused()],
            )
        } else {
            ("One press, and your account is ready.", Vec::new())
        };
        Door {
            frame: Frame::titled("Confirm your address"),
            icon: Some(Icon::Mail),
            lead: lead.to_owned(),
            fields,
            hidden: given.kept(&["token", "guest", "with"]),
            button: "Confirm",
            ..Door::default()
        }
    }
}
