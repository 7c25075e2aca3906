/*
 * Inside of the PostgreSQL store: shared by store_pg*.c only.
 *
 *   store_pg.c        the store's face; questions about streams
 *   store_pg_aside.c  quarantine at the source, releases
 *   store_pg_redrive.c  what is set aside, sealed; its way home
 *   store_pg_table.c  base tables and their statements
 *   store_pg_lines.c  lines of a transaction: read, checked, last of a key
 *   store_pg_write.c  what they change, written
 *   store_pg_end.c    the end of a full reading, and its guard
 *   store_pg_show.c   what of it nodes below are shown
 *   store_pg_commit.c one transaction of a reader
 */
#ifndef GX_FLOW_STORE_PG_INT_H
#define GX_FLOW_STORE_PG_INT_H

#include "flow/store_pg.h"
#include "port/pg.h"
#include "record/line.h"

#define STORE_PG_MAGIC 0x73747067u
#define STORE_PG_STREAMS 4096	  /* of one flow, for release and acceptance */
#define STORE_PG_ROWS (96u << 20) /* bytes of rows in one transaction */
#define STORE_PG_SMALL 50	  /* lines up to which no COPY is made */
#define STORE_PG_KEY 2000 /* bytes of a key; an index holds little more */

/* A set of columns as array literals, for unnest. */
#define SPG_COLS 7
struct spg_arrays {
	struct gx_buf col[SPG_COLS];
	size_t n; /* rows */
};

/* A resource and its base table. */
struct spg_table {
	const struct gx_resource *r;
	struct gx_check *check;
	unsigned number;   /* of its temporary table: gx_in_<number> */
	bool is_made;	   /* base table seen whole, since the store began */
	bool has_temp;	   /* on this connection */
	bool is_temp_full; /* rows of this transaction lie in it */
	bool is_met;	   /* in the open transaction */
	/* Statements, built once. */
	char *copy, *upsert, *one, *remove, *truncate, *temp;
	char *count, *doomed_count, *doomed_delete;
	char *show;		   /* NULL until it is needed */
	struct spg_arrays touched; /* origin, key: in the open transaction */
};

/*
 * A stretch of one stream under one epoch within a transaction; of a stream
 * that came down from the node above (is_down), one more for each origin that
 * its lines name (is_line).
 */
struct spg_unit {
	struct gx_slice stream, origin;
	char base[GX_STREAM_MAX + 1]; /* stream's name without generation */
	struct spg_table *table;
	uint64_t epoch;
	bool is_down, is_line;
	bool is_read_back; /* made here for a node below: no rows of ours */
};

/* A line that changes a row or a hold.  Slices lie in the message. */
struct spg_item {
	struct gx_slice key, line, time;
	uint64_t seq, hash;
	uint32_t unit;
	uint32_t before; /* u, d: the one of its key before it, + 1; 0 none */
	uint32_t prior;	 /* the one of any kind before it, likewise */
	uint32_t row_n;	 /* u: its row of COPY text in rows */
	size_t row_at;
	enum gx_op op;
	bool is_row;  /* the last u or d of its key here */
	bool is_last; /* the last of any kind of its key here */
};

struct spg_slot { /* of the table of keys; indexes + 1 */
	uint32_t row, last;
};

/* Where the lines of a transaction are read. */
struct spg_cursor {
	size_t apply, at; /* at: within the body of the apply's head */
	uint64_t seq;	  /* of the next line, if at > 0 */
};

struct gx_store_pg {
	struct gx_store base;
	unsigned magic;
	char *conninfo, *app, *node;
	char **subtree;
	size_t n_subtree;
	bool gives;
	int guard_percent;
	uint64_t guard_floor, quarantine_max_rows;
	struct gx_box *box; /* NULL: none */
	gx_check_line_f check_line;
	void *check_ctx;
	struct spg_table *tables;
	size_t n_tables;
	struct gx_pg *pg;

