//! One record: what happened, split into what stays for ever and what can be erased.
//!
//! The *body* holds the fields that are not personal and goes into the leaf. The personal fields are hashed, with a
//! salt, into the body's `priv` and stored beside it: they and the salt can be destroyed without changing a leaf.

use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::id::{AgentId, AuditId, GrantId, KeyId, RequestId};
use crate::invalid::Invalid;
use crate::json;
use crate::ledger::Pseudonym;
use crate::ledger::members::Members;

/// The largest record: its body and its personal fields together.
pub const MAX_RECORD_BYTES: usize = 4096;
/// A caller's `userAgent` is cut here, since it is not ours to refuse.
pub const MAX_USER_AGENT_BYTES: usize = 256;
/// The largest integer that every reader of JSON reads exactly: 2^53.
const MAX_INTEGER: u64 = 1 << 53;
/// A record of a decision is about this long; saves growing the text step by step.
const USUAL_BODY_BYTES: usize = 1024;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was allowed, or done.
    Allowed,
    /// It was refused.
    Denied,
}

impl Outcome {
    /// The text in the body and in filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// An agent, with its key or token.
    Agent(AgentId),
    /// A human, by their pseudonym.
    Person(Pseudonym),
    /// An operator's API key.
    Key(KeyId),
    /// This server itself: a start, a clock step, a pruning.
    System,
    /// Nobody that could be authenticated.
    Stranger,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => id.fmt(f),
            Self::Person(id) => id.fmt(f),
            Self::Key(id) => id.fmt(f),
            Self::System => f.write_str("system"),
            Self::Stranger => f.write_str("stranger"),
        }
    }
}

/// What a call cost, in the unit of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost<'a> {
    /// How many units.
    pub amount: u64,
    /// Of what.
    pub unit: &'a str,
}

/// The kills that a decision knew of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationPoint {
    /// The epoch of the revocation log.
    pub epoch: u64,
    /// The number of the last kill.
    pub rseq: u64,
}

/// What happened. Build it with [`Record::new`] and struct update, then [`Record::seal`] it.
///
/// Every field here is public for ever. What may concern a person belongs into [`Record::personal`].
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The record's own id.
    pub id: AuditId,
    /// What kind of act: `decision`, `agent.created`, ...
    pub kind: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// The stable code of the outcome.
    pub code: &'static str,
    /// Who called.
    pub actor: Actor,
    /// The human for whom.
    pub subject: Option<Pseudonym>,
    /// The agent that acted or was acted upon.
    pub agent: Option<AgentId>,
    /// All ancestors of the agent that are agents; the human among them is [`Self::subject`].
    pub chain: &'a [AgentId],
    /// The grants that were relied on, root first.
    pub grant_path: &'a [GrantId],
    /// How the agent proved itself.
    pub agent_proof: Option<&'static str>,
    /// What was asked to be done.
    pub action: Option<&'a str>,
    /// To what; where configured it is personal instead.
    pub resource: Option<&'a str>,
    /// Which scopes were asked for and not given, or the reverse.
    pub scope_delta: Option<&'a Value>,
    /// Our own words on the outcome. What a person wrote is personal instead.
    pub reason: Option<&'a str>,
    /// How long it took, in microseconds.
    pub duration_us: Option<u64>,
    /// The HTTP request that it was part of.
    pub request_id: Option<RequestId>,
    /// What it cost.
    pub cost: Option<Cost<'a>>,
    /// The kills known when it was decided.
    pub revocation_head: Option<RevocationPoint>,
    /// The tool server that reported it, when it was not decided here.
    pub reported_by: Option<&'a str>,
    /// Whatever else belongs to this kind; where configured it is personal instead.
    pub details: Option<&'a Value>,
    /// What concerns a person and can be erased.
    pub personal: Personal<'a>,
}

/// The fields that can be erased, and none besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Personal<'a> {
    /// A digest of the call's arguments, whose few possible values could be guessed.
    pub arguments_digest: Option<&'a [u8; 32]>,
    /// Details, where they are configured to be personal.
    pub details: Option<&'a Value>,
    /// An e-mail address.
    pub email: Option<&'a str>,
    /// The caller's address.
    pub ip: Option<&'a str>,
    /// Metadata that a user attached.
    pub metadata: Option<&'a Value>,
    /// A name that a user gave to someone or something.
    pub name: Option<&'a str>,
    /// The reason that someone wrote for a delegation or a revocation.
    pub reason: Option<&'a str>,
    /// The resource, where it is configured to be personal.
    pub resource: Option<&'a str>,
    /// The caller's user agent; cut at [`MAX_USER_AGENT_BYTES`].
    pub user_agent: Option<&'a str>,
}

