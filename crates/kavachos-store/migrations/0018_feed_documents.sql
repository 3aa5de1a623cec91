-- The document by which a root key that is kept offline brought a key of the feed into use; none where there is no root.

ALTER TABLE signing_keys ADD COLUMN document {text};
