//! The OAuth authorization server: what is asked of its endpoints, what the engine makes of it, and what is answered.
//!
//! Promises: a request has one reading or is refused (a parameter stands once, an empty one is none, what is not known
//! is not looked at); every refusal has a code of the standards; a token is made by the engine alone, by the same path
//! as for `POST /api/v1/delegate`. It knows no HTTP server and no database: it depends on `kavachos-core` and
//! `kavachos-engine`, and is portable as they are.

mod answer;
mod authentication;
mod authorize;
mod client;
mod client_credentials;
mod code;
mod device;
mod exchange;
mod form;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod introspection;
mod metadata;
mod nonce;
mod pushed;
mod refusal;
mod registration;
mod resource;
mod revocation;
mod scope;
mod subject;
mod token;
mod token_type;

pub use answer::Answer;
pub use authorize::{
    Authorization, Fault, Prompt, SentBack, authorization, authorization_of_anybody,
};
pub use client::Client;
pub use device::{DeviceAnswer, device_authorization};
pub use exchange::MAX_DETAILS_BYTES;
pub use form::MAX_PARAMETERS;
pub use introspection::{Introspection, introspect};
pub use metadata::Metadata;
pub use nonce::next_nonce;
pub use pushed::{Pushed, push};
pub use refusal::{Code, Refusal};
pub use registration::{MAX_REGISTRATION_BYTES, Registered, change, look, register, remove};
pub use revocation::revoke;
pub use token::{Call, GRANTS, TOKEN_EXCHANGE, token};
pub use token_type::TokenType;
