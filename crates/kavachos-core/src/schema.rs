//! The forms of the wire as JSON Schema (draft 2020-12), for documents that are generated from the types that are read
//! and written. Feature `schema`.
//!
//! Types that read and write themselves are described here by hand, with the limits that their readers enforce; the
//! types of other crates derive their schemas and find these inside. What a schema cannot say (the order of two times, a
//! zone that exists) is said in words, and refused by the reader.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::action::{Action, Actions, MAX_ACTION_BYTES, MAX_ACTIONS};
use crate::constraint::{
    Constraints, Cost, MAX_AMOUNT, MAX_APPROVAL_TTL, MAX_ARG_PATTERNS, MAX_ARG_RULES,
    MAX_IP_PREFIXES, MAX_MATCHES, MAX_ONE_OF, MAX_PATTERN_LEN, MAX_POINTER_LEN, MAX_PREFIX_LEN,
    MAX_RATE_LIMIT, MAX_RATE_PERIOD, MAX_UNIT_LEN,
};
use crate::decide::Code;
use crate::grant::{Exchangers, MAX_EXCHANGERS};
use crate::id::{Id, Named};
use crate::json::Object;
use crate::ledger::Outcome;
use crate::permission::{MAX_PERMISSIONS, Permission, PermissionSet};
use crate::principal::{Owner, Role, Status};
use crate::resource::{MAX_RESOURCE_BYTES, Resource, ResourcePattern};
use crate::revocation::{
    HandleKind, Instance, MAX_RECORDS, MAX_SNAPSHOT_MARKS, Mark, Nonce, PollAnswer, PollRequest,
    Record, SnapshotAnswer, SnapshotRequest,
};
use crate::time::Timestamp;
use crate::token::MAX_TOKEN_BYTES;
use crate::tool_server::{
    Audience, LEASE_SECONDS, MAX_AUDIENCE_BYTES, MAX_DESCRIPTION_BYTES, Party, Proof,
    RegisteredScope, TTL_SECONDS, TokenAlgorithm, TokenPolicy, Verification,
};

/// The digits of an id: 26 of Crockford base 32 that hold 128 bits.
const DIGITS: &str = "[0-7][0-9a-hjkmnp-tv-z]{25}";

macro_rules! described {
    ($($type:ty, $name:literal => $schema:expr;)*) => { $(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let describe: fn(&mut SchemaGenerator) -> Schema = $schema;
                describe(generator)
            }
        }
    )* };
}

impl<K: Named> JsonSchema for Id<K> {
    fn schema_name() -> Cow<'static, str> {
        let (first, rest) = K::PREFIX.split_at_checked(1).unwrap_or((K::PREFIX, ""));
        format!("{}{rest}Id", first.to_ascii_uppercase()).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": format!("^{}_{DIGITS}$", K::PREFIX),
            "examples": [format!("{}_01h455vb4pex5vsknk084sn02q", K::PREFIX)],
        })
    }
}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

