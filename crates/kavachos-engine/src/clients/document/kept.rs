//! The documents that were read, and those that are being read.
//!
//! Promises: what is asked for stays, and what nobody asked for longest makes room; one host has no more than its part of the
//! room, so that whoever has a host, or many, shuts out nobody else. A document that cannot be read leaves nothing behind.
//! Clients that somebody let in have seats of their own: what hangs at strangers' addresses takes none of theirs. Of the seats of
//! each sort one host has half, and one human a quarter: who has many accounts has more, and for seconds, since each of them has
//! few documents fetched an hour.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kavachos_core::client::{ClientId, ClientMetadata};
use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use sha2::{Digest, Sha256};

use crate::bell::{Bell, Listener};
use crate::error::{Error, Result};
use crate::seats::{Bounds, Holder, Seat, Seats};

/// How many documents are kept.
const MAX_KEPT: usize = 1_000;
/// How many of one host.
const MAX_OF_HOST: usize = 100;
/// How many are fetched at once that somebody let in, and how many others: few, so that the fetcher's other work goes on, also
/// while all of them hang.
const KNOWN: Bounds = Bounds { all: 8, each: 2 };
const UNKNOWN: Bounds = Bounds { all: 8, each: 2 };
/// How many of them at one host.
const OF_HOST: Bounds = Bounds { all: 8, each: 4 };
/// How many wait for one that is fetched.
const WAITING: Bounds = Bounds { all: 512, each: 16 };

/// What came of a fetch for those who waited for it: `None` of a document that cannot be read. Unset where nothing was fetched.
pub(super) type Asked = OnceLock<Option<Arc<Reading>>>;

/// What a document said.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) metadata: ClientMetadata,
    /// The version of what was stored of the client before it was asked for; `None` if nothing was.
    pub(super) version: Option<u64>,
}

/// What is known of documents.
#[derive(Debug)]
pub(crate) struct Documents {
    known: Mutex<Known>,
    bell: Bell,
    known_seats: Places,
    seats: Places,
    waiting: Seats,
}

/// Places of those who fetch, of which each human has a part, and each host.
#[derive(Debug)]
struct Places {
    of_humans: Seats,
    of_hosts: Seats,
}

/// One of them.
pub(super) type Place = (Seat, Seat);

impl Places {
    fn new(of_humans: Bounds) -> Self {
        Self {
            of_humans: Seats::new(of_humans),
            of_hosts: Seats::new(OF_HOST),
        }
    }

    fn take(&self, human: UserId, host: &str) -> Result<Place> {
        let of_human = self.of_humans.take(Holder::Known(human.to_string()))?;
        // It is not the human who has them.
        let of_host = self.of_hosts.take(Holder::Known(host.to_owned()));
        Ok((of_human, of_host.map_err(|_| Error::Busy)?))
    }
}

#[derive(Debug, Default)]
struct Known {
    /// INVARIANT: at most [`MAX_KEPT`], and at most [`MAX_OF_HOST`] of one host.
    read: HashMap<ClientId, Read>,
    asked: HashMap<ClientId, Arc<Asked>>,
    looks: u64,
}

#[derive(Debug)]
struct Read {
    reading: Arc<Reading>,
    host: String,
    until: Timestamp,
    /// Which look found it last.
    looked: u64,
}

pub(super) enum Look<'a> {
    Found(Arc<Reading>),
    /// Somebody fetches it.
    Wait(Arc<Asked>, Listener<'a>),
    /// Whoever looked fetches it.
    Fetch(Arc<Asked>, Listener<'a>),
    /// Too many wait.
    Crowded,
}

impl Default for Documents {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            bell: Bell::default(),
            known_seats: Places::new(KNOWN),
            seats: Places::new(UNKNOWN),
            waiting: Seats::new(WAITING),
        }
    }
}

