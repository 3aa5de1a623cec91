-- What the conformance cases write to.
CREATE TABLE probe (
    name {text} PRIMARY KEY,
    value {int} NOT NULL CHECK (value < 1000),
    note {text},
    data {bytes}
) {keyed};

CREATE TABLE probe_child (
    name {text} PRIMARY KEY,
    parent {text} NOT NULL REFERENCES probe (name) DEFERRABLE INITIALLY DEFERRED
) {keyed};
