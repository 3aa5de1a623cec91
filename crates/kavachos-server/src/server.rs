//! Serving: sockets and an orderly end.
//!
//! Promises: a bounded number of connections, which leaves the database its files; a pause, and no spinning, when none
//! can be accepted; on SIGTERM or SIGINT no new connections, the requests under way finished within ten seconds, then
//! the engine drained and the database released. A second signal does not wait.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kavachos::Kavach;
use kavachos_http::State;
use kavachos_store::Health;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::{self, Connections, Presence};
use crate::connection::{Socket, talk, until};
use crate::descriptors;
use crate::failure::Failure;

/// How long requests under way may take to finish once the server is to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether the store still works.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The sockets of a server.
pub(crate) struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    connections: Connections,
    signals: Signals,
}

/// Why a server ends.
enum End {
    Signal,
    StoreStopped(String),
}

impl Server {
    /// Takes the addresses; an address that another process has is an error. From now on signals end the server in
    /// order, as soon as it runs.
    pub(crate) async fn bind(config: &config::Server) -> Result<Self, Failure> {
        let mut server = Self {
            listeners: Vec::new(),
            addresses: Vec::new(),
            connections: config.connections,
            signals: Signals::new()?,
        };
        for (address, presence) in config.listen.addresses() {
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    server.addresses.push(
                        listener
                            .local_addr()
                            .map_err(|error| refused(address, &error))?,
                    );
                    server.listeners.push(listener);
                }
                Err(error) if presence == Presence::IfAvailable && is_missing(&error) => {}
                Err(error) => return Err(refused(address, &error)),
            }
        }
        Ok(server)
    }

    /// The addresses, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until a signal or the end of the store, and closes the database.
    pub(crate) async fn run(self, kavach: Kavach) -> Result<(), Failure> {
        let signals = self.signals;
        let (stop, stopping) = watch::channel(false);
        let mut accepting = JoinSet::new();
        let max = descriptors::fitting(self.connections.max);
        let connections = Arc::new(Semaphore::new(max as usize));
        let state = kavach.state();
        let routes = kavachos_http::router(state.clone());
        for listener in self.listeners {
            let door = Door {
                listener,
                routes: routes.clone(),
                state: state.clone(),
                connections: Arc::clone(&connections),
                idle: self.connections.idle,
                stopping: stopping.clone(),
            };
            accepting.spawn(door.accept());
        }
        let end = end(&kavach, &signals).await;
        stop.send_replace(true);
        kavach.engine().wind_down();
        accepting.join_all().await;
        drain(&connections, max, &signals).await;
        kavach.close().await;
        tracing::info!("closed");
        match end {
            End::Signal => Ok(()),
            End::StoreStopped(reason) => Err(Failure::Server(format!(
                "the database stopped, start the server again: {reason}"
            ))),
        }
    }
}

async fn end(kavach: &Kavach, signals: &Signals) -> End {
    tokio::select! {
        () = signals.received(1) => {
            tracing::info!("asked to end: no new connections; requests under way are finished");
            End::Signal
        }
        reason = store_stopped(kavach) => {
            tracing::error!(reason, "the store stopped");
            End::StoreStopped(reason)
        }
    }
}

async fn store_stopped(kavach: &Kavach) -> String {
    loop {
        if let Health::Stopped(reason) = kavach.engine().health() {
            return reason.into_owned();
        }
        sleep(HEALTH_EVERY).await;
    }
}

/// Waits until every connection has given its permit back.
async fn drain(connections: &Semaphore, max: u32, signals: &Signals) {
    tokio::select! {
        finished = timeout(DRAIN_TIMEOUT, connections.acquire_many(max)) => {
            if finished.is_err() {
                tracing::warn!("some requests were not finished within 10 seconds");
            }
        }
        () = signals.received(2) => tracing::warn!("asked again: requests under way are dropped"),
    }
}

/// One listening socket.
struct Door {
    listener: TcpListener,
    routes: Router,
    state: State,
    connections: Arc<Semaphore>,
    idle: Duration,
    stopping: watch::Receiver<bool>,
}

impl Door {
    /// Accepts connections until the server stops.
    async fn accept(mut self) {
        loop {
            let next = async {
                let permit = Arc::clone(&self.connections).acquire_owned().await.ok()?;
                Some((permit, self.listener.accept().await))
            };
            let (permit, accepted) = tokio::select! {
                () = until(&mut self.stopping) => return,
                next = next => match next {
                    Some(next) => next,
                    None => return,
                },
            };
            match accepted {
                Ok((stream, peer)) => {
                    let socket = Socket {
                        stream,
                        peer,
                        idle: self.idle,
                    };
                    let back = (self.routes.clone(), self.state.clone());
                    let connection = talk(socket, back, self.stopping.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Whether the machine has no such address. One that somebody else has is not missing.
fn is_missing(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied
    )
}

/// Whether an error of `accept` is one of the connection that was to be accepted.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

fn refused(address: SocketAddr, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => {
            "another process has it; end that one, or choose another with `--listen`"
        }
        ErrorKind::PermissionDenied => "this user may not; choose a port from 1024 with `--listen`",
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address; choose another with `--listen`"
        }
        _ => return failure(&format!("cannot listen on {address}: {error}")),
    };
    failure(&format!("cannot listen on {address}: {hint}"))
}

/// A failure of the server as a whole.
pub(crate) fn failure(reason: &str) -> Failure {
    Failure::Server(reason.to_owned())
}

/// The signals that ask a process to end.
pub(crate) struct Signals {
    #[cfg(unix)]
    count: watch::Receiver<u32>,
}

#[cfg(unix)]
impl Signals {
    /// Receives them from now on.
    pub(crate) fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|error| failure(&format!("signals cannot be received: {error}")))
        };
        let (mut terminate, mut interrupt) = (
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
        );
        let (send, count) = watch::channel(0_u32);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                send.send_modify(|count| *count = count.saturating_add(1));
            }
        });
        Ok(Self { count })
    }

    /// Waits until so many signals have come.
    pub(crate) async fn received(&self, count: u32) {
        // The sender lives as long as the process.
        let _ = self
            .count
            .clone()
            .wait_for(|received| *received >= count)
            .await;
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Receives them from now on.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Waits until so many signals have come.
    pub(crate) async fn received(&self, count: u32) {
        for _ in 0..count {
            // Without signals the process ends at once, which loses nothing that was acknowledged.
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
