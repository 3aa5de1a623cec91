//! `kavach restore`: a backup in place of the database, with nothing alive in it that was ended since.
//!
//! A database in a file is restored beside its place, and takes it once all is done; what was there before is kept under
//! another name. One of a PostgreSQL server is put back with that server's tools first, and made safe in one transaction.

mod place;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, value_parser};
use futures_util::stream;
use kavachos::{CheckpointFile, Kavach};
use kavachos_engine::actor::{Actor, Scopes};
use kavachos_engine::{
    Checkpoint, Error, Kills, MAX_EPOCH, NewKey, Rehearsal, Restoration, Restored,
};
use kavachos_store::migration::Pending;
use serde_json::{Value, json};

use self::place::Place;
use super::Outcome;
use crate::config::{self, Database};
use crate::failure::Failure;
use crate::output::{Form, Output};
use crate::tenant;

/// The longest line of an exported log that is read.
const MAX_LINE_BYTES: u64 = 2_048;
/// The members of the answer.
const MEMBERS: [&str; 15] = [
    "database",
    "dryRun",
    "replaced",
    "token",
    "fromEpoch",
    "epoch",
    "records",
    "lostRecords",
    "revocations",
    "kills",
    "unknownKills",
    "missingHumans",
    "humansHeld",
    "ended",
    "adminKeys",
];

/// What the help says at its end.
const EXAMPLES: &str = "\
Every token of before is refused afterwards: the epoch rises, and the keys that sign are new. With the exported log of \
revocations, what was revoked since the backup is revoked in it too: a revoked human is banned, a revoked agent, delegation, \
key, session or client is over for good. Without it all keys, sessions, tool servers and registered clients are, humans of \
outside providers are banned, and one new operator key is printed. Requests for approval that were not answered or used are \
over either way, webhooks are paused, and applications ask whoever let them in again. Where something may be missing, new \
humans of outside providers and all clients that are known by a document wait for `kavach user admit`.

The log is what `kavach revocations export` wrote; take it from the server or the database that is to be replaced, if it \
can still be read, or from the last place where one was kept.

Examples:
  kavach revocations export --database kavach.db --output revocations.jsonl
  kavach restore /backup/kavach-2026-11-21.db --revocations revocations.jsonl --dry-run
  kavach restore /backup/kavach-2026-11-21.db --revocations revocations.jsonl
  kavach restore --in-place --database postgres://kavach@db/kavach --without-revocations";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("what").required(true).args(["backup", "in_place"])))]
#[command(group(ArgGroup::new("kills").required(true).args(["revocations", "without_revocations"])))]
pub(crate) struct Restore {
    /// The backup, as `kavach backup` made it; it stays as it is
    backup: Option<PathBuf>,
    /// The backup is in the place of the database already
    #[arg(long)]
    in_place: bool,
    /// The exported log of revocations
    #[arg(long, value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// There is no log of them: end every key and session, and ban humans of outside providers
    #[arg(long)]
    without_revocations: bool,
    /// The last epoch that was in use, if neither a checkpoint nor the exported log tells of it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u64).range(..MAX_EPOCH))]
    after_epoch: u64,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What came of it.
struct Done {
    restored: Restored,
    token: Option<String>,
    replaced: Option<PathBuf>,
    /// Why it is not known to be on disk.
    unsynced: Option<Failure>,
    /// What is to be noted of it outside of the database.
    checkpoint: Result<Checkpoint, Failure>,
}

impl Restore {
    pub(crate) async fn run(
        &self,
        config: config::Server,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        output.check_member(&MEMBERS)?;
        let file = config.checkpoint.as_ref().map(CheckpointFile::new);
        let known = match &file {
            None => None,
            Some(file) => (file.read())
                .map_err(|error| Failure::file("read the checkpoint in", file.path(), &error))?,
        };
        let done = match (&config.database, &self.backup) {
            (Database::File(path), backup) => {
                let from = backup.as_deref().unwrap_or(path);
                self.file((path, from), &config, known).await?
            }
            (Database::Postgres(_), None) => {
                tenant::find(&config.database, tenant::Missing::Refuse)?;
                self.server(&config, known).await?
            }
            (Database::Postgres(_), Some(_)) => {
                return Err(Failure::Usage(
                    "a PostgreSQL database is put back with `pg_restore` or from a base backup first; then say `--in-place`"
                        .to_owned(),
                ));
            }
        };
        // The database is restored, and the new key stands nowhere else: it is shown before anything more can fail.
        self.show(&config.database, &done, output);
        for warning in self.keep(file.as_ref(), done) {
            output.note(&format!("warning: {warning}"));
        }
        Ok(Outcome::Done)
    }

