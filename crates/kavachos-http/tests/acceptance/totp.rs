//! Codes of an app as a second factor, over HTTP. The first factor is a door of the test that lets in whoever is named.

use futures_util::future::join_all;
use kavachos_auth::magic_link::MagicLink;
use kavachos_auth::password::Passwords;
use kavachos_auth::session_freshness::{Confirm, Confirmed, SessionFreshness};
use kavachos_auth::totp::Totp;
use kavachos_engine::plugin::{
    Allowance, Answer, CallerType, Change, Context, Flood, Method, Plugin, Request, Route,
};
use kavachos_engine::{Result, SignIn, User};
use kavachos_store::BoxFuture;
use kavachos_test::{Reply, Setup, TestApp, TestSmtp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use totp_rs::{Builder, Secret};

pub(crate) const SETUP: &str = "/api/auth/totp/setup";
pub(crate) const ENABLE: &str = "/api/auth/totp/enable";
pub(crate) const VERIFY: &str = "/api/auth/totp/verify";
pub(crate) const DISABLE: &str = "/api/auth/totp/disable";
const RENEW: &str = "/api/auth/totp/backup-codes";
pub(crate) const CONFIRM: &str = "/api/auth/totp/confirm";
const STATUS: &str = "/api/auth/totp";
const DOOR: &str = "/api/auth/door";

/// A first proof of any human, which proves nothing and counts for one factor.
pub(crate) struct Door;

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
pub(crate) struct Human {
    pub(crate) user: String,
    /// The token of the session in which they turned it on.
    token: String,
    pub(crate) secret: String,
    pub(crate) backup: Vec<String>,
}

/// The code that the app shows now, or so many steps later.
pub(crate) fn code(app: &TestApp, secret: &str, steps: u64) -> String {
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
pub(crate) async fn enrolled(app: &TestApp) -> Human {
    let user = app.user().await;
    let session = app.session(&user).await;
    enrolled_in(app, &user, &session.token).await
}

async fn enrolled_in(app: &TestApp, user: &str, session: &str) -> Human {
    let call = app.call(session);
    let begun = call.post(SETUP, json!({})).await.expect(201);
    let secret = begun.text_at("/data/secret").to_owned();
    let shown = json!({ "code": code(app, &secret, 0) });
    let enabled = call.post(ENABLE, shown).await.expect(200);
    let token = enabled.text_at("/data/token").to_owned();
    let backup = enabled.at("/data/backupCodes").as_array().unwrap();
    let backup = backup.iter().map(|code| code.as_str().unwrap().to_owned());
    Human {
        user: user.to_owned(),
        token,
        secret,
        backup: backup.collect(),
    }
}

pub(crate) async fn door(app: &TestApp, user: &str) -> Reply {
    app.anonymous()
        .post(DOOR, json!({ "user": user }))
        .await
        .expect(200)
}

/// The name of a sign-in that waits for a code.
pub(crate) async fn pending(app: &TestApp, user: &str) -> String {
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
    let on = call.post(ENABLE, new).await.expect(200);
    let call = app.call(on.text_at("/data/token"));
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
    // Whoever used one is told how many are left; the twin: a code of the app takes none.
    assert_eq!(reply.at("/data/backupCodesLeft"), 9);
    let by_app = pending(&app, &human.user).await;
    let by_app = verify(&app, &by_app, &code(&app, &human.secret, 1)).await;
    assert_eq!(by_app.expect(200).at("/data/backupCodesLeft"), &Value::Null);
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
    let shown = json!({ "code": human.backup[2] });
    let renewed = call.post(RENEW, shown).await.expect(200);
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

/// What has the form of a backup code takes the work of one password, and nothing else takes any.
#[tokio::test]
async fn a_guess_at_a_backup_code_takes_one_hash_and_a_code_of_the_app_none() {
    let passwords = Passwords::default();
    let totp = Totp::new(passwords.clone());
    let few = |settings: &mut kavachos_test::kavachos::Settings| settings.guesses_per_account = 8;
    let setup = crate::setup().with(move |builder| builder.plugin(totp.clone()).plugin(Door));
    let app = setup.settings(few).start().await;
    let mut seen = 0;
    let mut work = || {
        let before = std::mem::replace(&mut seen, passwords.blocks_filled());
        seen - before
    };
    let human = enrolled(&app).await;
    let ten = work();
    assert_eq!(ten, 10 * 2 * 19_456, "ten codes, at the cost of passwords");
    let one = ten / 10;
    let sign_in = pending(&app, &human.user).await;
    for typed in ["000000", "0123-4567-89ab", &"z".repeat(1_000)] {
        wrong(verify(&app, &sign_in, typed).await);
        assert_eq!(work(), 0, "{typed}");
    }
    wrong(verify(&app, &sign_in, "zzzz-zzzz-zzzzz").await);
    assert_eq!(work(), one);
    verify(&app, &sign_in, &human.backup[0]).await.expect(200);
    assert_eq!(work(), one);
    let sign_in = pending(&app, &human.user).await;
    wrong(verify(&app, &sign_in, &human.backup[0]).await);
    assert_eq!(work(), one, "used before");
    verify(&app, &sign_in, &code(&app, &human.secret, 1))
        .await
        .expect(200);
    assert_eq!(work(), 0);
    // Where none are left, and where there never were any, it is the same.
    for backup in &human.backup[1..] {
        let shown = json!({ "code": backup });
        let sign_in = pending(&app, &human.user).await;
        verify(&app, &sign_in, backup).await.expect(200);
        assert_eq!(work(), one, "{shown}");
    }
    let other = app.session(&app.user().await).await;
    wrong(verify(&app, &pending(&app, &human.user).await, "zzzz-zzzz-zzzzz").await);
    assert_eq!(work(), one);
    let guess = json!({ "code": "zzzz-zzzz-zzzzz" });
    let none = app.call(&other.token).post(CONFIRM, guess.clone()).await;
    none.refused(403, "forbidden");
    assert_eq!(work(), one);
    // It is paid for before: whoever has no guess left makes nobody work.
    for _ in 1..8 {
        let guess = app.call(&other.token).post(CONFIRM, guess.clone()).await;
        guess.refused(403, "forbidden");
    }
    work();
    let guess = app.call(&other.token).post(CONFIRM, guess).await;
    guess.refused(429, "too_many_requests");
    assert_eq!(work(), 0);
}

/// A set takes the work of ten passwords, so it takes a code that is right, and there are ten an hour.
#[tokio::test]
async fn sets_of_backup_codes_are_made_for_who_shows_a_code_and_ten_an_hour() {
    let passwords = Passwords::default();
    let totp = Totp::new(passwords.clone());
    let setup = crate::setup().with(move |builder| builder.plugin(totp.clone()).plugin(Door));
    let app = setup.start().await;
    let session = app.session(&app.user().await).await;
    let call = app.call(&session.token);
    call.post(SETUP, json!({})).await.expect(201);
    let wrong = json!({ "code": "000000" });
    call.post(ENABLE, wrong.clone())
        .await
        .refused(403, "forbidden");
    assert_eq!(passwords.blocks_filled(), 0);
    let mut human = enrolled(&app).await;
    let set = passwords.blocks_filled();
    app.call(&human.token)
        .post(RENEW, wrong)
        .await
        .refused(403, "forbidden");
    assert_eq!(passwords.blocks_filled(), set);
    for _ in 1..10 {
        let shown = json!({ "code": human.backup[0] });
        let new = app.call(&human.token).post(RENEW, shown).await.expect(200);
        let new = new.at("/data/backupCodes").as_array().unwrap();
        human.backup = new
            .iter()
            .map(|one| one.as_str().unwrap().to_owned())
            .collect();
    }
    let before = passwords.blocks_filled();
    let shown = json!({ "code": human.backup[0] });
    let one_more = app.call(&human.token).post(RENEW, shown.clone()).await;
    one_more.refused(429, "too_many_requests");
    assert_eq!(
        passwords.blocks_filled() - before,
        set / 10,
        "the guess alone"
    );
    // The twins: somebody else, and the same human an hour later, with the code that was not used up.
    enrolled(&app).await;
    app.advance(3_700);
    let sign_in = pending(&app, &human.user).await;
    let again = verify(&app, &sign_in, &human.backup[1]).await.expect(200);
    let fresh = app.call(again.text_at("/data/token"));
    fresh.post(RENEW, shown).await.expect(200);
}

#[tokio::test]
async fn it_is_turned_off_with_a_code_in_a_fresh_session_alone() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    let call = app.call(&human.token);
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
        (RENEW, right.clone()),
    ] {
        call.post(path, body).await.refused(403, "forbidden");
    }
    // The twin: a session of now.
    let session = app.session(&human.user).await;
    let fresh = app.call(&session.token);
    fresh.post(DISABLE, right.clone()).await.expect(204);
    assert!(door(&app, &human.user).await.at("/data/token").is_string());
    fresh.post(DISABLE, right).await.refused(409, "conflict");
    fresh
        .post(RENEW, json!({ "code": human.backup[1] }))
        .await
        .refused(409, "conflict");
    // It begins anew, with another secret.
    let again = fresh.post(SETUP, json!({})).await.expect(201);
    assert_ne!(again.text_at("/data/secret"), human.secret);
}

/// A fresh session is no second factor: whoever stole one does not get codes by which to turn it off.
#[tokio::test]
async fn new_backup_codes_take_a_code_that_is_there() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    let stolen = app.call(&human.token);
    stolen
        .post(RENEW, json!({}))
        .await
        .refused(400, "malformed_request");
    for guessed in ["000000", "AAAAA-AAAAA"] {
        let guessed = json!({ "code": guessed });
        stolen.post(RENEW, guessed).await.refused(403, "forbidden");
    }
    verify(&app, &pending(&app, &human.user).await, &human.backup[0])
        .await
        .expect(200);
    // The twin: with a code of hers.
    let shown = json!({ "code": human.backup[1] });
    stolen.post(RENEW, shown).await.expect(200);
}

