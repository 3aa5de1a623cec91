//! What is over is forgotten, and what still limits anybody is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kavachos_auth::SwitchedOff;
use kavachos_auth::magic_link::MagicLink;
use kavachos_auth::totp::Totp;
use kavachos_core::counter::{Rule, take};
use kavachos_core::hex;
use kavachos_core::time::Timestamp;
use kavachos_test::kavachos::Builder;
use kavachos_test::notes::Notes;
use kavachos_test::{TestApp, TestSmtp, may_under};
use serde_json::json;

/// How many counters are stored: an export names them all.
async fn counters(app: &TestApp) -> usize {
    let export = app.operator().post("/api/v1/export", json!({})).await;
    let lines = export.expect(200).text;
    let is_counter = |line: &&str| line.starts_with("{\"kind\":\"counter\"");
    lines.lines().filter(is_counter).count()
}

#[tokio::test]
async fn counters_of_networks_that_called_long_ago_are_forgotten_and_what_still_limits_is_not() {
    let setup = crate::setup().lasting();
    let mut app = setup
        .with(|builder| builder.plugin(Notes::default()))
        .start()
        .await;
    let user = app.user().await;
    let budget = json!({ "budget": { "amount": 1, "unit": "calls" }, "maxCallsPerHour": 9 });
    let agent = app
        .agent(&user, may_under(&["read"], "mcp:*", budget))
        .await;
    app.decide(&agent.id, "read", "mcp:a")
        .await
        .decided("allowed");
    let networks = 300;
    for network in 0..networks {
        let call = app
            .anonymous()
            .from(&format!("127.{}.{}.1", network / 256, network % 256));
        call.get("/api/v1/notes").await.expect(200);
    }
    // Of everyone together, of the permission's rate and of its budget.
    let others = 3;
    assert_eq!(counters(&app).await, networks + others);
    // The twin: while the minute is open nothing is forgotten, and each network is counted on.
    app.kavach().engine().forget().await.unwrap();
    assert_eq!(counters(&app).await, networks + others);
    // A minute and its slice later, one of them has called again.
    app.advance(62);
    let again = async |app: &TestApp| app.anonymous().from("127.0.7.1").get("/api/v1/notes").await;
    for _ in 0..5 {
        again(&app).await.expect(200);
    }
    app.kavach().engine().forget().await.unwrap();
    assert_eq!(counters(&app).await, 1 + others);
    for _ in 0..2 {
        again(&app).await.refused(429, "too_many_requests");
        let spent = app.decide(&agent.id, "read", "mcp:a").await;
        spent.decided("budget_exhausted");
        app.restart().await;
    }
    // Those that were forgotten may do what they might do before, and no more.
    for status in [200, 200, 200, 200, 200, 429] {
        let call = app.anonymous().from("127.0.8.1");
        assert_eq!(call.get("/api/v1/notes").await.status, status);
    }
    // What is never over is the budget alone.
    app.advance(4_000);
    app.kavach().engine().forget().await.unwrap();
    assert_eq!(counters(&app).await, 1);
}

/// More than one round looks through, as a flood of networks leaves them.
const FLOOD: usize = 20_000;

/// Stores counters with this state, the first of them with this number.
fn flooding(first: usize, state: &[u8]) -> String {
    let (last, state) = (first + FLOOD - 1, hex::encode(state));
    format!(
        "WITH RECURSIVE n (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM n WHERE n < {last}) \
         INSERT INTO counters SELECT CAST(printf('%08d', n) AS BLOB), x'{state}', 0 FROM n"
    )
}

#[tokio::test]
async fn a_flood_of_counters_is_forgotten_in_rounds() {
    let mut app = crate::setup().in_a_file().start().await;
    let once_a_minute = Rule::Rate {
        limit: 1,
        per_seconds: 60,
    };
    let over = take(None, &once_a_minute, 1, Timestamp::from_micros(0)).unwrap();
    let open = take(None, &once_a_minute, 1, app.kavach().engine().now()).unwrap();
    let sql = flooding(0, &over);
    let stored = app.restart_after(|database| database.execute(&sql, []).unwrap());
    assert_eq!(stored.await, FLOOD);
    for _ in 0..2 {
        app.kavach().engine().forget().await.unwrap();
    }
    assert_eq!(counters(&app).await, 0);
    // The twin: as many that still limit somebody stay.
    let sql = flooding(FLOOD, &open);
    let stored = app.restart_after(|database| database.execute(&sql, []).unwrap());
    assert_eq!(stored.await, FLOOD);
    for _ in 0..2 {
        app.kavach().engine().forget().await.unwrap();
    }
    assert_eq!(counters(&app).await, FLOOD);
}

/// How many rows these tables have.
async fn rows<const N: usize>(app: &mut TestApp, tables: [&str; N]) -> [i64; N] {
    app.restart_after(|database| {
        tables.map(|table| {
            let count = format!("SELECT COUNT(*) FROM {table}");
            let rows = database.query_row(&count, [], |row| row.get(0));
            rows.unwrap()
        })
    })
    .await
}

/// What strangers typed does not wait for the next one who asks.
#[tokio::test]
async fn what_is_over_of_plugins_is_removed_with_nobody_asking_also_where_they_are_off() {
    let smtp = Arc::new(TestSmtp::start().await);
    let is_off = Arc::new(AtomicBool::new(false));
    let (relay, switch) = (Arc::clone(&smtp), Arc::clone(&is_off));
    let setup = crate::setup().with(move |builder: Builder| {
        let builder = builder.mail(relay.mailer());
        if switch.load(Ordering::Relaxed) {
            let builder = builder.plugin(SwitchedOff(Arc::new(MagicLink)));
            return builder.plugin(SwitchedOff(Arc::new(Totp::default())));
        }
        builder.plugin(MagicLink).plugin(Totp::default())
    });
    let mut app = setup.in_a_file().start().await;
    let links = ["magic_link_link", "totp_factor"];
    let ask = async |app: &TestApp, email: &str| {
        let call = app.anonymous();
        let asked = call.post("/api/auth/magic-link/send", json!({ "email": email }));
        asked.await.expect(200);
    };
    ask(&app, "one@example.com").await;
    let session = app.session(&app.user().await).await;
    let call = app.call(&session.token);
    let begun = call.post("/api/auth/totp/setup", json!({})).await;
    begun.expect(201);
    app.advance(300);
    ask(&app, "two@example.com").await;
    app.kavach().engine().forget().await.unwrap();
    assert_eq!(rows(&mut app, links).await, [2, 1]);
    // One of them is over, to the second; the twin stays.
    app.advance(300);
    assert_eq!(rows(&mut app, links).await, [2, 1]);
    app.kavach().engine().forget().await.unwrap();
    assert_eq!(rows(&mut app, links).await, [1, 1]);
    is_off.store(true, Ordering::Relaxed);
    app.restart().await;
    app.advance(86_400);
    app.kavach().engine().forget().await.unwrap();
    assert_eq!(rows(&mut app, links).await, [0, 0]);
}
