//! The stream of records: in order, without a gap over breaks, filtered as lists are, and no burden on anybody else.

use kavachos_engine::AuditFilter;
use kavachos_engine::actor::Actor;
use kavachos_engine::{EventReader, Heard, StreamEnd};
use kavachos_test::{Event, Events, TestApp, may};
use serde_json::{Value, json};

const EVENTS: &str = "/api/v1/events";

async fn take(events: &mut Events, count: usize) -> Vec<Event> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(events.next().await.expect("the stream goes on"));
    }
    taken
}

/// All records, oldest first.
async fn ledger(app: &TestApp) -> Vec<Value> {
    let mut records = app.audit("limit=1000").await;
    records.reverse();
    records
}

#[tokio::test]
async fn records_come_as_they_stand_in_the_ledger_and_in_its_order() {
    let app = crate::start().await;
    let mut live = app.operator().events(EVENTS).await;
    let (user, begun) = (app.user().await, app.head().size - 1);
    app.agent(&user, may(&["read"], "mcp:*")).await;
    let taken = take(&mut live, 2).await;
    let records = ledger(&app).await;
    for (event, record) in taken
        .iter()
        .zip(&records[usize::try_from(begun).unwrap()..])
    {
        assert_eq!(
            (&event.data, event.id.parse()),
            (record, Ok(record["seq"].as_u64().unwrap()))
        );
        assert_eq!(event.kind, "");
    }
}

/// Who comes back with the last id that it saw has missed nothing and gets nothing twice.
#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off() {
    let app = crate::start().await;
    let mut first = app.operator().events(&format!("{EVENTS}?after=0")).await;
    app.user().await;
    let seen = take(&mut first, 1).await.remove(0);
    drop(first);
    for _ in 0..250 {
        app.user().await;
    }
    // A browser repeats its URL: the header counts.
    let again = app.operator().header("last-event-id", &seen.id);
    let mut again = again.events(&format!("{EVENTS}?after=0")).await;
    let ids: Vec<u64> = take(&mut again, 250)
        .await
        .iter()
        .map(|event| event.id.parse().unwrap())
        .collect();
    let expected: Vec<u64> = (seen.id.parse::<u64>().unwrap() + 1..).take(250).collect();
    assert_eq!(ids, expected);
    // The twin: without it the stream begins with what comes next.
    let mut fresh = app.operator().events(EVENTS).await;
    let next = app.head().size;
    app.user().await;
    assert_eq!(take(&mut fresh, 1).await[0].id, next.to_string());
}

#[tokio::test]
async fn a_stream_is_filtered_by_the_parameters_of_the_list() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:github:*")).await;
    for resource in ["mcp:github:repos", "mcp:slack:send", "mcp:github:issues"] {
        app.decide(&agent.id, "read", resource).await;
    }
    for (filter, count) in [
        (format!("agentId={}&kind=decision", agent.id), 3),
        ("outcome=denied".to_owned(), 1),
        ("resource=mcp:github:*".to_owned(), 2),
        (format!("userId={user}&action=read"), 3),
    ] {
        let path = format!("{EVENTS}?after=0&{filter}");
        let mut events = app.operator().events(&path).await;
        let taken = take(&mut events, count).await;
        let mut listed = app.audit(&filter).await;
        listed.reverse();
        let data: Vec<Value> = taken.into_iter().map(|event| event.data).collect();
        assert_eq!(data, listed, "{filter}");
    }
}

