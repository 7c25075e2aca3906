/*
 * The simulated world of tests/unit/sim_flow.c: two nodes, a log and a store
 * each, sources, and one hand that deals out faults (docs/protocol.md 13).
 *
 * One world at a time, one thread.  Everything random comes from the seed.
 * Every operation of log, store and source passes world_before(), which may
 * refuse it, let another part run first, or let the caller die; a dead part's
 * calls do nothing and answer GX_ABORT until the scheduler buries it.
 */
#ifndef GX_TESTS_UNIT_WORLD_H
#define GX_TESTS_UNIT_WORLD_H

#include "flow/source.h"
#include "flow/store.h"
#include "flow/worker.h"
#include "port/log.h"
#include "trust/seal.h"

#define W_PARTS 12 /* flows, second instances included */
#define W_PARTITIONS 3
#define W_SOURCES 2
#define W_STREAMS 4 /* of one source */
#define W_ALL_STREAMS (W_SOURCES * W_STREAMS)
#define W_RECORDS 200 /* of one source */
#define W_TAKEN 800   /* batches of one stream */
#define W_ASIDES 200  /* quarantine rows of one node */
#define W_TOPIC "gx.batch.450100"

enum w_node { CITY, HUB, W_NODES };
enum w_kind { WRITER, READER, LINK };

/* Mistakes that are planted one at a time; the last is the honest program. */
enum w_mistake {
	M_BROKERS_WORD,
	M_SEAL_EARLY,
	M_NO_VOID,
	M_NO_CAS,
	M_LINK_ACKED,
	M_MARKER_APART,
	M_TWO_PARTITIONS,
	M_STOP_FORGOTTEN,
	M_SETTLE_BLIND,
	M_RELEASE_BLIND,
	M_LOST_ALL,
	M_EPOCH_DECIDES,
	M_NONE
};

/* What is known to be lost in this run, and so may be reported. */
enum {
	LOST_CITY_LOG = 1,
	LOST_CITY_DB = 2,
	LOST_HUB_DB = 4,
	LOST_HUB_LOG = 8,
	LOST_SOURCE = 16, /* shifted by the number of the source */
};

enum w_fault {
	F_REFUSE,
	F_CUT,
	F_DIE,
	F_NESTED,
	F_BREAK,
	F_LATE,
	F_LOST_FLIGHT,
	F_LOST_TAIL,
	F_RESTORE_LOG,
	F_RESTORE_DB,
	F_RESTORE_SOURCE,
	F_ZOMBIE,
	F_REPLAY,
	F_JUNK,
	F_UNKNOWN,
	F_TRIM,
	F_MISPLACED,
	F_SAME_EPOCH,
	F_COUNT
};

/* A flow as the worker would drive it. */
struct part {
	enum w_kind kind;
	enum w_node node;
	size_t source;
	bool is_second, is_on, is_open, is_dead, is_busy;
	bool is_misplaced; /* a writer set up with a wrong partition */
	bool is_stopped;   /* needs a person */
	char code[64];	   /* why it waits or is stopped */
	int64_t wait_until_ms, pause_ms;
	int32_t at_partition; /* of the last message it was given */
	int64_t skew_ms;      /* of its wall clock */
	const struct gx_flow_ops *ops;
	void *flow;
	char name[24];
};

enum w_record { REC_GOOD, REC_BAD, REC_BAD_NO_KEY, REC_FILTERED };
struct w_rec {
	size_t stream;
	enum w_record kind;
};
/* A department's system, seen from outside. */
struct w_source {
	size_t no, first, n_streams; /* first: of its streams in W.stream */
	struct w_rec rec[W_RECORDS];
	size_t n, n_end; /* records so far; of the whole run */
	size_t released; /* may be forgotten below and at */
	unsigned incarnation;
	unsigned holder;  /* ticket of who took it last */
	bool is_lost;	  /* restored to an older state: no new record */
	uint64_t claimed; /* epoch of the last marker sent for it */
};

struct w_stream {
	char name[GX_STREAM_MAX + 1];
	size_t source;
	int32_t partition;
	size_t want[W_RECORDS]; /* record numbers in order, as lines */
	size_t n_want;
};

/* A database. */
struct w_row {
	bool is_there;
	struct gx_stream_row row;
	size_t n_lines;
	size_t n_taken;
	struct {
		uint64_t first, n;
		unsigned char head[GX_HASH];
	} taken[W_TAKEN];
};
struct w_aside {
	size_t stream, pos;
	uint64_t seq, id, epoch;
	bool is_there;
};
struct w_db {
	struct w_row row[W_ALL_STREAMS];
	int64_t next_offset[W_PARTITIONS];
	struct w_aside aside[W_ASIDES];
	size_t n_asides;
	uint64_t last_id, covered[W_SOURCES];
	char released[W_SOURCES][64];
	uint64_t released_epoch[W_SOURCES];
};

struct w_blob; /* bytes of a message, counted */
struct w_msg {
	struct w_blob *blob;
	int64_t from;
};
struct w_lane {
	struct w_msg *msgs;
	int64_t low, n, cap;
	int64_t n_flushed; /* survives a crash of the broker */
	int64_t n_backup;  /* in the backup, -1 none */
};
struct w_log {
	struct gx_log log;
	enum w_node node;
	bool is_durable; /* flush.messages=1 */
	struct w_lane lane[W_PARTITIONS];
	struct gx_out *outs; /* producers, and what they left on the wire */
	int64_t acked_from[W_PARTITIONS]; /* for M_LINK_ACKED */
};

