//! What a token claims, in words: for programs as members, for people as lines.

use std::time::Duration;

use kavachos_core::time::Timestamp;
use kavachos_core::token::Purpose;
use serde_json::{Map, Value, json};

use super::jwt::Jwt;
use crate::failure::Failure;
use crate::view;

/// The members of what is told of a token.
pub(super) const MEMBERS: [&str; 22] = [
    "kind",
    "typ",
    "algorithm",
    "kid",
    "id",
    "issuer",
    "audience",
    "human",
    "agent",
    "chain",
    "depth",
    "maxDepth",
    "scopes",
    "resources",
    "permissions",
    "guards",
    "reason",
    "issuedAt",
    "expiresAt",
    "boundTo",
    "epoch",
    "claims",
];
/// What the tokens that carry authority must say to be told of.
const DUE: [&str; 12] = [
    "iss",
    "aud",
    "sub",
    "client_id",
    "act",
    "authorization_details",
    "dlg",
    "ep",
    "rsn",
    "iat",
    "exp",
    "jti",
];
/// More agents than a chain has.
const MAX_HOPS: usize = 64;
const MICROS: i64 = 1_000_000;

/// What a token claims.
pub(super) fn of(jwt: &Jwt) -> Result<Map<String, Value>, Failure> {
    let mut facts = Map::new();
    let mut tell = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    tell("kind", kind(jwt.purpose).0.into());
    tell("typ", jwt.purpose.typ().into());
    tell("algorithm", jwt.header_text("alg").into());
    tell("kid", jwt.header_text("kid").into());
    match jwt.purpose {
        Purpose::Proof | Purpose::FeedHead | Purpose::Assertion | Purpose::FeedKeys => {
            tell("claims", Value::Object(jwt.claims.clone()));
        }
        Purpose::Leaf | Purpose::Root => facts.extend(authority(&jwt.claims)?),
    }
    Ok(facts)
}

/// The name of a kind of token, and what it is.
const fn kind(purpose: Purpose) -> (&'static str, &'static str) {
    match purpose {
        Purpose::Leaf => ("leaf", "what an agent shows to one tool server"),
        Purpose::Root => (
            "root",
            "for its issuer alone, to get tokens for tool servers",
        ),
        Purpose::Proof => ("proof", "says that the sender of one request holds a key"),
        Purpose::FeedHead => ("feed_head", "how far a log of revocations goes"),
        Purpose::Assertion => (
            "assertion",
            "says to a server behind a proxy who makes one call",
        ),
        Purpose::FeedKeys => (
            "feed_keys",
            "names the keys that heads of a log of revocations are signed with",
        ),
    }
}

fn authority(claims: &Map<String, Value>) -> Result<Map<String, Value>, Failure> {
    if let Some(missing) = DUE.iter().find(|name| !claims.contains_key(**name)) {
        return Err(Failure::Token(format!(
            "the token is none of ours, whatever its `typ` says: its claims have no `{missing}`"
        )));
    }
    let all = Value::Object(claims.clone());
    let at = |pointer: &str| all.pointer(pointer).cloned().unwrap_or_default();
    let time = |pointer: &str| all.pointer(pointer).map_or(Value::Null, time);
    let scopes = at("/scope");
    let scopes = scopes
        .as_str()
        .map(|text| text.split(' ').collect::<Vec<_>>());
    let facts = json!({
        "id": at("/jti"), "issuer": at("/iss"), "audience": at("/aud"), "human": at("/sub"), "agent": at("/client_id"),
        "chain": chain(&all), "depth": at("/dlg/d"), "maxDepth": at("/dlg/m"), "scopes": scopes,
        "resources": at("/res"), "permissions": at("/authorization_details/0/permissions"),
        "guards": at("/authorization_details/0/guards"), "reason": at("/rsn"), "issuedAt": time("/iat"),
        "expiresAt": time("/exp"), "boundTo": bound_to(&all), "epoch": at("/ep"),
    });
    match facts {
        Value::Object(facts) => Ok(facts),
        _ => Ok(Map::new()),
    }
}

/// The agents from the human down, each with the end of its grant. The token names the last one outermost.
fn chain(claims: &Value) -> Value {
    let agents = std::iter::successors(claims.get("act"), |actor| actor.get("act"));
    let mut agents: Vec<&Value> = agents
        .take(MAX_HOPS)
        .filter_map(|actor| actor.get("sub"))
        .collect();
    agents.reverse();
    let hops = agents.into_iter().enumerate().map(|(depth, agent)| {
        let end = claims.pointer(&format!("/dlg/ch/{depth}/exp"));
        json!({ "agent": agent, "depth": depth, "expiresAt": end.map_or(Value::Null, time) })
    });
    hops.collect()
}

