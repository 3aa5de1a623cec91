//! The settings: the one table that the file, the environment, the help, the schema and the example are read from.

use std::time::Duration;

use kavachos_engine::{
    Doors, MAX_KEY_TTL, ProofNonces, Registration, SecondFactor, Settings, SignUps,
};
use kavachos_http::{Brand, Options};

use super::mail;
use super::value::{self, Connections, Listen};
use super::{DATABASE, DEFAULT_URL};
use crate::methods;

/// How many seconds a day has.
pub(super) const DAY_SECONDS: u64 = 24 * 60 * 60;
/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "KAVACH_";
/// How many characters may differ for a name to be taken for a misspelt one.
const MAX_DISTANCE: usize = 2;
/// The largest number that a limit may be set to.
const MAX_COUNT: u64 = 1_000_000_000;
/// How many threads may hash passwords.
const MAX_PASSWORD_THREADS: u64 = 1_024;
/// The largest file that a server may be told to import: a pebibyte, more than any disk takes.
const MAX_IMPORT_BYTES: u64 = 1 << 50;
/// How many connections a server may be told to have.
const MAX_CONNECTIONS: u64 = 1_000_000;
/// The longest life of a session: a year.
const MAX_SESSION: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The longest time for which nobody is asked again: a day.
const MAX_FRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a connection may be allowed to be idle: a day.
const MAX_IDLE: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest life of a delegation that may be set as the usual one: ten years.
const MAX_DELEGATION_TTL: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);
/// The longest that a key may be told to sign before the next one does, in days: a year.
const MAX_SIGNING_KEY_DAYS: u64 = 365;
/// A colour.
const COLOUR: &str = "^#[0-9A-Fa-f]{6}$";
/// How the address of a server begins.
const HTTP: &str = "^[Hh][Tt][Tt][Pp][Ss]?://";

/// What may be a JSON Web Key, or says that there is none.
const JWK: &str = r"^(off$|\s*\{)";

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// A text that is not empty; one that can be right matches the pattern.
    Text { pattern: Option<&'static str> },
    /// Texts; in one text they are separated by commas.
    List { min: usize, max: usize },
    /// A whole number from 1.
    Count { max: u64 },
    /// One of these texts.
    Choice(fn() -> Vec<&'static str>),
    /// Never from `kavach.toml`, never shown.
    Secret,
}

/// What holds where a setting is not given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Preset {
    /// This.
    Value(fn() -> String),
    /// Nothing; it could be something like this.
    Unset { example: &'static str },
}

/// A setting: its key in the file, its variable, and what it is.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) variable: &'static str,
    pub(super) about: &'static str,
    pub(super) form: Form,
    pub(super) preset: Preset,
}

impl Setting {
    const fn new(key: &'static str, variable: &'static str, about: &'static str) -> Self {
        Self {
            key,
            variable,
            about,
            form: Form::Text { pattern: None },
            preset: Preset::Unset { example: "" },
        }
    }

    const fn of(self, form: Form) -> Self {
        Self { form, ..self }
    }

    const fn up_to(self, max: u64) -> Self {
        self.of(Form::Count { max })
    }

    const fn or(self, value: fn() -> String) -> Self {
        let preset = Preset::Value(value);
        Self { preset, ..self }
    }

    const fn like(self, example: &'static str) -> Self {
        let preset = Preset::Unset { example };
        Self { preset, ..self }
    }

    /// Whether its value is a secret.
    pub(super) const fn is_secret(&self) -> bool {
        matches!(self.form, Form::Secret)
    }

    /// The table of the file that it is in, and its name there.
    pub(super) fn place(&self) -> (Option<&'static str>, &'static str) {
        match self.key.split_once('.') {
            Some((table, name)) => (Some(table), name),
            None => (None, self.key),
        }
    }

    /// The value that holds where none is given.
    pub(super) fn default(&self) -> Option<String> {
        match self.preset {
            Preset::Value(value) => Some(value()),
            Preset::Unset { .. } => None,
        }
    }
}

