//! An MCP server whose tools are for agents of KavachOS: `rmcp` speaks the protocol, the verifier's layer stands before
//! it, and one place asks about each call of a tool before any tool hears of it.
//!
//! ```sh
//! kavach dev                                                      # the issuer, at http://localhost:3000
//! kavach resource create --audience http://localhost:8080/mcp --name notes --party first \
//!   --kind kavach --scope 'tools:call:* use the notes'
//! KAVACH_RESOURCE_KEY=kv_res_... cargo run -p kavachos-verifier --example mcp_server
//! ```

use axum::Router;
use axum::http::request::Parts;
use kavachos_verifier::{Principal, Rejection, Verifier};
use rmcp::handler::server::tool::{Extension, ToolCallContext};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolRequestParams, CallToolResponse, ErrorCode};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[tokio::main]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it is a program of its own, with its own settings and words"
)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let verifier = Verifier::builder("http://localhost:3000", "http://localhost:8080/mcp")
        .resource_key(std::env::var("KAVACH_RESOURCE_KEY")?)
        .scopes(["tools:call:*"])
        .hosts(["localhost:8080"])
        .build()
        .await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("listening on http://localhost:8080/mcp");
    Ok(axum::serve(listener, app(&verifier)).await?)
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
        let resource = format!("tools:call:{}", call.name);
        let arguments = call.arguments.clone().map(Value::Object);
        principal(request)?
            .authorize("call", &resource, arguments.as_ref(), None)
            .await
            .map_err(|rejection| refused(&rejection))?;
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

/// The refusal as JSON-RPC tells it.
fn refused(rejection: &Rejection) -> ErrorData {
    let code = json!({ "code": rejection.code() });
    ErrorData::new(
        ErrorCode::INVALID_REQUEST,
        rejection.message().to_owned(),
        Some(code),
    )
}
