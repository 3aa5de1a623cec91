//! What every handler has at hand.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use kavachos_engine::Engine;

use crate::metrics::Metrics;

/// How the API is served.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Proxies whose `X-Forwarded-For` is believed; no others are.
    pub trusted_proxies: Vec<IpNet>,
}

/// The engine and the options. Cheap to clone.
#[derive(Clone)]
pub struct State {
    pub(crate) engine: Engine,
    pub(crate) options: Arc<Options>,
    pub(crate) metrics: Arc<Metrics>,
}

impl State {
    /// The state of one tenant's API.
    pub fn new(engine: Engine, options: Options) -> Self {
        Self {
            engine,
            options: Arc::new(options),
            metrics: Arc::new(Metrics::new()),
        }
    }

    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.options
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&ip))
    }
}
