//! Mail: what is queued with a change reaches a real SMTP server, once it can, and nobody waits for it. The plugin here does
//! nothing but send mail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kavachos_engine::actor::Scope;
use kavachos_engine::plugin::{
    Answer, CallerType, Change, Context, Method, Plugin, Request, Route,
};
use kavachos_engine::{Error, Result};
use kavachos_store::migration::Migration;
use kavachos_store::{Batch, BoxFuture, CommitError, Write};
use kavachos_test::kavachos::mail::{Mail, MailKind, MailValues};
use kavachos_test::{Delivered, Keeper, Setup, SmtpAnswer, SmtpTls, TestApp, TestSmtp};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const CODE: &str = "739142";

/// `POST /api/v1/letters` sends a mail with any values.
struct Letters;

impl Plugin for Letters {
    fn id(&self) -> &'static str {
        "letters"
    }

    fn migrations(&self) -> Vec<Migration> {
        Vec::new()
    }

    fn kinds(&self) -> Vec<&'static str> {
        vec!["letters.written"]
    }

    fn routes(&self) -> Vec<Route> {
        let operator = CallerType::Operator(Scope::UsersWrite);
        vec![Route::new(Method::Post, "/api/v1/letters", operator, write)]
    }
}

async fn write(context: Context, request: Request) -> Result<Answer> {
    let body: Value = request.json()?;
    let text = |name: &str| body[name].as_str();
    let to = text("to").unwrap_or("ada@example.com").parse()?;
    let kind: MailKind = text("kind").unwrap_or("email_otp").parse()?;
    let names = ["url", "code", "minutes", "name", "device", "ip"];
    let values = names
        .into_iter()
        .filter_map(|name| Some((name, text(name)?.to_owned())));
    let mail = Mail {
        values: values.collect::<MailValues>(),
        ..Mail::new(to, kind).in_language(text("language").map(str::to_owned))
    };
    let fails = body["fails"].as_bool() == Some(true);
    let written = context.change("letters.written", || async {
        if fails {
            return Err(Error::WrongState("the change does not happen".to_owned()));
        }
        Ok(Change::of("letter").mailing(mail.clone()))
    });
    written.await?;
    Answer::data(&json!({}))
}

fn setup(smtp: &TestSmtp) -> Setup {
    mailing_to(smtp.address())
}

fn mailing_to(address: std::net::SocketAddr) -> Setup {
    crate::setup().with(move |builder| {
        use kavachos_test::kavachos::mail::{Mailer, Security, Smtp};
        let smtp = Smtp::new("localhost")
            .port(address.port())
            .security(Security::Plain);
        let from = "Example <auth@example.com>".parse().unwrap();
        builder.plugin(Letters).mail(Mailer::new(from, smtp))
    })
}

async fn send(app: &TestApp, mut body: Value) {
    if body["code"].is_null() && body["kind"].is_null() {
        body["code"] = CODE.into();
    }
    app.operator()
        .post("/api/v1/letters", body)
        .await
        .expect(200);
}

/// Waits until something is so; the courier works beside the test.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waited).await;
    assert!(waited.is_ok(), "{what}");
}

async fn until_failed(app: &TestApp) -> Value {
    until("a mail is given up", async || {
        !app.audit("kind=mail.failed").await.is_empty()
    })
    .await;
    app.audit("kind=mail.failed").await.remove(0)
}

pub(crate) async fn until_put_off(app: &TestApp, count: u64) {
    until("a mail is put off", async || {
        app.kavach().engine().mail_counts().put_off >= count
    })
    .await;
}

async fn until_sent(app: &TestApp, count: u64) {
    until("what was sent is written down", async || {
        app.kavach().engine().mail_counts().sent >= count
    })
    .await;
}

