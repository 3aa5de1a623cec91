//! What the issuer says to a server behind a proxy about one call that it let through (`kvp+jwt`).
//!
//! A server that believes headers believes whoever reaches it. With this one it need not: the header is signed by the
//! issuer, made out to its tool server, names the call byte for byte and lives seconds. It is no token: nothing takes it
//! in place of one, and it permits nothing but the call that it names.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CLOCK_SKEW;
use super::claims::{Seconds, whole_second};
use super::failure::{Code, Failure};
use super::jws::{self, Purpose};
use super::key::SigningKey;
use super::key_set::KeySet;
use super::name::{Issuer, Subject};
use crate::id::{AgentId, AuditId};
use crate::time::Timestamp;
use crate::tool_server::Audience;

/// How long an assertion lives.
pub const ASSERTION_LIFE: Duration = Duration::from_secs(30);
/// The longest method and host that one is made for, together in bytes. Proxies take headers of some kilobytes.
const MAX_NAMED_BYTES: usize = 512;
/// The most agents above the one that calls: no path is deeper.
const MAX_ABOVE: usize = 32;

/// A call, as its proxy describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertedCall {
    /// The method, in capitals.
    pub method: String,
    /// The host, with the port if the client named one.
    pub host: String,
    /// Path and query, byte for byte.
    pub uri: String,
}

/// That a call was allowed, and who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// Who allowed it.
    pub issuer: Issuer,
    /// The tool server before which the proxy stands.
    pub audience: Audience,
    /// The human for whom the agent acts, by the name that the proxy is told.
    pub subject: Subject,
    /// The agent that calls.
    pub agent: AgentId,
    /// The agents above it, from the human down.
    pub chain: Vec<AgentId>,
    /// What was allowed.
    pub call: AssertedCall,
    /// The record of the decision.
    pub audit: AuditId,
    /// When it was allowed; whole seconds count.
    pub issued_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: Issuer,
    aud: Audience,
    sub: Subject,
    agent: AgentId,
    chain: Vec<AgentId>,
    htm: String,
    host: String,
    /// The SHA-256 of path and query: as they are they may be longer than a header.
    uh: String,
    audit: AuditId,
    iat: Seconds,
    exp: Seconds,
}

impl Assertion {
    /// The signed text.
    ///
    /// # Errors
    /// The call is too long for a header.
    pub fn sign(&self, key: &SigningKey) -> Result<String, Failure> {
        let AssertedCall { method, host, uri } = &self.call;
        let named = method.len().saturating_add(host.len());
        if named > MAX_NAMED_BYTES || self.chain.len() > MAX_ABOVE {
            return Err(Failure::malformed(
                "the call is too long to be named in a header",
            ));
        }
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: self.subject.clone(),
            agent: self.agent,
            chain: self.chain.clone(),
            htm: method.clone(),
            host: host.clone(),
            uh: hash_of(uri),
            audit: self.audit,
            iat: Seconds(whole_second(self.issued_at)),
            exp: Seconds(whole_second(self.issued_at).plus(ASSERTION_LIFE)),
        };
        Ok(jws::sign(Purpose::Assertion, &claims, key))
    }

    /// Reads what an issuer says about a call that has arrived here now, and checks that it is this call.
    ///
    /// # Errors
    /// As [`super::Leaf::open`]: form, type, algorithm, key, signature, claims; then [`Code::AudienceMismatch`] for
    /// another tool server, [`Code::NotYetValid`] and [`Code::Expired`], and [`Code::ProofInvalid`] for another call.
    pub fn check(
        text: &str,
        (issuer, audience): (&Issuer, &Audience),
        keys: &KeySet,
        call: &AssertedCall,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let claims: Claims = jws::split(text, Purpose::Assertion)?.open(keys)?;
        if claims.iss != *issuer {
            return Err(Failure::malformed("the assertion names another issuer"));
        }
        if claims.aud != *audience {
            return Err(Failure::new(
                Code::AudienceMismatch,
                "the assertion is for another tool server",
            ));
        }
        let (made, ends) = (claims.iat.0, claims.exp.0);
        if ends.since(made) > ASSERTION_LIFE || ends <= made {
            return Err(Failure::malformed("an assertion lives 30 seconds at most"));
        }
        if made > now.plus(CLOCK_SKEW) {
            let message = "the assertion was made in the future";
            return Err(Failure::new(Code::NotYetValid, message));
        }
        if ends <= now {
            return Err(Failure::new(Code::Expired, "the assertion is over"));
        }
        let named = (claims.htm, claims.host, claims.uh);
        let arrived = (call.method.clone(), call.host.clone(), hash_of(&call.uri));
        if named != arrived {
            let message = "the assertion names another call";
            return Err(Failure::new(Code::ProofInvalid, message));
        }
        Ok(Self {
            issuer: claims.iss,
            audience: claims.aud,
            subject: claims.sub,
            agent: claims.agent,
            chain: claims.chain,
            call: call.clone(),
            audit: claims.audit,
            issued_at: made,
        })
    }
}

