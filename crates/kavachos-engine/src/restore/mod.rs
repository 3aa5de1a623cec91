//! A database that was put back from a backup is made safe to serve: nothing that was ended since the backup lives in it.
//!
//! Promises: all of it is one transaction, or nothing happened; the epoch rises above every one that is known, so that
//! each token of before is refused by whoever follows the log; the keys that tokens and heads were signed with are taken
//! away. With the exported log of revocations every kill since the backup is taken in, and what follows from it for rows;
//! without it every credential ends, and humans of outside providers are banned, who need none of ours. What the log cannot
//! tell (why something was killed, whether an approval was used since, which webhooks were deleted) is taken at its worst.
//! Unless it is known that nothing was lost, nobody is made on first mention until an operator says so. See ADR 0025.

mod exported;
mod taking;

use std::collections::BTreeMap;

use futures_util::stream::Stream;
use kavachos_core::hex;
use kavachos_core::id::AgentId;
use kavachos_core::ledger::{Entry, Frontier, LogId, Outcome};
use kavachos_core::principal::{Owner, Status};
use kavachos_core::revocation::{LogHead, Mark};
use kavachos_core::time::Timestamp;
use kavachos_store::agent::{self, AgentRow};
use kavachos_store::restoration::{self, FirstMentions};
use kavachos_store::restore::{self, Among, CREDENTIALS, GRANTS, LINES, WEBHOOKS};
use kavachos_store::transfer::{self, Log};
use kavachos_store::user::{self, UserRow};
use kavachos_store::{Filled, Filling, oauth_client, signing_key};
use serde::Serialize;
use serde_json::json;

use crate::actor::{Actor, Caller};
use crate::checkpoint::Checkpoint;
use crate::directory::Changed;
use crate::engine::Engine;
use crate::epoch::epoch_after;
use crate::error::{Error, Result};
use crate::signing_keys::KeyPurpose;
use crate::transfer::record_of;
use crate::users::raised;

pub use exported::{Exported, RevocationWriter};
use taking::Taking;

/// What is known of the kills since the backup.
#[derive(Debug)]
pub enum Kills<S> {
    /// The exported log, line by line.
    Logged(S),
    /// Nothing.
    Unknown,
}

/// Whether a restoration is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehearsal {
    /// It is done, looked at, and taken back.
    Only,
    /// It stays.
    No,
}

/// How a database is restored.
#[derive(Debug, Clone)]
pub struct Restoration {
    /// The last checkpoint of the database that was lost.
    pub known: Option<Checkpoint>,
    /// An epoch that was in use, if nothing else tells of it.
    pub after_epoch: u64,
    /// Whether it stays.
    pub rehearsal: Rehearsal,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The epoch of the backup.
    pub from_epoch: u64,
    /// The epoch now.
    pub epoch: u64,
    /// How many records the backup had.
    pub records: u64,
    /// How many records are lost, as far as a checkpoint tells.
    pub lost_records: Option<u64>,
    /// How many revocations the backup had.
    pub revocations: u64,
    /// How many came in from the exported log; `None` without one.
    pub kills: Option<u64>,
    /// Whether there may be kills since the backup that no log tells of: there was none, or another restoration lay
    /// between.
    pub unknown_kills: bool,
    /// How many humans were killed since the backup who are not in it.
    pub missing_humans: u64,
    /// Whether humans on first mention wait for [`Engine::admit_humans`].
    pub humans_held: bool,
    /// How many things of each kind were ended; of webhooks, paused; of mails, not sent.
    pub ended: BTreeMap<&'static str, u64>,
    /// How many operator keys live that may do everything.
    pub admin_keys: u64,
}

