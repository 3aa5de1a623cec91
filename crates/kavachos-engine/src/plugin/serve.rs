//! A call of a plugin's route: its caller is admitted, then its handler answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use kavachos_core::time::Timestamp;
use kavachos_store::{Batch, CommitError, Take};

use super::Mounted;
use super::context::{Calling, Context, Visitor, take, too_many};
use super::message::{Answer, Request};
use super::route::{Allowance, CallerType, Flood};
use crate::act::Act;
use crate::doors::Door;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::flood::{Stranger, network, site};
use crate::sign_in::Browser;

/// How many sources are remembered that have used up what an open route allows them.
const MAX_SHUT_OUT: usize = 10_000;
/// In whose name the limits of the server's own routes are counted: no plugin is called so.
const CORE: &str = "core";

/// How many times as often as one network of it a site of IPv6 may call: it has 65,536 of them for nothing.
const PER_SITE: u64 = 10;

/// Sources that are told to wait, so that no more is written for them until they have waited.
#[derive(Debug, Default)]
pub(crate) struct ShutOut(Mutex<HashMap<Box<[u8]>, Timestamp>>);

impl ShutOut {
    fn until(&self, counter: &[u8]) -> Option<Timestamp> {
        let shut = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shut.get(counter).copied()
    }

    fn note(&self, counter: Box<[u8]>, until: Timestamp, now: Timestamp) {
        let mut shut = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shut.len() >= MAX_SHUT_OUT {
            shut.retain(|_, until| *until > now);
        }
        // One that finds no room is judged by its counter every time.
        if shut.len() < MAX_SHUT_OUT {
            shut.insert(counter, until);
        }
    }
}

impl Engine {
    /// The routes of all plugins.
    pub fn plugin_routes(&self) -> &[Mounted] {
        self.plugins().routes()
    }

    /// Answers a call of a plugin's route.
    ///
    /// # Errors
    /// The caller is none of the route's, which is on record; an open route was called too often; or what the handler
    /// says.
    pub async fn serve(
        &self,
        mounted: &Mounted,
        (calling, browser): (Calling, Option<Browser>),
        request: Request,
    ) -> Result<Answer> {
        match (&calling, mounted.route.caller) {
            // Also those who show a credential: it opens no more guesses.
            (_, CallerType::Open(flood)) => {
                self.admit_visitor(mounted, &calling.visitor(), flood)
                    .await?;
            }
            (_, CallerType::Door(door)) => {
                if door == Door::SignUp {
                    self.require_sign_ups()?;
                }
                let flood = self.settings().doors.flood(door);
                self.admit_visitor(mounted, &calling.visitor(), flood)
                    .await?;
            }
            (Calling::Known(actor), _) => {
                let admitted = match self.admit_owing(actor, mounted.route.owing).await {
                    Ok(()) => mounted.route.admit(actor),
                    Err(error @ Error::SecondFactorRequired(_)) => Err(error),
                    Err(error) => return Err(error),
                };
                if let Err(error) = admitted {
                    let act = Act::on_route("plugin.called", mounted.route.path);
                    return Err(self.refused(actor, act, error).await?);
                }
            }
            (Calling::Stranger(_), _) => {
                return Err(Error::Unauthenticated("this route is not open"));
            }
        }
        let context = Context::new(
            self.clone(),
            Arc::clone(&mounted.plugin),
            (calling, browser),
        );
        mounted.route.handle(context, request).await
    }

    /// Counts a call of an open route, of its source and of everyone, before anything else is done for it.
    async fn admit_visitor(
        &self,
        mounted: &Mounted,
        visitor: &Visitor,
        flood: Flood,
    ) -> Result<()> {
        let route = format!("open:{:?}:{}", mounted.route.method, mounted.route.path);
        let id = mounted.plugin.id;
        let mut takes = takes_of_source(id, (&route, visitor.ip), flood.per_source);
        takes.push(take(id, &route, flood.overall));
        let admitted = self.admit_takes(takes).await;
        if let Err(error @ Error::TooManyCalls { .. }) = &admitted {
            self.note_stranger(visitor.as_stranger(), error.code());
        }
        admitted
    }

    /// Counts a call by a stranger of a route of the server itself, of its source and of everyone.
    pub(crate) async fn admit_stranger(
        &self,
        (route, flood): (&str, Flood),
        stranger: Stranger<'_>,
    ) -> Result<()> {
        let mut takes = takes_of_source(CORE, (route, stranger.ip), flood.per_source);
        takes.push(take(CORE, route, flood.overall));
        let admitted = self.admit_takes(takes).await;
        if let Err(error @ Error::TooManyCalls { .. }) = &admitted {
            self.note_stranger(stranger, error.code());
        }
        admitted
    }

    /// Counts one of so many that everyone may have together.
    pub(crate) async fn admit_one(&self, one: (&str, Allowance)) -> Result<()> {
        self.admit_each(&[one]).await
    }

    /// The same of each of these, or of none where one is used up.
    pub(crate) async fn admit_each(&self, each: &[(&str, Allowance)]) -> Result<()> {
        let takes = each.iter().map(|(name, of)| take(CORE, name, *of));
        self.admit_takes(takes.collect()).await
    }

    /// Takes from each of these limits, in a commit of its own. Of whoever used one up nothing more is written until there is
    /// something left.
    pub(super) async fn admit_takes(&self, takes: Vec<Take>) -> Result<()> {
        let now = self.now();
        let mut waits = takes
            .iter()
            .filter_map(|take| self.shut_out().until(&take.counter));
        if let Some(until) = waits.find(|until| *until > now) {
            let retry_after = until.since(now);
            return Err(Error::TooManyCalls { retry_after });
        }
        let batch = Batch {
            takes,
            ..Batch::default()
        };
        match self.store().commit(batch).await {
            Ok(_) => Ok(()),
            Err(CommitError::Refused { counter, refusal }) => {
                let error = too_many(refusal);
                if let Error::TooManyCalls { retry_after } = &error {
                    self.shut_out().note(counter, now.plus(*retry_after), now);
                }
                Err(error)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// One from the limit of the network of this address, and of IPv6 from that of its site, which is [`PER_SITE`] times as much.
pub(super) fn takes_of_source(
    plugin: &str,
    (name, ip): (&str, Option<IpAddr>),
    of: Allowance,
) -> Vec<Take> {
    let source = ip.map_or("none".to_owned(), |ip| network(ip).to_string());
    let mut takes = vec![take(plugin, &format!("{name}:{source}"), of)];
    if let Some(site) = ip.and_then(site) {
        let of = Allowance::new(of.limit.saturating_mul(PER_SITE), of.per);
        takes.push(take(plugin, &format!("{name}:{site}/48"), of));
    }
    takes
}
