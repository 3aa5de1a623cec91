//! A human, an orchestrator, a researcher that may search; their tokens and proofs; a verifier at the tool.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use kavachos_core::id::{AgentId, TokenId};
use kavachos_core::permission::PermissionSet;
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::token::{Authority, Hop, Leaf, Life, Presented, Proof, ProofRequest, Scheme};
use serde_json::{Value, json};

use super::issuer::{FakeIssuer, FixedClock, ISSUER, NOW, TOOLS, key, seconds};
use crate::builder::Builder;
use crate::judgement::Core;
use crate::system::Clock;
use crate::tasks::Tasks;
use crate::verifier::Verifier;

pub(super) fn mark(kind: HandleKind, byte: u8, generation: u64) -> Mark {
    let handle = Handle {
        kind,
        bytes: [byte; 16],
    };
    Mark { handle, generation }
}

fn hop(position: u8) -> Hop {
    let byte = position * 16;
    Hop {
        id: AgentId::from_bits(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(position)),
        agent: mark(HandleKind::Agent, byte + 1, 1),
        grant: mark(HandleKind::Grant, byte + 2, 1),
        key: Some(mark(HandleKind::Key, byte + 3, 1)),
        expires_at: None,
    }
}

/// The human's mark in every token here.
pub(super) fn human() -> Mark {
    mark(HandleKind::User, 0xa0, 1)
}

pub(super) fn permitting(permissions: &Value) -> Leaf {
    let authority = Authority {
        subject: "user_01jd6zc5g0e8srqv1pgs6wqr3h".parse().unwrap(),
        chain: vec![hop(0), hop(1)],
        max_depth: 3,
        permissions: PermissionSet::from_json(permissions).unwrap(),
        guards: None,
        epoch: 1,
        marks: vec![human()],
        reason: "draft_weekly_summary".to_owned(),
    };
    Leaf {
        issuer: ISSUER.parse().unwrap(),
        audience: TOOLS.parse().unwrap(),
        scopes: Vec::new(),
        bound_to: None,
        authority,
        life: Life {
            id: TokenId::from_bits(0x0190_0000_0000_7000_8000_0000_0000_ffff),
            issued_at: seconds(NOW - 10),
            expires_at: seconds(NOW + 290),
        },
    }
}

/// May do anything with what is searched.
pub(super) fn leaf() -> Leaf {
    Leaf {
        scopes: vec!["mcp:search:*".parse().unwrap()],
        ..permitting(&json!([{"resource": "mcp:search:*", "actions": ["*"]}]))
    }
}

pub(super) fn token(leaf: &Leaf) -> String {
    leaf.sign(&key(1)).unwrap()
}

pub(super) fn bound() -> String {
    bound_to(3, leaf())
}

/// A token that is bound to the key of this seed.
pub(super) fn bound_to(seed: u8, leaf: Leaf) -> String {
    token(&Leaf {
        bound_to: Some(key(seed).thumbprint()),
        ..leaf
    })
}

/// A proof for a call of the tools, by the agent's key.
pub(super) fn proof(token: &str, id: &str, nonce: Option<&str>, body: Option<[u8; 32]>) -> String {
    proof_by(3, token, (id, nonce, body))
}

/// The same by the key of this seed.
pub(super) fn proof_by(
    seed: u8,
    token: &str,
    (id, nonce, body): (&str, Option<&str>, Option<[u8; 32]>),
) -> String {
    let request = ProofRequest {
        method: "POST",
        uri: TOOLS,
        token: Some(token),
        body,
    };
    Proof::sign(&request, id, nonce, seconds(NOW), &key(seed))
}

pub(super) fn bearer(token: &str) -> Presented<'_> {
    Presented {
        token,
        scheme: Scheme::Bearer,
        proof: None,
        request: ProofRequest::default(),
    }
}

pub(super) fn dpop<'a>(token: &'a str, proof: &'a str) -> Presented<'a> {
    Presented {
        token,
        scheme: Scheme::Dpop,
        proof: Some(proof),
        request: ProofRequest {
            method: "POST",
            uri: TOOLS,
            token: None,
            body: None,
        },
    }
}

/// An issuer, a clock, and a verifier without tasks: what it does it does in the test.
pub(super) struct Scene {
    pub(super) issuer: FakeIssuer,
    pub(super) clock: Arc<FixedClock>,
    pub(super) core: Arc<Core>,
    pub(super) verifier: Verifier,
}

/// A builder as the tools' server has it, but for nonces, which every proof here would have to be told first.
pub(super) fn builder(issuer: &FakeIssuer, clock: &Arc<FixedClock>) -> Builder {
    usual(issuer, clock).without_nonces()
}

fn usual(issuer: &FakeIssuer, clock: &Arc<FixedClock>) -> Builder {
    let key = Secret::new(SecretKind::Resource, [5; 32]);
    let audience = issuer.state().follower.clone();
    Verifier::builder(ISSUER, audience)
        .resource_key(key.reveal())
        .scopes(["mcp:search:*", "mcp:mail:*"])
        .http(Arc::new(issuer.clone()))
        .clock(Arc::clone(clock) as Arc<dyn Clock>)
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(super) async fn with(told: impl FnOnce(Builder) -> Builder) -> Self {
        let (issuer, clock) = (FakeIssuer::new(), FixedClock::at(seconds(NOW)));
        Self::of(issuer, clock, told).await
    }

    /// With nonces, as it is if nothing is said.
    pub(super) async fn usual() -> Self {
        let (issuer, clock) = (FakeIssuer::new(), FixedClock::at(seconds(NOW)));
        let builder = usual(&issuer, &clock);
        Self::of(issuer, clock, |_| builder).await
    }

    pub(super) async fn of(
        issuer: FakeIssuer,
        clock: Arc<FixedClock>,
        told: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let core = told(builder(&issuer, &clock)).prepare().await.unwrap();
        let core = Arc::new(core);
        let verifier = Verifier::new(Arc::clone(&core), None, Tasks::none());
        Self {
            issuer,
            clock,
            core,
            verifier,
        }
    }

    /// The code that a token gets.
    pub(super) fn code(&self, shown: &Presented<'_>) -> &'static str {
        match self.verifier.verify(shown) {
            Ok(_) => "accepted",
            Err(rejection) => rejection.code(),
        }
    }
}

/// An answer, read.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    pub(super) async fn of(response: Response<axum::body::Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&body).into()),
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("none")
    }
}

/// A call of the tools with these headers.
pub(super) fn call(headers: &[(&str, &str)], body: &str) -> Request<axum::body::Body> {
    let mut request = Request::post("/mcp").header("host", "tools.example.com");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(axum::body::Body::from(body.to_owned()))
        .unwrap()
}
