//! Humans: created by operators or on first mention, looked for, read and changed; how they are stopped is
//! [`crate::banning`].

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::{Entry, Outcome, Pseudonym};
use kavachos_core::permission::PermissionSet;
use kavachos_core::principal::{Role, Status};
use kavachos_core::revocation::{HandleKind, Mark};
use kavachos_core::time::Timestamp;
use kavachos_store::user::UserRow;
use kavachos_store::user_search::{self, UserFilter};
use kavachos_store::{Batch, given_identity, handle};
use serde::Serialize;
use serde_json::Value;

use crate::act::Act;
use crate::actor::{Actor, Caller, Scope};
use crate::compile;
use crate::directory::Changed;
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::issued::Issued;
use crate::page::{Page, PageOf};
use crate::raising::Dying;
use crate::readdressing::Leaving;
use crate::revoked::Edited;
use crate::roles::role_to_store;
use crate::text;

/// How someone else's identity provider names a human.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Which provider; a name of your own choice such as `clerk`.
    pub provider: String,
    /// The provider's id for the human.
    pub external_id: String,
}

impl External {
    const MAX_BYTES: usize = 200;

    pub(crate) fn check(&self) -> std::result::Result<(), Invalid> {
        text::plain("provider", &self.provider, Self::MAX_BYTES)?;
        text::plain("externalId", &self.external_id, Self::MAX_BYTES)
    }

    /// As it is stored.
    pub(crate) fn pair(&self) -> (String, String) {
        (self.provider.clone(), self.external_id.clone())
    }
}

/// A human to create.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewUser {
    /// Their e-mail address; compared in lower case, one account each.
    pub email: Option<String>,
    /// For display.
    pub name: Option<String>,
    /// Their identity elsewhere.
    pub external: Option<External>,
    /// The most that agents may do for them; `None` for everything, or where [`Self::external`] is at a provider of the
    /// configuration, for what that one's ceiling says.
    pub permissions: Option<PermissionSet>,
    /// What they are trusted with beyond what is their own.
    pub role: Role,
}

/// What to change of a human; `None` leaves it, `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserChange {
    /// The e-mail address.
    pub email: Option<Option<String>>,
    /// The name.
    pub name: Option<Option<String>>,
    /// The permissions; `Some(None)` means everything.
    pub permissions: Option<Option<PermissionSet>>,
    /// The identity elsewhere, which can only be taken away.
    pub external: Option<Option<External>>,
}

/// A human, as others see them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The id.
    pub id: UserId,
    /// `active`, `banned` or `revoked` (deleted), as it is now.
    pub status: Status,
    /// When the ban ends by itself; `null` unless they are banned, and where it does not.
    pub banned_until: Option<Timestamp>,
    /// What they are trusted with beyond what is their own.
    pub role: Role,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether it is known that they read mail sent to it.
    pub email_verified: bool,
    /// The name.
    pub name: Option<String>,
    /// The identity elsewhere.
    pub external: Option<External>,
    /// The most that agents may do for them; `null` for everything.
    pub permissions: Option<PermissionSet>,
    /// How many agents of theirs count against the limit: those that are not revoked. What lies below a revoked one is
    /// taken off when the limit is reached.
    pub agents: u64,
    /// When they were created.
    pub created_at: Timestamp,
}

impl User {
    pub(crate) fn of(row: UserRow, now: Timestamp) -> Result<Self> {
        let permissions = row
            .permissions
            .as_deref()
            .map(|text| compile::stored("permissions", text))
            .transpose()?;
        Ok(Self {
            id: row.id,
            status: row.status_at(now),
            banned_until: row
                .banned_until
                .filter(|_| row.status_at(now) == Status::Banned),
            role: stored_role(&row)?,
            email: row.email,
            email_verified: row.email_verified_at.is_some(),
            name: row.name,
            external: row.external.map(|(provider, external_id)| External {
                provider,
                external_id,
            }),
            permissions,
            agents: row.agents,
            created_at: row.created_at,
        })
    }
}

