//! A human lets a client in: what they said yes to before, and what becomes of a yes.

use std::time::Duration;

use kavachos_core::action::Actions;
use kavachos_core::client::{RedirectKind, RedirectUri, Source};
use kavachos_core::constraint::Constraints;
use kavachos_core::grant::TokenUses;
use kavachos_core::hex;
use kavachos_core::id::{AgentId, UserId};
use kavachos_core::ledger::{Entry, Outcome};
use kavachos_core::permission::{Permission, PermissionSet};
use kavachos_core::principal::{Owner, Status};
use kavachos_core::revocation::Mark;
use kavachos_core::secret::{Secret, SecretHash, SecretKind};
use kavachos_store::agent::{self, AgentRow};
use kavachos_store::connection::{self, ConnectionRow, ConsentRow};
use kavachos_store::pushed_request;
use kavachos_store::user::UserRow;
use kavachos_store::{Batch, handle};
use serde_json::{Value, json};

use super::Client;
use super::access::{Access, Way};
use super::device::{ALLOWED, DENIED};
use crate::act::Act;
use crate::actor::Actor;
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::grants::Ask;
use crate::lifecycle::AgentChange;
use crate::plugin::Allowance;
use crate::users::raised;

/// How often one human lets clients in, in an hour, and how often they say no.
const SPOKEN: Allowance = Allowance::new(60, Duration::from_secs(60 * 60));
/// How often one client comes in by what one human said before, in an hour.
const REMEMBERED: Allowance = Allowance::new(60, Duration::from_secs(60 * 60));

/// By whose word a client is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Yes {
    /// The human's, just now.
    Spoken,
    /// What they said before. It gives nothing that the client does not have.
    Remembered,
}

/// The agent that a client is already.
struct Connected {
    row: AgentRow,
    /// What it may do; `None` where that is over for good.
    held: Option<PermissionSet>,
    /// The grant of that.
    grant: Mark,
}

/// An agent with its human.
type Granted = (AgentRow, UserRow);

impl Engine {
    /// Whether the human said yes to all of this before, so that they need not be asked again: they have not narrowed it since.
    async fn is_consented(&self, known: &Connected, access: &Access) -> Result<bool> {
        let Connected {
            row,
            held: Some(held),
            ..
        } = known
        else {
            return Ok(false);
        };
        let holds_all = held.covers_all(&permissions_of(access, None)?).is_ok();
        if !access.is_remembered() || row.status != Status::Active || !holds_all {
            return Ok(false);
        }
        let consents = self.store().list(connection::consents_of(row.id)).await?;
        let fingerprint = access.client.fingerprint();
        Ok(access.targets.iter().all(|target| {
            let consent = consents
                .iter()
                .find(|consent| consent.server == target.server);
            consent.is_some_and(|consent| {
                let given: Vec<&str> = consent.scopes.split(' ').collect();
                consent.fingerprint == fingerprint
                    && (target.scopes.iter()).all(|scope| given.contains(&scope.name.as_str()))
            })
        }))
    }

    /// Whether the client is an agent of the human who calls.
    ///
    /// # Errors
    /// Those of the store; the caller is no human.
    pub async fn is_connected(&self, actor: &Actor, client: &Client) -> Result<bool> {
        let row = connection::between(actor.own_account()?, client.id.to_string());
        Ok(self.store().find(row).await?.is_some())
    }

    async fn connected(&self, user: UserId, client: &Client) -> Result<Option<Connected>> {
        let row = connection::between(user, client.id.to_string());
        let Some(known) = self.store().find(row).await? else {
            return Ok(None);
        };
        let row = self.agent_row(known.agent).await?;
        let grant = self.grant_row(row.root_grant).await?;
        let now = self.now();
        let is_over = |end: Option<_>| end.is_some_and(|end| end <= now);
        let lives = grant.status != Status::Revoked
            && !is_over(grant.expires_at)
            && !is_over(row.expires_at);
        let held = match lives {
            true => Some(compile::grant(&grant)?.terms().permissions),
            false => None,
        };
        Ok(Some(Connected {
            row,
            held,
            grant: grant.mark,
        }))
    }

    /// Lets a client in, in the name of the human who calls and says yes: a code that it redeems.
    ///
    /// # Errors
    /// The caller is no human in a fresh session, may not do what they would let it do, or has as many agents as they may have.
    pub async fn let_in(&self, actor: &Actor, access: &Access) -> Result<Secret> {
        let code = self.secret(SecretKind::Code);
        self.let_in_by(actor, (access, Yes::Spoken), code.hash())
            .await?;
        Ok(code)
    }

