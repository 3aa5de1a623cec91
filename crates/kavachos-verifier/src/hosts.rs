//! Which hosts a tool server answers for: a page of another site that made its name point here is refused.

use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::request::Parts;

use crate::rejection::{Cause, Rejection};

/// The hosts that are answered for, each as it stands in a URL: `tools.example.com`, `localhost:3000`.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        let lower = hosts.into_iter().map(|host| host.to_ascii_lowercase());
        Self(lower.collect())
    }

    /// Holds `Host`, and `Origin` where there is one, against the list.
    ///
    /// # Errors
    /// One of them is not on it, or stands twice.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), Rejection> {
        let forbidden = |message| Err(Rejection::new(Cause::Forbidden, message));
        let in_uri = request.uri.authority().map(http::uri::Authority::as_str);
        let host = match (in_uri, single(&request.headers, &HOST)) {
            // HTTP/2 has it in the URL; where both are, both count.
            (Some(host), None) => Some(host),
            (None, Some(host)) => host,
            (Some(one), Some(Some(other))) if one.eq_ignore_ascii_case(other) => Some(one),
            _ => None,
        };
        if !host.is_some_and(|host| self.has(host)) {
            return forbidden("this tool server does not answer for the host in `Host`");
        }
        match single(&request.headers, &ORIGIN) {
            None => Ok(()),
            Some(Some(origin)) if self.is_home(origin) => Ok(()),
            Some(_) => forbidden("this tool server takes no calls from pages of other hosts"),
        }
    }

    fn has(&self, host: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    fn is_home(&self, origin: &str) -> bool {
        let host = (origin.strip_prefix("https://")).or_else(|| origin.strip_prefix("http://"));
        host.is_some_and(|host| self.has(host))
    }
}

/// `Some(None)` of a header that stands twice or is not ASCII.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(first.to_str().ok().filter(|_| values.next().is_none()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn passes(uri: &str, headers: &[(&str, &str)]) -> bool {
        let hosts = Hosts::new(["Tools.example.com".to_owned(), "localhost:3000".to_owned()]);
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        hosts.check(&parts).is_ok()
    }

    #[test]
    fn a_request_for_another_host_or_from_a_page_of_another_is_refused() {
        for (headers, passed) in [
            (&[("host", "tools.example.com")][..], true),
            (&[("host", "TOOLS.example.com")], true),
            (
                &[
                    ("host", "localhost:3000"),
                    ("origin", "http://localhost:3000"),
                ],
                true,
            ),
            (&[("host", "localhost")], false),
            (&[("host", "evil.example")], false),
            (&[("host", "tools.example.com.evil.example")], false),
            (&[], false),
            (
                &[("host", "tools.example.com"), ("host", "evil.example")],
                false,
            ),
            (
                &[
                    ("host", "localhost:3000"),
                    ("origin", "http://evil.example"),
                ],
                false,
            ),
            (&[("host", "localhost:3000"), ("origin", "null")], false),
        ] {
            assert_eq!(passes("/mcp", headers), passed, "{headers:?}");
        }
        assert!(passes("http://tools.example.com/mcp", &[]));
        assert!(!passes(
            "http://evil.example/mcp",
            &[("host", "tools.example.com")]
        ));
    }
}
