//! The binary from outside: real processes, real sockets, real files.

mod commands;
mod help;
mod server;
#[cfg(test)]
mod support;
