//! Pages that ask for an address, to which something is mailed: a link, a code, a way to another password.

use serde_json::{Map, Value};

use crate::pages::at::At;
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Field, Frame, Icon};

/// What is mailed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByMail {
    path: &'static str,
    route: &'static str,
    title: &'static str,
    icon: Icon,
    lead: &'static str,
    button: &'static str,
    /// Where else to go: a question, and the words of the way to `/sign-in`.
    other: (&'static str, &'static str),
}

pub(super) const LINK: ByMail = ByMail {
    path: "/sign-in/link",
    route: "magic-link/send",
    title: "Sign in by link",
    icon: Icon::Mail,
    lead: "We mail you a link that signs you in.",
    button: "Send the link",
    other: ("", "Another way to sign in"),
};

pub(super) const CODE: ByMail = ByMail {
    path: "/sign-in/email-code",
    route: "email-otp/send",
    title: "Sign in by code",
    icon: Icon::Mail,
    lead: "We mail you a code of six digits.",
    button: "Send the code",
    other: ("", "Another way to sign in"),
};

pub(super) const FORGOTTEN: ByMail = ByMail {
    path: "/forgot-password",
    route: "forgot-password",
    title: "Forgot your password?",
    icon: Icon::Key,
    lead: "We mail you a link by which you choose another one.",
    button: "Send the link",
    other: ("Remembered it?", "Sign in"),
};

impl FormPage for ByMail {
    type Who = Visitor;

    fn path(self) -> &'static str {
        self.path
    }

    fn route(self, _: &At<Visitor>, _: &Form) -> Option<&'static str> {
        Some(self.route)
    }

    fn members(self, _: &At<Visitor>, given: &Form) -> Map<String, Value> {
        given.members(&["email"])
    }

    fn door(self, _: &At<Visitor>, given: &Form) -> Door {
        let (question, words) = self.other;
        Door {
            frame: Frame::titled(self.title),
            icon: Some(self.icon),
            lead: self.lead.to_owned(),
            fields: vec![Field::email().focused()],
            hidden: given.kept(&["return_to"]),
            button: self.button,
            links: vec![(question, "/sign-in".to_owned(), words)],
            ..Door::default()
        }
    }
}
