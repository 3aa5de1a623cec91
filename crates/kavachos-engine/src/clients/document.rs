//! Clients that are known by the document at the address that is their id (draft-ietf-oauth-client-id-metadata-document).
//!
//! Promises, of fetching:
//! - A document is fetched through the guarded fetcher alone, for a human who is signed in, and one fetch serves all who wait.
//! - One host is asked at most ten times a minute, whatever its port, and at most seven times for addresses that nobody here let
//!   in. One human has five fetched a minute and sixty an hour, so that nobody keeps others from a host alone, and strangers'
//!   addresses keep nobody from the clients that are in use. Who is over one of these limits takes nothing from the others.
//! - Few are fetched at once, two for one human and half of them at one host, so that the fetcher goes on with its other work;
//!   each for five seconds at most. Clients that somebody here let in have their own places among them.
//!
//! Of what was read:
//! - It counts if the answer is 200 itself (a redirect is none), has at most 5 KiB, and is a JSON object whose `client_id` is
//!   the address; with a name, with redirect addresses, without any secret ([`ClientMetadata::of_document`]).
//! - It is kept for as long as its host says, between five minutes and a day. What could not be read, because its host is
//!   silent, slow or wrong, is not kept at all, and nobody is let in by what was read before: its time is over.
//! - Why it could not be read is told to operators, in the log: whoever asked would learn what lies behind names and ports.
//!
//! Of what is stored: nothing, until a human says yes. The commit of their yes stores what the document says then, or
//! changes what was stored (`keep_client`). That is what is known of the client where no human is by, at the token endpoint,
//! its keys among it: a document that changes changes nothing there until some human says yes to what it is now, and everything
//! from then on, for the lines of all humans. One that vanishes lets nobody new in and ends nobody. Whoever has the host speaks
//! for the client, in this as in all; but nothing that a document says gives authority, and what a human is shown of it is asked
//! about anew. What was read before somebody said yes to something else replaces nothing (another process may have read it long
//! ago): it is read anew. What ends a client is its human, by its agent, or an operator.
//!
//! A client that an operator denied stays denied, whatever its document says, and whether they did before anybody used it or
//! after: its address is not even asked. So do all of a host (`https://app.example.com/*`, of every port), and every token that
//! was made for one of them is dead. Where a backup was put back that may not know of that, all clients that are known by
//! documents wait for an operator.

mod kept;

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::client::{ClientId, ClientMetadata, Source};
use kavachos_core::id::UserId;
use kavachos_core::invalid::Invalid;
use kavachos_core::principal::Status;
use kavachos_core::revocation::HandleKind;
use kavachos_store::oauth_client::{self, ClientRow};
use kavachos_store::{Batch, handle};

use self::kept::{Asked, Look, Place, Reading};
use super::{Client, DOCUMENT, changes_of};
use crate::act::Act;
use crate::actor::Actor;
use crate::compile;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::fetch::{Fetch, FetchError, FetchMethod, FetchUrl};
use crate::plugin::Allowance;
use crate::users::to_text;

pub(crate) use self::kept::Documents;

/// The longest document.
const MAX_DOCUMENT_BYTES: usize = 5 * 1024;
/// How long its host may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long a document is kept whose host says less, or nothing.
const SHORTEST: Duration = Duration::from_secs(5 * 60);
/// For how long one is kept whose host says more.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How often one host is asked.
const OF_HOST: Allowance = Allowance::new(10, MINUTE);
/// How often for what nobody here let in: the rest is for what somebody did.
const OF_HOST_UNKNOWN: Allowance = Allowance::new(7, MINUTE);
/// How many are fetched for one human: fewer than a host is asked for, so that it takes several to keep others from one.
const OF_HUMAN: Allowance = Allowance::new(5, MINUTE);
/// How many in the long run.
const OF_HUMAN_LONG: Allowance = Allowance::new(60, HOUR);
/// How often one who waited for a fetch looks again.
const MAX_LOOKS: usize = 3;

const LOOK: Act = Act::new("client.read");
const UNREADABLE: &str = "what the application says of itself cannot be read: its `client_id` has to be a public address that \
    answers 200 with a JSON document of at most 5 KiB, in which the same `client_id` stands; whoever runs this server finds the \
    reason in its log";
const DENIED: &str = "whoever runs this server does not let this application in";
const OUTDATED: &str =
    "what the application says of itself changed meanwhile: go back to it and begin anew";
const HELD: &str = "a backup was put back that may not know of applications that were denied since: whoever runs this server denies \
    those anew, and then lets all others in with `kavach user admit`";

