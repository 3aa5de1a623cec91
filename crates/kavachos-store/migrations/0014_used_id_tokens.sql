-- Identity tokens of outside providers that were exchanged: each is good once. `token` is the SHA-256 of what was signed;
-- rows are kept until the token ends by itself.

CREATE TABLE used_id_tokens (
  token {bytes} NOT NULL PRIMARY KEY CHECK (length(token) = 32),
  ends_at {int} NOT NULL
) {keyed};
CREATE INDEX used_id_tokens_by_end ON used_id_tokens (ends_at);
