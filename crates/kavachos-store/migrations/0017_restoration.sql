-- What the last restoration of a backup, or the last import, left to be remembered. Without a row there was none.
CREATE TABLE restoration (
  -- Quoted: the word means something in PostgreSQL.
  "only" {int} NOT NULL PRIMARY KEY CHECK ("only" = 1),
  -- What is good once and was made before this may have been used already: nobody knows.
  restored_at {int} NOT NULL,
  -- 1 where humans may be missing who were banned or deleted: until an operator lifts it, none is made on first mention.
  held {int} NOT NULL CHECK (held IN (0, 1))
) {keyed};
