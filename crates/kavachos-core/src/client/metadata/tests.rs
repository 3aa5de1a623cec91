//! What clients say of themselves: what is taken of it, and what is not.

use serde_json::json;

use super::*;

fn read(said: &Value, source: Source) -> Result<ClientMetadata, BadMetadata> {
    ClientMetadata::read(said.as_object().unwrap(), source)
}

fn by_itself(said: &Value) -> Result<ClientMetadata, BadMetadata> {
    read(said, Source::Itself)
}

fn with(member: &str, value: Value) -> Value {
    let mut said = json!({ "redirect_uris": ["http://127.0.0.1/cb"] });
    said[member] = value;
    said
}

/// What the client SDKs of MCP send.
#[test]
fn what_mcp_clients_say_is_taken() {
    let said = json!({
        "client_name": "MCP Client", "redirect_uris": ["http://127.0.0.1:8080/cb"],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
        "response_types": ["code"], "scope": "a b", "application_type": "native", "software_id": "x",
        "contacts": ["a@example.com"], "logo_uri": "http://169.254.169.254/",
    });
    let client = by_itself(&said).unwrap();
    assert_eq!(client.client_name, "MCP Client");
    assert_eq!(client.token_endpoint_auth_method, AuthMethod::None);
    assert!(client.may(GrantType::AuthorizationCode) && client.may(GrantType::RefreshToken));
    let stored = serde_json::to_string(&client).unwrap();
    assert_eq!(
        serde_json::from_str::<ClientMetadata>(&stored).unwrap(),
        client
    );
    assert!(!stored.contains("169.254"), "{stored}");
}

#[test]
fn a_page_for_people_is_shown_that_is_one() {
    let shown = |uri: &str| {
        by_itself(&with("client_uri", json!(uri)))
            .unwrap()
            .client_uri
    };
    let page = "https://app.example.com/about?x=y";
    assert_eq!(shown(page).as_deref(), Some(page));
    let long = format!("https://app.example.com/{}", "a".repeat(MAX_SHOWN_BYTES));
    for other in [
        "http://127.0.0.1/",
        "javascript:alert(1)",
        "com.example:/x",
        "https://a@b.example/",
        &long,
    ] {
        assert_eq!(shown(other), None, "{other}");
    }
}

#[test]
fn what_is_not_said_is_what_the_standard_says() {
    let client = by_itself(&with("client_name", Value::Null)).unwrap();
    assert_eq!(client.token_endpoint_auth_method, AuthMethod::SecretBasic);
    assert_eq!(client.grant_types, [GrantType::AuthorizationCode]);
    let document = read(&with("client_name", json!("x")), Source::Document).unwrap();
    assert_eq!(document.token_endpoint_auth_method, AuthMethod::None);
}

/// Lesson C 96: nobody registers themselves more than strangers get.
#[test]
fn strangers_get_what_strangers_get() {
    let all: Vec<&str> = GrantType::ALL.map(GrantType::as_str).to_vec();
    for source in [Source::Itself, Source::Document] {
        let client = read(&with("grant_types", json!(all)), source).unwrap();
        assert_eq!(
            client.grant_types,
            [GrantType::AuthorizationCode, GrantType::RefreshToken]
        );
    }
    let operator = read(&with("grant_types", json!(all)), Source::Operator).unwrap();
    assert_eq!(operator.grant_types.len(), 4);
    let odd = with("grant_types", json!(["authorization_code", "refresh"]));
    assert!(by_itself(&odd).is_ok());
    let told = read(&odd, Source::Operator).unwrap_err();
    assert!(told.message().contains("`refresh`"), "{}", told.message());
    for none in [
        json!([]),
        json!(["refresh_token"]),
        json!(["client_credentials"]),
        json!(["implicit", "password"]),
    ] {
        let refused = by_itself(&with("grant_types", none.clone()));
        assert_eq!(
            refused.unwrap_err().code(),
            "invalid_client_metadata",
            "{none}"
        );
    }
}

#[test]
fn a_wrong_redirect_address_does_not_sink_the_others() {
    let mixed = json!([
        "javascript:alert(1)",
        "https://app.example.com/cb",
        "http://evil.example/cb",
        "https://app.example.com/cb"
    ]);
    let client = by_itself(&with("redirect_uris", mixed.clone())).unwrap();
    assert_eq!(client.redirect_uris.len(), 1);
    // An operator is told of the first one.
    let told = read(&with("redirect_uris", mixed), Source::Operator).unwrap_err();
    assert!(told.message().contains("javascript"), "{}", told.message());
    for none in [
        json!([]),
        Value::Null,
        json!(["javascript:alert(1)"]),
        json!("https://app.example.com/cb"),
        json!([7]),
    ] {
        let refused = by_itself(&with("redirect_uris", none.clone()));
        assert_eq!(
            refused.unwrap_err().code(),
            "invalid_redirect_uri",
            "{none}"
        );
    }
    let many: Vec<String> = (0..=MAX_REDIRECTS)
        .map(|n| format!("https://app.example.com/{n}"))
        .collect();
    assert_eq!(
        by_itself(&with("redirect_uris", json!(many)))
            .unwrap_err()
            .code(),
        "invalid_redirect_uri"
    );
    let web = by_itself(&with("application_type", json!("web"))).unwrap_err();
    assert!(web.message().contains("native"), "{}", web.message());
}

