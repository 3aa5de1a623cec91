//! `PATCH /api/auth/passkey/credentials/{id}`: another name for a passkey.

use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result};
use serde::Deserialize;
use serde_json::json;

use super::credential::named;
use super::credentials::View;
use super::store;
use crate::own;

/// The kind of its records.
pub(super) const KIND: &str = "passkey.renamed";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    name: String,
}

pub(super) async fn rename(context: Context, request: Request) -> Result<Answer> {
    let Rename { name } = request.json()?;
    let name = named(&name)?;
    let user = own::human(&context)?;
    let id = request.part("id");
    let changed = context.change(KIND, || async {
        let rows = store::of_user(&context, user).await?;
        let row = rows.into_iter().find(|row| row.id == id);
        let row = row.ok_or(Error::NotFound("passkey"))?;
        Ok(Change::of(row.id.clone())
            .write(store::rename(user, row.id.clone(), name.clone()))
            .details(json!({ "passkey": row.id }))
            .about_human(user))
    });
    changed.await?;
    let rows = store::of_user(&context, user).await?;
    let row = rows.iter().find(|row| row.id == id);
    Answer::data(&View::of(row.ok_or(Error::NotFound("passkey"))?))
}