/// An address of this machine at which nobody listens for now.
pub(crate) async fn nobody() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_mail_that_was_queued_reaches_the_server_with_all_that_it_needs() {
    let smtp = TestSmtp::start().await;
    let app = setup(&smtp).start().await;
    send(&app, json!({ "name": "Zoë <b>", "minutes": "10" })).await;
    let mail = smtp.expect(1).await.remove(0);
    assert_eq!(mail.from, "auth@example.com");
    assert_eq!(mail.to, ["ada@example.com"]);
    let header = |name: &str| mail.header(name).unwrap_or_default();
    assert_eq!(header("From"), "Example <auth@example.com>");
    assert_eq!(header("To"), "ada@example.com");
    assert_eq!(header("Subject"), "Your code for Example");
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert!(header("Content-Type").starts_with("multipart/alternative"));
    let id = header("Message-ID");
    assert!(
        id.starts_with("<mail_") && id.ends_with("@example.com>"),
        "{id}"
    );
    assert!(!header("Date").is_empty());
    assert!(
        mail.text().contains(&format!("    {CODE}\n")),
        "{}",
        mail.text()
    );
    assert!(mail.text().contains("Hello Zoë <b>,") && mail.text().contains("within 10 minutes"));
    assert!(mail.html().contains(CODE) && mail.html().contains("Zoë &lt;b&gt;"));
    until_sent(&app, 1).await;
    assert_eq!(app.kavach().engine().mail_counts().given_up, 0);
}

#[tokio::test]
async fn a_change_that_does_not_happen_sends_nothing() {
    let smtp = TestSmtp::start().await;
    let app = setup(&smtp).start().await;
    let body = json!({ "code": "000000", "fails": true });
    let refused = app.operator().post("/api/v1/letters", body).await;
    refused.refused(409, "conflict");
    // The twin: the next one is sent, and is the first to come.
    send(&app, json!({})).await;
    let mails = smtp.expect(1).await;
    assert!(mails[0].text().contains(CODE));
    until_sent(&app, 1).await;
    assert_eq!(smtp.mails().len(), 1);
}

#[tokio::test]
async fn while_the_server_is_away_mail_waits_also_over_a_restart_and_is_sent_once_it_is_back() {
    let address = nobody().await;
    let mut app = mailing_to(address).lasting().start().await;
    send(&app, json!({ "kind": "password_changed" })).await;
    until_put_off(&app, 1).await;
    app.restart().await;
    let smtp = TestSmtp::again_at(address).await;
    app.advance(10);
    let mail = smtp.expect(1).await.remove(0);
    assert_eq!(
        mail.header("Subject").as_deref(),
        Some("Your password for Example was changed")
    );
    until_sent(&app, 1).await;
    app.restart().await;
    app.advance(3_600);
    send(&app, json!({})).await;
    let mails = smtp.expect(2).await;
    assert!(
        mails[1].text().contains(CODE),
        "the first was not sent again"
    );
    assert!(app.audit("kind=mail.failed").await.is_empty());
}

#[tokio::test]
async fn what_the_server_refuses_for_good_is_given_up_on_record() {
    let smtp = TestSmtp::start().await;
    let app = setup(&smtp).start().await;
    smtp.answers(SmtpAnswer::Refuses(550));
    send(&app, json!({})).await;
    let record = until_failed(&app).await;
    assert_eq!(record["details"]["reason"], "the mail server refuses it");
    assert_eq!(record["details"]["status"], 550);
    assert_eq!(record["details"]["kind"], "email_otp");
    assert_eq!(record["details"]["attempts"], 1);
    // The server's words quote the recipient; ours do not.
    assert!(!record.to_string().contains("ada@"), "{record}");
    assert!(!record.to_string().contains(CODE), "{record}");
    // The twin: what it only puts off is tried again.
    smtp.answers(SmtpAnswer::Refuses(451));
    send(&app, json!({})).await;
    until_put_off(&app, 1).await;
    smtp.answers(SmtpAnswer::Takes);
    app.advance(10);
    smtp.expect(1).await;
    assert_eq!(app.audit("kind=mail.failed").await.len(), 1);
}