    /// The same by what the human said yes to before, all of it, and have not narrowed since; `None` where they have to be asked.
    /// Clients that registered themselves ask each time, and so does what any program on the human's machine could be.
    ///
    /// # Errors
    /// Those of [`Engine::let_in`], but that the session need not be fresh.
    pub async fn let_in_again(&self, actor: &Actor, access: &Access) -> Result<Option<Secret>> {
        let user = actor.own_account()?;
        let known = match self.connected(user, &access.client).await? {
            Some(known) => self.is_consented(&known, access).await?,
            None => false,
        };
        if !known {
            return Ok(None);
        }
        let code = self.secret(SecretKind::Code);
        let yes = (access, Yes::Remembered);
        let is_in = self.let_in_by(actor, yes, code.hash()).await?;
        Ok(is_in.then_some(code))
    }

    /// Lets a device in whose code the human typed: it has what it redeems.
    ///
    /// # Errors
    /// Those of [`Engine::let_in`]; somebody answered it, or it is over.
    pub async fn let_device_in(&self, actor: &Actor, access: &Access) -> Result<()> {
        let Way::Device { code, .. } = access.way else {
            return Err(Error::Internal("a browser is no device".to_owned()));
        };
        let yes = (access, Yes::Spoken);
        self.let_in_by(actor, yes, code).await.map(drop)
    }

    async fn let_in_by(
        &self,
        actor: &Actor,
        yes: (&Access, Yes),
        code: SecretHash,
    ) -> Result<bool> {
        let user = actor.own_account()?;
        // Any page may send a browser here without a word of the human's: that leaves them room for a word.
        match yes {
            (_, Yes::Spoken) => self.admit_one((&format!("let_in:{user}"), SPOKEN)).await?,
            (access, Yes::Remembered) => {
                let own = format!("let_in_again:{user}:{}", access.client.id);
                self.admit_one((&own, REMEMBERED)).await?;
            }
        }
        let line = self.secret(SecretKind::Agent);
        let act = Act::new("connection.consented");
        self.change(actor, act, || self.plan_access(actor, yes, (code, &line)))
            .await
    }

    async fn plan_access(
        &self,
        actor: &Actor,
        (access, yes): (&Access, Yes),
        (code, line): (SecretHash, &Secret),
    ) -> Result<Plan<bool>> {
        let id = actor.own_account()?;
        // Read once: what a yes of before is judged by is what it is given.
        let connected = self.connected(id, &access.client).await?;
        match (&connected, yes) {
            (_, Yes::Spoken) => self.require_fresh(actor)?,
            (Some(known), Yes::Remembered) if self.is_consented(known, access).await? => {}
            (_, Yes::Remembered) => return Ok(Plan::Done(false)),
        }
        let user = self.user_row(id).await?;
        let mut batch = Batch {
            reads: actor.reads(),
            ..Batch::default()
        };
        self.keep_client(actor, &access.client, &mut batch).await?;
        batch.reads.extend(access.marks());
        let device = self
            .answer_device(id, (access, ALLOWED), &mut batch)
            .await?;
        self.take_pushed(access, &mut batch);
        let (row, user) = match (connected, yes) {
            (Some(Connected { row, grant, .. }), Yes::Remembered) => {
                batch.reads.extend([row.mark, grant]);
                // What is withdrawn at the same time is asked about.
                let servers = access.targets.iter().map(|target| target.server);
                let still = servers.map(|server| connection::is_consented(row.id, server));
                batch.writes.extend(still);
                (row, user)
            }
            (Some(known), Yes::Spoken) => {
                self.connected_before(actor, (access, known, user), &mut batch)
                    .await?
            }
            (None, _) => {
                self.connected_anew(actor, (access, user), &mut batch)
                    .await?
            }
        };
        if yes == Yes::Spoken && access.is_remembered() {
            self.add_consents(access, row.id, &mut batch);
        }
        self.add_line(access, (&row, &user), (code, line), &mut batch)
            .await?;
        batch
            .entries
            .push(self.consent_record(actor, (access, yes, device), (&row, &user))?);
        Ok(Plan::commit(batch, true))
    }

