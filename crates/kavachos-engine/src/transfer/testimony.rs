//! What records say of the rows beside them: that something was made, stopped, answered or used up, and how far the
//! revocation log had come.
//!
//! A file is not signed, and a row is edited more easily than a ledger: a record is in the tree, whose root can be known
//! from elsewhere. So where the two differ the file is refused. What is stopped and let go on again (humans and agents) is
//! compared in the whole, by the last record of each; the rest happens once, and is compared as the records come.

use kavachos_core::revocation::LogHead;
use kavachos_core::time::Timestamp;
use kavachos_store::transfer::{
    APPROVALS, CLIENTS, GRANTS, OPERATOR_KEYS, SESSIONS, State, TOOL_SERVERS, Table, WEBHOOKS,
};
use serde_json::{Map, Value};

use super::line::Wrong;
use crate::upkeep::TOKEN_GRANTS_KNOWN;

/// What a record of one kind says of one row.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// The kind of the record.
    kind: &'static str,
    /// Which member of its details names the row.
    member: &'static str,
    /// Where the row stands.
    table: Table<'static>,
    /// What became of it by that, in a word.
    deed: &'static str,
    /// What its status may be since; `None` for any.
    since: Option<&'static [&'static str]>,
    absence: Absence,
}

/// Whether the row may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    /// It is kept for ever.
    Wrong,
    /// It is removed a while after it is over.
    Usual,
    /// The same of grants that were made for one token, and of no others: the record says for which tool server, and
    /// when it ends.
    OfToken,
    /// The same where the record of an end tells no longer for what it was made.
    OnceOver,
}

const fn rule(kind: &'static str, member: &'static str, table: Table<'static>) -> Rule {
    Rule {
        kind,
        member,
        table,
        deed: "made",
        since: None,
        absence: Absence::Wrong,
    }
}

impl Rule {
    const fn ends(self, deed: &'static str, since: &'static [&'static str]) -> Self {
        Self {
            deed,
            since: Some(since),
            ..self
        }
    }

    const fn may_be_gone(self) -> Self {
        self.absent(Absence::Usual)
    }

    const fn absent(self, absence: Absence) -> Self {
        Self { absence, ..self }
    }
}

const REVOKED: &[&str] = &["revoked"];
static RULES: [Rule; 18] = [
    rule("key.created", "key", OPERATOR_KEYS),
    // A key out of a configuration: it moves asleep even where it is awake again.
    rule("key.suspended", "key", OPERATOR_KEYS).ends("suspended", &["suspended", "revoked"]),
    rule("key.revoked", "key", OPERATOR_KEYS).ends("revoked", REVOKED),
    rule("delegation.created", "grant", GRANTS).absent(Absence::OfToken),
    rule("delegation.revoked", "grant", GRANTS)
        .ends("revoked", REVOKED)
        .absent(Absence::OnceOver),
    rule("resource.created", "server", TOOL_SERVERS),
    rule("resource.revoked", "server", TOOL_SERVERS).ends("revoked", REVOKED),
    // One that nobody uses is forgotten; one that is denied may be let in again.
    rule("client.created", "client", CLIENTS).may_be_gone(),
    // Also before anybody used it.
    rule("client.denied", "client", CLIENTS).may_be_gone(),
    rule("client.revoked", "client", CLIENTS)
        .ends("revoked", REVOKED)
        .may_be_gone(),
    // By itself, before anybody let it in.
    rule("client.removed", "client", CLIENTS)
        .ends("removed", &[])
        .may_be_gone(),
    rule("session.opened", "session", SESSIONS).may_be_gone(),
    rule("session.revoked", "session", SESSIONS)
        .ends("revoked", REVOKED)
        .may_be_gone(),
    rule("approval.requested", "approval", APPROVALS).may_be_gone(),
    rule("approval.approved", "approval", APPROVALS)
        .ends("approved", &["approved", "used"])
        .may_be_gone(),
    rule("approval.denied", "approval", APPROVALS)
        .ends("denied", &["denied"])
        .may_be_gone(),
    rule("decision", "approval", APPROVALS)
        .ends("used", &["used"])
        .may_be_gone(),
    rule("webhook.deleted", "webhook", WEBHOOKS)
        .ends("deleted", &[])
        .may_be_gone(),
];

/// The tables of which records are compared one by one.
pub(super) const COMPARED: [Table<'static>; 7] = [
    OPERATOR_KEYS,
    GRANTS,
    TOOL_SERVERS,
    CLIENTS,
    SESSIONS,
    APPROVALS,
    WEBHOOKS,
];

/// The tables of which every row was made by an act on record, which names it.
pub(super) const BORN_ON_RECORD: [Table<'static>; 5] =
    [OPERATOR_KEYS, TOOL_SERVERS, CLIENTS, SESSIONS, APPROVALS];

/// Acts that each revoke something at least once; those that revoke more than that say how many.
const REVOKING: [&str; 14] = [
    "agent.revoked",
    "agent.suspended",
    "client.revoked",
    "client.rotated",
    "delegation.revoked",
    "key.configured",
    "key.revoked",
    "key.suspended",
    "key.updated",
    "resource.revoked",
    "resource.updated",
    "session.revoked",
    "user.banned",
    "user.deleted",
];

/// What one record says of other rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Testimony {
    pub(super) fate: Option<Fate>,
    /// The epoch and the number of the last revocation that a decision knew of.
    knew: Option<(u64, u64)>,
    /// How many revocations it tells of, at least.
    revocations: u64,
}

/// What became of one row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fate {
    rule: &'static Rule,
    pub(super) id: String,
    ends_at: Option<Timestamp>,
    is_for_token: bool,
}

