//! Webhooks: a real receiver that checks the signatures itself. What is told, what never, and that nothing is lost.

use std::time::Duration;

use http::Method;
use kavachos_core::time::Timestamp;
use kavachos_test::inside::HOSTS;
use kavachos_test::{Message, Receiver, TestApp, may};
use serde_json::{Value, json};
use tokio::time::timeout;

const WEBHOOKS: &str = "/api/v1/webhooks";

/// A webhook, and its secret.
struct Hook {
    id: String,
    secret: String,
}

impl Hook {
    async fn new(app: &TestApp, to: &Receiver, more: Value) -> Self {
        let mut body = json!({ "url": to.url(), "kinds": ["user.*"] });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let reply = app.operator().post(WEBHOOKS, body).await.expect(201);
        Self {
            id: reply.id().to_owned(),
            secret: reply.text_at("/data/secret").to_owned(),
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("{WEBHOOKS}/{}{rest}", self.id)
    }

    /// Waits until a member of the webhook is this.
    async fn until(&self, app: &TestApp, member: &str, value: Value) {
        let pointer = format!("/data/{member}");
        eventually(async || {
            let reply = app.operator().get(&self.path("")).await.expect(200);
            (reply.at(&pointer) == &value).then_some(())
        })
        .await;
    }

    /// Waits until its one delivery was tried so often.
    async fn tried(&self, app: &TestApp, attempts: u64) -> Value {
        eventually(async || {
            let reply = app.operator().get(&self.path("/deliveries")).await;
            let delivery = reply.expect(200).rows().first().cloned();
            delivery.filter(|delivery| delivery["attempts"] == attempts)
        })
        .await
    }
}

/// Looks until there is something to see.
async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    timeout(Duration::from_secs(60), looking)
        .await
        .expect("it comes to pass")
}

fn ids(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.id.as_str()).collect()
}

#[tokio::test]
async fn a_message_names_the_record_its_kind_and_its_code_and_is_signed() {
    let app = crate::start().await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&app, &receiver, json!({})).await;
    app.user().await;
    let message = receiver.expect(1).await.remove(0);
    let record = app.audit("kind=user.created").await.remove(0);
    assert_eq!(
        message.body,
        json!({
            "type": "user.created",
            "timestamp": record["time"],
            "data": { "id": record["id"], "kind": "user.created", "code": "done" },
        })
    );
    assert_eq!(message.id, record["id"]);
    assert_eq!(message.timestamp, "1795255200");
    assert!(message.is_signed_with(&hook.secret), "{message:?}");
    // The twin: no other secret, id, time or body is signed.
    let other = Hook::new(&app, &receiver, json!({})).await;
    let changed = [
        Message {
            id: "x".to_owned(),
            ..message.clone()
        },
        Message {
            timestamp: "1".to_owned(),
            ..message.clone()
        },
        Message {
            raw: b"{}".to_vec(),
            ..message.clone()
        },
    ];
    assert!(!message.is_signed_with(&other.secret));
    assert!(
        changed
            .iter()
            .all(|changed| !changed.is_signed_with(&hook.secret))
    );
}

#[tokio::test]
async fn a_webhook_is_told_of_its_kinds_of_refusals_if_it_asks_and_of_strangers_never() {
    let app = crate::start().await;
    let (plain, curious) = (Receiver::start().await, Receiver::start().await);
    Hook::new(&app, &plain, json!({ "kinds": ["*"] })).await;
    let all = json!({ "kinds": ["*"], "denials": true });
    let hook = Hook::new(&app, &curious, all).await;
    let agents = Receiver::start().await;
    Hook::new(&app, &agents, json!({ "kinds": ["agent.*"] })).await;

    app.anonymous().get("/api/v1/agents").await.expect(401);
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    app.decide(&agent.id, "read", "mcp:y")
        .await
        .decided("permission_denied");
    app.operator()
        .post("/api/v1/users", json!({ "name": "last" }))
        .await
        .expect(201);
    let last = app.audit("kind=user.created").await.remove(0);

    let records = app.audit("limit=1000").await;
    let stranger = records.iter().find(|record| record["actor"] == "stranger");
    assert!(stranger.is_some(), "the stranger is on record");
    let is_refusal =
        |record: &&Value| record["outcome"] == "denied" && record["actor"] != "stranger";
    let refusal = records.iter().find(is_refusal).unwrap();
    for (receiver, with_denials) in [(&plain, false), (&curious, true)] {
        // Messages come in any order.
        let awaited = [Some(&last), Some(refusal).filter(|_| with_denials)];
        let is_there =
            |record: &Value| ids(&receiver.messages()).contains(&record["id"].as_str().unwrap());
        while !awaited.into_iter().flatten().all(is_there) {
            receiver.expect(receiver.messages().len() + 1).await;
        }
        let told = receiver.messages();
        let told = ids(&told);
        let is_told = |record: &&Value| told.contains(&record["id"].as_str().unwrap());
        assert!(
            !records
                .iter()
                .filter(is_told)
                .any(|record| record["actor"] == "stranger")
        );
        let denials = records
            .iter()
            .filter(is_told)
            .filter(|record| record["outcome"] == "denied");
        assert_eq!(denials.count() > 0, with_denials);
    }
    let told = agents.expect(1).await;
    assert_eq!(told[0].body["type"], "agent.created");
    let audit = json!({ "auditId": stranger.unwrap()["id"] });
    app.operator()
        .post(&hook.path("/redeliver"), audit)
        .await
        .refused(409, "conflict");
}

