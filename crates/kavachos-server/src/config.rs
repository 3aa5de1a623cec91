//! The configuration, and the one place that reads the environment.
//!
//! Promises: defaults < `kavach.toml` < `KAVACH_*` < flags; an unknown key in the file is refused and a variable that
//! looks misspelt is reported; everything that is wrong is told at once, with the full key and where its value came
//! from, and no secret is ever repeated. It does not know what the values are used for, but for the combinations that
//! no server may run with.

mod database;
mod effective;
mod file;
mod layer;
mod mail;
mod problem;
mod providers;
mod reading;
mod safety;
mod schema;
mod setting;
mod value;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use http::Uri;
use ipnet::IpNet;
use kavachos::Loopback;
use kavachos_core::secret::Secret;
use kavachos_engine::Settings;
use kavachos_http::{Brand, Options};

pub(crate) use self::database::Database;
pub(crate) use self::effective::Effective;
pub(crate) use self::layer::Flag;
use self::layer::Layers;
pub(crate) use self::mail::{Mail, SmtpServer, Via};
pub(crate) use self::problem::{ConfigError, Origin, Problem};
use self::reading::Reading;
pub(crate) use self::schema::{example, schema};
pub(crate) use self::setting::reference;
pub(crate) use self::value::{Connections, Key, Listen, Log, LogForm, Presence, is_loopback};
use crate::methods::{self, Methods, Strictness};

/// The file that is read when it is there and no other is named.
const FILE: &str = "kavach.toml";
/// The database when none is named.
const DATABASE: &str = "kavach.db";
/// Where a server listens, and so where the command line looks for one.
pub(crate) const DEFAULT_URL: &str = "http://localhost:3000";

/// The variables of the process that concern us.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    program: String,
}

impl Environment {
    /// Reads the environment and the name under which the program was started.
    pub(crate) fn of_process() -> Self {
        let ours = |name: &str| name.starts_with(setting::PREFIX) || name == "CARGO";
        let variables = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .filter(|(name, _)| ours(name))
            .collect();
        let program = std::env::args_os()
            .next()
            .map_or("kavach".to_owned(), |name| {
                name.to_string_lossy().into_owned()
            });
        Self { variables, program }
    }

    fn get(&self, name: &str) -> Option<&str> {
        // A variable that is set to nothing is how many tools leave one out.
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// What to type to run this program again: with cargo if cargo started it.
    pub(crate) fn program(&self) -> String {
        let built = Path::new(&self.program);
        let release = built.components().any(|part| part.as_os_str() == "release");
        match self.get("CARGO") {
            Some(_) if release => "cargo run -q --release --".to_owned(),
            Some(_) => "cargo run -q --".to_owned(),
            None => self.program.clone(),
        }
    }
}

/// Everything that was configured, by source.
pub(crate) struct Config {
    layers: Layers,
    /// What is wrong with the file and the variables as such.
    problems: Vec<Problem>,
    /// Variables that look misspelt.
    pub(crate) warnings: Vec<String>,
}

/// What a server needs.
#[derive(Clone)]
pub(crate) struct Server {
    /// The database.
    pub(crate) database: Database,
    /// Where to listen.
    pub(crate) listen: Listen,
    /// The public address.
    pub(crate) issuer: Uri,
    /// The operator key that lives as long as it is configured.
    pub(crate) admin_key: Option<Secret>,
    /// What other secrets are derived from, where it is configured.
    pub(crate) master_key: Option<Secret>,
    /// Where checkpoints are kept; `None` for nowhere.
    pub(crate) checkpoint: Option<PathBuf>,
    /// Whether webhooks may go to this machine.
    pub(crate) loopback: Loopback,
    /// A file of certificates of authorities that are trusted besides the public ones where something is fetched.
    pub(crate) fetch_ca_file: Option<PathBuf>,
    /// How mail is sent.
    pub(crate) mail: Mail,
    /// Proxies whose word on the client's address counts.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// What clients may hold.
    pub(crate) connections: Connections,
    /// What is logged, and how.
    pub(crate) log: Log,
    /// The largest file that is imported over HTTP.
    pub(crate) max_import_bytes: u64,
    /// Whose pages people see.
    pub(crate) brand: Brand,
    /// How people sign in.
    pub(crate) methods: Methods,
    /// How many threads hash passwords, if that is said.
    pub(crate) password_threads: Option<NonZeroUsize>,
    /// Limits.
    pub(crate) settings: Settings,
}

/// What a command needs to reach a server.
pub(crate) struct Client {
    /// The server.
    pub(crate) url: Uri,
    /// The credential, and where it came from.
    pub(crate) key: Option<Key>,
    /// A file of certificates of authorities that are trusted besides the public ones.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Config {
    /// Reads the file and the environment, and lays the flags over them.
    pub(crate) fn load(
        environment: &Environment,
        flags: &[(Flag, String)],
    ) -> Result<Self, ConfigError> {
        let config = Self::gather(environment, flags);
        ConfigError::unless_none(config.problems.clone())?;
        Ok(config)
    }

