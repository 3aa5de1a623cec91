-- OAuth: programs that ask humans for access, what humans let them be, and what they show for it. Times are microseconds
-- UTC; secrets stand here as their SHA-256.

-- A client: registered by an operator or by itself, or known by the document at the address that is its id.
CREATE TABLE oauth_clients (
  id {text} NOT NULL PRIMARY KEY,
  -- `operator`, `itself` or `document`.
  source {text} NOT NULL,
  -- What it says of itself: a JSON object.
  metadata {text} NOT NULL,
  secret {bytes} CHECK (secret IS NULL OR length(secret) = 32),
  -- Of the credential by which a client that registered itself changes what it says.
  manager {bytes} UNIQUE CHECK (manager IS NULL OR length(manager) = 32),
  -- The agent that it is when it asks for itself.
  agent {text} REFERENCES agents (id),
  status {text} NOT NULL,
  handle {bytes} NOT NULL UNIQUE,
  version {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX oauth_clients_by_age ON oauth_clients (source, created_at);

-- What a human let a client be: an agent of theirs.
CREATE TABLE connections (
  agent {text} NOT NULL PRIMARY KEY REFERENCES agents (id),
  client {text} NOT NULL REFERENCES oauth_clients (id),
  user_id {text} NOT NULL REFERENCES users (id),
  created_at {int} NOT NULL
) {rows};
CREATE INDEX connections_by_user ON connections (user_id, client);
CREATE INDEX connections_by_client ON connections (client);

-- What a human said yes to, for each tool server: the scopes, and what the client said of itself then.
CREATE TABLE consents (
  agent {text} NOT NULL REFERENCES agents (id),
  server {text} NOT NULL REFERENCES tool_servers (id),
  scopes {text} NOT NULL,
  fingerprint {bytes} NOT NULL CHECK (length(fingerprint) = 32),
  given_at {int} NOT NULL,
  PRIMARY KEY (agent, server)
) {keyed};

-- Lines of refresh tokens. The id is the hash of the agent's key that a line is: that key's end, and its kill, are the line's.
CREATE TABLE refresh_lines (
  id {bytes} NOT NULL PRIMARY KEY REFERENCES agent_keys (hash),
  agent {text} NOT NULL REFERENCES agents (id),
  client {text} NOT NULL REFERENCES oauth_clients (id),
  -- For which tool servers with which scopes: a JSON array.
  targets {text} NOT NULL,
  -- The thumbprint of the key that each use proves.
  proof_key {bytes} CHECK (proof_key IS NULL OR length(proof_key) = 32),
  -- Of the token that is good, since when, and how often it was given again.
  number {int} NOT NULL,
  since {int} NOT NULL,
  repeats {int} NOT NULL,
  -- When it ends unless it is used.
  idle_ends_at {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
CREATE INDEX refresh_lines_by_agent ON refresh_lines (agent, created_at);
CREATE INDEX refresh_lines_by_client ON refresh_lines (client);

-- Every token of a line, so that one that was replaced is known when it is shown.
CREATE TABLE refresh_tokens (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  line {bytes} NOT NULL REFERENCES refresh_lines (id),
  number {int} NOT NULL
) {keyed};
CREATE INDEX refresh_tokens_by_line ON refresh_tokens (line);

-- Codes that browsers bring back, or that devices poll with, each for a line that begins with it.
CREATE TABLE authorization_codes (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  line {bytes} NOT NULL REFERENCES refresh_lines (id),
  -- Where it was sent, and what its redeemer proves to know: nothing of a code that a device polls with.
  redirect_uri {text},
  challenge {bytes} CHECK (challenge IS NULL OR length(challenge) = 32),
  expires_at {int} NOT NULL,
  redeemed_at {int}
) {rows};
CREATE INDEX authorization_codes_by_end ON authorization_codes (expires_at);
CREATE INDEX authorization_codes_by_line ON authorization_codes (line);

-- What clients ask for and sent here before a browser comes with it (RFC 9126), by the hash of the name that they were given.
CREATE TABLE pushed_requests (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  client {text} NOT NULL,
  -- The network that it came from.
  source {text} NOT NULL,
  -- The parameters that are known, as a form.
  request {text} NOT NULL,
  expires_at {int} NOT NULL,
  -- When a browser came with it.
  begun_at {int}
) {rows};
CREATE INDEX pushed_requests_by_end ON pushed_requests (expires_at);
CREATE INDEX pushed_requests_by_client ON pushed_requests (client, expires_at);

-- What devices ask for that have no browser (RFC 8628), by the hash of the code that they poll with.
CREATE TABLE device_requests (
  hash {bytes} NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  -- Of the code that a human types.
  user_code {bytes} NOT NULL UNIQUE CHECK (length(user_code) = 32),
  client {text} NOT NULL,
  -- The network that it came from.
  source {text} NOT NULL,
  -- What is asked for: a JSON object.
  wish {text} NOT NULL,
  -- The thumbprint of the key that each poll proves.
  proof_key {bytes} CHECK (proof_key IS NULL OR length(proof_key) = 32),
  -- Where it was asked from.
  ip {text},
  user_agent {text},
  created_at {int} NOT NULL,
  expires_at {int} NOT NULL,
  -- How many seconds lie between two polls, and when the last one was.
  pause {int} NOT NULL,
  polled_at {int},
  -- Who typed the code first, and what they said: `allowed` or `denied`.
  viewer {text},
  answer {text}
) {rows};
CREATE INDEX device_requests_by_end ON device_requests (expires_at);
CREATE INDEX device_requests_by_client ON device_requests (client, expires_at);

-- The tool server that asked the question of which a request for approval came: it may wait for the answer.
ALTER TABLE approvals ADD COLUMN server {text} REFERENCES tool_servers (id);