impl Engine {
    /// Creates a human.
    ///
    /// # Errors
    /// The e-mail address or the outside identity is taken (also by a deleted human), or lies above the ceiling.
    pub async fn create_user(&self, actor: &Actor, new: &NewUser) -> Result<Issued<User>> {
        check_new(new)?;
        self.change(actor, Act::new("user.created"), || {
            self.plan_user(actor, new)
        })
        .await
    }

    async fn plan_user(&self, actor: &Actor, new: &NewUser) -> Result<Plan<Issued<User>>> {
        actor.require(Scope::UsersWrite)?;
        actor.require_trust(new.role)?;
        if new.external.is_some() {
            // Whoever has the identity, and whoever reads mail sent to the address, are in one account by this.
            actor.require_owner_of_persons()?;
        }
        if let Some(done) = self.done_before(actor).await? {
            let id = done.parse().map_err(Error::Invalid)?;
            return Ok(Plan::Done(Issued::replay(self.user(actor, id).await?)));
        }
        let permissions = self.permissions_of_new(new);
        let everything = PermissionSet::everything();
        actor.covers(permissions.as_ref().unwrap_or(&everything))?;
        let email = new.email.as_deref().map(text::new_email).transpose()?;
        self.refuse_taken(email.clone(), new.external.as_ref())
            .await?;
        let row = self.new_user_row(NewUser {
            email,
            permissions,
            ..new.clone()
        })?;
        let mut batch = self.user_born(actor, &row)?;
        self.claim_once(actor, &mut batch, row.id.to_string());
        let issued = Issued::without_token(User::of(row, self.now())?);
        Ok(Plan::commit(batch, issued))
    }

    /// What is said, or else what a first mention of the identity would give.
    fn permissions_of_new(&self, new: &NewUser) -> Option<PermissionSet> {
        let providers = &self.settings().providers;
        let given = |external| providers.first_permissions(external);
        let said = new.permissions.clone();
        said.or_else(|| new.external.as_ref().and_then(given))
    }

    async fn refuse_taken(&self, email: Option<String>, external: Option<&External>) -> Result<()> {
        if let Some(email) = email
            && self
                .store()
                .find(kavachos_store::user::by_email(email))
                .await?
                .is_some()
        {
            return Err(Error::WrongState(
                "there is an account with this e-mail address".to_owned(),
            ));
        }
        if let Some((provider, external_id)) = external.map(External::pair)
            && self
                .store()
                .find(kavachos_store::user::by_external(provider, external_id))
                .await?
                .is_some()
        {
            return Err(Error::WrongState(
                "this outside identity is taken, or was deleted".to_owned(),
            ));
        }
        Ok(())
    }

    pub(crate) fn new_user_row(&self, new: NewUser) -> Result<UserRow> {
        Ok(UserRow {
            id: self.id(),
            status: Status::Active,
            email: new.email,
            name: new.name,
            external: new
                .external
                .map(|external| (external.provider, external.external_id)),
            permissions: new.permissions.as_ref().map(to_text).transpose()?,
            mark: self.mark(HandleKind::User),
            kills: 0,
            pseudonym: Pseudonym::from_bits(u128::from_be_bytes(self.random())),
            agents: 0,
            version: 0,
            created_at: self.now(),
            email_verified_at: None,
            role: role_to_store(new.role),
            banned_until: None,
        })
    }

    /// The batch that creates a human, with its record.
    pub(crate) fn user_born(&self, actor: &Actor, row: &UserRow) -> Result<Batch> {
        let entry = self.user_record(actor, "user.created", (row, 0))?;
        let comes_in = match &actor.caller {
            Caller::Person(person) => person.user.id == row.id,
            Caller::Provided(provided) => provided.user().id == row.id,
            _ => false,
        };
        let mut writes = vec![
            kavachos_store::user::insert(row.clone()),
            handle::born(row.mark),
        ];
        if row.external.is_some() && !comes_in {
            writes.push(given_identity::give(row.id));
        }
        Ok(Batch {
            reads: actor.reads(),
            writes,
            entries: vec![entry],
            effects: vec![Changed::User(row.id).into()],
            ..Batch::default()
        })
    }

