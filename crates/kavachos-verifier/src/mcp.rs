//! The Model Context Protocol: which tool a message calls, and how a refusal is told to whoever called it. It knows the few
//! members of a message that this takes, and no more of the protocol.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method};
use kavachos_core::action::Action;
use kavachos_core::invalid::Invalid;
use kavachos_core::resource::Resource;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::rejection::Rejection;

/// JSON-RPC: the request was understood, and is not done.
const INVALID_REQUEST: i32 = -32_600;
/// A page must be opened first (revision 2025-11-25, which alone has it).
const URL_ELICITATION_REQUIRED: i32 = -32_042;
/// From here on a client says with each request what it can, and is asked in the result.
const ASKED_IN_RESULTS: &str = "2026-07-28";
/// From here on a client can be asked to open a page.
const ASKED_IN_ERRORS: &str = "2025-11-25";
/// The name of the one thing that is asked for.
const APPROVAL: &str = "approval";

/// What is done with the resources of a tool.
const ACTION: &str = "call";

/// What the tools of a server are about, by their names.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    action: Action,
    resources: BTreeMap<String, Vec<Resource>>,
}

/// What is read of a message.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

impl Tools {
    pub(crate) fn new(resources: BTreeMap<String, Vec<Resource>>) -> Result<Self, Invalid> {
        Ok(Self {
            action: ACTION.parse()?,
            resources,
        })
    }

    /// What is done with the resources of each.
    pub(crate) fn action(&self) -> &Action {
        &self.action
    }

    /// Whether a request may call one of them, so that its body is worth reading.
    pub(crate) fn may_be_called_by(&self, request: &Parts) -> bool {
        let media_type = request.headers.get(CONTENT_TYPE);
        let is_json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
        request.method == Method::POST && media_type.is_some_and(is_json)
    }

    /// The resources of the tool that a message calls; none of a message that calls none of them, or that cannot be
    /// read: whoever handles it judges it anyway.
    pub(crate) fn called_by(&self, message: &[u8]) -> &[Resource] {
        let name = match serde_json::from_slice(message) {
            Ok(Message { method, params }) if method == "tools/call" => {
                params.and_then(|params| params.name)
            }
            _ => None,
        };
        let known = name.and_then(|name| self.resources.get(name.as_ref()));
        known.map_or(&[], Vec::as_slice)
    }
}

/// A client of the Model Context Protocol, as far as it decides how a refusal is told.
///
/// A server that does not know one of these says nothing of it: then the client is told in words.
#[derive(Debug, Clone, Copy, Default)]
pub struct McpClient<'a> {
    /// The revision of the protocol that it speaks: `2026-07-28`.
    pub version: Option<&'a str>,
    /// What it can: `io.modelcontextprotocol/clientCapabilities` in the request's `_meta`, or, before 2026-07-28, the
    /// `capabilities` of its `initialize`.
    pub capabilities: Option<&'a Value>,
    /// What it answers to the call before: `inputResponses` of the request.
    pub responses: Option<&'a Value>,
}

/// What a client of the Model Context Protocol is told in place of the result of a tool.
#[derive(Debug, Clone, PartialEq)]
pub enum McpAnswer {
    /// A result that asks its human to open a page (`input_required`, with an `elicitation/create` in the mode `url`);
    /// then it calls again.
    Result(Value),
    /// An error of JSON-RPC.
    Error {
        /// `-32600`; `-32042` where the client opens the page and then calls again.
        code: i32,
        /// What was wrong, and what to do.
        message: String,
        /// The stable code and what belongs to it, as in the answer over HTTP.
        data: Value,
    },
}

impl McpClient<'_> {
    fn speaks(&self, least: &str) -> bool {
        // Revisions are days, which sort as texts do.
        self.version.is_some_and(|version| version >= least)
    }

    /// Whether its human can be asked to open a page.
    fn opens_pages(&self) -> bool {
        let modes = self.capabilities.and_then(|can| can.get("elicitation"));
        modes.is_some_and(|modes| modes.get("url").is_some_and(Value::is_object))
    }

    /// Whether its human was asked, and would not open it.
    fn has_declined(&self) -> bool {
        let answer = self.responses.and_then(|all| all.get(APPROVAL));
        let action = answer.and_then(|answer| answer.get("action"));
        action.is_some_and(|action| action != "accept")
    }
}

