//! Fixed keys, one chain from a human to a tool server, and tools to forge what nobody would sign.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::id::{AgentId, TokenId};
use kavachos_core::permission::PermissionSet;
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::time::Timestamp;
use kavachos_core::token::{Algorithm, Authority, Hop, Leaf, Life, Root, SigningKey};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://auth.example.com";
pub const TOOLS: &str = "https://tools.example.com/mcp";
/// 2026-11-21T10:00:00Z.
pub const NOW: i64 = 1_795_255_200;

/// The keys of the vectors by name; their seeds are no secret.
pub const KEYS: [(&str, Algorithm, u8); 5] = [
    ("issuer", Algorithm::Ed25519, 1),
    ("issuerEs256", Algorithm::Es256, 2),
    ("agent", Algorithm::Ed25519, 3),
    ("agentEs256", Algorithm::Es256, 4),
    ("stranger", Algorithm::Ed25519, 9),
];

pub fn key(name: &str) -> SigningKey {
    let (_, algorithm, byte) = KEYS.into_iter().find(|(known, ..)| *known == name).unwrap();
    SigningKey::from_seed(algorithm, &[byte; 32]).unwrap()
}

pub fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

pub fn mark(kind: HandleKind, byte: u8) -> Mark {
    Mark {
        handle: Handle {
            kind,
            bytes: [byte; 16],
        },
        generation: 1,
    }
}

pub fn agent(position: usize) -> AgentId {
    AgentId::from_bits(
        0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::try_from(position).unwrap(),
    )
}

/// The hop of an agent: handles of agent, grant and key tell it apart.
pub fn hop(position: usize) -> Hop {
    let byte = u8::try_from(position * 16).unwrap();
    Hop {
        id: agent(position),
        agent: mark(HandleKind::Agent, byte + 1),
        grant: mark(HandleKind::Grant, byte + 2),
        key: Some(mark(HandleKind::Key, byte + 3)),
        expires_at: Some(seconds(NOW + 3600 - 60 * i64::try_from(position).unwrap())),
    }
}

pub fn permissions(json: &Value) -> PermissionSet {
    PermissionSet::from_json(json).unwrap()
}

/// A human, an orchestrator, a researcher that may search.
pub fn authority() -> Authority {
    Authority {
        subject: "user_01jd6zc5g0e8srqv1pgs6wqr3h".parse().unwrap(),
        chain: vec![hop(0), hop(1)],
        max_depth: 3,
        permissions: permissions(&json!([{"resource": "mcp:search:*", "actions": ["*"]}])),
        guards: None,
        epoch: 1,
        marks: vec![
            mark(HandleKind::User, 0xa0),
            mark(HandleKind::Session, 0xa1),
            mark(HandleKind::Grant, 0xa2),
        ],
        reason: "draft_weekly_summary".to_owned(),
    }
}

pub fn life(seconds_: i64) -> Life {
    Life {
        id: TokenId::from_bits(0x0190_0000_0000_7000_8000_0000_0000_ffff),
        issued_at: seconds(NOW - 10),
        expires_at: seconds(NOW - 10 + seconds_),
    }
}

pub fn leaf() -> Leaf {
    Leaf {
        issuer: ISSUER.parse().unwrap(),
        audience: TOOLS.parse().unwrap(),
        scopes: vec!["mcp:search:*".parse().unwrap()],
        bound_to: None,
        authority: authority(),
        life: life(300),
    }
}

pub fn bound_leaf(to: &str) -> Leaf {
    Leaf {
        bound_to: Some(key(to).thumbprint()),
        ..leaf()
    }
}

pub fn root() -> Root {
    Root {
        issuer: ISSUER.parse().unwrap(),
        reach: vec![TOOLS.parse().unwrap()],
        key: key("agent").public().clone(),
        authority: authority(),
        life: life(900),
    }
}

/// A token taken apart, to be changed and signed again.
#[derive(Clone)]
pub struct Parts {
    pub header: Value,
    pub claims: Value,
}

impl Parts {
    pub fn of(token: &str) -> Self {
        let mut parts = token
            .split('.')
            .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
        Self {
            header: json(),
            claims: json(),
        }
    }

    /// With a member of the claims set, or taken away by `null`.
    pub fn claim(&self, path: &str, value: Value) -> Self {
        let mut parts = self.clone();
        set(&mut parts.claims, path, value);
        parts
    }

    pub fn header(&self, path: &str, value: Value) -> Self {
        let mut parts = self.clone();
        set(&mut parts.header, path, value);
        parts
    }

    pub fn signed(&self, by: &str) -> String {
        signed(&self.header.to_string(), &self.claims.to_string(), by)
    }
}

/// Sets the member at a JSON pointer; `null` takes it away.
fn set(value: &mut Value, path: &str, member: Value) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    match (parent, name.parse::<usize>()) {
        (Value::Array(list), Ok(index)) if index == list.len() => list.push(member),
        (Value::Array(list), Ok(index)) => list[index] = member,
        (parent, _) if member.is_null() => drop(parent.as_object_mut().unwrap().remove(name)),
        (parent, _) => parent[name] = member,
    }
}

/// Texts as they are, signed as a token is.
pub fn signed(header: &str, claims: &str, by: &str) -> String {
    let message = message(header, claims);
    let signature = key(by).sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub fn message(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    )
}
