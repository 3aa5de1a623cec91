//! What leaves and roots carry: for whom, by which chain, with which authority, and what kills it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::failure::{Code, Failure};
use super::name::{Issuer, Subject};
use crate::base64url::decode_array;
use crate::constraint::Constraints;
use crate::grant;
use crate::id::{AgentId, TokenId};
use crate::json::{self, Exact, Object};
use crate::permission::{Direct, PermissionSet};
use crate::revocation::{Handle, HandleKind, Mark};
use crate::time::Timestamp;

/// The type of our `authorization_details` (RFC 9396).
pub const DETAILS_TYPE: &str = "kavachos_delegation";
/// The most handles beside those of the chain: human, session, client, root grant, and the owners of agents of the
/// chain that are not in it themselves.
const MAX_MARKS: usize = 32;
const MICROS: i64 = 1_000_000;
/// Room for the agents of the longest chain.
const USUAL_AGENTS: usize = 8;

/// For whom a token is, through whose hands it went, and what it permits.
#[derive(Debug, Clone, PartialEq)]
pub struct Authority {
    /// The human.
    pub subject: Subject,
    /// The grants from the human down; the last agent is the one that acts.
    pub chain: Vec<Hop>,
    /// How many delegations may stand below the root grant.
    pub max_depth: u8,
    /// What is permitted: the grants of the chain, merged.
    pub permissions: PermissionSet,
    /// What must hold for all of it.
    pub guards: Option<Arc<Constraints>>,
    /// In which epoch of the issuer it was made; a restored backup starts a new one.
    pub epoch: u64,
    /// What kills it beside the hops: human, session, client, root grant, owners that are not on the chain.
    pub marks: Vec<Mark>,
    /// Why it was made; for a third party's tool server the id of the record that says so.
    pub reason: String,
}

impl Authority {
    /// The agent that acts; `None` only for a chain without hops, which no token has.
    pub fn agent(&self) -> Option<AgentId> {
        self.chain.last().map(|hop| hop.id)
    }

    /// How many delegations it stands below the root grant.
    pub fn depth(&self) -> usize {
        self.chain.len().saturating_sub(1)
    }

    /// Everything whose kill is its end.
    pub fn all_marks(&self) -> impl Iterator<Item = Mark> {
        let hops = self.chain.iter();
        let hops = hops.flat_map(|hop| [Some(hop.agent), Some(hop.grant), hop.key]);
        self.marks.iter().copied().chain(hops.flatten())
    }
}

/// One grant of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The agent that was given it.
    pub id: AgentId,
    /// Handle and generation of the agent.
    pub agent: Mark,
    /// Handle and generation of the grant.
    pub grant: Mark,
    /// Handle and generation of the agent's key, where it has one.
    pub key: Option<Mark>,
    /// When the grant ends, if ever; whole seconds.
    pub expires_at: Option<Timestamp>,
}

/// When a token was made, when it ends, and its name. Whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The token's name, which stands in the record of its making.
    pub id: TokenId,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends: it is refused from this second on.
    pub expires_at: Timestamp,
}

/// The claims of both kinds of tokens; which of them a kind has is checked when they are read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) iss: Issuer,
    pub(super) aud: String,
    sub: Subject,
    client_id: AgentId,
    act: Actors,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "json::stated",
        default
    )]
    pub(super) scope: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "json::stated",
        default
    )]
    pub(super) res: Option<Vec<String>>,
    authorization_details: Vec<Details>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "json::stated",
        default
    )]
    pub(super) cnf: Option<Object<Confirmation>>,
    dlg: Object<Delegation>,
    ep: u64,
    rvk: Vec<Object<WireMark>>,
    rsn: String,
    iat: Seconds,
    exp: Seconds,
    jti: TokenId,
}

/// RFC 7800 and RFC 9449, section 6.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "json::stated",
        default
    )]
    pub(super) jkt: Option<super::key::Thumbprint>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "exact",
        default
    )]
    pub(super) jwk: Option<Value>,
}

fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Exact::deserialize(deserializer).map(|Exact(value)| Some(value))
}

/// RFC 8693, section 4.1: the current actor is the outermost, and the first here. For display; nothing is decided by it.
struct Actors(Vec<AgentId>);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum ActorMember {
    Sub,
    Act,
}

/// Reads an actor and those inside of it into one list.
struct ActorReader<'l>(&'l mut Vec<AgentId>);

impl<'de> Deserialize<'de> for Actors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut agents = Vec::with_capacity(USUAL_AGENTS);
        ActorReader(&mut agents).deserialize(deserializer)?;
        Ok(Self(agents))
    }
}

