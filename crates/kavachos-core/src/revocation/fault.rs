//! Why an answer did not renew a lease: stable codes, for logs and metrics.

use std::fmt;

use crate::token::Failure;

/// Why an answer of the feed was not what keeps a follower going. No fault ever makes a lease longer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It answers nothing that is asked at present: it is late, doubled, or played back.
    Unasked,
    /// The head is none, or is not signed by a feed key of the issuer.
    BadHead(Failure),
    /// The head is made out to another follower.
    OtherFollower,
    /// The head is of another epoch than the one for which the issuer's root names the keys of the feed.
    OtherEpoch,
    /// The head of a snapshot came with the answer to a poll, or the other way round.
    WrongHead,
    /// The records are too many, have gaps, are out of order, or go past the head.
    BadRecords,
    /// Records up to the head are missing, and the answer does not say that more are to come.
    MissingRecords,
    /// The records, or what was taken in before, are not what the head is signed over. The lease has ended.
    Forked,
    /// The snapshot is not what its head is signed over.
    BadSnapshot,
    /// Alarm: the issuer signs for an earlier epoch than before.
    EpochLowered,
    /// Alarm: the issuer signs for a shorter log than before, in the same epoch.
    LogShortened,
    /// Alarm: the issuer signs for another log of the same length than before, in the same epoch.
    LogRewritten,
}

impl Fault {
    /// The stable text.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::BadHead(_) => "bad_head",
            Self::OtherFollower => "other_follower",
            Self::OtherEpoch => "other_epoch",
            Self::WrongHead => "wrong_head",
            Self::BadRecords => "bad_records",
            Self::MissingRecords => "missing_records",
            Self::Forked => "forked",
            Self::BadSnapshot => "bad_snapshot",
            Self::EpochLowered => "epoch_lowered",
            Self::LogShortened => "log_shortened",
            Self::LogRewritten => "log_rewritten",
        }
    }

    /// Whether the issuer contradicts what it signed before: kills were lost. The follower is closed for good, and a
    /// human must look at the issuer before its process is started again.
    pub const fn is_alarm(&self) -> bool {
        matches!(
            self,
            Self::EpochLowered | Self::LogShortened | Self::LogRewritten
        )
    }

    const fn message(&self) -> &'static str {
        match self {
            Self::Unasked => "the answer is to another question than the last one",
            Self::BadHead(_) => "the head of the feed is not signed by the issuer",
            Self::OtherFollower => "the head of the feed is for another follower",
            Self::OtherEpoch => {
                "the head of the feed is of another epoch than the one that the root names keys for"
            }
            Self::WrongHead => "the head of the feed belongs to another kind of answer",
            Self::BadRecords => "the records do not follow each other up to the head",
            Self::MissingRecords => "records up to the head are missing",
            Self::Forked => "the log that was followed is not the issuer's: ask for a snapshot",
            Self::BadSnapshot => "the snapshot is not the one that was signed",
            Self::EpochLowered => {
                "the issuer went back to an earlier epoch: find out why before you start again"
            }
            Self::LogShortened => {
                "the issuer's log is shorter than it was: was an old backup restored without a new epoch?"
            }
            Self::LogRewritten => {
                "the issuer's log is another than it was: was an old backup restored without a new epoch?"
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        match self {
            Self::BadHead(failure) => write!(f, ": {failure}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
