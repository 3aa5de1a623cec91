//! The value that an application holds.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Extensions;
use futures_util::stream::Stream;
use kavachos_core::id::{
    AgentId, ApprovalId, AuditId, GrantId, KeyId, SessionId, ToolServerId, UserId, WebhookId,
};
use kavachos_core::principal::Role;
use kavachos_engine::actor::Actor;
use kavachos_engine::page::{Page, PageOf};
use kavachos_engine::{
    Admitted, Agent, AgentChange, AgentFilter, Approval, ApprovalFilter, AuditExport, AuditFilter,
    AuditFormat, AuditRecord, Authority, Ban, Decision, Delegation, DryRun, Edited, Engine, Error,
    GrantFilter, Imported, Issued, Key, KeyChange, LedgerRoot, MadeWebhook, NewToolServer,
    NewWebhook, PathKey, Proofs, Question, Recorded, Redelivery, Result, Revoked, RotatedSecret,
    Session, TenantExport, Tested, ToolServer, ToolServerChange, User, UserChange, UserFilter,
    Webhook, WebhookChange,
};
use kavachos_http::State;

use crate::ask::{NewAgent, NewDelegation, NewKey, NewUser, Request};
use crate::builder::Builder;

/// One tenant: its database, its decisions, its ledger, its HTTP API. Cheap to clone.
///
/// Calls made here come from the program itself: they may do everything, and stand in the ledger as `system`. Callers
/// from outside authenticate at [`Kavach::service`], or with [`Engine::authenticate`].
#[derive(Clone)]
pub struct Kavach {
    engine: Engine,
    http: kavachos_http::Options,
}

impl Kavach {
    /// Begins to build one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(engine: Engine, http: kavachos_http::Options) -> Self {
        Self { engine, http }
    }

    /// May this agent do this now? The answer is on record when it comes.
    ///
    /// # Errors
    /// The request cannot be read, or nothing could be decided or recorded. A denial is no error.
    pub async fn authorize(&self, agent: &AgentId, request: Request) -> Result<Decision> {
        let question = question(agent, request)?;
        self.engine.authorize(&self.actor(), &question).await
    }

    /// Why this agent may or may not do this now: every path, hop and permission. Nothing is decided.
    ///
    /// # Errors
    /// See [`Engine::dry_run`].
    pub async fn explain(&self, agent: &AgentId, request: Request) -> Result<DryRun> {
        let question = question(agent, request)?;
        self.engine.dry_run(&self.actor(), &question).await
    }

    /// Humans.
    pub fn users(&self) -> Users<'_> {
        Users(self)
    }

    /// Agents.
    pub fn agents(&self) -> Agents<'_> {
        Agents(self)
    }

    /// Delegations.
    pub fn delegations(&self) -> Delegations<'_> {
        Delegations(self)
    }

    /// What agents ask humans for.
    pub fn approvals(&self) -> Approvals<'_> {
        Approvals(self)
    }

    /// Operator keys, for callers of the HTTP API.
    pub fn keys(&self) -> Keys<'_> {
        Keys(self)
    }

    /// Tool servers, which may ask about their own audience.
    pub fn tool_servers(&self) -> ToolServers<'_> {
        ToolServers(self)
    }

    /// The ledger.
    pub fn audit(&self) -> Audit<'_> {
        Audit(self)
    }

    /// Webhooks.
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks(self)
    }

    /// Writes the whole tenant down, line by line: the hashes of all credentials too.
    ///
    /// # Errors
    /// See [`Engine::export_tenant`].
    pub async fn export(&self) -> Result<TenantExport> {
        self.engine.export_tenant(&self.actor()).await
    }

    /// Fills this tenant, which must be empty, with what [`Kavach::export`] wrote of another: all of it, or nothing.
    ///
    /// # Errors
    /// See [`Engine::import_tenant`].
    pub async fn import<S, B, E>(&self, lines: S) -> Result<Imported>
    where
        S: Stream<Item = std::result::Result<B, E>> + Send,
        B: AsRef<[u8]> + Send,
        E: Send,
    {
        self.engine.import_tenant(&self.actor(), lines, None).await
    }

    /// The same, of a file whose ledger must come to this root.
    ///
    /// # Errors
    /// See [`Engine::import_tenant`].
    pub async fn import_expecting<S, B, E>(&self, root: LedgerRoot, lines: S) -> Result<Imported>
    where
        S: Stream<Item = std::result::Result<B, E>> + Send,
        B: AsRef<[u8]> + Send,
        E: Send,
    {
        let root = Some(root);
        self.engine.import_tenant(&self.actor(), lines, root).await
    }

    /// The HTTP API, to serve alone or as the fallback of other routes.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: without the address of the other end every
    /// rule about addresses fails.
    pub fn service(&self) -> Router {
        kavachos_http::router(self.state())
    }

    /// What [`Kavach::service`] is made of, for servers that answer themselves what comes too late.
    #[doc(hidden)]
    pub fn state(&self) -> State {
        State::new(self.engine.clone(), self.http.clone(), peer)
    }

    /// The use cases, for callers that this program authenticates itself.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Commits what is queued and closes the database.
    pub async fn close(&self) {
        self.engine.close().await;
    }

    fn actor(&self) -> Actor {
        Actor::local(self.engine.id())
    }
}

