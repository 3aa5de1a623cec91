//! How SQLite finds the records that a filter leaves: never by going through the ledger. And a page of counters: never by
//! going through those before it.

use kavachos_core::id::Id;
use kavachos_core::ledger::Outcome;
use kavachos_core::time::Timestamp;
use kavachos_store::ledger::{LedgerFilter, look};
use kavachos_store::migration::{BOOTSTRAP, Dialect, MIGRATIONS};
use kavachos_store::{counter, grant, token_grant};
use rusqlite::types::Null;
use rusqlite::{Connection, params_from_iter};

fn database() -> Connection {
    let database = Connection::open_in_memory().unwrap();
    let steps = MIGRATIONS.iter().map(|step| step.sql);
    for sql in [BOOTSTRAP].into_iter().chain(steps) {
        database
            .execute_batch(&Dialect::Sqlite.render(sql))
            .unwrap();
    }
    database
}

/// The steps of a plan, in SQLite's words.
fn plan(database: &Connection, sql: &str) -> Vec<String> {
    let mut explain = database
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    let values = vec![Null; explain.parameter_count()];
    let rows = explain.query_map(params_from_iter(values), |row| row.get(3));
    let rows = rows.unwrap();
    rows.map(Result::unwrap).collect()
}

/// All filters of which each is given or not.
fn combinations() -> Vec<LedgerFilter> {
    let one = |bits: u32| {
        let given = |bit: u32| bits & (1 << bit) != 0;
        LedgerFilter {
            agent: given(0).then(|| Id::from_bits(1)),
            subject: given(1).then(|| Id::from_bits(2)),
            member: given(2).then(|| Id::from_bits(3)),
            action: given(3).then(|| "read".to_owned()),
            outcome: given(4).then_some(Outcome::Denied),
            code: given(5).then(|| "rate_limited".to_owned()),
            kind: given(6).then(|| "agent.created".to_owned()),
            request: given(7).then(|| Id::from_bits(4)),
            since: None,
            until: None,
        }
    };
    (0..256).map(one).collect()
}

#[test]
fn every_combination_of_filters_is_found_by_an_index_and_a_bounded_look() {
    let database = database();
    for filter in combinations() {
        let (records, went) = look(&filter, 0..u64::MAX >> 1, 100);
        for sql in [records.into_query().sql, went.into_query().sql] {
            for step in plan(&database, &sql) {
                // The numbers of one look are gone through, and nothing else is.
                let scanned = step.starts_with("SCAN") && !step.starts_with("SCAN n");
                let of_ledger = scanned
                    && !["SCAN i", "SCAN a", "SCAN b", "SCAN (", "SCAN C"]
                        .iter()
                        .any(|part| step.starts_with(part));
                assert!(!of_ledger, "{step}: {sql}");
            }
        }
    }
}

#[test]
fn the_index_is_the_one_that_leaves_the_fewest() {
    let database = database();
    let uses = |filter: &LedgerFilter| {
        let (_, went) = look(filter, 0..u64::MAX >> 1, 100);
        plan(&database, &went.into_query().sql).join("; ")
    };
    let all = LedgerFilter::default();
    let kind = |kind: &str| LedgerFilter {
        kind: Some(kind.to_owned()),
        ..all.clone()
    };
    assert!(uses(&all).contains("PRIMARY KEY"));
    assert!(uses(&kind("agent.created")).contains("ledger_acts"));
    // The twin: decisions stand in no index of kinds.
    assert!(uses(&kind("decision")).contains("PRIMARY KEY"));
    let outcome = |outcome| LedgerFilter {
        outcome: Some(outcome),
        ..all.clone()
    };
    assert!(uses(&outcome(Outcome::Denied)).contains("ledger_denials"));
    assert!(uses(&outcome(Outcome::Allowed)).contains("PRIMARY KEY"));
    let agent = LedgerFilter {
        agent: Some(Id::from_bits(1)),
        ..kind("agent.created")
    };
    assert!(uses(&agent).contains("ledger_agent"));
}

#[test]
fn a_page_of_counters_begins_where_the_last_one_ended_and_sorts_nothing() {
    let steps = plan(&database(), &counter::page(&[]).into_query().sql);
    assert_eq!(
        steps.first().unwrap(),
        "SEARCH c USING PRIMARY KEY (counter>?)"
    );
    assert!(
        !steps.iter().any(|step| step.contains("TEMP B-TREE")),
        "{steps:?}"
    );
}

#[test]
fn live_grants_are_counted_and_found_without_those_that_are_over() {
    let database = database();
    let (id, agent, now) = (Id::from_bits(1), Id::from_bits(2), Timestamp::MIN);
    let counts = plan(
        &database,
        &grant::counts(Some(id), agent, now).into_query().sql,
    );
    let [live, _] = grant::received(agent, now);
    let live = plan(&database, &live.into_query().sql);
    for (steps, index) in [
        (&counts, "(parent="),
        (&counts, "(receiver="),
        (&live, "(receiver="),
    ] {
        let of: Vec<&String> = steps.iter().filter(|step| step.contains(index)).collect();
        assert_eq!(of.len(), 2, "{steps:?}");
        assert!(
            of.iter().all(|step| step.contains("AND expires_at")),
            "{of:?}"
        );
    }
}

#[test]
fn grants_that_are_over_are_found_in_the_order_of_their_ends_and_nothing_is_gone_through() {
    let steps = plan(
        &database(),
        &token_grant::over(Timestamp::MIN).into_query().sql,
    );
    assert!(
        steps
            .first()
            .is_some_and(|step| step.contains("token_grants_by_end (ends_at<?)")),
        "{steps:?}"
    );
    assert!(
        !steps
            .iter()
            .any(|step| step.starts_with("SCAN") || step.contains("TEMP B-TREE")),
        "{steps:?}"
    );
}
