//! What a mail may be about, and what it must say.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_core::time::clip;
use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $needs:expr, $life:expr;)+) => {
        /// What a mail is about; each has its templates.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum MailKind {
            $($(#[$doc])* $name,)+
        }

        impl MailKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name, as templates and records have it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Whether somebody gets it because somebody asked for it, who need not be the same.
            pub(crate) const fn is_asked_for(self) -> bool {
                matches!(
                    self,
                    Self::VerifyEmail
                        | Self::ChangeEmail
                        | Self::AccountExists
                        | Self::MagicLink
                        | Self::EmailOtp
                        | Self::ResetPassword
                )
            }

            /// What it counts as among the mails that an address gets in an hour. Whoever has all others sent keeps
            /// nobody from a new password.
            pub(crate) const fn counts_as(self) -> &'static str {
                match self {
                    Self::ResetPassword => "reset",
                    _ => "mail",
                }
            }

            /// The values without which it says nothing.
            pub(super) const fn needs(self) -> &'static [&'static str] {
                match self { $(Self::$name => $needs,)+ }
            }

            /// How long it is worth sending when it does not say itself for how many minutes.
            pub(super) const fn life(self) -> Duration {
                match self { $(Self::$name => $life,)+ }
            }

            /// Its templates in English.
            pub(super) const fn embedded(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name => (
                        include_str!(concat!("templates/en/", $text, ".txt")),
                        include_str!(concat!("templates/en/", $text, ".html")),
                    ),)+
                }
            }
        }
    };
}

/// How long a notice is worth sending: it says what happened, and that stays true.
const NOTICE: Duration = HOUR.saturating_mul(72);

kinds! {
    /// A link by which somebody shows that the address is theirs.
    VerifyEmail = "verify_email", &["url"], HOUR.saturating_mul(24);
    /// A link by which somebody with an account shows that another address is theirs too.
    ChangeEmail = "change_email", &["url"], HOUR;
    /// Somebody tried to sign up with an address that has an account.
    AccountExists = "account_exists", &[], HOUR;
    /// A link that signs in.
    MagicLink = "magic_link", &["url"], MINUTE.saturating_mul(15);
    /// A code that signs in.
    EmailOtp = "email_otp", &["code"], MINUTE.saturating_mul(10);
    /// A link under which a new password is set.
    ResetPassword = "reset_password", &["url"], MINUTE.saturating_mul(30);
    /// The password was changed.
    PasswordChanged = "password_changed", &[], NOTICE;
    /// An operator has the human set a new password.
    ResetRequired = "reset_required", &[], NOTICE;
    /// A backup code took the place of the second factor.
    BackupCodeUsed = "backup_code_used", &[], NOTICE;
    /// Somebody signed in from a device that was not seen before.
    NewDevice = "new_device", &[], NOTICE;
    /// A second factor or a passkey was added.
    FactorAdded = "factor_added", &[], NOTICE;
    /// A second factor or a passkey was removed.
    FactorRemoved = "factor_removed", &[], NOTICE;
    /// So many guesses in a row were wrong that no more are looked at.
    GuessesStopped = "guesses_stopped", &[], NOTICE;
    /// The address was changed; goes to the old one.
    EmailChanged = "email_changed", &[], NOTICE;
    /// An administrator acted as this human.
    Impersonated = "impersonated", &[], NOTICE;
    /// A mail that shows that mail works.
    Test = "test", &[], HOUR;
}

impl fmt::Display for MailKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MailKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut kinds = Self::ALL.iter().copied();
        kinds
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Invalid::new(format!("`{}` is no kind of mail", clip(text))))
    }
}
