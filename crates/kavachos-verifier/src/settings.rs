//! What a tool server says of itself.

use std::time::Duration;

use kavachos_core::resource::ResourcePattern;
use kavachos_core::revocation::Lease;
use kavachos_core::token::Issuer;
use kavachos_core::tool_server::{Audience, Proof};

use crate::hosts::Hosts;
use crate::mcp::Tools;

/// What a [`Builder`](crate::Builder) was told, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) issuer: Issuer,
    pub(crate) audience: Audience,
    /// Whether callers prove that a token is theirs.
    pub(crate) proof: Proof,
    /// How long tokens are accepted without news.
    pub(crate) lease: Lease,
    /// What it is about; without any the token alone decides.
    pub(crate) scopes: Vec<ResourcePattern>,
    /// What a caller is told to begin with.
    pub(crate) first_scopes: Vec<ResourcePattern>,
    /// What is looked at before a tool is called, if anything is.
    pub(crate) tools: Option<Tools>,
    pub(crate) asking: Asking,
    /// How long a repeated call waits for its human's answer; zero for not at all.
    pub(crate) approval_wait: Duration,
    pub(crate) hosts: Option<Hosts>,
    /// What stands before the path of a request.
    pub(crate) base: String,
    pub(crate) sizes: Sizes,
}

/// Whether the server is asked about what only it can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Within this time.
    Within(Duration),
    /// Such calls are refused.
    Never,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Tokens.
    pub(crate) tokens: usize,
    /// Used proofs of one agent.
    pub(crate) proofs_per_agent: usize,
    /// Used proofs of all agents.
    pub(crate) proofs: usize,
    /// The longest body that is read to check a proof of it, in bytes.
    pub(crate) body: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            tokens: 10_000,
            proofs_per_agent: 20_000,
            proofs: 200_000,
            body: 4 * 1024 * 1024,
        }
    }
}
