//! What the tests have in common: a store that can be tampered with, and a server above it.

pub(crate) mod store;
pub(crate) mod world;
