//! Building a verifier: what it is told, and what it finds out before it starts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_core::resource::{Resource, ResourcePattern};
use kavachos_core::revocation::Lease;
use kavachos_core::secret::{Secret, SecretKind};
use kavachos_core::token::{FeedRoot, Issuer};
use kavachos_core::tool_server::{Audience, Proof, RESERVED_SCOPES};

use crate::approvals::{MAX_WAIT, WAIT};
use crate::challenge::Challenger;
use crate::contact::{discover, fetch_keys, first_answer, require_time, secure};
use crate::error::BuildError;
use crate::feed::Feed;
use crate::hosts::Hosts;
use crate::http::Http;
use crate::issuer::IssuerClient;
use crate::judgement::Core;
use crate::keys::{Document, Source};
use crate::mcp::Tools;
use crate::metadata::{Metadata, origin};
use crate::net::Client;
use crate::nonces::Nonces;
use crate::places::Places;
use crate::replay::Replays;
use crate::reports::Reports;
use crate::settings::{Asking, Settings, Sizes};
use crate::stats::Counters;
use crate::system::{Clock, SystemClock, random};
use crate::tasks::Tasks;
use crate::tokens::Tokens;
use crate::verifier::Verifier;

/// How long the server may take for a decision, unless it is said otherwise.
const ASK_TIME: Duration = Duration::from_secs(5);
/// The most scopes and hosts.
const MAX_NAMES: usize = 100;
/// The most tools.
const MAX_TOOLS: usize = 1_000;
/// The most bodies that are read at the same time.
const MAX_BODIES: usize = 256;
/// The most calls that wait for a human at the same time; the issuer lets no tool server have more.
const MAX_WAITING: usize = 64;
/// The most roots: one, and the one that follows it.
const MAX_ROOTS: usize = 2;