/// Attempts are spread over days; after the tenth a message is given up, and can be told again.
#[tokio::test]
async fn a_message_is_tried_ten_times_then_given_up_and_told_again_on_demand() {
    let app = crate::start().await;
    let receiver = Receiver::start().await;
    receiver.answers(500, &[]);
    let hook = Hook::new(&app, &receiver, json!({})).await;
    app.user().await;
    for attempt in 1..=10 {
        receiver.expect(usize::try_from(attempt).unwrap()).await;
        let (member, value) = if attempt < 10 {
            ("waiting", 1)
        } else {
            ("dead", 1)
        };
        hook.until(&app, member, json!(value)).await;
        let delivery = hook.tried(&app, attempt).await;
        assert_eq!(delivery["problem"], "answered 500");
        app.advance(110_000);
    }
    assert_eq!(receiver.messages().len(), 10);
    receiver.answers(200, &[]);
    app.operator()
        .post(&hook.path("/redeliver"), json!({}))
        .await
        .expect(200);
    let messages = receiver.expect(11).await;
    hook.until(&app, "dead", json!(0)).await;
    assert!(
        ids(&messages).iter().all(|id| *id == messages[0].id),
        "the id never changes"
    );
    assert!(
        messages
            .iter()
            .all(|message| message.is_signed_with(&hook.secret))
    );
    assert_ne!(messages[0].timestamp, messages[10].timestamp);
    // One that was acknowledged can be told again too.
    let again = json!({ "auditId": messages[0].id });
    app.operator()
        .post(&hook.path("/redeliver"), again)
        .await
        .expect(200);
    receiver.expect(12).await;
}

#[tokio::test]
async fn a_retry_waits_for_its_time_and_for_what_the_receiver_asks() {
    for (headers, early) in [(&[][..], 4), (&[("retry-after", "600")][..], 590)] {
        let app = crate::start().await;
        let receiver = Receiver::start().await;
        receiver.answers(503, headers);
        let hook = Hook::new(&app, &receiver, json!({})).await;
        app.user().await;
        receiver.expect(1).await;
        hook.until(&app, "waiting", json!(1)).await;
        let delivery = hook.tried(&app, 1).await;
        app.advance(early);
        let next_at: Timestamp = delivery["nextAt"].as_str().unwrap().parse().unwrap();
        assert!(next_at > app.kavach().engine().now(), "{delivery}");
        receiver.answers(200, &[]);
        app.advance(20);
        receiver.expect(2).await;
    }
}

#[tokio::test]
async fn what_happens_while_a_receiver_is_away_or_a_server_is_down_is_told_later_in_full() {
    let mut app = crate::setup().lasting().start().await;
    let receiver = Receiver::start().await;
    receiver.answers(500, &[]);
    let hook = Hook::new(&app, &receiver, json!({})).await;
    for _ in 0..100 {
        app.user().await;
    }
    receiver.expect(1).await;
    app.restart().await;
    for _ in 0..100 {
        app.user().await;
    }
    receiver.answers(200, &[]);
    app.advance(10);
    let created: Vec<Value> = app.audit("kind=user.created&limit=1000").await;
    assert_eq!(created.len(), 200);
    hook.until(&app, "behind", json!(0)).await;
    eventually(async || {
        // What was refused while the receiver came back is due a while later.
        app.advance(10);
        let reply = app.operator().get(&hook.path("")).await.expect(200);
        (reply.at("/data/waiting") == &json!(0)).then_some(())
    })
    .await;
    let messages = receiver.messages();
    let told = ids(&messages);
    let missing = created
        .iter()
        .filter(|record| !told.contains(&record["id"].as_str().unwrap()));
    assert_eq!(missing.count(), 0);
}