#[tokio::test]
async fn a_code_that_is_over_is_not_sent_any_more() {
    let address = nobody().await;
    let app = mailing_to(address).start().await;
    send(&app, json!({ "minutes": "10" })).await;
    send(&app, json!({ "kind": "new_device" })).await;
    until_put_off(&app, 2).await;
    let smtp = TestSmtp::again_at(address).await;
    app.advance(601);
    let record = until_failed(&app).await;
    assert_eq!(record["details"]["reason"], "what it says is over");
    // The twin: a notice says what stays true.
    let mails = smtp.expect(1).await;
    assert_eq!(
        mails[0].header("Subject").as_deref(),
        Some("New sign-in to Example")
    );
    until_sent(&app, 1).await;
    assert_eq!(smtp.mails().len(), 1);
}

#[tokio::test]
async fn attempts_have_an_end() {
    let address = nobody().await;
    let app = mailing_to(address).start().await;
    send(&app, json!({ "kind": "password_changed" })).await;
    let pauses = [
        5, 15, 45, 120, 300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 76_800,
    ];
    for (attempt, pause) in (1..).zip(pauses) {
        until_put_off(&app, attempt).await;
        assert!(app.audit("kind=mail.failed").await.is_empty());
        // By chance a tenth more at the most.
        app.advance(pause + pause / 10 + 1);
    }
    let record = until_failed(&app).await;
    assert_eq!(
        record["details"]["reason"],
        "the mail server cannot be reached"
    );
    assert_eq!(record["details"]["attempts"], 14);
}

#[tokio::test]
async fn a_slow_server_holds_neither_a_request_nor_the_other_mails() {
    let smtp = TestSmtp::start().await;
    let app = setup(&smtp).start().await;
    smtp.answers(SmtpAnswer::Hangs);
    // The answer to each came while the server held all that it was given.
    for _ in 0..3 {
        send(&app, json!({})).await;
    }
    smtp.tried(3).await;
    assert!(smtp.mails().is_empty());
    smtp.answers(SmtpAnswer::Takes);
    send(&app, json!({ "code": "111111" })).await;
    let mails = smtp.expect(1).await;
    assert!(mails[0].text().contains("111111"));
    assert_eq!(app.kavach().engine().mail_counts().put_off, 0);
}

#[tokio::test]
async fn nothing_that_somebody_types_writes_a_header() {
    let smtp = TestSmtp::start().await;
    let app = setup(&smtp).start().await;
    for to in [
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com>\r\nRCPT TO:<eve@example.com",
        "ada@example.com, eve@example.com",
        "ada@example.com\u{0}",
        "\"ada\r\n\"@example.com",
    ] {
        let body = json!({ "to": to, "code": CODE });
        let refused = app.operator().post("/api/v1/letters", body).await;
        assert_eq!(
            refused.refused(400, "malformed_request").field(),
            "email",
            "{to:?}"
        );
    }
    let injected = "Ada\r\nBcc: eve@evil\r\n\r\n.\r\nMAIL FROM:<eve@evil>";
    send(
        &app,
        json!({ "name": injected, "device": "x\r\nSubject: owned\r\n.\r\n" }),
    )
    .await;
    let mail = smtp.expect(1).await.remove(0);
    assert_eq!(mail.to, ["ada@example.com"]);
    let named = |name: &str| {
        let lines = mail.headers();
        lines
            .iter()
            .filter(|line| line.to_lowercase().starts_with(name))
            .count()
    };
    assert_eq!((named("bcc"), named("subject:"), named("to:")), (0, 1, 1));
    assert_eq!(
        mail.header("Subject").as_deref(),
        Some("Your code for Example")
    );
    assert!(!mail.text().contains("eve@evil"), "{}", mail.text());
    until_sent(&app, 1).await;
    assert_eq!(smtp.mails().len(), 1);
}

#[tokio::test]
async fn a_link_to_anywhere_else_is_sent_to_nobody() {
    let smtp = TestSmtp::start().await;
    let app = setup(&smtp).start().await;
    let evil =
        json!({ "kind": "reset_password", "url": "https://evil.example/reset-password?token=a" });
    let refused = app.operator().post("/api/v1/letters", evil).await;
    refused.refused(500, "internal");
    let own = "http://localhost:3000/reset-password?token=a&b=c";
    send(&app, json!({ "kind": "reset_password", "url": own })).await;
    let mail = smtp.expect(1).await.remove(0);
    assert!(mail.text().contains(own), "{}", mail.text());
    assert!(
        mail.html().contains("reset-password?token&#x3d;a&amp;b")
            || mail.html().contains("reset-password?token=a&amp;b=c"),
        "{}",
        mail.html()
    );
}

