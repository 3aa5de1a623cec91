//! Keys of the feed under a root that is kept offline: asked for here, signed there, installed here.
//!
//! Promises: where a root is configured, nothing but a document that it signed has another key sign heads. Such a
//! document brings its key into use, takes every other one away and begins its epoch in one transaction, so that whoever
//! stole the last key has nothing that anybody believes who pins the root. See ADR 0028.

use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Frontier, LogId, Outcome};
use kavachos_core::revocation::LogHead;
use kavachos_core::token::{Algorithm, Code, Failure, FeedKeys, FeedKeysRequest, FeedRoot, KeySet};
use kavachos_store::signing_key::{self, KeyState, SigningKeyRow};
use kavachos_store::transfer::{self, Log};
use kavachos_store::{Batch, Filled, Filling, Write};
use serde::Serialize;
use serde_json::json;

use super::ring::Keys;
use super::{KeyPurpose, SigningKey, public_of};
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::epoch::epoch_after;
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::revoked::Revoked;
use crate::transfer::record_of;
use crate::users::to_text;

/// How far ahead the clock may have been that chose an epoch.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What keys of the feed sign, and with what.
const FEED: (KeyPurpose, Algorithm) = (KeyPurpose::Feed, Algorithm::Ed25519);

/// What came of a document: the keys that sign heads now, and by when nothing of before is accepted any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct InstalledFeedKeys {
    /// The epoch that began with them. Every token of before is refused: whoever holds one asks for another.
    pub epoch: u64,
    /// The keys of the feed that are published now.
    pub keys: Vec<SigningKey>,
    /// How far it has reached.
    #[serde(flatten)]
    pub revoked: Revoked,
}

impl Engine {
    /// The document that brought the key into use that signs heads, for whoever pins its root.
    ///
    /// # Errors
    /// There is none, because no root is configured or none has signed yet; there is no master key; those of the store.
    pub async fn feed_keys_document(&self) -> Result<String> {
        let ring = self.ring().await?;
        (self.document_of(&ring).map(str::to_owned)).ok_or(Error::NotFound("document of feed keys"))
    }

    /// Makes a fresh key for the feed, which signs nothing yet, and says what the keeper of the root is to sign. The key
    /// of an earlier request is dropped.
    ///
    /// # Errors
    /// The caller may not, no root is configured, or there is no master key.
    pub async fn request_feed_keys(&self, actor: &Actor) -> Result<Issued<FeedKeysRequest>> {
        self.ring().await?;
        let act = Act::new("signing_key.requested");
        let asked = self
            .change(actor, act, || self.plan_feed_keys(actor))
            .await?;
        self.renew_ring().await?;
        Ok(asked)
    }

    async fn plan_feed_keys(&self, actor: &Actor) -> Result<Plan<Issued<FeedKeysRequest>>> {
        actor.require(Scope::ConfigWrite)?;
        if let Some(done) = self.done_before(actor).await? {
            let asked = FeedKeysRequest::parse(done.as_bytes())?;
            return Ok(Plan::Done(Issued::replay(asked)));
        }
        self.feed_root()?;
        let keys = self.renew_ring().await?;
        let new = self.new_signing_key(FEED, KeyState::Next)?;
        let asked = FeedKeysRequest {
            issuer: self.settings().issuer.clone(),
            epoch: epoch_after(self.head().epoch, self.now())?,
            keys: KeySet::new([public_of(&new)?])?,
        };
        let record = self.signing_key_record(actor, "signing_key.requested", &new, None)?;
        let mut batch = Batch {
            reads: actor.reads(),
            entries: vec![record],
            ..Batch::default()
        };
        if let Some(old) = keys.find(FEED.0, FEED.1, KeyState::Next) {
            let away = signing_key::retire(old.row.kid.clone(), self.now());
            batch.writes.push(away);
        }
        batch.writes.push(signing_key::insert(new));
        self.claim_once(actor, &mut batch, to_text(&asked)?);
        Ok(Plan::commit(batch, Issued::without_token(asked)))
    }

