//! The types of tokens that are exchanged (RFC 8693, section 3). Each kind of credential has one of its own, so that
//! nothing is taken for another thing: what a tool server is shown never stands for whoever it came from, and is exchanged
//! by that tool server alone.

/// What kind of token a request shows or asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// A leaf: what a tool server is shown. It is asked for, and shown here by that tool server alone.
    AccessToken,
    /// A human's session.
    Session,
    /// An agent's key.
    AgentKey,
    /// What an outside provider says of a human (OpenID Connect Core 1.0).
    IdToken,
    /// A root, from which its holder gets leaves: shown here alone, with a proof of its key.
    Root,
}

impl TokenType {
    /// All of them: each may be shown.
    pub const ALL: [Self; 5] = [
        Self::Session,
        Self::AgentKey,
        Self::IdToken,
        Self::Root,
        Self::AccessToken,
    ];

    /// The identifier.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Session => "urn:kavachos:params:oauth:token-type:session",
            Self::AgentKey => "urn:kavachos:params:oauth:token-type:agent-key",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::Root => "urn:kavachos:params:oauth:token-type:root",
        }
    }

    pub(crate) fn of(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.uri() == uri)
    }
}
