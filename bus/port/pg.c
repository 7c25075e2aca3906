/*
 * PostgreSQL connections: open, ask, roll back, and the pipeline.
 *
 * A connection belongs to one thread and does one thing at a time.  Every wait
 * has an end: the server's own time-outs are set when the connection is
 * opened, and should the server not even keep those (a stopped process, a dead
 * host behind a socket), we stop waiting a little later and never use that
 * connection again.  A broken connection stays broken: its owner closes it and
 * opens another, because only the owner knows what was under way.
 *
 * Statements are prepared under numbered names and found again by their text.
 * A name is used once; what the server did not confirm is forgotten, so a
 * failed pipeline leaves no name that means two things.  When the places are
 * used up, further texts are sent unprepared.
 *
 * A COMMIT that finds its transaction already failed is answered by the server
 * with ROLLBACK and no error.  Taken for success that would be a loss, so such
 * an answer is an error here unless a rollback was asked for.
 *
 * Nothing the server says in passing (NOTICE) is printed: it may hold values.
 */
#include "port/pg_int.h"

#include "base/clock.h"

#include <libpq-fe.h>
#include <poll.h>

#define OPEN_MS 8000
/* Longer than statement_timeout below, so that the server speaks first. */
#define ANSWER_MS 330000

#define OPTIONS_ALL                                                            \
	"-c TimeZone=<+08>-08 -c DateStyle=ISO,YMD "                           \
	"-c IntervalStyle=postgres -c bytea_output=hex "                       \
	"-c extra_float_digits=1 -c standard_conforming_strings=on "           \
	"-c client_min_messages=warning -c synchronous_commit=on "             \
	"-c jit=off "
#define OPTIONS_PLAIN                                                          \
	OPTIONS_ALL "-c idle_in_transaction_session_timeout=10000 "            \
		    "-c statement_timeout=300000 -c lock_timeout=5000 "
/* A walsender sends for as long as it lives, and a slot is made behind every
 * transaction that is open: our own wait bounds that. */
#define OPTIONS_REPLICATION                                                    \
	OPTIONS_ALL "-c statement_timeout=0 -c lock_timeout=0 "

/* ---- open and close ---- */

#define KEYWORDS_MAX 80

struct params {
	const char *names[KEYWORDS_MAX + 1], *values[KEYWORDS_MAX + 1];
	size_t n;
	char options[1024];
};

static void
put_param(struct params *p, const char *name, const char *value)
{
	if (p->n < KEYWORDS_MAX) {
		p->names[p->n] = name;
		p->values[p->n++] = value;
	}
}

/* Ours first, what the operator wrote after it: the last of a name counts.
 * What our reading of answers depends on comes last. */
static void
collect_params(struct params *p, const PQconninfoOption *given, const char *app,
	       bool replication)
{
	const char *options = "";

	put_param(p, "keepalives_idle", "10");
	put_param(p, "keepalives_interval", "5");
	put_param(p, "keepalives_count", "3");
	put_param(p, "tcp_user_timeout", "20000");
	for (const PQconninfoOption *o = given; o->keyword != NULL; o++) {
		if (o->val == NULL) {
			continue;
		}
		if (strcmp(o->keyword, "options") == 0) {
			options = o->val;
		} else {
			put_param(p, o->keyword, o->val);
		}
	}
	(void)snprintf(p->options, sizeof(p->options), "%s%s",
		       replication ? OPTIONS_REPLICATION : OPTIONS_PLAIN,
		       options);
	put_param(p, "options", p->options);
	/* A stream that the server converts ends at the first bad byte. */
	put_param(p, "client_encoding", replication ? "SQL_ASCII" : "UTF8");
	put_param(p, "application_name", app);
	if (replication) {
		put_param(p, "replication", "database");
	}
}

static bool
put_value(struct gx_buf *b, const char *name, const char *value)
{
	(void)gx_buf_printf(b, "%s%s='", b->n > 0 ? " " : "", name);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\') {
			(void)gx_buf_putc(b, '\\');
		}
		(void)gx_buf_putc(b, *value);
	}
	return gx_buf_putc(b, '\'') && !b->failed;
}

enum gx_rc
gx_pg_conninfo(const char *given, const char *passfile, bool may_hold_password,
	       struct gx_buf *out, struct gx_err *e)
{
	PQconninfoOption *all = PQconninfoParse(given, NULL);
	bool has_password = false, is_good = all != NULL;

