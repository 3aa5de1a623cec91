//! Lessons A F29, C 45 and 64: what is good once is used once, however many come with it at the same moment. One table for
//! all such things.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use kavachos_auth::password::Choosing;
use kavachos_core::id_token::TokenKind;
use kavachos_engine::plugin::Plugin;
use kavachos_test::{Call, ProviderSigner, Setup, TestProvider};
use serde_json::{Value, json};

use super::scene::{OTHER, PASSWORD, Scene, code_in, every_method, link_in, token_of};
use crate::authenticator::{Authenticator, How};
use crate::id_tokens::{believing, header, seconds, terms};
use crate::provider_sign_in::kind;
use crate::{passkey, totp};

/// How many come at once.
const MANY: usize = 64;

/// A thing that is good once.
#[derive(Debug, Clone, Copy)]
enum Thing {
    LinkOfSignUp,
    LinkOfGuest,
    MagicLink,
    CodeByMail,
    LinkOfReset,
    OldPassword,
    SessionBeforeStepUp,
    ChallengeOfPasskey,
    ChallengeOfNewPasskey,
    SetUpOfCodes,
    StepOfCodes,
    StepInSession,
    BackupCode,
    PendingSignIn,
    TokenOfProvider,
}

const THINGS: [Thing; 15] = [
    Thing::LinkOfSignUp,
    Thing::LinkOfGuest,
    Thing::MagicLink,
    Thing::CodeByMail,
    Thing::LinkOfReset,
    Thing::OldPassword,
    Thing::SessionBeforeStepUp,
    Thing::ChallengeOfPasskey,
    Thing::ChallengeOfNewPasskey,
    Thing::SetUpOfCodes,
    Thing::StepOfCodes,
    Thing::StepInSession,
    Thing::BackupCode,
    Thing::PendingSignIn,
    Thing::TokenOfProvider,
];

/// A server on which neither the limits of networks nor the budgets of accounts are in the way.
struct World {
    scene: Scene,
    provider: TestProvider,
    calls: AtomicUsize,
}

/// How a thing is used: by whom, where, and with what.
struct Uses {
    path: &'static str,
    all: Vec<(Call, Value)>,
}

fn with_door(choosing: &Arc<Choosing>) -> Vec<Arc<dyn Plugin>> {
    let mut all = every_method(choosing);
    all.push(Arc::new(totp::Door));
    all
}

impl World {
    async fn start() -> Self {
        let provider = TestProvider::start("").await;
        let mut believed = terms("clerk", &provider);
        believed.sign_in = vec![kind(TokenKind::Identity, &[], &[])];
        believed.session_life = Some(std::time::Duration::from_secs(3_600));
        let setup: Setup = believing(vec![believed]).settings(|settings| {
            settings.guesses_per_account = 10_000;
            settings.wrong_codes = 10_000;
        });
        Self {
            scene: Scene::with(setup, None, with_door).await,
            provider,
            calls: AtomicUsize::new(0),
        }
    }

    /// A caller from a network of its own.
    fn stranger(&self) -> Call {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let from = format!("127.{}.{}.1", 1 + call / 250, 1 + call % 250);
        self.scene.app.anonymous().from(&from)
    }

    fn human(&self, token: &str) -> Call {
        let bearer = format!("Bearer {token}");
        self.stranger().header("authorization", &bearer)
    }

    /// An address that nobody had.
    fn address(&self) -> String {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        format!("p{number}@example.com")
    }

    /// Each of these uses from a network of its own.
    fn by_strangers(&self, path: &'static str, body: impl Fn(usize) -> Value) -> Uses {
        let all = (0..MANY).map(|number| (self.stranger(), body(number)));
        Uses {
            path,
            all: all.collect(),
        }
    }

    fn in_session(&self, path: &'static str, token: &str, body: impl Fn(usize) -> Value) -> Uses {
        let all = (0..MANY).map(|number| (self.human(token), body(number)));
        Uses {
            path,
            all: all.collect(),
        }
    }

