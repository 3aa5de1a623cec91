-- Whether two factors were proved in a session, and how many guesses in a row were wrong at what proves a human.

ALTER TABLE sessions ADD COLUMN two_factors {int} NOT NULL DEFAULT 0;

CREATE TABLE wrong_guesses (
  -- What is guessed, of whom, and in which browser where that is known.
  bucket {bytes} NOT NULL PRIMARY KEY CHECK (length(bucket) = 32),
  user_id {text} NOT NULL REFERENCES users (id),
  in_a_row {int} NOT NULL
) {keyed};
CREATE INDEX wrong_guesses_by_user ON wrong_guesses (user_id);
