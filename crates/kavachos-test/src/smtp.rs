//! An SMTP server (RFC 5321) on the loopback: it keeps the mail that it takes, and answers as it is told to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kavachos::mail::{Mailer, Security, Smtp};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsAcceptor;

/// How long to wait for mail before the test fails.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The authority that the server's certificate, for `localhost`, is signed by.
const ROOT: &[u8] = include_bytes!("testdata/root.pem");
const CERTIFICATE: &[u8] = include_bytes!("testdata/server.pem");
const KEY: &[u8] = include_bytes!("testdata/server.key");

/// A mail that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// The message, as it came.
    pub data: String,
    /// Who authenticated, as `user:password`.
    pub user: Option<String>,
    /// Whether it came over TLS.
    pub over_tls: bool,
}

/// What the server says to a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SmtpAnswer {
    /// It takes it.
    #[default]
    Takes,
    /// It answers the recipient so.
    Refuses(u16),
    /// It says nothing more once the message is there.
    Hangs,
}

/// Whether the server speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// It does not.
    None,
    /// After STARTTLS.
    Offered,
    /// From the first byte.
    FromTheStart,
}

#[derive(Default)]
struct Shared {
    mails: Mutex<Vec<Delivered>>,
    tried: Mutex<usize>,
    answer: Mutex<SmtpAnswer>,
    came: Notify,
}

/// An SMTP server, until it is dropped.
pub struct TestSmtp {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: SmtpTls,
    task: JoinHandle<()>,
}

impl TestSmtp {
    /// One without TLS that takes everything.
    pub async fn start() -> Self {
        Self::with(SmtpTls::None).await
    }

    /// One with TLS.
    pub async fn with(tls: SmtpTls) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), tls).await
    }

    /// One without TLS at an address where another one was.
    pub async fn again_at(address: SocketAddr) -> Self {
        Self::at(address, SmtpTls::None).await
    }

    async fn at(address: SocketAddr, tls: SmtpTls) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&state);
                tokio::spawn(async move { serve(stream, tls, shared).await });
            }
        });
        Self {
            shared,
            address,
            tls,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server, as it is configured for the builder.
    pub fn smtp(&self) -> Smtp {
        let security = match self.tls {
            SmtpTls::None => Security::Plain,
            SmtpTls::Offered => Security::StartTls,
            SmtpTls::FromTheStart => Security::Tls,
        };
        Smtp::new("localhost")
            .port(self.address.port())
            .security(security)
            .trusting(ROOT)
    }

    /// Mail from `Example <auth@example.com>` by this server.
    pub fn mailer(&self) -> Mailer {
        let from = "Example <auth@example.com>".parse();
        Mailer::new(from.expect("a sender"), self.smtp())
    }

    /// Answers so from now on.
    pub fn answers(&self, answer: SmtpAnswer) {
        *locked(&self.shared.answer) = answer;
    }

    /// Everything that it took so far.
    pub fn mails(&self) -> Vec<Delivered> {
        locked(&self.shared.mails).clone()
    }

    /// Waits until it took so many mails, and gives them.
    pub async fn expect(&self, count: usize) -> Vec<Delivered> {
        self.until(|shared| locked(&shared.mails).len() >= count)
            .await;
        self.mails()
    }

    /// Waits until so many mails were tried to be given to it, whatever it answered.
    pub async fn tried(&self, count: usize) {
        self.until(|shared| *locked(&shared.tried) >= count).await;
    }

    async fn until(&self, is_reached: impl Fn(&Shared) -> bool) {
        let enough = async {
            loop {
                let came = self.shared.came.notified();
                if is_reached(&self.shared) {
                    return;
                }
                came.await;
            }
        };
        let waited = timeout(LONGEST_WAIT, enough).await;
        waited.unwrap_or_else(|_| panic!("{} mails came", self.mails().len()));
    }
}

