//! Keys made, rotated and retired.

use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::secret::Secret;
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, Thumbprint};
use kavachos_store::signing_key::{self, KeyState, SigningKeyRow};
use kavachos_store::{Batch, CommitError, Write};
use serde_json::json;

use super::ring::{Keys, secret_of};
use super::{KeyPurpose, Published, SigningKey};
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::master::fingerprint;
use crate::users::to_text;

/// How long a key is published after it signed for the last time: the longest life of a root, and some.
const PUBLISHED_AFTER: Duration = Duration::from_secs(20 * 60);

impl Engine {
    /// Makes the first keys of each purpose that has none. Where there is no master key, that is the caller's to mend.
    pub(super) async fn make_missing(&self, keys: &Keys) -> Result<()> {
        let actor = Actor::local(self.id());
        let mut batch = Batch::default();
        for purpose in KeyPurpose::ALL {
            for algorithm in purpose.algorithms() {
                if keys.find(purpose, *algorithm, KeyState::Current).is_none() {
                    self.add_first(&actor, &mut batch, (purpose, *algorithm))?;
                }
            }
        }
        match self.store().commit(batch).await {
            // Somebody else made them at the same time.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn add_first(
        &self,
        actor: &Actor,
        batch: &mut Batch,
        what: (KeyPurpose, Algorithm),
    ) -> Result<()> {
        let current = self.new_signing_key(what, KeyState::Current)?;
        let next = self.new_signing_key(what, KeyState::Next)?;
        let entry = self.signing_key_record(actor, "signing_key.created", &current, Some(&next))?;
        batch.entries.push(entry);
        batch.writes.push(signing_key::insert(current));
        batch.writes.push(signing_key::insert(next));
        Ok(())
    }

    pub(super) fn new_signing_key(
        &self,
        (purpose, algorithm): (KeyPurpose, Algorithm),
        state: KeyState,
    ) -> Result<SigningKeyRow> {
        let master = self.needed_master_key()?;
        let (salt, public) = self.drawn(master, purpose, algorithm)?;
        let now = self.now();
        Ok(SigningKeyRow {
            kid: public.thumbprint().to_string(),
            purpose: purpose.as_str().to_owned(),
            algorithm: algorithm.as_str().to_owned(),
            public: to_text(&public.to_jwk())?,
            salt,
            master: fingerprint(master),
            state,
            created_at: now,
            signs_since: (state == KeyState::Current).then_some(now),
            published_until: None,
            document: None,
        })
    }

    /// A salt that makes a key: one in 2^32 does not.
    fn drawn(
        &self,
        master: &Secret,
        purpose: KeyPurpose,
        algorithm: Algorithm,
    ) -> Result<([u8; 32], kavachos_core::token::PublicKey)> {
        const DRAWS: usize = 4;
        (0..DRAWS)
            .find_map(|_| {
                let salt = self.random();
                let key = secret_of(master, purpose.as_str(), algorithm, &salt)?;
                Some((salt, key.public().clone()))
            })
            .ok_or_else(|| Error::Internal("no signing key could be drawn".to_owned()))
    }

    /// Has the next keys of a purpose sign from now on, and makes those after them.
    ///
    /// # Errors
    /// The caller may not, or there is no master key.
    pub async fn rotate_signing_keys(
        &self,
        actor: &Actor,
        purpose: KeyPurpose,
    ) -> Result<Issued<Published>> {
        self.ring().await?;
        let act = Act::new("signing_key.rotated");
        let done = self
            .change(actor, act, || self.plan_key_rotation(actor, purpose))
            .await?;
        self.published_after(done).await
    }

    async fn plan_key_rotation(
        &self,
        actor: &Actor,
        purpose: KeyPurpose,
    ) -> Result<Plan<Issued<KeyPurpose>>> {
        actor.require(Scope::ConfigWrite)?;
        if self.done_before(actor).await?.is_some() {
            return Ok(Plan::Done(Issued::replay(purpose)));
        }
        self.require_unrooted(purpose)?;
        let keys = self.renew_ring().await?;
        let mut batch = Batch {
            reads: actor.reads(),
            ..Batch::default()
        };
        for algorithm in purpose.algorithms() {
            self.add_rotation(actor, &mut batch, &keys, (purpose, *algorithm))?;
        }
        self.claim_once(actor, &mut batch, String::new());
        Ok(Plan::commit(batch, Issued::without_token(purpose)))
    }

    fn add_rotation(
        &self,
        actor: &Actor,
        batch: &mut Batch,
        keys: &Keys,
        what: (KeyPurpose, Algorithm),
    ) -> Result<()> {
        let (purpose, algorithm) = what;
        let now = self.now();
        let after = self.new_signing_key(what, KeyState::Next)?;
        let missing = || {
            Error::Internal(format!(
                "there is no {algorithm} key for {}s",
                purpose.as_str()
            ))
        };
        let old = keys
            .find(purpose, algorithm, KeyState::Current)
            .ok_or_else(missing)?;
        batch.writes.push(signing_key::retire(
            old.row.kid.clone(),
            purpose.published_until(now),
        ));
        let next = keys.find(purpose, algorithm, KeyState::Next);
        let (new, writes) = match next {
            // One that this master key makes.
            Some(next) if next.secret.is_some() => (
                next.row.clone(),
                vec![signing_key::promote(next.row.kid.clone(), now)],
            ),
            // Nobody knows the one that is made now, so verifiers fetch the keys at its first token.
            unusable => {
                let new = self.new_signing_key(what, KeyState::Current)?;
                let away = unusable.map(|key| signing_key::retire(key.row.kid.clone(), now));
                let writes: Vec<Write> = away
                    .into_iter()
                    .chain([signing_key::insert(new.clone())])
                    .collect();
                (new, writes)
            }
        };
        batch.writes.extend(writes);
        batch.entries.push(self.signing_key_record(
            actor,
            "signing_key.rotated",
            &new,
            Some(&after),
        )?);
        batch.writes.push(signing_key::insert(after));
        Ok(())
    }

    /// Takes a key out of use at once, as when it was seen by others: nothing that it signed is accepted by anyone who
    /// reads the published keys again. One that signs is followed by the next.
    ///
    /// # Errors
    /// The caller may not, there is no such key, or it is not published any more.
    pub async fn retire_signing_key(&self, actor: &Actor, kid: &str) -> Result<Issued<Published>> {
        let kid: Thumbprint = kid.parse().map_err(|error: Invalid| error.within("kid"))?;
        self.ring().await?;
        let act = Act::new("signing_key.retired");
        let done = self
            .change(actor, act, || self.plan_retirement(actor, kid))
            .await?;
        self.published_after(done).await
    }

    async fn published_after(&self, done: Issued<KeyPurpose>) -> Result<Issued<Published>> {
        let ring = self.renew_ring().await?;
        let keys = ring
            .of(done.thing)
            .map(|key| SigningKey::of(key.row.clone()))
            .collect();
        Ok(done.with(Published { keys }))
    }

    async fn plan_retirement(
        &self,
        actor: &Actor,
        kid: Thumbprint,
    ) -> Result<Plan<Issued<KeyPurpose>>> {
        actor.require(Scope::ConfigWrite)?;
        if let Some(done) = self.done_before(actor).await? {
            let purpose = KeyPurpose::ALL
                .into_iter()
                .find(|purpose| purpose.as_str() == done);
            let lost = || Error::Internal("an unknown purpose is stored".to_owned());
            return Ok(Plan::Done(Issued::replay(purpose.ok_or_else(lost)?)));
        }
        let keys = self.renew_ring().await?;
        let now = self.now();
        let mut all = KeyPurpose::ALL
            .into_iter()
            .flat_map(|purpose| keys.of(purpose).map(move |key| (purpose, key)));
        let (purpose, key) = all
            .find(|(_, key)| key.public.thumbprint() == kid && key.is_published(now))
            .ok_or(Error::NotFound("signing key"))?;
        self.require_unrooted(purpose)?;
        let what = (purpose, key.public.algorithm());
        let mut batch = Batch {
            reads: actor.reads(),
            entries: vec![self.signing_key_record(actor, "signing_key.retired", &key.row, None)?],
            ..Batch::default()
        };
        if key.state == KeyState::Current {
            self.add_rotation(actor, &mut batch, &keys, what)?;
        }
        batch
            .writes
            .push(signing_key::retire(key.row.kid.clone(), now));
        if key.state == KeyState::Next {
            batch.writes.push(signing_key::insert(
                self.new_signing_key(what, KeyState::Next)?,
            ));
        }
        self.claim_once(actor, &mut batch, purpose.as_str().to_owned());
        Ok(Plan::commit(batch, Issued::without_token(purpose)))
    }

    /// Rotates the keys that have signed for longer than the settings say. The upkeep calls it every hour.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn upkeep_of_keys(&self) -> Result<()> {
        if self.master_key().is_none() {
            return Ok(());
        }
        let ring = self.renew_ring().await?;
        self.warn_of_missing_document(&ring);
        let oldest = self.now().minus(self.settings().signing_key_life);
        let by_age = |purpose: &KeyPurpose| !self.is_rooted(*purpose);
        for purpose in KeyPurpose::ALL.into_iter().filter(by_age) {
            let mut keys = ring.of(purpose);
            let is_old = |since: Option<Timestamp>| since.is_some_and(|since| since <= oldest);
            if keys.any(|key| key.state == KeyState::Current && is_old(key.row.signs_since)) {
                let actor = Actor::local(self.id());
                self.rotate_signing_keys(&actor, purpose).await?;
            }
        }
        Ok(())
    }

    pub(super) fn signing_key_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        key: &SigningKeyRow,
        next: Option<&SigningKeyRow>,
    ) -> Result<Entry> {
        let mut details =
            json!({"kid": key.kid, "purpose": key.purpose, "algorithm": key.algorithm});
        if let (Some(members), Some(next)) = (details.as_object_mut(), next) {
            members.insert("next".to_owned(), next.kid.clone().into());
        }
        let origin = actor.origin();
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.details = Some(&details);
        self.seal(&record)
    }
}

impl KeyPurpose {
    fn published_until(self, now: Timestamp) -> Timestamp {
        if self.outlives_its_keys() {
            Timestamp::MAX
        } else {
            now.plus(PUBLISHED_AFTER)
        }
    }
}