#[tokio::test]
async fn a_paused_webhook_is_told_everything_once_it_goes_on() {
    let app = crate::start().await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&app, &receiver, json!({})).await;
    let paused = json!({ "status": "paused" });
    app.operator()
        .patch(&hook.path(""), paused)
        .await
        .expect(200);
    app.user().await;
    app.user().await;
    let active = json!({ "status": "active" });
    let other = Hook::new(&app, &receiver, json!({ "kinds": ["key.*"] })).await;
    app.key(json!({ "name": "k", "scopes": ["audit:read"] }))
        .await;
    assert!(
        receiver.expect(1).await[0].is_signed_with(&other.secret),
        "nothing is told meanwhile"
    );
    app.operator()
        .patch(&hook.path(""), active)
        .await
        .expect(200);
    assert_eq!(receiver.expect(3).await.len(), 3);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_more_until_an_operator_says_so() {
    let app = crate::start().await;
    let receiver = Receiver::start().await;
    receiver.answers(410, &[]);
    let hook = Hook::new(&app, &receiver, json!({})).await;
    app.user().await;
    hook.until(&app, "status", json!("gone")).await;
    assert_eq!(app.audit("kind=webhook.gone").await.len(), 1);
    app.user().await;
    receiver.answers(200, &[]);
    app.advance(10);
    app.operator()
        .patch(&hook.path(""), json!({ "status": "active" }))
        .await
        .expect(200);
    let messages = receiver.expect(3).await;
    assert_eq!(
        messages[0].id,
        messages
            .iter()
            .rfind(|message| message.id == messages[0].id)
            .unwrap()
            .id
    );
    hook.until(&app, "waiting", json!(0)).await;
}

/// During the overlap a message is signed with both secrets, before and after it with one.
#[tokio::test]
async fn a_secret_is_rotated_without_a_gap() {
    let app = crate::start().await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&app, &receiver, json!({})).await;
    let overlap = json!({ "overlapSeconds": 3600 });
    let rotated = app
        .operator()
        .post(&hook.path("/rotate"), overlap)
        .await
        .expect(200);
    let new = rotated.text_at("/data/secret").to_owned();
    assert_ne!(new, hook.secret);
    app.user().await;
    let during = receiver.expect(1).await.remove(0);
    assert!(during.is_signed_with(&new) && during.is_signed_with(&hook.secret));
    app.advance(3_601);
    app.user().await;
    let after = receiver.expect(2).await.remove(1);
    assert!(after.is_signed_with(&new) && !after.is_signed_with(&hook.secret));
    let none = json!({ "overlapSeconds": 0 });
    let rotated = app
        .operator()
        .post(&hook.path("/rotate"), none)
        .await
        .expect(200);
    app.user().await;
    let third = receiver.expect(3).await.remove(2);
    assert!(third.is_signed_with(rotated.text_at("/data/secret")) && !third.is_signed_with(&new));
    let long = json!({ "overlapSeconds": 604_801 });
    let refused = app
        .operator()
        .post(&hook.path("/rotate"), long)
        .await
        .expect(400);
    assert_eq!(refused.field(), "overlapSeconds");
}

#[tokio::test]
async fn a_secret_is_shown_once_and_stands_nowhere() {
    let mut app = crate::setup().in_a_file().start().await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&app, &receiver, json!({})).await;
    for path in [WEBHOOKS.to_owned(), hook.path("")] {
        let reply = app.operator().get(&path).await.expect(200);
        assert!(!reply.text.contains("whsec_"), "{reply}");
    }
    let text = app.operator().get("/api/v1/audit").await.text;
    assert!(
        !text.contains("whsec_") && !text.contains("/hook"),
        "{text}"
    );
    let key = hook.secret.strip_prefix("whsec_").unwrap().to_owned();
    let tables = app
        .restart_after(|database| {
            let dump = "SELECT group_concat(quote(id) || quote(url) || quote(master) || quote(kinds)) FROM webhooks";
            database.query_row(dump, [], |row| row.get::<_, String>(0)).unwrap()
        })
        .await;
    assert!(tables.contains("webhook_") && !tables.contains(&key));
    app.user().await;
    assert!(
        receiver.expect(1).await[0].is_signed_with(&hook.secret),
        "it survives a restart"
    );
}

#[tokio::test]
async fn a_test_is_sent_at_once_and_says_what_came_of_it() {
    let app = crate::start().await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&app, &receiver, json!({ "kinds": ["*"] })).await;
    let reply = app
        .operator()
        .post(&hook.path("/test"), json!({}))
        .await
        .expect(200);
    assert_eq!(
        (reply.at("/data/acknowledged"), reply.at("/data/status")),
        (&json!(true), &json!(204))
    );
    let all = receiver.messages();
    let message = all
        .iter()
        .find(|message| message.id == reply.text_at("/data/auditId"))
        .unwrap();
    assert_eq!(message.body["type"], "webhook.tested");
    assert!(message.is_signed_with(&hook.secret));
    receiver.answers(302, &[("location", "http://127.0.0.1:1/")]);
    let reply = app
        .operator()
        .post(&hook.path("/test"), json!({}))
        .await
        .expect(200);
    assert_eq!(
        (reply.at("/data/acknowledged"), reply.at("/data/status")),
        (&json!(false), &json!(302))
    );
}