impl Engine {
    /// Makes a database safe that was put back from a backup. Whoever may write the file may do this, and nobody over the
    /// network.
    ///
    /// # Errors
    /// The caller is not the process itself; the exported log or the checkpoint is of another database, cut, or older
    /// than what it must continue, with the line; there is no epoch left; those of the store. Nothing is changed then.
    pub async fn restore_tenant<S, E>(
        &self,
        actor: &Actor,
        kills: Kills<S>,
        how: &Restoration,
    ) -> Result<Restored>
    where
        S: Stream<Item = std::result::Result<String, E>> + Send,
        E: std::fmt::Display + Send,
    {
        if !matches!(actor.caller, Caller::Local) {
            return Err(Error::Forbidden(
                "a database is restored where it lies, with `kavach restore`".to_owned(),
            ));
        }
        let mut filling = self.store().fill().await?;
        let mut work = Work::begin(self, actor, &mut *filling).await?;
        work.check_known(how.known.as_ref())?;
        let used = match kills {
            Kills::Logged(lines) => {
                Taking::new(&mut work, how.known.as_ref())
                    .all(lines)
                    .await?
            }
            Kills::Unknown => how.after_epoch,
        };
        let known = how.known.as_ref().map_or(0, |known| known.epoch);
        let restored = work
            .apply(how, used.max(known).max(how.after_epoch))
            .await?;
        if how.rehearsal == Rehearsal::No {
            work.finish().await?;
            self.renew_keys().await?;
            self.keep_checkpoint().await;
        }
        Ok(restored)
    }
}

/// A restoration under way.
struct Work<'a> {
    engine: &'a Engine,
    actor: &'a Actor,
    filling: &'a mut dyn Filling,
    /// The log of the backup.
    before: Log,
    frontier: Frontier,
    /// What the log of revocations has come to.
    head: LogHead,
    /// The time of what is written.
    now: Timestamp,
    /// How many kills came in; `None` while there is no log of them.
    kills: Option<u64>,
    /// Whether there may be more of them.
    unknown_kills: bool,
    missing_humans: u64,
    humans_held: bool,
    epoch: u64,
    ended: BTreeMap<&'static str, u64>,
}

/// Why a human is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The log has a kill of theirs.
    Killed,
    /// There may be one that no log tells of, and a provider's word is all that they need.
    Provided,
}

impl<'a> Work<'a> {
    async fn begin(
        engine: &'a Engine,
        actor: &'a Actor,
        filling: &'a mut dyn Filling,
    ) -> Result<Self> {
        let before = filling.list(transfer::log()).await?.pop();
        let before = before.ok_or_else(|| Error::Internal("the database has no log".to_owned()))?;
        let frontier = Frontier::decode(&before.frontier)
            .map_err(|error| Error::Internal(error.message().to_owned()))?;
        Ok(Self {
            engine,
            actor,
            filling,
            frontier,
            head: LogHead {
                rseq: before.rseq,
                rhash: before.rhash,
            },
            now: engine.now().max(before.last_time),
            kills: None,
            unknown_kills: true,
            missing_humans: 0,
            humans_held: false,
            epoch: before.epoch,
            ended: BTreeMap::new(),
            before,
        })
    }

    fn check_known(&self, known: Option<&Checkpoint>) -> Result<()> {
        match known {
            Some(known) if known.log.0 != self.before.log => Err(Error::WrongState(format!(
                "the checkpoint is of another database: its log is {}, and the backup's is {}; find the backup that \
                 belongs to it, or move the checkpoint away",
                hex::encode(&known.log.0),
                hex::encode(&self.before.log)
            ))),
            _ => Ok(()),
        }
    }

    /// Ends what must end, and begins an epoch after all that were in use.
    async fn apply(&mut self, how: &Restoration, used: u64) -> Result<Restored> {
        let used = used.max(self.before.epoch);
        self.epoch = epoch_after(used, self.now)?;
        let killed = Among::KilledAfter(self.before.rseq);
        // A restore without a log ends things that no log tells of: one that lies between is seen by its epoch.
        self.unknown_kills = self.kills.is_none() || used != self.before.epoch;
        let among = if self.unknown_kills {
            Among::All
        } else {
            killed
        };
        for kind in CREDENTIALS {
            self.end(kind, among).await?;
        }
        if self.kills.is_some() {
            // Narrowed, revoked, or ended with the human who gave it: the log tells no difference.
            self.end(GRANTS, killed).await?;
            self.ban_users(Reason::Killed).await?;
            self.revoke_agents().await?;
        }
        if self.unknown_kills {
            self.ban_users(Reason::Provided).await?;
        }
        self.end(WEBHOOKS, Among::All).await?;
        self.end_what_may_be_used_up().await?;
        self.withdraw_keys().await?;
        self.hold_first_mentions(how).await?;
        let admin_keys = self.filling.list(restore::administrators(self.now)).await?;
        let restored = self.told(how, admin_keys.iter().map(|(count,)| *count).sum());
        self.record(&restored).await?;
        Ok(restored)
    }

