//! The binary from outside: real processes, real sockets, real files.

mod commands;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod crash;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod descriptors;
mod help;
mod server;
#[cfg(test)]
mod support;
