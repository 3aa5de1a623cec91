-- Requests for a human's approval. Times are microseconds UTC. `digest` is SHA-256 of `document`, which is what the human
-- reads. `approver` is the handle of whoever decided, at `approver_generation`: a kill of them ends what they approved.

CREATE TABLE approvals (
  id {text} NOT NULL PRIMARY KEY,
  agent {text} NOT NULL REFERENCES agents (id),
  subject {text} NOT NULL REFERENCES users (id),
  action {text} NOT NULL,
  resource {text} NOT NULL,
  grant_path {text} NOT NULL,
  document {text} NOT NULL,
  digest {bytes} NOT NULL CHECK (length(digest) = 32),
  arguments_digest {bytes},
  status {text} NOT NULL,
  decided_by {text},
  approver {bytes},
  approver_generation {int},
  decided_at {int},
  expires_at {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX approvals_by_digest ON approvals (digest, expires_at);
CREATE INDEX approvals_by_agent ON approvals (agent, id);
CREATE INDEX approvals_by_subject ON approvals (subject, id);
CREATE INDEX approvals_by_end ON approvals (expires_at);
