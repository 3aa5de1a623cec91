//! The binary from outside: real processes, real sockets, real files.

mod commands;
#[cfg(test)]
mod completions;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod crash;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod descriptors;
#[cfg(test)]
mod events;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod full_disk;
mod help;
#[cfg(test)]
mod migrations;
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod webhooks;
