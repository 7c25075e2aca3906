/* What the files of the writer share; nobody else includes this. */
#ifndef GX_FLOW_WRITER_INT_H
#define GX_FLOW_WRITER_INT_H

#include "base/metric.h"
#include "flow/writer.h"

#define POS_MAX 1600   /* bytes of a source position */
#define ASIDES_MAX 256 /* rejects kept before they are written down */
#define CHECKS_MAX 64  /* checkpoints under way */
#define GUARD_BUCKETS 20
#define GUARD_TEXT 320 /* what the guard adds to src, at most */

enum writer_phase {
	WR_PAUSE,  /* outbid: a random while before the next try */
	WR_SETTLE, /* reading the log to the own marker */
	WR_RUN
};

/* A batch that was taken while settling: tells a repeat. */
struct folded {
	uint64_t first, n;
	unsigned char head[GX_HASH];
};

struct wstream {
	struct gx_writer_stream conf;
	struct gx_chain chain; /* as settled, then as sealed */
	struct folded *folded; /* only while settling */
	size_t n_folded;

	struct gx_buf body; /* lines of the open batch */
	uint64_t n_lines;
	char pos[POS_MAX]; /* of the last line in it */
	size_t pos_n;
	uint64_t redrive; /* last replay in what is settled or sealed */

	bool is_stopped;  /* neither read nor claimed; its neighbours go on */
	bool is_left_out; /* because it stands still at this node; else because
			   * the source cannot go on with it */
	bool is_ahead;	  /* left out before this node's reader has met what is
			   * wrong with its log */
	char why[64];

	uint64_t n_rows; /* guard: base rows when last counted */
	uint64_t buckets[GUARD_BUCKETS]; /* changes within the window */
	int64_t bucket_no;		 /* number of the newest bucket */
};

/* A partition while settling. */
struct wlane {
	int32_t partition;
	int64_t from; /* up to here the node's reader has come */
	bool is_settled;
};

/* Batches on their way, in the order they were sent. */
struct sent {
	size_t stream;
	uint64_t next_seq; /* after it */
};

/* A place up to which the source may be released, once n_sent batches have
 * been read back. */
struct check {
	uint64_t n_sent;
	uint64_t upto; /* quarantine row covered */
	size_t pos_n;
	char pos[POS_MAX];
};

struct gx_writer {
	unsigned magic;
	struct gx_writer_conf conf;
	char flow[64], origin[GX_STREAM_MAX + 1], topic[64];
	struct gx_log *log;
	struct gx_store *store;
	struct gx_sealer *sealer;
	struct gx_verifier *verifier;
	struct gx_source *src;
	struct wstream *streams;
	size_t n_streams;
	struct gx_stream_row *rows; /* n_streams, for look() */
	const char **names;

	enum writer_phase phase;
	uint64_t epoch, id;    /* 0: never claimed anything */
	uint64_t highest_seen; /* epoch, in any marker or row */
	int64_t pause_until_ms, settle_by_ms;
	struct wlane *lanes;
	size_t n_lanes;
	struct gx_out *out;
	struct gx_in *in; /* only while settling */
	bool has_source;
	bool has_owned; /* the streams were ours, settled, since it started */

	struct gx_buf sealed; /* the message being sent */
	bool is_waiting;      /* it did not fit the queue yet */
	size_t waiting_stream;

	struct sent *sent; /* ring of conf.max_unread */
	size_t sent_at, n_unread;
	uint64_t n_sent, n_taken;
	struct check *checks; /* ring of CHECKS_MAX */
	size_t check_at, n_checks;

	char last_pos[POS_MAX]; /* of the last record or progress read */
	size_t last_pos_n;
	bool has_new_pos; /* since the last checkpoint */
	bool is_blocked;  /* a stopped stream holds the release up */

	struct gx_aside asides[ASIDES_MAX];
	size_t n_asides;
	struct gx_arena *aside_arena;
	uint64_t upto;

	int64_t first_ms;  /* first line of the oldest open batch, 0 none */
	int64_t last_ms;   /* last record of any stream */
	bool goes_at_once; /* it came after silence */
	int64_t look_at_ms, release_at_ms;
	int64_t unread_ms; /* when all was read back, or more of it, last */
	int64_t guard_off_until_ms;
	bool wants_redrive; /* the source is not read until all is read back */
	int64_t redrive_at_ms; /* when the store is asked next */
	int64_t released_at_ms;

	struct gx_series *n_read, *n_published, *n_aside_total, *n_bytes,
		*n_takeovers, *lag, *n_stopped;
};

/* writer_settle.c: the take-over, from taking the source to the own marker. */
enum gx_rc gx_writer_claim(struct gx_writer *w, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_writer_settle(struct gx_writer *w, int timeout_ms,
			    struct gx_err *e) GX_MUSTCHECK;

/* The log does not carry this stream any more: left out, loudly.  e says why.
 * It was the last one: GX_FATAL; GX_ABORT if another may be mended. */
enum gx_rc gx_writer_leave_out(struct gx_writer *w, struct wstream *ws,
			       struct gx_err *e) GX_MUSTCHECK;

/* writer_seal.c: records into batches, batches into the log.  gx_writer_put:
 * after GX_AGAIN the record is taken and waits here. */
enum gx_rc gx_writer_put(struct gx_writer *w, const struct gx_rec *rec,
			 struct gx_err *e) GX_MUSTCHECK;
/* Seal and send all that is open; GX_AGAIN: the queue is full, call again. */
enum gx_rc gx_writer_flush(struct gx_writer *w, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_writer_send_waiting(struct gx_writer *w,
				  struct gx_err *e) GX_MUSTCHECK;
/* Seal the open batch of stream i and send it; likewise. */
enum gx_rc gx_writer_seal(struct gx_writer *w, size_t i,
			  struct gx_err *e) GX_MUSTCHECK;
/* May one more record be read? */
bool gx_writer_has_room(const struct gx_writer *w);
/* A batch or the rejects have reached their size and must go first. */
bool gx_writer_is_full(const struct gx_writer *w);

/* writer.c: has the node's reader passed our marker everywhere? */
bool gx_writer_is_owner_read(const struct gx_writer *w);

/* writer_redrive.c: ordered replays, a turn of them when all is read back.
 * *holds: the source must not be read meanwhile. */
enum gx_rc gx_writer_redrive(struct gx_writer *w, bool *holds,
			     struct gx_err *e) GX_MUSTCHECK;

/* writer_guard.c: the mass-change guard. */
enum gx_rc gx_writer_guard(struct gx_writer *w, struct wstream *ws,
			   struct gx_err *e) GX_MUSTCHECK;
/* What was counted, as a member of a batch's src, `,"guard":[...]`; "" if
 * there is nothing to tell.  out holds GUARD_TEXT bytes. */
void gx_writer_guard_put(const struct gx_writer *w, struct wstream *ws,
			 char *out);
/* Go on with what the newest settled batch says was counted; an acceptance
 * that is younger stands. */
void gx_writer_guard_load(struct gx_writer *w, struct wstream *ws);
/* An operator's word: nothing is counted for one window. */
void gx_writer_guard_accept(struct gx_writer *w);

#endif
