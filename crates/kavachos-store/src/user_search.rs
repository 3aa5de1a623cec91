//! Humans, as they are looked for.

use kavachos_core::id::UserId;
use kavachos_core::principal::{Role, Status};
use kavachos_core::time::Timestamp;

use crate::batch::{Param, Write};
use crate::page::{self, Listed};
use crate::row::{Query, Select};
use crate::user::{COLUMNS, UserRow};

/// Comes after everything that begins with the text before it, in the order of bytes.
const LAST: char = '\u{10FFFF}';

/// Which humans; `None` stands for any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// What their e-mail address or their name begins with, whatever its capitals from A to Z.
    pub search: Option<String>,
    /// What their status comes to now.
    pub status: Option<Status>,
    /// Their role.
    pub role: Option<Role>,
    /// Their e-mail address, in lower case.
    pub email: Option<String>,
    /// The outside provider that knows them, and as whom.
    pub external: Option<(String, String)>,
}

/// The conditions of a filter, with what their placeholders stand for. Only those that are asked for are there, so that
/// an index can serve them.
#[derive(Default)]
struct Conditions {
    sql: String,
    params: Vec<Param>,
}

impl Conditions {
    /// The first placeholder that is free: the page has taken the one before.
    const FIRST: usize = 2;

    /// Adds a condition; each `{}` is one of these.
    fn and<const N: usize>(&mut self, condition: &str, params: [Param; N]) {
        let mut sql = condition.to_owned();
        for param in params {
            let slot = self.params.len().saturating_add(Self::FIRST);
            sql = sql.replacen("{}", &format!("?{slot}"), 1);
            self.params.push(param);
        }
        self.sql.push_str(" AND ");
        self.sql.push_str(&sql);
    }

    fn of(filter: &UserFilter, before: Option<UserId>, now: Timestamp) -> Self {
        let mut all = Self::default();
        if let Some(before) = before {
            all.and("u.id < {}", [before.into()]);
        }
        if let Some(email) = &filter.email {
            all.and("u.email = {}", [email.clone().into()]);
        }
        if let Some((provider, external_id)) = &filter.external {
            all.and(
                "u.provider = {} AND u.external_id = {}",
                [provider.clone().into(), external_id.clone().into()],
            );
        }
        if let Some(role) = filter.role {
            let condition = "COALESCE(u.role, 'member') = {}";
            all.and(condition, [role.as_str().into()]);
        }
        if let Some(status) = filter.status {
            let condition = "CASE WHEN u.status = 'banned' AND u.banned_until <= {} THEN 'active' ELSE u.status END = {}";
            all.and(condition, [now.into(), status.into()]);
        }
        if let Some(search) = &filter.search {
            let from = search.to_ascii_lowercase();
            let to = format!("{from}{LAST}");
            all.and(
                "u.id IN (SELECT e.id FROM users e WHERE e.email >= {} AND e.email < {} \
                 UNION SELECT n.id FROM users n WHERE LOWER(n.name) >= {} AND LOWER(n.name) < {})",
                [
                    from.clone().into(),
                    to.clone().into(),
                    from.into(),
                    to.into(),
                ],
            );
        }
        all
    }
}

/// A page of at most `limit` humans that the filter leaves, newest first, older than `before`.
pub fn page(
    filter: &UserFilter,
    before: Option<UserId>,
    now: Timestamp,
    limit: usize,
) -> Select<Listed<UserRow>> {
    let Conditions { sql, params } = Conditions::of(filter, before, now);
    let candidates = format!(
        "SELECT u.id, COALESCE(OCTET_LENGTH(u.permissions), 0) FROM users u WHERE 1 = 1{sql}"
    );
    let query = page::of(&candidates, COLUMNS, limit);
    params.into_iter().fold(query, Query::bind).of()
}

/// A live owner besides this human.
const OTHER_OWNER: &str = "SELECT o.id FROM users o WHERE o.role = 'owner' AND o.id <> ?1 \
    AND (o.status = 'active' OR (o.status = 'banned' AND o.banned_until <= ?2)) LIMIT 1";

/// A live owner besides this human, if there is one.
pub fn other_owner(id: UserId, now: Timestamp) -> Select<(UserId,)> {
    Query::new(1, OTHER_OWNER).bind(id).bind(now).of()
}

/// Changes nothing, and makes a batch a conflict when there is no live owner besides this human: belongs before what
/// takes an owner away.
pub fn keep_other_owner(id: UserId, now: Timestamp) -> Write {
    Write::exactly(
        1,
        format!("UPDATE users SET version = version WHERE id = ({OTHER_OWNER})"),
    )
    .bind(id)
    .bind(now)
}
