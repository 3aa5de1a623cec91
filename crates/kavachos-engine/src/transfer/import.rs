//! In: line by line into the one transaction that fills an empty database, and out again without a trace if a line is
//! wrong.
//!
//! A row is checked by itself and against the rows before it as it comes; what only shows at the end (that every handle
//! is in the live set, that nobody owns themselves, that the logs come to the heads that the file names) is asked of the
//! filled tables before they are committed.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use futures_util::stream::Stream;
use kavachos_core::hex;
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Hash, Outcome};
use kavachos_core::time::Timestamp;
use kavachos_store::Filling;
use kavachos_store::transfer;
use serde::Serialize;
use serde_json::json;

use super::loader::{Loader, wrong};
use super::pace::{self, Pace, TooSlow};
use crate::act::Act;
use crate::actor::{Actor, Caller, Scopes};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::upkeep::TOKEN_GRANTS_KNOWN;

/// How far the clock of a file's server may be ahead of ours. No record to come is older than the file's last, so one from
/// farther ahead would date all of them there.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
// A grant that a file may leave out, since it has been over for long by the file's clock, is over by ours.
const _: () = assert!(TOKEN_GRANTS_KNOWN.as_secs() > MAX_AHEAD.as_secs());

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Imported {
    /// The log, which goes on here.
    pub log: String,
    /// How many records it has, that of the import among them.
    pub records: u64,
    /// The root of the tree over the records that came in.
    pub root: String,
    /// How many rows of each kind came in.
    pub rows: BTreeMap<&'static str, u64>,
    /// How many operator keys came in that are live and may do everything.
    pub admin_keys: u64,
    /// What is to be seen to now; `null` when nothing is.
    pub warning: Option<&'static str>,
}

/// The root of a ledger's tree, which a file can be held to: whoever edits a record, or leaves one out, changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRoot(pub(super) Hash);

impl fmt::Display for LedgerRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl FromStr for LedgerRoot {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Self, Invalid> {
        hex::decode_exact(&text.to_ascii_lowercase())
            .map(Self)
            .ok_or_else(|| Invalid::new("must be 64 hex digits, as `kavach export` prints them"))
    }
}

impl Engine {
    /// Fills this tenant, which must be empty, with what was exported from another: all of it, or nothing.
    ///
    /// Nothing stays of what the empty tenant had, its operator keys and its log included: its keys are those of the
    /// file. With an expected root, the ledger of the file must come to it.
    ///
    /// # Errors
    /// `forbidden` unless the caller has every scope and no ceiling; a conflict if the tenant is not empty; the line and
    /// what is wrong with it; those of the store.
    pub async fn import_tenant<S, B, E>(
        &self,
        actor: &Actor,
        source: S,
        expected: Option<LedgerRoot>,
    ) -> Result<Imported>
    where
        S: Stream<Item = std::result::Result<B, E>> + Send,
        B: AsRef<[u8]> + Send,
        E: Send,
    {
        let act = Act::new("tenant.imported");
        let of_plugins = self.plugins().moved_tables();
        let occupants = self.store().list(transfer::occupants(&of_plugins)).await?;
        if let Err(error) = may_fill(actor).and_then(|()| is_empty(&occupants)) {
            return Err(self.refused(actor, act, error).await?);
        }
        // The old log ends with this import, so what it came to stands in the new one.
        let mut filling = self.store().fill().await?;
        let filled = self.fill(&mut *filling, actor, (source, expected)).await;
        drop(filling);
        let imported = filled?;
        // The log is another one now, and a start is held against the last that was noted.
        self.keep_checkpoint().await;
        self.look_for_webhooks();
        Ok(imported)
    }

