//! Things that are created with a credential, and acts that may be repeated.

use std::ops::Deref;

use kavachos_core::secret::Secret;
use kavachos_store::{Batch, idempotency};

use crate::actor::Actor;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::revoked::Revoked;

/// A thing that was just created, with its credential, or what came of an act. Reads as the thing itself.
#[derive(Clone)]
pub struct Issued<T> {
    /// The thing.
    pub thing: T,
    /// Its credential in clear text, for this one time; `None` on a replay.
    pub token: Option<Secret>,
    /// It was done before under the same `Idempotency-Key`.
    pub replayed: bool,
}

impl<T> Issued<T> {
    pub(crate) fn new(thing: T, token: Secret) -> Self {
        Self {
            thing,
            token: Some(token),
            replayed: false,
        }
    }

    pub(crate) fn without_token(thing: T) -> Self {
        Self {
            thing,
            token: None,
            replayed: false,
        }
    }

    pub(crate) fn replay(thing: T) -> Self {
        Self {
            thing,
            token: None,
            replayed: true,
        }
    }

    /// The same answer about another thing.
    pub(crate) fn with<U>(self, thing: U) -> Issued<U> {
        Issued {
            thing,
            token: self.token,
            replayed: self.replayed,
        }
    }
}

impl<T> Deref for Issued<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}

impl Engine {
    /// What an earlier call with the same `Idempotency-Key` came to: the id of what it created, or when it was done.
    pub(crate) async fn done_before(&self, actor: &Actor) -> Result<Option<String>> {
        let Some(once) = actor.once else {
            return Ok(None);
        };
        match self.store().find(idempotency::lookup(once.slot)).await? {
            Some((request, _)) if request != once.request => Err(Error::IdempotencyMismatch),
            found => Ok(found.map(|(_, thing)| thing)),
        }
    }

    /// The answer that an earlier call with the same `Idempotency-Key` got, which stopped something or let it go on.
    pub(crate) async fn turned_before(&self, actor: &Actor) -> Result<Option<Issued<Revoked>>> {
        let Some(done) = self.done_before(actor).await? else {
            return Ok(None);
        };
        let effective_by = done.parse().map_err(Error::Invalid)?;
        // How far it has reached by now is told with every answer.
        Ok(Some(Issued::replay(Revoked::at(effective_by))))
    }

    /// Claims the caller's `Idempotency-Key` for what the batch creates or does.
    pub(crate) fn claim_once(&self, actor: &Actor, batch: &mut Batch, thing: String) {
        if let Some(once) = actor.once {
            batch.writes.push(idempotency::claim(
                once.slot,
                once.request,
                thing,
                self.now(),
            ));
        }
    }
}