/// Every setting there is: first those of a server, then those of the command line.
pub(super) static SETTINGS: &[Setting] = &[
    Setting::new(
        "database",
        "KAVACH_DATABASE",
        "the database: a file, or `postgres://...`",
    )
    .or(|| DATABASE.to_owned()),
    Setting::new("listen", "KAVACH_LISTEN", "addresses to listen on")
        .of(Form::List {
            min: 1,
            max: value::MAX_LISTEN,
        })
        .or(|| Listen::Loopback.to_string()),
    Setting::new(
        "issuer",
        "KAVACH_ISSUER",
        "the public address, https unless it is this machine",
    )
    .of(Form::Text {
        pattern: Some(HTTP),
    })
    .or(|| DEFAULT_URL.to_owned()),
    Setting::new(
        "admin_key",
        "KAVACH_ADMIN_KEY",
        "an operator key that lives as long as it is set",
    )
    .of(Form::Secret),
    Setting::new(
        "master_key",
        "KAVACH_MASTER_KEY",
        "what the secrets of webhooks are derived from, instead of the file beside the database",
    )
    .of(Form::Secret),
    Setting::new(
        "checkpoint.path",
        "KAVACH_CHECKPOINT_PATH",
        "where `serve` notes how far its logs have come, to notice an old backup: best on another disk; `off` for nowhere; \
         else beside the database",
    )
    .like("kavach.checkpoint"),
    Setting::new(
        "fetch.loopback",
        "KAVACH_FETCH_LOOPBACK",
        "`allow` lets webhooks, and documents of clients, be on this machine, without TLS too: for development; else `refuse`",
    )
    .of(Form::Choice(|| value::names(&value::LOOPBACKS)))
    .or(|| value::name_of(&value::LOOPBACKS, kavachos::Loopback::default())),
    Setting::new(
        "fetch.ca_file",
        "KAVACH_FETCH_CA_FILE",
        "authorities that are trusted for TLS where a server fetches something, besides the public ones",
    )
    .like("authorities.pem"),
    Setting::new(
        "feed.open",
        "KAVACH_FEED_OPEN",
        "`yes` lets everyone follow what is revoked, without a key, as `dev` does; else `no`",
    )
    .of(Form::Choice(|| value::names(&value::FEEDS)))
    .or(|| value::name_of(&value::FEEDS, kavachos::FeedAccess::default())),
    Setting::new(
        "feed.root",
        "KAVACH_FEED_ROOT",
        "the public half of a key that is kept offline, as `kavach keys root new` prints it: without its signature no other \
         key signs what is revoked; `off` for none: those keys rotate by age",
    )
    .of(Form::Text {
        pattern: Some(JWK),
    })
    .or(|| value::NOWHERE.to_owned()),
    Setting::new(
        "auth.methods",
        "KAVACH_AUTH_METHODS",
        "how people sign in; `off` for not at all",
    )
    .of(Form::List {
        min: 1,
        max: methods::ALL.len(),
    })
    .or(|| methods::USUAL.join(",")),
    Setting::new(
        "auth.sign_ups",
        "KAVACH_AUTH_SIGN_UPS",
        "`open` for everyone; `closed` where operators make the accounts",
    )
    .of(Form::Choice(|| value::names(&value::SIGN_UPS)))
    .or(|| value::name_of(&value::SIGN_UPS, SignUps::default())),
    Setting::new(
        "auth.second_factor",
        "KAVACH_AUTH_SECOND_FACTOR",
        "of whom a second factor is demanded, `totp` or `passkey`: `admins` for those with the role admin or owner, `everyone`; \
         `offered` for nobody: it is asked of whoever set one up",
    )
    .of(Form::Choice(|| value::names(&value::SECOND_FACTORS)))
    .or(|| value::name_of(&value::SECOND_FACTORS, SecondFactor::default())),
    Setting::new(
        "oauth.registration",
        "KAVACH_OAUTH_REGISTRATION",
        "whether OAuth clients register themselves: `open` for whoever comes, `token` for whoever shows an operator's key, `off`; \
         `kavach dev` is open",
    )
    .of(Form::Choice(|| value::names(&value::REGISTRATIONS)))
    .or(|| value::name_of(&value::REGISTRATIONS, Registration::default())),
    Setting::new(
        "oauth.max_refreshes_per_minute",
        "KAVACH_OAUTH_MAX_REFRESHES_PER_MINUTE",
        "refreshes of one application that a human let in, in a minute",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().refreshes_per_minute.to_string()),
    Setting::new(
        "oauth.dpop_nonces",
        "KAVACH_OAUTH_DPOP_NONCES",
        "whether OAuth clients that prove a key repeat a nonce of this server (RFC 9449): `required`; `off` for clients that cannot",
    )
    .of(Form::Choice(|| value::names(&value::PROOF_NONCES)))
    .or(|| value::name_of(&value::PROOF_NONCES, ProofNonces::default())),
    Setting::new(
        "sessions.idle_seconds",
        "KAVACH_SESSIONS_IDLE_SECONDS",
        "how long a session lives that is not used",
    )
    .up_to(MAX_SESSION.as_secs())
    .or(|| seconds(Settings::default().session_idle)),
    Setting::new(
        "sessions.life_seconds",
        "KAVACH_SESSIONS_LIFE_SECONDS",
        "how long a session lives however much it is used",
    )
    .up_to(MAX_SESSION.as_secs())
    .or(|| seconds(Settings::default().session_life)),
    Setting::new(
        "sessions.fresh_seconds",
        "KAVACH_SESSIONS_FRESH_SECONDS",
        "for how long after a sign-in nobody is asked again before what is sensitive",
    )
    .up_to(MAX_FRESH.as_secs())
    .or(|| seconds(Settings::default().session_fresh)),
    Setting::new(
        "limits.guesses_per_account",
        "KAVACH_LIMITS_GUESSES_PER_ACCOUNT",
        "wrong passwords or codes of one account in an hour, before each further one has to wait",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().guesses_per_account.to_string()),
    Setting::new(
        "limits.guesses_in_a_row",
        "KAVACH_LIMITS_GUESSES_IN_A_ROW",
        "guesses in a row at one human's password, or at the codes of their app, that may be wrong before it is looked at only in browsers in which they signed in before",
    )
    .up_to(100)
    .or(|| Settings::default().guesses_in_a_row.to_string()),
    Setting::new(
        "limits.wrong_codes",
        "KAVACH_LIMITS_WRONG_CODES",
        "wrong codes of six digits of all accounts together in an hour, of each method, before each further one has to wait a minute; those in browsers in which their human signed in before are not counted, and one network (/24, /48) may take a tenth",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().wrong_codes.to_string()),
    Setting::new(
        "limits.mails_per_recipient",
        "KAVACH_LIMITS_MAILS_PER_RECIPIENT",
        "mails that strangers ask for, to one address in an hour",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().mails_per_recipient.to_string()),
    Setting::new(
        "limits.sign_ins_per_source",
        "KAVACH_LIMITS_SIGN_INS_PER_SOURCE",
        "attempts to sign in, of each kind, of one network (/24, /64) in ten minutes",
    )
    .up_to(MAX_COUNT)
    .or(|| Doors::default().sign_ins.per_source.limit.to_string()),
    Setting::new(
        "limits.sign_ups_per_source",
        "KAVACH_LIMITS_SIGN_UPS_PER_SOURCE",
        "sign-ups of one network (/24, /64) in an hour",
    )
    .up_to(MAX_COUNT)
    .or(|| Doors::default().sign_ups.per_source.limit.to_string()),
    Setting::new(
        "mail.sender",
        "KAVACH_MAIL_SENDER",
        "who sends mail: `smtp`, a service, or `off`; `dev` prints it instead (`console`) unless this is set",
    )
    .of(Form::Choice(|| value::names(&mail::SENDERS)))
    .or(|| value::name_of(&mail::SENDERS, mail::Via::Off)),
    Setting::new(
        "mail.from",
        "KAVACH_MAIL_FROM",
        "whom mail is from: an address that the sender may use, best with a name, which stands in the mails",
    )
    .like("Example <auth@example.com>"),
    Setting::new(
        "mail.templates",
        "KAVACH_MAIL_TEMPLATES",
        "a directory with templates in the place of the embedded ones, one directory for each language",
    )
    .like("templates"),
    Setting::new(
        "mail.language",
        "KAVACH_MAIL_LANGUAGE",
        "the language for readers of whom none is known; other ones than `en` need templates",
    )
    .or(|| mail::LANGUAGE.to_owned()),
    Setting::new("mail.smtp_host", "KAVACH_MAIL_SMTP_HOST", "the SMTP server")
        .like("smtp.example.com"),
    Setting::new(
        "mail.smtp_port",
        "KAVACH_MAIL_SMTP_PORT",
        "its port; else 465 with `tls`, 587 with `starttls`, 25 without",
    )
    .up_to(mail::MAX_PORT)
    .like("587"),
    Setting::new(
        "mail.smtp_security",
        "KAVACH_MAIL_SMTP_SECURITY",
        "`tls` from the first byte, `starttls` or nothing is sent, `plain` to this machine alone; `plain_anywhere` lets \
         everyone on the way read every link",
    )
    .of(Form::Choice(|| value::names(&mail::SECURITIES)))
    .or(|| value::name_of(&mail::SECURITIES, kavachos::mail::Security::default())),
    Setting::new("mail.smtp_user", "KAVACH_MAIL_SMTP_USER", "who we are there").like("kavach"),
    Setting::new(
        "mail.smtp_password",
        "KAVACH_MAIL_SMTP_PASSWORD",
        "the password of `mail.smtp_user`",
    )
    .of(Form::Secret),
    Setting::new(
        "mail.smtp_ca_file",
        "KAVACH_MAIL_SMTP_CA_FILE",
        "authorities that are trusted for the SMTP server, besides the public ones",
    )
    .like("authorities.pem"),
    Setting::new(
        "mail.api_key",
        "KAVACH_MAIL_API_KEY",
        "the key of the service that sends mail; with `ses` the secret access key",
    )
    .of(Form::Secret),
    Setting::new(
        "mail.api_url",
        "KAVACH_MAIL_API_URL",
        "the address of the service without a path, where it is not the usual one",
    )
    .of(Form::Text {
        pattern: Some(HTTP),
    })
    .like("https://api.eu.sendgrid.com"),
    Setting::new(
        "mail.ses_region",
        "KAVACH_MAIL_SES_REGION",
        "the region of Amazon SES",
    )
    .like("eu-central-1"),
    Setting::new(
        "mail.ses_access_key_id",
        "KAVACH_MAIL_SES_ACCESS_KEY_ID",
        "names the access key for Amazon SES",
    )
    .like("AKIAIOSFODNN7EXAMPLE"),
    Setting::new(
        "passwords.stolen",
        "KAVACH_PASSWORDS_STOLEN",
        "passwords that people choose are looked up in the list of stolen ones of Have I Been Pwned, of which five digits \
         of their hash are told; when it cannot be asked: `accept` them, or `refuse` them; `off` to ask nobody",
    )
    .of(Form::Choice(|| value::names(&value::STOLEN)))
    .or(|| value::name_of(&value::STOLEN, methods::Methods::default().breached)),
    Setting::new(
        "passwords.threads",
        "KAVACH_PASSWORDS_THREADS",
        "threads that hash passwords, each in 19 MiB; half of the cores unless given",
    )
    .up_to(MAX_PASSWORD_THREADS)
    .like("2"),
    Setting::new(
        "trusted_proxies",
        "KAVACH_TRUSTED_PROXIES",
        "networks whose X-Forwarded-For counts",
    )
    .of(Form::List {
        min: 0,
        max: value::MAX_PROXIES,
    })
    .or(String::new),
    Setting::new(
        "connections.max",
        "KAVACH_CONNECTIONS_MAX",
        "connections at the same time; further ones wait",
    )
    .up_to(MAX_CONNECTIONS)
    .or(|| Connections::default().max.to_string()),
    Setting::new(
        "connections.idle_seconds",
        "KAVACH_CONNECTIONS_IDLE_SECONDS",
        "how long a client may send no request, or take nothing of its answer",
    )
    .up_to(MAX_IDLE.as_secs())
    .or(|| seconds(Connections::default().idle)),
    Setting::new(
        "log.filter",
        "KAVACH_LOG",
        "what is logged, as in `warn,kavachos=debug`",
    )
    .or(|| value::DEFAULT_LOG_FILTER.to_string()),
    Setting::new("log.format", "KAVACH_LOG_FORMAT", "`plain` or `json`")
        .of(Form::Choice(|| value::names(&value::LOG_FORMS)))
        .or(|| value::name_of(&value::LOG_FORMS, value::LogForm::default())),
    Setting::new(
        "agents.max_per_owner",
        "KAVACH_AGENTS_MAX_PER_OWNER",
        "agents of one human",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().agents_per_owner.to_string()),
    Setting::new(
        "agents.max_grants",
        "KAVACH_AGENTS_MAX_GRANTS",
        "live grants of one agent",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().grants_per_agent.to_string()),
    Setting::new(
        "agents.key_ttl_seconds",
        "KAVACH_AGENTS_KEY_TTL_SECONDS",
        "life of an agent's key",
    )
    .up_to(MAX_KEY_TTL.as_secs())
    .or(|| seconds(Settings::default().agent_key_ttl)),
    Setting::new(
        "agents.max_denials_per_minute",
        "KAVACH_AGENTS_MAX_DENIALS_PER_MINUTE",
        "denials of one agent, and refusals of one human, on record one by one",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().denials_per_minute.to_string()),
    Setting::new(
        "reports.max_per_minute",
        "KAVACH_REPORTS_MAX_PER_MINUTE",
        "decisions that one tool server may report in a minute, or one batch if that is more; refusals of its own calls count",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().reports_per_minute.to_string()),
    Setting::new(
        "delegations.max_children",
        "KAVACH_DELEGATIONS_MAX_CHILDREN",
        "live delegations below one grant",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().children_per_grant.to_string()),
    Setting::new(
        "delegations.ttl_seconds",
        "KAVACH_DELEGATIONS_TTL_SECONDS",
        "life of a delegation",
    )
    .up_to(MAX_DELEGATION_TTL.as_secs())
    .or(|| seconds(Settings::default().delegation_ttl)),
    Setting::new(
        "signing_keys.life_days",
        "KAVACH_SIGNING_KEY_LIFE_DAYS",
        "how long a key signs before the next one does by itself",
    )
    .up_to(MAX_SIGNING_KEY_DAYS)
    .or(|| days(Settings::default().signing_key_life)),
    Setting::new(
        "pages.name",
        "KAVACH_PAGES_NAME",
        "the name of the product, as the pages for people show it",
    )
    .or(|| Brand::default().name),
    Setting::new(
        "pages.accent",
        "KAVACH_PAGES_ACCENT",
        "the colour of what may be pressed on them; shown lighter or darker where it could not be read",
    )
    .of(Form::Text {
        pattern: Some(COLOUR),
    })
    .or(|| Brand::default().accent.to_string()),
    Setting::new(
        "pages.css_file",
        "KAVACH_PAGES_CSS_FILE",
        "a style sheet on top of theirs, at most 256 KiB, read at the start; they serve it themselves, and it loads nothing from elsewhere",
    )
    .like("brand.css"),
    Setting::new(
        "import.max_bytes",
        "KAVACH_IMPORT_MAX_BYTES",
        "the largest file that `POST /api/v1/import` takes",
    )
    .up_to(MAX_IMPORT_BYTES)
    .or(|| Options::default().max_import_bytes.to_string()),
    Setting::new(
        "directory.max_entries",
        "KAVACH_DIRECTORY_MAX_ENTRIES",
        "users, agents, grants, keys kept in memory",
    )
    .up_to(MAX_COUNT)
    .or(|| Settings::default().directory_entries.to_string()),
    Setting::new(
        "url",
        "KAVACH_URL",
        "the server that the command line talks to",
    )
    .of(Form::Text {
        pattern: Some(HTTP),
    })
    .or(|| DEFAULT_URL.to_owned()),
    Setting::new("key", "KAVACH_KEY", "the command line's credential").of(Form::Secret),
    Setting::new(
        "ca_file",
        "KAVACH_CA_FILE",
        "authorities that the command line trusts for TLS, besides the public ones",
    )
    .like("authorities.pem"),
];

