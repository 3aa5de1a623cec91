//! Vectors of proofs of possession, by themselves and with the tokens that they belong to.

use kavachos_core::token::{Leaf, Proof, ProofRequest, body_digest};
use serde_json::{Value, json};

use crate::cases::Case;
use crate::scene::{NOW, Parts, TOOLS, bound_leaf, key, leaf, seconds};

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;

fn token(leaf: &Leaf) -> String {
    leaf.sign(&key("issuer")).unwrap()
}

fn bound() -> String {
    token(&bound_leaf("agent"))
}

fn request(token: Option<&str>) -> ProofRequest<'_> {
    ProofRequest {
        method: "POST",
        uri: TOOLS,
        token,
        body: None,
    }
}

fn proof_by(by: &str, request: &ProofRequest<'_>) -> String {
    Proof::sign(
        request,
        "4fV9x0cXbXbHgT1Wc9kR5w",
        None,
        seconds(NOW - 1),
        &key(by),
    )
}

/// A bound token with the proof that belongs to it.
fn shown(name: &str) -> Case {
    with_proof(name, &bound(), &proof_by("agent", &request(Some(&bound()))))
}

fn with_proof(name: &str, token: &str, proof: &str) -> Case {
    Case::new("leaf", name, token)
        .with("scheme", json!("DPoP"))
        .with("proof", json!(proof))
}

fn by_itself(name: &str, proof: impl Into<String>) -> Case {
    Case::new("proof", name, proof).with("scheme", json!("DPoP"))
}

pub fn that_pass() -> Vec<Value> {
    let es256 = token(&bound_leaf("agentEs256"));
    let es256_proof = proof_by("agentEs256", &request(Some(&es256)));
    let with_body = ProofRequest {
        body: Some(body_digest(BODY.as_bytes())),
        ..request(None)
    };
    let token = bound();
    let token_and_body = ProofRequest {
        token: Some(&token),
        ..with_body
    };
    let made = |ago: i64| {
        Proof::sign(
            &request(None),
            "two",
            Some("nonce-1"),
            seconds(NOW - ago),
            &key("agent"),
        )
    };
    let bearing = request(None);
    vec![
        shown("bound, with its proof").passes(),
        with_proof("bound to an ES256 key", &es256, &es256_proof).passes(),
        shown("bound, where every token must be")
            .with("proofPolicy", json!("dpop"))
            .passes(),
        with_proof(
            "bound, with the body",
            &token,
            &proof_by("agent", &token_and_body),
        )
        .with("proofPolicy", json!("dpop_body"))
        .with("body", json!(BODY))
        .passes(),
        Case::new("leaf", "a bearer where proofs may be", self::token(&leaf())).passes(),
        Case::new(
            "leaf",
            "a bearer where proofs are not asked for",
            self::token(&leaf()),
        )
        .with("proofPolicy", json!("none"))
        .passes(),
        by_itself("without a token", proof_by("agent", &bearing)).passes(),
        by_itself("by an ES256 key", proof_by("agentEs256", &bearing)).passes(),
        by_itself("a minute old, with a nonce", made(60)).passes(),
        by_itself("by a clock 30 seconds ahead", made(-30)).passes(),
        by_itself("with a query in the URL", proof_by("agent", &bearing))
            .with("uri", json!(format!("{TOOLS}?a=b#c")))
            .passes(),
        by_itself("with its algorithm's other name", {
            Parts::of(&proof_by("agent", &bearing))
                .header("/alg", json!("Ed25519"))
                .signed("agent")
        })
        .passes(),
        by_itself("used once with another key", proof_by("agent", &bearing))
            .with("seen", json!([proof_by("agentEs256", &bearing)]))
            .passes(),
    ]
}