    /// The same, whatever is wrong with it.
    pub(crate) fn gather(environment: &Environment, flags: &[(Flag, String)]) -> Self {
        let mut layers = Layers::default();
        let named = flags
            .iter()
            .find(|(flag, _)| *flag == Flag::Config)
            .map(|(_, path)| path.as_str());
        let named = named.or_else(|| environment.get("KAVACH_CONFIG"));
        let mut problems = match named {
            Some(path) => file::read(Path::new(path), &mut layers),
            None if Path::new(FILE).exists() => file::read(Path::new(FILE), &mut layers),
            None => Vec::new(),
        };
        problems.extend(layers.add_environment(environment));
        layers.add_flags(flags);
        Self {
            layers,
            problems,
            warnings: misspelt(environment),
        }
    }

    /// Everything that is wrong, for a server and for commands.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.read_server().1;
        problems.extend(self.read_client().1);
        problem::in_order(problems)
    }

    /// What a server needs, checked as a whole.
    pub(crate) fn server(&self) -> Result<Server, ConfigError> {
        let (server, problems) = self.read_server();
        ConfigError::unless_none(problems)?;
        Ok(server)
    }

    /// What can be read of it, with defaults for the rest, and what is wrong.
    fn read_server(&self) -> (Server, Vec<Problem>) {
        let mut reading = Reading::of(&self.layers);
        let database = reading.value("database", value::database);
        let database = Database::new(database.as_deref().unwrap_or(DATABASE));
        let issuer = reading
            .value("issuer", value::url)
            .unwrap_or_else(|| Uri::from_static(DEFAULT_URL));
        let brand = brand(&mut reading);
        let server = Server {
            checkpoint: checkpoint(&mut reading, &database),
            database,
            listen: reading.value("listen", value::listen).unwrap_or_default(),
            admin_key: reading
                .secret("admin_key", value::operator_key)
                .map(|(secret, _)| secret),
            master_key: reading
                .secret("master_key", value::master_key)
                .map(|(secret, _)| secret),
            loopback: reading
                .choice("fetch.loopback", &value::LOOPBACKS)
                .unwrap_or_default(),
            fetch_ca_file: reading
                .value("fetch.ca_file", value::text)
                .map(PathBuf::from),
            mail: mail::read(&mut reading),
            trusted_proxies: reading
                .value("trusted_proxies", value::networks)
                .unwrap_or_default(),
            connections: connections(&mut reading),
            log: Log {
                filter: reading
                    .value("log.filter", value::log_filter)
                    .unwrap_or_else(value::default_log_filter),
                form: reading
                    .choice("log.format", &value::LOG_FORMS)
                    .unwrap_or_default(),
            },
            max_import_bytes: max_import_bytes(&mut reading),
            methods: methods(
                &mut reading,
                [&brand.name, issuer.host().unwrap_or_default()],
            ),
            issuer,
            brand,
            password_threads: password_threads(&mut reading),
            settings: settings(&mut reading),
        };
        let mut problems = self.problems.clone();
        problems.append(&mut reading.problems);
        let unsafe_settings = safety::check(&server, &self.layers, &problems);
        problems.extend(unsafe_settings);
        problems.extend(mail::check(&server.mail, &self.layers, &problems));
        let (own, believed) = (server.issuer.to_string(), &server.settings.providers);
        let reach = (own.as_str(), server.loopback);
        problems.extend(providers::check(&self.layers.providers, believed, reach));
        (server, problems)
    }

    /// The database.
    pub(crate) fn database(&self) -> Database {
        Database::new(self.layers.text("database").unwrap_or(DATABASE))
    }

    /// Every setting with its value and where it came from.
    pub(crate) fn effective(&self) -> Vec<Effective> {
        effective::of(&self.layers)
    }

