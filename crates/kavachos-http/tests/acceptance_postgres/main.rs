//! The tests of `acceptance`, on PostgreSQL.

#[path = "../acceptance/callers.rs"]
mod callers;
#[path = "../acceptance/chains.rs"]
mod chains;
#[path = "../acceptance/constraints.rs"]
mod constraints;
#[path = "../acceptance/conventions.rs"]
mod conventions;
#[path = "../acceptance/decisions.rs"]
mod decisions;
#[path = "../acceptance/delegations.rs"]
mod delegations;
#[path = "../acceptance/flood.rs"]
mod flood;
#[path = "../acceptance/idempotency.rs"]
mod idempotency;
#[path = "../acceptance/ledger.rs"]
mod ledger;
#[path = "../acceptance/lifecycle.rs"]
mod lifecycle;
#[path = "../acceptance/people.rs"]
mod people;
#[path = "../acceptance/queries.rs"]
mod queries;
#[path = "../acceptance/quotas.rs"]
mod quotas;
#[path = "../acceptance/restart.rs"]
mod restart;
#[path = "../acceptance/routes.rs"]
mod routes;

use kavachos_test::{Setup, TestApp};

fn setup() -> Setup {
    Setup::default().on_postgres()
}

async fn start() -> TestApp {
    setup().start().await
}