impl Testimony {
    /// Reads the body of a record.
    pub(super) fn of(body: &Map<String, Value>) -> Result<Self, Wrong> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let knew = body.get("revocationHead").map(knew).transpose()?;
        if text("outcome") != "allowed" {
            return Ok(Self {
                knew,
                ..Self::default()
            });
        }
        let kind = text("kind");
        let details = body.get("details");
        let said = details.and_then(|details| details.get("revocations")?.as_u64());
        Ok(Self {
            fate: fate(kind, details),
            knew,
            revocations: said.unwrap_or(u64::from(REVOKING.contains(&kind))),
        })
    }
}

fn knew(head: &Value) -> Result<(u64, u64), Wrong> {
    let number = |name: &str| head.get(name).and_then(Value::as_u64);
    number("epoch")
        .zip(number("rseq"))
        .ok_or_else(|| "`revocationHead` of its body cannot be read".to_owned())
}

fn fate(kind: &str, details: Option<&Value>) -> Option<Fate> {
    let rule = RULES.iter().find(|rule| rule.kind == kind)?;
    let details = details?;
    let text = |member: &str| details.get(member).and_then(Value::as_str);
    Some(Fate {
        rule,
        id: text(rule.member)?.to_owned(),
        ends_at: text("expiresAt").and_then(|text| text.parse().ok()),
        is_for_token: text("audience").is_some(),
    })
}

/// Holds the records against the revocation log of the file, whose end could have been cut off.
#[derive(Debug, Default)]
pub(super) struct RevocationWitness {
    told: u64,
}

impl RevocationWitness {
    /// Takes what one more record says.
    pub(super) fn take(
        &mut self,
        testimony: &Testimony,
        (epoch, head): (u64, LogHead),
    ) -> Result<(), Wrong> {
        self.told = self.told.saturating_add(testimony.revocations);
        let (known_epoch, known) = testimony.knew.unwrap_or_default();
        let least = known.max(self.told);
        if least > head.rseq {
            return Err(format!(
                "by this record there are {least} revocations, and the file has {}: some were cut off",
                head.rseq
            ));
        }
        if known_epoch > epoch {
            return Err(format!(
                "it was decided in the epoch {known_epoch}, and the file says that it is {epoch}"
            ));
        }
        Ok(())
    }
}

impl Fate {
    /// Where the row stands.
    pub(super) fn table(&self) -> &'static Table<'static> {
        &self.rule.table
    }

    /// Whether it is that the row was made.
    pub(super) fn is_birth(&self) -> bool {
        self.rule.since.is_none()
    }

    /// Says what is wrong with a row that is not there, in a file whose log ends at this time.
    ///
    /// INVARIANT: that time is at most a day from now, so a row that may be missing is over by our clock too: to leave it
    /// out takes nothing from anybody, and brings nothing back, since what was killed stands in the revocation log.
    pub(super) fn check_absence(&self, file_ends: Timestamp) -> Result<(), Wrong> {
        let known_until = self.ends_at.map(|end| end.plus(TOKEN_GRANTS_KNOWN));
        let is_over = known_until.is_some_and(|known| known <= file_ends);
        let may_be_gone = match self.rule.absence {
            Absence::Usual => true,
            Absence::Wrong => false,
            Absence::OfToken => is_over && self.is_for_token,
            Absence::OnceOver => is_over,
        };
        if may_be_gone {
            return Ok(());
        }
        Err(format!(
            "it says that a {} was {}, which is not in the file",
            self.rule.table.kind, self.rule.deed
        ))
    }

