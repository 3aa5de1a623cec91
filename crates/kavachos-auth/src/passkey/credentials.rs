//! `GET /api/auth/passkey/credentials`: the passkeys of a human, oldest first.

use kavachos_core::time::Timestamp;
use kavachos_engine::Result;
use kavachos_engine::plugin::{Answer, Context, Request};
use serde::Serialize;

use super::store::{self, CredentialRow};
use crate::own;

/// A passkey, as its owner sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    id: &'a str,
    name: &'a str,
    /// It is on several devices of its owner: a lost one does not lose it.
    synced: bool,
    created_at: Timestamp,
    used_at: Option<Timestamp>,
}

impl<'a> View<'a> {
    pub(super) fn of(row: &'a CredentialRow) -> Self {
        Self {
            id: &row.id,
            name: &row.name,
            synced: row.is_copied,
            created_at: row.created_at,
            used_at: row.used_at,
        }
    }
}

pub(super) async fn list(context: Context, _: Request) -> Result<Answer> {
    let user = own::human(&context)?;
    let rows = store::of_user(&context, user).await?;
    Answer::data(&rows.iter().map(View::of).collect::<Vec<_>>())
}
