//! Addresses to listen on, and a server that runs.

use std::net::TcpListener;

use super::database::Holder;
use super::{Finding, catalogue};
use crate::client::{Client, Query};
use crate::config::{Config, Listen, Presence};
use crate::failure::Failure;
use crate::transport::http::Http;

/// Whether each address is free. A server that holds the database has taken them.
pub(super) fn addresses(listen: &Listen, holder: Holder) -> Vec<Finding> {
    let look = |(address, presence)| match (TcpListener::bind(address), presence, holder) {
        (Ok(_), ..) => Finding::ok("listen", format!("{address} is free")),
        (Err(_), _, Holder::Other) => Finding::ok(
            "listen",
            format!("{address} is taken, as it is while the server runs; `--url` asks how it is"),
        ),
        (Err(error), Presence::IfAvailable, _) if error.kind() != std::io::ErrorKind::AddrInUse => {
            let says = format!("{address} is not there ({error})");
            Finding::of(&catalogue::LISTEN_ABSENT, says)
        }
        (Err(error), ..) => {
            let says = format!("{address} cannot be used ({error})");
            Finding::of(&catalogue::LISTEN_TAKEN, says)
        }
    };
    listen.addresses().into_iter().map(look).collect()
}

/// Whether the server of `--url` is ready.
pub(super) async fn server(config: &Config) -> Finding {
    match ready(config).await {
        Ok(()) => Finding::ok("server", "answers, and can record what it decides"),
        Err(failure) => Finding::of(&catalogue::SERVER_UNREADY, failure.to_string()),
    }
}

async fn ready(config: &Config) -> Result<(), Failure> {
    let client = Client::new(Http::new(config.client()?)?);
    client
        .get("/readyz", &Query::default())
        .await
        .map(drop)
        .map_err(|failure| match failure {
            Failure::Stranger { status: 503 } => Failure::Server(
                "answers, and cannot record anything now: look at its log and at its disk"
                    .to_owned(),
            ),
            other => other,
        })
}
