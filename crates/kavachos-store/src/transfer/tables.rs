//! The server's own tables, as they move.

use super::table::{FEW, MANY, Part, Table, bytes, number, table, text};

/// Every handle with its generation.
pub const HANDLES: Table<'static> = table(
    "handle",
    "handles",
    MANY,
    &[
        bytes("handle", "handle"),
        number("generation", "generation"),
    ],
);

/// The revocation log.
pub const REVOCATIONS: Table<'static> = table(
    "revocation",
    "revocation_log",
    MANY,
    &[
        number("rseq", "rseq"),
        bytes("handle", "handle"),
        number("generation", "generation"),
        bytes("rhash", "rhash"),
    ],
);

/// Humans.
pub const USERS: Table<'static> = table(
    "user",
    "users",
    FEW,
    &[
        text("id", "id"),
        text("status", "status"),
        text("email", "email").or_null(),
        text("name", "name").or_null(),
        text("provider", "provider").or_null(),
        text("externalId", "external_id").or_null(),
        text("permissions", "permissions").or_null(),
        bytes("handle", "handle"),
        number("kills", "kills"),
        text("pseudonym", "pseudonym"),
        number("agents", "agents"),
        number("version", "version"),
        number("createdAt", "created_at"),
        number("emailVerifiedAt", "email_verified_at").or_null(),
        text("role", "role").or_null(),
        number("bannedUntil", "banned_until").or_null(),
    ],
);

/// Humans' passwords, as hashes.
pub const PASSWORDS: Table<'static> = table(
    "password",
    "passwords",
    MANY,
    &[
        text("user", "user_id"),
        text("phc", "phc"),
        number("mustReset", "must_reset"),
        number("setAt", "set_at"),
    ],
);

/// Which methods are a second factor of a human.
pub const SECOND_FACTORS: Table<'static> = Table {
    key: 2,
    ..table(
        "secondFactor",
        "second_factors",
        MANY,
        &[
            text("user", "user_id"),
            text("method", "method"),
            number("armedAt", "armed_at"),
        ],
    )
};

/// Outside identities that were taken from their humans.
pub const FORMER_IDENTITIES: Table<'static> = Table {
    key: 2,
    ..table(
        "formerIdentity",
        "former_identities",
        MANY,
        &[
            text("provider", "provider"),
            text("externalId", "external_id"),
            text("user", "user_id"),
            number("endedAt", "ended_at"),
        ],
    )
};

/// Agents, but for the agents that own some of them: an owner may stand after what it owns.
pub const AGENTS: Table<'static> = table(
    "agent",
    "agents",
    FEW,
    &[
        text("id", "id"),
        text("ownerUser", "owner_user").or_null(),
        text("root", "root"),
        text("name", "name"),
        text("type", "type"),
        text("status", "status"),
        number("expiresAt", "expires_at").or_null(),
        text("metadata", "metadata").or_null(),
        text("rootGrant", "root_grant"),
        bytes("handle", "handle"),
        number("kills", "kills"),
        number("version", "version"),
        number("createdAt", "created_at"),
        text("proofKey", "proof_key").or_null(),
        bytes("proofHandle", "proof_handle").or_null(),
        text("madeBy", "made_by").or_null(),
        text("madeIn", "made_in").or_null(),
    ],
);

/// The agents that own agents.
pub const AGENT_OWNERS: Table<'static> = Table {
    part: Part::Rest,
    ..table(
        "agentOwner",
        "agents",
        MANY,
        &[text("id", "id"), text("ownerAgent", "owner_agent")],
    )
};

/// Agents' keys.
pub const AGENT_KEYS: Table<'static> = table(
    "agentKey",
    "agent_keys",
    MANY,
    &[
        bytes("hash", "hash"),
        text("agent", "agent"),
        text("shown", "shown"),
        text("status", "status"),
        number("expiresAt", "expires_at"),
        number("agentKills", "agent_kills"),
        number("userKills", "user_kills"),
        bytes("handle", "handle"),
        number("endedAt", "ended_at").or_null(),
        number("createdAt", "created_at"),
    ],
);

