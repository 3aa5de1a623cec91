//! What is recorded one by one, what is counted, and where both end.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn limits(denials: u32) -> Limits {
    Limits {
        denials,
        reports: 600,
        refreshes: 600,
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn single_and_counted_refusals_sum_up_to_the_requests() {
    let flood = Flood::new(limits(600));
    let single = (0..1_000)
        .filter(|_| flood.stranger(ip("192.0.2.7"), "unauthenticated", at(1), None) == Note::Single)
        .count();
    let counted: u64 = lock(&flood.strangers)
        .networks
        .drain(at(2))
        .iter()
        .map(|summary| summary.count)
        .sum();
    assert_eq!((single, counted), (10, 990));
    assert!(lock(&flood.strangers).networks.drain(at(3)).is_empty());
}

#[test]
fn neighbours_share_a_network_and_others_do_not() {
    let flood = Flood::new(limits(600));
    for _ in 0..10 {
        assert_eq!(
            flood.stranger(ip("192.0.2.7"), "unauthenticated", at(1), None),
            Note::Single
        );
    }
    assert_eq!(
        flood.stranger(ip("192.0.2.200"), "unauthenticated", at(1), None),
        Note::Counted
    );
    assert_eq!(
        flood.stranger(ip("::ffff:192.0.2.9"), "unauthenticated", at(1), None),
        Note::Counted
    );
    assert_eq!(
        flood.stranger(ip("192.0.3.7"), "unauthenticated", at(1), None),
        Note::Single
    );
    assert_eq!(
        flood.stranger(ip("192.0.2.7"), "unauthenticated", at(61), None),
        Note::Single
    );
}

#[test]
fn a_site_has_many_networks() {
    let of = |text: &str| site(text.parse().unwrap()).map(|ip| ip.to_string());
    assert_eq!(of("2001:db8:1:2::3").as_deref(), Some("2001:db8:1::"));
    assert_eq!(of("2001:db8:1:ffff::"), of("2001:db8:1::1"));
    assert_ne!(of("2001:db8:2::1"), of("2001:db8:1::1"));
    assert_eq!((of("192.0.2.1"), of("::ffff:192.0.2.1")), (None, None));
}

#[test]
fn what_strangers_do_takes_a_tenth_of_the_free_space_in_a_day() {
    let flood = Flood::new(limits(600));
    let free = 100 * RECORD_BYTES;
    let taken = |now| (0..100).filter(|_| flood.done(now, Some(free))).count();
    assert_eq!(taken(at(100_000)), 11);
    assert_eq!(taken(at(186_399)), 0);
    assert_eq!(taken(at(186_400)), 11);
}

#[test]
fn many_sources_bound_neither_memory_nor_disk_upwards() {
    let flood = Flood::new(limits(600));
    let single = (0..50_000_u32)
        .filter(|n| {
            flood.stranger(
                Some(IpAddr::V4(Ipv4Addr::from_bits(n << 8))),
                "unauthenticated",
                at(1),
                None,
            ) == Note::Single
        })
        .count();
    assert_eq!(single, 1_000);
    assert!(lock(&flood.strangers).networks.rows.len() <= MAX_SOURCES + 1);
    let counted: u64 = lock(&flood.strangers)
        .networks
        .drain(at(2))
        .iter()
        .map(|summary| summary.count)
        .sum();
    assert_eq!(counted, 49_000);
}

#[test]
fn a_known_agent_has_its_own_and_larger_share() {
    let flood = Flood::new(limits(600));
    let agent = AgentId::from_bits(1);
    let single = (0..700)
        .filter(|_| flood.agent(agent, at(1)) == Note::Single)
        .count();
    assert_eq!(single, 600);
    assert_eq!(flood.agent(AgentId::from_bits(2), at(1)), Note::Single);
}

#[test]
fn refreshes_are_counted_apart_and_for_each_agent() {
    let flood = Flood::new(limits(1));
    let agent = AgentId::from_bits(1);
    let made = (0..700).filter(|_| flood.refresh(agent, at(1)).is_ok());
    assert_eq!(made.count(), 600);
    assert_eq!(flood.refresh(agent, at(31)), Err(Duration::from_secs(30)));
    // The twins: another agent, what is denied to this one, and the next window.
    assert_eq!(flood.refresh(AgentId::from_bits(2), at(31)), Ok(()));
    assert_eq!(flood.agent(agent, at(31)), Note::Single);
    assert_eq!(flood.refresh(agent, at(61)), Ok(()));
}

#[test]
fn strangers_take_a_tenth_of_the_free_space_and_no_more() {
    let flood = Flood::new(limits(600));
    let free = Some(100 * RECORD_BYTES);
    let source = |n: u32| Some(IpAddr::V4(Ipv4Addr::from_bits(n << 8)));
    let note = |n, free| flood.stranger(source(n), "unauthenticated", at(1), free);
    let single = (0..50).filter(|n| note(*n, free) == Note::Single).count();
    assert_eq!(single, 11);
    // The twin: with more room the next ones are recorded.
    assert_eq!(note(60, Some(1_000 * RECORD_BYTES)), Note::Single);
}

#[test]
fn summaries_are_bounded_and_lose_nothing() {
    let flood = Flood::new(limits(0));
    for n in 0..100 {
        for _ in 0..=n {
            assert_eq!(flood.agent(AgentId::from_bits(n), at(1)), Note::Counted);
        }
    }
    let summaries = lock(&flood.agents).drain(at(2));
    assert_eq!(summaries.len(), MAX_SUMMARIES + 1);
    let sum: u64 = summaries.iter().map(|summary| summary.count).sum();
    assert_eq!(sum, 5_050);
    lock(&flood.agents).put_back(summaries[0], at(2));
    assert_eq!(lock(&flood.agents).drain(at(3)), vec![summaries[0]]);
}

const SERVER: ToolServerId = ToolServerId::from_bits(1);

#[test]
fn a_tool_server_that_reports_too_much_waits_and_others_do_not() {
    let flood = Flood::new(limits(600));
    let report = |server, decisions, now| flood.reports((server, decisions), now, None);
    for _ in 0..6 {
        assert_eq!(report(SERVER, 100, at(0)), Ok(()));
    }
    let rest = WINDOW - Duration::from_secs(1);
    for _ in 0..3 {
        assert_eq!(report(SERVER, 1, at(1)), Err(rest));
    }
    // The twins: another tool server, and the next window.
    assert_eq!(report(ToolServerId::from_bits(2), 100, at(1)), Ok(()));
    assert_eq!(report(SERVER, 100, at(60)), Ok(()));
    let summary = Summary {
        source: Some(SERVER),
        code: TOO_MANY,
        count: 3,
    };
    assert_eq!(lock(&flood.reporters).servers.drain(at(61)), [summary]);
}

#[test]
fn what_is_reported_at_once_is_taken_once_in_a_window_however_low_the_limit_is() {
    let flood = Flood::new(Limits {
        reports: 1,
        ..limits(0)
    });
    let report = |now| flood.reports((SERVER, 100), now, None).is_ok();
    assert_eq!([at(0), at(1), at(60)].map(report), [true, false, true]);
}

#[test]
fn reports_take_a_tenth_of_the_free_space_in_a_day_and_no_more() {
    let free = Some(1_000 * RECORD_BYTES);
    let flood = Flood::new(limits(600));
    // The twin: what leaves no record takes nothing.
    let refused = (0..50).filter(|_| flood.reports((SERVER, 10), at(0), free).is_ok());
    assert_eq!(refused.count(), 50);
    let flood = Flood::new(limits(600));
    let report = |now, free| {
        let is_taken = flood.reports((SERVER, 10), now, free).is_ok();
        flood.reported(if is_taken { 10 } else { 0 });
        is_taken
    };
    let taken = (0..60).filter(|_| report(at(1), free)).count();
    // What they have taken was free before.
    assert_eq!(taken, 11);
    // The twins: with more room, and the next day.
    assert!(report(at(2), Some(10_000 * RECORD_BYTES)));
    assert!(!report(at(3), free));
    assert!(report(at(1).plus(DAY), free));
}

#[test]
fn what_is_counted_of_tool_servers_is_bounded() {
    let flood = Flood::new(limits(600));
    for server in 0..MAX_SOURCES + 10 {
        let server = ToolServerId::from_bits(u128::try_from(server).unwrap());
        flood.reports((server, 1), at(0), None).unwrap();
    }
    assert_eq!(lock(&flood.reporters).servers.rows.len(), MAX_SOURCES + 1);
}
