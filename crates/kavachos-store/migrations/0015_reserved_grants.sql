-- The tool server, by audience, for whose token alone a grant is: one that an agent was promised. Nothing for all others.
ALTER TABLE grants ADD COLUMN reserved_for {text};
UPDATE grants SET reserved_for = (
  SELECT t.audience FROM promised_tokens p JOIN tool_servers t ON t.id = p.server WHERE p.grant_id = grants.id
) WHERE id IN (SELECT grant_id FROM promised_tokens)
  -- One that something was given on of already stays as it was for its last minutes: below a reserved one nothing stands.
  AND NOT EXISTS (SELECT 1 FROM grants c WHERE c.parent = grants.id);
