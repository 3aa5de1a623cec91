-- The keys that tokens, heads of the revocation log and checkpoints are signed with. No private key is here: it is
-- derived from the master key and the salt.

CREATE TABLE signing_keys (
  kid {text} NOT NULL PRIMARY KEY,
  purpose {text} NOT NULL,
  algorithm {text} NOT NULL,
  public {text} NOT NULL,
  salt {bytes} NOT NULL CHECK (length(salt) = 32),
  master {bytes} NOT NULL CHECK (length(master) = 8),
  state {text} NOT NULL,
  created_at {int} NOT NULL,
  signs_since {int},
  published_until {int}
) {rows};
CREATE UNIQUE INDEX signing_keys_in_use ON signing_keys (purpose, algorithm, state) WHERE state <> 'retired';
