//! What tokens of a grant may be used for beside being shown: nothing, unless an operator says so.

use kavachos_test::{TestApp, may};
use serde_json::{Value, json};

use crate::moving::{export, import};

const TOOLS: &str = "https://tools.example.com/mcp";

fn uses() -> Value {
    json!({ "exchangeBy": [TOOLS], "bearer": true, "offline": true })
}

fn nothing() -> Value {
    json!({ "exchangeBy": [], "bearer": false, "offline": false })
}

/// These members of what is shown.
fn shown(thing: &Value) -> Value {
    json!({
        "exchangeBy": thing["exchangeBy"], "bearer": thing["bearer"], "offline": thing["offline"],
    })
}

async fn root(app: &TestApp, grant: &str) -> Value {
    let path = format!("/api/v1/delegations/{grant}");
    let reply = app.operator().get(&path).await.expect(200);
    shown(reply.at("/data"))
}

async fn generation(app: &TestApp) -> u64 {
    app.head().revocation.rseq
}

#[tokio::test]
async fn an_operator_says_what_tokens_may_be_used_for_and_takes_it_back() {
    let app = crate::start().await;
    let (operator, user) = (app.operator(), app.user().await);
    let silent = app.agent(&user, may(&["*"], "tools:*")).await;
    let agent = app.agent_with(&user, may(&["*"], "tools:*"), uses()).await;
    let show = async |id: &str| {
        let path = format!("/api/v1/agents/{id}");
        operator.get(&path).await.expect(200).at("/data").clone()
    };
    // The twin: what nobody said is not so.
    assert_eq!(shown(&show(&silent.id).await), nothing());
    let told = show(&agent.id).await;
    assert_eq!(shown(&told), uses());
    let grant = told["grantId"].as_str().unwrap();
    assert_eq!(root(&app, grant).await, uses());
    let created = app.audit("kind=agent.created").await;
    let said = json!({ "exchangeBy": 1, "bearer": true, "offline": true });
    assert_eq!(created[0]["details"]["uses"], said);
    assert!(created[1]["details"].get("uses").is_none());
    let path = format!("/api/v1/agents/{}", agent.id);
    let before = generation(&app).await;
    // Saying the same again narrows nothing; taking away does.
    operator.patch(&path, uses()).await.expect(200);
    assert_eq!(generation(&app).await, before);
    let less = operator.patch(&path, json!({ "offline": false })).await;
    assert_eq!(less.expect(200).at("/data/offline"), &json!(false));
    assert_eq!(generation(&app).await, before + 1);
    let none = operator.patch(&path, json!({ "exchangeBy": [] })).await;
    let left = json!({ "exchangeBy": [], "bearer": true, "offline": false });
    assert_eq!(shown(none.expect(200).at("/data")), left);
    assert_eq!(generation(&app).await, before + 2);
}

#[tokio::test]
async fn an_agent_says_nothing_of_it_and_what_it_gives_lets_nothing() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent_with(&user, may(&["*"], "tools:*"), uses()).await;
    let other = app.agent(&user, may(&["*"], "other:*")).await;
    let own = app.call(&agent.key);
    let delegation = json!({
        "from": agent.id, "to": other.id, "reason": "look", "permissions": may(&["*"], "tools:a"),
    });
    let sub = json!({
        "ownerId": agent.id, "name": "sub", "type": "service", "permissions": may(&["*"], "tools:a"),
    });
    let with = |body: &Value, member: &str| {
        let mut body = body.clone();
        body[member] = uses()[member].clone();
        body
    };
    for member in ["exchangeBy", "bearer", "offline"] {
        for (path, body) in [
            ("/api/v1/delegations", &delegation),
            ("/api/v1/agents", &sub),
        ] {
            let refused = own.post(path, with(body, member)).await;
            assert_eq!((refused.status, refused.code()), (403, "forbidden"));
            // The twin: an operator may say it of the same.
            app.operator()
                .post(path, with(body, member))
                .await
                .expect(201);
        }
    }
    let given = own
        .post("/api/v1/delegations", delegation)
        .await
        .expect(201);
    assert_eq!(shown(given.at("/data")), nothing());
    let made = own.post("/api/v1/agents", sub).await.expect(201);
    assert_eq!(shown(made.at("/data")), nothing());
}

#[tokio::test]
async fn no_grant_lets_more_than_the_one_that_it_comes_from() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:*")).await;
    let other = app.agent(&user, may(&["*"], "other:*")).await;
    let body = |more: (&str, Value)| {
        let mut body = json!({
            "from": agent.id, "to": other.id, "reason": "look", "permissions": may(&["*"], "tools:a"),
        });
        body[more.0] = more.1;
        body
    };
    let operator = app.operator();
    for member in ["exchangeBy", "bearer", "offline"] {
        let more = (member, uses()[member].clone());
        let wide = operator.post("/api/v1/delegations", body(more)).await;
        assert_eq!((wide.status, wide.code()), (403, "not_narrower"));
        assert_eq!(wide.field(), member);
        let less = (member, nothing()[member].clone());
        let narrow = operator.post("/api/v1/delegations", body(less)).await;
        narrow.expect(201);
    }
    let twice = ("exchangeBy", json!([TOOLS, TOOLS]));
    let twice = operator.post("/api/v1/delegations", body(twice)).await;
    assert_eq!(twice.status, 400, "{twice}");
}

#[tokio::test]
async fn what_tokens_may_be_used_for_moves_with_the_grant() {
    let old = crate::start().await;
    let user = old.user().await;
    let agent = old.agent_with(&user, may(&["*"], "tools:*"), uses()).await;
    let file = export(&old.operator()).await;
    let new = crate::setup().seeded(7).start().await;
    import(&new.operator(), &file).await.expect(200);
    let path = format!("/api/v1/agents/{}", agent.id);
    let moved = new.call(old.operator_key()).get(&path).await.expect(200);
    assert_eq!(shown(moved.at("/data")), uses());
}
