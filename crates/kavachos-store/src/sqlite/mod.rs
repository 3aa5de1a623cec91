//! The executor for SQLite.
