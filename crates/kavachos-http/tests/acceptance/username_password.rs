//! A name and a password: what it gives, and what strangers, guessers and look-alikes do not get.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use kavachos_auth::password::{Breached, Choosing, Cost, Passwords, WhenUnreachable};
use kavachos_auth::username_password::UsernamePassword;
use kavachos_store::{Batch, BoxFuture, CommitError};
use kavachos_test::{Keeper, Reply, Setup, TestApp, all_rows};
use serde_json::{Value, json};

const SIGN_UP: &str = "/api/auth/sign-up/username";
const SIGN_IN: &str = "/api/auth/sign-in/username";
const CHANGE: &str = "/api/auth/change-username";
const PASSWORD: &str = "Vogelbeeren im späten Herbst";
/// What one sign-in computes at the cost that is recommended.
const ONE_HASH: u64 = 2 * 19_456;

/// As it is for everybody, but for whom is asked about stolen passwords.
fn plugin(passwords: &Passwords, breached: Option<Breached>) -> UsernamePassword {
    let passwords = passwords.clone();
    UsernamePassword::new(Arc::new(Choosing {
        passwords,
        breached,
        ..Choosing::serving()
    }))
}

fn with(setup: Setup, passwords: &Passwords) -> Setup {
    let plugin = plugin(passwords, None);
    setup.with(move |builder| builder.plugin(plugin.clone()))
}

async fn start() -> (TestApp, Passwords) {
    let passwords = Passwords::default();
    let app = with(crate::setup(), &passwords).start().await;
    (app, passwords)
}

async fn sign_up(app: &TestApp, username: &str) -> Reply {
    let body = json!({ "username": username, "password": PASSWORD });
    app.anonymous().post(SIGN_UP, body).await
}

async fn sign_in(app: &TestApp, username: &str, password: &str) -> Reply {
    let body = json!({ "username": username, "password": password });
    app.anonymous().post(SIGN_IN, body).await
}

fn token(reply: &Reply) -> String {
    reply.text_at("/data/token").to_owned()
}

#[tokio::test]
async fn whoever_signed_up_signs_in_and_both_are_on_record() {
    let (app, _) = start().await;
    let up = sign_up(&app, "Ada.K").await.expect(200);
    let one = sign_in(&app, "ada.k", PASSWORD).await.expect(200);
    // However the name and the password are typed.
    let typed = sign_in(
        &app,
        "ＡＤＡ．\u{212a}",
        "Vogelbeeren im spa\u{308}ten\u{a0}Herbst",
    )
    .await;
    let two = typed.expect(200);
    assert_eq!(up.at("/data/user/id"), one.at("/data/user/id"));
    for reply in [&up, &one, &two] {
        let own = app.call(&token(reply)).get("/api/auth/session").await;
        let own = own.expect(200);
        assert_eq!(own.at("/data/user/name"), "ada.k");
        assert_eq!(own.at("/data/session/method"), "username_password");
    }
    assert_eq!(app.audit("kind=username_password.signed_up").await.len(), 1);
    assert_eq!(app.audit("kind=username_password.signed_in").await.len(), 2);
    let wrong = sign_in(&app, "ada.k", "Vogelbeeren im frühen Herbst").await;
    wrong.refused(401, "unauthenticated");
    let denied = "kind=username_password.signed_in&outcome=denied";
    assert_eq!(app.audit(denied).await.len(), 1);
}

