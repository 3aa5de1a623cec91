//! The OpenAPI document as a page: made once, on the server, without a script and with nothing from elsewhere.
//!
//! Promises: everything that stands in the document is escaped before it stands in the page, and the page may load
//! nothing: its policy allows its own style by hash, and no more.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("reference.css");
/// The order in which the methods of a path are told.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// How deep an example of a body is written out.
const MAX_EXAMPLE_DEPTH: usize = 6;

/// What the page may do: look as it does.
pub(crate) fn policy() -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The page.
pub(crate) fn html(document: &Value) -> String {
    let mut page = Page {
        document,
        out: String::new(),
    };
    page.all();
    page.out
}

struct Page<'d> {
    document: &'d Value,
    out: String,
}

/// An operation with its place.
struct Listed<'d> {
    path: &'d str,
    method: &'static str,
    operation: &'d Value,
}

impl<'d> Page<'d> {
    fn all(&mut self) {
        let info = &self.document["info"];
        self.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        self.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        self.raw(&format!(
            "<title>KavachOS API</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        ));
        let version = escaped(text(&info["version"]));
        self.raw(&format!(
            "<h1>KavachOS API <span class=\"soft\">{version}</span></h1>\n"
        ));
        text(&info["description"])
            .split("\n\n")
            .for_each(|words| self.paragraph(words));
        self.raw(
            "<p>For programs: <a href=\"/openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>\n",
        );
        let tags = list(&self.document["tags"]);
        self.contents(tags);
        for tag in tags {
            let name = text(&tag["name"]);
            self.raw(&format!(
                "<h2 id=\"{}\">{}</h2>\n",
                anchor(name),
                escaped(name)
            ));
            self.paragraph(text(&tag["description"]));
            self.listed(name)
                .iter()
                .for_each(|listed| self.operation(listed));
        }
        self.types();
        self.raw("</body>\n</html>\n");
    }

    /// The operations of a chapter.
    fn listed(&self, tag: &str) -> Vec<Listed<'d>> {
        let mut all = Vec::new();
        for (path, item) in members(&self.document["paths"]) {
            for method in METHODS {
                let Some(operation) = item.get(method) else {
                    continue;
                };
                if list(&operation["tags"]).iter().any(|one| one == tag) {
                    all.push(Listed {
                        path,
                        method,
                        operation,
                    });
                }
            }
        }
        all
    }

    fn contents(&mut self, tags: &'d [Value]) {
        self.raw("<nav>\n");
        for tag in tags {
            let name = text(&tag["name"]);
            let (anchor, name_shown) = (anchor(name), escaped(name));
            self.raw(&format!(
                "<strong><a href=\"#{anchor}\">{name_shown}</a></strong>\n<ul>\n"
            ));
            for listed in self.listed(name) {
                let id = escaped(text(&listed.operation["operationId"]));
                let summary = escaped(text(&listed.operation["summary"]));
                self.raw(&format!("<li><a href=\"#{id}\">{summary}</a></li>\n"));
            }
            self.raw("</ul>\n");
        }
        self.raw("<strong><a href=\"#types\">Types</a></strong>\n</nav>\n");
    }

    fn operation(&mut self, listed: &Listed<'d>) {
        let Listed {
            path,
            method,
            operation,
        } = *listed;
        let id = escaped(text(&operation["operationId"]));
        self.raw(&format!(
            "<article id=\"{id}\">\n<h3><span class=\"method {method}\">{method}</span> <code>{}</code></h3>\n",
            escaped(path)
        ));
        self.raw(&format!(
            "<p><strong>{}</strong></p>\n",
            escaped(text(&operation["summary"]))
        ));
        self.paragraph(text(&operation["description"]));
        self.callers(list(&operation["security"]));
        self.parameters(list(&operation["parameters"]));
        let body = body_of(operation);
        if !body.is_null() {
            self.raw("<h4>Body</h4>\n");
            self.object(body);
        }
        self.answers(&operation["responses"]);
        self.raw(&format!(
            "<h4>Example</h4>\n<pre>{}</pre>\n</article>\n",
            escaped(&self.curl(listed))
        ));
    }

    fn callers(&mut self, callers: &'d [Value]) {
        self.raw("<h4>Who may call</h4>\n<p>");
        if callers.is_empty() {
            self.raw("<span class=\"who\">anyone</span>");
        }
        for caller in callers {
            let names: Vec<_> = members(caller)
                .map(|(scheme, scopes)| {
                    let name = match scheme.as_str() {
                        "operatorKey" => "operator key",
                        "agentKey" => "agent key",
                        "resourceKey" => "tool server key",
                        "proxyKey" => "proxy key",
                        _ => "session",
                    };
                    match list(scopes).first() {
                        Some(scope) => format!("{name}: <code>{}</code>", escaped(text(scope))),
                        None => name.to_owned(),
                    }
                })
                .collect();
            self.raw(&format!(
                "<span class=\"who\">{}</span>",
                names.join(" and ")
            ));
        }
        self.raw("</p>\n");
    }

    fn parameters(&mut self, parameters: &'d [Value]) {
        if parameters.is_empty() {
            return;
        }
        self.raw("<h4>Parameters</h4>\n<table>\n");
        for parameter in parameters {
            let must = if parameter["required"] == true {
                " class=\"must\""
            } else {
                ""
            };
            let (name, place) = (
                escaped(text(&parameter["name"])),
                escaped(text(&parameter["in"])),
            );
            let form = self.form(&parameter["schema"]);
            let about = words(text(&parameter["description"]));
            self.raw(&format!(
                "<tr><td><code{must}>{name}</code> <span class=\"soft\">{place}</span></td><td>{form}<br>{about}</td></tr>\n"
            ));
        }
        self.raw("</table>\n");
    }

    /// The members of an object; a type that has a name of its own is named.
    fn object(&mut self, schema: &'d Value) {
        let known = &schema["properties"];
        if known.is_null() {
            let form = self.form(schema);
            self.raw(&format!("<p>{form}</p>\n"));
            return;
        }
        let required = list(&schema["required"]);
        self.raw("<table>\n");
        for (name, member) in members(known) {
            let must = if required.iter().any(|one| one == name) {
                " class=\"must\""
            } else {
                ""
            };
            let form = self.form(member);
            let about = words(text(&member["description"]));
            self.raw(&format!(
                "<tr><td><code{must}>{}</code></td><td>{form}<br>{about}</td></tr>\n",
                escaped(name)
            ));
        }
        self.raw("</table>\n");
    }

    fn answers(&mut self, responses: &'d Value) {
        self.raw("<h4>Answers</h4>\n<table>\n");
        for (status, response) in members(responses) {
            let response = self.resolved(response);
            let mut told = words(text(&response["description"]));
            for (media_type, content) in members(&response["content"]) {
                if status.starts_with('2') {
                    told = match content.pointer("/schema/properties/data") {
                        None => format!("<code>{}</code>", escaped(media_type)),
                        Some(data) => {
                            let form = self.form(data);
                            format!("<code>data</code>: {form}")
                        }
                    };
                }
            }
            self.raw(&format!(
                "<tr><td><code>{}</code></td><td>{told}</td></tr>\n",
                escaped(status)
            ));
        }
        self.raw("</table>\n");
    }

    fn types(&mut self) {
        self.raw("<h2 id=\"types\">Types</h2>\n");
        let schemas = self.document.pointer("/components/schemas");
        for (name, schema) in schemas.into_iter().flat_map(members) {
            self.raw(&format!(
                "<article id=\"type-{0}\">\n<h3>{0}</h3>\n",
                escaped(name)
            ));
            self.paragraph(text(&schema["description"]));
            self.object(schema);
            self.raw("</article>\n");
        }
    }

    /// In a few words, what a value looks like.
    fn form(&self, schema: &Value) -> String {
        if let Some(name) = named(schema) {
            return format!("<a href=\"#type-{0}\">{0}</a>", escaped(name));
        }
        for either in ["anyOf", "oneOf"] {
            let forms: Vec<_> = list(&schema[either])
                .iter()
                .map(|one| self.form(one))
                .collect();
            if !forms.is_empty() {
                return forms.join(" or ");
            }
        }
        let values: Vec<_> = list(&schema["enum"])
            .iter()
            .map(|one| format!("<code>{}</code>", escaped(text(one))))
            .collect();
        if !values.is_empty() {
            return values.join(", ");
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
            kind => text(kind).to_owned(),
        };
        match kind.as_str() {
            "array" => format!("list of {}{}", self.form(&schema["items"]), limits(schema)),
            "" => "anything".to_owned(),
            kind => format!("{}{}", escaped(kind), limits(schema)),
        }
    }

    fn resolved<'v>(&self, value: &'v Value) -> &'v Value
    where
        'd: 'v,
    {
        let path = value["$ref"]
            .as_str()
            .and_then(|path| path.strip_prefix('#'));
        path.and_then(|path| self.document.pointer(path))
            .unwrap_or(value)
    }

