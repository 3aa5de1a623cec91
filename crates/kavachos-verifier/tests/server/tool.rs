//! A tool server of axum: its tools are at `/tools/{name}`, and only the verifier protects them.

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;
use axum::routing::post;
use axum::{Extension, Router};
use kavachos_test::{Client, Reply, Server};
use kavachos_verifier::{Presented, Principal, ProofRequest, Scheme, Verifier};
use serde_json::{Value, json};

/// A tool server that serves.
pub(crate) struct Tool {
    pub(crate) verifier: Verifier,
    server: Server,
}

impl Tool {
    pub(crate) async fn of(verifier: Verifier) -> Self {
        let routes = Router::new().route("/tools/{name}", post(run));
        Self {
            server: Server::serving(routes.layer(verifier.layer())).await,
            verifier,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.server.address())
    }

    /// Calls the tool of this name.
    pub(crate) async fn call(&self, token: &str, name: &str) -> Reply {
        let path = format!("/tools/{name}");
        self.client().call(token).post(&path, json!({})).await
    }

    pub(crate) async fn search(&self, token: &str) -> Reply {
        self.call(token, "search").await
    }
}

/// A token as it is shown without a proof.
pub(crate) fn bearer(token: &str) -> Presented<'_> {
    Presented {
        token,
        scheme: Scheme::Bearer,
        proof: None,
        request: ProofRequest::default(),
    }
}

async fn run(
    Extension(caller): Extension<Principal>,
    Path(name): Path<String>,
    axum::Json(arguments): axum::Json<Value>,
) -> Result<String, Response<Body>> {
    let resource = format!("tools:call:{name}");
    caller
        .authorize("call", &resource, Some(&arguments), None)
        .await?;
    let chain = caller.chain().iter().map(|hop| hop.id.to_string());
    let chain: Vec<_> = chain.collect();
    Ok(format!("{} > {}", caller.user(), chain.join(" > ")))
}