    /// Restores a copy of the backup beside the place of the database, and puts it there.
    async fn file(
        &self,
        (path, from): (&Path, &Path),
        config: &config::Server,
        known: Option<Checkpoint>,
    ) -> Result<Done, Failure> {
        if !from.exists() {
            return Err(Failure::Database(format!(
                "there is no backup `{}`",
                from.display()
            )));
        }
        let place = Place::claim(path)?;
        let copy = place.copy_of(from)?;
        let database = Database::File(copy.path().to_owned());
        let kavach = tenant::at_rest(config, &database, Pending::Apply).await?;
        let done = self.restored(&kavach, known).await;
        kavach.close().await;
        let mut done = done?;
        if !self.dry_run {
            let put = copy.put(done.restored.epoch)?;
            done.replaced = put.replaced;
            done.unsynced = put.unsynced;
        }
        Ok(done)
    }

    /// Makes a database safe where it is.
    async fn server(
        &self,
        config: &config::Server,
        known: Option<Checkpoint>,
    ) -> Result<Done, Failure> {
        // What is only tried changes nothing, the schema neither.
        let pending = if self.dry_run {
            Pending::Refuse
        } else {
            Pending::Apply
        };
        let kavach = tenant::at_rest(config, &config.database, pending).await?;
        let done = self.restored(&kavach, known).await;
        kavach.close().await;
        done
    }

    async fn restored(&self, kavach: &Kavach, known: Option<Checkpoint>) -> Result<Done, Failure> {
        let engine = kavach.engine();
        let how = Restoration {
            known,
            after_epoch: self.after_epoch,
            rehearsal: if self.dry_run {
                Rehearsal::Only
            } else {
                Rehearsal::No
            },
        };
        let kills = match &self.revocations {
            None => Kills::Unknown,
            Some(path) => Kills::Logged(stream::iter(lines(path)?)),
        };
        let actor = Actor::local(engine.id());
        let restored = engine.restore_tenant(&actor, kills, &how).await;
        let restored = restored.map_err(|error| self.failure(&error))?;
        let token = if restored.admin_keys == 0 && !self.dry_run {
            Some(new_key(kavach).await?)
        } else {
            None
        };
        let checkpoint = engine.checkpoint().await;
        Ok(Done {
            restored,
            token,
            replaced: None,
            unsynced: None,
            checkpoint: checkpoint.map_err(|error| tenant::failure(&error)),
        })
    }

    /// What is wrong with a file is said with the file and the line.
    fn failure(&self, error: &Error) -> Failure {
        match (error, &self.revocations) {
            (Error::Invalid(invalid), Some(path)) => Failure::Database(format!(
                "`{}`, {}: {invalid}; nothing was changed",
                path.display(),
                invalid.field()
            )),
            _ => tenant::failure(error),
        }
    }

    /// The database is what it should be again: what was noted of the one before counts no more. If that cannot be noted,
    /// a start does it or is refused. Gives what has to be looked at.
    fn keep(&self, file: Option<&CheckpointFile>, done: Done) -> Vec<String> {
        let unsynced = done.unsynced.map(|failure| {
            format!("{failure}: after a crash, look whether the database is the restored one")
        });
        let unkept = file.filter(|_| !self.dry_run).and_then(|file| {
            let written = done.checkpoint.and_then(|checkpoint| {
                let written = file.write(&checkpoint);
                written.map_err(|error| Failure::file("write the checkpoint", file.path(), &error))
            });
            written.err()
        });
        let unkept = unkept.map(|failure| {
            format!("{failure}: the database is restored, and `kavach serve` does not start before it can write there")
        });
        unsynced.into_iter().chain(unkept).collect()
    }

    fn show(&self, database: &Database, done: &Done, output: &mut Output) {
        let replaced = done
            .replaced
            .as_ref()
            .map(|path| path.display().to_string());
        if output.form() == Form::Json {
            let mut data = serde_json::to_value(&done.restored).unwrap_or_default();
            if let Value::Object(members) = &mut data {
                members.insert("database".to_owned(), json!(database.to_string()));
                members.insert("dryRun".to_owned(), json!(self.dry_run));
                members.insert("replaced".to_owned(), json!(replaced));
                members.insert("token".to_owned(), json!(done.token));
            }
            output.data(&data);
        } else {
            output.lines(text(database, done));
        }
        self.advise(done, output);
    }