    pub(crate) fn user_record(
        &self,
        actor: &Actor,
        kind: &'static str,
        (row, revocations): (&UserRow, usize),
    ) -> Result<Entry> {
        let mut details = serde_json::Map::new();
        if revocations > 0 {
            // How long the log of revocations must be at least, for whoever is given both.
            details.insert("revocations".to_owned(), revocations.into());
        }
        if let ("user.created", Some(role)) = (kind, &row.role) {
            details.insert("role".to_owned(), role.as_str().into());
        }
        match &actor.caller {
            Caller::Provided(provided) => details.extend(provided.details()),
            Caller::Person(person) => {
                details.extend(
                    person
                        .vouched()
                        .iter()
                        .flat_map(|vouched| vouched.details()),
                );
            }
            _ => {}
        }
        let details = (!details.is_empty()).then_some(Value::Object(details));
        let origin = actor.origin();
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.subject = Some(row.pseudonym);
        record.details = details.as_ref();
        record.personal.email = row.email.as_deref();
        record.personal.name = row.name.as_deref();
        self.seal(&record)
    }

    /// The record of what was done to a human, with these details; the reason is what somebody wrote.
    pub(crate) fn user_act(
        &self,
        actor: &Actor,
        kind: &'static str,
        (row, details, reason): (&UserRow, &Value, Option<&str>),
    ) -> Result<Entry> {
        let origin = actor.origin();
        let mut record = origin.record(self.id(), kind, Outcome::Allowed, "done");
        record.subject = Some(row.pseudonym);
        record.details = Some(details);
        record.personal.email = row.email.as_deref();
        record.personal.name = row.name.as_deref();
        record.personal.reason = reason;
        self.seal(&record)
    }

    /// One human.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn user(&self, actor: &Actor, id: UserId) -> Result<User> {
        actor
            .require(Scope::UsersRead)
            .or_else(|_| actor.require(Scope::UsersWrite))?;
        User::of(self.user_row(id).await?, self.now())
    }

    pub(crate) async fn user_row(&self, id: UserId) -> Result<UserRow> {
        self.store()
            .find(kavachos_store::user::by_id(id))
            .await?
            .ok_or(Error::NotFound("user"))
    }

    /// Humans that the filter leaves, newest first.
    ///
    /// # Errors
    /// The filter cannot be, those of the store, and `forbidden`.
    pub async fn users(
        &self,
        actor: &Actor,
        filter: &UserFilter,
        page: PageOf<UserId>,
    ) -> Result<Page<User, UserId>> {
        actor.require(Scope::UsersRead)?;
        let filter = checked(filter)?;
        let rows = user_search::page(&filter, page.after, self.now(), page.limit);
        let rows = self.store().list(rows).await?;
        Page::of(rows, |row| row.id).shown(|row| User::of(row, self.now()))
    }

    /// Changes a human. Narrower permissions end what was derived from the wider ones.
    ///
    /// # Errors
    /// The human is deleted, the e-mail address is taken, or the permissions lie above the ceiling.
    pub async fn change_user(
        &self,
        actor: &Actor,
        id: UserId,
        change: &UserChange,
    ) -> Result<Edited<User>> {
        if let Some(Some(name)) = &change.name {
            text::plain("name", name, text::MAX_NAME_BYTES)?;
        }
        if let Some(Some(_)) = &change.external {
            let why = "whoever has the identity links it, with its token; `null` takes it away";
            return Err(Invalid::at("external", why).into());
        }
        let act = Act::on_user("user.updated", id);
        let plan = || self.plan_user_change(actor, id, change);
        let edited = self.edit(actor, act, plan).await?;
        let (user, sessions) = edited.thing;
        let mut narrowed = edited.narrowed;
        if let Some(narrowed) = &mut narrowed {
            *narrowed = self.carried_through_all(id, &sessions).await;
        }
        Ok(Edited {
            thing: user,
            narrowed,
        })
    }

    async fn plan_user_change(
        &self,
        actor: &Actor,
        id: UserId,
        change: &UserChange,
    ) -> Result<Plan<(User, Vec<SessionId>)>> {
        actor.require(Scope::UsersWrite)?;
        let row = self.user_row(id).await?;
        actor.require_trust(stored_role(&row)?)?;
        if change.email.is_some() || change.external.is_some() {
            // Whoever reads mail sent there signs in as the human, and nobody would be shown that it is another; and how
            // somebody comes in is not an admin's to choose.
            actor.require_owner_of_persons()?;
        }
        if row.status == Status::Revoked {
            return Err(Error::WrongState("the user is deleted".to_owned()));
        }
        let mut next = row.clone();
        let mut batch = Batch {
            reads: actor.reads(),
            effects: vec![Changed::User(id).into()],
            ..Batch::default()
        };
        let mut sessions = Vec::new();
        let unlinks = change.external.is_some() && row.external.is_some();
        if unlinks {
            // Before the address changes: who reads mail there is told.
            sessions = self.unlink(actor, (&row, &mut next), &mut batch).await?;
        }
        // One that no mail reaches stays where it was before.
        if let Some(email) = change.email.as_ref().filter(|email| **email != row.email) {
            next.email = email.as_deref().map(text::new_email).transpose()?;
            if next.email != row.email {
                self.refuse_taken(next.email.clone(), None).await?;
                // Whoever reads mail there has yet to show it.
                next.email_verified_at = None;
            }
        }
        if let Some(name) = &change.name {
            next.name.clone_from(name);
        }
        let mut is_narrower = false;
        if let Some(permissions) = &change.permissions {
            let old = compile::permissions(row.permissions.as_deref())?;
            let new = permissions
                .clone()
                .unwrap_or_else(PermissionSet::everything);
            actor.covers(&new)?;
            is_narrower = !new.includes(&old);
            next.permissions = permissions.as_ref().map(to_text).transpose()?;
        }
        let left = self.readdressed((&row, &next), Leaving::by(actor, id))?;
        batch.writes.extend(left);
        if is_narrower || unlinks {
            kill_human(&mut batch, &row);
        }
        batch
            .writes
            .push(kavachos_store::user::update(next.clone()));
        let about = (&next, batch.kills.len());
        batch
            .entries
            .push(self.user_record(actor, "user.updated", about)?);
        Ok(Plan::commit(batch, (User::of(next, self.now())?, sessions)))
    }
}

