//! HTTP/1.1 to a server, one connection for each request: a command sends few.
//!
//! Follows no redirects, so that a credential goes nowhere else than to the address that was named.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use ::http::{Request, Response, Uri};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kavachos_core::secret::Secret;
use kavachos_store::BoxFuture;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{MAX_ANSWER_BYTES, Transport};
use crate::config;
use crate::failure::Failure;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, from the first byte that is sent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the head of an answer may take where the body is a whole tenant.
const FLOW_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
/// How many certificates a file of authorities may hold.
const MAX_AUTHORITIES: usize = 1_000;

/// A server at an address.
pub(crate) struct Http {
    url: Uri,
    key: Option<Secret>,
    /// For https only.
    tls: Option<TlsConnector>,
}

impl Http {
    /// Sends requests to the server of this configuration.
    pub(crate) fn new(config: config::Client) -> Result<Self, Failure> {
        let https = config.url.scheme_str() == Some("https");
        let tls = https
            .then(|| connector(config.ca_file.as_deref()))
            .transpose()?;
        Ok(Self {
            url: config.url,
            key: config.key.map(|key| key.secret),
            tls,
        })
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let request = self.addressed(request)?.map(Full::new);
        let exchange = async {
            let (parts, body) = self.sent(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| self.unreachable(&error.to_string()))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        let answer = timeout(ANSWER_TIMEOUT, exchange).await;
        answer.map_err(|_| {
            self.unreachable("no answer within 60 seconds; look before you repeat this")
        })?
    }

    /// Sends a request over a connection of its own, and waits for the head of the answer.
    async fn sent<B>(&self, request: Request<B>) -> Result<Response<Incoming>, Failure>
    where
        B: Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
    {
        let stream = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream = stream.map_err(|_| self.unreachable("no connection within 5 seconds"))??;
        let sent = async {
            match &self.tls {
                None => exchange(stream, request).await,
                Some(tls) => {
                    let name = ServerName::try_from(self.host().to_owned())
                        .map_err(|error| error.to_string())?;
                    let stream = tls.connect(name, stream).await;
                    exchange(stream.map_err(|error| error.to_string())?, request).await
                }
            }
        };
        sent.await.map_err(|reason| self.unreachable(&reason))
    }

    async fn flowing(
        &self,
        request: Request<axum::body::Body>,
    ) -> Result<Response<axum::body::Body>, Failure> {
        let request = self.addressed(request)?;
        let answer = timeout(FLOW_TIMEOUT, self.sent(request)).await;
        let answer = answer.map_err(|_| self.unreachable("no answer within 2 hours"))?;
        Ok(answer?.map(axum::body::Body::new))
    }

    /// The request with the address, the credential and the name of this program on it.
    fn addressed<B>(&self, request: Request<B>) -> Result<Request<B>, Failure> {
        let (mut parts, body) = request.into_parts();
        let base = self.url.path().trim_end_matches('/');
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::Usage(format!("this cannot be asked for: {error}"))
        };
        parts.uri = format!("{base}{}", parts.uri)
            .parse()
            .map_err(|error| wrong(&error))?;
        let authority = self
            .url
            .authority()
            .map_or("", |authority| authority.as_str());
        parts.headers.insert(
            HOST,
            HeaderValue::from_str(authority).map_err(|error| wrong(&error))?,
        );
        parts.headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("kavach/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(key) = &self.key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
                .map_err(|error| wrong(&error))?;
            value.set_sensitive(true);
            parts.headers.insert(AUTHORIZATION, value);
        }
        Ok(Request::from_parts(parts, body))
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let https = self.url.scheme_str() == Some("https");
        let port = self.url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let stream = TcpStream::connect((self.host(), port))
            .await
            .map_err(|error| {
                let hint = if config::is_loopback(&self.url) {
                    "; start one with `kavach dev` or `kavach serve`"
                } else {
                    ""
                };
                self.unreachable(&format!("{error}{hint}"))
            })?;
        stream
            .set_nodelay(true)
            .map_err(|error| self.unreachable(&error.to_string()))?;
        Ok(stream)
    }

    /// The host without the brackets that an IPv6 address has in a URI.
    fn host(&self) -> &str {
        let host = self.url.host().unwrap_or_default();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    fn unreachable(&self, reason: &str) -> Failure {
        Failure::Unreachable {
            url: self.url.to_string(),
            reason: reason.to_owned(),
        }
    }
}

impl Transport for Http {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Failure>> {
        Box::pin(self.answer(request))
    }

    fn stream(
        &self,
        request: Request<axum::body::Body>,
    ) -> BoxFuture<'_, Result<Response<axum::body::Body>, Failure>> {
        Box::pin(self.flowing(request))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

async fn exchange<S, B>(stream: S, request: Request<B>) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // Drives the connection until the answer is read; what goes wrong there is told by the answer too.
    drop(tokio::spawn(connection));
    let response = sender.send_request(request).await;
    response.map_err(|error| told(&error))
}

/// What went wrong, with what lies below it.
fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(below) => format!("{error}: {below}"),
        None => error.to_string(),
    }
}

/// The authorities whose certificates are in a file, as PEM; there is one at least.
pub(crate) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let wrong = |reason: String| Failure::File {
        action: "use the authorities in",
        path: path.to_owned(),
        reason,
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    let mut authorities = Vec::new();
    for certificate in certificates {
        // A server that trusted fewer than it is told would say so of one certificate in many, some day.
        if authorities.len() >= MAX_AUTHORITIES {
            let reason = format!(
                "it holds more than {MAX_AUTHORITIES} certificates: keep those that are needed"
            );
            return Err(wrong(reason));
        }
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| wrong(error.to_string()))?;
        authorities.push(certificate);
    }
    if authorities.is_empty() {
        let reason = "it holds no certificate: write them there as PEM, from `-----BEGIN CERTIFICATE-----` on";
        return Err(wrong(reason.to_owned()));
    }
    Ok(authorities)
}

/// TLS that trusts the public authorities, and those of a file.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = ca_file {
        roots.add_parsable_certificates(authorities(path)?);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Server(format!("TLS cannot be used: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
