//! `POST /api/auth/change-username`: another name for the human who asks, or their first.

use std::sync::Arc;
use std::time::Duration;

use kavachos_engine::Result;
use kavachos_engine::plugin::{Allowance, Answer, Change, Context, Counted, Request};
use serde::Deserialize;
use serde_json::json;

use super::account::{forget, give, is_taken, name_of};
use super::name::Username;
use super::sign_up::taken;
use crate::password::Choosing;

/// The record of a name that was changed.
pub(super) const KIND: &str = "username_password.changed";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often one human may change it.
const CHANGES: Allowance = Allowance::new(5, DAY);
/// How many names one human may try: each tells whether somebody has it.
const TRIES: Allowance = Allowance::new(20, DAY);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    username: String,
}

pub(super) async fn handle(_: Arc<Choosing>, context: Context, request: Request) -> Result<Answer> {
    let asked: Asked = request.json()?;
    let human = context.own_account().await?.id;
    context.require_fresh()?;
    let name = Username::choose(&asked.username)?;
    if name_of(&context, human).await?.as_deref() != Some(name.as_str()) {
        let tries = format!("tries:{human}");
        let tries = [(Counted::Name(&tries), TRIES)];
        context.admit(&tries).await?;
        let changed = context.change(KIND, || async {
            if is_taken(&context, &name, Some(human)).await? {
                return Err(taken());
            }
            Ok(Change::of(human.to_string())
                .taking(format!("changes:{human}"), CHANGES)
                .about_human(human)
                .write(forget(human))
                .write(give(&name, human, context.now())))
        });
        changed.await?;
    }
    Answer::data(&json!({ "username": name.as_str() }))
}
