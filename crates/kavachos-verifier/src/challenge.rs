//! Challenges: how a caller learns which token to get, where, and with which scopes (RFC 6750, section 3; RFC 9449,
//! section 7.1; RFC 9728, section 5.1; the Model Context Protocol's authorization).

use http::HeaderValue;
use kavachos_core::resource::{Resource, ResourcePattern};
use kavachos_core::token::Code;
use kavachos_core::tool_server::Proof;

use crate::rejection::Cause;

/// The algorithms in which proofs are taken.
const ALGORITHMS: &str = "EdDSA ES256";

/// What all challenges of one tool server say.
#[derive(Debug, Clone)]
pub(crate) struct Challenger {
    metadata: String,
    scopes: Vec<ResourcePattern>,
    /// Those that a caller is told to begin with.
    first: Vec<ResourcePattern>,
    proof: Proof,
}

/// What another token must have, and the challenge that says so.
#[derive(Debug)]
pub(crate) struct Needed {
    pub(crate) scope: String,
    pub(crate) challenge: Option<HeaderValue>,
}

/// The members of one challenge, in order.
struct Members(String);

impl Members {
    fn push(&mut self, name: &str, value: &str) {
        self.0
            .push_str(if self.0.ends_with(' ') { "" } else { ", " });
        self.0.push_str(name);
        self.0.push_str("=\"");
        self.0.extend(value.chars().map(quotable));
        self.0.push('"');
    }
}

/// RFC 6750, section 3: what may stand in `error_description`. No `=`: clients look for `scope=` in the whole text.
fn quotable(c: char) -> char {
    match c {
        '"' | '\\' => '\'',
        '=' => ':',
        ' '..='~' => c,
        _ => '?',
    }
}

impl Challenger {
    /// For a tool server with its metadata here, these scopes, of which these are for a start, and this demand for
    /// proofs.
    pub(crate) fn new(
        metadata: String,
        scopes: Vec<ResourcePattern>,
        first: Vec<ResourcePattern>,
        proof: Proof,
    ) -> Self {
        Self {
            metadata,
            scopes,
            first,
            proof,
        }
    }

    /// The challenge for a refusal; `None` where no other token would help.
    pub(crate) fn challenge(&self, cause: Cause, message: &str) -> Option<HeaderValue> {
        let error = match cause {
            Cause::Unauthenticated => None,
            Cause::MalformedRequest => Some("invalid_request"),
            Cause::Token(Code::ProofInvalid | Code::ProofReplayed) => Some("invalid_dpop_proof"),
            Cause::Token(code) if code.status() == 401 => Some("invalid_token"),
            _ => return None,
        };
        self.write(cause, error.map(|error| (error, message)), &self.names())
    }

    /// The challenge for a proof without a nonce, or with another's.
    pub(crate) fn other_nonce(&self, message: &str) -> Option<HeaderValue> {
        let cause = Cause::Token(Code::ProofInvalid);
        self.write(cause, Some(("use_dpop_nonce", message)), &self.names())
    }

    /// What a call takes that the token does not permit: for each of its resources the narrowest scope, and the scopes of
    /// the token, so that the next one is not missing what this one had; none that another of them covers. `None` where
    /// no scope of this tool server would help.
    pub(crate) fn insufficient(
        &self,
        wanted: &[&Resource],
        held: &[ResourcePattern],
        message: &str,
    ) -> Option<Needed> {
        let asked: Option<Vec<_>> = wanted.iter().map(|one| self.narrowest(one)).collect();
        let held = held.iter().filter(|scope| self.scopes.contains(scope));
        let mut all: Vec<&ResourcePattern> = Vec::new();
        for scope in asked?.into_iter().chain(held) {
            if all.iter().any(|other| other.covers(scope)) {
                continue;
            }
            all.retain(|other| !scope.covers(other));
            all.push(scope);
        }
        if all.is_empty() {
            return None;
        }
        let names: Vec<&str> = all.into_iter().map(ResourcePattern::as_str).collect();
        let cause = Cause::Token(Code::InsufficientScope);
        Some(Needed {
            challenge: self.write(cause, Some(("insufficient_scope", message)), &names),
            scope: names.join(" "),
        })
    }

    /// The scope that stands for a resource and for the least besides.
    fn narrowest(&self, wanted: &Resource) -> Option<&ResourcePattern> {
        let matching = self.scopes.iter().filter(|scope| scope.matches(wanted));
        matching.reduce(|best, next| if best.covers(next) { next } else { best })
    }

    fn names(&self) -> Vec<&str> {
        self.first.iter().map(ResourcePattern::as_str).collect()
    }

