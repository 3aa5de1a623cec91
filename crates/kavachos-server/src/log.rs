//! The log of a server, on standard error.

use tracing_subscriber::Layer;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogForm};

/// Starts logging for the whole process.
pub(crate) fn start(log: &Log) {
    let plain = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let layer = match log.form {
        LogForm::Plain => plain.boxed(),
        LogForm::Json => plain.json().flatten_event(true).boxed(),
    };
    let registry = tracing_subscriber::registry().with(layer.with_filter(log.filter.clone()));
    // Only a second call fails, and then the first one's log goes on.
    let _ = registry.try_init();
}
