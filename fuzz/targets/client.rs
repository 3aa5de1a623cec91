//! What a client says of itself: to an operator, when it registers, and in a document (`ClientMetadata`).
#![no_main]

use std::sync::LazyLock;

use kavachos_core::client::{
    AuthMethod, ClientId, ClientMetadata, GrantType, MAX_CLIENT_KEYS, MAX_CLIENT_NAME_BYTES,
    MAX_REDIRECTS, RedirectKind, Source,
};
use kavachos_core::json;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Where the document stands.
static ID: LazyLock<ClientId> = LazyLock::new(|| {
    let address = "https://app.example.com/client.json";
    address.parse().expect("an id")
});

/// What strangers may ask for.
const OF_STRANGERS: [GrantType; 2] = [GrantType::AuthorizationCode, GrantType::RefreshToken];

/// What was accepted gives a client no more than its kind gets, and is written and read the same.
fn check(client: &ClientMetadata, source: Source) {
    let written = serde_json::to_value(client).expect("it can be written");
    assert_eq!(
        serde_json::from_value::<ClientMetadata>(written.clone())
            .as_ref()
            .ok(),
        Some(client)
    );
    let said = written.as_object().expect("an object");
    assert_eq!(ClientMetadata::read(said, source).as_ref(), Ok(client));
    assert!(!client.narrows(client));

    let name = &client.client_name;
    assert!((1..=MAX_CLIENT_NAME_BYTES).contains(&name.len()));
    let shows_otherwise = |c: char| {
        let is_odd = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c.is_control() || is_odd
    };
    assert!(!name.contains(shows_otherwise));
    assert!(!client.grant_types.is_empty());
    let of_strangers = |grant: &GrantType| OF_STRANGERS.contains(grant);
    assert!(source == Source::Operator || client.grant_types.iter().all(of_strangers));
    let method = client.token_endpoint_auth_method;
    assert!(source != Source::Document || !method.has_secret());
    assert!(method != AuthMethod::None || !client.may(GrantType::ClientCredentials));
    assert_eq!(method == AuthMethod::PrivateKeyJwt, client.jwks.is_some());
    check_keys(&written["jwks"]);
    check_redirects(client);
}

fn check_keys(set: &Value) {
    let keys = set["keys"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(keys.len() <= MAX_CLIENT_KEYS);
    for member in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
        assert!(keys.iter().all(|key| key.get(member).is_none()));
    }
}

/// Each stands once, is one that it is, and runs nothing: no scheme of a browser's own, and `http` on this machine alone.
fn check_redirects(client: &ClientMetadata) {
    let uris = &client.redirect_uris;
    assert!(uris.len() <= MAX_REDIRECTS);
    assert_eq!(uris.is_empty(), !client.may(GrantType::AuthorizationCode));
    for (at, uri) in uris.iter().enumerate() {
        assert!(!uris[..at].contains(uri));
        assert!(client.redirect(uri).is_some());
        let (scheme, _) = uri.as_str().split_once(':').expect("a scheme");
        match uri.kind() {
            RedirectKind::Site => assert_eq!(scheme, "https"),
            RedirectKind::Loopback => assert!(["http", "https"].contains(&scheme)),
            RedirectKind::Private => assert!(
                ![
                    "javascript",
                    "data",
                    "vbscript",
                    "blob",
                    "file",
                    "about",
                    "http",
                    "https"
                ]
                .contains(&scheme)
            ),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(client) = ClientMetadata::of_document(&ID, input) {
        check(&client, Source::Document);
        let other = "https://app.example.com/client.json/"
            .parse()
            .expect("an id");
        assert!(ClientMetadata::of_document(&other, input).is_err());
    }
    let Ok(Value::Object(said)) = json::parse(input) else {
        return;
    };
    for source in [Source::Operator, Source::Itself, Source::Document] {
        if let Ok(client) = ClientMetadata::read(&said, source) {
            check(&client, source);
        }
    }
});