/// What a verifier is told before it is built.
#[must_use = "nothing happens before `build`"]
pub struct Builder {
    issuer: String,
    audience: String,
    key: Option<String>,
    proof: Proof,
    lease: Duration,
    scopes: Vec<String>,
    first_scopes: Option<Vec<String>>,
    tools: Vec<(String, Vec<String>)>,
    hosts: Option<Vec<String>>,
    base: Option<String>,
    feed_roots: Vec<String>,
    feed_epoch: Option<u64>,
    asking: Asking,
    approval_wait: Duration,
    reporting: Reporting,
    nonces: Nonce,
    sizes: Sizes,
    http: Option<Arc<dyn Http>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reporting {
    Off,
    On,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nonce {
    OfThisProcess,
    NotAsked,
}

impl Builder {
    pub(crate) fn new(issuer: String, audience: String) -> Self {
        Self {
            issuer,
            audience,
            key: None,
            proof: Proof::Optional,
            lease: Duration::from_secs(10),
            scopes: Vec::new(),
            first_scopes: None,
            tools: Vec::new(),
            hosts: None,
            base: None,
            feed_roots: Vec::new(),
            feed_epoch: None,
            asking: Asking::Within(ASK_TIME),
            approval_wait: WAIT,
            reporting: Reporting::Off,
            nonces: Nonce::OfThisProcess,
            sizes: Sizes::default(),
            http: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// The tool server's own key (`kv_res_...`), with which it follows revocations, asks and reports. Only an issuer
    /// whose feed is open to everybody can do without.
    pub fn resource_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Whether callers prove that a token is theirs; [`Proof::Optional`] (where the token is bound) if nothing is said.
    /// It should be what the tool server is registered with.
    pub fn proof(mut self, policy: Proof) -> Self {
        self.proof = policy;
        self
    }

    /// For how long tokens are accepted without news of revocations: 1 to 60 whole seconds, 10 if nothing is said. The
    /// issuer may shorten it.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The scopes that the tool server is registered with. Callers are told to ask for them, and a call on a resource
    /// outside of them is refused. Where one stands for more than another, a call that either permits is permitted by
    /// both, and the narrower one is asked for.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Those of the [scopes](Self::scopes) that callers are told to begin with, in the challenge of a request without a
    /// token and in the metadata: what the usual calls take. For any other call they are asked for more when they make
    /// it. If nothing is said all scopes are.
    pub fn first_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.first_scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// What a tool of an MCP server is about: the resources on which its call takes a permission to `call`, as its
    /// handler asks for them. Say it for each tool.
    ///
    /// Then the layer reads a request that calls a tool before the handler does, and refuses it with 403 and a challenge
    /// where the token has no permission for one of them: for this a client asks its human for more, and for no error
    /// that the handler could answer. It is a look ahead: whether the call is allowed, the handler asks
    /// [`Principal::authorize`](crate::Principal::authorize). Bodies longer than [`Self::body_limit`] are refused.
    pub fn tool<S: Into<String>>(
        mut self,
        name: impl Into<String>,
        resources: impl IntoIterator<Item = S>,
    ) -> Self {
        let resources = resources.into_iter().map(Into::into).collect();
        self.tools.push((name.into(), resources));
        self
    }

    /// The hosts that the layer answers for, as they stand in a URL (`tools.example.com`, `localhost:3000`). Requests
    /// for others, and from pages of others, are refused. If nothing is said every host is answered for.
    pub fn hosts<S: Into<String>>(mut self, hosts: impl IntoIterator<Item = S>) -> Self {
        self.hosts = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// What callers have in the URL before the path that the layer sees; if nothing is said the scheme and the host of
    /// the audience. Proofs name the whole URL.
    pub fn base(mut self, base: impl Into<String>) -> Self {
        self.base = Some(base.into());
        self
    }

    /// Pins the root key of the feed: its public half as a JSON Web Key, as `kavach keys root new` prints it. Say it
    /// twice, with two keys, while one root follows another.
    ///
    /// If nothing is said, heads of the log of revocations are believed that are signed by a key which the issuer
    /// publishes, because TLS says that it is the issuer; whoever stole such a key, or speaks in the issuer's name, can
    /// pretend that nothing was revoked. With a root they are believed only when they are signed by a key that a document
    /// of the root names, and only in the epoch that it names. A document of an earlier epoch than one that was believed
    /// is refused. Without a document that can be believed it does not start; one that runs accepts nothing once its
    /// lease is over, and [`Verifier::trouble`] says why.
    ///
    /// **A verifier that has just started has believed nothing yet**: it takes the document that the issuer publishes now.
    /// Whoever stole an earlier key of the feed *and* can answer in the issuer's name could show it the document of that
    /// time; [`Builder::feed_epoch`] stops that.
    pub fn feed_root(mut self, jwk: impl Into<String>) -> Self {
        self.feed_roots.push(jwk.into());
        self
    }

    /// Believes no document of the root for an epoch before this one, from the start on. Say it after a key of the feed
    /// was stolen, with the epoch that `kavach keys root install` printed: then an old document that is played back,
    /// signed by the right root, misleads no verifier that starts. It goes with [`Builder::feed_root`].
    pub fn feed_epoch(mut self, least: u64) -> Self {
        self.feed_epoch = Some(least);
        self
    }

    /// Never asks the server: calls under a rate, a budget or an approval are refused.
    pub fn never_ask(mut self) -> Self {
        self.asking = Asking::Never;
        self
    }

    /// How long the server may take for a decision that only it can make; 5 seconds if nothing is said.
    pub fn ask_within(mut self, time: Duration) -> Self {
        self.asking = Asking::Within(time);
        self
    }

    /// How long a call that is made again while its human still reads waits for the answer: whole seconds, at most 30; 20 if
    /// nothing is said, and zero for not at all.
    ///
    /// The first call, about which the human is asked, is answered at once with the page where they answer. A repeated one
    /// is refused like the first when there is no answer in time, and is decided anew when there is: one approval allows
    /// one call, however many wait for it. At most 64 calls wait at a time, 16 of them of one human's agents; more are
    /// refused at once. Let it end before callers, and proxies between, lose patience: also the server takes its time
    /// ([`Self::ask_within`]) before and after.
    pub fn wait_for_approval(mut self, time: Duration) -> Self {
        self.approval_wait = time;
        self
    }

    /// Reports the decisions that are made here to the issuer, for its record; a refusal that comes again, once a minute, with
    /// how often it came.
    pub fn report(mut self) -> Self {
        self.reporting = Reporting::On;
        self
    }

    /// Wants no nonce of this process in proofs (RFC 9449, section 9), which it does if nothing is said.
    ///
    /// Without nonces a proof that somebody has seen is good again for a minute after this process started anew, and at
    /// each of its replicas. It is for replicas behind a balancer that sends a caller now to one and now to another.
    pub fn without_nonces(mut self) -> Self {
        self.nonces = Nonce::NotAsked;
        self
    }

    /// How many tokens are remembered that were read; 10,000 if nothing is said, each of some kilobytes.
    pub fn cached_tokens(mut self, most: usize) -> Self {
        self.sizes.tokens = most.max(1);
        self
    }

    /// How many used proofs are remembered, of one agent and in all; 20,000 and 200,000 if nothing is said. An agent that
    /// uses more within a minute is refused for a while, whatever keys and tokens it has. The fuller it is, the less of
    /// it one agent, and all agents of one human, can have: there is always room for others.
    pub fn remembered_proofs(mut self, of_one_agent: usize, in_all: usize) -> Self {
        self.sizes.proofs_per_agent = of_one_agent;
        self.sizes.proofs = in_all;
        self
    }

    /// The longest body, in bytes, that the layer reads to hold a proof against it, or to see which
    /// [tool](Self::tool) is called; 4 MiB if nothing is said.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.sizes.body = bytes;
        self
    }

    /// Another way to send requests than a [`Client`] with the public authorities.
    pub fn http(mut self, http: Arc<dyn Http>) -> Self {
        self.http = Some(http);
        self
    }

    /// Another clock than the machine's, for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Finds the issuer, its keys and its revocations, and starts to follow them. Call it inside of a tokio runtime.
    ///
    /// # Errors
    /// What it was told cannot be read, or the issuer is not reachable, not secure, not itself, or gives no feed: a
    /// tool server that starts can accept tokens.
    pub async fn build(self) -> Result<Verifier, BuildError> {
        let reporting = self.reporting;
        let core = Arc::new(self.prepare().await?);
        let reports = (reporting == Reporting::On)
            .then(|| Reports::start(core.client.clone(), Arc::clone(&core.counters)));
        let tasks = Tasks::start(&core);
        Ok(Verifier::new(core, reports, tasks))
    }

    /// Everything but the tasks.
    pub(crate) async fn prepare(self) -> Result<Core, BuildError> {
        let settings = self.settings()?;
        let client = self.client(&settings.issuer)?;
        let feed_keys = self.feed_keys(&client, &settings.issuer)?;
        let clock = Arc::clone(&self.clock);
        let keys_url = discover(&client, &settings.issuer).await?;
        let keys = fetch_keys(&client, Source::Set(keys_url), clock.as_ref()).await?;
        let feed_keys = fetch_keys(&client, feed_keys, clock.as_ref()).await?;
        let feed = Feed::new(&settings, &client, feed_keys).ok_or(BuildError::NoRandomness)?;
        first_answer(&feed, &client, clock.as_ref(), settings.lease).await?;
        require_time(&feed, clock.as_ref())?;
        let nonces = match self.nonces {
            Nonce::NotAsked => None,
            Nonce::OfThisProcess => Some(Nonces::new(random().ok_or(BuildError::NoRandomness)?)),
        };
        let metadata = Metadata::new(
            &settings.issuer,
            &settings.audience,
            &settings.first_scopes,
            settings.proof,
        );
        let challenger = Challenger::new(
            metadata.url().to_owned(),
            settings.scopes.clone(),
            settings.first_scopes.clone(),
            settings.proof,
        );
        Ok(Core {
            tokens: Tokens::new(settings.sizes.tokens),
            replays: Mutex::new(Replays::new(
                settings.sizes.proofs_per_agent,
                settings.sizes.proofs,
            )),
            counters: Arc::new(Counters::default()),
            trouble: Mutex::new(None),
            settings,
            clock,
            client,
            keys,
            feed,
            nonces,
            bodies: Places::new(MAX_BODIES),
            waiting: Places::new(MAX_WAITING),
            challenger,
            metadata,
        })
    }

    fn settings(&self) -> Result<Settings, BuildError> {
        let issuer: Issuer = (self.issuer.parse()).map_err(BuildError::invalid("the issuer"))?;
        secure(issuer.as_str())?;
        let audience: Audience =
            (self.audience.parse()).map_err(BuildError::invalid("the audience"))?;
        let base = match &self.base {
            Some(base) => base.trim_end_matches('/').to_owned(),
            None => origin(&audience).to_owned(),
        };
        let all = scopes(&self.scopes).map_err(BuildError::invalid("`scopes`"))?;
        let first = match &self.first_scopes {
            Some(names) => {
                first_scopes(names, &all).map_err(BuildError::invalid("`first_scopes`"))?
            }
            None => all.clone(),
        };
        Ok(Settings {
            lease: lease(self.lease).map_err(BuildError::invalid("`lease`"))?,
            tools: tools(&self.tools, &all).map_err(BuildError::invalid("`tool`"))?,
            scopes: all,
            first_scopes: first,
            hosts: hosts(self.hosts.as_deref()).map_err(BuildError::invalid("`hosts`"))?,
            proof: self.proof,
            asking: self.asking,
            approval_wait: approval_wait(self.approval_wait)
                .map_err(BuildError::invalid("`wait_for_approval`"))?,
            sizes: self.sizes,
            issuer,
            audience,
            base,
        })
    }

    /// Where the keys of the feed are learnt: from the root's document if a root is pinned.
    fn feed_keys(&self, client: &IssuerClient, issuer: &Issuer) -> Result<Source, BuildError> {
        let roots = roots(&self.feed_roots).map_err(BuildError::invalid("`feed_root`"))?;
        if roots.is_empty() {
            if self.feed_epoch.is_some() {
                let message = "it goes with a root: pin one with `feed_root`";
                return Err(BuildError::invalid("`feed_epoch`")(Invalid::new(message)));
            }
            return Ok(Source::Set(
                client.url("/.well-known/kavach-feed-keys.json"),
            ));
        }
        Ok(Source::Document(Document {
            url: client.url("/.well-known/kavach-feed-keys.jwt"),
            issuer: issuer.clone(),
            roots,
            least_epoch: self.feed_epoch.unwrap_or_default(),
        }))
    }

    fn client(&self, issuer: &Issuer) -> Result<IssuerClient, BuildError> {
        let key = match &self.key {
            None => None,
            Some(text) => Some(resource_key(text).map_err(BuildError::invalid("`resource_key`"))?),
        };
        let http = match &self.http {
            Some(http) => Arc::clone(http),
            None => Arc::new(Client::new().map_err(BuildError::Client)?),
        };
        Ok(IssuerClient::new(http, issuer, key.as_ref()))
    }
}

fn resource_key(text: &str) -> Result<Secret, Invalid> {
    let key = Secret::parse(text)?;
    if key.kind() == SecretKind::Resource {
        Ok(key)
    } else {
        Err(Invalid::new(
            "this is another kind of key: a tool server's begins with `kv_res_`",
        ))
    }
}

fn roots(jwks: &[String]) -> Result<Vec<FeedRoot>, Invalid> {
    if jwks.len() > MAX_ROOTS {
        let message = format!("at most {MAX_ROOTS} roots are pinned: the one in use, and the next");
        return Err(Invalid::new(message));
    }
    jwks.iter().map(|jwk| jwk.parse()).collect()
}

fn lease(lease: Duration) -> Result<Lease, Invalid> {
    if lease.subsec_nanos() == 0 {
        Lease::from_seconds(lease.as_secs())
    } else {
        Err(Invalid::new("a lease is a number of whole seconds"))
    }
}

fn approval_wait(time: Duration) -> Result<Duration, Invalid> {
    if time.subsec_nanos() == 0 && time <= MAX_WAIT {
        return Ok(time);
    }
    let most = MAX_WAIT.as_secs();
    Err(Invalid::new(format!(
        "a call waits for a number of whole seconds, at most {most}"
    )))
}

fn scopes(names: &[String]) -> Result<Vec<ResourcePattern>, Invalid> {
    limited(names)?;
    let read = |(place, name): (usize, &String)| {
        scope(name).map_err(|error| error.within(&format!("[{place}]")))
    };
    names.iter().enumerate().map(read).collect()
}

fn scope(name: &str) -> Result<ResourcePattern, Invalid> {
    if RESERVED_SCOPES.contains(&name) {
        // Above all `offline_access`: whether a client gets a refresh token is between it and the issuer.
        let message = format!("`{name}` is a scope of the issuer's, and no tool server's");
        return Err(Invalid::new(message));
    }
    name.parse()
}

fn first_scopes(
    names: &[String],
    all: &[ResourcePattern],
) -> Result<Vec<ResourcePattern>, Invalid> {
    let first = scopes(names)?;
    match first.iter().find(|scope| !all.contains(scope)) {
        Some(other) => {
            let message = format!(
                "`{}` is none of `scopes`; name it there too",
                other.as_str()
            );
            Err(Invalid::new(message))
        }
        None => Ok(first),
    }
}

fn tools(
    tools: &[(String, Vec<String>)],
    scopes: &[ResourcePattern],
) -> Result<Option<Tools>, Invalid> {
    if tools.is_empty() {
        return Ok(None);
    }
    if tools.len() > MAX_TOOLS {
        return Err(Invalid::new(format!("there are at most {MAX_TOOLS}")));
    }
    let mut known = BTreeMap::new();
    for (name, resources) in tools {
        let resources = resources_of(resources, scopes);
        let resources = resources.map_err(|error| error.within(&format!("[{name}]")))?;
        if known.insert(name.clone(), resources).is_some() {
            return Err(Invalid::new(format!("`{name}` stands twice")));
        }
    }
    Tools::new(known).map(Some)
}

fn resources_of(names: &[String], scopes: &[ResourcePattern]) -> Result<Vec<Resource>, Invalid> {
    limited(names)?;
    let read = |name: &String| {
        let resource: Resource = name.parse()?;
        if scopes.is_empty() || scopes.iter().any(|scope| scope.matches(&resource)) {
            return Ok(resource);
        }
        let message = format!("`{name}` is under none of `scopes`, so no call of it can pass");
        Err(Invalid::new(message))
    };
    names.iter().map(read).collect()
}

fn hosts(names: Option<&[String]>) -> Result<Option<Hosts>, Invalid> {
    let Some(names) = names else { return Ok(None) };
    limited(names)?;
    if names.is_empty() {
        return Err(Invalid::new(
            "a tool server that answers for no host answers nothing",
        ));
    }
    match names
        .iter()
        .find(|name| name.is_empty() || name.contains(['/', '@', ' ']))
    {
        Some(_) => Err(Invalid::new(
            "write hosts as they stand in a URL, like `tools.example.com` or `localhost:3000`",
        )),
        None => Ok(Some(Hosts::new(names.iter().cloned()))),
    }
}

fn limited(names: &[String]) -> Result<(), Invalid> {
    if names.len() > MAX_NAMES {
        return Err(Invalid::new(format!("there are at most {MAX_NAMES}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_leases_and_hosts_are_held_against_their_rules() {
        let resource = Secret::new(SecretKind::Resource, [1; 32]);
        assert!(resource_key(resource.reveal()).is_ok());
        let agent = Secret::new(SecretKind::Agent, [1; 32]);
        assert!(resource_key(agent.reveal()).is_err());
        assert!(lease(Duration::from_secs(2)).is_ok());
        assert!(lease(Duration::from_millis(2_500)).is_err());
        assert!(lease(Duration::from_secs(61)).is_err());
        assert!(approval_wait(Duration::ZERO).is_ok() && approval_wait(MAX_WAIT).is_ok());
        assert!(approval_wait(Duration::from_millis(2_500)).is_err());
        assert!(approval_wait(Duration::from_secs(31)).is_err());
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            hosts(Some(&names)).is_ok()
        };
        assert!(named(&["tools.example.com", "localhost:3000"]));
        assert!(!named(&[]) && !named(&["https://tools.example.com"]) && !named(&[""]));
    }
}
