-- Humans are looked for by roles and by the beginning of their names, and may be told to set a new password.

-- Since when a password alone signs the human in no more: they set a new one by mail first.
ALTER TABLE users ADD COLUMN must_reset_since {int};
-- Without regard to the capitals A to Z; all other letters as they are, the same in every database.
CREATE INDEX users_by_folded_name ON users (LOWER(name));
CREATE INDEX users_by_role ON users (role);