    /// What a command needs to reach a server.
    pub(crate) fn client(&self) -> Result<Client, ConfigError> {
        let (mut client, problems) = self.read_client();
        ConfigError::unless_none(problems)?;
        if client.key.is_none() && client.url == Uri::from_static(DEFAULT_URL) {
            client.key = self.dev_key()?;
        }
        Ok(client)
    }

    fn read_client(&self) -> (Client, Vec<Problem>) {
        let mut reading = Reading::of(&self.layers);
        let key = reading.secret("key", value::secret);
        let client = Client {
            url: reading
                .value("url", value::url)
                .unwrap_or_else(|| Uri::from_static(DEFAULT_URL)),
            key: key.map(|(secret, from)| Key { secret, from }),
            ca_file: reading.value("ca_file", value::text).map(PathBuf::from),
        };
        (client, reading.problems)
    }

    /// The key that `kavach dev` keeps beside the database.
    fn dev_key(&self) -> Result<Option<Key>, ConfigError> {
        let path = self.database().dev_key();
        if !path.exists() {
            return Ok(None);
        }
        let origin = Origin::File(format!("the file `{}`", path.display()));
        let text = layer::read_value_file("key", &path, &origin)?;
        let secret =
            value::secret(&text).map_err(|message| Problem::new("key", &origin, message))?;
        let from = origin.to_string();
        Ok(Some(Key { secret, from }))
    }

    /// The files that hold secrets, for those who look at their permissions.
    pub(crate) fn secret_files(&self) -> Vec<PathBuf> {
        self.layers.secret_files()
    }
}

fn checkpoint(reading: &mut Reading<'_>, database: &Database) -> Option<PathBuf> {
    match reading.value("checkpoint.path", value::text) {
        None => Some(database.checkpoint()),
        Some(path) if path == value::NOWHERE => None,
        Some(path) => Some(path.into()),
    }
}

fn password_threads(reading: &mut Reading<'_>) -> Option<NonZeroUsize> {
    let mut threads = 0;
    reading.count("passwords.threads", &mut threads);
    NonZeroUsize::new(threads)
}

fn max_import_bytes(reading: &mut Reading<'_>) -> u64 {
    let mut max = Options::default().max_import_bytes;
    reading.count("import.max_bytes", &mut max);
    max
}

fn brand(reading: &mut Reading<'_>) -> Brand {
    let told = |invalid: kavachos_core::invalid::Invalid| invalid.message().to_owned();
    let named = reading.value("pages.name", |text| {
        Brand::default().named(text).map_err(told)
    });
    let accent = reading.value("pages.accent", |text| text.parse().map_err(told));
    let css = reading.value("pages.css_file", value::style_sheet);
    let mut brand = named.unwrap_or_default();
    if let Some(accent) = accent {
        brand.accent = accent;
    }
    brand.css = css.unwrap_or_default();
    brand
}

/// How people sign in; these words are worth nothing in a password.
fn methods(reading: &mut Reading<'_>, words: [&str; 2]) -> Methods {
    let on = reading.value("auth.methods", value::methods);
    let breached = reading.choice("passwords.stolen", &value::STOLEN);
    Methods {
        on: on.unwrap_or_else(|| methods::USUAL.to_vec()),
        strictness: Strictness::Serving,
        breached: breached.unwrap_or_else(|| Methods::default().breached),
        words: words.map(str::to_owned).to_vec(),
    }
}

fn connections(reading: &mut Reading<'_>) -> Connections {
    let mut connections = Connections::default();
    reading.count("connections.max", &mut connections.max);
    reading.seconds("connections.idle_seconds", &mut connections.idle);
    connections
}

fn settings(reading: &mut Reading<'_>) -> Settings {
    let mut settings = Settings::default();
    reading.count("agents.max_per_owner", &mut settings.agents_per_owner);
    reading.count("agents.max_grants", &mut settings.grants_per_agent);
    reading.seconds("agents.key_ttl_seconds", &mut settings.agent_key_ttl);
    reading.count(
        "agents.max_denials_per_minute",
        &mut settings.denials_per_minute,
    );
    reading.count("reports.max_per_minute", &mut settings.reports_per_minute);
    reading.count(
        "oauth.max_refreshes_per_minute",
        &mut settings.refreshes_per_minute,
    );
    reading.count("delegations.max_children", &mut settings.children_per_grant);
    reading.seconds("delegations.ttl_seconds", &mut settings.delegation_ttl);
    reading.count("directory.max_entries", &mut settings.directory_entries);
    reading.days("signing_keys.life_days", &mut settings.signing_key_life);
    people(reading, &mut settings);
    settings.providers = reading.providers();
    settings.feed_root = reading
        .value("feed.root", value::feed_root)
        .unwrap_or_default();
    settings.feed = reading
        .choice("feed.open", &value::FEEDS)
        .unwrap_or_default();
    settings
}