impl Rejection {
    /// The refusal as a message of the Model Context Protocol, where an answer over HTTP is no longer to be had: within a
    /// handler of a tool.
    ///
    /// A call that a human must approve first asks for the page where they do, of a client that says that it opens pages
    /// (revisions 2026-07-28 and 2025-11-25). Other clients, and those whose human would not open it, get the link in
    /// words. What the client answers proves nothing: the call that it makes then is decided like the first.
    pub fn to_mcp(&self, client: &McpClient<'_>) -> McpAnswer {
        let page = self.approval_page().zip(self.approval());
        if let Some((page, id)) = page
            && client.opens_pages()
            && !client.has_declined()
        {
            // The member `elicitationId` is of 2025-11-25; later clients do not look at it.
            let asked = json!({
                "mode": "url", "url": page, "elicitationId": id, "message": self.message(),
            });
            if client.speaks(ASKED_IN_RESULTS) {
                let request = json!({ "method": "elicitation/create", "params": asked });
                return McpAnswer::Result(json!({
                    "resultType": "input_required", "inputRequests": { APPROVAL: request },
                }));
            }
            if client.speaks(ASKED_IN_ERRORS) {
                let mut data = self.members();
                data.insert("elicitations".to_owned(), json!([asked]));
                return self.error(URL_ELICITATION_REQUIRED, data);
            }
        }
        self.error(INVALID_REQUEST, self.members())
    }

