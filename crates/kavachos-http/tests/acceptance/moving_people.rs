//! People who move with their tenant: what they sign in with goes along, into a server that can read it, or nothing does.

use std::net::SocketAddr;
use std::sync::Arc;

use kavachos::core::secret::{Secret, SecretKind};
use kavachos::engine::Rehearsal;
use kavachos_auth::magic_link::MagicLink;
use kavachos_auth::passkey::Passkey;
use kavachos_auth::password::Choosing;
use kavachos_auth::totp::Totp;
use kavachos_auth::username_password::UsernamePassword;
use kavachos_test::kavachos;
use kavachos_test::kavachos::mail::{Mailer, Security, Smtp};
use kavachos_test::{Reply, Setup, TestApp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use totp_rs::Builder;

use crate::authenticator::{Authenticator, How};
use crate::moving::{at, body, edited, export, head_of, import, refused, sealed};
use crate::restore::{log_of, restore};

const NAME: &str = "ada.k";
pub(crate) const PASSWORD: &str = "Vogelbeeren im späten Herbst";
const ASK: &str = "/api/auth/passkey/authenticate/options";

fn with_names(setup: Setup) -> Setup {
    let choosing = Arc::new(Choosing {
        breached: None,
        ..Choosing::serving()
    });
    setup.with(move |builder| builder.plugin(UsernamePassword::new(Arc::clone(&choosing))))
}

fn with_passkeys(setup: Setup) -> Setup {
    setup.with(|builder| builder.plugin(Passkey::default()))
}

fn with_codes(setup: Setup) -> Setup {
    setup.with(|builder| builder.plugin(Totp::default()))
}

pub(crate) fn with_all(setup: Setup) -> Setup {
    with_codes(with_passkeys(with_names(setup)))
}

/// A human with a name, a password, a passkey, an app, and backup codes.
pub(crate) struct Human {
    id: String,
    pub(crate) secret: String,
    pub(crate) backup: String,
    authenticator: Authenticator,
}

/// The code that the app shows, so many steps from now.
fn code(app: &TestApp, secret: &str, steps: u64) -> String {
    let now = app.kavach().engine().now().as_micros() / 1_000_000;
    let at = u64::try_from(now).unwrap() + 30 * steps;
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let app = Builder::new().with_secret(secret).build().unwrap();
    app.generate(at).to_string()
}

pub(crate) async fn human(app: &TestApp) -> Human {
    let chosen = json!({ "username": NAME, "password": PASSWORD });
    let stranger = app.anonymous();
    let up = stranger.post("/api/auth/sign-up/username", chosen);
    let up = up.await.expect(200);
    let call = app.call(up.text_at("/data/token"));
    let post = |path: &'static str, body: Value| call.post(path, body);
    let offered = post("/api/auth/passkey/register/options", json!({})).await;
    let mut authenticator = Authenticator::new(7);
    let made = authenticator.make(offered.expect(200).at("/data"), &How::default());
    post("/api/auth/passkey/register/verify", made)
        .await
        .expect(201);
    let begun = post("/api/auth/totp/setup", json!({})).await.expect(201);
    let secret = begun.text_at("/data/secret").to_owned();
    let shown = json!({ "code": code(app, &secret, 0) });
    let enabled = post("/api/auth/totp/enable", shown).await.expect(200);
    Human {
        id: up.text_at("/data/user/id").to_owned(),
        backup: enabled.text_at("/data/backupCodes/0").to_owned(),
        secret,
        authenticator,
    }
}

async fn by_password(app: &TestApp) -> Reply {
    let typed = json!({ "username": NAME, "password": PASSWORD });
    app.anonymous()
        .post("/api/auth/sign-in/username", typed)
        .await
}

/// A name, a password and a code.
async fn by_code(app: &TestApp, code: &str) -> Reply {
    let first = by_password(app).await.expect(200);
    assert_eq!(first.at("/data/token"), &Value::Null, "{first}");
    let second = json!({ "signIn": first.text_at("/data/signIn"), "code": code });
    app.anonymous().post("/api/auth/totp/verify", second).await
}

pub(crate) async fn by_passkey(app: &TestApp, human: &mut Human) -> Reply {
    let asked = app.anonymous().post(ASK, json!({})).await.expect(200);
    answer(app, human, &asked).await
}

async fn answer(app: &TestApp, human: &mut Human, asked: &Reply) -> Reply {
    let answered = human
        .authenticator
        .answer(asked.at("/data"), &How::default());
    let verify = "/api/auth/passkey/authenticate/verify";
    app.anonymous().post(verify, answered).await
}

async fn is_signed_in(app: &TestApp, human: &Human, reply: Reply) {
    let reply = reply.expect(200);
    let call = app.call(reply.text_at("/data/token"));
    let who = call.get("/api/auth/session").await.expect(200);
    assert_eq!(who.at("/data/user/id"), &json!(human.id));
}

/// A tenant with one human, and its file.
async fn tenant() -> (Human, TestApp, String) {
    let app = with_all(crate::setup().seeded(7)).start().await;
    let human = human(&app).await;
    let file = export(&app.operator()).await;
    (human, app, file)
}

/// The lines without those that hold one of these.
fn without(file: &str, gone: &[&str]) -> String {
    let mut lines = body(file);
    for text in gone {
        let before = lines.len();
        lines.retain(|line| !line.contains(text));
        assert!(lines.len() < before, "{text}");
    }
    sealed(&lines)
}

#[tokio::test]
async fn whoever_moves_signs_in_at_the_new_place_with_all_that_they_had() {
    let (mut human, source, file) = tenant().await;
    let homes = [Setup::default().on_postgres(), crate::setup()];
    for (home, seed) in homes.into_iter().zip(8..) {
        let app = with_all(home.seeded(seed)).start().await;
        let done = import(&app.operator(), &file).await.expect(200);
        assert_eq!(done.at("/data/rows/totp_factor"), 1, "{done}");
        assert_eq!(done.at("/data/rows/totp_backup_code"), 10);
        let typed = code(&app, &human.secret, 1);
        let reply = by_code(&app, &typed).await;
        is_signed_in(&app, &human, reply).await;
        let backup = human.backup.clone();
        let reply = by_code(&app, &backup).await;
        is_signed_in(&app, &human, reply).await;
        let reply = by_passkey(&app, &mut human).await;
        is_signed_in(&app, &human, reply).await;
        // What was used up stays so: the code that turned codes on, and the one that was typed.
        let old = code(&source, &human.secret, 0);
        for used in [old, typed, backup] {
            by_code(&app, &used).await.refused(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn without_the_rows_of_its_plugin_a_method_signs_nobody_in() {
    let (mut human, source, file) = tenant().await;
    let app = with_all(crate::setup().seeded(8)).start().await;
    let left_out = without(&file, &["username_password_account", "passkey_credential"]);
    import(&app.operator(), &left_out).await.expect(200);
    by_password(&app).await.refused(401, "unauthenticated");
    by_passkey(&app, &mut human)
        .await
        .refused(401, "unauthenticated");
    // A second factor is never left behind: neither what proves it, nor that it is asked for.
    let app = with_all(crate::setup().seeded(9)).start().await;
    let factor = at(&body(&file), "{\"kind\":\"secondFactor\"") + 1;
    let lost = "what proves this second factor is not in the file";
    refused(
        &app,
        &without(&file, &["totp_factor\",\"row"]),
        factor,
        lost,
    )
    .await;
    let mut lines = body(&file);
    let row = at(&lines, "{\"kind\":\"totp_factor\"");
    let (before, rest) = lines[row].split_once("\"enabled_at\":").unwrap();
    let (_, rest) = rest.split_once(',').unwrap();
    lines[row] = format!("{before}{rest}");
    refused(&app, &sealed(&lines), factor, lost).await;
    let unasked = without(&file, &["{\"kind\":\"secondFactor\""]);
    refused(&app, &unasked, row, "nothing would ask for").await;
    // The twins: the whole file, here and where it comes from.
    import(&app.operator(), &file).await.expect(200);
    let typed = code(&app, &human.secret, 1);
    let reply = by_code(&app, &typed).await;
    is_signed_in(&app, &human, reply).await;
    let reply = by_passkey(&source, &mut human).await;
    is_signed_in(&source, &human, reply).await;
}

#[tokio::test]
async fn rows_of_a_plugin_come_in_where_it_is_the_same_and_nowhere_else() {
    let (_, _, file) = tenant().await;
    let line = |beginning: &str| at(&body(&file), beginning) + 1;
    let named = |id: &str| line(&format!("{{\"kind\":\"plugin\",\"id\":\"{id}\""));
    let codeless = with_passkeys(with_names(crate::setup().seeded(8)))
        .start()
        .await;
    let why = "its plugin `totp` is not built into this server";
    refused(&codeless, &file, named("totp"), why).await;
    let without_line = without(&file, &["{\"kind\":\"plugin\",\"id\":\"totp\""]);
    let second = line("{\"kind\":\"secondFactor\"") - 1;
    refused(
        &codeless,
        &without_line,
        second,
        "asks for the second factor `totp`",
    )
    .await;
    let app = with_all(crate::setup().seeded(9)).start().await;
    let row = line("{\"kind\":\"totp_backup_code\"").min(line("{\"kind\":\"totp_factor\"")) - 1;
    refused(
        &app,
        &without_line,
        row,
        "which no line before the rows names",
    )
    .await;
    for (from, to, why) in [
        (
            "\"version\":2",
            "\"version\":3",
            "are at version 3, and at 2 here",
        ),
        ("\"last_step\"", "\"first_step\"", "other tables or columns"),
        (
            "\"totp_backup_code\"",
            "\"totp_code\"",
            "other tables or columns",
        ),
    ] {
        let mut lines = body(&file);
        let index = named("totp") - 1;
        lines[index] = lines[index].replacen(from, to, 1);
        refused(&app, &sealed(&lines), index + 1, why).await;
    }
    let mut late = body(&file);
    let plugin = late.remove(named("totp") - 1);
    late.insert(line("{\"kind\":\"user\"") - 1, plugin);
    let place = line("{\"kind\":\"user\"");
    refused(&app, &sealed(&late), place, "named before all rows").await;
    import(&app.operator(), &file).await.expect(200);
}

#[tokio::test]
async fn a_row_that_its_plugin_could_not_read_does_not_come_in() {
    let (_, _, file) = tenant().await;
    let app = with_all(crate::setup().seeded(8)).start().await;
    for (table, from, to, why) in [
        (
            "username_password_account",
            "ada.k",
            "Ada.K",
            "its one form",
        ),
        (
            "username_password_account",
            "ada_k",
            "eve_k",
            "does not look so",
        ),
        (
            "username_password_account",
            "\"user_id\":\"user_",
            "\"user_id\":\"abc_",
            "no id of a human",
        ),
        (
            "passkey_credential",
            "\"is_copied\":0",
            "\"is_copied\":2",
            "number of it cannot be",
        ),
        (
            "passkey_credential",
            "\"public_key\":\"",
            "\"public_key\":\"00",
            "no key that signs",
        ),
        (
            "totp_factor",
            "\"sealed\":\"01",
            "\"sealed\":\"02",
            "was changed",
        ),
        (
            "totp_factor",
            "\"last_step\":",
            "\"last_step\":-",
            "no step",
        ),
    ] {
        let (wrong, line) = edited(&file, table, from, to);
        refused(&app, &wrong, line, why).await;
    }
    import(&app.operator(), &file).await.expect(200);
}

#[tokio::test]
async fn codes_do_not_come_in_where_another_master_key_could_not_open_them() {
    let (human, _, file) = tenant().await;
    let other = || Some(Secret::new(SecretKind::Master, [8; 32]));
    let line = at(&body(&file), "{\"kind\":\"totp_factor\"") + 1;
    for setup in [
        crate::setup().with(move |builder| builder.master_key(other())),
        crate::setup().without_master_key(),
    ] {
        let app = with_all(setup.seeded(8)).start().await;
        refused(&app, &file, line, "sealed under the master key").await;
    }
    // The twin: with the same one they do.
    let app = with_all(crate::setup().seeded(8)).start().await;
    import(&app.operator(), &file).await.expect(200);
    let reply = by_code(&app, &code(&app, &human.secret, 1)).await;
    is_signed_in(&app, &human, reply).await;
}

#[tokio::test]
async fn a_role_is_what_the_records_say() {
    let app = with_all(crate::setup().seeded(7)).start().await;
    let member = human(&app).await.id;
    let admin = json!({ "name": "Bob", "role": "admin" });
    let operator = app.operator();
    let admin = operator.post("/api/v1/users", admin).await.expect(201);
    let role = |id: &str| format!("/api/v1/users/{id}/role");
    let path = role(admin.id());
    operator
        .post(&path, json!({ "role": "owner" }))
        .await
        .expect(200);
    let file = export(&operator).await;
    let next = with_all(crate::setup().seeded(8)).start().await;
    let raised = {
        let mut lines = body(&file);
        let index = at(&lines, &format!("{{\"kind\":\"user\",\"id\":\"{member}\""));
        lines[index] = lines[index].trim_end_matches('}').to_owned() + ",\"role\":\"owner\"}";
        (sealed(&lines), index + 1)
    };
    let line = at(&body(&file), "\"role\":\"owner\"}") + 1;
    for (from, to) in [("owner", "admin"), (",\"role\":\"owner\"", "")] {
        let mut lines = body(&file);
        lines[line - 1] = lines[line - 1].replacen(from, to, 1);
        refused(
            &next,
            &sealed(&lines),
            line,
            "another role than the records say",
        )
        .await;
    }
    refused(
        &next,
        &raised.0,
        raised.1,
        "another role than the records say",
    )
    .await;
    import(&next.operator(), &file).await.expect(200);
}

#[tokio::test]
async fn what_passes_stays_behind_and_nothing_of_it_waits_at_the_new_place() {
    let (mut human, source, _) = tenant().await;
    let at_source = source.anonymous().post(ASK, json!({})).await.expect(200);
    let file = export(&source.operator()).await;
    assert!(!file.contains("\"passkey_challenge\""));
    let app = with_all(crate::setup().seeded(8)).start().await;
    let before = app.anonymous().post(ASK, json!({})).await.expect(200);
    import(&app.operator(), &file).await.expect(200);
    for asked in [&at_source, &before] {
        let reply = answer(&app, &mut human, asked).await;
        reply.refused(401, "unauthenticated");
    }
    // The twins: where it was asked, and what is asked now.
    let reply = answer(&source, &mut human, &at_source).await;
    is_signed_in(&source, &human, reply).await;
    let reply = by_passkey(&app, &mut human).await;
    is_signed_in(&app, &human, reply).await;
}

/// Mail goes to where nobody listens.
fn mailing_nowhere(setup: Setup, to: SocketAddr) -> Setup {
    setup.with(move |builder| {
        let smtp = Smtp::new("localhost").port(to.port());
        let from = "Example <auth@example.com>".parse().unwrap();
        let mailer = Mailer::new(from, smtp.security(Security::Plain));
        builder.plugin(MagicLink).mail(mailer)
    })
}

#[tokio::test]
async fn a_restored_backup_sends_no_old_mail_and_takes_nothing_that_may_have_been_used() {
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = nowhere.local_addr().unwrap();
    drop(nowhere);
    let app = mailing_nowhere(with_all(crate::setup().seeded(7)), to);
    let app = app.start().await;
    let mut human = human(&app).await;
    let sent = json!({ "email": "ada@example.com" });
    let stranger = app.anonymous();
    let sent = stranger.post("/api/auth/magic-link/send", sent);
    sent.await.expect(200);
    let left = async || head_of(&export(&app.operator()).await)["mailsLeft"].clone();
    assert_eq!(left().await, 1, "the export tells of it");
    let asked = app.anonymous().post(ASK, json!({})).await.expect(200);
    let first = by_password(&app).await.expect(200);
    let log = log_of(&app).await;
    // The twin: what is only tried takes nothing.
    let tried = restore(&app, Some(log.clone()), Rehearsal::Only).await;
    assert_eq!(tried.ended["mails"], 1);
    assert_eq!(left().await, 1);
    let done = restore(&app, Some(log), Rehearsal::No).await;
    assert_eq!(done.ended["mails"], 1);
    assert_eq!(left().await, 0);
    let reply = answer(&app, &mut human, &asked).await;
    reply.refused(401, "unauthenticated");
    let second =
        json!({ "signIn": first.text_at("/data/signIn"), "code": code(&app, &human.secret, 1) });
    let reply = app.anonymous().post("/api/auth/totp/verify", second).await;
    reply.refused(401, "unauthenticated");
    // The twins: what is asked for now.
    let reply = by_passkey(&app, &mut human).await;
    is_signed_in(&app, &human, reply).await;
    let reply = by_code(&app, &code(&app, &human.secret, 1)).await;
    is_signed_in(&app, &human, reply).await;
}
