-- Kills that are begun and go on in steps: of a human, whose root grants are raised after the human, or of a session,
-- whose handles at third parties' tool servers are. `id` is the human's or the session's, `generation` the one that the
-- kill raised it to, `reached` the last that was raised, empty before the first. The row goes with the last step.

CREATE TABLE begun_kills (
  id {text} NOT NULL PRIMARY KEY,
  generation {int} NOT NULL,
  reached {text} NOT NULL
) {keyed};

-- What a third party's tool server is told of a session instead of its handle: a handle for this server alone.

CREATE TABLE session_handles (
  session_id {text} NOT NULL,
  server_id {text} NOT NULL,
  handle {bytes} NOT NULL UNIQUE,
  PRIMARY KEY (session_id, server_id)
) {keyed};
