/*
 * Inside of the PostgreSQL source: shared by src_pg*.c only.
 *
 *   src_pg.c       the source's face: take, start, read, release, drop
 *   src_pg_start.c where do streams and slot stand, may we go on
 *   src_pg_conf.c  reading the declaration
 *   src_pg_slot.c  the slot: take, watch, drop
 *   src_pg_make.c  the slot made, behind the department's transactions
 *   src_pg_table.c tables and publication: do they fit the declaration
 *   src_pg_read.c  full readings
 *   src_pg_change.c changes in commit order
 *   src_pg_text.c  the encoding of names and values
 *   src_pg_out.c   decoder of pgoutput
 *   src_pg_pos.c   positions
 */
#ifndef GX_FLOW_SRC_PG_INT_H
#define GX_FLOW_SRC_PG_INT_H

#include "adapters/host.h"
#include "base/clock.h"
#include "flow/src_pg.h"
#include "flow/src_pg_out.h"
#include "flow/src_pg_pos.h"
#include "port/pg.h"

#define SRC_PG_MAGIC 0x73706763u
#define SRC_PG_STREAMS 4096 /* of one source */

/* One stream: a table, or a shard of it. */
struct pg_stream {
	char *name;
	size_t table;
	struct gx_pg_pos pos; /* all up to here was handed over or settled */
	bool has_begun;	      /* its s line was handed over */
	bool is_read;	      /* its rows were handed over */
	bool awaits_until;    /* its e comes when changes passed pos.until */
	struct gx_buf key;    /* base64 of the last key, pos.key lies here */
};

struct pg_table {
	char *ns, *name;
	const struct gx_resource *resource;
	struct gx_host *host;
	size_t first_stream, n_streams;

	/* What the server's catalogue and relation messages say. */
	bool is_published;
	bool is_nullable[GX_HOST_COLUMNS];
	uint32_t cat_types[GX_HOST_COLUMNS]; /* 0: no such column now */
	unsigned cat_holds[GX_HOST_COLUMNS];
	uint32_t cat_oid; /* at take, or when last looked up */
	uint32_t oid;	  /* of the relation messages, 0 = none met */
	char identity;
	uint16_t n_rel_columns;
	uint16_t col_at[GX_HOST_COLUMNS]; /* host column -> tuple column */
	unsigned holds[GX_HOST_COLUMNS];  /* of the newest relation message */
	unsigned read_holds[GX_HOST_COLUMNS]; /* at the first change handed
						 over since start, 0 none */
	struct gx_buf seen_columns; /* "\n" name "\n" ...: reported once */

	bool is_stopped;
	struct gx_err stop;

	/* The open transaction. */
	uint64_t tx_lsn;		 /* it belongs to, 0 = not touched */
	uint64_t n_msgs;		 /* messages about this table in it */
	bool is_truncated, has_refilled; /* within this transaction */
	int64_t quiet_since_ms;
	uint64_t quiet_until_lsn; /* e waits until this much was read, 0 = not
				     yet asked */
};

/* What is to be handed over before the next message is fetched. */
enum pg_todo_kind {
	TODO_START,    /* s */
	TODO_END,      /* e */
	TODO_OLD,      /* d: old_out */
	TODO_NEW,      /* u or q: new_out */
	TODO_PROGRESS, /* no record */
	TODO_STOP      /* the stream stops: table's err */
};
struct pg_todo {
	enum pg_todo_kind kind;
	size_t stream;
	uint64_t idx;
	bool is_change;
};

enum pg_phase { PG_IDLE, PG_TAKEN, PG_MAKING, PG_READING, PG_CHANGES };

struct gx_src_pg {
	struct gx_source base;
	unsigned magic;

	/* Declaration; unchanged after new. */
	struct gx_arena *conf;
	char *origin, *app;
	char *publication;
	struct gx_buf conninfo; /* may hold a password: wiped */
	bool may_create;
	bool drops_slot; /* at the ceiling */
	uint64_t slot_lag_max, slot_lag_hard;
	int64_t steal_after_ms, reload_quiet_ms, slot_lag_wait_ms;
	uint64_t begin_again_after; /* LSN, 0 = not set */
	size_t n_tables, n_streams;
	struct pg_table *tables;
	struct pg_stream *streams;