	/* Streams of the flow, met by settle and aside: what a release of
	 * this flow covers. */
	char **streams;
	size_t n_streams;
	uint64_t upto; /* highest row of the quarantine of theirs */
	/* Streams whose next e may delete what it likes. */
	char **accepted;
	size_t n_accepted;

	/* The open transaction. */
	bool is_careful; /* data goes in with savepoints */
	bool has_held, has_open;
	struct spg_unit *units;
	size_t n_units, units_max;

	/* The segment in hand: lines up to an e or to the end. */
	struct spg_item *items;
	size_t n_items, items_max;
	struct spg_slot *slots;
	size_t n_slots;
	struct gx_buf rows;	    /* COPY text */
	struct spg_arrays asides;   /* stream, seq, key, reasons, original, at,
				   * is it sealed */
	struct spg_arrays redrives; /* stream, before, upto, first, end */
	struct spg_arrays starts;   /* stream, seq */
	struct gx_slice *started;   /* the streams of starts */
	size_t n_started, started_max;
	uint64_t n_lines, n_aside;

	/* Room for statements. */
	struct spg_arrays a, b;
	struct gx_buf text, key, sealed;
	const char **params;
	size_t params_max;
	uint32_t *picked;
	size_t picked_max;
};

static inline struct gx_store_pg *
store_pg_of(struct gx_store *s)
{
	struct gx_store_pg *st = (struct gx_store_pg *)s;

	GX_ASSERT(st->magic == STORE_PG_MAGIC);
	return st;
}

/* ---- store_pg.c ---- */
/* Open the connection if there is none that lives. */
enum gx_rc gx_store_pg_connect(struct gx_store_pg *st,
			       struct gx_err *e) GX_MUSTCHECK;
/* After a failure: roll back, forget a dead connection; returns rc, a
 * GX_REJECT of the database made GX_FATAL. */
enum gx_rc gx_store_pg_undo(struct gx_store_pg *st, enum gx_rc rc,
			    struct gx_err *e);
void gx_store_pg_arrays_init(struct spg_arrays *a);
void gx_store_pg_arrays_free(struct spg_arrays *a);
void gx_store_pg_arrays_reset(struct spg_arrays *a);
/* Append a value to a column; the caller fills each column of a row. */
void gx_store_pg_put(struct gx_buf *col, struct gx_slice v);
void gx_store_pg_put_u64(struct gx_buf *col, uint64_t v);
void gx_store_pg_put_hex(struct gx_buf *col, const void *p, size_t n);
/* Close the first n columns and set params to them; GX_FATAL "mem.full". */
enum gx_rc gx_store_pg_params(struct spg_arrays *a, size_t n,
			      const char **params,
			      struct gx_err *e) GX_MUSTCHECK;
/* JSON text that jsonb takes: \u0000 becomes U+FFFD. */
bool gx_store_pg_clean_json(struct gx_buf *out, struct gx_slice json);
/* Grow an array so that it holds n elements. */
enum gx_rc gx_store_pg_room(void *at, size_t *max, size_t n, size_t size,
			    struct gx_err *e) GX_MUSTCHECK;
/* Is the name in the list?  Put it there, take it out. */
bool gx_store_pg_listed(char *const *list, size_t n, struct gx_slice name);
void gx_store_pg_list(char ***list, size_t *n, struct gx_slice name);
void gx_store_pg_unlist(char **list, size_t *n, struct gx_slice name);

