-- Addresses that humans gave up for another one, with the link by which whoever reads mail there takes the account back, as the
-- SHA-256 of its token. The place says which address was left first: it goes before those that were left later.
CREATE TABLE former_addresses (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  user_id {text} NOT NULL REFERENCES users (id),
  email {text} NOT NULL,
  place {int} NOT NULL,
  expires_at {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE UNIQUE INDEX former_addresses_by_user ON former_addresses (user_id, place);
CREATE INDEX former_addresses_by_end ON former_addresses (expires_at);
