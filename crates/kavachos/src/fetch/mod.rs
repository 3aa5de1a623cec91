//! The guarded fetcher on a native machine: sockets, names and TLS under the rules of [`kavachos_engine::fetch`].
//!
//! Promises: a name is resolved once; if any of its addresses is not permitted, nothing is sent; the connection goes to
//! one of the addresses that were judged, and TLS still checks the name. Nothing is followed, nothing is taken from the
//! environment, and every fetch ends: in time, in bytes, and with so many others at once.

mod exchange;
mod resolve;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kavachos_engine::fetch::{
    Fetch, FetchError, FetchHost, FetchScheme, FetchUrl, Fetched, Fetcher, Loopback, permitted,
};
use kavachos_store::BoxFuture;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use self::exchange::exchange;
use self::resolve::{Resolve, SystemResolver};

/// How many addresses of a name are tried.
const MAX_TRIED: usize = 4;
/// How many addresses a name may have.
const MAX_ADDRESSES: usize = 64;

/// What bounds one fetch, and all of them.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// From the wait for a turn to the last byte of the answer.
    whole: Duration,
    /// For one address to take the connection.
    connect: Duration,
    /// The headers of an answer, in number.
    headers: usize,
    /// The head of an answer, in bytes.
    head_bytes: usize,
    /// Fetches at the same time.
    at_once: usize,
}

impl Limits {
    const DEFAULT: Self = Self {
        whole: Duration::from_secs(15),
        connect: Duration::from_secs(5),
        headers: 64,
        head_bytes: 16 * 1024,
        at_once: 128,
    };
}

/// Judges an address before anything is sent to it.
type Judge = fn(IpAddr, Loopback) -> Result<(), FetchError>;

/// Fetches from public addresses, and from this machine where that is configured.
pub struct GuardedFetcher {
    loopback: Loopback,
    limits: Limits,
    judge: Judge,
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
    turns: Semaphore,
}

impl GuardedFetcher {
    /// A fetcher that trusts the public authorities and the system's resolver.
    ///
    /// # Errors
    /// TLS cannot be used.
    pub fn new(loopback: Loopback) -> Result<Self, rustls::Error> {
        Self::trusting(loopback, Vec::new())
    }

    /// One that trusts these authorities besides the public ones. That opens no address to it that was not open before.
    ///
    /// # Errors
    /// TLS cannot be used, or one of these is no certificate of an authority.
    pub fn trusting(
        loopback: Loopback,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        for authority in authorities {
            roots.add(authority)?;
        }
        Ok(Self {
            loopback,
            limits: Limits::DEFAULT,
            judge: permitted,
            resolver: Arc::new(SystemResolver::default()),
            tls: connector(roots)?,
            turns: Semaphore::new(Limits::DEFAULT.at_once),
        })
    }

    async fn answer(&self, fetch: Fetch) -> Result<Fetched, FetchError> {
        self.permits(&fetch.url)?;
        let closed = |_| FetchError::Refused("nothing is fetched any more".to_owned());
        let _turn = self.turns.acquire().await.map_err(closed)?;
        let addresses = self.judged(&fetch.url).await?;
        let stream = self.connect(&addresses, fetch.url.port()).await?;
        match fetch.url.scheme() {
            FetchScheme::Http => exchange(stream, &fetch, self.limits).await,
            FetchScheme::Https => {
                let name = server_name(fetch.url.host())?;
                let stream = self.tls.connect(name, stream).await;
                exchange(stream.map_err(unreachable)?, &fetch, self.limits).await
            }
        }
    }

    /// The addresses behind a URL. One that is not permitted spoils them all: whoever names it has no good reason.
    async fn judged(&self, url: &FetchUrl) -> Result<Vec<IpAddr>, FetchError> {
        let addresses = match url.host() {
            FetchHost::Address(address) => vec![*address],
            FetchHost::Name(name) => self.resolver.resolve(name).await?,
        };
        if addresses.is_empty() {
            return Err(FetchError::Unresolved);
        }
        if addresses.len() > MAX_ADDRESSES {
            let message = format!("the name has more than {MAX_ADDRESSES} addresses");
            return Err(FetchError::Refused(message));
        }
        for address in &addresses {
            (self.judge)(*address, self.loopback)?;
        }
        Ok(addresses)
    }

    /// A connection to the first of the judged addresses that takes one. Names play no part from here on.
    async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, FetchError> {
        let mut last = FetchError::Unresolved;
        for address in addresses.iter().take(MAX_TRIED) {
            let connecting = TcpStream::connect(SocketAddr::new(*address, port));
            match timeout(self.limits.connect, connecting).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(unreachable)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = unreachable(error),
                Err(_) => last = FetchError::TimedOut,
            }
        }
        Err(last)
    }
}

impl Fetcher for GuardedFetcher {
    fn permits(&self, url: &FetchUrl) -> Result<(), FetchError> {
        match url.host() {
            FetchHost::Address(address) => (self.judge)(*address, self.loopback),
            FetchHost::Name(_) if url.is_loopback() && self.loopback == Loopback::Refused => {
                let message = "`localhost` is this machine, which is not fetched from";
                Err(FetchError::Refused(message.to_owned()))
            }
            FetchHost::Name(_) => Ok(()),
        }
    }

    fn fetch(&self, fetch: Fetch) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let answer = timeout(self.limits.whole, self.answer(fetch)).await;
            answer.unwrap_or(Err(FetchError::TimedOut))
        })
    }
}

fn server_name(host: &FetchHost) -> Result<ServerName<'static>, FetchError> {
    match host {
        FetchHost::Address(address) => Ok(ServerName::from(*address)),
        FetchHost::Name(name) => ServerName::try_from(name.clone())
            .map_err(|error| FetchError::Refused(error.to_string())),
    }
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is handed to `map_err`, which gives the value away"
)]
fn unreachable(error: std::io::Error) -> FetchError {
    FetchError::Unreachable(error.to_string())
}
