//! Fetching addresses that someone else chose: webhooks now; client metadata, key sets and discovery later.
//!
//! Promises, of every [`Fetcher`]: https only (plain http to this machine alone, and only where that is configured);
//! the name is resolved once, every address that it resolves to is judged ([`special_use`]), and the connection goes to
//! one that was judged; no redirects, no proxy from the environment; bounded in time, in bytes and in how many at once.
//! Here are the rules, which are portable; the facade brings the sockets.

mod address;
mod url;

use std::time::Duration;

use kavachos_store::BoxFuture;

pub use address::{Loopback, permitted, special_use};
pub use url::{FetchHost, FetchScheme, FetchUrl};

/// What to send.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Where to.
    pub url: FetchUrl,
    /// How.
    pub method: FetchMethod,
    /// Headers beside `Host` and `User-Agent`, which the fetcher writes.
    pub headers: Vec<(&'static str, String)>,
    /// The body, empty without one.
    pub body: Vec<u8>,
    /// The longest answer that is read; a longer one is an error.
    pub max_answer_bytes: usize,
}

/// How something is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchMethod {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

/// What came back, whatever its status: a redirect is an answer like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// How long the other side asks to wait, from `Retry-After` in seconds.
    pub retry_after: Option<Duration>,
    /// For how long it may be kept, from `Cache-Control`: nothing of what may not be kept; `None` where nothing is said.
    pub max_age: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The guard says no: nothing was sent.
    #[error("{0}")]
    Refused(String),
    /// The name has no address.
    #[error("the name cannot be resolved")]
    Unresolved,
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no whole answer came in time")]
    TimedOut,
    /// The answer's body is longer than asked for.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// What came back is no answer that is read: no HTTP, or too many or too long headers.
    #[error("what came back cannot be read: {0}")]
    Unreadable(String),
}

/// Fetches, under the rules of this module.
pub trait Fetcher: Send + Sync {
    /// Whether the rules allow this address as far as can be said without resolving it.
    ///
    /// # Errors
    /// [`FetchError::Refused`] with the reason.
    fn permits(&self, url: &FetchUrl) -> Result<(), FetchError>;

    /// Sends one request and reads its answer.
    fn fetch(&self, fetch: Fetch) -> BoxFuture<'_, Result<Fetched, FetchError>>;
}

/// Fetches nothing: for a process without sockets, and for work that must not reach out.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFetcher;

impl Fetcher for NoFetcher {
    fn permits(&self, _: &FetchUrl) -> Result<(), FetchError> {
        Err(FetchError::Refused(NOTHING.to_owned()))
    }

    fn fetch(&self, _: Fetch) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        let refused = Err(FetchError::Refused(NOTHING.to_owned()));
        Box::pin(std::future::ready(refused))
    }
}

const NOTHING: &str = "this process fetches nothing";
