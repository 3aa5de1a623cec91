//! `POST /api/auth/totp/enable`: the app shows a code, and from then on codes are asked for.

use kavachos_engine::mail::MailKind;
use kavachos_engine::plugin::{Answer, Change, Context, Request};
use kavachos_engine::{Error, Result};
use serde::{Deserialize, Serialize};

use super::factor::Material;
use super::{NAME, store};
use crate::own::{self, Notice};

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

pub(super) async fn enable(context: Context, request: Request) -> Result<Answer> {
    let Enable { code } = request.json()?;
    let user = own::fresh(&context)?;
    let mut shown = Vec::new();
    let notice = Notice::of(&context, user, (MailKind::FactorAdded, NAME)).await?;
    let row = store::factor(&context, user).await?;
    let material = match &row {
        Some(row) if row.enabled_at.is_none() => Some(Material::open(&context, row)?),
        _ => None,
    };
    let codes = material
        .as_ref()
        .map(|material| material.new_codes(&context, user));
    let changed = context.change(KIND, || async {
        let set_up = row.clone().zip(material.as_ref()).zip(codes.as_ref());
        let Some(((row, material), (_, kept))) = set_up else {
            return Err(Error::WrongState("there is no app to turn on; set one up".to_owned()));
        };
        still_set_up(&context, &row).await?;
        let typed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let Some(step) = material.seed.step_of(&typed, context.now()) else {
            let why = "this is not the code that the app should show; compare the clocks, or set the app up again";
            return Err(Error::Forbidden(why.to_owned()));
        };
        let change = Change::of("enabled").write(store::enable(row, step, context.now()));
        let change = kept.iter().cloned().fold(change, Change::write);
        Ok(notice.told(change).arms(user).about_human(user))
    });
    own::done_now(&changed.await?)?;
    if let Some((codes, _)) = codes {
        shown = codes;
    }
    Answer::data(&BackupCodes {
        backup_codes: shown,
    })
}

/// Says that another setup came first; the write makes sure of it.
async fn still_set_up(context: &Context, row: &store::FactorRow) -> Result<()> {
    let now = store::factor(context, row.user).await?;
    if now.is_some_and(|now| now.sealed == row.sealed && now.enabled_at.is_none()) {
        return Ok(());
    }
    let why = "another app was set up meanwhile; begin again";
    Err(Error::WrongState(why.to_owned()))
}
