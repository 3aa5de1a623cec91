//! One message to one webhook: what it says, its signatures, and what came of it.

use std::time::Duration;

use kavachos_core::id::{AuditId, WebhookId};
use kavachos_core::ledger::Outcome;
use kavachos_store::webhook::{self, WebhookRow};
use kavachos_store::{Batch, ledger};
use serde::Serialize;
use serde_json::{Value, json};

use super::{SigningSecret, signing};
use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::fetch::{Fetch, FetchMethod, FetchUrl};
use crate::issued::Issued;

/// How much of a receiver's answer is read. Nothing in it counts but the status.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The kind of the record of a test, which is sent by itself.
pub(super) const TESTED: &str = "webhook.tested";
/// The status by which a receiver says that it is no more (RFC 9110, 15.5.11).
const STATUS_GONE: u16 = 410;

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// The receiver has it: any 2xx.
    Acknowledged(u16),
    /// The receiver wants no more.
    Gone,
    /// The record is gone from the ledger, so there is nothing to tell.
    Pruned,
    /// It was not acknowledged.
    Failed {
        problem: String,
        status: Option<u16>,
        retry_after: Option<Duration>,
    },
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// The record of the test, which the message told of.
    pub audit_id: AuditId,
    /// Whether the receiver acknowledged it; `null` on a replay, which sends nothing.
    pub acknowledged: Option<bool>,
    /// The status of its answer, if one came.
    pub status: Option<u16>,
    /// Why it was not acknowledged.
    pub problem: Option<String>,
}

/// A test that is to be made, or was made before under the same `Idempotency-Key`.
enum Test {
    New(WebhookRow, AuditId),
    Repeated(AuditId),
}

impl Told {
    pub(super) fn failed(problem: impl Into<String>) -> Self {
        Self::Failed {
            problem: problem.into(),
            status: None,
            retry_after: None,
        }
    }
}

impl Engine {
    /// Tells a webhook of a record that is made for it, now and once, whatever its state.
    ///
    /// # Errors
    /// There is no webhook with this id. That the receiver does not answer is no error.
    pub async fn test_webhook(&self, actor: &Actor, id: WebhookId) -> Result<Issued<Tested>> {
        let act = Act::on_webhook(TESTED, id);
        let (row, audit) = match self
            .change(actor, act, || self.plan_test(actor, id))
            .await?
        {
            Test::New(row, audit) => (row, audit),
            Test::Repeated(audit_id) => {
                return Ok(Issued::replay(Tested {
                    audit_id,
                    acknowledged: None,
                    status: None,
                    problem: None,
                }));
            }
        };
        let told = self.tell(&row, audit).await?;
        let (acknowledged, status, problem) = match told {
            Told::Acknowledged(status) => (true, Some(status), None),
            Told::Failed {
                problem, status, ..
            } => (false, status, Some(problem)),
            Told::Gone => (false, Some(STATUS_GONE), Some("answered 410".to_owned())),
            Told::Pruned => (false, None, Some("the record is gone".to_owned())),
        };
        Ok(Issued::without_token(Tested {
            audit_id: audit,
            acknowledged: Some(acknowledged),
            status,
            problem,
        }))
    }

    async fn plan_test(&self, actor: &Actor, id: WebhookId) -> Result<Plan<Test>> {
        actor.require(Scope::WebhooksWrite)?;
        let row = self.webhook_row(id).await?;
        if let Some(done) = self.done_before(actor).await? {
            let audit = done.parse().map_err(Error::Invalid)?;
            return Ok(Plan::Done(Test::Repeated(audit)));
        }
        let audit: AuditId = self.id();
        let origin = actor.origin();
        let details = json!({ "webhook": id });
        let mut record = origin.record(audit, TESTED, Outcome::Allowed, "done");
        record.details = Some(&details);
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![webhook::update(row.clone())],
            entries: vec![self.seal(&record)?],
            ..Batch::default()
        };
        self.claim_once(actor, &mut batch, audit.to_string());
        Ok(Plan::commit(batch, Test::New(row, audit)))
    }

    /// Sends one message and waits for what comes of it.
    pub(super) async fn tell(&self, row: &WebhookRow, audit: AuditId) -> Result<Told> {
        let Some(record) = self.store().find(ledger::by_id(audit)).await? else {
            return Ok(Told::Pruned);
        };
        let master = match self.signing_key(row) {
            Ok(master) => master,
            Err(problem) => return Ok(Told::failed(problem)),
        };
        let Ok(url) = row.url.parse::<FetchUrl>() else {
            return Ok(Told::failed("the address cannot be read"));
        };
        let body = body(&record, audit).to_string().into_bytes();
        let mut secrets = vec![SigningSecret::derive(master, row.id, row.secret)];
        if row.overlap_until.is_some_and(|until| self.now() < until) {
            let before = row.secret.saturating_sub(1);
            secrets.push(SigningSecret::derive(master, row.id, before));
        }
        let (id, seconds) = (audit.to_string(), signing::seconds(self.now()));
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| secret.sign(&id, seconds, &body))
            .collect();
        let fetch = Fetch {
            url,
            method: FetchMethod::Post,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("webhook-id", id),
                ("webhook-timestamp", seconds.to_string()),
                ("webhook-signature", signatures.join(" ")),
            ],
            body,
            max_answer_bytes: MAX_ANSWER_BYTES,
        };
        Ok(match self.fetcher().fetch(fetch).await {
            Ok(answer) if (200..300).contains(&answer.status) => Told::Acknowledged(answer.status),
            Ok(answer) if answer.status == STATUS_GONE => Told::Gone,
            Ok(answer) => Told::Failed {
                problem: format!("answered {}", answer.status),
                status: Some(answer.status),
                retry_after: answer.retry_after,
            },
            Err(error) => Told::failed(error.to_string()),
        })
    }
}

/// What a message says: which record, of what kind, with what code. Whoever may know more reads the ledger.
fn body(record: &ledger::LedgerRow, audit: AuditId) -> Value {
    let members: Value = serde_json::from_str(&record.body).unwrap_or_default();
    let member = |name: &str| members.get(name).cloned().unwrap_or_default();
    json!({
        "type": member("kind"),
        "timestamp": record.time,
        "data": { "id": audit, "kind": member("kind"), "code": member("code") },
    })
}