    fn curl(&self, listed: &Listed<'_>) -> String {
        let method = match listed.method {
            "get" => String::new(),
            other => format!("-X {} ", other.to_ascii_uppercase()),
        };
        let parameters = list(&listed.operation["parameters"]);
        let id = parameters.iter().find(|one| one["in"] == "path");
        let id = id
            .map(|one| self.example(&one["schema"], 0))
            .unwrap_or_default();
        let path = listed.path.replace("{id}", text(&id));
        let mut line = format!("curl {method}http://localhost:3000{path}");
        if !list(&listed.operation["security"]).is_empty() {
            line.push_str(" \\\n  -H \"Authorization: Bearer $KAVACH_KEY\"");
        }
        let body = body_of(listed.operation);
        if !body.is_null() {
            let example = self.example(body, 0);
            // A single quote would end the argument.
            let example = example.to_string().replace('\'', "'\\''");
            let _ = write!(
                line,
                " \\\n  -H 'Content-Type: application/json' \\\n  -d '{example}'"
            );
        }
        line
    }

    /// A value that fits: the example that is given, or one made of the members that must be there.
    fn example(&self, schema: &Value, depth: usize) -> Value {
        let schema = self.resolved(schema);
        let first = |name: &str| list(&schema[name]).first();
        let given = first("examples").or(schema.get("const")).or(first("enum"));
        if let Some(given) = given {
            return given.clone();
        }
        if depth == MAX_EXAMPLE_DEPTH {
            return Value::Null;
        }
        match schema["type"].as_str() {
            Some("array") => vec![self.example(&schema["items"], depth + 1)].into(),
            Some("object") => {
                let member = |name: &Value| {
                    let name = text(name);
                    let member = schema["properties"].get(name);
                    let value = member.map(|form| self.example(form, depth + 1));
                    (name.to_owned(), value.unwrap_or_default())
                };
                list(&schema["required"])
                    .iter()
                    .map(member)
                    .collect::<Map<_, _>>()
                    .into()
            }
            Some("integer" | "number") => schema["minimum"].as_u64().unwrap_or(1).into(),
            Some("boolean") => true.into(),
            _ => "text".into(),
        }
    }

