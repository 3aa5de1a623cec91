//! `POST /api/auth/totp/enable`: the app shows a code, and from then on codes are asked for.

use kavachos_core::id::UserId;
use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result, SignIn};
use serde::{Deserialize, Serialize};

use super::factor::{Material, NewCodes, plain};
use super::store::{self, FactorRow};
use super::{ID, NAME};
use crate::own::{self, Notice};
use crate::password::Passwords;

/// The kind of its records.
pub(super) const KIND: &str = "totp.enabled";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enable {
    code: String,
}

/// The codes for the day on which the app is lost. Shown once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackupCodes {
    pub(super) backup_codes: Vec<String>,
}

/// What was set up, opened, with the backup codes that go with it: only where the code was right.
struct Begun {
    row: FactorRow,
    material: Material,
    codes: Option<NewCodes>,
}

pub(super) async fn enable(
    hashing: Passwords,
    context: Context,
    request: Request,
) -> Result<Answer> {
    let Enable { code } = request.json()?;
    let user = own::fresh(&context)?;
    let begun = begun((&context, &hashing), user, &code).await?;
    let notice = Notice::of(&context, user, (MailKind::FactorAdded, NAME)).await?;
    let changed = context.change(KIND, || async {
        let Some(begun) = &begun else {
            let why = "there is no app to turn on; set one up";
            return Err(Error::WrongState(why.to_owned()));
        };
        still_set_up(&context, &begun.row).await?;
        let now = context.now();
        let step = begun.material.seed.step_of(&plain(&code), now);
        let (Some(step), Some(codes)) = (step, &begun.codes) else {
            let why = "this is not the code that the app should show; compare the clocks, or set the app up again";
            return Err(Error::Forbidden(why.to_owned()));
        };
        let change = Change::of("enabled").write(store::enable(begun.row.clone(), step, now));
        let change = codes.kept_in(change);
        // Whoever has an old session has not shown a code; the one that did goes on with a new token.
        let proof = SignIn::confirming(user, ID).strong();
        let change = notice.told(change).arms(user).about_human(user);
        Ok(change.signs_in(proof))
    });
    let answer = own::signed_in(changed.await?)?;
    let codes = begun.and_then(|begun| begun.codes);
    let shown = codes.map(|codes| codes.shown).unwrap_or_default();
    Ok(answer.beside("backupCodes", shown))
}

async fn begun(
    (context, hashing): (&Context, &Passwords),
    user: UserId,
    code: &str,
) -> Result<Option<Begun>> {
    let row = store::factor(context, user).await?;
    let Some(row) = row.filter(|row| row.enabled_at.is_none()) else {
        return Ok(None);
    };
    let material = Material::open(context, &row)?;
    let codes = match material.seed.step_of(&plain(code), context.now()) {
        Some(_) => Some(material.new_codes(context, hashing, user).await?),
        None => None,
    };
    Ok(Some(Begun {
        row,
        material,
        codes,
    }))
}

/// Says that another setup came first; the write makes sure of it.
async fn still_set_up(context: &Context, row: &FactorRow) -> Result<()> {
    let now = store::factor(context, row.user).await?;
    if now.is_some_and(|now| now.sealed == row.sealed && now.enabled_at.is_none()) {
        return Ok(());
    }
    let why = "another app was set up meanwhile; begin again";
    Err(Error::WrongState(why.to_owned()))
}