#[tokio::test]
async fn where_no_mail_can_be_sent_what_needs_it_is_refused() {
    let app = crate::setup()
        .with(|builder| builder.plugin(Letters))
        .start()
        .await;
    assert!(!app.kavach().engine().can_mail());
    let body = json!({ "code": CODE });
    let refused = app.operator().post("/api/v1/letters", body.clone()).await;
    refused.refused(503, "mail_unavailable");
    let smtp = TestSmtp::start().await;
    let app = setup(&smtp).without_master_key().start().await;
    assert!(!app.kavach().engine().can_mail());
    let refused = app.operator().post("/api/v1/letters", body).await;
    refused.refused(503, "mail_unavailable");
    // The twin.
    let app = setup(&smtp).start().await;
    assert!(app.kavach().engine().can_mail());
    send(&app, json!({})).await;
    smtp.expect(1).await;
}

/// Whatever the header says of the mail, link and code are not in it.
fn assert_nothing_secret_in_headers(mail: &Delivered, secret: &str) {
    for line in mail.headers() {
        assert!(!line.contains(secret), "{line}");
    }
}

/// What is logged, at every level, from the first time that somebody looks: by all threads, since which callsites are
/// asked is decided once for the process, and a subscriber of one thread may come too late for it.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<String>>);

impl Log {
    pub(crate) fn of_all() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let start = || {
            let log = Self::default();
            tracing::subscriber::set_global_default(log.clone()).expect("no other subscriber");
            log
        };
        LOG.get_or_init(start).clone()
    }

    /// What was logged so far.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

impl tracing::field::Visit for Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        // What writes itself down may log something as well.
        let line = format!("{field}={value:?}\n");
        self.0.lock().unwrap().push_str(&line);
    }
}

