//! An HTTP/1.1 client over a plain socket, without a runtime: it keeps its connection, sends exactly the bytes that a
//! test asks for, survives a server that is killed, and waits only so long.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A call that is not answered by then hangs.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest answer that a test reads.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// One caller, on one connection that is opened when it is needed.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    credential: Option<String>,
    stream: Option<BufReader<TcpStream>>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub text: String,
    /// The body, `null` when it is no JSON.
    pub body: Value,
}

/// The bytes of one request, before they are sent.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path and the query.
    pub target: &'a [u8],
    /// Headers besides the usual ones.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: &'a [u8],
}

impl Client {
    /// A caller with this credential, or a stranger.
    pub fn new(server: SocketAddr, credential: Option<&str>) -> Self {
        Self {
            server,
            credential: credential.map(str::to_owned),
            stream: None,
        }
    }

    /// `GET`; it must be answered.
    pub fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, b"")
    }

    /// `DELETE`; it must be answered.
    pub fn delete(&mut self, path: &str) -> Answer {
        self.call("DELETE", path, b"")
    }

    /// `POST` of JSON; it must be answered.
    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body.to_string().as_bytes())
    }

    /// `PATCH` of JSON; it must be answered.
    pub fn patch(&mut self, path: &str, body: &Value) -> Answer {
        self.call("PATCH", path, body.to_string().as_bytes())
    }

    /// A call with this body; it must be answered.
    pub fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.try_call(method, path, body)
            .unwrap_or_else(|| panic!("`{method} {path}` was not answered"))
    }

    /// A call with this body; `None` when the connection breaks before the answer.
    pub fn try_call(&mut self, method: &str, path: &str, body: &[u8]) -> Option<Answer> {
        self.send(&Request {
            method,
            target: path.as_bytes(),
            headers: &[("Content-Type", b"application/json")],
            body,
        })
    }

    /// Sends a request with its length and this caller's credential, unless it brings its own.
    pub fn send(&mut self, request: &Request<'_>) -> Option<Answer> {
        let mut bytes = [request.method.as_bytes(), b" ", request.target].concat();
        bytes.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\n");
        let own = |name: &str| {
            let mut headers = request.headers.iter();
            headers.any(|(own, _)| own.eq_ignore_ascii_case(name))
        };
        if let Some(credential) = self.credential.as_ref().filter(|_| !own("Authorization")) {
            bytes.extend(format!("Authorization: Bearer {credential}\r\n").bytes());
        }
        if !request.body.is_empty() || request.method != "GET" {
            bytes.extend(format!("Content-Length: {}\r\n", request.body.len()).bytes());
        }
        for (name, value) in request.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(request.body);
        self.exchange(&bytes)
    }

    /// Sends these bytes and reads one answer; `None` when the connection breaks first.
    pub fn exchange(&mut self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.stream.take().map_or_else(|| self.connect(), Some)?;
        // A server may answer, and close, before it has read everything.
        let written = stream.get_mut().write_all(bytes);
        let answer = read_answer(&mut stream)?;
        if written.is_ok() && answer.header("connection") != "close" {
            self.stream = Some(stream);
        }
        Some(answer)
    }

    fn connect(&self) -> Option<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.server, LONGEST_WAIT).ok()?;
        // Where the server is gone already, the first read tells.
        stream.set_read_timeout(Some(LONGEST_WAIT)).ok()?;
        stream.set_write_timeout(Some(LONGEST_WAIT)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(BufReader::new(stream))
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> Option<Answer> {
    let mut line = || {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("no answer within {LONGEST_WAIT:?}")
            }
            Err(_) => None,
        }
    };
    let status = line()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer {
        status,
        headers,
        text: String::new(),
        body: Value::Null,
    };
    let length: usize = answer.header("content-length").parse().unwrap_or(0);
    assert!(length <= MAX_ANSWER_BYTES, "an answer of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    answer.body = serde_json::from_slice(&body).unwrap_or_default();
    answer.text = String::from_utf8_lossy(&body).into_owned();
    Some(answer)
}

impl Answer {
    /// A header, by its name in lower case; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// What stands at this JSON pointer.
    pub fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at this JSON pointer; empty when there is none.
    pub fn text_at(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or("")
    }

    /// `data.id`; empty when there is none.
    pub fn id(&self) -> String {
        self.text_at("/data/id").to_owned()
    }

    /// Whether it is a decision that allows.
    pub fn allowed(&self) -> bool {
        self.status == 200 && *self.at("/data/allowed") == true
    }

    /// The code of a decision or of an error.
    pub fn code(&self) -> &str {
        let code = self.at("/data/code").as_str();
        code.unwrap_or_else(|| self.text_at("/error/code"))
    }

    /// The member that an error names.
    pub fn field(&self) -> &str {
        self.text_at("/error/field")
    }

    /// This answer, if it has the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert!(self.status == status, "expected {status}, got {self}");
        self
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: String = self.text.chars().take(600).collect();
        write!(f, "{} {shown}", self.status)
    }
}
