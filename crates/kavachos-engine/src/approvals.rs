//! Requests for approval: seen, waited for, approved and denied, once, by the human whose authority it is or by an
//! operator, never by an agent.
//!
//! What is approved is the document, byte for byte: whoever approves gives its digest back. They are made and used up by
//! decisions ([`crate::asking`]).

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use kavachos_core::decide::Binding;
use kavachos_core::hex;
use kavachos_core::id::{AgentId, ApprovalId, GrantId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;
use kavachos_store::Batch;
use kavachos_store::approval::{self, ApprovalRow, Approver, Stage};
use serde::Serialize;

use crate::act::Act;
use crate::actor::{Actor, Caller, Credential, Scope};
use crate::agents::relied_on;
use crate::bell::Listener;
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::grants::path_marks;
use crate::issued::Issued;
use crate::page::{Page, PageOf};
use crate::seats::{Bounds, Holder, Seat};

/// The longest that one call waits for an answer.
pub const MAX_WAIT: Duration = Duration::from_secs(30);
/// How many calls may wait for answers at a time; those of one human a quarter of them, and of those of one tool server.
pub(crate) const WAITING: Bounds = Bounds {
    all: 1_000,
    each: 64,
};

/// What is not found.
const WHAT: &str = "request for approval";

/// A request for a human's approval of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The id.
    pub id: ApprovalId,
    /// `pending`, `approved` (and not used yet), `denied`, `used`, `expired`, or `revoked`: whoever approved was stopped
    /// before it was used.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["pending", "approved", "denied", "used", "expired", "revoked"])))]
    pub status: &'static str,
    /// The agent that wants to act.
    pub agent_id: AgentId,
    /// The human for whom, and who may answer.
    pub user_id: UserId,
    /// To do what.
    pub action: String,
    /// To what.
    pub resource: String,
    /// The grants that would permit it, the root's first.
    pub grant_path: Vec<GrantId>,
    /// All that is approved, as JSON in plain ASCII: the call with its exact arguments, and the path with generations.
    pub document: String,
    /// SHA-256 of the document, to be given back by whoever approves it.
    pub digest: String,
    /// SHA-256 of the canonical arguments, as it stands in the records.
    pub arguments_digest: Option<String>,
    /// Who answered: a human, an operator key, or `system`.
    pub decided_by: Option<String>,
    /// When it was answered.
    pub decided_at: Option<Timestamp>,
    /// When it is over, whatever was answered.
    pub expires_at: Timestamp,
    /// When it was asked.
    pub created_at: Timestamp,
}

/// How far a request has come that a tool server's question made: all that the tool server is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AskedApproval {
    /// The id.
    pub id: ApprovalId,
    /// As in [`Approval`].
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["pending", "approved", "denied", "used", "expired", "revoked"])))]
    pub status: &'static str,
}

/// An answer to a request.
#[derive(Debug, Clone, Copy)]
enum Reply<'a> {
    /// Yes to the document with this digest.
    Approve(&'a str),
    /// No.
    Deny,
}

impl Reply<'_> {
    const fn kind(self) -> &'static str {
        match self {
            Self::Approve(_) => "approval.approved",
            Self::Deny => "approval.denied",
        }
    }

    const fn stage(self) -> Stage {
        match self {
            Self::Approve(_) => Stage::Approved,
            Self::Deny => Stage::Denied,
        }
    }
}

impl Engine {
    /// Requests for approval, newest first. An agent sees its own, a human those that they may answer.
    ///
    /// # Errors
    /// Those of the store, and `forbidden`.
    pub async fn approvals(
        &self,
        actor: &Actor,
        filter: approval::ApprovalFilter,
        page: PageOf<ApprovalId>,
    ) -> Result<Page<Approval, ApprovalId>> {
        let filter = self.visible_approvals(actor, filter).await?;
        let rows = self
            .store()
            .list(approval::page(&filter, page.after, self.now(), page.limit))
            .await?;
        Page::of(rows, |row| row.id).shown(|row| self.approval_view(row))
    }

    /// One request.
    ///
    /// # Errors
    /// There is none with this id, or it is not the caller's to see.
    pub async fn approval(&self, actor: &Actor, id: ApprovalId) -> Result<Approval> {
        let row = self.visible_approval(actor, id).await?;
        self.approval_view(row)
    }

