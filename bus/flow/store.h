/*
 * Store: where a node keeps what it has taken.  PostgreSQL (store_pg.c) is
 * one, the simulation's database another.  One call is one transaction.
 *
 * Thread: a store belongs to the worker that opened it.
 */
#ifndef GX_FLOW_STORE_H
#define GX_FLOW_STORE_H

#include "flow/chain.h"

/* One row of gx_stream. */
struct gx_stream_row {
	char stream[GX_STREAM_MAX + 1];
	char topic[64];
	int32_t partition;
	bool is_own; /* made at this node */
	struct gx_chain chain;
	bool is_stopped;
	int64_t stopped_at; /* offset where it stands still, if is_stopped */
	char why[64];	    /* error code of the stop, "" else */
};
typedef void (*gx_stream_f)(void *ctx, const struct gx_stream_row *row);

/*
 * One move of a stream: a batch with its lines, a marker (head NULL), or
 * nothing but the end of a stop (head NULL, before equal to after).  Any move
 * of a stopped stream ends the stop.  A stop by guard.mass_delete is ended by
 * nothing but an operator's word, is_accept: GX_FENCED for any other move
 * without a message.  Slices lie in the message.
 */
struct gx_apply {
	struct gx_slice stream;
	struct gx_chain before, after; /* compare-and-set */
	bool is_new;		    /* no row yet: insert, before is ignored */
	bool is_accept;		    /* the next e may delete what it likes */
	const struct gx_head *head; /* the batch with its lines; NULL marker */
	unsigned char head_hash[GX_HASH];
	int64_t offset; /* of the batch in the log */
};
/* A stream that stands still from here on. */
struct gx_stop {
	struct gx_slice stream;
	int64_t at; /* offset of the message that could not be taken */
	const char *code;
	const char *text; /* for people */
};
/* A message that was refused; noted once, however often it is met. */
struct gx_refusal {
	int64_t at; /* its offset */
	char reason[64];
	unsigned char digest[GX_HASH];	/* of its signed bytes, or zeros */
	char stream[GX_STREAM_MAX + 1]; /* that it names, "" if none */
};
/* One transaction of a reader: everything or nothing. */
struct gx_txn {
	const char *topic;
	int32_t partition;
	int64_t from_offset, to_offset; /* gx_read by compare-and-set */
	const struct gx_apply *applies;
	size_t n_applies;
	const struct gx_stop *stops;
	size_t n_stops;
	const struct gx_refusal *refusals;
	size_t n_refusals;
};
struct gx_txn_result {
	uint64_t n_applied; /* lines */
	uint64_t n_set_aside;
};

/* A record that could not pass at its source. */
struct gx_aside {
	struct gx_slice stream, pos; /* key of the row: (stream, pos) */
	uint64_t seq;		     /* of its q line, or of the next line */
	uint64_t epoch;		     /* of the writer that sets it aside */
	struct gx_slice key;	     /* JSON array, n = 0 if not known */
	struct gx_slice reasons;  /* JSON array [{pointer,keyword,message}] */
	struct gx_slice original; /* bytes as the source gave them */
	struct gx_slice record;	  /* JSON object, n = 0 if none was made */
	struct gx_slice time;	  /* RFC 3339 */
};

/* A replay that was ordered: its line, ready for a batch.  Lent. */
typedef enum gx_rc (*gx_redrive_f)(void *ctx, uint64_t id, struct gx_slice line,
				   struct gx_err *e);

