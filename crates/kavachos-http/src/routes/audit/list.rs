//! `GET /api/v1/audit`: the ledger, newest first.

use axum::extract::State as FromState;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, page};
use crate::routes::audit::filter;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply {
    let filter = filter(&mut params)?;
    let (at, written) = params.page()?;
    page(state.engine.audit(&actor, &filter, at).await?, &written)
}