fn question(agent: &AgentId, request: Request) -> Result<Question> {
    let (request, on_behalf_of) = request.read()?;
    Ok(Question {
        agent: Some(*agent),
        on_behalf_of,
        request,
        presented: None,
        shown: None,
    })
}

fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|ConnectInfo(address)| *address)
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a>(&'a Kavach);

        impl $name<'_> {
            fn engine(&self) -> &Engine {
                &self.0.engine
            }

            fn actor(&self) -> Actor {
                self.0.actor()
            }
        }
    )*};
}

handles! {
    /// What can be done with humans.
    Users;
    /// What can be done with agents.
    Agents;
    /// What can be done with delegations.
    Delegations;
    /// What can be done with requests for approval.
    Approvals;
    /// What can be done with operator keys.
    Keys;
    /// What can be done with tool servers.
    ToolServers;
    /// What can be read of the ledger.
    Audit;
    /// What can be done with webhooks.
    Webhooks;
}

impl Users<'_> {
    /// Creates a human.
    ///
    /// # Errors
    /// See [`Engine::create_user`].
    pub async fn create(&self, new: NewUser) -> Result<Issued<User>> {
        self.engine().create_user(&self.actor(), &new.read()?).await
    }

    /// One human.
    ///
    /// # Errors
    /// See [`Engine::user`].
    pub async fn show(&self, id: &UserId) -> Result<User> {
        self.engine().user(&self.actor(), *id).await
    }

    /// Humans, newest first.
    ///
    /// # Errors
    /// See [`Engine::users`].
    pub async fn list(&self, page: PageOf<UserId>) -> Result<Page<User, UserId>> {
        self.search(&UserFilter::default(), page).await
    }

    /// The humans that the filter leaves, newest first.
    ///
    /// # Errors
    /// See [`Engine::users`].
    pub async fn search(
        &self,
        filter: &UserFilter,
        page: PageOf<UserId>,
    ) -> Result<Page<User, UserId>> {
        self.engine().users(&self.actor(), filter, page).await
    }

    /// Changes a human.
    ///
    /// # Errors
    /// See [`Engine::change_user`].
    pub async fn update(&self, id: &UserId, change: &UserChange) -> Result<Edited<User>> {
        self.engine().change_user(&self.actor(), *id, change).await
    }

    /// Stops a human and everything below until they are unbanned.
    ///
    /// # Errors
    /// See [`Engine::ban_user`].
    pub async fn ban(&self, id: &UserId) -> Result<Revoked> {
        self.ban_as(id, &Ban::default()).await
    }

    /// Stops a human and everything below, until this ban ends by itself or they are unbanned.
    ///
    /// # Errors
    /// See [`Engine::ban_user`].
    pub async fn ban_as(&self, id: &UserId, ban: &Ban) -> Result<Revoked> {
        let banned = self.engine().ban_user(&self.actor(), *id, ban).await?;
        Ok(banned.thing)
    }

    /// Gives a human a role, or takes it away. Their sessions end.
    ///
    /// # Errors
    /// See [`Engine::set_role`].
    pub async fn set_role(&self, id: &UserId, role: Role) -> Result<Revoked> {
        let set = self.engine().set_role(&self.actor(), *id, role).await?;
        Ok(set.thing)
    }

    /// Has a human set a new password by mail before a password alone signs them in again. Their sessions end.
    ///
    /// # Errors
    /// See [`Engine::require_reset`].
    pub async fn require_reset(&self, id: &UserId) -> Result<Revoked> {
        let required = self.engine().require_reset(&self.actor(), *id).await?;
        Ok(required.thing)
    }

    /// Takes off what a human has of these methods and lost; of none named, codes of an app. Their sessions end.
    ///
    /// # Errors
    /// See [`Engine::remove_factors`].
    pub async fn remove_factors(&self, id: &UserId, methods: Option<&[String]>) -> Result<Revoked> {
        let actor = self.actor();
        let removed = self.engine().remove_factors(&actor, *id, methods).await?;
        Ok(removed.thing)
    }

    /// Ends all sessions of a human.
    ///
    /// # Errors
    /// See [`Engine::revoke_sessions`].
    pub async fn revoke_sessions(&self, id: &UserId) -> Result<Revoked> {
        self.engine().revoke_sessions(&self.actor(), *id).await
    }

    /// Opens a session in which this program acts in a human's name, for an hour at the most.
    ///
    /// # Errors
    /// See [`Engine::impersonate`].
    pub async fn impersonate(&self, id: &UserId, reason: &str) -> Result<Issued<Session>> {
        self.engine().impersonate(&self.actor(), *id, reason).await
    }

    /// Lets a banned human's grants live again.
    ///
    /// # Errors
    /// See [`Engine::unban_user`].
    pub async fn unban(&self, id: &UserId) -> Result<User> {
        Ok(self.engine().unban_user(&self.actor(), *id).await?.thing)
    }

    /// Has humans on first mention made again, who waited since a backup was put back.
    ///
    /// # Errors
    /// See [`Engine::admit_humans`].
    pub async fn admit(&self) -> Result<Admitted> {
        Ok(self.engine().admit_humans(&self.actor()).await?.thing)
    }

    /// Opens a session for a human who proved to this program who they are.
    ///
    /// # Errors
    /// See [`Engine::open_session`].
    pub async fn open_session(&self, id: &UserId) -> Result<Issued<Session>> {
        self.engine().open_session(&self.actor(), *id).await
    }

    /// A human's sessions, newest first.
    ///
    /// # Errors
    /// See [`Engine::sessions`].
    pub async fn sessions(
        &self,
        id: &UserId,
        page: PageOf<SessionId>,
    ) -> Result<Page<Session, SessionId>> {
        self.engine().sessions(&self.actor(), *id, page).await
    }

    /// Ends a session for good.
    ///
    /// # Errors
    /// See [`Engine::revoke_session`].
    pub async fn revoke_session(&self, id: &SessionId) -> Result<Revoked> {
        self.engine().revoke_session(&self.actor(), *id).await
    }

    /// Deletes a human for good and stops everything below.
    ///
    /// # Errors
    /// See [`Engine::delete_user`].
    pub async fn delete(&self, id: &UserId) -> Result<Revoked> {
        self.engine().delete_user(&self.actor(), *id).await
    }
}