struct gx_store;
struct gx_store_ops {
	/* All rows of a partition and its kept next_offset (0 if the topic is
	 * new here), from one snapshot. */
	enum gx_rc (*load)(struct gx_store *s, const char *topic,
			   int32_t partition, int64_t *next_offset,
			   gx_stream_f each, void *ctx, struct gx_err *e);
	/* Rows of the named streams, for a writer that looks at what was read
	 * back.  A missing row is GX_FATAL "stream.undeclared". */
	enum gx_rc (*look)(struct gx_store *s, const char *const *streams,
			   size_t n, struct gx_stream_row *rows,
			   struct gx_err *e);
	enum gx_rc (*taken)(struct gx_store *s, struct gx_slice stream,
			    uint64_t first, struct gx_taken *out,
			    struct gx_err *e);
	/* GX_OK: committed.  GX_FENCED: a row or offset was not as given;
	 * nothing changed; load again.  GX_AGAIN: outage; whether it was
	 * committed is not known: load again.  GX_REJECT
	 * "guard.mass_delete": the end of a full reading would delete more
	 * than the guard allows; nothing changed.  GX_FATAL: stands still. */
	enum gx_rc (*commit)(struct gx_store *s, const struct gx_txn *t,
			     struct gx_txn_result *r, struct gx_err *e);
	/* Base rows of the stream's origin and resource, for the guard. */
	enum gx_rc (*count)(struct gx_store *s, struct gx_slice stream,
			    uint64_t *n_rows, struct gx_err *e);
	/* Make the row of an own stream: the act by which it begins.  Done
	 * before: nothing.  GX_FATAL "stream.moved": another partition. */
	enum gx_rc (*declare)(struct gx_store *s, const char *stream,
			      const char *topic, int32_t partition,
			      struct gx_err *e);

	/* Quarantine at the source, committed before a batch passes it; the
	 * same (stream, pos) again changes nothing, but a higher epoch takes
	 * the row of a lower one over, never the other way round, unless a
	 * release covers it.  *upto = highest row id.
	 * GX_AGAIN "quarantine.full" at its ceiling. */
	enum gx_rc (*aside)(struct gx_store *s, const struct gx_aside *rows,
			    size_t n, uint64_t *upto, struct gx_err *e);
	/* At take-over, by the writer of this epoch: forget rows with seq >=
	 * next_seq that no release covers; they are read from the source
	 * again.  Rows of a higher epoch stay: whoever made them has settled
	 * since, and this writer is a zombie that does not know it yet. */
	enum gx_rc (*settle)(struct gx_store *s, struct gx_slice stream,
			     uint64_t next_seq, uint64_t epoch,
			     struct gx_err *e);
	/* Note what a source may forget, durably, before it is told; rows of
	 * the quarantine up to id upto are covered by it.  Noted by origin: a
	 * flow may be renamed.  GX_FENCED "writer.fenced": a higher epoch has
	 * released; nothing changed. */
	enum gx_rc (*release)(struct gx_store *s, const char *origin,
			      struct gx_slice pos, uint64_t upto,
			      uint64_t epoch, struct gx_err *e);
	/* Replays, both asked by the owner of the streams.  NULL: this store
	 * has none.  wanted: does one of these streams have any?  A stream that
	 * stands still, or within a full reading, has none. */
	enum gx_rc (*redrive_wanted)(struct gx_store *s,
				     const char *const *streams, size_t n,
				     bool *is_wanted, struct gx_err *e);
	/* Those of a stream behind id after, in their order, up to max_lines
	 * and about max_bytes.  Only items still queued: so the caller must
	 * have read back all he sent, or a newer record of a key that is under
	 * way would be overwritten.  What does not open is set back to open,
	 * loudly, and left out. */
	enum gx_rc (*redrive)(struct gx_store *s, const char *stream,
			      uint64_t after, size_t max_lines,
			      size_t max_bytes, gx_redrive_f each, void *ctx,
			      struct gx_err *e);
	/* "" if nothing was ever released. */
	enum gx_rc (*released)(struct gx_store *s, const char *origin,
			       struct gx_buf *pos, struct gx_err *e);
	/* Close and forget; in the thread that used it last. */
	void (*free)(struct gx_store **s);
};
struct gx_store { /* embedded first by implementations */
	const struct gx_store_ops *ops;
};

/* Accepts NULL. */
static inline void
gx_store_free(struct gx_store **s)
{
	if (*s != NULL) {
		(*s)->ops->free(s);
	}
}

#endif
