//! `POST /api/auth/totp/backup-codes`: ten new codes on paper; the old ones are worth nothing.

use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result};

use super::enable::BackupCodes;
use super::factor::{Material, enabled};
use super::store;
use crate::own;

/// The kind of its records.
pub(super) const KIND: &str = "totp.backup_codes_made";

pub(super) async fn renew(context: Context, request: Request) -> Result<Answer> {
    own::nothing(&request)?;
    let user = own::fresh(&context)?;
    let codes = match enabled(&context, user).await? {
        Some(row) => {
            let material = Material::open(&context, &row)?;
            Some((row, material.new_codes(&context, user)))
        }
        None => None,
    };
    let changed = context.change(KIND, || async {
        let Some((row, codes)) = &codes else {
            return Err(Error::WrongState(
                "no codes are asked for; turn them on first".to_owned(),
            ));
        };
        // The hashes are under this factor's key.
        if enabled(&context, user)
            .await?
            .is_none_or(|now| now.sealed != row.sealed)
        {
            return Err(Error::WrongState(
                "codes were turned off meanwhile".to_owned(),
            ));
        }
        let change = Change::of("backup codes").write(store::still_enabled(row.clone()));
        Ok(codes.kept_in(change).about_human(user))
    });
    own::done_now(&changed.await?)?;
    let backup_codes = codes.map(|(_, codes)| codes.shown).unwrap_or_default();
    Answer::data(&BackupCodes { backup_codes })
}
