//! `kavach mail`: whether mail can be sent as it is configured.

use clap::{Args, Subcommand};
use kavachos::mail::{EmailAddress, Mail, MailKind};
use kavachos::store::{Clock, Rng};
use kavachos::{Invalid, SystemClock, SystemRng};
use kavachos_core::id::MailId;
use serde_json::json;

use super::Outcome;
use crate::config::Server;
use crate::failure::Failure;
use crate::mail::mailer;
use crate::output::{Form, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send one mail with the configured sender, past the queue, and say what came of it; exits with 1 if it was not sent
    Test(Test),
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// To whom
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    to: EmailAddress,
}

fn address(text: &str) -> Result<EmailAddress, String> {
    text.parse()
        .map_err(|error: Invalid| error.message().to_owned())
}

impl Command {
    /// Runs the command.
    pub(crate) async fn run(
        &self,
        config: Server,
        output: &mut Output,
    ) -> Result<Outcome, Failure> {
        let Self::Test(Test { to }) = self;
        let unfit = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
        let mailer = mailer(&config)?.ok_or_else(|| {
            Failure::Usage("no mail is sent here: say by whom with `mail.sender`".to_owned())
        })?;
        let mailing = mailer
            .mailing(config.loopback)
            .map_err(|error| unfit(&error))?;
        let mut random = [0; 10];
        SystemRng.fill(&mut random);
        let now = SystemClock.now();
        let mail = Mail::new(to.clone(), MailKind::Test);
        let site = config.issuer.to_string();
        let site = (site.trim_end_matches('/'), now);
        let letter = mailing
            .letter_of(MailId::new(now, random), &mail, site)
            .map_err(|error| unfit(&error))?;
        let sent = mailing.sender.send(letter).await;
        let problem = sent.err().map(|error| error.to_string());
        match (output.form(), &problem) {
            (Form::Json, _) => {
                output.data(&json!({ "sent": problem.is_none(), "problem": problem }));
            }
            (Form::Text, None) => output.line(&format!("sent to {}", to.as_str())),
            (Form::Text, Some(problem)) => output.line(&format!("not sent: {problem}")),
        }
        Ok(if problem.is_none() {
            Outcome::Done
        } else {
            Outcome::Refused
        })
    }
}
