//! The caller of a request.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use kavachos_core::id::RequestId;
use kavachos_core::invalid::Invalid;
use kavachos_engine::actor::{Actor, Caller};
use kavachos_engine::{Engine, Error, Stranger};

use crate::context::Id;
use crate::cookie;
use crate::error::Failure;
use crate::state::State;

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How many proxies one request may have come through.
const MAX_PROXIES: usize = 16;

/// Marks a request that the embedding program itself makes: as an extension it can be set by no client.
#[derive(Debug, Clone, Copy)]
pub struct LocalCaller;

/// A call by someone with a live credential.
pub(crate) struct Call(pub(crate) Actor);

/// A call by someone with a live credential, also by a human who is yet to show the second factor that is demanded of them:
/// for the few routes by which they see how they stand, and leave.
pub(crate) struct OwingCall(pub(crate) Actor);

/// A call that may come from an agent whose key is dead, for the one route that answers it with a decision.
pub(crate) struct AnyKeyCall(pub(crate) Actor);

impl FromRequestParts<State> for AnyKeyCall {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        actor(parts, state, Owed::Refused).await.map(Self)
    }
}

/// What becomes of a human who owes a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    Refused,
    Admitted,
}

async fn actor(parts: &Parts, state: &State, owed: Owed) -> Result<Actor, Failure> {
    let request = request_id(parts, &state.engine);
    let ip = client_ip(parts, state)?;
    let user_agent = parts
        .headers
        .get(USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let stranger = Stranger {
        ip,
        user_agent: user_agent.as_deref(),
        request,
    };
    let caller = match authenticate(parts, (state, owed), stranger).await {
        Err(error @ (Error::Unauthenticated(_) | Error::SecondFactorRequired(_))) => {
            state.engine.note_stranger(stranger, error.code());
            return Err(error.into());
        }
        other => other?,
    };
    Ok(Actor {
        caller,
        request,
        ip,
        user_agent,
        once: None,
    })
}

impl FromRequestParts<State> for Call {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        let AnyKeyCall(actor) = AnyKeyCall::from_request_parts(parts, state).await?;
        state.engine.admit(&actor).await?;
        Ok(Self(actor))
    }
}

impl FromRequestParts<State> for OwingCall {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        let actor = actor(parts, state, Owed::Admitted).await?;
        state.engine.admit(&actor).await?;
        Ok(Self(actor))
    }
}

pub(crate) fn request_id(parts: &Parts, engine: &Engine) -> RequestId {
    parts
        .extensions
        .get::<Id>()
        .map_or_else(|| engine.id(), |id| id.0)
}

async fn authenticate(
    parts: &Parts,
    (state, owed): (&State, Owed),
    stranger: Stranger<'_>,
) -> Result<Caller, Error> {
    if parts.extensions.get::<LocalCaller>().is_some() {
        return Ok(Caller::Local);
    }
    if !parts.headers.contains_key(AUTHORIZATION)
        && let Some(session) = cookie::session(&parts.method, &parts.headers, state.public_url())
    {
        return by_cookie(session, (&state.engine, owed)).await;
    }
    let credential = bearer(&parts.headers)?;
    match owed {
        Owed::Refused => state.engine.caller(credential, stranger).await,
        Owed::Admitted => state.engine.caller_owing(credential, stranger).await,
    }
}

/// The human whose session is in a cookie. No other credential is taken from there.
pub(crate) async fn by_cookie(
    session: &str,
    (engine, owed): (&Engine, Owed),
) -> Result<Caller, Error> {
    let caller = match owed {
        Owed::Refused => engine.authenticate(session).await?,
        Owed::Admitted => engine.authenticate_owing(session).await?,
    };
    match caller {
        person @ Caller::Person(_) => Ok(person),
        _ => Err(Error::Unauthenticated(
            "a cookie carries a human's session alone",
        )),
    }
}

/// The credential of `Authorization: Bearer ...` (RFC 6750, 2.1): exactly one header, the scheme in any case.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Error::Unauthenticated(
            "send one header `Authorization: Bearer <key>`",
        ));
    };
    let text = value
        .to_str()
        .map_err(|_| Error::Unauthenticated("the header `Authorization` is not plain ASCII"))?;
    match text.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => Ok(credential),
        _ => Err(Error::Unauthenticated(
            "the header must read `Authorization: Bearer <key>`",
        )),
    }
}

/// The address that the call comes from: the peer, or what a trusted proxy says of it.
///
/// The list is read from its end: each address that is a trusted proxy's vouches for the one before it.
pub(crate) fn client_ip(parts: &Parts, state: &State) -> Result<Option<IpAddr>, Failure> {
    let Some(mut ip) = state.peer(&parts.extensions) else {
        return Ok(None);
    };
    if !state.trusts(ip) {
        return Ok(Some(ip));
    }
    let values: Vec<_> = parts.headers.get_all(FORWARDED_FOR).iter().collect();
    let hops = values
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(MAX_PROXIES) {
        ip = address(hop)
            .ok_or_else(|| Invalid::at("X-Forwarded-For", "holds something that is no address"))?;
        if !state.trusts(ip) {
            return Ok(Some(ip));
        }
    }
    Ok(Some(ip))
}

/// An address, as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(bytes).ok()?.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse()
        .ok()
        .or_else(with_port)
        .or_else(bracketed)
        .map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form_that_proxies_write() {
        for (text, ip) in [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1 ", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(address(text.as_bytes()), ip.parse().ok(), "{text}");
        }
        for text in [
            "",
            "unknown",
            "192.0.2",
            "192.0.2.01",
            "[192.0.2.1",
            "fe80::1%eth0",
            "_hidden",
        ] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn exactly_one_bearer_credential_is_read() {
        let headers = |values: &[&str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(AUTHORIZATION, value.parse().unwrap());
            }
            map
        };
        assert_eq!(bearer(&headers(&["bearer kv_x"])), Ok("kv_x"));
        for wrong in [
            &[][..],
            &["Bearer a", "Bearer b"],
            &["Basic a"],
            &["Bearer"],
            &["kv_agent_x"],
        ] {
            assert!(bearer(&headers(wrong)).is_err(), "{wrong:?}");
        }
    }
}