struct world {
	uint64_t seed, dice;
	enum w_mistake setting; /* the faults that this mistake fears */
	enum w_mistake mistake; /* and the mistake itself, or M_NONE */
	bool is_calm;		/* no more faults */
	bool has[F_COUNT];
	int rate; /* one in how many operations meets a fault */
	unsigned lost;
	bool is_failed;
	bool is_hit[W_PARTITIONS];   /* the city's log lost something of it */
	bool has_said[W_PARTITIONS]; /* and it was said */
	char why[300];
	int64_t mono_us;
	long step;
	bool is_loud, is_long;

	int32_t n_partitions;
	size_t n_sources, n_streams;
	struct w_source source[W_SOURCES];
	struct w_stream stream[W_ALL_STREAMS];
	struct w_log log[W_NODES];
	bool has_backup[W_NODES];
	struct gx_store store[W_NODES];
	size_t flush_one_in; /* how seldom a log that need not flush does */
	bool is_key_unknown; /* the city's key, at the hub */
	bool is_forged;	     /* something may name a key of nobody */
	bool is_unknown[W_NODES][W_ALL_STREAMS]; /* schema not known yet */
	struct gx_chain acked[W_ALL_STREAMS];	 /* for M_BROKERS_WORD */

	struct part part[W_PARTS];
	size_t n_parts;
	struct part *cur;
	int depth;
	void (*between)(size_t n); /* n steps of others between two of ours */
	unsigned tickets;
	/* Large and mostly untouched: world_db_clear() instead of a memset. */
	struct w_db db[W_NODES], backup[W_NODES];
};
extern struct world W;

/* Over all seeds: a run without faults shows itself here. */
struct tally {
	unsigned long faults[F_COUNT], verdicts[GX_V_COUNT], restarts, steps,
		records, releases, complete, reported;
};
extern struct tally T;

/* world.c */
uint64_t world_random(void);
size_t world_below(size_t n); /* 0..n-1; n > 0 */
bool world_one_in(size_t n);
bool world_fault(enum w_fault f, size_t more); /* one in rate * more */
void world_fail(const char *fmt, ...) GX_PRINTF(1, 2);
void world_say(const char *fmt, ...) GX_PRINTF(1, 2);
/* Before an operation: GX_OK or what the caller hears instead. */
enum gx_rc world_before(enum gx_rc refusal, struct gx_err *e);
/* The caller sleeps, one in `more` times, and others run for long. */
void world_stall(size_t more);
/* After it took place: rc, or what the caller hears instead. */
enum gx_rc world_after(enum gx_rc rc, bool may_cut, struct gx_err *e);
bool world_is_dead(void);		   /* the part that calls */
size_t world_stream(struct gx_slice name); /* W.n_streams if there is none */
void world_use_clocks(void);

/* world_part.c */
void world_parts_prepare(void); /* once: the key of the city */
void world_part_add(enum w_kind kind, enum w_node node, size_t source,
		    bool is_second);
void world_part_start(struct part *p);
void world_part_end(struct part *p);
void world_part_restart(struct part *p);
bool world_part_step(struct part *p); /* true: something moved */
void world_part_between(size_t n);    /* n steps of others */

/* world_fault.c */
void world_faults_choose(void);
void world_faults_disturb(void);
const char *world_fault_name(enum w_fault f);

/* world_mistake.c */
const char *world_mistake_name(enum w_mistake m);
void world_mistake_faults(void);

/* What a message says and whether its seal is good never changes; a run asks
 * a hundred times.  Bytes that no log holds have none. */
struct w_said {
	bool is_parsed, is_checked[2]; /* without, with leaves */
	const char *bad;
	struct gx_head head;
	enum gx_seal seal[2];
	unsigned char hash[GX_HASH];
};

/* world_log.c */
struct w_said *world_said(struct gx_slice value);
extern const struct gx_log_ops world_log_ops;
void world_log_tick(void); /* the network moves */
void world_log_calm(void); /* nothing is left on the wire */
void world_log_cut(enum w_node n, bool is_restore); /* a tail is lost */
void world_log_keep(enum w_node n);		    /* a backup */
void world_log_replay(enum w_node n); /* an old message once more */
void world_log_junk(void);
void world_log_trim(void);
void world_log_free(void);

/* world_store.c */
extern const struct gx_store_ops world_store_ops;
void world_db_clear(struct w_db *db);
void world_db_copy(struct w_db *to, const struct w_db *from);
int64_t world_kept(const struct w_db *db, int32_t partition);

/* world_source.c */
struct gx_source *world_source_new(struct w_source *db);
void world_source_fill(size_t n);  /* n more records appear */
bool world_source_nudge(size_t s); /* one more, of this stream */

/* world_check.c */
bool world_may_report(const char *code);
void world_check_apply(enum w_node n, size_t s, const struct gx_head *h);
void world_check_release(const struct w_source *src, size_t pos);
bool world_is_complete(void);
void world_check_end(void);

#endif
