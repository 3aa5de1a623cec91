//! An MCP server whose tools are for agents of KavachOS: `rmcp` speaks the protocol, the verifier's layer stands before
//! it, and one place asks about each call of a tool before any tool hears of it.
//!
//! ```sh
//! kavach dev                                                      # the issuer, at http://localhost:3000
//! kavach resource create --audience http://localhost:8080/mcp --name notes --party first --kind kavach \
//!   --scope 'tools:call:search search your notes' --scope 'tools:call:delete delete all of your notes' \
//!   --default-scope tools:call:search --only token > notes.key
//! KAVACH_RESOURCE_KEY=$(cat notes.key) cargo run -p kavachos-verifier --example mcp_server
//! ```
//!
//! Point an MCP client that signs in at `http://localhost:8080/mcp` (`docs/book/mcp-clients.md` tells each step): it finds the
//! issuer by the metadata of this server, you make an account, let it in, and it calls `search`. It is refused `delete`, with
//! the scope that this takes, and a client that steps up asks you for it. Then have each deletion approved by you: the next one
//! ends with the page where you do.
//!
//! ```sh
//! kavach agent list                                               # the client is an agent of yours
//! kavach agent update AGENT --allow '* tools:call:search' \
//!   --permission '{"resource": "tools:call:delete", "actions": ["*"], "constraints": {"requireApproval": true}}'
//! kavach audit query                                              # all of it
//! ```

use axum::Router;
use axum::http::request::Parts;
use kavachos_verifier::{Builder, McpAnswer, McpClient, Principal, Rejection, Verifier};
use rmcp::handler::server::tool::{Extension, ToolCallContext};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolRequestParams, CallToolResponse, ErrorCode, InputRequiredResult};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[tokio::main]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it is a program of its own, with its own settings and words"
)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let said = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let issuer = said("KAVACH_ISSUER", "http://localhost:3000");
    let port = said("PORT", "8080");
    let verifier = Verifier::builder(issuer, format!("http://localhost:{port}/mcp"))
        .resource_key(std::env::var("KAVACH_RESOURCE_KEY")?)
        .scopes(["tools:call:search", "tools:call:delete"])
        // A client begins with what it surely needs, and asks for more when it does.
        .first_scopes(["tools:call:search"])
        .hosts([format!("localhost:{port}")])
        .report();
    let verifier = with_tools(verifier).build().await?;
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://localhost:{port}/mcp");
    Ok(axum::serve(listener, app(&verifier)).await?)
}

/// What each tool takes, so that a call without it is refused while a client can still be told which scopes to ask for.
pub(crate) fn with_tools(verifier: Builder) -> Builder {
    let tools = Notes::tool_router().list_all();
    tools.iter().fold(verifier, |verifier, tool| {
        verifier.tool(tool.name.as_ref(), [resource(&tool.name)])
    })
}

/// What the call of a tool is about.
fn resource(tool: &str) -> String {
    format!("tools:call:{tool}")
}

/// The MCP server at `/mcp`, and before it the verifier.
pub(crate) fn app(verifier: &Verifier) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        // The verifier has the list of hosts.
        .disable_allowed_hosts();
    let mcp =
        StreamableHttpService::new(|| Ok(Notes), NeverSessionManager::default().into(), config);
    (Router::new().route_service("/mcp", mcp)).layer(verifier.layer())
}

/// Notes that can be searched and deleted.
#[derive(Clone, Copy)]
struct Notes;

#[derive(Deserialize, JsonSchema)]
struct Search {
    /// What to look for.
    query: String,
}

#[tool_router]
impl Notes {
    #[tool(description = "Searches the notes.")]
    async fn search(
        &self,
        Extension(request): Extension<Parts>,
        Parameters(Search { query }): Parameters<Search>,
    ) -> Result<String, ErrorData> {
        let caller = principal(&request)?;
        let (agent, user) = (caller.agent(), caller.user());
        Ok(format!("{agent} found no note of {user} about {query}"))
    }

    #[tool(description = "Deletes all notes.")]
    async fn delete(&self) -> String {
        "there are no notes any more".to_owned()
    }
}

#[tool_handler]
impl ServerHandler for Notes {
    /// Every call of a tool comes by here, so no tool can forget to ask.
    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let request = context.extensions.get::<Parts>().ok_or_else(unguarded)?;
        let arguments = call.arguments.clone().map(Value::Object);
        let allowed = principal(request)?
            .authorize("call", &resource(&call.name), arguments.as_ref(), None)
            .await;
        if let Err(rejection) = allowed {
            return refused(&rejection, &call, &context);
        }
        let call = ToolCallContext::new(self, call, context);
        Self::tool_router().call(call).await
    }
}

/// Who calls, as the layer found out.
fn principal(request: &Parts) -> Result<&Principal, ErrorData> {
    request.extensions.get().ok_or_else(unguarded)
}

/// Nobody stands before this server: then it does nothing.
fn unguarded() -> ErrorData {
    ErrorData::internal_error("the tools are not protected", None)
}

/// The refusal as the client understands it: an error, or the page where a human approves the call.
fn refused(
    rejection: &Rejection,
    call: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let version = context.protocol_version();
    let capabilities = context.client_capabilities().and_then(json);
    let responses = call.input_responses.as_ref().and_then(json);
    let client = McpClient {
        version: version.as_ref().map(|version| version.as_str()),
        capabilities: capabilities.as_ref(),
        responses: responses.as_ref(),
    };
    match rejection.to_mcp(&client) {
        McpAnswer::Result(asked) => serde_json::from_value::<InputRequiredResult>(asked)
            .map(CallToolResponse::from)
            .map_err(|error| ErrorData::internal_error(error.to_string(), None)),
        McpAnswer::Error {
            code,
            message,
            data,
        } => Err(ErrorData::new(ErrorCode(code), message, Some(data))),
    }
}

fn json(value: impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok()
}
