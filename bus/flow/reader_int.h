/* What the two files of the reader share; nobody else includes this. */
#ifndef GX_FLOW_READER_INT_H
#define GX_FLOW_READER_INT_H

#include "base/metric.h"
#include "flow/reader.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/*
 * One stream of a partition.  chain is tentative: it runs ahead of the store
 * by what the open transaction holds.
 *
 * A stream either moves with its partition, or stands still (is_stopped), or
 * is behind: it reads again, from live_from on, what the partition has passed.
 * One that is behind has a stop in the store, at stopped_at, until it has
 * caught up: the partition's offset says nothing about it.
 *
 * One of which nothing was ever verified has no row, and gets none for an
 * unverified message, or whoever forges one could choose its partition.  While
 * it waits for a key the partition's committed offset stays below instead.
 */
struct entry {
	struct gx_chain chain;
	bool is_new;	   /* no row in the store yet */
	bool is_elsewhere; /* its row names another partition: refused here */
	bool is_stopped;
	bool is_behind;
	bool is_row_stopped; /* what the store says, or will after the commit */
	bool is_seeking;     /* reading the log again for what is missing */
	int64_t seek_end;    /* the offset where the gap was met */
	int64_t live_from;   /* messages below were handled for this stream */
	int64_t stopped_at;  /* where it must go on, if stopped or behind */
	/* Of the marker that is missing; while it waits for a key: the highest
	 * met under keys not known here. */
	uint64_t need_epoch;
	/* What the stream would be without those messages, while it waits; and
	 * the epoch of an owner known to have built on that, 0 none, and its
	 * key, in case that becomes unknown again. */
	struct gx_chain probe;
	uint64_t proven_epoch;
	char proven_kid[GX_KID + 1];
	const char *why;     /* static code while stopped or behind */
	const char *row_why; /* static code in the store's row */
	char stream[GX_STREAM_MAX + 1];
	UT_hash_handle hh;
};

/* One partition that is followed, and its open transaction. */
struct place {
	const char *topic;
	int32_t partition;
	bool is_own;	     /* a topic of the node's own streams */
	int64_t next_offset; /* as committed */
	int64_t done;	     /* all below was handled when it was committed */
	int64_t upto;	     /* everything below was handled */
	int64_t read_at;     /* next message to be read: below upto, again */
	int64_t from_high;   /* highest source offset met, -1 none */
	bool has_behind;     /* streams that read again */
	bool has_rowless;    /* streams without a row wait for a key */
	bool is_dirty;	     /* the open transaction holds something */
	struct entry *entries;

	struct gx_apply *applies;
	struct gx_head *heads; /* READER_MAX_APPLIES, of batches */
	struct gx_msg *held;   /* as many: messages the heads point into */
	size_t n_applies, max_applies, n_held;
	struct gx_stop *stops;
	size_t n_stops, max_stops;
	struct gx_refusal *refusals;
	size_t n_refusals, max_refusals;
	size_t n_rewound; /* streams that began to read again */
	uint64_t n_lines, n_bytes;
	int64_t began_ms;
};

/* A transaction is full at these; one more message goes on top. */
#define READER_MAX_APPLIES 256
#define READER_MAX_STOPS 64
struct gx_reader {
	unsigned magic;
	struct gx_reader_conf conf;
	char flow[64];
	char **topics, **own_topics;
	struct gx_log *log;
	struct gx_store *store;
	struct gx_verifier *verifier;

	struct gx_in *in;
	struct place *places;
	size_t n_places;
	bool is_accepted;     /* an operator lets guarded streams go on */
	size_t n_single_left; /* commit message by message, this many more */
	int64_t retry_at_ms;
	size_t n_retried; /* of the waiting streams, in this round */
	int64_t *holes;	  /* per place: source offset behind the last jump that
			   was looked into; kept from one opening to the next */
	size_t n_holes;

	struct gx_series *verdicts[GX_V_COUNT];
	struct gx_series *n_taken, *n_bytes, *n_aside, *n_stopped, *latency;
};

/* reader_take.c: judge one message and put what follows from it into the
 * place's open transaction.  *keep: the message is held until the commit.
 * GX_OK or an error of the store. */
enum gx_rc gx_reader_take(struct gx_reader *r, struct place *pl,
			  struct gx_msg *m, bool *keep,
			  struct gx_err *e) GX_MUSTCHECK;
/* Room for one more message of any kind in the open transaction? */
bool gx_reader_has_room(const struct place *pl);
/* A move without a message: ends a stop.  is_accept: an operator's word. */
void gx_reader_end_stop(struct place *pl, struct entry *en, bool is_accept);
/* Read again for this stream, from this offset on. */
enum gx_rc gx_reader_rewind(struct gx_reader *r, struct place *pl,
			    struct entry *en, int64_t from,
			    struct gx_err *e) GX_MUSTCHECK;
/* Before a commit: streams behind get or keep their stop, others lose it. */
void gx_reader_mark_behind(struct place *pl);
/* What the store may take for read: above it a stream without a row waits. */
int64_t gx_reader_commit_upto(struct place *pl);
/* Stand still at this offset. */
void gx_reader_stop(struct gx_reader *r, struct place *pl, struct entry *en,
		    int64_t at, const char *code, const char *text);
/* reader_refuse.c: the open transaction notes that a message is refused. */
void gx_reader_note_refusal(struct place *pl, const struct gx_msg *m,
			    const char *why);
/* Stopped for a gap, or a marker that is missing? */
bool gx_reader_is_gap(const char *why);
/* Stopped for a key or schema that is not known here yet? */
bool gx_reader_is_wait(const char *why);

#endif
