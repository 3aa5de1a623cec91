//! The HTTP API: who calls, what the request says, which use case answers, and how the answer looks.
//!
//! Promises: no route without a caller type except those listed as open in [`router`]; a request that cannot be read is
//! 4xx with a code and the member at fault; errors become HTTP in one file (`error.rs`). It decides nothing and touches
//! no store: handlers call use cases of `kavachos-engine`.

mod body;
mod call;
mod context;
mod cookie;
mod error;
mod metrics;
mod openapi;
mod operation;
#[cfg(feature = "pages")]
mod pages;
mod params;
mod plugin;
mod possession;
mod reference_page;
mod reply;
mod routes;
mod signature;
mod state;

pub use call::LocalCaller;
pub use context::{Asked, Overdue, overdue};
#[cfg(feature = "pages")]
pub use pages::{Accent, Brand};
pub use routes::{IMPORT_PATH, openapi, router};
pub use state::{Options, PeerOf, State};