impl Documents {
    /// Looks for what was read; what does not stand any more is read anew.
    pub(super) fn look(
        &self,
        id: &ClientId,
        stands: impl Fn(&Reading) -> bool,
        now: Timestamp,
    ) -> Look<'_> {
        let mut known = self.known();
        known.looks = known.looks.saturating_add(1);
        let looked = known.looks;
        let kept = known.read.get_mut(id);
        if let Some(read) = kept.filter(|read| now < read.until && stands(&read.reading)) {
            read.looked = looked;
            return Look::Found(Arc::clone(&read.reading));
        }
        let Some(rung) = self.bell.listen(bell_of(id)) else {
            return Look::Crowded;
        };
        if let Some(asked) = known.asked.get(id) {
            return Look::Wait(Arc::clone(asked), rung);
        }
        let asked = Arc::new(Asked::new());
        known.asked.insert(id.clone(), Arc::clone(&asked));
        Look::Fetch(asked, rung)
    }

    /// One of the places of those who fetch for this human, at this host.
    ///
    /// # Errors
    /// They have all that one may have, the host has, or there is none.
    pub(super) fn seat(&self, human: UserId, host: &str, is_known: bool) -> Result<Place> {
        let seats = match is_known {
            true => &self.known_seats,
            false => &self.seats,
        };
        seats.take(human, host)
    }

    /// One of the places of those who wait.
    ///
    /// # Errors
    /// They have all that one may have, or there is none.
    pub(super) fn place(&self, human: UserId) -> Result<Seat> {
        self.waiting.take(Holder::Known(human.to_string()))
    }

    /// Keeps what was read.
    pub(super) fn keep(
        &self,
        (id, host): (&ClientId, &str),
        reading: &Arc<Reading>,
        until: Timestamp,
    ) {
        let mut known = self.known();
        known.read.remove(id);
        known.make_room(host);
        let looked = known.looks;
        let read = Read {
            reading: Arc::clone(reading),
            host: host.to_owned(),
            until,
            looked,
        };
        known.read.insert(id.clone(), read);
    }

    /// Ends a fetch, whatever came of it, and wakes those who wait.
    pub(super) fn asked(&self, id: &ClientId) {
        self.known().asked.remove(id);
        self.bell.ring(bell_of(id));
    }

    /// Nothing under the lock can leave it half written, so a poisoned lock is as good as any.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Room for one more document of this host.
    fn make_room(&mut self, host: &str) {
        let of_host = self.read.values().filter(|read| read.host == host).count();
        let longest_ago = if of_host >= MAX_OF_HOST {
            oldest(self.read.iter().filter(|(_, read)| read.host == host))
        } else if self.read.len() >= MAX_KEPT {
            oldest(self.read.iter())
        } else {
            None
        };
        if let Some(id) = longest_ago {
            self.read.remove(&id);
        }
    }
}

/// The one that nobody asked for longest.
fn oldest<'a>(all: impl Iterator<Item = (&'a ClientId, &'a Read)>) -> Option<ClientId> {
    all.min_by_key(|(_, read)| read.looked)
        .map(|(id, _)| id.clone())
}

