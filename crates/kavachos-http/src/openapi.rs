//! The OpenAPI 3.1 document, made of the descriptions of all operations and of the types that they read and write.
//!
//! Promises: what stands here is what the handlers do, since it is taken from their signatures; every answer is closed
//! (a member that is not told does not come), and so is every request, but those of AuthZEN, whose standard says otherwise.

use std::collections::{BTreeMap, BTreeSet};

use kavachos_oauth::Code;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::operation::{Answer, Caller, Description, ErrorForm, JSON, Parameter, Place};

const PLAIN: &str = "text/plain; charset=utf-8";
const ABOUT: &str = "An authorization server for AI agents: who they are, what they may do, and a record of all of it.\n\n\
    Success is `{\"data\": ...}`, a list has `nextCursor` beside it, and an error is `{\"error\": {\"code\", \"message\", \
    \"requestId\", \"field\"?}}` with a code that never changes. Times are RFC 3339, bodies are JSON of at most 256 KiB, and a \
    member or parameter that is not told here is refused. A path that is not told is 404 `no_such_route`, a method 405 \
    `method_not_allowed`.";

/// The chapters, in the order in which one reads them.
const TAGS: [(&str, &str); 17] = [
    ("Decisions", "May this agent do this now, and why."),
    ("Agents", "Programs that act for humans, with a key each."),
    (
        "Connections",
        "Applications that humans let in, each an agent of theirs.",
    ),
    ("Delegations", "What one gives on to an agent, for a while."),
    ("Approvals", "What a human is asked before it is done."),
    ("Users", "Humans: where every authority comes from."),
    ("Sessions", "How humans call."),
    ("Operator keys", "How those who run this call."),
    (
        "Tool servers",
        "What agents call, and who may ask about it.",
    ),
    ("OAuth clients", "Programs that ask humans for access."),
    ("Tokens", "What an agent shows to a tool server."),
    (
        "Signing keys",
        "What tokens, heads of the log of revocations and checkpoints are signed with.",
    ),
    (
        "Revocations",
        "What was stopped, for those who accept tokens by themselves.",
    ),
    ("Audit", "The record of all that happened."),
    ("Webhooks", "Addresses that are told of records."),
    ("Tenant", "All of it, on its way to another server."),
    (
        "AuthZEN",
        "The same decisions in the form of the OpenID AuthZEN Authorization API 1.0.",
    ),
];
const PLUGINS: (&str, &str) = ("Plugins", "What plugins of this server add.");
const OPERATION: (&str, &str) = ("Operation", "For whoever operates the server.");

/// An operation of a plugin, as the plugin tells it.
pub(crate) struct Told {
    /// In small letters.
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) callers: Vec<Caller>,
    /// An Operation Object, or `null`.
    pub(crate) operation: Value,
}

/// The document as text, with a line break at its end.
pub(crate) fn text(descriptions: &[Description], told: &[Told]) -> String {
    // A map of JSON values can always be written.
    let mut text = serde_json::to_string_pretty(&document(descriptions, told)).unwrap_or_default();
    text.push('\n');
    text
}

/// The document.
pub(crate) fn document(descriptions: &[Description], told: &[Told]) -> Value {
    let mut parts = Parts::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for description in descriptions {
        let operation = parts.operation(description);
        let path = paths.entry(&description.path).or_default();
        path.insert(description.method.to_owned(), operation);
    }
    for told in told {
        let path = paths.entry(told.path).or_default();
        path.insert(told.method.to_owned(), told.operation());
    }
    let plugins = Some(&PLUGINS).filter(|_| !told.is_empty());
    let tag = |(name, text): &(&str, &str)| json!({ "name": name, "description": text });
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "KavachOS",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/", "description": "This server." }],
        "tags": TAGS.iter().chain([&OPERATION]).chain(plugins).map(tag).collect::<Vec<_>>(),
        "paths": paths,
        "components": parts.components(),
    })
}

