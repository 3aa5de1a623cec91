-- How people sign in. Times are microseconds UTC; secrets stand here as their SHA-256.

-- Since when it is known that the human reads mail sent to the address.
ALTER TABLE users ADD COLUMN email_verified_at {int};
-- `admin` or `owner`; nothing for a member.
ALTER TABLE users ADD COLUMN role {text};
-- When a ban ends by itself; nothing for one that does not.
ALTER TABLE users ADD COLUMN banned_until {int};

-- By which method it was opened; nothing where an operator did.
ALTER TABLE sessions ADD COLUMN method {text};
-- From where, as the human is shown it.
ALTER TABLE sessions ADD COLUMN ip {text};
ALTER TABLE sessions ADD COLUMN user_agent {text};
-- Who acts in the human's name in it, and the handle and generation with which that stands and falls; nothing in the
-- human's own sessions.
ALTER TABLE sessions ADD COLUMN impersonator {text};
ALTER TABLE sessions ADD COLUMN impersonator_handle {bytes};
ALTER TABLE sessions ADD COLUMN impersonator_generation {int};

-- Sign-ins whose first proof was accepted and that wait for a second one. None of them is a session.
CREATE TABLE sign_ins (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  user_id {text} NOT NULL REFERENCES users (id),
  user_kills {int} NOT NULL,
  method {text} NOT NULL,
  -- How often the second proof was tried.
  attempts {int} NOT NULL,
  -- The budget of guesses that goes back with the second proof.
  guess {bytes},
  expires_at {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX sign_ins_by_end ON sign_ins (expires_at);

-- Which methods are a second factor of a human.
CREATE TABLE second_factors (
  user_id {text} NOT NULL REFERENCES users (id),
  method {text} NOT NULL,
  armed_at {int} NOT NULL,
  PRIMARY KEY (user_id, method)
) {keyed};

-- Browsers in which a human signed in before: the hash of a random cookie, of each human its own.
CREATE TABLE known_devices (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  user_id {text} NOT NULL REFERENCES users (id),
  seen_at {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX known_devices_by_user ON known_devices (user_id, seen_at);

-- Guesses that were not right, of each account and of each device known to it.
CREATE TABLE guesses (
  bucket {bytes} NOT NULL PRIMARY KEY CHECK (length(bucket) = 32),
  failures {int} NOT NULL,
  since {int} NOT NULL,
  pause {int} NOT NULL,
  free_at {int} NOT NULL
) {keyed};
CREATE INDEX guesses_by_age ON guesses (since);

-- The password of a human, whatever name they sign in with: one at most, as the string of the Password Hashing Competition.
CREATE TABLE passwords (
  user_id {text} NOT NULL PRIMARY KEY REFERENCES users (id),
  phc {text} NOT NULL,
  -- 1 where it opens nothing until it was reset by mail.
  must_reset {int} NOT NULL CHECK (must_reset IN (0, 1)),
  set_at {int} NOT NULL
) {rows};