	for (PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++) {
		if (o->val == NULL ||
		    (passfile != NULL && strcmp(o->keyword, "passfile") == 0)) {
			continue;
		}
		has_password |= strcmp(o->keyword, "password") == 0 ||
				strcmp(o->keyword, "sslpassword") == 0;
		is_good &= put_value(out, o->keyword, o->val);
	}
	PQconninfoFree(all);
	if (passfile != NULL) {
		is_good &= put_value(out, "passfile", passfile);
	}
	if (has_password && !may_hold_password) {
		return GX_ERR(e, GX_REJECT, "pg.conninfo",
			      "it sets a password");
	}
	return is_good ? GX_OK
		       : GX_ERR(e, GX_REJECT, "pg.conninfo",
				"it is no connection string of PostgreSQL: "
				"key=value pairs or postgresql://...");
}

static PGconn *
start_connect(const char *conninfo, const char *app, bool replication,
	      struct gx_err *e)
{
	struct params p = {.n = 0};
	PQconninfoOption *given = PQconninfoParse(conninfo, NULL);
	PGconn *conn;

	/* libpq's message quotes the string, which may hold a password. */
	if (given == NULL) {
		GX_ERR(e, GX_FATAL, "pg.conninfo",
		       "the connection string of PostgreSQL is malformed");
		return NULL;
	}
	collect_params(&p, given, app, replication);
	conn = PQconnectStartParams(p.names, p.values, 0);
	PQconninfoFree(given);
	if (conn == NULL) {
		GX_ERR(e, GX_FATAL, "mem.none",
		       "no memory for a connection to PostgreSQL");
	}
	return conn;
}

static void
drop_notice(void *ctx, const PGresult *res)
{
	(void)ctx;
	(void)res;
}

/* Drive the connecting to its end or to the deadline. */
static bool
finish_connect(PGconn *conn)
{
	int64_t until_ms = gx_mono_ms() + OPEN_MS;
	PostgresPollingStatusType st = PGRES_POLLING_WRITING;

	while (PQstatus(conn) != CONNECTION_BAD && st != PGRES_POLLING_OK &&
	       st != PGRES_POLLING_FAILED) {
		struct pollfd fd = {.fd = PQsocket(conn),
				    .events = st == PGRES_POLLING_READING
						      ? POLLIN
						      : POLLOUT};
		int64_t left_ms = until_ms - gx_mono_ms();

		if (left_ms <= 0) {
			return false;
		}
		if (poll(&fd, 1, (int)left_ms) > 0) {
			st = PQconnectPoll(conn);
		}
	}
	return PQstatus(conn) == CONNECTION_OK;
}

static void
name_place(struct gx_pg *pg)
{
	const char *host = PQhost(pg->conn);
	const char *port = PQport(pg->conn);

	(void)snprintf(pg->where, sizeof(pg->where), "%.80s:%.8s",
		       host != NULL && host[0] != '\0' ? host : "local",
		       port != NULL ? port : "");
}

/* The SQLSTATE at the end of a line of a terse message, "" if none. */
static void
find_state(const char *message, char state[6])
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	state[0] = '\0';
	for (const char *p = strstr(message, ":  "); p != NULL;
	     p = strstr(p + 3, ":  ")) {
		if (strspn(p + 3, digits) == 5 &&
		    (p[8] == '\n' || p[8] == '\0')) {
			memcpy(state, p + 3, 5);
			state[5] = '\0';
		}
	}
}

/* Why could we not connect?  Messages were asked to hold only SQLSTATEs;
 * without one it is libpq's own word on host and socket. */
static enum gx_rc
connect_fault(struct gx_pg *pg, struct gx_err *e)
{
	const char *message = PQerrorMessage(pg->conn);
	const struct gx_pg_state *st;
	char state[6];

	find_state(message, state);
	if (state[0] == '\0' && PQconnectionNeedsPassword(pg->conn)) {
		return GX_ERR(e, GX_FATAL, "pg.auth",
			      "PostgreSQL at %s wants a password and none is "
			      "given",
			      pg->where);
	}
	if (state[0] == '\0') {
		return GX_ERR(e, GX_AGAIN, "pg.away",
			      "no connection to PostgreSQL at %s: %.*s",
			      pg->where, (int)strcspn(message, "\n"), message);
	}
	st = gx_pg_state_find(state);
	return GX_ERR(e, st->rc == GX_AGAIN ? GX_AGAIN : GX_FATAL, st->code,
		      "PostgreSQL at %s refuses the connection: SQLSTATE %s",
		      pg->where, state);
}