/// Whoever signed in before codes were turned on has not shown one.
#[tokio::test]
async fn turning_codes_on_ends_every_session_that_showed_none() {
    let app = setup().start().await;
    let user = app.user().await;
    let (mut sessions, mut opened) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        sessions.push(door(&app, &user).await.text_at("/data/token").to_owned());
        opened.push(app.session(&user).await.token);
    }
    let own = app.call(&sessions[0]);
    let begun = own.post(SETUP, json!({})).await.expect(201);
    // The twin: nothing ends before.
    for token in sessions.iter().chain(&opened) {
        app.call(token).get(STATUS).await.expect(200);
    }
    let shown = json!({ "code": code(&app, begun.text_at("/data/secret"), 0) });
    let on = own.post(ENABLE, shown).await.expect(200);
    for token in sessions.iter().chain(&opened) {
        let dead = app.call(token).get(STATUS).await;
        dead.refused(401, "unauthenticated");
    }
    let next = app.call(on.text_at("/data/token"));
    next.get(STATUS).await.expect(200);
    let session = next.get("/api/auth/session").await.expect(200);
    assert_eq!(session.at("/data/session/method"), "door+totp");
}

/// Lessons C 38: what somebody turned on before it was known who reads mail there is gone with the rest, in the very commit
/// that lets the reader in.
#[tokio::test]
async fn whoever_claims_an_account_is_not_asked_for_the_codes_of_a_stranger() {
    for verified in [false, true] {
        let smtp = Arc::new(TestSmtp::start().await);
        let relay = Arc::clone(&smtp);
        let setup = setup().with(move |builder| builder.plugin(MagicLink).mail(relay.mailer()));
        let app = setup.start().await;
        let ada = json!({ "email": "ada@example.com" });
        let user = app.operator().post("/api/v1/users", ada).await.expect(201);
        if verified {
            by_link(&app, &smtp, 1).await;
        }
        let session = app.session(user.id()).await;
        let human = enrolled_in(&app, user.id(), &session.token).await;
        // One mail said that codes were turned on.
        let used = by_link(&app, &smtp, 2 + usize::from(verified)).await;
        // The twin: whoever showed before that they read mail there turned codes on themselves.
        assert_eq!(used.at("/data/token").is_null(), verified, "{used}");
        let status = app.call(&human.token).get(STATUS).await.status;
        assert_eq!(status == 200, verified);
    }
}

