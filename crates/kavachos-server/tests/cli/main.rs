//! The binary from outside: real processes, real sockets, real files.

#[cfg(target_os = "linux")]
#[cfg(test)]
mod backup;
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
#[cfg(target_os = "linux")]
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod events;
#[cfg(unix)]
#[cfg(test)]
mod feed_root;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod full_disk;
mod help;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod ledger_of_many;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod only;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod restore;
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod webhooks;
