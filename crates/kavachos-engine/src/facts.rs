//! Gathers what a decision about one agent rests on: from the directory, or from the database on a miss.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kavachos_core::decide::{Credential, Facts, Hop, Path};
use kavachos_core::grant::Grant;
use kavachos_core::id::{AgentId, GrantId, UserId};
use kavachos_core::principal::{Agent, Owner, User};
use kavachos_store::agent::AgentRow;
use kavachos_store::grant::GrantRow;

use crate::compile;
use crate::directory::{Directory, Load, Lookup};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::known::{KnownAgent, Received};
use crate::proof_keys::compiled;

/// No chain of owners or grants is longer: a grant has at most seven hops below its root.
const MAX_LEVELS: usize = 16;
/// How often they are read: what was forgotten between two statements is not there the next time.
const LOADS: usize = 3;
/// How many ids one statement asks for.
const IDS_PER_QUERY: usize = 64;

/// What becomes of the grants that are for one token alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reserved {
    /// The agent holds nothing by them.
    LeftOut,
    /// They are looked at like all others: where such a token is made, judged, or stopped.
    Counted,
}

impl Reserved {
    fn shows(self, grant: &Grant) -> bool {
        self == Self::Counted || !grant.reserved
    }
}

impl Engine {
    /// The facts about an agent, with what it holds; without an agent in them when there is none with this id.
    pub(crate) async fn facts(&self, id: AgentId) -> Result<Facts> {
        self.gathered(id, Reserved::LeftOut).await
    }

    /// The same with the grants that are for one token alone. Whoever asks uses such a one for that token only.
    pub(crate) async fn facts_with_reserved(&self, id: AgentId) -> Result<Facts> {
        self.gathered(id, Reserved::Counted).await
    }

    async fn gathered(&self, id: AgentId, reserved: Reserved) -> Result<Facts> {
        if let Some(facts) = assemble(self.directory(), id, reserved) {
            return Ok(facts);
        }
        for _ in 0..LOADS {
            let Some(loaded) = Loaded::load(self, id).await? else {
                return Ok(Facts::unknown());
            };
            if let Some(facts) = assemble(&loaded, id, reserved) {
                return Ok(facts);
            }
        }
        Err(Error::Internal(format!("the grants of {id} lead nowhere")))
    }
}

impl Directory {
    /// The facts about an agent, if all of them are in memory: what a warm decision starts from.
    pub fn facts(&self, id: AgentId) -> Option<Facts> {
        assemble(self, id, Reserved::LeftOut)
    }
}

/// Puts the facts together; `None` when a part is not there.
fn assemble(from: &impl Lookup, id: AgentId, reserved: Reserved) -> Option<Facts> {
    let KnownAgent {
        agent, received, ..
    } = from.known(id)?;
    let user = from.user(agent.root)?;
    let owners = owners(from, &agent)?;
    let paths = match received? {
        Received::One(grant) if reserved.shows(&grant) => vec![path(from, grant, &user)?],
        Received::One(_) => Vec::new(),
        Received::Several(grants) => {
            let shown = grants.iter().filter(|grant| reserved.shows(grant));
            let paths = shown.map(|grant| path(from, grant.clone(), &user));
            paths.collect::<Option<_>>()?
        }
    };
    Some(Facts {
        agent: Some(agent),
        credential: Credential::ById,
        owners,
        user: Some(user),
        subject: None,
        paths,
    })
}

/// The agents above an agent, nearest first.
fn owners(from: &impl Lookup, agent: &Agent) -> Option<Vec<Agent>> {
    let mut above = Vec::new();
    let mut owner = agent.owner;
    while let Owner::Agent(id) = owner {
        let next = from.agent(id)?;
        owner = next.owner;
        above.push(next);
        if above.len() > MAX_LEVELS {
            return None;
        }
    }
    Some(above)
}

/// The path that ends with a grant, from the human down, who mostly is the human of its last agent.
fn path(from: &impl Lookup, last: Grant, user: &Arc<User>) -> Option<Path> {
    let mut hops = Vec::with_capacity(usize::from(last.depth).min(MAX_LEVELS) + 1);
    let mut next = Some(last);
    while let Some(grant) = next {
        next = match grant.parent {
            Some(parent) => Some(Grant::clone(&*from.grant(parent)?)),
            None => None,
        };
        let giver = giver(from, &grant)?;
        let giver_user = giver_user(from, &giver, &grant)?;
        hops.push(Hop {
            giver,
            giver_user,
            grant,
        });
        if hops.len() > MAX_LEVELS {
            return None;
        }
    }
    hops.reverse();
    let root = hops.first()?.grant.root;
    let user = if root == user.id {
        Arc::clone(user)
    } else {
        from.user(root)?
    };
    Some(Path { user, hops })
}

fn giver(from: &impl Lookup, grant: &Grant) -> Option<Vec<Agent>> {
    match grant.giver {
        Owner::User(_) => Some(Vec::new()),
        Owner::Agent(id) => {
            let giver = from.agent(id)?;
            let mut chain = owners(from, &giver)?;
            chain.insert(0, giver);
            Some(chain)
        }
    }
}

/// The human above a giver, where it is not the human of the path.
fn giver_user(from: &impl Lookup, giver: &[Agent], grant: &Grant) -> Option<Option<Arc<User>>> {
    match giver.first() {
        Some(agent) if agent.root != grant.root => from.user(agent.root).map(Some),
        _ => Some(None),
    }
}

