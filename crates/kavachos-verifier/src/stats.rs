//! What a verifier has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts as things happen.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What a verifier has done since it was built, and how it stands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Tokens in the cache.
            pub cached_tokens: u64,
            /// Proofs that are remembered as used.
            pub remembered_proofs: u64,
            /// Handles that were killed.
            pub revocations: u64,
            /// For how long tokens are accepted if nothing is heard any more; zero when none are now.
            pub lease: Duration,
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats {
                    $($name: self.$name.0.load(Ordering::Relaxed),)*
                    ..Stats::default()
                }
            }
        }
    };
}

counters! {
    /// Requests whose token was accepted.
    accepted,
    /// Requests whose token was refused.
    rejected,
    /// Tokens whose signature was checked before.
    cache_hits,
    /// Calls that were allowed by what the token says.
    allowed,
    /// Calls that were denied.
    denied,
    /// Calls that the server was asked about.
    asked,
    /// Calls that it was asked about in vain.
    ask_failures,
    /// Calls that waited for their human's answer.
    waited,
    /// Times that the issuer's keys were fetched.
    key_refreshes,
    /// Times that they, or those of the feed, were not to be had.
    key_refresh_failures,
    /// Polls of the revocation feed that were answered well.
    polls,
    /// Polls that were not.
    poll_failures,
    /// Records of revocations that were pushed.
    pushes,
    /// Connections to the stream of revocations that ended.
    stream_ends,
    /// Decisions that were reported to the server.
    reported,
    /// Decisions that the server was told of and did not record.
    reports_refused,
    /// Decisions that could not be reported: there was no room, or nobody took them.
    reports_dropped,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: usize) {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}
