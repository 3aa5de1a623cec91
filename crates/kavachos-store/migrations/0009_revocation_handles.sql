-- What was killed of each handle, for snapshots of the live set as it was at any record of the log. Kills are rare: one
-- index more costs nothing that counts.
CREATE INDEX revocation_log_handles ON revocation_log (handle, rseq, generation);
