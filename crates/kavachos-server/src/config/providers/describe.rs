//! The list of providers as it is described: in the JSON Schema of the file, and in its example.

use std::time::Duration;

use kavachos_core::id_token::{SignatureKind, TokenKind};
use kavachos_engine::{ProviderTerms, SignInTerms};
use serde_json::{Map, Value, json};

/// How an example begins that holds nothing by itself, so that taking `#` away does not switch it on.
const EXAMPLE: &str = r#"
## An outside provider whose humans may use its id_tokens at `POST /oauth/token`; as many as there are. Write the secret of
## a client in the variable KAVACH_CLIENT_<ID>_SECRET (or name a file in ..._SECRET_FILE), or here as its SHA-256.
## [[providers]]
## name = "clerk"
## issuer = "https://clerk.example.com"
## jwks_uri = "https://clerk.example.com/.well-known/jwks.json"   # found through the issuer unless said
## audiences = ["the id of your application at the provider"]
## ceiling = [{ resource = "mcp:notion:*", actions = ["read"] }]  # what nothing that comes of it may exceed
## max_age_seconds = 300
## max_sign_in_age_seconds = 600
## algorithms = ["RS256", "ES256", "EdDSA"]
## new_humans = "created"                                         # or `refused`: an operator creates them
## session_seconds = 86400                                        # the longest session that its tokens open; none unless said
##
## [[providers.clients]]
## id = "web-backend"
## secret_sha256 = "64 digits, as `printf %s SECRET | sha256sum` prints them"
##
## Its tokens as sign-in for the API, and for sessions of ours; none unless said. One table for each kind of token.
## [[providers.sign_in]]
## token = "session_token"                       # `session_token` (Clerk), `access_token` (of an API), or `id_token`
## parties = ["https://app.example.com"]         # what `azp` may be; for `access_token` write `audiences`
## max_age_seconds = 3600
## fresh_by = "sign_in"                          # or `issue`, where a token is made only for who just signed in
"#;

/// The list in the JSON Schema of the file.
pub(in crate::config) fn schema() -> Value {
    let text = |about: &str| json!({ "type": "string", "minLength": 1, "description": about });
    let texts = json!({ "type": "array", "minItems": 1, "maxItems": 32, "items": { "type": "string", "minLength": 1 } });
    let kinds: Vec<&str> = SignatureKind::ALL.map(SignatureKind::as_str).to_vec();
    let seconds = |default: Duration, max: u64| json!({ "type": "integer", "minimum": 1, "maximum": max, "default": default.as_secs() });
    let permission = closed(
        &json!({
            "resource": { "type": "string" },
            "actions": { "type": "array", "items": { "type": "string" } },
        }),
        &["resource", "actions"],
    );
    let client = closed(
        &json!({
            "id": text("its id here; its secret is KAVACH_CLIENT_<ID>_SECRET, or a hash of it"),
            "secret_sha256": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
        }),
        &["id"],
    );
    let kinds_of_tokens = TokenKind::ALL.map(TokenKind::as_str);
    let kind_of_token = closed(
        &json!({
            "token": { "enum": kinds_of_tokens },
            "audiences": texts,
            "parties": texts,
            "max_age_seconds": seconds(SignInTerms::MAX_AGE, 86_400),
            "fresh_by": { "enum": ["sign_in", "issue"], "default": "sign_in" },
        }),
        &["token"],
    );
    let provider = closed(
        &json!({
            "name": text("its name here"),
            "issuer": text("its issuer, byte for byte as in `iss`"),
            "jwks_uri": text("where its keys are; found through the issuer unless said"),
            "audiences": texts,
            "max_age_seconds": seconds(ProviderTerms::MAX_AGE, 3_600),
            "max_sign_in_age_seconds": seconds(ProviderTerms::MAX_SIGN_IN_AGE, 2_592_000),
            "algorithms": { "type": "array", "minItems": 1, "items": { "enum": kinds } },
            "ceiling": { "type": "array", "items": permission },
            "clients": { "type": "array", "maxItems": 32, "items": client },
            "new_humans": { "enum": ["created", "refused"], "default": "created" },
            "session_seconds": { "type": "integer", "minimum": 1, "maximum": 2_592_000 },
            "sign_in": { "type": "array", "maxItems": TokenKind::ALL.len(), "items": kind_of_token },
        }),
        &["name", "issuer", "audiences", "ceiling"],
    );
    json!({
        "type": "array", "maxItems": kavachos_engine::MAX_PROVIDERS, "items": provider,
        "description": "outside providers whose humans may use their id_tokens here",
    })
}

fn closed(properties: &Value, required: &[&str]) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.clone());
    schema.insert("required".to_owned(), json!(required));
    schema.insert("additionalProperties".to_owned(), false.into());
    Value::Object(schema)
}

/// How one is written, in a file where every line of it is a comment.
pub(in crate::config) const fn example() -> &'static str {
    EXAMPLE
}
