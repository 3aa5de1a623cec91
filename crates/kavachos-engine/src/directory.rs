//! The directory: principals, grants and keys compiled for decisions, so that a warm decision reads no database; clients and tool
//! servers for tokens.
//!
//! INVARIANT (no stale allow): the writer tells the directory what a batch changed after the commit and before it
//! answers, so no decision that begins after an acknowledged kill meets the old picture. One that began before carries
//! the generations it relied on, and the writer refuses it. What is loaded on a miss is kept only if nothing changed
//! it since before its query: the load notes the number of changes first ([`Directory::begin`]).
//!
//! Memory is bounded by the number of entries of each kind, of which a heavy one counts as many ([`crate::weight`]); what
//! does not fit is read again.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kavachos_core::client::ClientId;
use kavachos_core::grant::Grant;
use kavachos_core::id::{AgentId, ApprovalId, GrantId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::{Permission, PermissionId, PermissionSet};
use kavachos_core::principal::{Agent, User};
use kavachos_core::secret::SecretHash;
use kavachos_core::tool_server::Audience;
use kavachos_store::{Effect, Observer};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::actor::{AgentKey, OperatorKey, Session};
use crate::bell::Bell;
use crate::clients::Client;
use crate::known::{Kept, KnownAgent};
use crate::proof_keys::ProofKey;
use crate::tokens::Registered;
use crate::tool_servers::ToolServerKey;
use crate::weight::{self, ENTRY_BYTES, PERMISSION_BYTES, Scales, Weighed};

/// How many changes a load may overlap and still be kept.
const REMEMBERED_CHANGES: usize = 4_096;
/// How many permissions are known by their id, so that equal ones of many agents are one in memory; heavy ones count as
/// many.
const SHARED_PERMISSIONS: usize = 1 << 16;

/// The kind of the effect that leaves nothing as it was.
const EVERYTHING: u8 = 6;
/// The kind of the effect of every kill.
const KILLS: u8 = 7;
/// The kind of the effect on what is known by a name.
const NAMED: u8 = 8;

/// What the bell of kills rings for: any of them.
pub(crate) const ALL_KILLS: u128 = 0;

/// A thing that changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Changed {
    /// A human.
    User(UserId),
    /// An agent, or the list of grants that it holds.
    Agent(AgentId),
    /// A grant. Its receiver changed with it, and is to be named too: see [`Changed::grant`].
    Grant(GrantId),
    /// A key, of an agent, an operator or a tool server, or a session.
    Key(SecretHash),
    /// A client or the tool server of an audience: see [`Changed::client`] and [`Changed::audience`].
    Named(u128),
    /// A request for approval was answered. It is not kept here; those who wait for it hear of it.
    Approval(ApprovalId),
    /// Something was killed. What of the things here changed with it is named besides; those who follow the log hear
    /// of it.
    Kills,
    /// All of it: the database was filled.
    Everything,
}

impl Changed {
    /// What changes with a grant: itself, where it is a parent of others, and the agent that holds it.
    pub(crate) fn grant(id: GrantId, receiver: AgentId) -> [Effect; 2] {
        [Self::Grant(id).into(), Self::Agent(receiver).into()]
    }

    /// An OAuth client, by its id.
    pub(crate) fn client(id: &str) -> Self {
        Self::Named(name_bits("client", id))
    }

    /// The tool server of an audience.
    pub(crate) fn audience(audience: &str) -> Self {
        Self::Named(name_bits("audience", audience))
    }
}

impl From<Changed> for Effect {
    fn from(changed: Changed) -> Self {
        let (kind, key) = match changed {
            Changed::User(id) => (1, id.bits()),
            Changed::Agent(id) => (2, id.bits()),
            Changed::Grant(id) => (3, id.bits()),
            Changed::Key(hash) => (4, key_bits(hash)),
            Changed::Approval(id) => (5, id.bits()),
            Changed::Named(bits) => (NAMED, bits),
            Changed::Kills => (KILLS, ALL_KILLS),
            Changed::Everything => (EVERYTHING, 0),
        };
        Self { kind, key }
    }
}

