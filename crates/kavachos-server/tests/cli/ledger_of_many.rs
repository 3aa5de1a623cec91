//! A ledger of very many records: taken out with flat memory, and read by filters at a cost that does not grow with it.
//!
//! The short form runs with all other tests. The long one has a million records and prints what it measured:
//! `cargo test --release -p kavachos-server --test cli -- --ignored --nocapture million`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use kavachos_core::id::Id;
use kavachos_core::ledger::{
    Actor, Blinding, Entry, Frontier, LogId, Outcome, Personal, Record, RevocationPoint, leaf,
};
use kavachos_core::time::Timestamp;
use rusqlite::{Connection, params};

use crate::support::{Place, Server};

/// How many agents the records are about.
const AGENTS: u64 = 100;
/// Every so many records one is no decision.
const ACT_EVERY: u64 = 5_000;
/// Every so many records one is a refusal.
const DENIED_EVERY: u64 = 50;
/// The clock ticks of processor time in a second.
const TICKS: f64 = 100.0;
/// How often each page is asked for.
const PAGES: u32 = 100;

/// The agent of a record.
fn agent(seq: u64) -> kavachos_core::id::AgentId {
    Id::from_bits(u128::from(seq % AGENTS) + (1 << 100))
}

/// The record of this number: mostly a decision that allows, now and then a refusal or an act.
fn entry(seq: u64) -> Entry {
    let (act, denied) = (
        seq.is_multiple_of(ACT_EVERY),
        seq.is_multiple_of(DENIED_EVERY),
    );
    let resource = format!("mcp:github:r{}", seq % 1_000);
    let (kind, outcome, code) = match (act, denied) {
        (true, _) => ("audit.exported", Outcome::Allowed, "done"),
        (_, true) => ("decision", Outcome::Denied, "permission_denied"),
        _ => ("decision", Outcome::Allowed, "allowed"),
    };
    let mut record = Record::new(
        Id::from_bits(u128::from(seq)),
        kind,
        outcome,
        code,
        Actor::Agent(agent(seq)),
    );
    record.agent = Some(agent(seq));
    record.subject = Some(Id::from_bits(u128::from(seq % 10) + 1));
    record.action = Some("read");
    record.resource = Some(&resource);
    record.request_id = Some(Id::from_bits(u128::from(seq) + 7));
    record.revocation_head = Some(RevocationPoint { epoch: 1, rseq: 0 });
    record.duration_us = Some(80);
    record.personal = Personal {
        ip: Some("192.0.2.7"),
        user_agent: Some("agent/1.0 (a client of usual length)"),
        ..Personal::default()
    };
    let blind = u128::from(seq).to_be_bytes();
    record.seal(Blinding { blind, salt: blind }).unwrap()
}

/// Appends records to the ledger of a database that nobody holds, as the writer would have. A time that a quarter of them
/// are older than.
fn fill(place: &Place, records: u64) -> Timestamp {
    let mut database = Connection::open(place.path("kavach.db")).unwrap();
    let transaction = database.transaction().unwrap();
    let sql = "SELECT log, frontier, last_time FROM log";
    let (log, frontier, time): ([u8; 16], Vec<u8>, i64) = transaction
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    let mut frontier = Frontier::decode(&frontier).unwrap();
    let first = frontier.size();
    {
        let mut insert = transaction.prepare(
            "INSERT INTO ledger (seq, time, id, kind, outcome, code, actor, subject, agent, action, resource, \
             request_id, body, salt, personal, leaf) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        );
        let insert = insert.as_mut().unwrap();
        for seq in first..first + records {
            let at = Timestamp::from_micros(time + i64::try_from(seq - first).unwrap());
            let entry = entry(seq);
            let columns = entry.projections();
            let hash = leaf(LogId(log), seq, at, entry.body());
            frontier.append(hash);
            insert
                .execute(params![
                    i64::try_from(seq).unwrap(),
                    at.as_micros(),
                    columns.id,
                    columns.kind,
                    columns.outcome,
                    columns.code,
                    columns.actor,
                    columns.subject,
                    columns.agent,
                    columns.action,
                    columns.resource,
                    columns.request_id,
                    entry.body(),
                    entry.salt(),
                    entry.personal(),
                    hash,
                ])
                .unwrap();
        }
    }
    let last = time + i64::try_from(records).unwrap();
    transaction
        .execute(
            "UPDATE log SET frontier = ?1, last_time = ?2, commits = commits + 1",
            params![frontier.encode(), last],
        )
        .unwrap();
    transaction.commit().unwrap();
    Timestamp::from_micros(time + i64::try_from(records / 4).unwrap())
}

/// Says what was measured, past the capture of the test harness.
fn measured(line: &str) {
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The most memory that a process ever held, in bytes.
fn peak(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() * 1_024
}

/// How long a process has computed, in seconds.
fn computed(server: &Server) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let ticks = |at: usize| -> f64 { after.split_whitespace().nth(at).unwrap().parse().unwrap() };
    (ticks(11) + ticks(12)) / TICKS
}

/// Reads an answer of any length without keeping it: its lines and its bytes.
fn drained(server: &Server, key: &str, request: &str) -> (u64, u64) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: kavach\r\nauthorization: Bearer {key}\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    assert!(status.contains(" 200 "), "{status}");
    let (mut lines, mut bytes) = (0, 0);
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = reader.read(&mut piece).unwrap();
        if read == 0 {
            return (lines, bytes);
        }
        lines += piece[..read]
            .windows(6)
            .filter(|part| *part == b"\"seq\":")
            .count() as u64;
        bytes += read as u64;
    }
}

