//! A proxy on the loopback that cuts the connection of the first client to send COMMIT, when told to.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot set itself up has failed"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the proxy does with the next COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It passes everything on.
    Pass,
    /// It cuts both sides before the server has seen it.
    CutBefore,
    /// It hands it on and cuts the client; the server's side stays open, as when a cable is pulled.
    CutAfter,
    /// It hands it on, cuts the client, and lets nobody in any more.
    CutAfterAndStay,
    /// It lets nobody in.
    Closed,
}

pub(crate) struct Proxy {
    port: u16,
    plan: Arc<Mutex<Plan>>,
}

impl Proxy {
    /// A proxy in front of the server on this port.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Mutex::new(Plan::Pass));
        let current = Arc::clone(&plan);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if *current.lock().unwrap() != Plan::Closed {
                    let plan = Arc::clone(&current);
                    thread::spawn(move || serve(client, server, &plan));
                }
            }
        });
        Self { port, plan }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn plan(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }

    /// Whether the last plan was carried out.
    pub(crate) fn is_done(&self) -> bool {
        matches!(*self.plan.lock().unwrap(), Plan::Pass | Plan::Closed)
    }
}

fn serve(mut client: TcpStream, server: u16, plan: &Mutex<Plan>) {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
    let (mut from_server, mut to_client) =
        (server.try_clone().unwrap(), client.try_clone().unwrap());
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = Arc::clone(&cut);
    // Ends when either side does.
    let answers = thread::spawn(move || {
        let mut chunk = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from_server.read(&mut chunk) {
            if is_cut.load(Ordering::SeqCst) || to_client.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut chunk = vec![0; 1 << 20];
    while let Ok(read @ 1..) = client.read(&mut chunk) {
        let sent = &chunk[..read];
        let commits = sent.windows(7).any(|window| window == b"COMMIT\0");
        let now = *plan.lock().unwrap();
        if commits && now == Plan::CutBefore {
            *plan.lock().unwrap() = Plan::Pass;
            break;
        }
        // Before it is handed on: a server that answers at once is not heard either.
        let cuts = commits && matches!(now, Plan::CutAfter | Plan::CutAfterAndStay);
        cut.store(cuts, Ordering::SeqCst);
        if server.write_all(sent).is_err() {
            break;
        }
        if cuts {
            *plan.lock().unwrap() = match now {
                Plan::CutAfter => Plan::Pass,
                _ => Plan::Closed,
            };
            let _ = client.shutdown(Shutdown::Both);
            // The server sees no end of its connection until the server ends it.
            let _ = answers.join();
            let _ = std::io::copy(&mut server, &mut std::io::sink());
            return;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
