-- Reconciliation (docs/reconcile.md).  Where a record stands among ranges: the
-- first 32 bits of SHA-256 over origin and key.  It only spreads records; what
-- is compared are digests of their content.  Immutable and inlined, so that an
-- index on it is possible: docs/reconcile.md says what that costs.
CREATE FUNCTION gx_place(origin text, key text) RETURNS bigint
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
	$$ SELECT ('x' || left(encode(sha256(replace(origin || key, '\',
	'\\')::bytea), 'hex'), 8))::bit(32)::bigint $$;

-- Statements this node has signed (对账单); kept, never changed.
CREATE TABLE gx_statement (
	id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	day  date NOT NULL,
	scope text NOT NULL,       -- whose records; empty: all
	at   timestamptz NOT NULL DEFAULT now(),
	line text NOT NULL          -- as it was signed
);
CREATE INDEX gx_statement_day ON gx_statement (day);
