-- Tokens that agents were promised by others: each is made once, for the agent that the grant was given to, with its own
-- key. `marks` are the handles with their generations that it came from: whatever of them is killed or narrowed, kills it.
CREATE TABLE promised_tokens (
  grant_id {text} NOT NULL PRIMARY KEY REFERENCES grants (id),
  giver {text} NOT NULL REFERENCES agents (id),
  server {text} NOT NULL REFERENCES tool_servers (id),
  bound {int} NOT NULL,
  marks {bytes} NOT NULL,
  epoch {int} NOT NULL,
  expires_at {int} NOT NULL,
  redeemed_at {int}
) {rows};
CREATE INDEX promised_tokens_by_giver ON promised_tokens (giver, expires_at);
CREATE INDEX promised_tokens_by_end ON promised_tokens (expires_at);

-- The key that an agent proves: a JSON Web Key, and the handle that is made of its thumbprint.
ALTER TABLE agents ADD COLUMN proof_key {text};
ALTER TABLE agents ADD COLUMN proof_handle {bytes};
-- One that was revoked leaves its key to the next.
CREATE UNIQUE INDEX agents_by_proof_handle ON agents (proof_handle) WHERE status <> 'revoked';
