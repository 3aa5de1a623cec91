//! Times, permissions, devices and records in the words of people.

use std::collections::HashMap;

use kavachos_core::constraint::Constraints;
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::time::Timestamp;
use kavachos_engine::AuditRecord;
use serde_json::Value;

use super::failure::sentence;
use super::view::{Can, Chip, Event, Icon, Time};

/// How many permissions are told before the rest is counted.
pub(super) const MOST_TOLD: usize = 12;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A time, seen from now.
pub(super) fn time(at: Timestamp, now: Timestamp) -> Time {
    let past = now.since(at).as_secs();
    let words = if at > now {
        date(at)
    } else if past < MINUTE {
        "just now".to_owned()
    } else if past < HOUR {
        counted(past / MINUTE, "minute") + " ago"
    } else if past < DAY {
        counted(past / HOUR, "hour") + " ago"
    } else {
        date(at)
    };
    Time {
        machine: at.to_string(),
        words,
    }
}

/// A day and the time of day. Where the reader lives is not known, so the zone is said.
pub(super) fn date(at: Timestamp) -> String {
    at.to_jiff().strftime("%-d %B %Y, %H:%M UTC").to_string()
}

/// The time of day.
pub(super) fn clock(at: Timestamp) -> String {
    at.to_jiff().strftime("%H:%M:%S UTC").to_string()
}

/// So many of something.
pub(super) fn counted(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// What permissions allow, and how many are not told.
pub(super) fn permissions(set: &PermissionSet) -> (Vec<Can>, usize) {
    let told = set
        .iter()
        .take(MOST_TOLD)
        .map(|one| permission(one))
        .collect();
    (told, set.iter().count().saturating_sub(MOST_TOLD))
}

fn permission(one: &Permission) -> Can {
    let names: Vec<&str> = one.actions().names().collect();
    let actions = match names.as_slice() {
        ["*"] => "anything".to_owned(),
        names => names.join(", "),
    };
    Can {
        actions,
        resource: one.resource().as_str().to_owned(),
        terms: one.constraints().map(terms).unwrap_or_default(),
    }
}

/// Terms, each in a few words.
pub(super) fn terms(constraints: &Constraints) -> Vec<String> {
    let mut words = Vec::new();
    if constraints.approval().is_some() {
        words.push("asks you first".to_owned());
    }
    if let Some(rate) = constraints.rate() {
        words.push(format!(
            "at most {} in {}",
            rate.limit(),
            period(u64::from(rate.per_seconds()))
        ));
    }
    if let Some(budget) = constraints.budget() {
        words.push(format!(
            "at most {} {} in all",
            budget.amount(),
            budget.unit().as_str()
        ));
    }
    let written = serde_json::to_value(constraints).unwrap_or_default();
    let others = [
        ("timeWindow", "at certain times"),
        ("ipAllowlist", "from certain addresses"),
        ("args", "with certain arguments"),
        ("allowedArgPatterns", "with certain arguments"),
        ("notBefore", "not before a certain day"),
        ("expiresAt", "until a certain day"),
    ];
    let others = others
        .iter()
        .filter(|(name, _)| written.get(name).is_some());
    words.extend(others.map(|(_, told)| (*told).to_owned()));
    words.dedup();
    words
}

fn period(seconds: u64) -> String {
    match seconds {
        MINUTE => "a minute".to_owned(),
        HOUR => "an hour".to_owned(),
        DAY => "a day".to_owned(),
        seconds if seconds % HOUR == 0 => counted(seconds / HOUR, "hour"),
        seconds if seconds % MINUTE == 0 => counted(seconds / MINUTE, "minute"),
        seconds => counted(seconds, "second"),
    }
}

/// The state of an agent or a grant.
pub(super) fn status(status: &str) -> Chip {
    match status {
        "active" => Chip::new("active", "ok"),
        "suspended" => Chip::new("suspended", "warn"),
        "expired" => Chip::new("expired", ""),
        "revoked" => Chip::new("stopped", "bad"),
        other => Chip::new(other, ""),
    }
}

/// The state of a request for approval.
pub(super) fn stage(status: &str) -> Chip {
    match status {
        "pending" => Chip::new("waiting for you", "accent"),
        "approved" => Chip::new("approved", "ok"),
        "used" => Chip::new("approved and done", "ok"),
        "denied" => Chip::new("denied", "bad"),
        "expired" => Chip::new("not answered in time", ""),
        _ => Chip::new("taken back", "warn"),
    }
}

/// What a browser calls itself, in two words.
pub(super) fn device(user_agent: &str) -> (String, bool) {
    let has = |word: &str| user_agent.contains(word);
    let browser = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    let system = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "a Mac"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let browser = browser
        .iter()
        .find(|(word, _)| has(word))
        .map(|(_, name)| *name);
    let system = system
        .iter()
        .find(|(word, _)| has(word))
        .map(|(_, name)| *name);
    let words = match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) if user_agent.is_empty() => "Unknown device".to_owned(),
        (None, None) => user_agent.chars().take(MOST_CHARS).collect(),
    };
    (words, has("iPhone") || has("Android") || has("Mobile"))
}

