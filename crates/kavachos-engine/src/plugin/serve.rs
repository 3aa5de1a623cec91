//! A call of a plugin's route: its caller is admitted, then its handler answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kavachos_core::time::Timestamp;
use kavachos_store::{Batch, CommitError};

use super::Mounted;
use super::context::{Calling, Context, Visitor, take, too_many};
use super::message::{Answer, Request};
use super::route::{CallerType, Flood};
use crate::act::Act;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::flood::network;
use crate::sign_in::Browser;

/// How many sources are remembered that have used up what an open route allows them.
const MAX_SHUT_OUT: usize = 10_000;

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
            (Calling::Known(actor), _) => {
                if let Err(error) = mounted.route.admit(actor) {
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
        let now = self.now();
        let source = visitor
            .ip
            .map_or("none".to_owned(), |ip| network(ip).to_string());
        let route = format!("open:{:?}:{}", mounted.route.method, mounted.route.path);
        let id = mounted.plugin.id;
        let takes = vec![
            take(id, &format!("{route}:{source}"), flood.per_source),
            take(id, &route, flood.overall),
        ];
        let mut waits = takes
            .iter()
            .filter_map(|take| self.shut_out().until(&take.counter));
        if let Some(until) = waits.find(|until| *until > now) {
            return Err(self.turn_away(visitor, until.since(now)));
        }
        let batch = Batch {
            takes,
            ..Batch::default()
        };
        match self.store().commit(batch).await {
            Ok(_) => Ok(()),
            Err(CommitError::Refused { counter, refusal }) => match too_many(refusal) {
                Error::TooManyCalls { retry_after } => {
                    self.shut_out().note(counter, now.plus(retry_after), now);
                    Err(self.turn_away(visitor, retry_after))
                }
                other => Err(other),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn turn_away(&self, visitor: &Visitor, retry_after: Duration) -> Error {
        let error = Error::TooManyCalls { retry_after };
        self.note_stranger(visitor.as_stranger(), error.code());
        error
    }
}