/// Everything above one agent, just read from the database.
struct Loaded {
    users: HashMap<UserId, Arc<User>>,
    agents: HashMap<AgentId, KnownAgent>,
    grants: HashMap<GrantId, Arc<Grant>>,
}

impl Loaded {
    /// Reads an agent with all that stands above it, and keeps it in the directory; `None` when there is no agent.
    async fn load(engine: &Engine, id: AgentId) -> Result<Option<Self>> {
        let store = engine.store();
        let load = engine.directory().begin();
        let [live, ended] = kavachos_store::grant::received(id, engine.now());
        let agent = kavachos_store::agent::with_owners(&[id]);
        let answers = store
            .read(vec![
                agent.into_query(),
                live.into_query(),
                ended.into_query(),
            ])
            .await?;
        let mut answers = answers.into_iter();
        let mut agents: Vec<AgentRow> = decode(answers.next())?;
        if !agents.iter().any(|agent| agent.id == id) {
            return Ok(None);
        }
        let mut grants: Vec<GrantRow> = decode(answers.next())?;
        grants.extend(decode::<GrantRow>(answers.next())?);
        // The paths nearest to the human are judged first: gifts cannot use up what a decision may cost before them.
        grants.sort_unstable_by_key(|grant| (grant.depth, grant.id));
        let received: Vec<GrantId> = grants.iter().map(|grant| grant.id).collect();

        let parents = ids(grants.iter().filter_map(|grant| grant.parent));
        for chunk in parents.chunks(IDS_PER_QUERY) {
            grants.extend(
                store
                    .list(kavachos_store::grant::with_parents(chunk))
                    .await?,
            );
        }
        let known: HashSet<AgentId> = agents.iter().map(|agent| agent.id).collect();
        let givers = ids(grants.iter().filter_map(|grant| match grant.giver {
            Owner::Agent(giver) if !known.contains(&giver) => Some(giver),
            _ => None,
        }));
        for chunk in givers.chunks(IDS_PER_QUERY) {
            agents.extend(
                store
                    .list(kavachos_store::agent::with_owners(chunk))
                    .await?,
            );
        }
        let mut users = HashMap::new();
        let roots = ids(agents
            .iter()
            .map(|agent| agent.root)
            .chain(grants.iter().map(|grant| grant.root)));
        for chunk in roots.chunks(IDS_PER_QUERY) {
            for row in store.list(kavachos_store::user::by_ids(chunk)).await? {
                let mut user = compile::user(&row)?;
                user.permissions = engine.directory().share(&user.permissions)?;
                users.insert(row.id, Arc::new(user));
            }
        }
        let grants = compile_grants(engine.directory(), &grants)?;
        let received =
            (received.iter()).filter_map(|id| grants.get(id).map(|grant| Grant::clone(grant)));
        let received: Received = received.collect();
        let known = |row: &AgentRow| -> Result<(AgentId, KnownAgent)> {
            let received = (row.id == id).then(|| received.clone());
            Ok((row.id, known_agent(row, received)?))
        };
        let loaded = Self {
            users,
            agents: agents.iter().map(known).collect::<Result<_>>()?,
            grants,
        };
        loaded.keep(engine.directory(), load);
        Ok(Some(loaded))
    }

    fn keep(&self, directory: &Directory, load: Load) {
        self.users
            .values()
            .for_each(|user| directory.keep_user(load, user));
        let parents = self.grants.values().filter_map(|grant| grant.parent);
        parents
            .filter_map(|parent| self.grants.get(&parent))
            .for_each(|parent| directory.keep_grant(load, parent));
        self.agents
            .values()
            .for_each(|agent| directory.keep_agent(load, agent));
    }
}

fn known_agent(row: &AgentRow, received: Option<Received>) -> Result<KnownAgent> {
    Ok(KnownAgent {
        agent: compile::agent(row),
        proof_key: row.proof_key.as_ref().map(compiled).transpose()?,
        received,
    })
}

impl Lookup for Loaded {
    fn user(&self, id: UserId) -> Option<Arc<User>> {
        self.users.get(&id).cloned()
    }

    fn known(&self, id: AgentId) -> Option<KnownAgent> {
        self.agents.get(&id).cloned()
    }

    fn agent(&self, id: AgentId) -> Option<Agent> {
        self.agents.get(&id).map(|known| known.agent.clone())
    }

    fn grant(&self, id: GrantId) -> Option<Arc<Grant>> {
        self.grants.get(&id).cloned()
    }
}

fn compile_grants(
    directory: &Directory,
    rows: &[GrantRow],
) -> Result<HashMap<GrantId, Arc<Grant>>> {
    let compiled = |row: &GrantRow| {
        let mut grant = compile::grant(row)?;
        grant.permissions = directory.share(&grant.permissions)?;
        Ok((row.id, Arc::new(grant)))
    };
    rows.iter().map(compiled).collect()
}

fn decode<T: kavachos_store::FromRow>(rows: Option<Vec<kavachos_store::Row>>) -> Result<Vec<T>> {
    let rows = rows.unwrap_or_default();
    rows.into_iter()
        .map(|row| {
            row.decode()
                .map_err(|error| Error::Internal(error.to_string()))
        })
        .collect()
}

/// Each id once.
fn ids<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