enum gx_rc
gx_pg_open(const char *conninfo, const char *app, bool replication,
	   struct gx_pg **out, struct gx_err *e)
{
	PGconn *conn = start_connect(conninfo, app, replication, e);
	struct gx_pg *pg;
	enum gx_rc rc = GX_OK;

	*out = NULL;
	if (conn == NULL) {
		return e != NULL ? e->rc : GX_FATAL;
	}
	pg = gx_mem_new(sizeof(*pg));
	pg->magic = PG_MAGIC;
	pg->conn = conn;
	pg->is_replication = replication;
	(void)PQsetErrorVerbosity(conn, PQERRORS_SQLSTATE);
	(void)PQsetNoticeReceiver(conn, drop_notice, NULL);
	name_place(pg);
	if (!finish_connect(conn)) {
		rc = connect_fault(pg, e);
		gx_pg_close(&pg);
		return rc;
	}
	name_place(pg);
	*out = pg;
	return GX_OK;
}

void
gx_pg_forget(struct gx_pg *pg)
{
	PQclear(pg->rows.res);
	pg->rows.res = NULL;
	if (pg->copied != NULL) {
		PQfreemem(pg->copied);
		pg->copied = NULL;
	}
}

void
gx_pg_close(struct gx_pg **at)
{
	struct gx_pg *pg = *at;

	if (pg == NULL) {
		return;
	}
	GX_ASSERT(pg->magic == PG_MAGIC);
	gx_pg_forget(pg);
	PQfinish(pg->conn);
	for (size_t i = 0; i < pg->n_stmts; i++) {
		gx_mem_free(pg->stmts[i].text);
	}
	gx_mem_free(pg->owes);
	pg->magic = 0;
	gx_mem_free(pg);
	*at = NULL;
}

bool
gx_pg_alive(const struct gx_pg *pg)
{
	return !pg->is_broken && PQstatus(pg->conn) == CONNECTION_OK;
}

/* ---- answers ---- */

enum gx_rc
gx_pg_result(struct gx_pg *pg, struct pg_result **out, struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + ANSWER_MS;

	*out = NULL;
	while (PQisBusy(pg->conn)) {
		struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
		int64_t left_ms = until_ms - gx_mono_ms();

		if (left_ms <= 0) {
			pg->is_broken = true;
			return GX_ERR(e, GX_AGAIN, "pg.away",
				      "PostgreSQL at %s gave no answer for "
				      "%d s",
				      pg->where, ANSWER_MS / 1000);
		}
		/* A failed read leaves the reason to PQgetResult. */
		if (poll(&fd, 1, (int)left_ms) > 0 &&
		    !PQconsumeInput(pg->conn)) {
			break;
		}
	}
	*out = PQgetResult(pg->conn);
	return GX_OK;
}

static bool
is_good(const PGresult *res)
{
	ExecStatusType st = PQresultStatus(res);

	return st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK ||
	       st == PGRES_EMPTY_QUERY;
}

static int64_t
rows_changed(PGresult *res)
{
	return strtoll(PQcmdTuples(res), NULL, 10);
}

/* Read a statement's results; the last good one stays lent. */
static enum gx_rc
read_answer(struct gx_pg *pg, bool may_roll_back, struct gx_err *e)
{
	enum gx_rc first = GX_OK;

	for (;;) {
		PGresult *res;
		enum gx_rc rc = gx_pg_result(pg, &res, first ? NULL : e);

		if (rc != GX_OK || res == NULL) {
			return first ? first : rc;
		}
		if (!is_good(res)) {
			rc = gx_pg_fault(pg, res, first ? NULL : e);
		} else if (!may_roll_back &&
			   strcmp(PQcmdStatus(res), "ROLLBACK") == 0) {
			rc = GX_ERR(first ? NULL : e, GX_ABORT, "pg.aborted",
				    "the transaction had failed before and was "
				    "rolled back");
		}
		first = first ? first : rc;
		if (rc != GX_OK) {
			PQclear(res);
			if (pg->is_broken) {
				return first;
			}
			continue;
		}
		gx_pg_forget(pg);
		pg->rows.res = res;
		pg->n_changed = rows_changed(res);
	}
}

