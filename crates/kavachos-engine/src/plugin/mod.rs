//! Plugins: routes, tables and kinds of records beside the engine's own.
//!
//! Promises: a plugin changes nothing but its own tables, and only together with a record of one of its kinds, through the
//! one write path; what it wants of the rest it asks the use cases for. Its statements are read before they run
//! ([`statement`](self)), its routes, kinds and migrations before anything starts: what is not its own is refused with a
//! reason. Who calls, limits, the form of errors and the headers of answers stay with the server. It is compiled in and
//! trusted not to attack; what is checked here is that it cannot do by mistake what others rely on.

mod change;
mod context;
mod message;
mod moving;
mod put;
mod route;
mod serve;
mod statement;
mod sweep;
mod tables;
mod telling;

use std::sync::Arc;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_store::migration::{BOOTSTRAP, MIGRATIONS, Migration};
use kavachos_store::{Query, Write};

use crate::engine::Engine;
use crate::error::Error;
use crate::hooks::Hook;

use tables::Tables;

pub(crate) use moving::Belongings;
pub(crate) use serve::ShutOut;
pub(crate) use sweep::ROWS_PER_STEP;

pub use change::{Address, Change, Changed, NewHuman};
pub use context::{Calling, Context, Counted, Visitor};
pub use message::{Answer, Cookie, Request, Wire, form_fields, session_body, visible_cookies};
pub use moving::{FactorRows, MovedRow};
pub use route::{Allowance, CallerType, Flood, Method, Owing, Route};
pub use sweep::Sweep;
pub use telling::{TellAs, Told};

/// How many plugins there may be, and how many of each thing one may have.
const MAX_OF_EACH: usize = 64;
/// The longest id of a plugin.
const MAX_ID_BYTES: usize = 32;
/// The longest kind of a record.
const MAX_KIND_BYTES: usize = 64;
/// Ids under which the server's own routes, records or tables would stand, or might one day.
const RESERVED: [&str; 51] = [
    "agent",
    "agents",
    "approval",
    "approvals",
    "audit",
    "auth",
    "authorize",
    "batch",
    "client",
    "clients",
    "connection",
    "connections",
    "core",
    "decision",
    "delegation",
    "delegations",
    "device",
    "docs",
    "events",
    "explain",
    "explanation",
    "export",
    "forward",
    "import",
    "kavach",
    "key",
    "keys",
    "ledger",
    "mail",
    "mails",
    "oauth",
    "openapi",
    "operator",
    "pg",
    "plugin",
    "plugins",
    "refusals",
    "request",
    "resource",
    "resources",
    "revocation",
    "revocations",
    "server",
    "session",
    "sessions",
    "sqlite",
    "tenant",
    "user",
    "users",
    "webhook",
    "webhooks",
];

/// Something that is built into a server beside the engine: a way to sign in, say.
///
/// `docs/plugins.md` shows a whole one.
pub trait Plugin: Send + Sync {
    /// Its name: `a-z`, `0-9` and `_`, at most 32. Tables, kinds and paths begin with it, so it never changes.
    fn id(&self) -> &'static str;

    /// How its tables come to be, numbered from 1; the owner is the plugin's id. They run after those of the server.
    fn migrations(&self) -> Vec<Migration> {
        Vec::new()
    }

