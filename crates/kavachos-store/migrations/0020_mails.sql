-- Mails that wait to be sent. To whom, and what they say, stands under seal: a copy of the database opens no link and
-- names nobody. A row goes when its mail was sent or given up.

CREATE TABLE mails (
  id {text} NOT NULL PRIMARY KEY,
  -- Which template.
  kind {text} NOT NULL,
  -- Recipient, language and values, sealed under a key derived from the master key.
  sealed {bytes} NOT NULL,
  attempts {int} NOT NULL,
  -- When it is tried next.
  next_at {int} NOT NULL,
  -- What it says is worth nothing from here on.
  expires_at {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX mails_due ON mails (next_at, id);
