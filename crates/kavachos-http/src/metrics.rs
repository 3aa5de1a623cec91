//! What `/metrics` tells: counts of answers and decisions, and where the ledger stands. No names, no ids.

use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use kavachos_engine::{Decision, Engine};
use kavachos_store::Health;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

/// What is counted of mail: its name, and what it means.
const MAILS: [(&str, &str); 3] = [
    ("mails_sent", "Mails that somebody else has taken charge of"),
    (
        "mails_put_off",
        "Attempts to send a mail that failed and are repeated",
    ),
    ("mails_given_up", "Mails that were given up, on record"),
];

/// The counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    answers: Family<Answer, Counter>,
    decisions: Family<Code, Counter>,
    ledger: Gauge,
    revocations: Gauge,
    ready: Gauge,
    untold: Counter,
    mails: [Counter; 3],
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("kavach");
        let (answers, decisions) = (Family::default(), Family::default());
        let (ledger, revocations, ready) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("http_responses", "HTTP responses", answers.clone());
        registry.register("decisions", "Decisions by code", decisions.clone());
        registry.register("ledger_records", "Records in the ledger", ledger.clone());
        registry.register(
            "revocations",
            "Records in the revocation log",
            revocations.clone(),
        );
        let untold = Counter::default();
        registry.register(
            "hook_observations_dropped",
            "What observing hooks were not told because they were too far behind",
            untold.clone(),
        );
        let mails = <[Counter; 3]>::default();
        for (counter, (name, help)) in mails.iter().zip(MAILS) {
            registry.register(name, help, counter.clone());
        }
        registry.register("ready", "1 when changes can be committed", ready.clone());
        Self {
            registry,
            answers,
            decisions,
            ledger,
            revocations,
            ready,
            untold,
            mails,
        }
    }

    pub(crate) fn answered(&self, method: &Method, route: String, status: StatusCode) {
        // A method that no route knows is a client's invention; naming each would let it fill the memory.
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            Method::HEAD => "HEAD",
            Method::OPTIONS => "OPTIONS",
            Method::PUT => "PUT",
            _ => "other",
        };
        let labels = Answer {
            method,
            route,
            status: status.as_u16(),
        };
        self.answers.get_or_create(&labels).inc();
    }

    pub(crate) fn decided(&self, decision: &Decision) {
        self.decisions
            .get_or_create(&Code {
                code: decision.code.as_str(),
            })
            .inc();
    }

    /// The text form (OpenMetrics 1.0).
    pub(crate) fn render(&self, engine: &Engine) -> String {
        let head = engine.head();
        self.ledger
            .set(i64::try_from(head.size).unwrap_or(i64::MAX));
        self.revocations
            .set(i64::try_from(head.revocation.rseq).unwrap_or(i64::MAX));
        self.ready.set(i64::from(engine.health() == Health::Ready));
        let untold = engine.observations_dropped();
        self.untold.inner().store(untold, Ordering::Relaxed);
        let mails = engine.mail_counts();
        let counts = [mails.sent, mails.put_off, mails.given_up];
        for (counter, count) in self.mails.iter().zip(counts) {
            counter.inner().store(count, Ordering::Relaxed);
        }
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