/// Grants, each after the one it was derived from.
pub const GRANTS: Table<'static> = Table {
    key: 2,
    level: Some("depth"),
    ..table(
        "grant",
        "grants",
        FEW,
        &[
            number("depth", "depth"),
            text("id", "id"),
            text("parent", "parent").or_null(),
            text("giverUser", "giver_user").or_null(),
            text("giverAgent", "giver_agent").or_null(),
            text("receiver", "receiver"),
            text("root", "root"),
            text("permissions", "permissions"),
            text("guards", "guards").or_null(),
            number("maxDepth", "max_depth"),
            number("expiresAt", "expires_at").or_null(),
            text("reason", "reason").or_null(),
            text("status", "status"),
            bytes("handle", "handle"),
            number("version", "version"),
            number("createdAt", "created_at"),
            text("uses", "uses").or_null(),
            text("reservedFor", "reserved_for").or_null(),
            text("madeBy", "made_by").or_null(),
            text("madeIn", "made_in").or_null(),
        ],
    )
};

/// Which grants were made for one token each.
pub const TOKEN_GRANTS: Table<'static> = table(
    "tokenGrant",
    "token_grants",
    MANY,
    &[text("grant", "grant_id"), number("endsAt", "ends_at")],
);

/// Tool servers, with the hashes of their keys.
pub const TOOL_SERVERS: Table<'static> = table(
    "toolServer",
    "tool_servers",
    FEW,
    &[
        text("id", "id"),
        bytes("hash", "hash"),
        text("shown", "shown"),
        text("audience", "audience"),
        text("name", "name"),
        text("scopes", "scopes"),
        text("policy", "policy"),
        text("status", "status"),
        bytes("handle", "handle"),
        number("version", "version"),
        number("createdAt", "created_at"),
    ],
);

/// OAuth clients, with the hashes of their secrets.
pub const CLIENTS: Table<'static> = table(
    "client",
    "oauth_clients",
    FEW,
    &[
        text("id", "id"),
        text("source", "source"),
        text("metadata", "metadata"),
        bytes("secret", "secret").or_null(),
        bytes("manager", "manager").or_null(),
        text("agent", "agent").or_null(),
        text("status", "status"),
        bytes("handle", "handle"),
        number("version", "version"),
        number("createdAt", "created_at"),
    ],
);

/// Which agents are clients that a human let in.
pub const CONNECTIONS: Table<'static> = table(
    "connection",
    "connections",
    MANY,
    &[
        text("agent", "agent"),
        text("client", "client"),
        text("user", "user_id"),
        number("createdAt", "created_at"),
    ],
);

/// What humans said yes to.
pub const CONSENTS: Table<'static> = Table {
    key: 2,
    ..table(
        "consent",
        "consents",
        FEW,
        &[
            text("agent", "agent"),
            text("server", "server"),
            text("scopes", "scopes"),
            bytes("fingerprint", "fingerprint"),
            number("givenAt", "given_at"),
        ],
    )
};

/// Lines of refresh tokens.
pub const REFRESH_LINES: Table<'static> = table(
    "refreshLine",
    "refresh_lines",
    FEW,
    &[
        bytes("id", "id"),
        text("agent", "agent"),
        text("client", "client"),
        text("targets", "targets"),
        bytes("proofKey", "proof_key").or_null(),
        number("number", "number"),
        number("since", "since"),
        number("repeats", "repeats"),
        number("idleEndsAt", "idle_ends_at"),
        number("createdAt", "created_at"),
    ],
);

/// The tokens of these lines, as hashes.
pub const REFRESH_TOKENS: Table<'static> = table(
    "refreshToken",
    "refresh_tokens",
    MANY,
    &[
        bytes("hash", "hash"),
        bytes("line", "line"),
        number("number", "number"),
    ],
);

/// The codes that lines began with, as hashes: one that is shown again there is a copy here, too.
pub const AUTHORIZATION_CODES: Table<'static> = table(
    "authorizationCode",
    "authorization_codes",
    MANY,
    &[
        bytes("hash", "hash"),
        bytes("line", "line"),
        text("redirectUri", "redirect_uri").or_null(),
        bytes("challenge", "challenge").or_null(),
        number("expiresAt", "expires_at"),
        number("redeemedAt", "redeemed_at").or_null(),
    ],
);

/// Operators' keys.
pub const OPERATOR_KEYS: Table<'static> = table(
    "operatorKey",
    "operator_keys",
    FEW,
    &[
        text("id", "id"),
        bytes("hash", "hash"),
        text("shown", "shown"),
        text("name", "name"),
        text("origin", "origin"),
        text("scopes", "scopes"),
        text("ceiling", "ceiling").or_null(),
        text("status", "status"),
        number("expiresAt", "expires_at").or_null(),
        bytes("handle", "handle"),
        number("version", "version"),
        number("createdAt", "created_at"),
    ],
);