    async fn fill<S, B, E>(
        &self,
        filling: &mut dyn Filling,
        actor: &Actor,
        (source, expected): (S, Option<LedgerRoot>),
    ) -> Result<Imported>
    where
        S: Stream<Item = std::result::Result<B, E>> + Send,
        B: AsRef<[u8]> + Send,
        E: Send,
    {
        let of_plugins = self.plugins().moved_tables();
        is_empty(&filling.list(transfer::occupants(&of_plugins)).await?)?;
        let before = self.head();
        let passing = self.plugins().passing_tables();
        filling.write(transfer::clear(&passing)).await?;
        let mut loader = Loader::new(self, filling, expected);
        self.load(&mut loader, source).await?;
        let stand = loader.end().await?;
        check_clock(stand.last_time, self.now())?;
        loader.check_whole().await?;
        loader.remember().await?;
        let details = json!({
            "records": stand.records,
            "root": hex::encode(&stand.root),
            "replacedLog": hex::encode(&before.log.0),
            "replacedRecords": before.size,
            "replacedRoot": hex::encode(&before.root),
        });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), "tenant.imported", Outcome::Allowed, "done");
        record.details = Some(&details);
        let entry = self.seal(&record)?;
        let time = self.now().max(stand.last_time);
        let filled = loader.recorded(&stand, &entry, time).await?;
        let imported = loader.imported(&stand, filled.frontier.size());
        loader.finish(filled).await?;
        Ok(imported)
    }

    /// Hands the lines of the source to the loader, one by one.
    async fn load<S, B, E>(&self, loader: &mut Loader<'_>, source: S) -> Result<()>
    where
        S: Stream<Item = std::result::Result<B, E>> + Send,
        B: AsRef<[u8]> + Send,
        E: Send,
    {
        let mut source = pin!(source);
        let mut pace = Pace::new(self.runtime());
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let chunk = match pace.next(source.as_mut()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => break,
                Ok(Some(Err(_))) => return Err(loader.cut("the file broke off")),
                Err(TooSlow) => return Err(loader.cut(&too_slow())),
            };
            pace.came(chunk.as_ref().len());
            let mut bytes = chunk.as_ref();
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                let (line, after) = bytes.split_at(end);
                rest.extend_from_slice(line);
                loader.check_length(rest.len())?;
                loader.line(&rest).await?;
                rest.clear();
                bytes = after.get(1..).unwrap_or_default();
            }
            rest.extend_from_slice(bytes);
            loader.check_length(rest.len())?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(loader.cut("it is cut off"))
    }
}

/// To fill a tenant is to make its keys, so only one who may make any key may do it.
fn may_fill(actor: &Actor) -> Result<()> {
    match &actor.caller {
        Caller::Local => Ok(()),
        Caller::Operator(key) if key.scopes == Scopes::Every && key.ceiling.is_none() => Ok(()),
        _ => Err(Error::Forbidden(
            "this makes operator keys of every strength: it needs one with the scope `*` and no ceiling"
                .to_owned(),
        )),
    }
}

fn is_empty(occupants: &[(String,)]) -> Result<()> {
    match occupants.first() {
        None => Ok(()),
        Some((what,)) => Err(Error::WrongState(format!(
            "this tenant is not empty, it has {what}: import into a new database, made with `kavach init`"
        ))),
    }
}

fn check_clock(last_time: Timestamp, now: Timestamp) -> Result<()> {
    if last_time.since(now) <= MAX_AHEAD {
        return Ok(());
    }
    Err(wrong(
        1,
        "its log ends more than a day from now: set the clock of this server, or it comes from one whose clock was wrong",
    ))
}

fn too_slow() -> String {
    format!(
        "less than {} KiB of the file came within {} seconds: send it from nearer by, or from a file",
        pace::WINDOW_BYTES >> 10,
        pace::WINDOW.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_reads_back_as_it_is_printed() {
        let root = LedgerRoot([0xab; 32]);
        assert_eq!(root.to_string().parse(), Ok(root));
        assert_eq!(root.to_string().to_uppercase().parse(), Ok(root));
        for text in ["", "ab", "zz", &"ab".repeat(33), &"é".repeat(32)] {
            assert!(text.parse::<LedgerRoot>().is_err(), "{text}");
        }
    }
}
