//! The pages of the book with Rust in them, so that cargo runs their blocks as doctests.

#[doc = include_str!("../../../docs/book/embedding.md")]
mod embedding {}

#[doc = include_str!("../../../docs/book/tool-servers.md")]
mod tool_servers {}
