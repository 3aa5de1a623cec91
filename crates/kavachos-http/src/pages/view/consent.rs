//! A program asks to be let in.

use askama::Template;

use super::frame::Frame;

/// A tool server to which a program would be let.
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) address: String,
    /// What it could do there, in words, and what that is called.
    pub(crate) scopes: Vec<(String, String)>,
}

/// The question whether a program is let in.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent {
    pub(crate) frame: Frame,
    /// What the program calls itself.
    pub(crate) client: String,
    /// How the human is called.
    pub(crate) human: String,
    pub(crate) places: Vec<Offer>,
    /// Whose word it is what the program is.
    pub(crate) word: String,
    /// Where the browser goes on to.
    pub(crate) place: String,
    /// Whether any program of the human's computer could be asking.
    pub(crate) local: bool,
    /// What was asked, to be sent along.
    pub(crate) request: String,
    /// When that was, in seconds since 1970.
    pub(crate) since: i64,
    /// Tells what the page shows from anything else.
    pub(crate) shown: String,
}
