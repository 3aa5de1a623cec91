-- What tokens of a grant may be used for beside being shown: a JSON object, or nothing for nothing.
ALTER TABLE grants ADD COLUMN uses {text};
