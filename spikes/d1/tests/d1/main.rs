//! The executor for D1 against D1 in miniflare. `run.sh` starts these tests.

mod conformance;
mod lost;
mod server;
mod several;
