-- The names that humans sign in with: one of each human.
CREATE TABLE username_password_account (
  username {text} NOT NULL PRIMARY KEY,
  -- What the name looks like at a glance: no two may look alike.
  looks_like {text} NOT NULL,
  user_id {text} NOT NULL,
  chosen_at {int} NOT NULL
) {rows};
CREATE UNIQUE INDEX username_password_account_by_look ON username_password_account (looks_like);
CREATE UNIQUE INDEX username_password_account_by_user ON username_password_account (user_id);
