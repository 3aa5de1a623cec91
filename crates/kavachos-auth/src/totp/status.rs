//! `GET /api/auth/totp`: whether codes are asked for, and how many backup codes are left.

use kavachos_core::time::Timestamp;
use kavachos_engine::Result;
use kavachos_engine::plugin::{Answer, Context, Request};
use serde::Serialize;

use super::{factor, store};
use crate::own;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    enabled: bool,
    enabled_at: Option<Timestamp>,
    backup_codes_left: usize,
}

pub(super) async fn status(context: Context, _: Request) -> Result<Answer> {
    let user = own::human(&context)?;
    let row = factor::enabled(&context, user).await?;
    let enabled_at = row.and_then(|row| row.enabled_at);
    let left = match enabled_at {
        Some(_) => store::codes(&context, user).await?.len(),
        None => 0,
    };
    Answer::data(&Status {
        enabled: enabled_at.is_some(),
        enabled_at,
        backup_codes_left: left,
    })
}
