//! All that is kept about a human, for the human: read by themselves, in pieces, without an end that is cut off.
//!
//! Promises: nobody else gets it by this way, not even in the human's name; that it was handed out is on record before
//! the first piece is given; memory is bounded by one piece, and between two pieces nothing of the database is held.
//! Credentials are kept as hashes or under seal, and are not in it; that they are there, and since when, is.

use std::time::Duration;

use kavachos_core::id::{AgentId, ApprovalId, GrantId, SessionId, UserId};
use kavachos_core::time::Timestamp;
use kavachos_store::{Batch, former_address, known_device, password};
use serde::Serialize;
use serde_json::{Value, json};

use crate::act::Act;
use crate::actor::Actor;
use crate::audit::AuditFilter;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::page::{Page, PageOf};
use crate::seats::{Bounds, Holder, Seat};
use crate::users::User;
use crate::{AgentFilter, ApprovalFilter, GrantFilter};

/// How many humans read theirs at the same time.
pub(crate) const OWN_EXPORTS: Bounds = Bounds { all: 16, each: 1 };
/// How many things one piece has.
const STEP: usize = 100;
/// How many applications one piece has, each with what was said yes to.
const CONNECTIONS: usize = 10;
/// How long a reader may take for one piece.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a piece is of, in the order in which they come. Each comes at least once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnPart {
    /// The account: one thing.
    Account,
    /// What they sign in with, and by what they are known.
    Methods,
    /// Sessions.
    Sessions,
    /// Agents.
    Agents,
    /// Applications that they let in.
    Connections,
    /// Grants.
    Delegations,
    /// Requests for approval.
    Approvals,
    /// Records.
    Audit,
}

impl OwnPart {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Methods => "methods",
            Self::Sessions => "sessions",
            Self::Agents => "agents",
            Self::Connections => "connections",
            Self::Delegations => "delegations",
            Self::Approvals => "approvals",
            Self::Audit => "audit",
        }
    }
}

/// Where the next piece begins.
enum Next {
    Account,
    Methods,
    Sessions(Option<SessionId>),
    Agents(Option<AgentId>),
    Connections(Option<AgentId>),
    Delegations(Option<GrantId>),
    Approvals(Option<ApprovalId>),
    Audit(Option<u64>),
    Nothing,
}

/// Reads all that is kept about a human, one piece after the other.
pub struct OwnData {
    engine: Engine,
    actor: Actor,
    human: UserId,
    next: Next,
    given_at: Option<Timestamp>,
    _seat: Seat,
}

impl Engine {
    /// Begins to hand out all that is kept about the human who calls.
    ///
    /// # Errors
    /// The caller is no human, is impersonated, proved too long ago who they are, or is at it already.
    pub async fn own_data(&self, actor: &Actor) -> Result<OwnData> {
        let human = actor.own_account()?;
        let seat = self.own_exports().take(Holder::of(actor))?;
        let act = Act::on_user("user.exported", human);
        self.change(actor, act, || self.plan_own_data(actor, human))
            .await?;
        Ok(OwnData {
            engine: self.clone(),
            actor: actor.clone(),
            human,
            next: Next::Account,
            given_at: None,
            _seat: seat,
        })
    }

    async fn plan_own_data(&self, actor: &Actor, human: UserId) -> Result<Plan<()>> {
        self.require_fresh(actor)?;
        let row = self.user_row(human).await?;
        let entry = self.user_act(actor, "user.exported", (&row, &json!({}), None))?;
        let batch = Batch {
            reads: actor.reads(),
            entries: vec![entry],
            ..Batch::default()
        };
        Ok(Plan::commit(batch, ()))
    }
}

impl OwnData {
    /// The next piece; `None` after the last. To call it says that the one before was taken.
    ///
    /// # Errors
    /// The reader took too long, the session is over, or something cannot be read. What was given is then not all.
    pub async fn step(&mut self) -> Result<Option<(OwnPart, Vec<Value>)>> {
        let now = self.engine.now();
        let late = |at: Timestamp| now.since(at) > PATIENCE;
        if self.given_at.take().is_some_and(late) {
            return Err(Error::WrongState(
                "what is kept about you was taken too slowly; begin again".to_owned(),
            ));
        }
        if self.engine.listeners().is_ending() {
            return Err(Error::Busy);
        }
        self.engine.renewed(&self.actor.caller).await?;
        let piece = self.piece().await?;
        self.given_at = Some(self.engine.now());
        Ok(piece)
    }

