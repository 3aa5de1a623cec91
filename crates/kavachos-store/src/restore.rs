//! What is written into a database that was put back from a backup: the kills that it does not know, what follows from
//! them for rows, and the end of what may have been ended since.
//!
//! Promises: all of it runs inside of one [`crate::Filling`], in the subset of SQL that every database reads; nothing here
//! makes anything live again. It knows no rules: what is to be ended, and why, is decided above.

use kavachos_core::revocation::{Handle, HandleKind, LogHead, Mark};
use kavachos_core::time::Timestamp;

use crate::agent::AgentRow;
use crate::batch::Write;
use crate::row::{Query, Select};
use crate::user::UserRow;
use crate::{agent, user};

/// How many humans or agents are read at a time.
pub const PAGE: usize = 64;

/// Something that is looked up by its row, so that its row must say that it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What it is called outside.
    pub member: &'static str,
    table: &'static str,
    /// What holds of one that is not over, of the alias `t`.
    live: &'static str,
    /// What makes it so; `?1` is the time.
    end: &'static str,
    /// What holds besides of one that ends with all, of the alias `t`.
    of_all: &'static str,
}

const fn kind(
    member: &'static str,
    table: &'static str,
    live: &'static str,
    end: &'static str,
) -> Kind {
    Kind {
        member,
        table,
        live,
        end,
        of_all: "1 = 1",
    }
}

/// What somebody shows and is believed by. Without the log of revocations all of it ends.
pub const CREDENTIALS: [Kind; 5] = [
    kind(
        "agentKeys",
        "agent_keys",
        "t.status = 'active'",
        "status = 'revoked', ended_at = ?1",
    ),
    kind(
        "sessions",
        "sessions",
        "t.status = 'active'",
        "status = 'revoked'",
    ),
    kind(
        "operatorKeys",
        "operator_keys",
        "t.status <> 'revoked'",
        "status = 'revoked', version = version + 1",
    ),
    kind(
        "toolServers",
        "tool_servers",
        "t.status <> 'revoked'",
        "status = 'revoked', version = version + 1",
    ),
    Kind {
        // One that is known by its document shows nothing of ours.
        of_all: "t.source <> 'document'",
        ..kind(
            "clients",
            "oauth_clients",
            "t.status <> 'revoked'",
            "status = 'revoked', secret = NULL, manager = NULL, version = version + 1",
        )
    },
];

/// Lines of refresh tokens of those whom humans let in, by the agents' keys that they are. A token that was replaced since
/// would be good again.
pub const LINES: Kind = kind(
    "refreshLines",
    "agent_keys",
    "t.status = 'active' AND t.hash IN (SELECT l.id FROM refresh_lines l JOIN connections c ON c.agent = l.agent)",
    "status = 'revoked', ended_at = ?1",
);

/// Grants, which end only when they were killed themselves.
pub const GRANTS: Kind = kind(
    "grants",
    "grants",
    "t.status = 'active'",
    "status = 'revoked', version = version + 1",
);

/// Webhooks. Neither their deletion nor a pause is a kill, so no log tells of it.
pub const WEBHOOKS: Kind = kind(
    "webhooks",
    "webhooks",
    "t.status = 'active'",
    "status = 'paused', version = version + 1",
);

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Those whose own handle was killed after this record of the log.
    KilledAfter(u64),
    /// All.
    All,
}

fn killed_after(rseq: u64) -> String {
    let rseq = rseq.min(i64::MAX.unsigned_abs());
    format!("SELECT r.handle FROM revocation_log r WHERE r.rseq > {rseq}")
}

impl Kind {
    /// The condition on the alias `t`. A number needs no quoting.
    fn among(&self, among: Among) -> String {
        match among {
            Among::KilledAfter(rseq) => format!("t.handle IN ({})", killed_after(rseq)),
            Among::All => self.of_all.to_owned(),
        }
    }

    /// How many of them are not over.
    pub fn count(&self, among: Among) -> Select<(u64,)> {
        let Self { table, live, .. } = self;
        let sql = format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM {table} t WHERE {live} AND {}",
            self.among(among)
        );
        Query::new(1, sql).of()
    }

    /// Ends those that are not over.
    pub fn end(&self, among: Among, now: Timestamp) -> Write {
        let Self {
            table, live, end, ..
        } = self;
        let sql = format!(
            "UPDATE {table} AS t SET {end} WHERE {live} AND {}",
            self.among(among)
        );
        let write = Write::any(sql);
        if end.contains("?1") {
            write.bind(now)
        } else {
            write
        }
    }
}

