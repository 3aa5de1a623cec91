//! `kavach restore`: a backup in place of the database, with nothing alive in it that was ended since.
//!
//! A database in a file is restored beside its place, and takes it once all is done; what was there before is kept under
//! another name. One of a PostgreSQL server is put back with that server's tools first, and made safe in one transaction.

mod place;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use futures_util::stream;
use kavachos::{CheckpointFile, Kavach};
use kavachos_engine::actor::{Actor, Scopes};
use kavachos_engine::{Checkpoint, Error, Kills, NewKey, Rehearsal, Restoration, Restored};
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
const MEMBERS: [&str; 12] = [
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
    "ended",
    "adminKeys",
];

/// What the help says at its end.
const EXAMPLES: &str = "\
Every token of before is refused afterwards: the epoch rises, and the keys that sign are new. With the exported log of \
revocations, what was revoked since the backup is revoked in it too: a revoked human is banned, a revoked agent, delegation, \
key or session is over for good. Without it all keys, sessions and tool servers are, and one new operator key is printed. \
Requests for approval that were not answered or used are over either way.

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
    /// There is no log of them: end every key and session
    #[arg(long)]
    without_revocations: bool,
    /// The last epoch that was in use, if neither a checkpoint nor the exported log tells of it
    #[arg(long, value_name = "N", default_value_t = 0)]
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
                self.file((path, from), &config, (known, file.as_ref()))
                    .await?
            }
            (Database::Postgres(_), None) => {
                tenant::find(&config.database, tenant::Missing::Refuse)?;
                self.server(&config, (known, file.as_ref())).await?
            }
            (Database::Postgres(_), Some(_)) => {
                return Err(Failure::Usage(
                    "a PostgreSQL database is put back with `pg_restore` or from a base backup first; then say `--in-place`"
                        .to_owned(),
                ));
            }
        };
        self.show(&config.database, &done, output);
        Ok(Outcome::Done)
    }

    /// Restores a copy of the backup beside the place of the database, and puts it there.
    async fn file(
        &self,
        (path, from): (&Path, &Path),
        config: &config::Server,
        (known, file): (Option<Checkpoint>, Option<&CheckpointFile>),
    ) -> Result<Done, Failure> {
        if !from.exists() {
            return Err(Failure::Database(format!(
                "there is no backup `{}`",
                from.display()
            )));
        }
        let place = Place::claim(path)?;
        let copy = place.copy_of(from)?;
        let kavach = tenant::at_rest(config, &Database::File(copy.path().to_owned())).await?;
        let done = self.restored(&kavach, known).await;
        kavach.close().await;
        let (restored, token, checkpoint) = done?;
        let replaced = if self.dry_run {
            None
        } else {
            copy.put(restored.epoch)?
        };
        self.keep(file, &checkpoint)?;
        Ok(Done {
            restored,
            token,
            replaced,
        })
    }

    /// Makes a database safe where it is.
    async fn server(
        &self,
        config: &config::Server,
        (known, file): (Option<Checkpoint>, Option<&CheckpointFile>),
    ) -> Result<Done, Failure> {
        let kavach = tenant::at_rest(config, &config.database).await?;
        let done = self.restored(&kavach, known).await;
        kavach.close().await;
        let (restored, token, checkpoint) = done?;
        self.keep(file, &checkpoint)?;
        Ok(Done {
            restored,
            token,
            replaced: None,
        })
    }

    async fn restored(
        &self,
        kavach: &Kavach,
        known: Option<Checkpoint>,
    ) -> Result<(Restored, Option<String>, Checkpoint), Failure> {
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
        let checkpoint = checkpoint.map_err(|error| tenant::failure(&error))?;
        Ok((restored, token, checkpoint))
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

    /// The database is what it should be again: what was noted of the one before counts no more.
    fn keep(&self, file: Option<&CheckpointFile>, checkpoint: &Checkpoint) -> Result<(), Failure> {
        match file {
            Some(file) if !self.dry_run => file
                .write(checkpoint)
                .map_err(|error| Failure::file("write", file.path(), &error)),
            _ => Ok(()),
        }
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
        if self.without_revocations {
            output.note(
                "humans who were banned and agents that were revoked since the backup are active in it, without a key or \
                 a session: look at them before you give them new ones",
            );
        }
        output.note(
            "rates and budgets count from where they stood in the backup; what was created or changed since is not there",
        );
    }
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