impl Agents<'_> {
    /// Creates an agent with its key.
    ///
    /// # Errors
    /// See [`Engine::create_agent`].
    pub async fn create(&self, new: NewAgent) -> Result<Issued<Agent>> {
        self.engine()
            .create_agent(&self.actor(), &new.read()?, &Proofs::default())
            .await
    }

    /// One agent.
    ///
    /// # Errors
    /// See [`Engine::agent`].
    pub async fn show(&self, id: &AgentId) -> Result<Agent> {
        self.engine().agent(&self.actor(), *id).await
    }

    /// Agents, newest first.
    ///
    /// # Errors
    /// See [`Engine::agents`].
    pub async fn list(
        &self,
        filter: AgentFilter,
        page: PageOf<AgentId>,
    ) -> Result<Page<Agent, AgentId>> {
        self.engine().agents(&self.actor(), filter, page).await
    }

    /// What an agent may do, path by path.
    ///
    /// # Errors
    /// See [`Engine::authority`].
    pub async fn permissions(
        &self,
        id: &AgentId,
        page: PageOf<PathKey>,
    ) -> Result<Page<Authority, PathKey>> {
        self.engine().authority(&self.actor(), *id, page).await
    }

    /// Changes an agent.
    ///
    /// # Errors
    /// See [`Engine::change_agent`].
    pub async fn update(&self, id: &AgentId, change: &AgentChange) -> Result<Edited<Agent>> {
        self.engine().change_agent(&self.actor(), *id, change).await
    }

    /// Gives an agent a new key; the old one is dead at once.
    ///
    /// # Errors
    /// See [`Engine::rotate_agent`].
    pub async fn rotate(&self, id: &AgentId) -> Result<Issued<Agent>> {
        self.engine().rotate_agent(&self.actor(), *id, None).await
    }

    /// Stops an agent and everything below until it is resumed.
    ///
    /// # Errors
    /// See [`Engine::suspend_agent`].
    pub async fn suspend(&self, id: &AgentId) -> Result<Revoked> {
        Ok(self.engine().suspend_agent(&self.actor(), *id).await?.thing)
    }

    /// Lets a suspended agent go on; it needs a new key.
    ///
    /// # Errors
    /// See [`Engine::resume_agent`].
    pub async fn resume(&self, id: &AgentId) -> Result<Agent> {
        Ok(self.engine().resume_agent(&self.actor(), *id).await?.thing)
    }

    /// Stops an agent and everything below for good.
    ///
    /// # Errors
    /// See [`Engine::revoke_agent`].
    pub async fn revoke(&self, id: &AgentId) -> Result<Revoked> {
        self.engine().revoke_agent(&self.actor(), *id).await
    }
}

