-- What is asked for most among a million decisions: acts of management by kind, and what was refused. Both are partial:
-- an allowed decision stands in neither, so it costs what it did.
CREATE INDEX ledger_acts ON ledger (kind, seq) WHERE kind <> 'decision';
CREATE INDEX ledger_denials ON ledger (seq) WHERE outcome = 'denied';
