//! Changes of a webhook: what it is told of and where, its secret, what is told again, its end.

use std::time::Duration;

use kavachos_core::id::{AuditId, WebhookId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::Actor as Name;
use kavachos_store::webhook::{self, WebhookRow};
use kavachos_store::{Batch, Write, ledger};
use serde::Serialize;

use super::{Denials, SigningSecret, Webhook, WebhookChange};
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::master::fingerprint;
use crate::revoked::Revoked;
use crate::users::to_text;

/// How long the old secret signs beside the new one when the caller does not say.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest time for which it may.
const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A webhook with a new secret.
#[derive(Clone)]
pub struct RotatedSecret {
    /// The webhook.
    pub webhook: Webhook,
    /// The secret, for this one time; `None` on a replay.
    pub secret: Option<SigningSecret>,
}

/// What is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Redelivery {
    /// The record; `null` for everything that was given up.
    pub audit_id: Option<AuditId>,
}

impl Engine {
    /// Changes a webhook.
    ///
    /// # Errors
    /// There is none with this id, or the address may not be fetched.
    pub async fn change_webhook(
        &self,
        actor: &Actor,
        id: WebhookId,
        change: &WebhookChange,
    ) -> Result<Webhook> {
        let name = change.name.as_ref().and_then(Option::as_ref);
        self.check_webhook(change.url.as_ref(), name)?;
        let act = Act::on_webhook("webhook.updated", id);
        let row = self
            .change(actor, act, || self.plan_webhook_change(actor, id, change))
            .await?;
        self.look_for_webhooks();
        self.webhook_view(row).await
    }

    async fn plan_webhook_change(
        &self,
        actor: &Actor,
        id: WebhookId,
        change: &WebhookChange,
    ) -> Result<Plan<WebhookRow>> {
        actor.require(Scope::WebhooksWrite)?;
        let row = self.webhook_row(id).await?;
        let kinds = change.kinds.as_ref().map(to_text).transpose()?;
        let next = WebhookRow {
            url: change.url.clone().unwrap_or_else(|| row.url.clone()),
            name: change.name.clone().unwrap_or_else(|| row.name.clone()),
            kinds: kinds.unwrap_or_else(|| row.kinds.clone()),
            denials: change
                .denials
                .map_or(row.denials, |denials| denials == Denials::Told),
            status: change
                .state
                .map_or(row.status.clone(), |state| state.as_str().to_owned()),
            ..row
        };
        let batch = self.webhook_changed(actor, "webhook.updated", &next)?;
        Ok(Plan::commit(batch, next))
    }

    /// The batch that replaces a webhook, with its record.
    pub(super) fn webhook_changed(
        &self,
        actor: &Actor,
        kind: &'static str,
        next: &WebhookRow,
    ) -> Result<Batch> {
        Ok(Batch {
            reads: actor.reads(),
            writes: vec![webhook::update(next.clone())],
            entries: vec![self.webhook_record(actor, kind, next)?],
            ..Batch::default()
        })
    }

    /// Gives a webhook a new secret. For the overlap, a day if nothing is said, messages are signed with both.
    ///
    /// # Errors
    /// There is none with this id, no master key, or the overlap is longer than a week.
    pub async fn rotate_webhook(
        &self,
        actor: &Actor,
        id: WebhookId,
        overlap: Option<Duration>,
    ) -> Result<RotatedSecret> {
        let overlap = overlap.unwrap_or(DEFAULT_OVERLAP);
        if overlap > MAX_OVERLAP {
            let message = format!("must be at most {}", MAX_OVERLAP.as_secs());
            return Err(Invalid::at("overlapSeconds", message).into());
        }
        let act = Act::on_webhook("webhook.rotated", id);
        self.change(actor, act, || self.plan_new_secret(actor, id, overlap))
            .await
    }

    async fn plan_new_secret(
        &self,
        actor: &Actor,
        id: WebhookId,
        overlap: Duration,
    ) -> Result<Plan<RotatedSecret>> {
        actor.require(Scope::WebhooksWrite)?;
        let row = self.webhook_row(id).await?;
        if self.done_before(actor).await?.is_some() {
            return Ok(Plan::Done(RotatedSecret {
                webhook: self.webhook_view(row).await?,
                secret: None,
            }));
        }
        let master = self.needed_master_key()?;
        // What was derived from another master key can sign nothing any more.
        let can_overlap = self.signing_key(&row).is_ok() && !overlap.is_zero();
        let next = WebhookRow {
            secret: row.secret.saturating_add(1),
            overlap_until: can_overlap.then(|| self.now().plus(overlap)),
            master: fingerprint(master),
            ..row
        };
        let mut batch = self.webhook_changed(actor, "webhook.rotated", &next)?;
        self.claim_once(actor, &mut batch, next.id.to_string());
        let secret = SigningSecret::derive(master, next.id, next.secret);
        Ok(Plan::commit(
            batch,
            RotatedSecret {
                webhook: self.webhook_view(next).await?,
                secret: Some(secret),
            },
        ))
    }

    /// Deletes a webhook and what it was not told yet. A message under way may still arrive.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn delete_webhook(&self, actor: &Actor, id: WebhookId) -> Result<Revoked> {
        self.change(actor, Act::on_webhook("webhook.deleted", id), || async {
            actor.require(Scope::WebhooksWrite)?;
            let row = self.webhook_row(id).await?;
            let batch = Batch {
                reads: actor.reads(),
                writes: webhook::delete(id, row.version).to_vec(),
                entries: vec![self.webhook_record(actor, "webhook.deleted", &row)?],
                ..Batch::default()
            };
            Ok(Plan::commit(batch, Revoked::at(self.now())))
        })
        .await
    }

    /// Tells of one record again, whether or not it was told before; without one, of everything that was given up.
    ///
    /// # Errors
    /// There is no such webhook or record, or the record is of a stranger's failure.
    pub async fn redeliver(
        &self,
        actor: &Actor,
        id: WebhookId,
        audit: Option<AuditId>,
    ) -> Result<Issued<Redelivery>> {
        let act = Act::on_webhook("webhook.redelivered", id);
        self.change(actor, act, || self.plan_redelivery(actor, id, audit))
            .await
    }

    async fn plan_redelivery(
        &self,
        actor: &Actor,
        id: WebhookId,
        audit: Option<AuditId>,
    ) -> Result<Plan<Issued<Redelivery>>> {
        actor.require(Scope::WebhooksWrite)?;
        let row = self.webhook_row(id).await?;
        let redelivery = Redelivery { audit_id: audit };
        if self.done_before(actor).await?.is_some() {
            return Ok(Plan::Done(Issued::replay(redelivery)));
        }
        let again: Write = match audit {
            None => webhook::revive(id, self.now()),
            Some(audit) => {
                self.require_tellable(audit).await?;
                webhook::enqueue(id, audit, self.now())
            }
        };
        let mut batch = self.webhook_changed(actor, "webhook.redelivered", &row)?;
        batch.writes.push(again);
        self.claim_once(actor, &mut batch, id.to_string());
        Ok(Plan::commit(batch, Issued::without_token(redelivery)))
    }

    async fn require_tellable(&self, audit: AuditId) -> Result<()> {
        let record = self.store().find(ledger::headline(audit)).await?;
        let record = record.ok_or(Error::NotFound("audit record"))?;
        if record.actor == Name::Stranger.to_string() {
            return Err(Error::WrongState(
                "failures of strangers are told to nobody".to_owned(),
            ));
        }
        Ok(())
    }
}
