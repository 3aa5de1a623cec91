//! What goes on beside the requests: polling the feed, listening to it, fetching keys by their age.

use std::sync::Arc;
use std::time::Duration;

use kavachos_core::revocation::{Need, Progress};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::judgement::Core;
use crate::keys::{REFRESH, SPACING};
use crate::system::random;

/// Between two polls, whatever is wanted.
const PAUSE: Duration = Duration::from_millis(50);
/// Before what failed is tried again for the first time; then twice as long each time.
const BACK_OFF: Duration = Duration::from_millis(100);
/// The longest wait before what failed is tried again.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);

/// How far the clock may be ahead of the issuer's before that is told.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The tasks of a verifier; they end when this is dropped.
pub(crate) struct Tasks(Vec<AbortHandle>);

impl Tasks {
    pub(crate) fn start(core: &Arc<Core>) -> Self {
        Self(vec![
            tokio::spawn(keep_asking(Arc::clone(core))).abort_handle(),
            tokio::spawn(keep_listening(Arc::clone(core))).abort_handle(),
            tokio::spawn(keep_keys(Arc::clone(core))).abort_handle(),
        ])
    }

    /// No tasks: whoever holds the verifier does what they would do.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Asks every third of the lease, and at once when something is wanted.
async fn keep_asking(core: Arc<Core>) {
    let mut failures: u32 = 0;
    loop {
        let started = Instant::now();
        let answered = ask(&core).await;
        failures = if answered.is_some() {
            0
        } else {
            failures.saturating_add(1)
        };
        sleep(PAUSE).await;
        let Some(wait) = answered else {
            let third = core.settings.lease.duration() / 3;
            sleep(back_off(failures).min(third)).await;
            continue;
        };
        // A wish that comes before the time is up is granted; that none came is no error.
        let _ = timeout_at(started + wait, core.feed.wanted.notified()).await;
    }
}

/// Asks once; gives when to ask again, or `None` when there was no answer of use.
pub(crate) async fn ask(core: &Core) -> Option<Duration> {
    let settings = &core.settings;
    let asked = core
        .feed
        .ask(&core.client, core.clock.as_ref(), settings.lease);
    let trouble = match asked.await {
        Ok(Progress::Fresh) => {
            core.counters.polls.count();
            core.note(wrong_clock(core));
            return Some(next_poll(core));
        }
        Ok(Progress::Behind | Progress::SnapshotNeeded) => return Some(Duration::ZERO),
        Ok(Progress::Late) => "the issuer's answers take longer than the lease".to_owned(),
        Err(error) => format!("the revocation feed: {error}"),
    };
    core.counters.poll_failures.count();
    core.note(Some(trouble));
    None
}

/// A clock that is ahead is no reason to refuse anything by itself; that tokens are over too soon should have one.
fn wrong_clock(core: &Core) -> Option<String> {
    let ahead = core.feed.follower().ahead(&core.clock.read());
    (ahead > CLOCK_TOLERANCE).then(|| {
        format!(
            "the clock of this machine is {} seconds ahead of the issuer's: tokens are taken for over before they are",
            ahead.as_secs()
        )
    })
}

/// A third of the lease that runs, which may be shorter than the one that was asked for.
fn next_poll(core: &Core) -> Duration {
    let follower = core.feed.follower();
    if follower.need() != Need::Nothing {
        return Duration::ZERO;
    }
    let now = core.clock.read();
    let age = follower.age(&now).unwrap_or_default();
    (follower.left(&now) + age) / 3
}

/// Listens, and opens the stream again whenever it ends.
async fn keep_listening(core: Arc<Core>) {
    let mut failures: u32 = 0;
    loop {
        let feed = &core.feed;
        let started = Instant::now();
        let ended = feed.listen(&core.client, &core.counters).await;
        core.counters.stream_ends.count();
        if let Err(error) = ended {
            core.note(Some(format!("the stream of revocations: {error}")));
        }
        // What was pushed meanwhile is asked for.
        feed.wanted.notify_one();
        let lasted = started.elapsed() > LONGEST_BACK_OFF;
        failures = if lasted {
            0
        } else {
            failures.saturating_add(1)
        };
        sleep(back_off(failures)).await;
    }
}

/// Twice as long after each failure, up to a limit; up to half of it by chance, so that not all come back at once.
fn back_off(failures: u32) -> Duration {
    let full = BACK_OFF.saturating_mul(2_u32.saturating_pow(failures));
    let half = full.min(LONGEST_BACK_OFF) / 2;
    let [byte] = random::<1>().unwrap_or([128]);
    half + half * u32::from(byte) / 255
}

/// Fetches both sets of keys by their age.
async fn keep_keys(core: Arc<Core>) {
    let mut wait = REFRESH;
    loop {
        sleep(wait).await;
        let failures = core.counters.read().key_refresh_failures;
        core.refresh_keys().await;
        let feed = core.feed.refresh_keys(&core.client, core.clock.read().boot);
        let feed = feed.await;
        if let Err(error) = &feed {
            core.counters.key_refresh_failures.count();
            core.note(Some(format!("the keys of the feed: {error}")));
        }
        let failed = core.counters.read().key_refresh_failures > failures;
        wait = if failed { SPACING } else { REFRESH };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_the_stream_grows_to_its_limit() {
        for (failures, most) in [
            (0, 100),
            (1, 200),
            (3, 800),
            (10, 10_000),
            (u32::MAX, 10_000),
        ] {
            let wait = back_off(failures);
            let most = Duration::from_millis(most);
            assert!(most / 2 <= wait && wait <= most, "{failures}: {wait:?}");
        }
    }
}