impl Drop for TestSmtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS can be used")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("key and certificate belong together");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(stream: TcpStream, tls: SmtpTls, shared: Arc<Shared>) -> io::Result<()> {
    let secured = |stream| async { acceptor().accept(stream).await };
    if tls == SmtpTls::FromTheStart {
        let mut talk = Talk::new(secured(stream).await?, &shared, true);
        talk.greet().await?;
        return talk.converse(false).await.map(drop);
    }
    let mut talk = Talk::new(stream, &shared, false);
    talk.greet().await?;
    if talk.converse(tls == SmtpTls::Offered).await? == End::StartTls {
        let stream = talk.stream.into_inner();
        let mut talk = Talk::new(secured(stream).await?, &shared, true);
        talk.converse(false).await?;
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum End {
    Quit,
    StartTls,
}

/// One conversation.
struct Talk<'a, S> {
    stream: BufReader<S>,
    shared: &'a Shared,
    mail: Delivered,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Talk<'a, S> {
    fn new(stream: S, shared: &'a Shared, over_tls: bool) -> Self {
        Self {
            stream: BufReader::new(stream),
            shared,
            mail: Delivered {
                from: String::new(),
                to: Vec::new(),
                data: String::new(),
                user: None,
                over_tls,
            },
        }
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.write_all(b"\r\n").await?;
        self.stream.flush().await
    }

    async fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.strip_suffix("\r\n").map(str::to_owned);
        line.ok_or_else(|| io::Error::other("a line ends with CR LF (RFC 5321, 2.3.8)"))
    }

    async fn greet(&mut self) -> io::Result<()> {
        self.say("220 localhost ESMTP").await
    }

    async fn converse(&mut self, offers_tls: bool) -> io::Result<End> {
        loop {
            let line = self.hear().await?;
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => {
                    let starttls = if offers_tls { "250-STARTTLS\r\n" } else { "" };
                    let offers =
                        format!("250-localhost\r\n{starttls}250-AUTH PLAIN\r\n250 8BITMIME");
                    self.say(&offers).await?;
                }
                "STARTTLS" if offers_tls => {
                    self.say("220 go ahead").await?;
                    return Ok(End::StartTls);
                }
                "AUTH" => self.authenticate(rest).await?,
                "MAIL" => {
                    self.mail.from = path(rest, "FROM:")?;
                    self.mail.to.clear();
                    self.say("250 OK").await?;
                }
                "RCPT" => self.recipient(rest).await?,
                "DATA" if !self.mail.to.is_empty() => self.data().await?,
                "RSET" | "NOOP" => self.say("250 OK").await?,
                "QUIT" => {
                    self.say("221 bye").await?;
                    return Ok(End::Quit);
                }
                _ => self.say("503 bad sequence of commands").await?,
            }
        }
    }

    async fn authenticate(&mut self, rest: &str) -> io::Result<()> {
        let shown = rest
            .strip_prefix("PLAIN ")
            .and_then(|text| STANDARD.decode(text).ok());
        let shown = shown.and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(shown) = shown else {
            return self.say("501 cannot be read").await;
        };
        let parts: Vec<&str> = shown.split('\0').collect();
        if parts.last() == Some(&"wrong") {
            return self.say("535 authentication failed").await;
        }
        self.mail.user = Some(parts.get(1..).unwrap_or_default().join(":"));
        self.say("235 welcome").await
    }

    async fn recipient(&mut self, rest: &str) -> io::Result<()> {
        let recipient = path(rest, "TO:")?;
        let answer = *locked(&self.shared.answer);
        if let SmtpAnswer::Refuses(code) = answer {
            *locked(&self.shared.tried) += 1;
            self.shared.came.notify_waiters();
            // As real servers do: their words quote whom it was for.
            return self.say(&format!("{code} <{recipient}>: not today")).await;
        }
        self.mail.to.push(recipient);
        self.say("250 OK").await
    }

    async fn data(&mut self) -> io::Result<()> {
        self.say("354 go ahead").await?;
        self.mail.data.clear();
        loop {
            let line = self.hear().await?;
            if line == "." {
                break;
            }
            self.mail
                .data
                .push_str(line.strip_prefix('.').unwrap_or(&line));
            self.mail.data.push_str("\r\n");
        }
        *locked(&self.shared.tried) += 1;
        if *locked(&self.shared.answer) == SmtpAnswer::Hangs {
            self.shared.came.notify_waiters();
            return std::future::pending().await;
        }
        locked(&self.shared.mails).push(self.mail.clone());
        self.shared.came.notify_waiters();
        self.say("250 taken").await
    }
}

/// The address of `FROM:<ada@example.com> BODY=8BITMIME`.
fn path(text: &str, before: &str) -> io::Result<String> {
    let rest = text
        .strip_prefix(before)
        .and_then(|rest| rest.strip_prefix('<'));
    let path = rest
        .and_then(|rest| rest.split_once('>'))
        .map(|(path, _)| path.to_owned());
    path.ok_or_else(|| io::Error::other(format!("no path in `{text}`")))
}

impl Delivered {
    /// The lines of the header, unfolded.
    pub fn headers(&self) -> Vec<String> {
        headers(&self.data)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        value(&self.headers(), name)
    }

    /// What it says as plain text.
    pub fn text(&self) -> String {
        self.part("text/plain")
    }

    /// What it says as HTML.
    pub fn html(&self) -> String {
        self.part("text/html")
    }

    fn part(&self, kind: &str) -> String {
        let whole = self.header("content-type").expect("a message has a type");
        let (_, boundary) = whole.split_once("boundary=\"").expect("it has parts");
        let boundary = format!("--{}", boundary.trim_end_matches('"'));
        let mut parts = self.data.split(boundary.as_str()).skip(1);
        let is_it = |part: &&str| {
            let kind_of = value(&headers(part.trim_start_matches("\r\n")), "content-type");
            kind_of.is_some_and(|text| text.starts_with(kind))
        };
        let part = parts.find(is_it).expect("it has this part");
        decoded(part.trim_start_matches("\r\n"))
    }
}

fn headers(text: &str) -> Vec<String> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn value(headers: &[String], name: &str) -> Option<String> {
    let split = headers.iter().filter_map(|line| line.split_once(':'));
    let mut named = split.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim().to_owned())
}

/// A part without its encoding (RFC 2045, 6).
fn decoded(part: &str) -> String {
    let (_, body) = part.split_once("\r\n\r\n").unwrap_or_default();
    let body = body.trim_end_matches("\r\n");
    let encoding = value(&headers(part), "content-transfer-encoding").unwrap_or_default();
    let bytes = match encoding.as_str() {
        "base64" => STANDARD
            .decode(body.replace("\r\n", ""))
            .expect("it is base64"),
        "quoted-printable" => from_quoted(&body.replace("=\r\n", "")),
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8(bytes)
        .expect("it is UTF-8")
        .replace("\r\n", "\n")
}

fn from_quoted(text: &str) -> Vec<u8> {
    let mut parts = text.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).expect("two digits follow");
        bytes.push(u8::from_str_radix(digits, 16).expect("they are digits"));
        bytes.extend(rest.as_bytes());
    }
    bytes
}
