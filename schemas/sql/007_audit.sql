-- The audit log: lines of docs/audit.md, chained.  Nothing changes or takes
-- away a line; who can switch the trigger off is found out by the chain.
CREATE TABLE gx_audit (
	n    bigint PRIMARY KEY,
	at   timestamptz NOT NULL,
	who  text NOT NULL,
	act  text NOT NULL,
	line text NOT NULL
);
CREATE INDEX gx_audit_who ON gx_audit (who, n);

-- Its end: one row, locked by whoever appends.
CREATE TABLE gx_audit_head (
	one  boolean PRIMARY KEY DEFAULT true CHECK (one),
	n    bigint NOT NULL DEFAULT 0,
	hash text NOT NULL DEFAULT repeat('0', 64)
);
INSERT INTO gx_audit_head DEFAULT VALUES;

CREATE FUNCTION gx_audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'gx_audit is append-only';
END $$;
CREATE TRIGGER gx_audit_keep BEFORE UPDATE OR DELETE ON gx_audit
	FOR EACH ROW EXECUTE FUNCTION gx_audit_keep();
CREATE TRIGGER gx_audit_keep_all BEFORE TRUNCATE ON gx_audit
	FOR EACH STATEMENT EXECUTE FUNCTION gx_audit_keep();
