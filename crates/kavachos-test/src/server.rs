//! A [`Kavach`] that is served on a loopback port.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use kavachos::Kavach;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves the API of this tenant on a free port of the loopback.
    pub async fn of(kavach: &Kavach) -> Self {
        Self::serving(kavach.service()).await
    }

    /// Serves any routes on a free port of the loopback.
    pub async fn serving(routes: Router) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port of the loopback is free");
        let address = listener.local_addr().expect("a listener has an address");
        let service = routes.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            axum::serve(listener, service)
                .await
                .expect("the server serves until it is stopped");
        });
        Self { address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