    /// Says what is wrong with the row.
    pub(super) fn check(&self, state: &State) -> Result<(), Wrong> {
        let status = state.status.as_str();
        if self.rule.since.is_none_or(|since| since.contains(&status)) {
            return Ok(());
        }
        // One of a few words: rows are checked before records.
        Err(format!(
            "the records say that it was {}, and it is `{status}`",
            self.rule.deed
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn testimony(body: Value) -> Testimony {
        match body {
            Value::Object(members) => Testimony::of(&members).unwrap(),
            _ => unreachable!("a body is an object"),
        }
    }

    /// When the log of the file ends.
    const LAST: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn state(status: &str) -> State {
        State {
            id: "x".to_owned(),
            status: status.to_owned(),
            key: Vec::new(),
        }
    }

    #[test]
    fn an_end_is_told_by_the_record_of_an_act_that_was_done_and_by_no_other() {
        let body = |kind: &str, outcome: &str| json!({"kind": kind, "outcome": outcome, "details": {"key": "x"}});
        let done = testimony(body("key.revoked", "allowed")).fate.unwrap();
        assert!(done.check(&state("revoked")).is_ok());
        assert!(done.check(&state("active")).is_err() && done.check_absence(LAST).is_err());
        // The twins: an attempt that was refused, and another kind.
        assert_eq!(testimony(body("key.revoked", "denied")).fate, None);
        assert_eq!(testimony(body("key.listed", "allowed")).fate, None);
        let made = testimony(body("key.created", "allowed")).fate.unwrap();
        assert!(made.check(&state("active")).is_ok() && made.check_absence(LAST).is_err());
    }

    #[test]
    fn what_is_forgotten_after_a_while_may_be_missing_and_what_is_deleted_must_be() {
        let used = json!({"kind": "decision", "outcome": "allowed", "details": {"approval": "x"}});
        let used = testimony(used).fate.unwrap();
        assert!(used.check(&state("used")).is_ok() && used.check_absence(LAST).is_ok());
        assert!(used.check(&state("approved")).is_err());
        let deleted =
            json!({"kind": "webhook.deleted", "outcome": "allowed", "details": {"webhook": "x"}});
        let deleted = testimony(deleted).fate.unwrap();
        assert!(deleted.check(&state("active")).is_err() && deleted.check_absence(LAST).is_ok());
    }

    #[test]
    fn a_grant_may_be_missing_only_if_it_was_for_a_token_and_has_been_over_for_long() {
        let known = TOKEN_GRANTS_KNOWN;
        let of = |kind: &str, audience: Option<&str>, end: Option<Timestamp>| {
            let mut details = json!({"grant": "x", "expiresAt": end});
            if let Some(audience) = audience {
                details["audience"] = json!(audience);
            }
            let body = json!({"kind": kind, "outcome": "allowed", "details": details});
            let fate = testimony(body).fate.unwrap();
            fate.check_absence(LAST).is_ok()
        };
        let created = |audience, end| of("delegation.created", audience, end);
        let (long_over, just_over) = (
            LAST.minus(known),
            LAST.minus(known).plus(Duration::from_micros(1)),
        );
        let token = Some("https://tools.example.com");
        assert!(created(token, Some(long_over)));
        // The twins: one that a day has not passed for, one that lives, one without an end, and one for no token.
        assert!(!created(token, Some(just_over)));
        assert!(!created(token, Some(LAST.plus(known))));
        assert!(!created(token, None));
        assert!(!created(None, Some(long_over)));
        // That it was revoked is told without the token; that it was made is, too, by a record of its own.
        assert!(of("delegation.revoked", None, Some(long_over)));
        assert!(!of("delegation.revoked", None, Some(just_over)));
    }

    #[test]
    fn a_revocation_log_is_at_least_as_long_as_the_records_know() {
        let head = |rseq| {
            (
                1,
                LogHead {
                    rseq,
                    rhash: [0; 32],
                },
            )
        };
        let knew = |epoch: u64, rseq: u64| {
            let head = json!({"epoch": epoch, "rseq": rseq});
            testimony(json!({"kind": "decision", "outcome": "denied", "revocationHead": head}))
        };
        let mut witness = RevocationWitness::default();
        assert!(witness.take(&knew(1, 5), head(5)).is_ok());
        assert!(witness.take(&knew(1, 5), head(4)).is_err());
        assert!(witness.take(&knew(2, 5), head(5)).is_err());
        // What was revoked after the last decision is counted.
        let act = testimony(json!({"kind": "user.banned", "outcome": "allowed"}));
        let mut witness = RevocationWitness::default();
        assert!(witness.take(&act, head(2)).is_ok());
        assert!(witness.take(&act, head(2)).is_ok());
        assert!(witness.take(&act, head(2)).is_err());
    }

    #[test]
    fn every_rule_is_about_a_table_that_is_compared() {
        for rule in &RULES {
            assert!(COMPARED.contains(&rule.table), "{}", rule.kind);
        }
    }
}
