//! Codes of an app as a second factor, over HTTP. The first factor is a door of the test that lets in whoever is named.

use futures_util::future::join_all;
use kavachos_auth::totp::Totp;
use kavachos_engine::plugin::{
    Allowance, Answer, CallerType, Change, Context, Flood, Method, Plugin, Request, Route,
};
use kavachos_engine::{Result, SignIn};
use kavachos_test::{Reply, Setup, TestApp, TestSession, TestSmtp};
use serde_json::{Value, json};
use std::time::Duration;
use totp_rs::{Builder, Secret};

const SETUP: &str = "/api/auth/totp/setup";
const ENABLE: &str = "/api/auth/totp/enable";
const VERIFY: &str = "/api/auth/totp/verify";
const DISABLE: &str = "/api/auth/totp/disable";
const RENEW: &str = "/api/auth/totp/backup-codes";
const CONFIRM: &str = "/api/auth/totp/confirm";
const STATUS: &str = "/api/auth/totp";
const DOOR: &str = "/api/auth/door";

/// A first proof of any human, which proves nothing and counts for one factor.
struct Door;

impl Plugin for Door {
    fn id(&self) -> &'static str {
        "door"
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec!["door.opened"]
    }

    fn routes(&self) -> Vec<Route> {
        let many = Allowance::new(10_000, Duration::from_secs(60));
        let open = CallerType::Open(Flood {
            per_source: many,
            overall: many,
        });
        vec![Route::new(Method::Post, DOOR, open, let_in)]
    }
}

async fn let_in(context: Context, request: Request) -> Result<Answer> {
    let body: Value = request.json()?;
    let user = body["user"].as_str().unwrap().parse().unwrap();
    let changed = context.change("door.opened", || async {
        Ok(Change::of("door").signs_in(SignIn::of(user, "door")))
    });
    Answer::signed_in(changed.await?.signed_in.unwrap())
}

fn setup() -> Setup {
    crate::setup().with(|builder| builder.plugin(Totp::default()).plugin(Door))
}

/// A human with an app.
struct Human {
    user: String,
    session: TestSession,
    secret: String,
    backup: Vec<String>,
}

/// The code that the app shows now, or so many steps later.
fn code(app: &TestApp, secret: &str, steps: u64) -> String {
    let now = app.kavach().engine().now().as_micros() / 1_000_000;
    let at = u64::try_from(now).unwrap() + 30 * steps;
    let secret = Secret::try_from_base32(secret).unwrap();
    Builder::new()
        .with_secret(secret)
        .build()
        .unwrap()
        .generate(at)
        .to_string()
}

/// A human who set an app up and turned it on; the step of now is used up by that.
async fn enrolled(app: &TestApp) -> Human {
    let user = app.user().await;
    let session = app.session(&user).await;
    let call = app.call(&session.token);
    let begun = call.post(SETUP, json!({})).await.expect(201);
    let secret = begun.text_at("/data/secret").to_owned();
    let shown = json!({ "code": code(app, &secret, 0) });
    let enabled = call.post(ENABLE, shown).await.expect(200);
    let backup = enabled.at("/data/backupCodes").as_array().unwrap();
    let backup = backup.iter().map(|code| code.as_str().unwrap().to_owned());
    Human {
        user,
        session,
        secret,
        backup: backup.collect(),
    }
}

async fn door(app: &TestApp, user: &str) -> Reply {
    app.anonymous()
        .post(DOOR, json!({ "user": user }))
        .await
        .expect(200)
}

/// The name of a sign-in that waits for a code.
async fn pending(app: &TestApp, user: &str) -> String {
    let reply = door(app, user).await;
    assert_eq!(reply.at("/data/token"), &Value::Null, "{reply}");
    assert_eq!(reply.at("/data/next"), "second_factor");
    assert_eq!(reply.at("/data/methods"), &json!(["totp"]));
    reply.text_at("/data/signIn").to_owned()
}

async fn verify(app: &TestApp, sign_in: &str, code: &str) -> Reply {
    app.anonymous()
        .post(VERIFY, json!({ "signIn": sign_in, "code": code }))
        .await
}

