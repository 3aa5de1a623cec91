//! Texts of settings, read. Errors say what is wrong with the text, never whose it is, and never repeat a secret.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use kavachos::{FeedAccess, Loopback};
use kavachos_auth::password::WhenUnreachable;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::token::FeedRoot;
use kavachos_engine::{ProofNonces, Registration, SecondFactor, SignUps};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::database::Database;
use crate::methods;

/// The port of a server that was told nothing else.
const PORT: u16 = 3000;
/// How many addresses a server listens on at the most.
pub(super) const MAX_LISTEN: usize = 16;
/// How many proxies or networks of them are trusted at the most.
pub(super) const MAX_PROXIES: usize = 256;
/// How many connections a server has at the same time unless told otherwise.
const CONNECTIONS: u32 = 10_000;
/// How long a connection may be idle unless told otherwise.
const IDLE: Duration = Duration::from_secs(30);
/// What is logged unless told otherwise.
pub(super) const DEFAULT_LOG_FILTER: LevelFilter = LevelFilter::INFO;
/// What says that there is none of something, or that it is kept nowhere.
pub(super) const NOWHERE: &str = "off";
/// The largest style sheet on top of that of the pages.
const MAX_STYLE_BYTES: u64 = 256 << 10;
/// How much of a wrong text is repeated.
const MAX_SHOWN: usize = 80;

/// A credential and where it was found.
pub(crate) struct Key {
    /// The credential.
    pub(crate) secret: Secret,
    /// Which variable or file.
    pub(crate) from: String,
}

/// What clients, strangers too, may hold of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connections {
    /// How many connections are open at the same time; further ones wait to be accepted.
    pub(crate) max: u32,
    /// How long a client may take for the head of a request, be silent between two, and take nothing of an answer.
    pub(crate) idle: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: CONNECTIONS,
            idle: IDLE,
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// Which events.
    pub(crate) filter: Targets,
    /// In which form.
    pub(crate) form: LogForm,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogForm {
    /// For people.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
}

/// Where a server listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Listen {
    /// On this machine's own addresses, ::1 only where there is one.
    #[default]
    Loopback,
    /// On these, all of them.
    At(Vec<SocketAddr>),
}

impl Listen {
    /// The addresses, each with whether the machine may lack it.
    pub(crate) fn addresses(&self) -> Vec<(SocketAddr, Presence)> {
        match self {
            Self::Loopback => vec![
                ((Ipv4Addr::LOCALHOST, PORT).into(), Presence::Required),
                ((Ipv6Addr::LOCALHOST, PORT).into(), Presence::IfAvailable),
            ],
            Self::At(addresses) => addresses
                .iter()
                .map(|address| (*address, Presence::Required))
                .collect(),
        }
    }

    /// The first address that others than this machine can reach.
    pub(crate) fn reachable(&self) -> Option<SocketAddr> {
        let addresses = self.addresses().into_iter().map(|(address, _)| address);
        addresses
            .into_iter()
            .find(|address| !address.ip().to_canonical().is_loopback())
    }
}

/// As it would be configured.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses().into_iter();
        let texts: Vec<String> = addresses.map(|(address, _)| address.to_string()).collect();
        f.write_str(&texts.join(","))
    }
}

/// Whether a server runs without an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// No.
    Required,
    /// Yes, if the machine has no such address.
    IfAvailable,
}

/// The beginning of a text, to be repeated in an error.
fn clip(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

pub(super) fn listen(text: &str) -> Result<Listen, String> {
    let address = |part: &str| {
        let part = part.trim();
        part.parse().map_err(|_| {
            format!(
                "`{}` is no address and port like `127.0.0.1:3000` or `[::1]:3000`",
                clip(part)
            )
        })
    };
    let addresses: Vec<SocketAddr> = text.split(',').map(address).collect::<Result<_, _>>()?;
    if addresses.len() > MAX_LISTEN {
        return Err(format!("names more than {MAX_LISTEN} addresses"));
    }
    Ok(Listen::At(addresses))
}

/// A text that says something.
pub(super) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty: leave it out, or say something".to_owned());
    }
    Ok(text.to_owned())
}

/// The name of a database. What libpq takes for its settings is not shown: it may hold a password.
pub(super) fn database(name: &str) -> Result<String, String> {
    if Database::is_settings(name) {
        return Err(
            "give a PostgreSQL server as `postgres://user:password@host/database`".to_owned(),
        );
    }
    text(name)
}