    /// The kinds of its records: `<id>.<what happened>`.
    fn kinds(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Its routes.
    fn routes(&self) -> Vec<Route> {
        Vec::new()
    }

    /// What removes all that it keeps of a human: credentials, factors, what is under way. It is written when the human
    /// is deleted, and when somebody else turns out to read mail sent to the human's address.
    fn forgets(&self, human: UserId) -> Vec<Write> {
        let _ = human;
        Vec::new()
    }

    /// What removes what somebody else may have left behind who was signed in as the human: changes that wait to be
    /// confirmed, whenever they were asked for, and ways in that were added at this time or later. It is written when the
    /// human says that a sign-in at that time was not theirs, and when they reset their password, with the time of that.
    fn distrusts(&self, human: UserId, since: Timestamp) -> Vec<Write> {
        let _ = (human, since);
        Vec::new()
    }

    /// What it keeps of a human, as the human may read it: everything but credentials, which it does not keep in clear.
    fn tells(&self, human: UserId) -> Vec<Told> {
        let _ = human;
        Vec::new()
    }

    /// What removes all that was mailed to this address, or waits for it, and is still good once. It is written when an
    /// account gets another address, for the old one and for the new one.
    fn forgets_address(&self, email: &str) -> Vec<Write> {
        let _ = email;
        Vec::new()
    }

    /// Which of its tables hold only what passes by itself: challenges, links, codes that wait. They stay behind when a
    /// tenant moves, and are emptied when a backup is restored, since what is good once may have been used. All others
    /// move.
    fn passing(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Which of its tables that move hold what is good once: they are emptied when a backup is restored, since it may have
    /// been used.
    fn good_once(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Which of its rows are over by a time that stands in them. Upkeep removes them, whether anybody calls the plugin or not.
    fn sweeps(&self) -> Vec<Sweep> {
        Vec::new()
    }

    /// Where it stands that its method is a second factor of a human, for a plugin that ever says so. A tenant in which a
    /// factor stands here and is not asked for, or the reverse, is not let in.
    fn factor(&self) -> Option<FactorRows> {
        None
    }

    /// How many things a human has each of which shows two factors by this method, or the second one: one number. Whoever
    /// has one shows it before they set up another, and keeps it where a second factor is demanded.
    fn factors(&self, human: UserId) -> Option<Query> {
        let _ = human;
        None
    }

    /// Says what is wrong with a row that comes in with a tenant: it must be one that the plugin can read here, with this
    /// server's master key, too.
    ///
    /// # Errors
    /// What is wrong, in words that follow the number of the line. Nothing of the tenant comes in then.
    fn admit(&self, engine: &Engine, row: &MovedRow<'_>) -> Result<(), String> {
        let _ = (engine, row);
        Ok(())
    }

    /// Its hooks, asked after those that are given to the builder.
    fn hooks(&self) -> Vec<Arc<dyn Hook>> {
        Vec::new()
    }
}

/// Why a plugin cannot be used: a defect of it, found before anything starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plugin `{plugin}` cannot be used: {why}")]
pub struct PluginError {
    /// Its id.
    pub plugin: String,
    /// What is wrong, and how it should be.
    pub why: String,
}

/// A plugin that was checked.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) id: &'static str,
    pub(crate) kinds: Vec<&'static str>,
}

/// What is kept of humans, and how it is removed.
struct Keeper {
    id: &'static str,
    plugin: Arc<dyn Plugin>,
    /// Whether anybody can call it: what is switched off has no routes, and shows nothing.
    answers: bool,
}

/// A route of a plugin that was checked.
#[derive(Debug, Clone)]
pub struct Mounted {
    plugin: Arc<Installed>,
    route: Arc<Route>,
}

impl Mounted {
    /// The route.
    pub fn route(&self) -> &Route {
        &self.route
    }
}

/// The plugins and hooks of one engine, checked.
#[derive(Default)]
pub struct Plugins {
    installed: Vec<Arc<Installed>>,
    migrations: Vec<Migration>,
    routes: Vec<Mounted>,
    hooks: Vec<Arc<dyn Hook>>,
    keepers: Vec<Keeper>,
    belongings: Vec<Belongings>,
    sweeps: Vec<Sweep>,
}

impl Plugins {
    /// Checks these plugins, each by itself and all against each other.
    ///
    /// # Errors
    /// Says which plugin is wrong, and how.
    pub fn new(
        plugins: &[Arc<dyn Plugin>],
        hooks: Vec<Arc<dyn Hook>>,
    ) -> Result<Self, PluginError> {
        let mut all = Self {
            hooks,
            ..Self::default()
        };
        for plugin in plugins {
            all.add(plugin).map_err(|why| PluginError {
                plugin: plugin.id().to_owned(),
                why,
            })?;
        }
        Ok(all)
    }

    /// The migrations of the plugins, in the order in which they are applied.
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    pub(crate) fn routes(&self) -> &[Mounted] {
        &self.routes
    }

    /// Whether something can be posted to this path.
    pub(crate) fn takes(&self, path: &str) -> bool {
        let mut routes = self.routes().iter().map(Mounted::route);
        routes.any(|route| route.method == Method::Post && route.path == path)
    }

    pub(crate) fn hooks(&self) -> Vec<Arc<dyn Hook>> {
        self.hooks.clone()
    }

    /// What is over of all of them, and when.
    pub(crate) fn sweeps(&self) -> &[Sweep] {
        &self.sweeps
    }

    /// What removes all that plugins keep of a human.
    ///
    /// # Errors
    /// A plugin names a table that is not its own: a defect of it.
    pub(crate) fn forget(&self, human: UserId) -> crate::error::Result<Vec<Write>> {
        self.removed(|plugin| plugin.forgets(human))
    }

    /// What removes what somebody else may have left behind, of all plugins.
    ///
    /// # Errors
    /// A plugin names a table that is not its own: a defect of it.
    pub(crate) fn distrust(
        &self,
        human: UserId,
        since: Timestamp,
    ) -> crate::error::Result<Vec<Write>> {
        self.removed(|plugin| plugin.distrusts(human, since))
    }

    /// What removes all that was mailed to this address and is still good once.
    ///
    /// # Errors
    /// A plugin names a table that is not its own: a defect of it.
    pub(crate) fn forget_address(&self, email: &str) -> crate::error::Result<Vec<Write>> {
        self.removed(|plugin| plugin.forgets_address(email))
    }

    /// What counts the factors of a human, of each method that has any.
    ///
    /// # Errors
    /// A plugin reads a table that is not its own: a defect of it.
    pub(crate) fn count_factors(&self, human: UserId) -> crate::error::Result<Vec<Query>> {
        let mut all = Vec::new();
        for keeper in self.keepers.iter().filter(|keeper| keeper.answers) {
            all.extend(keeper.count_factors(human)?);
        }
        Ok(all)
    }

    /// The methods that have factors, also those that are switched off: each by its name, and whether it is a second factor
    /// alone.
    pub(crate) fn factor_methods(&self, human: UserId) -> Vec<(&'static str, bool)> {
        let with_factors = self.keepers.iter();
        let with_factors = with_factors.filter(|keeper| keeper.plugin.factors(human).is_some());
        with_factors
            .map(|keeper| (keeper.id, keeper.plugin.factor().is_some()))
            .collect()
    }

    /// What counts the factors of a human, and what removes all that is kept of them, of one method.
    ///
    /// # Errors
    /// The plugin names a table that is not its own: a defect of it.
    pub(crate) fn factors_of(
        &self,
        method: &str,
        human: UserId,
    ) -> crate::error::Result<(Option<Query>, Vec<Write>)> {
        let Some(keeper) = self.keepers.iter().find(|keeper| keeper.id == method) else {
            return Ok((None, Vec::new()));
        };
        let writes = keeper.plugin.forgets(human);
        Ok((keeper.count_factors(human)?, keeper.checked(writes)?))
    }

    fn removed(&self, of: impl Fn(&dyn Plugin) -> Vec<Write>) -> crate::error::Result<Vec<Write>> {
        let mut all = Vec::new();
        for keeper in &self.keepers {
            all.extend(keeper.checked(of(keeper.plugin.as_ref()))?);
        }
        Ok(all)
    }

    fn add(&mut self, plugin: &Arc<dyn Plugin>) -> Result<(), String> {
        let id = plugin.id();
        check_id(id)?;
        if self.installed.len() >= MAX_OF_EACH {
            return Err(format!("there are more than {MAX_OF_EACH}"));
        }
        for other in &self.installed {
            check_apart(id, other.id)?;
        }
        let kinds = plugin.kinds();
        check_kinds(id, &kinds)?;
        let migrations = plugin.migrations();
        check_migrations(id, &migrations)?;
        let belongings = Belongings::of(plugin)?;
        let sweeps = swept(id, plugin.as_ref())?;
        let installed = Arc::new(Installed { id, kinds });
        for route in plugin.routes() {
            route
                .check(id)
                .map_err(|why| format!("the path `{}` {why}", route.path))?;
            for other in &self.routes {
                if let Some(how) = route.clashes_with(&other.route) {
                    let (plugin, path) = (other.plugin.id, other.route.path);
                    return Err(format!(
                        "the route `{}` {how} `{path}` of `{plugin}`",
                        route.path
                    ));
                }
            }
            if self.routes.len() >= MAX_OF_EACH * MAX_OF_EACH {
                return Err("there are too many routes".to_owned());
            }
            self.routes.push(Mounted {
                plugin: Arc::clone(&installed),
                route: Arc::new(route),
            });
        }
        self.installed.push(installed);
        self.keepers.push(Keeper {
            id,
            plugin: Arc::clone(plugin),
            answers: !plugin.routes().is_empty(),
        });
        self.belongings.push(belongings);
        self.sweeps.extend(sweeps);
        self.migrations.extend(migrations);
        self.hooks.extend(plugin.hooks());
        Ok(())
    }
}

impl Keeper {
    fn count_factors(&self, human: UserId) -> crate::error::Result<Option<Query>> {
        let Some(query) = self.plugin.factors(human) else {
            return Ok(None);
        };
        statement::check_read(self.id, &query.sql).map_err(|why| {
            let (id, sql) = (self.id, &query.sql);
            Error::Internal(format!(
                "the plugin `{id}` counts factors with `{sql}`: {why}"
            ))
        })?;
        Ok(Some(query))
    }

    /// What it removes, which is its own.
    fn checked(&self, writes: Vec<Write>) -> crate::error::Result<Vec<Write>> {
        for write in &writes {
            statement::check_write(self.id, &write.sql).map_err(|why| {
                let (id, sql) = (self.id, &write.sql);
                Error::Internal(format!("the plugin `{id}` forgets with `{sql}`: {why}"))
            })?;
        }
        Ok(writes)
    }
}

fn check_id(id: &str) -> Result<(), String> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = id
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins || id.len() > MAX_ID_BYTES || !id.bytes().all(known) || id.ends_with('_') {
        return Err(format!(
            "its id must be 1 to {MAX_ID_BYTES} of a-z, 0-9 and `_`, beginning with a letter"
        ));
    }
    if RESERVED.contains(&id) || names_tables_of_the_server(id) {
        return Err("its id belongs to the server; choose another".to_owned());
    }
    Ok(())
}

/// Whether a table or index of the server begins like a plugin's would.
fn names_tables_of_the_server(id: &str) -> bool {
    let prefix = format!("{id}_");
    let all = MIGRATIONS.iter().map(|step| step.sql).chain([BOOTSTRAP]);
    all.flat_map(|sql| sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .any(|name| name.starts_with(&prefix))
}

/// No table of one may look like one of the other: `note` and `note_tag` would share `note_tag_x`.
fn check_apart(id: &str, other: &str) -> Result<(), String> {
    let below = |one: &str, other: &str| {
        one.strip_prefix(other)
            .is_some_and(|rest| rest.starts_with('_'))
    };
    if id == other {
        return Err("another one has the same id".to_owned());
    }
    if below(id, other) || below(other, id) {
        return Err(format!(
            "its tables would be named like those of `{other}`; choose another id"
        ));
    }
    Ok(())
}

fn check_kinds(id: &str, kinds: &[&str]) -> Result<(), String> {
    let own = |kind: &str| {
        let what = kind
            .strip_prefix(id)
            .and_then(|rest| rest.strip_prefix('.'));
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        what.is_some_and(|what| !what.is_empty() && what.bytes().all(known))
    };
    if let Some(wrong) = kinds
        .iter()
        .find(|kind| !own(kind) || kind.len() > MAX_KIND_BYTES)
    {
        return Err(format!(
            "the kind `{}` must read `{id}.what_happened`, at most {MAX_KIND_BYTES} bytes",
            wrong
        ));
    }
    if kinds.len() > MAX_OF_EACH {
        return Err(format!("it has more than {MAX_OF_EACH} kinds"));
    }
    Ok(())
}

fn swept(id: &str, plugin: &dyn Plugin) -> Result<Vec<Sweep>, String> {
    let sweeps = plugin.sweeps();
    if sweeps.len() > MAX_OF_EACH {
        return Err(format!("it sweeps more than {MAX_OF_EACH} times"));
    }
    let tables = Tables::of(&plugin.migrations())?;
    for sweep in &sweeps {
        sweep.check(id, &tables)?;
    }
    Ok(sweeps)
}

fn check_migrations(id: &str, migrations: &[Migration]) -> Result<(), String> {
    for (step, number) in migrations.iter().zip(1..) {
        let wrong = |why: &str| format!("its migration {} `{}`: {why}", step.number, step.name);
        if step.owner != id {
            return Err(wrong("its owner is not the plugin's id"));
        }
        if step.number != number {
            return Err(wrong("they are not numbered from 1 without gaps"));
        }
        statement::check_migration(id, step.sql).map_err(|why| wrong(&why))?;
    }
    Ok(())
}
