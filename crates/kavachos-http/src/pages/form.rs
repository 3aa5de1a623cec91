//! A form that a browser sent: read once, with every field at most once, and from a page of ours.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use kavachos_core::invalid::Invalid;
use kavachos_engine::Error;

use super::csrf;
use crate::body::read;
use crate::error::Failure;

/// The most fields of a form.
const MAX_FIELDS: usize = 128;
const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form.
#[derive(Debug, Default)]
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
        let text = str::from_utf8(&bytes).map_err(|_| Invalid::new("the form is not UTF-8"))?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if fields.len() == MAX_FIELDS {
                return Err(Invalid::new(format!("a form has at most {MAX_FIELDS} fields")).into());
            }
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(Invalid::at(name, "is given twice").into());
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(fields))
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
}
