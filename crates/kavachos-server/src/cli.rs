//! The command line: what can be typed, and which command it means.

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::client::Client;
use crate::command::signing_keys::{Keys, Root};
use crate::command::token::Token;
use crate::command::{self, Outcome};
use crate::config::{self, Config, Environment, Flag};
use crate::failure::Failure;
use crate::only::Only;
use crate::output::{Form, Output};
use crate::tenant;
use crate::transport::{http::Http, local::Local};

/// How wide help is, whatever the terminal.
const HELP_WIDTH: usize = 100;

/// What the help says about all commands; each paragraph is one line, which clap wraps.
const AFTER_HELP: &str = "\
A command about agents, approvals, delegations, users, sessions, keys, tokens, webhooks, resources, clients, connections, revocations, the audit trail or a whole tenant goes to a server \
(--url, or KAVACH_URL, else http://localhost:3000), or with --database straight to a database that no server holds.

The credential is never typed: it is read from KAVACH_KEY or from the file that KAVACH_KEY_FILE names. When neither is \
set and the server is the one at http://localhost:3000, the key that `kavach dev` keeps in `kavach.dev-key` beside the \
database (./kavach.db) is used.

`kavach serve --help` lists every setting.

Exit codes: 0 done, 1 refused or found bad (a denied `authorize`, too), 2 usage.";

/// How completions are put to use.
const COMPLETIONS: &str = "\
Examples:
  kavach completions bash > /etc/bash_completion.d/kavach
  kavach completions zsh > ~/.zfunc/_kavach
  kavach completions fish > ~/.config/fish/completions/kavach.fish";

/// An operating system for the authority of AI agents: who may act for whom, what, and on what record.
#[derive(Debug, Parser)]
#[command(name = "kavach", version, after_help = AFTER_HELP, term_width = HELP_WIDTH, subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The server to talk to [env: KAVACH_URL]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// The database, a file or `postgres://...`: a server's own, or the one that a command works on by itself [env: KAVACH_DATABASE, for servers]
    #[arg(long, global = true, value_name = "FILE")]
    database: Option<String>,
    /// The configuration file [env: KAVACH_CONFIG] [default: kavach.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<String>,
    /// Print the answer's JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print one member of the answer's `data`, as in `token`: a text as it is, anything else as JSON
    #[arg(long, global = true, value_name = "MEMBER")]
    only: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Host(HostCommand),
    #[command(flatten)]
    Api(ApiCommand),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
    /// Print a script that completes this command line in a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the help of every command
    #[command(hide = true)]
    Reference,
}

/// Commands that run or look after a server.
#[derive(Debug, Subcommand)]
enum HostCommand {
    /// Run a server for development on this machine, with a database and an operator key made on the first start
    Dev(Listening),
    /// Make a database and its first operator key
    Init,
    /// Run a server on an initialised database
    #[command(after_help = config::reference())]
    Serve(Listening),
    /// Check configuration, database, addresses, files and clock, and say what to do
    ///
    /// It knows the server's own migrations; a plugin's are in the binary that the plugin is compiled into.
    Doctor,
    /// Copy a database in a file, while a server runs on it or not
    Backup(command::backup::Backup),
    /// Put a backup in the place of the database, with nothing alive in it that was revoked since
    Restore(command::restore::Restore),
    /// Check and show the configuration, and what can be set
    #[command(subcommand)]
    Config(command::config::Command),
    /// Try out how mail is sent
    #[command(subcommand)]
    Mail(command::mail::Command),
    /// Show and apply the steps by which the database's schema grows
    #[command(subcommand)]
    Migrate(command::migrate::Migrate),
}

