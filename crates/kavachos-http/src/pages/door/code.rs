//! Codes: one that was mailed, and one of the second factor. What a code belongs to is in a cookie of the browser that
//! asked, and never on a page.

use serde_json::{Map, Value};

use super::onward::step;
use crate::pages::at::At;
use crate::pages::browser::Visitor;
use crate::pages::form::{Form, members};
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Field, Frame, Icon};

/// Which code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code {
    path: &'static str,
    route: &'static str,
    title: &'static str,
    lead: &'static str,
    hint: &'static str,
    icon: Icon,
    /// What the API calls what the code belongs to.
    step: &'static str,
    /// Whether one on paper does as well.
    paper: Paper,
}

/// Whether there are backup codes on paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paper {
    None,
    Backup,
}

pub(super) const MAILED: Code = Code {
    path: "/sign-in/code",
    route: "email-otp/verify",
    title: "Look into your mail",
    lead: "If there is an account, a code of six digits is on its way. Type it here.",
    hint: "It works for ten minutes, in this browser only.",
    icon: Icon::Mail,
    step: "challenge",
    paper: Paper::None,
};

pub(super) const SECOND: Code = Code {
    path: "/sign-in/second-factor",
    route: "totp/verify",
    title: "One more step",
    lead: "Type the code that your app shows.",
    hint: "Six digits, new every 30 seconds.",
    icon: Icon::Phone,
    step: "signIn",
    paper: Paper::Backup,
};

impl Code {
    /// The field, what is said above it, and the way to the other kind of code.
    fn asked(self, given: &Form) -> (Field, &'static str, Option<(String, &'static str)>) {
        if self.paper == Paper::None {
            return (Field::code().with_hint(self.hint), self.lead, None);
        }
        if given.text("with") == "backup" {
            let field =
                Field::backup_code().with_hint("Thirteen letters and digits. Each works once.");
            let lead = "Type one of the backup codes that you kept.";
            let app = given.beside(self.path);
            return (field, lead, Some((app, "Use a code of the app")));
        }
        let backup = given.beside_with(self.path, "backup");
        let field = Field::code().with_hint(self.hint);
        (field, self.lead, Some((backup, "Use a backup code")))
    }
}

impl FormPage for Code {
    type Who = Visitor;

    fn path(self) -> &'static str {
        self.path
    }

    fn route(self, _: &At<Visitor>, _: &Form) -> Option<&'static str> {
        Some(self.route)
    }

    fn is_begun(self, at: &At<Visitor>) -> bool {
        step(&at.parts.headers).is_some()
    }

    fn members(self, at: &At<Visitor>, given: &Form) -> Map<String, Value> {
        // People type codes in groups.
        let typed = given.text("code").chars();
        let code: String = typed.filter(|c| !c.is_whitespace()).collect();
        let begun = step(&at.parts.headers).unwrap_or_default();
        members([(self.step, begun), ("code", &code)])
    }

    fn door(self, _: &At<Visitor>, given: &Form) -> Door {
        let (field, lead, other) = self.asked(given);
        let other = other.map(|(path, words)| ("", path, words));
        let again = ("", "/sign-in".to_owned(), "Start again");
        Door {
            frame: Frame::titled(self.title),
            icon: Some(self.icon),
            lead: lead.to_owned(),
            fields: vec![field.focused()],
            hidden: given.kept(&["return_to", "with"]),
            button: "Continue",
            links: other.into_iter().chain([again]).collect(),
            ..Door::default()
        }
    }
}
