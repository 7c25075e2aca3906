-- What nodes below this one are given of the records that concern them
-- (docs/levels.md).  Written by flows of kind down, from [child ...] of the
-- configuration; read by the sink in each of its transactions.
CREATE TABLE gx_subscription (
	child    text NOT NULL,
	resource text NOT NULL,
	by       text NOT NULL CHECK (by IN ('region', 'stream', 'ended')),
	value    text NOT NULL,    -- by region: what the item begins with
	subtree  text[] NOT NULL,  -- nodes whose own records it is not given
	declared text NOT NULL,    -- SM3 of the declaration: its item, its form
	since    timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (child, resource)
);

-- What each of them was shown last: a row per record that it holds of ours.
CREATE TABLE gx_shown (
	view   text COLLATE "C" NOT NULL,    -- the stream made for it
	origin text COLLATE "C" NOT NULL,    -- of the record
	key    text COLLATE "C" NOT NULL,    -- canonical JSON array
	digest text NOT NULL,                -- SHA-256 of the record as shown
	PRIMARY KEY (view, origin, key)
);
