//! Strangers hold no server for ever: there are only so many connections, and an idle one is given up.
//!
//! Each control has its twin: under the same load, with the limit out of the way, the result turns round. What must
//! not happen is waited for [`PATIENCE`]; in the twins it would take [`FOREVER`].

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Place, Server};

/// Longer than any test runs, in seconds.
const FOREVER: u32 = 80_000;
/// How long a test waits for what must not come.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a test waits for what must come: less than the half minute after which hyper itself gives an idle one up.
const LIMIT: Duration = Duration::from_secs(20);
/// More requests than there is room for answers that nobody reads.
const UNREAD: usize = 20_000;

/// A server with so many connections, each idle for so many seconds at the most.
fn serving(connections: u32, idle_seconds: u32) -> (Place, Server) {
    let mut place = Place::new();
    place.init();
    place.set("KAVACH_CONNECTIONS_MAX", connections);
    place.set("KAVACH_CONNECTIONS_IDLE_SECONDS", idle_seconds);
    let server = place.start("serve");
    (place, server)
}

/// A connection over which a request was answered and which is kept.
fn kept(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    assert!(is_answered(&mut stream, LIMIT));
    stream
}

/// A new connection on which a request was sent.
fn waiting(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    send(&mut stream);
    stream
}

fn send(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
}

fn is_answered(stream: &mut TcpStream, within: Duration) -> bool {
    send(stream);
    has_answer(stream, within)
}

fn has_answer(stream: &mut TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    let mut answer = [0; 12];
    match stream.read_exact(&mut answer) {
        Ok(()) => answer == *b"HTTP/1.1 200",
        Err(error) if is_timeout(error.kind()) => false,
        Err(error) => panic!("the connection broke: {error}"),
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[test]
fn a_connection_too_many_waits_until_another_one_ends() {
    let (_place, server) = serving(2, FOREVER);
    let (first, _second) = (kept(&server), kept(&server));
    let mut third = waiting(&server);
    assert!(!has_answer(&mut third, PATIENCE));
    drop(first);
    assert!(has_answer(&mut third, LIMIT));
}

#[test]
fn twin_with_room_for_one_more_it_does_not_wait() {
    let (_place, server) = serving(3, FOREVER);
    let _others = (kept(&server), kept(&server));
    assert!(has_answer(&mut waiting(&server), LIMIT));
}

/// Connections that hold their place: before the head of a request, in the midst of it, and between two requests.
fn idlers(server: &Server) -> Vec<TcpStream> {
    let silent = TcpStream::connect(server.address()).unwrap();
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(b"GET /healthz HT").unwrap();
    vec![kept(server), silent, slow]
}

#[test]
fn idle_connections_are_given_up_for_those_that_wait() {
    let (_place, server) = serving(3, 1);
    let _idlers = idlers(&server);
    assert!(has_answer(&mut waiting(&server), LIMIT));
}

#[test]
fn twin_without_an_idle_time_they_hold_the_server() {
    let (_place, server) = serving(3, FOREVER);
    let _idlers = idlers(&server);
    assert!(!has_answer(&mut waiting(&server), PATIENCE));
}

/// A stranger who sends requests and reads no answer, so that the server has to wait with them.
fn deaf(server: &Server) -> TcpStream {
    let mut stream = kept(server);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let requests = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(UNREAD);
    // It ends early when the server has given this one up, or when there is no room for more requests either.
    let _ = stream.write_all(&requests);
    stream
}

#[test]
fn a_client_that_reads_no_answer_is_given_up() {
    let (_place, server) = serving(1, 1);
    let _deaf = deaf(&server);
    assert!(has_answer(&mut waiting(&server), LIMIT));
}

#[test]
fn twin_without_an_idle_time_it_holds_the_server() {
    let (_place, server) = serving(1, FOREVER);
    let _deaf = deaf(&server);
    assert!(!has_answer(&mut waiting(&server), PATIENCE));
}
