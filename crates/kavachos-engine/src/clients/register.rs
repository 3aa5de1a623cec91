//! Clients are registered: by operators, who may let them do everything that clients do, and by themselves, where that is
//! let (RFC 7591), with what strangers get.

use std::time::Duration;

use kavachos_core::client::{ClientId, ClientMetadata};
use kavachos_core::id::{AgentId, RegisteredClientId};
use kavachos_core::principal::Status;
use kavachos_core::revocation::HandleKind;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::time::Timestamp;
use kavachos_store::oauth_client::{self, ClientRow, UnusedClient};
use kavachos_store::{Batch, Effect, handle};

use super::itself::check_agent;
use super::{ITSELF, OPERATOR, RegisteredClient, changes_of, source_of};
use crate::act::Act;
use crate::actor::{Actor, Caller, Scope};
use crate::compile;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::flood::Stranger;
use crate::issued::Issued;
use crate::plugin::{Allowance, Flood};
use crate::users::to_text;

/// Whether clients register themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Registration {
    /// Whoever comes.
    Open,
    /// Whoever shows an operator's key that registers clients.
    Token,
    /// Nobody.
    #[default]
    Off,
}

const HOUR: Duration = Duration::from_secs(60 * 60);
/// How often strangers of one network, or of one site where that has many networks, register in an hour without being counted
/// among all: however many others come, there is room for an honest one.
const FIRST: Allowance = Allowance::new(1, HOUR);
/// How often they may beside that: of one network, and all together.
const FLOOD: Flood = Flood {
    per_source: Allowance::new(19, HOUR),
    overall: Allowance::new(1_000, HOUR),
};
/// How often one client changes what it says of itself in an hour.
const CHANGES: Allowance = Allowance::new(10, HOUR);
/// How long a client is known that nobody lets in.
const UNUSED_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How many steps of forgetting them are made in an hour: 16,384 clients.
const STEPS_AT_ONCE: usize = 256;

/// A client that registered itself, with what only this answer shows.
#[derive(Clone)]
pub struct SelfRegistered {
    /// By what it is known.
    pub id: ClientId,
    /// What it says of itself, as it was taken.
    pub metadata: ClientMetadata,
    /// Since when.
    pub created_at: Timestamp,
    /// Its secret, if it shows one.
    pub secret: Option<Secret>,
}

/// A client to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClient {
    /// What it says of itself.
    pub metadata: ClientMetadata,
    /// The agent that it is when it asks for itself.
    pub agent: Option<AgentId>,
}

fn forgotten(clients: &[UnusedClient]) -> Vec<Effect> {
    clients.iter().flat_map(|one| changes_of(&one.id)).collect()
}

impl Engine {
    /// Registers a client, with a secret if it shows one.
    ///
    /// # Errors
    /// The caller may not; those of the store.
    pub async fn register_client(
        &self,
        actor: &Actor,
        new: &NewClient,
    ) -> Result<Issued<RegisteredClient>> {
        check_agent(&new.metadata, new.agent)?;
        let (secret, key) = (
            self.secret(SecretKind::Client),
            self.secret(SecretKind::Agent),
        );
        let id: RegisteredClientId = self.id();
        self.change(actor, Act::new("client.created"), || {
            self.plan_client(actor, new, (id, &secret, &key))
        })
        .await
    }

    async fn plan_client(
        &self,
        actor: &Actor,
        new: &NewClient,
        (id, secret, key): (RegisteredClientId, &Secret, &Secret),
    ) -> Result<Plan<Issued<RegisteredClient>>> {
        actor.require(Scope::ResourcesWrite)?;
        if let Some(done) = self.done_before(actor).await? {
            let row = self.store().find(oauth_client::by_id(done)).await?;
            let row = row.ok_or(Error::NotFound("client"))?;
            return Ok(Plan::Done(Issued::replay(RegisteredClient::of(row)?)));
        }
        let has_secret = new.metadata.token_endpoint_auth_method.has_secret();
        let row = self.new_client_row(id, OPERATOR, &new.metadata)?;
        let row = ClientRow {
            secret: has_secret.then(|| secret.hash()),
            agent: new.agent,
            ..row
        };
        let mut batch = self.client_born(actor, &row, &new.metadata)?;
        if let Some(agent) = new.agent {
            self.add_itself(actor, (&row.id, agent), key, &mut batch)
                .await?;
        }
        self.claim_once(actor, &mut batch, row.id.clone());
        let view = RegisteredClient::of(row)?;
        let issued = match has_secret {
            true => Issued::new(view, secret.clone()),
            false => Issued::without_token(view),
        };
        Ok(Plan::commit(batch, issued))
    }