described! {
    Owner, "OwnerId" => |_| json_schema!({
        "description": "The id of a user or of an agent.",
        "type": "string",
        "pattern": format!("^(user|agent)_{DIGITS}$"),
        "examples": ["user_01h455vb4pex5vsknk084sn02q"],
    });
    Timestamp, "Time" => |_| json_schema!({
        "description": "RFC 3339, from 1970 to 9999; answers are in UTC, down to a microsecond.",
        "type": "string",
        "format": "date-time",
        "examples": ["2026-12-01T00:00:00Z"],
    });
    Status, "Status" => |_| json_schema!({
        "description": "What was last done to it.",
        "type": "string",
        "enum": ["active", "suspended", "revoked", "banned"],
    });
    Role, "Role" => |_| json_schema!({
        "description": "What a human is trusted with beyond what is their own.",
        "type": "string",
        "enum": Role::ALL.map(Role::as_str),
    });
    Code, "DecisionCode" => |_| json_schema!({
        "description": "Why a request is allowed or denied.",
        "type": "string",
        "enum": Code::ALL.map(Code::as_str),
    });
    Outcome, "Outcome" => |_| json_schema!({
        "description": "How it ended.",
        "type": "string",
        "enum": [Outcome::Allowed.as_str(), Outcome::Denied.as_str()],
    });
    Action, "Action" => |_| json_schema!({
        "description": "What is done: a name, case-sensitive.",
        "type": "string",
        "pattern": format!("^[A-Za-z0-9._-]{{1,{MAX_ACTION_BYTES}}}$"),
        "examples": ["read"],
    });
    Actions, "Actions" => |_| json_schema!({
        "description": "Names of actions, or `*` alone for every action.",
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_ACTIONS,
        "items": { "type": "string", "pattern": format!("^([A-Za-z0-9._-]{{1,{MAX_ACTION_BYTES}}}|\\*)$") },
        "examples": [["read"]],
    });
    Resource, "Resource" => |_| json_schema!({
        "description": "One resource: at most 16 segments joined by `:`, case-sensitive.",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_RESOURCE_BYTES,
        "pattern": "^([A-Za-z0-9._-]|%[0-9A-F]{2})+(:([A-Za-z0-9._-]|%[0-9A-F]{2})+){0,15}$",
        "examples": ["mcp:github:repos"],
    });
    ResourcePattern, "ResourcePattern" => |_| json_schema!({
        "description": "Resources: `*` stands for one whole segment, and as the last one for one or more.",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_RESOURCE_BYTES,
        "pattern": "^(([A-Za-z0-9._-]|%[0-9A-F]{2})+|\\*)(:(([A-Za-z0-9._-]|%[0-9A-F]{2})+|\\*)){0,15}$",
        "examples": ["mcp:github:*"],
    });
    Permission, "Permission" => permission;
    PermissionSet, "Permissions" => |generator| json_schema!({
        "description": "What may be done. The order does not matter, and is not kept.",
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_PERMISSIONS,
        "items": generator.subschema_for::<Permission>(),
    });
    Constraints, "Constraints" => constraints;
    Cost, "Cost" => |_| json_schema!({
        "description": "What one call costs, in the unit of a budget; never in `calls`.",
        "type": "object",
        "additionalProperties": false,
        "required": ["amount", "unit"],
        "properties": { "amount": amount(), "unit": unit() },
        "examples": [{ "amount": 1, "unit": "tokens" }],
    });
    Audience, "Audience" => |_| json_schema!({
        "description": "For whom tokens are made out: a URL, scheme and host in lower case, without user, query and fragment.",
        "type": "string",
        "maxLength": MAX_AUDIENCE_BYTES,
        "pattern": "^https?://[a-z0-9._:\\[\\]-]+(/.*)?$",
        "examples": ["https://tools.example.com/mcp"],
    });
    Exchangers, "Exchangers" => |generator| json_schema!({
        "type": "array",
        "description": "Tool servers, each once.",
        "maxItems": MAX_EXCHANGERS,
        "uniqueItems": true,
        "items": generator.subschema_for::<Audience>(),
    });
    RegisteredScope, "RegisteredScope" => |generator| json_schema!({
        "description": "A scope of a tool server: resources, with every action.",
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "description"],
        "properties": {
            "name": generator.subschema_for::<ResourcePattern>(),
            "description": { "type": "string", "minLength": 1, "maxLength": MAX_DESCRIPTION_BYTES,
                "description": "What a human is told of it." },
        },
    });
    Party, "Party" => |_| json_schema!({
        "description": "Who runs it: you, or others.", "type": "string", "enum": ["first", "third"],
    });
    Verification, "Verification" => |_| json_schema!({
        "description": "What it checks by itself: signature, audience and scope, or everything.",
        "type": "string", "enum": ["plain", "kavach"],
    });
    Proof, "Proof" => |_| json_schema!({
        "description": "Whether callers prove that a token is theirs.",
        "type": "string", "enum": ["none", "optional", "dpop", "dpop_body"],
    });
    TokenAlgorithm, "TokenAlgorithm" => |_| json_schema!({
        "description": "How tokens are signed.", "type": "string", "enum": ["EdDSA", "ES256"],
    });
    TokenPolicy, "TokenPolicy" => token_policy;
    Nonce, "Nonce" => |_| json_schema!({
        "description": "Made up for this question and never used twice.",
        "type": "string",
        "pattern": format!("^[!-~]{{1,{}}}$", Nonce::MAX_BYTES),
    });
    Instance, "Instance" => |_| json_schema!({
        "description": "Made up by a process of a follower when it starts.",
        "type": "string",
        "pattern": format!("^[A-Za-z0-9_-]{{1,{}}}$", Instance::MAX_BYTES),
    });
    Record, "RevocationRecord" => |_| revocation(&["rseq", "kind", "handle", "generation"]);
    Mark, "RevocationMark" => |_| revocation(&["kind", "handle", "generation"]);
    PollRequest, "RevocationPoll" => |generator| json_schema!({
        "description": "What is new after the state that a follower has? It also acknowledges that state.",
        "type": "object",
        "additionalProperties": false,
        "required": ["nonce", "instance", "epoch", "rseq", "rhash"],
        "properties": {
            "nonce": generator.subschema_for::<Nonce>(),
            "instance": generator.subschema_for::<Instance>(),
            "epoch": { "type": "integer", "minimum": 0, "description": "0 when it has nothing yet." },
            "rseq": { "type": "integer", "minimum": 0, "description": "The last record that it has applied." },
            "rhash": { "type": "string", "pattern": "^[A-Za-z0-9_-]{43}$",
                "description": "The hash of the log up to that record." },
        },
    });
    PollAnswer, "RevocationPollAnswer" => |generator| json_schema!({
        "description": "What is new.",
        "type": "object",
        "additionalProperties": false,
        "required": ["head", "records", "more"],
        "properties": {
            "head": head(),
            "records": { "type": "array", "maxItems": MAX_RECORDS, "items": generator.subschema_for::<Record>() },
            "more": { "type": "boolean", "description": "Whether more records follow up to the head: ask again." },
            "snapshotNeeded": { "type": "boolean", "description": "Whether only a snapshot helps." },
        },
    });
    SnapshotRequest, "RevocationSnapshotRequest" => |generator| json_schema!({
        "description": "What was killed?",
        "type": "object",
        "additionalProperties": false,
        "required": ["nonce", "instance"],
        "properties": {
            "nonce": generator.subschema_for::<Nonce>(),
            "instance": generator.subschema_for::<Instance>(),
        },
    });
    SnapshotAnswer, "RevocationSnapshot" => |generator| json_schema!({
        "description": "The highest generation of each handle that was killed.",
        "type": "object",
        "additionalProperties": false,
        "required": ["head", "records"],
        "properties": {
            "head": head(),
            "records": { "type": "array", "maxItems": MAX_SNAPSHOT_MARKS, "items": generator.subschema_for::<Mark>() },
        },
    });
}

