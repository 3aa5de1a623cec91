//! Mail over SMTP (RFC 5321), by lettre.
//!
//! TLS from the first byte, or STARTTLS without which nothing is sent. In clear text only to this machine, or where it is
//! said in so many words.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use kavachos_core::time::Timestamp;
use kavachos_engine::mail::{AUTO_SUBMITTED, EmailAddress, Letter, MailSender, SendError};
use kavachos_store::BoxFuture;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Code;
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::MailError;

/// How long one step of the conversation may take.
const STEP: Duration = Duration::from_secs(20);
/// How many connections are kept to the server.
const CONNECTIONS: u32 = 8;
/// How long one is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// Replies that blame what we show, not the mail (RFC 4954, 6; RFC 3207, 4): an operator can mend that.
const NOT_ABOUT_THE_MAIL: [u16; 5] = [530, 532, 534, 535, 538];

/// How a connection to an SMTP server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// TLS from the first byte (port 465).
    #[default]
    Tls,
    /// TLS after STARTTLS, or nothing is sent (port 587).
    StartTls,
    /// Clear text, to this machine alone.
    Plain,
    /// Clear text to any machine: whoever stands between reads every link and every code.
    PlainAnywhere,
}

impl Security {
    const fn port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::Plain | Self::PlainAnywhere => 25,
        }
    }
}

/// An SMTP server that takes mail.
#[must_use]
pub struct Smtp {
    host: String,
    port: Option<u16>,
    security: Security,
    credentials: Option<Credentials>,
    authority: Option<Vec<u8>>,
}

impl Smtp {
    /// A server by its name, with TLS.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: None,
            security: Security::default(),
            credentials: None,
            authority: None,
        }
    }

    /// At this port; else at the usual one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Protected so.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// With a user and a password.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::new(user.into(), password.into()));
        self
    }

    /// Trusting the authorities in this PEM text besides the public ones.
    pub fn trusting(mut self, authority: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// What sends through it, introducing itself by this name.
    pub(super) fn sender(self, hello: &str) -> Result<SmtpSender, MailError> {
        let tls = match self.security {
            Security::Tls => Tls::Wrapper(self.tls()?),
            Security::StartTls => Tls::Required(self.tls()?),
            Security::Plain if !is_this_machine(&self.host) => {
                return Err(MailError::Smtp(format!(
                    "mail would go to `{}` in clear text: use `starttls` or `tls`",
                    self.host
                )));
            }
            Security::Plain | Security::PlainAnywhere => Tls::None,
        };
        let pool = PoolConfig::new().max_size(CONNECTIONS).idle_timeout(IDLE);
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host)
            .port(self.port.unwrap_or(self.security.port()))
            .tls(tls)
            .timeout(Some(STEP))
            .hello_name(ClientId::Domain(hello.to_owned()))
            .pool_config(pool);
        let builder = match self.credentials {
            Some(credentials) => builder.credentials(credentials),
            None => builder,
        };
        Ok(SmtpSender {
            transport: builder.build(),
        })
    }

    fn tls(&self) -> Result<TlsParameters, MailError> {
        let wrong = |error: Error| MailError::Smtp(format!("TLS to `{}`: {error}", self.host));
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(pem) = &self.authority {
            builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(wrong)?);
        }
        builder.build_rustls().map_err(wrong)
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Sends through one server, over connections that are kept.
pub(super) struct SmtpSender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl MailSender for SmtpSender {
    fn send(&self, letter: Letter) -> BoxFuture<'_, Result<(), SendError>> {
        Box::pin(async move {
            let message = message(&letter)?;
            let sent = self.transport.send(message).await;
            sent.map(drop).map_err(|error| judged(&error))
        })
    }
}

/// The message as it goes over the wire.
fn message(letter: &Letter) -> Result<Message, SendError> {
    let unfit = SendError::permanent("it cannot be written as a message");
    let mailbox = |name: Option<&str>, address: &EmailAddress| {
        let address = address.as_str().parse().map_err(|_| unfit)?;
        Ok::<_, SendError>(Mailbox::new(name.map(str::to_owned), address))
    };
    let (name, value) = AUTO_SUBMITTED;
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
    Message::builder()
        .from(mailbox(letter.from.name(), letter.from.address())?)
        .to(mailbox(None, &letter.to)?)
        .subject(&letter.subject)
        .date(system_time(letter.date))
        .message_id(Some(letter.message_id.clone()))
        .raw_header(automatic)
        .multipart(MultiPart::alternative_plain_html(
            letter.text.clone(),
            letter.html.clone(),
        ))
        .map_err(|_| unfit)
}

fn system_time(time: Timestamp) -> SystemTime {
    let micros = u64::try_from(time.as_micros()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

/// What an error means for the mail. The server's own words are left out: they quote the recipient.
fn judged(error: &Error) -> SendError {
    let status = error.status().map(number);
    let failed = if error.is_permanent() {
        match status {
            Some(status) if NOT_ABOUT_THE_MAIL.contains(&status) => {
                SendError::transient("the mail server refuses our credentials")
            }
            _ => SendError::permanent("the mail server refuses it"),
        }
    } else if error.is_transient() {
        SendError::transient("the mail server puts it off")
    } else if error.is_tls() {
        SendError::transient("the mail server cannot be trusted: TLS failed")
    } else if error.is_client() {
        SendError::transient("the mail server does not offer what is configured")
    } else if error.is_response() {
        SendError::transient("the mail server does not speak SMTP")
    } else {
        SendError::transient("the mail server cannot be reached")
    };
    match status {
        Some(status) => failed.with_status(status),
        None => failed,
    }
}

fn number(code: Code) -> u16 {
    let [severity, category, detail] = [
        code.severity as u16,
        code.category as u16,
        code.detail as u16,
    ];
    severity * 100 + category * 10 + detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_goes_to_this_machine_alone_unless_it_is_said_in_so_many_words() {
        let made = |host: &str, security| Smtp::new(host).security(security).sender("example.com");
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert!(made(host, Security::Plain).is_ok(), "{host}");
        }
        for host in ["smtp.example.com", "10.0.0.1", "localhost.example.com"] {
            assert!(made(host, Security::Plain).is_err(), "{host}");
            // The twin.
            assert!(made(host, Security::PlainAnywhere).is_ok(), "{host}");
        }
    }

    #[test]
    fn the_usual_port_is_that_of_the_protection() {
        let ports = [Security::Tls, Security::StartTls, Security::Plain].map(Security::port);
        assert_eq!(ports, [465, 587, 25]);
    }
}