impl<'de> DeserializeSeed<'de> for ActorReader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ActorReader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an actor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self(agents) = self;
        let place = agents.len();
        let (mut sub, mut act) = (None, None);
        while let Some(member) = members.next_key()? {
            match member {
                ActorMember::Sub if sub.is_none() => {
                    let agent = members.next_value()?;
                    sub = Some(agent);
                    agents.insert(place, agent);
                }
                ActorMember::Act if act.is_none() => {
                    act = Some(members.next_value_seed(ActorReader(&mut *agents))?);
                }
                ActorMember::Sub => return Err(de::Error::duplicate_field("sub")),
                ActorMember::Act => return Err(de::Error::duplicate_field("act")),
            }
        }
        sub.map(drop).ok_or_else(|| de::Error::missing_field("sub"))
    }
}

impl Serialize for Actors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Nested(&self.0).serialize(serializer)
    }
}

/// The actors from one on, the next inside of it.
struct Nested<'a>(&'a [AgentId]);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        if let Some((sub, inner)) = self.0.split_first() {
            members.serialize_entry("sub", sub)?;
            if !inner.is_empty() {
                members.serialize_entry("act", &Nested(inner))?;
            }
        }
        members.end()
    }
}

struct Details {
    permissions: PermissionSet,
    guards: Option<Arc<Constraints>>,
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            r#type: &'static str,
            permissions: &'a PermissionSet,
            #[serde(skip_serializing_if = "Option::is_none")]
            guards: Option<&'a Constraints>,
        }
        Wire {
            r#type: DETAILS_TYPE,
            permissions: &self.permissions,
            guards: self.guards.as_deref(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire<'w> {
            #[serde(borrow)]
            r#type: Cow<'w, str>,
            permissions: Direct,
            #[serde(default, deserialize_with = "json::stated")]
            guards: Option<Exact>,
        }
        let Object(wire) = Object::<Wire<'_>>::deserialize(deserializer)?;
        if wire.r#type != DETAILS_TYPE {
            return Err(de::Error::custom(format!(
                "`type` must be `{DETAILS_TYPE}`"
            )));
        }
        let guards: Option<Constraints> = match wire.guards {
            Some(Exact(value)) => Some(json::read(&value).map_err(de::Error::custom)?),
            None => None,
        };
        let Direct(permissions) = wire.permissions;
        Ok(Self {
            permissions,
            guards: guards.map(Arc::new),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delegation {
    d: u8,
    m: u8,
    ch: Vec<Object<WireHop>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHop {
    agent: Object<Generation>,
    grant: Object<Generation>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "json::stated",
        default
    )]
    key: Option<Object<Generation>>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "json::stated",
        default
    )]
    exp: Option<Seconds>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generation {
    h: HandleText,
    g: u64,
}

impl Generation {
    fn of(mark: Mark) -> Self {
        Self {
            h: HandleText(mark.handle.bytes),
            g: mark.generation,
        }
    }

    fn mark(&self, kind: HandleKind) -> Mark {
        Mark {
            handle: Handle {
                kind,
                bytes: self.h.0,
            },
            generation: self.g,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMark {
    k: u8,
    h: HandleText,
    g: u64,
}

impl WireMark {
    fn of(mark: &Mark) -> Self {
        Self {
            k: mark.handle.kind as u8,
            h: HandleText(mark.handle.bytes),
            g: mark.generation,
        }
    }
}

/// 16 bytes in 22 characters of base64url.
#[derive(Clone, Copy)]
struct HandleText([u8; 16]);

impl Serialize for HandleText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for HandleText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode_array(text)
            .map(Self)
            .ok_or("a handle is 16 bytes in base64url")
    }
}

impl<'de> Deserialize<'de> for HandleText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer)
    }
}

/// A `NumericDate` (RFC 7519, section 2) without a fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(pub(super) Timestamp);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.as_micros() / MICROS)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = u64::deserialize(deserializer)?;
        (i64::try_from(seconds).ok())
            .and_then(|seconds| seconds.checked_mul(MICROS))
            .filter(|micros| *micros <= Timestamp::MAX.as_micros())
            .map(|micros| Self(Timestamp::from_micros(micros)))
            .ok_or_else(|| de::Error::custom("a time is a number of whole seconds since 1970"))
    }
}

/// The whole second in which a time lies.
pub(super) fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.as_micros() - time.as_micros() % MICROS)
}

/// What a token of one kind says beside what both kinds say.
pub(super) struct Made<'a> {
    pub(super) issuer: &'a Issuer,
    pub(super) audience: &'a str,
    pub(super) scope: Option<String>,
    pub(super) res: Option<Vec<String>>,
    pub(super) cnf: Option<Confirmation>,
}

