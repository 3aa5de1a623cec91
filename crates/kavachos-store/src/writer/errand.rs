//! Errands: one caller holds a connection for a while and says step by step what to do with it.
//!
//! The caller's side implements both passages; the side of the executor is [`Orders::next`], which also notices a caller
//! that went away or that has nothing to say for too long.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use futures_channel::oneshot;

use crate::answer::{CommitError, Head, ReadError};
use crate::batch::Write;
use crate::contract::BoxFuture;
use crate::passage::{Filled, Filling, Snapshot};
use crate::row::{Query, Row};

/// How often the holder of the connection looks after others while it waits for its caller.
const TICK: Duration = Duration::from_millis(50);
/// After how many of these without a word the errand is over: two minutes.
const TICKS: u32 = 2_400;
/// Why nothing more can be done.
const OVER: &str = "it took too long, or the store is closed; begin again";

/// What is to be done next, and who waits for it.
pub(crate) enum Order {
    Query(Query, oneshot::Sender<Result<Vec<Row>, ReadError>>),
    Write(Vec<Write>, oneshot::Sender<Result<(), CommitError>>),
    Finish(Box<Filled>, oneshot::Sender<Result<Head, CommitError>>),
}

/// The caller's side.
pub(crate) struct Errand(Sender<Order>);

/// The side of whoever holds the connection.
pub(crate) struct Orders(Receiver<Order>);

/// Both sides of a new errand.
pub(crate) fn errand() -> (Errand, Orders) {
    let (sender, receiver) = channel();
    (Errand(sender), Orders(receiver))
}

impl Orders {
    /// The next order; `None` when the errand is over. `go_on` is asked now and then whether it may go on, and only while
    /// the caller is still there.
    pub(crate) fn next(&self, mut go_on: impl FnMut() -> bool) -> Option<Order> {
        for _ in 0..TICKS {
            let order = match self.0.recv_timeout(TICK) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => match self.0.try_recv() {
                    Ok(order) => Some(order),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return None,
                },
                Err(RecvTimeoutError::Disconnected) => return None,
            };
            if !go_on() {
                return None;
            }
            if order.is_some() {
                return order;
            }
        }
        None
    }
}

impl Errand {
    fn ask(&self, query: Query) -> BoxFuture<'_, Result<Vec<Row>, ReadError>> {
        let checked = query.check().map_err(ReadError::Rejected);
        let (answer, answered) = oneshot::channel();
        let sent = checked.map(|()| self.0.send(Order::Query(query, answer)));
        let over = || Err(ReadError::Unavailable(OVER.into()));
        Box::pin(async move {
            if sent?.is_err() {
                return over();
            }
            answered.await.unwrap_or_else(|_| over())
        })
    }
}

impl Snapshot for Errand {
    fn query(&mut self, query: Query) -> BoxFuture<'_, Result<Vec<Row>, ReadError>> {
        self.ask(query)
    }
}

impl Filling for Errand {
    fn query(&mut self, query: Query) -> BoxFuture<'_, Result<Vec<Row>, ReadError>> {
        self.ask(query)
    }

    fn write(&mut self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), CommitError>> {
        let wrong = writes.iter().enumerate().find_map(|(index, write)| {
            let reason = write.check().err()?;
            Some(CommitError::Rejected {
                write: Some(index),
                reason,
            })
        });
        let (answer, answered) = oneshot::channel();
        let sent = match wrong {
            Some(error) => Err(error),
            None => Ok(self.0.send(Order::Write(writes, answer))),
        };
        let over = || Err(CommitError::Unavailable(OVER.into()));
        Box::pin(async move {
            if sent?.is_err() {
                return over();
            }
            answered.await.unwrap_or_else(|_| over())
        })
    }

    fn finish(&mut self, filled: Filled) -> BoxFuture<'_, Result<Head, CommitError>> {
        let (answer, answered) = oneshot::channel();
        let sent = self.0.send(Order::Finish(Box::new(filled), answer));
        Box::pin(async move {
            if sent.is_err() {
                return Err(CommitError::Unavailable(OVER.into()));
            }
            answered.await.unwrap_or(Err(CommitError::Unknown))
        })
    }
}

/// The SQL that makes what was filled the log. `false` from it: somebody else moved the head.
pub(crate) const REPLACE_LOG: &str = "UPDATE log SET log = ?1, epoch = ?2, commits = ?3, frontier = ?4, \
    last_time = ?5, rseq = ?6, rhash = ?7 WHERE \"only\" = 1 AND commits = ?8";
