//! Which human signs in with which name, as it is stored.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::Result;
use kavachos_engine::plugin::Context;
use kavachos_store::{Query, Write};

use super::name::Username;

/// The human who signs in with this name.
pub(super) async fn holder(context: &Context, name: &Username) -> Result<Option<UserId>> {
    let sql = "SELECT user_id FROM username_password_account WHERE username = ?1";
    let query = Query::new(1, sql).bind(name.as_str().to_owned());
    let found: Vec<(UserId,)> = context.read(query).await?;
    Ok(found.into_iter().next().map(|(user,)| user))
}

/// Whether somebody but this human has the name, or one that looks like it.
pub(super) async fn is_taken(
    context: &Context,
    name: &Username,
    by_other_than: Option<UserId>,
) -> Result<bool> {
    let sql = "SELECT user_id FROM username_password_account WHERE looks_like = ?1";
    let query = Query::new(1, sql).bind(name.look());
    let found: Vec<(UserId,)> = context.read(query).await?;
    Ok(found.into_iter().any(|(user,)| Some(user) != by_other_than))
}

/// The name of a human.
pub(super) async fn name_of(context: &Context, user: UserId) -> Result<Option<String>> {
    let sql = "SELECT username FROM username_password_account WHERE user_id = ?1";
    let found: Vec<(String,)> = context.read(Query::new(1, sql).bind(user)).await?;
    Ok(found.into_iter().next().map(|(name,)| name))
}

/// Gives a human a name. Where somebody has one like it by now this is a conflict.
pub(super) fn give(name: &Username, user: UserId, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO username_password_account (username, looks_like, user_id, chosen_at) \
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )
    .bind(name.as_str().to_owned())
    .bind(name.look())
    .bind(user)
    .bind(now)
}

/// Holds only while the human signs in with this name.
pub(super) fn still(name: &Username, user: UserId) -> Write {
    Write::exactly(
        1,
        "UPDATE username_password_account SET chosen_at = chosen_at WHERE username = ?1 AND user_id = ?2",
    )
    .bind(name.as_str().to_owned())
    .bind(user)
}

/// Takes the name of a human away.
pub(super) fn forget(user: UserId) -> Write {
    Write::any("DELETE FROM username_password_account WHERE user_id = ?1").bind(user)
}
