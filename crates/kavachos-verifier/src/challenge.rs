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
    proof: Proof,
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

/// RFC 6750, section 3: what may stand in `error_description`.
fn quotable(c: char) -> char {
    match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    }
}

impl Challenger {
    /// For a tool server with its metadata here, these scopes, and this demand for proofs.
    pub(crate) fn new(metadata: String, scopes: Vec<ResourcePattern>, proof: Proof) -> Self {
        Self {
            metadata,
            scopes,
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

    /// The challenge for a request that the token does not permit: all scopes that it takes, those of the token too,
    /// so that the next token is not missing what this one had.
    pub(crate) fn insufficient(
        &self,
        wanted: Option<&Resource>,
        held: &[ResourcePattern],
        message: &str,
    ) -> Option<HeaderValue> {
        let asked = |scope: &&ResourcePattern| wanted.is_some_and(|wanted| scope.matches(wanted));
        let mut names: Vec<&str> = (self.scopes.iter().filter(asked))
            .map(ResourcePattern::as_str)
            .collect();
        if names.is_empty() {
            return None;
        }
        for scope in held {
            if self.scopes.contains(scope) && !names.contains(&scope.as_str()) {
                names.push(scope.as_str());
            }
        }
        let cause = Cause::Token(Code::InsufficientScope);
        self.write(cause, Some(("insufficient_scope", message)), &names)
    }

    fn names(&self) -> Vec<&str> {
        self.scopes.iter().map(ResourcePattern::as_str).collect()
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
        if let Some((error, description)) = error {
            members.push("error", error);
            members.push("error_description", description);
        }
        members.push("resource_metadata", &self.metadata);
        if !scopes.is_empty() {
            members.push("scope", &scopes.join(" "));
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
        Challenger::new(metadata.to_owned(), scopes.to_vec(), proof)
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
             scope=\"mcp:search:* mcp:mail:* mcp:*\""
        );
        let challenge = challenger(Proof::Dpop).challenge(Cause::Unauthenticated, "no token");
        assert!(text(challenge).starts_with("DPoP algs=\"EdDSA ES256\", resource_metadata="));
    }

    #[test]
    fn a_refusal_says_in_the_challenge_what_was_wrong_and_never_breaks_out_of_it() {
        let challenger = challenger(Proof::None);
        let said = |code, message| text(challenger.challenge(Cause::Token(code), message));
        let over = said(Code::Expired, "over\", scope=\"all\\ \n\u{e9}");
        assert!(over.starts_with(
            "Bearer error=\"invalid_token\", error_description=\"over', scope='all' ??\", resource_metadata="
        ), "{over}");
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

    #[test]
    fn all_scopes_that_are_needed_stand_in_one_challenge() {
        let challenger = challenger(Proof::None);
        let held = ["mcp:mail:*", "mcp:unknown:*"].map(|scope| scope.parse().unwrap());
        let wanted = "mcp:search:web".parse().unwrap();
        let challenge = text(challenger.insufficient(Some(&wanted), &held, "not enough"));
        assert!(challenge.contains("error=\"insufficient_scope\""));
        assert!(
            challenge.ends_with("scope=\"mcp:search:* mcp:* mcp:mail:*\""),
            "{challenge}"
        );
        // The twin: nothing that this tool server has would help.
        let other = "db:rows".parse().unwrap();
        assert_eq!(
            challenger.insufficient(Some(&other), &held, "not enough"),
            None
        );
    }
}
