-- When a batch was taken: none leaves the log before it has the age that the
-- operator asks for (docs/trim.md).
ALTER TABLE gx_batch ADD COLUMN taken_at timestamptz NOT NULL DEFAULT now();
