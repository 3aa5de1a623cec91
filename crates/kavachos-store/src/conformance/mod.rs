//! The cases that every executor must pass, written against `dyn Store` alone.
//!
//! An executor's tests implement [`Engine`] and run every one of [`CASES`]. A case fails by panicking. Whether two
//! batches meet in one group is up to the writer; the cases hold either way.

mod commits;
mod counters;
mod forgetting;
mod kills;
mod ledger;
mod reads;
mod sign_in;
mod statements;
mod world;

use std::sync::Arc;

use crate::contract::{BoxFuture, Observer, Store};
use crate::host::Clock;
use crate::migration::{self, Migration};

pub use ledger::recompute;
pub use world::{Failure, ManualClock, Recorder, World};

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it shows, as a sentence.
    pub name: &'static str,
    run: fn(World) -> BoxFuture<'static, Result<(), Failure>>,
}

impl Case {
    /// Runs the case on a new database of this engine.
    ///
    /// # Errors
    /// Something that had to succeed did not. Everything else that is wrong panics.
    pub async fn run(&self, engine: &dyn Engine) -> Result<(), Failure> {
        (self.run)(World::new(engine.database()).await).await
    }
}

/// Makes databases for the cases.
pub trait Engine: Sync {
    /// A new, empty database.
    fn database(&self) -> Arc<dyn Database>;
}

/// A database that can be opened again after its store was closed.
pub trait Database: Send + Sync {
    /// Opens it with [`migrations`].
    fn open(
        &self,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> BoxFuture<'_, Arc<dyn Store>>;

    /// Whether what was committed outlives the store.
    fn lasts(&self) -> bool;
}

/// The schema that the cases need: ours, and their own tables.
pub fn migrations() -> Vec<Migration> {
    let own = Migration {
        owner: "conformance",
        number: 1,
        name: "probe",
        sql: include_str!("probe.sql"),
        min_binary: 1,
    };
    [migration::MIGRATIONS, &[own]].concat()
}

/// Every case.
pub fn cases() -> Vec<Case> {
    [
        commits::CASES,
        counters::CASES,
        forgetting::CASES,
        kills::CASES,
        ledger::CASES,
        reads::CASES,
        sign_in::CASES,
        statements::CASES,
    ]
    .concat()
}

/// Lists async functions as cases, named like the functions.
macro_rules! list_cases {
    ($($name:ident),+ $(,)?) => {
        pub(super) const CASES: &[$crate::conformance::Case] = &[$($crate::conformance::Case {
            name: stringify!($name),
            run: |world| Box::pin($name(world)),
        }),+];
    };
}
use list_cases;
