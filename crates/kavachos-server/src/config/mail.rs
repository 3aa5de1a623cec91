//! How mail is sent, as it is configured: one sender, and what that one needs.

use std::path::PathBuf;

use kavachos::mail::{ApiKey, Mailbox, Security};

use super::layer::Layers;
use super::problem::Problem;
use super::reading::Reading;
use super::value;

/// The language of readers of whom none is known.
pub(super) const LANGUAGE: &str = "en";
/// The largest port.
pub(super) const MAX_PORT: u64 = 65_535;

/// Who sends mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// Nobody.
    Off,
    /// The terminal of `kavach dev`.
    Console,
    /// An SMTP server.
    Smtp,
    /// Resend.
    Resend,
    /// SendGrid.
    SendGrid,
    /// Postmark.
    Postmark,
    /// Amazon SES.
    Ses,
}

/// Who may send mail, by name.
pub(super) const SENDERS: [(&str, Via); 7] = [
    ("off", Via::Off),
    ("console", Via::Console),
    ("smtp", Via::Smtp),
    ("resend", Via::Resend),
    ("sendgrid", Via::SendGrid),
    ("postmark", Via::Postmark),
    ("ses", Via::Ses),
];
/// How an SMTP connection is protected, by name.
pub(super) const SECURITIES: [(&str, Security); 4] = [
    ("tls", Security::Tls),
    ("starttls", Security::StartTls),
    ("plain", Security::Plain),
    ("plain_anywhere", Security::PlainAnywhere),
];

/// What is configured of mail.
#[derive(Clone)]
pub(crate) struct Mail {
    /// Who sends it, where that is said.
    pub(crate) via: Option<Via>,
    /// Whom it is from.
    pub(crate) from: Option<Mailbox>,
    /// Where templates are.
    pub(crate) templates: Option<PathBuf>,
    /// The language of readers of whom none is known.
    pub(crate) language: String,
    /// What is needed for SMTP.
    pub(crate) smtp: SmtpServer,
    /// What is needed for a service.
    pub(crate) service: MailService,
}

/// An SMTP server, as far as it is configured.
#[derive(Clone)]
pub(crate) struct SmtpServer {
    /// Its name.
    pub(crate) host: Option<String>,
    /// Its port, where it is not the usual one.
    pub(crate) port: Option<u16>,
    /// How the connection is protected.
    pub(crate) security: Security,
    /// Who we are there.
    pub(crate) user: Option<String>,
    /// How we show it.
    pub(crate) password: Option<String>,
    /// A file of authorities that are trusted besides the public ones.
    pub(crate) ca_file: Option<PathBuf>,
}

/// A service, as far as it is configured.
#[derive(Clone)]
pub(crate) struct MailService {
    /// Its key.
    pub(crate) key: Option<ApiKey>,
    /// Where it is, where that is not the usual place.
    pub(crate) url: Option<String>,
    /// The region of Amazon's.
    pub(crate) region: Option<String>,
    /// What names Amazon's key.
    pub(crate) key_id: Option<String>,
}

/// What is configured of mail.
pub(super) fn read(reading: &mut Reading<'_>) -> Mail {
    let secret = |text: &str| value::text(text);
    let mut port = 0;
    reading.count("mail.smtp_port", &mut port);
    Mail {
        via: reading.choice("mail.sender", &SENDERS),
        from: reading.value("mail.from", |text| {
            text.parse::<Mailbox>()
                .map_err(|error| error.message().to_owned())
        }),
        templates: reading
            .value("mail.templates", value::text)
            .map(PathBuf::from),
        language: reading
            .value("mail.language", |text| word(text, "-"))
            .unwrap_or_else(|| LANGUAGE.to_owned()),
        smtp: SmtpServer {
            host: reading.value("mail.smtp_host", |text| word(text, "-.:")),
            port: (port > 0).then_some(port),
            security: reading
                .choice("mail.smtp_security", &SECURITIES)
                .unwrap_or_default(),
            user: reading.value("mail.smtp_user", value::text),
            password: reading
                .secret("mail.smtp_password", secret)
                .map(|(text, _)| text),
            ca_file: reading
                .value("mail.smtp_ca_file", value::text)
                .map(PathBuf::from),
        },
        service: MailService {
            key: reading
                .secret("mail.api_key", secret)
                .map(|(text, _)| ApiKey::new(text)),
            url: reading
                .value("mail.api_url", value::url)
                .map(|url| url.to_string()),
            region: reading.value("mail.ses_region", |text| word(text, "-")),
            key_id: reading.value("mail.ses_access_key_id", |text| word(text, "")),
        },
    }
}

