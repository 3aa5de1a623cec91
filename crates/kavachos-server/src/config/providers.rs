//! `[[providers]]`: whose humans may use the tokens of their own provider here. The one setting that is a list of tables,
//! so it stands in the file alone; the secrets of its clients come from variables, or as hashes.

mod describe;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kavachos::Loopback;
use kavachos_core::hex;
use kavachos_core::id_token::{SignatureKind, TokenKind};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::secret::SecretHash;
use kavachos_core::token::Issuer;
use kavachos_engine::{
    ClientTerms, FreshBy, NewHumans, Provider, ProviderTerms, Providers, SignInTerms,
};
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::Environment;
use super::file::Reader;
use super::layer::read_value_file;
use super::problem::{Origin, Problem};

pub(super) use self::describe::{example, schema};

/// The key of the whole list.
pub(super) const KEY: &str = "providers";
/// What a provider may say.
const MEMBERS: [&str; 12] = [
    "name",
    "issuer",
    "jwks_uri",
    "audiences",
    "max_age_seconds",
    "max_sign_in_age_seconds",
    "algorithms",
    "ceiling",
    "clients",
    "new_humans",
    "session_seconds",
    "sign_in",
];
/// What a kind of token may say that signs in.
const SIGN_IN_MEMBERS: [&str; 5] = [
    "token",
    "audiences",
    "parties",
    "max_age_seconds",
    "fresh_by",
];
/// What a client may say.
const CLIENT_MEMBERS: [&str; 2] = ["id", "secret_sha256"];

/// A table of the file: its members with their places.
#[derive(Debug, Default)]
struct Given {
    place: Option<Origin>,
    members: BTreeMap<&'static str, (Value, Origin)>,
}

/// A provider as it was given, with its clients.
#[derive(Debug, Default)]
pub(super) struct GivenProvider {
    table: Given,
    clients: Vec<GivenClient>,
    sign_in: Vec<Given>,
}

#[derive(Debug, Default)]
struct GivenClient {
    table: Given,
    secret: Option<GivenSecret>,
}

/// The variable that gives a secret, and what it holds.
struct GivenSecret {
    variable: String,
    text: String,
    place: Place,
}

/// Shows no secret.
impl std::fmt::Debug for GivenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.variable)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    InFile,
}

impl Reader<'_> {
    /// Reads the list; what is no list of tables, or has members that nobody knows, is told.
    pub(super) fn providers(&mut self, value: &DeValue<'_>, at: usize) {
        let DeValue::Array(tables) = value else {
            return self.problem(KEY.to_owned(), at, "must be tables: write `[[providers]]`");
        };
        for (index, item) in tables.iter().enumerate() {
            let (key, at) = (format!("{KEY}[{index}]"), item.span().start);
            let DeValue::Table(table) = item.get_ref() else {
                self.problem(key, at, "must be a table: write `[[providers]]`");
                continue;
            };
            let clients = table.get("clients").map(|clients| {
                let at = clients.span().start;
                self.clients(clients.get_ref(), (&key, at))
            });
            let sign_in = table.get("sign_in").map(|kinds| {
                let at = kinds.span().start;
                self.sign_in(kinds.get_ref(), (&key, at))
            });
            let provider = GivenProvider {
                table: self.members(table, (&key, at), &MEMBERS),
                clients: clients.unwrap_or_default(),
                sign_in: sign_in.unwrap_or_default(),
            };
            self.layers.providers.push(provider);
        }
    }

    fn clients(&mut self, value: &DeValue<'_>, (key, at): (&str, usize)) -> Vec<GivenClient> {
        let key = format!("{key}.clients");
        let DeValue::Array(items) = value else {
            self.problem(key, at, "must be tables: write `[[providers.clients]]`");
            return Vec::new();
        };
        let mut clients = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let (key, at) = (format!("{key}[{index}]"), item.span().start);
            let DeValue::Table(table) = item.get_ref() else {
                self.problem(key, at, "must be a table: write `[[providers.clients]]`");
                continue;
            };
            clients.push(GivenClient {
                table: self.members(table, (&key, at), &CLIENT_MEMBERS),
                secret: None,
            });
        }
        clients
    }

    fn sign_in(&mut self, value: &DeValue<'_>, (key, at): (&str, usize)) -> Vec<Given> {
        let key = format!("{key}.sign_in");
        let DeValue::Array(items) = value else {
            self.problem(key, at, "must be tables: write `[[providers.sign_in]]`");
            return Vec::new();
        };
        let mut kinds = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let (key, at) = (format!("{key}[{index}]"), item.span().start);
            let DeValue::Table(table) = item.get_ref() else {
                self.problem(key, at, "must be a table: write `[[providers.sign_in]]`");
                continue;
            };
            kinds.push(self.members(table, (&key, at), &SIGN_IN_MEMBERS));
        }
        kinds
    }

    fn members(
        &mut self,
        table: &DeTable<'_>,
        (key, at): (&str, usize),
        known: &'static [&'static str],
    ) -> Given {
        let mut given = Given {
            place: Some(self.origin(at)),
            members: BTreeMap::new(),
        };
        for (name, value) in table {
            let (at, name) = (name.span().start, name.get_ref());
            match known.iter().find(|known| **known == name.as_ref()) {
                Some(known) => {
                    let member = (json_of(value.get_ref()), self.origin(at));
                    given.members.insert(known, member);
                }
                None if name == "secret" => self.problem(
                    format!("{key}.{name}"),
                    at,
                    "secrets do not belong in this file: set KAVACH_CLIENT_<ID>_SECRET, or write `secret_sha256`",
                ),
                None => self.problem(
                    format!("{key}.{name}"),
                    at,
                    format!("this is no setting; known are `{}`", known.join("`, `")),
                ),
            }
        }
        given
    }
}

