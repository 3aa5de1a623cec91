//! `POST /api/v1/export`: the whole tenant, as a stream. One that fails midway breaks its connection off, and has no last
//! line.

use axum::body::Bytes;
use axum::extract::State as FromState;
use axum::response::IntoResponse;
use futures_util::stream::{Stream, unfold};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use kavachos_engine::{Error, TenantExport};

use super::LINES;
use crate::body::{Body, Nothing};
use crate::call::Call;
use crate::reply::Reply;
use crate::state::State;

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    body: Body<Nothing>,
) -> Reply {
    body.question()?;
    let export = state.engine.export_tenant(&actor).await?;
    let headers = [
        (CONTENT_TYPE, LINES),
        (CONTENT_DISPOSITION, "attachment; filename=\"tenant.jsonl\""),
    ];
    let body = axum::body::Body::from_stream(lines(export));
    Ok((headers, body).into_response())
}

fn lines(export: TenantExport) -> impl Stream<Item = Result<Bytes, Error>> {
    unfold(Some(export), |export| async {
        let mut export = export?;
        match export.step().await {
            Ok(Some(text)) => Some((Ok(Bytes::from(text)), Some(export))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "the export of the tenant broke off");
                Some((Err(error), None))
            }
        }
    })
}