/// How somebody signed in, by the names of the methods.
pub(super) fn methods(methods: &str) -> String {
    let word = |method: &str| match method {
        "email_password" | "username_password" | "password" => "a password".to_owned(),
        "magic_link" => "a link by mail".to_owned(),
        "email_otp" => "a code by mail".to_owned(),
        "passkey" => "a passkey".to_owned(),
        "totp" => "a code of an app".to_owned(),
        other => other.replace('_', " "),
    };
    let all: Vec<String> = methods.split('+').map(word).collect();
    all.join(" and ")
}

/// How much of a text of somebody else's stands where a name does.
const MOST_CHARS: usize = 60;

/// Who is called how in records.
pub(super) struct Names {
    /// The reader: under their own id, and under the name that records have for them.
    pub(super) me: [String; 2],
    /// Agents, by their ids.
    pub(super) agents: HashMap<String, String>,
}

impl Names {
    fn own(&self) -> &str {
        let [id, _] = &self.me;
        id
    }

    fn of(&self, id: &str) -> (String, Option<String>) {
        if self.me.iter().any(|me| me == id) {
            return ("You".to_owned(), None);
        }
        if let Some(name) = self.agents.get(id) {
            return (name.clone(), Some(format!("/account/agents/{id}")));
        }
        let kind = id.split('_').next().unwrap_or_default();
        let words = match kind {
            "agent" => "An agent",
            "key" => "Whoever runs this server",
            "resource" | "server" => "A tool server",
            "user" => "Somebody else",
            "stranger" => "Somebody unknown",
            _ => "The server",
        };
        (words.to_owned(), None)
    }
}

