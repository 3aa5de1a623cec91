//! `/api/v1/webhooks`.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod deliveries;
pub(crate) mod list;
pub(crate) mod redeliver;
pub(crate) mod rotate;
pub(crate) mod show;
pub(crate) mod test;
pub(crate) mod update;

use http::StatusCode;
use kavachos_core::invalid::Invalid;
use kavachos_engine::{Denials, Kinds, SigningSecret, Webhook};
use serde::Serialize;

use crate::reply::{Reply, json};

/// A webhook with its secret, which only this answer shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithSecret<'a> {
    #[serde(flatten)]
    webhook: &'a Webhook,
    secret: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

fn with_secret(status: StatusCode, webhook: &Webhook, secret: Option<&SigningSecret>) -> Reply {
    let data = WithSecret {
        webhook,
        secret: secret.map(SigningSecret::reveal),
        replayed: secret.is_none(),
    };
    json(status, &serde_json::json!({ "data": data }))
}

fn kinds(patterns: Vec<String>) -> Result<Kinds, Invalid> {
    Kinds::parse(patterns).map_err(|error| error.within("kinds"))
}

const fn denials(are_told: bool) -> Denials {
    if are_told {
        Denials::Told
    } else {
        Denials::Untold
    }
}