/// The thumbprint of the key that a leaf is bound to, or the key of a root.
fn bound_to(claims: &Value) -> Value {
    let bound = claims
        .pointer("/cnf/jkt")
        .or_else(|| claims.pointer("/cnf/jwk"));
    bound.cloned().unwrap_or_default()
}

/// Seconds as a time.
fn time(seconds: &Value) -> Value {
    let seconds = seconds.as_i64();
    seconds.map_or(Value::Null, |seconds| {
        let time = Timestamp::from_micros(seconds.saturating_mul(MICROS));
        time.to_string().into()
    })
}

/// A label and its lines.
type Row = (String, Vec<String>);

/// The same for people.
pub(super) fn lines(jwt: &Jwt, facts: &Map<String, Value>, now: Timestamp) -> Vec<String> {
    let (name, about) = kind(jwt.purpose);
    let fact = |name: &str| word(facts.get(name).unwrap_or(&Value::Null));
    let mut rows: Vec<Row> = vec![
        ("kind".to_owned(), vec![format!("{name}: {about}")]),
        (
            "signed".to_owned(),
            vec![format!(
                "{} with the key {}",
                fact("algorithm"),
                fact("kid")
            )],
        ),
    ];
    match facts.get("claims") {
        Some(Value::Object(claims)) => {
            let named = claims.iter();
            rows.extend(named.map(|(name, value)| (name.clone(), view::lines(value))));
        }
        _ => rows.extend(authority_rows(facts, now)),
    }
    view::pairs(&rows)
}

fn authority_rows(facts: &Map<String, Value>, now: Timestamp) -> Vec<Row> {
    let fact = |name: &str| facts.get(name).unwrap_or(&Value::Null);
    let plain = |name: &&str| ((*name).to_owned(), view::lines(fact(name)));
    let row = |label: &str, value: String| (label.to_owned(), vec![value]);
    let hops = fact("chain").as_array().map_or(&[][..], Vec::as_slice);
    let (depth, most) = (word(fact("depth")), word(fact("maxDepth")));
    let limits = ["scopes", "resources", "permissions", "guards"];
    let limits = limits.iter().filter(|name| !fact(name).is_null());
    let names = ["id", "issuer", "audience", "human", "agent"];
    let mut rows: Vec<Row> = names.iter().map(plain).collect();
    rows.push(("chain".to_owned(), hops.iter().map(hop).collect()));
    rows.push(row("depth", format!("{depth} of at most {most}")));
    rows.extend(limits.map(plain));
    rows.push(row("reason", word(fact("reason"))));
    rows.push(row("issued at", away(fact("issuedAt"), now)));
    rows.push(row("expires at", away(fact("expiresAt"), now)));
    rows.push(row("bound", bound(fact("boundTo"))));
    rows
}

fn hop(hop: &Value) -> String {
    let part = |name: &str| hop.get(name).unwrap_or(&Value::Null);
    let end = match part("expiresAt") {
        Value::Null => "without an end of its own".to_owned(),
        end => format!("until {}", word(end)),
    };
    format!("{} {} {end}", word(part("depth")), word(part("agent")))
}

fn bound(key: &Value) -> String {
    match key {
        Value::Null => "to no key: whoever has it can use it".to_owned(),
        key => format!("to the key {}: shown with a proof of it (DPoP)", word(key)),
    }
}

fn word(value: &Value) -> String {
    view::lines(value).join("; ")
}

/// A time, and how far away it is.
fn away(time: &Value, now: Timestamp) -> String {
    let text = word(time);
    match text.parse::<Timestamp>() {
        Ok(time) if time > now => format!("{text} (in {})", span(time.since(now))),
        Ok(time) => format!("{text} ({} ago)", span(now.since(time))),
        Err(_) => text,
    }
}

/// A length of time in its two largest units.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (299, "4 min 59 s"),
            (3_660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn how_far_away_a_time_is_depends_on_the_side() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * MICROS);
        assert!(away(&time(&json!(300)), at(1)).ends_with("(in 4 min 59 s)"));
        assert!(away(&time(&json!(300)), at(301)).ends_with("(1 s ago)"));
    }

    #[test]
    fn a_chain_is_told_from_the_human_down() {
        let claims = json!({
            "act": { "sub": "last", "act": { "sub": "first" } },
            "dlg": { "ch": [{}, { "exp": 60 }] },
        });
        let told = chain(&claims);
        assert_eq!(told.pointer("/0/agent"), Some(&json!("first")));
        assert_eq!(told.pointer("/0/expiresAt"), Some(&Value::Null));
        assert_eq!(told.pointer("/1/agent"), Some(&json!("last")));
        assert_eq!(told.pointer("/1/expiresAt"), Some(&time(&json!(60))));
    }
}
