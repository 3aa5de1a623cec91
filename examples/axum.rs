//! KavachOS inside an axum app: a route of the app's own asks before it acts, and the whole API is served beside it.

use std::net::SocketAddr;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Router, routing::post};
use kavachos::{AgentId, Kavach, Request};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let kavach = Kavach::builder().sqlite("kavach.db").build().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let service = app(&kavach).into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).await?)
}

fn app(kavach: &Kavach) -> Router {
    Router::new()
        .route("/repos/{repo}/scan/{agent}", post(scan))
        .with_state(kavach.clone())
        .fallback_service(kavach.service())
}

/// Scans a repository, if the agent may read it. Which agent it is, a real app learns from its own session.
async fn scan(
    State(kavach): State<Kavach>,
    Path((repo, agent)): Path<(String, AgentId)>,
) -> Result<String, (StatusCode, String)> {
    let request = Request::new("read", &format!("mcp:github:{repo}"));
    match kavach.authorize(&agent, request).await {
        Ok(decision) if decision.allowed => Ok(format!("scanned, see {}", decision.audit_id)),
        Ok(decision) => Err((StatusCode::FORBIDDEN, decision.reason)),
        Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string())),
    }
}

#[tokio::test]
async fn the_route_asks_before_it_acts_and_the_api_is_served_beside_it() -> Outcome {
    use kavachos::{NewAgent, NewUser};

    let kavach = Kavach::builder().sqlite_in_memory().build().await?;
    let ada = kavach.users().create(NewUser::named("Ada")).await?;
    let reader = NewAgent::owned_by(&ada).may(["read"], "mcp:github:kavachos");
    let reader = kavach.agents().create(reader).await?.id;
    let server = kavachos_test::Server::serving(app(&kavach)).await;
    let caller = kavachos_test::Client::new(server.address()).anonymous();
    let scan = async |repo: &str| {
        let path = format!("/repos/{repo}/scan/{reader}");
        caller.post(&path, serde_json::Value::Null).await
    };
    assert!(scan("kavachos").await.expect(200).text.contains("audit_"));
    scan("other").await.expect(403);
    scan("no%20resource").await.expect(400);
    caller.get("/healthz").await.expect(200);
    caller.get("/api/v1/agents").await.expect(401);
    Ok(())
}
