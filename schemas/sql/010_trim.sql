-- When a batch was taken, and when this node knew that the next hop has receipted
-- a stream up to a seq: none leaves the log before it has the age that the
-- operator asks for (docs/trim.md).
ALTER TABLE gx_batch ADD COLUMN taken_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX gx_batch_place ON gx_batch (stream, at_offset);

CREATE TABLE gx_trim_seen (
	stream  text NOT NULL,
	upto    bigint NOT NULL,
	seen_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (stream, upto)
);
