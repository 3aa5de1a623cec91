-- Humans' sessions. Times are microseconds UTC. `user_kills` is the human's at the time of the opening: a lower one than
-- the human's present one is dead for good. `used_at` is housekeeping, moved at most once an hour.

CREATE TABLE sessions (
  id {text} NOT NULL PRIMARY KEY,
  hash {bytes} NOT NULL UNIQUE CHECK (length(hash) = 32),
  shown {text} NOT NULL,
  user_id {text} NOT NULL REFERENCES users (id),
  opened_by {text} NOT NULL,
  status {text} NOT NULL,
  user_kills {int} NOT NULL,
  handle {bytes} NOT NULL UNIQUE,
  signed_in_at {int} NOT NULL,
  used_at {int} NOT NULL,
  expires_at {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_end ON sessions (expires_at);
