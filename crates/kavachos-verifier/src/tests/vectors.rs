//! `testdata/vectors.json` through the verifier: an issuer in memory publishes the vector's keys and its revocations.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::token::{Presented, ProofRequest, Scheme, body_digest};
use kavachos_core::tool_server::Proof;
use serde_json::{Value, json};

use super::issuer::{FakeIssuer, FixedClock, seconds};
use super::scene::Scene;
use crate::principal::{Principal, ToolCall};
use crate::rejection::Rejection;
use crate::verifier::Verifier;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors.json");

/// A vector with its defaults.
pub(super) struct Vector<'v> {
    defaults: &'v Value,
    vector: &'v Value,
}

impl<'v> Vector<'v> {
    pub(super) fn of(document: &'v Value, vector: &'v Value) -> Self {
        Self {
            defaults: &document["defaults"],
            vector,
        }
    }

    /// Whether the vector itself says this.
    pub(super) fn has(&self, member: &str) -> bool {
        self.vector.get(member).is_some()
    }

    pub(super) fn token(&self) -> &'v str {
        self.get("token").as_str().unwrap_or_default()
    }

    pub(super) fn proof(&self) -> Option<&'v str> {
        self.get("proof").as_str()
    }

    pub(super) fn get(&self, member: &str) -> &'v Value {
        self.vector.get(member).unwrap_or(&self.defaults[member])
    }

    pub(super) fn text(&self, member: &str) -> &'v str {
        self.get(member).as_str().unwrap()
    }

    pub(super) fn name(&self) -> &'v str {
        self.text("name")
    }

    pub(super) async fn scene(&self) -> Scene {
        let issuer = FakeIssuer::new();
        let now = self.get("now").as_i64().unwrap();
        {
            let mut state = issuer.state();
            state.epoch = self.get("epoch").as_u64().unwrap();
            state.kills = self
                .get("revoked")
                .as_array()
                .unwrap()
                .iter()
                .map(mark)
                .collect();
            state.time = seconds(now - 60);
        }
        let policy: Proof = serde_json::from_value(self.get("proofPolicy").clone()).unwrap();
        issuer.state().follower = self.text("audience").to_owned();
        let clock = FixedClock::at(seconds(now));
        let scene = Scene::of(issuer, Arc::clone(&clock), |builder| {
            builder.proof(policy).scopes([""; 0]).never_ask()
        });
        let scene = scene.await;
        if self.get("fresh") != true {
            scene.clock.advance_boot(Duration::from_secs(11));
        }
        scene
    }

    pub(super) fn shown<'a>(&'a self, proof: Option<&'a str>) -> Presented<'a> {
        let body = self.get("body").as_str();
        Presented {
            token: self.token(),
            scheme: match self.text("scheme") {
                "DPoP" => Scheme::Dpop,
                _ => Scheme::Bearer,
            },
            proof,
            request: ProofRequest {
                method: self.text("method"),
                uri: self.text("uri"),
                token: None,
                body: body.map(|body| body_digest(body.as_bytes())),
            },
        }
    }

    /// What the verifier makes of it, as the vectors say it.
    async fn outcome(&self, verifier: &Verifier) -> Value {
        for seen in self.get("seen").as_array().into_iter().flatten() {
            let shown = self.shown(seen.as_str());
            drop(verifier.verify(&shown));
        }
        let verified = verifier.verify(&self.shown(self.proof()));
        let asked = match verified {
            Ok(principal) => self.ask(&principal).await.map(|()| principal),
            Err(rejection) => Err(rejection),
        };
        match asked {
            Ok(principal) => json!({"valid": true, "authority": said(&principal)}),
            Err(rejection) => json!({"code": rejection.code()}),
        }
    }

    async fn ask(&self, principal: &Principal) -> Result<(), Rejection> {
        let Some(ask) = self.get("ask").as_object() else {
            return Ok(());
        };
        let text = |member: &str| ask[member].as_str().unwrap();
        let call = ToolCall {
            arguments: ask.get("arguments"),
            ip: ask
                .get("ip")
                .map(|ip| ip.as_str().unwrap().parse().unwrap()),
            ..ToolCall::new(text("action"), text("resource"))
        };
        principal.authorize_call(&call).await.map(drop)
    }
}

fn said(principal: &Principal) -> Value {
    json!({"subject": principal.user(), "agent": principal.agent(),
        "depth": principal.authority().depth(), "permissions": principal.permissions()})
}

fn mark(mark: &Value) -> Mark {
    let bytes = URL_SAFE_NO_PAD
        .decode(mark["handle"].as_str().unwrap())
        .unwrap();
    Mark {
        handle: Handle {
            kind: HandleKind::try_from(mark["kind"].as_i64().unwrap()).unwrap(),
            bytes: bytes.try_into().unwrap(),
        },
        generation: mark["generation"].as_u64().unwrap(),
    }
}

pub(super) fn document() -> Value {
    serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap()
}

#[tokio::test]
async fn every_vector_of_a_leaf_gives_what_it_says_the_second_time_too() {
    let document = document();
    let mut wrong = Vec::new();
    let mut judged = 0;
    for vector in document["vectors"].as_array().unwrap() {
        let vector = Vector::of(&document, vector);
        if vector.text("kind") != "leaf" {
            continue;
        }
        judged += 1;
        let scene = vector.scene().await;
        let first = vector.outcome(&scene.verifier).await;
        if first != vector.vector["expect"] {
            wrong.push(format!(
                "{}: {first} instead of {}",
                vector.name(),
                vector.vector["expect"]
            ));
        }
        // From the cache; a proof cannot be shown again.
        if vector.proof().is_none() {
            let again = vector.outcome(&scene.verifier).await;
            if again != first {
                wrong.push(format!(
                    "{}: cached {again} instead of {first}",
                    vector.name()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 200, "only {judged}");
}

#[tokio::test]
async fn what_is_for_the_issuer_alone_is_refused() {
    let document = document();
    for vector in document["vectors"].as_array().unwrap() {
        let vector = Vector::of(&document, vector);
        if vector.text("kind") == "leaf" {
            continue;
        }
        let scene = vector.scene().await;
        let outcome = vector.outcome(&scene.verifier).await;
        let refused = [
            "wrong_type",
            "malformed",
            "alg_not_allowed",
            "audience_mismatch",
        ];
        assert!(
            refused.iter().any(|code| outcome["code"] == *code),
            "{}: {outcome}",
            vector.name()
        );
    }
}
