//! OAuth clients: programs that ask a human for access. What they say of themselves, where a browser is sent back to, the
//! proof that whoever redeems a code is whoever asked for it, and what becomes of a refresh token that is shown.

mod assertion;
mod id;
mod keys;
mod metadata;
mod pkce;
mod redirect;
mod rotation;
mod user_code;

pub use assertion::{Assertion, MAX_ASSERTION_LIFE, UnverifiedAssertion};
pub use id::{ClientId, MAX_CLIENT_ID_BYTES};
pub use keys::{ClientKeys, MAX_CLIENT_KEYS};
pub use metadata::{
    AuthMethod, BadMetadata, ClientMetadata, GrantType, MAX_CLIENT_NAME_BYTES, MAX_REDIRECTS,
    Source,
};
pub use pkce::Challenge;
pub use redirect::{MAX_REDIRECT_BYTES, RedirectKind, RedirectUri};
pub use rotation::{AGAIN, AGAIN_WHEN_BOUND, LATE, Line, MOST_AGAIN, Shown};
pub use user_code::UserCode;
