//! `testdata/vectors.json`: what it holds is what is made here, and every vector gives what it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kavachos_core::constraint::Call;
use kavachos_core::revocation::{Handle, HandleKind, LiveSet, LogHead, Mark};
use kavachos_core::token::{
    Authority, Code, KeySet, Leaf, Offline, Presented, Proof, ProofRequest, Root, Scheme,
    Verification, body_digest,
};
use kavachos_core::tool_server;
use serde_json::{Map, Value, json};

use crate::scene::{ISSUER, KEYS, key, seconds};
use crate::{cases, cases_of_leaves, cases_of_proofs, cases_of_roots};

const ABOUT: &str = "Tokens of KavachOS, and what a verifier makes of them. `expect.code` is the failure; `expect.valid` says \
    that the token holds and permits what is asked, `expect.authority` what it says. Members that a vector leaves out \
    have the values of `defaults`. `now` is in seconds; `seen` lists proofs that were used before; `fresh` false means \
    that revocations are not known. The private keys are for making more vectors and for nothing else.";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors.json")
}

fn all() -> Vec<Value> {
    let mut all: Vec<Value> = [
        cases_of_leaves::that_pass(),
        cases_of_leaves::that_are_no_token(),
        cases_of_leaves::with_another_header(),
        cases_of_leaves::with_another_signature(),
        cases_of_leaves::with_other_claims(),
        cases_of_leaves::at_another_time_or_place(),
        cases_of_leaves::that_are_asked(),
        cases_of_proofs::that_pass(),
        cases_of_proofs::that_are_missing_or_seen(),
        cases_of_proofs::that_do_not_fit(),
        cases_of_roots::that_pass(),
        cases_of_roots::that_fail(),
    ]
    .concat();
    for vector in &mut all {
        if vector["expect"]["valid"] == true {
            vector["expect"]["authority"] = said(vector);
        }
    }
    all
}

/// What the claims of a token that holds say, taken from them without our reader.
fn said(vector: &Value) -> Value {
    let Some(token) = vector.get("token").and_then(Value::as_str) else {
        return Value::Null;
    };
    let claims = crate::scene::Parts::of(token).claims;
    json!({"subject": claims["sub"], "agent": claims["client_id"], "depth": claims["dlg"]["d"],
        "permissions": claims["authorization_details"][0]["permissions"]})
}

fn document() -> Value {
    let keys = KEYS.map(|(name, ..)| {
        let key = key(name);
        let mut jwk = key.public().to_jwk();
        jwk["d"] = URL_SAFE_NO_PAD.encode(*key.seed()).into();
        jwk["kid"] = key.thumbprint().to_string().into();
        (name.to_owned(), jwk)
    });
    json!({
        "about": ABOUT, "version": 1, "issuer": ISSUER, "jwks": key_set().to_jwks(),
        "privateKeys": Map::from_iter(keys), "defaults": cases::defaults(),
    })
}

/// The document with a line for each vector, so that a change of one is a change of one line.
fn text() -> String {
    let head = format!("{:#}", document());
    let lines: Vec<String> = all().iter().map(Value::to_string).collect();
    format!(
        "{},\n  \"vectors\": [\n{}\n]}}\n",
        head.trim_end_matches("\n}"),
        lines.join(",\n")
    )
}

fn key_set() -> KeySet {
    KeySet::new(["issuer", "issuerEs256"].map(|name| key(name).public().clone())).unwrap()
}

fn stored() -> Value {
    serde_json::from_str(&fs::read_to_string(file()).unwrap()).unwrap()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whether to write the file is asked of whoever runs the test"
)]
fn the_file_is_what_is_made_here() {
    let made = text();
    if std::env::var("VECTORS").as_deref() == Ok("write") {
        fs::create_dir_all(file().parent().unwrap()).unwrap();
        fs::write(file(), &made).unwrap();
    }
    let stored = fs::read_to_string(file()).unwrap();
    assert!(
        stored == made,
        "run with VECTORS=write, and look at the difference"
    );
}