/// The randomness of one record.
#[derive(Debug, Clone, Copy)]
pub struct Blinding {
    /// Goes into the body, so that a leaf says nothing about a guessed body.
    pub blind: [u8; 16],
    /// Goes with the personal fields, so that `priv` says nothing about guessed ones.
    pub salt: [u8; 16],
}

/// A record in its final form, ready to be numbered: only `seq` and `time` are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    projections: Projections,
    body: String,
    personal: String,
    salt: [u8; 16],
}

/// The members of the body that filters ask for, as columns; each can be recomputed from the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projections {
    /// `id`.
    pub id: String,
    /// `kind`.
    pub kind: &'static str,
    /// `outcome`.
    pub outcome: &'static str,
    /// `code`.
    pub code: &'static str,
    /// `actor`.
    pub actor: String,
    /// `subject`.
    pub subject: Option<String>,
    /// `agent`.
    pub agent: Option<String>,
    /// `action`.
    pub action: Option<String>,
    /// `resource`, unless it is personal.
    pub resource: Option<String>,
    /// `requestId`.
    pub request_id: Option<String>,
    /// `chain`.
    pub chain: Vec<String>,
}

impl<'a> Record<'a> {
    /// A record with what every record has.
    pub fn new(
        id: AuditId,
        kind: &'static str,
        outcome: Outcome,
        code: &'static str,
        actor: Actor,
    ) -> Self {
        Self {
            id,
            kind,
            outcome,
            code,
            actor,
            subject: None,
            agent: None,
            chain: &[],
            grant_path: &[],
            agent_proof: None,
            action: None,
            resource: None,
            scope_delta: None,
            reason: None,
            duration_us: None,
            request_id: None,
            cost: None,
            revocation_head: None,
            reported_by: None,
            details: None,
            personal: Personal::default(),
        }
    }

    /// Encodes the record.
    ///
    /// # Errors
    /// It is longer than [`MAX_RECORD_BYTES`], a field stands both in the open and among the personal ones, a number
    /// is beyond 2^53, a text to filter by holds a NUL, or `details`, `metadata` or `scopeDelta` are not I-JSON.
    pub fn seal(&self, random: Blinding) -> Result<Entry, Invalid> {
        self.check()?;
        let (personal, private) = self.personal.encode();
        let priv_hash = Sha256::new()
            .chain_update(random.salt)
            .chain_update(&personal)
            .finalize();
        let body = self.body(&random.blind, &priv_hash, &private);
        let bytes = body.len().saturating_add(personal.len());
        if bytes > MAX_RECORD_BYTES {
            return Err(Invalid::new(format!(
                "the record has {bytes} bytes, more than {MAX_RECORD_BYTES}: shorten its texts and details"
            )));
        }
        self.check_json(&body, &personal)?;
        Ok(Entry {
            projections: self.project(),
            body,
            personal,
            salt: random.salt,
        })
    }

