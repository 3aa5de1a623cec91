//! The client of `rmcp`.
fn main() {}