#[derive(Debug, Args)]
struct Listening {
    /// Addresses to listen on, separated by commas [env: KAVACH_LISTEN] [default: port 3000 of 127.0.0.1 and of ::1]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

/// Commands that ask the API.
#[derive(Debug, Subcommand)]
enum ApiCommand {
    /// Create, read, change and stop agents
    #[command(subcommand)]
    Agent(command::agent::Agent),
    /// Ask whether an agent may do something now; exits with 1 if not
    Authorize(command::authorize::Authorize),
    /// See, approve and deny what agents ask humans for
    #[command(subcommand)]
    Approval(command::approval::Approval),
    /// Give an agent part of a human's or another agent's authority, or make a token of one's own for a tool server
    Delegate(Box<command::delegate::Delegate>),
    /// Read and revoke delegations
    #[command(subcommand)]
    Delegation(command::delegate::Delegation),
    /// Create, read, change and stop humans
    #[command(subcommand)]
    User(command::user::User),
    /// Open, list and end sessions of humans
    #[command(subcommand)]
    Session(command::session::Session),
    /// Create, read and revoke operator keys, with which programs call the API (the keys that sign tokens: `keys`)
    #[command(subcommand)]
    Key(command::key::Key),
    /// Look at and replace the keys that this server signs with (operators' own keys: `key`)
    #[command(subcommand)]
    Keys(Keys),
    /// Look at a token, or verify it as a tool server does
    #[command(subcommand)]
    Token(Token),
    /// Make, test, change and delete addresses that are told of records
    #[command(subcommand)]
    Webhook(command::webhook::Webhook),
    /// Register, read, change and revoke tool servers
    #[command(subcommand)]
    Resource(command::resource::Resource),
    /// Register, read, change, revoke and deny OAuth clients
    #[command(subcommand)]
    Client(command::client::OAuthClient),
    /// See and end what humans let OAuth clients be
    #[command(subcommand)]
    Connection(command::connection::Connection),
    /// Read the record of everything that was decided and done
    #[command(subcommand)]
    Audit(command::audit::Audit),
    /// Write down what was revoked, to keep it beside backups
    #[command(subcommand)]
    Revocations(command::revocations::Revocations),
    /// Write the whole tenant down, to move it to another server or database
    Export(command::moving::Export),
    /// Fill an empty tenant with an exported one: all of it, or nothing
    Import(command::moving::Import),
    /// Follow the record: a line for each thing that is decided or done, as it happens
    Events(Box<command::events::Events>),
    /// Tell why something was, or would be, allowed or denied
    #[command(subcommand)]
    Explain(command::explain::Explain),
}

/// Runs what the process was asked to run.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may be reading any more.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let form = if cli.global.json {
        Form::Json
    } else {
        Form::Text
    };
    let only = cli.global.only.clone().map(Only::new);
    let mut output = Output::of_process(form).only(only);
    let code = match started(cli, &mut output) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Refused) => 1,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    };
    ExitCode::from(output.exit_code(code))
}

fn started(cli: Cli, output: &mut Output) -> Result<Outcome, Failure> {
    if cli.global.json && cli.global.only.is_some() {
        let message = "give `--json` for all of the answer or `--only` for a member, not both";
        return Err(Failure::Usage(message.to_owned()));
    }
    if !cli.command.answers() {
        output.refuse_only()?;
    }
    let environment = Environment::of_process();
    let listen = match &cli.command {
        Command::Host(HostCommand::Dev(listening) | HostCommand::Serve(listening)) => {
            listening.listen.clone()
        }
        _ => None,
    };
    let flags = cli.global.flags(listen);
    match cli.command {
        Command::Reference => {
            output.lines(reference());
            Ok(Outcome::Done)
        }
        Command::Openapi => {
            output.json(kavachos_http::openapi().trim_end().as_bytes());
            Ok(Outcome::Done)
        }
        Command::Completions { shell } => {
            output.own(&completions(shell));
            Ok(Outcome::Done)
        }
        Command::Host(HostCommand::Doctor) => block_on(
            Threads::One,
            command::doctor::run(&environment, &flags, output),
        ),
        Command::Host(HostCommand::Config(command)) => command.run(&environment, flags, output),
        Command::Host(_) if cli.global.url.is_some() => {
            let message = "this command is about a server of its own: leave `--url` out";
            Err(Failure::Usage(message.to_owned()))
        }
        Command::Host(HostCommand::Backup(command)) => {
            let config = loaded(&environment, &flags, output)?;
            command.run(&config.database(), output)
        }
        Command::Host(command) => {
            let config = loaded(&environment, &flags, output)?;
            host(&command, &config, &environment, output)
        }
        Command::Api(ApiCommand::Token(Token::Inspect(inspect))) => inspect.run(output),
        Command::Api(ApiCommand::Keys(Keys::Root(Root::New(new)))) => new.run(output),
        Command::Api(ApiCommand::Keys(Keys::Root(Root::Sign(sign)))) => sign.run(output),
        Command::Api(command) => {
            let config = loaded(&environment, &flags, output)?;
            block_on(Threads::One, ask(command, &cli.global, &config, output))
        }
    }
}

impl Command {
    /// Whether it prints what it did or found as an answer.
    fn answers(&self) -> bool {
        match self {
            Self::Host(HostCommand::Dev(_) | HostCommand::Serve(_)) => false,
            Self::Host(_) | Self::Api(_) => true,
            Self::Openapi | Self::Completions { .. } | Self::Reference => false,
        }
    }
}

impl Global {
    fn flags(&self, listen: Option<String>) -> Vec<(Flag, String)> {
        let given = [
            (Flag::Config, self.config.clone()),
            (Flag::Database, self.database.clone()),
            (Flag::Url, self.url.clone()),
            (Flag::Listen, listen),
        ];
        given
            .into_iter()
            .filter_map(|(flag, value)| Some((flag, value?)))
            .collect()
    }
}

fn loaded(
    environment: &Environment,
    flags: &[(Flag, String)],
    output: &mut Output,
) -> Result<Config, Failure> {
    let config = Config::load(environment, flags)?;
    for warning in &config.warnings {
        output.note(warning);
    }
    Ok(config)
}