/// A value of the file as JSON; `null` of what JSON does not have.
fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let member = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                (name.to_string(), json_of(value.get_ref()))
            };
            Value::Object(table.iter().map(member).collect())
        }
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Null,
    }
}

/// Finds the variables with the secrets of clients; what contradicts itself there is left out and told.
pub(super) fn add_secrets(
    providers: &mut [GivenProvider],
    environment: &Environment,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let clients = providers
        .iter_mut()
        .flat_map(|provider| &mut provider.clients);
    for client in clients {
        let Some(id) = client.table.text("id").map(str::to_owned) else {
            continue;
        };
        let variable = variable_of(&id);
        let named = format!("{variable}_FILE");
        let given = |variable: String, text: &str, place| {
            let text = text.to_owned();
            Some(GivenSecret {
                variable,
                text,
                place,
            })
        };
        client.secret = match (environment.get(&variable), environment.get(&named)) {
            (Some(_), Some(_)) => {
                let origin = Origin::Variable(variable.clone());
                let message = format!("{named} is set as well: set one of the two");
                problems.push(Problem::new(variable, &origin, message));
                None
            }
            (Some(text), None) => given(variable, text, Place::Here),
            (None, Some(path)) => given(named, path, Place::InFile),
            (None, None) => None,
        };
    }
    problems
}

/// The variable with the secret of the client of this id.
fn variable_of(id: &str) -> String {
    let id = id.to_ascii_uppercase().replace('-', "_");
    format!("KAVACH_CLIENT_{id}_SECRET")
}

/// The files that hold secrets.
pub(super) fn secret_files(providers: &[GivenProvider]) -> impl Iterator<Item = &Path> {
    let clients = providers.iter().flat_map(|provider| &provider.clients);
    let secrets = clients.filter_map(|client| client.secret.as_ref());
    let files = secrets.filter(|secret| secret.place == Place::InFile);
    files.map(|secret| Path::new(&secret.text))
}

/// The names of the providers, as they were given, and where the first stands.
pub(super) fn names(providers: &[GivenProvider]) -> Option<(String, Origin)> {
    let first = providers.first()?.table.place.clone()?;
    let names = providers
        .iter()
        .filter_map(|provider| provider.table.text("name"));
    Some((names.collect::<Vec<_>>().join(","), first))
}

/// The providers that a server believes; what is wrong with them is added to the problems.
pub(super) fn read(given: &[GivenProvider], problems: &mut Vec<Problem>) -> Providers {
    let known = problems.len();
    let mut read = Vec::new();
    for (index, provider) in given.iter().enumerate() {
        let key = format!("{KEY}[{index}]");
        let Some(terms) = provider.terms(&key, problems) else {
            continue;
        };
        match Provider::new(terms) {
            Ok(provider) => read.push(provider),
            Err(invalid) => problems.push(provider.blamed(&key, &invalid)),
        }
    }
    if problems.len() > known {
        return Providers::default();
    }
    Providers::new(read).unwrap_or_else(|invalid| {
        problems.push(blamed(given, &invalid));
        Providers::default()
    })
}

/// What does not go with the address of this server, and with what it may fetch.
pub(super) fn check(
    given: &[GivenProvider],
    providers: &Providers,
    (own, loopback): (&str, Loopback),
) -> Option<Problem> {
    let own: Issuer = own.trim_end_matches('/').parse().ok()?;
    if let Err(invalid) = providers.check(&own) {
        return Some(blamed(given, &invalid));
    }
    let local = providers.iter().position(Provider::is_local)?;
    let message =
        "a provider on this machine is fetched from only with `fetch.loopback = \"allow\"`";
    let at = format!("[{local}].issuer");
    (loopback == Loopback::Refused).then(|| blamed(given, &Invalid::at(at, message)))
}