enum gx_rc
gx_pg_drain(struct gx_pg *pg, int64_t *n, struct gx_err *e)
{
	enum gx_rc rc = read_answer(pg, false, e);

	if (n != NULL) {
		*n = rc == GX_OK ? pg->n_changed : 0;
	}
	return rc;
}

enum gx_rc
gx_pg_begin_copy(struct gx_pg *pg, const char *sql, int status,
		 struct gx_err *e)
{
	PGresult *res;
	enum gx_rc rc;

	GX_ASSERT(pg->magic == PG_MAGIC && !pg->in_pipe);
	gx_pg_forget(pg);
	if (!gx_pg_alive(pg) || !PQsendQuery(pg->conn, sql)) {
		return gx_pg_away(pg, e);
	}
	rc = gx_pg_result(pg, &res, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (res != NULL && (int)PQresultStatus(res) == status) {
		PQclear(res);
		return GX_OK;
	}
	rc = gx_pg_fault(pg, res, e);
	PQclear(res);
	while (!pg->is_broken && (res = PQgetResult(pg->conn)) != NULL) {
		PQclear(res);
	}
	return rc;
}

/* ---- prepared statements ---- */

static uint64_t
hash_text(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

	for (; *s != '\0'; s++) {
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	}
	return h;
}

/* NULL: no place is left for this text. */
static struct pg_stmt *
find_stmt(struct gx_pg *pg, const char *sql)
{
	uint64_t h = hash_text(sql);
	struct pg_stmt *st;

	for (size_t i = 0; i < pg->n_stmts; i++) {
		st = &pg->stmts[i];
		if (st->hash == h && strcmp(st->text, sql) == 0) {
			return st;
		}
	}
	if (pg->n_stmts == PG_STMTS) {
		return NULL;
	}
	st = &pg->stmts[pg->n_stmts++];
	*st = (struct pg_stmt){.hash = h,
			       .text = gx_mem_strdup(sql),
			       .number = ++pg->next_number};
	return st;
}

static void
forget_stmt(struct gx_pg *pg, struct pg_stmt *st)
{
	gx_mem_free(st->text);
	*st = pg->stmts[--pg->n_stmts];
}

static void
stmt_name(const struct pg_stmt *st, char out[16])
{
	(void)snprintf(out, 16, "gx%u", st->number);
}

static bool
send_query(struct gx_pg *pg, const struct pg_stmt *st, const char *sql,
	   int n_params, const char *const *params)
{
	char name[16];

	if (st == NULL) {
		return PQsendQueryParams(pg->conn, sql, n_params, NULL, params,
					 NULL, NULL, 0) != 0;
	}
	stmt_name(st, name);
	return PQsendQueryPrepared(pg->conn, name, n_params, params, NULL, NULL,
				   0) != 0;
}

static enum gx_rc
prepare(struct gx_pg *pg, struct pg_stmt *st, int n_params, struct gx_err *e)
{
	char name[16];
	enum gx_rc rc;

	stmt_name(st, name);
	if (!PQsendPrepare(pg->conn, name, st->text, n_params, NULL)) {
		return gx_pg_away(pg, e);
	}
	rc = read_answer(pg, true, e);
	if (rc != GX_OK) {
		forget_stmt(pg, st);
		return rc;
	}
	st->is_ready = true;
	return GX_OK;
}

/* What was altered under a prepared statement is told once as an ABORT; the
 * next call prepares anew. */
static enum gx_rc
check_stale(struct gx_pg *pg, struct pg_stmt *st, enum gx_rc rc,
	    struct gx_err *e)
{
	if (st == NULL || e == NULL || e->code == NULL ||
	    (strcmp(e->code, "pg.stale") != 0 &&
	     strstr(e->text, "0A000") == NULL)) {
		return rc;
	}
	forget_stmt(pg, st);
	return GX_ERR(e, GX_ABORT, "pg.stale",
		      "a table was altered under a prepared statement");
}

enum gx_rc
gx_pg_query(struct gx_pg *pg, const char *sql, int n_params,
	    const char *const *params, const struct gx_rows **rows,
	    struct gx_err *e)
{
	struct pg_stmt *st = NULL;
	bool was_ready = false;
	struct gx_err own = {0};
	enum gx_rc rc;

