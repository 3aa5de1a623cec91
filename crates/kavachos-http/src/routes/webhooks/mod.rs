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
use schemars::JsonSchema;
use serde::Serialize;

use crate::operation::Description;
use crate::reply::{Data, Kind, Reply, json};

/// A webhook with its secret, which only this answer shows.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookWithSecret")]
struct Shown<'a> {
    #[serde(flatten)]
    webhook: &'a Webhook,
    /// What its messages are signed with; `null` on a replay.
    secret: Option<String>,
    /// It was done before under the same `Idempotency-Key`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// A webhook with its secret, under this status.
pub(crate) struct WithSecret<const STATUS: u16>;

impl<const STATUS: u16> Kind for WithSecret<STATUS> {
    fn tell(description: &mut Description) {
        description.answer::<Data<Shown<'static>>>(STATUS);
    }
}

fn with_secret<const STATUS: u16>(
    webhook: &Webhook,
    secret: Option<&SigningSecret>,
) -> Reply<WithSecret<STATUS>> {
    let data = Shown {
        webhook,
        secret: secret.map(SigningSecret::reveal),
        replayed: secret.is_none(),
    };
    let status = StatusCode::from_u16(STATUS).unwrap_or_default();
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