/// An address with a scheme and a host, without credentials and without a query. A closing slash does not matter.
pub(crate) fn url(text: &str) -> Result<Uri, String> {
    if text.contains('@') {
        // What stands before it may be a password.
        return Err("holds an `@`: leave user name and password out".to_owned());
    }
    let wrong = || {
        format!(
            "`{}` is no address like `https://kavach.example.com`",
            clip(text)
        )
    };
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    if scheme && host && uri.query().is_none() {
        Ok(uri)
    } else {
        Err(wrong())
    }
}

/// Whether the address is this machine's own.
pub(crate) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let ip = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

pub(super) fn secret(text: &str) -> Result<Secret, String> {
    Secret::parse(text).map_err(|error| error.to_string())
}

pub(super) fn operator_key(text: &str) -> Result<Secret, String> {
    let secret = secret(text)?;
    match secret.kind() {
        SecretKind::Operator => Ok(secret),
        _ => Err("is no operator key: it must begin with `kv_key_`".to_owned()),
    }
}

pub(super) fn master_key(text: &str) -> Result<Secret, String> {
    let secret = secret(text)?;
    match secret.kind() {
        SecretKind::Master => Ok(secret),
        _ => Err("is no master key: it must begin with `kv_master_`".to_owned()),
    }
}

/// The public half of a root key, or that there is none.
pub(super) fn feed_root(text: &str) -> Result<Option<FeedRoot>, String> {
    if text == NOWHERE {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| {
        format!("is neither `off` nor a root key ({error}): `kavach keys root new` prints one")
    })
}

/// Whether webhooks may go to this machine, by name.
pub(super) const LOOPBACKS: [(&str, Loopback); 2] =
    [("refuse", Loopback::Refused), ("allow", Loopback::Allowed)];
/// Whether strangers get accounts.
pub(super) const SIGN_UPS: [(&str, SignUps); 2] =
    [("open", SignUps::Open), ("closed", SignUps::Closed)];
/// Of whom a second factor is demanded.
pub(super) const SECOND_FACTORS: [(&str, SecondFactor); 3] = [
    ("offered", SecondFactor::Offered),
    ("admins", SecondFactor::Admins),
    ("everyone", SecondFactor::Everyone),
];
/// Whether OAuth clients repeat nonces in their proofs.
pub(super) const PROOF_NONCES: [(&str, ProofNonces); 2] = [
    ("required", ProofNonces::Required),
    ("off", ProofNonces::Off),
];
/// Whether OAuth clients register themselves.
pub(super) const REGISTRATIONS: [(&str, Registration); 3] = [
    ("off", Registration::Off),
    ("token", Registration::Token),
    ("open", Registration::Open),
];
/// Who may follow revocations: whether the feed is open.
pub(super) const FEEDS: [(&str, FeedAccess); 2] =
    [("no", FeedAccess::Keys), ("yes", FeedAccess::Everyone)];
/// What holds for passwords that people choose when the list of stolen ones cannot be asked; or whether it is not asked.
pub(super) const STOLEN: [(&str, Option<WhenUnreachable>); 3] = [
    ("accept", Some(WhenUnreachable::Accept)),
    ("refuse", Some(WhenUnreachable::Refuse)),
    (NOWHERE, None),
];
/// The forms of log lines by name.
pub(super) const LOG_FORMS: [(&str, LogForm); 2] =
    [("plain", LogForm::Plain), ("json", LogForm::Json)];

/// The names of these.
pub(super) fn names<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(name, _)| *name).collect()
}

/// The name of this one.
pub(super) fn name_of<T: PartialEq + Copy>(choices: &[(&'static str, T)], wanted: T) -> String {
    let mut found = choices.iter().filter(|(_, choice)| *choice == wanted);
    found.next().map_or("", |(name, _)| *name).to_owned()
}

/// One of these, by its name.
pub(super) fn choice<T: Copy>(choices: &[(&'static str, T)], text: &str) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        format!("`{}` is not {}", clip(text), names.join(" or "))
    })
}

/// The methods by which people sign in: some of those that there are, each once, or `off`.
pub(super) fn methods(text: &str) -> Result<Vec<&'static str>, String> {
    if text.trim() == NOWHERE {
        return Ok(Vec::new());
    }
    let mut on: Vec<&'static str> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let known = methods::ALL.into_iter().find(|known| *known == name);
        let known = known.ok_or_else(|| {
            let all = methods::ALL.join("`, `");
            format!(
                "`{}` is no method to sign in by; there are `{all}`, and `off` for none",
                clip(name)
            )
        })?;
        if on.contains(&known) {
            return Err(format!("names `{known}` twice"));
        }
        on.push(known);
    }
    Ok(on)
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let networks: Vec<IpNet> = parts.map(network).collect::<Result<_, _>>()?;
    if networks.len() > MAX_PROXIES {
        return Err(format!("names more than {MAX_PROXIES} networks"));
    }
    Ok(networks)
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = text.parse().ok().or_else(address);
    network.ok_or_else(|| {
        format!(
            "`{}` is no address or network like `10.0.0.0/8`",
            clip(text)
        )
    })
}

