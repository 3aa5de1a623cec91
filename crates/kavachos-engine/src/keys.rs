//! Operator keys: made, changed and revoked by operators, none stronger than the key that makes it.

use kavachos_core::id::KeyId;
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::Status;
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_store::operator_key::{self, OperatorKeyRow};
use kavachos_store::{Batch, handle};
use serde::Serialize;
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Caller, Scope, Scopes};
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::page::{Page, PageOf};
use crate::revoked::{Edited, Revoked};
use crate::text;
use crate::users::{raised, to_text};

/// Where a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Made through the API.
    Created,
    /// Made with the database.
    Init,
    /// Given in the configuration; lives only as long as it stands there.
    Configured,
}

impl Origin {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Init => "init",
            Self::Configured => "env",
        }
    }
}

/// A key to make.
#[derive(Debug, Clone, PartialEq)]
pub struct NewKey {
    /// For display.
    pub name: String,
    /// What it may be used for.
    pub scopes: Scopes,
    /// The bound on everything that is made or asked with it.
    pub ceiling: Option<PermissionSet>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// What to change of a key; `None` leaves it, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyChange {
    /// The name.
    pub name: Option<String>,
    /// The scopes.
    pub scopes: Option<Scopes>,
    /// The ceiling.
    pub ceiling: Option<Option<PermissionSet>>,
    /// The end.
    pub expires_at: Option<Option<Timestamp>>,
}