impl Delegations<'_> {
    /// Gives a part of one agent's authority to another.
    ///
    /// # Errors
    /// See [`Engine::delegate`].
    pub async fn create(&self, new: NewDelegation) -> Result<Issued<Delegation>> {
        self.engine()
            .delegate(&self.actor(), &new.read()?, None)
            .await
    }

    /// One grant.
    ///
    /// # Errors
    /// See [`Engine::delegation`].
    pub async fn show(&self, id: &GrantId) -> Result<Delegation> {
        self.engine().delegation(&self.actor(), *id).await
    }

    /// Grants, newest first.
    ///
    /// # Errors
    /// See [`Engine::delegations`].
    pub async fn list(
        &self,
        filter: GrantFilter,
        page: PageOf<GrantId>,
    ) -> Result<Page<Delegation, GrantId>> {
        self.engine().delegations(&self.actor(), filter, page).await
    }

    /// Stops a grant and everything below for good.
    ///
    /// # Errors
    /// See [`Engine::revoke_delegation`].
    pub async fn revoke(&self, id: &GrantId) -> Result<Revoked> {
        self.engine().revoke_delegation(&self.actor(), *id).await
    }
}

impl Approvals<'_> {
    /// One request.
    ///
    /// # Errors
    /// See [`Engine::approval`].
    pub async fn show(&self, id: &ApprovalId) -> Result<Approval> {
        self.engine().approval(&self.actor(), *id).await
    }

    /// Requests, newest first.
    ///
    /// # Errors
    /// See [`Engine::approvals`].
    pub async fn list(
        &self,
        filter: ApprovalFilter,
        page: PageOf<ApprovalId>,
    ) -> Result<Page<Approval, ApprovalId>> {
        self.engine().approvals(&self.actor(), filter, page).await
    }

    /// Waits until a request is answered or over, at most this long.
    ///
    /// # Errors
    /// See [`Engine::answered_approval`].
    pub async fn wait(&self, id: &ApprovalId, at_most: Duration) -> Result<Approval> {
        self.engine()
            .answered_approval(&self.actor(), *id, at_most)
            .await
    }

    /// Says yes to exactly the call with this digest, once. The program vouches that a human did.
    ///
    /// # Errors
    /// See [`Engine::approve`].
    pub async fn approve(&self, id: &ApprovalId, digest: &str) -> Result<Approval> {
        Ok(self
            .engine()
            .approve(&self.actor(), *id, digest)
            .await?
            .thing)
    }

    /// Says no.
    ///
    /// # Errors
    /// See [`Engine::deny`].
    pub async fn deny(&self, id: &ApprovalId) -> Result<Approval> {
        Ok(self.engine().deny(&self.actor(), *id).await?.thing)
    }
}

