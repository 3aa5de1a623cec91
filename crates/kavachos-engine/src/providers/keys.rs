//! The keys of providers: fetched when they are needed, kept for a while, never believed for long without word.
//!
//! Promises: a set is fetched anew once it is ten minutes old, and at once for a key that it does not name, but one
//! provider is asked at most every 30 seconds, and by one fetch for all who wait; a key that is gone from the set is gone
//! here; an hour after the last good answer none of its keys is believed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos_core::id_token::{ProviderKey, ProviderKeySet};
use kavachos_core::json;
use kavachos_core::time::{Timestamp, clip};
use serde_json::Value;

use super::{CLEAR_TEXT, Provider, as_safe};
use crate::bell::{Bell, Listener};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::fetch::{Fetch, FetchMethod, FetchUrl};

/// How old a set may be before it is fetched anew.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// How long after the last good answer a set is believed.
const BELIEVED: Duration = Duration::from_secs(60 * 60);
/// How long one fetch is before the next.
const PAUSE: Duration = Duration::from_secs(30);
/// The longest key set and the longest document of discovery: twenty keys with their certificates fit.
const MAX_DOCUMENT_BYTES: usize = 128 * 1024;
/// How often one who waited for a fetch looks again: another may have been due by then.
const MAX_LOOKS: usize = 4;

/// The sets of all providers, by their issuers.
#[derive(Debug, Default)]
pub(crate) struct ProviderKeys {
    /// INVARIANT: at most one for each provider of the configuration.
    sets: Mutex<HashMap<String, Known>>,
    bell: Bell,
}

/// What is known of one provider.
#[derive(Debug, Default)]
struct Known {
    set: Option<(Arc<ProviderKeySet>, Timestamp)>,
    /// When it was asked last.
    asked_at: Option<Timestamp>,
    is_asked: bool,
}

