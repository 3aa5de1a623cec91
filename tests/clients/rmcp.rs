//! The client of `rmcp`, as a program: `rmcp_client SERVER WORD...`. It signs in at an MCP server and takes one word after the
//! other: it calls the tool of that name, and steps up where it is refused for want of a scope; `refresh` refreshes its tokens,
//! and `pause` waits for a line. A page that its human must open it says as a line, `open URL`; signed in, the browser comes back
//! to a port of its own. `CLIENT_ID` in the environment says who it is: without, it registers.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it is a program of its own, with its own settings and words"
)]

use std::error::Error;
use std::io;

use axum::Router;
use axum::http::Uri;
use axum::routing::get;
use reqwest::Client as Http;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, ElicitationCapability, Implementation, JsonObject,
    ProtocolVersion, UrlElicitationCapability,
};
use rmcp::service::{ClientLifecycleMode, RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{AuthClient, AuthorizationCallback, AuthorizationRequest, OAuthState};
use rmcp::transport::streamable_http_client::{
    InsufficientScopeError, StreamableHttpClientTransportConfig,
};
use rmcp::{ClientHandler, ErrorData, RoleClient, ServiceError, serve_client_with_lifecycle};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};

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
        // The call that is made again waits at the server until they have answered there.
        println!("open {url}");
        Ok(ElicitResult::new(ElicitationAction::Accept))
    }
}

/// The browser of the human: where it comes back to, and with what.
struct Browser {
    redirect: String,
    came: Receiver<Uri>,
}

impl Browser {
    async fn new() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let redirect = format!("http://{}/callback", listener.local_addr()?);
        let (comes, came) = channel(1);
        let back = async move |uri| match comes.send(uri).await {
            Ok(()) => "You can close this page.",
            Err(_) => "Nobody waits for this any more.",
        };
        let app = Router::new().route("/callback", get(back));
        tokio::spawn(async { axum::serve(listener, app).await });
        Ok(Self { redirect, came })
    }

    /// The address that it is sent back to, in the end.
    async fn open(&mut self, url: &str) -> Result<String, Failure> {
        println!("open {url}");
        let came = self.came.recv().await.ok_or("nobody comes back")?;
        let query = came.query().unwrap_or_default();
        Ok(format!("{}?{query}", self.redirect))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let server = words.next().ok_or("which server?")?;
    let mut browser = Browser::new().await?;
    let client = sign_in(&server, &mut browser, std::env::var("CLIENT_ID").ok()).await?;
    let transport = StreamableHttpClientTransport::with_client(client.clone(), at(&server));
    let session = serve_client_with_lifecycle(Human, transport, lately()).await?;
    for word in words {
        match word.as_str() {
            "pause" => pause().await?,
            "refresh" => {
                client.auth_manager.lock().await.refresh_token().await?;
                println!("refreshed");
            }
            tool => {
                let answer = match call(&session, tool).await {
                    Err(error) => {
                        let scope = wanted(&error).ok_or(error)?;
                        println!("{tool} is refused: it takes the scope {scope}");
                        step_up(&client, &mut browser, &scope).await?;
                        call(&session, tool).await?
                    }
                    Ok(answer) => answer,
                };
                println!("{tool}: {}", text(&answer));
            }
        }
    }
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
    browser: &mut Browser,
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
    let mut request = AuthorizationRequest::new(&browser.redirect)
        .with_client_name("rmcp")
        .with_challenge(challenge)
        .with_initial_scope_selection();
    if let Some(id) = known {
        request = request.with_preregistered_client(id);
    }
    let mut state = OAuthState::new(server, None).await?;
    state.start_authorization(request).await?;
    let back = browser.open(&state.get_authorization_url().await?).await?;
    state.handle_callback_url(&back).await?;
    let manager = state.into_authorization_manager().ok_or("not let in")?;
    Ok(AuthClient::new(http, manager))
}

/// Asks the human for this scope too, and goes on with the new tokens.
async fn step_up(
    client: &AuthClient<Http>,
    browser: &mut Browser,
    scope: &str,
) -> Result<(), Failure> {
    let manager = client.auth_manager.lock().await;
    let url = manager.request_scope_upgrade(scope).await?;
    let back = AuthorizationCallback::from_redirect_url(&browser.open(&url).await?)?;
    let (code, state, issuer) = (&back.code, &back.csrf_token, back.issuer.as_deref());
    manager
        .exchange_code_for_token_with_issuer(code, state, issuer)
        .await?;
    Ok(())
}

async fn call(session: &Session, tool: &str) -> Result<CallToolResult, ServiceError> {
    let mut arguments = JsonObject::new();
    arguments.insert("query".to_owned(), "tea".into());
    let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    session.call_tool(call).await
}

/// What a tool answers in words.
fn text(answer: &CallToolResult) -> String {
    let texts = answer
        .content
        .iter()
        .filter_map(|content| content.as_text());
    texts.map(|content| content.text.as_str()).collect()
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

/// Says so, and waits for a line.
async fn pause() -> Result<(), Failure> {
    println!("pause");
    let read = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
    match read.await?? {
        0 => Err("nobody answers".into()),
        _ => Ok(()),
    }
}
