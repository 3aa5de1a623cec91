-- Proofs of possession that were used: each is good once. Rows are kept for as long as a proof may be used.

CREATE TABLE used_proofs (
  proof {bytes} NOT NULL PRIMARY KEY CHECK (length(proof) = 32),
  used_at {int} NOT NULL
) {keyed};
