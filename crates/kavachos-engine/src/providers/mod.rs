//! Outside providers: whoever keeps Clerk, Auth0, Auth.js, better-auth or any other issuer of OpenID Connect for their
//! humans.
//!
//! Promises: a provider's token counts only as its configuration says: issuer, audience, algorithm, age; once; and only
//! when one of its own clients, or an operator's key with the scope for it, presents it. What comes of it never exceeds
//! the ceilings of the provider and of the presenter, and ends with the token. Humans are created on first mention; one
//! who is banned or deleted here is nobody's, whatever the provider says. Keys come through the guarded fetcher, and an
//! hour without word from a provider ends belief in it.
//!
//! What is exchanged is shown by a back end, once. Where the configuration says so ([`SignInTerms`]), humans show tokens of
//! theirs at the API themselves, as they would a session ([`Vouched`]).
//!
//! Providers are configuration: no call can add one, so nobody can make this server fetch an address of their choice.

mod identity;
mod keys;
mod proof;
mod provided;
mod sign_in;
mod unlink;
mod vouched;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use kavachos_core::id_token::{Accepted, IdToken, Rules, SignatureKind, TokenKind};
use kavachos_core::invalid::Invalid;
use kavachos_core::permission::PermissionSet;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::clip;
use kavachos_core::token::Issuer;
use sha2::{Digest, Sha256};

use crate::fetch::{FetchScheme, FetchUrl};
use crate::keys::check_ceiling;
use crate::users::External;

pub use identity::{Presentation, Presenter};
pub(crate) use keys::ProviderKeys;
pub(crate) use proof::SessionBound;
pub use proof::{ProviderProof, ShownProof};
pub use provided::Provided;
use sign_in::SignIn;
pub use sign_in::{FreshBy, NewHumans, SignInTerms};
pub(crate) use unlink::Unlinking;
pub use vouched::Vouched;

