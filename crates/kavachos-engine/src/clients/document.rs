//! Clients that are known by the document at the address that is their id (draft-ietf-oauth-client-id-metadata-document).
//!
//! Promises: a document is fetched through the guarded fetcher alone, and for a human who is signed in; one fetch serves all who
//! wait; one host is asked at most ten times a minute. What was read is kept for as long as its host says, between five minutes and a
//! day, and what could not be read is not kept at all. A client that an operator denied stays denied, whatever its document says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kavachos_core::client::{ClientId, ClientMetadata};
use kavachos_core::principal::Status;
use kavachos_core::revocation::HandleKind;
use kavachos_core::time::Timestamp;
use kavachos_store::oauth_client::{self, ClientRow};
use kavachos_store::{Batch, handle};
use sha2::{Digest, Sha256};

use super::{Client, DOCUMENT};
use crate::act::Act;
use crate::actor::Actor;
use crate::bell::{Bell, Listener};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::fetch::{Fetch, FetchMethod, FetchUrl};
use crate::plugin::Allowance;
use crate::users::to_text;

/// The longest document.
const MAX_DOCUMENT_BYTES: usize = 5 * 1024;
/// For how long a document is kept whose host says less, or nothing.
const SHORTEST: Duration = Duration::from_secs(5 * 60);
/// For how long one is kept whose host says more.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// How often one host is asked.
const PER_HOST: Allowance = Allowance::new(10, Duration::from_secs(60));
/// How many documents are kept.
const MAX_KEPT: usize = 1_000;
/// How often one who waited for a fetch looks again.
const MAX_LOOKS: usize = 3;

/// What is known of documents.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// INVARIANT: at most [`MAX_KEPT`].
    known: Mutex<HashMap<ClientId, Known>>,
    bell: Bell,
}

#[derive(Debug, Default)]
struct Known {
    /// What was read, and until when it is kept.
    read: Option<(Arc<ClientMetadata>, Timestamp)>,
    is_asked: bool,
}

enum Look<'a> {
    Found(Arc<ClientMetadata>),
    Wait(Listener<'a>),
    Fetch(Asking<'a>),
    Crowded,
}

/// A fetch that is under way: however it ends, those who wait look again.
struct Asking<'a> {
    documents: &'a Documents,
    id: ClientId,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.documents.asked(&self.id);
    }
}

impl Documents {
    fn look(&self, id: &ClientId, now: Timestamp) -> Look<'_> {
        let mut known = self.known();
        if let Some(one) = known.get(id) {
            if let Some((read, _)) = one.read.as_ref().filter(|(_, until)| now < *until) {
                return Look::Found(Arc::clone(read));
            }
            if one.is_asked {
                return self
                    .bell
                    .listen(bell_of(id))
                    .map_or(Look::Crowded, Look::Wait);
            }
        }
        if known.len() >= MAX_KEPT {
            known.retain(|_, one| {
                one.is_asked || one.read.as_ref().is_some_and(|(_, until)| now < *until)
            });
            if known.len() >= MAX_KEPT {
                return Look::Crowded;
            }
        }
        known.entry(id.clone()).or_default().is_asked = true;
        Look::Fetch(Asking {
            documents: self,
            id: id.clone(),
        })
    }

    fn keep(&self, id: &ClientId, read: &Arc<ClientMetadata>, until: Timestamp) {
        if let Some(one) = self.known().get_mut(id) {
            one.read = Some((Arc::clone(read), until));
        }
    }

    fn asked(&self, id: &ClientId) {
        let mut known = self.known();
        if let Some(one) = known.get_mut(id) {
            one.is_asked = false;
            if one.read.is_none() {
                known.remove(id);
            }
        }
        drop(known);
        self.bell.ring(bell_of(id));
    }

    /// Nothing under the lock can leave it half written, so a poisoned lock is as good as any.
    fn known(&self) -> MutexGuard<'_, HashMap<ClientId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two clients that share a bell wake each other's waiters, who look again.
