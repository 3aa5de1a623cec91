-- Principals and grants. Times are microseconds UTC, ids are typed ids as text, JSON is text.
-- A handle is the kind byte and 16 random bytes; its current generation also stands in `handles`, which the writer
-- checks decisions against. `kills` rises when everything issued before must stay dead (suspend, ban, revoke, delete).

CREATE TABLE users (
  id {text} NOT NULL PRIMARY KEY,
  status {text} NOT NULL,
  email {text} UNIQUE,
  name {text},
  provider {text},
  external_id {text},
  permissions {text},
  handle {bytes} NOT NULL UNIQUE,
  kills {int} NOT NULL,
  pseudonym {text} NOT NULL UNIQUE,
  agents {int} NOT NULL,
  version {int} NOT NULL,
  created_at {int} NOT NULL,
  UNIQUE (provider, external_id)
) {rows};

CREATE TABLE agents (
  id {text} NOT NULL PRIMARY KEY,
  owner_user {text} REFERENCES users (id),
  owner_agent {text} REFERENCES agents (id),
  root {text} NOT NULL REFERENCES users (id),
  name {text} NOT NULL,
  type {text} NOT NULL,
  status {text} NOT NULL,
  expires_at {int},
  metadata {text},
  root_grant {text} NOT NULL,
  handle {bytes} NOT NULL UNIQUE,
  kills {int} NOT NULL,
  version {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX agents_by_root ON agents (root, id);
CREATE INDEX agents_by_owner_agent ON agents (owner_agent, id);

CREATE TABLE agent_keys (
  hash {bytes} NOT NULL PRIMARY KEY,
  agent {text} NOT NULL REFERENCES agents (id),
  shown {text} NOT NULL,
  status {text} NOT NULL,
  expires_at {int} NOT NULL,
  agent_kills {int} NOT NULL,
  user_kills {int} NOT NULL,
  handle {bytes} NOT NULL UNIQUE,
  ended_at {int},
  created_at {int} NOT NULL
) {rows};
CREATE INDEX agent_keys_by_agent ON agent_keys (agent, created_at);

CREATE TABLE grants (
  id {text} NOT NULL PRIMARY KEY,
  parent {text} REFERENCES grants (id),
  giver_user {text} REFERENCES users (id),
  giver_agent {text} REFERENCES agents (id),
  receiver {text} NOT NULL REFERENCES agents (id),
  root {text} NOT NULL REFERENCES users (id),
  permissions {text} NOT NULL,
  guards {text},
  depth {int} NOT NULL,
  max_depth {int} NOT NULL,
  expires_at {int},
  reason {text},
  status {text} NOT NULL,
  handle {bytes} NOT NULL UNIQUE,
  version {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX grants_by_receiver ON grants (receiver, id);
CREATE INDEX grants_by_giver_agent ON grants (giver_agent, id);
CREATE INDEX grants_by_giver_user ON grants (giver_user, id);
CREATE INDEX grants_by_parent ON grants (parent, id);

CREATE TABLE operator_keys (
  id {text} NOT NULL PRIMARY KEY,
  hash {bytes} NOT NULL UNIQUE,
  shown {text} NOT NULL,
  name {text} NOT NULL,
  origin {text} NOT NULL,
  scopes {text} NOT NULL,
  ceiling {text},
  status {text} NOT NULL,
  expires_at {int},
  handle {bytes} NOT NULL UNIQUE,
  version {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};

-- Housekeeping: answers that can be given again for a day.
CREATE TABLE idempotency (
  slot {bytes} NOT NULL PRIMARY KEY,
  request {bytes} NOT NULL,
  thing {text} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX idempotency_by_age ON idempotency (created_at);
