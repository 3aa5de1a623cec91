-- Outside identities that were taken from an account: a provider's word makes nobody of them any more. Whoever has one
-- links it by hand, or an operator gives it to somebody.
CREATE TABLE former_identities (
    provider {text} NOT NULL,
    external_id {text} NOT NULL,
    user_id {text} NOT NULL REFERENCES users (id),
    ended_at {int} NOT NULL,
    PRIMARY KEY (provider, external_id)
) {keyed};
CREATE INDEX former_identities_by_user ON former_identities (user_id);
