/*
 * Inside of the libpq port: shared by pg*.c only.
 *
 *   pg.c         open, close, ask, roll back; the pipeline
 *   pg_err.c     the table of SQLSTATEs
 *   pg_rows.c    values of a result
 *   pg_copy.c    COPY in both directions
 *   pg_repl.c    logical replication
 *   pg_ask.c     statements that are not waited for
 *   pg_migrate.c numbered SQL files
 *   pg_text.c    identifiers, literals, positions in the WAL
 *
 * libpq's own header stays in the .c files; its two structs are named here
 * only.
 */
#ifndef GX_PORT_PG_INT_H
#define GX_PORT_PG_INT_H

#include "port/pg.h"

struct pg_conn;
struct pg_result;

#define PG_STMTS 128 /* prepared at most; more texts go unprepared */

struct gx_rows {
	struct pg_result *res;
};

/* A statement prepared on this connection under the name "gx<number>". */
struct pg_stmt {
	uint64_t hash;
	char *text;
	unsigned number;
	bool is_ready; /* the server said so */
};

/* What the server still owes us in an open pipeline, in order. */
enum pg_owed { PG_OWED_PREPARE, PG_OWED_QUERY };
struct pg_owe {
	enum pg_owed kind;
	unsigned number; /* of the statement */
};

struct gx_pg {
	unsigned magic;
	struct pg_conn *conn;
	bool is_replication;
	bool is_broken;	 /* no answer in time: never used again */
	char where[128]; /* host and database, for error texts */
	struct gx_rows rows;
	int64_t n_changed;
	struct pg_stmt stmts[PG_STMTS];
	size_t n_stmts;
	unsigned next_number;

	bool in_pipe;
	struct pg_owe *owes;
	size_t n_owes, owes_max;

	bool in_copy_in, in_copy_out, in_repl;
	bool has_begun_out;   /* its first answer has come */
	int64_t copied_at_ms; /* when a row came, or the COPY began */
	char *copied;	      /* libpq's buffer, lent out until the next call */
};
#define PG_MAGIC 0x67787067u

/* ---- pg_err.c ---- */
struct gx_pg_state {
	const char *prefix; /* class or SQLSTATE; the longest match counts */
	enum gx_rc rc;
	const char *code;
	bool is_quotable; /* the message holds names, never values */
};
/* Never NULL: an unknown state has the row of the empty prefix. */
const struct gx_pg_state *gx_pg_state_find(const char *sqlstate);
/* Row i of the table, NULL past its end. */
const struct gx_pg_state *gx_pg_state_at(size_t i);
/* Set e from a failed result, or from the connection if res is NULL. */
enum gx_rc gx_pg_fault(struct gx_pg *pg, const struct pg_result *res,
		       struct gx_err *e);
/* The connection is gone: GX_AGAIN "pg.away". */
enum gx_rc gx_pg_away(struct gx_pg *pg, struct gx_err *e);

/* ---- pg.c ---- */
/* The next result, waited for with a deadline; *out NULL at the end of the
 * statement.  GX_AGAIN "pg.away" if the connection ended meanwhile. */
enum gx_rc gx_pg_result(struct gx_pg *pg, struct pg_result **out,
			struct gx_err *e) GX_MUSTCHECK;
/* Send text without parameters; answer is the first result, which must be of
 * one of the COPY kinds.  Clears what was lent before. */
enum gx_rc gx_pg_begin_copy(struct gx_pg *pg, const char *sql, int status,
			    struct gx_err *e) GX_MUSTCHECK;
/* Throw away results until the end of the statement; the first failure is
 * what is returned.  *n (may be NULL): rows of the last. */
enum gx_rc gx_pg_drain(struct gx_pg *pg, int64_t *n,
		       struct gx_err *e) GX_MUSTCHECK;
/* Forget what was lent: result and copied row. */
void gx_pg_forget(struct gx_pg *pg);

#endif