/// A credential that was looked up.
#[derive(Debug, Clone)]
pub(crate) enum KnownKey {
    /// An agent's.
    Agent(Arc<AgentKey>),
    /// An operator's.
    Operator(Arc<OperatorKey>),
    /// A human's session.
    Session(Arc<Session>),
    /// A tool server's.
    ToolServer(Arc<ToolServerKey>),
}

impl KnownKey {
    fn bytes(&self) -> usize {
        match self {
            Self::Agent(_) | Self::Session(_) => 0,
            Self::Operator(key) => key.ceiling.as_ref().map_or(0, weight::of_set),
            Self::ToolServer(key) => weight::of_set(&key.covered),
        }
    }
}

/// Where compiled things are found: the directory, or what was just loaded.
pub(crate) trait Lookup {
    fn user(&self, id: UserId) -> Option<Arc<User>>;
    /// The agent with its grants, if they are there.
    fn known(&self, id: AgentId) -> Option<KnownAgent>;
    /// The agent alone.
    fn agent(&self, id: AgentId) -> Option<Agent>;
    fn grant(&self, id: GrantId) -> Option<Arc<Grant>>;
}

/// Compiled things of one kind.
type Entries<K, T> = Cache<K, Weighed<T>, Scales>;

/// The compiled things that are in memory.
#[derive(Debug)]
pub struct Directory {
    users: Entries<UserId, Arc<User>>,
    agents: Entries<AgentId, Kept>,
    /// Those from which others were derived; the rest stand with their agents.
    grants: Entries<GrantId, Arc<Grant>>,
    keys: Entries<u128, (SecretHash, KnownKey)>,
    clients: Entries<u128, Arc<Client>>,
    tool_servers: Entries<u128, (Audience, Arc<Registered>)>,
    permissions: Entries<PermissionId, Arc<Permission>>,
    changes: Mutex<Changes>,
    /// Rings when a request for approval was answered.
    answers: Bell,
    /// Rings when something was killed.
    kills: Bell,
}

#[derive(Debug, Default)]
struct Changes {
    count: u64,
    recent: VecDeque<Effect>,
}

/// A load that may be kept if nothing changed it since it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load(u64);

impl Directory {
    /// An empty directory for at most so many ordinary entries of each kind.
    pub fn new(entries: usize) -> Self {
        Self {
            users: empty(entries),
            agents: empty(entries),
            grants: empty(entries),
            keys: empty(entries),
            clients: empty(entries),
            tool_servers: empty(entries),
            permissions: empty(SHARED_PERMISSIONS),
            changes: Mutex::default(),
            answers: Bell::default(),
            kills: Bell::default(),
        }
    }

    /// The same set, of permissions that are shared with other sets. They hold no state, so nothing makes them old.
    pub(crate) fn share(&self, set: &PermissionSet) -> Result<PermissionSet, Invalid> {
        PermissionSet::from_shared(set.iter().map(|own| match self.permissions.get(&own.id()) {
            // An id is half a hash: two permissions that someone made to collide stay two.
            Some(shared) if shared.thing == *own => shared.thing,
            Some(_) => Arc::clone(own),
            None => {
                let bytes = weight::of_permission(own);
                let weighed = Weighed::new(Arc::clone(own), bytes, PERMISSION_BYTES);
                self.permissions.insert(own.id(), weighed);
                Arc::clone(own)
            }
        }))
    }

    /// What rings when a request for approval was answered.
    pub(crate) fn answers(&self) -> &Bell {
        &self.answers
    }

    /// What rings when something was killed.
    pub(crate) fn kills(&self) -> &Bell {
        &self.kills
    }

    /// Begins a load; call it before the query.
    pub(crate) fn begin(&self) -> Load {
        Load(self.changes().count)
    }

    pub(crate) fn keep_user(&self, load: Load, user: &Arc<User>) {
        let known = entry(Arc::clone(user), weight::of_set(&user.permissions));
        self.keep(load, Changed::User(user.id), || {
            self.users.insert(user.id, known);
        });
    }

