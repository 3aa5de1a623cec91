//! The client of `rmcp`, with an agent's token, at the example of an MCP server. Only the sending of its requests is ours:
//! `rmcp` brings a client of its own for that, with another TLS.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Request, Response};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use kavachos_test::Server;
use kavachos_verifier::{Chunks, Client, Http};
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientJsonRpcMessage};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, SseError, StreamableHttpClient, StreamableHttpClientTransport,
    StreamableHttpClientTransportConfig, StreamableHttpError, StreamableHttpPostResponse,
};
use rmcp::{RoleClient, ServiceExt};
use serde_json::json;
use sse_stream::Sse;

use crate::mcp::example;
use crate::process::until;
use crate::world::{TOOLS, World};

/// Sends what `rmcp` says.
#[derive(Clone)]
struct Sender(Client);

#[derive(Debug)]
struct Unsendable(String);

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsendable {}

type Sent<T> = Result<T, StreamableHttpError<Unsendable>>;

fn unsendable(error: impl fmt::Display) -> StreamableHttpError<Unsendable> {
    StreamableHttpError::Client(Unsendable(error.to_string()))
}

async fn whole(answer: Response<Chunks>) -> Sent<Vec<u8>> {
    let pieces: Vec<Bytes> = answer.into_body().try_collect().await?;
    Ok(pieces.concat())
}

impl StreamableHttpClient for Sender {
    type Error = Unsendable;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        _: Option<Arc<str>>,
        token: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Sent<StreamableHttpPostResponse> {
        let mut request = Request::post(uri.as_ref())
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let body = Bytes::from(serde_json::to_vec(&message)?);
        let answer = self.0.send(request.body(body).map_err(unsendable)?).await?;
        let challenge = answer.headers().get(WWW_AUTHENTICATE);
        match (answer.status().as_u16(), challenge) {
            (401, Some(challenge)) => {
                let challenge = challenge.to_str().map_err(unsendable)?.to_owned();
                let error = AuthRequiredError::new(challenge);
                Err(StreamableHttpError::AuthRequired(error))
            }
            (200, _) => {
                let message = serde_json::from_slice(&whole(answer).await?)?;
                Ok(StreamableHttpPostResponse::Json(message, None))
            }
            (202, _) => Ok(StreamableHttpPostResponse::Accepted),
            (status, _) => Err(unsendable(format!("it answered {status}"))),
        }
    }

    async fn delete_session(
        &self,
        _: Arc<str>,
        _: Arc<str>,
        _: Option<String>,
        _: HashMap<HeaderName, HeaderValue>,
    ) -> Sent<()> {
        Err(StreamableHttpError::ServerDoesNotSupportDeleteSession)
    }

    async fn get_stream(
        &self,
        _: Arc<str>,
        _: Option<Arc<str>>,
        _: Option<String>,
        _: Option<String>,
        _: HashMap<HeaderName, HeaderValue>,
    ) -> Sent<BoxStream<'static, Result<Sse, SseError>>> {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}

type Session = RunningService<RoleClient, ()>;

/// Connects as an agent with this token; with none as nobody.
async fn connect(server: &Server, token: Option<&str>) -> Result<Session, String> {
    let url = format!("{}/mcp", server.url().trim_end_matches('/'));
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let config = match token {
        Some(token) => config.auth_header(token),
        None => config,
    };
    let sender = Sender(Client::new().unwrap());
    let transport = StreamableHttpClientTransport::with_client(sender, config);
    ().serve(transport)
        .await
        .map_err(|error| format!("{error:?}"))
}

async fn call(session: &Session, tool: &'static str) -> Result<CallToolResult, ServiceError> {
    let arguments = json!({ "query": "tea" }).as_object().unwrap().clone();
    let call = CallToolRequestParams::new(tool).with_arguments(arguments);
    session.call_tool(call).await
}

#[tokio::test]
async fn the_client_of_rmcp_calls_what_its_chain_permits_and_what_it_did_is_on_record() {
    let world = World::start().await;
    // Of no tools: so the handler refuses, in the protocol.
    let verifier = world.verifier().report().build().await.unwrap();
    let server = Server::serving(example::app(&verifier)).await;
    let session = connect(&server, Some(&world.token().await)).await.unwrap();

    let mut tools: Vec<_> = session.list_all_tools().await.unwrap();
    tools.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["delete", "search"]);

    let found = call(&session, "search").await.unwrap();
    let found = serde_json::to_value(&found).unwrap();
    let text = found["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains(&world.researcher.id) && text.contains(&world.user),
        "{text}"
    );
    // The twin: the other tool, which the orchestrator may call and the researcher may not.
    match call(&session, "delete").await {
        Err(ServiceError::McpError(error)) => {
            let data = json!({ "code": "insufficient_scope", "scope": "tools:call:*" });
            assert_eq!(error.data, Some(data));
        }
        other => panic!("{other:?}"),
    }

    until("both are reported", || verifier.stats().reported == 2).await;
    let records = world.audit("kind=decision.reported").await;
    for (record, outcome) in records.iter().zip(["denied", "allowed"]) {
        assert_eq!(record["outcome"], outcome);
        assert_eq!(record["subject"], world.user);
        assert_eq!(record["agent"], world.researcher.id);
        assert_eq!(record["chain"], json!([world.orchestrator.id]));
        assert_eq!(record["reportedBy"], TOOLS);
    }
    assert_eq!(records.len(), 2);
}

#[tokio::test]
async fn the_client_of_rmcp_is_told_where_to_get_a_token_when_it_has_none() {
    let world = World::start().await;
    let verifier = world.verifier().build().await.unwrap();
    let server = Server::serving(example::app(&verifier)).await;
    let told = connect(&server, None).await.unwrap_err();
    let metadata = "https://tools.example.com/.well-known/oauth-protected-resource/mcp";
    assert!(
        told.contains("AuthRequired") && told.contains(metadata),
        "{told}"
    );
    // The twin.
    connect(&server, Some(&world.token().await)).await.unwrap();
}
