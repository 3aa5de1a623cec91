#![doc = include_str!("../../../README.md")]
//!
//! # This crate
//!
//! What an application adds: [`Kavach`], the types of its use cases, and the pieces that only a native process has (the
//! system clock, the system's randomness, tokio). Everything else is in the crates below, re-exported here.

mod ask;
#[cfg(doctest)]
mod book;
mod builder;
mod checkpoint_file;
mod fetch;
mod kavach;
mod long_work;
#[cfg(feature = "mail")]
pub mod mail;
mod rsa;
mod runtime;
mod tokens;

pub use ask::{IntoOwner, NewAgent, NewDelegation, NewKey, NewUser, Request};
pub use builder::{BuildError, Builder};
pub use checkpoint_file::CheckpointFile;
pub use fetch::GuardedFetcher;
pub use kavach::{
    Agents, Approvals, Audit, Delegations, Kavach, Keys, ToolServers, Users, Webhooks,
};
pub use runtime::{SystemClock, SystemRng, TokioRuntime};
pub use tokens::{Holder, NewToken};

#[cfg(feature = "auth")]
pub use kavachos_auth as auth;
pub use kavachos_core as core;
pub use kavachos_engine as engine;
pub use kavachos_http as http;
pub use kavachos_store as store;

pub use kavachos_core::decide::Code;
pub use kavachos_core::grant::{Exchangers, TokenUses};
pub use kavachos_core::id::{
    AgentId, ApprovalId, AuditId, GrantId, KeyId, SessionId, ToolServerId, UserId, WebhookId,
};
pub use kavachos_core::invalid::Invalid;
pub use kavachos_core::principal::Role;
pub use kavachos_core::time::Timestamp;
pub use kavachos_core::token::{FeedRoot, PublicKey};
pub use kavachos_engine::fetch::Loopback;
pub use kavachos_engine::{
    Admitted, Agent, AgentChange, AgentFilter, AgentKind, Approval, ApprovalFilter, AuditExport,
    AuditFilter, AuditFormat, AuditRecord, Authority, Ban, ClientTerms, Decision, Delegation,
    Denials, DryRun, Edited, Error, External, FeedAccess, GrantFilter, Handed, Imported, Issued,
    Key, KeyChange, Kinds, LedgerRoot, MadeWebhook, Minted, MintedRoot, NewToolServer, NewWebhook,
    PathKey, PolicyChange, Promise, Provider, ProviderTerms, Providers, Recorded, Redelivery,
    Result, Revoked, RotatedSecret, SecondFactor, Session, Settings, ShownToken, SigningSecret,
    Stage, TenantExport, Tested, ToolServer, ToolServerChange, User, UserChange, UserFilter,
    UsesChange, Webhook, WebhookChange, WebhookState,
};
pub use kavachos_engine::{hooks, plugin};
