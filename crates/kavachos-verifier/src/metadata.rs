//! The metadata of a tool server (RFC 9728): who issues tokens for it, and which scopes it has. Open to everybody.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{Ready, ready};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use kavachos_core::resource::ResourcePattern;
use kavachos_core::token::Issuer;
use kavachos_core::tool_server::{Audience, Proof};
use serde_json::json;

/// Where the metadata of a tool server at the root of its host stands; another's path follows.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Scheme, host and port of an audience.
pub(crate) fn origin(audience: &Audience) -> &str {
    parts(audience).0
}

/// The path of an audience; empty for the root.
fn path(audience: &Audience) -> &str {
    let path = parts(audience).1;
    if path == "/" { "" } else { path }
}

fn parts(audience: &Audience) -> (&str, &str) {
    let text = audience.as_str();
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    let slash = text.bytes().skip(start).position(|byte| byte == b'/');
    let end = slash.map_or(text.len(), |slash| start + slash);
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The metadata, ready to be sent. A [`tower::Service`] for a router; [`VerifierLayer`](crate::VerifierLayer) answers
/// with it by itself.
#[derive(Debug, Clone)]
pub struct Metadata(Arc<Document>);

#[derive(Debug)]
struct Document {
    url: String,
    paths: [String; 2],
    body: Bytes,
}

impl Metadata {
    pub(crate) fn new(
        issuer: &Issuer,
        audience: &Audience,
        first_scopes: &[ResourcePattern],
        proof: Proof,
    ) -> Self {
        let at = format!("{WELL_KNOWN}{}", path(audience));
        let mut document = json!({
            "resource": audience,
            "authorization_servers": [issuer],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["EdDSA", "ES256"],
            "dpop_bound_access_tokens_required": matches!(proof, Proof::Dpop | Proof::DpopBody),
        });
        if let (false, Some(members)) = (first_scopes.is_empty(), document.as_object_mut()) {
            let names: Vec<&str> = first_scopes.iter().map(ResourcePattern::as_str).collect();
            members.insert("scopes_supported".to_owned(), json!(names));
        }
        Self(Arc::new(Document {
            url: format!("{}{at}", origin(audience)),
            paths: [WELL_KNOWN.to_owned(), at],
            body: Bytes::from(document.to_string()),
        }))
    }

    /// Where callers are told to find it.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The paths to serve it at: the form of a root, and the form with the path of the tool server.
    pub fn paths(&self) -> &[String; 2] {
        &self.0.paths
    }

    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.0.paths.iter().any(|known| known == path)
    }

    /// The answer to a request for it.
    pub(crate) fn answer<B: From<Bytes>>(&self, method: &Method) -> Response<B> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let body = if *method == Method::GET {
            self.0.body.clone()
        } else {
            Bytes::new()
        };
        let mut response = Response::new(B::from(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        // Clients in pages of other hosts must be able to read it; it is public.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if !reads {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
        response
    }
}

/// [`Metadata`] as a service whose answers have bodies of this type.
#[derive(Debug)]
pub struct MetadataService<B> {
    metadata: Metadata,
    body: std::marker::PhantomData<fn() -> B>,
}

impl<B> Clone for MetadataService<B> {
    fn clone(&self) -> Self {
        self.metadata.clone().into_service()
    }
}

impl Metadata {
    /// A service that answers every request with it.
    pub fn into_service<B>(self) -> MetadataService<B> {
        MetadataService {
            metadata: self,
            body: std::marker::PhantomData,
        }
    }
}

impl<R, B: From<Bytes>> tower::Service<Request<R>> for MetadataService<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        ready(Ok(self.metadata.answer(request.method())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(audience: &str) -> Metadata {
        let scopes = ["mcp:search:*".parse().unwrap()];
        Metadata::new(
            &"https://auth.example.com".parse().unwrap(),
            &audience.parse().unwrap(),
            &scopes,
            Proof::Dpop,
        )
    }

    #[test]
    fn the_path_of_the_tool_server_follows_the_well_known_one() {
        for (audience, path) in [
            ("https://tools.example.com", ""),
            ("https://tools.example.com/", ""),
            ("https://tools.example.com:8443/mcp", "/mcp"),
            ("http://[::1]:3000/a/b", "/a/b"),
        ] {
            let metadata = metadata(audience);
            let [root, form] = metadata.paths();
            assert_eq!(
                (root.as_str(), form.clone()),
                (WELL_KNOWN, format!("{WELL_KNOWN}{path}"))
            );
            let origin = audience.strip_suffix(path).unwrap().trim_end_matches('/');
            assert_eq!(metadata.url(), format!("{origin}{form}"));
        }
    }

    #[test]
    fn it_tells_who_issues_tokens_and_which_scopes_there_are() {
        let metadata = metadata("https://tools.example.com/mcp");
        let answer: Response<Bytes> = metadata.answer(&Method::GET);
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        let expected = json!({
            "resource": "https://tools.example.com/mcp",
            "authorization_servers": ["https://auth.example.com"],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["EdDSA", "ES256"],
            "dpop_bound_access_tokens_required": true,
            "scopes_supported": ["mcp:search:*"],
        });
        assert_eq!(body, expected);
        let answer: Response<Bytes> = metadata.answer(&Method::POST);
        assert_eq!((answer.status().as_u16(), answer.body().len()), (405, 0));
    }
}
