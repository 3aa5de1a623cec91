//! The keys of outside providers: fetched, kept, dropped, and no longer believed.

use kavachos_test::{KeysAnswer, ProviderSigner, TestProvider};
use serde_json::json;

use crate::id_tokens::{
    believing, disbelieved, exchange, header, refused, seconds, terms, with, world, world_with,
};
use crate::tokens::register;

#[tokio::test]
async fn an_hour_without_word_from_a_provider_ends_belief_in_it() {
    let world = world().await;
    let fresh = || world.signed(&with(world.claims(), "jti", json!(seconds(&world.app))));
    world.exchange(&fresh()).await.expect(200);
    world.provider.answers(KeysAnswer::Status(500));
    world.app.advance(59 * 60);
    world.exchange(&fresh()).await.expect(200);
    world.app.advance(60);
    let silent = world.exchange(&fresh()).await;
    refused(
        &silent,
        503,
        "temporarily_unavailable",
        "keys cannot be fetched",
    );
    assert!(silent.header("retry-after").parse::<u64>().unwrap() <= 30);
    // The twin: it is there again.
    world
        .provider
        .answers(KeysAnswer::Keys(vec![ProviderSigner::Rsa.jwk()]));
    world.app.advance(30);
    world.exchange(&fresh()).await.expect(200);
}

#[tokio::test]
async fn a_new_key_is_found_and_one_that_is_gone_is_dropped() {
    let world = world().await;
    let by = |signer: ProviderSigner| {
        let claims = with(
            world.claims(),
            "jti",
            json!(format!("{signer:?}{}", world.provider.fetches())),
        );
        signer.token(&header(signer), &claims)
    };
    world
        .provider
        .answers(KeysAnswer::Keys(vec![ProviderSigner::Rsa.jwk()]));
    world.exchange(&by(ProviderSigner::Rsa)).await.expect(200);
    disbelieved(
        &world.exchange(&by(ProviderSigner::P256)).await,
        "unknown_key",
    );
    world
        .provider
        .answers(KeysAnswer::Keys(vec![ProviderSigner::P256.jwk()]));
    // Not before half a minute is over.
    disbelieved(
        &world.exchange(&by(ProviderSigner::P256)).await,
        "unknown_key",
    );
    assert_eq!(world.provider.fetches(), 1);
    world.app.advance(30);
    world.exchange(&by(ProviderSigner::P256)).await.expect(200);
    disbelieved(
        &world.exchange(&by(ProviderSigner::Rsa)).await,
        "unknown_key",
    );
    assert_eq!(world.provider.fetches(), 2);
}

/// Lessons C 15: what a provider answers is held against the rules of every fetch.
#[tokio::test]
async fn keys_that_are_too_many_elsewhere_or_anothers_are_not_taken() {
    let elsewhere = TestProvider::start("").await;
    let keys = json!({ "keys": ProviderSigner::PUBLISHED.map(ProviderSigner::jwk) }).to_string();
    let padded = format!("{keys}{}", " ".repeat(200 * 1024));
    for answer in [
        KeysAnswer::Text(padded),
        KeysAnswer::Redirect(elsewhere.jwks_uri()),
        KeysAnswer::Text(keys.replace("\"keys\"", "\"keys\":[],\"keys\"")),
        KeysAnswer::Text(json!({ "keys": [] }).to_string()),
        KeysAnswer::Text("<html>".to_owned()),
        KeysAnswer::Status(404),
    ] {
        let world = world().await;
        world.provider.answers(answer);
        let reply = world.exchange(&world.token()).await;
        refused(
            &reply,
            503,
            "temporarily_unavailable",
            "keys cannot be fetched",
        );
        // The twin: the same keys as they should be.
        world.provider.answers(KeysAnswer::Text(keys.clone()));
        world.app.advance(30);
        world.exchange(&world.token()).await.expect(200);
    }
    assert_eq!(elsewhere.fetches(), 0);
    // A document of another issuer, and one whose keys are not asked for through it.
    let world = world().await;
    world.provider.says_it_is(&elsewhere.issuer());
    let reply = world.exchange(&world.token()).await;
    refused(
        &reply,
        503,
        "temporarily_unavailable",
        "keys cannot be fetched",
    );
    assert_eq!(elsewhere.fetches(), 0);
    let direct = world_with(|terms| {
        terms.jwks_uri = Some(format!("{}/jwks", terms.issuer));
    })
    .await;
    direct.provider.says_it_is(&elsewhere.issuer());
    direct.exchange(&direct.token()).await.expect(200);
}

#[tokio::test]
async fn a_server_that_fetches_nothing_from_its_machine_believes_no_provider_on_it() {
    let provider = TestProvider::start("").await;
    let app = believing(vec![terms("clerk", &provider)])
        .in_the_open()
        .start()
        .await;
    register(&app, json!({})).await;
    let now = seconds(&app);
    let claims =
        json!({ "iss": provider.issuer(), "sub": "u", "aud": "app", "iat": now, "exp": now + 60 });
    let token = ProviderSigner::Rsa.token(&header(ProviderSigner::Rsa), &claims);
    refused(
        &exchange(&app, &token).await,
        503,
        "temporarily_unavailable",
        "keys cannot be fetched",
    );
    assert_eq!(provider.fetches(), 0);
}