impl Told {
    /// What the plugin says, with what it left out; who may call is not its to say.
    fn operation(&self) -> Value {
        let mut members = match &self.operation {
            Value::Object(members) => members.clone(),
            _ => Map::new(),
        };
        let named = self
            .path
            .replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        let mut unless_said = |name: &str, value: Value| {
            members.entry(name).or_insert(value);
        };
        unless_said("operationId", format!("{}{named}", self.method).into());
        unless_said("tags", json!([PLUGINS.0]));
        if self.path.contains('{') {
            unless_said("parameters", self.parameters());
        }
        let answers = json!({ "default": { "description": "What the plugin answers." } });
        unless_said("responses", answers);
        let callers = self.callers.iter().copied().map(requirement);
        members.insert("security".to_owned(), callers.collect());
        members.into()
    }

    /// What the path names, each a text that says which one.
    fn parameters(&self) -> Value {
        let named = self.path.split('/').filter_map(|segment| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        });
        named.collect()
    }
}

/// What operations share.
struct Parts {
    /// Schemas of what is sent to us.
    read: SchemaGenerator,
    /// Schemas of what we send.
    written: SchemaGenerator,
    responses: Map<String, Value>,
}

impl Parts {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            read: settings().for_deserialize().into_generator(),
            written: settings().for_serialize().into_generator(),
            responses: Map::new(),
        }
    }

    fn operation(&mut self, description: &Description) -> Value {
        let about = &description.about;
        let mut operation = json!({
            "operationId": about.id,
            "tags": [about.tag],
            "summary": about.summary,
            "security": about.callers.iter().map(|caller| requirement(*caller)).collect::<Vec<_>>(),
            "responses": self.responses_of(description),
        });
        if let Some(members) = operation.as_object_mut() {
            if !about.text.is_empty() {
                members.insert("description".to_owned(), about.text.into());
            }
            let parameters = description.parameters.iter();
            let parameters: Vec<_> = parameters.map(|one| self.parameter(one)).collect();
            if !parameters.is_empty() {
                members.insert("parameters".to_owned(), parameters.into());
            }
            if let Some(form) = &description.body {
                let schema = tidied(form.schema(&mut self.read).to_value());
                members.insert(
                    "requestBody".to_owned(),
                    self.request_body(&schema, description.body_type),
                );
            }
        }
        operation
    }

    fn parameter(&mut self, parameter: &Parameter) -> Value {
        let place = match parameter.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        };
        json!({
            "name": parameter.name,
            "in": place,
            "description": parameter.text,
            "required": parameter.place == Place::Path,
            "schema": tidied(parameter.form.schema(&mut self.read).to_value()),
        })
    }

    /// A body of JSON without members that must be there may be left out.
    fn request_body(&self, schema: &Value, media_type: &str) -> Value {
        let named = schema.get("$ref").and_then(Value::as_str);
        let named = named.and_then(|path| path.rsplit('/').next());
        let defined = named.and_then(|name| self.read.definitions().get(name));
        let required = media_type != JSON || defined.unwrap_or(schema).get("required").is_some();
        json!({ "required": required, "content": { media_type: { "schema": schema } } })
    }

    fn responses_of(&mut self, description: &Description) -> Value {
        let mut statuses: BTreeMap<u16, Vec<&Answer>> = BTreeMap::new();
        for answer in &description.answers {
            statuses.entry(answer.status).or_default().push(answer);
        }
        let mut refusals: BTreeMap<u16, Vec<Refusal>> = BTreeMap::new();
        let general = description.refusals.iter();
        for refusal in general.filter(|_| description.error_form != ErrorForm::OAuth) {
            let status = refusals.entry(refusal.status()).or_default();
            status.push(*refusal);
        }
        let mut responses = Map::new();
        for (status, answers) in &statuses {
            let refused = refusals.remove(status).unwrap_or_default();
            responses.insert(status.to_string(), self.answered(answers, &refused));
        }
        for (status, refused) in refusals {
            let response = self.refused(description.error_form, &refused);
            responses.insert(status.to_string(), response);
        }
        if description.error_form == ErrorForm::OAuth {
            responses.extend(self.refused_by_oauth(&description.oauth));
        }
        responses.into()
    }

    /// What is answered; where a status also refuses, either of both.
    fn answered(&mut self, answers: &[&Answer], refused: &[Refusal]) -> Value {
        let mut content = Map::new();
        let mut names = vec!["X-Request-Id"];
        // What has no media type has no content.
        for answer in answers
            .iter()
            .filter(|answer| !answer.media_type.is_empty())
        {
            let mut schema = answer.form.schema(&mut self.written).to_value();
            close(&mut schema);
            // What is told of the envelope is told once, for all.
            if let Some(members) = schema.as_object_mut() {
                members.remove("description");
            }
            if !refused.is_empty() {
                schema = json!({ "anyOf": [schema, error(refused)] });
            }
            content.insert(
                answer.media_type.to_owned(),
                json!({ "schema": tidied(schema) }),
            );
            names.extend(answer.headers);
        }
        let text = match refused.is_empty() {
            true => "What was asked for.".to_owned(),
            false => format!("What was asked for, or an error. {}", texts(refused)),
        };
        json!({ "description": text, "headers": headers_of(&names), "content": content })
    }

    /// A refusal, which operations that refuse the same share.
    fn refused(&mut self, form: ErrorForm, refused: &[Refusal]) -> Value {
        let status = refused.first().map_or(0, |refusal| refusal.status());
        let codes: Vec<_> = refused.iter().map(|refusal| refusal.code()).collect();
        let (kind, media_type, schema) = match form {
            ErrorForm::Envelope | ErrorForm::OAuth => ("", JSON, error(refused)),
            ErrorForm::Plain => (".plain", PLAIN, json!({ "type": "string" })),
        };
        let name = format!("{status}{kind}.{}", codes.join("."));
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        let names = names_of_refused(status);
        self.responses.entry(name).or_insert_with(|| {
            json!({
                "description": texts(refused),
                "headers": headers_of(&names),
                "content": { media_type: { "schema": schema } },
            })
        });
        reference
    }

    /// The refusals of an endpoint of OAuth, by their statuses.
    fn refused_by_oauth(&mut self, refused: &BTreeSet<Code>) -> Map<String, Value> {
        let mut statuses: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in refused {
            statuses.entry(code.status()).or_default().push(*code);
        }
        let mut references = Map::new();
        for (status, codes) in statuses {
            let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
            let name = format!("{status}.oauth.{}", names.join("."));
            let path = format!("#/components/responses/{name}");
            references.insert(status.to_string(), json!({ "$ref": path }));
            self.responses.insert(name, oauth_response(status, &codes));
        }
        references
    }

    fn components(mut self) -> Value {
        let mut schemas = self.written.take_definitions(true);
        schemas.values_mut().for_each(close);
        for (name, schema) in self.read.take_definitions(true) {
            schemas.entry(name).or_insert(schema);
        }
        schemas.insert("Error".to_owned(), error_form());
        let schemas: Map<_, _> = schemas
            .into_iter()
            .map(|(name, schema)| (name, tidied(schema)))
            .collect();
        json!({
            "schemas": schemas,
            "responses": self.responses,
            "headers": headers(),
            "securitySchemes": security_schemes(),
        })
    }
}