    /// A human who came after the backup has no row that says that they were killed, or what they were allowed: a
    /// provider's word would make them anew, with all that the provider may give. So nobody is made by one, unless it is
    /// known that nothing was lost.
    async fn hold_first_mentions(&mut self, how: &Restoration) -> Result<()> {
        let missing = restore::missing_users(self.before.rseq);
        let missing = self.filling.list(missing).await?;
        self.missing_humans = missing.iter().map(|(count,)| *count).sum();
        let is_whole = self.lost_records(how) == Some(0);
        let mentions = if is_whole && self.missing_humans == 0 && !self.unknown_kills {
            FirstMentions::LetIn
        } else {
            FirstMentions::Held
        };
        let remembered = restoration::remember(self.engine.now(), mentions);
        self.filling.write(vec![remembered]).await?;
        // One of an earlier restoration stands, too.
        self.humans_held = !self.filling.list(restoration::hold()).await?.is_empty();
        Ok(())
    }

    async fn end(&mut self, kind: restore::Kind, among: Among) -> Result<()> {
        let counted = self.filling.list(kind.count(among)).await?;
        let count = counted.iter().map(|(count,)| *count).sum();
        self.filling.write(vec![kind.end(among, self.now)]).await?;
        self.ended.insert(kind.member, count);
        Ok(())
    }

