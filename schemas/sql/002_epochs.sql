-- What a writer leaves in the database carries its epoch, because nothing here
-- fences a writer that was replaced meanwhile.  A row set aside is forgotten by
-- writers of its own or a higher epoch only; a release of a lower epoch than
-- the last one changes nothing.  Rows of before have none: anybody may.
ALTER TABLE gx_quarantine ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN gx_quarantine.epoch IS 'of the writer; 0 at a sink';
ALTER TABLE gx_release ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
