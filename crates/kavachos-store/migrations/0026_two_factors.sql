-- Whether two factors were proved in a session (nothing where it is older than that), and how many guesses in a row were
-- wrong at what proves a human.

ALTER TABLE sessions ADD COLUMN two_factors {int};

-- Those of strangers together, and those of each browser that is known by itself.
CREATE TABLE guess_runs (
  user_id {text} NOT NULL REFERENCES users (id),
  -- What is guessed: `password`, or the method whose codes they are.
  authenticator {text} NOT NULL,
  -- What a browser is known by; nothing for strangers.
  browser {bytes} NOT NULL,
  in_a_row {int} NOT NULL,
  PRIMARY KEY (user_id, authenticator, browser)
) {keyed};