struct Filled {
    place: Place,
    key: String,
    server: Server,
    quarter: Timestamp,
}

fn started(records: u64) -> Filled {
    let place = Place::new();
    let key = place.init();
    let quarter = fill(&place, records);
    let server = place.start("serve");
    Filled {
        place,
        key,
        server,
        quarter,
    }
}

/// By how much an export of everything makes the server grow that has already exported a quarter of it, and how long it
/// was.
fn growth(filled: &Filled) -> (u64, u64) {
    let (server, key) = (&filled.server, &filled.key);
    // What is there anyway: connections, threads, page caches.
    let some = format!(
        "GET /api/v1/audit/export?format=jsonl&until={}",
        filled.quarter
    );
    drained(server, key, &some);
    let before = peak(server);
    let (_, bytes) = drained(server, key, "GET /api/v1/audit/export?format=jsonl");
    (peak(server).saturating_sub(before), bytes)
}

#[test]
fn an_export_holds_a_part_of_the_ledger_in_memory_and_not_all_of_it() {
    let filled = started(100_000);
    let (grown, bytes) = growth(&filled);
    assert!(grown < 24 << 20, "{grown} of {bytes}");
    assert!(
        bytes > 40 << 20,
        "the ledger would not have fitted into that: {bytes}"
    );
    let before = peak(&filled.server);
    let (_, tenant) = drained(&filled.server, &filled.key, "POST /api/v1/export");
    let grown = peak(&filled.server) - before;
    // Nothing of this kind was done before, so what any export takes is in it.
    assert!(grown < 32 << 20, "{grown} of {tenant}");
    assert!(
        tenant > 64 << 20,
        "the tenant would not have fitted into that: {tenant}"
    );
}

/// Filters that leave much, little and nothing, alone and together.
fn filters(records: u64) -> Vec<String> {
    let one = agent(7);
    let nobody: kavachos_core::id::AgentId = Id::from_bits(3);
    let request: kavachos_core::id::RequestId = Id::from_bits(u128::from(records / 2) + 7);
    vec![
        String::new(),
        format!("agentId={one}"),
        format!("agentId={nobody}"),
        format!("agentId={one}&outcome=denied"),
        format!("agentId={one}&kind=audit.exported"),
        format!("agentId={one}&code=rate_limited"),
        format!("member={one}"),
        format!("member={nobody}"),
        format!("member={one}&code=rate_limited"),
        "outcome=denied".to_owned(),
        "outcome=denied&code=rate_limited".to_owned(),
        "outcome=allowed&code=nothing".to_owned(),
        "kind=audit.exported".to_owned(),
        "kind=audit.exported&outcome=denied".to_owned(),
        "kind=no.such".to_owned(),
        "code=rate_limited".to_owned(),
        "action=write".to_owned(),
        "resource=mcp:github:r7".to_owned(),
        "resource=mcp:slack:*".to_owned(),
        format!("requestId={request}"),
        "since=2999-01-01T00:00:00Z".to_owned(),
        "until=2001-01-01T00:00:00Z".to_owned(),
        "since=2001-01-01T00:00:00Z&action=write".to_owned(),
    ]
}

#[test]
#[ignore = "takes minutes; a measurement more than a test"]
fn a_million_records_are_taken_out_and_filtered() {
    const MILLION: u64 = 1_000_000;
    let filled = started(MILLION);
    let (key, server) = (&filled.key, &filled.server);
    let mut client = server.client(key);
    let mut worst: f64 = 0.0;
    for filter in filters(MILLION) {
        let path = format!("/api/v1/audit?limit=100&{filter}");
        let answer = client.get(&path);
        assert_eq!(answer.status, 200, "{filter}: {}", answer.text);
        let found = answer.body["data"].as_array().map_or(0, Vec::len);
        let before = computed(server);
        for _ in 0..PAGES {
            client.get(&path);
        }
        let each = (computed(server) - before) * 1_000.0 / f64::from(PAGES);
        measured(&format!("{each:6.2} ms a page of {found:3}: {filter}"));
        worst = worst.max(each);
    }
    let before = computed(server);
    let (grown, bytes) = growth(&filled);
    let spent = computed(server) - before;
    measured(&format!(
        "audit export: {} MiB, grown by {} MiB, {spent:.1} s of processor time",
        bytes >> 20,
        grown >> 20
    ));
    let before = peak(server);
    let (_, bytes) = drained(server, key, "POST /api/v1/export");
    let grown_by_tenant = peak(server) - before;
    measured(&format!(
        "export: {} MiB, grown by {} MiB",
        bytes >> 20,
        grown_by_tenant >> 20
    ));
    let Filled { place, server, .. } = filled;
    drop(server);
    place.done("export --database kavach.db --output tenant.jsonl");
    let next = Place::new();
    let next_key = next.init();
    let to = next.start("serve");
    let before = peak(&to);
    let file = place.path("tenant.jsonl");
    let mut import = next.command(format!("import --url {} '{}'", to.url, file.display()));
    import.env("KAVACH_KEY", next_key);
    let from = computed(&to);
    let done = import.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    measured(&format!(
        "import: grown by {} MiB, {:.1} s of processor time",
        (peak(&to) - before) >> 20,
        computed(&to) - from
    ));
    assert!(worst < 5.0, "{worst} ms");
    assert!(
        grown < 24 << 20 && grown_by_tenant < 24 << 20,
        "{grown} {grown_by_tenant}"
    );
}