#[tokio::test]
async fn neither_the_answer_nor_the_work_tells_whether_there_is_an_account() {
    let (app, passwords) = start().await;
    sign_up(&app, "ada").await.expect(200);
    let mut answers = Vec::new();
    for name in [
        "ada",
        "bob",
        "аda",
        "a",
        "admin",
        "ada@example.com",
        "'; --",
    ] {
        let before = passwords.blocks_filled();
        let reply = sign_in(&app, name, "not the password at all").await;
        let reply = reply.refused(401, "unauthenticated");
        assert_eq!(passwords.blocks_filled() - before, ONE_HASH, "{name}");
        answers.push((reply.message().to_owned(), reply.field_is_there()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // The twin: the right password takes as much, and is let in.
    let before = passwords.blocks_filled();
    sign_in(&app, "ada", PASSWORD).await.expect(200);
    assert_eq!(passwords.blocks_filled() - before, ONE_HASH);
}

/// Counts what is committed.
#[derive(Default)]
struct Commits(AtomicUsize);

impl Keeper for Commits {
    fn before(&self, _: &mut Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(ready(Ok(())))
    }
}

#[tokio::test]
async fn nor_does_the_disk() {
    let commits = Arc::new(Commits::default());
    let setup = crate::setup().kept_by(Arc::clone(&commits) as Arc<dyn Keeper>);
    let app = with(setup, &Passwords::default()).start().await;
    sign_up(&app, "ada").await.expect(200);
    let mut made = Vec::new();
    for name in ["ada", "bob", "admin", "no name!"] {
        let before = commits.0.load(Ordering::Relaxed);
        let reply = sign_in(&app, name, "not the password at all").await;
        reply.refused(401, "unauthenticated");
        made.push(commits.0.load(Ordering::Relaxed) - before);
    }
    // The source's allowance, the guess, and the record or what takes as long. The fourth is the refusal of a stranger, which
    // is bounded for each network, and which nobody waits for.
    assert_eq!(made, [3, 4, 4, 4]);
    let denied = app.audit("kind=username_password.signed_in").await;
    assert_eq!(denied.len(), 1, "what strangers type is not kept for ever");
}

/// Whether an answer names a member.
trait NamesAField {
    fn field_is_there(&self) -> bool;
}

impl NamesAField for Reply {
    fn field_is_there(&self) -> bool {
        self.body.pointer("/error/field").is_some()
    }
}

#[tokio::test]
async fn guesses_at_a_name_are_bounded_whether_somebody_has_it_or_not() {
    let mut app = with(crate::setup().lasting(), &Passwords::default())
        .start()
        .await;
    sign_up(&app, "ada").await.expect(200);
    sign_up(&app, "eve").await.expect(200);
    for name in ["ada", "bob"] {
        let guesses = (0..40).map(|n| {
            let call = app.anonymous().from(&format!("127.0.{n}.1"));
            let body = json!({ "username": name, "password": format!("guess number {n}") });
            async move { call.post(SIGN_IN, body).await }
        });
        let mut looked_at = 0;
        for reply in join_all(guesses).await {
            match reply.status {
                401 => looked_at += 1,
                429 => assert!(!reply.header("retry-after").is_empty()),
                other => panic!("{other}: {reply}"),
            }
        }
        assert_eq!(looked_at, 20, "{name}");
    }
    app.restart().await;
    for name in ["ada", "ＡＤＡ", "bob"] {
        let reply = sign_in(&app, name, PASSWORD).await;
        reply.refused(429, "too_many_requests");
    }
    // The twins: another account, and an hour later.
    sign_in(&app, "eve", PASSWORD).await.expect(200);
    app.advance(2 * 60 * 60);
    sign_in(&app, "ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_name_that_looks_like_another_or_like_ours_is_not_given() {
    let (app, _) = start().await;
    sign_up(&app, "paypal").await.expect(200);
    for name in ["paypal", "PayPal", "paypa1", "ｐａｙｐａｌ"] {
        let reply = sign_up(&app, name).await;
        reply.refused(409, "conflict");
    }
    for name in [
        "admin",
        "r00t",
        "No-Reply",
        "pаypal",
        "pay\u{200b}pal",
        "ab",
        "a\r\nb",
        "a\0b",
    ] {
        let reply = sign_up(&app, name).await;
        let reply = reply.refused(400, "malformed_request");
        assert_eq!(reply.field(), "username");
    }
    // What only looks like it does not sign in as it.
    let reply = sign_in(&app, "paypa1", PASSWORD).await;
    reply.refused(401, "unauthenticated");
    sign_up(&app, "paypas").await.expect(200);
}

#[tokio::test]
async fn of_many_who_want_a_name_at_once_one_gets_it() {
    let (app, _) = start().await;
    let names = ["ada", "ADA", "ａｄａ"];
    let all = (0..12).map(|n| sign_up(&app, names[n % names.len()]));
    let replies = join_all(all).await;
    let given = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(given, 1);
    for reply in replies {
        assert!([200, 409].contains(&reply.status), "{reply}");
    }
    let humans = app.operator().get("/api/v1/users").await.expect(200);
    assert_eq!(humans.rows().len(), 1, "nobody is left without a name");
}

#[tokio::test]
async fn a_name_is_changed_by_its_human_alone_and_the_old_one_is_over() {
    let (app, _) = start().await;
    let ada = token(&sign_up(&app, "ada").await.expect(200));
    sign_up(&app, "bob").await.expect(200);
    let to = |name: &str| json!({ "username": name });
    let stranger = app.anonymous().post(CHANGE, to("adele")).await;
    stranger.refused(401, "unauthenticated");
    let operator = app.operator().post(CHANGE, to("adele")).await;
    operator.refused(403, "forbidden");
    let taken = app.call(&ada).post(CHANGE, to("B0B")).await;
    taken.refused(409, "conflict");
    let reserved = app.call(&ada).post(CHANGE, to("root")).await;
    reserved.refused(400, "malformed_request");
    let changed = app.call(&ada).post(CHANGE, to("Adele")).await.expect(200);
    assert_eq!(changed.at("/data/username"), "adele");
    // To what it is already, and to what looks like it, it may be changed too.
    app.call(&ada).post(CHANGE, to("adele")).await.expect(200);
    app.call(&ada).post(CHANGE, to("ade1e")).await.expect(200);
    for gone in ["ada", "adele"] {
        let reply = sign_in(&app, gone, PASSWORD).await;
        reply.refused(401, "unauthenticated");
    }
    sign_in(&app, "ade1e", PASSWORD).await.expect(200);
    assert_eq!(
        app.audit("kind=username_password.changed&outcome=allowed")
            .await
            .len(),
        2
    );
    // Whoever left their browser open does not have their name changed in it.
    app.advance(11 * 60);
    let late = app.call(&ada).post(CHANGE, to("anna")).await;
    assert_eq!(late.status, 403, "{late}");
}

#[tokio::test]
async fn a_human_tries_so_many_names_and_learns_of_no_more() {
    let (app, _) = start().await;
    let ada = token(&sign_up(&app, "ada").await.expect(200));
    let bob = token(&sign_up(&app, "bob").await.expect(200));
    let to = |name: &str| json!({ "username": name });
    let try_name = async |who: &str, name: &str| app.call(who).post(CHANGE, to(name)).await;
    for _ in 0..20 {
        try_name(&ada, "bob").await.refused(409, "conflict");
    }
    // Neither that one is taken nor that one is free.
    for name in ["bob", "adele"] {
        try_name(&ada, name).await.refused(429, "too_many_requests");
    }
    // The twin: somebody else may have the free one.
    try_name(&bob, "adele").await.expect(200);
    // What was refused as one too many is no record.
    let denied = "kind=username_password.changed&outcome=denied";
    assert_eq!(app.audit(denied).await.len(), 20);
}

#[tokio::test]
async fn a_name_is_changed_so_often_a_day() {
    let (app, _) = start().await;
    let ada = token(&sign_up(&app, "ada").await.expect(200));
    for (name, status) in [
        ("ada-1", 200),
        ("ada-2", 200),
        ("ada-3", 200),
        ("ada-4", 200),
        ("ada-5", 200),
        ("ada-6", 429),
    ] {
        let body = json!({ "username": name });
        app.call(&ada).post(CHANGE, body).await.expect(status);
    }
    sign_in(&app, "ada-5", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn whoever_was_stopped_learns_it_with_the_password_alone() {
    let (app, _) = start().await;
    let up = sign_up(&app, "ada").await.expect(200);
    let user = up.text_at("/data/user/id");
    let ban = format!("/api/v1/users/{user}/ban");
    app.operator().post(&ban, json!({})).await.expect(200);
    let wrong = sign_in(&app, "ada", "not the password at all").await;
    wrong.refused(401, "unauthenticated");
    let right = sign_in(&app, "ada", PASSWORD).await;
    right.refused(403, "forbidden");
    let own = app.call(&token(&up)).get("/api/auth/session").await;
    assert_eq!(own.status, 401, "{own}");
}

#[tokio::test]
async fn a_password_is_long_and_no_other_rule_is_told() {
    let (app, _) = start().await;
    for short in [
        "fourteen chars",
        "x",
        "",
        "passwordpassword",
        "ada.lovelace.99",
    ] {
        let body = json!({ "username": "ada.lovelace", "password": short });
        let reply = app.anonymous().post(SIGN_UP, body).await;
        let reply = reply.refused(400, "malformed_request");
        assert_eq!(reply.field(), "password", "{short}");
    }
    let body = json!({ "username": "ada.lovelace", "password": "fifteen letters" });
    app.anonymous().post(SIGN_UP, body).await.expect(200);
}

#[tokio::test]
async fn what_is_no_sign_in_is_refused_and_not_repeated() {
    let (app, passwords) = start().await;
    let canary = "739517395173951";
    let number: u64 = canary.parse().unwrap();
    let bodies: Vec<Value> = vec![
        json!({ "username": "ada" }),
        json!({ "password": canary }),
        json!({ "username": "ada", "password": number }),
        json!({ "username": "ada", "password": [canary] }),
        json!({ "username": "ada", "password": { canary: canary } }),
        json!({ "username": "ada", "password": null }),
        json!({ "username": 7, "password": canary }),
        json!({ "username": "ada", "password": canary, "admin": true }),
        json!({ "username": "ada", "password": canary.repeat(20) }),
        json!({ "username": "ada", "password": "x".repeat(200_000) }),
        json!([canary]),
    ];
    for path in [SIGN_IN, SIGN_UP] {
        for body in &bodies {
            let reply = app.anonymous().post(path, body.clone()).await;
            let reply = reply.refused(400, "malformed_request");
            assert!(!reply.message().contains(canary), "{reply}");
        }
        let body = json!({ "username": "ada", "password": "x".repeat(1 << 20) });
        let reply = app.anonymous().post(path, body).await;
        reply.refused(413, "too_large");
    }
    assert_eq!(passwords.blocks_filled(), 0, "nothing was hashed for them");
    // A character that ends a text elsewhere is one like any other.
    for (name, password) in [
        ("one", "a\0 and some more letters"),
        ("two", "\r\nBcc: everybody here"),
    ] {
        let body = json!({ "username": name, "password": password });
        app.anonymous().post(SIGN_UP, body).await.expect(200);
        sign_in(&app, name, password).await.expect(200);
        let cut = password
            .trim_start_matches("\r\n")
            .split('\0')
            .next()
            .unwrap();
        let reply = sign_in(&app, name, cut).await;
        reply.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn the_next_sign_in_stores_a_password_as_it_is_stored_now() {
    let is_old = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_old);
    let old = Passwords::new(Cost::new(12_288, 3, 1).unwrap());
    let new = Passwords::default();
    let now = new.clone();
    let setup = crate::setup().lasting().with(move |builder| {
        let passwords = if switch.load(Ordering::Relaxed) {
            &old
        } else {
            &now
        };
        builder.plugin(plugin(passwords, None))
    });
    let mut app = setup.start().await;
    sign_up(&app, "ada").await.expect(200);
    is_old.store(false, Ordering::Relaxed);
    app.restart().await;
    // One to compare, filled up to what others take, and one to store.
    let mut taken = Vec::new();
    for _ in 0..3 {
        let before = new.blocks_filled();
        sign_in(&app, "ada", PASSWORD).await.expect(200);
        taken.push(new.blocks_filled() - before);
    }
    let [first, second, third] = taken[..] else {
        panic!("three sign-ins");
    };
    assert!(first >= 2 * ONE_HASH - 8, "{first}");
    assert_eq!((second, third), (ONE_HASH, ONE_HASH));
}

/// An address at which nobody listens.
async fn nowhere() -> String {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", gone.local_addr().unwrap())
}

#[tokio::test]
async fn the_list_of_stolen_passwords_is_asked_when_one_is_chosen_and_never_at_sign_in() {
    let list = nowhere().await;
    let is_strict = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_strict);
    let setup = crate::setup().lasting().with(move |builder| {
        let unreachable = match switch.load(Ordering::Relaxed) {
            true => WhenUnreachable::Refuse,
            false => WhenUnreachable::Accept,
        };
        let list = Breached::at(&list, unreachable).unwrap();
        builder.plugin(plugin(&Passwords::default(), Some(list)))
    });
    let mut app = setup.start().await;
    sign_up(&app, "ada").await.expect(200);
    let records = app.audit("kind=username_password.signed_up").await;
    assert_eq!(records[0]["details"]["breached"], "not_checked");
    is_strict.store(true, Ordering::Relaxed);
    app.restart().await;
    sign_in(&app, "ada", PASSWORD).await.expect(200);
    let refused = sign_up(&app, "bob").await;
    refused.refused(503, "busy");
    let reply = sign_in(&app, "bob", PASSWORD).await;
    reply.refused(401, "unauthenticated");
}

#[tokio::test]
async fn no_password_is_in_any_row_or_record() {
    let mut app = with(crate::setup().in_a_file(), &Passwords::default())
        .start()
        .await;
    sign_up(&app, "ada").await.expect(200);
    sign_in(&app, "ada", PASSWORD).await.expect(200);
    sign_in(&app, "ada", "Vogelbeeren falsch geraten").await;
    let rows = app.restart_after(all_rows).await;
    // A text in a row is shown as its bytes.
    let shown = |text: &str| format!("{:?}", text.as_bytes()).replace(['[', ']'], "");
    let is_in = |row: &str, text: &str| row.contains(text) || row.contains(&shown(text));
    let hashes = rows["passwords"].iter();
    assert_eq!(hashes.filter(|row| is_in(row, "$argon2id$")).count(), 1);
    for (table, rows) in &rows {
        for row in rows {
            assert!(!is_in(row, "Vogelbeeren"), "{table}: {row}");
        }
    }
}
