//! Calls that a human was asked about before: they wait here until that is answered, instead of being refused at once.
//!
//! Promises: the answer allows nothing, it only ends the wait, and the call is decided anew. Whatever goes wrong, the
//! refusal stands.

use std::time::Duration;

use kavachos_core::decide::Code as Decided;
use kavachos_core::id::ApprovalId;
use serde::Deserialize;

use crate::http::Bounds;
use crate::principal::Principal;
use crate::rejection::Rejection;
use crate::verifier::Verifier;

/// How long a call waits, if nothing else is said: with what the issuer takes besides it is answered within the 30 seconds
/// after which the least patient clients and proxies give up.
pub(crate) const WAIT: Duration = Duration::from_secs(20);
/// The longest that an issuer lets anybody wait.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);
/// What the issuer may take besides.
const GRACE: Duration = Duration::from_secs(2);
/// An answer is two short members.
const MAX_BYTES: usize = 4_096;

/// How far a request for approval has come. The issuer may say more one day.
#[derive(Deserialize)]
struct Asked {
    status: String,
}

/// Waits, where a call was refused because its human has not answered yet. Whether they have now.
pub(crate) async fn answered(
    verifier: &Verifier,
    principal: &Principal,
    refused: &Rejection,
) -> bool {
    let wait = verifier.settings().approval_wait;
    if refused.decision() != Some(Decided::ApprovalPending) || wait.is_zero() {
        return false;
    }
    let id = refused.approval().map(str::parse::<ApprovalId>);
    let (Some(Ok(id)), Some(_place)) = (id, verifier.waiting().now(principal.user())) else {
        return false;
    };
    verifier.counters().waited.count();
    let path = format!("/api/v1/approvals/{id}?wait={}", wait.as_secs());
    let bounds = Bounds {
        time: wait + GRACE,
        bytes: MAX_BYTES,
    };
    let asked = verifier.client().get::<Asked>(&path, bounds).await;
    asked.is_ok_and(|asked| asked.status != "pending")
}