pub fn that_are_missing_or_seen() -> Vec<Value> {
    let missing = |name: &str, leaf: &Leaf| Case::new("leaf", name, token(leaf));
    let seen = json!([proof_by("agent", &request(Some(&bound())))]);
    let other = request(None);
    vec![
        missing("bound, shown as a bearer", &bound_leaf("agent")).fails("proof_missing"),
        missing("bound, shown without a proof", &bound_leaf("agent"))
            .with("scheme", json!("DPoP"))
            .fails("proof_missing"),
        shown("bound, as a bearer with a proof")
            .with("scheme", json!("Bearer"))
            .fails("proof_missing"),
        missing("a bearer where all are bound", &leaf())
            .with("proofPolicy", json!("dpop"))
            .fails("proof_missing"),
        missing("a bearer where bodies are bound", &leaf())
            .with("proofPolicy", json!("dpop_body"))
            .fails("proof_missing"),
        shown("the same proof again")
            .with("seen", seen.clone())
            .fails("proof_replayed"),
        shown("the same proof again, where every token is bound")
            .with("seen", seen)
            .with("proofPolicy", json!("dpop"))
            .fails("proof_replayed"),
        by_itself("the same again", proof_by("agent", &other))
            .with("seen", json!([proof_by("agent", &other)]))
            .fails("proof_replayed"),
    ]
}

pub fn that_do_not_fit() -> Vec<Value> {
    let token_ = bound();
    let whole = || Parts::of(&proof_by("agent", &request(Some(&bound()))));
    let changed = |name: &str, parts: Parts| {
        with_proof(name, &bound(), &parts.signed("agent")).fails("proof_invalid")
    };
    let another = |name: &str, request: ProofRequest<'_>| {
        with_proof(name, &bound(), &proof_by("agent", &request)).fails("proof_invalid")
    };
    let own = request(Some(&token_));
    let other_body = ProofRequest {
        body: Some(body_digest(b"{}")),
        ..own
    };
    let in_body = |name: &str, proof: &str| {
        with_proof(name, &bound(), proof)
            .with("proofPolicy", json!("dpop_body"))
            .with("body", json!(BODY))
    };
    let mut private = key("agent").public().to_jwk();
    private["d"] = json!("AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM");
    vec![
        with_proof("by another key", &bound(), &proof_by("stranger", &own)).fails("proof_invalid"),
        another("for another token", request(Some("a.b.c"))),
        another("for no token", request(None)),
        another(
            "for another method",
            ProofRequest {
                method: "GET",
                ..own
            },
        ),
        another(
            "for another URL",
            ProofRequest {
                uri: "https://tools.example.com/other",
                ..own
            },
        ),
        another(
            "for another host",
            ProofRequest {
                uri: "https://evil.example/mcp",
                ..own
            },
        ),
        in_body("without the body", &proof_by("agent", &own)).fails("proof_invalid"),
        in_body("for another body", &proof_by("agent", &other_body)).fails("proof_invalid"),
        with_proof(
            "a body that was not read",
            &bound(),
            &proof_by("agent", &own),
        )
        .with("proofPolicy", json!("dpop_body"))
        .fails("proof_invalid"),
        shown("a minute and a second old")
            .with("now", json!(NOW + 60))
            .fails("proof_invalid"),
        changed("of tomorrow", whole().claim("/iat", json!(NOW + 86_400))),
        changed("without a name", whole().claim("/jti", Value::Null)),
        changed(
            "without a hash of the token",
            whole().claim("/ath", Value::Null),
        ),
        changed("of another type", whole().header("/typ", json!("JWT"))),
        changed(
            "a proof with `alg` none",
            whole().header("/alg", json!("none")),
        ),
        changed(
            "a proof with `alg` HS256",
            whole().header("/alg", json!("HS256")),
        ),
        changed("with a private key", whole().header("/jwk", private)),
        changed(
            "with a shared secret as key",
            whole().header("/jwk", json!({"kty": "oct", "k": "AAAA"})),
        ),
        changed("without a key", whole().header("/jwk", Value::Null)),
        changed(
            "a stranger's key, the agent's signature",
            whole().header("/jwk", key("stranger").public().to_jwk()),
        ),
        with_proof("a token in place of a proof", &bound(), &bound()).fails("proof_invalid"),
        with_proof("no proof at all", &bound(), "proof").fails("proof_invalid"),
        with_proof(
            "a token that is bound to nothing",
            &token(&leaf()),
            &proof_by("agent", &request(Some(&token(&leaf())))),
        )
        .fails("proof_invalid"),
        Case::new(
            "leaf",
            "a proof in place of a token",
            proof_by("agent", &own),
        )
        .fails("wrong_type"),
    ]
}
