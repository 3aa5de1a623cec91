//! With a network and clocks that work, followers are open all the time.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::machine::Faulty;
use crate::world::World;

/// How often the driver looks, in milliseconds.
const LOOK: u64 = 100;

/// Drives followers as they ask to be, with every message arriving at the next look, and restores a backup in a new
/// epoch at one of them, if any.
fn drive(kills: &[(u64, u8)], restore_at: Option<u64>) -> Result<(), TestCaseError> {
    let mut world = World::new(&[(1, Faulty::Neither), (10, Faulty::Neither)], None);
    for look in 0..300 {
        (world.wait(LOOK)).map_err(|broken| TestCaseError::fail(broken.story))?;
        (kills.iter())
            .filter(|(at, _)| *at == look)
            .for_each(|(_, which)| world.kill(*which));
        if restore_at == Some(look) {
            world.feed.restore();
        }
        for number in 0..world.machines.len() {
            // A third of the lease.
            let every = world.machines[number].lease / 3 / LOOK;
            if look % every == 0 {
                world.round(number);
            }
            let machine = &world.machines[number];
            let revocations = machine.subject.revocations(&machine.reading());
            prop_assert!(revocations.is_some(), "follower {number} at look {look}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn undisturbed_followers_are_always_open(kills in vec((0..300_u64, any::<u8>()), 0..40)) {
        drive(&kills, None)?;
    }

    #[test]
    fn a_new_epoch_is_followed(kills in vec((0..300_u64, any::<u8>()), 0..40), at in 0..300_u64) {
        drive(&kills, Some(at))?;
    }
}
