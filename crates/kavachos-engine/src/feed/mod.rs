//! The feed of revocations: what those who follow the log are told, and how far a kill has reached among them.
//!
//! Promises: a head is signed only from a read of the store that began after its question came, and whoever gets one is
//! noted before that read, so no lease is out that the answer to a kill does not count; a record is pushed when its
//! commit is answered, without anyone asking again and again; nothing on the wire says who was killed or why. What is
//! read here leaves no record: it changes nothing.

mod followers;
mod poll;
mod reach;
mod reader;
mod snapshot;
mod stream;

use std::time::Duration;

use crate::seats::{Bounds, Seats};

pub(crate) use followers::Followers;
pub use poll::RevocationPage;
pub(crate) use poll::decoded;
pub(crate) use reach::Telling;
pub use reader::{FeedAccess, FeedReader};
pub use snapshot::RevocationSnapshot;
pub use stream::{FeedNews, RevocationStream};

/// The longest that a question for records waits for one.
pub const MAX_FEED_WAIT: Duration = Duration::from_secs(30);
/// How many may wait for records or be pushed them at a time: one key as many as its processes may be.
const LISTENING: Bounds = Bounds { all: 512, each: 64 };
/// How many snapshots are given out at a time. One may hold 100 MB, so they are few, and one key has half of them.
const SNAPSHOTS: Bounds = Bounds { all: 4, each: 2 };

/// What all who follow share.
pub(crate) struct Feed {
    pub(crate) followers: Followers,
    listening: Seats,
    snapshots: Seats,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            followers: Followers::default(),
            listening: Seats::new(LISTENING),
            snapshots: Seats::new(SNAPSHOTS),
        }
    }
}
