//! Holds every answer of a server, and every request that it accepted, against the OpenAPI document.
//!
//! Promises: a status, a code, a member, a type, a header or a content type that the document does not tell fails the
//! test that got it, and names the operation and the place. What was seen is written down, so that another test can tell
//! which declared answers never came.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value is indexed by name: what is not there is `null`"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::Method;
use http::header::CONTENT_TYPE;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::client::Reply;

/// The codes of what is on no route.
const NO_ROUTE: (u16, &str) = (404, "no_such_route");
const NO_METHOD: (u16, &str) = (405, "method_not_allowed");
/// What an answer without an error is written down as.
const FINE: &str = "-";
/// How many faults of one value are shown.
const MAX_SHOWN: usize = 3;

/// A request, as far as the document tells about it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The method.
    pub method: Method,
    /// The path with its query.
    pub path: String,
    /// The body.
    pub body: Option<Vec<u8>>,
}

/// One answer that the document declares: the operation, the status, and the code of the error or `-`.
pub type Declared = (String, u16, String);

/// The document, ready to be held against.
pub struct Contract {
    document: Value,
    validators: Mutex<BTreeMap<String, Arc<Validator>>>,
    seen: Mutex<BTreeSet<Declared>>,
}

/// The document of the routes of this build.
pub fn contract() -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::new(&kavachos::http::openapi()))
}

impl Contract {
    fn new(document: &str) -> Self {
        Self {
            document: serde_json::from_str(document).expect("the document is JSON"),
            validators: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Fails the test unless the document tells of this answer to this request.
    pub fn hold(&self, sent: &Sent, reply: &Reply) {
        if let Err(fault) = self.fault(sent, reply) {
            let path = sent.path.split('?').next().unwrap_or_default();
            panic!(
                "the OpenAPI document does not tell of this answer to `{} {path}`: {fault}\nthe answer: {reply}",
                sent.method
            );
        }
    }

    fn fault(&self, sent: &Sent, reply: &Reply) -> Result<(), String> {
        let (path, query) = sent.path.split_once('?').unwrap_or((&sent.path, ""));
        let Some((name, item)) = self.path(path) else {
            return self.off_the_map(reply, NO_ROUTE);
        };
        let method = match sent.method {
            Method::HEAD => Method::GET,
            ref method => method.clone(),
        };
        let method = method.as_str().to_ascii_lowercase();
        let Some(operation) = item.get(&method) else {
            return self.off_the_map(reply, NO_METHOD);
        };
        let place = format!("{method} {name}");
        if sent.method != Method::HEAD {
            self.check_answer(&place, operation, reply)?;
        }
        if (200..300).contains(&reply.status) {
            self.check_request(&place, operation, query, sent.body.as_deref())?;
        }
        Ok(())
    }

    /// The path of the document that this one is an instance of; a fixed one before one with a parameter.
    fn path(&self, path: &str) -> Option<(&String, &Value)> {
        let fits = |pattern: &str| {
            let (ours, theirs) = (pattern.split('/'), path.split('/'));
            ours.clone().count() == theirs.clone().count()
                && ours.zip(theirs).all(|(ours, theirs)| {
                    ours == theirs || (ours.starts_with('{') && !theirs.is_empty())
                })
        };
        let paths = self.document["paths"].as_object()?;
        let mut fitting: Vec<_> = paths.iter().filter(|(name, _)| fits(name)).collect();
        fitting.sort_by_key(|(name, _)| name.contains('{'));
        fitting.first().copied()
    }

    fn off_the_map(&self, reply: &Reply, (status, code): (u16, &str)) -> Result<(), String> {
        if reply.status == status && (reply.code() == code || reply.body.is_null()) {
            return Ok(());
        }
        Err(format!("it is no operation, so {status} `{code}` was due"))
    }

    fn check_answer(&self, place: &str, operation: &Value, reply: &Reply) -> Result<(), String> {
        let status = reply.status.to_string();
        let declared = &operation["responses"][&status];
        if declared.is_null() {
            return Err(format!("the status {status} is not declared"));
        }
        let response = self.resolved(declared);
        self.check_headers(&response["headers"], reply)?;
        let sent = reply.header(CONTENT_TYPE.as_str());
        let has_content = response["content"]
            .as_object()
            .is_some_and(|all| !all.is_empty());
        if !has_content && reply.text.is_empty() {
            self.note(operation, reply);
            return Ok(());
        }
        let Some(content) = response["content"].get(sent) else {
            return Err(format!("the content type `{sent}` is not declared"));
        };
        if sent == "application/json" {
            let key = format!("{place} {status}");
            let found = serde_json::from_str(&reply.text).map_err(|error| error.to_string())?;
            self.check_value(&key, &content["schema"], &found)?;
        }
        self.note(operation, reply);
        Ok(())
    }

    fn check_headers(&self, declared: &Value, reply: &Reply) -> Result<(), String> {
        for (name, header) in declared.as_object().into_iter().flatten() {
            let header = self.resolved(header);
            let Some(value) = reply.headers.get(name) else {
                if header["required"] == true {
                    return Err(format!("the header `{name}` is declared and did not come"));
                }
                continue;
            };
            let text = value.to_str().unwrap_or_default();
            let value = match header["schema"]["type"] == "integer" {
                true => text.parse::<u64>().map_or(json!(text), Value::from),
                false => json!(text),
            };
            self.check_value(&format!("header {name}"), &header["schema"], &value)?;
        }
        Ok(())
    }

    /// A request that was accepted says nothing that the document does not know.
    fn check_request(
        &self,
        place: &str,
        operation: &Value,
        query: &str,
        body: Option<&[u8]>,
    ) -> Result<(), String> {
        let parameters: Vec<_> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap_or_default();
            let known = |one: &&&Value| one["in"] == "query" && one["name"] == name;
            if parameters.iter().find(known).is_none() {
                return Err(format!("it accepted the undeclared parameter `{name}`"));
            }
        }
        let Some(bytes) = body.filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            // A body that nobody reads.
            return Ok(());
        }
        let value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        self.check_value(&format!("{place} request"), schema, &value)
            .map_err(|fault| format!("it accepted a request that is not declared: {fault}"))
    }

