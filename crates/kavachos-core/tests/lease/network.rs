//! What is on the way between the issuer and its followers, and what can become of it.

use kavachos_core::revocation::{PollAnswer, PollRequest, Record, SnapshotAnswer, SnapshotRequest};

use crate::issuer::{Feed, time};

/// How many delivered messages can be played back.
const REMEMBERED: usize = 64;

#[derive(Debug, Clone)]
pub enum Content {
    Poll(PollRequest),
    Snapshot(SnapshotRequest),
    PollAnswer(PollAnswer),
    SnapshotAnswer(SnapshotAnswer),
    Push(Record),
    Heartbeat(String),
}

/// Between the issuer and one follower, whose number this is.
#[derive(Debug, Clone)]
pub struct Message {
    pub follower: usize,
    pub content: Content,
}

#[derive(Debug, Clone, Copy)]
pub enum Forgery {
    /// Leave a record out.
    Omit(u8),
    /// Exchange two records.
    Swap(u8),
    /// Make a record one of something else.
    Redirect(u8),
    /// Give a record another generation, or another number.
    Alter(u8),
    /// Give it a head that was on the way before.
    Behead(u8),
    /// Answer in the issuer's stead that there is nothing new.
    MakeUp,
}

#[derive(Default)]
pub struct Network {
    on_the_way: Vec<Message>,
    delivered: Vec<Message>,
}

impl Network {
    pub fn send(&mut self, follower: usize, content: Content) {
        self.on_the_way.push(Message { follower, content });
    }

    /// Takes one of the messages from the way.
    pub fn take(&mut self, which: u8) -> Option<Message> {
        let count = self.on_the_way.len();
        (count > 0).then(|| self.on_the_way.remove(usize::from(which) % count))
    }

    /// Takes the first of the messages of a follower from the way.
    pub fn take_of(&mut self, follower: usize) -> Option<Message> {
        let first = (self.on_the_way.iter()).position(|message| message.follower == follower)?;
        Some(self.on_the_way.remove(first))
    }

    pub fn drop_all_of(&mut self, follower: usize) {
        self.on_the_way
            .retain(|message| message.follower != follower);
    }

    pub fn remember(&mut self, message: &Message) {
        if self.delivered.len() == REMEMBERED {
            self.delivered.remove(0);
        }
        self.delivered.push(message.clone());
    }

    /// One of the messages that were delivered.
    pub fn again(&self, which: u8) -> Option<Message> {
        let count = self.delivered.len();
        (count > 0).then(|| self.delivered[usize::from(which) % count].clone())
    }

    pub fn forge(&mut self, which: u8, forgery: Forgery, feed: &Feed, now: u64) {
        let Some(mut message) = self.take(which) else {
            return;
        };
        let old = match forgery {
            Forgery::Behead(other) => self.again(other),
            _ => None,
        };
        let follower = message.follower;
        match (&mut message.content, forgery) {
            (Content::Poll(asked), Forgery::MakeUp) => {
                message.content = Content::PollAnswer(feed.made_up(follower, asked, time(now)));
            }
            (Content::PollAnswer(answer), Forgery::Behead(_)) => {
                if let Some(Content::PollAnswer(old)) = old.map(|old| old.content) {
                    answer.head = old.head;
                }
            }
            (Content::PollAnswer(answer), _) => forge_records(&mut answer.records, forgery),
            (Content::SnapshotAnswer(answer), _) => {
                let marks = answer.records.iter();
                let mut records: Vec<_> = marks
                    .map(|kill| Record {
                        rseq: 0,
                        kill: *kill,
                    })
                    .collect();
                forge_records(&mut records, forgery);
                answer.records = records.iter().map(|record| record.kill).collect();
            }
            (Content::Push(record), _) => {
                let mut records = vec![*record];
                forge_records(&mut records, forgery);
                *record = records.pop().unwrap_or(*record);
            }
            _ => {}
        }
        self.on_the_way.push(message);
    }
}

fn forge_records(records: &mut Vec<Record>, forgery: Forgery) {
    if records.is_empty() {
        return;
    }
    let place = |which: u8| usize::from(which) % records.len();
    match forgery {
        Forgery::Omit(which) => drop(records.splice(place(which)..=place(which), [])),
        Forgery::Swap(which) => {
            let (one, other) = (place(which), place(which.wrapping_add(1)));
            records.swap(one, other);
        }
        Forgery::Redirect(which) => {
            let place = place(which);
            records[place].kill.handle.bytes = [which; 16];
        }
        Forgery::Alter(which) => {
            let place = place(which);
            if which % 2 == 0 {
                records[place].kill.generation = u64::from(which / 2);
            } else {
                records[place].rseq = u64::from(which / 2);
            }
        }
        Forgery::Behead(_) | Forgery::MakeUp => {}
    }
}
