//! The binary from outside: real processes, real sockets, real files.

mod commands;
#[cfg(test)]
mod crash;
mod help;
mod server;
#[cfg(test)]
mod support;
