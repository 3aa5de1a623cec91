//! What happens, in which order, drawn at random.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::issuer::LEASE_MAX;
use crate::machine::{ClockFault, Faulty};
use crate::network::Forgery;

/// The most followers.
pub const FOLLOWERS: u8 = 3;

#[derive(Debug, Clone)]
pub enum Step {
    /// Milliseconds pass.
    Wait(u64),
    Kill(u8),
    /// A follower asks what it needs.
    Ask(u8),
    /// A follower asks and is answered, undisturbed.
    Round(u8),
    /// One of the messages on the way arrives: in any order.
    Deliver(u8),
    /// One of them is lost.
    Lose(u8),
    /// One that was delivered is delivered again.
    Replay(u8),
    Forge(u8, Forgery),
    /// A head is pushed to a follower.
    Heartbeat(u8),
    /// A follower is cut off, or no longer.
    Cut(u8),
    Restart(u8),
    BackUp,
    Restore,
    /// A backup is restored as if nothing had been.
    GoBack,
    Clock(u8, ClockFault),
}

/// One follower: its lease in seconds, and which of its clocks is wrong at times.
pub type Site = (u64, Faulty);

#[derive(Debug, Clone)]
pub struct Schedule {
    pub sites: Vec<Site>,
    pub steps: Vec<Step>,
}

pub fn schedules(longest: usize) -> impl Strategy<Value = Schedule> {
    let faulty = prop_oneof![
        2 => Just(Faulty::Neither),
        1 => Just(Faulty::Boot),
        1 => Just(Faulty::Wall),
    ];
    let sites = vec((1..=LEASE_MAX, faulty), 1..=usize::from(FOLLOWERS));
    (sites, vec(step(), 10..=longest)).prop_map(|(sites, steps)| Schedule { sites, steps })
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<u8>;
    prop_oneof![
        10 => (1_u64..=4_000).prop_map(Step::Wait),
        6 => which().prop_map(Step::Kill),
        8 => which().prop_map(Step::Ask),
        6 => which().prop_map(Step::Round),
        12 => which().prop_map(Step::Deliver),
        3 => which().prop_map(Step::Lose),
        3 => which().prop_map(Step::Replay),
        5 => (which(), forgery()).prop_map(|(which, forgery)| Step::Forge(which, forgery)),
        2 => which().prop_map(Step::Heartbeat),
        1 => which().prop_map(Step::Cut),
        2 => which().prop_map(Step::Restart),
        1 => Just(Step::BackUp),
        1 => Just(Step::Restore),
        1 => Just(Step::GoBack),
        4 => (which(), clock()).prop_map(|(which, fault)| Step::Clock(which, fault)),
    ]
}

fn forgery() -> impl Strategy<Value = Forgery> {
    let which = any::<u8>;
    prop_oneof![
        which().prop_map(Forgery::Omit),
        which().prop_map(Forgery::Swap),
        which().prop_map(Forgery::Redirect),
        which().prop_map(Forgery::Alter),
        which().prop_map(Forgery::Behead),
        Just(Forgery::MakeUp),
    ]
}

fn clock() -> impl Strategy<Value = ClockFault> {
    prop_oneof![
        2 => Just(ClockFault::Stop),
        1 => Just(ClockFault::Go),
        2 => (-20_000..=20_000).prop_map(ClockFault::Jump),
    ]
}
