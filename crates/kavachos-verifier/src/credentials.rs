//! The token of a request: in one `Authorization` header, never in the URL, with at most one proof beside it.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use http::request::Parts;
use kavachos_core::token::Scheme;

use crate::rejection::{Cause, Rejection};

/// Where a proof stands (RFC 9449, section 4.1).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The parameter of a URL in which tokens were once sent (RFC 6750, section 2.3), and in which they leak.
const IN_QUERY: &str = "access_token";

/// A token and its proof as they stand in the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) token: &'a str,
    pub(crate) proof: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    /// Reads the credentials of a request.
    ///
    /// # Errors
    /// There are none, more than one, or they cannot be read.
    pub(crate) fn of(request: &'a Parts) -> Result<Self, Rejection> {
        if in_query(request.uri.query().unwrap_or_default()) {
            return Err(malformed(
                "a token in the URL is not taken: send it in `Authorization`",
            ));
        }
        let sent = only(&request.headers, &AUTHORIZATION)?.ok_or_else(|| {
            let message = "send a token of the issuer in `Authorization`";
            Rejection::new(Cause::Unauthenticated, message)
        })?;
        let (scheme, token) = read(sent)?;
        let proof = only(&request.headers, &DPOP)?;
        Ok(Self {
            scheme,
            token,
            proof,
        })
    }
}

fn malformed(message: &'static str) -> Rejection {
    Rejection::new(Cause::MalformedRequest, message)
}

fn in_query(query: &str) -> bool {
    let mut names = query.split('&').map(|pair| pair.split('=').next());
    names.any(|name| name.is_some_and(|name| name.eq_ignore_ascii_case(IN_QUERY)))
}

/// The value of a header that stands at most once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed("`Authorization` and `DPoP` are sent once each"));
    }
    let text = value.to_str();
    text.map(Some)
        .map_err(|_| malformed("`Authorization` and `DPoP` are plain ASCII"))
}

fn read(value: &str) -> Result<(Scheme, &str), Rejection> {
    let (scheme, token) = (value.split_once(' '))
        .ok_or_else(|| malformed("`Authorization` is a scheme, a blank and a token"))?;
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        _ if scheme.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => {
            let message = "send the token as `Bearer` or `DPoP`";
            return Err(Rejection::new(Cause::Unauthenticated, message));
        }
    };
    let token = token.trim_matches(' ');
    // RFC 9110, section 11.2: what a token68 may hold.
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(in_token) {
        return Err(malformed(
            "`Authorization` is a scheme, a blank and a token",
        ));
    }
    Ok((scheme, token))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(
        uri: &str,
        headers: &[(&str, &[u8])],
    ) -> Result<(Scheme, String, Option<String>), Cause> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let read = Credentials::of(&parts).map_err(|rejection| rejection.cause())?;
        let proof = read.proof.map(str::to_owned);
        Ok((read.scheme, read.token.to_owned(), proof))
    }

    #[test]
    fn a_token_is_read_from_one_header_and_its_proof_from_another() {
        let bearer = (Scheme::Bearer, "a.b-c".to_owned(), None);
        for value in ["Bearer a.b-c", "bearer  a.b-c", "BEARER a.b-c "] {
            let headers: [(&str, &[u8]); 1] = [("authorization", value.as_bytes())];
            assert_eq!(
                read("/mcp?access_tokens=1", &headers),
                Ok(bearer.clone()),
                "{value}"
            );
        }
        let headers: [(&str, &[u8]); 2] = [("authorization", b"DPoP a"), ("dpop", b"p")];
        let bound = (Scheme::Dpop, "a".to_owned(), Some("p".to_owned()));
        assert_eq!(read("/", &headers), Ok(bound));
    }

    #[test]
    fn what_cannot_be_read_is_told_apart_from_what_was_not_sent() {
        let one = |value: &'static [u8]| read("/", &[("authorization", value)]);
        assert_eq!(read("/", &[]), Err(Cause::Unauthenticated));
        assert_eq!(one(b"Basic YTpi"), Err(Cause::Unauthenticated));
        for value in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer a b",
            b"Bearer \xff",
            b"Bearer a,b",
            b"Bearer \"a\"",
            b"a.b.c",
        ] {
            assert_eq!(one(value), Err(Cause::MalformedRequest), "{value:?}");
        }
        let twice: [(&str, &[u8]); 2] = [
            ("authorization", b"Bearer a"),
            ("authorization", b"Bearer a"),
        ];
        assert_eq!(read("/", &twice), Err(Cause::MalformedRequest));
        let proofs: [(&str, &[u8]); 3] =
            [("authorization", b"DPoP a"), ("dpop", b"p"), ("dpop", b"q")];
        assert_eq!(read("/", &proofs), Err(Cause::MalformedRequest));
        for uri in ["/?access_token=a", "/?b=1&Access_Token=a"] {
            let header: [(&str, &[u8]); 1] = [("authorization", b"Bearer a")];
            assert_eq!(read(uri, &header), Err(Cause::MalformedRequest), "{uri}");
        }
    }
}