/// A document that is wanted.
struct Wanted<'a> {
    id: &'a ClientId,
    url: FetchUrl,
    /// What is stored of it, if some human here let it in.
    stored: Option<Client>,
}

impl Wanted<'_> {
    /// Whether what was read may replace what is stored: it says the same, or was read when that was stored already.
    fn stands(&self, reading: &Reading) -> bool {
        self.stored.as_ref().is_none_or(|stored| {
            reading.version == stored.version || reading.metadata == stored.metadata
        })
    }
}

/// A fetch that is under way: however it ends, those who wait look again.
struct Asking {
    engine: Engine,
    id: ClientId,
    version: Option<u64>,
    asked: Arc<Asked>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.engine.documents().asked(&self.id);
    }
}

impl Asking {
    async fn run(self, url: FetchUrl, place: Place) {
        let host = url.host().to_string();
        let fetched = self.engine.fetched_document(&self.id, url).await;
        drop(place);
        let read = match fetched {
            Ok((metadata, age)) => {
                let version = self.version;
                let reading = Arc::new(Reading { metadata, version });
                let until = self.engine.now().plus(age);
                let documents = self.engine.documents();
                documents.keep((&self.id, &host), &reading, until);
                Some(reading)
            }
            Err(reason) => {
                note_unreadable(&self.id, &reason);
                None
            }
        };
        self.asked.get_or_init(|| read);
    }
}

fn note_unreadable(id: &ClientId, reason: &str) {
    tracing::warn!(client = %id, reason, "the document of a client cannot be read");
}

/// All that whoever asked is told, whatever the reason.
fn unreadable() -> Error {
    Error::WrongState(UNREADABLE.to_owned())
}

impl Engine {
    /// The client with this id, which is looked up in its document if it is an address. The caller is a human who is signed in.
    /// Nothing is stored of it before a human says yes to it.
    ///
    /// # Errors
    /// The document cannot be read now, or too many were; those of the store.
    pub async fn client_for(&self, actor: &Actor, id: &ClientId) -> Result<Option<Client>> {
        if !id.is_document() {
            return self.client(id).await;
        }
        let human = actor.own_account()?;
        let row = oauth_client::by_id(id.to_string());
        let row = self.store().find(row).await?;
        let is_denied = (row.as_ref()).is_some_and(|row| row.status != Status::Active);
        if is_denied || self.host_is_denied(id).await? {
            self.refused(actor, LOOK, Error::Forbidden(DENIED.to_owned()))
                .await?;
            return Ok(None);
        }
        if self.documents_wait().await? {
            let error = Error::WrongState(HELD.to_owned());
            return Err(self.refused(actor, LOOK, error).await?);
        }
        let url = match self.document_url(id) {
            Ok(url) => url,
            Err(reason) => {
                let error = self.refused(actor, LOOK, unreadable()).await?;
                note_unreadable(id, &reason);
                return Err(error);
            }
        };
        let stored = row.as_ref().map(Client::of).transpose()?;
        let wanted = Wanted { id, url, stored };
        let Some(reading) = self.client_document(human, &wanted).await? else {
            return Err(self.refused(actor, LOOK, unreadable()).await?);
        };
        Ok(Some(Client {
            id: id.clone(),
            source: Source::Document,
            metadata: reading.metadata.clone(),
            agent: None,
            secret: None,
            mark: row.map_or_else(|| self.mark(HandleKind::Client), |row| row.mark),
            version: reading.version,
        }))
    }

    /// Has the commit of a human's yes depend on the client and its host, and store what its document says if that is not stored
    /// yet.
    ///
    /// # Errors
    /// It is let in no more, or forgotten; it was read before what is stored; those of the store.
    pub(super) async fn keep_client(
        &self,
        actor: &Actor,
        client: &Client,
        batch: &mut Batch,
    ) -> Result<()> {
        if self.host_is_denied(&client.id).await? {
            return Err(Error::Forbidden(DENIED.to_owned()));
        }
        let host = client.id.all_of_host();
        let stands = host.map(|all| oauth_client::is_not_ended(all.to_string()));
        batch.writes.extend(stands);
        let text = to_text(&client.metadata)?;
        let row = oauth_client::by_id(client.id.to_string());
        let (kind, row) = match self.store().find(row).await? {
            Some(row) if row.status != Status::Active => {
                return Err(Error::Forbidden(DENIED.to_owned()));
            }
            Some(row) => {
                batch.reads.push(row.mark);
                if client.source != Source::Document || row.metadata == text {
                    return Ok(());
                }
                if client.version != Some(row.version) {
                    return Err(Error::WrongState(OUTDATED.to_owned()));
                }
                let before = compile::stored("metadata", &row.metadata)?;
                let row = ClientRow {
                    metadata: text,
                    ..row
                };
                batch.writes.push(oauth_client::update(row.clone()));
                batch.effects.extend(changes_of(&row.id));
                self.end_what_narrows((&row, &before, &client.metadata), batch);
                ("client.updated", row)
            }
            None if client.source != Source::Document => {
                return Err(Error::Forbidden(DENIED.to_owned()));
            }
            None => {
                let row = self.row_of(client, text);
                batch.writes.push(oauth_client::insert(row.clone()));
                batch.writes.push(handle::born(row.mark));
                ("client.created", row)
            }
        };
        let entry = self.client_record(actor, kind, (&row, &client.metadata))?;
        batch.entries.push(entry);
        Ok(())
    }

