//! Forward-auth behind a real nginx and a real Caddy, with the configurations of the documentation.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use kavachos_core::token::Code;
use kavachos_test::{Call, Client, Server, may};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::forward_auth::World;

/// How often, and how long each time, nginx is waited for.
const POLLS: usize = 500;
const POLL: Duration = Duration::from_millis(20);
/// How often a proxy is started.
const TRIES: usize = 5;

/// A running proxy; ends with the value.
struct Proxy {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Proxy {
    /// nginx with this site; `None` where it is not installed.
    fn nginx(site: &str) -> Option<Self> {
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths: String = paths
            .map(|path| format!("{path}_temp_path {path};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{paths}\n{site}\n}}\n"
        );
        Self::start(&config, |file, directory| {
            let mut command = Command::new("nginx");
            command.arg("-p").arg(directory).arg("-c").arg(file);
            command
        })
    }

    /// Caddy with this site; `None` where it is not installed.
    fn caddy(site: &str) -> Option<Self> {
        let config = format!("{{\nadmin off\n}}\n{site}");
        Self::start(&config, |file, directory| {
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]);
            command.arg(file).env("HOME", directory);
            command
        })
    }

    fn start(config: &str, command: impl Fn(&Path, &Path) -> Command) -> Option<Self> {
        // A port that was free a moment ago may be another test's by now.
        for _ in 0..TRIES {
            let directory = TempDir::new().unwrap();
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let file = directory.path().join("configuration");
            let config = config.replace("127.0.0.1:8000", &address.to_string());
            std::fs::write(&file, config).unwrap();
            let mut command = command(&file, directory.path());
            let mut proxy = Self {
                child: command.stderr(Stdio::null()).spawn().ok()?,
                address,
                _directory: directory,
            };
            for _ in 0..POLLS {
                std::thread::sleep(POLL);
                if proxy.child.try_wait().unwrap().is_some() {
                    break;
                }
                if TcpStream::connect(address).is_ok() {
                    return Some(proxy);
                }
            }
        }
        panic!("the proxy does not listen");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A tool that answers with what reached it.
async fn tool() -> Server {
    let echo = async |request: Request| {
        let text = |name: &str| {
            let values: Vec<_> = request.headers().get_all(name).iter().collect();
            let values = values.iter().map(|value| value.to_str().unwrap_or("?"));
            Value::from(values.collect::<Vec<_>>().join("|"))
        };
        let reached = json!({
            "uri": request.uri().to_string(), "agent": text("kavach-agent"), "user": text("kavach-user"),
            "audit": text("kavach-audit"), "assertion": text("kavach-assertion"), "authorization": text("authorization"), "key": text("kavach-proxy-key"),
        });
        reached.to_string()
    };
    Server::serving(Router::new().fallback(echo)).await
}

fn skipped(proxy: &str) {
    let line = format!(
        "\nskipped: {proxy}: it is not installed, so forward-auth was not tried behind it\n"
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_lets_through_what_is_allowed_and_nothing_else() {
    // A client of the tests calls an address, not a name.
    let named = |site: &str| site.replace("$host", "api.example.com");
    let site = include_str!("../../../../docs/nginx.conf");
    let Some(case) = Case::new(&named(site), Proxy::nginx).await else {
        return skipped("nginx");
    };
    case.lets_through_what_is_allowed_and_nothing_else().await;
    // Nobody but nginx itself gets there.
    case.agent().get("/kavach").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_lets_through_what_is_allowed_and_nothing_else() {
    let uri = "uri /api/v1/forward-auth";
    let named = |site: &str| {
        site.replace(
            uri,
            &format!("{uri}\nheader_up X-Forwarded-Host api.example.com"),
        )
    };
    let site = include_str!("../../../../docs/Caddyfile");
    let Some(case) = Case::new(&named(site), Proxy::caddy).await else {
        return skipped("Caddy");
    };
    case.lets_through_what_is_allowed_and_nothing_else().await;
}

/// A tool behind a proxy that asks KavachOS.
struct Case {
    world: World,
    client: Client,
    _proxy: Proxy,
    _tool: Server,
}

impl Case {
    async fn new(site: &str, start: impl FnOnce(&str) -> Option<Proxy>) -> Option<Self> {
        let world = World::with(may(&["get"], "http:api.example.com:public:*")).await;
        let tool = tool().await;
        let site = site
            .replace("127.0.0.1:3000", &world.app.client().address().to_string())
            .replace("127.0.0.1:8080", &tool.address().to_string())
            .replace("kv_res_...", &world.proxy);
        let proxy = start(&site)?;
        Some(Self {
            client: Client::new(proxy.address),
            world,
            _proxy: proxy,
            _tool: tool,
        })
    }

    fn agent(&self) -> Call {
        self.client.call(&self.world.agent.key)
    }

    async fn lets_through_what_is_allowed_and_nothing_else(&self) {
        self.lets_through_what_is_allowed().await;
        self.refuses_what_is_not().await;
        self.ignores_what_a_client_says_for_the_proxy().await;
        let allowed = self.world.app.audit("outcome=allowed&kind=decision").await;
        assert_eq!(allowed.len(), 6);
        assert!(allowed.iter().all(|record| record["ip"] == "127.0.0.1"));
    }

    async fn lets_through_what_is_allowed(&self) {
        let world = &self.world;
        let reply = self.agent().get("/public/a?q=1").await.expect(200);
        assert_eq!(reply.at("/uri"), "/public/a?q=1");
        assert_eq!(reply.at("/agent"), world.agent.id.as_str());
        assert_eq!(reply.at("/user"), world.user.as_str());
        let said = reply.text_at("/assertion");
        let called = ("GET", "api.example.com", "/public/a?q=1");
        let said_of = async |called| world.checked(said, called).await;
        let behind = said_of(called).await.unwrap();
        assert_eq!(behind.agent.to_string(), world.agent.id);
        // Handed to another call it is worth nothing.
        let other = said_of(("GET", "api.example.com", "/public/b")).await;
        assert_eq!(other, Err(Code::ProofInvalid));
        assert_eq!(
            (reply.at("/authorization"), reply.at("/key")),
            (&json!(""), &json!(""))
        );
        let record = world.app.audit("kind=decision").await.remove(0);
        assert_eq!(
            (&record["outcome"], &record["id"]),
            (&json!("allowed"), reply.at("/audit"))
        );
        self.agent().get("/public/%61").await.expect(200);
    }

    async fn refuses_what_is_not(&self) {
        for path in [
            "/admin",
            "/public/..%2fadmin",
            "/public/%2e%2e/admin",
            "/public/../admin",
            "/public/%252e%252e/admin",
            "/public%5c..%5cadmin",
        ] {
            self.agent().get(path).await.expect(403);
        }
        let write = json!({ "x": 1 });
        self.agent().post("/public/a", write).await.expect(403);
        for stranger in [self.client.anonymous(), self.client.call("kv_agent_x")] {
            stranger.get("/public/a").await.expect(401);
        }
        for (name, value) in [
            ("Kavach-Agent", "agent_01h455vb4pex5vsknk084sn02q"),
            ("Kavach-User", "user_01h455vb4pex5vsknk084sn02q"),
            ("Kavach-Assertion", "eyJ0eXAiOiJrdnArand0In0.e30.AAAA"),
            ("X-HTTP-Method-Override", "DELETE"),
        ] {
            let call = self.agent().header(name, value);
            call.get("/public/a").await.expect(403);
        }
    }

    /// What a proxy sets itself, a client sets in vain.
    async fn ignores_what_a_client_says_for_the_proxy(&self) {
        for (name, value) in [
            ("Kavach-Proxy-Key", "kv_res_x"),
            ("X-Forwarded-Uri", "/public/a"),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-For", "192.0.2.7"),
        ] {
            let call = || self.agent().header(name, value);
            call().get("/admin").await.expect(403);
            call().get("/public/a").await.expect(200);
        }
    }
}
