//! What stands around agents: tool servers, operators' keys, webhooks and what they were not told yet.

use kavachos_core::principal::Status;
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::SecretKind;
use kavachos_core::time::Timestamp;
use kavachos_core::tool_server::{Audience, RegisteredScopes, TokenPolicy};
use kavachos_store::Cell;
use kavachos_store::operator_key::OperatorKeyRow;
use kavachos_store::tool_server::ToolServerRow;
use kavachos_store::transfer::{OPERATOR_KEYS, Table};
use kavachos_store::webhook::{DeliveryRow, WebhookRow};

use super::party::name;
use super::{kind, of, one_of, shown, told, typed};
use crate::actor::Scopes;
use crate::compile;
use crate::engine::Engine;
use crate::keys::{Origin, check_ceiling};
use crate::transfer::line::Wrong;
use crate::webhooks::{DELIVERY_STATES, Kinds, WEBHOOK_STATES};

/// Where an operator's key may come from.
const ORIGINS: [&str; 3] = ["created", "init", "env"];
/// The longest account of what came of an attempt, in bytes. It is our own words and those of a network.
const MAX_PROBLEM_BYTES: usize = 4096;

pub(super) fn tool_server(row: &ToolServerRow) -> Result<(), Wrong> {
    row.audience.parse::<Audience>().map_err(of("audience"))?;
    compile::tool_server_key(row).map_err(told)?;
    name("name", &row.name)?;
    shown(&row.shown, SecretKind::Resource)?;
    let scopes: RegisteredScopes = compile::stored("scopes", &row.scopes).map_err(told)?;
    let policy: TokenPolicy = compile::stored("policy", &row.policy).map_err(told)?;
    policy.check(&scopes).map_err(of("policy"))?;
    kind(row.mark, HandleKind::Key)
}

pub(super) fn operator_key(row: &OperatorKeyRow) -> Result<(), Wrong> {
    let key = compile::operator_key(row).map_err(told)?;
    one_of("origin", &row.origin, &ORIGINS)?;
    name("name", &row.name)?;
    shown(&row.shown, SecretKind::Operator)?;
    check_ceiling(key.ceiling.as_ref()).map_err(told)?;
    if row.origin == Origin::Configured.as_str() && row.status == Status::Active {
        return Err(
            "`status`: a key that stands in a server's configuration moves asleep".to_owned(),
        );
    }
    kind(row.mark, HandleKind::Key)
}

/// Whether this is an operator's key with which everything can be administered now.
pub(in crate::transfer) fn administers(table: &Table, cells: &[Cell], now: Timestamp) -> bool {
    if table.kind != OPERATOR_KEYS.kind {
        return false;
    }
    let row: Result<OperatorKeyRow, Wrong> = typed(table, cells);
    let key = row.ok().and_then(|row| compile::operator_key(&row).ok());
    key.is_some_and(|key| {
        key.scopes == Scopes::Every
            && key.ceiling.is_none()
            && key.status == Status::Active
            && key.expires_at.is_none_or(|end| end > now)
    })
}

pub(super) fn webhook(engine: &Engine, row: &WebhookRow) -> Result<(), Wrong> {
    let kinds: Vec<String> = compile::stored("kinds", &row.kinds).map_err(told)?;
    Kinds::parse(kinds).map_err(of("kinds"))?;
    one_of("status", &row.status, &WEBHOOK_STATES)?;
    engine
        .check_webhook(Some(&row.url), row.name.as_ref())
        .map_err(told)
}

pub(super) fn delivery(row: &DeliveryRow) -> Result<(), Wrong> {
    one_of("status", &row.status, &DELIVERY_STATES)?;
    match &row.problem {
        Some(problem) if problem.len() > MAX_PROBLEM_BYTES => Err(format!(
            "`problem`: is longer than {MAX_PROBLEM_BYTES} bytes"
        )),
        _ => Ok(()),
    }
}