impl Keys<'_> {
    /// Makes a key.
    ///
    /// # Errors
    /// See [`Engine::create_key`].
    pub async fn create(&self, new: NewKey) -> Result<Issued<Key>> {
        self.engine().create_key(&self.actor(), &new.read()?).await
    }

    /// One key, without the key itself.
    ///
    /// # Errors
    /// See [`Engine::key`].
    pub async fn show(&self, id: &KeyId) -> Result<Key> {
        self.engine().key(&self.actor(), *id).await
    }

    /// Keys, newest first.
    ///
    /// # Errors
    /// See [`Engine::keys`].
    pub async fn list(&self, page: PageOf<KeyId>) -> Result<Page<Key, KeyId>> {
        self.engine().keys(&self.actor(), page).await
    }

    /// Changes a key.
    ///
    /// # Errors
    /// See [`Engine::change_key`].
    pub async fn update(&self, id: &KeyId, change: &KeyChange) -> Result<Edited<Key>> {
        self.engine().change_key(&self.actor(), *id, change).await
    }

    /// Revokes a key for good.
    ///
    /// # Errors
    /// See [`Engine::revoke_key`].
    pub async fn revoke(&self, id: &KeyId) -> Result<Revoked> {
        self.engine().revoke_key(&self.actor(), *id).await
    }
}

impl ToolServers<'_> {
    /// Registers a tool server with its key.
    ///
    /// # Errors
    /// See [`Engine::register_tool_server`].
    pub async fn register(&self, new: &NewToolServer) -> Result<Issued<ToolServer>> {
        self.engine().register_tool_server(&self.actor(), new).await
    }

    /// One tool server, without its key.
    ///
    /// # Errors
    /// See [`Engine::tool_server`].
    pub async fn show(&self, id: &ToolServerId) -> Result<ToolServer> {
        self.engine().tool_server(&self.actor(), *id).await
    }

    /// Tool servers, newest first.
    ///
    /// # Errors
    /// See [`Engine::tool_servers`].
    pub async fn list(&self, page: PageOf<ToolServerId>) -> Result<Page<ToolServer, ToolServerId>> {
        self.engine().tool_servers(&self.actor(), page).await
    }

    /// Changes a tool server.
    ///
    /// # Errors
    /// See [`Engine::change_tool_server`].
    pub async fn update(
        &self,
        id: &ToolServerId,
        change: &ToolServerChange,
    ) -> Result<Edited<ToolServer>> {
        self.engine()
            .change_tool_server(&self.actor(), *id, change)
            .await
    }

    /// Revokes a tool server and its key for good.
    ///
    /// # Errors
    /// See [`Engine::revoke_tool_server`].
    pub async fn revoke(&self, id: &ToolServerId) -> Result<Revoked> {
        self.engine().revoke_tool_server(&self.actor(), *id).await
    }
}