impl Claims {
    /// The claims of a token.
    ///
    /// # Errors
    /// The chain is empty.
    pub(super) fn new(made: Made<'_>, authority: &Authority, life: &Life) -> Result<Self, Failure> {
        let acting = authority.agent();
        let client_id = acting.ok_or_else(|| Failure::malformed("the chain is empty"))?;
        let actors = authority.chain.iter().rev().map(|hop| hop.id);
        let hops = authority.chain.iter().map(WireHop::of).map(Object);
        let marks = authority.marks.iter().map(WireMark::of).map(Object);
        Ok(Self {
            iss: made.issuer.clone(),
            aud: made.audience.to_owned(),
            sub: authority.subject.clone(),
            client_id,
            act: Actors(actors.collect()),
            scope: made.scope,
            res: made.res,
            authorization_details: vec![Details {
                permissions: authority.permissions.clone(),
                guards: authority.guards.clone(),
            }],
            cnf: made.cnf.map(Object),
            dlg: Object(Delegation {
                d: u8::try_from(authority.depth()).unwrap_or(u8::MAX),
                m: authority.max_depth,
                ch: hops.collect(),
            }),
            ep: authority.epoch,
            rvk: marks.collect(),
            rsn: authority.reason.clone(),
            iat: Seconds(life.issued_at),
            exp: Seconds(life.expires_at),
            jti: life.id,
        })
    }

    /// The issuer, the authority and the life that the claims state, each looked at by itself and all held against each other.
    ///
    /// # Errors
    /// [`Code::Malformed`], [`Code::DepthExceeded`], [`Code::OutlivesParent`].
    pub(super) fn take(self, longest: Duration) -> Result<(Issuer, Authority, Life), Failure> {
        let Object(dlg) = self.dlg;
        let life = Life {
            id: self.jti,
            issued_at: self.iat.0,
            expires_at: self.exp.0,
        };
        if life.issued_at >= life.expires_at || life.expires_at.since(life.issued_at) > longest {
            let message = format!(
                "a token of this kind lives 1 to {} seconds",
                longest.as_secs()
            );
            return Err(Failure::malformed(message));
        }
        let depth = usize::from(dlg.d);
        if dlg.d > dlg.m || dlg.m > grant::MAX_DEPTH {
            return Err(Failure::new(
                Code::DepthExceeded,
                "the chain is deeper than it may be",
            ));
        }
        let Actors(agents) = self.act;
        if dlg.ch.len() != depth + 1
            || agents.len() != depth + 1
            || agents.first() != Some(&self.client_id)
        {
            return Err(Failure::malformed(
                "`dlg.d`, `dlg.ch`, `act` and `client_id` do not tell the same chain",
            ));
        }
        let chain: Vec<Hop> = (agents.into_iter().rev().zip(dlg.ch))
            .map(|(id, Object(hop))| hop.take(id))
            .collect();
        check_ends(&chain, life.expires_at)?;
        let [details] = <[Details; 1]>::try_from(self.authorization_details)
            .map_err(|_| Failure::malformed("`authorization_details` has exactly one entry"))?;
        let authority = Authority {
            subject: self.sub,
            chain,
            max_depth: dlg.m,
            permissions: details.permissions,
            guards: details.guards,
            epoch: self.ep,
            marks: take_marks(&self.rvk)?,
            reason: self.rsn,
        };
        Ok((self.iss, authority, life))
    }
}

impl WireHop {
    fn of(hop: &Hop) -> Self {
        Self {
            agent: Object(Generation::of(hop.agent)),
            grant: Object(Generation::of(hop.grant)),
            key: hop.key.map(Generation::of).map(Object),
            exp: hop.expires_at.map(Seconds),
        }
    }

    fn take(self, id: AgentId) -> Hop {
        Hop {
            id,
            agent: self.agent.0.mark(HandleKind::Agent),
            grant: self.grant.0.mark(HandleKind::Grant),
            key: (self.key).map(|Object(key)| key.mark(HandleKind::Key)),
            expires_at: self.exp.map(|end| end.0),
        }
    }
}

/// A hop never outlives the hop above it, and the token none of them.
fn check_ends(chain: &[Hop], end: Timestamp) -> Result<(), Failure> {
    let ends = chain.iter().map(|hop| hop.expires_at);
    let ends = ends.chain([Some(end)]);
    let fits = ends.scan(Timestamp::MAX, |parent, end| {
        let end = end.unwrap_or(*parent);
        let fits = end <= *parent;
        *parent = end;
        Some(fits)
    });
    if fits.min() == Some(true) {
        Ok(())
    } else {
        Err(Failure::new(
            Code::OutlivesParent,
            "a part of the chain, or the token, lives longer than what it comes from",
        ))
    }
}

fn take_marks(wire: &[Object<WireMark>]) -> Result<Vec<Mark>, Failure> {
    if wire.len() > MAX_MARKS {
        return Err(Failure::malformed(format!(
            "`rvk` has at most {MAX_MARKS} entries"
        )));
    }
    let mut marks: Vec<Mark> = Vec::with_capacity(wire.len());
    for Object(mark) in wire {
        let kind = HandleKind::try_from(i64::from(mark.k))
            .map_err(|_| Failure::malformed("`rvk` has a kind of handle that is none"))?;
        let handle = Handle {
            kind,
            bytes: mark.h.0,
        };
        if marks.iter().any(|known| known.handle == handle) {
            return Err(Failure::malformed("`rvk` names a handle twice"));
        }
        marks.push(Mark {
            handle,
            generation: mark.g,
        });
    }
    Ok(marks)
}
