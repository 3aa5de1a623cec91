//! Webhooks: addresses that operators register, and that are told of records.
//!
//! Promises: what is told is derived from the ledger, from a stored position on, at least once and under an id that never
//! changes; nobody's decision waits for a receiver; a receiver that is away for days misses nothing. A message names the
//! record, its kind and its code, and nothing else. Failures of strangers are told to nobody, other refusals to those who
//! ask for them. Everything goes through the guarded fetcher, signed with a secret that is stored nowhere.

mod change;
mod courier;
mod kinds;
mod message;
mod signing;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use kavachos_core::id::{AuditId, WebhookId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::secret::Secret;
use kavachos_core::time::Timestamp;
use kavachos_store::Batch;
use kavachos_store::webhook::{self, DeliveryRow, WebhookRow};
use serde::Serialize;
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::compile;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::fetch::{FetchError, FetchUrl};
use crate::master::fingerprint;
use crate::page::{Page, PageOf};
use crate::text;
use crate::users::to_text;

pub use change::{Redelivery, RotatedSecret};
pub use kinds::Kinds;
pub use message::Tested;
pub use signing::SigningSecret;

/// How many webhooks there may be.
pub(crate) const MAX_WEBHOOKS: u64 = 32;
/// Which secret a new webhook has.
const FIRST_SECRET: u64 = 1;

/// What is known of webhooks in memory.
#[derive(Debug)]
pub(crate) struct Couriers {
    /// Those that someone works on.
    busy: Mutex<HashSet<WebhookId>>,
    /// Whether there may be active ones; saves looking.
    maybe_some: AtomicBool,
}

impl Default for Couriers {
    fn default() -> Self {
        Self {
            busy: Mutex::default(),
            maybe_some: AtomicBool::new(true),
        }
    }
}

/// A webhook to make.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWebhook {
    /// Where to; see [`FetchUrl`].
    pub url: String,
    /// For display.
    pub name: Option<String>,
    /// What it is told of.
    pub kinds: Kinds,
    /// Whether refusals are told too.
    pub denials: Denials,
}

/// Whether a webhook is told of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Denials {
    /// No: only of what was allowed or done.
    #[default]
    Untold,
    /// Yes, but for those of strangers, which are told to nobody.
    Told,
}

/// What to change of a webhook; `None` leaves it, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WebhookChange {
    /// Where to.
    pub url: Option<String>,
    /// The name.
    pub name: Option<Option<String>>,
    /// What it is told of.
    pub kinds: Option<Kinds>,
    /// Whether refusals are told too.
    pub denials: Option<Denials>,
    /// Whether it is told anything.
    pub state: Option<WebhookState>,
}

/// Whether a webhook is told anything now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookState {
    /// Yes; what happened meanwhile, too.
    Active,
    /// Not until it is active again.
    Paused,
}

impl WebhookState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => ACTIVE,
            Self::Paused => "paused",
        }
    }
}

const ACTIVE: &str = "active";
/// The receiver said that it is no more (410).
const GONE: &str = "gone";
/// What a webhook's status may be.
pub(crate) const WEBHOOK_STATES: [&str; 3] = [ACTIVE, WebhookState::Paused.as_str(), GONE];
/// What a delivery's status may be.
pub(crate) const DELIVERY_STATES: [&str; 2] = [courier::WAITING, courier::DEAD];

/// A webhook, as others see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// The id.
    pub id: WebhookId,
    /// Where to.
    pub url: String,
    /// The name.
    pub name: Option<String>,
    /// What it is told of.
    pub kinds: Kinds,
    /// Whether refusals are told too.
    pub denials: bool,
    /// `active`, `paused`, or `gone`: the receiver said that it is no more.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["active", "paused", "gone"])))]
    pub status: String,
    /// How many records it has not looked at yet.
    pub behind: u64,
    /// How many messages wait, for their first or for another attempt.
    pub waiting: u64,
    /// How many were given up.
    pub dead: u64,
    /// Why nothing can be sent; `null` when it can.
    pub problem: Option<&'static str>,
    /// Until when the secret before this one signs as well.
    pub overlap_until: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A webhook that was just made, with its secret; without one on a replay.
