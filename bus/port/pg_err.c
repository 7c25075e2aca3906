/*
 * PostgreSQL's errors in our words: one table from SQLSTATE to what the caller
 * does next.
 *
 * A row is a class of two characters or a full state of five, and the longest
 * one that fits counts.  Outages and lack of room are AGAIN; what another
 * transaction did to us is ABORT; what is wrong with a value is REJECT, and
 * only that, because a REJECT sets one record aside and goes on.  Everything
 * that has no row is FATAL: we do not go on over what we do not understand.
 *
 * PostgreSQL's primary messages are quoted only where they hold names and
 * never values.  "invalid input syntax for type date" carries the value it
 * could not read, and a trigger's own message may carry anything; there the
 * state, the table and the constraint must do.  DETAIL, HINT and CONTEXT are
 * never read: they hold rows.
 *
 * Without a state there was no server to give one: the connection is gone.
 */
#include "port/pg_int.h"

#include <libpq-fe.h>

static const struct gx_pg_state states[] = {
	{"", GX_FATAL, "pg.failed", false},

	{"08", GX_AGAIN, "pg.away", true},
	{"08P01", GX_FATAL, "pg.failed", true}, /* protocol violation */
	{"0A", GX_FATAL, "pg.sql", true},
	{"21", GX_FATAL, "pg.sql", true}, /* ON CONFLICT hits a row twice */
	{"22", GX_REJECT, "pg.value", false},
	{"23", GX_REJECT, "pg.constraint", true},
	{"25", GX_FATAL, "pg.sql", true},
	{"25006", GX_AGAIN, "pg.read_only", true}, /* a standby answers */
	{"25P02", GX_ABORT, "pg.aborted", true},
	{"25P03", GX_AGAIN, "pg.away", true}, /* idle in transaction */
	{"26000", GX_ABORT, "pg.stale", true},
	{"28", GX_FATAL, "pg.auth", true},
	{"2F", GX_FATAL, "pg.failed", false}, /* user functions */
	{"38", GX_FATAL, "pg.failed", false},
	{"39", GX_FATAL, "pg.failed", false},
	{"3D", GX_FATAL, "pg.no_database", true},
	{"40", GX_ABORT, "pg.aborted", true},
	{"40002", GX_REJECT, "pg.constraint", true}, /* found at COMMIT */
	{"42", GX_FATAL, "pg.sql", true},
	{"42501", GX_FATAL, "pg.right", true},
	{"42601", GX_FATAL, "pg.sql", false}, /* near what? */
	{"53", GX_AGAIN, "pg.full", true},
	{"54", GX_REJECT, "pg.value", true}, /* a row or key too large */
	{"54001", GX_FATAL, "pg.sql", true}, /* statement too complex */
	{"54011", GX_FATAL, "pg.sql", true}, /* too many columns */
	{"54023", GX_FATAL, "pg.sql", true}, /* too many arguments */
	{"55", GX_FATAL, "pg.sql", true},
	{"55006", GX_ABORT, "pg.busy", true}, /* slot or table in use */
	{"55P03", GX_ABORT, "pg.busy", true}, /* lock_timeout */
	{"57", GX_FATAL, "pg.failed", true},
	{"57014", GX_ABORT, "pg.busy", true}, /* statement_timeout */
	{"57P01", GX_AGAIN, "pg.away", true},
	{"57P02", GX_AGAIN, "pg.away", true},
	{"57P03", GX_AGAIN, "pg.away", true},
	{"57P05", GX_AGAIN, "pg.away", true},
	{"58", GX_FATAL, "pg.damaged", true},
	{"72000", GX_ABORT, "pg.aborted", true}, /* snapshot too old */
	{"F0", GX_FATAL, "pg.failed", true},
	{"P0", GX_FATAL, "pg.failed", false}, /* somebody's trigger */
	{"XX", GX_FATAL, "pg.damaged", true},
};
#define N_STATES (sizeof(states) / sizeof(states[0]))

const struct gx_pg_state *
gx_pg_state_find(const char *sqlstate)
{
	const struct gx_pg_state *best = &states[0];
	size_t best_n = 0;

	for (size_t i = 1; i < N_STATES; i++) {
		size_t n = strlen(states[i].prefix);

		if (n > best_n && strncmp(sqlstate, states[i].prefix, n) == 0) {
			best = &states[i];
			best_n = n;
		}
	}
	return best;
}

const struct gx_pg_state *
gx_pg_state_at(size_t i)
{
	return i < N_STATES ? &states[i] : NULL;
}

enum gx_rc
gx_pg_away(struct gx_pg *pg, struct gx_err *e)
{
	pg->is_broken = true;
	return GX_ERR(e, GX_AGAIN, "pg.away",
		      "the connection to PostgreSQL at %s ended", pg->where);
}

static const char *
field(const PGresult *res, int code)
{
	const char *s = PQresultErrorField(res, code);

	return s != NULL ? s : "";
}

/* Where the fault lies, as far as names tell. */
static void
note_place(const PGresult *res, struct gx_err *e)
{
	const char *table = field(res, PG_DIAG_TABLE_NAME);
	const char *column = field(res, PG_DIAG_COLUMN_NAME);
	const char *constraint = field(res, PG_DIAG_CONSTRAINT_NAME);

	if (table[0] != '\0') {
		gx_err_note(e, "table %.63s", table);
	}
	if (column[0] != '\0') {
		gx_err_note(e, "column %.63s", column);
	}
	if (constraint[0] != '\0') {
		gx_err_note(e, "constraint %.63s", constraint);
	}
}

enum gx_rc
gx_pg_fault(struct gx_pg *pg, const struct pg_result *res, struct gx_err *e)
{
	const struct gx_pg_state *st;
	const char *state = res != NULL ? field(res, PG_DIAG_SQLSTATE) : "";
	const char *message;

	if (PQstatus(pg->conn) == CONNECTION_BAD) {
		pg->is_broken = true;
	}
	if (state[0] == '\0') {
		return PQstatus(pg->conn) == CONNECTION_BAD
			       ? gx_pg_away(pg, e)
			       : GX_ERR(e, GX_FATAL, "pg.failed",
					"the PostgreSQL client library "
					"refused a call");
	}
	st = gx_pg_state_find(state);
	message = st->is_quotable ? field(res, PG_DIAG_MESSAGE_PRIMARY) : "";
	GX_ERR(e, st->rc, st->code, "PostgreSQL said %.5s%s%.240s", state,
	       message[0] != '\0' ? ": " : "", message);
	note_place(res, e);
	return st->rc;
}