/// How people sign in, and for how long.
fn people(reading: &mut Reading<'_>, settings: &mut Settings) {
    reading.seconds("sessions.idle_seconds", &mut settings.session_idle);
    reading.seconds("sessions.life_seconds", &mut settings.session_life);
    reading.seconds("sessions.fresh_seconds", &mut settings.session_fresh);
    reading.count(
        "limits.guesses_per_account",
        &mut settings.guesses_per_account,
    );
    reading.count("limits.guesses_in_a_row", &mut settings.guesses_in_a_row);
    reading.count("limits.wrong_codes", &mut settings.wrong_codes);
    reading.count(
        "limits.mails_per_recipient",
        &mut settings.mails_per_recipient,
    );
    let doors = &mut settings.doors;
    reading.count(
        "limits.sign_ins_per_source",
        &mut doors.sign_ins.per_source.limit,
    );
    doors.codes.per_source = doors.sign_ins.per_source;
    reading.count(
        "limits.sign_ups_per_source",
        &mut doors.sign_ups.per_source.limit,
    );
    settings.sign_ups = reading
        .choice("auth.sign_ups", &value::SIGN_UPS)
        .unwrap_or_default();
    settings.second_factor = reading
        .choice("auth.second_factor", &value::SECOND_FACTORS)
        .unwrap_or_default();
    settings.registration = reading
        .choice("oauth.registration", &value::REGISTRATIONS)
        .unwrap_or_default();
    settings.proof_nonces = reading
        .choice("oauth.dpop_nonces", &value::PROOF_NONCES)
        .unwrap_or_default();
}

