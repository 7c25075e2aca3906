/*
 * Statements that are not waited for.
 *
 * Some statements take as long as somebody else's transaction: the making of a
 * slot waits for every one that is open.  Whoever sends one here goes on with
 * his other duties and asks for the answer now and then.
 *
 * A server process that waits does not notice that its client has gone; it
 * would finish long after and leave what nobody asked for any more.  So who
 * gives up says so, before he closes the connection.
 */
#include "port/pg_int.h"

#include "base/clock.h"

#include <libpq-fe.h>
#include <poll.h>

enum gx_rc
gx_pg_ask(struct gx_pg *pg, const char *sql, struct gx_err *e)
{
	GX_ASSERT(pg->magic == PG_MAGIC && !pg->in_pipe);
	gx_pg_forget(pg);
	return gx_pg_alive(pg) && PQsendQuery(pg->conn, sql)
		       ? GX_OK
		       : gx_pg_away(pg, e);
}

enum gx_rc
gx_pg_answer(struct gx_pg *pg, int timeout_ms, const struct gx_rows **rows,
	     struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + timeout_ms;
	enum gx_rc rc;

	*rows = NULL;
	while (PQisBusy(pg->conn)) {
		struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
		int64_t left_ms = until_ms - gx_mono_ms();

		if (poll(&fd, 1, left_ms > 0 ? (int)left_ms : 0) > 0) {
			if (!PQconsumeInput(pg->conn)) {
				break; /* the reason comes with the result */
			}
		} else if (left_ms <= 0) {
			return GX_OK;
		}
	}
	rc = gx_pg_drain(pg, NULL, e);
	*rows = rc == GX_OK ? &pg->rows : NULL;
	return rc;
}

void
gx_pg_cancel(struct gx_pg *pg)
{
	PGcancel *c = PQgetCancel(pg->conn);
	char ignored[256];

	if (c != NULL) {
		(void)PQcancel(c, ignored, sizeof(ignored));
	}
	PQfreeCancel(c);
	pg->is_broken = true;
}

int64_t
gx_pg_pid(const struct gx_pg *pg)
{
	return PQbackendPID(pg->conn);
}
