//! A form that a browser sent: read once, with every field at most once, and from a page of ours. Before it is sent, what
//! the address says of it.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use kavachos_core::invalid::Invalid;
use kavachos_engine::Error;
use kavachos_engine::plugin::form_fields;

use serde_json::{Map, Value};

use super::browser::with_return;
use super::csrf;
use super::return_to::{HOME, safe};
use crate::body::read;
use crate::error::Failure;
use crate::params::Params;

/// The most fields of a form.
const MAX_FIELDS: usize = 128;
const FORM: &str = "application/x-www-form-urlencoded";
/// What an address may say of a form. Everything else is let be: links get much hung on.
const IN_ADDRESSES: [&str; 5] = ["return_to", "token", "guest", "with", "done"];

/// The fields of a form. Not to be printed: there are passwords among them.
#[derive(Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the form of a request and makes sure that it is ours: whoever sent it knows the mark of this secret.
    pub(super) async fn read(parts: &Parts, body: Body, secret: &str) -> Result<Self, Failure> {
        let form = Self::parse(parts, body).await?;
        if !csrf::is_ours(secret, form.text("csrf")) {
            let why = "this form is not from a page of this server, or it is too old; open the page again";
            return Err(Error::Forbidden(why.to_owned()).into());
        }
        Ok(form)
    }

    /// What the address of its page says of a form.
    pub(super) fn of_address(params: Params) -> Self {
        let mut said = params.all();
        said.retain(|(name, _)| IN_ADDRESSES.contains(&name.as_str()));
        Self(said)
    }

    /// The same form with one field more.
    pub(super) fn with(mut self, (name, value): (&str, &str)) -> Self {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    async fn parse(parts: &Parts, body: Body) -> Result<Self, Failure> {
        let kind = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let essence = kind
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        if !essence.eq_ignore_ascii_case(FORM) {
            return Err(Invalid::at("Content-Type", format!("send the form as `{FORM}`")).into());
        }
        let bytes = read(body).await?;
        Ok(Self(form_fields(&bytes, MAX_FIELDS)?))
    }

    /// What a field holds; nothing where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        let mut fields = self.0.iter();
        fields
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// What a field holds, if that is anything.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Whether a box is checked or a button of this name was pressed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given(name).is_some()
    }
    /// Where to go on when it is done: a path of ours.
    pub(super) fn back(&self) -> &str {
        safe(self.given("return_to"))
    }

    /// A way to another page, and on from there to the same place.
    pub(super) fn beside(&self, path: &str) -> String {
        match self.back() {
            HOME => path.to_owned(),
            back => with_return(path, back),
        }
    }

    /// The same to another kind of a page: what it is asked `with`.
    pub(super) fn beside_with(&self, path: &str, with: &str) -> String {
        let path = self.beside(path);
        let and = if path.contains('?') { '&' } else { '?' };
        format!("{path}{and}with={with}")
    }

    /// What of it is sent along once more, unseen.
    pub(super) fn kept(&self, names: &[&'static str]) -> Vec<(&'static str, String)> {
        let kept = names.iter().filter_map(|name| {
            let text = match *name {
                "return_to" => Some(self.back()).filter(|back| *back != HOME),
                name => self.given(name),
            };
            Some((*name, text?.to_owned()))
        });
        kept.collect()
    }

    /// These fields as members of a JSON object, also those that were left empty: the API says what is wrong with them.
    pub(super) fn members(&self, names: &[&str]) -> Map<String, Value> {
        members(names.iter().map(|name| (*name, self.text(name))))
    }

    /// These fields as members of a JSON object, without those that were left empty.
    pub(super) fn filled(&self, names: &[&str]) -> Map<String, Value> {
        members(
            names
                .iter()
                .filter_map(|name| Some((*name, self.given(name)?))),
        )
    }
}

/// A JSON object of texts.
pub(super) fn members<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Map<String, Value> {
    let members = texts.into_iter();
    members
        .map(|(name, text)| (name.to_owned(), Value::from(text)))
        .collect()
}