/// Makes every object of known members refuse others: what is written has no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let open = !members.contains_key("additionalProperties")
                && !members.contains_key("unevaluatedProperties");
            if members.contains_key("properties") && open {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Without formats that OpenAPI does not know: the bounds say the same.
fn tidied(mut schema: Value) -> Value {
    fn tidy(schema: &mut Value) {
        match schema {
            Value::Object(members) => {
                let own = members.get("format").and_then(Value::as_str);
                if own.is_some_and(|format| format.starts_with("uint") || format == "ip") {
                    members.remove("format");
                }
                members.values_mut().for_each(tidy);
            }
            Value::Array(items) => items.iter_mut().for_each(tidy),
            _ => {}
        }
    }
    tidy(&mut schema);
    schema
}

/// The headers that a refusal with this status has.
fn names_of_refused(status: u16) -> Vec<&'static str> {
    let mut names = vec!["X-Request-Id"];
    match status {
        401 => names.push("WWW-Authenticate"),
        429 => names.push("Retry-After"),
        _ => {}
    }
    names
}

/// One of these refusals (RFC 6749, section 5.2).
fn oauth_response(status: u16, codes: &[Code]) -> Value {
    let text = |code: &Code| format!("`{}`: {}", code.as_str(), code.text());
    let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    json!({
        "description": codes.iter().map(text).collect::<Vec<_>>().join(" "),
        "headers": headers_of(&names_of_refused(status)),
        "content": { JSON: { "schema": {
            "type": "object",
            "additionalProperties": false,
            "required": ["error", "error_description"],
            "properties": {
                "error": { "type": "string", "enum": names },
                "error_description": { "type": "string", "description": "For people." },
            },
        } } },
    })
}

