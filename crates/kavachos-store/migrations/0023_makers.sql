-- Who made an agent or a grant, and in which session, where a human did so themselves: what is made in a session that was
-- somebody else's ends with it. Nothing where an operator made it, or an agent gave it on; no session where the human's
-- own provider vouched for them.
ALTER TABLE agents ADD COLUMN made_by {text} REFERENCES users (id);
ALTER TABLE agents ADD COLUMN made_in {text};
ALTER TABLE grants ADD COLUMN made_by {text} REFERENCES users (id);
ALTER TABLE grants ADD COLUMN made_in {text};
CREATE INDEX agents_by_maker ON agents (made_by, id) WHERE made_by IS NOT NULL;
CREATE INDEX grants_by_maker ON grants (made_by, id) WHERE made_by IS NOT NULL;

-- Links by which a human says that a sign-in was not theirs, as the SHA-256 of their tokens. A session may be forgotten
-- before its link.
CREATE TABLE not_me_links (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  user_id {text} NOT NULL REFERENCES users (id),
  session_id {text} NOT NULL,
  expires_at {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX not_me_links_by_user ON not_me_links (user_id, created_at);
CREATE INDEX not_me_links_by_end ON not_me_links (expires_at);