fn seconds(time: Duration) -> String {
    time.as_secs().to_string()
}

fn days(time: Duration) -> String {
    (time.as_secs() / DAY_SECONDS).to_string()
}

/// The setting with this key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Whether settings are kept in a table of this name.
pub(super) fn is_table(name: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| setting.place().0 == Some(name))
}

/// The settings as they are documented in the help.
pub(crate) fn reference() -> String {
    let row = |setting: &Setting| {
        let Setting {
            key,
            variable,
            about,
            ..
        } = setting;
        let names = if setting.is_secret() {
            (*variable).to_owned()
        } else {
            format!("{key}, {variable}")
        };
        format!("  {names}\n      {about}\n")
    };
    let rows: String = SETTINGS.iter().map(row).collect();
    format!(
        "Settings, by key in kavach.toml and by variable (secrets by variable only). Every variable also with _FILE at its \
         end, for a file that holds the value:\n{rows}  [[providers]], in kavach.toml alone\n      outside providers \
         whose humans may use their id_tokens; `kavach config example` shows one\n  KAVACH_CLIENT_<ID>_SECRET\n      the \
         secret of a client of a provider\n"
    )
}

/// The key that was meant by one that is none: nearly the same, or the same without its table.
pub(super) fn meant_by(key: &str) -> Option<&'static str> {
    let in_file = SETTINGS.iter().filter(|setting| !setting.is_secret());
    let mut same_name = in_file.filter(|setting| key == setting.place().1);
    nearest(key, |setting| setting.key).or_else(|| match (same_name.next(), same_name.next()) {
        (Some(setting), None) => Some(setting.key),
        _ => None,
    })
}

