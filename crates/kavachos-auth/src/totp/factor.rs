//! The factor of a human, opened: what its codes are made of, and whether a code proves anything.

use std::time::Duration;

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;
use kavachos_engine::plugin::{Allowance, Answer, Change, Changed, Context, Counted};
use kavachos_engine::{Engine, Error, Result};
use kavachos_store::Write;
use zeroize::Zeroizing;

use super::PURPOSE;
use super::backup::{self, BackupCode, CODES, KEY_BYTES};
use super::code::{SEED_BYTES, Seed, Step};
use super::store::{self, FactorRow};
use crate::own::{self, Notice};
use crate::password::{Passwords, Stretched};

/// What a backup code is called in records.
const BACKUP: &str = "backup_code";
/// How many sets of backup codes a human is made: each takes the work of ten passwords.
const SETS: Allowance = Allowance::new(10, Duration::from_secs(60 * 60));
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

    /// What a typed code would prove of this row: a step after the last one, or a backup code, which may be none of those
    /// left.
    fn judge(&self, typed: &Typed, row: &FactorRow, now: Timestamp) -> Option<Proof> {
        match typed {
            Typed::Nothing => None,
            Typed::App(code) => {
                let step = self.seed.step_of(code, now)?;
                (step > row.last_step).then_some(Proof::Step(step))
            }
            Typed::Paper { way, stretched } => {
                // A set that was made meanwhile is stretched in another way, and has none of the old codes.
                let stretched = stretched.as_ref().filter(|_| *way == row.stretching)?;
                backup::hash(stretched, &self.key).map(Proof::Backup)
            }
        }
    }

    /// Ten new backup codes, one after the other, so that nobody who waits for a password waits for all of them. Only for
    /// whoever has shown a code: it takes the work of ten passwords.
    ///
    /// # Errors
    /// [`Error::TooManyCalls`] where the human was made many sets lately, [`Error::Busy`].
    pub(super) async fn new_codes(
        &self,
        context: &Context,
        hashing: &Passwords,
        user: UserId,
    ) -> Result<NewCodes> {
        let counted = format!("backup codes {user}");
        context.admit(&[(Counted::Name(&counted), SETS)]).await?;
        let way = hashing.stretching(context.engine())?;
        let mut new = NewCodes {
            writes: vec![
                store::forget_codes(user),
                store::stretch(user, way.as_str()),
            ],
            shown: Vec::new(),
        };
        for _ in 0..CODES {
            let code = BackupCode::new(context.random());
            let stretched = stretch(context, (hashing, Some(way.as_str())), &code).await?;
            let hash = stretched.and_then(|stretched| backup::hash(&stretched, &self.key));
            let hash = hash.ok_or_else(|| Error::Internal("a code cannot be hashed".to_owned()))?;
            new.writes.push(store::keep_code(user, hash));
            new.shown.push(code.shown());
        }
        Ok(new)
    }
}

/// What somebody typed, with the dear part of reading it done.
pub(super) enum Typed {
    /// What is no code of any kind.
    Nothing,
    /// What an app may show.
    App(Zeroizing<String>),
    /// What has the form of a backup code, stretched in the way of the set that there was.
    Paper {
        way: Option<String>,
        stretched: Option<Stretched>,
    },
}

impl Typed {
    /// Reads what somebody typed. What has the form of a backup code takes the work of one password, whether any are left
    /// or not and whoever's it is; nothing else takes any. Let it be paid for before.
    ///
    /// # Errors
    /// Those of the store, and [`Error::Busy`].
    pub(super) async fn read(
        context: &Context,
        hashing: &Passwords,
        (user, typed): (UserId, &str),
    ) -> Result<Self> {
        if typed.len() > MAX_TYPED_BYTES {
            return Ok(Self::Nothing);
        }
        let plain = Zeroizing::new(plain(typed));
        let Some(code) = BackupCode::read(&plain) else {
            return Ok(Self::App(plain));
        };
        let way = enabled(context, user).await?.and_then(|row| row.stretching);
        let stretched = stretch(context, (hashing, way.as_deref()), &code).await?;
        Ok(Self::Paper { way, stretched })
    }
}

