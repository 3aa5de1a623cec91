//! `POST /account/approvals/{id}/approve` and `/deny`. Who signed in a while ago proves who they are before they approve.

use axum::extract::{Request, State as FromState};
use http::StatusCode;
use kavachos_core::id::{ApprovalId, kind};
use kavachos_engine::Error;

use super::{list, show};
use crate::error::Failure;
use crate::pages::browser::{Browser, with_return};
use crate::pages::failure::sentence;
use crate::pages::form::Form;
use crate::pages::view::Notice;
use crate::pages::{Shown, see_other};
use crate::routes::PathId;
use crate::state::State;

pub(super) async fn approve(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Approval>,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    let sent = Form::read(&parts, body, browser.secret()).await?;
    if !browser.is_fresh(&state) {
        return Ok(see_other(&with_return(
            "/re-authenticate",
            &format!("/account/approvals/{id}"),
        )));
    }
    match state
        .engine
        .approve(&browser.actor, id, sent.text("digest"))
        .await
    {
        Ok(_) => {
            let text = "Approved. The agent may do this once, exactly as you saw it.";
            list::show(&state, &browser, None, Some(Notice::new("ok", text))).await
        }
        Err(error) => again(&state, &browser, id, error).await,
    }
}

pub(super) async fn deny(
    FromState(state): FromState<State>,
    browser: Browser,
    PathId(id): PathId<kind::Approval>,
    request: Request,
) -> Shown {
    let (parts, body) = request.into_parts();
    Form::read(&parts, body, browser.secret()).await?;
    match state.engine.deny(&browser.actor, id).await {
        Ok(_) => {
            let text = "Denied. The agent may not do this.";
            list::show(&state, &browser, None, Some(Notice::new("ok", text))).await
        }
        Err(error) => again(&state, &browser, id, error).await,
    }
}

/// The request as it is now, with why it was not answered.
async fn again(state: &State, browser: &Browser, id: ApprovalId, error: Error) -> Shown {
    if !matches!(error, Error::WrongState(_)) {
        return Err(error.into());
    }
    let approval = state.engine.approval(&browser.actor, id).await?;
    let notice = Notice::new("bad", sentence(&Failure::from(error).told()));
    let mut page = show::show(state, browser, approval, Some(notice)).await?;
    *page.status_mut() = StatusCode::CONFLICT;
    Ok(page)
}