fn permission(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Some actions on the resources of a pattern, under constraints.",
        "type": "object",
        "additionalProperties": false,
        "required": ["resource", "actions"],
        "properties": {
            "resource": generator.subschema_for::<ResourcePattern>(),
            "actions": generator.subschema_for::<Actions>(),
            "constraints": generator.subschema_for::<Constraints>(),
        },
        "examples": [{ "resource": "mcp:github:*", "actions": ["read"] }],
    })
}

fn head() -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": MAX_TOKEN_BYTES,
        "description": "A `kvf+jwt`, signed with a feed key of the issuer after the question came.",
    })
}

/// A kill with or without its number.
fn revocation(members: &[&str]) -> Schema {
    let mut properties = serde_json::Map::new();
    for name in members {
        let schema = match *name {
            "rseq" => json_schema!({ "type": "integer", "minimum": 1,
                "description": "Its number in the log, without gaps." }),
            "kind" => {
                json_schema!({ "type": "integer", "minimum": 1, "maximum": HandleKind::ALL.len(),
                "description": "What the handle belongs to: 1 user, 2 session, 3 client, 4 grant, 5 agent, 6 key." })
            }
            "handle" => json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{22}$" }),
            _ => json_schema!({ "type": "integer", "minimum": 0,
                "description": "The lowest generation of the handle that lives." }),
        };
        properties.insert((*name).to_owned(), schema.to_value());
    }
    json_schema!({
        "description": "What was killed.",
        "type": "object",
        "additionalProperties": false,
        "required": members,
        "properties": properties,
    })
}

fn token_policy(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["defaultScope", "party", "kind", "proof", "tokenAlgorithm", "critical", "leaseSeconds", "maxTtlSeconds"],
        "properties": {
            "defaultScope": { "type": ["string", "null"],
                "description": "What a request gets that names no scope: registered scopes, separated by blanks." },
            "party": generator.subschema_for::<Party>(),
            "kind": generator.subschema_for::<Verification>(),
            "proof": generator.subschema_for::<Proof>(),
            "tokenAlgorithm": generator.subschema_for::<TokenAlgorithm>(),
            "critical": { "type": "boolean",
                "description": "Whether no picture of revocations may be older than 2 seconds." },
            "leaseSeconds": { "type": "integer", "minimum": LEASE_SECONDS.start(), "maximum": LEASE_SECONDS.end(),
                "description": "How long it may go on without news of revocations." },
            "maxTtlSeconds": { "type": "integer", "minimum": TTL_SECONDS.start(), "maximum": TTL_SECONDS.end(),
                "description": "The longest life of a token." },
        },
    })
}

