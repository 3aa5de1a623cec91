//! A small HTTP/1.1 client: one connection for each call, so that a test chooses where each comes from.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::contract::{Sent, contract};

/// A call that takes longer hangs: the test fails instead of waiting for ever.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// Calls one server.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    server: SocketAddr,
    terms: Terms,
}

/// Whether answers are held against the OpenAPI document.
#[derive(Debug, Clone, Copy)]
enum Terms {
    Contract,
    Nothing,
}

/// One caller of a server: its credential, the address that it calls from, and headers of its own.
#[derive(Debug, Clone)]
#[must_use = "nothing is called before a method and a path are given"]
pub struct Call {
    server: SocketAddr,
    terms: Terms,
    from: Option<IpAddr>,
    headers: HeaderMap,
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, `null` when it is no JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Client {
    /// A client of whatever listens here.
    pub fn new(server: SocketAddr) -> Self {
        let terms = Terms::Nothing;
        Self { server, terms }
    }

    /// A client of a server of ours: an answer that its OpenAPI document does not tell fails the test.
    pub fn under_contract(server: SocketAddr) -> Self {
        let terms = Terms::Contract;
        Self { server, terms }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.server
    }

    /// A caller without a credential.
    pub fn anonymous(&self) -> Call {
        Call {
            server: self.server,
            terms: self.terms,
            from: None,
            headers: HeaderMap::new(),
        }
    }

    /// A caller with this credential.
    pub fn call(&self, credential: &str) -> Call {
        self.anonymous()
            .header(AUTHORIZATION.as_str(), &format!("Bearer {credential}"))
    }
}

impl Call {
    /// With one more header; a header may stand more than once.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.header_bytes(name, value.as_bytes());
        self
    }

    /// With one more header, of any bytes that HTTP allows.
    pub fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        let name: HeaderName = name.parse().expect("a test names a header");
        let value = HeaderValue::from_bytes(value).expect("a test gives a header's value");
        self.headers.append(name, value);
        self
    }

    /// From another address of this machine, for example `127.0.0.2`.
    pub fn from(mut self, address: &str) -> Self {
        self.from = Some(address.parse().expect("a test names an address"));
        self
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, None).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(Method::POST, path, Some(body.to_string().into()))
            .await
    }

    /// `POST` of a form.
    pub async fn post_form(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        let pairs = parameters.iter().map(|(name, value)| {
            format!("{}={}", escaped(name.as_bytes()), escaped(value.as_bytes()))
        });
        let body = pairs.collect::<Vec<_>>().join("&");
        let call = self
            .clone()
            .header(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded");
        call.send(Method::POST, path, Some(body.into())).await
    }

    /// `PATCH` of JSON.
    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PATCH, path, Some(body.to_string().into()))
            .await
    }

    /// Any method with any bytes; with a body it says `application/json`, unless a header says otherwise.
    pub async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Reply {
        let sent = Sent {
            method: method.clone(),
            path: path.to_owned(),
            body: body.clone(),
        };
        let reply = timeout(LONGEST_CALL, self.exchange(method, path, body))
            .await
            .unwrap_or_else(|_| panic!("`{path}` was not answered within {LONGEST_CALL:?}"));
        match self.terms {
            Terms::Contract => contract().hold(&sent, &reply),
            Terms::Nothing => {}
        }
        reply
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Reply {
        let stream = self.connect().await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("the server speaks HTTP");
        let connection = tokio::spawn(connection);
        let response = sender
            .send_request(self.request(method, path, body))
            .await
            .expect("the server answers");
        let (parts, body) = response.into_parts();
        let bytes = bytes_of(&parts.headers, body).await;
        connection.abort();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// `GET` of server-sent events.
    pub async fn events(&self, path: &str) -> Events {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await))
                .await
                .expect("the server speaks HTTP");
        let connection = tokio::spawn(connection);
        let request = self.request(Method::GET, path, None);
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200, "{response:?}");
        Events {
            body: response.into_body(),
            text: String::new(),
            connection,
        }
    }

    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        if let Some(address) = self.from {
            let from = SocketAddr::new(address, 0);
            socket.bind(from).expect("the address is this machine's");
        }
        let stream = socket.connect(self.server).await;
        stream.expect("the server listens")
    }

    fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Request<Full<Bytes>> {
        let has_body = body.is_some();
        let mut request = Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a test names a path");
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        if has_body && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Ok(host) = self.server.to_string().parse() {
            headers.insert(HOST, host);
        }
        request
    }
}

