#![doc = include_str!("../README.md")]

mod authorize;
mod builder;
mod challenge;
mod contact;
mod credentials;
mod error;
mod feed;
mod hosts;
mod http;
mod issuer;
mod judgement;
mod keys;
mod layer;
mod metadata;
mod net;
mod nonces;
mod principal;
mod rejection;
mod replay;
mod reports;
mod settings;
mod sse;
mod stats;
mod system;
mod tasks;
#[cfg(test)]
mod tests;
mod tokens;
mod verifier;

pub use authorize::Allowed;
pub use builder::Builder;
pub use error::BuildError;
pub use http::{Chunks, Http};
pub use kavachos_core::decide::Code as DecisionCode;
pub use kavachos_core::revocation::{Fault, Reading};
pub use kavachos_core::token::{Code, Presented, ProofRequest, Scheme};
pub use kavachos_core::tool_server::Proof;
pub use layer::{VerifierLayer, VerifierService};
pub use metadata::{Metadata, MetadataService};
pub use net::Client;
pub use principal::{AgentProof, Principal, ToolCall};
pub use rejection::{Cause, Rejection};
pub use stats::Stats;
pub use system::{Clock, SystemClock};
pub use verifier::Verifier;