fn wrong(reply: Reply) {
    reply.refused(401, "unauthenticated");
}

#[tokio::test]
async fn who_has_an_app_gets_no_session_without_its_code() {
    let app = setup().start().await;
    let other = app.user().await;
    let human = enrolled(&app).await;
    let sign_in = pending(&app, &human.user).await;
    // Half a sign-in is no session.
    for path in ["/api/auth/session", STATUS, "/api/v1/agents"] {
        app.call(&sign_in)
            .get(path)
            .await
            .refused(401, "unauthenticated");
    }
    wrong(verify(&app, &sign_in, "000000").await);
    let reply = verify(&app, &sign_in, &code(&app, &human.secret, 1))
        .await
        .expect(200);
    let token = reply.text_at("/data/token");
    let who = app.call(token).get("/api/auth/session").await.expect(200);
    assert!(
        who.text.contains(&human.user) && who.text.contains("door+totp"),
        "{who}"
    );
    // The sign-in is over.
    wrong(verify(&app, &sign_in, &code(&app, &human.secret, 2)).await);
    assert_eq!(app.audit("kind=totp.verified").await.len(), 1);
    assert_eq!(app.audit("kind=totp.refused").await.len(), 1);
    // The twin: a human without an app.
    let open = door(&app, &other).await;
    assert!(open.at("/data/token").is_string(), "{open}");
}

#[tokio::test]
async fn an_app_that_was_not_turned_on_asks_for_nothing() {
    let app = setup().start().await;
    let user = app.user().await;
    let session = app.session(&user).await;
    let call = app.call(&session.token);
    call.post(ENABLE, json!({ "code": "000000" }))
        .await
        .refused(409, "conflict");
    let begun = call.post(SETUP, json!({})).await.expect(201);
    let uri = begun.text_at("/data/uri");
    assert!(
        uri.starts_with("otpauth://totp/localhost:Ada?secret="),
        "{uri}"
    );
    assert!(begun.text_at("/data/svg").starts_with("<svg "));
    call.post(ENABLE, json!({ "code": "000000" }))
        .await
        .refused(403, "forbidden");
    assert!(door(&app, &user).await.at("/data/token").is_string());
    assert_eq!(
        call.get(STATUS).await.expect(200).at("/data/enabled"),
        false
    );
    // Another setup takes the place of the first.
    let again = call.post(SETUP, json!({})).await.expect(201);
    let old = json!({ "code": code(&app, begun.text_at("/data/secret"), 0) });
    call.post(ENABLE, old).await.refused(403, "forbidden");
    let new = json!({ "code": code(&app, again.text_at("/data/secret"), 0) });
    call.post(ENABLE, new).await.expect(200);
    let status = call.get(STATUS).await.expect(200);
    assert_eq!(status.at("/data/enabled"), true);
    assert_eq!(status.at("/data/backupCodesLeft"), 10);
    pending(&app, &user).await;
    call.post(SETUP, json!({})).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_step_is_accepted_once_and_never_an_earlier_one() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    // The step that turned it on is used up.
    let sign_in = pending(&app, &human.user).await;
    wrong(verify(&app, &sign_in, &code(&app, &human.secret, 0)).await);
    let next = code(&app, &human.secret, 1);
    verify(&app, &sign_in, &next).await.expect(200);
    let second = pending(&app, &human.user).await;
    wrong(verify(&app, &second, &next).await);
    app.advance(30);
    wrong(verify(&app, &second, &next).await);
    // The twin: the step after it. And one that is two steps away is no code.
    wrong(verify(&app, &second, &code(&app, &human.secret, 2)).await);
    verify(&app, &second, &code(&app, &human.secret, 1))
        .await
        .expect(200);
}