	GX_ASSERT(pg->magic == PG_MAGIC && !pg->in_pipe);
	e = e != NULL ? e : &own;
	gx_pg_forget(pg);
	if (!gx_pg_alive(pg)) {
		return gx_pg_away(pg, e);
	}
	if (pg->is_replication) { /* a walsender knows no other protocol */
		GX_ASSERT(n_params == 0);
		rc = gx_pg_exec(pg, sql, e);
	} else {
		st = find_stmt(pg, sql);
		was_ready = st != NULL && st->is_ready;
		if (st != NULL && !was_ready) {
			rc = prepare(pg, st, n_params, e);
			if (rc != GX_OK) {
				return rc;
			}
		}
		rc = send_query(pg, st, sql, n_params, params)
			     ? read_answer(pg, strstr(sql, "ROLLBACK") != NULL,
					   e)
			     : gx_pg_away(pg, e);
	}
	if (rc != GX_OK) {
		return was_ready ? check_stale(pg, st, rc, e) : rc;
	}
	if (rows != NULL) {
		*rows = &pg->rows;
	}
	return GX_OK;
}

enum gx_rc
gx_pg_exec(struct gx_pg *pg, const char *sql, struct gx_err *e)
{
	GX_ASSERT(pg->magic == PG_MAGIC && !pg->in_pipe);
	gx_pg_forget(pg);
	if (!gx_pg_alive(pg) || !PQsendQuery(pg->conn, sql)) {
		return gx_pg_away(pg, e);
	}
	return read_answer(pg, strstr(sql, "ROLLBACK") != NULL, e);
}

int64_t
gx_pg_n_changed(const struct gx_pg *pg)
{
	return pg->n_changed;
}

/* ---- pipeline ---- */

static enum gx_rc
owe(struct gx_pg *pg, enum pg_owed kind, unsigned number, struct gx_err *e)
{
	if (pg->n_owes == pg->owes_max) {
		size_t max = pg->owes_max ? 2 * pg->owes_max : 64;
		void *p = gx_mem_grow(pg->owes, max, sizeof(*pg->owes));

		if (p == NULL) {
			return GX_ERR(e, GX_FATAL, "mem.none",
				      "no memory for a pipeline of %zu "
				      "statements",
				      max);
		}
		pg->owes = p;
		pg->owes_max = max;
	}
	pg->owes[pg->n_owes++] = (struct pg_owe){kind, number};
	return GX_OK;
}

/* In one pipeline a statement is prepared before its first use; the server
 * keeps the order. */
static enum gx_rc
pipe_prepare(struct gx_pg *pg, struct pg_stmt *st, int n_params,
	     struct gx_err *e)
{
	char name[16];

	for (size_t i = 0; i < pg->n_owes; i++) {
		if (pg->owes[i].kind == PG_OWED_PREPARE &&
		    pg->owes[i].number == st->number) {
			return GX_OK;
		}
	}
	stmt_name(st, name);
	if (!PQsendPrepare(pg->conn, name, st->text, n_params, NULL)) {
		return gx_pg_away(pg, e);
	}
	return owe(pg, PG_OWED_PREPARE, st->number, e);
}

enum gx_rc
gx_pg_pipe(struct gx_pg *pg, const char *sql, int n_params,
	   const char *const *params, struct gx_err *e)
{
	struct pg_stmt *st;
	enum gx_rc rc = GX_OK;

	GX_ASSERT(pg->magic == PG_MAGIC);
	if (!pg->in_pipe) {
		gx_pg_forget(pg);
		if (!gx_pg_alive(pg) || !PQenterPipelineMode(pg->conn)) {
			return gx_pg_away(pg, e);
		}
		pg->in_pipe = true;
		pg->n_owes = 0;
	}
	st = find_stmt(pg, sql);
	if (st != NULL && !st->is_ready) {
		rc = pipe_prepare(pg, st, n_params, e);
	}
	if (rc == GX_OK && !send_query(pg, st, sql, n_params, params)) {
		rc = gx_pg_away(pg, e);
	}
	return rc == GX_OK ? owe(pg, PG_OWED_QUERY, 0, e) : rc;
}

static void
confirm_stmt(struct gx_pg *pg, unsigned number)
{
	for (size_t i = 0; i < pg->n_stmts; i++) {
		if (pg->stmts[i].number == number) {
			pg->stmts[i].is_ready = true;
		}
	}
}

static void
forget_unready(struct gx_pg *pg)
{
	for (size_t i = pg->n_stmts; i-- > 0;) {
		if (!pg->stmts[i].is_ready) {
			forget_stmt(pg, &pg->stmts[i]);
		}
	}
}

/* The answer to one thing owed; after a failure the server skips the rest. */
static enum gx_rc
read_owed(struct gx_pg *pg, const struct pg_owe *o, int64_t *changed,
	  struct gx_err *e)
{
	PGresult *res;
	enum gx_rc rc = GX_OK, got;

