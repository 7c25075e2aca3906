-- Tables of a node.  Moved only by the node's own reader (gx_stream, gx_read,
-- gx_batch), by its writers (gx_quarantine, gx_release) and by its API.

CREATE TABLE gx_stream (
	stream     text PRIMARY KEY,
	topic      text NOT NULL,
	partition  integer NOT NULL,
	is_own     boolean NOT NULL DEFAULT false,
	epoch      bigint NOT NULL DEFAULT 0,
	writer     text NOT NULL DEFAULT '0000000000000000', -- 16 hex digits
	next_seq   bigint NOT NULL DEFAULT 1 CHECK (next_seq >= 1),
	head       text NOT NULL DEFAULT repeat('0', 64),    -- 64 hex digits
	src        text NOT NULL DEFAULT '{}',
	reading_at bigint,          -- seq of the s line of an open full reading
	stopped_at bigint,          -- offset where the stream stands still
	why        text NOT NULL DEFAULT '',
	why_text   text NOT NULL DEFAULT '',
	moved_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX gx_stream_place ON gx_stream (topic, partition);
COMMENT ON TABLE gx_stream IS 'state of each stream: what this node has taken';

CREATE TABLE gx_read (
	topic       text NOT NULL,
	partition   integer NOT NULL,
	next_offset bigint NOT NULL,
	PRIMARY KEY (topic, partition)
);

CREATE TABLE gx_batch (
	stream text NOT NULL,
	first  bigint NOT NULL,
	n      bigint NOT NULL,
	head   text NOT NULL,
	PRIMARY KEY (stream, first)
);
COMMENT ON TABLE gx_batch IS 'batches taken and not yet trimmed: tells a repeat from an equivocation';

-- Keys set aside at their source (q lines): the last good row stays in the
-- base table, and every level can say "in quarantine" of the key.
CREATE TABLE gx_held (
	origin   text NOT NULL,
	resource text NOT NULL,
	key      text NOT NULL,     -- canonical JSON array
	stream   text NOT NULL,
	seq      bigint NOT NULL,
	since    timestamptz NOT NULL,
	PRIMARY KEY (origin, resource, key)
);

CREATE TABLE gx_quarantine (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	side       text NOT NULL CHECK (side IN ('source', 'sink')),
	stream     text NOT NULL,
	pos        text NOT NULL,   -- source position; at a sink: the seq
	seq        bigint NOT NULL,
	key        text NOT NULL DEFAULT '', -- canonical JSON array, '' unknown
	reasons    jsonb NOT NULL,  -- [{"pointer","keyword","message"}]
	original   bytea NOT NULL,
	state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'superseded')),
	is_released boolean NOT NULL DEFAULT false,
	first_seen timestamptz NOT NULL,
	last_seen  timestamptz NOT NULL,
	n_seen     integer NOT NULL DEFAULT 1,
	UNIQUE (side, stream, pos)
);
CREATE INDEX gx_quarantine_key ON gx_quarantine (stream, key) WHERE state = 'open';

CREATE TABLE gx_release (
	flow     text PRIMARY KEY,
	pos      text NOT NULL,
	at       timestamptz NOT NULL DEFAULT now()
);

-- A flow's wish and trouble, shared by the daemons of a node.
CREATE TABLE gx_flow (
	flow      text PRIMARY KEY,
	wish      text NOT NULL DEFAULT 'run' CHECK (wish IN ('run', 'pause')),
	accept    boolean NOT NULL DEFAULT false, -- operator accepts a mass change
	state     text NOT NULL DEFAULT 'starting',
	code      text NOT NULL DEFAULT '',
	detail    text NOT NULL DEFAULT '',
	status    jsonb NOT NULL DEFAULT '{}',
	process   text NOT NULL DEFAULT '',
	restarts  bigint NOT NULL DEFAULT 0,  -- counts operator restarts
	seen_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gx_token (
	name       text PRIMARY KEY,
	role       text NOT NULL,
	hash       text NOT NULL UNIQUE,   -- SM3 of the token, hex
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz
);
