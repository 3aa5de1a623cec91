//! What a group stores at its end, as parameters: an array per column, so that any number of rows is one statement.

use kavachos_core::ledger::{Hash, Projections};
use tokio_postgres::types::ToSql;

use super::draft::Stands;
use super::group::Numbered;
use super::value::Hidden;
use crate::writer::log::Log;

/// The parameters of one statement.
pub(super) type Params<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;

/// A number as the database holds it. Those of ours count things, and none comes near the end.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The records, in the order of the ledger's columns.
pub(super) fn entries<'a>(entries: &[Numbered<'a>], leaves: &[Hash]) -> Params<'a> {
    let of = |read: fn(&'a Projections) -> Option<&'a str>| -> Box<dyn ToSql + Sync + Send + 'a> {
        column(entries, |record| read(record.entry.projections()))
    };
    vec![
        column(entries, |record| number(record.seq)),
        column(entries, |record| record.time.as_micros()),
        of(|row| Some(&row.id)),
        of(|row| Some(row.kind)),
        of(|row| Some(row.outcome)),
        of(|row| Some(row.code)),
        of(|row| Some(&row.actor)),
        of(|row| row.subject.as_deref()),
        of(|row| row.agent.as_deref()),
        of(|row| row.action.as_deref()),
        of(|row| row.resource.as_deref()),
        of(|row| row.request_id.as_deref()),
        column(entries, |record| record.entry.body()),
        column(entries, |record| record.entry.salt().as_slice()),
        column(entries, |record| record.entry.personal()),
        column(leaves, |leaf| leaf.to_vec()),
    ]
}

/// By which ancestors the records are found; `None` when there are none.
pub(super) fn members<'a>(entries: &[Numbered<'a>]) -> Option<Params<'a>> {
    let pairs: Vec<(&'a str, i64)> = entries
        .iter()
        .flat_map(|record| {
            let chain = record.entry.projections().chain.iter();
            chain.map(|member| (member.as_str(), number(record.seq)))
        })
        .collect();
    if pairs.is_empty() {
        return None;
    }
    Some(vec![
        column(&pairs, |(member, _)| *member),
        column(&pairs, |(_, seq)| *seq),
    ])
}

/// The counters that the group took from; `None` when there are none.
pub(super) fn counters<'a>(counters: &Stands) -> Option<Params<'a>> {
    let taken: Vec<(Vec<u8>, Vec<u8>, i64)> = counters
        .iter()
        .filter_map(|(counter, stand)| {
            let time = stand.taken_at?.as_micros();
            Some((counter.to_vec(), stand.state.clone()?, time))
        })
        .collect();
    if taken.is_empty() {
        return None;
    }
    Some(vec![
        column(&taken, |(counter, _, _)| counter.clone()),
        column(&taken, |(_, state, _)| state.clone()),
        column(&taken, |(_, _, time)| *time),
    ])
}

/// The head, and the number of commits that it follows.
pub(super) fn head<'a>(log: &Log) -> Params<'a> {
    vec![
        Box::new(Hidden(number(log.commits))),
        Box::new(Hidden(log.frontier.encode())),
        Box::new(Hidden(log.last_time.as_micros())),
        Box::new(Hidden(number(log.revocation.rseq))),
        Box::new(Hidden(log.revocation.rhash.to_vec())),
        Box::new(Hidden(number(log.commits.saturating_sub(1)))),
    ]
}

fn column<'a, R, T: ToSql + Sync + Send + 'a>(
    rows: &[R],
    read: impl Fn(&R) -> T,
) -> Box<dyn ToSql + Sync + Send + 'a> {
    Box::new(Hidden(rows.iter().map(read).collect::<Vec<T>>()))
}
