//! Forward-auth behind a real nginx, with the configuration of the documentation.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use kavachos_test::{Client, Server, may};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::forward_auth::World;

/// How often, and how long each time, nginx is waited for.
const POLLS: usize = 500;
const POLL: Duration = Duration::from_millis(20);

/// A running nginx; ends with the value.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Nginx {
    /// Starts it; `None` where it is not installed.
    fn start(site: &str) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let site = site.replace("127.0.0.1:8000", &address.to_string());
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths: String = paths
            .map(|path| format!("{path}_temp_path {path};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{paths}\n{site}\n}}\n"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let nginx = Self {
            child,
            address,
            _directory: directory,
        };
        for _ in 0..POLLS {
            if TcpStream::connect(address).is_ok() {
                return Some(nginx);
            }
            std::thread::sleep(POLL);
        }
        panic!("nginx does not listen");
    }
}

impl Drop for Nginx {
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
            "audit": text("kavach-audit"), "authorization": text("authorization"), "key": text("kavach-proxy-key"),
        });
        reached.to_string()
    };
    Server::serving(Router::new().fallback(echo)).await
}

fn skipped() {
    let line = b"\nskipped: nginx: it is not installed, so forward-auth was not tried behind it\n";
    std::io::stderr().write_all(line).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_lets_through_what_is_allowed_and_nothing_else() {
    let world = World::with(may(&["get"], "http:api.example.com:public:*")).await;
    let kavach = world.app.client();
    let tool = tool().await;
    let site = include_str!("../../../../docs/nginx.conf")
        .replace("127.0.0.1:3000", &kavach.address().to_string())
        .replace("127.0.0.1:8080", &tool.address().to_string())
        .replace("kv_res_...", &world.proxy)
        // A client of the tests calls an address, not a name.
        .replace("$host", "api.example.com");
    let Some(nginx) = Nginx::start(&site) else {
        return skipped();
    };
    let client = Client::new(nginx.address);
    let agent = || client.call(&world.agent.key);

    let reply = agent().get("/public/a?q=1").await.expect(200);
    assert_eq!(reply.at("/uri"), "/public/a?q=1");
    assert_eq!(reply.at("/agent"), world.agent.id.as_str());
    assert_eq!(reply.at("/user"), world.user.as_str());
    assert_eq!(
        (reply.at("/authorization"), reply.at("/key")),
        (&json!(""), &json!(""))
    );
    let record = world.app.audit("kind=decision").await.remove(0);
    assert_eq!(
        (&record["outcome"], &record["id"]),
        (&json!("allowed"), reply.at("/audit"))
    );
    assert_eq!(record["ip"], "127.0.0.1");

    for (status, path) in [
        (403, "/admin"),
        (403, "/public/..%2fadmin"),
        (403, "/public/%2e%2e/admin"),
        (403, "/public/../admin"),
        (403, "/public/%252e%252e/admin"),
        (403, "/public%5c..%5cadmin"),
        (200, "/public/%61"),
        // Nobody but nginx itself gets there.
        (404, "/kavach"),
    ] {
        agent().get(path).await.expect(status);
    }
    agent()
        .post("/public/a", json!({ "x": 1 }))
        .await
        .expect(403);
    client.anonymous().get("/public/a").await.expect(401);
    client.call("kv_agent_x").get("/public/a").await.expect(401);
    for (name, value) in [
        ("Kavach-Agent", "agent_01h455vb4pex5vsknk084sn02q"),
        ("Kavach-User", "user_01h455vb4pex5vsknk084sn02q"),
        ("X-HTTP-Method-Override", "DELETE"),
    ] {
        let reply = agent().header(name, value).get("/public/a").await;
        reply.expect(403);
    }
    // What nginx sets itself, a client sets in vain.
    for (name, value) in [
        ("Kavach-Proxy-Key", "kv_res_x"),
        ("X-Forwarded-Uri", "/public/a"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-For", "192.0.2.7"),
    ] {
        agent().header(name, value).get("/admin").await.expect(403);
        agent()
            .header(name, value)
            .get("/public/a")
            .await
            .expect(200);
    }
    let records = world.app.audit("outcome=allowed&kind=decision").await;
    assert_eq!(records.len(), 6);
    assert!(records.iter().all(|record| record["ip"] == "127.0.0.1"));
}