/// A key, as others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// The id.
    pub id: KeyId,
    /// The first characters of the key itself.
    pub shown: String,
    /// The name.
    pub name: String,
    /// `created`, `init` or `env`.
    pub origin: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// The bound on everything that is made or asked with it; `null` for none.
    pub ceiling: Option<PermissionSet>,
    /// `active`, `suspended` (its variable is gone from the configuration), `revoked` or `expired`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "suspended", "revoked", "expired"])))]
    pub status: &'static str,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Engine {
    fn key_view(&self, row: OperatorKeyRow) -> Result<Key> {
        let expired =
            row.status == Status::Active && row.expires_at.is_some_and(|end| end <= self.now());
        Ok(Key {
            id: row.id,
            shown: row.shown,
            name: row.name,
            origin: row.origin,
            scopes: compile::stored("scopes", &row.scopes)?,
            ceiling: row
                .ceiling
                .as_deref()
                .map(|text| compile::stored("ceiling", text))
                .transpose()?,
            status: if expired {
                "expired"
            } else {
                row.status.as_str()
            },
            expires_at: row.expires_at,
            created_at: row.created_at,
        })
    }

    /// Makes a key.
    ///
    /// # Errors
    /// It would be stronger than the caller's own: more scopes, a wider ceiling or a later end.
    pub async fn create_key(&self, actor: &Actor, new: &NewKey) -> Result<Issued<Key>> {
        text::plain("name", &new.name, text::MAX_NAME_BYTES)?;
        check_ceiling(new.ceiling.as_ref())?;
        text::future(new.expires_at, self.now())?;
        let secret = self.secret(SecretKind::Operator);
        self.change(actor, Act::new("key.created"), || {
            self.plan_key(actor, new, &secret, Origin::Created)
        })
        .await
    }

    /// Makes the first key of a new database.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn create_first_key(&self, actor: &Actor, new: &NewKey) -> Result<Issued<Key>> {
        let secret = self.secret(SecretKind::Operator);
        self.change(actor, Act::new("key.created"), || {
            self.plan_key(actor, new, &secret, Origin::Init)
        })
        .await
    }

    async fn plan_key(
        &self,
        actor: &Actor,
        new: &NewKey,
        secret: &Secret,
        origin: Origin,
    ) -> Result<Plan<Issued<Key>>> {
        actor.require(Scope::KeysWrite)?;
        if let Some(done) = self.done_before(actor).await? {
            let row = self.key_row(done.parse().map_err(Error::Invalid)?).await?;
            return Ok(Plan::Done(Issued::replay(self.key_view(row)?)));
        }
        no_stronger(actor, &new.scopes, new.ceiling.as_ref(), new.expires_at)?;
        let row = OperatorKeyRow {
            id: self.id(),
            hash: secret.hash(),
            shown: secret.display_prefix().to_owned(),
            name: new.name.clone(),
            origin: origin.as_str().to_owned(),
            scopes: to_text(&new.scopes.names())?,
            ceiling: new.ceiling.as_ref().map(to_text).transpose()?,
            status: Status::Active,
            expires_at: new.expires_at,
            mark: self.mark(HandleKind::Key),
            version: 0,
            created_at: self.now(),
        };
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![operator_key::insert(row.clone()), handle::born(row.mark)],
            entries: vec![self.key_record(actor, "key.created", &row)?],
            effects: vec![Changed::Key(row.hash).into()],
            ..Batch::default()
        };
        self.claim_once(actor, &mut batch, row.id.to_string());
        Ok(Plan::commit(
            batch,
            Issued::new(self.key_view(row)?, secret.clone()),
        ))
    }

    fn key_record(&self, actor: &Actor, kind: &'static str, row: &OperatorKeyRow) -> Result<Entry> {
        let origin = actor.origin();
        let scopes: serde_json::Value = compile::stored("scopes", &row.scopes)?;
        let details = json!({ "key": row.id, "origin": row.origin, "scopes": scopes });
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.details = Some(&details);
        record.personal.name = Some(&row.name);
        self.seal(&record)
    }

    /// One key.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn key(&self, actor: &Actor, id: KeyId) -> Result<Key> {
        actor.require(Scope::KeysWrite)?;
        self.key_view(self.key_row(id).await?)
    }

    async fn key_row(&self, id: KeyId) -> Result<OperatorKeyRow> {
        self.store()
            .find(operator_key::by_id(id))
            .await?
            .ok_or(Error::NotFound("key"))
    }

    /// Keys, newest first.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn keys(&self, actor: &Actor, page: PageOf<KeyId>) -> Result<Page<Key, KeyId>> {
        actor.require(Scope::KeysWrite)?;
        let rows = self
            .store()
            .list(operator_key::page(page.after, page.limit))
            .await?;
        Page::of(rows, |row| row.id).shown(|row| self.key_view(row))
    }

    /// Changes a key. What it was and what it becomes must both be no stronger than the caller's own.
    ///
    /// # Errors
    /// The key is revoked, or stronger than the caller's.
    pub async fn change_key(
        &self,
        actor: &Actor,
        id: KeyId,
        change: &KeyChange,
    ) -> Result<Edited<Key>> {
        if let Some(name) = &change.name {
            text::plain("name", name, text::MAX_NAME_BYTES)?;
        }
        check_ceiling(change.ceiling.as_ref().and_then(Option::as_ref))?;
        self.edit(actor, Act::on_key("key.updated", id), || {
            self.plan_key_change(actor, id, change)
        })
        .await
    }

    async fn plan_key_change(
        &self,
        actor: &Actor,
        id: KeyId,
        change: &KeyChange,
    ) -> Result<Plan<Key>> {
        actor.require(Scope::KeysWrite)?;
        let row = self.key_row(id).await?;
        if row.status == Status::Revoked {
            return Err(Error::WrongState(
                "the key is revoked; make a new one".to_owned(),
            ));
        }
        let old = compile::operator_key(&row)?;
        no_stronger(actor, &old.scopes, old.ceiling.as_ref(), old.expires_at)?;
        let scopes = change.scopes.clone().unwrap_or(old.scopes);
        let ceiling = change.ceiling.clone().unwrap_or(old.ceiling);
        let expires_at = change.expires_at.unwrap_or(old.expires_at);
        no_stronger(actor, &scopes, ceiling.as_ref(), expires_at)?;
        let next = OperatorKeyRow {
            name: change.name.clone().unwrap_or_else(|| row.name.clone()),
            scopes: to_text(&scopes.names())?,
            ceiling: ceiling.as_ref().map(to_text).transpose()?,
            expires_at,
            ..row
        };
        let batch = self.key_changed(actor, "key.updated", next.clone())?;
        Ok(Plan::commit(batch, self.key_view(next)?))
    }

    /// Any change of a key raises its generation, so that nothing goes on under what it was.
    fn key_changed(
        &self,
        actor: &Actor,
        kind: &'static str,
        next: OperatorKeyRow,
    ) -> Result<Batch> {
        Ok(Batch {
            reads: actor.reads(),
            kills: vec![raised(next.mark)],
            entries: vec![self.key_record(actor, kind, &next)?],
            effects: vec![Changed::Key(next.hash).into()],
            writes: vec![operator_key::update(next)],
            ..Batch::default()
        })
    }

    /// Revokes a key for good. Revoking twice is no error.
    ///
    /// # Errors
    /// There is no such key, or it is stronger than the caller's.
    pub async fn revoke_key(&self, actor: &Actor, id: KeyId) -> Result<Revoked> {
        self.stop(actor, Act::on_key("key.revoked", id), || {
            self.plan_key_end(actor, id)
        })
        .await
    }

    async fn plan_key_end(&self, actor: &Actor, id: KeyId) -> Result<Plan<Revoked>> {
        actor.require(Scope::KeysWrite)?;
        let row = self.key_row(id).await?;
        if row.status == Status::Revoked {
            return Ok(Plan::Done(Revoked::at(self.now())));
        }
        let key = compile::operator_key(&row)?;
        no_stronger(actor, &key.scopes, key.ceiling.as_ref(), key.expires_at)?;
        let batch = self.key_changed(
            actor,
            "key.revoked",
            OperatorKeyRow {
                status: Status::Revoked,
                ..row
            },
        )?;
        Ok(Plan::commit(batch, Revoked::at(self.now())))
    }

    /// Makes the key that stands in the configuration the only live one of its kind. Without one, those of earlier
    /// starts are put to sleep. A key that was revoked stays dead.
    ///
    /// # Errors
    /// The credential is not a well-formed operator key, or was revoked.
    pub async fn configure_key(&self, actor: &Actor, secret: Option<&Secret>) -> Result<()> {
        if secret.is_some_and(|secret| secret.kind() != SecretKind::Operator) {
            return Err(Error::WrongState(
                "the configured key is no operator key: it must begin with `kv_key_`".to_owned(),
            ));
        }
        let wanted = secret.map(Secret::hash);
        for row in self
            .store()
            .list(operator_key::active_of_origin(Origin::Configured.as_str()))
            .await?
        {
            if Some(row.hash) != wanted {
                let asleep = || async {
                    let next = OperatorKeyRow {
                        status: Status::Suspended,
                        ..row.clone()
                    };
                    Ok(Plan::commit(
                        self.key_changed(actor, "key.suspended", next)?,
                        (),
                    ))
                };
                self.change(actor, Act::on_key("key.suspended", row.id), asleep)
                    .await?;
            }
        }
        let Some(secret) = secret else { return Ok(()) };
        self.change(actor, Act::new("key.configured"), || {
            self.plan_configured(actor, secret)
        })
        .await
    }

    async fn plan_configured(&self, actor: &Actor, secret: &Secret) -> Result<Plan<()>> {
        let Some(row) = self
            .store()
            .find(operator_key::by_hash(secret.hash()))
            .await?
        else {
            let new = NewKey {
                name: "configured".to_owned(),
                scopes: Scopes::Every,
                ceiling: None,
                expires_at: None,
            };
            let Plan::Commit(change) = self
                .plan_key(actor, &new, secret, Origin::Configured)
                .await?
            else {
                return Ok(Plan::Done(()));
            };
            return Ok(Plan::commit(change.batch, ()));
        };
        match row.status {
            Status::Active => Ok(Plan::Done(())),
            Status::Suspended => {
                let next = OperatorKeyRow {
                    status: Status::Active,
                    ..row
                };
                Ok(Plan::commit(
                    self.key_changed(actor, "key.configured", next)?,
                    (),
                ))
            }
            _ => Err(Error::WrongState(
                "the configured key was revoked; configure a new one".to_owned(),
            )),
        }
    }

    /// Whether any operator key exists: a database without one is new.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has_keys(&self) -> Result<bool> {
        Ok(!self
            .store()
            .list(operator_key::page(None, 1))
            .await?
            .is_empty())
    }
}