/// The variable that was meant by one that is none. Others are left alone: an orchestrator that runs a service named
/// `kavach` sets `KAVACH_PORT` and more.
pub(super) fn misspelt(variable: &str) -> Option<&'static str> {
    let is = |setting: &Setting| {
        let file = variable.strip_suffix("_FILE");
        variable == setting.variable || file == Some(setting.variable)
    };
    if variable == "KAVACH_CONFIG" || SETTINGS.iter().any(is) {
        return None;
    }
    nearest(variable, |setting| setting.variable)
}

fn nearest(name: &str, of: impl Fn(&Setting) -> &'static str) -> Option<&'static str> {
    let near = SETTINGS
        .iter()
        .map(|setting| (distance(name, of(setting)), of(setting)));
    near.filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .min()
        .map(|(_, known)| known)
}

/// How many characters must be inserted, deleted or replaced to make one text the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, from) in left.chars().enumerate() {
        let mut diagonal = above;
        let mut before = above + 1;
        let mut next = vec![before];
        for (to, upper) in right.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *upper;
            before = replaced.min(upper + 1).min(before + 1);
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_words_counts_their_differences() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("KAVACH_LISTN", "KAVACH_LISTEN", 1),
        ] {
            assert_eq!(
                (distance(left, right), distance(right, left)),
                (expected, expected),
                "{left} {right}"
            );
        }
    }

    #[test]
    fn a_misspelt_variable_is_told_from_one_of_an_orchestrator() {
        for (variable, meant) in [
            ("KAVACH_LISTN", Some("KAVACH_LISTEN")),
            ("KAVACH_ADMINKEY", Some("KAVACH_ADMIN_KEY")),
            ("KAVACH_LISTEN", None),
            ("KAVACH_KEY_FILE", None),
            ("KAVACH_DATABASE_FILE", None),
            ("KAVACH_CONFIG", None),
            ("KAVACH_SERVICE_PORT", None),
            ("KAVACH_PORT_3000_TCP_ADDR", None),
        ] {
            assert_eq!(misspelt(variable), meant, "{variable}");
        }
    }

    #[test]
    fn a_key_without_its_table_or_nearly_right_is_understood() {
        for (key, meant) in [
            ("agents.max_per_ownr", Some("agents.max_per_owner")),
            ("agent.max_per_owner", Some("agents.max_per_owner")),
            ("max_per_owner", Some("agents.max_per_owner")),
            ("loopback", Some("fetch.loopback")),
            ("colour", None),
        ] {
            assert_eq!(meant_by(key), meant, "{key}");
        }
    }

    #[test]
    fn no_two_settings_share_a_name() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            let others = SETTINGS.iter().skip(index + 1);
            assert!(setting.variable.starts_with(PREFIX));
            for other in others {
                assert!(
                    setting.key != other.key && setting.variable != other.variable,
                    "{setting:?} {other:?}"
                );
            }
        }
    }
}
