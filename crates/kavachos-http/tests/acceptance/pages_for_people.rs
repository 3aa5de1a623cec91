//! The pages of an account: only for the human whose they are, only from a page of ours, and whatever stands in a name is
//! shown as it is. Lessons C 70, 71, 82, 86, 87, 92.

use kavachos_test::{TestApp, may, may_under};
use serde_json::json;

use crate::browser::{Browser, mark};

/// Ada, in a browser, with an agent.
struct Ada {
    app: TestApp,
    id: String,
    browser: Browser,
    agent: kavachos_test::TestAgent,
}

impl Ada {
    async fn arrive() -> Self {
        let app = crate::start().await;
        let id = app.user().await;
        let permissions = may_under(
            &["execute"],
            "mcp:deploy:*",
            json!({ "requireApproval": true }),
        );
        let agent = app.agent(&id, permissions).await;
        let session = app.session(&id).await;
        let browser = Browser::of(&app, &session.token);
        Self {
            app,
            id,
            browser,
            agent,
        }
    }
}

const PAGES: [&str; 7] = [
    "/account",
    "/account/agents",
    "/account/connections",
    "/account/approvals",
    "/account/activity",
    "/account/sessions",
    "/account/security",
];

#[tokio::test]
async fn who_is_not_signed_in_is_sent_to_sign_in_and_back() {
    let ada = Ada::arrive().await;
    for path in PAGES {
        let stranger = Browser::stranger(&ada.app).open(path).await.expect(303);
        let back: String = path.replace('/', "%2F");
        assert_eq!(
            stranger.header("location"),
            format!("/sign-in?return_to={back}")
        );
        let dead = Browser::of(&ada.app, "kv_sess_nonsense")
            .open(path)
            .await
            .expect(303);
        assert!(dead.header("location").starts_with("/sign-in"), "{dead}");
        let page = ada.browser.open(path).await.expect(200);
        assert_eq!(page.header("cache-control"), "no-store");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(
            !page.text.contains("style=\"") && !page.text.contains("onclick"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_form_needs_the_mark_of_its_own_session() {
    let ada = Ada::arrive().await;
    let other = ada.app.session(&ada.app.user().await).await;
    let foreign = mark(&Browser::of(&ada.app, &other.token).open("/account").await);
    let stop = format!("/account/agents/{}/stop", ada.agent.id);
    for wrong in ["", "x", &foreign] {
        let refused = ada.browser.send_with(wrong, &stop, &[]).await.expect(403);
        assert!(
            refused.text.contains("not from a page of this server"),
            "{refused}"
        );
    }
    ada.app
        .decide(&ada.agent.id, "execute", "mcp:deploy:x")
        .await
        .decided("approval_required");
    ada.browser.send(&stop, &stop, &[]).await.expect(200);
    ada.app
        .decide(&ada.agent.id, "execute", "mcp:deploy:x")
        .await
        .decided("agent_revoked");
}

/// C71.
#[tokio::test]
async fn c71_a_form_of_another_server_does_nothing() {
    let ada = Ada::arrive().await;
    let stop = format!("/account/agents/{}/stop", ada.agent.id);
    let own = mark(&ada.browser.open(&stop).await.expect(200));
    for from in [
        ("origin", "https://evil.example.com"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("x-nothing", "said"),
    ] {
        // With a mark that was stolen somehow, too.
        ada.browser
            .send_from(from, &own, (&stop, &[]))
            .await
            .expect(403);
    }
    ada.app
        .decide(&ada.agent.id, "execute", "mcp:deploy:x")
        .await
        .decided("approval_required");
    let here = ("sec-fetch-site", "same-origin");
    ada.browser
        .send_from(here, &own, (&stop, &[]))
        .await
        .expect(200);
}

#[tokio::test]
async fn what_is_another_humans_is_not_there() {
    let ada = Ada::arrive().await;
    let bob = ada.app.user().await;
    let theirs = ada.app.agent(&bob, may(&["read"], "mcp:*")).await;
    for path in ["", "/stop", "/suspend"] {
        let path = |agent: &str| format!("/account/agents/{agent}{path}");
        let page = ada.browser.open(&path(&theirs.id)).await.expect(404);
        assert!(page.text.contains("There is no such page"), "{page}");
        ada.browser.open(&path(&ada.agent.id)).await.expect(200);
    }
    let stop = |agent: &str| format!("/account/agents/{agent}/stop");
    ada.browser
        .send("/account", &stop(&theirs.id), &[])
        .await
        .expect(404);
    ada.app
        .decide(&theirs.id, "read", "mcp:x")
        .await
        .decided("allowed");
}

#[tokio::test]
async fn an_error_is_a_page_where_people_look_and_json_where_programs_do() {
    let ada = Ada::arrive().await;
    let page = ada.browser.open("/account/nowhere").await.expect(404);
    assert!(
        page.header("content-type").starts_with("text/html"),
        "{page}"
    );
    for path in ["/api/v1/nowhere", "/nowhere"] {
        let json = ada.browser.open(path).await.expect(404);
        assert_eq!(json.code(), "no_such_route");
    }
    let program = kavachos_test::Client::new(ada.app.client().address());
    let json = program
        .anonymous()
        .get("/account/nowhere")
        .await
        .expect(404);
    assert_eq!(json.code(), "no_such_route");
}

#[tokio::test]
async fn a_human_makes_an_agent_on_a_page_and_stops_it() {
    let ada = Ada::arrive().await;
    let fields = [
        ("name", "deploy-bot"),
        ("type", "autonomous"),
        ("resource1", "mcp:github:*"),
        ("actions1", "read, list"),
        ("resource2", "mcp:deploy:production"),
        ("actions2", "execute"),
        ("approval2", "yes"),
        ("life", "week"),
    ];
    let new = "/account/agents/new";
    let made = ada.browser.send(new, new, &fields).await.expect(200);
    let (_, key) = made
        .text
        .split_once(">kv_agent_")
        .expect("the page shows the key");
    let key = format!("kv_agent_{}", key.split('<').next().unwrap_or_default());
    let call = ada.app.call(&key);
    let ask = |action: &str, resource: &str| json!({ "action": action, "resource": resource });
    let path = "/api/v1/authorize";
    call.post(path, ask("list", "mcp:github:repos"))
        .await
        .decided("allowed");
    call.post(path, ask("write", "mcp:github:repos"))
        .await
        .decided("permission_denied");
    call.post(path, ask("execute", "mcp:deploy:production"))
        .await
        .decided("approval_required");
    // Nobody is shown the key again.
    let list = ada.browser.open("/account/agents").await.expect(200);
    assert!(
        list.text.contains("deploy-bot") && !list.text.contains(&key),
        "{list}"
    );
    assert!(list.text.contains("asks you first"), "{list}");
    let agents = ada
        .app
        .operator()
        .get(&format!("/api/v1/agents?ownerId={}", ada.id))
        .await;
    let agent = agents
        .rows()
        .iter()
        .find(|agent| agent["name"] == "deploy-bot")
        .unwrap();
    let stop = format!("/account/agents/{}/stop", agent["id"].as_str().unwrap());
    let stopped = ada.browser.send(&stop, &stop, &[]).await.expect(200);
    assert!(
        stopped
            .text
            .contains("deploy-bot is stopped. Nobody accepts it any more"),
        "{stopped}"
    );
    call.post(path, ask("list", "mcp:github:repos"))
        .await
        .decided("key_revoked");
}

#[tokio::test]
async fn a_form_that_is_sent_twice_makes_one_agent() {
    let ada = Ada::arrive().await;
    let new = "/account/agents/new";
    let page = ada.browser.open(new).await.expect(200);
    let (once, opened) = (hidden(&page, "once"), hidden(&page, "opened"));
    let send = async |once: &str| {
        let fields = [
            ("name", "deploy-bot"),
            ("resource1", "mcp:*"),
            ("actions1", "read"),
            ("opened", opened.as_str()),
            ("once", once),
        ];
        ada.browser.send(new, new, &fields).await.expect(200)
    };
    assert!(send(&once).await.text.contains(">kv_agent_"));
    ada.app.advance(60);
    let again = send(&once).await;
    assert!(again.text.contains("was made already"), "{again}");
    assert!(!again.text.contains("kv_agent_"), "{again}");
    let named = async || {
        let path = format!("/api/v1/agents?ownerId={}", ada.id);
        let agents = ada.app.operator().get(&path).await;
        let bots = agents.rows().iter();
        bots.filter(|agent| agent["name"] == "deploy-bot").count()
    };
    assert_eq!(named().await, 1);
    // The twin: another form makes another one.
    send("another").await;
    assert_eq!(named().await, 2);
}

/// What a form sends unseen under this name.
fn hidden(page: &kavachos_test::Reply, name: &str) -> String {
    let begin = format!("name=\"{name}\" value=\"");
    let (_, behind) = page.text.split_once(&begin).expect("it is in a form");
    behind.split('"').next().unwrap_or_default().to_owned()
}

/// What is asked beyond the first page of the list is on the next one.
#[tokio::test]
async fn every_request_that_waits_is_on_a_page() {
    let ada = Ada::arrive().await;
    let ask = async |number: usize| {
        let question = json!({
            "agentId": ada.agent.id, "action": "execute", "resource": format!("mcp:deploy:{number}"),
        });
        ada.app.ask(question).await.decided("approval_required");
    };
    for number in 0..51 {
        ask(number).await;
    }
    let shown = |page: &kavachos_test::Reply| page.text.matches(">Look at it<").count();
    let first = ada.browser.open("/account/approvals").await.expect(200);
    assert_eq!(shown(&first), 50);
    let (_, behind) = first
        .text
        .split_once("href=\"/account/approvals?waiting=")
        .expect("there is a next page");
    let cursor = behind.split('"').next().unwrap_or_default();
    let next = format!("/account/approvals?waiting={cursor}");
    let next = ada.browser.open(&next).await.expect(200);
    assert_eq!(shown(&next), 1);
    assert!(!next.text.contains("?waiting="), "{next}");
}

/// An answer of the API that is no success is none on a page either: there are no passkeys here.
#[tokio::test]
async fn what_no_plugin_answers_was_not_done() {
    let ada = Ada::arrive().await;
    for path in [
        "/account/security/passkeys/x/remove",
        "/account/security/totp",
        "/account/security/password",
    ] {
        let page = ada.browser.send("/account", path, &[]).await.expect(404);
        assert!(page.text.contains("There is no such page"), "{page}");
    }
}

#[tokio::test]
async fn whose_agent_it_is_stands_on_its_page() {
    let ada = Ada::arrive().await;
    let path = format!("/account/agents/{}", ada.agent.id);
    let page = ada.browser.open(&path).await.expect(200);
    assert!(page.text.contains("<strong>You</strong>"), "{page}");
    let grace = json!({ "name": "Grace", "role": "admin" });
    let grace = ada.app.operator().post("/api/v1/users", grace).await;
    let session = ada.app.session(grace.text_at("/data/id")).await;
    let grace = Browser::of(&ada.app, &session.token);
    let page = grace.open(&path).await.expect(200);
    assert!(!page.text.contains("<strong>You</strong>"), "{page}");
    assert!(page.text.contains("<strong>Ada</strong>"), "{page}");
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused_on_a_page() {
    let ada = Ada::arrive().await;
    let new = "/account/agents/new";
    let name = "a".repeat(2 << 20);
    let page = ada.browser.send(new, new, &[("name", &name)]).await;
    let page = page.expect(413);
    assert!(
        page.header("content-type").starts_with("text/html"),
        "{page}"
    );
    assert!(page.text.contains("That did not work"), "{page}");
}

/// C67: signing in ends the session that was there, so a page must know whose browser it is.
#[tokio::test]
async fn a_browser_with_a_session_says_where_its_forms_come_from() {
    let ada = Ada::arrive().await;
    let stranger = Browser::stranger(&ada.app);
    let from = ("x-nothing", "said");
    for (browser, refused) in [(&ada.browser, true), (&stranger, false)] {
        let page = browser.send_from(from, "x", ("/sign-in", &[])).await;
        let page = page.expect(403);
        let whence = "did not come from a page of this server";
        assert_eq!(page.text.contains(whence), refused, "{page}");
    }
}

#[tokio::test]
async fn what_was_filled_in_wrongly_is_told_beside_it_and_kept() {
    let ada = Ada::arrive().await;
    let new = "/account/agents/new";
    let fields = [
        ("name", ""),
        ("resource1", "mcp:github:*"),
        ("actions1", "read"),
    ];
    let page = ada.browser.send(new, new, &fields).await.expect(400);
    assert!(page.text.contains("id=\"name-error\""), "{page}");
    assert!(page.text.contains("value=\"mcp:github:*\""), "{page}");
    let fields = [("name", "n"), ("resource1", "mcp::x"), ("actions1", "read")];
    let page = ada.browser.send(new, new, &fields).await.expect(400);
    assert!(
        page.text.contains("role=\"alert\"") && page.text.contains("value=\"mcp::x\""),
        "{page}"
    );
    // One more line, without being told what is missing.
    let fields = [("name", ""), ("rows", "2"), ("more", "yes")];
    let page = ada.browser.send(new, new, &fields).await.expect(200);
    assert!(page.text.contains("name=\"resource3\""), "{page}");
}

/// Whoever found an open session is to make no agents and approve nothing with it.
#[tokio::test]
async fn who_signed_in_a_while_ago_is_asked_again() {
    let ada = Ada::arrive().await;
    ada.app.advance(601);
    let asked = ada
        .app
        .decide(&ada.agent.id, "execute", "mcp:deploy:x")
        .await;
    let id = asked.text_at("/data/approvalId").to_owned();
    let page = format!("/account/approvals/{id}");
    let digest = digest(&ada, &page).await;
    let approve = format!("{page}/approve");
    let again = ada.browser.open("/account/agents/new").await.expect(303);
    assert_eq!(
        again.header("location"),
        "/re-authenticate?return_to=%2Faccount%2Fagents%2Fnew"
    );
    let again = ada
        .browser
        .send(&page, &approve, &[("digest", &digest)])
        .await
        .expect(303);
    assert!(
        again
            .header("location")
            .starts_with("/re-authenticate?return_to="),
        "{again}"
    );
    ada.app
        .decide(&ada.agent.id, "execute", "mcp:deploy:x")
        .await
        .decided("approval_pending");
    // A new session is fresh: the same form is enough.
    let session = ada.app.session(&ada.id).await;
    let fresh = Browser::of(&ada.app, &session.token);
    fresh
        .send(&page, &approve, &[("digest", &digest)])
        .await
        .expect(200);
    ada.app
        .decide(&ada.agent.id, "execute", "mcp:deploy:x")
        .await
        .decided("allowed");
}

async fn digest(ada: &Ada, page: &str) -> String {
    let shown = ada.browser.open(page).await.expect(200);
    let (_, behind) = shown
        .text
        .split_once("name=\"digest\" value=\"")
        .expect("a digest");
    behind.split('"').next().unwrap_or_default().to_owned()
}

/// C82.
#[tokio::test]
async fn c82_what_is_approved_is_the_document_on_the_page_and_nothing_else() {
    let ada = Ada::arrive().await;
    let question = json!({
        "agentId": ada.agent.id, "action": "execute", "resource": "mcp:deploy:x",
        "arguments": { "note": "</pre><script>alert(1)</script>\u{202e}" },
    });
    let asked = ada.app.ask(question.clone()).await;
    let path = format!("/account/approvals/{}", asked.text_at("/data/approvalId"));
    let page = ada.browser.open(&path).await.expect(200);
    let api = path.replace("/account/", "/api/v1/");
    let api = ada.app.operator().get(&api).await.expect(200);
    let document = api.text_at("/data/document");
    let escaped = document
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;");
    assert!(
        page.text.contains(&format!(">{escaped}</pre>")),
        "{page}\n{escaped}"
    );
    let approve = format!("{path}/approve");
    let wrong = "0".repeat(64);
    let refused = ada
        .browser
        .send(&path, &approve, &[("digest", &wrong)])
        .await
        .expect(409);
    assert!(refused.text.contains("role=\"alert\""), "{refused}");
    ada.browser
        .send(&path, &approve, &[("digest", api.text_at("/data/digest"))])
        .await
        .expect(200);
    ada.app.ask(question).await.decided("allowed");
}

/// C86, C87.
#[tokio::test]
async fn c86_c87_nothing_of_somebody_elses_is_run_or_misread() {
    let ada = Ada::arrive().await;
    let hostile = "<img src=x onerror=alert(1)>\u{202e}toob";
    let session = ada.app.session(&ada.id).await;
    let odd = kavachos_test::Client::new(ada.app.client().address());
    let odd = odd
        .call(ada.app.operator_key())
        .header("user-agent", "<script>alert(2)</script>");
    let new = json!({
        "ownerId": ada.id, "name": "<img src=x onerror=alert(1)>", "type": "service",
        "permissions": may(&["read"], "mcp:*"),
    });
    odd.post("/api/v1/agents", new).await.expect(201);
    let other = ada.app.agent(&ada.id, may(&["read"], "mcp:*")).await;
    let reason = json!({
        "from": other.id, "to": ada.agent.id, "permissions": may(&["read"], "mcp:a"), "ttlSeconds": 600,
        "reason": "</p><script>alert(3)</script>",
    });
    ada.app
        .operator()
        .post("/api/v1/delegations", reason)
        .await
        .expect(201);
    let sessions = Browser::of(&ada.app, &session.token);
    for path in PAGES {
        let page = sessions.open(path).await.expect(200);
        assert!(
            !page.text.contains("<img src=x") && !page.text.contains("<script>alert"),
            "{path}"
        );
        assert!(!page.text.contains('\u{202e}'), "{path}");
    }
    let typed = format!(
        "/account/activity?agent={}",
        hostile
            .replace('<', "%3C")
            .replace('>', "%3E")
            .replace(' ', "+")
            .replace('\u{202e}', "%E2%80%AE")
    );
    let page = ada.browser.open(&typed).await.expect(200);
    assert!(
        page.text
            .contains("&lt;img src=x onerror=alert(1)&gt;⟨U+202E⟩toob"),
        "{page}"
    );
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_or_all_others() {
    let ada = Ada::arrive().await;
    let (second, third) = (
        ada.app.session(&ada.id).await,
        ada.app.session(&ada.id).await,
    );
    let end = format!("/account/sessions/{}/sign-out", second.id);
    ada.browser
        .send("/account/sessions", &end, &[])
        .await
        .expect(200);
    Browser::of(&ada.app, &second.token)
        .open("/account")
        .await
        .expect(303);
    Browser::of(&ada.app, &third.token)
        .open("/account")
        .await
        .expect(200);
    ada.browser
        .send("/account/sessions", "/account/sessions/others", &[])
        .await
        .expect(200);
    Browser::of(&ada.app, &third.token)
        .open("/account")
        .await
        .expect(303);
    let out = ada
        .browser
        .send("/account", "/account/sign-out", &[])
        .await
        .expect(303);
    assert_eq!(out.header("location"), "/sign-in?done=signed_out");
    assert!(
        out.header("set-cookie").contains("Max-Age=0"),
        "{}",
        out.header("set-cookie")
    );
    ada.browser.open("/account").await.expect(303);
}

/// C92: what pages load may be kept, under its hash; what says something about somebody may not.
#[tokio::test]
async fn c92_only_what_pages_load_may_be_kept() {
    let ada = Ada::arrive().await;
    let page = ada.browser.open("/account").await.expect(200);
    let (_, behind) = page
        .text
        .split_once("rel=\"stylesheet\" href=\"")
        .expect("a style sheet");
    let path = behind.split('"').next().unwrap_or_default();
    let styles = Browser::stranger(&ada.app).open(path).await.expect(200);
    assert_eq!(
        styles.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    let other = path.replace("kavach.css", "other.css");
    let missing = Browser::stranger(&ada.app).open(&other).await.expect(404);
    assert_eq!(missing.header("cache-control"), "no-store");
}
