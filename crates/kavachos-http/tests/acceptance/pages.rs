//! Pages of heavy things end early: an answer is bounded in bytes, and nothing is lost by it.

use kavachos_test::{TestApp, may};
use serde_json::{Value, json};

/// A page ends with the thing that brings its text to this.
const PAGE_BYTES: usize = 4 << 20;
/// What a grant may take.
const GRANT_BYTES: usize = 128 << 10;
/// How many heavy things there are: together more than a page holds.
const THINGS: usize = 40;

/// As many permissions as fit into a grant, almost.
fn heavy() -> Value {
    let filler = "x".repeat(480);
    let one = |number| json!({ "resource": format!("fat:{number}:{filler}"), "actions": ["read"] });
    let all: Value = (0..240).map(one).collect();
    let bytes = all.to_string().len();
    assert!(
        (GRANT_BYTES * 9 / 10..GRANT_BYTES).contains(&bytes),
        "{bytes}"
    );
    all
}

/// The pages of a list: the names of the things on each, and the longest answer.
async fn pages(app: &TestApp, path: &str, limit: usize) -> (Vec<Vec<String>>, usize) {
    let name = |row: &Value| match row["id"].as_str() {
        Some(id) => id.to_owned(),
        // A path is named by its last grant.
        None => {
            let hops = row["path"].as_array();
            let last = hops.and_then(|hops| hops.last());
            last.map_or_else(String::new, |hop| hop["grantId"].to_string())
        }
    };
    let (mut pages, mut longest) = (Vec::new(), 0);
    let mut cursor = String::new();
    loop {
        let url = format!("{path}?limit={limit}{cursor}");
        let page = app.operator().get(&url).await.expect(200);
        longest = longest.max(page.text.len());
        pages.push(page.rows().iter().map(name).collect());
        match page.at("/nextCursor").as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (pages, longest),
        }
    }
}

/// Every thing once, in one order, however the list is cut; and no answer beyond the bound.
async fn assert_cut_by_bytes(app: &TestApp, path: &str, thing: usize) {
    let (early, longest) = pages(app, path, 1_000).await;
    assert!(early.len() > 1, "{path} came on one page");
    let bound = PAGE_BYTES + thing;
    assert!(
        (PAGE_BYTES..=bound + bound / 50).contains(&longest),
        "{path}: {longest}"
    );
    assert!(early.iter().all(|page| !page.is_empty()), "{path}");
    let (small, _) = pages(app, path, 7).await;
    let full = small.iter().filter(|page| page.len() == 7).count();
    assert!(full + 1 >= small.len(), "{path}: {small:?}");
    assert_eq!(early.concat(), small.concat(), "{path}");
    let mut once = early.concat();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), early.concat().len(), "{path}");
    assert!(once.len() >= THINGS, "{path}");
}

async fn assert_on_one_page(app: &TestApp, path: &str) {
    let (pages, longest) = pages(app, path, 1_000).await;
    assert_eq!(pages.len(), 1, "{path}");
    assert!(pages.concat().len() >= THINGS, "{path}: {pages:?}");
    assert!(longest < PAGE_BYTES / 10, "{path}: {longest}");
}

#[tokio::test]
async fn a_page_of_heavy_agents_or_grants_ends_early_and_loses_none() {
    for (permissions, is_heavy) in [(heavy(), true), (may(&["read"], "mcp:x"), false)] {
        let app = crate::start().await;
        let user = app.user().await;
        for _ in 0..THINGS {
            app.agent(&user, permissions.clone()).await;
        }
        for path in ["/api/v1/agents", "/api/v1/delegations"] {
            match is_heavy {
                true => assert_cut_by_bytes(&app, path, GRANT_BYTES).await,
                // The twin: as many light ones come together.
                false => assert_on_one_page(&app, path).await,
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_heavy_users_or_keys_ends_early_and_loses_none() {
    for (permissions, is_heavy) in [(heavy(), true), (may(&["read"], "mcp:x"), false)] {
        let app = crate::start().await;
        let user = json!({ "name": "Ada", "permissions": permissions });
        let key = json!({ "name": "k", "scopes": ["audit:read"], "ceiling": permissions });
        for (path, body) in [("/api/v1/users", user), ("/api/v1/keys", key)] {
            for _ in 0..THINGS {
                app.operator().post(path, body.clone()).await.expect(201);
            }
            match is_heavy {
                true => assert_cut_by_bytes(&app, path, GRANT_BYTES).await,
                false => assert_on_one_page(&app, path).await,
            }
        }
    }
}

/// The paths of an agent that holds this forty times over.
#[tokio::test]
async fn the_authority_of_an_agent_comes_in_pages_too() {
    for (permissions, is_heavy) in [(heavy(), true), (may(&["read"], "mcp:x"), false)] {
        let app = crate::start().await;
        let user = app.user().await;
        let giver = app.agent(&user, permissions.clone()).await;
        let holder = app.agent(&user, may(&["read"], "mcp:own")).await;
        for _ in 0..THINGS {
            let given = app.delegate(&giver.id, &holder.id, permissions.clone());
            given.await.expect(201);
        }
        let path = format!("/api/v1/agents/{}/permissions", holder.id);
        match is_heavy {
            // Each path shows the giver's grant and its own.
            true => assert_cut_by_bytes(&app, &path, 2 * GRANT_BYTES).await,
            false => assert_on_one_page(&app, &path).await,
        }
        let foreign = format!("{path}?cursor=1.0-{}.x", holder.grant);
        let reply = app.operator().get(&foreign).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), "cursor");
    }
}

/// A page that is full at its last thing is the last one.
#[tokio::test]
async fn a_list_that_fits_its_page_has_no_next_one() {
    let app = crate::start().await;
    let user = app.user().await;
    for _ in 0..3 {
        app.agent(&user, may(&["read"], "mcp:x")).await;
    }
    for (limit, sizes) in [(2, vec![2, 1]), (3, vec![3]), (4, vec![3])] {
        let (pages, _) = pages(&app, "/api/v1/agents", limit).await;
        let found: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(found, sizes, "limit {limit}");
    }
}