/// How an assertion names a URL.
fn hash_of(uri: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(uri.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Algorithm;

    const NOW: Timestamp = Timestamp::from_micros(1_795_255_200_000_000);

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(Algorithm::Ed25519, &[byte; 32]).unwrap()
    }

    fn assertion() -> Assertion {
        Assertion {
            issuer: "https://auth.example.com".parse().unwrap(),
            audience: "https://api.example.com".parse().unwrap(),
            subject: "user_1".parse().unwrap(),
            agent: AgentId::from_bits(1),
            chain: vec![AgentId::from_bits(2)],
            call: AssertedCall {
                method: "GET".to_owned(),
                host: "api.example.com".to_owned(),
                uri: "/a?b=c".to_owned(),
            },
            audit: AuditId::from_bits(3),
            issued_at: NOW,
        }
    }

    fn check(text: &str, expected: &Assertion, after: i64) -> Result<Assertion, Code> {
        let keys = KeySet::new([key(1).public().clone()]).unwrap();
        let names = (&expected.issuer, &expected.audience);
        let now = Timestamp::from_micros(NOW.as_micros() + after * 1_000_000);
        Assertion::check(text, names, &keys, &expected.call, now).map_err(|failure| failure.code)
    }

    #[test]
    fn an_assertion_is_read_as_it_was_signed_for_thirty_seconds() {
        let text = assertion().sign(&key(1)).unwrap();
        for (after, expected) in [
            (-30, Ok(assertion())),
            (0, Ok(assertion())),
            (29, Ok(assertion())),
            (30, Err(Code::Expired)),
            (-31, Err(Code::NotYetValid)),
        ] {
            assert_eq!(check(&text, &assertion(), after), expected, "{after}");
        }
    }

    /// Each with its twin: the same assertion where it belongs.
    #[test]
    fn an_assertion_is_for_one_call_at_one_tool_server_by_one_issuer() {
        let change = |change: &dyn Fn(&mut Assertion)| {
            let mut changed = assertion();
            change(&mut changed);
            changed
        };
        let text = assertion().sign(&key(1)).unwrap();
        for (changed, code) in [
            (
                change(&|it| it.call.method = "POST".to_owned()),
                Code::ProofInvalid,
            ),
            (
                change(&|it| it.call.host = "b.example.com".to_owned()),
                Code::ProofInvalid,
            ),
            (
                change(&|it| it.call.uri = "/a?b=d".to_owned()),
                Code::ProofInvalid,
            ),
            (
                change(&|it| it.audience = "https://b.example.com".parse().unwrap()),
                Code::AudienceMismatch,
            ),
            (
                change(&|it| it.issuer = "https://b.example.com".parse().unwrap()),
                Code::Malformed,
            ),
        ] {
            assert_eq!(check(&text, &changed, 0), Err(code), "{changed:?}");
            let own = changed.sign(&key(1)).unwrap();
            assert_eq!(check(&own, &changed, 0), Ok(changed));
        }
    }

    #[test]
    fn another_key_or_purpose_is_refused_and_an_endless_name_is_not_signed() {
        let text = assertion().sign(&key(2)).unwrap();
        assert_eq!(check(&text, &assertion(), 0), Err(Code::UnknownKey));
        for purpose in [Purpose::Leaf, Purpose::Root, Purpose::FeedHead] {
            let text = jws::sign(purpose, &serde_json::json!({}), &key(1));
            assert_eq!(check(&text, &assertion(), 0), Err(Code::WrongType));
        }
        let mut long = assertion();
        long.call.uri = "/".repeat(4_096);
        assert!(long.sign(&key(1)).unwrap().len() < 1_024);
        long.call.host = "a".repeat(MAX_NAMED_BYTES);
        assert!(long.sign(&key(1)).is_err());
    }
}
