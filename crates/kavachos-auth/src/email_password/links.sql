-- Links that were mailed to verify an address: of somebody who signs up, with their password, or of a human who is there.
CREATE TABLE email_password_link (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  email {text} NOT NULL,
  user_id {text},
  name {text},
  phc {text},
  -- The hash of what the browser was given that asked for it.
  browser {bytes} NOT NULL CHECK (length(browser) = 32),
  expires_at {int} NOT NULL
) {rows};
CREATE INDEX email_password_link_by_user ON email_password_link (user_id);
CREATE INDEX email_password_link_by_end ON email_password_link (expires_at);
