//! Everything that `kavach doctor` may find: under which name, how bad it is, why it matters and what to do.
//!
//! Names are stable: monitors may rely on them. `docs/operating.md` lists them, and a test compares the two.

use super::Level;

/// A kind of finding.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) id: &'static str,
    pub(super) level: Level,
    pub(super) why: &'static str,
    pub(super) remedy: &'static str,
}

macro_rules! catalogue {
    ($($name:ident = $level:ident $id:literal, $why:literal, $remedy:literal;)+) => {
        $(pub(super) const $name: Kind = Kind {
            id: $id,
            level: Level::$level,
            why: $why,
            remedy: $remedy,
        };)+
        #[cfg(test)]
        const ALL: &[Kind] = &[$($name),+];
    };
}

catalogue! {
    CONFIG_INVALID = Bad "config.invalid",
        "no server starts with it", "correct the setting that is named";
    CONFIG_VARIABLE = Warning "config.variable",
        "the setting that was meant has its default instead", "correct the name of the variable, or unset it";
    CONFIG_LOOPBACK = Warning "config.loopback",
        "whoever may make webhooks can have this server call other services of this machine",
        "leave `fetch.loopback` out, but for development";
    DATABASE_MISSING = Bad "database.missing",
        "there is nothing to serve", "make one with `kavach init`, or name another with `--database`";
    DATABASE_FOREIGN = Bad "database.foreign",
        "it holds something else, which KavachOS does not touch", "name another database, or restore a backup if it was one";
    DATABASE_READ_ONLY = Bad "database.read_only",
        "no decision is answered that cannot be recorded", "let the server's user write the file and its directory";
    DATABASE_SETTINGS = Bad "database.settings",
        "acknowledged records could be lost, or erased data kept", "use the SQLite that comes with `kavach`, on a local file system";
    DATABASE_DAMAGED = Bad "database.damaged",
        "it contradicts itself, so nothing that it says can be relied on", "stop the server, keep the file, and restore a backup";
    DATABASE_UNUSABLE = Bad "database.unusable",
        "a server would not start, or would answer 503", "do what the message says";
    DATABASE_MODE = Warning "database.mode",
        "it holds the names and the records of people", "`chmod 600` the file";
    DATABASE_UNCLEAN = Note "database.unclean",
        "the last server was killed or crashed; nothing is lost", "nothing: the next start reads the log";
    SCHEMA_PENDING = Warning "schema.pending",
        "this binary needs tables that are not there yet", "make a backup; the next start applies them";
    SCHEMA_EDITED = Bad "schema.edited",
        "the tables are not those that this binary was tested with", "use the binary that made the database";
    SCHEMA_NEWER = Bad "schema.newer",
        "this binary would misread it", "use the newer `kavach` again, or restore the backup from before it";
    LOCK_STALLED = Bad "lock.stalled",
        "nobody is answered, and no other server can take over", "continue the process (`kill -CONT`), or end it";
    LEDGER_TAIL = Bad "ledger.tail",
        "somebody changed the record of what happened, or the disk did", "stop the server, keep the file, and compare it with backups";
    CHECKPOINT_UNREADABLE = Bad "checkpoint.unreadable",
        "no server starts: it cannot tell whether this database is an old backup",
        "if this is the newest database, move the file away";
    CHECKPOINT_SETBACK = Bad "checkpoint.setback",
        "no server starts: what was revoked since would live again",
        "if a backup was put back, run `kavach restore`; if not, bring the newest database back";
    CLOCK_BEHIND = Bad "clock.behind",
        "keys and grants live too long by this clock, and new records carry the time of the newest one",
        "set the clock right, and keep it so (NTP)";
    DISK_FULL = Bad "disk.full",
        "without room nothing is recorded, and without a record nothing is allowed", "make room now";
    DISK_LOW = Warning "disk.low",
        "without room nothing is recorded, and without a record nothing is allowed", "make room soon";
    DISK_UNKNOWN = Warning "disk.unknown",
        "a full disk stops the server", "watch the free space by other means";
    KEYS_NONE = Bad "keys.none",
        "nobody could manage the server", "run `kavach init`, or set KAVACH_ADMIN_KEY";
    DEV_KEY_MODE = Warning "dev_key.mode",
        "whoever reads it may do everything", "`chmod 600` the file; if others did read it, revoke the key and make another";
    SECRET_MODE = Warning "secret.mode",
        "whoever reads it may use it", "`chmod 600` the file; if others did read it, replace the secret";
    MASTER_KEY_MODE = Warning "master_key.mode",
        "whoever reads it can sign messages in this server's name", "`chmod 600` the file; if others did read it, replace the key and rotate every webhook";
    MASTER_KEY_UNUSABLE = Bad "master_key.unusable",
        "no server starts with it: another key would change every secret", "put the right key there";
    MASTER_KEY_MISSING = Bad "master_key.missing",
        "webhooks are signed with secrets derived from it, so none is sent", "bring the key back; or make one with `kavach init` and rotate every webhook";
    MASTER_KEY_OTHER = Bad "master_key.other",
        "their receivers know secrets that were derived from another key, so none is sent", "bring that key back, or rotate these webhooks";
    MAIL_OFF = Warning "mail.off",
        "methods of signing in are on that answer 503 without mail",
        "say by whom mail is sent (`mail.sender`), or switch these methods off (`auth.methods`)";
    MAIL_UNUSABLE = Bad "mail.unusable",
        "no server starts with it", "do what the message says; `kavach mail test` tries it out";
    WEBHOOKS_DEAD = Warning "webhooks.dead",
        "their receivers were never told of these records", "repair the receiver, then `kavach webhook redeliver`";
    DESCRIPTORS_LOW = Warning "descriptors.low",
        "clients beyond that wait to be accepted", "raise the limit of open files (`ulimit -n`, or LimitNOFILE of systemd), or lower `connections.max`";
    LISTEN_TAKEN = Bad "listen.taken",
        "a server could not listen there", "end what listens there, or choose another address with `--listen`";
    LISTEN_ABSENT = Note "listen.absent",
        "this machine has no such address", "nothing: the server does without";
    SERVER_UNREADY = Bad "server.unready",
        "nobody is allowed anything while it cannot record", "look at its log and at its disk, or at its address";
    POSTGRES_UNREACHABLE = Bad "postgres.unreachable",
        "every request is answered 503", "start PostgreSQL, or correct the database URL";
    POSTGRES_DENIED = Bad "postgres.denied",
        "every request is answered 503", "correct the user and the password in the database URL";
    POSTGRES_TLS = Bad "postgres.tls",
        "what leaves this machine would be readable, or go to somebody else", "name the authority with `sslrootcert`";
    POSTGRES_VERSION = Bad "postgres.version",
        "older servers are not tested", "upgrade PostgreSQL to 15 or newer";
    POSTGRES_ENCODING = Bad "postgres.encoding",
        "text would not be stored as it is, and its hash would be wrong", "make a database with the encoding UTF8";
    POSTGRES_REPLICA = Bad "postgres.replica",
        "nothing can be recorded there", "name the primary in the database URL";
    POSTGRES_DURABILITY = Bad "postgres.durability",
        "a crash of PostgreSQL would lose or tear acknowledged records", "turn the setting on in postgresql.conf";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids with their levels, out of the table of the documentation.
    fn documented() -> Vec<(String, String)> {
        let text = include_str!("../../../../../docs/operating.md");
        let cells = |line: &str| {
            let mut cells = line.split('|').skip(1).map(|cell| cell.trim().to_owned());
            Some((cells.next()?, cells.next()?))
        };
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        rows.filter_map(cells)
            .filter(|(_, level)| ["bad", "warning", "note"].contains(&level.as_str()))
            .map(|(id, level)| (id.trim_matches('`').to_owned(), level))
            .collect()
    }

    #[test]
    fn the_documentation_lists_every_finding_and_no_other() {
        let known: Vec<_> = ALL
            .iter()
            .map(|kind| (kind.id.to_owned(), kind.level.name().to_owned()))
            .collect();
        assert_eq!(documented(), known);
    }

    #[test]
    fn every_finding_says_why_it_matters_and_what_to_do() {
        for kind in ALL {
            let said = [kind.why, kind.remedy];
            assert!(said.iter().all(|text| text.len() > 10), "{}", kind.id);
            let alike = ALL.iter().filter(|other| other.id == kind.id).count();
            assert_eq!(alike, 1, "{}", kind.id);
        }
    }
}
