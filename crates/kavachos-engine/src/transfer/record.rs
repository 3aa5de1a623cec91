//! A record that is written without the one write path: into a log that is filled or begun anew.

use kavachos_core::ledger::{Entry, LogId, leaf};
use kavachos_core::time::Timestamp;
use kavachos_store::transfer;

/// A new record at this place of a log.
pub(crate) fn record_of(
    (log, seq, time): (LogId, u64, Timestamp),
    entry: &Entry,
) -> transfer::Record {
    let columns = entry.projections();
    transfer::Record {
        seq,
        time,
        body: entry.body().to_owned(),
        salt: Some(entry.salt().to_vec()),
        personal: Some(entry.personal().to_owned()),
        leaf: leaf(log, seq, time, entry.body()),
        named: [
            columns.id.clone(),
            columns.kind.to_owned(),
            columns.outcome.to_owned(),
            columns.code.to_owned(),
            columns.actor.clone(),
        ],
        about: [
            columns.subject.clone(),
            columns.agent.clone(),
            columns.action.clone(),
            columns.resource.clone(),
            columns.request_id.clone(),
        ],
        chain: columns.chain.clone(),
    }
}