    async fn piece(&mut self) -> Result<Option<(OwnPart, Vec<Value>)>> {
        let (engine, actor, human) = (&self.engine, &self.actor, self.human);
        let (part, items, next) = match self.next {
            Next::Account => {
                let user = User::of(engine.user_row(human).await?, engine.now())?;
                (OwnPart::Account, vec![value(&user)?], Next::Methods)
            }
            Next::Methods => {
                let items = engine.methods_of(human).await?;
                (OwnPart::Methods, items, Next::Sessions(None))
            }
            Next::Sessions(after) => {
                let page = engine.sessions(actor, human, after_of(after)).await?;
                let (items, next) = taken(page, Next::Sessions, Next::Agents(None))?;
                (OwnPart::Sessions, items, next)
            }
            Next::Agents(after) => {
                let filter = AgentFilter::default();
                let page = engine.agents(actor, filter, after_of(after)).await?;
                let (items, next) = taken(page, Next::Agents, Next::Connections(None))?;
                (OwnPart::Agents, items, next)
            }
            Next::Connections(after) => {
                let of = PageOf {
                    after,
                    limit: CONNECTIONS,
                };
                let page = engine.own_connections(human, of).await?;
                let (items, next) = taken(page, Next::Connections, Next::Delegations(None))?;
                (OwnPart::Connections, items, next)
            }
            Next::Delegations(after) => {
                let filter = GrantFilter::default();
                let page = engine.delegations(actor, filter, after_of(after)).await?;
                let (items, next) = taken(page, Next::Delegations, Next::Approvals(None))?;
                (OwnPart::Delegations, items, next)
            }
            Next::Approvals(after) => {
                let filter = ApprovalFilter::default();
                let page = engine.approvals(actor, filter, after_of(after)).await?;
                let (items, next) = taken(page, Next::Approvals, Next::Audit(None))?;
                (OwnPart::Approvals, items, next)
            }
            Next::Audit(after) => {
                let filter = AuditFilter::default();
                let page = engine.audit(actor, &filter, after_of(after)).await?;
                let (items, next) = taken(page, Next::Audit, Next::Nothing)?;
                (OwnPart::Audit, items, next)
            }
            Next::Nothing => return Ok(None),
        };
        self.next = next;
        Ok(Some((part, items)))
    }
}

impl Engine {
    /// The password, the browsers, addresses that can be taken back, and what plugins keep.
    async fn methods_of(&self, human: UserId) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        if let Some(row) = self.store().find(password::of(human)).await? {
            all.push(json!({ "method": "password", "kind": "password", "setAt": row.set_at }));
        }
        for (seen_at, created_at) in self.store().list(known_device::of(human)).await? {
            all.push(json!({
                "method": "session", "kind": "known_browser", "seenAt": seen_at, "createdAt": created_at
            }));
        }
        let former = former_address::of(human, self.now());
        for (email, expires_at) in self.store().list(former).await? {
            all.push(json!({
                "method": "email", "kind": "former_address", "email": email, "expiresAt": expires_at
            }));
        }
        for (method, told) in self.plugins().tell(human)? {
            let rows = self.store().query(told.query.clone()).await?;
            all.extend(rows.into_iter().map(|row| told.thing(method, row.cells())));
        }
        Ok(all)
    }
}

fn after_of<K>(after: Option<K>) -> PageOf<K> {
    PageOf { after, limit: STEP }
}

/// The things of a page, and where to go on: on the next page, or with what comes after the last.
fn taken<T: Serialize, K>(
    page: Page<T, K>,
    more: impl FnOnce(Option<K>) -> Next,
    done: Next,
) -> Result<(Vec<Value>, Next)> {
    let items = page.items.iter().map(value).collect::<Result<_>>()?;
    let next = page.next.map_or(done, |key| more(Some(key)));
    Ok((items, next))
}

fn value<T: Serialize>(thing: &T) -> Result<Value> {
    serde_json::to_value(thing).map_err(|error| Error::Internal(error.to_string()))
}
