//! `GET /.well-known/oauth-authorization-server`: who issues tokens here, and how they are asked for (RFC 8414). The same
//! document stands at the places where clients of OpenID Connect Discovery look.

use axum::extract::State as FromState;
use http::StatusCode;
use kavachos_core::token::Issuer;
use kavachos_oauth::Metadata;

use crate::operation::{About, Operation};
use crate::params::Params;
use crate::reply::{Bare, Reply, json};
use crate::state::State;

const PLACE: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

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

/// The same where clients look that know OpenID Connect Discovery.
pub(crate) fn openid() -> Operation {
    const ABOUT: About = About {
        id: "openidConfiguration",
        tag: "Tokens",
        summary: "Find the token endpoint and the issuer's keys",
        text: "The same document as at `/.well-known/oauth-authorization-server`, where clients of OpenID Connect Discovery look. There are no id_tokens yet.",
        callers: &[],
    };
    Operation::get(OPENID, ABOUT, handle)
}

/// The same at the places where clients look for an issuer with a path (RFC 8414, sections 3.1 and 5; OpenID Connect Discovery
/// 1.0, section 4).
pub(crate) fn at_path_of(issuer: &Issuer) -> Vec<Operation> {
    const fn about(id: &'static str) -> About {
        About {
            id,
            tag: "Tokens",
            summary: "Find the token endpoint and the issuer's keys",
            text: "RFC 8414, sections 3.1 and 5.",
            callers: &[],
        }
    }
    let Some(path) = path_of(issuer) else {
        return Vec::new();
    };
    vec![
        Operation::get_at(
            format!("{PLACE}{path}"),
            about("serverMetadataOfPath"),
            handle,
        ),
        Operation::get_at(
            format!("{OPENID}{path}"),
            about("openidConfigurationOfPath"),
            handle,
        ),
        Operation::get_at(
            format!("{path}{OPENID}"),
            about("openidConfigurationBelowPath"),
            handle,
        ),
    ]
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