/// A whole number from 1.
pub(super) fn count_to(max: u64, text: &str) -> Result<u64, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("`{}` is no whole number from 1 to {max}", clip(text)))
}

pub(super) fn log_filter(text: &str) -> Result<Targets, String> {
    let filter = Some(text).filter(|text| !text.is_empty());
    let filter = filter.and_then(|text| text.parse().ok());
    filter.ok_or_else(|| {
        format!(
            "`{}` is no filter like `info` or `warn,kavachos=debug`",
            clip(text)
        )
    })
}

pub(super) fn default_log_filter() -> Targets {
    Targets::new().with_default(DEFAULT_LOG_FILTER)
}

/// The style sheet in this file.
pub(super) fn style_sheet(path: &str) -> Result<String, String> {
    let wrong = |why: String| format!("cannot read `{path}`: {why}");
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(MAX_STYLE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes <= MAX_STYLE_BYTES) {
        return Ok(text);
    }
    Err(wrong(format!("it has more than {MAX_STYLE_BYTES} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_sheet_is_read_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("brand.css");
        let path = path.to_str().unwrap();
        assert!(style_sheet(path).unwrap_err().contains("cannot read"));
        let most = usize::try_from(MAX_STYLE_BYTES).unwrap();
        std::fs::write(path, "a".repeat(most)).unwrap();
        assert_eq!(style_sheet(path).unwrap().len(), most);
        std::fs::write(path, "a".repeat(most + 1)).unwrap();
        let why = style_sheet(path).unwrap_err();
        assert!(why.contains("more than 262144 bytes"), "{why}");
        // A character at the border is none that was cut: the whole file is refused.
        std::fs::write(path, [0xff, 0xfe]).unwrap();
        assert!(style_sheet(path).is_err());
    }

    #[test]
    fn addresses_are_read_and_what_is_none_is_refused() {
        for good in [
            "http://localhost:3000",
            "https://kavach.example.com/",
            "http://[::1]:80",
            "https://x.example/base",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost:3000",
            "ftp://x",
            "https://",
            "https://a:b@c",
            "https://x/?q=1",
            "/x",
            "https://a b",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
        for (text, own) in [
            ("http://localhost", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]:1", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&url(text).unwrap()), own, "{text}");
        }
    }

    #[test]
    fn lists_of_addresses_and_networks_are_read() {
        assert_eq!(
            listen("127.0.0.1:1, [::1]:2").map(|listen| listen.addresses().len()),
            Ok(2)
        );
        assert!(
            listen("127.0.0.1").is_err() && listen("").is_err() && listen("localhost:1").is_err()
        );
        assert_eq!(
            networks("10.0.0.0/8, 192.0.2.1,").map(|networks| networks.len()),
            Ok(2)
        );
        assert!(networks("10.0.0.0/33").is_err());
    }

    #[test]
    fn a_number_is_whole_and_within_its_bounds() {
        assert_eq!((count_to(9, "1"), count_to(9, "9")), (Ok(1), Ok(9)));
        for bad in ["", "0", "-1", "10", "18446744073709551616", "many", "1.0"] {
            assert!(count_to(9, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_choice_is_one_of_its_names() {
        assert_eq!(choice(&LOG_FORMS, "json"), Ok(LogForm::Json));
        assert_eq!(name_of(&LOG_FORMS, LogForm::Json), "json");
        assert_eq!(
            choice(&LOOPBACKS, "yes"),
            Err("`yes` is not `refuse` or `allow`".to_owned())
        );
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        for address in ["https://ada:hunter2@x", "https://ada:hunter2@x y"] {
            assert!(!url(address).unwrap_err().contains("hunter2"));
        }
    }

    #[test]
    fn only_an_address_that_others_reach_is_reachable() {
        assert_eq!(Listen::Loopback.reachable(), None);
        assert_eq!(
            listen("127.0.0.1:1,0.0.0.0:2").unwrap().reachable(),
            "0.0.0.0:2".parse().ok()
        );
        assert_eq!(listen("[::ffff:127.0.0.1]:1").unwrap().reachable(), None);
    }
}