async fn stretch(
    context: &Context,
    (hashing, way): (&Passwords, Option<&str>),
    code: &BackupCode,
) -> Result<Option<Stretched>> {
    let code = code.as_password();
    let code = code.ok_or_else(|| Error::Internal("a code is no password".to_owned()))?;
    hashing.stretch(context.engine(), way, &code).await
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
            Self::Backup(_) => BACKUP,
        }
    }
}

/// The answer to a proof; where it was a backup code, with how many are left, for whoever would make new ones.
pub(super) async fn answered(context: &Context, user: UserId, changed: Changed) -> Result<Answer> {
    let by_backup = changed.thing == BACKUP;
    let answer = own::signed_in(changed)?;
    if !by_backup {
        return Ok(answer);
    }
    match store::codes(context, user).await {
        Ok(left) => Ok(answer.beside("backupCodesLeft", left.len())),
        Err(error) => {
            // The session is open, and its token is shown now or never.
            tracing::warn!(%error, "how many backup codes are left is not told");
            Ok(answer)
        }
    }
}

/// The factor of a human that is turned on.
pub(super) async fn enabled(context: &Context, user: UserId) -> Result<Option<FactorRow>> {
    let row = store::factor(context, user).await?;
    Ok(row.filter(|row| row.enabled_at.is_some()))
}

/// What a typed code proves of this human; `None` of a wrong one, a used one, and of a human without codes.
pub(super) async fn proved(
    context: &Context,
    user: UserId,
    typed: &Typed,
) -> Result<Option<Proof>> {
    let Some(row) = enabled(context, user).await? else {
        return Ok(None);
    };
    let material = Material::open(context, &row)?;
    Ok(match material.judge(typed, &row, context.now()) {
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

    fn row(last: u64) -> FactorRow {
        FactorRow {
            user: UserId::from_bits(7),
            sealed: Vec::new(),
            last_step: Step(last),
            enabled_at: Some(Timestamp::from_micros(0)),
            stretching: Some("this way".to_owned()),
        }
    }

    fn judged(typed: &Typed, last: u64) -> Option<Proof> {
        material().judge(typed, &row(last), Timestamp::from_micros(150_000_000))
    }

    fn app(code: &str) -> Typed {
        Typed::App(Zeroizing::new(code.to_owned()))
    }

    #[test]
    fn a_step_is_accepted_after_the_last_one_and_never_again() {
        assert_eq!(judged(&app("254676"), 4), Some(Proof::Step(Step(5))));
        for last in [5, 6, u64::MAX] {
            assert_eq!(judged(&app("254676"), last), None, "{last}");
        }
        // A code of the step before is right as well, unless that was used.
        assert_eq!(judged(&app("338314"), 3), Some(Proof::Step(Step(4))));
        assert_eq!(judged(&app("338314"), 4), None);
        for typed in ["", "000000", "0123-4567-89ab", "254676x"] {
            assert_eq!(judged(&app(typed), 0), None, "{typed}");
        }
        assert_eq!(judged(&Typed::Nothing, 0), None);
    }

    #[test]
    fn a_backup_code_is_stretched_in_the_way_of_its_set_or_proves_nothing() {
        let paper = |way: Option<&str>, stretched: Option<u8>| Typed::Paper {
            way: way.map(str::to_owned),
            stretched: stretched.map(|byte| Zeroizing::new([byte; 32])),
        };
        let judged = |typed: &Typed| judged(typed, u64::MAX);
        let right = judged(&paper(Some("this way"), Some(1)));
        assert!(matches!(right, Some(Proof::Backup(_))));
        assert_ne!(judged(&paper(Some("this way"), Some(2))), right);
        for nothing in [
            paper(Some("another"), Some(1)),
            paper(None, Some(1)),
            paper(Some("this way"), None),
        ] {
            assert_eq!(judged(&nothing), None);
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
