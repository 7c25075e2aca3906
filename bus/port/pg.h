/*
 * PostgreSQL through libpq, which lives only in pg*.c.  One connection per
 * owner; no pooler in between.  SQLSTATEs are mapped to gx_rc by one table
 * (pg_err.c): outages and serialization failures are AGAIN or ABORT, data
 * faults REJECT, everything unknown FATAL.  Error texts carry SQLSTATE, table,
 * column and constraint; the primary message only where it cannot hold a
 * value (class 22 quotes what it could not read); never DETAIL.
 */
#ifndef GX_PORT_PG_H
#define GX_PORT_PG_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

struct gx_pg;

/* Connect.  conninfo: libpq string; app: application_name; replication: open
 * a logical replication connection ("replication=database").  Sets the
 * time-outs of docs/kafka.md (lock_timeout, idle_in_transaction, keepalives,
 * tcp_user_timeout), client_encoding UTF8, timezone +08, datestyle ISO.  With
 * replication: no lock_timeout (a slot is made behind old transactions), and
 * names and values come as the database has them, unconverted and unchecked.
 * GX_AGAIN "pg.away" (host named) | GX_FATAL "pg.auth", "pg.conninfo". */
enum gx_rc gx_pg_open(const char *conninfo, const char *app, bool replication,
		      struct gx_pg **out, struct gx_err *e) GX_MUSTCHECK;
void gx_pg_close(struct gx_pg **pg);
/* Check a connection string, of libpq's two forms either, and append it as
 * keyword='value' list, with passfile if that is not NULL.  GX_REJECT
 * "pg.conninfo": malformed, or it sets a password and may_hold_password is
 * false; the text echoes nothing of it. */
enum gx_rc gx_pg_conninfo(const char *given, const char *passfile,
			  bool may_hold_password, struct gx_buf *out,
			  struct gx_err *e) GX_MUSTCHECK;
bool gx_pg_alive(const struct gx_pg *pg);

/* Result of the last query; lent until the next call on pg. */
struct gx_rows;
int gx_rows_n(const struct gx_rows *r);
const char *gx_rows_name(const struct gx_rows *r, int col);
/* Text of a value; "" for NULL (see is_null). */
const char *gx_rows_str(const struct gx_rows *r, int row, int col);
struct gx_slice gx_rows_slice(const struct gx_rows *r, int row, int col);
bool gx_rows_null(const struct gx_rows *r, int row, int col);
int64_t gx_rows_int(const struct gx_rows *r, int row, int col);
bool gx_rows_bool(const struct gx_rows *r, int row, int col);
/* bytea in hex form -> bytes appended to out. */
bool gx_rows_bytea(const struct gx_rows *r, int row, int col,
		   struct gx_buf *out);

/* One statement with text parameters (NULL pointer = SQL NULL); prepared
 * once per connection and text.  *rows may be NULL if not wanted. */
enum gx_rc gx_pg_query(struct gx_pg *pg, const char *sql, int n_params,
		       const char *const *params, const struct gx_rows **rows,
		       struct gx_err *e) GX_MUSTCHECK;
/* Several statements, no parameters, no result (DDL, BEGIN, COMMIT). */
enum gx_rc gx_pg_exec(struct gx_pg *pg, const char *sql,
		      struct gx_err *e) GX_MUSTCHECK;
/* Rows changed by the last query. */
int64_t gx_pg_n_changed(const struct gx_pg *pg);
/* Roll back whatever is open; never fails (a dead connection stays dead). */
void gx_pg_rollback(struct gx_pg *pg);

/* Pipeline: queue statements, then one sync; rc is the first failure. */
enum gx_rc gx_pg_pipe(struct gx_pg *pg, const char *sql, int n_params,
		      const char *const *params, struct gx_err *e) GX_MUSTCHECK;
/* *changed (may be NULL): per queued statement, rows changed; n_max entries. */
enum gx_rc gx_pg_pipe_sync(struct gx_pg *pg, int64_t *changed, size_t n_max,
			   struct gx_err *e) GX_MUSTCHECK;

/* COPY ... FROM STDIN (text format). */
enum gx_rc gx_pg_copy_in(struct gx_pg *pg, const char *sql,
			 struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_pg_copy_put(struct gx_pg *pg, struct gx_slice rows,
			  struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_pg_copy_end(struct gx_pg *pg, int64_t *n_rows,
			  struct gx_err *e) GX_MUSTCHECK;
/* COPY ... TO STDOUT.  copy_out only sends it: what is wrong with it is told
 * by the first copy_get.  GX_OK: a row, lent until the next call, or *is_end.
 * GX_AGAIN: nothing within timeout_ms, e untouched.  An outage is GX_ABORT, so
 * that it is never taken for the end; the COPY is over with every other
 * answer too. */
enum gx_rc gx_pg_copy_out(struct gx_pg *pg, const char *sql,
			  struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_pg_copy_get(struct gx_pg *pg, int timeout_ms,
			  struct gx_slice *row, bool *is_end,
			  struct gx_err *e) GX_MUSTCHECK;

/* A statement whose answer may take long, on either kind of connection.
 * answer: *rows NULL while there is none within timeout_ms.  cancel: ask the
 * server to give it up; the connection is to be closed then. */
enum gx_rc gx_pg_ask(struct gx_pg *pg, const char *sql,
		     struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_pg_answer(struct gx_pg *pg, int timeout_ms,
			const struct gx_rows **rows,
			struct gx_err *e) GX_MUSTCHECK;
void gx_pg_cancel(struct gx_pg *pg);
/* Of the server process behind the connection. */
int64_t gx_pg_pid(const struct gx_pg *pg);

/* Logical replication on a connection opened with replication = true.
 * query/exec work for IDENTIFY_SYSTEM, CREATE_REPLICATION_SLOT (simple). */
enum gx_rc gx_pg_repl_start(struct gx_pg *pg, const char *start_sql,
			    struct gx_err *e) GX_MUSTCHECK;
struct gx_repl_msg {
	bool is_keepalive;
	bool reply_wanted;    /* keepalive */
	uint64_t wal_start;   /* data: LSN of the message */
	uint64_t wal_end;     /* server's current end */
	struct gx_slice data; /* pgoutput bytes, lent until the next call */
};
/* GX_AGAIN: nothing within timeout_ms.  GX_ABORT: the connection ended.
 * GX_FATAL: it would end here for ever. */
enum gx_rc gx_pg_repl_next(struct gx_pg *pg, int timeout_ms,
			   struct gx_repl_msg *m,
			   struct gx_err *e) GX_MUSTCHECK;
/* Standby status update: what may be forgotten. */
enum gx_rc gx_pg_repl_confirm(struct gx_pg *pg, uint64_t flushed_lsn,
			      struct gx_err *e) GX_MUSTCHECK;

/* "pg_catalog safe": identifiers and literals, appended. */
bool gx_pg_ident(struct gx_buf *b, const char *name);
bool gx_pg_literal(struct gx_buf *b, struct gx_slice s);
/* "0/16B3748" <-> number. */
bool gx_lsn_parse(const char *s, uint64_t *lsn);
void gx_lsn_format(uint64_t lsn, char out[24]);

/* Numbered SQL files of a folder, applied once each under an advisory lock,
 * with a checksum table gx_migration; a changed file is GX_FATAL. */
enum gx_rc gx_pg_migrate(struct gx_pg *pg, const char *dir,
			 struct gx_err *e) GX_MUSTCHECK;
int gx_pg_lib_version(void);

#endif
