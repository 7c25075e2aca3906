-- Quarantine with a way home (docs/quarantine.md).  What is kept of a record is
-- sealed under the node's quarantine_key; rows of before are plain.
ALTER TABLE gx_quarantine ADD COLUMN record bytea;
COMMENT ON COLUMN gx_quarantine.record IS 'the mapped record as far as it could be made, or as it was fixed; always sealed';
ALTER TABLE gx_quarantine ADD COLUMN is_sealed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN gx_quarantine.is_sealed IS 'of original; false: by an older program';
ALTER TABLE gx_quarantine ADD COLUMN is_fixed boolean NOT NULL DEFAULT false;

ALTER TABLE gx_quarantine DROP CONSTRAINT gx_quarantine_state_check;
ALTER TABLE gx_quarantine ADD CONSTRAINT gx_quarantine_state_check CHECK (state
	IN ('open', 'queued', 'replayed', 'superseded', 'discarded'));
DROP INDEX gx_quarantine_key;
CREATE INDEX gx_quarantine_key ON gx_quarantine (stream, key)
	WHERE state IN ('open', 'queued');

-- Replays ordered: another input of the stream's own writer.  Ids rise in the
-- order of commits, because whoever orders holds one lock to his commit.
CREATE TABLE gx_redrive (
	id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	item   bigint NOT NULL UNIQUE REFERENCES gx_quarantine (id)
		ON DELETE CASCADE,
	stream text NOT NULL,
	line   bytea NOT NULL,     -- ready for its batch; sealed
	by     text NOT NULL,
	at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX gx_redrive_stream ON gx_redrive (stream, id);