    fn new_client_row(
        &self,
        id: RegisteredClientId,
        source: &'static str,
        metadata: &ClientMetadata,
    ) -> Result<ClientRow> {
        Ok(ClientRow {
            id: id.to_string(),
            source: source.to_owned(),
            metadata: to_text(metadata)?,
            secret: None,
            manager: None,
            agent: None,
            status: Status::Active,
            mark: self.mark(HandleKind::Client),
            version: 0,
            created_at: self.now(),
        })
    }

    fn client_born(
        &self,
        actor: &Actor,
        row: &ClientRow,
        metadata: &ClientMetadata,
    ) -> Result<Batch> {
        Ok(Batch {
            reads: actor.reads(),
            writes: vec![oauth_client::insert(row.clone()), handle::born(row.mark)],
            entries: vec![self.client_record(actor, "client.created", (row, metadata))?],
            ..Batch::default()
        })
    }

    /// Has a client register itself, as one that strangers may be; with the credential by which it changes what it says.
    ///
    /// # Errors
    /// Nobody registers here, or not without an operator's key; too many did.
    pub async fn register_itself(
        &self,
        call: &Actor,
        metadata: &ClientMetadata,
    ) -> Result<(SelfRegistered, Secret)> {
        match (self.settings().registration, &call.caller) {
            (Registration::Off, _) => return Err(Error::NotFound("endpoint")),
            (Registration::Open, _) => {}
            (Registration::Token, Caller::Operator(_)) => call.require(Scope::ResourcesWrite)?,
            (Registration::Token, _) => {
                return Err(Error::Unauthenticated(
                    "clients register here with an operator's key that has the scope `resources:write`",
                ));
            }
        }
        self.admit_registration(call).await?;
        let (secret, manager) = (
            self.secret(SecretKind::Client),
            self.secret(SecretKind::Registration),
        );
        let id: RegisteredClientId = self.id();
        let has_secret = metadata.token_endpoint_auth_method.has_secret();
        let row = ClientRow {
            secret: has_secret.then(|| secret.hash()),
            manager: Some(manager.hash()),
            ..self.new_client_row(id, ITSELF, metadata)?
        };
        self.change(call, Act::new("client.created"), || async {
            let mut batch = self.client_born(call, &row, metadata)?;
            self.make_room_for_client(&mut batch).await?;
            Ok(Plan::commit(batch, ()))
        })
        .await?;
        let made = SelfRegistered {
            id: id.into(),
            metadata: metadata.clone(),
            created_at: row.created_at,
            secret: has_secret.then_some(secret),
        };
        Ok((made, manager))
    }

    async fn admit_registration(&self, call: &Actor) -> Result<()> {
        let first = format!("register-first:{}", source_of(call));
        match self.admit_one((&first, FIRST)).await {
            Err(Error::TooManyCalls { .. }) => {
                self.admit_stranger(("register", FLOOD), Stranger::of(call))
                    .await?;
            }
            admitted => admitted?,
        }
        self.admit_done()
    }

    /// Where too many registered themselves lately, the oldest go that nobody let in.
    async fn make_room_for_client(&self, batch: &mut Batch) -> Result<()> {
        let since = self.now().minus(UNUSED_KEPT);
        let known = self.store().find(oauth_client::count_since(since)).await?;
        let known = known.map_or(0, |(count,)| count).saturating_add(1);
        let over = known.saturating_sub(self.settings().new_clients);
        if over == 0 {
            return Ok(());
        }
        let mut oldest = self
            .store()
            .list(oauth_client::oldest_unused(since))
            .await?;
        oldest.truncate(usize::try_from(over).unwrap_or(usize::MAX));
        if !oldest.is_empty() {
            batch.writes.extend(oauth_client::forget(&oldest));
            batch.effects.extend(forgotten(&oldest));
        }
        Ok(())
    }