/// With every byte that means something in a form, or could, as an escape.
fn escaped(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
            char::from(*byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    bytes.iter().map(escape).collect()
}

/// The whole body; of a stream without an end, what comes first.
async fn bytes_of(headers: &HeaderMap, mut body: Incoming) -> Bytes {
    if headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value == "text/event-stream")
    {
        let first = body.frame().await.expect("a stream begins");
        return first
            .ok()
            .and_then(|frame| frame.into_data().ok())
            .unwrap_or_default();
    }
    let whole = body.collect().await.expect("the whole answer comes");
    whole.to_bytes()
}

/// Server-sent events as they come.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    /// What came and was not read yet.
    text: String,
    connection: JoinHandle<hyper::Result<()>>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `id`, empty without one.
    pub id: String,
    /// `event`, empty without one.
    pub kind: String,
    /// `data` as JSON.
    pub data: Value,
}

impl Events {
    /// The next message; `None` at the end. Comments are passed over.
    pub async fn next(&mut self) -> Option<Event> {
        timeout(LONGEST_CALL, self.read())
            .await
            .unwrap_or_else(|_| panic!("no event came within {LONGEST_CALL:?}"))
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let event = Event::of(message);
                self.text = rest.to_owned();
                if !event.data.is_null() {
                    return Some(event);
                }
            }
            let frame = self.body.frame().await?.expect("the stream is whole");
            let bytes = frame.into_data().unwrap_or_default();
            self.text
                .push_str(str::from_utf8(&bytes).expect("events are UTF-8"));
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Event {
    fn of(message: &str) -> Self {
        let field = |name: &str| {
            let mut values = message.lines().filter_map(|line| line.strip_prefix(name));
            values.next().unwrap_or_default().to_owned()
        };
        Self {
            id: field("id: "),
            kind: field("event: "),
            data: serde_json::from_str(&field("data: ")).unwrap_or_default(),
        }
    }
}

impl Reply {
    /// The text at this JSON pointer of the body.
    pub fn text_at(&self, pointer: &str) -> &str {
        self.at(pointer)
            .as_str()
            .unwrap_or_else(|| panic!("`{pointer}` is no text in {self}"))
    }

    /// What stands at this JSON pointer of the body; `null` when nothing does.
    pub fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// `data.id`.
    pub fn id(&self) -> &str {
        self.text_at("/data/id")
    }

    /// The rows of a list.
    pub fn rows(&self) -> &[Value] {
        self.at("/data")
            .as_array()
            .unwrap_or_else(|| panic!("this is no list: {self}"))
    }

    /// The code: of a decision, or of an error.
    pub fn code(&self) -> &str {
        let decision = self.at("/data/code").as_str();
        decision
            .or_else(|| self.at("/error/code").as_str())
            .or_else(|| self.at("/error").as_str())
            .unwrap_or("")
    }

    /// The member that an error names.
    pub fn field(&self) -> &str {
        self.at("/error/field").as_str().unwrap_or("")
    }

    /// What an error says.
    pub fn message(&self) -> &str {
        self.at("/error/message").as_str().unwrap_or("")
    }

    /// A header; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    /// This reply, if it has the status; otherwise the test fails and shows it.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert!(self.status == status, "expected {status}, got {self}");
        self
    }

    /// This reply, if it is a refusal with this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert!(
            self.status == status && self.at("/error/code") == code,
            "expected {status} {code}, got {self}"
        );
        self
    }

    /// This reply, if it is a decision with this code.
    #[track_caller]
    pub fn decided(self, code: &str) -> Self {
        let (allowed, verdict) = match code {
            "allowed" => (true, "allow"),
            _ => (false, "deny"),
        };
        assert!(
            self.status == 200
                && self.at("/data/code") == code
                && self.at("/data/allowed") == allowed
                && self.header("kavach-decision") == verdict,
            "expected the decision {code}, got {self}"
        );
        self
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.text)
    }
}
