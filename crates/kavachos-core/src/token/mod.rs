//! Tokens that anyone can verify offline: leaves, roots, and proofs of possession.
//!
//! A *leaf* (`at+jwt`, RFC 9068) is what an agent shows to one tool server: signed by the issuer, good for minutes, it
//! carries the human, the whole chain and the merged authority. A *root* (`kvr+jwt`) is shown to the issuer alone, with
//! a proof of its key, to get leaves. A *proof* (`dpop+jwt`, RFC 9449) says that the sender of a request holds a key.
//! An *assertion* (`kvp+jwt`) says to a server behind a proxy who makes one call that was let through. *Feed keys*
//! (`kvk+jwt`) are said by a root that is kept offline, to whoever pins it.
//!
//! Promises: every text has one reading or none (canonical base64url, no duplicate or unknown members, nothing behind
//! the end); one `typ`, one purpose; the key decides the algorithm, never the header; nothing of a token is used before
//! its signature holds; every refusal has a stable [code](Code). Pure: keys, random bytes and the time are passed in.
//! What has been seen before (replays, revocations) is the caller's to remember and is asked for by value.

mod assertion;
mod claims;
mod failure;
mod feed_keys;
pub(crate) mod jws;
mod key;
mod key_set;
mod leaf;
mod name;
mod offline;
mod possession;
mod root;
mod verify;

pub use assertion::{ASSERTION_LIFE, AssertedCall, Assertion};
pub use claims::{Authority, DETAILS_TYPE, Hop, Life};
pub use failure::{Code, Failure};
pub use feed_keys::{
    FeedKeys, FeedKeysRequest, FeedRoot, MAX_FEED_KEYS, MAX_FEED_KEYS_REQUEST_BYTES,
};
pub use jws::{MAX_TOKEN_BYTES, Purpose};
pub use key::{Algorithm, PublicKey, SigningKey, Thumbprint};
pub use key_set::{KeySet, MAX_KEYS};
pub use leaf::{LIMITED_SCOPE, Leaf, grants_all_of};
pub use name::{Issuer, Subject};
pub use offline::Offline;
pub use possession::{MAX_PROOF_AGE, Proof, ProofRequest, body_digest};
pub use root::{MAX_REACH, MAX_ROOT_LIFE, Root};
pub use verify::{Presented, Scheme, Verification, Verified};

/// How far an issuer's clock may be ahead of ours, for the time at which a token was made. Its end has no tolerance.
pub const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(30);
