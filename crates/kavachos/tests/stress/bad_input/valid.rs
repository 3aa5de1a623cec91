//! The bodies that are accepted, with every member that a route knows.

use serde_json::{Value, json};

use super::Site;
use crate::support::world::reading;

/// A body that is accepted, and where it goes.
pub(super) struct Valid {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Value,
}

fn post(path: &str, body: Value) -> Valid {
    Valid {
        method: "POST",
        path: format!("/api/v1/{path}"),
        body,
    }
}

fn patch(path: &str, body: Value) -> Valid {
    Valid {
        method: "PATCH",
        ..post(path, body)
    }
}

/// One of every constraint.
fn every_constraint() -> Value {
    json!({
        "rate": { "limit": 1000, "per": 60 },
        "timeWindow": { "start": "00:00", "end": "23:59", "days": ["mon", "sat"], "timezone": "Europe/Berlin" },
        "ipAllowlist": ["192.0.2.0/24", "2001:db8::/32"],
        "requireApproval": { "ttlSeconds": 60 },
        "args": {
            "/path": { "prefix": "/srv/data" }, "/n": { "range": { "min": 1, "max": 2 } },
            "/s": { "maxLength": 5, "matches": ["^[a-z]+$"] }, "/e": { "eq": 1 }, "/o": { "oneOf": [1, "a"] },
        },
        "allowedArgPatterns": ["^a"],
        "budget": { "amount": 1000, "unit": "calls" },
        "notBefore": "2026-01-01T00:00:00Z",
        "expiresAt": "2027-01-01T00:00:00Z",
    })
}

/// A permission with every member.
fn constrained() -> Value {
    json!([
        { "resource": "mcp:github:*", "actions": ["read", "write"], "constraints": every_constraint() },
    ])
}

/// The accepted bodies of every route that takes one.
pub(super) fn bodies(site: &Site) -> Vec<Valid> {
    let mut bodies = of_agents(site);
    bodies.extend(of_decisions_and_delegations(site));
    bodies.extend(of_users_and_keys(site));
    bodies
}

fn of_agents(site: &Site) -> Vec<Valid> {
    let path = format!("agents/{}", site.agent.id);
    vec![
        post(
            "agents",
            json!({
                "ownerId": site.ada, "name": "one", "type": "autonomous", "permissions": constrained(),
                "guards": { "maxCallsPerHour": 1000 }, "maxDepth": 2, "expiresAt": "2027-01-01T00:00:00Z",
                "keyTtlSeconds": 60, "metadata": { "team": { "name": ["x"] } },
            }),
        ),
        post(
            "agents",
            json!({
                "owner": { "provider": "clerk", "externalId": "u1" }, "name": "one", "type": "service",
                "permissions": reading("mcp:github:*"),
            }),
        ),
        post(
            "agents",
            json!({
                "ownerId": site.giver.id, "parent": site.giver.grant, "name": "sub", "type": "delegated",
                "permissions": reading("mcp:github:*"),
            }),
        ),
        patch(
            &path,
            json!({
                "name": "two", "permissions": constrained(), "guards": { "maxCallsPerHour": 1000 },
                "maxDepth": 1, "expiresAt": "2027-01-01T00:00:00Z", "metadata": { "a": 1 },
            }),
        ),
        post(&format!("{path}/rotate"), json!({ "keyTtlSeconds": 60 })),
    ]
}

fn of_decisions_and_delegations(site: &Site) -> Vec<Valid> {
    let Site {
        ada, agent, giver, ..
    } = site;
    vec![
        post(
            "authorize",
            json!({
                "agentId": giver.id, "for": ada, "action": "read", "resource": "mcp:github:repos",
                "arguments": { "path": "/srv", "list": [1, { "deep": true }] },
                "cost": { "amount": 1, "unit": "tokens" },
                "context": { "ip": "192.0.2.1", "userAgent": "test" },
            }),
        ),
        post(
            "delegations",
            json!({
                "from": giver.id, "to": agent.id, "permissions": constrained(), "ttlSeconds": 60,
                "maxDepth": 3, "guards": { "maxCallsPerHour": 1000 }, "parent": giver.grant,
                "reason": "the test",
            }),
        ),
        post(
            "delegations",
            json!({
                "from": giver.id, "to": agent.id, "permissions": reading("mcp:x"),
                "expiresAt": "2026-11-21T11:00:00Z", "reason": "the test",
            }),
        ),
    ]
}

fn of_users_and_keys(site: &Site) -> Vec<Valid> {
    vec![
        post(
            "users",
            json!({
                "email": "grace@example.com", "name": "Grace",
                "external": { "provider": "clerk", "externalId": "u2" }, "permissions": constrained(),
            }),
        ),
        patch(
            &format!("users/{}", site.grace),
            json!({ "email": "hopper@example.com", "name": "Grace", "external": null,
                "permissions": reading("*") }),
        ),
        post(
            "keys",
            json!({
                "name": "clerk", "scopes": ["agents:read", "audit:read"], "ceiling": reading("mcp:github:*"),
                "expiresAt": "2027-01-01T00:00:00Z",
            }),
        ),
        patch(
            &format!("keys/{}", site.key),
            json!({
                "name": "clerk", "scopes": ["agents:read"], "ceiling": reading("mcp:*"),
                "expiresAt": "2027-01-01T00:00:00Z",
            }),
        ),
    ]
}
