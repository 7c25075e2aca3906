/* What the files of the reader share; nobody else includes this. */
#ifndef GX_FLOW_READER_INT_H
#define GX_FLOW_READER_INT_H

#include "base/metric.h"
#include "flow/reader.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define SCHEMA_ID_MAX 256 /* the codec's bound */

/*
 * Where a message stands.  In a log that is a copy the order of the origin
 * counts, not that of late copies; -1: the message is no copy.
 */
struct spot {
	int64_t from, offset;
};

/* The message a stream stands at while it waits for a key. */
struct doubt {
	struct spot spot;
	bool is_owners; /* a batch of the chain's own epoch and writer */
	char kid[GX_KID + 1];
};

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
	uint64_t need_epoch; /* of the marker that is missing */
	/*
	 * While it waits for a key: the message it stands at, what the stream
	 * would be without those under keys not known here, the place of the
	 * marker that owns that, if it stands behind the message, and the
	 * highest epoch met under such keys.
	 */
	struct doubt doubt;
	struct gx_chain probe;
	struct spot claim;
	bool has_claim;
	uint64_t doubt_epoch;
	/* An owner known here has built on what stands before its marker: what
	 * stands there under another key was never part of it.  0 none. */
	uint64_t proven_epoch;
	struct spot proven;
	char proven_kid[GX_KID + 1];
	uint64_t owner_epoch; /* of the owner of whom something was verified */
	char owner_kid[GX_KID + 1];
	struct spot owner_at; /* its marker; offset -1: not seen yet */
	/*
	 * What lies below was decided for this stream before we started, unless
	 * the log was cut and filled again.  So doubt about a message there is
	 * put off: until something of the stream's own behind it is met again,
	 * or something new.
	 */
	int64_t level_to;
	struct spot late; /* the last of them */
	int64_t late_at;  /* offset of the first, -1 none */
	/* The message it waits at, -1 none; between two looks at it, and when
	 * the next is due. */
	int64_t waits_at, pause_ms, look_at_ms;
	char schema[SCHEMA_ID_MAX + 1]; /* that it waits for */
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
	const char *lost;    /* static code: its log lost what we need, and all
			      * its streams stand still; NULL if it did not */
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
	bool is_looking;  /* some that wait read again, since */
	int64_t looked_at_ms, rest_until_ms; /* and when they may next */
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
	int64_t *holes; /* per place: source offset behind the last jump that
			   was looked into; kept from one opening to the next */
	size_t n_holes;

	struct gx_series *verdicts[GX_V_COUNT];
	struct gx_series *n_taken, *n_bytes, *n_aside, *n_stopped, *latency;
};

/* reader_open.c: places and streams from the store and the ends of the log.
 * GX_FATAL: no partition is left to be followed. */
enum gx_rc gx_reader_open_places(struct gx_reader *r,
				 struct gx_err *e) GX_MUSTCHECK;

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
/* reader_look.c: now and then, whatever is read.  GX_OK, or GX_ABORT if all has
 * to be loaded anew. */
enum gx_rc gx_reader_look_again(struct gx_reader *r,
				struct gx_err *e) GX_MUSTCHECK;
/* reader_refuse.c: the open transaction notes that a message is refused. */
void gx_reader_note_refusal(struct place *pl, const struct gx_msg *m,
			    const char *why);
/* Stopped for a gap, or a marker that is missing? */
bool gx_reader_is_gap(const char *why);
void gx_reader_count(struct gx_reader *r, enum gx_verdict v);
/* Counted and logged by place, never by content. */
void gx_reader_refuse(struct gx_reader *r, struct place *pl,
		      const struct gx_msg *m, const char *why);

/* reader_wait.c.  Stopped for a key or schema that is not known here yet? */
bool gx_reader_is_wait(const char *why);
/* A new entry: nothing is known of its owner. */
void gx_reader_forget(struct entry *en);
bool gx_reader_waits_for_key(const struct entry *en);
/* A verified message of the stream: what it tells of the chain's owner.  The
 * hash of a batch, or NULL. */
void gx_reader_know_owner(struct entry *en, const struct gx_head *h,
			  const unsigned char *hash, const struct gx_msg *m);
/* Doubt that was put off must be settled before the stream moves. */
bool gx_reader_has_late_doubt(const struct entry *en);
enum gx_rc gx_reader_insist(struct gx_reader *r, struct place *pl,
			    struct entry *en, struct gx_err *e) GX_MUSTCHECK;
/* A message under a key not known here that may be next: refuse or wait. */
enum gx_rc gx_reader_meet_unknown(struct gx_reader *r, struct place *pl,
				  struct entry *en, const struct gx_head *h,
				  const struct gx_msg *m,
				  struct gx_err *e) GX_MUSTCHECK;
void gx_reader_wait_schema(struct gx_reader *r, struct place *pl,
			   struct entry *en, const struct gx_head *h,
			   const struct gx_msg *m);
/* A verified message while the stream waits for a key. */
enum gx_rc gx_reader_follow(struct gx_reader *r, struct place *pl,
			    struct entry *en, const struct gx_head *h,
			    const unsigned char hash[GX_HASH],
			    const struct gx_msg *m,
			    struct gx_err *e) GX_MUSTCHECK;
/* Is it time for a stream that waits to read again from where it stands? */
bool gx_reader_is_look_due(const struct gx_reader *r, const struct place *pl,
			   struct entry *en, int64_t now_ms);

#endif