    /// Has the key sign heads that a document of the root names, in the epoch that it names. Whoever installs the same
    /// document again is told what it came to.
    ///
    /// # Errors
    /// The caller may not; the document is not signed by the configured root, or is about another issuer; its epoch is
    /// over or its key is not the one that was last asked for; those of the store. Nothing is changed then.
    pub async fn install_feed_keys(
        &self,
        actor: &Actor,
        document: &str,
    ) -> Result<Issued<InstalledFeedKeys>> {
        match self.installed(actor, document).await {
            Err(error) if error.is_refusal() => {
                let act = Act::new("signing_key.installed");
                Err(self.refused(actor, act, error).await?)
            }
            done => done,
        }
    }

    async fn installed(&self, actor: &Actor, document: &str) -> Result<Issued<InstalledFeedKeys>> {
        actor.require(Scope::ConfigWrite)?;
        // For its refusal of another body under the same name; the same one is found out by the document.
        self.done_before(actor).await?;
        let asked = self.read_document(document)?;
        self.ring().await?;
        let ring = self.renew_ring().await?;
        if self.document_of(&ring) == Some(document) {
            return Ok(Issued::replay(self.told(asked.epoch, &ring)));
        }
        let rows: Vec<SigningKeyRow> = ring.of(FEED.0).map(|key| key.row.clone()).collect();
        self.awaited(&asked, self.head().epoch, rows)?;
        // The document has the root's authority; the caller only brings it, and must be somebody still.
        self.require_same_key(actor).await?;
        let mut filling = self.store().fill().await?;
        let done = self
            .take_over(&mut *filling, actor, (document, &asked))
            .await;
        drop(filling);
        // What is in memory signed for the last epoch; where it is not known whether this was committed, it is read again.
        self.keyring().forget();
        done?;
        let ring = self.renew_ring().await?;
        self.keep_checkpoint().await;
        self.look_for_webhooks();
        Ok(Issued::without_token(self.told(asked.epoch, &ring)))
    }

    /// What the root says, if it is the root that says it.
    fn read_document(&self, document: &str) -> Result<FeedKeysRequest> {
        let root = std::slice::from_ref(self.feed_root()?);
        let read = FeedKeys::open(document, &self.settings().issuer, root);
        let refused = |failure: Failure| match failure.code {
            Code::UnknownKey | Code::BadSignature => Error::Forbidden(format!(
                "the document is not signed by the root of this server: {}",
                failure.message()
            )),
            _ => Invalid::at("document", failure.message().to_owned()).into(),
        };
        read.map(|read| read.request).map_err(refused)
    }

    /// The key that a document brings into use: it must be the one that was last asked for, and must sign here.
    fn awaited(
        &self,
        asked: &FeedKeysRequest,
        epoch: u64,
        rows: Vec<SigningKeyRow>,
    ) -> Result<SigningKeyRow> {
        if asked.epoch <= epoch {
            return Err(Error::WrongState(format!(
                "the document is for epoch {}, and the log is in epoch {epoch}: ask again with `kavach keys root request`",
                asked.epoch
            )));
        }
        if asked.epoch > epoch_after(epoch, self.now().plus(DAY))? {
            return Err(Error::WrongState(format!(
                "the document is for epoch {}, which is not what was asked for: ask again with `kavach keys root request`, \
                 and compare what is signed",
                asked.epoch
            )));
        }
        let is_next = |row: &SigningKeyRow| {
            row.purpose == FEED.0.as_str()
                && row.state == KeyState::Next
                && asked
                    .keys
                    .names()
                    .map(|name| name.to_string())
                    .eq([row.kid.clone()])
        };
        let next = rows.into_iter().find(is_next).ok_or_else(|| {
            Error::WrongState(
                "the document names another key than the one that was last asked for: ask again with `kavach keys root \
                 request`"
                    .to_owned(),
            )
        })?;
        let key = self.key_of(next)?;
        match key.secret {
            Some(_) => Ok(key.row),
            None => Err(Error::WrongState(
                "the master key is not the one that the key was made of: ask again with `kavach keys root request`"
                    .to_owned(),
            )),
        }
    }

