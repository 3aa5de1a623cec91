//! The client of `rmcp`, as a program: `rmcp_client SERVER REDIRECT [CLIENT]`. It signs in at an MCP server, calls its tools,
//! and steps up where it is refused. A page that a human must open is written as a line, `open URL`; what comes of it is read as
//! one: the address that the browser was sent to, or `done`. `rmcp.mjs` is at the other end.
#![expect(
    clippy::print_stdout,
    reason = "it is a program of its own, with its own words"
)]

use std::error::Error;
use std::io;

use reqwest::Client as Http;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationCapability, Implementation, JsonObject, ProtocolVersion,
    UrlElicitationCapability,
};
use rmcp::service::{ClientLifecycleMode, RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthClient, AuthorizationCallback, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::{
    InsufficientScopeError, StreamableHttpClientTransportConfig,
};
use rmcp::{ClientHandler, ErrorData, RoleClient, ServiceError, serve_client_with_lifecycle};

type Failure = Box<dyn Error + Send + Sync>;
type Session = RunningService<RoleClient, Human>;

/// The human in front of the program: opens pages.
#[derive(Clone)]
struct Human;

impl ClientHandler for Human {
    fn get_info(&self) -> ClientConfig {
        let pages = ElicitationCapability::new().with_url(UrlElicitationCapability::new());
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = Some(pages);
        ClientConfig::new(capabilities, Implementation::new("rmcp_client", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::UrlElicitationParams { url, .. } = request else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        match open(&url).await {
            Ok(_) => Ok(ElicitResult::new(ElicitationAction::Accept)),
            Err(error) => Err(ErrorData::internal_error(error.to_string(), None)),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().ok_or("which server?")?;
    let redirect = arguments.next().ok_or("which redirect address?")?;
    let client = sign_in(&server, &redirect, arguments.next()).await?;
    let transport = StreamableHttpClientTransport::with_client(client.clone(), at(&server));
    let session = serve_client_with_lifecycle(Human, transport, lately()).await?;
    call(&session, "search").await?;
    println!("called search");
    client.auth_manager.lock().await.refresh_token().await?;
    call(&session, "search").await?;
    println!("refreshed");
    let refused = call(&session, "delete").await;
    let scope = refused.err().as_ref().and_then(wanted);
    let scope = scope.ok_or("`delete` was not refused for want of a scope")?;
    println!("wants {scope}");
    step_up(&client, &scope).await?;
    call(&session, "delete").await?;
    println!("called delete");
    // From here on a human approves each deletion.
    ask("narrow").await?;
    call(&session, "delete").await?;
    println!("called delete with approval");
    Ok(())
}

fn at(server: &str) -> StreamableHttpClientTransportConfig {
    StreamableHttpClientTransportConfig::with_uri(server)
}

/// The revision without sessions, which asks in results.
fn lately() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: None,
    }
}

/// From the challenge of a request without a token to the tokens. `known` is the client's id, where it has one: without it
/// registers itself.
async fn sign_in(
    server: &str,
    redirect: &str,
    known: Option<String>,
) -> Result<AuthClient<Http>, Failure> {
    let http = Http::builder().no_proxy().build()?;
    let transport = StreamableHttpClientTransport::with_client(http.clone(), at(server));
    let challenge = match serve_client_with_lifecycle(Human, transport, lately()).await {
        Ok(_) => return Err("it let somebody in without a token".into()),
        Err(error) => error.auth_challenge().map(str::to_owned),
    };
    let challenge = challenge.ok_or("no challenge")?;
    println!("challenged {challenge}");
    let mut request = AuthorizationRequest::new(redirect)
        .with_client_name("rmcp")
        .with_challenge(challenge)
        .with_initial_scope_selection();
    if let Some(id) = known {
        request = request.with_preregistered_client(id);
    }
    let mut state = OAuthState::new(server, None).await?;
    state.start_authorization(request).await?;
    let back = open(&state.get_authorization_url().await?).await?;
    state.handle_callback_url(&back).await?;
    let manager = state.into_authorization_manager().ok_or("not let in")?;
    Ok(AuthClient::new(http, manager))
}

/// Asks the human for this scope too, and goes on with the new tokens.
async fn step_up(client: &AuthClient<Http>, scope: &str) -> Result<(), Failure> {
    let manager = client.auth_manager.lock().await;
    let url = manager.request_scope_upgrade(scope).await?;
    let back = AuthorizationCallback::from_redirect_url(&open(&url).await?)?;
    let (code, state, issuer) = (&back.code, &back.csrf_token, back.issuer.as_deref());
    manager
        .exchange_code_for_token_with_issuer(code, state, issuer)
        .await?;
    Ok(())
}

async fn call(session: &Session, tool: &'static str) -> Result<(), ServiceError> {
    let mut arguments = JsonObject::new();
    arguments.insert("query".to_owned(), "tea".into());
    let call = CallToolRequestParams::new(tool).with_arguments(arguments);
    session.call_tool(call).await.map(drop)
}

/// The scope that a call was refused for.
fn wanted(error: &ServiceError) -> Option<String> {
    let ServiceError::TransportSend(error) = error else {
        return None;
    };
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.error.as_ref());
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<InsufficientScopeError>() {
            return refused.required_scope.clone();
        }
        cause = error.source();
    }
    None
}

async fn open(url: &str) -> Result<String, Failure> {
    ask(&format!("open {url}")).await
}

/// A line out, and one in.
async fn ask(what: &str) -> Result<String, Failure> {
    println!("{what}");
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = read.await??;
    match line.trim() {
        "" => Err("nobody answers".into()),
        answer => Ok(answer.to_owned()),
    }
}
