//! The other side: a closed loop over so many connections, in a process of its own, whose CPU time nobody counts.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::machine::quantile;
use crate::world::World;

/// What is asked for, and of whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) address: String,
    pub(crate) path: String,
    pub(crate) agents: u32,
    pub(crate) permissions: u32,
    pub(crate) pool: u32,
    pub(crate) requests: u32,
    pub(crate) connections: u32,
    pub(crate) seed: u64,
    /// Requests a second, each sent when its time comes; 0 sends the next one when the last is answered.
    pub(crate) rate: u32,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    pub(crate) median_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) allowed: u32,
}

/// In a process of its own: sends everything and prints the outcome.
pub(crate) fn run(order: &str) {
    let order: Order = serde_json::from_str(order).expect("an order");
    if order.rate > 0 {
        return print(&open_loop(&order));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    print(&runtime.block_on(load(&order)));
}

fn print(outcome: &Outcome) {
    println!("{}", serde_json::to_string(outcome).expect("text"));
}

/// A thread for each connection: their sleep is exact, that of tokio is not. A request that had to wait for the one
/// before it counts from when it should have been sent.
fn open_loop(order: &Order) -> Outcome {
    let requests = requests(order);
    let (connections, begun) = (order.connections as usize, Instant::now());
    let gap = 1.0 / f64::from(order.rate);
    let times = std::thread::scope(|scope| {
        let threads = (0..connections).map(|first| {
            let requests = &requests;
            let mut stream = std::net::TcpStream::connect(&order.address).expect("a connection");
            stream.set_nodelay(true).expect("a setting");
            scope.spawn(move || {
                let ours = requests.iter().enumerate().skip(first).step_by(connections);
                let timed = ours.map(|(at, request)| {
                    let due = begun + Duration::from_secs_f64(0.2 + gap * at as f64);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let allowed = exchange(&mut stream, request);
                    (due.elapsed(), allowed)
                });
                timed.collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        let times = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a thread"));
        times.collect::<Vec<_>>()
    });
    let allowed = times.iter().filter(|(_, allowed)| *allowed).count();
    let times = times.into_iter().map(|(time, _)| time).collect();
    Outcome::of(times, allowed as u32, begun)
}

fn exchange(stream: &mut std::net::TcpStream, request: &[u8]) -> bool {
    stream.write_all(request).expect("a write");
    let (mut answer, mut part) = (Vec::new(), [0; 4_096]);
    while !is_whole(&answer) {
        let read = stream.read(&mut part).expect("a read");
        assert_ne!(read, 0, "the server closed a connection");
        answer.extend_from_slice(&part[..read]);
    }
    is_allowed(&answer)
}

/// Whether the answer allows; it must be 200.
fn is_allowed(answer: &[u8]) -> bool {
    let text = str::from_utf8(answer).expect("text");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text.contains("\"allowed\":true")
}

impl Outcome {
    fn of(mut times: Vec<Duration>, allowed: u32, begun: Instant) -> Self {
        let seconds = begun.elapsed().as_secs_f64();
        times.sort();
        let micros = |part| quantile(&times, part).as_secs_f64() * 1e6;
        Self {
            seconds,
            median_us: micros(0.5),
            p99_us: micros(0.99),
            allowed,
        }
    }
}

async fn load(order: &Order) -> Outcome {
    let requests = Arc::new(requests(order));
    let next = Arc::new(AtomicU32::new(0));
    let mut streams = Vec::new();
    for _ in 0..order.connections {
        let stream = TcpStream::connect(&order.address)
            .await
            .expect("a connection");
        stream.set_nodelay(true).expect("a setting");
        streams.push(stream);
    }
    let begun = Instant::now();
    let connections: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(connection(stream, Arc::clone(&requests), Arc::clone(&next))))
        .collect();
    let (mut times, mut allowed) = (Vec::new(), 0);
    for connection in connections {
        let (ours, yes) = connection.await.expect("a connection");
        times.extend(ours);
        allowed += yes;
    }
    Outcome::of(times, allowed, begun)
}

/// Every request as it goes over the wire.
fn requests(order: &Order) -> Vec<Vec<u8>> {
    let world = World {
        agents: order.agents,
        permissions: order.permissions,
        pool: order.pool,
    };
    let asks = world.asks(order.requests, order.seed);
    let text = asks.into_iter().map(|ask| {
        let body = serde_json::json!({"action": ask.action, "resource": ask.resource}).to_string();
        format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kavachos-bench\r\nAccept: */*\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            order.path,
            order.address,
            World::key(ask.index).reveal(),
            body.len()
        )
        .into_bytes()
    });
    text.collect()
}

async fn connection(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicU32>,
) -> (Vec<Duration>, u32) {
    let (mut times, mut allowed) = (Vec::new(), 0);
    let mut answer = Vec::with_capacity(4_096);
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
        let begun = Instant::now();
        stream.write_all(request).await.expect("a write");
        answer.clear();
        while !is_whole(&answer) {
            let read = stream.read_buf(&mut answer).await.expect("a read");
            assert_ne!(read, 0, "the server closed a connection");
        }
        times.push(begun.elapsed());
        allowed += u32::from(is_allowed(&answer));
    }
    (times, allowed)
}

/// Whether an answer with a `Content-Length` is complete.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return false;
    };
    let head = str::from_utf8(&answer[..end]).expect("text");
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.expect("a length").1.parse().expect("a number");
    answer.len() >= end + 4 + length
}
