/*
 * The slot of a PostgreSQL source is made.
 *
 * The server makes a logical slot behind every transaction that is open at
 * that moment, in whatever database of it, and says nothing until then: a
 * session that somebody forgot holds it up for hours.  So the slot is asked
 * for, and read() looks whether it is there; meanwhile the flow can be paused
 * or ended, its slot is watched like any other, and people are told which
 * server process is waited for, since when, and what to do.
 *
 * A slot in the making belongs to the connection: who gives up cancels it, or
 * the server would finish it when the old transaction ends, and keep the log
 * for nobody.  If we die, the server's process goes on waiting; the next take
 * finds a holder that does not answer and has it ended.  Should it be made all
 * the same, nothing was taken from it yet, and the reading begins behind it
 * under a snapshot of its own.
 */
#include "base/log.h"
#include "flow/src_pg_int.h"

#define QUIET_MS 500 /* waited for in silence */

enum gx_rc
gx_src_pg_ask_slot(struct gx_src_pg *src, struct gx_err *e)
{
	char sql[160];

	(void)snprintf(sql, sizeof(sql),
		       "CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput "
		       "EXPORT_SNAPSHOT",
		       src->place.slot);
	src->phase = PG_MAKING;
	src->own_pid = gx_pg_pid(src->repl);
	src->asked_at_ms = gx_mono_ms();
	return gx_pg_ask(src->repl, sql, e);
}

/* Whom does the server wait for? */
static enum gx_rc
say_wait(struct gx_src_pg *src, struct gx_err *e)
{
	char text[24];
	const char *params[] = {text};
	const struct gx_rows *r;
	enum gx_rc rc;

	(void)snprintf(text, sizeof(text), "%lld", (long long)src->own_pid);
	rc = gx_pg_query(
		src->ctl,
		"SELECT b.pid, coalesce(to_char(a.xact_start, 'YYYY-MM-DD "
		"HH24:MI:SS'), '?'), coalesce(extract(epoch FROM "
		"clock_timestamp() - a.xact_start)::bigint, 0) "
		"FROM unnest(pg_blocking_pids($1::int)) b(pid) "
		"LEFT JOIN pg_stat_activity a ON a.pid = b.pid "
		"ORDER BY a.xact_start NULLS LAST LIMIT 1",
		1, params, &r, e);
	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	if (gx_rows_n(r) == 0) {
		return GX_ERR(e, GX_AGAIN, "slot.waits",
			      "slot %s is being made: the server waits for "
			      "transactions that were open",
			      src->place.slot);
	}
	if (gx_rows_int(r, 0, 0) == 0) {
		return GX_ERR(e, GX_AGAIN, "slot.waits",
			      "slot %s is being made: the server waits for a "
			      "prepared transaction; see pg_prepared_xacts",
			      src->place.slot);
	}
	return GX_ERR(e, GX_AGAIN, "slot.waits",
		      "slot %s is being made: the server waits for the "
		      "transaction of its process %lld, open since %s (%lld "
		      "s): let it end, or SELECT pg_terminate_backend(%lld)",
		      src->place.slot, (long long)gx_rows_int(r, 0, 0),
		      gx_rows_str(r, 0, 1), (long long)gx_rows_int(r, 0, 2),
		      (long long)gx_rows_int(r, 0, 0));
}

enum gx_rc
gx_src_pg_await_slot(struct gx_src_pg *src, int timeout_ms, struct gx_err *e)
{
	const struct gx_rows *r;
	struct gx_err err = {0};
	char snapshot[80];
	enum gx_rc rc = gx_pg_answer(src->repl, timeout_ms, &r, &err);

	if (rc != GX_OK) {
		*e = err;
		gx_err_note(e, "making slot %s", src->place.slot);
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	if (r == NULL) {
		return gx_mono_ms() - src->asked_at_ms < QUIET_MS
			       ? GX_AGAIN
			       : say_wait(src, e);
	}
	if (gx_rows_n(r) == 0 ||
	    !gx_lsn_parse(gx_rows_str(r, 0, 1), &src->slot_lsn)) {
		return GX_ERR(e, GX_FATAL, "slot.foreign",
			      "slot %s was made without a position",
			      src->place.slot);
	}
	(void)snprintf(snapshot, sizeof(snapshot), "%s", gx_rows_str(r, 0, 2));
	gx_log(GX_LOG_NOTICE, "slot.made",
	       "slot=%s text=\"a full reading begins\"", src->place.slot);
	src->has_slot = true;
	src->place.born = src->slot_lsn;
	return gx_src_pg_begin(src, snapshot, e);
}

void
gx_src_pg_close_repl(struct gx_src_pg *src)
{
	if (src->repl != NULL && src->phase == PG_MAKING) {
		gx_pg_cancel(src->repl);
	}
	gx_pg_close(&src->repl);
	src->is_streaming = false;
}
