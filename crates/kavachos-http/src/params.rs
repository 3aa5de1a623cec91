//! Query strings: every parameter known, none twice.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use kavachos_core::invalid::Invalid;
use kavachos_engine::page::{CursorKey, DEFAULT_LIMIT, MAX_LIMIT, PageOf, decode_cursor};

use crate::error::Failure;

/// The longest query string.
const MAX_QUERY_BYTES: usize = 4_096;

/// The parameters of a request, taken out one by one.
pub(crate) struct Params {
    left: Vec<(String, String)>,
    /// All but `cursor` and `limit`, in a fixed order: what a cursor belongs to.
    filter: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        if parts
            .uri
            .query()
            .is_some_and(|query| query.len() > MAX_QUERY_BYTES)
        {
            return Err(Invalid::new(format!(
                "the query string is longer than {MAX_QUERY_BYTES} bytes"
            ))
            .into());
        }
        let wrong = |_| Invalid::new("the query string cannot be read: percent-encode it as UTF-8");
        let Query(mut left) =
            Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(wrong)?;
        left.sort();
        if let Some(name) = left.windows(2).find_map(|pair| match pair {
            [(one, _), (two, _)] if one == two => Some(one.clone()),
            _ => None,
        }) {
            return Err(Invalid::at(name, "is given twice").into());
        }
        let filters = left
            .iter()
            .filter(|(name, _)| name != "cursor" && name != "limit");
        let filter = filters
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        Ok(Self { left, filter })
    }
}

impl Params {
    /// Takes one parameter, read as its type.
    pub(crate) fn take<T: FromStr<Err: ToString>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Invalid> {
        let Some(at) = self.left.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, value) = self.left.swap_remove(at);
        value
            .parse()
            .map(Some)
            .map_err(|error: T::Err| Invalid::at(name, error.to_string()))
    }

    /// Takes `limit` and `cursor`, and refuses every parameter that is left.
    pub(crate) fn page<T: CursorKey>(mut self) -> Result<(PageOf<T>, String), Invalid> {
        let limit = match self.take::<String>("limit")? {
            None => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| Invalid::at("limit", format!("must be from 1 to {MAX_LIMIT}")))?,
        };
        let cursor: Option<String> = self.take("cursor")?;
        let after = cursor
            .map(|text| decode_cursor(&text, &self.filter))
            .transpose()?;
        let filter = std::mem::take(&mut self.filter);
        self.end()?;
        Ok((PageOf { after, limit }, filter))
    }

    /// Every parameter, in no order that means anything.
    pub(crate) fn all(self) -> Vec<(String, String)> {
        self.left
    }

    /// Refuses every parameter that is left.
    pub(crate) fn end(self) -> Result<(), Invalid> {
        match self.left.into_iter().next() {
            Some((name, _)) => Err(Invalid::at(name, "is no parameter of this route")),
            None => Ok(()),
        }
    }
}