    fn row_of(&self, client: &Client, metadata: String) -> ClientRow {
        ClientRow {
            id: client.id.to_string(),
            source: DOCUMENT.to_owned(),
            metadata,
            secret: None,
            manager: None,
            agent: None,
            status: Status::Active,
            mark: client.mark,
            version: 0,
            created_at: self.now(),
        }
    }

    /// Where a document is, if anything may be fetched from there.
    fn document_url(&self, id: &ClientId) -> std::result::Result<FetchUrl, String> {
        let url: FetchUrl = (id.as_str().parse()).map_err(|error: Invalid| error.to_string())?;
        let permitted = self.fetcher().permits(&url);
        permitted.map_err(|error| error.to_string())?;
        Ok(url)
    }

    /// What the document says; `None` if it cannot be read.
    async fn client_document(
        &self,
        human: UserId,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Arc<Reading>>> {
        let _place = self.documents().place(human)?;
        for _ in 0..MAX_LOOKS {
            let (asked, rung) =
                match (self.documents()).look(wanted.id, |read| wanted.stands(read), self.now()) {
                    Look::Found(read) => return Ok(Some(read)),
                    Look::Crowded => return Err(Error::Busy),
                    Look::Wait(asked, rung) => (asked, rung),
                    Look::Fetch(asked, rung) => {
                        self.ask_host(human, wanted, &asked).await?;
                        (asked, rung)
                    }
                };
            rung.await;
            if let Some(read) = asked.get() {
                return Ok(read.clone());
            }
        }
        Err(Error::Busy)
    }

    /// Fetches aside, so that a caller who goes away takes nobody's document along.
    async fn ask_host(&self, human: UserId, wanted: &Wanted<'_>, asked: &Arc<Asked>) -> Result<()> {
        let asking = Asking {
            engine: self.clone(),
            id: wanted.id.clone(),
            version: wanted.stored.as_ref().and_then(|stored| stored.version),
            asked: Arc::clone(asked),
        };
        let is_known = wanted.stored.is_some();
        let host = wanted.url.host().to_string();
        let place = self.documents().seat(human, &host, is_known)?;
        let by = format!("document:by:{human}");
        let unknown = format!("document:unknown:{host}");
        let host = format!("document:{host}");
        let mut limits = vec![
            (by.as_str(), OF_HUMAN),
            (by.as_str(), OF_HUMAN_LONG),
            (host.as_str(), OF_HOST),
        ];
        if !is_known {
            limits.push((unknown.as_str(), OF_HOST_UNKNOWN));
        }
        self.admit_each(&limits).await?;
        let url = wanted.url.clone();
        self.spawn(asking.run(url, place));
        Ok(())
    }

    /// What the document says now, and for how long that is kept; or why it says nothing, which is not for strangers.
    async fn fetched_document(
        &self,
        id: &ClientId,
        url: FetchUrl,
    ) -> std::result::Result<(ClientMetadata, Duration), String> {
        let fetch = Fetch {
            url,
            method: FetchMethod::Get,
            headers: vec![("accept", "application/json".to_owned())],
            body: Vec::new(),
            max_answer_bytes: MAX_DOCUMENT_BYTES,
        };
        let fetched = self.within(PATIENCE, self.fetcher().fetch(fetch)).await;
        let fetched = fetched.unwrap_or(Err(FetchError::TimedOut));
        let fetched = fetched.map_err(|error| error.to_string())?;
        if fetched.status != 200 {
            return Err(format!("its host answers {}", fetched.status));
        }
        let read = ClientMetadata::of_document(id, &fetched.body);
        let read = read.map_err(|bad| bad.message().to_owned())?;
        let age = fetched.max_age.unwrap_or_default();
        Ok((read, age.clamp(SHORTEST, LONGEST)))
    }
}
