//! `POST /api/auth/totp/backup-codes`: ten new codes on paper; the old ones are worth nothing. It takes a code: whoever
//! found an open session would turn codes off with one of the new ones.

use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result};
use serde::Deserialize;
use serde_json::json;

use super::enable::BackupCodes;
use super::factor::{self, Material, Typed, enabled};
use super::{IN_SESSION, store};
use crate::own::{self, Notice};
use crate::password::Passwords;

/// The kind of its records.
pub(super) const KIND: &str = "totp.backup_codes_made";
/// What the mail calls them.
const PAPER: &str = "backup codes";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renew {
    code: String,
}

pub(super) async fn renew(
    hashing: Passwords,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let Renew { code } = request.json()?;
    let user = own::fresh(&context)?;
    // Not given back, as where codes are turned off.
    let guess = context
        .guess(&own::account(IN_SESSION, user), Some(user))
        .await?;
    let typed = Typed::read(&context, &hashing, (user, &code)).await?;
    let notice = Notice::of(&context, user, (MailKind::FactorAdded, PAPER)).await?;
    let row = enabled(&context, user).await?;
    let shown = factor::proved(&context, user, &typed).await?;
    let shown = shown.is_some() && guess.is_judged();
    // They are made for whoever has shown a code, and for nobody else.
    let codes = match &row {
        Some(row) if shown => {
            let material = Material::open(&context, row)?;
            Some(material.new_codes(&context, &hashing, user).await?)
        }
        _ => None,
    };
    let changed = context.change(KIND, || async {
        let Some(row) = &row else {
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
        let proof = factor::proved(&context, user, &typed).await?;
        let (Some(proof), Some(codes)) = (proof, &codes) else {
            let why =
                "the code is wrong, too old, or was used before; a backup code will do as well";
            return Err(Error::Forbidden(why.to_owned()));
        };
        let change = Change::of("backup codes")
            .write(proof.used_by(user))
            .write(store::still_enabled(row.clone()))
            .details(json!({ "by": proof.as_str() }));
        Ok(notice.told(codes.kept_in(change)).about_human(user))
    });
    own::done_now(&changed.await?)?;
    let backup_codes = codes.map(|codes| codes.shown).unwrap_or_default();
    Answer::data(&BackupCodes { backup_codes })
}