fn bell_of(id: &ClientId) -> u128 {
    let hash: [u8; 32] = Sha256::digest(id.as_str().as_bytes()).into();
    hash.first_chunk()
        .map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

impl Engine {
    /// The client with this id, which is looked up in its document if it is an address. The caller is a human who is signed in.
    ///
    /// # Errors
    /// [`Error::Unavailable`]-like refusals of a document that cannot be read now, and those of the store.
    pub async fn client_for(&self, actor: &Actor, id: &ClientId) -> Result<Option<Client>> {
        if !id.is_document() {
            return self.client(id).await;
        }
        let known = self
            .store()
            .find(oauth_client::by_id(id.to_string()))
            .await?;
        if known
            .as_ref()
            .is_some_and(|row| row.status != Status::Active)
        {
            return Ok(None);
        }
        let metadata = self.client_document(id).await?;
        self.change(actor, Act::new("client.read"), || {
            self.plan_document(actor, id, &metadata)
        })
        .await
    }

    async fn plan_document(
        &self,
        actor: &Actor,
        id: &ClientId,
        metadata: &Arc<ClientMetadata>,
    ) -> Result<Plan<Option<Client>>> {
        let known = self
            .store()
            .find(oauth_client::by_id(id.to_string()))
            .await?;
        let text = to_text(metadata.as_ref())?;
        let (row, is_new) = match known {
            Some(row) if row.status != Status::Active => return Ok(Plan::Done(None)),
            Some(row) if row.metadata == text => {
                return Ok(Plan::Done(Some(Client::of(&row)?)));
            }
            Some(row) => (
                ClientRow {
                    metadata: text,
                    ..row
                },
                false,
            ),
            None => {
                let row = ClientRow {
                    id: id.to_string(),
                    source: DOCUMENT.to_owned(),
                    metadata: text,
                    secret: None,
                    manager: None,
                    agent: None,
                    status: Status::Active,
                    mark: self.mark(HandleKind::Client),
                    version: 0,
                    created_at: self.now(),
                };
                (row, true)
            }
        };
        let kind = if is_new {
            "client.created"
        } else {
            "client.updated"
        };
        let entry = self.client_record(actor, kind, (&row, metadata))?;
        let client = Client::of(&row)?;
        let writes = match is_new {
            true => vec![oauth_client::insert(row.clone()), handle::born(row.mark)],
            false => vec![oauth_client::update(row)],
        };
        let batch = Batch {
            reads: actor.reads(),
            writes,
            entries: vec![entry],
            ..Batch::default()
        };
        Ok(Plan::commit(batch, Some(client)))
    }

    async fn client_document(&self, id: &ClientId) -> Result<Arc<ClientMetadata>> {
        for _ in 0..MAX_LOOKS {
            match self.documents().look(id, self.now()) {
                Look::Found(read) => return Ok(read),
                Look::Crowded => return Err(Error::Busy),
                Look::Wait(asked) => asked.await,
                Look::Fetch(asking) => {
                    let (read, age) = self.fetched_document(id).await?;
                    let read = Arc::new(read);
                    let until = self.now().plus(age);
                    asking.documents.keep(id, &read, until);
                    return Ok(read);
                }
            }
        }
        Err(Error::Busy)
    }

    /// What the document says now, and for how long that is kept.
    async fn fetched_document(&self, id: &ClientId) -> Result<(ClientMetadata, Duration)> {
        let unreadable = |why: String| {
            Error::WrongState(format!(
                "what the application says of itself at `{id}` cannot be read: {why}"
            ))
        };
        let url: FetchUrl = id
            .as_str()
            .parse()
            .map_err(|error: kavachos_core::invalid::Invalid| unreadable(error.to_string()))?;
        self.fetcher()
            .permits(&url)
            .map_err(|error| unreadable(error.to_string()))?;
        let host = format!("document:{}", url.authority());
        self.admit_one((&host, PER_HOST)).await?;
        let fetch = Fetch {
            url,
            method: FetchMethod::Get,
            headers: vec![("accept", "application/json".to_owned())],
            body: Vec::new(),
            max_answer_bytes: MAX_DOCUMENT_BYTES,
        };
        let fetched = self.fetcher().fetch(fetch).await;
        let fetched = fetched.map_err(|error| unreadable(error.to_string()))?;
        if fetched.status != 200 {
            return Err(unreadable(format!("its host answers {}", fetched.status)));
        }
        let read = ClientMetadata::of_document(id, &fetched.body);
        let read = read.map_err(|bad| unreadable(bad.message().to_owned()))?;
        let age = fetched.max_age.unwrap_or_default();
        Ok((read, age.clamp(SHORTEST, LONGEST)))
    }
}