fn host(
    command: &HostCommand,
    config: &Config,
    environment: &Environment,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let server = config.server()?;
    match command {
        HostCommand::Dev(_) => block_on(
            Threads::Many,
            command::dev::run(server, environment, output),
        ),
        HostCommand::Serve(_) => block_on(Threads::Many, command::serve::run(server, output)),
        HostCommand::Restore(command) => block_on(Threads::One, command.run(server, output)),
        HostCommand::Mail(command) => block_on(Threads::One, command.run(server, output)),
        HostCommand::Migrate(command) => block_on(Threads::One, command.run(server, output)),
        HostCommand::Init
        | HostCommand::Doctor
        | HostCommand::Backup(_)
        | HostCommand::Config(_) => block_on(Threads::One, command::init::run(server, output)),
    }
}

async fn ask(
    mut command: ApiCommand,
    global: &Global,
    config: &Config,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    if let ApiCommand::Token(token) = &mut command {
        let issuer = match global.database {
            Some(_) => config.server()?.issuer,
            None => config.client()?.url,
        };
        token.expect_issuer(&issuer);
    }
    if matches!(command, ApiCommand::Events(_)) && global.database.is_some() {
        let message = "nothing happens in a database that no server holds: leave `--database` out, or read what is on \
                       record with `kavach audit query`";
        return Err(Failure::Usage(message.to_owned()));
    }
    let client = match (&global.database, &global.url) {
        (Some(_), Some(_)) => {
            return Err(Failure::Usage(
                "give `--url` for a server or `--database` for a database, not both".to_owned(),
            ));
        }
        (Some(_), None) => Client::new(Local::new(tenant::of_command(&config.server()?).await?)),
        (None, _) => return ask_server(command, global, config.client()?, output).await,
    };
    let client = client.only(global.only.clone().map(Only::new));
    let outcome = answer(command, &client, output).await;
    client.close().await;
    outcome
}

/// Asks over HTTP, and says where the credential came from if the server does not know it.
async fn ask_server(
    command: ApiCommand,
    global: &Global,
    config: config::Client,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let from = config.key.as_ref().map(|key| key.from.clone());
    if from.is_some()
        && config.url.scheme_str() == Some("http")
        && !config::is_loopback(&config.url)
    {
        output.note("warning: the credential travels in clear text; use https");
    }
    let client = Client::new(Http::new(config)?).only(global.only.clone().map(Only::new));
    let outcome = answer(command, &client, output).await;
    if let Err(Failure::Refused(refusal)) = &outcome
        && refusal.code == "unauthenticated"
    {
        output.note(&match from {
            Some(from) => format!("the credential came from {from}"),
            None => "no credential was found: set KAVACH_KEY, or KAVACH_KEY_FILE to a file that holds it".to_owned(),
        });
    }
    outcome
}

async fn answer(
    command: ApiCommand,
    client: &Client,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    match command {
        ApiCommand::Agent(command) => command.run(client, output).await,
        ApiCommand::Authorize(command) => command.run(client, output).await,
        ApiCommand::Approval(command) => command.run(client, output).await,
        ApiCommand::Delegate(command) => command.run(client, output).await,
        ApiCommand::Delegation(command) => command.run(client, output).await,
        ApiCommand::User(command) => command.run(client, output).await,
        ApiCommand::Session(command) => command.run(client, output).await,
        ApiCommand::Key(command) => command.run(client, output).await,
        ApiCommand::Keys(command) => command.run(client, output).await,
        ApiCommand::Token(command) => command.run(client, output).await,
        ApiCommand::Webhook(command) => command.run(client, output).await,
        ApiCommand::Resource(command) => command.run(client, output).await,
        ApiCommand::Client(command) => command.run(client, output).await,
        ApiCommand::Connection(command) => command.run(client, output).await,
        ApiCommand::Audit(command) => command.run(client, output).await,
        ApiCommand::Revocations(command) => command.run(client, output).await,
        ApiCommand::Export(command) => command.run(client, output).await,
        ApiCommand::Import(command) => command.run(client, output).await,
        ApiCommand::Events(command) => command.run(client, output).await,
        ApiCommand::Explain(command) => command.run(client, output).await,
    }
}

/// How many threads a command gets: a server all, a question one.
#[derive(Debug, Clone, Copy)]
enum Threads {
    One,
    Many,
}

fn block_on(
    threads: Threads,
    future: impl Future<Output = Result<Outcome, Failure>>,
) -> Result<Outcome, Failure> {
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::Server(format!("the process gets no threads: {error}")))?;
    runtime.block_on(future)
}

/// The script for a shell, without the end of its last line.
fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kavach", &mut script);
    script.truncate(script.trim_ascii_end().len());
    script
}

/// The help of every command, in the order of the commands.
fn reference() -> Vec<String> {
    let mut root = Cli::command();
    root.build();
    let mut out = Vec::new();
    describe(&root, &mut out);
    out
}

fn describe(command: &clap::Command, out: &mut Vec<String>) {
    let title = command.get_bin_name().unwrap_or("kavach").to_owned();
    out.push(format!("## {title}"));
    out.push(String::new());
    let help = command.clone().render_long_help().to_string();
    out.extend(help.lines().map(|line| line.trim_end().to_owned()));
    out.push(String::new());
    for inner in command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
    {
        describe(inner, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