/* ---- store_pg_redrive.c ---- */
/* Put bytes into a column, sealed if there is a box. */
enum gx_rc gx_store_pg_put_sealed(struct gx_store_pg *st, struct gx_buf *col,
				  const char *column, struct gx_slice stream,
				  struct gx_slice pos, struct gx_slice bytes,
				  struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_store_pg_redrive_wanted(struct gx_store *s,
				      const char *const *streams, size_t n,
				      bool *is_wanted, struct gx_err *e);
enum gx_rc gx_store_pg_redrive(struct gx_store *s, const char *stream,
			       uint64_t after, size_t max_lines,
			       size_t max_bytes, gx_redrive_f each, void *ctx,
			       struct gx_err *e);
/* A batch met while a segment is collected: does it carry replays? */
void gx_store_pg_note_redrive(struct gx_store_pg *st,
			      const struct gx_apply *ap);
/* Close the items whose replays the segment in hand brings. */
enum gx_rc gx_store_pg_close_items(struct gx_store_pg *st, bool small,
				   struct gx_err *e) GX_MUSTCHECK;

/* ---- store_pg_aside.c ---- */
enum gx_rc gx_store_pg_aside(struct gx_store *s, const struct gx_aside *rows,
			     size_t n, uint64_t *upto, struct gx_err *e);
enum gx_rc gx_store_pg_settle(struct gx_store *s, struct gx_slice stream,
			      uint64_t next_seq, uint64_t epoch,
			      struct gx_err *e);
enum gx_rc gx_store_pg_release(struct gx_store *s, const char *flow,
			       struct gx_slice pos, uint64_t upto,
			       uint64_t epoch, struct gx_err *e);
enum gx_rc gx_store_pg_released(struct gx_store *s, const char *flow,
				struct gx_buf *pos, struct gx_err *e);

/* ---- store_pg_table.c ---- */
/* Table of a stream's resource.  GX_FATAL "stream.undeclared". */
enum gx_rc gx_store_pg_table(struct gx_store_pg *st, struct gx_slice stream,
			     struct gx_stream_name *name,
			     struct spg_table **out,
			     struct gx_err *e) GX_MUSTCHECK;
/* Make the base table if it is not there, or not whole.  Not within a
 * transaction. */
enum gx_rc gx_store_pg_make_table(struct gx_store_pg *st, struct spg_table *t,
				  struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_store_pg_make_temp(struct gx_store_pg *st, struct spg_table *t,
				 struct gx_err *e) GX_MUSTCHECK;
void gx_store_pg_free_table(struct spg_table *t);

/* ---- store_pg_lines.c ---- */
/* Read lines from the cursor into items, up to an e (its unit in *end) or to
 * the end (*end NULL). */
enum gx_rc gx_store_pg_collect(struct gx_store_pg *st, const struct gx_txn *t,
			       struct spg_cursor *c,
			       const struct spg_unit **end,
			       struct gx_err *e) GX_MUSTCHECK;
/* Put a line into the segment's quarantine. */
enum gx_rc gx_store_pg_set_aside(struct gx_store_pg *st,
				 const struct spg_unit *u, uint64_t seq,
				 struct gx_slice key, struct gx_slice line,
				 struct gx_slice reasons,
				 struct gx_err *e) GX_MUSTCHECK;

/* ---- store_pg_write.c ---- */
/* Write the segment in hand.  small: only queue it in the pipeline. */
enum gx_rc gx_store_pg_write(struct gx_store_pg *st, bool small,
			     struct gx_err *e) GX_MUSTCHECK;

/* ---- store_pg_end.c ---- */
enum gx_rc gx_store_pg_end(struct gx_store_pg *st, const struct spg_unit *u,
			   struct gx_err *e) GX_MUSTCHECK;

/* ---- store_pg_show.c ---- */
/* Is the table one whose records nodes below may be shown? */
bool gx_store_pg_shows(const struct gx_store_pg *st, const struct spg_table *t);
void gx_store_pg_forget_touched(struct gx_store_pg *st);
/* Only for a table that shows. */
void gx_store_pg_touch(struct spg_table *t, struct gx_slice origin,
		       struct gx_slice key);
/* All keys whose rows the segment in hand changes. */
void gx_store_pg_touch_segment(struct gx_store_pg *st);
/* Show what was touched: the last statements before COMMIT.  small: as
 * gx_store_pg_write. */
enum gx_rc gx_store_pg_show(struct gx_store_pg *st, bool small,
			    struct gx_err *e) GX_MUSTCHECK;

/* ---- store_pg_commit.c ---- */
enum gx_rc gx_store_pg_commit(struct gx_store *s, const struct gx_txn *t,
			      struct gx_txn_result *r, struct gx_err *e);

#endif
