//! The account itself: an overview, what happened, where one is signed in, how one signs in.

use askama::Template;

use super::frame::Shell;
use super::icon::Icon;
use super::parts::{Field, Time};

/// The first page.
#[derive(Template)]
#[template(path = "overview.html")]
pub(crate) struct Overview {
    pub(crate) shell: Shell,
    pub(crate) agents: String,
    pub(crate) waiting: String,
    pub(crate) recent: Vec<Event>,
    /// What would make the account safer.
    pub(crate) advice: Option<(&'static str, &'static str, &'static str)>,
}

/// One record, in words.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) icon: Icon,
    pub(crate) tone: &'static str,
    /// Who or what did it.
    pub(crate) who: String,
    pub(crate) href: Option<String>,
    pub(crate) did: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) why: String,
    pub(crate) at: Time,
    pub(crate) facts: Vec<(&'static str, String)>,
}

/// What happened.
#[derive(Template)]
#[template(path = "activity.html")]
pub(crate) struct Activity {
    pub(crate) shell: Shell,
    pub(crate) events: Vec<Event>,
    pub(crate) agent: Field,
    pub(crate) action: Field,
    pub(crate) since: Field,
    /// The value, its words, whether it is chosen.
    pub(crate) outcomes: Vec<(&'static str, &'static str, bool)>,
    pub(crate) filtered: bool,
    pub(crate) next: Option<String>,
    pub(crate) first: bool,
}

/// One place where the human is signed in.
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) device: String,
    pub(crate) address: String,
    pub(crate) used: Time,
    pub(crate) here: bool,
    pub(crate) phone: bool,
    pub(crate) note: String,
}

/// Where the human is signed in.
#[derive(Template)]
#[template(path = "sessions.html")]
pub(crate) struct Sessions {
    pub(crate) shell: Shell,
    pub(crate) places: Vec<Place>,
    pub(crate) others: usize,
}

/// A passkey.
pub(crate) struct Passkey {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) note: String,
}

/// How the human signs in.
#[derive(Template)]
#[template(path = "security.html")]
pub(crate) struct Security {
    pub(crate) shell: Shell,
    pub(crate) sessions: usize,
    /// Whether signing out everywhere else is offered at once: a way to sign in came or went.
    pub(crate) leave_others: bool,
    /// Whether the human proved who they are just now.
    pub(crate) fresh: bool,
    pub(crate) fresh_words: String,
    /// Whether a password can be changed or set, and its form.
    pub(crate) password: Option<Vec<Field>>,
    /// Whether there is one to change.
    pub(crate) has_password: bool,
    /// The address, and the form for another one, where it can be changed.
    pub(crate) email: Option<(String, Field)>,
    /// The provider that the account is linked to, where that can be undone.
    pub(crate) provider: Option<String>,
    pub(crate) passkeys: Option<Vec<Passkey>>,
    /// Codes of an app; `None` where there can be none.
    pub(crate) totp: Option<Codes>,
    pub(crate) can_ask_again: bool,
}

/// What somebody does first of whom a second factor is demanded.
#[derive(Template)]
#[template(path = "owing.html")]
pub(crate) struct Owing {
    pub(crate) shell: Shell,
    /// Whether it was set up before, and is only to be shown.
    pub(crate) has_app: bool,
    pub(crate) has_passkey: bool,
    /// Which ones can be set up.
    pub(crate) can_app: bool,
    pub(crate) can_passkey: bool,
}

/// How few backup codes are too few: they are then offered anew.
const FEW: u64 = 3;

/// Codes of an app, with those on paper for the day when it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codes {
    Off,
    /// With so many backup codes left.
    On {
        backup: u64,
    },
}

impl Codes {
    pub(crate) fn is_on(self) -> bool {
        self != Self::Off
    }

    /// How many backup codes are left, in words.
    pub(crate) fn left(self) -> Option<String> {
        match self {
            Self::Off => None,
            Self::On { backup: 0 } => Some("No backup code is left.".to_owned()),
            Self::On { backup: 1 } => Some("One backup code is left.".to_owned()),
            Self::On { backup } => Some(format!("{backup} backup codes are left.")),
        }
    }

    /// Whether the human should make new ones before they have none.
    pub(crate) fn are_few(self) -> bool {
        matches!(self, Self::On { backup: ..=FEW })
    }
}

/// A second factor that is being set up.
#[derive(Template)]
#[template(path = "totp.html")]
pub(crate) struct Totp {
    pub(crate) shell: Shell,
    /// A picture, as a `data:` address.
    pub(crate) picture: Option<String>,
    pub(crate) uri: String,
    pub(crate) secret: String,
    pub(crate) code: Field,
}

impl Totp {
    /// The key in groups of four, as people type it.
    pub(crate) fn secret_shown(&self) -> String {
        let mut shown = String::new();
        for (at, letter) in self.secret.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                shown.push(' ');
            }
            shown.push(letter);
        }
        shown
    }
}

/// How many letters of a key stand together.
const GROUP: usize = 4;

/// Codes for the day when the second factor is lost, shown once.
#[derive(Template)]
#[template(path = "backup_codes.html")]
pub(crate) struct BackupCodes {
    pub(crate) shell: Shell,
    pub(crate) codes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_backup_codes_are_left_is_told_and_few_are_offered_anew() {
        let told = |backup| {
            let codes = Codes::On { backup };
            (codes.left().unwrap_or_default(), codes.are_few())
        };
        assert_eq!(told(10), ("10 backup codes are left.".to_owned(), false));
        assert_eq!(told(4), ("4 backup codes are left.".to_owned(), false));
        assert_eq!(told(3), ("3 backup codes are left.".to_owned(), true));
        assert_eq!(told(1), ("One backup code is left.".to_owned(), true));
        assert_eq!(told(0), ("No backup code is left.".to_owned(), true));
        assert_eq!(Codes::Off.left(), None);
        assert!(!Codes::Off.are_few() && !Codes::Off.is_on());
    }
}