    fn paragraph(&mut self, text: &str) {
        if !text.is_empty() {
            self.raw(&format!("<p>{}</p>\n", words(text)));
        }
    }

    fn raw(&mut self, html: &str) {
        self.out.push_str(html);
    }
}

/// The schema of what is sent; `null` without a body.
fn body_of(operation: &Value) -> &Value {
    let path = "/requestBody/content/application~1json/schema";
    operation.pointer(path).unwrap_or(&Value::Null)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The name of the type that a schema refers to.
fn named(schema: &Value) -> Option<&str> {
    schema["$ref"]
        .as_str()?
        .strip_prefix("#/components/schemas/")
}

fn limits(schema: &Value) -> String {
    let mut out = String::new();
    for (name, words) in [
        ("minimum", "from"),
        ("maximum", "to"),
        ("minLength", "at least"),
        ("maxLength", "at most"),
        ("minItems", "at least"),
        ("maxItems", "at most"),
        ("format", ""),
        ("pattern", ""),
        ("default", "default"),
    ] {
        let shown = match &schema[name] {
            Value::String(text) => format!("<code>{}</code>", escaped(text)),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        let _ = write!(out, ", {words} {shown}");
    }
    out
}

fn anchor(name: &str) -> String {
    name.to_ascii_lowercase().replace(' ', "-")
}

/// Prose, with what stands in backticks as code.
fn words(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        match index % 2 {
            0 => out.push_str(&escaped(part)),
            _ => {
                let _ = write!(out, "<code>{}</code>", escaped(part));
            }
        }
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_document_says_cannot_become_markup() {
        let hostile = "</style><script>alert(1)</script>`<b>`";
        let page = html(&json!({
            "info": { "version": hostile, "description": hostile },
            "tags": [{ "name": "T", "description": hostile }],
            "paths": { "/<i>": { "get": {
                "operationId": "x", "tags": ["T"], "summary": hostile, "description": hostile,
                "parameters": [{ "name": hostile, "in": "query", "description": hostile,
                    "schema": { "type": "string", "pattern": hostile, "enum": [hostile] } }],
                "responses": { hostile: { "description": hostile, "content": { hostile: {} } } },
            }, "put": {
                "operationId": hostile, "tags": ["T"],
                "parameters": [
                    { "name": "a", "in": hostile, "schema": { "type": hostile } },
                    { "name": "b", "in": "query", "schema": { "type": [hostile, "null"] } },
                    { "name": "c", "in": "query",
                        "schema": { "$ref": format!("#/components/schemas/{hostile}") } },
                ],
            } } },
            "components": { "schemas": { hostile: { "description": hostile } } },
        }));
        assert!(page.contains("&lt;script&gt;"));
        for tag in ["<script", "<i>", "<b>"] {
            assert!(!page.contains(tag), "{tag}");
        }
    }
}