	for (;;) {
		got = gx_pg_result(pg, &res, e);
		if (got != GX_OK || res == NULL) {
			return rc ? rc : got;
		}
		if (PQresultStatus(res) == PGRES_PIPELINE_ABORTED) {
			rc = rc ? rc : GX_ABORT; /* an earlier one said why */
		} else if (!is_good(res)) {
			rc = rc ? rc : gx_pg_fault(pg, res, e);
		} else if (o->kind == PG_OWED_PREPARE) {
			confirm_stmt(pg, o->number);
		} else {
			*changed = rows_changed(res);
		}
		PQclear(res);
		if (pg->is_broken) {
			return rc;
		}
	}
}

static enum gx_rc
read_sync(struct gx_pg *pg, struct gx_err *e)
{
	PGresult *res;
	enum gx_rc rc = gx_pg_result(pg, &res, e);
	bool is_sync;

	if (rc != GX_OK) {
		return rc;
	}
	is_sync = res != NULL && PQresultStatus(res) == PGRES_PIPELINE_SYNC;
	PQclear(res);
	if (!is_sync) {
		return gx_pg_away(pg, e);
	}
	return PQexitPipelineMode(pg->conn) ? GX_OK : gx_pg_away(pg, e);
}

enum gx_rc
gx_pg_pipe_sync(struct gx_pg *pg, int64_t *changed, size_t n_max,
		struct gx_err *e)
{
	enum gx_rc first = GX_OK, rc;
	size_t n = 0;

	GX_ASSERT(pg->magic == PG_MAGIC);
	if (!pg->in_pipe) {
		return GX_OK;
	}
	pg->in_pipe = false;
	if (!PQpipelineSync(pg->conn)) {
		first = gx_pg_away(pg, e);
	}
	for (size_t i = 0; i < pg->n_owes && !pg->is_broken; i++) {
		int64_t n_rows = 0;

		rc = read_owed(pg, &pg->owes[i], &n_rows, first ? NULL : e);
		first = first ? first : rc;
		if (pg->owes[i].kind == PG_OWED_QUERY) {
			if (changed != NULL && n < n_max) {
				changed[n] = n_rows;
			}
			n++;
		}
	}
	rc = pg->is_broken ? first : read_sync(pg, first ? NULL : e);
	forget_unready(pg);
	pg->n_owes = 0;
	return first ? first : rc;
}

/* ---- rollback ---- */

/* Ask the server to stop sending; what is under way is read to its end. */
static void
cancel(struct gx_pg *pg)
{
	PGcancel *c = PQgetCancel(pg->conn);
	int64_t until_ms = gx_mono_ms() + OPEN_MS;
	char ignored[256];
	struct gx_slice row;
	bool is_end = false;

	if (c == NULL || !PQcancel(c, ignored, sizeof(ignored))) {
		pg->is_broken = true;
	}
	PQfreeCancel(c);
	while (!pg->is_broken && pg->in_copy_out) {
		enum gx_rc rc = gx_pg_copy_get(pg, 100, &row, &is_end, NULL);

		pg->is_broken |= rc == GX_AGAIN && gx_mono_ms() > until_ms;
	}
}

void
gx_pg_rollback(struct gx_pg *pg)
{
	GX_ASSERT(pg->magic == PG_MAGIC);
	gx_pg_forget(pg);
	if (pg->in_repl) { /* there is no way back but a new connection */
		pg->is_broken = true;
	}
	if (gx_pg_alive(pg) && pg->in_pipe) {
		(void)!gx_pg_pipe_sync(pg, NULL, 0, NULL);
	}
	if (gx_pg_alive(pg) && pg->in_copy_in) {
		(void)PQputCopyEnd(pg->conn, "rolled back");
		(void)!read_answer(pg, true, NULL);
	}
	if (gx_pg_alive(pg) && pg->in_copy_out) {
		cancel(pg);
	}
	pg->in_pipe = false;
	pg->in_copy_in = false;
	pg->in_copy_out = false;
	if (gx_pg_alive(pg) && PQtransactionStatus(pg->conn) != PQTRANS_IDLE &&
	    gx_pg_exec(pg, "ROLLBACK", NULL) != GX_OK) {
		pg->is_broken = true;
	}
	gx_pg_forget(pg);
}