#[tokio::test]
async fn of_64_uses_of_one_code_one_opens_a_session() {
    let many =
        |settings: &mut kavachos_test::kavachos::Settings| settings.guesses_per_account = 1_000;
    let app = setup().settings(many).start().await;
    let human = enrolled(&app).await;
    let mut sign_ins = Vec::new();
    for _ in 0..64 {
        sign_ins.push(pending(&app, &human.user).await);
    }
    let code = code(&app, &human.secret, 1);
    let replies = join_all(sign_ins.iter().map(|sign_in| verify(&app, sign_in, &code))).await;
    let opened = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(opened, 1);
    let shut = |reply: &&Reply| ![200, 401, 409, 429].contains(&reply.status);
    assert!(!replies.iter().any(|reply| shut(&reply)), "{replies:?}");
    assert_eq!(
        app.audit("kind=totp.verified&outcome=allowed").await.len(),
        1
    );
    // And of 64 with a backup code in one sign-in.
    let sign_in = pending(&app, &human.user).await;
    let same = (0..64).map(|_| verify(&app, &sign_in, &human.backup[0]));
    let replies = join_all(same).await;
    assert_eq!(
        replies.iter().filter(|reply| reply.status == 200).count(),
        1
    );
}

#[tokio::test]
async fn of_a_thousand_guesses_at_a_sign_in_five_are_looked_at_over_a_restart_too() {
    let many =
        |settings: &mut kavachos_test::kavachos::Settings| settings.guesses_per_account = 10_000;
    let mut app = setup().settings(many).lasting().start().await;
    let human = enrolled(&app).await;
    let sign_in = pending(&app, &human.user).await;
    for round in 0..2 {
        // From ten networks, so that it is not the limit of a network that holds.
        let guesses = (0..500).map(|guess| {
            let body =
                json!({ "signIn": sign_in, "code": format!("{:06}", 1_000 * round + guess) });
            let call = app
                .anonymous()
                .from(&format!("127.{}.{}.1", round + 1, guess % 10));
            async move { call.post(VERIFY, body).await }
        });
        for reply in join_all(guesses).await {
            assert!([401, 409, 429, 503].contains(&reply.status), "{reply}");
        }
        assert!(app.audit("kind=totp.refused").await.len() <= 5);
        app.restart().await;
    }
    assert_eq!(app.audit("kind=totp.refused").await.len(), 5);
    // Not even the right code is taken now; the twin: in a sign-in of its own.
    let right = code(&app, &human.secret, 1);
    wrong(verify(&app, &sign_in, &right).await);
    let fresh = pending(&app, &human.user).await;
    verify(&app, &fresh, &right).await.expect(200);
}

#[tokio::test]
async fn guesses_at_an_account_are_few_however_many_sign_ins_are_begun() {
    let few = |settings: &mut kavachos_test::kavachos::Settings| settings.guesses_per_account = 8;
    let app = setup().settings(few).start().await;
    let human = enrolled(&app).await;
    let other = enrolled(&app).await;
    let mut looked_at = 0;
    for _ in 0..6 {
        let sign_in = pending(&app, &human.user).await;
        for _ in 0..3 {
            let reply = verify(&app, &sign_in, "000000").await;
            looked_at += usize::from(reply.status == 401);
            assert!([401, 429].contains(&reply.status), "{reply}");
        }
    }
    assert_eq!(looked_at, 8);
    // The right code has to wait as well; the twin: somebody else does not.
    let sign_in = pending(&app, &human.user).await;
    let right = code(&app, &human.secret, 1);
    verify(&app, &sign_in, &right)
        .await
        .refused(429, "too_many_requests");
    let theirs = pending(&app, &other.user).await;
    let right = code(&app, &other.secret, 1);
    verify(&app, &theirs, &right).await.expect(200);
}

#[tokio::test]
async fn a_backup_code_is_used_once_and_new_ones_kill_the_old() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    assert_eq!(human.backup.len(), 10);
    let typed = human.backup[0].to_uppercase().replace('-', " ");
    let sign_in = pending(&app, &human.user).await;
    let reply = verify(&app, &sign_in, &typed).await.expect(200);
    let second = pending(&app, &human.user).await;
    wrong(verify(&app, &second, &human.backup[0]).await);
    let call = app.call(reply.text_at("/data/token"));
    assert_eq!(
        call.get(STATUS)
            .await
            .expect(200)
            .at("/data/backupCodesLeft"),
        9
    );
    let renewed = call.post(RENEW, json!({})).await.expect(200);
    let new = renewed.at("/data/backupCodes").as_array().unwrap();
    assert_eq!(new.len(), 10);
    wrong(verify(&app, &second, &human.backup[1]).await);
    verify(&app, &second, new[1].as_str().unwrap())
        .await
        .expect(200);
    assert_eq!(
        call.get(STATUS)
            .await
            .expect(200)
            .at("/data/backupCodesLeft"),
        9
    );
}