    /// Removes clients that registered themselves, or whose document was read, and that nobody let in for a day. Nothing is
    /// written on record, as nothing was made for them.
    pub(crate) async fn forget_clients(&self) -> Result<()> {
        let before = self.now().minus(UNUSED_KEPT);
        for _ in 0..STEPS_AT_ONCE {
            let unused = self.store().list(oauth_client::unused(before)).await?;
            if unused.is_empty() {
                break;
            }
            let batch = Batch {
                writes: oauth_client::forget(&unused).into(),
                effects: forgotten(&unused),
                ..Batch::default()
            };
            self.store().commit(batch).await?;
        }
        Ok(())
    }

    /// The client that shows the credential by which it changes what it says of itself (RFC 7592).
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where it is another client's, or nobody's.
    pub async fn self_registered(&self, id: &ClientId, manager: &Secret) -> Result<SelfRegistered> {
        let row = self.managed(id, manager).await?;
        Ok(SelfRegistered {
            id: id.clone(),
            metadata: compile::stored("metadata", &row.metadata)?,
            created_at: row.created_at,
            secret: None,
        })
    }

    /// Each change is on record for ever, so there is an end to them.
    async fn admit_change(&self, call: &Actor, (id, manager): (&ClientId, &Secret)) -> Result<()> {
        self.managed(id, manager).await?;
        let own = format!("register-change:{id}");
        self.admit_one((&own, CHANGES)).await?;
        self.admit_stranger(("register-change", FLOOD), Stranger::of(call))
            .await?;
        self.admit_done()
    }

    async fn managed(&self, id: &ClientId, manager: &Secret) -> Result<ClientRow> {
        let row = self
            .store()
            .find(oauth_client::by_id(id.to_string()))
            .await?;
        let own =
            |row: &ClientRow| row.status == Status::Active && row.manager == Some(manager.hash());
        row.filter(own).ok_or(Error::Unauthenticated(
            "there is no client with this registration token",
        ))
    }

    /// Changes what a client says of itself, with what follows from that ([`Engine::change_client`]). For a client that nobody
    /// let in nothing was made, so that nothing is killed.
    ///
    /// # Errors
    /// Those of [`Engine::self_registered`].
    pub async fn change_itself(
        &self,
        call: &Actor,
        (id, manager): (&ClientId, &Secret),
        metadata: &ClientMetadata,
    ) -> Result<SelfRegistered> {
        self.admit_change(call, (id, manager)).await?;
        self.change(call, Act::new("client.updated"), || async {
            let row = self.managed(id, manager).await?;
            let view = SelfRegistered {
                id: id.clone(),
                metadata: metadata.clone(),
                created_at: row.created_at,
                secret: None,
            };
            let next = ClientRow {
                metadata: to_text(metadata)?,
                ..row.clone()
            };
            if next == row {
                return Ok(Plan::Done(view));
            }
            let entry = self.client_record(call, "client.updated", (&next, metadata))?;
            let before: ClientMetadata = compile::stored("metadata", &row.metadata)?;
            let mut batch = Batch {
                writes: vec![oauth_client::update(next.clone())],
                effects: changes_of(&next.id),
                entries: vec![entry],
                ..Batch::default()
            };
            let unused = oauth_client::unused_one(id.to_string());
            if self.store().find(unused).await?.is_none() {
                self.end_what_narrows((&next, &before, metadata), &mut batch);
            }
            Ok(Plan::commit(batch, view))
        })
        .await
    }

    /// Ends a client that registered itself, with every token that was made for it. One that nobody let in is removed, and leaves
    /// no revocation.
    ///
    /// # Errors
    /// Those of [`Engine::self_registered`].
    pub async fn remove_itself(
        &self,
        call: &Actor,
        (id, manager): (&ClientId, &Secret),
    ) -> Result<()> {
        self.admit_change(call, (id, manager)).await?;
        self.change(call, Act::new("client.revoked"), || async {
            let row = self.managed(id, manager).await?;
            let unused = oauth_client::unused_one(id.to_string());
            let batch = match self.store().find(unused).await? {
                None => self.client_ended(call, "client.revoked", row)?,
                Some(unused) => {
                    let metadata = compile::stored("metadata", &row.metadata)?;
                    let about = (&row, &metadata);
                    Batch {
                        writes: oauth_client::remove(&unused).into(),
                        effects: changes_of(&unused.id),
                        entries: vec![self.client_record(call, "client.removed", about)?],
                        ..Batch::default()
                    }
                }
            };
            Ok(Plan::commit(batch, ()))
        })
        .await
    }
}