fn texts(refused: &[Refusal]) -> String {
    let text = |refusal: &Refusal| format!("`{}`: {}", refusal.code(), refusal.text());
    refused.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// An error with one of these codes.
fn error(refused: &[Refusal]) -> Value {
    let codes: Vec<_> = refused.iter().map(|refusal| refusal.code()).collect();
    json!({
        "$ref": "#/components/schemas/Error",
        "properties": { "error": { "properties": { "code": { "enum": codes } } } },
    })
}

fn error_form() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "additionalProperties": false,
            "required": ["code", "message", "requestId"],
            "properties": {
                "code": { "type": "string", "description": "A text that never changes." },
                "message": { "type": "string", "description": "For people." },
                "requestId": { "type": "string", "pattern": "^req_[0-9a-hjkmnp-tv-z]{26}$",
                    "description": "The same as in `X-Request-Id`, in the log and in records." },
                "field": { "type": "string", "description": "The member, parameter or header at fault." },
            },
        } },
    })
}

/// What a caller of this kind sends.
fn requirement(caller: Caller) -> Value {
    match caller {
        Caller::Operator(scope) => json!({ "operatorKey": [scope.name()] }),
        Caller::AnyOperator => json!({ "operatorKey": [] }),
        Caller::EveryScope => json!({ "operatorKey": ["*"] }),
        Caller::Agent => json!({ "agentKey": [] }),
        Caller::Session => json!({ "session": [] }),
        Caller::ToolServer => json!({ "resourceKey": [] }),
        Caller::Proxy => json!({ "proxyKey": [], "agentKey": [] }),
    }
}

fn security_schemes() -> Value {
    let bearer = |form: &str, text: &str| json!({ "type": "http", "scheme": "bearer", "bearerFormat": form, "description": text });
    json!({
        "operatorKey": bearer("kv_key_...", "An operator's key, with the scopes that are named."),
        "agentKey": bearer("kv_agent_...", "An agent's key: for itself and what is its own."),
        "session": bearer("kv_sess_...", "A human's session: for what is theirs. That of an admin or owner goes wherever an operator's key with the scopes of their role does; to change something it must be fresh."),
        "resourceKey": bearer("kv_res_...", "A tool server's key: about what its scopes cover."),
        "proxyKey": { "type": "apiKey", "in": "header", "name": "Kavach-Proxy-Key",
            "description": "A proxy's own key, that of a tool server; from a trusted address." },
    })
}

/// References to these headers, by their names.
fn headers_of(names: &[&str]) -> Map<String, Value> {
    let reference = |name: &&str| {
        let path = format!("#/components/headers/{name}");
        ((*name).to_owned(), json!({ "$ref": path }))
    };
    names.iter().map(reference).collect()
}

fn headers() -> Value {
    json!({
        "X-Request-Id": { "required": true, "schema": { "type": "string" },
            "description": "The id of the request, as it stands in records. AuthZEN gives back the caller's own." },
        "WWW-Authenticate": { "required": true, "schema": { "type": "string" },
            "description": "How to authenticate (RFC 6750)." },
        "Retry-After": { "required": true, "schema": { "type": "integer", "minimum": 1 },
            "description": "How long to wait, in seconds." },
        "Kavach-Decision": { "required": true, "schema": { "type": "string", "enum": ["allow", "deny"] },
            "description": "The decision, for those that read no body." },
    })
}
