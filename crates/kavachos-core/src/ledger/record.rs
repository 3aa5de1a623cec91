//! One record: what happened, split into what stays for ever and what can be erased.
//!
//! The *body* holds the fields that are not personal and goes into the leaf. The personal fields are hashed, with a
//! salt, into the body's `priv` and stored beside it: they and the salt can be destroyed without changing a leaf.

use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::id::{AgentId, AuditId, GrantId, KeyId, RequestId, ToolServerId};
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
    /// A tool server, with its own key.
    ToolServer(ToolServerId),
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
            Self::ToolServer(id) => id.fmt(f),
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
    /// Who it really was, where someone called in a human's name: the human stands in [`Self::actor`].
    pub impersonator: Option<Actor>,
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
    /// Metadata that a user attached, or what a device said of itself that somebody let in.
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
            impersonator: None,
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
        self.check_values()?;
        let (personal, private) = self.personal.encode();
        let priv_hash = Sha256::new()
            .chain_update(random.salt)
            .chain_update(&personal)
            .finalize();
        let projections = self.project();
        let body = self.body(&projections, &random.blind, (&priv_hash, &private));
        let bytes = body.len().saturating_add(personal.len());
        if bytes > MAX_RECORD_BYTES {
            return Err(Invalid::new(format!(
                "the record has {bytes} bytes, more than {MAX_RECORD_BYTES}: shorten its texts and details"
            )));
        }
        Ok(Entry {
            projections,
            body,
            personal,
            salt: random.salt,
        })
    }

    /// The canonical text of the body. The members stand in the order of their names; ids were written once already,
    /// for the projections.
    fn body(
        &self,
        ids: &Projections,
        blind: &[u8],
        (priv_hash, private): (&[u8], &[&'static str]),
    ) -> String {
        let mut body = Members::with_capacity(USUAL_BODY_BYTES);
        body.text_if("action", self.action);
        body.text("actor", &ids.actor);
        body.text_if("agent", ids.agent.as_deref());
        body.text_if("agentProof", self.agent_proof);
        body.hex("blind", blind);
        if !self.chain.is_empty() {
            body.list("chain", &ids.chain);
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
        body.text("id", &ids.id);
        let impersonator = self.impersonator.map(|who| who.to_string());
        body.text_if("impersonator", impersonator.as_deref());
        body.text("kind", self.kind);
        body.text("outcome", self.outcome.as_str());
        body.hex("priv", priv_hash);
        body.list("private", private);
        body.text_if("reason", self.reason);
        body.text_if("reportedBy", self.reported_by);
        body.text_if("requestId", ids.request_id.as_deref());
        body.text_if("resource", self.resource);
        if let Some(RevocationPoint { epoch, rseq }) = self.revocation_head {
            body.verbatim(
                "revocationHead",
                format_args!("{{\"epoch\":{epoch},\"rseq\":{rseq}}}"),
            );
        }
        body.value_if("scopeDelta", self.scope_delta);
        body.text_if("subject", ids.subject.as_deref());
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
    fn check_values(&self) -> Result<(), Invalid> {
        let personal = &self.personal;
        let values = [
            ("details", self.details.or(personal.details)),
            ("scopeDelta", self.scope_delta),
            ("metadata", personal.metadata),
        ];
        values.into_iter().try_for_each(|(name, value)| {
            let checked = value.map_or(Ok(()), json::check_member);
            checked.map_err(|error| error.within(name))
        })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RANDOM: Blinding = Blinding {
        blind: [0xab; 16],
        salt: [0xcd; 16],
    };

    fn bare() -> Record<'static> {
        Record::new(
            AuditId::from_bits(1),
            "decision",
            Outcome::Denied,
            "permission_denied",
            Actor::Agent(AgentId::from_bits(2)),
        )
    }

    /// Every field, with texts that need escaping and members that are not sorted.
    fn with_full_record<T>(look: impl FnOnce(Record<'_>) -> T) -> T {
        let details = json!({"z": [1, 2.5, null], "a": "\u{1}\u{20ac}\"", "b": {}});
        look(Record {
            subject: Some(Pseudonym::from_bits(3)),
            agent: Some(AgentId::from_bits(4)),
            chain: &[AgentId::from_bits(5), AgentId::from_bits(6)],
            grant_path: &[GrantId::from_bits(7)],
            agent_proof: Some("key"),
            action: Some("re\"ad\\"),
            resource: Some("mcp:github:\u{e9}\u{1f600}"),
            scope_delta: Some(&json!({"missing": ["a:b"], "added": []})),
            reason: Some("because\nof \u{7f}"),
            duration_us: Some(MAX_INTEGER),
            request_id: Some(RequestId::from_bits(8)),
            cost: Some(Cost {
                amount: 3,
                unit: "cents",
            }),
            revocation_head: Some(RevocationPoint { epoch: 1, rseq: 9 }),
            reported_by: Some("mcp://tool"),
            details: Some(&details),
            personal: Personal {
                arguments_digest: Some(&[0x0f; 32]),
                email: Some("ada@example.com"),
                ip: Some("192.0.2.1"),
                metadata: Some(&json!({"team": "x", "cost-center": 7})),
                name: Some("Ada \u{2028}"),
                user_agent: Some("curl/8"),
                ..Personal::default()
            },
            ..bare()
        })
    }

    fn canonical(text: &str) -> String {
        json::canonical(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn body_and_personal_fields_are_written_in_canonical_form() {
        let full = with_full_record(|record| record.seal(RANDOM).unwrap());
        for entry in [full, bare().seal(RANDOM).unwrap()] {
            assert_eq!(entry.body(), canonical(entry.body()));
            assert_eq!(entry.personal(), canonical(entry.personal()));
        }
    }

    #[test]
    fn personal_fields_are_in_the_body_only_as_a_salted_hash_and_by_name() {
        let entry = with_full_record(|record| record.seal(RANDOM).unwrap());
        let body = json::parse(entry.body().as_bytes()).unwrap();
        let expected = Sha256::new()
            .chain_update([0xcd; 16])
            .chain_update(entry.personal())
            .finalize();
        let hex: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(body["priv"], json!(hex));
        assert_eq!(body["blind"], json!("ab".repeat(16)));
        assert_eq!(
            body["private"],
            json!([
                "argumentsDigest",
                "email",
                "ip",
                "metadata",
                "name",
                "userAgent"
            ])
        );
        for secret in [
            "ada@example.com",
            "192.0.2.1",
            "curl/8",
            "cost-center",
            "Ada",
        ] {
            assert!(entry.personal().contains(secret) && !entry.body().contains(secret));
        }
    }

    #[test]
    fn whoever_calls_in_a_humans_name_stands_beside_them_in_the_body() {
        let mut record = bare();
        let own = record.seal(RANDOM).unwrap();
        assert!(!own.body().contains("impersonator"));
        record.impersonator = Some(Actor::Key(KeyId::from_bits(7)));
        let entry = record.seal(RANDOM).unwrap();
        let body = json::parse(entry.body().as_bytes()).unwrap();
        assert_eq!(body["impersonator"], json!(KeyId::from_bits(7)));
        assert_eq!(entry.body(), json::canonical(&body));
        assert_eq!(entry.projections(), own.projections());
    }

    #[test]
    fn every_projection_is_a_member_of_the_body() {
        let entry = with_full_record(|record| record.seal(RANDOM).unwrap());
        let body = json::parse(entry.body().as_bytes()).unwrap();
        let columns = entry.projections();
        for (name, column) in [
            ("id", Some(columns.id.as_str())),
            ("kind", Some(columns.kind)),
            ("outcome", Some(columns.outcome)),
            ("code", Some(columns.code)),
            ("actor", Some(&columns.actor)),
            ("subject", columns.subject.as_deref()),
            ("agent", columns.agent.as_deref()),
            ("action", columns.action.as_deref()),
            ("resource", columns.resource.as_deref()),
            ("requestId", columns.request_id.as_deref()),
        ] {
            assert!(column.is_some(), "{name}");
            assert_eq!(body[name].as_str(), column, "{name}");
        }
        assert_eq!(body["chain"], json!(columns.chain));
    }

    #[test]
    fn a_personal_resource_is_in_no_column() {
        let mut record = bare();
        record.personal.resource = Some("mail:ada");
        let entry = record.seal(RANDOM).unwrap();
        assert_eq!(entry.projections().resource, None);
        assert!(!entry.body().contains("mail:ada"));
        record.personal.resource = None;
        record.resource = Some("mail:ada");
        let open = record.seal(RANDOM).unwrap();
        assert_eq!(open.projections().resource.as_deref(), Some("mail:ada"));
    }

    #[test]
    fn the_user_agent_is_cut_between_two_characters() {
        let long = format!("{}\u{20ac}{}", "a".repeat(255), "b".repeat(10_000));
        let mut record = bare();
        record.personal.user_agent = Some(&long);
        let entry = record.seal(RANDOM).unwrap();
        let kept = format!("{{\"userAgent\":\"{}\"}}", "a".repeat(255));
        assert_eq!(entry.personal(), kept);
    }

    #[test]
    fn an_over_long_record_is_an_error_and_one_at_the_limit_is_not() {
        let room = MAX_RECORD_BYTES - bare().seal(RANDOM).unwrap().bytes();
        let text = "x".repeat(room - "\"reason\":\"\",".len());
        let mut record = bare();
        record.reason = Some(&text);
        assert_eq!(record.seal(RANDOM).unwrap().bytes(), MAX_RECORD_BYTES);
        let text = format!("{text}x");
        record.reason = Some(&text);
        assert!(record.seal(RANDOM).unwrap_err().message().contains("4097"));
    }

    #[test]
    fn what_cannot_be_read_back_by_everyone_is_refused() {
        let too_large = json!({"n": MAX_INTEGER + 1});
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        let refused = |change: &dyn Fn(&mut Record<'_>)| {
            let mut record = bare();
            change(&mut record);
            record.seal(RANDOM).unwrap_err();
        };
        refused(&|record| record.duration_us = Some(MAX_INTEGER + 1));
        refused(&|record| record.action = Some("a\0b"));
        let mut record = bare();
        record.details = Some(&too_large);
        record.seal(RANDOM).unwrap_err();
        record.details = Some(&deep);
        record.seal(RANDOM).unwrap_err();
        record.details = None;
        record.personal.metadata = Some(&too_large);
        record.seal(RANDOM).unwrap_err();
        record.personal.metadata = None;
        record.seal(RANDOM).unwrap();
    }

    #[test]
    fn a_field_is_public_or_personal_and_not_both() {
        let mut record = bare();
        record.reason = Some("ours");
        record.personal.reason = Some("theirs");
        assert_eq!(record.seal(RANDOM).unwrap_err().field(), "reason");
        record.reason = None;
        record.seal(RANDOM).unwrap();
    }
}