    /// One request, once it is answered or over, or after this time, whichever comes first.
    ///
    /// # Errors
    /// Those of [`Self::approval`], also when the caller was stopped while it waited.
    pub async fn answered_approval(
        &self,
        actor: &Actor,
        id: ApprovalId,
        wait: Duration,
    ) -> Result<Approval> {
        // Listening begins before the look: an answer between the two is heard.
        let listener = self.directory().answers().listen(id.bits());
        let row = self.visible_approval(actor, id).await?;
        match self.wait_for_answer(actor, (&row, listener), wait).await? {
            Some(actor) => self.approval(&actor, id).await,
            None => self.approval_view(row),
        }
    }

    /// [`Self::answered_approval`] for a tool server, of the requests that its own questions made.
    ///
    /// # Errors
    /// The caller is no tool server, or the request is of nobody's question or of another's; also when the caller was
    /// stopped while it waited.
    pub async fn asked_approval(
        &self,
        actor: &Actor,
        id: ApprovalId,
        wait: Duration,
    ) -> Result<AskedApproval> {
        let listener = self.directory().answers().listen(id.bits());
        let mut row = self.own_question(actor, id).await?;
        if let Some(actor) = self.wait_for_answer(actor, (&row, listener), wait).await? {
            row = self.own_question(&actor, id).await?;
        }
        Ok(AskedApproval {
            id,
            status: status(&row, self.now()),
        })
    }