    /// An agent without its grants never replaces one with them.
    pub(crate) fn keep_agent(&self, load: Load, agent: &KnownAgent) {
        let id = agent.agent.id;
        let known = entry(Kept::from(agent), weight::of_agent(agent));
        self.keep(load, Changed::Agent(id), || {
            if agent.received.is_some() || self.agents.peek(&id).is_none() {
                self.agents.insert(id, known);
            }
        });
    }

    pub(crate) fn keep_grant(&self, load: Load, grant: &Arc<Grant>) {
        let known = entry(Arc::clone(grant), weight::of_grant(grant));
        self.keep(load, Changed::Grant(grant.id), || {
            self.grants.insert(grant.id, known);
        });
    }

    pub(crate) fn keep_key(&self, load: Load, hash: SecretHash, key: &KnownKey) {
        let known = entry((hash, key.clone()), key.bytes());
        self.keep(load, Changed::Key(hash), || {
            self.keys.insert(key_bits(hash), known);
        });
    }

    pub(crate) fn key(&self, hash: SecretHash) -> Option<KnownKey> {
        let (found, key) = self.keys.get(&key_bits(hash))?.thing;
        (found == hash).then_some(key)
    }

    /// A client, with the bytes of what it says of itself.
    pub(crate) fn keep_client(&self, load: Load, (client, bytes): (Arc<Client>, usize)) {
        let key = name_bits("client", client.id.as_str());
        let changed = Changed::client(client.id.as_str());
        let known = entry(client, bytes);
        self.keep(load, changed, || {
            self.clients.insert(key, known);
        });
    }

    pub(crate) fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        let known = self.clients.get(&name_bits("client", id.as_str()))?.thing;
        (known.id == *id).then_some(known)
    }

    pub(crate) fn keep_tool_server(
        &self,
        load: Load,
        (audience, server): (&Audience, &Arc<Registered>),
    ) {
        let bytes = weight::of_set(server.scopes.covered());
        let known = entry((audience.clone(), Arc::clone(server)), bytes);
        let key = name_bits("audience", audience.as_str());
        self.keep(load, Changed::audience(audience.as_str()), || {
            self.tool_servers.insert(key, known);
        });
    }

    pub(crate) fn tool_server(&self, audience: &Audience) -> Option<Arc<Registered>> {
        let known = self
            .tool_servers
            .get(&name_bits("audience", audience.as_str()))?;
        let (found, server) = known.thing;
        (found == *audience).then_some(server)
    }

    /// The key that an agent proves to hold, if the agent is in memory.
    pub(crate) fn proof_key(&self, id: AgentId) -> Option<Option<ProofKey>> {
        Some(self.agents.get(&id)?.thing.proof_key())
    }

    /// The writer waits while this inserts, so what is inserted was weighed before.
    fn keep(&self, load: Load, changed: Changed, insert: impl FnOnce()) {
        let changes = self.changes();
        if !changes.touched(load, changed.into()) {
            insert();
        }
    }

    fn forget_everything(&self) {
        self.users.clear();
        self.agents.clear();
        self.grants.clear();
        self.keys.clear();
        self.clients.clear();
        self.tool_servers.clear();
        self.kills.ring(ALL_KILLS);
    }

    fn forget(&self, effect: Effect) {
        match effect.kind {
            1 => drop(self.users.remove(&UserId::from_bits(effect.key))),
            2 => drop(self.agents.remove(&AgentId::from_bits(effect.key))),
            3 => drop(self.grants.remove(&GrantId::from_bits(effect.key))),
            5 => self.answers.ring(effect.key),
            KILLS => self.kills.ring(effect.key),
            NAMED => {
                self.clients.remove(&effect.key);
                self.tool_servers.remove(&effect.key);
            }
            _ => drop(self.keys.remove(&effect.key)),
        }
    }

    /// Nothing under the lock can leave the changes half written, so a poisoned lock is as good as any.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    /// Whether the thing changed since the load began, as far as is remembered; else it counts as changed.
    fn touched(&self, load: Load, effect: Effect) -> bool {
        let since = usize::try_from(self.count.saturating_sub(load.0)).unwrap_or(usize::MAX);
        since > self.recent.len()
            || self
                .recent
                .iter()
                .rev()
                .take(since)
                .any(|recent| *recent == effect)
    }
}

