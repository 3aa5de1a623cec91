//! What an approval is for: this very call, by this agent, for this human, on this path as it stands.
//!
//! Promises: the document that a human reads is the text that is hashed, byte for byte, in plain ASCII, so that nothing
//! in it can look like something else; two calls have the same digest only if nothing that matters differs. Whatever
//! was killed or narrowed on the path since makes another document.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::facts::{Facts, Request};
use crate::grant::Path;
use crate::json;
use crate::revocation::Mark;

/// The longest document that a human is asked to read.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

/// A call and the path that would permit it, as one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    document: String,
    relied_on: Vec<String>,
}

impl Binding {
    /// The binding of a request of the facts' agent on one of its paths.
    ///
    /// ```text
    /// {"action":"execute","agent":"agent_...","arguments":{"branch":"main"},"for":"user_...",
    ///  "path":["user_...@1","grant_...@1","agent_...@2"],"resource":"mcp:deploy:production"}
    /// ```
    ///
    /// `path` names the human, the grants and everyone who gave them, each with its generation. `arguments` and `cost`
    /// are there if the request has them.
    pub fn of(facts: &Facts, path: &Path, request: &Request) -> Self {
        let relied_on = relied_on(facts, path);
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        put("action", request.action.as_str().into());
        if let Some(agent) = &facts.agent {
            put("agent", agent.id.to_string().into());
        }
        if let Some(arguments) = &request.arguments {
            put("arguments", arguments.clone());
        }
        if let Some(cost) = &request.cost {
            let cost = [
                ("amount".to_owned(), cost.amount.into()),
                ("unit".to_owned(), cost.unit.as_str().into()),
            ];
            put("cost", Value::Object(cost.into_iter().collect()));
        }
        put("for", path.user.id.to_string().into());
        put("path", relied_on.clone().into());
        put("resource", request.resource.as_str().into());
        Self {
            document: json::ascii(&Value::Object(members)),
            relied_on,
        }
    }

    /// What the human reads, and what is hashed.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// SHA-256 of the document.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.document).into()
    }

    /// Whether a human can be asked to read it: all of it or nothing.
    pub fn is_readable(&self) -> bool {
        self.document.len() <= MAX_DOCUMENT_BYTES
    }

    /// Whether this path still stands as it did when the document was written.
    pub fn path_stands(document: &str, facts: &Facts, path: &Path) -> bool {
        let written: Option<Value> = serde_json::from_str(document).ok();
        let written = written.as_ref().and_then(|written| written.get("path"));
        written == Some(&relied_on(facts, path).into())
    }
}

