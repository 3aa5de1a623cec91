//! The binary `kavach`: a server, and the command line for it.
//!
//! Promises: every command sends the same requests to the same routes, over HTTP to a server or in the process to a
//! database that no server holds; configuration and environment are read in `config` alone; everything printed goes
//! through `output`, which escapes what could fool a terminal. It decides nothing: it depends on `kavachos` for that.

mod answer;
mod args;
mod cli;
mod client;
mod command;
mod config;
mod connection;
mod descriptors;
mod dev_key;
mod escape;
mod event_stream;
mod failure;
mod log;
mod master_key;
mod methods;
mod names;
mod only;
mod output;
mod overdue;
mod patient;
mod private_file;
mod server;
mod tenant;
mod transport;
mod view;

use std::process::ExitCode;

/// Every request allocates some hundred small pieces, on threads that free each other's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