    /// An agent of the human's that the client will be.
    async fn connected_anew(
        &self,
        actor: &Actor,
        (access, user): (&Access, UserRow),
        batch: &mut Batch,
    ) -> Result<Granted> {
        let room = self.room_for_agent(&user).await?;
        let id: AgentId = self.id();
        let ask = Ask {
            giver: Owner::User(user.id),
            to: (id, user.id),
            permissions: permissions_of(access, None)?,
            guards: None,
            uses: TokenUses::default(),
            max_depth: Some(0),
            expires_at: None,
            parent: None,
            reason: None,
        };
        let planned = self.plan_root_grant(&compile::user(&user)?, &ask)?;
        self.within_quota(&planned.terms).await?;
        let above = (Owner::User(user.id), user.id);
        let row = AgentRow {
            maker: actor.maker(),
            ..self.delegate_row(above, &access.client.metadata.client_name, &planned)
        };
        batch.reads.extend(planned.reads.iter().copied());
        batch.writes.extend(room);
        batch.writes.push(agent::insert(row.clone()));
        batch.writes.push(handle::born(row.mark));
        batch.writes.extend(self.grant_writes(actor, &planned)?);
        batch.writes.push(connection::insert(&ConnectionRow {
            agent: id,
            client: access.client.id.to_string(),
            user: user.id,
            created_at: self.now(),
        }));
        batch.entries.push(self.agent_record(
            actor,
            "agent.created",
            (&row, &user, &[]),
            Some(&planned.terms),
        )?);
        batch.effects.push(Changed::User(user.id).into());
        batch.effects.push(Changed::Agent(id).into());
        Ok((row, user))
    }

    /// The agent that the client is, with what it did not have yet; another one where what it may do is over for good.
    async fn connected_before(
        &self,
        actor: &Actor,
        (access, known, user): (&Access, Connected, UserRow),
        batch: &mut Batch,
    ) -> Result<Granted> {
        let Connected { row, held, .. } = known;
        if row.status != Status::Active {
            return Err(Error::WrongState(
                "you stopped this application for a while; let it go on first, among your agents"
                    .to_owned(),
            ));
        }
        let Some(held) = held else {
            self.end_connection(actor, (&row, &user), batch)?;
            // The new one takes the place of this one.
            let agents = user.agents.saturating_sub(1);
            let user = UserRow { agents, ..user };
            return self.connected_anew(actor, (access, user), batch).await;
        };
        batch.reads.push(row.mark);
        if held.covers_all(&permissions_of(access, None)?).is_err() {
            let change = AgentChange {
                permissions: Some(permissions_of(access, Some(&held))?),
                ..AgentChange::default()
            };
            let terms = self.change_root_grant(actor, &row, &change, batch).await?;
            batch.writes.push(agent::update(row.clone()));
            batch.entries.push(self.agent_record(
                actor,
                "agent.updated",
                (&row, &user, &[]),
                Some(&terms),
            )?);
            batch.effects.push(Changed::Agent(row.id).into());
        }
        Ok((row, user))
    }

    /// Revokes the agent that a client is, with all of its lines.
    pub(super) fn end_connection(
        &self,
        actor: &Actor,
        (row, user): (&AgentRow, &UserRow),
        batch: &mut Batch,
    ) -> Result<()> {
        batch.kills.push(raised(row.mark));
        // What is taken off the count looks at whether the agent is revoked.
        batch.writes.push(agent::uncount(row.id, row.root));
        batch.writes.push(agent::update(AgentRow {
            status: Status::Revoked,
            kills: row.kills.saturating_add(1),
            ..row.clone()
        }));
        batch.effects.push(Changed::User(row.root).into());
        batch.effects.push(Changed::Agent(row.id).into());
        let entry = self.agent_record(actor, "agent.revoked", (row, user, &[]), None)?;
        batch.entries.push(entry);
        Ok(())
    }

    fn add_consents(&self, access: &Access, agent: AgentId, batch: &mut Batch) {
        for target in &access.targets {
            batch.writes.push(connection::consent(&ConsentRow {
                agent,
                server: target.server,
                scopes: target.scope(),
                fingerprint: access.client.fingerprint(),
                given_at: self.now(),
            }));
        }
    }