	/* Connections and what they told. */
	struct gx_pg *ctl, *repl, *snap;
	struct gx_pg_place place;
	uint64_t server_end; /* WAL end, last asked */
	bool has_slot;	     /* it was there at take, and can be read from */
	bool is_slot_lost;   /* it is there, but its WAL is not */
	bool is_streaming;
	uint64_t slot_lsn;  /* confirmed_flush_lsn at take */
	int64_t own_pid;    /* of the server process that sends to us */
	int64_t holder_pid; /* met at take, and since when */
	int64_t holder_since_ms;
	char holder_reply[40]; /* its newest word, by the server's clock */

	enum pg_phase phase;
	bool has_warned; /* of an unlimited max_slot_wal_keep_size */
	int warned_percent;
	/* What had moved when met above the ceiling, and since. */
	uint64_t full_confirmed, full_idle, full_rows;
	int64_t full_since_ms;
	uint64_t released_lsn; /* may be confirmed */
	int64_t confirmed_at_ms, looked_at_ms, published_at_ms;
	int64_t older_than_xid; /* what wait_older waits for, 0 none */
	int64_t asked_at_ms;	/* for the slot: PG_MAKING */
	int64_t lag;

	/* Full reading. */
	size_t reading; /* table in hand */
	bool is_copying;
	uint64_t snap_lsn;
	uint64_t n_read_rows;

	/* Changes. */
	bool in_tx;
	uint64_t tx_lsn;
	uint64_t n_fetched; /* rows asked for on this connection */
	uint64_t idle_lsn;  /* all before it was handed over */
	uint64_t told_lsn;  /* newest progress */
	int64_t told_at_ms;

	/* The record in hand. */
	struct pg_todo *todo;
	size_t n_todo, todo_at, todo_max;
	struct gx_host_out old_out, new_out;
	struct gx_buf pos, values, fetched;
	/* Names and values in the database's encoding; NULL: that is UTF-8. */
	struct gx_iconv *charset;
	struct gx_buf text, old_text, name;
	bool spoilt[GX_HOST_COLUMNS], old_spoilt[GX_HOST_COLUMNS];
	char time[GX_TIME_LEN + 1];
	struct gx_abi_text row[GX_HOST_COLUMNS], old_row[GX_HOST_COLUMNS];
	struct gx_pgo_value cells[GX_PGO_COLUMNS];
};

static inline struct gx_src_pg *
src_pg_of(struct gx_source *s)
{
	struct gx_src_pg *src = (struct gx_src_pg *)s;

	GX_ASSERT(src->magic == SRC_PG_MAGIC);
	return src;
}

/* ---- src_pg_conf.c ---- */
enum gx_rc gx_src_pg_read_conf(struct gx_src_pg *src,
			       const struct gx_source_conf *conf,
			       struct gx_err *e) GX_MUSTCHECK;

/* ---- src_pg_start.c ---- */
enum gx_rc gx_src_pg_start(struct gx_source *s, const struct gx_slice *pos,
			   size_t n, struct gx_slice released,
			   struct gx_err *e) GX_MUSTCHECK;
