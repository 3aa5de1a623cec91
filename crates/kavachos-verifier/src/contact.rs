//! The first contact with an issuer: who it is, its keys, its revocations. What is wrong with it is said before anything
//! depends on it.

use std::time::Duration;

use kavachos_core::json;
use kavachos_core::revocation::{Lease, Progress};
use kavachos_core::token::Issuer;
use kavachos_core::tool_server::TTL_SECONDS;
use serde_json::Value;

use crate::error::BuildError;
use crate::feed::{Feed, FeedError};
use crate::issuer::{CallError, IssuerClient};
use crate::keys::{KeyRing, Source};
use crate::system::Clock;

/// How often the feed is asked before the first token can be accepted.
const FIRST_ATTEMPTS: usize = 3;

/// Refuses a clock by which every token would be over when it comes. One that is behind does no harm: the issuer's time
/// counts then.
pub(crate) fn require_time(feed: &Feed, clock: &dyn Clock) -> Result<(), BuildError> {
    let longest = Duration::from_secs(u64::from(*TTL_SECONDS.end()));
    let ahead = feed.follower().ahead(&clock.read());
    if ahead < longest {
        return Ok(());
    }
    Err(BuildError::ClockAhead { ahead })
}

/// TLS, or the machine itself.
pub(crate) fn secure(url: &str) -> Result<(), BuildError> {
    if url.starts_with("https://") || url.strip_prefix("http://").is_some_and(is_loopback) {
        return Ok(());
    }
    Err(BuildError::Insecure {
        url: url.to_owned(),
    })
}

/// Whether what follows the scheme of a URL begins with this machine.
fn is_loopback(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    is_port && ["127.0.0.1", "[::1]", "localhost"].contains(&host)
}

/// Reads the issuer's metadata (RFC 8414); gives where its keys are.
pub(crate) async fn discover(client: &IssuerClient, issuer: &Issuer) -> Result<String, BuildError> {
    let url = client.url("/.well-known/oauth-authorization-server");
    let document = client.document(&url).await;
    let document = document.map_err(BuildError::document(&url))?;
    let unusable = |reason: String| BuildError::Unusable {
        url: url.clone(),
        reason,
    };
    let document = json::parse(&document).map_err(|error| unusable(error.to_string()))?;
    let member = |name: &str| {
        let value = document.get(name).and_then(Value::as_str);
        value.ok_or_else(|| unusable(format!("`{name}` is missing")))
    };
    let told = member("issuer")?;
    if told != issuer.as_str() {
        return Err(BuildError::OtherIssuer {
            asked: issuer.as_str().to_owned(),
            told: told.chars().take(200).collect(),
        });
    }
    let keys = member("jwks_uri")?;
    secure(keys)?;
    Ok(keys.to_owned())
}

pub(crate) async fn fetch_keys(
    client: &IssuerClient,
    source: Source,
    clock: &dyn Clock,
) -> Result<KeyRing, BuildError> {
    let wrong = BuildError::document(source.url());
    KeyRing::fetch(client, source, clock.read().boot)
        .await
        .map_err(wrong)
}

/// Follows the feed up to its head, so that tokens can be accepted at once.
pub(crate) async fn first_answer(
    feed: &Feed,
    client: &IssuerClient,
    clock: &dyn Clock,
    lease: Lease,
) -> Result<(), BuildError> {
    for _ in 0..FIRST_ATTEMPTS {
        match feed.ask(client, clock, lease).await {
            Ok(Progress::Fresh) => return Ok(()),
            Ok(Progress::Late | Progress::Behind | Progress::SnapshotNeeded) => {}
            Err(error) => return Err(BuildError::feed(&error)),
        }
    }
    let reason = "the issuer's answers take longer than the lease".to_owned();
    Err(BuildError::feed(&FeedError::Call(CallError::Unreachable(
        reason,
    ))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_do_without_tls() {
        for url in [
            "https://auth.example.com",
            "http://localhost:3000",
            "http://127.0.0.1/tenant",
            "http://[::1]",
            "http://[::1]:3000",
        ] {
            assert!(secure(url).is_ok(), "{url}");
        }
        for url in [
            "http://auth.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost:3000@example.com",
            "http://localhost:x@example.com/",
            "http://[::1]x",
            "ftp://localhost",
        ] {
            assert!(secure(url).is_err(), "{url}");
        }
    }
}
