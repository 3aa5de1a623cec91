//! Humans on first mention, and clients that are known by their documents, after a restoration: not let in until an operator
//! says so.
//!
//! A provider's word makes a human whom nobody has heard of. Where a backup was put back that may be somebody who came
//! after it and was banned, deleted, or allowed less. So first mentions wait, unless it is known that nothing was lost;
//! whoever is to come in before is created by hand. A client whose document anybody's browser names may have been denied since:
//! no log tells of one that nobody had used.

use kavachos_core::ledger::Outcome;
use kavachos_core::permission::PermissionSet;
use kavachos_store::{Batch, restoration};
use serde::Serialize;
use serde_json::json;

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;

/// What is remembered of a call that lifted a hold.
const HELD: &str = "held";

/// Humans on first mention are made again, and clients let in by their documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Admitted {
    /// Whether they had to wait until now.
    pub were_held: bool,
}

impl Engine {
    /// Has humans on first mention made again, who waited since a backup was put back that may not know of them; and clients let in
    /// that are known by their documents.
    ///
    /// # Errors
    /// `forbidden` without the scope `users:write`, or with a ceiling; those of the store. That nobody had to wait is
    /// none.
    pub async fn admit_humans(&self, actor: &Actor) -> Result<Issued<Admitted>> {
        let act = Act::new("tenant.admitted");
        self.change(actor, act, || self.plan_admission(actor)).await
    }

    async fn plan_admission(&self, actor: &Actor) -> Result<Plan<Issued<Admitted>>> {
        actor.require(Scope::UsersWrite)?;
        actor.require_owner_of_persons()?;
        actor.covers(&PermissionSet::everything())?;
        if let Some(done) = self.done_before(actor).await? {
            let were_held = done == HELD;
            return Ok(Plan::Done(Issued::replay(Admitted { were_held })));
        }
        let were_held = self.store().find(restoration::hold()).await?.is_some();
        let details = json!({ "wereHeld": were_held });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), "tenant.admitted", Outcome::Allowed, "done");
        record.details = Some(&details);
        let mut batch = Batch {
            reads: actor.reads(),
            writes: vec![restoration::lift()],
            entries: vec![self.seal(&record)?],
            ..Batch::default()
        };
        let told = if were_held { HELD } else { "" };
        self.claim_once(actor, &mut batch, told.to_owned());
        let admitted = Issued::without_token(Admitted { were_held });
        Ok(Plan::commit(batch, admitted))
    }

    /// Whether clients that are known by their documents wait.
    pub(crate) async fn documents_wait(&self) -> Result<bool> {
        Ok(self.store().find(restoration::hold()).await?.is_some())
    }

    /// Refuses to make a human on first mention while those wait.
    pub(crate) async fn refuse_first_mention(&self) -> Result<()> {
        match self.store().find(restoration::hold()).await? {
            None => Ok(()),
            Some(_) => Err(Error::Forbidden(
                "this human is not known here, and new ones wait: a backup was put back that may not know of those who \
                 were banned since, or allowed less. An operator has to confirm: all of them with `kavach user admit`, or this one by \
                 creating the user"
                    .to_owned(),
            )),
        }
    }
}