    /// A new thing of this kind, and many uses of it.
    async fn uses(&self, thing: Thing) -> Uses {
        match thing {
            Thing::LinkOfSignUp => self.link_of_sign_up().await,
            Thing::LinkOfGuest => self.link_of_guest().await,
            Thing::MagicLink | Thing::CodeByMail | Thing::LinkOfReset => self.mailed(thing).await,
            Thing::OldPassword | Thing::SessionBeforeStepUp => self.by_password(thing).await,
            Thing::ChallengeOfPasskey | Thing::ChallengeOfNewPasskey => self.passkey(thing).await,
            Thing::SetUpOfCodes => self.set_up_of_codes().await,
            Thing::StepOfCodes
            | Thing::StepInSession
            | Thing::BackupCode
            | Thing::PendingSignIn => self.second_factor(thing).await,
            Thing::TokenOfProvider => self.token_of_provider(),
        }
    }

    async fn link_of_sign_up(&self) -> Uses {
        let email = self.address();
        let body = json!({ "email": email, "password": PASSWORD });
        let asked = self.stranger().post("/api/auth/sign-up/email", body).await;
        asked.expect(200);
        let link = self.scene.mailed((&email, 0), link_in).await;
        // From other browsers, so that each shows the password as well.
        let body = json!({ "token": link, "password": PASSWORD });
        self.by_strangers("/api/auth/verify-email", |_| body.clone())
    }

    async fn link_of_guest(&self) -> Uses {
        let came = self.stranger().post("/api/auth/anonymous", json!({})).await;
        let guest = token_of(&came.expect(200));
        let email = self.address();
        let body = json!({ "email": email, "password": PASSWORD });
        let guest_calls = self.human(&guest);
        let asked = guest_calls.post("/api/auth/anonymous/upgrade", body).await;
        asked.expect(200);
        let link = self.scene.mailed((&email, 0), link_in).await;
        let verify = "/api/auth/anonymous/upgrade/verify";
        self.in_session(verify, &guest, |_| json!({ "token": link }))
    }

    async fn mailed(&self, thing: Thing) -> Uses {
        let email = self.address();
        if matches!(thing, Thing::LinkOfReset) {
            let body = json!({ "name": "Ada", "email": email });
            let made = self.scene.app.operator().post("/api/v1/users", body).await;
            made.expect(201);
        }
        let (send, verify) = match thing {
            Thing::CodeByMail => ("/api/auth/email-otp/send", "/api/auth/email-otp/verify"),
            Thing::LinkOfReset => ("/api/auth/forgot-password", "/api/auth/reset-password"),
            _ => ("/api/auth/magic-link/send", "/api/auth/magic-link/verify"),
        };
        let asked = self.stranger().post(send, json!({ "email": email })).await;
        let asked = asked.expect(200);
        if matches!(thing, Thing::CodeByMail) {
            let code = self.scene.mailed((&email, 0), code_in).await;
            let challenge = asked.text_at("/data/challenge");
            let body = json!({ "challenge": challenge, "code": code });
            return self.by_strangers(verify, |_| body.clone());
        }
        let token = self.scene.mailed((&email, 0), link_in).await;
        self.by_strangers(verify, |number| match thing {
            Thing::LinkOfReset => {
                json!({ "token": token, "newPassword": format!("{OTHER} {number}") })
            }
            _ => json!({ "token": token, "confirm": true }),
        })
    }

    async fn by_password(&self, thing: Thing) -> Uses {
        let session = self.scene.account(&self.address()).await;
        if matches!(thing, Thing::SessionBeforeStepUp) {
            let body = json!({ "method": "password", "password": PASSWORD });
            return self.in_session("/api/auth/re-authenticate", &session, |_| body.clone());
        }
        self.in_session("/api/auth/change-password", &session, |number| {
            json!({ "currentPassword": PASSWORD, "newPassword": format!("{OTHER} {number}") })
        })
    }

