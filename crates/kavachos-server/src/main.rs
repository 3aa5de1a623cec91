//! The binary `kavach`.
fn main() {}
