//! Requests to the API, the same ones over HTTP and on a database.

use axum::body::{Body, Bytes};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::answer::Answer;
use crate::failure::Failure;
use crate::only::Only;
use crate::transport::Transport;

/// The longest refusal, or summary of what was done.
const MAX_REFUSAL_BYTES: usize = 1 << 20;

/// Something that answers requests to the API.
pub(crate) struct Client {
    transport: Box<dyn Transport>,
    /// The member of an answer that is printed: one that it cannot have is refused before the request is sent.
    only: Option<Only>,
}

/// The parameters of a list.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Adds a parameter if it has a value.
    pub(crate) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// The path with the parameters.
    fn on(&self, path: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish();
        if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        }
    }
}

impl Client {
    /// A client that sends its requests this way.
    pub(crate) fn new(transport: impl Transport + 'static) -> Self {
        Self {
            transport: Box::new(transport),
            only: None,
        }
    }

    /// Sends no request whose answer cannot have this member.
    pub(crate) fn only(self, only: Option<Only>) -> Self {
        Self { only, ..self }
    }

    fn check(&self, method: &Method, path: &str) -> Result<(), Failure> {
        let check = |only: &Only| only.check_request(method, path);
        self.only.as_ref().map_or(Ok(()), check)
    }

    /// Reads a thing or a list.
    pub(crate) async fn get(&self, path: &str, query: &Query) -> Result<Answer, Failure> {
        self.send(Method::GET, &query.on(path), None).await
    }

    /// Reads what a command needs for its answer and does not print, so that any member may be asked for.
    pub(crate) async fn look_up(&self, path: &str, query: &Query) -> Result<Answer, Failure> {
        self.sent(Method::GET, &query.on(path), None).await
    }

    /// Creates a thing, or does something to one.
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
        self.send(Method::POST, path, body).await
    }

    /// Changes a thing.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// Ends a thing.
    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::DELETE, path, None).await
    }

    /// Asks for an answer of any length.
    pub(crate) async fn download(
        &self,
        method: Method,
        path: &str,
        query: &Query,
    ) -> Result<Body, Failure> {
        let request = Request::builder().method(method).uri(query.on(path));
        let request = request
            .body(Body::empty())
            .map_err(|error| Failure::Usage(format!("this cannot be asked for: {error}")))?;
        let response = self.transport.stream(request).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(self
            .whole(response)
            .await
            .err()
            .unwrap_or(Failure::Stranger { status: 200 }))
    }

    /// Sends a file of any length.
    pub(crate) async fn upload(
        &self,
        path: &str,
        query: &Query,
        lines: Body,
    ) -> Result<Answer, Failure> {
        self.check(&Method::POST, path)?;
        let request = Request::post(query.on(path))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-ndjson");
        let request = request
            .body(lines)
            .map_err(|error| Failure::Usage(format!("this cannot be asked for: {error}")))?;
        let response = self.transport.stream(request).await?;
        self.whole(response).await
    }

    async fn whole(&self, response: Response<Body>) -> Result<Answer, Failure> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_REFUSAL_BYTES).collect().await;
        let body =
            body.map_err(|error| Failure::Server(format!("the answer cannot be read: {error}")))?;
        Answer::read(Response::from_parts(parts, body.to_bytes()))
    }

    /// Gives back what the client holds.
    pub(crate) async fn close(&self) {
        self.transport.close().await;
    }

    /// Asks for records as they come, after the one that was seen last.
    pub(crate) async fn follow(
        &self,
        path: &str,
        query: &Query,
        seen: Option<u64>,
    ) -> Result<Body, Failure> {
        let mut request = Request::get(query.on(path)).header(ACCEPT, "text/event-stream");
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let request = request
            .body(Body::empty())
            .map_err(|error| Failure::Usage(format!("this cannot be asked for: {error}")))?;
        let response = self.transport.stream(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let answer = self.whole(response).await;
        Err(answer.err().unwrap_or(Failure::Stranger {
            status: status.as_u16(),
        }))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        self.check(&method, path)?;
        self.sent(method, path, body).await
    }

    async fn sent(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Bytes::from(body.map(Value::to_string).unwrap_or_default());
        let request = request
            .body(body)
            .map_err(|error| Failure::Usage(format!("this cannot be asked for: {error}")))?;
        Answer::read(self.transport.send(request).await?)
    }
}

/// A path with an id in it; whatever the id holds, it stays one segment.
pub(crate) fn path(list: &str, id: &str) -> String {
    format!("/api/v1/{list}/{}", segment(id))
}

/// What somebody typed, as one segment of a path.
pub(crate) fn segment(id: &str) -> String {
    let mut out = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment_of_the_path() {
        assert_eq!(path("agents", "agent_01"), "/api/v1/agents/agent_01");
        assert_eq!(
            path("agents", "../users?x#y é"),
            "/api/v1/agents/%2E%2E%2Fusers%3Fx%23y%20%C3%A9"
        );
    }
}