fn constraints(generator: &mut SchemaGenerator) -> Schema {
    let time = generator.subschema_for::<Timestamp>();
    json_schema!({
        "description": "Under which circumstances a permission may be used: all of them must hold. Answers have \
            `maxCallsPerHour` as a `rate`.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "rate": rate(),
            "maxCallsPerHour": { "type": "integer", "minimum": 0, "maximum": MAX_RATE_LIMIT,
                "description": "The same as a `rate` with `per` 3600." },
            "timeWindow": time_window(),
            "ipAllowlist": { "type": "array", "minItems": 1, "maxItems": MAX_IP_PREFIXES,
                "items": { "type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$" },
                "description": "Addresses or prefixes from which the call may come.",
                "examples": [["192.0.2.0/24", "2001:db8::/32"]] },
            "requireApproval": approval(),
            "args": arg_rules(),
            "allowedArgPatterns": { "type": "array", "minItems": 1, "maxItems": MAX_ARG_PATTERNS, "items": pattern(),
                "description": "Patterns that every string in the arguments matches, however deep." },
            "budget": { "type": "object", "additionalProperties": false, "required": ["amount", "unit"],
                "properties": { "amount": amount(), "unit": unit() },
                "description": "A total over the life of the grant." },
            "notBefore": time,
            "expiresAt": time,
        },
    })
}

fn rate() -> Schema {
    json_schema!({
        "description": "At most `limit` calls in any `per` seconds.",
        "type": "object",
        "additionalProperties": false,
        "required": ["limit", "per"],
        "properties": {
            "limit": { "type": "integer", "minimum": 0, "maximum": MAX_RATE_LIMIT },
            "per": { "type": "integer", "minimum": 1, "maximum": MAX_RATE_PERIOD, "description": "Seconds." },
        },
    })
}

fn time_window() -> Schema {
    json_schema!({
        "description": "From `start` until just before `end`, local time, on windows that start on one of `days`.",
        "type": "object",
        "additionalProperties": false,
        "required": ["start", "end"],
        "properties": {
            "start": { "type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$", "examples": ["09:00"] },
            "end": { "type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", "examples": ["17:00"] },
            "days": { "type": "array", "minItems": 1, "maxItems": 7, "uniqueItems": true,
                "items": { "type": "string", "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] } },
            "timezone": { "type": "string", "minLength": 1, "maxLength": 64,
                "description": "An IANA name; `UTC` unless said.", "examples": ["Europe/Berlin"] },
        },
    })
}

fn approval() -> Schema {
    json_schema!({
        "description": "A human approves the very call first.",
        "anyOf": [
            { "type": "boolean", "const": true },
            { "type": "object", "additionalProperties": false, "required": ["ttlSeconds"],
                "properties": { "ttlSeconds": { "type": "integer", "minimum": 1, "maximum": MAX_APPROVAL_TTL } } },
        ],
    })
}

fn arg_rules() -> Schema {
    json_schema!({
        "description": "Rules for arguments, by the JSON pointer (RFC 6901) of each. A missing argument fails.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": MAX_ARG_RULES,
        "propertyNames": { "maxLength": MAX_POINTER_LEN, "pattern": "^(/([^/~]|~[01])*)*$" },
        "additionalProperties": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": false,
            "properties": {
                "eq": { "description": "The value, compared in canonical form." },
                "oneOf": { "type": "array", "minItems": 1, "maxItems": MAX_ONE_OF },
                "prefix": { "type": "string", "maxLength": MAX_PREFIX_LEN,
                    "description": "A path, or an `https` URL, under which the value lies." },
                "range": { "type": "object", "additionalProperties": false, "minProperties": 1,
                    "properties": { "min": { "type": "number" }, "max": { "type": "number" } } },
                "maxLength": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                "matches": { "anyOf": [
                    pattern(),
                    { "type": "array", "minItems": 1, "maxItems": MAX_MATCHES, "items": pattern() },
                ] },
            },
        },
        "examples": [{ "/path": { "prefix": "/srv/data" } }],
    })
}

/// A regular expression of the `regex` crate, matched against the whole.
fn pattern() -> Schema {
    json_schema!({ "type": "string", "maxLength": MAX_PATTERN_LEN })
}

fn amount() -> Schema {
    json_schema!({ "type": "integer", "minimum": 0, "maximum": MAX_AMOUNT })
}

fn unit() -> Schema {
    let more = MAX_UNIT_LEN - 1;
    json_schema!({
        "type": "string",
        "pattern": format!("^[a-z][a-z0-9_.-]{{0,{more}}}$"),
        "examples": ["tokens"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_named_after_what_they_name() {
        use crate::id::kind;
        assert_eq!(Id::<kind::ToolServer>::schema_name(), "ResourceId");
        assert_eq!(Id::<kind::Agent>::schema_name(), "AgentId");
    }
}
