//! Webhooks and their deliveries, as rows.

use std::ops::Range;

use kavachos_core::id::{AuditId, WebhookId};
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::page::{self, Listed};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRow {
    /// Its id.
    pub id: WebhookId,
    /// Where it goes.
    pub url: String,
    /// For display.
    pub name: Option<String>,
    /// A JSON array of kinds of records.
    pub kinds: String,
    /// Whether refusals are sent too.
    pub denials: bool,
    /// `active`, `paused` or `gone` (the receiver said so).
    pub status: String,
    /// The number of the next record to look at.
    pub position: u64,
    /// Which secret is in use, counted from 1.
    pub secret: u64,
    /// Until when the secret before it signs as well.
    pub overlap_until: Option<Timestamp>,
    /// Tells the master key that secrets are derived from.
    pub master: [u8; 8],
    /// Rises with every change; guards them.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "SELECT w.id, w.url, w.name, w.kinds, w.denials, w.status, w.position, w.secret, \
    w.overlap_until, w.master, w.version, w.created_at FROM webhooks w";

impl FromRow for WebhookRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, url, name, kinds, denials, status, position, secret, overlap, master, version, at) =
            row.decode()?;
        Ok(Self {
            id,
            url,
            name,
            kinds,
            denials,
            status,
            position,
            secret,
            overlap_until: overlap,
            master,
            version,
            created_at: at,
        })
    }
}

/// Stores a new webhook, if there are fewer than `max`.
pub fn insert(webhook: WebhookRow, max: u64) -> Write {
    Write::exactly(
        1,
        "INSERT INTO webhooks (id, url, name, kinds, denials, status, position, secret, overlap_until, master, version, \
         created_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 \
         WHERE (SELECT COUNT(*) FROM webhooks) < ?13",
    )
    .bind(webhook.id)
    .bind(webhook.url)
    .bind(webhook.name)
    .bind(webhook.kinds)
    .bind(webhook.denials)
    .bind(webhook.status)
    .bind(webhook.position)
    .bind(webhook.secret)
    .bind(webhook.overlap_until)
    .bind(webhook.master)
    .bind(webhook.version)
    .bind(webhook.created_at)
    .bind(max)
}

/// Replaces what may change of a webhook that is still as `webhook.version` says. Its position is not touched.
pub fn update(webhook: WebhookRow) -> Write {
    Write::exactly(
        1,
        "UPDATE webhooks SET url = ?3, name = ?4, kinds = ?5, denials = ?6, status = ?7, secret = ?8, \
         overlap_until = ?9, master = ?10, version = version + 1 WHERE id = ?1 AND version = ?2",
    )
    .bind(webhook.id)
    .bind(webhook.version)
    .bind(webhook.url)
    .bind(webhook.name)
    .bind(webhook.kinds)
    .bind(webhook.denials)
    .bind(webhook.status)
    .bind(webhook.secret)
    .bind(webhook.overlap_until)
    .bind(webhook.master)
}

/// Deletes a webhook that is still as `version` says, with its deliveries. In this order.
pub fn delete(id: WebhookId, version: u64) -> [Write; 2] {
    [
        Write::any("DELETE FROM webhook_deliveries WHERE webhook = ?1").bind(id),
        Write::exactly(1, "DELETE FROM webhooks WHERE id = ?1 AND version = ?2")
            .bind(id)
            .bind(version),
    ]
}

/// Moves an active webhook on, if it still stands at the start of these numbers.
pub fn advance(id: WebhookId, numbers: Range<u64>) -> Write {
    Write::exactly(
        1,
        "UPDATE webhooks SET position = ?3 WHERE id = ?1 AND position = ?2 AND status = 'active'",
    )
    .bind(id)
    .bind(numbers.start)
    .bind(numbers.end)
}

/// The webhook with this id.
pub fn by_id(id: WebhookId) -> Select<WebhookRow> {
    Query::new(1, format!("{COLUMNS} WHERE w.id = ?1"))
        .bind(id)
        .of()
}

/// Every webhook that is active, at most `max`.
pub fn active(max: usize) -> Select<WebhookRow> {
    Query::new(
        max,
        format!("{COLUMNS} WHERE w.status = 'active' ORDER BY w.id"),
    )
    .of()
}

/// A page of at most `limit` webhooks, newest first, older than `before`.
pub fn page(before: Option<WebhookId>, limit: usize) -> Select<Listed<WebhookRow>> {
    let candidates = "SELECT w.id, OCTET_LENGTH(w.kinds) FROM webhooks w WHERE (CAST(?2 AS TEXT) IS NULL OR w.id < ?2)";
    page::of(candidates, COLUMNS, limit).bind(before).of()
}