/// What a link to ada@example.com comes to, which is in the mail with this number.
async fn by_link(app: &TestApp, smtp: &TestSmtp, mail: usize) -> Reply {
    let ada = json!({ "email": "ada@example.com" });
    let asked = app.anonymous().post("/api/auth/magic-link/send", ada).await;
    asked.expect(200);
    let mails = smtp.expect(mail).await;
    let texts: Vec<String> = mails.iter().map(|mail| mail.text()).collect();
    let mut links = texts.iter().filter_map(|text| text.split_once("token="));
    let (_, link) = links.next_back().expect("a link");
    let link: String = link.chars().take_while(|c| !c.is_whitespace()).collect();
    let shown = json!({ "token": link, "confirm": true });
    let verify = "/api/auth/magic-link/verify";
    app.anonymous().post(verify, shown).await.expect(200)
}

/// A way to confirm that proves one factor to everybody.
struct Nod;

impl Confirm for Nod {
    fn method(&self) -> &'static str {
        "nod"
    }

    fn applies<'a>(&'a self, _: &'a Context, _: &'a User) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async { Ok(true) })
    }

    fn confirm<'a>(
        &'a self,
        context: &'a Context,
        human: &'a User,
        _: &'a serde_json::Map<String, Value>,
    ) -> BoxFuture<'a, Result<Confirmed>> {
        Box::pin(async move {
            Ok(Confirmed {
                guess: context.guess("nod", Some(human.id)).await?,
                change: Box::new(|change| change),
            })
        })
    }
}