#[tokio::test]
async fn what_is_no_place_in_the_ledger_is_refused_with_the_name_of_the_member() {
    let app = crate::start().await;
    let operator = app.operator();
    for (query, field) in [
        ("?after=x", "after"),
        ("?after=-1", "after"),
        ("?after=1&after=2", "after"),
        ("?after=1000000", "Last-Event-ID"),
        ("?after=9223372036854775807", "Last-Event-ID"),
        ("?limit=5", "limit"),
        ("?kind=%00", "kind"),
        ("?outcome=maybe", "outcome"),
    ] {
        let reply = operator.get(&format!("{EVENTS}{query}")).await;
        assert_eq!(
            (reply.status, reply.text_at("/error/field")),
            (400, field),
            "{query}"
        );
    }
    for id in ["x", "", "99999999999999999999", "1 "] {
        let reply = app.operator().header("last-event-id", id).get(EVENTS).await;
        assert_eq!(reply.text_at("/error/field"), "Last-Event-ID", "{id}");
    }
    let twice = app
        .operator()
        .header("last-event-id", "0")
        .header("last-event-id", "0");
    twice.get(EVENTS).await.expect(400);
    let head = (app.head().size - 1).to_string();
    app.operator()
        .header("last-event-id", &head)
        .get(EVENTS)
        .await
        .expect(200);
}

#[tokio::test]
async fn a_revoked_key_reads_nothing_more() {
    let app = crate::start().await;
    let reply = app
        .operator()
        .post(
            "/api/v1/keys",
            json!({ "name": "reader", "scopes": ["audit:read"] }),
        )
        .await
        .expect(201);
    let mut revoked = app.call(reply.text_at("/data/token")).events(EVENTS).await;
    let mut other = app.operator().events(EVENTS).await;
    app.user().await;
    assert_eq!(take(&mut revoked, 1).await[0].data["kind"], "user.created");
    app.operator()
        .delete(&format!("/api/v1/keys/{}", reply.id()))
        .await
        .expect(200);
    app.user().await;
    let end = take(&mut revoked, 1).await.remove(0);
    assert_eq!(
        (end.kind.as_str(), &end.data["code"]),
        ("end", &json!("unauthenticated"))
    );
    assert_eq!(revoked.next().await, None);
    // The twin: a key that lives reads on.
    let kinds = take(&mut other, 3).await;
    assert_eq!(kinds[2].data["kind"], "user.created");
}

#[tokio::test]
async fn the_end_of_the_server_ends_a_stream_in_words() {
    let app = crate::start().await;
    let mut events = app.operator().events(EVENTS).await;
    app.kavach().engine().wind_down();
    let end = events.next().await.expect("an end is said");
    assert_eq!(
        (end.kind.as_str(), &end.data["code"]),
        ("end", &json!("closing"))
    );
}

async fn listener(app: &TestApp) -> EventReader {
    let engine = app.kavach().engine();
    let actor = Actor::local(engine.id());
    let listening = engine
        .listen(&actor, &AuditFilter::default(), Some(0))
        .await;
    listening.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_reader_that_takes_too_long_for_what_it_was_given_is_cut_off() {
    for (seconds, is_cut_off) in [(31, true), (29, false)] {
        let app = crate::start().await;
        app.user().await;
        let mut reader = listener(&app).await;
        assert!(matches!(reader.hear().await, Heard::Records(_)));
        app.advance(seconds);
        app.user().await;
        let heard = reader.hear().await;
        assert_eq!(
            heard == Heard::End(StreamEnd::TooSlow),
            is_cut_off,
            "{heard:?}"
        );
    }
}

#[tokio::test]
async fn there_are_only_so_many_readers_and_one_that_goes_makes_room() {
    let app = crate::start().await;
    let mut readers = Vec::new();
    for _ in 0..64 {
        readers.push(listener(&app).await);
    }
    app.operator().get(EVENTS).await.refused(503, "busy");
    readers.pop();
    app.operator().get(EVENTS).await.expect(200);
}

#[tokio::test]
async fn readers_that_take_nothing_hold_nobody_up() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    let mut stuck = Vec::new();
    for _ in 0..8 {
        stuck.push(app.operator().events(&format!("{EVENTS}?after=0")).await);
    }
    for _ in 0..300 {
        let reply = app.decide(&agent.id, "read", "mcp:github").await;
        reply.decided("allowed");
    }
}