#[test]
fn every_vector_gives_what_it_says() {
    let stored = stored();
    let mut wrong = Vec::new();
    for vector in stored["vectors"].as_array().unwrap() {
        let given = Context::of(&stored["defaults"], vector).outcome();
        if given != vector["expect"] {
            wrong.push(format!(
                "{}: {given} instead of {}",
                vector["name"], vector["expect"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_three_vectors_of_each_code_thirty_that_pass_and_no_two_of_one_name() {
    let stored = stored();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = std::collections::BTreeSet::new();
    for vector in stored["vectors"].as_array().unwrap() {
        assert!(
            names.insert(vector["name"].to_string()),
            "{} stands twice",
            vector["name"]
        );
        let code = vector["expect"]["code"].as_str().unwrap_or("valid");
        *counts.entry(code.to_owned()).or_default() += 1;
    }
    assert!(counts["valid"] >= 30, "{counts:?}");
    for code in Code::ALL {
        // Only a hop can be cut from another chain.
        if *code != Code::ParentMismatch {
            assert!(
                counts.get(code.as_str()).is_some_and(|count| *count >= 3),
                "{code}: {counts:?}"
            );
        }
    }
}

/// A vector with its defaults.
struct Context<'v>(&'v Value, &'v Value);

impl<'v> Context<'v> {
    fn of(defaults: &'v Value, vector: &'v Value) -> Self {
        Self(defaults, vector)
    }

    fn get(&self, member: &str) -> &'v Value {
        self.1.get(member).unwrap_or(&self.0[member])
    }

    fn text(&self, member: &str) -> &'v str {
        self.get(member).as_str().unwrap()
    }

    fn request(&self) -> ProofRequest<'v> {
        ProofRequest {
            method: self.text("method"),
            uri: self.text("uri"),
            token: None,
            body: self
                .get("body")
                .as_str()
                .map(|body| body_digest(body.as_bytes())),
        }
    }

    fn revocations(&self) -> LiveSet {
        let marks = self
            .get("revoked")
            .as_array()
            .unwrap()
            .iter()
            .map(|mark| Mark {
                handle: Handle {
                    kind: HandleKind::try_from(mark["kind"].as_i64().unwrap()).unwrap(),
                    bytes: URL_SAFE_NO_PAD
                        .decode(mark["handle"].as_str().unwrap())
                        .unwrap()
                        .try_into()
                        .unwrap(),
                },
                generation: mark["generation"].as_u64().unwrap(),
            });
        LiveSet::from_snapshot(self.get("epoch").as_u64().unwrap(), LogHead::EMPTY, marks)
    }

    fn outcome(&self) -> Value {
        match self.verify() {
            Ok(authority) => json!({"valid": true, "authority": authority}),
            Err(code) => json!({"code": code.as_str()}),
        }
    }

    fn verify(&self) -> Result<Value, Code> {
        let now = seconds(self.get("now").as_i64().unwrap());
        let issuer = ISSUER.parse().unwrap();
        let keys = key_set();
        let revocations = self.revocations();
        let shown = Presented {
            token: self.get("token").as_str().unwrap_or_default(),
            scheme: if self.text("scheme") == "DPoP" {
                Scheme::Dpop
            } else {
                Scheme::Bearer
            },
            proof: self.get("proof").as_str(),
            request: self.request(),
        };
        let (authority, proof) = match self.text("kind") {
            "proof" => (
                None,
                Some(
                    Proof::open(self.text("proof"), &self.request(), now)
                        .map_err(|failure| failure.code)?,
                ),
            ),
            "root" => {
                let verified = Root::verify(&shown, &issuer, &keys, &revocations, now);
                let (root, proof) = verified.map_err(|failure| failure.code)?;
                (Some(root.authority), Some(proof))
            }
            _ => {
                let verification = Verification {
                    issuer: &issuer,
                    keys: &keys,
                    audience: &self.text("audience").parse().unwrap(),
                    proof: serde_json::from_value::<tool_server::Proof>(
                        self.get("proofPolicy").clone(),
                    )
                    .unwrap(),
                    revocations: Some(&revocations).filter(|_| self.get("fresh") == true),
                };
                let verified = verification
                    .verify(&shown, now)
                    .map_err(|failure| failure.code)?;
                (Some(verified.leaf.authority), verified.proof)
            }
        };
        self.used_before(proof.as_ref())?;
        let Some(authority) = authority else {
            return Ok(Value::Null);
        };
        self.ask(&authority)?;
        Ok(
            json!({"subject": authority.subject, "agent": authority.agent(), "depth": authority.depth(),
            "permissions": authority.permissions}),
        )
    }

    /// Whether a proof of this name and key is among those that were seen.
    fn used_before(&self, proof: Option<&Proof>) -> Result<(), Code> {
        let Some((proof, seen)) = proof.zip(self.get("seen").as_array()) else {
            return Ok(());
        };
        let used = seen.iter().any(|other| {
            let parts = crate::scene::Parts::of(other.as_str().unwrap());
            let key = kavachos_core::token::PublicKey::from_jwk(&parts.header["jwk"]).unwrap();
            parts.claims["jti"] == proof.id.as_str() && key.thumbprint() == proof.key
        });
        if used {
            Err(Code::ProofReplayed)
        } else {
            Ok(())
        }
    }

    /// Nobody can be asked here: what only a server can say is refused.
    fn ask(&self, authority: &Authority) -> Result<(), Code> {
        let Some(ask) = self.get("ask").as_object() else {
            return Ok(());
        };
        let call = Call {
            arguments: ask.get("arguments"),
            ip: ask
                .get("ip")
                .map(|ip| ip.as_str().unwrap().parse().unwrap()),
            cost: None,
        };
        let text = |member: &str| ask[member].as_str().unwrap();
        let now = seconds(self.get("now").as_i64().unwrap());
        let (action, resource) = (
            text("action").parse().unwrap(),
            text("resource").parse().unwrap(),
        );
        match authority.permits(&action, &resource, &call, now) {
            Offline::Allowed => Ok(()),
            Offline::AskServer(code) | Offline::Denied(code) => Err(code),
        }
    }
}

#[test]
fn nothing_is_signed_that_would_not_be_accepted() {
    let mut deep = crate::scene::leaf();
    deep.authority.max_depth = 0;
    assert_eq!(
        deep.sign(&key("issuer")).unwrap_err().code,
        Code::DepthExceeded
    );
    let mut long = crate::scene::leaf();
    long.authority.reason = "x".repeat(9_000);
    assert_eq!(long.sign(&key("issuer")).unwrap_err().code, Code::Malformed);
    let mut wide: Leaf = crate::scene::leaf();
    wide.scopes = vec!["*".parse().unwrap()];
    assert_eq!(
        wide.sign(&key("issuer")).unwrap_err().code,
        Code::NotNarrower
    );
}