/// Two clients that share a bell wake each other's waiters, who look again.
fn bell_of(id: &ClientId) -> u128 {
    let hash: [u8; 32] = Sha256::digest(id.as_str().as_bytes()).into();
    hash.first_chunk()
        .map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::MIN.plus(Duration::from_secs(seconds))
    }

    fn id(host: usize, path: usize) -> ClientId {
        format!("https://h{host}.example.com/{path}")
            .parse()
            .unwrap()
    }

    /// Reads the document at this address, as whoever fetches it does, until 60.
    fn read(documents: &Documents, host: usize, path: usize) {
        let id = id(host, path);
        let said = json!({
            "client_id": id, "client_name": "Editor", "redirect_uris": ["http://127.0.0.1/cb"],
        });
        let metadata = ClientMetadata::of_document(&id, said.to_string().as_bytes()).unwrap();
        let Look::Fetch(..) = documents.look(&id, |_| true, at(0)) else {
            panic!("{id} is known");
        };
        let host = format!("h{host}.example.com");
        let reading = Reading {
            metadata,
            version: None,
        };
        documents.keep((&id, &host), &Arc::new(reading), at(60));
        documents.asked(&id);
    }

    fn is_kept(documents: &Documents, host: usize, path: usize) -> bool {
        documents.known().read.contains_key(&id(host, path))
    }

    fn look(documents: &Documents, host: usize, path: usize, seconds: u64) -> &'static str {
        match documents.look(&id(host, path), |_| true, at(seconds)) {
            Look::Found(_) => "found",
            Look::Wait(..) => "wait",
            Look::Fetch(..) => "fetch",
            Look::Crowded => "crowded",
        }
    }

    #[test]
    fn one_fetches_for_all_until_the_document_is_old() {
        let documents = Documents::default();
        read(&documents, 0, 0);
        assert_eq!(look(&documents, 0, 0, 59), "found");
        assert_eq!(look(&documents, 0, 0, 60), "fetch");
        assert_eq!(look(&documents, 0, 0, 60), "wait");
        documents.asked(&id(0, 0));
        assert_eq!(look(&documents, 0, 0, 60), "fetch");
    }

    #[test]
    fn a_full_room_lets_everybody_in_and_keeps_what_is_asked_for() {
        let documents = Documents::default();
        read(&documents, 0, 0);
        for host in 1..=2 * MAX_KEPT {
            read(&documents, host, 0);
            assert_eq!(look(&documents, 0, 0, 1), "found", "{host}");
            assert!(is_kept(&documents, host, 0), "{host}");
        }
        assert_eq!(documents.known().read.len(), MAX_KEPT);
        assert!(!is_kept(&documents, 1, 0));
    }

    #[test]
    fn one_host_takes_its_own_room_alone() {
        let documents = Documents::default();
        for host in 0..10 {
            read(&documents, host, 0);
        }
        for path in 1..=2 * MAX_KEPT {
            read(&documents, 0, path);
        }
        assert_eq!(documents.known().read.len(), MAX_OF_HOST + 9);
        assert!(is_kept(&documents, 0, 2 * MAX_KEPT));
        assert!((1..10).all(|host| is_kept(&documents, host, 0)));
    }

    /// Nobody makes room by asking for what is not there.
    #[test]
    fn what_cannot_be_read_leaves_nothing_and_drives_nothing_out() {
        let documents = Documents::default();
        for host in 0..MAX_KEPT {
            read(&documents, host, 0);
        }
        for path in 1..=MAX_KEPT {
            assert_eq!(look(&documents, 0, path, 1), "fetch");
            documents.asked(&id(0, path));
        }
        assert!((0..MAX_KEPT).all(|host| is_kept(&documents, host, 0)));
        assert!(documents.known().asked.is_empty());
    }

    #[test]
    fn few_are_fetched_at_once_and_fewer_for_one_human() {
        let documents = Documents::default();
        let human = |n: u8| UserId::new(at(0), [n; 10]);
        let mut seats = Vec::new();
        let seat = |n, host, is_known| documents.seat(human(n), host, is_known);
        for (n, host) in [(0, "a"), (1, "b"), (2, "a"), (3, "b")] {
            seats.push(seat(n, host, false).unwrap());
            seats.push(seat(n, host, false).unwrap());
            assert!(seat(n, "c", false).is_err());
        }
        assert!(seat(9, "c", false).is_err());
        // What somebody let in has seats of its own.
        assert!(seat(0, "a", true).is_ok());
        assert!(seat(9, "c", false).is_err());
        seats.pop();
        assert!(seat(9, "c", false).is_ok());
    }

    #[test]
    fn one_host_has_half_of_the_seats_and_leaves_the_others() {
        let documents = Documents::default();
        let seat = |n: u8, host| documents.seat(UserId::new(at(0), [n; 10]), host, true);
        let held: Vec<Place> = (0..4).map(|n| seat(n, "slow").unwrap()).collect();
        assert_eq!(seat(4, "slow").map(drop), Err(Error::Busy));
        // The twins: another host, also for the same human, and the same once it answered.
        assert!(seat(4, "quick").is_ok() && seat(0, "quick").is_ok());
        drop(held);
        assert!(seat(4, "slow").is_ok());
    }
}
