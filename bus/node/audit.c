/*
 * The audit log: appending.
 *
 * An act and its line are one transaction.  So nobody finds an act without a
 * line, or a line of an act that never was; if the line cannot be written, the
 * act does not happen.  Refusals, and reading of content, change nothing; they
 * have a transaction of their own, and content is not given out before it is
 * committed.
 *
 * The end of the chain is one row, locked by whoever appends, until the
 * transaction ends: two daemons of a node write one chain.
 *
 * If we die on any line the transaction is undone, and the chain ends where it
 * ended.
 */
#include "node/audit.h"

#include "base/clock.h"
#include "trust/audit.h"

#include <string.h>

static enum gx_rc
find_end(struct gx_pg *pg, struct gx_audit *line, uint64_t max,
	 struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(pg,
				    "SELECT n, hash FROM gx_audit_head "
				    "FOR UPDATE",
				    0, NULL, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(rows) != 1) {
		return GX_ERR(e, GX_FATAL, "audit.unwritable",
			      "gx_audit_head has %d rows instead of one",
			      gx_rows_n(rows));
	}
	line->n = (uint64_t)gx_rows_int(rows, 0, 0) + 1;
	snprintf(line->prev, sizeof line->prev, "%s", gx_rows_str(rows, 0, 1));
	if (max > 0 && line->n > max) {
		return GX_ERR(e, GX_AGAIN, "audit.full",
			      "the audit log holds %llu lines",
			      (unsigned long long)max);
	}
	return GX_OK;
}

static enum gx_rc
insert(struct gx_pg *pg, const struct gx_audit *line, const char *text,
       struct gx_err *e)
{
	char n[24];
	const char *put[] = {n, line->at, line->who, line->act, text};
	const char *move[] = {n, line->hash};
	enum gx_rc rc;

	snprintf(n, sizeof n, "%llu", (unsigned long long)line->n);
	rc = gx_pg_query(pg,
			 "INSERT INTO gx_audit (n, at, who, act, line) VALUES "
			 "($1::bigint, $2::timestamptz, $3, $4, $5)",
			 5, put, NULL, e);
	if (rc == GX_OK) {
		rc = gx_pg_query(pg,
				 "UPDATE gx_audit_head SET n = $1::bigint, "
				 "hash = $2",
				 2, move, NULL, e);
	}
	return rc;
}

/* Names come from outside; a line has room for so much of them. */
static const char *
cut(const char *s, char out[GX_AUDIT_TEXT + 1])
{
	size_t n = strlen(s);

	if (n > GX_AUDIT_TEXT) {
		n = GX_AUDIT_TEXT;
		while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80) {
			n--;
		}
	}
	memcpy(out, s, n);
	out[n] = '\0';
	return out;
}

enum gx_rc
gx_audit_append(struct gx_pg *pg, const struct gx_act *a, uint64_t max,
		struct gx_err *e)
{
	char on[GX_AUDIT_TEXT + 1], why[GX_AUDIT_TEXT + 1];
	char at[GX_TIME_LEN + 1];
	struct gx_audit line = {.node = a->node,
				.at = at,
				.who = a->who,
				.role = a->role,
				.act = a->act,
				.on = cut(a->on, on),
				.outcome = a->outcome,
				.why = cut(a->why, why)};
	struct gx_buf text;
	enum gx_rc rc = find_end(pg, &line, max, e);

	gx_time_format(gx_now_ms(), at);
	gx_buf_init(&text, 2 * GX_AUDIT_LINE);
	if (rc == GX_OK && !gx_audit_put(&line, &text)) {
		rc = GX_ERR(e, GX_FATAL, "audit.unwritable",
			    "a line of the audit log would be too long");
	}
	if (rc == GX_OK) {
		rc = insert(pg, &line, gx_buf_str(&text), e);
	}
	gx_buf_free(&text);
	return rc;
}

enum gx_rc
gx_audit_note(struct gx_pg *pg, const struct gx_act *a, uint64_t max,
	      struct gx_err *e)
{
	enum gx_rc rc = gx_pg_exec(pg, "BEGIN", e);

	if (rc == GX_OK) {
		rc = gx_audit_append(pg, a, max, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_exec(pg, "COMMIT", e);
	}
	if (rc != GX_OK) {
		gx_pg_rollback(pg);
	}
	return rc;
}