    /// Waits until a request is answered or over, or for this time, if there is anything to wait for. Gives the caller as
    /// it is then.
    async fn wait_for_answer(
        &self,
        actor: &Actor,
        (row, listener): (&ApprovalRow, Option<Listener<'_>>),
        wait: Duration,
    ) -> Result<Option<Actor>> {
        let left = row.expires_at.since(self.now());
        let wait = wait.min(MAX_WAIT).min(left);
        let Some(listener) = listener.filter(|_| row.stage == Stage::Pending && !wait.is_zero())
        else {
            return Ok(None);
        };
        let _seat = self.seat_of(actor, row).await?;
        let (mut answered, mut late) = (pin!(listener), pin!(self.sleep(wait)));
        poll_fn(|context| {
            if answered.as_mut().poll(context).is_ready() || late.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        let caller = self.renewed(&actor.caller).await?;
        Ok(Some(Actor {
            caller,
            ..actor.clone()
        }))
    }

    /// A place to wait for the answer to this request: one of those below the human for whom the caller acts.
    async fn seat_of(&self, actor: &Actor, row: &ApprovalRow) -> Result<Seat> {
        let holder = Holder::of(actor);
        let human = match &actor.caller {
            Caller::Person(person) => Some(person.user.id),
            Caller::Agent(key) => {
                let facts = self.facts(key.agent).await?;
                facts.agent.map(|agent| agent.root)
            }
            // It asks for the agents of many humans.
            Caller::ToolServer(_) => return self.waiting().take_through(holder, row.subject),
            _ => None,
        };
        self.waiting().take_below(holder, human)
    }

    /// Says yes to exactly the call with this digest. It is then allowed once.
    ///
    /// # Errors
    /// The request was answered, is over, has another digest, or can no longer be used; or the caller may not answer it.
    pub async fn approve(
        &self,
        actor: &Actor,
        id: ApprovalId,
        digest: &str,
    ) -> Result<Issued<Approval>> {
        self.answer(actor, id, Reply::Approve(digest)).await
    }

    /// Says no. The same call is denied until the request is over.
    ///
    /// # Errors
    /// The request was answered or is over; or the caller may not answer it.
    pub async fn deny(&self, actor: &Actor, id: ApprovalId) -> Result<Issued<Approval>> {
        self.answer(actor, id, Reply::Deny).await
    }

    async fn answer(
        &self,
        actor: &Actor,
        id: ApprovalId,
        reply: Reply<'_>,
    ) -> Result<Issued<Approval>> {
        let act = Act::on_approval(reply.kind(), id);
        self.change(actor, act, || self.plan_answer(actor, id, reply))
            .await
    }

    async fn plan_answer(
        &self,
        actor: &Actor,
        id: ApprovalId,
        reply: Reply<'_>,
    ) -> Result<Plan<Issued<Approval>>> {
        if actor.agent().is_some() {
            return Err(Error::Forbidden(
                "an agent answers no request for approval; its human or an operator does"
                    .to_owned(),
            ));
        }
        let row = self.visible_approval(actor, id).await?;
        if self.done_before(actor).await?.is_some() {
            return Ok(Plan::Done(Issued::replay(self.approval_view(row)?)));
        }
        let now = self.now();
        refuse_answered(&row, now)?;
        let mut reads = actor.reads();
        if let Reply::Approve(digest) = reply {
            if digest != hex::encode(&row.digest) {
                return Err(Error::WrongState(
                    "this is not the digest of the request's document; read it again, and give its digest"
                        .to_owned(),
                ));
            }
            let action = row.action.parse().map_err(|error| damaged(&error))?;
            let resource = row.resource.parse().map_err(|error| damaged(&error))?;
            actor.within_ceiling(&action, &resource)?;
            self.require_fresh(actor)?;
            reads.extend(self.standing_path(&row).await?);
        }
        let approver = Approver {
            name: actor.public_name(),
            mark: actor.approves_as(),
        };
        let answered = ApprovalRow {
            stage: reply.stage(),
            decided_by: Some(approver.name.clone()),
            decided_at: Some(now),
            ..row.clone()
        };
        let mut batch = Batch {
            reads,
            writes: vec![approval::decide(id, reply.stage(), approver, now)],
            entries: vec![self.approval_record(actor, reply.kind(), &row).await?],
            effects: vec![Changed::Approval(id).into()],
            ..Batch::default()
        };
        self.claim_once(actor, &mut batch, id.to_string());
        let view = self.approval_view(answered)?;
        Ok(Plan::commit(batch, Issued::without_token(view)))
    }

    /// Refuses a human who proved too long ago who they are: whoever found an open session is to approve nothing.
    pub(crate) fn require_fresh(&self, actor: &Actor) -> Result<()> {
        let fresh = self.settings().session_fresh;
        let Some(person) = actor.person() else {
            return Ok(());
        };
        if person.impersonator.is_some() {
            return Err(Error::Forbidden(
                "nobody does this in another's name; the human does it in a session of their own"
                    .to_owned(),
            ));
        }
        let is_fresh = |proved| self.now().since(proved) < fresh;
        if person.proved_at().is_some_and(is_fresh) {
            return Ok(());
        }
        let seconds = fresh.as_secs();
        Err(Error::Forbidden(match person.by {
            Credential::Session(_) => {
                format!(
                    "this session was opened more than {seconds} seconds ago; open a new one for this"
                )
            }
            Credential::Provider(_) => format!(
                "reauthentication required: the provider does not say that the human signed in within {seconds} seconds; \
                 have it ask them again, and come with the token that it gives then"
            ),
        }))
    }

    /// What the path of the request relies on, if all of it still stands as it did when it was asked. Nobody is to think
    /// that a call may go ahead which never can.
    async fn standing_path(&self, row: &ApprovalRow) -> Result<Vec<Mark>> {
        let facts = self.facts_with_reserved(row.agent).await?;
        let mut paths = facts.paths.iter();
        let path = paths.find(|path| Binding::path_stands(&row.document, &facts, path));
        let path = path.ok_or_else(|| {
            Error::WrongState(
                "something between the human and the agent was stopped or changed since; the agent must ask again"
                    .to_owned(),
            )
        })?;
        let agent = facts.agent.iter();
        let above = agent.flat_map(|agent| relied_on(agent, &facts));
        Ok(above.chain(path_marks(path)).collect())
    }

    /// The record of what became of a request.
    pub(crate) async fn approval_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        row: &ApprovalRow,
    ) -> Result<Entry> {
        let subject = self.user_row(row.subject).await?.pseudonym;
        let above = self.owners(row.agent).await?;
        let grant_path = grant_path(row)?;
        let details = serde_json::json!({ "approval": row.id });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.subject = Some(subject);
        record.agent = Some(row.agent);
        record.chain = &above;
        record.grant_path = &grant_path;
        record.action = Some(&row.action);
        record.resource = Some(&row.resource);
        record.details = Some(&details);
        record.personal.arguments_digest = row.arguments_digest.as_ref();
        self.seal(&record)
    }

    /// A request that a question of this tool server made; to others it is as if it did not exist.
    async fn own_question(&self, actor: &Actor, id: ApprovalId) -> Result<ApprovalRow> {
        let row = self.store().find(approval::by_id(id)).await?;
        let row = row.filter(|row| row.server.is_some() && row.server == actor.tool_server());
        row.ok_or(Error::NotFound(WHAT))
    }

    /// A request that the caller may see; to others it is as if it did not exist.
    async fn visible_approval(&self, actor: &Actor, id: ApprovalId) -> Result<ApprovalRow> {
        let row = self.store().find(approval::by_id(id)).await?;
        if let Some(person) = actor.person() {
            let row = row.ok_or(Error::NotFound(WHAT))?;
            person.claim(Scope::ApprovalsDecide, row.subject, WHAT)?;
            return Ok(row);
        }
        let filter = self
            .visible_approvals(actor, approval::ApprovalFilter::default())
            .await?;
        let row = row.filter(|row| {
            filter.agent.is_none_or(|agent| agent == row.agent)
                && filter.subject.is_none_or(|subject| subject == row.subject)
        });
        row.ok_or(Error::NotFound(WHAT))
    }

    /// The filter, narrowed to what the caller may see.
    async fn visible_approvals(
        &self,
        actor: &Actor,
        filter: approval::ApprovalFilter,
    ) -> Result<approval::ApprovalFilter> {
        match &actor.caller {
            Caller::Local
            | Caller::Operator(_)
            | Caller::ToolServer(_)
            | Caller::Provided(_)
            | Caller::Root(_)
            | Caller::Stranger => {
                actor.require(Scope::ApprovalsDecide)?;
                Ok(filter)
            }
            Caller::Agent(key) => {
                self.require_live_key(actor, key.agent).await?;
                Ok(approval::ApprovalFilter {
                    agent: Some(key.agent),
                    ..filter
                })
            }
            Caller::Person(person) => {
                // Whoever asks for another human's gets none, unless their role reaches it.
                let subject = person.listing(Scope::ApprovalsDecide, filter.subject)?;
                Ok(approval::ApprovalFilter {
                    subject: Some(subject),
                    ..filter
                })
            }
        }
    }

    fn approval_view(&self, row: ApprovalRow) -> Result<Approval> {
        Ok(Approval {
            status: status(&row, self.now()),
            grant_path: grant_path(&row)?,
            id: row.id,
            agent_id: row.agent,
            user_id: row.subject,
            action: row.action,
            resource: row.resource,
            document: row.document,
            digest: hex::encode(&row.digest),
            arguments_digest: row
                .arguments_digest
                .as_ref()
                .map(|digest| hex::encode(digest)),
            decided_by: row.decided_by,
            decided_at: row.decided_at,
            expires_at: row.expires_at,
            created_at: row.created_at,
        })
    }
}

fn refuse_answered(row: &ApprovalRow, now: Timestamp) -> Result<()> {
    match status(row, now) {
        "pending" => Ok(()),
        "expired" => Err(Error::WrongState(
            "the request is over; the agent must ask again".to_owned(),
        )),
        "denied" => Err(Error::WrongState(
            "the request was denied already".to_owned(),
        )),
        _ => Err(Error::WrongState(
            "the request was approved already".to_owned(),
        )),
    }
}

fn status(row: &ApprovalRow, now: Timestamp) -> &'static str {
    match row.stage {
        Stage::Used | Stage::Denied => row.stage.as_str(),
        Stage::Approved if row.approver_killed => "revoked",
        Stage::Pending | Stage::Approved if row.expires_at <= now => "expired",
        Stage::Pending | Stage::Approved => row.stage.as_str(),
    }
}

fn grant_path(row: &ApprovalRow) -> Result<Vec<GrantId>> {
    compile::stored("path of grants", &row.grant_path)
}

fn damaged(invalid: &Invalid) -> Error {
    Error::Internal(format!(
        "a stored request for approval cannot be read: {invalid}"
    ))
}