/// How many providers one server believes.
pub const MAX_PROVIDERS: usize = 32;
/// How many clients one provider has.
const MAX_CLIENTS: usize = 32;
/// How many audiences one provider has.
const MAX_AUDIENCES: usize = 32;
/// The longest audience, in bytes.
const MAX_AUDIENCE_BYTES: usize = 512;
/// The longest name of a provider or a client, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// How many characters the secret of a client has: as many as no guess hits, and no more than a header takes.
const SECRET_CHARACTERS: std::ops::RangeInclusive<usize> = 32..=256;
/// The longest that a token may be let lie before it is presented.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// The longest session that is opened for a provider's token.
const MAX_SESSION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The longest ago that a human may have signed in where the token says when.
const MAX_SIGN_IN_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A name of your own choice: of a provider, or of a client that presents its tokens. Small letters, digits, `-`, `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderName(Arc<str>);

impl ProviderName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let begins = text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric);
        if begins && text.len() <= MAX_NAME_BYTES && text.bytes().all(known) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new(format!(
            "`{}` is no name like `clerk` or `web-backend`: 1 to {MAX_NAME_BYTES} of a-z, 0-9, `-`, `_`, the first a \
             letter or digit",
            clip(text)
        )))
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be believed of a provider, as it is written down. [`Provider::new`] checks it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderTerms {
    /// Its name here, as in `external.provider` of its humans.
    pub name: String,
    /// Its issuer, byte for byte as in `iss`: also a slash at the end counts.
    pub issuer: String,
    /// Where its keys are; found through `{issuer}/.well-known/openid-configuration` unless said.
    pub jwks_uri: Option<String>,
    /// The ids that your applications have at the provider: what may stand in `aud`.
    pub audiences: Vec<String>,
    /// How long ago a token may have been made.
    pub max_age: Duration,
    /// How long ago the human may have signed in, where a token says it (`auth_time`).
    pub max_sign_in_age: Duration,
    /// What the provider may sign with.
    pub algorithms: Vec<SignatureKind>,
    /// What nothing that comes of its tokens may exceed.
    pub ceiling: PermissionSet,
    /// Who may present its tokens, beside operators' keys with the scope `exchange:<name>`.
    pub clients: Vec<ClientTerms>,
    /// Whether its word makes humans who are not known yet.
    pub new_humans: NewHumans,
    /// Which of its tokens sign in at the API. None, unless said.
    pub sign_in: Vec<SignInTerms>,
    /// How long a session of ours lives at most that is opened for such a token; `None`: none is.
    pub session_life: Option<Duration>,
}

impl ProviderTerms {
    /// A provider with the usual bounds, and neither audiences nor clients yet.
    pub fn new(name: &str, issuer: &str, ceiling: PermissionSet) -> Self {
        Self {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            jwks_uri: None,
            audiences: Vec::new(),
            max_age: Self::MAX_AGE,
            max_sign_in_age: Self::MAX_SIGN_IN_AGE,
            algorithms: SignatureKind::ALL.to_vec(),
            ceiling,
            clients: Vec::new(),
            new_humans: NewHumans::default(),
            sign_in: Vec::new(),
            session_life: None,
        }
    }

    /// How long ago a token may have been made unless said.
    pub const MAX_AGE: Duration = Duration::from_secs(300);
    /// How long ago a human may have signed in unless said: as long as a session counts as fresh.
    pub const MAX_SIGN_IN_AGE: Duration = Duration::from_secs(600);
}

/// A confidential client: a back end that may present a provider's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTerms {
    /// Its id here; of your own choice, and no other client's.
    pub id: String,
    /// The SHA-256 of its secret.
    pub secret: SecretHash,
}

impl ClientTerms {
    /// A client with this secret, of which only the hash is kept.
    ///
    /// # Errors
    /// The secret is too short to be kept as a plain hash, or too long. It is not repeated.
    pub fn with_secret(id: &str, secret: &str) -> Result<Self, Invalid> {
        let fits = SECRET_CHARACTERS.contains(&secret.len());
        if !fits || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::at(
                "secret",
                format!(
                    "must be {} to {} visible ASCII characters drawn at random, as `openssl rand -hex 32` prints them",
                    SECRET_CHARACTERS.start(),
                    SECRET_CHARACTERS.end()
                ),
            ));
        }
        Ok(Self {
            id: id.to_owned(),
            secret: hash_of(secret),
        })
    }
}

/// What is kept of a client's secret. At least 32 random characters need no slow hash.
fn hash_of(secret: &str) -> SecretHash {
    SecretHash::from_bytes(Sha256::digest(secret.as_bytes()).into())
}

/// A client that may present the tokens of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderClient {
    id: ProviderName,
    provider: ProviderName,
    secret: SecretHash,
}

impl ProviderClient {
    /// Its id.
    pub fn id(&self) -> &ProviderName {
        &self.id
    }

    /// The provider whose tokens it presents.
    pub fn provider(&self) -> &ProviderName {
        &self.provider
    }
}

/// A provider that is believed.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    name: ProviderName,
    issuer: String,
    discovery: FetchUrl,
    jwks_uri: Option<FetchUrl>,
    audiences: Vec<String>,
    max_age: Duration,
    max_sign_in_age: Duration,
    algorithms: Vec<SignatureKind>,
    ceiling: PermissionSet,
    clients: Vec<Arc<ProviderClient>>,
    new_humans: NewHumans,
    sign_in: Vec<SignIn>,
    session_life: Option<Duration>,
}

impl Provider {
    /// Checks what is written down of a provider.
    ///
    /// # Errors
    /// Names the member that cannot be so, and says why.
    pub fn new(terms: ProviderTerms) -> Result<Self, Invalid> {
        let name: ProviderName = within("name", terms.name.parse())?;
        let discovery = within("issuer", discovery_of(&terms.issuer))?;
        let jwks_uri = terms.jwks_uri.as_deref().map(str::parse).transpose();
        let jwks_uri: Option<FetchUrl> = within("jwks_uri", jwks_uri)?;
        if jwks_uri
            .as_ref()
            .is_some_and(|url| !as_safe(url, &discovery))
        {
            return Err(Invalid::at("jwks_uri", CLEAR_TEXT));
        }
        check_audiences(&terms.audiences)?;
        check_span("max_age_seconds", terms.max_age, MAX_AGE)?;
        check_span(
            "max_sign_in_age_seconds",
            terms.max_sign_in_age,
            MAX_SIGN_IN_AGE,
        )?;
        if terms.algorithms.is_empty() {
            return Err(Invalid::at("algorithms", "name at least one"));
        }
        check_ceiling(Some(&terms.ceiling))
            .map_err(|error| Invalid::at("ceiling", error.to_string()))?;
        let clients = clients_of(&name, &terms.clients)?;
        if let Some(life) = terms.session_life {
            check_span("session_seconds", life, MAX_SESSION)?;
        }
        let sign_in = sign_in::checked(&terms.sign_in, &terms.audiences)?;
        Ok(Self {
            name,
            issuer: terms.issuer,
            discovery,
            jwks_uri,
            audiences: terms.audiences,
            max_age: terms.max_age,
            max_sign_in_age: terms.max_sign_in_age,
            algorithms: terms.algorithms,
            ceiling: terms.ceiling,
            clients,
            new_humans: terms.new_humans,
            sign_in,
            session_life: terms.session_life,
        })
    }

    /// Its name here.
    pub fn name(&self) -> &ProviderName {
        &self.name
    }

    /// Its issuer, byte for byte.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What humans whom it names may do at the most when they are new; `None` for everything.
    fn first_permissions(&self) -> Option<PermissionSet> {
        let bounded = !self.ceiling.includes(&PermissionSet::everything());
        bounded.then(|| self.ceiling.clone())
    }

    /// The human whom a token of it names.
    fn names(&self, token: &IdToken) -> External {
        External {
            provider: self.name.to_string(),
            external_id: token.subject.to_string(),
        }
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            issuer: &self.issuer,
            audiences: &self.audiences,
            max_age: self.max_age,
            max_sign_in_age: self.max_sign_in_age,
        }
    }

    fn sign_in_of(&self, kind: TokenKind) -> Option<&SignIn> {
        (self.sign_in.iter()).find(|rule| rule.accepted().kind == kind)
    }

    /// The kinds that call as a bearer.
    fn bearers(&self) -> Vec<Accepted> {
        let rules = self.sign_in.iter();
        rules.map(|rule| rule.accepted().clone()).collect()
    }

    /// The kinds that prove something once: made as lately as what is exchanged.
    fn proofs(&self) -> Vec<Accepted> {
        let mut proofs = self.bearers();
        for proof in &mut proofs {
            proof.max_age = proof.max_age.min(self.max_age);
        }
        proofs
    }

    /// Whether it is on this machine, or is spoken to without TLS.
    pub fn is_local(&self) -> bool {
        let urls = [Some(&self.discovery), self.jwks_uri.as_ref()];
        let mut urls = urls.into_iter().flatten();
        urls.any(|url| url.is_loopback() || url.scheme() == FetchScheme::Http)
    }
}

const CLEAR_TEXT: &str =
    "a provider that is reached with TLS has its keys behind TLS too, and not on this machine";

/// Whether keys at this address are as safe as the issuer itself.
fn as_safe(keys: &FetchUrl, issuer: &FetchUrl) -> bool {
    issuer.is_loopback() || (keys.scheme() == FetchScheme::Https && !keys.is_loopback())
}

/// Where an issuer says where its keys are (OpenID Connect Discovery 1.0, section 4.1).
fn discovery_of(issuer: &str) -> Result<FetchUrl, Invalid> {
    // One spelling: lower case, no user, query and fragment.
    let _: Issuer = issuer.parse()?;
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{base}/.well-known/openid-configuration").parse()
}

fn within<T>(member: &str, read: Result<T, Invalid>) -> Result<T, Invalid> {
    read.map_err(|error| Invalid::at(member, error.to_string()))
}

fn check_audiences(audiences: &[String]) -> Result<(), Invalid> {
    if !(1..=MAX_AUDIENCES).contains(&audiences.len()) {
        let message = format!(
            "name 1 to {MAX_AUDIENCES} ids that your applications have at the provider: a token for anybody else's is \
             not taken"
        );
        return Err(Invalid::at("audiences", message));
    }
    let plain = |text: &String| {
        (1..=MAX_AUDIENCE_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if audiences.iter().all(plain) {
        return Ok(());
    }
    let message = format!("an audience is 1 to {MAX_AUDIENCE_BYTES} visible ASCII characters");
    Err(Invalid::at("audiences", message))
}

fn check_span(member: &str, span: Duration, longest: Duration) -> Result<(), Invalid> {
    if (Duration::from_secs(1)..=longest).contains(&span) {
        return Ok(());
    }
    let message = format!("must be from 1 to {}", longest.as_secs());
    Err(Invalid::at(member, message))
}

fn clients_of(
    provider: &ProviderName,
    clients: &[ClientTerms],
) -> Result<Vec<Arc<ProviderClient>>, Invalid> {
    if clients.len() > MAX_CLIENTS {
        let message = format!("a provider has at most {MAX_CLIENTS} clients");
        return Err(Invalid::at("clients", message));
    }
    let client = |(at, client): (usize, &ClientTerms)| {
        let id = within(&format!("clients[{at}].id"), client.id.parse())?;
        Ok(Arc::new(ProviderClient {
            id,
            provider: provider.clone(),
            secret: client.secret,
        }))
    };
    clients.iter().enumerate().map(client).collect()
}

/// The providers that one server believes. None, unless said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Providers(Arc<[Arc<Provider>]>);

impl Providers {
    /// These providers, each with a name, an issuer and clients that no other has.
    ///
    /// # Errors
    /// Two are called the same, or there are too many.
    pub fn new(providers: Vec<Provider>) -> Result<Self, Invalid> {
        if providers.len() > MAX_PROVIDERS {
            let message = format!("there are at most {MAX_PROVIDERS} providers");
            return Err(Invalid::new(message));
        }
        for (at, provider) in providers.iter().enumerate() {
            let before = providers.get(..at).unwrap_or_default();
            check_among(provider, before).map_err(|error| error.within(&format!("[{at}]")))?;
        }
        Ok(Self(providers.into_iter().map(Arc::new).collect()))
    }

    /// Refuses providers on this machine where the server itself is known to others: their tokens would be anybody's who
    /// can listen on a port of it.
    ///
    /// # Errors
    /// Names the provider.
    pub fn check(&self, own: &Issuer) -> Result<(), Invalid> {
        if let Some(at) = (self.0.iter()).position(|provider| provider.issuer == own.as_str()) {
            return Err(Invalid::at(
                format!("[{at}].issuer"),
                "is this server itself, whose tokens say nothing about humans of others",
            ));
        }
        let own: Result<FetchUrl, Invalid> = own.as_str().parse();
        if own.is_ok_and(|own| own.is_loopback()) {
            return Ok(());
        }
        match self.0.iter().position(|provider| provider.is_local()) {
            None => Ok(()),
            Some(at) => Err(Invalid::at(
                format!("[{at}].issuer"),
                "a provider on this machine, or without TLS, is for development: it goes only with an `issuer` of your \
                 own that is this machine too",
            )),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter().map(|provider| &**provider)
    }

    /// Whether tokens of any sign in at the API.
    pub fn sign_in(&self) -> bool {
        self.0.iter().any(|provider| !provider.sign_in.is_empty())
    }

    /// Whether sessions of ours are opened for tokens of any.
    pub fn open_sessions(&self) -> bool {
        let mut providers = self.0.iter();
        providers.any(|provider| !provider.sign_in.is_empty() && provider.session_life.is_some())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a new human with this identity may do at the most, where nothing is said of it: as on first mention by its
    /// provider. `None` for everything, also where no provider is called so.
    pub(crate) fn first_permissions(&self, external: &External) -> Option<PermissionSet> {
        let named = |provider: &&Arc<Provider>| provider.name.as_str() == external.provider;
        let provider = self.0.iter().find(named);
        provider.and_then(|provider| provider.first_permissions())
    }

    fn of_issuer(&self, issuer: &str) -> Option<&Arc<Provider>> {
        self.0.iter().find(|provider| provider.issuer == issuer)
    }

    /// The client with this id and secret.
    fn client(&self, id: &str, secret: &str) -> Option<Arc<ProviderClient>> {
        let hash = hash_of(secret);
        let mut clients = self.0.iter().flat_map(|provider| &provider.clients);
        let client = clients.find(|client| client.id.as_str() == id)?;
        (client.secret == hash).then(|| Arc::clone(client))
    }
}

fn check_among(provider: &Provider, before: &[Provider]) -> Result<(), Invalid> {
    if before.iter().any(|other| other.name == provider.name) {
        return Err(Invalid::at("name", "is another provider's too"));
    }
    if before.iter().any(|other| other.issuer == provider.issuer) {
        return Err(Invalid::at(
            "issuer",
            "is another provider's too: its humans would be two each; give one provider several audiences and clients",
        ));
    }
    for (at, client) in provider.clients.iter().enumerate() {
        let own = provider.clients.iter().take(at);
        let mut others = before.iter().flat_map(|other| &other.clients).chain(own);
        if others.any(|other| other.id == client.id) {
            return Err(Invalid::at(
                format!("clients[{at}].id"),
                "is another client's too",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> ProviderTerms {
        let mut terms = ProviderTerms::new(
            "auth0",
            "https://tenant.auth0.com/",
            PermissionSet::everything(),
        );
        terms.audiences = vec!["app".to_owned()];
        terms.clients = vec![client("web")];
        terms
    }

    fn client(id: &str) -> ClientTerms {
        ClientTerms::with_secret(id, &"s".repeat(32)).unwrap()
    }

    fn with(change: impl FnOnce(&mut ProviderTerms)) -> Result<Provider, Invalid> {
        let mut terms = terms();
        change(&mut terms);
        Provider::new(terms)
    }

    fn field(change: impl FnOnce(&mut ProviderTerms)) -> String {
        with(change).unwrap_err().field().to_owned()
    }

    #[test]
    fn keys_are_looked_for_where_the_issuer_says() {
        for (issuer, found) in [
            (
                "https://tenant.auth0.com/",
                "https://tenant.auth0.com/.well-known/openid-configuration",
            ),
            (
                "https://clerk.example.com",
                "https://clerk.example.com/.well-known/openid-configuration",
            ),
            (
                "https://a.example/api/auth",
                "https://a.example/api/auth/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(discovery_of(issuer).unwrap().to_string(), found);
        }
    }

    #[test]
    fn what_cannot_be_so_is_named_and_its_twin_is_taken() {
        assert!(with(|_| ()).is_ok());
        for wrong in ["", "Clerk", "cl erk", "-a", &"a".repeat(65)] {
            assert_eq!(field(|terms| terms.name = wrong.to_owned()), "name");
        }
        for wrong in [
            "http://tenant.auth0.com/",
            "https://TENANT.auth0.com/",
            "https://tenant.auth0.com/?a=1",
            "https://user@tenant.auth0.com/",
            "tenant.auth0.com",
        ] {
            assert_eq!(
                field(|terms| terms.issuer = wrong.to_owned()),
                "issuer",
                "{wrong}"
            );
        }
        for wrong in [
            "http://localhost:3001/jwks",
            "https://127.0.0.1:3001/jwks",
            "ftp://a.example",
        ] {
            assert_eq!(
                field(|terms| terms.jwks_uri = Some(wrong.to_owned())),
                "jwks_uri"
            );
        }
        assert_eq!(field(|terms| terms.audiences.clear()), "audiences");
        assert_eq!(
            field(|terms| terms.audiences.push(String::new())),
            "audiences"
        );
        assert_eq!(
            field(|terms| terms.max_age = Duration::ZERO),
            "max_age_seconds"
        );
        assert_eq!(
            field(|terms| terms.max_age = Duration::from_secs(3_601)),
            "max_age_seconds"
        );
        assert_eq!(field(|terms| terms.algorithms.clear()), "algorithms");
        assert_eq!(
            field(|terms| terms.clients.push(client("A"))),
            "clients[1].id"
        );
        assert!(ClientTerms::with_secret("web", &"s".repeat(31)).is_err());
    }

    #[test]
    fn no_two_are_called_the_same() {
        let named = |name: &str, issuer: &str, id: &str| {
            with(|terms| {
                terms.name = name.to_owned();
                terms.issuer = issuer.to_owned();
                terms.clients = vec![client(id)];
            })
            .unwrap()
        };
        let first = || named("a", "https://a.example", "web");
        for (second, field) in [
            (named("a", "https://b.example", "other"), "[1].name"),
            (named("b", "https://a.example", "other"), "[1].issuer"),
            (named("b", "https://b.example", "web"), "[1].clients[0].id"),
        ] {
            assert_eq!(
                Providers::new(vec![first(), second]).unwrap_err().field(),
                field
            );
        }
        assert!(Providers::new(vec![first(), named("b", "https://b.example", "other")]).is_ok());
    }

    #[test]
    fn a_provider_on_this_machine_is_only_for_a_server_on_this_machine() {
        let local = with(|terms| terms.issuer = "http://127.0.0.1:4000".to_owned()).unwrap();
        let local = Providers::new(vec![local]).unwrap();
        let far = Providers::new(vec![with(|_| ()).unwrap()]).unwrap();
        for (own, is_far) in [
            ("http://localhost:3000", false),
            ("https://kavach.example.com", true),
        ] {
            let own: Issuer = own.parse().unwrap();
            assert_eq!(local.check(&own).is_err(), is_far);
            assert_eq!(far.check(&own), Ok(()));
        }
    }

    #[test]
    fn no_server_is_a_provider_of_itself() {
        let providers = Providers::new(vec![with(|_| ()).unwrap()]).unwrap();
        for (own, is_itself) in [
            ("https://tenant.auth0.com/", true),
            ("https://kavach.example.com", false),
        ] {
            let own: Issuer = own.parse().unwrap();
            assert_eq!(providers.check(&own).is_err(), is_itself, "{own:?}");
        }
    }

    #[test]
    fn a_client_is_known_by_its_id_and_secret_together() {
        let providers = Providers::new(vec![with(|_| ()).unwrap()]).unwrap();
        let secret = "s".repeat(32);
        assert_eq!(
            providers
                .client("web", &secret)
                .unwrap()
                .provider()
                .as_str(),
            "auth0"
        );
        assert!(providers.client("web", &"s".repeat(33)).is_none());
        assert!(providers.client("other", &secret).is_none());
        assert!(providers.client("web", "").is_none());
    }
}