/// What a look at one provider comes to.
enum Look<'a> {
    Found(ProviderKey),
    /// The set is fresh or was just asked for, and there is no such key in it.
    NoSuchKey,
    /// Nothing is believed, and it is too early to ask again.
    Silent(Duration),
    /// Somebody fetches.
    Wait(Listener<'a>),
    /// This one is to fetch.
    Fetch(Listener<'a>),
    /// Too many wait.
    Crowded,
}

impl ProviderKeys {
    fn look(&self, issuer: &str, kid: &str, now: Timestamp) -> Look<'_> {
        let mut sets = self.sets();
        let known = sets.entry(issuer.to_owned()).or_default();
        let believed = known
            .set
            .as_ref()
            .filter(|(_, at)| now.since(*at) < BELIEVED);
        let is_fresh = believed.is_some_and(|(_, at)| now.since(*at) < FRESH);
        let key = believed.and_then(|(set, _)| set.get(kid).cloned());
        let early = known.asked_at.map(|at| PAUSE.saturating_sub(now.since(at)));
        let early = early.filter(|left| !left.is_zero());
        match (key, early) {
            (Some(key), _) if is_fresh || known.is_asked => Look::Found(key),
            (Some(key), Some(_)) => Look::Found(key),
            (None, _) if known.is_asked => self.listen(issuer).map_or(Look::Crowded, Look::Wait),
            (None, Some(_)) if believed.is_some() => Look::NoSuchKey,
            (None, Some(left)) => Look::Silent(left),
            (_, None) => match self.listen(issuer) {
                None => Look::Crowded,
                Some(listener) => {
                    known.asked_at = Some(now);
                    known.is_asked = true;
                    Look::Fetch(listener)
                }
            },
        }
    }

    fn answered(&self, issuer: &str, set: Option<ProviderKeySet>, now: Timestamp) {
        if let Some(known) = self.sets().get_mut(issuer) {
            known.is_asked = false;
            if let Some(set) = set {
                known.set = Some((Arc::new(set), now));
            }
        }
        self.bell.ring(bell_of(issuer));
    }

    fn listen(&self, issuer: &str) -> Option<Listener<'_>> {
        self.bell.listen(bell_of(issuer))
    }

    /// Nothing under the lock can leave a set half written, so a poisoned lock is as good as any.
    fn sets(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two issuers that share a bell wake each other's waiters, who look again.
fn bell_of(issuer: &str) -> u128 {
    use sha2::{Digest, Sha256};
    let hash: [u8; 32] = Sha256::digest(issuer.as_bytes()).into();
    hash.first_chunk()
        .map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

impl Engine {
    /// A provider's key; `None` when the provider has none of this name.
    ///
    /// # Errors
    /// [`Error::ProviderUnavailable`] when no key of the provider is believed and none can be fetched now.
    pub(super) async fn provider_key(
        &self,
        provider: &Arc<Provider>,
        kid: &str,
    ) -> Result<Option<ProviderKey>> {
        for _ in 0..MAX_LOOKS {
            match self.provider_keys().look(&provider.issuer, kid, self.now()) {
                Look::Found(key) => return Ok(Some(key)),
                Look::NoSuchKey => return Ok(None),
                Look::Silent(retry_after) => {
                    return Err(Error::ProviderUnavailable { retry_after });
                }
                Look::Crowded => return Err(Error::Busy),
                Look::Wait(answered) => answered.await,
                Look::Fetch(answered) => {
                    self.ask_provider(provider);
                    answered.await;
                }
            }
        }
        Err(Error::Busy)
    }

    /// Fetches aside, so that a caller who goes away takes nobody's keys along.
    fn ask_provider(&self, provider: &Arc<Provider>) {
        let (engine, provider) = (self.clone(), Arc::clone(provider));
        self.spawn(async move {
            let set = engine.fetched_keys(&provider).await;
            if let Err(reason) = &set {
                tracing::warn!(provider = %provider.name, reason, "the keys of a provider cannot be fetched");
            }
            let now = engine.now();
            engine.provider_keys().answered(&provider.issuer, set.ok(), now);
        });
    }

    async fn fetched_keys(
        &self,
        provider: &Provider,
    ) -> std::result::Result<ProviderKeySet, String> {
        let keys = match &provider.jwks_uri {
            Some(url) => url.clone(),
            None => self.discovered(provider).await?,
        };
        let document = self.document(keys).await?;
        ProviderKeySet::from_jwks(&document).map_err(|error| error.to_string())
    }

    /// Where the provider says that its keys are (OpenID Connect Discovery 1.0, section 4.3).
    async fn discovered(&self, provider: &Provider) -> std::result::Result<FetchUrl, String> {
        let document = self.document(provider.discovery.clone()).await?;
        let document = json::parse(&document).map_err(|error| error.to_string())?;
        let text = |name| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(&provider.issuer) {
            return Err(format!(
                "the document at `{}` is of the issuer `{}`, not of `{}`",
                provider.discovery,
                clip(text("issuer").unwrap_or_default()),
                provider.issuer
            ));
        }
        let keys = text("jwks_uri").ok_or("the provider does not say where its keys are")?;
        let keys: FetchUrl = keys
            .parse()
            .map_err(|error| format!("`jwks_uri` {error}"))?;
        if !as_safe(&keys, &provider.discovery) {
            return Err(CLEAR_TEXT.to_owned());
        }
        Ok(keys)
    }

    async fn document(&self, url: FetchUrl) -> std::result::Result<Vec<u8>, String> {
        let shown = url.to_string();
        let fetch = Fetch {
            url,
            method: FetchMethod::Get,
            headers: vec![("accept", "application/json".to_owned())],
            body: Vec::new(),
            max_answer_bytes: MAX_DOCUMENT_BYTES,
        };
        match self.fetcher().fetch(fetch).await {
            Ok(fetched) if fetched.status == 200 => Ok(fetched.body),
            Ok(fetched) => Err(format!("`{shown}` answers {}", fetched.status)),
            Err(error) => Err(format!("`{shown}`: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use kavachos_core::token::{Algorithm, SigningKey};
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://a.example";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::MIN.plus(Duration::from_secs(seconds + 1_000_000))
    }

    fn set(kid: &str) -> ProviderKeySet {
        let key = SigningKey::from_seed(Algorithm::Ed25519, &[7; 32]).unwrap();
        let mut jwk = key.public().to_jwk();
        jwk["kid"] = kid.into();
        ProviderKeySet::from_jwks(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap()
    }

    /// What a look comes to, in a word.
    fn word(keys: &ProviderKeys, kid: &str, seconds: u64) -> &'static str {
        match keys.look(ISSUER, kid, at(seconds)) {
            Look::Found(_) => "found",
            Look::NoSuchKey => "none",
            Look::Silent(_) => "silent",
            Look::Wait(_) => "wait",
            Look::Fetch(_) => "fetch",
            Look::Crowded => "crowded",
        }
    }

    #[test]
    fn one_fetches_for_all_and_its_answer_serves_them() {
        let keys = ProviderKeys::default();
        assert_eq!(word(&keys, "a", 0), "fetch");
        assert_eq!(word(&keys, "a", 0), "wait");
        keys.answered(ISSUER, Some(set("a")), at(1));
        assert_eq!(word(&keys, "a", 1), "found");
        assert_eq!(word(&keys, "a", 600), "found");
    }

    #[test]
    fn a_key_that_is_not_there_is_asked_for_every_30_seconds_at_the_most() {
        let keys = ProviderKeys::default();
        assert_eq!(word(&keys, "b", 0), "fetch");
        keys.answered(ISSUER, Some(set("a")), at(0));
        assert_eq!(word(&keys, "b", 0), "none");
        assert_eq!(word(&keys, "b", 29), "none");
        assert_eq!(word(&keys, "b", 30), "fetch");
        // Others go on meanwhile.
        assert_eq!(word(&keys, "a", 30), "found");
        keys.answered(ISSUER, Some(set("b")), at(31));
        assert_eq!(word(&keys, "b", 31), "found");
        // The one that is gone from the set is gone.
        assert_eq!(word(&keys, "a", 31), "none");
    }

    #[test]
    fn an_hour_without_word_ends_belief() {
        let keys = ProviderKeys::default();
        assert_eq!(word(&keys, "a", 0), "fetch");
        keys.answered(ISSUER, Some(set("a")), at(0));
        assert_eq!(word(&keys, "a", 600), "fetch");
        keys.answered(ISSUER, None, at(601));
        assert_eq!(word(&keys, "a", 601), "found");
        assert_eq!(word(&keys, "a", 3_599), "fetch");
        keys.answered(ISSUER, None, at(3_599));
        assert_eq!(word(&keys, "a", 3_599), "found");
        assert_eq!(word(&keys, "a", 3_600), "silent");
        assert_eq!(word(&keys, "a", 3_629), "fetch");
        keys.answered(ISSUER, None, at(3_629));
        assert_eq!(word(&keys, "a", 3_630), "silent");
        // The twin: word comes.
        assert_eq!(word(&keys, "a", 3_659), "fetch");
        keys.answered(ISSUER, Some(set("a")), at(3_659));
        assert_eq!(word(&keys, "a", 3_659), "found");
    }
}
