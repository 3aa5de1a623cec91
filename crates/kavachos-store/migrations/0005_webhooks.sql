-- Webhooks. What is still to be sent is derived from the ledger: each endpoint stands at a number, and moves on in the
-- same batch in which its deliveries are noted. So nothing is lost, and no decision waits for a receiver.

CREATE TABLE webhooks (
  id {text} NOT NULL PRIMARY KEY,
  url {text} NOT NULL,
  name {text},
  -- A JSON array of kinds, each whole, or with `.*` at its end, or `*`.
  kinds {text} NOT NULL,
  -- 1 if refusals are sent too.
  denials {int} NOT NULL,
  status {text} NOT NULL,
  -- The number of the next record to look at.
  position {int} NOT NULL,
  -- Which secret is in use, counted from 1; secrets are derived from the master key and stored nowhere.
  secret {int} NOT NULL,
  -- Until when the secret before it signs as well.
  overlap_until {int},
  -- Tells the master key that secrets are derived from.
  master {bytes} NOT NULL CHECK (length(master) = 8),
  version {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};

-- Housekeeping: deliveries that were not acknowledged yet, and those that were given up.
CREATE TABLE webhook_deliveries (
  webhook {text} NOT NULL REFERENCES webhooks (id),
  -- The record that is told of.
  audit {text} NOT NULL,
  -- `waiting` or `dead`.
  status {text} NOT NULL,
  attempts {int} NOT NULL,
  next_at {int} NOT NULL,
  -- What came of the last attempt.
  problem {text},
  PRIMARY KEY (webhook, audit)
) {keyed};
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook, status, next_at);
