//! Vectors of roots, which only their issuer takes, with a proof of their key.

use kavachos_core::token::{Authority, Proof, ProofRequest, Root};
use serde_json::{Value, json};

use crate::cases::Case;
use crate::scene::{ISSUER, NOW, Parts, TOOLS, authority, hop, key, leaf, root, seconds};

const ENDPOINT: &str = "https://auth.example.com/oauth/token";

fn token(root: &Root) -> String {
    root.sign(&key("issuer")).unwrap()
}

fn proof_by(by: &str) -> String {
    let request = ProofRequest {
        method: "POST",
        uri: ENDPOINT,
        ..ProofRequest::default()
    };
    Proof::sign(
        &request,
        "kq1bT3oJ9dV0sQ2mN8yZ4w",
        None,
        seconds(NOW - 1),
        &key(by),
    )
}

fn case(name: &str, token: impl Into<String>) -> Case {
    Case::new("root", name, token)
        .with("uri", json!(ENDPOINT))
        .with("audience", json!(ISSUER))
        .with("proof", json!(proof_by("agent")))
}

fn parts() -> Parts {
    Parts::of(&token(&root()))
}

pub fn that_pass() -> Vec<Value> {
    let deep = Root {
        authority: Authority {
            chain: (0..7).map(hop).collect(),
            max_depth: 7,
            ..authority()
        },
        ..root()
    };
    let far = Root {
        reach: (0..16)
            .map(|n| format!("https://tools.example.com/{n}").parse().unwrap())
            .collect(),
        ..root()
    };
    let es256 = Root {
        key: key("agentEs256").public().clone(),
        ..root()
    };
    vec![
        case("with a proof of its key", token(&root())).passes(),
        case(
            "signed with ES256",
            root().sign(&key("issuerEs256")).unwrap(),
        )
        .passes(),
        case("a chain of seven", token(&deep)).passes(),
        case("sixteen tool servers", token(&far)).passes(),
        case("of an ES256 key", token(&es256))
            .with("proof", json!(proof_by("agentEs256")))
            .passes(),
        case("the last second of its life", token(&root()))
            .with("now", json!(NOW + 49))
            .passes(),
    ]
}

pub fn that_fail() -> Vec<Value> {
    let with = |name: &str, path: &str, value: Value| {
        case(name, parts().claim(path, value).signed("issuer"))
    };
    let killed = json!([{"kind": 5, "handle": "EREREREREREREREREREREQ", "generation": 2}]);
    vec![
        case("a leaf in its place", leaf().sign(&key("issuer")).unwrap()).fails("wrong_type"),
        Case::new("leaf", "a root in its place", token(&root())).fails("wrong_type"),
        Case::new(
            "leaf",
            "a root named a leaf",
            parts().header("/typ", json!("at+jwt")).signed("issuer"),
        )
        .with("audience", json!(ISSUER))
        .fails("malformed"),
        case(
            "without `res`",
            parts().claim("/res", Value::Null).signed("issuer"),
        )
        .fails("malformed"),
        with("no tool servers", "/res", json!([])).fails("malformed"),
        with("a tool server that is no URL", "/res", json!(["tools"])).fails("malformed"),
        with("a scope", "/scope", json!("mcp:search:*")).fails("malformed"),
        with("no key", "/cnf", Value::Null).fails("malformed"),
        with(
            "a thumbprint only",
            "/cnf",
            json!({"jkt": key("agent").thumbprint()}),
        )
        .fails("malformed"),
        with("a life of 901 seconds", "/exp", json!(NOW + 891)).fails("malformed"),
        with("made out to a tool server", "/aud", json!(TOOLS)).fails("audience_mismatch"),
        with("nothing may stand below it", "/dlg/m", json!(1)).fails("depth_exceeded"),
        with("longer than its grant", "/dlg/ch/1/exp", json!(NOW + 889)).fails("outlives_parent"),
        case(
            "signed by its own agent",
            parts()
                .header("/kid", json!(key("agent").thumbprint()))
                .signed("agent"),
        )
        .fails("unknown_key"),
        case("signed by a stranger", parts().signed("stranger")).fails("bad_signature"),
        case("the second in which it ends", token(&root()))
            .with("now", json!(NOW + 890))
            .fails("expired"),
        case("from the future", token(&root()))
            .with("now", json!(NOW - 41))
            .fails("not_yet_valid"),
        case("revoked", token(&root()))
            .with("revoked", killed)
            .fails("revoked"),
        case("of an earlier epoch", token(&root()))
            .with("epoch", json!(2))
            .fails("revoked"),
        case("without a proof", token(&root()))
            .with("proof", Value::Null)
            .fails("proof_missing"),
        case("with another's proof", token(&root()))
            .with("proof", json!(proof_by("stranger")))
            .fails("proof_invalid"),
        case("with a proof for another place", token(&root()))
            .with("uri", json!(TOOLS))
            .fails("proof_invalid"),
        case("with a proof that was used", token(&root()))
            .with("seen", json!([proof_by("agent")]))
            .fails("proof_replayed"),
    ]
}