#[tokio::test]
async fn it_is_turned_off_with_a_code_in_a_fresh_session_alone() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    let call = app.call(&human.session.token);
    call.post(DISABLE, json!({ "code": "000000" }))
        .await
        .refused(403, "forbidden");
    call.post(DISABLE, json!({}))
        .await
        .refused(400, "malformed_request");
    pending(&app, &human.user).await;
    app.advance(600);
    let right = json!({ "code": human.backup[0] });
    for (path, body) in [
        (DISABLE, right.clone()),
        (SETUP, json!({})),
        (RENEW, json!({})),
    ] {
        call.post(path, body).await.refused(403, "forbidden");
    }
    // The twin: a session of now.
    let session = app.session(&human.user).await;
    let fresh = app.call(&session.token);
    fresh.post(DISABLE, right.clone()).await.expect(204);
    assert!(door(&app, &human.user).await.at("/data/token").is_string());
    fresh.post(DISABLE, right).await.refused(409, "conflict");
    fresh.post(RENEW, json!({})).await.refused(409, "conflict");
    // It begins anew, with another secret.
    let again = fresh.post(SETUP, json!({})).await.expect(201);
    assert_ne!(again.text_at("/data/secret"), human.secret);
}

#[tokio::test]
async fn a_code_makes_a_session_fresh_and_gives_it_another_token() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    let none = app.session(&app.user().await).await;
    app.advance(600);
    let old = app.call(&human.session.token);
    old.post(RENEW, json!({})).await.refused(403, "forbidden");
    old.post(CONFIRM, json!({ "code": "000000" }))
        .await
        .refused(403, "forbidden");
    let right = json!({ "code": code(&app, &human.secret, 0) });
    // Whoever has no app confirms nothing with it.
    app.call(&none.token)
        .post(CONFIRM, right.clone())
        .await
        .refused(403, "forbidden");
    let confirmed = old.post(CONFIRM, right.clone()).await.expect(200);
    old.get(STATUS).await.refused(401, "unauthenticated");
    let fresh = app.call(confirmed.text_at("/data/token"));
    fresh.post(RENEW, json!({})).await.expect(200);
    // Its step is used up.
    fresh.post(CONFIRM, right).await.refused(403, "forbidden");
}

#[tokio::test]
async fn the_human_is_told_by_mail_of_what_was_added_and_removed() {
    let smtp = TestSmtp::start().await;
    let port = smtp.address().port();
    let mailing = move |builder: kavachos_test::kavachos::Builder| {
        use kavachos_test::kavachos::mail::{Mailer, Security, Smtp};
        let smtp = Smtp::new("localhost").port(port).security(Security::Plain);
        builder.mail(Mailer::new("auth@example.com".parse().unwrap(), smtp))
    };
    let app = setup().with(mailing).start().await;
    let ada = json!({ "name": "Ada", "email": "ada@example.com" });
    let user = app.operator().post("/api/v1/users", ada).await.expect(201);
    let session = app.session(user.id()).await;
    let call = app.call(&session.token);
    let begun = call.post(SETUP, json!({})).await.expect(201);
    let secret = begun.text_at("/data/secret").to_owned();
    assert!(begun.text_at("/data/uri").contains(":ada%40example.com?"));
    // A code that is wrong adds nothing, so nothing is told.
    let wrong = json!({ "code": "000000" });
    call.post(ENABLE, wrong).await.refused(403, "forbidden");
    let shown = json!({ "code": code(&app, &secret, 0) });
    call.post(ENABLE, shown).await.expect(200);
    let removing = json!({ "code": code(&app, &secret, 1) });
    call.post(DISABLE, removing).await.expect(204);
    let mails = smtp.expect(2).await;
    for mail in &mails {
        assert_eq!(mail.to, ["ada@example.com"]);
        assert!(mail.text().contains("authenticator app"), "{}", mail.text());
        assert!(!mail.text().contains(&secret));
    }
}

