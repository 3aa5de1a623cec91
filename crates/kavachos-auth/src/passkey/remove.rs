//! `DELETE /api/auth/passkey/credentials/{id}`: a passkey signs in no more.
//!
//! The last one may be removed as well, since it may be the one that was stolen; the answer says that none is left, so that
//! a page can ask for another way in. Where a second factor is demanded, the last factor stays.

use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result};
use serde_json::json;

use super::{NAME, store};
use crate::own::{self, Notice};

/// The kind of its records.
pub(super) const KIND: &str = "passkey.removed";

pub(super) async fn remove(context: Context, request: Request) -> Result<Answer> {
    let user = own::fresh(&context)?;
    let id = request.part("id");
    let notice = Notice::of(&context, user, (MailKind::FactorRemoved, NAME)).await?;
    let changed = context.change(KIND, || async {
        let rows = store::of_user(&context, user).await?;
        let row = rows.into_iter().find(|row| row.id == id);
        let row = row.ok_or(Error::NotFound("passkey"))?;
        context.keep_a_factor(user).await?;
        let change = Change::of(row.id.clone())
            .write(store::remove(user, row.id.clone()))
            .details(json!({ "passkey": row.id }));
        Ok(notice.told(change).about_human(user))
    });
    changed.await?;
    let left = store::of_user(&context, user).await?.len();
    Answer::data(&json!({ "left": left }))
}