/* The slot is there: begin to read.  snapshot: that it exported, "" none. */
enum gx_rc gx_src_pg_begin(struct gx_src_pg *src, const char *snapshot,
			   struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_src_pg_parse_pos(struct gx_slice text, struct gx_pg_place *place,
			       struct gx_pg_pos *pos,
			       struct gx_err *e) GX_MUSTCHECK;

/* ---- src_pg_slot.c ---- */
/* Open ctl and repl, look at server, tables, publication and slot; take the
 * slot if it is there. */
enum gx_rc gx_src_pg_take_slot(struct gx_src_pg *src,
			       struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_src_pg_start_slot(struct gx_src_pg *src,
				struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_src_pg_drop_slot(struct gx_src_pg *src,
			       struct gx_err *e) GX_MUSTCHECK;
/* Open ctl if it is not there or broken; GX_AGAIN "pg.away". */
enum gx_rc gx_src_pg_open_ctl(struct gx_src_pg *src,
			      struct gx_err *e) GX_MUSTCHECK;
/* Ask for WAL end and lag; warn at 70 and 90 %, GX_FATAL "slot.lag_max". */
enum gx_rc gx_src_pg_look(struct gx_src_pg *src, struct gx_err *e) GX_MUSTCHECK;
/* GX_FENCED if the slot is held by another, else GX_ABORT. */
enum gx_rc gx_src_pg_lost(struct gx_src_pg *src, struct gx_err *e);

/* ---- src_pg_make.c ---- */
/* Ask the server for the slot; PG_MAKING until it is there. */
enum gx_rc gx_src_pg_ask_slot(struct gx_src_pg *src,
			      struct gx_err *e) GX_MUSTCHECK;
/* GX_AGAIN: not made within timeout_ms, with e "slot.waits" after a while;
 * GX_OK: made, the reading begins.  Else as start. */
enum gx_rc gx_src_pg_await_slot(struct gx_src_pg *src, int timeout_ms,
				struct gx_err *e) GX_MUSTCHECK;
/* Close the connection of the slot; a slot in the making is given up. */
void gx_src_pg_close_repl(struct gx_src_pg *src);

/* ---- src_pg_text.c ---- */
/* name: the server's word for the encoding.  GX_FATAL "source.encoding": one
 * that we do not read. */
enum gx_rc gx_src_pg_set_charset(struct gx_src_pg *src, const char *name,
				 struct gx_err *e) GX_MUSTCHECK;
/* Values as they came -> UTF-8, those that are none marked and left as they
 * are.  What was converted lies in text. */
void gx_src_pg_decode(struct gx_src_pg *src, struct gx_abi_text *row, size_t n,
		      bool *spoilt, struct gx_buf *text);
/* A name in UTF-8, lent until the next one; as it came if it is no text. */
struct gx_slice gx_src_pg_name(struct gx_src_pg *src, struct gx_slice name);
/* Tell the host what is no text in the row that it is given next. */
void gx_src_pg_spoil(const struct pg_table *t, const bool *spoilt);

/* ---- src_pg_table.c ---- */
/* Stop tables that left the publication, or that are not the same any more. */
enum gx_rc gx_src_pg_look_published(struct gx_src_pg *src,
				    struct gx_err *e) GX_MUSTCHECK;
/* Before a snapshot of our own: GX_ABORT "source.open_transaction" while a
 * transaction is open that a table's joining may have missed. */
enum gx_rc gx_src_pg_wait_older(struct gx_src_pg *src,
				struct gx_err *e) GX_MUSTCHECK;
/* Create the publication, or add tables whose streams have nothing yet. */
enum gx_rc gx_src_pg_publish(struct gx_src_pg *src,
			     struct gx_err *e) GX_MUSTCHECK;
/* Look the table's columns up; stops the table where they do not fit. */
enum gx_rc gx_src_pg_look_table(struct gx_src_pg *src, struct pg_table *t,
				struct gx_err *e) GX_MUSTCHECK;
/* GX_ABI_HOLDS_* of a type oid; 0 for one we do not read. */
unsigned gx_src_pg_type_holds(uint32_t oid);

/* A relation message about table t. */
enum gx_rc gx_src_pg_relation(struct gx_src_pg *src, const struct gx_pgo_msg *m,
			      struct pg_table *t,
			      struct gx_err *e) GX_MUSTCHECK;

/* ---- src_pg_read.c ---- */
/* Begin the snapshot; name = exported snapshot or NULL for one of our own. */
enum gx_rc gx_src_pg_begin_reading(struct gx_src_pg *src, const char *name,
				   struct gx_err *e) GX_MUSTCHECK;
/* GX_OK: rec or todos were filled, or a table ended.  GX_AGAIN: the server has
 * no row within timeout_ms.  Moves to PG_CHANGES at the end. */
enum gx_rc gx_src_pg_read_on(struct gx_src_pg *src, int timeout_ms,
			     struct gx_rec *rec, bool *has_rec,
			     struct gx_err *e) GX_MUSTCHECK;

/* ---- src_pg_change.c ---- */
enum gx_rc gx_src_pg_change(struct gx_src_pg *src, struct gx_slice data,
			    struct gx_err *e) GX_MUSTCHECK;
/* Queue what is owed when nothing comes: e after a quiet time, progress. */
void gx_src_pg_idle(struct gx_src_pg *src);

/* ---- src_pg.c ---- */
void gx_src_pg_queue(struct gx_src_pg *src, enum pg_todo_kind kind,
		     size_t stream, uint64_t idx);
/* Write the text of a stream's position into src->pos. */
struct gx_slice gx_src_pg_pos_text(struct gx_src_pg *src,
				   const struct gx_pg_pos *pos);
/* Stream of a table for a key. */
size_t gx_src_pg_shard(const struct pg_table *t, struct gx_slice key);
/* Stop all streams of a table with the error in e. */
void gx_src_pg_stop_table(struct gx_src_pg *src, struct pg_table *t,
			  const struct gx_err *e);

#endif