/// ASVS 5.0, 7.5.1: with the password and an open session alone nobody adds a passkey, say, where codes are asked for.
#[tokio::test]
async fn one_factor_makes_no_session_fresh_where_two_are_asked_for() {
    let ways: [Arc<dyn Confirm>; 1] = [Arc::new(Nod)];
    let setup = setup().with(move |builder| builder.plugin(SessionFreshness::new(ways.clone())));
    let app = setup.start().await;
    let plain = app.session(&app.user().await).await;
    let human = enrolled(&app).await;
    app.advance(600);
    let again = "/api/auth/re-authenticate";
    let nod = json!({ "method": "nod" });
    let left = app.call(&human.token).post(again, nod.clone()).await;
    let left = left.expect(200);
    assert!(left.at("/data/token").is_null(), "{left}");
    let sign_in = left.text_at("/data/signIn");
    let whole = verify(&app, sign_in, &human.backup[0]).await.expect(200);
    let renewing = json!({ "code": human.backup[1] });
    let fresh = app.call(whole.text_at("/data/token"));
    fresh.post(RENEW, renewing).await.expect(200);
    // The twin: who has no second factor is fresh by one.
    let one = app.call(&plain.token).post(again, nod).await.expect(200);
    let fresh = app.call(one.text_at("/data/token"));
    fresh.post(SETUP, json!({})).await.expect(201);
}

/// It makes fresh, and no session of a month into one of two.
#[tokio::test]
async fn a_session_that_is_confirmed_ends_when_it_would_have() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    let end = async |token: &str| {
        let session = app.call(token).get("/api/auth/session").await.expect(200);
        session.at("/data/session/expiresAt").clone()
    };
    let before = end(&human.token).await;
    app.advance(3_600);
    let shown = json!({ "code": code(&app, &human.secret, 0) });
    let confirmed = app.call(&human.token).post(CONFIRM, shown).await;
    assert_eq!(
        end(confirmed.expect(200).text_at("/data/token")).await,
        before
    );
    // The twin: a sign-in begins anew.
    let sign_in = pending(&app, &human.user).await;
    let anew = verify(&app, &sign_in, &human.backup[0]).await.expect(200);
    assert_ne!(end(anew.text_at("/data/token")).await, before);
}

/// Nothing that was opened before all sessions ended stays open, also where both happen at once.
#[tokio::test]
async fn what_ends_all_sessions_overlooks_none_that_is_opened_meanwhile() {
    let app = setup().start().await;
    let user = app.user().await;
    let path = format!("/api/v1/users/{user}/sessions");
    for _ in 0..4 {
        let sign_ins = join_all((0..24).map(|_| door(&app, &user)));
        let ending = async {
            let ended = app.operator().delete(&path).await;
            // Others may come first for ever; then nothing was done, and that is said.
            assert!([200, 409].contains(&ended.status), "{ended}");
        };
        let (opened, ()) = tokio::join!(sign_ins, ending);
        let ends = app.audit("kind=session.all_revoked").await;
        let last = ends.iter().filter_map(|entry| entry["seq"].as_u64()).max();
        let opened_since = app.audit("kind=session.opened&limit=200").await;
        let since = opened_since
            .iter()
            .filter_map(|entry| entry["seq"].as_u64());
        let after = since
            .filter(|seq| last.is_none_or(|last| *seq > last))
            .count();
        let mut live = 0;
        for reply in &opened {
            let call = app.call(reply.text_at("/data/token"));
            live += usize::from(call.get(STATUS).await.status == 200);
        }
        assert!(live <= after, "{live} live, {after} opened since");
        app.operator().delete(&path).await.expect(200);
    }
}