    fn advise(&self, done: &Done, output: &mut Output) {
        if self.dry_run {
            output.note("nothing was changed: leave `--dry-run` out to do it");
        }
        if done.token.is_some() {
            output.note("no operator key was left that may do everything, so one was made: keep it now, it is not shown again");
        }
        for note in notes(&done.restored) {
            output.note(note);
        }
        output.note(
            "rates and budgets count from where they stood in the backup; what was created or changed since is not there",
        );
    }
}

/// What whoever restored has to look at.
fn notes(restored: &Restored) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if restored.unknown_kills {
        notes.push(
            "humans who were banned and agents that were revoked since the backup are active in it, without a key or a \
             session: look at them before you give them new ones",
        );
        notes.push(
            "what was narrowed since is wide again too: delegations that were revoked, permissions and guards of grants, \
             permissions of humans, proof keys of agents",
        );
    }
    notes.push(
        "people sign in with the passwords and passkeys of the backup, also with those that they changed or removed since: \
         have whoever lost one set a new password (`POST /api/v1/users/{id}/require-reset`) and look at their passkeys; \
         backup codes are made anew",
    );
    let ended = |what: &str| restored.ended.get(what).is_some_and(|count| *count > 0);
    if restored.unknown_kills && ended("users") {
        notes.push(
            "humans of outside providers are banned, since they need no key of yours: `kavach user unban` lets one go on",
        );
    }
    if restored.humans_held {
        notes.push(
            "new humans of outside providers and all clients that are known by a document wait, since one of them may have \
             been banned, denied or allowed less after the backup: deny such clients anew with `kavach client deny`; then \
             `kavach user admit` lets the others in, `kavach user create --external` a single human",
        );
    }
    if ended("webhooks") {
        notes.push(
            "webhooks are paused, since one may have been deleted or given another secret after the backup: look at them, \
             then `kavach webhook update --status active`",
        );
    }
    if ended("mails") {
        notes.push(
            "mails that waited in the backup are not sent: they were, or what they say is over",
        );
    }
    notes
}

fn text(database: &Database, done: &Done) -> Vec<String> {
    let restored = &done.restored;
    let lost = match restored.lost_records {
        None => "how many came after it is not known: there is no checkpoint".to_owned(),
        Some(lost) => format!("{lost} that came after it are lost, as far as the checkpoint knows"),
    };
    let taken = match restored.kills {
        None => "no log of those since".to_owned(),
        Some(kills) => format!("{kills} more came in with the log"),
    };
    let ended: Vec<String> = (restored.ended.iter())
        .filter(|(_, count)| **count > 0)
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    let ended = if ended.is_empty() {
        "nothing".to_owned()
    } else {
        ended.join(", ")
    };
    let mut lines = vec![
        format!("database      {database}"),
        format!(
            "epoch         {}, after {}",
            restored.epoch, restored.from_epoch
        ),
        format!("records       {} in the backup; {lost}", restored.records),
        format!(
            "revocations   {} in the backup; {taken}",
            restored.revocations
        ),
        format!("ended         {ended}"),
    ];
    if let Some(path) = &done.replaced {
        lines.push(format!("replaced      kept as {}", path.display()));
    }
    if let Some(token) = &done.token {
        lines.push(format!("operator key  {token}"));
    }
    lines
}

async fn new_key(kavach: &Kavach) -> Result<String, Failure> {
    let engine = kavach.engine();
    let new = NewKey {
        name: "restored".to_owned(),
        scopes: Scopes::Every,
        ceiling: None,
        expires_at: None,
    };
    let actor = Actor::local(engine.id());
    let issued = engine.create_first_key(&actor, &new).await;
    let issued = issued.map_err(|error| tenant::failure(&error))?;
    let token = issued.token.map(|token| token.reveal().to_owned());
    token.ok_or_else(|| {
        Failure::Database(
            "the new key was not shown: make one with `kavach key create --database`".to_owned(),
        )
    })
}

/// The lines of a file, one by one, each no longer than a line may be.
fn lines(path: &Path) -> Result<impl Iterator<Item = io::Result<String>> + Send, Failure> {
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut reader = BufReader::new(file);
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        match reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Err(error) => Some(Err(error)),
            Ok(0) => None,
            Ok(_) => {
                let text = String::from_utf8(line);
                let text = text.map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
                Some(text.map(|text| text.trim_end_matches('\n').to_owned()))
            }
        }
    }))
}
