//! What the tests of the executors have in common.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use kavachos_core::id::AuditId;
use kavachos_core::ledger::{Actor, Blinding, Outcome, Record};
use kavachos_store::conformance::{self, Engine};
use kavachos_store::{Batch, Clock, Host, Observer, Rng};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Randomness that is always the same: only the log's name is made of it.
struct Sevens;

impl Rng for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// A process with this clock and this observer.
pub(crate) fn host(clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Host {
    Host {
        clock,
        rng: Arc::new(Sevens),
        observer,
    }
}

/// Runs every case on this engine, and names those that fail.
pub(crate) fn run_all(engine: &dyn Engine) {
    let cases = conformance::cases();
    assert!(cases.len() >= 40, "{}", cases.len());
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let run = std::panic::AssertUnwindSafe(|| block_on(case.run(engine)));
            match std::panic::catch_unwind(run) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{}: {error}", case.name)),
                Err(_) => Some(format!("{}: it panicked", case.name)),
            }
        })
        .collect();
    assert!(failed.is_empty(), "these failed: {failed:#?}");
}

/// A batch of one record with this id.
pub(crate) fn recorded(number: u128) -> Batch {
    let id = AuditId::from_bits(number);
    let random = Blinding {
        blind: [1; 16],
        salt: [2; 16],
    };
    let record = Record::new(id, "decision", Outcome::Allowed, "allowed", Actor::System);
    Batch {
        entries: vec![record.seal(random).unwrap()],
        ..Batch::default()
    }
}
