//! Requests that clients push before a browser comes with their name (RFC 9126).
//!
//! Promises: what is pushed cannot be read or changed on its way through a browser, and is let in for once at most.

use std::time::Duration;

use kavachos_core::client::ClientId;
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_core::token::Proof;
use kavachos_store::Batch;
use kavachos_store::pushed_request::{self, PushedRow};

use super::{Client, MAX_WAITING, source_of};
use crate::act::Act;
use crate::actor::Actor;
use crate::engine::{Engine, Plan};
use crate::error::Result;
use crate::plugin::{Allowance, Flood};

/// How long the browser may take to come.
pub const PUSHED_LIFE: Duration = Duration::from_secs(90);
/// How long the human may take who was asked in time.
const BEGUN_LIFE: Duration = Duration::from_secs(30 * 60);
/// How often requests are pushed, in a minute: clients that keep no secret are strangers.
const FLOOD: Flood = Flood {
    per_source: Allowance::new(60, Duration::from_secs(60)),
    overall: Allowance::new(6_000, Duration::from_secs(60)),
};

impl Engine {
    /// Keeps what a client asks for; the name by which a browser comes with it.
    ///
    /// # Errors
    /// Too many come; the proof was used.
    pub async fn push_request(
        &self,
        call: &Actor,
        client: &Client,
        (request, proof): (&str, Option<&Proof>),
    ) -> Result<Secret> {
        self.admit_client(call, client, ("push", FLOOD)).await?;
        let name = self.secret(SecretKind::Request);
        self.change(call, Act::new("authorization.pushed"), || async {
            self.refuse_used(proof).await?;
            let mut batch = Batch::default();
            let id = client.id.to_string();
            let waiting = pushed_request::waiting_of(id.clone(), self.now());
            if !client.is_nobody_else()
                && (self.store().find(waiting).await?)
                    .is_some_and(|(waiting,)| waiting >= MAX_WAITING)
            {
                let room = pushed_request::make_room(id.clone(), self.now());
                batch.writes.push(room);
            }
            batch.writes.push(pushed_request::insert(PushedRow {
                hash: name.hash(),
                client: id,
                source: source_of(call),
                request: request.to_owned(),
                expires_at: self.now().plus(PUSHED_LIFE),
            }));
            self.use_proof(proof, &mut batch);
            Ok(Plan::commit(batch, ()))
        })
        .await?;
        Ok(name)
    }

    /// What this client pushed under this name, if it is not over, and has not come to a code.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn pushed_request(
        &self,
        client: &ClientId,
        name: &Secret,
    ) -> Result<Option<(SecretHash, String)>> {
        let row = pushed_request::live(name.hash(), self.now());
        let row = self.store().find(row).await?;
        let row = row.filter(|row| row.client == client.as_str());
        Ok(row.map(|row| (row.hash, row.request)))
    }

    /// Gives the human time whose browser came with a request.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin_request(&self, request: SecretHash) -> Result<()> {
        let now = self.now();
        let begun = pushed_request::begin(request, now, now.plus(BEGUN_LIFE));
        let batch = Batch {
            writes: vec![begun],
            ..Batch::default()
        };
        self.store().commit(batch).await?;
        Ok(())
    }
}