    async fn passkey(&self, thing: Thing) -> Uses {
        let app = &self.scene.app;
        let (_, session) = passkey::human(app).await;
        let seed = 1 + u8::try_from(self.calls.load(Ordering::Relaxed) % 250).unwrap();
        if matches!(thing, Thing::ChallengeOfNewPasskey) {
            let options = passkey::offered(app, &session).await;
            let made = Authenticator::new(seed).make(&options, &How::default());
            return self.in_session(passkey::KEEP, &session.token, |_| made.clone());
        }
        let mut device = passkey::registered(app, &session, seed).await;
        let options = passkey::asked(app).await;
        let answers: Vec<Value> = (0..MANY)
            .map(|_| device.answer(&options, &How::default()))
            .collect();
        self.by_strangers(passkey::ANSWER, |number| answers[number].clone())
    }

    async fn set_up_of_codes(&self) -> Uses {
        let app = &self.scene.app;
        let session = app.session(&app.user().await).await;
        let begun = self
            .human(&session.token)
            .post(totp::SETUP, json!({}))
            .await;
        let code = totp::code(app, begun.expect(201).text_at("/data/secret"), 0);
        self.in_session(totp::ENABLE, &session.token, |_| json!({ "code": code }))
    }

    async fn second_factor(&self, thing: Thing) -> Uses {
        let app = &self.scene.app;
        let human = totp::enrolled(app).await;
        let code = match thing {
            Thing::BackupCode => human.backup[0].clone(),
            _ => totp::code(app, &human.secret, 1),
        };
        if matches!(thing, Thing::StepInSession) {
            let session = app.session(&human.user).await;
            return self.in_session(totp::CONFIRM, &session.token, |_| json!({ "code": code }));
        }
        let mut sign_ins = vec![totp::pending(app, &human.user).await];
        // A code in as many sign-ins, or one sign-in with a code that would be good in it each time.
        while !matches!(thing, Thing::PendingSignIn) && sign_ins.len() < MANY {
            sign_ins.push(totp::pending(app, &human.user).await);
        }
        self.by_strangers(totp::VERIFY, |number| {
            let sign_in = &sign_ins[number % sign_ins.len()];
            let code = match thing {
                Thing::PendingSignIn => &human.backup[number % human.backup.len()],
                _ => &code,
            };
            json!({ "signIn": sign_in, "code": code })
        })
    }

    fn token_of_provider(&self) -> Uses {
        let now = seconds(&self.scene.app);
        let name = self.address();
        let claims = json!({
            "iss": self.provider.issuer(), "sub": name, "aud": "app", "iat": now - 1, "exp": now + 120,
        });
        let signer = ProviderSigner::Rsa;
        let token = signer.token(&header(signer), &claims);
        self.by_strangers("/api/auth/sign-in/provider", |_| json!({ "token": token }))
    }

    async fn sessions_opened(&self) -> usize {
        self.scene
            .app
            .audit("kind=session.opened&limit=1000")
            .await
            .len()
    }
}

#[tokio::test]
async fn what_is_good_once_is_used_once_of_64_times_at_once() {
    let world = World::start().await;
    for thing in THINGS {
        let Uses { path, all } = world.uses(thing).await;
        let before = world.sessions_opened().await;
        let uses = all
            .into_iter()
            .map(|(call, body)| async move { call.post(path, body).await });
        let replies = join_all(uses).await;
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        let used = statuses.iter().filter(|status| **status < 300).count();
        assert_eq!(used, 1, "{thing:?}: {statuses:?}");
        let known = [200, 201, 401, 403, 409, 429];
        let odd = replies.iter().find(|reply| !known.contains(&reply.status));
        assert!(odd.is_none(), "{thing:?}: {odd:?}");
        let opened = world.sessions_opened().await - before;
        assert!(opened <= 1, "{thing:?}: {opened} sessions");
        // The twin: another thing of its kind is used too, so it was not the limits that held.
        let Uses { path, all } = world.uses(thing).await;
        let (call, body) = all.into_iter().next().unwrap();
        let reply = call.post(path, body).await;
        assert!(reply.status < 300, "{thing:?}: {reply}");
    }
}
