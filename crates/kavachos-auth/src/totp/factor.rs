//! The factor of a human, opened: what its codes are made of, and whether a code proves anything.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::plugin::{Change, Context};
use kavachos_engine::{Engine, Error, Result};
use kavachos_store::Write;
use zeroize::Zeroizing;

use super::PURPOSE;
use super::backup::{BackupCode, CODES, KEY_BYTES};
use super::code::{SEED_BYTES, Seed, Step};
use super::store::{self, FactorRow};
use crate::own::Notice;

/// The longest code that is looked at, in bytes: a backup code with blanks between all of its characters.
const MAX_TYPED_BYTES: usize = 64;

/// What codes and backup codes are made of.
pub(super) struct Material {
    pub(super) seed: Seed,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// What a code that is right uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Step(Step),
    Backup([u8; 32]),
}

impl Material {
    /// New material.
    pub(super) fn new(context: &Context) -> Self {
        Self {
            seed: Seed::new(context.random()),
            key: Zeroizing::new(context.random()),
        }
    }

    /// As it is stored, for this human and no other.
    pub(super) fn seal(&self, context: &Context, user: UserId) -> Result<Vec<u8>> {
        let owner = user.to_string();
        let plain = [&self.seed.bytes()[..], &self.key[..], owner.as_bytes()].concat();
        let plain = Zeroizing::new(plain);
        context.engine().seal_at_rest(PURPOSE, &plain)
    }

    /// What was sealed for the human whose row this is.
    pub(super) fn open(context: &Context, row: &FactorRow) -> Result<Self> {
        Self::unsealed(context.engine(), (row.user, &row.sealed))
    }

    /// What was sealed for this human.
    pub(super) fn unsealed(engine: &Engine, (user, sealed): (UserId, &[u8])) -> Result<Self> {
        let plain = engine.open_at_rest(PURPOSE, sealed)?;
        Self::read(&plain, user).ok_or_else(|| {
            Error::Internal("the seed of codes in a row is of somebody else".to_owned())
        })
    }

    fn read(plain: &[u8], user: UserId) -> Option<Self> {
        let (seed, rest) = plain.split_first_chunk::<SEED_BYTES>()?;
        let (key, owner) = rest.split_first_chunk::<KEY_BYTES>()?;
        (owner == user.to_string().as_bytes()).then(|| Self {
            seed: Seed::new(*seed),
            key: Zeroizing::new(*key),
        })
    }

    /// What a typed code would prove: a step after the last one, or a backup code, which may be none of those left.
    fn judge(&self, typed: &str, last: Step, now: Timestamp) -> Option<Proof> {
        if typed.len() > MAX_TYPED_BYTES {
            return None;
        }
        let plain = plain(typed);
        if let Some(code) = BackupCode::read(&plain) {
            return Some(Proof::Backup(code.hash(&self.key)));
        }
        let step = self.seed.step_of(&plain, now)?;
        (step > last).then_some(Proof::Step(step))
    }

    /// Ten new backup codes.
    pub(super) fn new_codes(&self, context: &Context, user: UserId) -> NewCodes {
        let codes: Vec<BackupCode> = (0..CODES)
            .map(|_| BackupCode::new(context.random()))
            .collect();
        let kept = codes
            .iter()
            .map(|code| store::keep_code(user, code.hash(&self.key)));
        NewCodes {
            writes: [store::forget_codes(user)]
                .into_iter()
                .chain(kept)
                .collect(),
            shown: codes.iter().map(BackupCode::shown).collect(),
        }
    }
}

/// Ten new backup codes.
pub(super) struct NewCodes {
    /// As they are shown, once.
    pub(super) shown: Vec<String>,
    writes: Vec<Write>,
}

impl NewCodes {
    /// The change, which keeps them in the place of the old ones.
    pub(super) fn kept_in(&self, change: Change) -> Change {
        self.writes.iter().cloned().fold(change, Change::write)
    }
}