#[test]
fn a_document_is_of_its_own_address() {
    let id: ClientId = "https://app.example.com/client.json".parse().unwrap();
    let said = json!({
        "client_id": id, "client_name": "Editor", "redirect_uris": ["http://127.0.0.1/cb"],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
    });
    let read = |said: &Value| ClientMetadata::of_document(&id, said.to_string().as_bytes());
    assert_eq!(read(&said).unwrap().client_name, "Editor");
    for (member, value) in [
        ("client_id", json!("https://app.example.com/client.json/")),
        ("client_id", json!("https://evil.example/client.json")),
        ("client_id", Value::Null),
        ("client_name", Value::Null),
        ("redirect_uris", json!([])),
        ("client_secret", json!("x")),
        ("client_secret_expires_at", json!(0)),
        ("token_endpoint_auth_method", json!("client_secret_post")),
    ] {
        let mut said = said.clone();
        said[member] = value.clone();
        assert!(read(&said).is_err(), "{member} {value}");
    }
    for text in [
        &b""[..],
        b"[]",
        b"{",
        b"{\"client_id\":1,\"client_id\":2}",
        b"\xff",
    ] {
        assert!(ClientMetadata::of_document(&id, text).is_err());
    }
}

#[test]
fn a_document_has_no_secret_and_who_asks_for_itself_shows_who_it_is() {
    for method in [
        "client_secret_basic",
        "client_secret_post",
        "client_secret_jwt",
        "x",
    ] {
        let refused = read(
            &with("token_endpoint_auth_method", json!(method)),
            Source::Document,
        );
        assert_eq!(
            refused.unwrap_err().code(),
            "invalid_client_metadata",
            "{method}"
        );
    }
    let own =
        json!({ "grant_types": ["client_credentials"], "token_endpoint_auth_method": "none" });
    assert!(read(&own, Source::Operator).is_err());
    let own = json!({ "grant_types": ["client_credentials"] });
    assert_eq!(read(&own, Source::Operator).unwrap().redirect_uris, []);
}

#[test]
fn who_signs_who_they_are_writes_their_keys_down() {
    use crate::token::{Algorithm, SigningKey};
    let key = SigningKey::from_seed(Algorithm::Es256, &[7; 32]).unwrap();
    let said = with("token_endpoint_auth_method", json!("private_key_jwt"));
    let mut good = said.clone();
    good["jwks"] = json!({ "keys": [key.public().to_jwk()] });
    for source in [Source::Operator, Source::Itself, Source::Document] {
        let client = read(&good, source).unwrap();
        assert!(client.jwks.is_some());
        let stored = serde_json::to_string(&client).unwrap();
        assert_eq!(
            serde_json::from_str::<ClientMetadata>(&stored).unwrap(),
            client
        );
        assert!(read(&said, source).is_err());
    }
    good["token_endpoint_auth_signing_alg"] = json!("ES256");
    assert!(by_itself(&good).is_ok());
    for (member, value) in [
        ("token_endpoint_auth_signing_alg", json!("RS256")),
        ("jwks_uri", json!("https://app.example.com/jwks.json")),
        ("jwks", json!({ "keys": [] })),
        ("jwks", json!({ "keys": [{ "kty": "oct", "k": "AQAB" }] })),
    ] {
        let mut said = good.clone();
        said[member] = value.clone();
        let refused = by_itself(&said).unwrap_err();
        assert_eq!(
            refused.code(),
            "invalid_client_metadata",
            "{member} {value}"
        );
    }
    // Others' keys are not looked at.
    let other = by_itself(&with("jwks_uri", json!("https://app.example.com/jwks"))).unwrap();
    assert_eq!(other.jwks, None);
}

#[test]
fn what_is_taken_away_or_demanded_narrows_and_nothing_else_does() {
    use crate::token::{Algorithm, SigningKey};
    let key = |seed| SigningKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap();
    let keys = |seeds: &[u8]| {
        let keys = seeds.iter().map(|seed| key(*seed).public().to_jwk());
        json!({ "keys": keys.collect::<Vec<_>>() })
    };
    let site = "https://app.example.com/cb";
    let said = json!({
        "redirect_uris": ["http://127.0.0.1/cb", site], "jwks": keys(&[1, 2]),
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "private_key_jwt",
    });
    let before = by_itself(&said).unwrap();
    let narrows = |member: &str, value: Value| {
        let mut now = said.clone();
        now[member] = value;
        by_itself(&now).unwrap().narrows(&before)
    };
    assert!(narrows("jwks", keys(&[1])));
    assert!(narrows("jwks", keys(&[1, 3])));
    assert!(narrows("redirect_uris", json!([site])));
    assert!(narrows("grant_types", json!(["authorization_code"])));
    assert!(narrows("dpop_bound_access_tokens", json!(true)));
    assert!(narrows(
        "require_pushed_authorization_requests",
        json!(true)
    ));
    // The twins.
    assert!(!before.narrows(&before));
    assert!(!narrows("client_name", json!("x")));
    assert!(!narrows("jwks", keys(&[3, 2, 1])));
    let more = json!([site, "https://b.example/cb", "http://127.0.0.1/cb"]);
    assert!(!narrows("redirect_uris", more));
    let mut stricter = said.clone();
    stricter["dpop_bound_access_tokens"] = json!(true);
    assert!(!before.narrows(&by_itself(&stricter).unwrap()));
}

/// Lesson C 87.
#[test]
fn a_name_shows_as_it_is() {
    for name in [
        "a\u{202e}b",
        "a\u{200b}b",
        "a\nb",
        "\u{1b}[31m",
        &"x".repeat(101),
    ] {
        assert!(
            by_itself(&with("client_name", json!(name))).is_err(),
            "{name:?}"
        );
    }
    assert!(by_itself(&with("client_name", json!(7))).is_err());
    let blank = by_itself(&with("client_name", json!("  "))).unwrap();
    assert!(blank.client_name.contains("without a name"));
}