    fn write(
        &self,
        cause: Cause,
        error: Option<(&str, &str)>,
        scopes: &[&str],
    ) -> Option<HeaderValue> {
        let mut members = if self.wants_proof(cause) {
            let mut members = Members("DPoP ".to_owned());
            members.push("algs", ALGORITHMS);
            members
        } else {
            Members("Bearer ".to_owned())
        };
        if let Some((error, _)) = error {
            members.push("error", error);
        }
        members.push("resource_metadata", &self.metadata);
        if !scopes.is_empty() {
            members.push("scope", &scopes.join(" "));
        }
        // The words come last: clients take the first of what looks like a member.
        if let Some((_, description)) = error {
            members.push("error_description", description);
        }
        HeaderValue::from_str(&members.0).ok()
    }

    fn wants_proof(&self, cause: Cause) -> bool {
        let proof = [Code::ProofMissing, Code::ProofInvalid, Code::ProofReplayed];
        matches!(self.proof, Proof::Dpop | Proof::DpopBody)
            || proof.iter().any(|code| cause == Cause::Token(*code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenger(proof: Proof) -> Challenger {
        let scopes = ["mcp:search:*", "mcp:mail:*", "mcp:*"].map(|scope| scope.parse().unwrap());
        let metadata = "https://tools.example.com/.well-known/oauth-protected-resource/mcp";
        Challenger::new(
            metadata.to_owned(),
            scopes.to_vec(),
            scopes[..2].to_vec(),
            proof,
        )
    }

    fn text(value: Option<HeaderValue>) -> String {
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn who_sends_no_token_is_told_where_to_get_one_and_with_which_scopes() {
        let challenge = challenger(Proof::Optional).challenge(Cause::Unauthenticated, "no token");
        assert_eq!(
            text(challenge),
            "Bearer resource_metadata=\"https://tools.example.com/.well-known/oauth-protected-resource/mcp\", \
             scope=\"mcp:search:* mcp:mail:*\""
        );
        let challenge = challenger(Proof::Dpop).challenge(Cause::Unauthenticated, "no token");
        assert!(text(challenge).starts_with("DPoP algs=\"EdDSA ES256\", resource_metadata="));
    }

    #[test]
    fn a_refusal_says_in_the_challenge_what_was_wrong_and_never_breaks_out_of_it() {
        let challenger = challenger(Proof::None);
        let said = |code, message| text(challenger.challenge(Cause::Token(code), message));
        let over = said(Code::Expired, "over\", scope=\"all\\ \n\u{e9}");
        assert!(
            over.starts_with("Bearer error=\"invalid_token\", resource_metadata="),
            "{over}"
        );
        assert!(
            over.ends_with(
                ", scope=\"mcp:search:* mcp:mail:*\", error_description=\"over', scope:'all' ??\""
            ),
            "{over}"
        );
        let proof = said(Code::ProofReplayed, "used");
        assert!(proof.starts_with("DPoP algs=\"EdDSA ES256\", error=\"invalid_dpop_proof\""));
        let missing = said(Code::ProofMissing, "none");
        assert!(missing.starts_with("DPoP algs=\"EdDSA ES256\", error=\"invalid_token\""));
        for code in [
            Code::RevocationStale,
            Code::RateLimited,
            Code::ApprovalRequired,
        ] {
            assert_eq!(said(code, "another token would not help"), "");
        }
    }

    /// The challenge for a call on these, with a token of these scopes.
    fn needed(wanted: &[&str], held: &[&str]) -> Option<Needed> {
        let wanted: Vec<Resource> = wanted.iter().map(|name| name.parse().unwrap()).collect();
        let held: Vec<ResourcePattern> = held.iter().map(|name| name.parse().unwrap()).collect();
        let wanted: Vec<&Resource> = wanted.iter().collect();
        challenger(Proof::None).insufficient(&wanted, &held, "not enough")
    }

    #[test]
    fn all_scopes_that_are_needed_stand_in_one_challenge() {
        let all = needed(&["mcp:search:web", "mcp:mail:inbox"], &["mcp:unknown:*"]);
        let all = all.unwrap();
        assert_eq!(all.scope, "mcp:search:* mcp:mail:*");
        let challenge = text(all.challenge);
        assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", resource_metadata="));
        assert!(
            challenge
                .ends_with("scope=\"mcp:search:* mcp:mail:*\", error_description=\"not enough\""),
            "{challenge}"
        );
        // The twins: nothing that this tool server has would help, for one of the two, or for the only one.
        assert!(needed(&["mcp:search:web", "db:rows"], &[]).is_none());
        assert!(needed(&["db:rows"], &["mcp:mail:*"]).is_none());
    }

    #[test]
    fn the_narrowest_scope_is_asked_for_beside_those_of_the_token() {
        let scope = |wanted, held: &[&str]| needed(&[wanted], held).unwrap().scope;
        assert_eq!(
            scope("mcp:search:web", &["mcp:mail:*"]),
            "mcp:search:* mcp:mail:*"
        );
        // Only the widest stands for it, and makes the others needless.
        assert_eq!(scope("mcp:files:a", &["mcp:mail:*"]), "mcp:*");
        assert_eq!(scope("mcp:search:web", &["mcp:*"]), "mcp:*");
    }
}
