//! Accounts with an address and an identity at a provider: who takes the account over takes it away from the identity, and
//! whoever links or ends that is told.

use kavachos_auth::email_password::Verification;
use kavachos_auth::provider::ProviderSignIn;
use kavachos_core::id_token::TokenKind;
use kavachos_engine::FreshBy;
use kavachos_test::{ProviderSigner, Reply, TestAgent, TestProvider, may};
use serde_json::{Value, json};

use super::scene::{ADA, OTHER, PASSWORD, Scene, token_of};
use crate::id_tokens::{believing, header, seconds, terms};
use crate::provider_sign_in::kind;

const AGENTS: &str = "/api/v1/agents";
const LINK: &str = "/api/auth/link/provider";
const SIGN_IN: &str = "/api/auth/sign-in/provider";
const FORGOT: &str = "/api/auth/forgot-password";
const RESET: &str = "/api/auth/reset-password";
const MAGIC: &str = "/api/auth/magic-link";
const NAMED: &str = "an account at another provider";

/// A scene whose server believes a provider.
pub(super) struct Provided {
    pub(super) scene: Scene,
    provider: TestProvider,
}

pub(super) async fn provided(verification: Verification) -> Provided {
    let provider = TestProvider::start("").await;
    let mut terms = terms("clerk", &provider);
    terms.sign_in = vec![kind(TokenKind::Identity, &[], &[])];
    terms.sign_in[0].fresh_by = FreshBy::Issue;
    terms.session_life = Some(std::time::Duration::from_secs(3_600));
    let setup = believing(vec![terms]).with(|builder| builder.plugin(ProviderSignIn));
    Provided {
        scene: Scene::of(setup, verification).await,
        provider,
    }
}

impl Provided {
    /// What the provider says of a human now; each of them another token.
    pub(super) fn token(&self, human: &str, number: usize) -> String {
        let now = seconds(&self.scene.app);
        let claims = json!({ "iss": self.provider.issuer(), "sub": human, "aud": "app", "iat": now,
            "exp": now + 120, "jti": number.to_string() });
        ProviderSigner::Rsa.token(&header(ProviderSigner::Rsa), &claims)
    }

    pub(super) async fn link(&self, session: &str, token: &str) -> Reply {
        let body = json!({ "token": token });
        self.scene.app.call(session).post(LINK, body).await
    }

    /// What somebody gets who calls as this human of the provider.
    async fn calls(&self, human: &str, number: usize) -> Reply {
        let token = self.token(human, number);
        self.scene.app.call(&token).get(AGENTS).await
    }

    pub(super) async fn session_by_provider(&self, human: &str, number: usize) -> Reply {
        let body = json!({ "token": self.token(human, number) });
        self.scene.post(SIGN_IN, body).await
    }

    /// An agent that is made with a provider's token, or in a session.
    async fn agent(&self, credential: &str) -> TestAgent {
        let body = json!({ "name": "mine", "type": "service",
            "permissions": may(&["*"], "tools:call:search") });
        let made = self.scene.app.call(credential).post(AGENTS, body).await;
        TestAgent::of(&made.expect(201))
    }

    async fn decided(&self, agent: &TestAgent) -> String {
        let app = &self.scene.app;
        let reply = app.decide(&agent.id, "run", "tools:call:search").await;
        reply.text_at("/data/code").to_owned()
    }

    /// The reader of the address takes the account over, or gets it back.
    async fn reads_mail(&self, by: Way) {
        let scene = &self.scene;
        let (ask, answer) = match by {
            Way::MagicLink => (format!("{MAGIC}/send"), format!("{MAGIC}/verify")),
            Way::Reset => (FORGOT.to_owned(), RESET.to_owned()),
        };
        scene.post(&ask, json!({ "email": ADA })).await.expect(200);
        let token = scene.mailed_token().await;
        let body = match by {
            Way::MagicLink => json!({ "token": token, "confirm": true }),
            Way::Reset => json!({ "token": token, "newPassword": OTHER }),
        };
        scene.post(&answer, body).await.expect(200);
    }

