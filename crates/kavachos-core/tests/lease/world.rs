//! An issuer, followers and a network, and whether the promise was kept in all that happened.

use kavachos_core::revocation::{Lease, Need, Progress, Record};

use crate::issuer::{BEGIN, Feed, time};
use crate::machine::Machine;
use crate::mutation::{Mutation, Question, Subject};
use crate::network::{Content, Message, Network};
use crate::schedule::{Schedule, Site, Step};

/// Time passes in steps that are short beside every lease, so that nothing is accepted unseen.
const TICK: u64 = 200;

pub struct World {
    pub feed: Feed,
    pub machines: Vec<Machine>,
    network: Network,
    pub now: u64,
}

/// What a follower promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// To accept nothing that was killed once the lease is over, or it was known.
    Kill,
    /// To accept nothing that has expired by the issuer's clock.
    Expiry,
}

/// A promise that was broken, and where.
#[derive(Debug)]
pub struct Broken {
    pub promise: Promise,
    pub story: String,
}

pub type Kept = Result<(), Broken>;

impl World {
    /// Followers that have just taken everything in.
    pub fn new(sites: &[Site], mutation: Option<Mutation>) -> Self {
        let machines = sites.iter().enumerate().map(|(number, (lease, faulty))| {
            let subject = Subject::new(number, Lease::from_seconds(*lease).unwrap(), mutation);
            Machine::new(subject, lease * 1_000, *faulty)
        });
        let mut world = Self {
            feed: Feed::new(),
            machines: machines.collect(),
            network: Network::default(),
            now: BEGIN,
        };
        (0..sites.len()).for_each(|number| world.round(number));
        world
    }

    /// Runs a schedule, and looks after each step whether the promise is kept.
    pub fn run(schedule: &Schedule, mutation: Option<Mutation>) -> Result<Self, Broken> {
        let mut world = Self::new(&schedule.sites, mutation);
        for (number, step) in schedule.steps.iter().enumerate() {
            (world.step(step)).map_err(|broken| Broken {
                story: format!("step {number}, {step:?}: {}", broken.story),
                ..broken
            })?;
        }
        Ok(world)
    }

    fn step(&mut self, step: &Step) -> Kept {
        match step {
            Step::Wait(millis) => return self.wait(*millis),
            Step::Kill(which) => self.kill(*which),
            Step::Ask(which) => self.ask(self.number(*which)),
            Step::Round(which) => self.round(self.number(*which)),
            Step::Deliver(which) => {
                if let Some(message) = self.network.take(*which) {
                    self.deliver(&message);
                }
            }
            Step::Lose(which) => drop(self.network.take(*which)),
            Step::Replay(which) => {
                if let Some(message) = self.network.again(*which) {
                    self.deliver(&message);
                }
            }
            Step::Forge(which, forgery) => {
                self.network.forge(*which, *forgery, &self.feed, self.now);
            }
            Step::Heartbeat(which) => {
                let number = self.number(*which);
                let head = self.feed.heartbeat(number, self.now);
                self.network.send(number, Content::Heartbeat(head));
            }
            Step::BackUp => self.feed.back_up(),
            Step::Restore => self.feed.restore(),
            Step::GoBack => self.feed.go_back(),
            Step::Cut(which) | Step::Restart(which) | Step::Clock(which, _) => {
                let number = self.number(*which);
                self.disturb(number, step);
            }
        }
        self.check()
    }

    fn disturb(&mut self, number: usize, step: &Step) {
        let machine = &mut self.machines[number];
        match step {
            Step::Cut(_) => {
                machine.is_cut_off = !machine.is_cut_off;
                self.network.drop_all_of(number);
            }
            Step::Restart(_) => {
                machine.subject.restart();
                machine.known.clear();
            }
            Step::Clock(_, fault) => machine.go_wrong(*fault),
            _ => {}
        }
    }