/// A problem of the whole list, as in `[1].issuer`, at the line of the member that it names.
fn blamed(given: &[GivenProvider], invalid: &Invalid) -> Problem {
    let found = invalid.field().strip_prefix('[').and_then(|rest| {
        let (index, member) = rest.split_once(']')?;
        let provider = given.get(index.parse::<usize>().ok()?)?;
        let member = member.strip_prefix('.').unwrap_or_default();
        let invalid = Invalid::at(member, invalid.message());
        Some(provider.blamed(&format!("{KEY}[{index}]"), &invalid))
    });
    found.unwrap_or_else(|| {
        let first = given
            .first()
            .and_then(|provider| provider.table.place.clone());
        Problem::new(KEY, &first.unwrap_or(Origin::Default), invalid.message())
    })
}

impl Given {
    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(|(value, _)| value.as_str())
    }

    fn origin(&self, name: &str) -> Origin {
        let member = self.members.get(name).map(|(_, origin)| origin.clone());
        member
            .or_else(|| self.place.clone())
            .unwrap_or(Origin::Default)
    }

    /// A member, if it is given; what is wrong with it is told.
    fn read<T>(
        &self,
        (key, name): (&str, &str),
        problems: &mut Vec<Problem>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let (value, origin) = self.members.get(name)?;
        let wrong = |message| Problem::new(format!("{key}.{name}"), origin, message);
        read(value)
            .map_err(|message| problems.push(wrong(message)))
            .ok()
    }

    /// A member that must be given.
    fn need<T>(
        &self,
        (key, name): (&str, &str),
        problems: &mut Vec<Problem>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.members.contains_key(name) {
            let message = "is missing: it has no usual value";
            problems.push(Problem::new(
                format!("{key}.{name}"),
                &self.origin(name),
                message,
            ));
        }
        self.read((key, name), problems, read)
    }
}

impl GivenProvider {
    /// What is written down of it; `None` when something in it cannot be read, which is told.
    fn terms(&self, key: &str, problems: &mut Vec<Problem>) -> Option<ProviderTerms> {
        let known = problems.len();
        let table = &self.table;
        let name = table.need((key, "name"), problems, text);
        let issuer = table.need((key, "issuer"), problems, text);
        let audiences = table.need((key, "audiences"), problems, texts);
        let ceiling = table.need((key, "ceiling"), problems, ceiling);
        let jwks_uri = table.read((key, "jwks_uri"), problems, text);
        let max_age = table.read((key, "max_age_seconds"), problems, span);
        let max_sign_in_age = table.read((key, "max_sign_in_age_seconds"), problems, span);
        let algorithms = table.read((key, "algorithms"), problems, kinds);
        let clients = self.clients.iter().enumerate();
        let clients: Vec<_> = clients
            .filter_map(|(at, client)| client.terms(&format!("{key}.clients[{at}]"), problems))
            .collect();
        let new_humans = table.read((key, "new_humans"), problems, new_humans);
        let session_life = table.read((key, "session_seconds"), problems, span);
        let sign_in = self.sign_in.iter().enumerate();
        let sign_in: Vec<_> = sign_in
            .filter_map(|(at, kind)| sign_in_terms(kind, &format!("{key}.sign_in[{at}]"), problems))
            .collect();
        if problems.len() > known {
            return None;
        }
        let usual = ProviderTerms::new(&name?, &issuer?, ceiling?);
        Some(ProviderTerms {
            jwks_uri,
            audiences: audiences?,
            max_age: max_age.unwrap_or(usual.max_age),
            max_sign_in_age: max_sign_in_age.unwrap_or(usual.max_sign_in_age),
            algorithms: algorithms.unwrap_or_else(|| usual.algorithms.clone()),
            clients,
            new_humans: new_humans.unwrap_or_default(),
            session_life,
            sign_in,
            ..usual
        })
    }

    fn blamed(&self, key: &str, invalid: &Invalid) -> Problem {
        let field = invalid.field();
        let client = field.strip_prefix("clients[").and_then(|rest| {
            let (index, member) = rest.split_once("].")?;
            let client = self.clients.get(index.parse::<usize>().ok()?)?;
            Some(client.table.origin(member))
        });
        let sign_in = field.strip_prefix("sign_in[").and_then(|rest| {
            let (index, member) = rest.split_once("].")?;
            let kind = self.sign_in.get(index.parse::<usize>().ok()?)?;
            Some(kind.origin(member))
        });
        let origin = client.or(sign_in);
        let origin = origin.unwrap_or_else(|| self.table.origin(field));
        Problem::new(format!("{key}.{field}"), &origin, invalid.message())
    }
}

