//! Somebody else's provider of OpenID Connect: a server that says where its keys are, publishes them, and signs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{StatusCode, Uri};
use kavachos::core::token::{Algorithm, SigningKey};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};

use crate::server::Server;

/// RSA keys made with OpenSSL for these tests alone, PKCS #8 in base64: nobody can make one from a seed.
const RSA: [&str; 2] = [
    include_str!("provider/rsa_own.txt"),
    include_str!("provider/rsa_other.txt"),
];

/// What a provider signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderSigner {
    /// RS256.
    Rsa,
    /// RS256, with a key that is never published.
    StrangeRsa,
    /// ES256.
    P256,
    /// `EdDSA`.
    Ed25519,
}

impl ProviderSigner {
    /// All that are published.
    pub const PUBLISHED: [Self; 3] = [Self::Rsa, Self::P256, Self::Ed25519];

    /// The `kid` of its key.
    pub const fn kid(self) -> &'static str {
        match self {
            Self::Rsa | Self::StrangeRsa => "ins_rsa",
            Self::P256 => "p256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The `alg` of its headers.
    pub const fn alg(self) -> &'static str {
        match self {
            Self::Rsa | Self::StrangeRsa => "RS256",
            Self::P256 => "ES256",
            Self::Ed25519 => "EdDSA",
        }
    }

    /// Its public key as it is published.
    pub fn jwk(self) -> Value {
        let mut jwk = match self.signer() {
            Signer::Own(key) => key.public().to_jwk(),
            Signer::Rsa(key) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(public.n), "e": URL_SAFE_NO_PAD.encode(public.e) })
            }
        };
        let more = [("kid", self.kid()), ("alg", self.alg()), ("use", "sig")];
        let members = jwk.as_object_mut().expect("a key is an object");
        members.extend(more.map(|(name, value)| (name.to_owned(), value.into())));
        jwk
    }

    /// A signature.
    pub fn sign(self, message: &[u8]) -> Vec<u8> {
        match self.signer() {
            Signer::Own(key) => key.sign(message).to_vec(),
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .expect("the key can sign");
                signature
            }
        }
    }

    /// A token with this header and these claims.
    pub fn token(self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn signer(self) -> Signer {
        let rsa = |text: &str| {
            let bytes = STANDARD
                .decode(text.replace('\n', ""))
                .expect("the key is base64");
            Signer::Rsa(Box::new(
                KeyPair::from_pkcs8(&bytes).expect("it is an RSA key"),
            ))
        };
        let own = |algorithm| {
            let key = SigningKey::from_seed(algorithm, &[21; 32]);
            Signer::Own(Box::new(key.expect("the seed is a key")))
        };
        match self {
            Self::Rsa => rsa(RSA[0]),
            Self::StrangeRsa => rsa(RSA[1]),
            Self::P256 => own(Algorithm::Es256),
            Self::Ed25519 => own(Algorithm::Ed25519),
        }
    }
}

enum Signer {
    Own(Box<SigningKey>),
    Rsa(Box<KeyPair>),
}

struct Shared {
    issuer: Mutex<String>,
    keys: Mutex<KeysAnswer>,
    fetches: AtomicUsize,
}

/// What the provider answers who asks for its keys.
#[derive(Debug, Clone)]
pub enum KeysAnswer {
    /// This set.
    Keys(Vec<Value>),
    /// This text.
    Text(String),
    /// This status.
    Status(u16),
    /// A redirect to this address.
    Redirect(String),
}

/// A provider on the loopback.
pub struct TestProvider {
    shared: Arc<Shared>,
    server: Server,
    path: &'static str,
}

impl TestProvider {
    /// One whose issuer has this path, for example `/api/auth`, `/` or nothing.
    pub async fn start(path: &'static str) -> Self {
        let shared = Arc::new(Shared {
            issuer: Mutex::default(),
            keys: Mutex::new(KeysAnswer::Keys(
                ProviderSigner::PUBLISHED.map(ProviderSigner::jwk).to_vec(),
            )),
            fetches: AtomicUsize::new(0),
        });
        let routes = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let server = Server::serving(routes).await;
        *locked(&shared.issuer) = format!("{}{path}", server.url());
        Self {
            shared,
            server,
            path,
        }
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        format!("{}{}", self.server.url(), self.path)
    }

    /// Where its keys are.
    pub fn jwks_uri(&self) -> String {
        format!("{}/jwks", self.server.url())
    }

    /// Answers this from now on.
    pub fn answers(&self, answer: KeysAnswer) {
        *locked(&self.shared.keys) = answer;
    }

    /// Calls itself this from now on.
    pub fn says_it_is(&self, issuer: &str) {
        issuer.clone_into(&mut locked(&self.shared.issuer));
    }

    /// How often it was asked for its keys.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    if uri.path().ends_with("/.well-known/openid-configuration") {
        let issuer = locked(&shared.issuer).clone();
        let (scheme, rest) = issuer.split_once("://").expect("an issuer is a URL");
        let host = rest.split('/').next().unwrap_or_default();
        let keys = format!("{scheme}://{host}/jwks");
        return axum::Json(json!({
            "issuer": issuer, "jwks_uri": keys, "authorization_endpoint": format!("{issuer}/authorize"),
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        }))
        .into_response();
    }
    if uri.path() != "/jwks" {
        return StatusCode::NOT_FOUND.into_response();
    }
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    match locked(&shared.keys).clone() {
        KeysAnswer::Keys(keys) => axum::Json(json!({ "keys": keys })).into_response(),
        KeysAnswer::Text(text) => text.into_response(),
        KeysAnswer::Status(status) => {
            let status = StatusCode::from_u16(status).expect("a test names a status");
            status.into_response()
        }
        KeysAnswer::Redirect(to) => (StatusCode::FOUND, [("location", to)]).into_response(),
    }
}
