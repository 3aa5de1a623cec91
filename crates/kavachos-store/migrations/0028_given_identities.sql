-- Humans to whom an operator gave an outside identity by which nobody has come in yet: what was made for them was made by
-- operators. The row goes with the first session that a method opens, and with the first change by a provider's word.
CREATE TABLE given_identities (
    user_id {text} NOT NULL PRIMARY KEY
) {keyed};