    /// The canonical text of the body. The members stand in the order of their names.
    fn body(&self, blind: &[u8], priv_hash: &[u8], private: &[&'static str]) -> String {
        let mut body = Members::with_capacity(USUAL_BODY_BYTES);
        body.text_if("action", self.action);
        body.plain("actor", self.actor);
        self.agent.iter().for_each(|id| body.plain("agent", id));
        body.text_if("agentProof", self.agent_proof);
        body.hex("blind", blind);
        if !self.chain.is_empty() {
            body.list("chain", self.chain);
        }
        body.text("code", self.code);
        if let Some(cost) = self.cost {
            body.verbatim("cost", cost.encode());
        }
        body.value_if("details", self.details);
        self.duration_us
            .iter()
            .for_each(|us| body.verbatim("durationUs", us));
        if !self.grant_path.is_empty() {
            body.list("grantPath", self.grant_path);
        }
        body.plain("id", self.id);
        body.text("kind", self.kind);
        body.text("outcome", self.outcome.as_str());
        body.hex("priv", priv_hash);
        body.list("private", private);
        body.text_if("reason", self.reason);
        body.text_if("reportedBy", self.reported_by);
        self.request_id
            .iter()
            .for_each(|id| body.plain("requestId", id));
        body.text_if("resource", self.resource);
        if let Some(RevocationPoint { epoch, rseq }) = self.revocation_head {
            body.verbatim(
                "revocationHead",
                format_args!("{{\"epoch\":{epoch},\"rseq\":{rseq}}}"),
            );
        }
        body.value_if("scopeDelta", self.scope_delta);
        self.subject.iter().for_each(|id| body.plain("subject", id));
        body.end().0
    }

    fn project(&self) -> Projections {
        Projections {
            id: self.id.to_string(),
            kind: self.kind,
            outcome: self.outcome.as_str(),
            code: self.code,
            actor: self.actor.to_string(),
            subject: self.subject.map(|id| id.to_string()),
            agent: self.agent.map(|id| id.to_string()),
            action: self.action.map(str::to_owned),
            resource: self.resource.map(str::to_owned),
            request_id: self.request_id.map(|id| id.to_string()),
            chain: self.chain.iter().map(AgentId::to_string).collect(),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        let twice = [
            (
                "details",
                self.details.is_some() && self.personal.details.is_some(),
            ),
            (
                "reason",
                self.reason.is_some() && self.personal.reason.is_some(),
            ),
            (
                "resource",
                self.resource.is_some() && self.personal.resource.is_some(),
            ),
        ];
        if let Some((name, _)) = twice.into_iter().find(|(_, both)| *both) {
            return Err(Invalid::at(
                name,
                "stands in the body and among the personal fields: keep one",
            ));
        }
        for (name, text) in [("action", self.action), ("resource", self.resource)] {
            if text.is_some_and(|text| text.contains('\0')) {
                return Err(Invalid::at(
                    name,
                    "holds a NUL, which cannot be stored as text",
                ));
            }
        }
        let point = self.revocation_head;
        let numbers = [
            ("durationUs", self.duration_us),
            ("cost", self.cost.map(|cost| cost.amount)),
            (
                "revocationHead",
                point.map(|point| point.epoch.max(point.rseq)),
            ),
        ];
        match numbers
            .into_iter()
            .find(|(_, number)| number.is_some_and(|number| number > MAX_INTEGER))
        {
            Some((name, _)) => Err(Invalid::at(
                name,
                "is beyond 2^53, where readers of JSON stop agreeing",
            )),
            None => Ok(()),
        }
    }

    /// Values from elsewhere could hold what no strict reader accepts; texts and numbers of our own cannot.
    fn check_json(&self, body: &str, personal: &str) -> Result<(), Invalid> {
        if self.details.is_some() || self.scope_delta.is_some() {
            json::parse(body.as_bytes())?;
        }
        if self.personal.details.is_some() || self.personal.metadata.is_some() {
            json::parse(personal.as_bytes())?;
        }
        Ok(())
    }
}

impl Personal<'_> {
    /// The canonical text of the personal fields, and which there are. In the order of their names.
    fn encode(&self) -> (String, Vec<&'static str>) {
        let mut fields = Members::with_capacity(0);
        if let Some(digest) = self.arguments_digest {
            fields.hex("argumentsDigest", digest);
        }
        fields.value_if("details", self.details);
        fields.text_if("email", self.email);
        fields.text_if("ip", self.ip);
        fields.value_if("metadata", self.metadata);
        fields.text_if("name", self.name);
        fields.text_if("reason", self.reason);
        fields.text_if("resource", self.resource);
        fields.text_if("userAgent", self.user_agent.map(cut));
        fields.end()
    }
}

impl Cost<'_> {
    fn encode(self) -> String {
        let mut members = Members::with_capacity(48);
        members.verbatim("amount", self.amount);
        members.text("unit", self.unit);
        members.end().0
    }
}

impl Entry {
    /// The columns to filter by.
    pub fn projections(&self) -> &Projections {
        &self.projections
    }

    /// The text that goes into the leaf.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The canonical text of the personal fields, `{}` without any.
    pub fn personal(&self) -> &str {
        &self.personal
    }

    /// What was hashed before the personal fields.
    pub fn salt(&self) -> &[u8; 16] {
        &self.salt
    }

    /// About how much memory and disk it takes.
    pub fn bytes(&self) -> usize {
        self.body.len().saturating_add(self.personal.len())
    }
}

/// The longest start of a user agent that fits, ending between two characters.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(MAX_USER_AGENT_BYTES);
    text.get(..end).unwrap_or_default()
}