/// A word about each variable that looks like a misspelt one of ours.
fn misspelt(environment: &Environment) -> Vec<String> {
    let names = environment.variables.keys();
    let ours = names.filter(|name| name.starts_with(setting::PREFIX));
    ours.filter_map(|name| {
        let meant = setting::misspelt(name)?;
        Some(format!(
            "warning: the variable {name} has no effect; did you mean {meant}?"
        ))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment {
            variables: variables.iter().map(owned).collect(),
            program: "kavach".to_owned(),
        }
    }

    fn with_file(
        text: &str,
        variables: &[(&str, &str)],
        flags: &[(Flag, String)],
    ) -> Result<Server, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kavach.toml");
        std::fs::write(&path, text).unwrap();
        let mut flags = flags.to_vec();
        flags.push((Flag::Config, path.display().to_string()));
        let server = Config::gather(&environment(variables), &flags).server();
        let place = format!("{}", path.display());
        server.map_err(|error| error.to_string().replace(&place, "kavach.toml"))
    }

    fn refused(text: &str, variables: &[(&str, &str)]) -> String {
        with_file(text, variables, &[]).err().unwrap()
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let text = "database = \"file.db\"\n[agents]\nmax_per_owner = 7\n";
        let server = with_file(text, &[], &[]).unwrap();
        assert_eq!(
            (server.database, server.settings.agents_per_owner),
            (Database::new("file.db"), 7)
        );
        let variables = [
            ("KAVACH_DATABASE", "variable.db"),
            ("KAVACH_AGENTS_MAX_PER_OWNER", "8"),
        ];
        let server = with_file(text, &variables, &[]).unwrap();
        assert_eq!(
            (server.database, server.settings.agents_per_owner),
            (Database::new("variable.db"), 8)
        );
        let server =
            with_file(text, &variables, &[(Flag::Database, "flag.db".to_owned())]).unwrap();
        assert_eq!(server.database, Database::new("flag.db"));
    }

    #[test]
    fn an_error_names_the_full_key_and_the_line() {
        assert_eq!(
            refused("\n[agents]\nmax_per_ownr = 7\n", &[]),
            "`agents.max_per_ownr` (kavach.toml, line 3): this is no setting; did you mean `agents.max_per_owner`?"
        );
        assert_eq!(
            refused("[agents]\nmax_per_owner = -1\n", &[]),
            "`agents.max_per_owner` (kavach.toml, line 2): `-1` is no whole number from 1 to 1000000000"
        );
        assert!(refused("listen = [\n", &[]).starts_with("`kavach.toml` (line 1): "));
        assert!(
            refused("admin_key = \"kv_key_x\"", &[]).contains("secrets do not belong in this file")
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = "listen = \"here\"\ncolour = 1\n[agents]\nmax_grants = \"7\"\n[log]\nformat = \"xml\"\n";
        let variables = [
            ("KAVACH_ISSUER", "http://kavach.example.com"),
            ("KAVACH_TRUSTED_PROXIES", "0.0.0.0/0"),
            ("KAVACH_MASTER_KEY", "kv_key_hunter2"),
        ];
        let told = refused(text, &variables);
        let about: Vec<&str> = told
            .lines()
            .map(|line| line.split(':').next().unwrap())
            .collect();
        assert_eq!(
            about,
            [
                "`listen` (kavach.toml, line 1)",
                "`colour` (kavach.toml, line 2)",
                "`agents.max_grants` (kavach.toml, line 4)",
                "`log.format` (kavach.toml, line 6)",
                "`master_key` (variable KAVACH_MASTER_KEY)",
                "`issuer` (variable KAVACH_ISSUER)",
                "`trusted_proxies` (variable KAVACH_TRUSTED_PROXIES)",
            ],
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn what_does_not_parse_is_told_once_and_its_values_are_not_judged() {
        let told = refused("a = \nb = 1 2\ncolour = 1\n", &[]);
        assert!(
            told.contains("(line 1)") && told.contains("(line 2)"),
            "{told}"
        );
        assert!(!told.contains("colour"), "{told}");
    }

    #[test]
    fn an_error_names_the_variable_and_never_a_secret() {
        let message = refused("", &[("KAVACH_LISTEN", "here")]);
        assert!(
            message.starts_with("`listen` (variable KAVACH_LISTEN): `here` is no address"),
            "{message}"
        );
        let message = refused("", &[("KAVACH_ADMIN_KEY", "kv_key_hunter2")]);
        assert!(
            message.starts_with("`admin_key` (variable KAVACH_ADMIN_KEY): ")
                && !message.contains("hunter2"),
            "{message}"
        );
        let message = refused(
            "",
            &[("KAVACH_ADMIN_KEY", "x"), ("KAVACH_ADMIN_KEY_FILE", "y")],
        );
        assert!(message.contains("KAVACH_ADMIN_KEY_FILE"), "{message}");
    }

    #[test]
    fn any_variable_may_name_a_file_that_holds_the_value() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("database");
        std::fs::write(&file, "postgres://db.internal/kavach\n").unwrap();
        let told = |path: &Path| {
            let path = path.to_string_lossy().into_owned();
            refused(
                "",
                &[("KAVACH_DATABASE_FILE", &path), ("KAVACH_LISTEN", "here")],
            )
        };
        assert!(!told(&file).contains("database"));
        let missing = told(&directory.path().join("none"));
        assert!(
            missing.contains("`database` (variable KAVACH_DATABASE_FILE): cannot read"),
            "{missing}"
        );
    }

    #[test]
    fn the_command_to_repeat_is_the_one_that_was_typed() {
        let program = |name: &str, variables: &[(&str, &str)]| {
            Environment {
                program: name.to_owned(),
                ..environment(variables)
            }
            .program()
        };
        assert_eq!(
            program("target/release/kavach", &[("CARGO", "cargo")]),
            "cargo run -q --release --"
        );
        assert_eq!(
            program("target/debug/kavach", &[("CARGO", "cargo")]),
            "cargo run -q --"
        );
        assert_eq!(program("./kavach", &[]), "./kavach");
    }

    #[test]
    fn the_names_of_the_product_and_its_host_are_no_passwords() {
        let text = "issuer = \"https://auth.acme.example\"\n[pages]\nname = \"Acme Robots\"\n";
        let server = with_file(text, &[], &[]).unwrap();
        assert_eq!(server.methods.words, ["Acme Robots", "auth.acme.example"]);
        let usual = with_file("", &[], &[]).unwrap();
        assert_eq!(usual.methods.words, ["KavachOS", "localhost"]);
    }
}
