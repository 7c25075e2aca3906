-- Outbox: what this node's own services say, on its way to the log.  Ids of an
-- origin are gap-free and in the order of commits, because whoever emits locks
-- its head row last and keeps it to the end of his transaction (flow/outbox.c).
-- Emitted nowhere else; trimmed only by the flow that reads the origin.
CREATE TABLE gx_outbox_head (
	origin      text PRIMARY KEY,  -- /<node>/gx/<name>
	incarnation text NOT NULL,     -- of these ids: another table, another one
	last_id     bigint NOT NULL
);

CREATE TABLE gx_outbox (
	origin text NOT NULL,
	id     bigint NOT NULL,
	stream text NOT NULL,
	op     text NOT NULL CHECK (op IN ('u', 'd')),
	key    text NOT NULL,                -- canonical JSON array
	at     timestamptz NOT NULL,         -- the line's time
	o      text NOT NULL DEFAULT '',     -- the line's true origin, if another
	d      text NOT NULL DEFAULT '',     -- the record, JSON; '' with d
	PRIMARY KEY (origin, id)
);
CREATE INDEX gx_outbox_stream ON gx_outbox (origin, stream, id);

-- Up to where each stream is receipted; moved by compare-and-set together with
-- the receipt's row of the outbox.
CREATE TABLE gx_receipted (
	stream   text PRIMARY KEY,
	epoch    bigint NOT NULL,
	next_seq bigint NOT NULL,
	head     text NOT NULL,
	n_aside  bigint NOT NULL
);

-- Messages that this node's reader refused: forged, or in a place where they
-- have no business.  stream is what the message says, '' if that is no stream.
CREATE TABLE gx_refusal (
	topic        text NOT NULL,
	partition    integer NOT NULL,
	at_offset    bigint NOT NULL,
	reason       text NOT NULL,           -- batch.refused.<why>
	digest       text NOT NULL,           -- SM3 of its signed bytes, or zeros
	stream       text NOT NULL,
	at           timestamptz NOT NULL DEFAULT now(),
	is_receipted boolean NOT NULL DEFAULT false,
	PRIMARY KEY (topic, partition, at_offset)
);
CREATE INDEX gx_refusal_stream ON gx_refusal (stream) WHERE NOT is_receipted;

-- Lines of the stream that this node's store set aside, since its first.
ALTER TABLE gx_stream ADD COLUMN n_aside bigint NOT NULL DEFAULT 0;
UPDATE gx_stream s SET n_aside = q.n FROM (SELECT stream, count(*) AS n
	FROM gx_quarantine WHERE side = 'sink' GROUP BY stream) q
	WHERE q.stream = s.stream;