/// The corpus of addresses that lead inside, at the door where an operator names one.
#[tokio::test]
async fn an_address_that_leads_inside_is_refused_with_the_member_named() {
    let inside = [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://hooks.example.com@127.0.0.1/",
        "https://hooks.example.com:22/",
        "http://hooks.example.com/",
        "http://127.0.0.1:3000/",
        "ftp://hooks.example.com/",
        "https://hooks.example.com/#x",
        "",
    ];
    let app = crate::setup().in_the_open().start().await;
    for method in [Method::POST, Method::PATCH] {
        let there = json!({ "url": "https://hooks.example.com/", "kinds": ["*"] });
        let there = app.operator().post(WEBHOOKS, there).await.expect(201);
        let all = HOSTS.iter().map(|host| format!("https://{host}/hook"));
        for url in all.chain(inside.map(str::to_owned)) {
            let (path, body) = if method == Method::POST {
                (WEBHOOKS.to_owned(), json!({ "url": url, "kinds": ["*"] }))
            } else {
                (format!("{WEBHOOKS}/{}", there.id()), json!({ "url": url }))
            };
            let body = Some(body.to_string().into_bytes());
            let reply = app.operator().send(method.clone(), &path, body).await;
            assert_eq!(
                (reply.status, reply.field()),
                (400, "url"),
                "{url}: {reply}"
            );
        }
    }
    // The twin: where this machine is allowed, its own address is taken; nothing else is.
    let app = crate::start().await;
    let mut taken = Vec::new();
    for url in inside {
        let body = json!({ "url": url, "kinds": ["*"] });
        if app.operator().post(WEBHOOKS, body).await.status == 201 {
            taken.push(url);
        }
    }
    let own = [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "http://127.0.0.1:3000/",
    ];
    assert_eq!(taken, own);
}

#[tokio::test]
async fn without_a_master_key_there_are_no_webhooks() {
    let app = crate::setup().without_master_key().start().await;
    let body = json!({ "url": "https://hooks.example.com/", "kinds": ["*"] });
    let reply = app
        .operator()
        .post(WEBHOOKS, body.clone())
        .await
        .refused(409, "conflict");
    assert!(
        reply
            .text_at("/error/message")
            .contains("KAVACH_MASTER_KEY_FILE"),
        "{reply}"
    );
    crate::start()
        .await
        .operator()
        .post(WEBHOOKS, body)
        .await
        .expect(201);
}

#[tokio::test]
async fn what_is_no_webhook_is_refused_with_the_member_named() {
    let app = crate::start().await;
    for (change, field) in [
        (json!({ "kinds": [] }), "kinds"),
        (json!({ "kinds": ["agent.*", "a b"] }), "kinds[1]"),
        (json!({ "kinds": "agent" }), "kinds"),
        (json!({ "name": "" }), "name"),
        (json!({ "denials": "yes" }), "denials"),
        (json!({ "secret": "whsec_x" }), "secret"),
    ] {
        let mut body = json!({ "url": "https://hooks.example.com/", "kinds": ["*"] });
        if let (Some(body), Value::Object(change)) = (body.as_object_mut(), change) {
            body.extend(change);
        }
        let reply = app.operator().post(WEBHOOKS, body).await.expect(400);
        assert_eq!(reply.field(), field, "{reply}");
    }
}

#[tokio::test]
async fn there_are_only_so_many_webhooks() {
    let app = crate::start().await;
    let body = json!({ "url": "https://hooks.example.com/", "kinds": ["none"] });
    for _ in 0..32 {
        app.operator()
            .post(WEBHOOKS, body.clone())
            .await
            .expect(201);
    }
    let refused = app.operator().post(WEBHOOKS, body.clone()).await;
    refused.refused(422, "webhook_limit_exceeded");
    let listed = app.operator().get(WEBHOOKS).await;
    let path = format!("{WEBHOOKS}/{}", listed.rows()[0]["id"].as_str().unwrap());
    app.operator().delete(&path).await.expect(200);
    app.operator().post(WEBHOOKS, body).await.expect(201);
}

/// A receiver that hangs holds up neither decisions nor other receivers.
#[tokio::test]
async fn a_receiver_that_hangs_holds_nobody_up() {
    let app = crate::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let receiver = Receiver::start().await;
    Hook::new(&app, &receiver, json!({ "url": url, "kinds": ["*"] })).await;
    Hook::new(&app, &receiver, json!({})).await;
    for _ in 0..20 {
        app.user().await;
    }
    receiver.expect(20).await;
}
