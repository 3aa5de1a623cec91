-- Humans are looked for by their roles, and by how their names begin.

-- Without regard to the capitals A to Z; all other letters as they are, the same in every database.
CREATE INDEX users_by_folded_name ON users (LOWER(name));
CREATE INDEX users_by_role ON users (role);
