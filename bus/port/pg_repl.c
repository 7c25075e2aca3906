/*
 * Logical replication: the stream of a slot.
 *
 * After START_REPLICATION the connection carries framed messages both ways:
 * WAL data and keepalives to us, our word on what may be forgotten to the
 * server.  There is no way back to statements on it; whoever wants that closes
 * it.  The server never ends the stream by itself, so an end is an error, and
 * always GX_ABORT or worse: GX_AGAIN means that nothing has come so far.
 *
 * What is confirmed here the server throws away.  This file confirms only what
 * it is told to, and claims the same position as written, flushed and applied.
 */
#include "port/pg_int.h"

#include "base/clock.h"

#include <libpq-fe.h>
#include <poll.h>

#define EPOCH_2000_MS INT64_C(946684800000)

enum gx_rc
gx_pg_repl_start(struct gx_pg *pg, const char *start_sql, struct gx_err *e)
{
	enum gx_rc rc = gx_pg_begin_copy(pg, start_sql, PGRES_COPY_BOTH, e);

	pg->in_repl = rc == GX_OK;
	return rc;
}

static uint64_t
get_u64(const char *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++) {
		v = v << 8 | (unsigned char)p[i];
	}
	return v;
}

static void
put_u64(char *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--) {
		p[i] = (char)(v & 0xff);
		v >>= 8;
	}
}

/* The stream ended; the server's last word may say why. */
static enum gx_rc
ended(struct gx_pg *pg, struct gx_err *e)
{
	PGresult *res = PQgetResult(pg->conn);
	enum gx_rc rc;

	if (res != NULL && PQresultStatus(res) == PGRES_FATAL_ERROR) {
		rc = gx_pg_fault(pg, res, e);
	} else {
		rc = gx_pg_away(pg, e);
	}
	PQclear(res);
	pg->is_broken = true;
	if (rc == GX_FATAL) {
		return GX_FATAL;
	}
	/* A value that the server cannot hand over ends it here for ever. */
	rc = rc == GX_REJECT ? GX_FATAL : GX_ABORT;
	if (e != NULL) {
		e->rc = rc;
	}
	return rc;
}

/* false: neither data nor keepalive, or cut short. */
static bool
parse_message(struct gx_slice s, struct gx_repl_msg *m)
{
	memset(m, 0, sizeof(*m));
	if (s.n >= 25 && s.p[0] == 'w') {
		m->wal_start = get_u64(s.p + 1);
		m->wal_end = get_u64(s.p + 9);
		m->data = gx_slice(s.p + 25, s.n - 25);
		return true;
	}
	if (s.n == 18 && s.p[0] == 'k') {
		m->is_keepalive = true;
		m->wal_end = get_u64(s.p + 1);
		m->reply_wanted = s.p[17] != 0;
		return true;
	}
	return false;
}

enum gx_rc
gx_pg_repl_next(struct gx_pg *pg, int timeout_ms, struct gx_repl_msg *m,
		struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + timeout_ms;
	int n;

	GX_ASSERT(pg->in_repl);
	gx_pg_forget(pg);
	for (;;) {
		struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
		int64_t left_ms = until_ms - gx_mono_ms();

		n = gx_pg_alive(pg) ? PQgetCopyData(pg->conn, &pg->copied, 1)
				    : -1;
		if (n > 0) {
			break;
		}
		if (n != 0) {
			return ended(pg, e);
		}
		if (poll(&fd, 1, left_ms > 0 ? (int)left_ms : 0) <= 0) {
			if (left_ms <= 0) {
				return GX_AGAIN;
			}
		} else if (!PQconsumeInput(pg->conn)) {
			return ended(pg, e);
		}
	}
	if (!parse_message(gx_slice(pg->copied, (size_t)n), m)) {
		return GX_ERR(e, GX_FATAL, "source.protocol",
			      "the server sent a replication message of a form "
			      "we do not know");
	}
	return GX_OK;
}

enum gx_rc
gx_pg_repl_confirm(struct gx_pg *pg, uint64_t flushed_lsn, struct gx_err *e)
{
	char msg[34] = {'r'};

	GX_ASSERT(pg->in_repl);
	put_u64(msg + 1, flushed_lsn);
	put_u64(msg + 9, flushed_lsn);
	put_u64(msg + 17, flushed_lsn);
	put_u64(msg + 25, (uint64_t)((gx_now_ms() - EPOCH_2000_MS) * 1000));
	if (!gx_pg_alive(pg) ||
	    PQputCopyData(pg->conn, msg, (int)sizeof(msg)) != 1 ||
	    PQflush(pg->conn) != 0) {
		return ended(pg, e);
	}
	return GX_OK;
}
