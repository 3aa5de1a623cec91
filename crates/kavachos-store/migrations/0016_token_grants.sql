-- Grants that were made for one token each, beside their rows: they are forgotten a while after they are over. `ends_at`
-- is the grant's own end.
CREATE TABLE token_grants (
  grant_id {text} NOT NULL PRIMARY KEY,
  ends_at {int} NOT NULL
) {keyed};
CREATE INDEX token_grants_by_end ON token_grants (ends_at, grant_id);
-- Those that were promised before this migration; of the others nothing but the ledger tells.
INSERT INTO token_grants (grant_id, ends_at) SELECT p.grant_id, p.expires_at FROM promised_tokens p;

-- Live grants are counted by their end: what is over, and not forgotten yet, is not looked at.
DROP INDEX grants_by_parent;
CREATE INDEX grants_by_parent ON grants (parent, expires_at);
CREATE INDEX grants_by_receiver_end ON grants (receiver, expires_at);