/// A kind of token that signs in; what is wrong with it is told.
fn sign_in_terms(given: &Given, key: &str, problems: &mut Vec<Problem>) -> Option<SignInTerms> {
    let known = problems.len();
    let kind = given.need((key, "token"), problems, token_kind);
    let audiences = given.read((key, "audiences"), problems, texts);
    let parties = given.read((key, "parties"), problems, texts);
    let max_age = given.read((key, "max_age_seconds"), problems, span);
    let fresh_by = given.read((key, "fresh_by"), problems, fresh_by);
    if problems.len() > known {
        return None;
    }
    let usual = SignInTerms::new(kind?);
    Some(SignInTerms {
        audiences: audiences.unwrap_or_default(),
        parties: parties.unwrap_or_default(),
        max_age: max_age.unwrap_or(usual.max_age),
        fresh_by: fresh_by.unwrap_or_default(),
        ..usual
    })
}

impl GivenClient {
    fn terms(&self, key: &str, problems: &mut Vec<Problem>) -> Option<ClientTerms> {
        let id = self.table.need((key, "id"), problems, text)?;
        let hash = self.table.read((key, "secret_sha256"), problems, hash);
        let is_hashed = self.table.members.contains_key("secret_sha256");
        let wrong = |message: String| {
            Problem::new(
                format!("{key}.secret_sha256"),
                &self.table.origin("id"),
                message,
            )
        };
        match (&self.secret, is_hashed) {
            (Some(given), true) => {
                let message = format!("{} is set as well: give one of the two", given.variable);
                problems.push(wrong(message));
                None
            }
            (None, true) => Some(ClientTerms { id, secret: hash? }),
            (None, false) => {
                let variable = variable_of(&id);
                problems.push(wrong(format!(
                    "the client has no secret: set {variable} or {variable}_FILE, or give its SHA-256 here"
                )));
                None
            }
            (Some(given), false) => {
                let terms = given.text().and_then(|secret| {
                    ClientTerms::with_secret(&id, &secret)
                        .map_err(|invalid| given.problem(invalid.message()))
                });
                terms.map_err(|problem| problems.push(problem)).ok()
            }
        }
    }
}

impl GivenSecret {
    fn problem(&self, message: &str) -> Problem {
        let origin = Origin::Variable(self.variable.clone());
        Problem::new(self.variable.clone(), &origin, message)
    }

    fn text(&self) -> Result<String, Problem> {
        let origin = Origin::Variable(self.variable.clone());
        match self.place {
            Place::Here => Ok(self.text.clone()),
            Place::InFile => read_value_file(&self.variable, Path::new(&self.text), &origin),
        }
    }
}

fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| "must be a text in quotes".to_owned())
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let texts: Result<Vec<String>, String> = items.iter().map(text).collect();
    let texts = texts.ok().filter(|texts| !texts.is_empty());
    texts.ok_or_else(|| "must be a list of texts in quotes".to_owned())
}

fn span(value: &Value) -> Result<Duration, String> {
    let seconds = value.as_u64().map(Duration::from_secs);
    seconds.ok_or_else(|| "must be a whole number of seconds without quotes".to_owned())
}

fn kinds(value: &Value) -> Result<Vec<SignatureKind>, String> {
    let kinds = texts(value)?
        .into_iter()
        .map(|text| text.parse::<SignatureKind>());
    kinds
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

fn token_kind(value: &Value) -> Result<TokenKind, String> {
    text(value)?
        .parse()
        .map_err(|error: Invalid| error.to_string())
}

fn fresh_by(value: &Value) -> Result<FreshBy, String> {
    match value.as_str() {
        Some("sign_in") => Ok(FreshBy::SignIn),
        Some("issue") => Ok(FreshBy::Issue),
        _ => Err("must be `sign_in` or `issue`".to_owned()),
    }
}

fn new_humans(value: &Value) -> Result<NewHumans, String> {
    match value.as_str() {
        Some("created") => Ok(NewHumans::Created),
        Some("refused") => Ok(NewHumans::Refused),
        _ => Err("must be `created` or `refused`".to_owned()),
    }
}

fn ceiling(value: &Value) -> Result<PermissionSet, String> {
    PermissionSet::from_json(value).map_err(|error| match error.field() {
        "" => format!("{error}: write `[{{ resource = \"mcp:notion:*\", actions = [\"read\"] }}]`"),
        field => format!("{field}: {error}"),
    })
}

fn hash(value: &Value) -> Result<SecretHash, String> {
    let bytes = value.as_str().and_then(hex::decode_exact);
    bytes.map(SecretHash::from_bytes).ok_or_else(|| {
        "must be the 64 digits of a SHA-256 in lower case, as `printf %s SECRET | sha256sum` prints them".to_owned()
    })
}
