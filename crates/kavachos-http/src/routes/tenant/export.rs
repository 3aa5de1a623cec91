//! `POST /api/v1/export`: the whole tenant, as a stream. One that fails midway breaks its connection off, and has no last
//! line.

use axum::body::Bytes;
use axum::extract::State as FromState;
use axum::response::IntoResponse;
use futures_util::stream::{Stream, unfold};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use kavachos_engine::actor::Scope;
use kavachos_engine::{Error, TenantExport};

use super::LINES;
use crate::body::{Nothing, Question};
use crate::call::Call;
use crate::operation::{About, Answer, Caller, Description, Form, Operation};
use crate::reply::{Answered, Kind, Reply};
use crate::state::State;

/// 200 with the lines of the file.
pub(crate) struct File;

impl Kind for File {
    fn tell(description: &mut Description) {
        description.answers.push(Answer {
            status: 200,
            media_type: LINES,
            form: Form::of::<String>(),
            headers: &[],
        });
    }
}

pub(crate) fn operation() -> Operation {
    const ABOUT: About = About {
        id: "exportTenant",
        tag: "Tenant",
        summary: "Hand out the whole tenant",
        text: "JSON Lines in the portable form, for `POST /api/v1/import` of another server. Keep the file as you keep the \
               keys. One that broke off has no last line, and is refused.",
        callers: &[Caller::Operator(Scope::TenantExport)],
    };
    Operation::post("/api/v1/export", ABOUT, handle)
}

pub(crate) async fn handle(
    FromState(state): FromState<State>,
    Call(actor): Call,
    _: Question<Nothing>,
) -> Reply<File> {
    let export = state.engine.export_tenant(&actor).await?;
    let headers = [
        (CONTENT_TYPE, LINES),
        (CONTENT_DISPOSITION, "attachment; filename=\"tenant.jsonl\""),
    ];
    let body = axum::body::Body::from_stream(lines(export));
    Ok(Answered::of((headers, body).into_response()))
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