#[tokio::test]
async fn a_code_makes_a_session_fresh_and_gives_it_another_token() {
    let app = setup().start().await;
    let human = enrolled(&app).await;
    let none = app.session(&app.user().await).await;
    app.advance(600);
    let old = app.call(&human.token);
    let renewing = json!({ "code": human.backup[0] });
    old.post(RENEW, renewing.clone())
        .await
        .refused(403, "forbidden");
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
    fresh.post(RENEW, renewing).await.expect(200);
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
    let on = call.post(ENABLE, shown).await.expect(200);
    let call = app.call(on.text_at("/data/token"));
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
    // Backup codes are kept by a password hash, with a salt of each set (ASVS 6.5.2).
    let (kept, one_code) = app
        .restart_after(|database| {
            let way = "SELECT stretching FROM totp_factor";
            let way: String = database.query_row(way, [], |row| row.get(0)).unwrap();
            let hash = "SELECT hash FROM totp_backup_code LIMIT 1";
            let hash: Vec<u8> = database.query_row(hash, [], |row| row.get(0)).unwrap();
            (way, hash)
        })
        .await;
    let salt = kept
        .strip_prefix("$argon2id$v=19$m=19456,t=2,p=1$")
        .unwrap();
    assert_eq!((salt.len(), one_code.len()), (22, 32), "128 bits in base64");
    let other = enrolled(&app).await;
    let salts = app.restart_after(|database| {
        let all = "SELECT COUNT(DISTINCT stretching) FROM totp_factor";
        let salts: i64 = database.query_row(all, [], |row| row.get(0)).unwrap();
        let of_before = "UPDATE totp_factor SET stretching = NULL WHERE user_id = ?1";
        database.execute(of_before, [&other.user]).unwrap();
        salts
    });
    assert_eq!(salts.await, 2);
    // Codes of which it is not known how they are kept prove nothing; the twin: those of the first.
    let sign_in = pending(&app, &other.user).await;
    wrong(verify(&app, &sign_in, &other.backup[0]).await);
    let sign_in = pending(&app, &human.user).await;
    verify(&app, &sign_in, &human.backup[0]).await.expect(200);
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
    let once = |token: &str, key: &str| app.call(token).header("idempotency-key", key);
    let begin = once(&session.token, "setup");
    let begun = begin.post(SETUP, json!({})).await.expect(201);
    let again = begin.post(SETUP, json!({})).await;
    again.refused(409, "conflict");
    let shown = json!({ "code": code(&app, begun.text_at("/data/secret"), 0) });
    let enable = once(&session.token, "on");
    let on = enable.post(ENABLE, shown.clone()).await.expect(200);
    let token = on.text_at("/data/token");
    once(token, "on")
        .post(ENABLE, shown)
        .await
        .refused(409, "conflict");
    let backup = |n: usize| json!({ "code": on.at("/data/backupCodes")[n] });
    let renewed = once(token, "new").post(RENEW, backup(0)).await.expect(200);
    once(token, "new")
        .post(RENEW, backup(0))
        .await
        .refused(409, "conflict");
    // The twin: a request of its own.
    let left = json!({ "code": renewed.at("/data/backupCodes")[0] });
    once(token, "newer").post(RENEW, left).await.expect(200);
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
        (&human.token, &right),
    ] {
        wrong(verify(&app, sign_in, code).await);
    }
    for code in [long.as_str(), "\0", "１２３４５６", "+12345"] {
        wrong(verify(&app, &sign_in, code).await);
    }
    let call = app.call(&human.token);
    call.post(RENEW, json!({ "count": 1_000 }))
        .await
        .refused(400, "malformed_request");
    // A fifth attempt is left.
    verify(&app, &sign_in, &right).await.expect(200);
}