#[derive(Clone)]
pub struct MadeWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// What its messages are signed with, for this one time.
    pub secret: Option<SigningSecret>,
}

/// A message that was not acknowledged yet, or was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The record that it tells of, which is also the id of the message.
    pub audit_id: AuditId,
    /// `waiting` or `dead`.
    pub status: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again; `null` when it was given up.
    pub next_at: Option<Timestamp>,
    /// What came of the last attempt.
    pub problem: Option<String>,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            audit_id: row.audit,
            next_at: (row.status == courier::WAITING).then_some(row.next_at),
            status: row.status,
            attempts: row.attempts,
            problem: row.problem,
        }
    }
}

impl Engine {
    /// Makes a webhook. It is told of what happens from now on.
    ///
    /// # Errors
    /// The address may not be fetched, there is no master key, or there are too many webhooks.
    pub async fn create_webhook(&self, actor: &Actor, new: &NewWebhook) -> Result<MadeWebhook> {
        self.check_webhook(Some(&new.url), new.name.as_ref())?;
        let made = self
            .change(actor, Act::new("webhook.created"), || {
                self.plan_webhook(actor, new)
            })
            .await?;
        self.look_for_webhooks();
        Ok(made)
    }

    async fn plan_webhook(&self, actor: &Actor, new: &NewWebhook) -> Result<Plan<MadeWebhook>> {
        actor.require(Scope::WebhooksWrite)?;
        if let Some(done) = self.done_before(actor).await? {
            let row = self
                .webhook_row(done.parse().map_err(Error::Invalid)?)
                .await?;
            return Ok(Plan::Done(MadeWebhook {
                webhook: self.webhook_view(row).await?,
                secret: None,
            }));
        }
        let master = self.needed_master_key()?;
        self.require_room_for_webhook().await?;
        let row = WebhookRow {
            id: self.id(),
            url: new.url.clone(),
            name: new.name.clone(),
            kinds: to_text(&new.kinds)?,
            denials: new.denials == Denials::Told,
            status: ACTIVE.to_owned(),
            position: self.head().size,
            secret: FIRST_SECRET,
            overlap_until: None,
            master: fingerprint(master),
            version: 0,
            created_at: self.now(),
        };
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![webhook::insert(row.clone(), MAX_WEBHOOKS)],
            entries: vec![self.webhook_record(actor, "webhook.created", &row)?],
            ..Batch::default()
        };
        self.claim_once(actor, &mut batch, row.id.to_string());
        let secret = SigningSecret::derive(master, row.id, row.secret);
        Ok(Plan::commit(
            batch,
            MadeWebhook {
                webhook: self.webhook_view(row).await?,
                secret: Some(secret),
            },
        ))
    }

    async fn require_room_for_webhook(&self) -> Result<()> {
        let max = usize::try_from(MAX_WEBHOOKS).unwrap_or(usize::MAX);
        let there = self.store().list(webhook::page(None, max)).await?;
        if there.len() < max {
            return Ok(());
        }
        Err(Error::LimitExceeded {
            code: "webhook_limit_exceeded",
            message: format!("there are {MAX_WEBHOOKS} webhooks already; delete one first"),
        })
    }

    /// One webhook.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn webhook(&self, actor: &Actor, id: WebhookId) -> Result<Webhook> {
        actor.require(Scope::WebhooksWrite)?;
        self.webhook_view(self.webhook_row(id).await?).await
    }

    /// Webhooks, newest first.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn webhooks(
        &self,
        actor: &Actor,
        page: PageOf<WebhookId>,
    ) -> Result<Page<Webhook, WebhookId>> {
        actor.require(Scope::WebhooksWrite)?;
        let rows = self
            .store()
            .list(webhook::page(page.after, page.limit))
            .await?;
        let rows = Page::of(rows, |row: &WebhookRow| row.id);
        let mut items = Vec::new();
        for row in rows.items {
            items.push(self.webhook_view(row).await?);
        }
        Ok(Page {
            items,
            next: rows.next,
        })
    }

    /// What a webhook was not told yet, or not at all: the newest records first.
    ///
    /// # Errors
    /// There is no webhook with this id.
    pub async fn deliveries(
        &self,
        actor: &Actor,
        id: WebhookId,
        page: PageOf<AuditId>,
    ) -> Result<Page<Delivery, AuditId>> {
        actor.require(Scope::WebhooksWrite)?;
        self.webhook_row(id).await?;
        let wanted = page.limit.saturating_add(1);
        let rows = self
            .store()
            .list(webhook::deliveries(id, page.after, wanted))
            .await?;
        Page::cut(rows, page.limit, |row: &DeliveryRow| row.audit).shown(|row| Ok(row.into()))
    }

    async fn webhook_row(&self, id: WebhookId) -> Result<WebhookRow> {
        let row = self.store().find(webhook::by_id(id)).await?;
        row.ok_or(Error::NotFound("webhook"))
    }

    async fn webhook_view(&self, row: WebhookRow) -> Result<Webhook> {
        let tally = self.store().list(webhook::tally(row.id)).await?;
        let count = |status: &str| {
            let mut found = tally.iter().filter(|(known, _)| known == status);
            found.next().map_or(0, |(_, count)| *count)
        };
        Ok(Webhook {
            problem: self.signing_key(&row).err(),
            kinds: compile::stored("kinds", &row.kinds)?,
            behind: self.head().size.saturating_sub(row.position),
            waiting: count(courier::WAITING),
            dead: count(courier::DEAD),
            overlap_until: row.overlap_until.filter(|until| *until > self.now()),
            id: row.id,
            url: row.url,
            name: row.name,
            denials: row.denials,
            status: row.status,
            created_at: row.created_at,
        })
    }

    /// Refuses what cannot be sent to, as far as that can be said before it is tried.
    pub(crate) fn check_webhook(&self, url: Option<&String>, name: Option<&String>) -> Result<()> {
        if let Some(name) = name {
            text::plain("name", name, text::MAX_NAME_BYTES)?;
        }
        let Some(url) = url else { return Ok(()) };
        let url: FetchUrl = url.parse().map_err(|error: Invalid| error.within("url"))?;
        match self.fetcher().permits(&url) {
            Err(FetchError::Refused(reason)) => Err(Invalid::at("url", reason).into()),
            _ => Ok(()),
        }
    }

    /// A URL can hold a secret in its path, and a record is for ever: it names the host alone.
    fn webhook_record(&self, actor: &Actor, kind: &'static str, row: &WebhookRow) -> Result<Entry> {
        let origin = actor.origin();
        let host = row.url.parse::<FetchUrl>().map(|url| url.authority());
        let kinds: serde_json::Value = compile::stored("kinds", &row.kinds)?;
        let details = json!({
            "webhook": row.id, "host": host.ok(), "kinds": kinds, "denials": row.denials, "status": row.status,
        });
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.details = Some(&details);
        record.personal.name = row.name.as_deref();
        self.seal(&record)
    }

    /// The master key that the secrets of this webhook are derived from.
    fn signing_key(&self, row: &WebhookRow) -> std::result::Result<&Secret, &'static str> {
        let master = self.master_key().ok_or(NO_MASTER_KEY)?;
        if fingerprint(master) == row.master {
            Ok(master)
        } else {
            Err(
                "the master key is not the one that the secret was derived from; bring that one back, or rotate the secret",
            )
        }
    }
}

const NO_MASTER_KEY: &str =
    "webhooks are signed with secrets derived from a master key, and there is none";