/// Humans' sessions.
pub const SESSIONS: Table<'static> = table(
    "session",
    "sessions",
    MANY,
    &[
        text("id", "id"),
        bytes("hash", "hash"),
        text("shown", "shown"),
        text("user", "user_id"),
        text("openedBy", "opened_by"),
        text("status", "status"),
        number("userKills", "user_kills"),
        bytes("handle", "handle"),
        number("signedInAt", "signed_in_at"),
        number("usedAt", "used_at"),
        number("expiresAt", "expires_at"),
        number("createdAt", "created_at"),
        text("method", "method").or_null(),
        text("ip", "ip").or_null(),
        text("userAgent", "user_agent").or_null(),
        text("impersonator", "impersonator").or_null(),
        bytes("impersonatorHandle", "impersonator_handle").or_null(),
        number("impersonatorGeneration", "impersonator_generation").or_null(),
        number("twoFactors", "two_factors").or_null(),
    ],
);

/// Requests for approval.
pub const APPROVALS: Table<'static> = table(
    "approval",
    "approvals",
    FEW,
    &[
        text("id", "id"),
        text("agent", "agent"),
        text("subject", "subject"),
        text("action", "action"),
        text("resource", "resource"),
        text("grantPath", "grant_path"),
        text("document", "document"),
        bytes("digest", "digest"),
        bytes("argumentsDigest", "arguments_digest").or_null(),
        text("status", "status"),
        text("decidedBy", "decided_by").or_null(),
        bytes("approver", "approver").or_null(),
        number("approverGeneration", "approver_generation").or_null(),
        number("decidedAt", "decided_at").or_null(),
        number("expiresAt", "expires_at"),
        number("createdAt", "created_at"),
        text("server", "server").or_null(),
    ],
);

/// Webhooks. Their secrets are stored nowhere.
pub const WEBHOOKS: Table<'static> = table(
    "webhook",
    "webhooks",
    FEW,
    &[
        text("id", "id"),
        text("url", "url"),
        text("name", "name").or_null(),
        text("kinds", "kinds"),
        number("denials", "denials"),
        text("status", "status"),
        number("position", "position"),
        number("secret", "secret"),
        number("overlapUntil", "overlap_until").or_null(),
        bytes("master", "master"),
        number("version", "version"),
        number("createdAt", "created_at"),
    ],
);

/// What webhooks were not told yet.
pub const DELIVERIES: Table<'static> = Table {
    key: 2,
    ..table(
        "delivery",
        "webhook_deliveries",
        MANY,
        &[
            text("webhook", "webhook"),
            text("audit", "audit"),
            text("status", "status"),
            number("attempts", "attempts"),
            number("nextAt", "next_at"),
            text("problem", "problem").or_null(),
        ],
    )
};

/// Counters of rates and budgets.
pub const COUNTERS: Table<'static> = table(
    "counter",
    "counters",
    MANY,
    &[
        bytes("counter", "counter"),
        bytes("state", "state"),
        number("time", "time"),
    ],
);

/// The ledger. What else stands in its columns follows from the body.
pub const RECORDS: Table<'static> = table(
    "record",
    "ledger",
    MANY,
    &[
        number("seq", "seq"),
        number("time", "time"),
        text("body", "body"),
        bytes("salt", "salt").or_null(),
        text("personal", "personal").or_null(),
    ],
);

/// All of the server's own, in the order in which they are written and read. The ledger is the last: the tables of plugins
/// stand before it.
pub const TABLES: [Table<'static>; 25] = [
    HANDLES,
    REVOCATIONS,
    USERS,
    PASSWORDS,
    SECOND_FACTORS,
    FORMER_IDENTITIES,
    AGENTS,
    AGENT_OWNERS,
    AGENT_KEYS,
    GRANTS,
    TOKEN_GRANTS,
    TOOL_SERVERS,
    CLIENTS,
    CONNECTIONS,
    CONSENTS,
    REFRESH_LINES,
    REFRESH_TOKENS,
    AUTHORIZATION_CODES,
    OPERATOR_KEYS,
    SESSIONS,
    APPROVALS,
    WEBHOOKS,
    DELIVERIES,
    COUNTERS,
    RECORDS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_kind_and_members_of_its_own() {
        for (index, table) in TABLES.iter().enumerate() {
            assert!(
                TABLES
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.kind != table.kind)
            );
            let mut members: Vec<&str> = table.columns.iter().map(|one| one.member).collect();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), table.columns.len(), "{}", table.kind);
            assert!(!members.contains(&"kind"), "{}", table.kind);
        }
    }
}