    fn number(&self, which: u8) -> usize {
        usize::from(which) % self.machines.len()
    }

    pub fn wait(&mut self, millis: u64) -> Kept {
        let mut left = millis;
        while left > 0 {
            let tick = left.min(TICK);
            left -= tick;
            self.now += tick;
            self.machines
                .iter_mut()
                .for_each(|machine| machine.wait(tick));
            self.check()?;
        }
        Ok(())
    }

    pub fn kill(&mut self, which: u8) {
        let record: Record = self.feed.kill(which, self.now);
        (0..self.machines.len())
            .for_each(|number| self.network.send(number, Content::Push(record)));
    }

    pub fn ask(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        let reading = machine.reading();
        let question = match machine.subject.ask(&mut self.feed, &reading) {
            Question::Poll(poll) => Content::Poll(poll),
            Question::Snapshot(snapshot) => Content::Snapshot(snapshot),
        };
        self.network.send(number, question);
    }

    /// Everything on the way to a follower arrives, and it asks until it needs nothing more.
    pub fn round(&mut self, number: usize) {
        const ENOUGH: usize = 24;
        for _ in 0..ENOUGH {
            self.ask(number);
            while let Some(message) = self.network.take_of(number) {
                self.deliver(&message);
            }
            if self.machines[number].subject.need() == Need::Nothing {
                break;
            }
        }
    }

    fn deliver(&mut self, message: &Message) {
        let number = message.follower;
        if self.machines[number].is_cut_off {
            return;
        }
        self.network.remember(message);
        let reply = match &message.content {
            Content::Poll(asked) => Content::PollAnswer(self.feed.poll(number, asked, self.now)),
            Content::Snapshot(asked) => {
                Content::SnapshotAnswer(self.feed.snapshot(number, asked, self.now))
            }
            _ => return self.arrive(message),
        };
        self.network.send(number, reply);
    }

    fn arrive(&mut self, message: &Message) {
        let machine = &mut self.machines[message.follower];
        let reading = machine.reading();
        let (progress, head) = match &message.content {
            Content::PollAnswer(answer) => {
                let progress = machine.subject.answer(answer, &self.feed, &reading);
                (progress, &answer.head)
            }
            Content::SnapshotAnswer(answer) => {
                let progress = machine.subject.snapshot(answer, &self.feed, &reading);
                (progress, &answer.head)
            }
            Content::Push(record) => return machine.subject.pushed(record, &self.feed, &reading),
            Content::Heartbeat(head) => {
                return machine.subject.heartbeat(head, &self.feed, &reading);
            }
            Content::Poll(_) | Content::Snapshot(_) => return,
        };
        if matches!(progress, Some(Progress::Fresh | Progress::Late)) {
            machine.known.extend(self.feed.covered(head));
        }
    }

    /// Whether no follower accepts what it should not.
    fn check(&self) -> Kept {
        let broken = |promise, (number, what): (usize, String)| {
            let story = format!("follower {number} accepts {what}");
            Err(Broken { promise, story })
        };
        for (number, machine) in self.machines.iter().enumerate() {
            let reading = machine.reading();
            let Some(revocations) = machine.subject.revocations(&reading) else {
                continue;
            };
            if machine.subject.now(&reading) < time(self.now) {
                return broken(Promise::Expiry, (number, "what has expired".to_owned()));
            }
            for (which, kill) in self.feed.kills.iter().enumerate() {
                // An authority of an earlier epoch is dead, and one of a later epoch is refused for now.
                let accepts =
                    kill.epoch == revocations.epoch() && !revocations.is_dead(&kill.ended);
                let is_over = !kill.lost && self.now >= kill.at + machine.lease;
                if accepts && (is_over || machine.known.contains(&which)) {
                    let what = format!("what was killed {} ms ago", self.now - kill.at);
                    return broken(Promise::Kill, (number, what));
                }
            }
        }
        Ok(())
    }
}
