//! `/sign-up`: a new account.

use serde_json::{Map, Value};

use super::sign_in::Name;
use crate::pages::at::At;
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Field, Frame};

#[derive(Debug, Clone, Copy)]
pub(super) struct SignUp;

impl SignUp {
    /// By what the new account is known. By an address, if by anything.
    fn name(at: &At<Visitor>, given: &Form) -> Name {
        Name::chosen(at, "sign-up", given).unwrap_or(Name::Email)
    }
}

impl FormPage for SignUp {
    type Who = Visitor;

    fn path(self) -> &'static str {
        "/sign-up"
    }

    fn route(self, at: &At<Visitor>, given: &Form) -> Option<&'static str> {
        Some(match Self::name(at, given) {
            Name::Email => "sign-up/email",
            Name::Username => "sign-up/username",
        })
    }

    fn members(self, at: &At<Visitor>, given: &Form) -> Map<String, Value> {
        let name = Self::name(at, given);
        let mut members = given.members(&[name.field(), "password"]);
        if name == Name::Email {
            members.extend(given.filled(&["name"]));
        }
        members
    }

    fn door(self, at: &At<Visitor>, given: &Form) -> Door {
        let password = Field::new_password("password", "Password");
        let fields = match Self::name(at, given) {
            Name::Email => vec![Field::own_name(), Field::email(), password],
            Name::Username => vec![Field::username(), password],
        };
        let lead = "One account for you, and a key of its own for each agent that acts for you.";
        Door {
            frame: Frame::titled("Create your account"),
            lead: lead.to_owned(),
            fields,
            button: "Create account",
            links: vec![("Have one already?", given.beside("/sign-in"), "Sign in")],
            hidden: given.kept(&["return_to"]),
            ..Door::default()
        }
    }
}
