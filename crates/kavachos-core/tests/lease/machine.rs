//! A machine with a follower on it. One of its clocks may be wrong in every way, the other is right.

use std::collections::HashSet;
use std::time::Duration;

use kavachos_core::revocation::Reading;

use crate::issuer::{BEGIN, time};
use crate::mutation::Subject;

/// How long the machine has run when the model begins, in milliseconds.
const UPTIME: u64 = 10_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faulty {
    Neither,
    Boot,
    Wall,
}

#[derive(Debug, Clone, Copy)]
pub enum ClockFault {
    Stop,
    Go,
    /// By so many milliseconds.
    Jump(i32),
}

pub struct Machine {
    pub subject: Subject,
    /// The length of the lease in milliseconds.
    pub lease: u64,
    /// The kills that the issuer has signed for to this process, and it took in.
    pub known: HashSet<usize>,
    pub is_cut_off: bool,
    faulty: Faulty,
    is_stopped: bool,
    boot: u64,
    wall: u64,
}

impl Machine {
    pub fn new(subject: Subject, lease: u64, faulty: Faulty) -> Self {
        Self {
            subject,
            lease,
            known: HashSet::new(),
            is_cut_off: false,
            faulty,
            is_stopped: false,
            boot: UPTIME,
            wall: BEGIN,
        }
    }

    pub fn reading(&self) -> Reading {
        Reading {
            boot: Duration::from_millis(self.boot),
            wall: time(self.wall),
        }
    }

    pub fn wait(&mut self, millis: u64) {
        let stands = |which| self.is_stopped && self.faulty == which;
        let (boot, wall) = (stands(Faulty::Boot), stands(Faulty::Wall));
        self.boot += if boot { 0 } else { millis };
        self.wall += if wall { 0 } else { millis };
    }

    pub fn go_wrong(&mut self, fault: ClockFault) {
        let clock = match self.faulty {
            Faulty::Neither => return,
            Faulty::Boot => &mut self.boot,
            Faulty::Wall => &mut self.wall,
        };
        match fault {
            ClockFault::Stop => self.is_stopped = true,
            ClockFault::Go => self.is_stopped = false,
            ClockFault::Jump(by) => *clock = clock.saturating_add_signed(by.into()),
        }
    }
}
