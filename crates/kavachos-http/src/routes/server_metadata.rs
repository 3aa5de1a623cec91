//! `GET /.well-known/oauth-authorization-server`: who issues tokens here, and how they are asked for (RFC 8414).

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_core::token::Issuer;
use kavachos_oauth::Metadata;

use crate::operation::{About, Operation};
use crate::params::Params;
use crate::reply::{Bare, Reply, json};
use crate::state::State;

const PLACE: &str = "/.well-known/oauth-authorization-server";

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "serverMetadata",
        tag: "Tokens",
        summary: "Find the token endpoint and the issuer's keys",
        text: "RFC 8414. An issuer whose URL has a path is found at this address with that path behind it, too.",
        callers: &[],
    };
    Operation::get(PLACE, ABOUT, handle)
}

/// The same at the place where clients look for an issuer with a path (RFC 8414, section 3.1).
pub(crate) fn at_path_of(issuer: &Issuer) -> Option<Operation> {
    const ABOUT: About = About {
        id: "serverMetadataOfPath",
        tag: "Tokens",
        summary: "Find the token endpoint and the issuer's keys",
        text: "RFC 8414, section 3.1.",
        callers: &[],
    };
    let path = path_of(issuer)?;
    Some(Operation::get_at(format!("{PLACE}{path}"), ABOUT, handle))
}

/// The path of an issuer's URL; `None` of one without, or with one that no route can have.
fn path_of(issuer: &Issuer) -> Option<&str> {
    let (_, rest) = issuer.as_str().split_once("://")?;
    let (at, _) = rest.char_indices().find(|(_, c)| *c == '/')?;
    let path = rest.get(at..)?.trim_end_matches('/');
    // The router takes these for the names of parameters.
    let is_plain = |segment: &str| !segment.starts_with([':', '*']);
    Some(path).filter(|path| !path.is_empty() && path.split('/').all(is_plain))
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    params: Params,
) -> Reply<Bare<Metadata>> {
    params.end()?;
    json(StatusCode::OK, &Metadata::of(state.engine.settings()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_with_a_path_is_found_behind_the_well_known_one() {
        let path = |text: &str| path_of(&text.parse().unwrap()).map(str::to_owned);
        assert_eq!(path("https://a.example.com"), None);
        assert_eq!(path("https://a.example.com/"), None);
        assert_eq!(path("https://a.example.com/t/b").as_deref(), Some("/t/b"));
        assert_eq!(path("https://a.example.com/t/").as_deref(), Some("/t"));
        assert_eq!(path("https://a.example.com/*t"), None);
    }
}