impl Audit<'_> {
    /// Why a decision on record went as it did.
    ///
    /// # Errors
    /// See [`Engine::explain_recorded`].
    pub async fn explain(&self, id: &AuditId) -> Result<Recorded> {
        self.engine().explain_recorded(&self.actor(), *id).await
    }

    /// Records, newest first.
    ///
    /// # Errors
    /// See [`Engine::audit`].
    pub async fn query(
        &self,
        filter: &AuditFilter,
        page: PageOf<u64>,
    ) -> Result<Page<AuditRecord, u64>> {
        self.engine().audit(&self.actor(), filter, page).await
    }

    /// Every record that the filter leaves, oldest first, without a cap. That they were handed out is a record too.
    ///
    /// # Errors
    /// See [`Engine::export_audit`].
    pub async fn export(&self, filter: &AuditFilter, format: AuditFormat) -> Result<AuditExport> {
        self.engine()
            .export_audit(&self.actor(), filter, format)
            .await
    }

    /// One record.
    ///
    /// # Errors
    /// See [`Engine::audit_record`].
    pub async fn show(&self, id: &AuditId) -> Result<AuditRecord> {
        self.engine().audit_record(&self.actor(), *id).await
    }
}

impl Webhooks<'_> {
    /// Makes a webhook, with its secret.
    ///
    /// # Errors
    /// See [`Engine::create_webhook`].
    pub async fn create(&self, new: &NewWebhook) -> Result<MadeWebhook> {
        self.engine().create_webhook(&self.actor(), new).await
    }

    /// One webhook.
    ///
    /// # Errors
    /// See [`Engine::webhook`].
    pub async fn show(&self, id: &WebhookId) -> Result<Webhook> {
        self.engine().webhook(&self.actor(), *id).await
    }

    /// Webhooks, newest first.
    ///
    /// # Errors
    /// See [`Engine::webhooks`].
    pub async fn list(&self, page: PageOf<WebhookId>) -> Result<Page<Webhook, WebhookId>> {
        self.engine().webhooks(&self.actor(), page).await
    }

    /// Changes a webhook, pauses it, or lets it go on.
    ///
    /// # Errors
    /// See [`Engine::change_webhook`].
    pub async fn update(&self, id: &WebhookId, change: &WebhookChange) -> Result<Webhook> {
        self.engine()
            .change_webhook(&self.actor(), *id, change)
            .await
    }

    /// Gives a webhook a new secret; for a day messages are signed with the old one too.
    ///
    /// # Errors
    /// See [`Engine::rotate_webhook`].
    pub async fn rotate(&self, id: &WebhookId) -> Result<RotatedSecret> {
        self.engine().rotate_webhook(&self.actor(), *id, None).await
    }

    /// Sends a message of its own at once.
    ///
    /// # Errors
    /// See [`Engine::test_webhook`].
    pub async fn test(&self, id: &WebhookId) -> Result<Tested> {
        let tested = self.engine().test_webhook(&self.actor(), *id).await?;
        Ok(tested.thing)
    }

    /// Tells of one record again, or of everything that was given up.
    ///
    /// # Errors
    /// See [`Engine::redeliver`].
    pub async fn redeliver(&self, id: &WebhookId, audit: Option<AuditId>) -> Result<Redelivery> {
        let told = self.engine().redeliver(&self.actor(), *id, audit).await?;
        Ok(told.thing)
    }

    /// Deletes a webhook.
    ///
    /// # Errors
    /// See [`Engine::delete_webhook`].
    pub async fn delete(&self, id: &WebhookId) -> Result<Revoked> {
        self.engine().delete_webhook(&self.actor(), *id).await
    }
}

/// A misspelt pattern or name in a builder call is an error of the call that uses it.
pub(crate) fn deferred<T>(
    value: std::result::Result<T, kavachos_core::invalid::Invalid>,
) -> Result<T> {
    value.map_err(Error::Invalid)
}