/// Takes one more record into the log, which comes to this head by it. A conflict: it raises nothing.
pub fn kill(kill: Mark, head: LogHead) -> [Write; 2] {
    [
        Write::exactly(
            1,
            "INSERT INTO handles (handle, generation) VALUES (?1, ?2) ON CONFLICT (handle) \
             DO UPDATE SET generation = excluded.generation WHERE handles.generation < excluded.generation",
        )
        .bind(kill.handle)
        .bind(kill.generation),
        Write::exactly(
            1,
            "INSERT INTO revocation_log (rseq, handle, generation, rhash) VALUES (?1, ?2, ?3, ?4)",
        )
        .bind(head.rseq)
        .bind(kill.handle)
        .bind(kill.generation)
        .bind(head.rhash),
    ]
}

/// Humans who are not deleted and were killed after this record, at most [`PAGE`], after this id.
pub fn killed_users(rseq: u64, after: Option<String>) -> Select<UserRow> {
    let condition = format!(
        "u.status <> 'revoked' AND u.handle IN ({}) AND u.id > ?1 ORDER BY u.id LIMIT {PAGE}",
        killed_after(rseq)
    );
    user::among_all(PAGE, &condition, after.unwrap_or_default())
}

/// Humans of outside providers who are active, or will be by themselves, at most [`PAGE`], after this id.
pub fn provided_users(after: Option<String>) -> Select<UserRow> {
    let condition = format!(
        "(u.status = 'active' OR (u.status = 'banned' AND u.banned_until IS NOT NULL)) \
         AND u.provider IS NOT NULL AND u.id > ?1 ORDER BY u.id LIMIT {PAGE}"
    );
    user::among_all(PAGE, &condition, after.unwrap_or_default())
}

/// How many humans were killed after this record who are not here: they came after the backup.
pub fn missing_users(rseq: u64) -> Select<(u64,)> {
    let edge = |byte| Handle {
        kind: HandleKind::User,
        bytes: [byte; 16],
    };
    let sql = format!(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM ({} AND r.handle BETWEEN ?1 AND ?2 GROUP BY r.handle) k \
         WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.handle = k.handle)",
        killed_after(rseq)
    );
    Query::new(1, sql)
        .bind(edge(u8::MIN))
        .bind(edge(u8::MAX))
        .of()
}

/// Agents that are not revoked and were killed after this record, at most [`PAGE`], after this id.
pub fn killed_agents(rseq: u64, after: Option<String>) -> Select<AgentRow> {
    let condition = format!(
        "a.status <> 'revoked' AND (a.handle IN ({killed}) OR a.proof_handle IN ({killed})) AND a.id > ?1 \
         ORDER BY a.id LIMIT {PAGE}",
        killed = killed_after(rseq)
    );
    agent::among_all(PAGE, &condition, after.unwrap_or_default())
}

/// How many requests for approval wait, or were approved and not used, as far as this database knows.
pub fn open_approvals(now: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT CAST(COUNT(*) AS BIGINT) FROM approvals a WHERE a.status IN ('pending', 'approved') AND a.expires_at > ?1",
    )
    .bind(now)
    .of()
}

/// Ends them: whether one was used after the backup, nobody knows.
pub fn end_approvals(now: Timestamp) -> Write {
    Write::any(
        "UPDATE approvals SET expires_at = ?1 WHERE status IN ('pending', 'approved') AND expires_at > ?1",
    )
    .bind(now)
}

/// Forgets which requests were answered before: an answer of then would tell of what is not here.
pub fn forget_answers() -> Write {
    Write::any("DELETE FROM idempotency")
}

/// Forgets sign-ins that wait for a second proof: one may have come to a session since.
pub fn forget_sign_ins() -> Write {
    Write::any("DELETE FROM sign_ins")
}

/// Forgets mails that wait: they were sent since, and what they say may be long over.
pub fn forget_mails() -> Write {
    Write::any("DELETE FROM mails")
}

/// Counts the mails that wait anew: none does.
pub fn empty_mail_queue() -> Write {
    Write::any("UPDATE mail_queue SET waiting = 0")
}

/// Forgets links that take an address back: one may have been used since.
pub fn forget_former_addresses() -> Write {
    Write::any("DELETE FROM former_addresses")
}

/// Forgets links of mails about sign-ins: one may have been used since.
pub fn forget_not_me() -> Write {
    Write::any("DELETE FROM not_me_links")
}

/// Forgets what humans said yes to: they may have taken it back since.
pub fn forget_consents() -> Write {
    Write::any("DELETE FROM consents")
}

/// Forgets what devices asked for: it may have been answered since.
pub fn forget_device_requests() -> Write {
    Write::any("DELETE FROM device_requests")
}

/// Forgets what clients pushed: it may have been answered since.
pub fn forget_pushed_requests() -> Write {
    Write::any("DELETE FROM pushed_requests")
}

/// How many operator keys live at this time that may do everything.
pub fn administrators(now: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT CAST(COUNT(*) AS BIGINT) FROM operator_keys k WHERE k.status = 'active' AND k.scopes = '[\"*\"]' \
         AND k.ceiling IS NULL AND (k.expires_at IS NULL OR k.expires_at > ?1)",
    )
    .bind(now)
    .of()
}
