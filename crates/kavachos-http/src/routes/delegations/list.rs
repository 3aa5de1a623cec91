//! `GET /api/v1/delegations`: grants, newest first.

use axum::extract::State as FromState;
use kavachos_engine::GrantFilter;

use crate::call::Call;
use crate::params::Params;
use crate::reply::{Reply, page};
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    mut params: Params,
) -> Reply {
    let filter = GrantFilter {
        root: None,
        giver: params.take("from")?,
        receiver: params.take("to")?,
    };
    let (at, written) = params.page()?;
    page(
        state.engine.delegations(&actor, filter, at).await?,
        &written,
    )
}