#[tokio::test]
async fn neither_recipient_nor_link_nor_code_stands_in_the_database_a_header_or_the_log() {
    let log = Log::of_all();
    let address = nobody().await;
    let mut app = mailing_to(address).in_a_file().start().await;
    let (canary, token) = ("canary.recipient@example.com", "canarytoken8LhQ");
    let url = format!("http://localhost:3000/magic-link?token={token}");
    send(&app, json!({ "to": canary, "code": "canary739142" })).await;
    send(
        &app,
        json!({ "to": canary, "kind": "magic_link", "url": url }),
    )
    .await;
    until_put_off(&app, 2).await;
    let secrets = ["canary.recipient", token, "canary739142"];
    let file = app
        .restart_after(|database| {
            let count: i64 = database
                .query_row("SELECT COUNT(*) FROM mails", [], |row| row.get(0))
                .unwrap();
            assert_eq!(count, 2, "they wait there");
            let file: String = database
                .query_row(
                    "SELECT file FROM pragma_database_list WHERE name = 'main'",
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            std::fs::read(file).unwrap()
        })
        .await;
    let stands_in = |text: &str| file.windows(text.len()).any(|part| part == text.as_bytes());
    for secret in secrets {
        assert!(!stands_in(secret), "{secret}");
    }
    // The twin: what stands there in clear is found.
    assert!(stands_in("magic_link"));
    let smtp = TestSmtp::again_at(address).await;
    app.advance(10);
    for mail in smtp.expect(2).await {
        assert_eq!(mail.to, [canary]);
        assert_nothing_secret_in_headers(&mail, token);
        assert_nothing_secret_in_headers(&mail, "739142");
    }
    let records = serde_json::to_string(&app.audit("limit=100").await).unwrap();
    let log = log.text();
    for secret in secrets {
        assert!(!records.contains(secret), "{secret}");
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    // The twin: what is logged is seen.
    assert!(log.contains("a mail is tried again"), "{log}");
}

#[tokio::test]
async fn a_mail_goes_over_tls_with_credentials_or_not_at_all() {
    for tls in [SmtpTls::FromTheStart, SmtpTls::Offered] {
        let smtp = Arc::new(TestSmtp::with(tls).await);
        let app = with_credentials(&smtp, "secret").start().await;
        send(&app, json!({})).await;
        let mail = smtp.expect(1).await.remove(0);
        assert!(mail.over_tls);
        assert_eq!(mail.user.as_deref(), Some("kavach:secret"));
        // The twin: with a wrong password nothing is sent, and the mail is not given up for it.
        let app = with_credentials(&smtp, "wrong").start().await;
        send(&app, json!({})).await;
        until_put_off(&app, 1).await;
        assert_eq!(smtp.mails().len(), 1);
        assert!(app.audit("kind=mail.failed").await.is_empty());
    }
}

fn with_credentials(smtp: &Arc<TestSmtp>, password: &'static str) -> Setup {
    let smtp = Arc::clone(smtp);
    crate::setup().with(move |builder| {
        use kavachos_test::kavachos::mail::Mailer;
        let from = "auth@example.com".parse().unwrap();
        let server = smtp.smtp().credentials("kavach", password);
        builder.plugin(Letters).mail(Mailer::new(from, server))
    })
}

#[tokio::test]
async fn a_server_without_starttls_or_with_a_strange_certificate_gets_nothing() {
    use kavachos_test::kavachos::mail::{Mailer, Security, Smtp};
    let strange = TestSmtp::with(SmtpTls::FromTheStart).await;
    let port = strange.address().port();
    let without_starttls = TestSmtp::start().await;
    let cases = [
        (without_starttls.address().port(), Security::StartTls),
        (port, Security::Tls),
    ];
    for (port, security) in cases {
        let setup = crate::setup().with(move |builder| {
            let from = "auth@example.com".parse().unwrap();
            let server = Smtp::new("localhost").port(port).security(security);
            builder.plugin(Letters).mail(Mailer::new(from, server))
        });
        let app = setup.start().await;
        send(&app, json!({})).await;
        until_put_off(&app, 1).await;
    }
    assert!(strange.mails().is_empty() && without_starttls.mails().is_empty());
}

/// Writes down that so many mails wait, with every batch that queues none: upkeep counts them anew.
#[derive(Default)]
pub(crate) struct Waiting(pub(crate) AtomicU64);

impl Keeper for Waiting {
    fn before(
        &self,
        batch: &mut Batch,
    ) -> BoxFuture<'static, std::result::Result<(), CommitError>> {
        let queues = batch
            .writes
            .iter()
            .any(|write| write.sql.contains("INTO mails"));
        if !queues {
            let all = "UPDATE mail_queue SET waiting = ?1";
            let waiting = self.0.load(Ordering::SeqCst);
            batch.writes.push(Write::exactly(1, all).bind(waiting));
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Strangers fill the queue with what anyone may ask for. What humans must be told has room behind it, and whoever finds none
/// is told to come again, not that others were quicker.
#[tokio::test]
async fn a_full_queue_is_told_at_once_and_leaves_room_for_notices() {
    let count = Arc::new(Waiting::default());
    let keeper = Arc::clone(&count) as Arc<dyn Keeper>;
    // Nothing is sent, so that what waits stays as many.
    let app = mailing_to(nobody().await).kept_by(keeper).start().await;
    let asked = json!({ "code": CODE });
    let notice = json!({ "kind": "password_changed" });
    for (waiting, mail, status) in [
        (7_999, &asked, 200),
        (8_000, &asked, 503),
        (8_000, &notice, 200),
        (9_999, &notice, 200),
        (10_000, &notice, 503),
    ] {
        count.0.store(waiting, Ordering::SeqCst);
        app.user().await;
        let operator = app.operator();
        let reply = operator.post("/api/v1/letters", mail.clone()).await;
        if status == 503 {
            let reply = reply.refused(503, "busy");
            assert!(!reply.header("retry-after").is_empty());
        } else {
            reply.expect(status);
        }
    }
    assert_eq!(app.audit("kind=letters.written").await.len(), 3);
}