    async fn why(&self) -> Value {
        let record = self.scene.app.audit("kind=user.unlinked").await.remove(0);
        record["details"]["why"].clone()
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    MagicLink,
    Reset,
}

/// Lessons C 38, and review B 2: what a stranger tied to the account is worth nothing once its reader has it.
#[tokio::test]
async fn whoever_takes_an_account_over_takes_the_strangers_identity_from_it() {
    for way in [Way::MagicLink, Way::Reset] {
        let world = provided(Verification::Later).await;
        let scene = &world.scene;
        let body = json!({ "email": ADA, "password": PASSWORD });
        let made = scene.post("/api/auth/sign-up/email", body).await;
        let stranger = token_of(&made.expect(200));
        let linked = world.link(&stranger, &world.token("mallory", 0)).await;
        let user = linked.expect(200).id().to_owned();
        // Whoever reads the address is told of it.
        assert!(scene.next_mail().await.contains(NAMED));
        let agent = world.agent(&world.token("mallory", 1)).await;
        assert_eq!(world.decided(&agent).await, "allowed");
        // The twin: until then the identity is a way in.
        let before = world.session_by_provider("mallory", 2).await.expect(200);
        assert_eq!(before.text_at("/data/user/id"), user);
        let session = token_of(&before);

        world.reads_mail(way).await;
        assert_eq!(world.why().await, "claimed", "{way:?}");
        let open = scene.app.call(&session).get(AGENTS).await;
        open.refused(401, "unauthenticated");
        assert_eq!(world.decided(&agent).await, "agent_revoked", "{way:?}");
        scene.app.advance(60);
        let calls = world.calls("mallory", 3).await.refused(403, "forbidden");
        assert!(calls.message().contains("taken from an account"), "{calls}");
        let opens = world.session_by_provider("mallory", 4).await;
        opens.refused(403, "forbidden");
        let user = format!("/api/v1/users/{user}");
        let user = scene.app.operator().get(&user).await.expect(200);
        assert!(user.at("/data/external").is_null());
        // What operators made of others goes on.
        world.calls("bob", 5).await.expect(200);
    }
}

/// Agents that a provider's token made have no session behind them, and end with the rest.
#[tokio::test]
async fn a_claim_ends_agents_of_the_identity_and_leaves_those_of_operators() {
    for linked in [true, false] {
        let world = provided(Verification::Later).await;
        let app = &world.scene.app;
        let mut body = json!({ "email": ADA });
        if linked {
            body["external"] = json!({ "provider": "clerk", "externalId": "user_1" });
        }
        let made = app.operator().post("/api/v1/users", body).await.expect(201);
        let agent = match linked {
            true => world.agent(&world.token("user_1", 0)).await,
            false => app.agent(made.id(), may(&["*"], "tools:call:search")).await,
        };
        assert_eq!(world.decided(&agent).await, "allowed");
        world.reads_mail(Way::MagicLink).await;
        let expected = if linked { "agent_revoked" } else { "allowed" };
        assert_eq!(world.decided(&agent).await, expected);
    }
}

/// What operators made stays where nobody came in by the identity that they gave, as where they gave none.
#[tokio::test]
async fn what_operators_made_stays_until_somebody_comes_in_by_the_identity_that_they_gave() {
    for comes_in in [ComesIn::Never, ComesIn::ByToken, ComesIn::BySession] {
        let world = provided(Verification::Later).await;
        let app = &world.scene.app;
        let identity = json!({ "provider": "clerk", "externalId": "user_1" });
        let body = json!({ "email": ADA, "external": identity });
        let made = app.operator().post("/api/v1/users", body).await.expect(201);
        let operators = app.agent(made.id(), may(&["*"], "tools:call:search")).await;
        match comes_in {
            ComesIn::Never => {}
            ComesIn::ByToken => {
                world.agent(&world.token("user_1", 0)).await;
            }
            ComesIn::BySession => {
                let opened = world.session_by_provider("user_1", 0).await;
                opened.expect(200);
            }
        }
        // Sessions are forgotten; that somebody came in is not.
        app.advance(90 * 24 * 60 * 60);
        app.kavach().engine().forget().await.unwrap();
        assert_eq!(world.decided(&operators).await, "allowed");
        world.reads_mail(Way::MagicLink).await;
        let expected = match comes_in {
            ComesIn::Never => "allowed",
            ComesIn::ByToken | ComesIn::BySession => "agent_revoked",
        };
        assert_eq!(world.decided(&operators).await, expected, "{comes_in:?}");
        // Nor does the identity stay a way in.
        let opens = world.session_by_provider("user_1", 1).await;
        opens.refused(403, "forbidden");
    }
}

#[derive(Debug, Clone, Copy)]
enum ComesIn {
    Never,
    ByToken,
    BySession,
}

/// Review B 4: who found an open session leaves nothing behind that a human does not hear of and cannot remove.
#[tokio::test]
async fn a_link_is_told_and_its_human_ends_it_by_another_way_in() {
    let world = provided(Verification::First).await;
    let scene = &world.scene;
    let app = &scene.app;
    let ada = scene.ada().await;
    let linked = world.link(&ada, &world.token("user_1", 0)).await;
    let user = linked.expect(200).id().to_owned();
    // The first mail was the link by which she verified her address.
    let told = scene.next_mail().await;
    assert!(told.contains("can now be signed in to with") && told.contains(NAMED));
    let by_provider = world.session_by_provider("user_1", 1).await;
    let by_provider = token_of(&by_provider.expect(200));
    let by_operator = app.session(&user).await.token;
    world.calls("user_1", 2).await.expect(200);
    // Nobody takes their last way in away: neither session shows another one.
    for session in [&by_provider, &by_operator] {
        let kept = app.call(session).delete(LINK).await;
        let kept = kept.refused(409, "conflict");
        assert!(kept.message().contains("another way in"), "{kept}");
    }
    let bearer = app.call(&world.token("user_1", 3)).delete(LINK).await;
    bearer.refused(403, "forbidden");
    app.advance(600);
    app.call(&ada).delete(LINK).await.refused(403, "forbidden");
    let ada = token_of(&scene.sign_in(ADA, PASSWORD).await.expect(200));
    let ended = app.call(&ada).delete(LINK).await.expect(200);
    assert_eq!(ended.at("/data/state"), "closed");
    let told = scene.next_mail().await;
    assert!(told.contains(NAMED), "{told}");
    assert_eq!(world.why().await, "asked");
    for session in [&ada, &by_provider, &by_operator] {
        let open = app.call(session).get(AGENTS).await;
        open.refused(401, "unauthenticated");
    }
    app.advance(60);
    world.calls("user_1", 4).await.refused(403, "forbidden");
    // The account is there as before, and may be linked again by hand: by its human alone.
    let ada = token_of(&scene.sign_in(ADA, PASSWORD).await.expect(200));
    let none = app.call(&ada).delete(LINK).await;
    none.refused(404, "not_found");
    let again = world.link(&ada, &world.token("user_1", 5)).await;
    assert_eq!(again.expect(200).id(), user);
    world.calls("user_1", 6).await.expect(200);
}

#[tokio::test]
async fn a_reset_by_mail_takes_the_identity_away_and_a_new_password_in_a_session_does_not() {
    for reset in [true, false] {
        let world = provided(Verification::First).await;
        let scene = &world.scene;
        let ada = scene.ada().await;
        let linked = world.link(&ada, &world.token("user_1", 0)).await;
        linked.expect(200);
        assert!(scene.next_mail().await.contains(NAMED));
        if reset {
            world.reads_mail(Way::Reset).await;
            assert_eq!(world.why().await, "recovered");
        } else {
            let body = json!({ "currentPassword": PASSWORD, "newPassword": OTHER });
            let path = "/api/auth/change-password";
            scene.app.call(&ada).post(path, body).await.expect(200);
        }
        scene.app.advance(60);
        let calls = world.calls("user_1", 1).await;
        assert_eq!(calls.status, if reset { 403 } else { 200 }, "{calls}");
        scene.sign_in(ADA, OTHER).await.expect(200);
    }
}
