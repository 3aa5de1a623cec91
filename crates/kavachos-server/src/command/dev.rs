//! `kavach dev`: a server for development, ready to use at once, and what to type next.

use kavachos::FeedAccess;
use kavachos_engine::Registration;

use super::Outcome;
use super::serve::configure_key;
use crate::config::{self, DEFAULT_URL, Environment, Listen, Via};
use crate::dev_key::{self, DevKey};
use crate::failure::Failure;
use crate::log;
use crate::master_key;
use crate::methods::Strictness;
use crate::output::Output;
use crate::server::Server;
use crate::tenant::{self, Missing};

pub(crate) async fn run(
    mut config: config::Server,
    environment: &Environment,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    if let Some(address) = config.listen.reachable() {
        return Err(Failure::Usage(format!(
            "others can reach {address}, and `dev` is for this machine alone: use `kavach serve`, or listen on 127.0.0.1"
        )));
    }
    // What is revoked here tells nobody anything: a verifier under development needs no key.
    config.settings.feed = FeedAccess::Everyone;
    config.settings.registration = Registration::Open;
    // There is no mail to verify an address by, and nobody else to guess a password.
    config.methods.strictness = Strictness::Development;
    // What would go to people is read here.
    config.mail.via.get_or_insert(Via::Console);
    // Databases of development come and go.
    config.checkpoint = None;
    log::start(&config.log);
    // Before anything is made: who cannot listen changes nothing.
    let server = Server::bind(&config).await?;
    tenant::find(&config.database, Missing::Create)?;
    master_key::ensure(&config)?;
    let kavach = tenant::of_server(&config, Missing::Create).await?;
    let prepared = async {
        configure_key(&kavach, &config).await?;
        dev_key::ensure(&kavach, &config.database).await
    };
    let key = match prepared.await {
        Ok(key) => key,
        Err(failure) => {
            kavach.close().await;
            return Err(failure);
        }
    };
    Welcome {
        config: &config,
        server: &server,
        key: &key,
        program: environment.program(),
    }
    .print(output);
    server.run(kavach).await?;
    Ok(Outcome::Done)
}

struct Welcome<'a> {
    config: &'a config::Server,
    server: &'a Server,
    key: &'a DevKey,
    program: String,
}

impl Welcome<'_> {
    fn print(&self, output: &mut Output) {
        for address in self.server.addresses() {
            output.line(&format!("listening on http://{address}"));
        }
        let path = self.key.path.display();
        output.line("");
        output.line(&format!("address       {}", self.url()));
        if !self.config.methods.on.is_empty() {
            output.line(&format!("people        {}/sign-up", self.url()));
        }
        output.line(&format!("database      {}", self.config.database));
        if self.key.is_new {
            output.line(&format!(
                "operator key  {} (also in {path}, mode 0600)",
                self.key.secret.reveal()
            ));
        } else {
            output.line(&format!(
                "operator key  {}... (in {path})",
                self.key.secret.display_prefix()
            ));
        }
        output.line("");
        output.line("For development on this machine only. Next, in another terminal of the same directory:");
        output.lines(self.steps());
    }

    fn url(&self) -> String {
        match (&self.config.listen, self.server.addresses().first()) {
            (Listen::Loopback, _) | (_, None) => DEFAULT_URL.to_owned(),
            (_, Some(address)) => format!("http://{address}"),
        }
    }

    /// What to type: each line works as it stands, in this order.
    fn steps(&self) -> Vec<String> {
        let kavach = &self.program;
        let mut lines = vec![String::new()];
        if let Some(export) = self.export() {
            lines.extend([export, String::new()]);
        }
        let step = |title: &str, commands: &[&str]| {
            let commands = commands.iter().map(|command| format!("{kavach} {command}"));
            std::iter::once(format!("# {title}"))
                .chain(commands)
                .chain([String::new()])
                .collect::<Vec<_>>()
        };
        lines.extend(step(
            "1. Ada owns an agent; one call is allowed, another is denied, with the reason",
            &[
                "agent create --owner-external demo:ada --name github-reader --allow 'read mcp:github:*'",
                "authorize --agent github-reader read mcp:github:repos",
                "authorize --agent github-reader execute mcp:deploy:production",
            ],
        ));
        lines.extend(step(
            "2. It hands part of that on; when it is stopped, so is what it gave",
            &[
                "agent create --owner-external demo:ada --name repo-scanner --allow 'read wiki:*'",
                "delegate --from github-reader --to repo-scanner --allow 'read mcp:github:repos' --reason 'weekly scan'",
                "authorize --agent repo-scanner read mcp:github:repos",
                "agent revoke github-reader",
                "authorize --agent repo-scanner read mcp:github:repos",
                "agent revoke repo-scanner",
            ],
        ));
        lines.extend(step("3. All of it is on record", &["audit query"]));
        lines
    }

    /// What the command line must be told first when the server is not where it looks by itself.
    fn export(&self) -> Option<String> {
        let here = config::Database::new("kavach.db").dev_key();
        let by_itself = self.url() == DEFAULT_URL && self.key.path == here;
        let quoted = self.key.path.display().to_string().replace('\'', r"'\''");
        (!by_itself).then(|| {
            format!(
                "export KAVACH_URL={} KAVACH_KEY_FILE='{quoted}'",
                self.url()
            )
        })
    }
}
