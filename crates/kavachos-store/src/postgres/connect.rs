//! The URL of a database, and connections to it with the settings that durability rests on, proven to be on.

use std::fmt::Write as _;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};

use super::error::{OpenError, reason};
use super::tls::Tls;

/// How long to wait for a server that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long a connection without a sign of life is given up.
const SILENCE: Duration = Duration::from_secs(10);
/// The oldest server that is tested.
const OLDEST: i64 = 150_000;

/// Without a bound on locks two processes can hold each other up for seconds; without the other a stalled writer would
/// hold its own locks for ever. What stands for a stronger commit stays.
const OF_WRITER: &str = "SET lock_timeout = '10ms'; SET idle_in_transaction_session_timeout = '5s'; \
    SET statement_timeout = 0; SET default_transaction_isolation = 'read committed'; \
    SET default_transaction_read_only = off; \
    SELECT set_config('synchronous_commit', \
        CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)";

/// A reader waits for no lock for long, and no query runs for ever.
const OF_READER: &str = "SET default_transaction_read_only = on; SET lock_timeout = '1s'; \
    SET idle_in_transaction_session_timeout = '5s'; SET statement_timeout = '30s'";

const FACTS: &str = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
    current_setting('server_encoding'), pg_is_in_recovery(), coalesce(current_schema()::text, ''), \
    pg_backend_pid()::bigint";

/// Which server, as whom, and how.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    tls: Option<Tls>,
    shown: String,
}

/// A connection, and what was found out about it.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) schema: String,
    pub(super) pid: i64,
}

impl Target {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (url, root) = Tls::split_url(url)?;
        let mut config: Config = url.parse().map_err(|error| OpenError::Url {
            reason: reason(&error),
        })?;
        if config.get_hosts().is_empty() {
            let reason = "it names no host".to_owned();
            return Err(OpenError::Url { reason });
        }
        if config.get_application_name().is_none() {
            config.application_name("kavach");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        config.keepalives_idle(SILENCE);
        let shown = shown(&config);
        let tls = choose_tls(&mut config, root.as_deref(), &shown)?;
        Ok(Self { config, tls, shown })
    }

    /// The connection that writes, once it is proven that it can be trusted with it.
    pub(super) async fn writer(&self) -> Result<Connected, OpenError> {
        let connected = self.checked().await?;
        connected.client.batch_execute(OF_WRITER).await?;
        verify(&connected.client).await?;
        Ok(connected)
    }

    /// A connection that only reads.
    pub(super) async fn reader(&self) -> Result<Connected, OpenError> {
        let connected = self.checked().await?;
        connected.client.batch_execute(OF_READER).await?;
        Ok(connected)
    }

    async fn checked(&self) -> Result<Connected, OpenError> {
        let client = self.connect().await?;
        let row = client.query_one(FACTS, &[]).await?;
        let (version, shown): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        if version < OLDEST {
            return Err(OpenError::TooOld { found: shown });
        }
        let encoding: String = row.try_get(2)?;
        if encoding != "UTF8" {
            return Err(OpenError::Encoding { found: encoding });
        }
        if row.try_get(3)? {
            return Err(OpenError::Replica);
        }
        let schema: String = row.try_get(4)?;
        if schema.is_empty() {
            return Err(OpenError::NoSchema);
        }
        Ok(Connected {
            client,
            schema,
            pid: row.try_get(5)?,
        })
    }

    /// The driver's task ends with the connection or with the runtime.
    async fn connect(&self) -> Result<Client, OpenError> {
        let refused =
            |error: tokio_postgres::Error| OpenError::connecting(&error, self.shown.as_str());
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(refused)?;
                drop(tokio::spawn(connection));
                Ok(client)
            }
            Some(tls) => {
                let (client, connection) =
                    self.config.connect(tls.clone()).await.map_err(refused)?;
                drop(tokio::spawn(connection));
                Ok(client)
            }
        }
    }
}

/// A connection that leaves this machine is encrypted unless the URL says otherwise; one that does not need not be.
fn choose_tls(
    config: &mut Config,
    root: Option<&str>,
    shown: &str,
) -> Result<Option<Tls>, OpenError> {
    let encrypt = match config.get_ssl_mode() {
        SslMode::Disable => false,
        SslMode::Prefer => root.is_some() || !config.get_hosts().iter().all(is_local),
        _ => true,
    };
    if !encrypt {
        config.ssl_mode(SslMode::Disable);
        return Ok(None);
    }
    config.ssl_mode(SslMode::Require);
    let tls = Tls::new(root).map_err(|reason| OpenError::Tls {
        target: shown.to_owned(),
        reason,
    })?;
    Ok(Some(tls))
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// The server without the password, for messages.
fn shown(config: &Config) -> String {
    let mut shown = "postgres://".to_owned();
    if let Some(user) = config.get_user() {
        shown.push_str(user);
        shown.push('@');
    }
    for (index, host) in config.get_hosts().iter().enumerate() {
        if index > 0 {
            shown.push(',');
        }
        match host {
            Host::Tcp(name) => shown.push_str(name),
            #[cfg(unix)]
            Host::Unix(path) => shown.push_str(&path.to_string_lossy()),
        }
        let ports = config.get_ports();
        if let Some(port) = ports.get(index).or_else(|| ports.first()) {
            // Writing into a String cannot fail.
            let _ = write!(shown, ":{port}");
        }
    }
    if let Some(name) = config.get_dbname() {
        shown.push('/');
        shown.push_str(name);
    }
    shown
}

/// Reads the settings back; anything weaker is refused.
async fn verify(client: &Client) -> Result<(), OpenError> {
    let settings: [(_, &[&str]); 3] = [
        // Without it a power cut loses or tears what was acknowledged.
        ("fsync", &["on"]),
        // Without it a crash in the midst of writing a page cannot be repaired.
        ("full_page_writes", &["on"]),
        // Without it COMMIT answers before the record is on disk.
        ("synchronous_commit", &["on", "remote_apply"]),
    ];
    for (setting, accepted) in settings {
        let row = client
            .query_one("SELECT current_setting($1::text)", &[&setting])
            .await?;
        let value: String = row.try_get(0)?;
        if !accepted.contains(&value.as_str()) {
            return Err(OpenError::Weak { setting, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let target = Target::parse("postgres://ada:secret@localhost:5433/kavach").unwrap();
        assert_eq!(target.shown, "postgres://ada@localhost:5433/kavach");
        for wrong in ["postgres://ada:secret@localhost:port/kavach", "ada:secret"] {
            let error = Target::parse(wrong).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_the_url_says_otherwise() {
        let encrypts = |url: &str| Target::parse(url).unwrap().tls.is_some();
        assert!(encrypts("postgres://db.example.com/kavach"));
        assert!(encrypts("postgres://db.example.com/kavach?sslmode=prefer"));
        assert!(encrypts("postgres://localhost/kavach?sslmode=require"));
        assert!(encrypts("postgres://localhost/kavach?sslmode=verify-full"));
        assert!(!encrypts(
            "postgres://db.example.com/kavach?sslmode=disable"
        ));
        for local in ["localhost", "127.0.0.1", "%2Frun%2Fpostgresql"] {
            assert!(!encrypts(&format!("postgres://{local}/kavach")), "{local}");
        }
    }
}
