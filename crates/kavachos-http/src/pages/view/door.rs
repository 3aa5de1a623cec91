//! The pages by which people come in.

use askama::Template;

use super::frame::Frame;
use super::icon::Icon;
use super::parts::Field;

/// A form on a card: nearly every page by which people come in.
#[derive(Template, Default)]
#[template(path = "door.html")]
pub(crate) struct Door {
    pub(crate) frame: Frame,
    pub(crate) lead: String,
    pub(crate) icon: Option<Icon>,
    pub(crate) action: String,
    pub(crate) fields: Vec<Field>,
    /// What is sent along, unseen.
    pub(crate) hidden: Vec<(&'static str, String)>,
    /// What the button says; empty where there is no form.
    pub(crate) button: &'static str,
    /// What a passkey is for here: `sign-in` or `again`; empty for nothing.
    pub(crate) passkey: &'static str,
    /// Other ways, each a form of its own.
    pub(crate) others: Vec<Other>,
    /// Ways to other pages: a question, where to, and its words.
    pub(crate) links: Vec<(&'static str, String, &'static str)>,
}

/// Another way in.
pub(crate) struct Other {
    pub(crate) action: String,
    pub(crate) button: &'static str,
    pub(crate) icon: Icon,
    pub(crate) hidden: Vec<(&'static str, String)>,
    /// A way that is a page.
    pub(crate) is_link: bool,
}
