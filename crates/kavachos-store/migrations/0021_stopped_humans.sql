-- When humans were last banned: a token of their provider that was made before counts no more. A restoration has its own
-- time, so nothing of this moves to another database.
CREATE TABLE stopped_humans (
    user_id {text} NOT NULL PRIMARY KEY REFERENCES users (id),
    stopped_at {int} NOT NULL
) {keyed};