#[tokio::test]
async fn neither_secrets_nor_codes_stand_in_the_database() {
    let mut app = setup().in_a_file().start().await;
    let human = enrolled(&app).await;
    let seed = Secret::try_from_base32(&human.secret)
        .unwrap()
        .as_bytes()
        .to_vec();
    let rows = app.restart_after(|database| {
        let mut all = database
            .prepare("SELECT user_id, sealed FROM totp_factor")
            .unwrap();
        let rows = all.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        rows.unwrap().map(|row| row.unwrap()).collect::<Vec<_>>()
    });
    let rows = rows.await;
    assert_eq!(rows.len(), 1);
    let holds = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
    // The twin: whose it is does stand there.
    assert_eq!(rows[0].0, human.user);
    assert!(!holds(&rows[0].1, &seed) && !holds(&rows[0].1, human.secret.as_bytes()));
    // Sealed for one human, it opens for no other: moved into another row it is a defect, and no way in.
    let thief = enrolled(&app).await;
    let moved = human.user.clone();
    app.restart_after(|database| {
        let swap = "UPDATE totp_factor SET sealed = (SELECT sealed FROM totp_factor WHERE user_id = ?1) WHERE user_id = ?2";
        database.execute(swap, [&thief.user, &moved]).unwrap();
    })
    .await;
    let sign_in = pending(&app, &human.user).await;
    let theirs = code(&app, &thief.secret, 1);
    verify(&app, &sign_in, &theirs)
        .await
        .refused(500, "internal");
}

#[tokio::test]
async fn secrets_are_shown_once_however_often_the_request_comes() {
    let app = setup().start().await;
    let session = app.session(&app.user().await).await;
    let once = |key: &str| app.call(&session.token).header("idempotency-key", key);
    let begun = once("setup").post(SETUP, json!({})).await.expect(201);
    once("setup")
        .post(SETUP, json!({}))
        .await
        .refused(409, "conflict");
    let shown = json!({ "code": code(&app, begun.text_at("/data/secret"), 0) });
    once("on").post(ENABLE, shown.clone()).await.expect(200);
    once("on")
        .post(ENABLE, shown)
        .await
        .refused(409, "conflict");
    once("new").post(RENEW, json!({})).await.expect(200);
    once("new")
        .post(RENEW, json!({}))
        .await
        .refused(409, "conflict");
    // The twin: a request of its own.
    once("newer").post(RENEW, json!({})).await.expect(200);
}

#[tokio::test]
async fn without_a_master_key_there_are_no_codes() {
    let app = setup().without_master_key().start().await;
    let session = app.session(&app.user().await).await;
    let reply = app.call(&session.token).post(SETUP, json!({})).await;
    let reply = reply.refused(409, "conflict");
    assert!(reply.message().contains("kavach init"), "{reply}");
}

#[tokio::test]
async fn what_cannot_be_read_is_the_clients_to_mend_and_nothing_is_passed_over() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    let sign_in = pending(&app, &human.user).await;
    let right = code(&app, &human.secret, 1);
    for body in [
        json!({}),
        json!({ "signIn": sign_in }),
        json!({ "signIn": sign_in, "code": 123_456 }),
        json!({ "signIn": [sign_in], "code": right }),
        json!({ "signIn": sign_in, "code": right, "user": human.user }),
    ] {
        app.anonymous()
            .post(VERIFY, body)
            .await
            .refused(400, "malformed_request");
    }
    let long = "1".repeat(100_000);
    for (sign_in, code) in [
        ("", "000000"),
        ("kv_signin_x", "000000"),
        (&human.session.token, &right),
    ] {
        wrong(verify(&app, sign_in, code).await);
    }
    for code in [long.as_str(), "\0", "１２３４５６", "+12345"] {
        wrong(verify(&app, &sign_in, code).await);
    }
    let call = app.call(&human.session.token);
    call.post(RENEW, json!({ "count": 1_000 }))
        .await
        .refused(400, "malformed_request");
    // A fifth attempt is left.
    verify(&app, &sign_in, &right).await.expect(200);
}