/// A record in words.
pub(super) fn event(record: &AuditRecord, names: &Names, now: Timestamp) -> Event {
    let text = |name: &str| {
        record
            .members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let kind = text("kind");
    let is_decision = kind == "decision";
    let allowed = text("outcome") == "allowed";
    let actor = if is_decision && !text("agent").is_empty() {
        text("agent")
    } else {
        text("actor")
    };
    // Nobody is signed in yet who signs in: what came of it was theirs.
    let is_arrival = matches!(actor, "system" | "stranger") && allowed && is_own(kind);
    let (who, href) = names.of(if is_arrival { names.own() } else { actor });
    let (icon, tone, did) = if is_decision {
        decided(text("code"), allowed)
    } else {
        acted(kind, allowed)
    };
    let object = (!is_decision && text("agent") != actor)
        .then(|| names.agents.get(text("agent")))
        .flatten();
    let did = object.map_or_else(|| did.clone(), |name| format!("{did}: {name}"));
    let why = if allowed { "" } else { text("reason") };
    let at = text("time").parse().unwrap_or(now);
    Event {
        icon,
        tone,
        who,
        href,
        did,
        action: text("action").to_owned(),
        resource: text("resource").to_owned(),
        why: if why.is_empty() {
            String::new()
        } else {
            sentence(why)
        },
        at: time(at, now),
        facts: facts(record, at),
    }
}

/// By whose word an application is what it says.
pub(super) fn said_by(source: &str, host: Option<&str>) -> String {
    match (source, host) {
        ("operator", _) => "registered by whoever runs this server".to_owned(),
        ("document", Some(host)) => format!("by the word of {host}"),
        _ => "registered by itself: nobody looked at it".to_owned(),
    }
}

/// Kinds of what people do with their own account.
fn is_own(kind: &str) -> bool {
    ![
        "agent",
        "delegation",
        "approval",
        "token",
        "decision",
        "connection",
    ]
    .contains(&kind.split('.').next().unwrap_or_default())
}

fn decided(code: &str, allowed: bool) -> (Icon, &'static str, String) {
    match (allowed, code) {
        (true, _) => (Icon::Check, "ok", "was allowed to".to_owned()),
        (false, "approval_required") => (Icon::Shield, "warn", "asked you to let it".to_owned()),
        (false, "approval_pending") => (
            Icon::Clock,
            "warn",
            "still waits for you to let it".to_owned(),
        ),
        (false, _) => (Icon::Cross, "bad", "was refused to".to_owned()),
    }
}

fn acted(kind: &str, allowed: bool) -> (Icon, &'static str, String) {
    let (icon, tone, words) = match kind {
        // These are done, also where the record says that somebody was kept out.
        "connection.denied" => {
            return (Icon::Cross, "", "did not let an application in".to_owned());
        }
        "connection.line_ended" => {
            let words = "ended one line of an application";
            return (Icon::Stop, "warn", words.to_owned());
        }
        "connection.consented" => (Icon::Link, "accent", "let an application in"),
        "connection.consent_withdrawn" => (Icon::Link, "", "will be asked again by an application"),
        "connection.token_given_back" => (Icon::Key, "", "gave a token back"),
        "agent.created" => (Icon::Plus, "accent", "created an agent"),
        "agent.revoked" => (Icon::Stop, "bad", "stopped an agent"),
        "agent.suspended" => (Icon::Pause, "warn", "suspended an agent"),
        "agent.resumed" => (Icon::Check, "ok", "let an agent go on"),
        "agent.rotated" => (Icon::Key, "", "gave an agent a new key"),
        "agent.updated" => (Icon::Agent, "", "changed an agent"),
        "delegation.created" => (Icon::Link, "", "handed authority on"),
        "delegation.revoked" => (Icon::Stop, "bad", "took authority back"),
        "approval.approved" => (Icon::Check, "ok", "approved, once, to"),
        "approval.denied" => (Icon::Cross, "bad", "denied to"),
        "totp.set_up" => (Icon::Phone, "", "began with codes from an app"),
        "totp.enabled" => (Icon::Phone, "ok", "switched codes from an app on"),
        "totp.disabled" => (Icon::Phone, "warn", "switched codes from an app off"),
        "totp.backup_codes_made" => (Icon::Key, "", "made new backup codes"),
        "totp.verified" => (Icon::Phone, "", "gave the code of the second step"),
        "totp.confirmed" | "session_freshness.confirmed" => {
            (Icon::Lock, "", "confirmed who is there")
        }
        "passkey.asked" => (Icon::Finger, "", "was asked for a passkey"),
        "passkey.answered" => (Icon::Finger, "", "showed a passkey"),
        "passkey.registered" => (Icon::Finger, "ok", "added a passkey"),
        "passkey.renamed" => (Icon::Finger, "", "renamed a passkey"),
        "passkey.removed" => (Icon::Finger, "warn", "removed a passkey"),
        "passkey.used" => (Icon::Finger, "", "signed in with a passkey"),
        "email_password.password_changed" => (Icon::Key, "warn", "changed the password"),
        "password_reset.sent" => (Icon::Mail, "", "asked for a way to a new password"),
        "password_reset.reset" => (Icon::Key, "warn", "chose a new password by mail"),
        "session.opened" => (Icon::Person, "", "signed in"),
        "session.revoked" => (Icon::Leave, "", "signed out"),
        "approval.requested" => (Icon::Shield, "warn", "asked for your approval to"),
        "token.issued" => (Icon::Key, "", "got a token"),
        "user.email_verified" => (Icon::Mail, "ok", "verified the address"),
        "user.signed_out" => (Icon::Leave, "", "signed out everywhere"),
        "user.created" => (Icon::Person, "accent", "created the account"),
        other => {
            let words = other.replace(['.', '_'], " ");
            let words = words.chars().take(MOST_CHARS).collect();
            return if allowed {
                (Icon::Activity, "", words)
            } else {
                (Icon::Cross, "bad", words)
            };
        }
    };
    if allowed {
        (icon, tone, words.to_owned())
    } else {
        (Icon::Cross, "bad", format!("was refused: {words}"))
    }
}

fn facts(record: &AuditRecord, at: Timestamp) -> Vec<(&'static str, String)> {
    let members = [
        ("Code", "code"),
        ("Agent", "agent"),
        ("Address", "ip"),
        ("Device", "userAgent"),
        ("Request", "requestId"),
        ("Record", "id"),
    ];
    let text = |name: &str| record.members.get(name).and_then(Value::as_str);
    let mut facts = vec![("Time", date(at))];
    facts.extend(
        members
            .iter()
            .filter_map(|(label, name)| Some((*label, text(name)?.to_owned()))),
    );
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_is_told_as_people_tell_it() {
        let now = at("2026-11-21T23:00:00Z");
        for (then, words) in [
            ("2026-11-21T23:00:00Z", "just now"),
            ("2026-11-21T22:59:00Z", "1 minute ago"),
            ("2026-11-21T21:00:00Z", "2 hours ago"),
            ("2026-11-19T09:05:00Z", "19 November 2026, 09:05 UTC"),
            ("2026-12-03T09:05:00Z", "3 December 2026, 09:05 UTC"),
        ] {
            assert_eq!(time(at(then), now).words, words);
        }
    }

    #[test]
    fn a_browser_is_known_by_two_words() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36";
        assert_eq!(device(chrome), ("Chrome on Linux".to_owned(), false));
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1";
        assert_eq!(device(phone), ("Safari on iPhone".to_owned(), true));
        assert_eq!(device("").0, "Unknown device");
        assert_eq!(device(&"x".repeat(500)).0.len(), MOST_CHARS);
    }
}