impl Observer for Directory {
    fn committed(&self, effects: &[Effect]) {
        let mut changes = self.changes();
        for effect in effects {
            changes.count = changes.count.wrapping_add(1);
            if effect.kind == EVERYTHING {
                // What began before is no longer remembered, and so counts as changed.
                changes.recent.clear();
                self.forget_everything();
                continue;
            }
            if changes.recent.len() == REMEMBERED_CHANGES {
                changes.recent.pop_front();
            }
            changes.recent.push_back(*effect);
            self.forget(*effect);
        }
    }

    /// Forgets all but shared permissions, which hold no state; what is being loaded is not kept either.
    fn overtaken(&self) {
        let mut changes = self.changes();
        changes.count = changes.count.wrapping_add(1);
        changes.recent.clear();
        self.forget_everything();
    }
}

impl Lookup for Directory {
    fn user(&self, id: UserId) -> Option<Arc<User>> {
        self.users.get(&id).map(|known| known.thing)
    }

    fn known(&self, id: AgentId) -> Option<KnownAgent> {
        Some(self.agents.get(&id)?.thing.known(id))
    }

    fn agent(&self, id: AgentId) -> Option<Agent> {
        Some(self.agents.get(&id)?.thing.agent(id))
    }

    fn grant(&self, id: GrantId) -> Option<Arc<Grant>> {
        self.grants.get(&id).map(|known| known.thing)
    }
}

fn empty<K: Eq + Hash, T: Clone>(entries: usize) -> Entries<K, T> {
    let weight = u64::try_from(entries).unwrap_or(u64::MAX);
    Cache::with_weighter(entries, weight, Scales)
}

fn entry<T>(thing: T, bytes: usize) -> Weighed<T> {
    Weighed::new(thing, bytes, ENTRY_BYTES)
}

/// A name of one kind, short. Whoever can choose names may find two that are the same in short: the whole name is compared after.
fn name_bits(kind: &str, name: &str) -> u128 {
    let digest = Sha256::new_with_prefix(kind)
        .chain_update([0])
        .chain_update(name);
    key_bits(SecretHash::from_bytes(digest.finalize().into()))
}

/// The first half of a hash finds the key; the whole hash is compared after.
fn key_bits(hash: SecretHash) -> u128 {
    let (half, _) = hash.as_bytes().split_at(16);
    half.iter()
        .fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use kavachos_core::ledger::Pseudonym;
    use kavachos_core::principal::Status;
    use kavachos_core::revocation::{Handle, HandleKind, Mark};

    use super::*;

    fn user(number: u128) -> Arc<User> {
        let handle = Handle {
            kind: HandleKind::User,
            bytes: number.to_be_bytes(),
        };
        Arc::new(User {
            id: UserId::from_bits(number),
            status: Status::Active,
            banned_until: None,
            role: kavachos_core::principal::Role::Member,
            permissions: PermissionSet::everything(),
            mark: Mark {
                handle,
                generation: 1,
            },
            kills: 0,
            pseudonym: Pseudonym::from_bits(number),
        })
    }

    #[test]
    fn what_was_learnt_before_another_writer_committed_is_gone() {
        let directory = Directory::new(16);
        let (known, loading) = (user(1), user(2));
        directory.keep_user(directory.begin(), &known);
        // The twin: an effect about something else leaves both.
        let load = directory.begin();
        directory.committed(&[Changed::User(UserId::from_bits(3)).into()]);
        directory.keep_user(load, &loading);
        assert!(directory.user(known.id).is_some() && directory.user(loading.id).is_some());

        let load = directory.begin();
        directory.overtaken();
        directory.committed(&[Changed::User(UserId::from_bits(3)).into()]);
        directory.keep_user(load, &loading);
        assert!(directory.user(known.id).is_none() && directory.user(loading.id).is_none());
        directory.keep_user(directory.begin(), &loading);
        assert!(directory.user(loading.id).is_some());
    }
}