    /// Brings the key into use, takes the others away, and begins the epoch: all of it, or nothing.
    async fn take_over(
        &self,
        filling: &mut dyn Filling,
        actor: &Actor,
        (document, asked): (&str, &FeedKeysRequest),
    ) -> Result<()> {
        let before = filling.list(transfer::log()).await?.pop();
        let before = before.ok_or_else(|| Error::Internal("the database has no log".to_owned()))?;
        let now = self.now().max(before.last_time);
        let rows = filling.list(signing_key::published(now)).await?;
        let key = self.awaited(asked, before.epoch, rows)?;
        let mut frontier = Frontier::decode(&before.frontier)
            .map_err(|error| Error::Internal(error.message().to_owned()))?;
        let entry = self.installed_record(actor, (&before, asked.epoch), &key)?;
        let place = (LogId(before.log), frontier.size(), now);
        let record = record_of(place, &entry);
        frontier.append(record.leaf);
        let mut once = Batch::default();
        self.claim_once(actor, &mut once, key.kid.clone());
        let mut writes: Vec<Write> = vec![
            signing_key::withdraw_others(FEED.0.as_str(), key.kid.clone(), now),
            signing_key::promote_by(key.kid, now, document.to_owned()),
        ];
        writes.extend(record.store());
        writes.extend(once.writes);
        filling.write(writes).await?;
        let filled = Filled {
            log: LogId(before.log),
            epoch: asked.epoch,
            frontier,
            last_time: now,
            revocation: LogHead {
                rseq: before.rseq,
                rhash: before.rhash,
            },
            effects: vec![Changed::Everything.into(), Changed::Kills.into()],
        };
        filling.finish(filled).await?;
        Ok(())
    }

    fn installed_record(
        &self,
        actor: &Actor,
        (before, epoch): (&Log, u64),
        key: &SigningKeyRow,
    ) -> Result<kavachos_core::ledger::Entry> {
        let details = json!({
            "fromEpoch": before.epoch,
            "epoch": epoch,
            "kid": key.kid,
            "root": self.feed_root()?.thumbprint(),
        });
        let origin = actor.origin();
        let kind = "signing_key.installed";
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.details = Some(&details);
        self.seal(&record)
    }

    fn told(&self, epoch: u64, ring: &Keys) -> InstalledFeedKeys {
        let now = self.now();
        let published = ring.of(FEED.0).filter(|key| key.is_published(now));
        InstalledFeedKeys {
            epoch,
            keys: published
                .map(|key| SigningKey::of(key.row.clone()))
                .collect(),
            revoked: self.reached_now(),
        }
    }

    fn feed_root(&self) -> Result<&FeedRoot> {
        self.settings().feed_root.as_ref().ok_or_else(|| {
            Error::WrongState(
                "no root is configured for the keys of the feed: make one with `kavach keys root new`, and set \
                 `feed.root`"
                    .to_owned(),
            )
        })
    }

    /// The document of the key that signs heads. After an import the server's own key is still there, and its document is
    /// for an epoch that is not.
    fn document_of<'r>(&self, ring: &'r Keys) -> Option<&'r str> {
        let key = ring.find(FEED.0, FEED.1, KeyState::Current)?;
        let document = key.row.document.as_deref()?;
        let read = self.read_document(document).ok()?;
        (read.epoch == self.head().epoch).then_some(document)
    }

    /// Tells the log that verifiers which pin the root accept nothing, as after a restoration.
    pub(super) fn warn_of_missing_document(&self, ring: &Keys) {
        if self.is_rooted(FEED.0) && self.document_of(ring).is_none() {
            tracing::warn!(
                "the root has not signed for the key of the feed, so verifiers that pin it accept nothing: begin with \
                 `kavach keys root request`"
            );
        }
    }

    /// Whether only a document of the root replaces the keys of this purpose.
    pub(super) fn is_rooted(&self, purpose: KeyPurpose) -> bool {
        purpose == KeyPurpose::Feed && self.settings().feed_root.is_some()
    }

    /// Refuses to replace keys of this purpose in another way than by a document of the root, if there is one.
    pub(super) fn require_unrooted(&self, purpose: KeyPurpose) -> Result<()> {
        if self.is_rooted(purpose) {
            return Err(Error::WrongState(
                "the keys of the feed are replaced by a document that their root signs: begin with `kavach keys root \
                 request`"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}
