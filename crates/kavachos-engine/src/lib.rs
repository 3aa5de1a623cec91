//! The use cases: who calls, what they ask for, what is read, decided, recorded and committed.
//!
//! Promises: every change and every decision is one batch with its record, answered after it is on disk; nothing is
//! allowed on a picture that an acknowledged kill made old; a warm decision reads no database. It knows nothing of
//! HTTP and nothing of any database: it depends on `kavachos-core` and on the contract of `kavachos-store`, and gets
//! time, randomness and tasks passed in.

mod act;
mod agents;
mod approvals;
mod asking;
mod audit;
mod audit_export;
mod authenticate;
mod authority;
mod authorize;
mod banning;
mod batch;
mod bell;
mod checkpoint;
mod clients;
mod compile;
mod directory;
mod doors;
mod engine;
mod epoch;
mod error;
mod events;
mod explain;
mod facts;
mod feed;
mod first_mentions;
mod flood;
mod forward;
mod grants;
mod guesses;
mod impersonation;
mod issued;
mod keys;
mod known;
mod lifecycle;
mod lost_factors;
mod made;
mod master;
mod not_me;
mod own_data;
mod proof_keys;
mod providers;
mod raising;
mod readdressing;
mod reported;
mod restore;
mod revoked;
mod roles;
mod runtime;
#[cfg(feature = "schema")]
mod schema;
mod sealed;
mod seats;
mod second_factor;
mod session_ends;
mod sessions;
mod settings;
mod sign_in;
mod signing_keys;
mod taking_back;
mod text;
mod tokens;
mod tool_servers;
mod transfer;
mod turning;
mod upkeep;
mod users;
mod webhooks;
mod weight;

pub mod actor;
pub mod fetch;
pub mod hooks;
pub mod mail;
pub mod page;
pub mod plugin;

pub use agents::{Agent, AgentKind, MAX_KEY_TTL, NewAgent, NewOwner};
pub use approvals::{Approval, AskedApproval, MAX_WAIT};
pub use audit::{AuditFilter, AuditRecord};
pub use audit_export::{AuditExport, AuditFormat};
pub use authority::{Authority, AuthorityHop, PathKey};
pub use authorize::{Decision, Question};
pub use banning::Ban;
pub use batch::MAX_QUESTIONS;
pub use checkpoint::{Checkpoint, CheckpointKeeper, Setback};
pub use clients::{
    Access, AccessScopes, Brought, Client, ClientChange, ClientPlace, ClientsOf, CodeAsk,
    Connection, ConnectionLine, ConnectionResource, ConnectionScope, DEVICE_LIFE, DEVICE_PAUSE,
    DeviceAsk, DeviceCodes, DevicePoll, DeviceRequest, LineName, NewClient, OwnAsk, PUSHED_LIFE,
    Polled, ProofNonces, RefreshAsk, RegisteredClient, Registration, SelfRegistered, Tokens, Way,
    Wish, operators_word,
};
pub use directory::Directory;
pub use doors::{Door, Doors, SignUps};
pub use engine::{Engine, Parts};
pub use epoch::MAX_EPOCH;
pub use error::{Error, Result};
pub use events::{EventReader, Heard, StreamEnd};
pub use explain::{DryRun, HopReport, PathReport, PermissionReport, Recorded};
pub use feed::{
    FeedAccess, FeedNews, FeedReader, MAX_FEED_WAIT, RevocationPage, RevocationSnapshot,
    RevocationStream,
};
pub use first_mentions::Admitted;
pub use flood::Stranger;
pub use forward::{Forwarded, ForwardedCall};
pub use grants::{Delegation, Life, NewDelegation};
pub use guesses::Guess;
pub use impersonation::{Impersonation, Impersonator, MAX_IMPERSONATION};
pub use issued::Issued;
pub use keys::{Key, KeyChange, NewKey, Origin};
pub use lifecycle::{AgentChange, UsesChange};
pub use master::fingerprint as master_key_fingerprint;
pub use own_data::{OwnData, OwnPart};
pub use proof_keys::Proofs;
pub use providers::{
    ClientTerms, FreshBy, MAX_PROVIDERS, NewHumans, Presentation, Presenter, Provided, Provider,
    ProviderClient, ProviderName, ProviderProof, ProviderTerms, Providers, ShownProof, SignInTerms,
    Vouched,
};
pub use reported::{MAX_REPORTS, RefusedReport, Report, Reported, Unreportable};
pub use restore::{Exported, Kills, Rehearsal, Restoration, Restored, RevocationWriter};
pub use revoked::{Edited, Reach, Revoked};
pub use runtime::{Busy, Runtime, Work};
pub use second_factor::SecondFactor;
pub use sessions::Session;
pub use settings::Settings;
pub use sign_in::{Browser, Opened, PendingSignIn, SignIn, SignedIn};
pub use signing_keys::{InstalledFeedKeys, KeyPurpose, Published, SigningKey};
pub use text::email as email_address;
pub use tokens::{Handed, Minted, MintedRoot, Promise, ShownToken, TokenAsk, Wanted};
pub use tool_servers::{NewToolServer, PolicyChange, ToolServer, ToolServerChange, ToolServerKey};
pub use transfer::{Imported, LedgerRoot, TenantExport};
pub use users::{External, NewUser, User, UserChange};
pub use webhooks::{
    Delivery, Denials, Kinds, MadeWebhook, NewWebhook, Redelivery, RotatedSecret, SigningSecret,
    Tested, Webhook, WebhookChange, WebhookState,
};

pub use kavachos_store::agent::AgentFilter;
pub use kavachos_store::approval::{ApprovalFilter, Stage};
pub use kavachos_store::grant::GrantFilter;
pub use kavachos_store::user_search::UserFilter;
