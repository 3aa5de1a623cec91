//! Everything that people do to sign in, with canaries for passwords, tokens, links and codes: well, badly, and on pages.

use http::Method;
use kavachos_test::{Reply, TestApp};
use serde_json::{Value, json};

use super::scene::{Scene, code_in, link_in, token_of};
use super::search::Seen;
use super::tab::Watched;
use crate::authenticator::{Authenticator, How};
use crate::totp;

/// What every password here has in it.
pub(super) const CANARY: &str = "Kanarienvogel";
pub(super) const FIRST: &str = "Kanarienvogel im Bergwerk";
pub(super) const SECOND: &str = "Kanarienvogel am Fenster";
pub(super) const THIRD: &str = "Kanarienvogel im Garten";
pub(super) const WRONG: &str = "Kanarienvogel, falsch geraten";
/// What a human is called: no canary.
pub(super) const NAME: &str = "Rotkehlchen";
pub(super) const ADA: &str = "ada@example.com";

/// What the flows are done on.
pub(super) struct Flows<'a> {
    pub(super) scene: &'a Scene,
    pub(super) watched: &'a Watched<'a>,
}

/// An app for codes, and what it was set up with.
struct App {
    secret: String,
    backup: Vec<String>,
}

impl<'a> Flows<'a> {
    fn app(&self) -> &'a TestApp {
        self.watched.app
    }

    fn seen(&self) -> &'a Seen {
        self.watched.seen
    }

    /// What is found in the next mail to this address, which is a canary.
    pub(super) async fn mailed(
        &self,
        (email, before): (&str, usize),
        find: fn(&str) -> Option<String>,
    ) -> String {
        let found = self.scene.mailed((email, before), find).await;
        self.seen().hide("in a mail", &found);
        found
    }

    pub(super) fn mails(&self) -> usize {
        self.scene.smtp.mails().len()
    }

    /// The code that an app shows so many steps from now, which is a canary.
    pub(super) fn code(&self, secret: &str, steps: u64) -> String {
        let code = totp::code(self.app(), secret, steps);
        self.seen().hide("code of an app", &code);
        code
    }

    /// All of it: the token of a human who is signed in at the end.
    pub(super) async fn all(&self) -> String {
        let token = self.email_and_password().await;
        let token = self.passwords_anew(&token).await;
        self.links_and_codes().await;
        let token = self.second_factor(&token).await;
        self.guest().await;
        self.username().await;
        let token = self.passkey(&token).await;
        self.own_things(&token).await;
        self.administered().await;
        self.gone().await;
        token
    }

    async fn email_and_password(&self) -> String {
        let mut ada = self.watched.tab();
        let mut stranger = self.watched.tab();
        let before = self.mails();
        let body = json!({ "email": ADA, "password": FIRST, "name": NAME });
        ada.post("/api/auth/sign-up/email", body.clone())
            .await
            .expect(200);
        let link = self.mailed((ADA, before), link_in).await;
        let verify = "/api/auth/verify-email";
        for (body, status) in [
            (json!({ "token": link }), 200),
            (json!({ "token": link, "password": WRONG }), 401),
            (json!({ "token": format!("{link}A") }), 401),
        ] {
            stranger.post(verify, body).await.expect(status);
        }
        ada.post(verify, json!({ "token": link })).await.expect(200);
        ada.post(verify, json!({ "token": link })).await.expect(401);
        stranger
            .post("/api/auth/sign-up/email", body)
            .await
            .expect(200);
        let sign_in = "/api/auth/sign-in/email";
        for (email, password, status) in [
            (ADA, WRONG, 401),
            ("nobody@example.com", FIRST, 401),
            (FIRST, ADA, 400),
            (ADA, FIRST, 200),
        ] {
            let body = json!({ "email": email, "password": password });
            self.watched.tab().post(sign_in, body).await.expect(status);
        }
        let body = json!({ "email": ADA, "password": FIRST });
        let mut known = self.watched.tab();
        known
            .post_for_cookie(sign_in, body.clone())
            .await
            .expect(200);
        let kept = known.cookie("__Host-kavach_session");
        // Once more with both cookies of before: the old session ends.
        known
            .post_for_cookie(sign_in, body.clone())
            .await
            .expect(200);
        self.watched
            .program(&kept)
            .get("/api/auth/session")
            .await
            .expect(401);
        token_of(&stranger.post(sign_in, body).await.expect(200))
    }

    /// Changed, forgotten, set anew, and shown again.
    async fn passwords_anew(&self, token: &str) -> String {
        let change = "/api/auth/change-password";
        let mut ada = self.watched.program(token);
        for (current, new, status) in [
            (WRONG, SECOND, 403),
            (FIRST, "Kanarie", 400),
            (FIRST, SECOND, 200),
        ] {
            let body = json!({ "currentPassword": current, "newPassword": new });
            ada.post(change, body).await.expect(status);
        }
        let before = self.mails();
        let mut stranger = self.watched.tab();
        for email in [ADA, "nobody@example.com"] {
            let body = json!({ "email": email });
            stranger
                .post("/api/auth/forgot-password", body)
                .await
                .expect(200);
        }
        let link = self.mailed((ADA, before), link_in).await;
        for (token, new, status) in [
            (format!("{link}AA"), THIRD, 401),
            (link.clone(), "Kanarie", 400),
            (link.clone(), THIRD, 200),
            (link, SECOND, 401),
        ] {
            let body = json!({ "token": token, "newPassword": new });
            stranger
                .post("/api/auth/reset-password", body)
                .await
                .expect(status);
        }
        let body = json!({ "email": ADA, "password": THIRD });
        let opened = stranger
            .post("/api/auth/sign-in/email", body)
            .await
            .expect(200);
        let mut ada = self.watched.program(&token_of(&opened));
        let again = |password: &str| json!({ "method": "password", "password": password });
        let confirm = "/api/auth/re-authenticate";
        ada.post(confirm, again(WRONG)).await.expect(403);
        token_of(&ada.post(confirm, again(THIRD)).await.expect(200))
    }

    async fn links_and_codes(&self) {
        let email = "bea@example.com";
        let (mut bea, mut other) = (self.watched.tab(), self.watched.tab());
        let before = self.mails();
        bea.post("/api/auth/magic-link/send", json!({ "email": email }))
            .await
            .expect(200);
        let link = self.mailed((email, before), link_in).await;
        let verify = "/api/auth/magic-link/verify";
        other
            .post(verify, json!({ "token": link }))
            .await
            .expect(200);
        other
            .post(
                verify,
                json!({ "token": format!("{link}A"), "confirm": true }),
            )
            .await
            .expect(401);
        bea.post(verify, json!({ "token": link })).await.expect(200);
        bea.post(verify, json!({ "token": link, "confirm": true }))
            .await
            .expect(401);
        let before = self.mails();
        let sent = bea
            .post("/api/auth/email-otp/send", json!({ "email": email }))
            .await;
        let sent = sent.expect(200);
        let code = self.mailed((email, before), code_in).await;
        let verify = "/api/auth/email-otp/verify";
        let challenge = sent.text_at("/data/challenge");
        for (challenge, code, status) in [
            (code.as_str(), challenge, 401),
            (challenge, "000000", 401),
            (challenge, code.as_str(), 200),
            (challenge, code.as_str(), 401),
        ] {
            let body = json!({ "challenge": challenge, "code": code });
            bea.post(verify, body).await.expect(status);
        }
        // An account that an operator made, whose address is verified later.
        let made = json!({ "name": NAME, "email": "cleo@example.com" });
        let made = self
            .app()
            .operator()
            .post("/api/v1/users", made)
            .await
            .expect(201);
        let session = self.app().session(made.id()).await;
        self.seen().hide("token", &session.token);
        let before = self.mails();
        let mut cleo = self.watched.program(&session.token);
        cleo.post("/api/auth/verify-email/send", json!({}))
            .await
            .expect(200);
        let link = self.mailed(("cleo@example.com", before), link_in).await;
        let body = json!({ "token": link, "password": WRONG });
        self.watched
            .tab()
            .post("/api/auth/verify-email", body)
            .await
            .expect(401);
    }

    async fn second_factor(&self, token: &str) -> String {
        let mut ada = self.watched.program(token);
        let begun = ada.post(totp::SETUP, json!({})).await.expect(201);
        let secret = begun.text_at("/data/secret").to_owned();
        ada.post(totp::ENABLE, json!({ "code": "000000" }))
            .await
            .expect(403);
        let shown = json!({ "code": self.code(&secret, 0) });
        let enabled = ada.post(totp::ENABLE, shown).await.expect(200);
        let app = App {
            secret,
            backup: backup_codes(&enabled),
        };
        let pending = self.half_signed_in().await;
        let verify = |code: &str| json!({ "signIn": pending, "code": code });
        let mut other = self.watched.tab();
        for code in ["000000", &app.secret, &pending] {
            other.post(totp::VERIFY, verify(code)).await.expect(401);
        }
        // Half a sign-in is no session, and is told so without being repeated.
        self.watched
            .program(&pending)
            .get("/api/auth/session")
            .await
            .expect(401);
        let code = self.code(&app.secret, 1);
        other.post(totp::VERIFY, verify(&code)).await.expect(200);
        let pending = self.half_signed_in().await;
        let body = json!({ "signIn": pending, "code": app.backup[0] });
        let opened = other.post(totp::VERIFY, body.clone()).await.expect(200);
        other.post(totp::VERIFY, body).await.expect(401);
        let mut ada = self.watched.program(&token_of(&opened));
        let shown = json!({ "code": app.backup[1] });
        let confirmed = ada.post(totp::CONFIRM, shown.clone()).await.expect(200);
        let token = token_of(&confirmed);
        let mut ada = self.watched.program(&token);
        ada.post(totp::CONFIRM, shown).await.expect(403);
        ada.get("/api/auth/totp").await.expect(200);
        let renewed = ada
            .post(
                "/api/auth/totp/backup-codes",
                json!({ "code": app.backup[3] }),
            )
            .await
            .expect(200);
        let backup = backup_codes(&renewed);
        let disable = "/api/auth/totp/disable";
        ada.post(disable, json!({ "code": app.backup[2] }))
            .await
            .expect(403);
        ada.post(disable, json!({ "code": backup[0] }))
            .await
            .expect(204);
        token
    }

    async fn half_signed_in(&self) -> String {
        let body = json!({ "email": ADA, "password": THIRD });
        let mut tab = self.watched.tab();
        let opened = tab.post("/api/auth/sign-in/email", body).await.expect(200);
        opened.text_at("/data/signIn").to_owned()
    }

    async fn guest(&self) {
        let email = "gil@example.com";
        let came = self
            .watched
            .tab()
            .post("/api/auth/anonymous", json!({}))
            .await;
        let token = token_of(&came.expect(200));
        let mut guest = self.watched.program(&token);
        let before = self.mails();
        let body = json!({ "email": email, "password": FIRST, "name": NAME });
        guest
            .post("/api/auth/anonymous/upgrade", body)
            .await
            .expect(200);
        let link = self.mailed((email, before), link_in).await;
        let verify = "/api/auth/anonymous/upgrade/verify";
        guest
            .post(verify, json!({ "token": format!("{link}A") }))
            .await
            .expect(401);
        guest
            .post(verify, json!({ "token": link }))
            .await
            .expect(200);
        guest
            .post(verify, json!({ "token": link }))
            .await
            .expect(401);
    }

    async fn username(&self) {
        let up = "/api/auth/sign-up/username";
        let mut eva = self.watched.tab();
        for (name, password, status) in [
            (FIRST, FIRST, 400),
            ("eva.k", "Kanarie", 400),
            ("eva.k", FIRST, 200),
            ("eva.k", FIRST, 409),
        ] {
            let body = json!({ "username": name, "password": password });
            eva.post(up, body).await.expect(status);
        }
        for (name, password, status) in [
            ("eva.k", WRONG, 401),
            (FIRST, "eva.k", 401),
            (CANARY, "eva.k", 401),
            ("eva.k", FIRST, 200),
        ] {
            let body = json!({ "username": name, "password": password });
            let mut tab = self.watched.tab();
            let reply = tab
                .post("/api/auth/sign-in/username", body)
                .await
                .expect(status);
            if status == 200 {
                let mut eva = self.watched.program(&token_of(&reply));
                for (name, status) in [(FIRST, 400), ("eva.kay", 200)] {
                    let body = json!({ "username": name });
                    eva.post("/api/auth/change-username", body)
                        .await
                        .expect(status);
                }
            }
        }
    }

    async fn passkey(&self, token: &str) -> String {
        let of = |rest: &str| format!("/api/auth/passkey/{rest}");
        let mut ada = self.watched.program(token);
        let offered = ada
            .post(&of("register/options"), json!({}))
            .await
            .expect(200);
        let mut device = Authenticator::new(7);
        let made = device.make(offered.at("/data"), &How::default());
        let keep = of("register/verify");
        ada.post(&keep, made.clone()).await.expect(201);
        ada.post(&keep, made).await.expect(409);
        let mut tab = self.watched.tab();
        let asked = tab
            .post(&of("authenticate/options"), json!({}))
            .await
            .expect(200);
        let answer = device.answer(asked.at("/data"), &How::default());
        let verify = of("authenticate/verify");
        let opened = tab.post(&verify, answer.clone()).await.expect(200);
        tab.post(&verify, answer).await.expect(401);
        let token = token_of(&opened);
        let mut ada = self.watched.program(&token);
        let all = ada.get(&of("credentials")).await.expect(200);
        let one = format!("{}/{}", of("credentials"), all.text_at("/data/0/id"));
        ada.bare(Method::DELETE, &one).await.expect(200);
        token
    }

    async fn own_things(&self, token: &str) {
        let mut ada = self.watched.program(token);
        let agent = json!({
            "name": "helper", "type": "service", "permissions": kavachos_test::may(&["read"], "mcp:*"),
        });
        ada.post("/api/v1/agents", agent).await.expect(201);
        for path in [
            "/api/auth/session",
            "/api/auth/sessions",
            "/api/auth/freshness",
            "/api/auth/export",
            "/api/v1/agents",
            "/api/v1/audit?limit=1000",
            "/api/v1/approvals",
            "/healthz",
            "/api/auth/nowhere",
        ] {
            let reply = ada.get(path).await;
            assert!([200, 404].contains(&reply.status), "{path}: {reply}");
        }
    }

    /// What operators do with humans.
    async fn administered(&self) {
        let mut operator = self.watched.program(self.app().operator_key());
        let all = operator.get("/api/v1/users?limit=100").await.expect(200);
        let find = |row: &&Value| row["email"] == "gil@example.com";
        let user = all.rows().iter().find(find).unwrap()["id"]
            .as_str()
            .unwrap();
        let of = |rest: &str| format!("/api/v1/users/{user}{rest}");
        operator.get(&of("")).await.expect(200);
        operator.get(&of("/sessions")).await.expect(200);
        operator
            .post(&of("/require-reset"), json!({}))
            .await
            .expect(200);
        let body = json!({ "email": "gil@example.com", "password": FIRST });
        self.watched
            .tab()
            .post("/api/auth/sign-in/email", body.clone())
            .await
            .expect(200);
        let reason = json!({ "reason": "ticket 7" });
        let acting = operator.post(&of("/impersonate"), reason).await.expect(201);
        let mut acting = self.watched.program(acting.text_at("/data/token"));
        acting.get("/api/auth/session").await.expect(200);
        let change = json!({ "currentPassword": FIRST, "newPassword": SECOND });
        acting
            .post("/api/auth/change-password", change)
            .await
            .expect(403);
        operator.post(&of("/ban"), json!({})).await.expect(200);
        self.watched
            .tab()
            .post("/api/auth/sign-in/email", body)
            .await;
        operator.post(&of("/unban"), json!({})).await.expect(200);
        operator
            .post(&of("/role"), json!({ "role": "admin" }))
            .await
            .expect(200);
        operator.bare(Method::DELETE, &of("/sessions")).await;
        for path in [
            "/api/v1/audit?limit=1000",
            "/api/v1/audit/export",
            "/metrics",
            "/openapi.json",
        ] {
            operator.get(path).await.expect(200);
        }
        operator.post("/api/v1/export", json!({})).await;
    }

    /// Signing out, and going for good.
    async fn gone(&self) {
        let came = self
            .watched
            .tab()
            .post("/api/auth/anonymous", json!({}))
            .await;
        let mut guest = self.watched.program(&token_of(&came.expect(200)));
        guest.post("/api/auth/sign-out", json!({})).await;
        guest
            .post("/api/auth/sign-out", json!({}))
            .await
            .expect(401);
        let came = self
            .watched
            .tab()
            .post("/api/auth/anonymous", json!({}))
            .await;
        let mut guest = self.watched.program(&token_of(&came.expect(200)));
        guest.post("/api/auth/delete-account", json!({})).await;
        guest.get("/api/auth/session").await.expect(401);
    }

    /// A provider's token, as a credential of the API and as a sign-in.
    pub(super) async fn provider(&self, token: &str) {
        for part in token.split('.').skip(1) {
            self.seen().hide("part of a provider's token", part);
        }
        let mut bearer = self.watched.program(token);
        for path in ["/api/auth/session", "/api/v1/agents", "/api/auth/export"] {
            bearer.get(path).await;
        }
        let cut = token.get(..token.len() - 3).unwrap();
        self.watched
            .program(cut)
            .get("/api/v1/agents")
            .await
            .expect(401);
        let body = json!({ "token": token });
        for status in [200, 401] {
            let mut tab = self.watched.tab();
            tab.post("/api/auth/sign-in/provider", body.clone())
                .await
                .expect(status);
        }
    }
}

fn backup_codes(reply: &Reply) -> Vec<String> {
    let codes = reply.at("/data/backupCodes").as_array().unwrap();
    let text = |code: &Value| code.as_str().unwrap().to_owned();
    codes.iter().map(text).collect()
}