/// A text of letters, digits and these signs.
fn word(text: &str, signs: &str) -> Result<String, String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
    if text.is_empty() || !text.chars().all(is_fit) {
        return Err(
            "must be letters and digits, with hyphens and dots where they belong".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// What the sender lacks, but for settings that cannot be read.
pub(super) fn check(mail: &Mail, layers: &Layers, known: &[Problem]) -> Vec<Problem> {
    let Some(via) = mail.via else {
        return Vec::new();
    };
    let lacks = |(key, is_there): &(&str, bool)| {
        !is_there && !known.iter().any(|problem| problem.key == *key)
    };
    let lacking = needs(mail, via).into_iter().filter(lacks);
    lacking
        .map(|(key, _)| layers.conflict("mail.sender", format!("needs `{key}`")))
        .collect()
}

/// What a sender needs, and whether it is there.
fn needs(mail: &Mail, via: Via) -> Vec<(&'static str, bool)> {
    let from = ("mail.from", mail.from.is_some());
    let key = ("mail.api_key", mail.service.key.is_some());
    match via {
        Via::Off | Via::Console => Vec::new(),
        Via::Smtp => {
            let both = mail.smtp.user.is_some() == mail.smtp.password.is_some();
            let missing = match mail.smtp.user {
                Some(_) => "mail.smtp_password",
                None => "mail.smtp_user",
            };
            vec![
                from,
                ("mail.smtp_host", mail.smtp.host.is_some()),
                (missing, both),
            ]
        }
        Via::Resend | Via::SendGrid | Via::Postmark => vec![from, key],
        Via::Ses => vec![
            from,
            key,
            ("mail.ses_region", mail.service.region.is_some()),
            ("mail.ses_access_key_id", mail.service.key_id.is_some()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::environment;

    fn wrong(variables: &[(&str, &str)]) -> String {
        let config = Config::gather(&environment(variables), &[]);
        config
            .server()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_sender_says_what_it_needs() {
        let from = ("KAVACH_MAIL_FROM", "Example <auth@example.com>");
        for (sender, more, needed) in [
            ("smtp", &[][..], "mail.smtp_host"),
            (
                "smtp",
                &[("KAVACH_MAIL_SMTP_USER", "us")],
                "mail.smtp_password",
            ),
            (
                "smtp",
                &[("KAVACH_MAIL_SMTP_PASSWORD", "secret")],
                "mail.smtp_user",
            ),
            ("resend", &[], "mail.api_key"),
            (
                "ses",
                &[("KAVACH_MAIL_API_KEY", "secret")],
                "mail.ses_region",
            ),
        ] {
            let mut variables = vec![("KAVACH_MAIL_SENDER", sender), from];
            variables.extend(more);
            let said = wrong(&variables);
            assert!(
                said.contains(&format!("needs `{needed}`")),
                "{sender}: {said}"
            );
            assert!(!said.contains("secret"), "{said}");
        }
        assert!(wrong(&[("KAVACH_MAIL_SENDER", "smtp")]).contains("needs `mail.from`"));
        // The twins.
        let key = ("KAVACH_MAIL_API_KEY", "secret");
        for sender in ["resend", "sendgrid", "postmark"] {
            assert_eq!(wrong(&[("KAVACH_MAIL_SENDER", sender), from, key]), "");
        }
        let host = ("KAVACH_MAIL_SMTP_HOST", "smtp.example.com");
        assert_eq!(wrong(&[("KAVACH_MAIL_SENDER", "smtp"), from, host]), "");
        assert_eq!(wrong(&[("KAVACH_MAIL_SENDER", "console")]), "");
    }

    #[test]
    fn what_is_no_sender_is_said() {
        assert!(wrong(&[("KAVACH_MAIL_SENDER", "pigeon")]).contains("`pigeon` is not"));
        assert!(wrong(&[("KAVACH_MAIL_FROM", "nobody")]).contains("mail.from"));
        assert!(wrong(&[("KAVACH_MAIL_SMTP_PORT", "70000")]).contains("mail.smtp_port"));
    }
}
