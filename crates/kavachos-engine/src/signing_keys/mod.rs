//! The keys that tokens, heads of the revocation log and checkpoints are signed with.
//!
//! Promises: each purpose has keys of its own, and no key signs for two; the next key is published long before it signs,
//! and one that was rotated out as long as what it signed may live. A private key is derived from the master key and a
//! random salt and is stored nowhere, so a copy of the database signs nothing. The first keys are made when somebody
//! first asks for one; later ones by command and by age, those of the feed by a document where a root is configured.

mod change;
mod ring;
mod root;

use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, KeySet, MAX_KEYS, PublicKey};
use kavachos_store::signing_key::{self, KeyState, SigningKeyRow};
use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Scope};
use crate::compile;
use crate::engine::Engine;
use crate::error::{Error, Result};

pub(crate) use ring::Ring;
pub use root::InstalledFeedKeys;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// Leaves and roots.
    Token,
    /// Heads of the revocation log.
    Feed,
    /// Heads of the ledger.
    Checkpoint,
    /// What servers behind proxies are told of calls.
    Assertion,
}

impl KeyPurpose {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Token, Self::Feed, Self::Checkpoint, Self::Assertion];

    /// The text that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Feed => "feed",
            Self::Checkpoint => "checkpoint",
            Self::Assertion => "assertion",
        }
    }

    /// With what keys of this purpose sign.
    const fn algorithms(self) -> &'static [Algorithm] {
        match self {
            // Some libraries of tool servers know no Ed25519.
            Self::Token | Self::Assertion => &Algorithm::ALL,
            Self::Feed | Self::Checkpoint => &[Algorithm::Ed25519],
        }
    }

    /// Whether what its keys sign is held against them for as long as there is a ledger.
    pub(crate) const fn outlives_its_keys(self) -> bool {
        matches!(self, Self::Checkpoint)
    }
}

/// A key that signs, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// Its thumbprint (RFC 7638), as it stands in the header of what it signs.
    pub kid: String,
    /// `token`, `feed`, `checkpoint` or `assertion`.
    #[cfg_attr(feature = "schema", schemars(with = "KeyPurpose"))]
    pub purpose: String,
    /// `EdDSA` or `ES256`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["EdDSA", "ES256"])))]
    pub algorithm: String,
    /// `next` (published, signs nothing yet), `current` or `retired`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["next", "current", "retired"])))]
    pub state: &'static str,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs, or signed.
    pub signs_since: Option<Timestamp>,
    /// Until when it is published.
    pub published_until: Option<Timestamp>,
}

/// The keys of a purpose that are published after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "PublishedKeys"))]
pub struct Published {
    /// Those in use first, then the newest.
    pub keys: Vec<SigningKey>,
}

impl SigningKey {
    fn of(row: SigningKeyRow) -> Self {
        Self {
            kid: row.kid,
            purpose: row.purpose,
            algorithm: row.algorithm,
            state: row.state.as_str(),
            created_at: row.created_at,
            signs_since: row.signs_since,
            published_until: row.published_until,
        }
    }
}

impl Engine {
    /// The public keys of one purpose, as everyone may have them. Made, if there are none yet.
    ///
    /// # Errors
    /// There is no master key to make them of, or the store cannot be used.
    pub async fn key_set(&self, purpose: KeyPurpose) -> Result<KeySet> {
        let now = self.now();
        let ring = self.ring().await?;
        let keys = ring.of(purpose).filter(|key| key.is_published(now));
        // Those in use come first; of very many retired ones the oldest are left out.
        let keys = keys.take(MAX_KEYS);
        KeySet::new(keys.map(|key| key.public.clone()))
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// The key that signs for this purpose now.
    ///
    /// # Errors
    /// There is no master key, or it is not the one that the key was made of.
    pub(crate) async fn signer(
        &self,
        purpose: KeyPurpose,
        algorithm: Algorithm,
    ) -> Result<kavachos_core::token::SigningKey> {
        self.needed_master_key()?;
        let ring = self.ring().await?;
        let current = ring
            .of(purpose)
            .find(|key| key.state == KeyState::Current && key.public.algorithm() == algorithm);
        current.and_then(|key| key.secret.clone()).ok_or_else(|| {
            Error::WrongState(
                "the master key is not the one that the signing keys were derived from; bring that one back, or rotate \
                 them with `kavach keys rotate`"
                    .to_owned(),
            )
        })
    }

    /// The keys that sign, that will sign, and the last ones that did: newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn signing_keys(&self, actor: &Actor) -> Result<Vec<SigningKey>> {
        actor.require(Scope::ConfigWrite)?;
        self.ring().await?;
        let rows = self.store().list(signing_key::latest()).await?;
        Ok(rows.into_iter().map(SigningKey::of).collect())
    }
}

fn public_of(row: &SigningKeyRow) -> Result<PublicKey> {
    let jwk: serde_json::Value = compile::stored("public", &row.public)?;
    PublicKey::from_jwk(&jwk).map_err(|error| Error::Internal(error.to_string()))
}
