//! What every handler has at hand.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use http::Extensions;
use ipnet::IpNet;
use kavachos_engine::Engine;

use crate::metrics::Metrics;
#[cfg(feature = "pages")]
use crate::pages::{Assets, Brand};

/// How the API is served.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Proxies whose `X-Forwarded-For` is believed; no others are.
    pub trusted_proxies: Vec<IpNet>,
    /// Under which address clients know this server, without a slash at the end.
    pub public_url: String,
    /// The largest file that is imported.
    pub max_import_bytes: u64,
    /// Whose pages people see.
    #[cfg(feature = "pages")]
    pub brand: Brand,
}

/// The largest file that is imported unless told otherwise: some million records.
const MAX_IMPORT_BYTES: u64 = 16 << 30;

impl Default for Options {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            public_url: "http://localhost:3000".to_owned(),
            max_import_bytes: MAX_IMPORT_BYTES,
            #[cfg(feature = "pages")]
            brand: Brand::default(),
        }
    }
}

/// The engine and the options. Cheap to clone, since every layer of the router clones it for every request.
#[derive(Clone)]
pub struct State(Arc<Shared>);

/// What the clones of a [`State`] share.
pub struct Shared {
    pub(crate) engine: Engine,
    options: Options,
    peer: PeerOf,
    pub(crate) metrics: Metrics,
    #[cfg(feature = "pages")]
    assets: Assets,
}

/// Finds the other end of the connection in what the server attached to a request.
pub type PeerOf = fn(&Extensions) -> Option<SocketAddr>;

impl Deref for State {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl State {
    /// The state of one tenant's API. Where `peer` finds nothing, every rule about addresses fails.
    pub fn new(engine: Engine, options: Options, peer: PeerOf) -> Self {
        Self(Arc::new(Shared {
            #[cfg(feature = "pages")]
            assets: Assets::of(&options.brand),
            engine,
            options,
            peer,
            metrics: Metrics::new(),
        }))
    }

    pub(crate) fn peer(&self, extensions: &Extensions) -> Option<IpAddr> {
        (self.peer)(extensions).map(|address| address.ip().to_canonical())
    }

    pub(crate) fn public_url(&self) -> &str {
        &self.options.public_url
    }

    /// What the pages load.
    #[cfg(feature = "pages")]
    pub(crate) fn assets(&self) -> &Assets {
        &self.assets
    }

    pub(crate) fn max_import_bytes(&self) -> u64 {
        self.options.max_import_bytes
    }

    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.options
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&ip))
    }
}