    /// Notes that the human who calls said no.
    ///
    /// # Errors
    /// Those of the store; the caller is no human; they say so too often.
    pub async fn keep_out(&self, actor: &Actor, access: &Access) -> Result<()> {
        let user = self.user_row(actor.own_account()?).await?;
        let own = format!("kept_out:{}", user.id);
        self.admit_one((&own, SPOKEN)).await?;
        self.change(actor, Act::new("connection.denied"), || async {
            let mut batch = Batch::default();
            let device = self
                .answer_device(user.id, (access, DENIED), &mut batch)
                .await?;
            self.take_pushed(access, &mut batch);
            let details = record_details(access);
            let origin = actor.origin();
            let (kind, why) = ("connection.denied", "said_no");
            let mut record = origin.record(self.id(), kind, Outcome::Denied, why);
            record.subject = Some(user.pseudonym);
            record.details = Some(&details);
            record.personal.name = Some(&access.client.metadata.client_name);
            record.personal.metadata = device.as_ref();
            batch.entries.push(self.seal(&record)?);
            Ok(Plan::commit(batch, ()))
        })
        .await
    }

    /// What was pushed is answered once.
    fn take_pushed(&self, access: &Access, batch: &mut Batch) {
        let taken = access
            .pushed
            .map(|request| pushed_request::take(request, self.now()));
        batch.writes.extend(taken);
    }

    fn consent_record(
        &self,
        actor: &Actor,
        (access, yes, device): (&Access, Yes, Option<Value>),
        (row, user): (&AgentRow, &UserRow),
    ) -> Result<Entry> {
        let details = record_details(access);
        let origin = actor.origin();
        let why = match yes {
            Yes::Spoken => "done",
            Yes::Remembered => "remembered",
        };
        let mut record = origin.record(self.id(), "connection.consented", Outcome::Allowed, why);
        record.subject = Some(user.pseudonym);
        record.agent = Some(row.id);
        record.details = Some(&details);
        record.personal.name = Some(&row.name);
        record.personal.metadata = device.as_ref();
        self.seal(&record)
    }
}

/// What a record says of what was asked: a digest of it, which may be larger than a record, and how it begins.
fn record_details(access: &Access) -> Value {
    const SHOWN_BYTES: usize = 512;
    let mut room = SHOWN_BYTES;
    let scopes = access.targets.iter().flat_map(|target| &target.scopes);
    let first: Vec<&str> = scopes
        .clone()
        .map(|scope| scope.name.as_str())
        .take_while(|name| {
            let fits = name.len() <= room;
            room = room.saturating_sub(name.len());
            fits
        })
        .collect();
    json!({
        "client": access.client.id, "redirectHost": access.way.redirect_uri().map(RedirectUri::place),
        "resources": access.targets.iter().map(|target| target.server).collect::<Vec<_>>(),
        "scopes": scopes.count(), "firstScopes": first, "contentsDigest": hex::encode(&access.digest()),
    })
}

impl Access {
    /// Whether a yes is remembered: clients that registered themselves ask each time, and so does what any program on the
    /// human's machine could be.
    fn is_remembered(&self) -> bool {
        let is_site = |uri: &RedirectUri| uri.kind() == RedirectKind::Site;
        self.client.source != Source::Itself && self.way.redirect_uri().is_some_and(is_site)
    }
}

/// All scopes of all tool servers, with every action; beside what is held already, where that is said. What is held under a
/// condition stays under it, also in part: no yes lifts what somebody put on the agent.
fn permissions_of(access: &Access, held: Option<&PermissionSet>) -> Result<PermissionSet> {
    let wanted = access.targets.iter().flat_map(|target| &target.scopes);
    let mut all: Vec<Permission> = held
        .into_iter()
        .flat_map(PermissionSet::iter)
        .map(|permission| Permission::clone(permission))
        .collect();
    for scope in wanted {
        let one = Permission::new(scope.name.clone(), Actions::any(), Constraints::default());
        let alone = PermissionSet::new([one.clone()])?;
        if PermissionSet::new(all.iter().cloned()).is_ok_and(|all| all.covers_all(&alone).is_ok()) {
            continue;
        }
        let lifted = all.iter().find(|known| {
            let is_free = known.constraints().is_none_or(Constraints::is_empty);
            !is_free && known.resource().meets(one.resource())
        });
        if let Some(lifted) = lifted {
            return Err(Error::WrongState(format!(
                "somebody put conditions on `{}` for this application, and `{}` would lift them: change that among your agents first",
                lifted.resource().as_str(),
                scope.name.as_str()
            )));
        }
        all.push(one);
    }
    Ok(PermissionSet::new(all)?)
}
