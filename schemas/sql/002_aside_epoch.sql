-- Rows set aside at their source carry the epoch of the writer that did it, so
-- that a writer that was replaced meanwhile can forget only what is its own or
-- older.  Rows of before have none: any writer that settles may forget them.
ALTER TABLE gx_quarantine ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN gx_quarantine.epoch IS 'of the writer; 0 at a sink';