/// A code without the blanks that apps show in the middle of it.
pub(super) fn plain(typed: &str) -> String {
    typed.chars().filter(|c| !c.is_whitespace()).collect()
}

impl Proof {
    /// Uses up what was shown: for whoever comes first.
    pub(super) fn used_by(self, user: UserId) -> Write {
        match self {
            Self::Step(step) => store::use_step(user, step),
            Self::Backup(hash) => store::use_code(user, hash),
        }
    }

    /// The change, which tells the human by mail where a backup code was used: whoever lost their app does so once.
    pub(super) fn told(self, notice: &Notice, change: Change) -> Change {
        match self {
            Self::Step(_) => change,
            Self::Backup(_) => notice.told(change),
        }
    }

    /// What it is called in records.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Step(_) => "code",
            Self::Backup(_) => "backup_code",
        }
    }
}

/// The factor of a human that is turned on.
pub(super) async fn enabled(context: &Context, user: UserId) -> Result<Option<FactorRow>> {
    let row = store::factor(context, user).await?;
    Ok(row.filter(|row| row.enabled_at.is_some()))
}

/// What a typed code proves of this human; `None` of a wrong one, a used one, and of a human without codes.
pub(super) async fn proved(context: &Context, user: UserId, typed: &str) -> Result<Option<Proof>> {
    let Some(row) = enabled(context, user).await? else {
        return Ok(None);
    };
    let material = Material::open(context, &row)?;
    Ok(match material.judge(typed, row.last_step, context.now()) {
        Some(Proof::Backup(hash)) => {
            let left = store::codes(context, user).await?;
            left.contains(&hash).then_some(Proof::Backup(hash))
        }
        proof => proof,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> Material {
        Material {
            seed: Seed::new(*b"12345678901234567890"),
            key: Zeroizing::new([7; KEY_BYTES]),
        }
    }

    fn judged(typed: &str, last: u64) -> Option<Proof> {
        material().judge(typed, Step(last), Timestamp::from_micros(150_000_000))
    }

    #[test]
    fn a_step_is_accepted_after_the_last_one_and_never_again() {
        assert_eq!(judged("254676", 4), Some(Proof::Step(Step(5))));
        assert_eq!(judged("254 676", 0), Some(Proof::Step(Step(5))));
        for last in [5, 6, u64::MAX] {
            assert_eq!(judged("254676", last), None, "{last}");
        }
        // A code of the step before is right as well, unless that was used.
        assert_eq!(judged("338314", 3), Some(Proof::Step(Step(4))));
        assert_eq!(judged("338314", 4), None);
    }

    #[test]
    fn a_backup_code_is_hashed_and_anything_else_proves_nothing() {
        assert!(matches!(
            judged("0123-4567-89ab", u64::MAX),
            Some(Proof::Backup(_))
        ));
        for typed in [
            "",
            "000000",
            "0123-4567-89a",
            "254676x",
            &"254676".repeat(1_000),
        ] {
            assert_eq!(judged(typed, 0), None, "{typed}");
        }
    }

    #[test]
    fn what_was_sealed_for_one_human_opens_for_no_other() {
        let ada: UserId = "user_01arz3ndektsv4rrffq69g5fav".parse().unwrap();
        let bob: UserId = "user_01arz3ndektsv4rrffq69g5faw".parse().unwrap();
        let plain = [
            &[1; SEED_BYTES][..],
            &[2; KEY_BYTES],
            ada.to_string().as_bytes(),
        ]
        .concat();
        let read = Material::read(&plain, ada).unwrap();
        assert_eq!(
            (read.seed.bytes(), *read.key),
            (&[1; SEED_BYTES], [2; KEY_BYTES])
        );
        assert!(Material::read(&plain, bob).is_none());
        assert!(Material::read(&plain[..SEED_BYTES + KEY_BYTES], ada).is_none());
        assert!(Material::read(&[], ada).is_none());
    }
}