/// A delivery that was not acknowledged yet, or was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The record that it tells of.
    pub audit: AuditId,
    /// `waiting` or `dead`.
    pub status: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again.
    pub next_at: Timestamp,
    /// What came of the last attempt.
    pub problem: Option<String>,
}

const DELIVERY: &str =
    "SELECT d.audit, d.status, d.attempts, d.next_at, d.problem FROM webhook_deliveries d";

impl FromRow for DeliveryRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (audit, status, attempts, next_at, problem) = row.decode()?;
        Ok(Self {
            audit,
            status,
            attempts,
            next_at,
            problem,
        })
    }
}

/// Notes that a record is to be delivered now, from the first attempt on, whatever became of it before.
pub fn enqueue(webhook: WebhookId, audit: AuditId, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO webhook_deliveries (webhook, audit, status, attempts, next_at) VALUES (?1, ?2, 'waiting', 0, ?3) \
         ON CONFLICT (webhook, audit) DO UPDATE SET status = 'waiting', attempts = 0, next_at = ?3",
    )
    .bind(webhook)
    .bind(audit)
    .bind(now)
}

/// A delivery was acknowledged, or is to be forgotten.
pub fn settle(webhook: WebhookId, audit: AuditId) -> Write {
    Write::any("DELETE FROM webhook_deliveries WHERE webhook = ?1 AND audit = ?2")
        .bind(webhook)
        .bind(audit)
}

/// A delivery failed; `delivery` says how it goes on. One that was settled meanwhile stays settled.
pub fn failed(webhook: WebhookId, delivery: DeliveryRow) -> Write {
    Write::any(
        "UPDATE webhook_deliveries SET status = ?3, attempts = ?4, next_at = ?5, problem = ?6 \
         WHERE webhook = ?1 AND audit = ?2",
    )
    .bind(webhook)
    .bind(delivery.audit)
    .bind(delivery.status)
    .bind(delivery.attempts)
    .bind(delivery.next_at)
    .bind(delivery.problem)
}

/// A receiver answers again: what it missed is tried now.
pub fn hasten(webhook: WebhookId, now: Timestamp) -> Write {
    Write::any(
        "UPDATE webhook_deliveries SET next_at = ?2 WHERE webhook = ?1 AND status = 'waiting' AND next_at > ?2",
    )
    .bind(webhook)
    .bind(now)
}

/// Every delivery that was given up is tried again, from the first attempt on.
pub fn revive(webhook: WebhookId, now: Timestamp) -> Write {
    Write::any(
        "UPDATE webhook_deliveries SET status = 'waiting', attempts = 0, next_at = ?2 WHERE webhook = ?1 AND status = 'dead'",
    )
    .bind(webhook)
    .bind(now)
}

/// At most `limit` deliveries whose time has come, the longest due first.
pub fn due(webhook: WebhookId, now: Timestamp, limit: usize) -> Select<DeliveryRow> {
    Query::new(
        limit,
        format!(
            "{DELIVERY} WHERE d.webhook = ?1 AND d.status = 'waiting' AND d.next_at <= ?2 \
             ORDER BY d.next_at, d.audit LIMIT ?3"
        ),
    )
    .bind(webhook)
    .bind(now)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// How many deliveries wait, and how many were given up; the number of a status that none has is not among them.
pub fn tally(webhook: WebhookId) -> Select<(String, u64)> {
    Query::new(
        2,
        "SELECT d.status, CAST(COUNT(*) AS BIGINT) FROM webhook_deliveries d WHERE d.webhook = ?1 GROUP BY d.status",
    )
    .bind(webhook)
    .of()
}

/// At most `limit` deliveries, the newest records first, of records before this one.
pub fn deliveries(
    webhook: WebhookId,
    before: Option<AuditId>,
    limit: usize,
) -> Select<DeliveryRow> {
    Query::new(
        limit,
        format!(
            "{DELIVERY} WHERE d.webhook = ?1 AND (CAST(?2 AS TEXT) IS NULL OR d.audit < ?2) ORDER BY d.audit DESC LIMIT ?3"
        ),
    )
    .bind(webhook)
    .bind(before)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// Forgets deliveries that were given up before this time.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM webhook_deliveries WHERE status = 'dead' AND next_at < ?1").bind(before)
}