    /// A killed human was banned, deleted, or may do less: banned is all of it, until an operator says otherwise.
    async fn ban_users(&mut self, reason: Reason) -> Result<()> {
        let mut after = None;
        loop {
            let page = match reason {
                Reason::Killed => restore::killed_users(self.before.rseq, after.take()),
                Reason::Provided => restore::provided_users(after.take()),
            };
            let page = self.filling.list(page).await?;
            let is_last = page.len() < restore::PAGE;
            after = page.last().map(|row| row.id.to_string());
            for row in page {
                if reason == Reason::Provided {
                    // Every ban on record has its kill.
                    self.kill(raised(row.mark)).await?;
                }
                self.ban(row).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn kill(&mut self, kill: Mark) -> Result<()> {
        self.head = self.head.append(kill);
        let writes = restore::kill(kill, self.head);
        Ok(self.filling.write(writes.into()).await?)
    }

    async fn ban(&mut self, row: UserRow) -> Result<()> {
        let entry = self
            .engine
            .user_record(self.actor, "user.banned", (&row, 1))?;
        let next = UserRow {
            status: Status::Banned,
            // Whatever end it had: an operator looks at it.
            banned_until: None,
            kills: row.kills.saturating_add(1),
            ..row
        };
        self.filling.write(vec![user::update(next)]).await?;
        self.append(&entry).await?;
        self.count("users");
        Ok(())
    }

    /// A killed agent was suspended, revoked, or is to end sooner: revoked is all of it.
    async fn revoke_agents(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let page = restore::killed_agents(self.before.rseq, after.take());
            let page = self.filling.list(page).await?;
            let is_last = page.len() < restore::PAGE;
            after = page.last().map(|row| row.id.to_string());
            for row in page {
                self.revoke_agent(row).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn revoke_agent(&mut self, row: AgentRow) -> Result<()> {
        let root = self.filling.list(user::by_id(row.root)).await?.pop();
        let root = root.ok_or_else(|| Error::Internal("an agent has no human".to_owned()))?;
        let owners = self.filling.list(agent::with_owners(&[row.id])).await?;
        let above = from_the_top(&row, &owners);
        let about = (&row, &root, above.as_slice());
        let entry = self
            .engine
            .agent_record(self.actor, "agent.revoked", about, None)?;
        let uncount = agent::uncount(row.id, row.root);
        let next = AgentRow {
            status: Status::Revoked,
            kills: row.kills.saturating_add(1),
            ..row
        };
        self.filling
            .write(vec![uncount, agent::update(next)])
            .await?;
        self.append(&entry).await?;
        self.count("agents");
        Ok(())
    }

    fn count(&mut self, member: &'static str) {
        let count = self.ended.entry(member).or_default();
        *count = count.saturating_add(1);
    }

    /// What is good once may have been used since the backup, log or no log.
    async fn end_what_may_be_used_up(&mut self) -> Result<()> {
        self.end(LINES, Among::All).await?;
        let open = self.filling.list(restore::open_approvals(self.now)).await?;
        let open = open.iter().map(|(count,)| *count).sum();
        self.ended.insert("approvals", open);
        let mails = self.filling.list(transfer::mails()).await?;
        let mails = mails.iter().map(|(count,)| *count).sum();
        self.ended.insert("mails", mails);
        let mut writes = vec![
            restore::end_approvals(self.now),
            restore::forget_answers(),
            restore::forget_sign_ins(),
            restore::forget_mails(),
            restore::empty_mail_queue(),
            restore::forget_not_me(),
            restore::forget_former_addresses(),
            restore::forget_consents(),
            restore::forget_pushed_requests(),
            restore::forget_device_requests(),
        ];
        // One that removed itself was not killed, and whoever waits for a human registers anew.
        writes.extend(oauth_client::forget_unused());
        let used_up = self.engine.plugins().tables_used_up();
        writes.extend(used_up.into_iter().map(transfer::clear_table));
        Ok(self.filling.write(writes).await?)
    }

    /// Nothing of the old epoch that a key signed is to be believed, but for heads of the ledger, which are held against
    /// it for ever. New keys are made when somebody asks for one, of salts that were never drawn before.
    async fn withdraw_keys(&mut self) -> Result<()> {
        let writes = KeyPurpose::ALL.map(|purpose| {
            let name = purpose.as_str();
            if purpose.outlives_its_keys() {
                signing_key::retire_all(name, Timestamp::MAX)
            } else {
                signing_key::withdraw_all(name, self.now)
            }
        });
        Ok(self.filling.write(writes.into()).await?)
    }

    /// How many records the backup has: those of this restoration came after them.
    fn records(&self) -> u64 {
        Frontier::decode(&self.before.frontier).map_or(0, |edge| edge.size())
    }

    /// How many came since, if anything tells.
    fn lost_records(&self, how: &Restoration) -> Option<u64> {
        let known = how.known.as_ref()?;
        Some(known.records().saturating_sub(self.records()))
    }

    fn told(&self, how: &Restoration, admin_keys: u64) -> Restored {
        Restored {
            from_epoch: self.before.epoch,
            epoch: self.epoch,
            records: self.records(),
            lost_records: self.lost_records(how),
            revocations: self.before.rseq,
            kills: self.kills,
            unknown_kills: self.unknown_kills,
            missing_humans: self.missing_humans,
            humans_held: self.humans_held,
            ended: self.ended.clone(),
            admin_keys,
        }
    }

    async fn record(&mut self, restored: &Restored) -> Result<()> {
        let details = json!({
            "fromEpoch": restored.from_epoch,
            "epoch": restored.epoch,
            "records": restored.records,
            "lostRecords": restored.lost_records,
            "kills": restored.kills,
            "unknownKills": restored.unknown_kills,
            "missingHumans": restored.missing_humans,
            "humansHeld": restored.humans_held,
            "rseq": self.head.rseq,
            "ended": restored.ended,
        });
        let origin = self.actor.origin();
        let id = self.engine.id();
        let mut record = origin.record(id, "tenant.restored", Outcome::Allowed, "done");
        record.details = Some(&details);
        let entry = self.engine.seal(&record)?;
        self.append(&entry).await
    }

    async fn append(&mut self, entry: &Entry) -> Result<()> {
        let place = (LogId(self.before.log), self.frontier.size(), self.now);
        let record = record_of(place, entry);
        let leaf = record.leaf;
        self.filling.write(record.store()).await?;
        self.frontier.append(leaf);
        Ok(())
    }

    async fn finish(self) -> Result<()> {
        let filled = Filled {
            log: LogId(self.before.log),
            epoch: self.epoch,
            frontier: self.frontier,
            last_time: self.now,
            revocation: self.head,
            effects: vec![Changed::Everything.into()],
        };
        self.filling.finish(filled).await?;
        Ok(())
    }
}

/// The agents above an agent, from the top down.
fn from_the_top(row: &AgentRow, owners: &[AgentRow]) -> Vec<AgentId> {
    let mut above = Vec::new();
    let mut owner = row.owner;
    // No agent is its own owner, at any distance; a row that says otherwise does not hold this up.
    while let Owner::Agent(id) = owner
        && above.len() < owners.len()
    {
        above.push(id);
        let next = owners.iter().find(|row| row.id == id);
        let Some(next) = next else { break };
        owner = next.owner;
    }
    above.reverse();
    above
}