/// Refuses constraints in a ceiling: it is compared with what is made, and stands on no path that would heed them.
pub(crate) fn check_ceiling(ceiling: Option<&PermissionSet>) -> Result<()> {
    let constrained = |set: &PermissionSet| set.iter().any(|one| one.constraints().is_some());
    if ceiling.is_some_and(constrained) {
        return Err(Invalid::at(
            "ceiling",
            "a ceiling bounds actions and resources; put constraints on what is made with the key",
        )
        .into());
    }
    Ok(())
}

/// A key makes, changes and revokes only keys that are no stronger than itself.
fn no_stronger(
    actor: &Actor,
    scopes: &Scopes,
    ceiling: Option<&PermissionSet>,
    expires_at: Option<Timestamp>,
) -> Result<()> {
    let Caller::Operator(mine) = &actor.caller else {
        return Ok(());
    };
    if !mine.scopes.covers(scopes) {
        return Err(Error::Forbidden(
            "the key has scopes that yours does not have".to_owned(),
        ));
    }
    actor.covers(ceiling.unwrap_or(&PermissionSet::everything()))?;
    match (mine.expires_at, expires_at) {
        (Some(_), None) => Err(Error::Forbidden(
            "your key expires, so this one must too: give `expiresAt`".to_owned(),
        )),
        (Some(mine), Some(theirs)) if theirs > mine => Err(Error::Forbidden(format!(
            "your key expires at {mine}, so this one must not outlive it"
        ))),
        _ => Ok(()),
    }
}