    fn error(&self, code: i32, data: Map<String, Value>) -> McpAnswer {
        let message = self.message();
        let message = match (self.approval_page(), self.scope()) {
            (Some(page), _) => format!("{message}: {page}"),
            (None, Some(scope)) => format!("{message}; ask for a token with the scope `{scope}`"),
            (None, None) => message.to_owned(),
        };
        McpAnswer::Error {
            code,
            message,
            data: data.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kavachos_core::decide::Code as Decided;
    use kavachos_core::token::Code;

    use super::*;
    use crate::rejection::Cause;

    const PAGE: &str = "https://auth.example.com/account/approvals/approval_1";

    fn tools() -> Tools {
        let resources = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let tools = [
            ("search".to_owned(), resources(&["mcp:search:web"])),
            (
                "move".to_owned(),
                resources(&["mcp:mail:in", "mcp:mail:out"]),
            ),
        ];
        Tools::new(BTreeMap::from(tools)).unwrap()
    }

    fn called(message: &str) -> usize {
        tools().called_by(message.as_bytes()).len()
    }

    #[test]
    fn a_message_that_calls_a_tool_is_known_and_any_other_is_let_be() {
        assert_eq!(
            called(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#),
            1
        );
        assert_eq!(
            called(r#"{"method":"tools\/call","params":{"arguments":{},"name":"m\u006fve"}}"#),
            2
        );
        for other in [
            r#"{"method":"tools/list","params":{"name":"search"}}"#,
            r#"{"method":"tools/call","params":{"name":"unknown"}}"#,
            r#"{"method":"tools/call"}"#,
            r#"[{"method":"tools/call","params":{"name":"search"}}]"#,
            r#"{"method":"tools/call","params":{"name":7}}"#,
            "no JSON",
            "",
        ] {
            assert_eq!(called(other), 0, "{other}");
        }
    }

    #[test]
    fn only_what_may_call_a_tool_is_read() {
        let request = |method: &str, media_type: &str| {
            let request = http::Request::builder().method(method).uri("/mcp");
            let request = request.header(CONTENT_TYPE, media_type);
            request.body(()).unwrap().into_parts().0
        };
        let read = |method, media_type| tools().may_be_called_by(&request(method, media_type));
        assert!(
            read("POST", "application/json") && read("POST", "application/json; charset=utf-8")
        );
        assert!(!read("GET", "application/json") && !read("POST", "text/plain"));
    }

    fn waiting() -> Rejection {
        Rejection::new(Cause::Token(Code::ApprovalRequired), "a human must approve")
            .decided(Decided::ApprovalRequired, Some("approval_1".to_owned()))
            .answered_at(Some(PAGE.to_owned()))
    }

    fn told(version: &str, capabilities: &Value, responses: &Value) -> McpAnswer {
        waiting().to_mcp(&McpClient {
            version: Some(version),
            capabilities: Some(capabilities),
            responses: Some(responses),
        })
    }

    fn error(answer: McpAnswer) -> (i32, String, Value) {
        match answer {
            McpAnswer::Error {
                code,
                message,
                data,
            } => (code, message, data),
            McpAnswer::Result(result) => panic!("{result}"),
        }
    }

    #[test]
    fn a_client_that_opens_pages_is_asked_in_the_way_of_its_revision() {
        let opens = json!({ "elicitation": { "url": {} } });
        let expected = json!({
            "resultType": "input_required",
            "inputRequests": { "approval": { "method": "elicitation/create", "params": {
                "mode": "url", "url": PAGE, "elicitationId": "approval_1", "message": "a human must approve",
            } } },
        });
        for accepted in [Value::Null, json!({ "approval": { "action": "accept" } })] {
            let told = told("2026-07-28", &opens, &accepted);
            assert_eq!(told, McpAnswer::Result(expected.clone()));
        }
        let (code, message, data) = error(told("2025-11-25", &opens, &Value::Null));
        assert_eq!(
            (code, data["code"].as_str()),
            (-32_042, Some("approval_required"))
        );
        assert_eq!(message, format!("a human must approve: {PAGE}"));
        let asked = &data["elicitations"][0];
        assert_eq!(
            (&asked["mode"], &asked["url"]),
            (&json!("url"), &json!(PAGE))
        );
        assert_eq!(asked["elicitationId"], "approval_1");
    }

    #[test]
    fn every_other_client_gets_the_link_in_words() {
        let opens = json!({ "elicitation": { "url": {} } });
        let none = Value::Null;
        let declined = json!({ "approval": { "action": "decline" } });
        let cancelled = json!({ "approval": { "action": "cancel" } });
        for (version, can, said) in [
            ("2026-07-28", json!({ "elicitation": {} }), &none),
            (
                "2026-07-28",
                json!({ "elicitation": { "form": {} } }),
                &none,
            ),
            ("2026-07-28", json!({}), &none),
            ("2025-11-25", json!({ "elicitation": {} }), &none),
            ("2025-06-18", opens.clone(), &none),
            ("2026-07-28", opens.clone(), &declined),
            ("2025-11-25", opens, &cancelled),
        ] {
            let (code, message, data) = error(told(version, &can, said));
            assert_eq!(code, -32_600, "{version} {can}");
            assert_eq!(message, format!("a human must approve: {PAGE}"));
            assert_eq!(
                data,
                json!({
                    "code": "approval_required", "detail": "approval_required",
                    "approvalId": "approval_1", "approvalPage": PAGE,
                })
            );
        }
        let (code, _, _) = error(waiting().to_mcp(&McpClient::default()));
        assert_eq!(code, -32_600);
    }

    #[test]
    fn what_no_page_mends_is_an_error_for_every_client() {
        let opens = json!({ "elicitation": { "url": {} } });
        let client = McpClient {
            version: Some("2026-07-28"),
            capabilities: Some(&opens),
            responses: None,
        };
        let denied = Rejection::new(Cause::Token(Code::ApprovalRequired), "a human said no")
            .decided(Decided::ApprovalDenied, Some("approval_1".to_owned()));
        let (code, message, _) = error(denied.to_mcp(&client));
        assert_eq!((code, message.as_str()), (-32_600, "a human said no"));
    }
}
