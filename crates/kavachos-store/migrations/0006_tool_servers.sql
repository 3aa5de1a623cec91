-- Registered tool servers (the resource servers of OAuth), each with its own key. `policy` is a JSON object.

CREATE TABLE tool_servers (
  id {text} NOT NULL PRIMARY KEY,
  hash {bytes} NOT NULL UNIQUE,
  shown {text} NOT NULL,
  audience {text} NOT NULL,
  name {text} NOT NULL,
  scopes {text} NOT NULL,
  policy {text} NOT NULL,
  status {text} NOT NULL,
  handle {bytes} NOT NULL UNIQUE,
  version {int} NOT NULL,
  created_at {int} NOT NULL
) {rows};
-- A revoked one leaves its audience to the next.
CREATE UNIQUE INDEX tool_servers_by_audience ON tool_servers (audience) WHERE status <> 'revoked';
