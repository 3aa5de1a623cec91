//! The sender of mail that is configured, and the one of `kavach dev`, which prints it.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use kavachos::mail::{
    HttpApi, Letter, MailSender, Mailbox, Mailer, SendError, Sender, Service, Smtp, templates_in,
};
use kavachos::store::BoxFuture;

use crate::config::{self, Via};
use crate::escape::shown;
use crate::failure::Failure;

/// Whom mail is from that nobody sends.
const CONSOLE_FROM: &str = "KavachOS <kavachos@localhost>";
/// The largest file of authorities that is read.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// How mail is sent; `None` where none is.
pub(crate) fn mailer(config: &config::Server) -> Result<Option<Mailer>, Failure> {
    let mail = &config.mail;
    let Some(sender) = sender(mail)? else {
        return Ok(None);
    };
    let from = match &mail.from {
        Some(from) => from.clone(),
        None => console_from()?,
    };
    let mailer = Mailer::new(from, sender);
    let Some(directory) = &mail.templates else {
        return Ok(Some(mailer));
    };
    let templates = templates_in(directory, &mail.language)
        .map_err(|error| Failure::Usage(format!("`mail.templates`: {error}")))?;
    Ok(Some(mailer.templates(templates)))
}

fn sender(mail: &config::Mail) -> Result<Option<Sender>, Failure> {
    let (key, key_id) = (mail.service.key.clone(), mail.service.key_id.clone());
    let service = match (mail.via, key) {
        (None | Some(Via::Off), _) => return Ok(None),
        (Some(Via::Console), _) => return Ok(Some(Sender::Own(Arc::new(Console)))),
        (Some(Via::Smtp), _) => return smtp(&mail.smtp).map(|smtp| Some(smtp.into())),
        (Some(Via::Resend), Some(key)) => Service::Resend(key),
        (Some(Via::SendGrid), Some(key)) => Service::SendGrid(key),
        (Some(Via::Postmark), Some(key)) => Service::Postmark(key),
        (Some(Via::Ses), Some(secret)) => Service::Ses {
            region: mail.service.region.clone().unwrap_or_default(),
            access_key_id: key_id.unwrap_or_default(),
            secret,
        },
        (Some(_), None) => return Err(lacks("mail.api_key")),
    };
    let api = HttpApi::new(service);
    let api = match &mail.service.url {
        Some(url) => api.at(url.as_str()),
        None => api,
    };
    Ok(Some(api.into()))
}

fn smtp(server: &config::SmtpServer) -> Result<Smtp, Failure> {
    let host = server
        .host
        .as_deref()
        .ok_or_else(|| lacks("mail.smtp_host"))?;
    let mut smtp = Smtp::new(host).security(server.security);
    if let Some(port) = server.port {
        smtp = smtp.port(port);
    }
    if let (Some(user), Some(password)) = (&server.user, &server.password) {
        smtp = smtp.credentials(user.as_str(), password.as_str());
    }
    if let Some(path) = &server.ca_file {
        let failed = |error: &io::Error| Failure::file("read", path, error);
        let size = fs::metadata(path).map_err(|error| failed(&error))?.len();
        if size > MAX_PEM_BYTES {
            return Err(failed(&io::Error::other("it is too large")));
        }
        smtp = smtp.trusting(fs::read(path).map_err(|error| failed(&error))?);
    }
    Ok(smtp)
}

/// The configuration was checked, so this is never said.
fn lacks(key: &str) -> Failure {
    Failure::Usage(format!("`mail.sender` needs `{key}`"))
}

fn console_from() -> Result<Mailbox, Failure> {
    let from = CONSOLE_FROM.parse::<Mailbox>();
    from.map_err(|error| Failure::Usage(error.message().to_owned()))
}

/// Prints mail, as text, where `kavach dev` runs.
struct Console;

impl MailSender for Console {
    fn send(&self, letter: Letter) -> BoxFuture<'_, Result<(), SendError>> {
        let printed = io::stdout().lock().write_all(page(&letter).as_bytes());
        let printed = printed.map_err(|_| SendError::permanent("nobody reads what is printed"));
        Box::pin(std::future::ready(printed))
    }
}

/// A mail between two lines, in which nothing acts on a terminal.
fn page(letter: &Letter) -> String {
    let from = match letter.from.name() {
        Some(name) => format!("{name} <{}>", letter.from.address().as_str()),
        None => letter.from.address().as_str().to_owned(),
    };
    let head = [
        format!("From: {from}"),
        format!("To: {}", letter.to.as_str()),
        format!("Subject: {}", letter.subject),
        String::new(),
    ];
    let mut page = String::from("\n┌─ mail ─────────────────────────────────────────────\n");
    for line in head.iter().map(String::as_str).chain(letter.text.lines()) {
        page.push_str(format!("│ {}", shown(line)).trim_end());
        page.push('\n');
    }
    page.push_str("└────────────────────────────────────────────────────\n");
    page
}

#[cfg(test)]
mod tests {
    use kavachos::Loopback;
    use kavachos::mail::{Mail, MailKind};
    use kavachos_core::id::MailId;
    use kavachos_core::time::Timestamp;

    use super::*;

    #[test]
    fn a_printed_mail_can_be_read_and_acts_on_no_terminal() {
        let sender = Sender::Own(Arc::new(Console));
        let mailer = Mailer::new(console_from().unwrap(), sender);
        let mailing = mailer.mailing(Loopback::Refused).unwrap();
        let mail = Mail::new("ada@example.com".parse().unwrap(), MailKind::EmailOtp)
            .with("code", "739142")
            .with("name", "\u{1b}[31mred\u{9b}2J");
        let site = ("http://localhost:3000", Timestamp::MIN);
        let letter = mailing
            .letter_of(MailId::from_bits(1), &mail, site)
            .unwrap();
        let page = page(&letter);
        for line in [
            "│ To: ada@example.com\n",
            "│ Subject: Your code for KavachOS\n",
            "│     739142\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
        assert!(
            !page.chars().any(|c| c.is_control() && c != '\n'),
            "{page:?}"
        );
    }
}