/// Kills a human's mark, and begins to raise the live grants that they gave: a token for a tool server that others run
/// carries no handle of the human, and one of its root grant. The grants themselves stay as they are.
pub(crate) fn kill_human(batch: &mut Batch, human: &UserRow) {
    let killed = raised(human.mark);
    batch.kills.push(killed);
    batch.writes.push(Dying::Human(human.id).begin(killed));
}

/// The role of a human, which a member has no word for.
pub(crate) fn stored_role(row: &UserRow) -> Result<Role> {
    let role = row.role.as_deref().map(str::parse).transpose();
    let role = role.map_err(|error: Invalid| Error::Internal(error.to_string()))?;
    Ok(role.unwrap_or_default())
}

/// The filter, as it is compared.
fn checked(filter: &UserFilter) -> Result<UserFilter> {
    if let Some(search) = &filter.search {
        text::plain("search", search, text::MAX_NAME_BYTES)?;
    }
    if let Some((provider, external_id)) = filter.external.clone() {
        let external = External {
            provider,
            external_id,
        };
        external.check()?;
    }
    Ok(UserFilter {
        email: filter.email.as_deref().map(text::email).transpose()?,
        ..filter.clone()
    })
}

fn check_new(new: &NewUser) -> Result<()> {
    if new.email.is_none() && new.name.is_none() && new.external.is_none() {
        return Err(
            Invalid::new("give the user an `email`, a `name` or an `external` identity").into(),
        );
    }
    if let Some(name) = &new.name {
        text::plain("name", name, text::MAX_NAME_BYTES)?;
    }
    if let Some(external) = &new.external {
        external.check().map_err(|error| error.within("external"))?;
    }
    Ok(())
}

/// The next generation of a handle: everything that carries the present one is dead.
pub(crate) fn raised(mark: Mark) -> Mark {
    Mark {
        handle: mark.handle,
        generation: mark.generation.saturating_add(1),
    }
}

/// The stored form of something that was parsed before.
pub(crate) fn to_text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.to_string()))
}
