//! `/reset-password`: a new password for whoever follows the link that was mailed.

use serde_json::{Map, Value};

use crate::pages::at::At;
use crate::pages::browser::Visitor;
use crate::pages::form::Form;
use crate::pages::form_page::FormPage;
use crate::pages::view::{Door, Field, Frame, Icon};

#[derive(Debug, Clone, Copy)]
pub(super) struct Reset;

impl FormPage for Reset {
    type Who = Visitor;

    fn path(self) -> &'static str {
        "/reset-password"
    }

    fn route(self, _: &At<Visitor>, _: &Form) -> Option<&'static str> {
        Some("reset-password")
    }

    fn members(self, _: &At<Visitor>, given: &Form) -> Map<String, Value> {
        given.members(&["token", "newPassword"])
    }

    fn door(self, _: &At<Visitor>, given: &Form) -> Door {
        let other = (
            "The link is too old?",
            "/forgot-password".to_owned(),
            "Get another one",
        );
        Door {
            frame: Frame::titled("Choose a new password"),
            icon: Some(Icon::Key),
            lead: "You will be signed out everywhere, and agents made there are stopped."
                .to_owned(),
            fields: vec![Field::new_password("newPassword", "New password").focused()],
            hidden: given.kept(&["token"]),
            button: "Set the password",
            links: vec![other],
            ..Door::default()
        }
    }
}
