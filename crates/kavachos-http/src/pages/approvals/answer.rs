//! `POST /account/approvals/{id}/approve` and `/deny`. Who signed in a while ago proves who they are before they approve.

use http::StatusCode;
use kavachos_core::id::{ApprovalId, kind};
use kavachos_engine::{Approval, Error, Issued};

use super::{list, show};
use crate::error::Failure;
use crate::pages::Shown;
use crate::pages::at::{At, Sent};
use crate::pages::browser::Browser;
use crate::pages::failure::sentence;
use crate::pages::view::Notice;
use crate::routes::PathId;

pub(super) async fn approve(
    PathId(id): PathId<kind::Approval>,
    Sent { at, form }: Sent<Browser>,
) -> Shown {
    if let Some(first) = at.prove_first(&format!("/account/approvals/{id}")) {
        return Ok(first);
    }
    let answer = at.engine().approve(&at.who.actor, id, form.text("digest"));
    let done = "Approved. The agent may do this once, exactly as you saw it.";
    answered(&at, id, (answer.await, done)).await
}

pub(super) async fn deny(
    PathId(id): PathId<kind::Approval>,
    Sent { at, .. }: Sent<Browser>,
) -> Shown {
    let answer = at.engine().deny(&at.who.actor, id);
    answered(
        &at,
        id,
        (answer.await, "Denied. The agent may not do this."),
    )
    .await
}

/// The requests with what is done, or the request as it is now, with why it was not answered.
async fn answered(
    at: &At<Browser>,
    id: ApprovalId,
    (answer, done): (Result<Issued<Approval>, Error>, &str),
) -> Shown {
    let error = match answer {
        Ok(_) => {
            return list::show(at, list::After::default(), Some(Notice::new("ok", done))).await;
        }
        Err(error @ Error::WrongState(_)) => error,
        Err(error) => return Err(error.into()),
    };
    let approval = at.engine().approval(&at.who.actor, id).await?;
    let notice = Notice::new("bad", sentence(&Failure::from(error).told()));
    let mut page = show::show(at, approval, Some(notice)).await?;
    *page.status_mut() = StatusCode::CONFLICT;
    Ok(page)
}
