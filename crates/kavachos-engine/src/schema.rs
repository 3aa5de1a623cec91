//! Records as JSON Schema: their members are known, though they are kept as a map. Feature `schema`.

use std::borrow::Cow;

use kavachos_core::id::{AgentId, AuditId, GrantId, RequestId};
use kavachos_core::ledger::Outcome;
use kavachos_core::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::audit::AuditRecord;

/// Who a record is about, or who called.
const WHO: &str = "^((user|person|agent|key|resource)_[0-9a-hjkmnp-tv-z]{26}|system|stranger)$";

impl JsonSchema for AuditRecord {
    fn schema_name() -> Cow<'static, str> {
        "AuditRecord".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One record of the ledger, with its personal fields where they were not erased.",
            "type": "object",
            "additionalProperties": false,
            "required": ["id", "seq", "time", "kind", "outcome", "code", "actor"],
            "properties": {
                "id": generator.subschema_for::<AuditId>(),
                "seq": { "type": "integer", "minimum": 0, "description": "Its number, without gaps." },
                "time": generator.subschema_for::<Timestamp>(),
                "kind": { "type": "string", "description": "`decision`, `agent.created`, ..." },
                "outcome": generator.subschema_for::<Outcome>(),
                "code": { "type": "string", "description": "The code of the decision or of the error, or `done`." },
                "actor": { "type": "string", "pattern": WHO, "description": "Who called." },
                "impersonator": { "type": "string", "pattern": WHO, "description": "Who it really was, where someone called in a human's name." },
                "subject": { "type": "string", "pattern": WHO, "description": "The human for whom." },
                "agent": generator.subschema_for::<AgentId>(),
                "agentProof": { "type": "string", "description": "How the agent proved itself." },
                "chain": { "type": "array", "items": generator.subschema_for::<AgentId>(),
                    "description": "The agents above the agent." },
                "grantPath": { "type": "array", "items": generator.subschema_for::<GrantId>(),
                    "description": "The grants that were relied on, the root's first." },
                "action": { "type": "string" },
                "resource": { "type": "string" },
                "requestId": generator.subschema_for::<RequestId>(),
                "reason": { "type": "string" },
                "reportedBy": { "type": "string" },
                "cost": { "type": "object", "additionalProperties": false, "required": ["amount", "unit"],
                    "properties": { "amount": { "type": "integer" }, "unit": { "type": "string" } } },
                "durationUs": { "type": "integer", "minimum": 0 },
                "revocationHead": { "type": "object", "additionalProperties": false, "required": ["epoch", "rseq"],
                    "properties": { "epoch": { "type": "integer" }, "rseq": { "type": "integer" } },
                    "description": "The kills that the decision knew of." },
                "scopeDelta": { "type": "object" },
                "details": { "type": "object", "description": "Whatever else belongs to this kind." },
                "argumentsDigest": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
                "email": { "type": "string" },
                "ip": { "type": "string" },
                "metadata": { "type": "object" },
                "name": { "type": "string" },
                "userAgent": { "type": "string" },
            },
        })
    }
}
