//! A client that signs who it is (RFC 7523, section 3), each time anew.

use std::time::Duration;

use kavachos_core::client::{Assertion, ClientId, Source, UnverifiedAssertion};
use kavachos_core::invalid::Invalid;
use kavachos_core::token::Failure;
use kavachos_store::{Batch, CommitError, id_token};

use super::{Client, UNKNOWN};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::plugin::Allowance;

/// How often a client shows who it is in a minute that no operator registered.
const OF_ANYBODY: Allowance = Allowance::new(120, Duration::from_secs(60));
/// The parameter that is wrong.
const FIELD: &str = "client_assertion";

impl Engine {
    /// The client that signed an assertion, which is used up. `named` is the client that the request says it is of, where it
    /// says it.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what is wrong with the assertion, [`Error::Unauthenticated`] that there is no such client with
    /// keys; those of the store.
    pub async fn client_with_assertion(&self, text: &str, named: Option<&str>) -> Result<Client> {
        let read = UnverifiedAssertion::split(text).map_err(|failure| wrong(&failure))?;
        let id = read.client().ok_or(UNKNOWN)?;
        if named.is_some_and(|named| named != id) {
            let message = "`client_id` is another client's than `sub` of the assertion";
            return Err(Invalid::at(FIELD, message).into());
        }
        let id: ClientId = id.parse().map_err(|_| UNKNOWN)?;
        let client = self.client(&id).await?.ok_or(UNKNOWN)?;
        let keys = client.metadata.jwks.as_ref().ok_or(UNKNOWN)?;
        let known = (&id, keys, self.rsa());
        let assertion = read
            .check(known, &self.settings().issuer, self.now())
            .map_err(|failure| wrong(&failure))?;
        // Each is a write; of clients that anybody may be there is an end to them.
        if client.source != Source::Operator {
            let own = format!("assertion:{id}");
            self.admit_one((&own, OF_ANYBODY)).await?;
        }
        self.use_assertion(&assertion).await?;
        Ok(client)
    }

    /// Remembered where providers' tokens are: of many at once, one is taken.
    async fn use_assertion(&self, assertion: &Assertion) -> Result<()> {
        let used = || -> Error {
            let message = "was used before, or made before this server was restored: sign one for each request";
            Invalid::at(FIELD, message).into()
        };
        let known = id_token::used(assertion.digest, assertion.made_at, self.now());
        if self.store().find(known).await?.is_some() {
            return Err(used());
        }
        let batch = Batch {
            writes: vec![id_token::use_once(assertion.digest, assertion.expires_at)],
            ..Batch::default()
        };
        match self.store().commit(batch).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict { .. }) => Err(used()),
            Err(error) => Err(error.into()),
        }
    }
}

fn wrong(failure: &Failure) -> Error {
    Invalid::at(FIELD, failure.message().to_owned()).into()
}