/// Everything on the path and above the agent, once each, as `id@generation`.
fn relied_on(facts: &Facts, path: &Path) -> Vec<String> {
    let mut names = Vec::with_capacity(3 + facts.owners.len() + 2 * path.hops.len());
    let mut name = |id: &dyn std::fmt::Display, mark: Mark| {
        let name = format!("{id}@{}", mark.generation);
        if !names.contains(&name) {
            names.push(name);
        }
    };
    name(&path.user.id, path.user.mark);
    for hop in &path.hops {
        hop.giver.iter().for_each(|one| name(&one.id, one.mark));
        (hop.giver_user.iter()).for_each(|one| name(&one.id, one.mark));
        name(&hop.grant.id, hop.grant.mark);
    }
    facts.agent.iter().for_each(|one| name(&one.id, one.mark));
    facts.owners.iter().for_each(|one| name(&one.id, one.mark));
    facts.user.iter().for_each(|one| name(&one.id, one.mark));
    names
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::constraint::Cost;
    use crate::decide::Credential;
    use crate::grant::{Grant, Hop, TokenUses};
    use crate::id::{AgentId, GrantId, UserId};
    use crate::ledger::Pseudonym;
    use crate::permission::PermissionSet;
    use crate::principal::{Agent, Owner, Role, Status, User};
    use crate::revocation::{Handle, HandleKind};

    fn mark(kind: HandleKind, generation: u64) -> Mark {
        let bytes = [9; 16];
        Mark {
            handle: Handle { kind, bytes },
            generation,
        }
    }

    /// Ada's agent with one grant, each thing at its own generation.
    fn facts([user, agent, grant]: [u64; 3]) -> Facts {
        let (user_id, agent_id) = (UserId::from_bits(1), AgentId::from_bits(2));
        let everything = PermissionSet::everything();
        let user = Arc::new(User {
            id: user_id,
            status: Status::Active,
            banned_until: None,
            role: Role::Member,
            permissions: everything.clone(),
            mark: mark(HandleKind::User, user),
            kills: 0,
            pseudonym: Pseudonym::from_bits(7),
        });
        let agent = Agent {
            id: agent_id,
            owner: Owner::User(user_id),
            root: user_id,
            status: Status::Active,
            expires_at: None,
            mark: mark(HandleKind::Agent, agent),
            kills: 0,
        };
        let grant = Grant {
            id: GrantId::from_bits(3),
            parent: None,
            giver: Owner::User(user_id),
            to: agent_id,
            root: user_id,
            permissions: everything,
            guards: None,
            uses: TokenUses::default(),
            reserved: false,
            depth: 0,
            max_depth: 3,
            expires_at: None,
            status: Status::Active,
            mark: mark(HandleKind::Grant, grant),
            version: 0,
        };
        let hop = Hop {
            giver: Vec::new(),
            giver_user: None,
            grant,
        };
        Facts {
            agent: Some(agent),
            credential: Credential::ById,
            owners: Vec::new(),
            user: Some(Arc::clone(&user)),
            subject: None,
            paths: vec![Path {
                user,
                hops: vec![hop],
            }],
        }
    }

    fn request(arguments: Value) -> Request {
        Request {
            action: "execute".parse().unwrap(),
            resource: "mcp:deploy:production".parse().unwrap(),
            arguments: Some(arguments),
            ip: None,
            cost: None,
        }
    }

    fn binding(facts: &Facts, request: &Request) -> Binding {
        Binding::of(facts, &facts.paths[0], request)
    }

    #[test]
    fn the_document_says_all_that_is_bound_in_plain_text() {
        let facts = facts([1, 2, 3]);
        let bound = binding(&facts, &request(json!({"to": "prod\u{202e}\u{7f}é"})));
        assert_eq!(
            bound.document(),
            "{\"action\":\"execute\",\"agent\":\"agent_00000000000000000000000002\",\
             \"arguments\":{\"to\":\"prod\\u202e\\u007f\\u00e9\"},\"for\":\"user_00000000000000000000000001\",\
             \"path\":[\"user_00000000000000000000000001@1\",\"grant_00000000000000000000000003@3\",\
             \"agent_00000000000000000000000002@2\"],\"resource\":\"mcp:deploy:production\"}"
        );
        assert!(
            bound
                .document()
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~'))
        );
        let hashed: [u8; 32] = Sha256::digest(bound.document().as_bytes()).into();
        assert_eq!(bound.digest(), hashed);
    }

    #[test]
    fn whatever_differs_has_another_digest_and_the_order_of_members_does_not() {
        let whole = facts([1, 1, 1]);
        let asked = request(json!({"a": 1, "b": 2}));
        let digest = binding(&whole, &asked).digest();
        assert_eq!(
            binding(&whole, &request(json!({"b": 2, "a": 1}))).digest(),
            digest
        );
        let cost = Cost {
            amount: 1,
            unit: "cents".parse().unwrap(),
        };
        let others = [
            request(json!({"a": 1, "b": 3})),
            request(json!({"a": 1})),
            Request {
                arguments: None,
                ..asked.clone()
            },
            Request {
                action: "read".parse().unwrap(),
                ..asked.clone()
            },
            Request {
                resource: "mcp:deploy:test".parse().unwrap(),
                ..asked.clone()
            },
            Request {
                cost: Some(cost),
                ..asked.clone()
            },
        ];
        for other in others {
            assert_ne!(binding(&whole, &other).digest(), digest, "{other:?}");
        }
        for killed in [[2, 1, 1], [1, 2, 1], [1, 1, 2]] {
            let killed = facts(killed);
            let now = binding(&killed, &asked);
            assert_ne!(now.digest(), digest);
            let document = now.document();
            assert!(Binding::path_stands(document, &killed, &killed.paths[0]));
            assert!(!Binding::path_stands(document, &whole, &whole.paths[0]));
        }
    }

    #[test]
    fn what_is_too_long_to_be_read_in_full_is_not_shown_at_all() {
        let facts = facts([1, 1, 1]);
        let bound = |length: usize| binding(&facts, &request(json!({"text": "x".repeat(length)})));
        let frame = bound(0).document().len();
        assert!(bound(MAX_DOCUMENT_BYTES - frame).is_readable());
        assert!(!bound(MAX_DOCUMENT_BYTES - frame + 1).is_readable());
    }
}