    fn check_value(&self, key: &str, schema: &Value, value: &Value) -> Result<(), String> {
        let validator = self.validator(key, schema);
        let faults: Vec<_> = validator
            .iter_errors(value)
            .take(MAX_SHOWN)
            .map(|error| format!("at `{}`: {error}", error.instance_path()))
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(faults.join("; ")),
        }
    }

    fn validator(&self, key: &str, schema: &Value) -> Arc<Validator> {
        let mut validators = self
            .validators
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let mut root = schema.clone();
            root["components"] = json!({ "schemas": self.document["components"]["schemas"] });
            let validator = jsonschema::draft202012::options()
                .should_validate_formats(true)
                .build(&root);
            Arc::new(validator.unwrap_or_else(|error| panic!("the schema of {key}: {error}")))
        };
        Arc::clone(validators.entry(key.to_owned()).or_insert_with(make))
    }

    /// What a reference to a component stands for.
    fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        let path = value["$ref"]
            .as_str()
            .and_then(|path| path.strip_prefix('#'));
        path.and_then(|path| self.document.pointer(path))
            .unwrap_or(value)
    }

    fn note(&self, operation: &Value, reply: &Reply) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let oauth = || reply.at("/error").as_str();
        let code = reply.at("/error/code").as_str().or_else(oauth);
        let code = code.unwrap_or(FINE);
        let answer = (id.to_owned(), reply.status, code.to_owned());
        let new = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(answer.clone())
        };
        if new {
            let file = answers_file(&self.document);
            let file = OpenOptions::new().create(true).append(true).open(file);
            let (id, status, code) = answer;
            let line = format!("{id} {status} {code}\n");
            // One write of one line: the processes of several suites append to the same file.
            let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
            written.expect("what was answered can be written down");
        }
    }

    /// Every answer that the document declares. An operation whose errors are plain text has one for each status.
    pub fn declared(&self) -> BTreeSet<Declared> {
        let mut all = BTreeSet::new();
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(_, item)| item.as_object().into_iter().flatten());
        for (_, operation) in operations {
            let id = operation["operationId"].as_str().unwrap_or_default();
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                let status: u16 = status.parse().expect("a status is a number");
                for code in self.codes(self.resolved(response)) {
                    all.insert((id.to_owned(), status, code));
                }
            }
        }
        all
    }

    fn codes(&self, response: &Value) -> Vec<String> {
        let schema = &response["content"]["application/json"]["schema"];
        let of = |schema: &Value| match &schema["properties"]["error"]["properties"]["code"]["enum"]
        {
            Value::Array(codes) => codes
                .iter()
                .filter_map(|code| code.as_str().map(str::to_owned))
                .collect(),
            _ => vec![FINE.to_owned()],
        };
        if let Value::Array(codes) = &schema["properties"]["error"]["enum"] {
            // In the form of OAuth.
            let codes = codes.iter().filter_map(Value::as_str);
            return codes.map(str::to_owned).collect();
        }
        match schema["anyOf"]
            .as_array()
            .filter(|_| schema["properties"].is_null())
        {
            Some(either) => either.iter().flat_map(of).collect(),
            None => of(schema),
        }
    }

    /// Every answer that suites of this build got so far; `None` when none ran.
    pub fn answered(&self) -> Option<BTreeSet<Declared>> {
        let text = fs::read_to_string(answers_file(&self.document)).ok()?;
        let read = |line: &str| {
            let mut words = line.split(' ');
            let (id, status, code) = (words.next()?, words.next()?, words.next()?);
            Some((id.to_owned(), status.parse().ok()?, code.to_owned()))
        };
        Some(text.lines().filter_map(read).collect())
    }
}

/// Beside the tests themselves, named after the document: what was answered under another one does not count.
fn answers_file(document: &Value) -> PathBuf {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    document.to_string().hash(&mut hasher);
    let program = std::env::current_exe().expect("a test knows where it is");
    let directory = program.parent().expect("a program is in a directory");
    directory.join(format!("answers-{:016x}", hasher.finish()))
}
