/*
 * Inside of kafka*.c only: one librdkafka handle with what its callbacks have
 * noted, the table of errors, and what the halves know of each other.
 */
#ifndef GX_PORT_KAFKA_INT_H
#define GX_PORT_KAFKA_INT_H

#include "port/kafka.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#define GX_KAFKA_ASK_MS 5000	/* one question to the cluster */
#define GX_KAFKA_STALL_MS 30000 /* no progress: restart the handle */
#define GX_KAFKA_FROM "gx-from"

enum gx_kuse { GX_K_ASK, GX_K_IN, GX_K_OUT };

/* A kind of event that librdkafka repeats. */
struct gx_knoise {
	char fac[16];
	int64_t printed_at_ms;
	unsigned n_held;
};

struct gx_khandle {
	rd_kafka_t *rk;
	enum gx_kuse use;
	const char *bootstrap; /* lent by the log */
	void *owner;	       /* gx_in or gx_out */
	/* Set by librdkafka's threads, read by ours. */
	_Atomic int64_t answered_at_ms; /* last good answer to our work */
	atomic_bool is_broken; /* a produce request ended without answer */
	/* Set by callbacks in our own thread, inside rd_kafka_poll. */
	rd_kafka_resp_err_t last_err; /* of the connection */
	char last_text[160];
	rd_kafka_resp_err_t bad; /* first one that does not mend itself */
	struct gx_knoise noise[6];
};

/* Adds the delivery callback of an out to its settings. */
void gx_kafka_out_callbacks(rd_kafka_conf_t *conf);

struct gx_kafka {
	struct gx_log log;
	unsigned magic;
	char *bootstrap, *client_id;
	char **props; /* NULL-terminated pairs */
	struct gx_khandle *ask;
};

struct gx_kafka *gx_kafka_of(struct gx_log *l);
/* Refuses unknown, locked or ill-fitting properties.  Does not connect. */
enum gx_rc gx_kafka_check_conf(const struct gx_kafka *k,
			       struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_kafka_open(const struct gx_kafka *k, enum gx_kuse use,
			 void *owner, struct gx_khandle **out,
			 struct gx_err *e) GX_MUSTCHECK;
/* Everything made from the handle must be gone before. */
void gx_kafka_close(struct gx_khandle **h);

/* The handle for questions, made when it is wanted. */
enum gx_rc gx_kafka_ask(struct gx_log *l, struct gx_khandle **out,
			struct gx_err *e) GX_MUSTCHECK;
/* Ask for a topic's number of partitions, forgetting what was cached. */
enum gx_rc gx_kafka_count(struct gx_khandle *h, const char *topic,
			  int timeout_ms, int32_t *n,
			  struct gx_err *e) GX_MUSTCHECK;

/* GX_FATAL "log.topic_config": a topic that exists has another value of one of
 * the wanted properties (NULL-terminated pairs). */
enum gx_rc gx_kafka_check_topic(struct gx_khandle *h, const char *topic,
				const char *const *props,
				struct gx_err *e) GX_MUSTCHECK;

/* A row of the one table that translates librdkafka's errors. */
struct gx_kafka_row {
	rd_kafka_resp_err_t err;
	enum gx_rc rc;
	const char *code;
};
/* Row i, NULL past the end. */
const struct gx_kafka_row *gx_kafka_err_at(size_t i);
/* The row for err; one with GX_FATAL "kafka.unknown" for any other. */
const struct gx_kafka_row *gx_kafka_err_row(rd_kafka_resp_err_t err);
/* Sets e from the table: what and where for people, e.g. a topic.  is_doubt:
 * something may have happened or be lost, so an outage is GX_ABORT, not
 * GX_AGAIN. */
enum gx_rc gx_kafka_err(struct gx_khandle *h, rd_kafka_resp_err_t err,
			bool is_doubt, const char *what, const char *where,
			struct gx_err *e) GX_MUSTCHECK;

/* What the handle said outside of any call: GX_OK, or as gx_kafka_err with
 * doubt.  "log.no_topic" is GX_ABORT here: whoever opens anew looks again. */
enum gx_rc gx_kafka_bad(struct gx_khandle *h, rd_kafka_resp_err_t err,
			const char *what, const char *where,
			struct gx_err *e) GX_MUSTCHECK;

/* A message that was read: lent by an in, later perhaps pinned by an out. */
struct gx_kmsg {
	rd_kafka_message_t *rkm;
	struct gx_in *in;
	struct gx_kmsg *prev, *next;
};
void gx_kmsg_push(struct gx_kmsg **list, struct gx_kmsg *km);
void gx_kmsg_drop(struct gx_kmsg **list, struct gx_kmsg *km);
/* The in lends km no longer: an out pins it until gx_kafka_in_unpin. */
void gx_kafka_in_pin(struct gx_in *in, struct gx_kmsg *km);
void gx_kafka_in_unpin(struct gx_kmsg *km);

enum gx_rc gx_kafka_open_in(struct gx_log *l, const struct gx_place *places,
			    size_t n, struct gx_in **out,
			    struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_kafka_next(struct gx_in *in, int timeout_ms, struct gx_msg *m,
			 struct gx_err *e) GX_MUSTCHECK;
void gx_kafka_done(struct gx_in *in, struct gx_msg *m);
enum gx_rc gx_kafka_seek(struct gx_in *in, size_t place, int64_t offset,
			 struct gx_err *e) GX_MUSTCHECK;
void gx_kafka_close_in(struct gx_in **in);

enum gx_rc gx_kafka_open_out(struct gx_log *l, const char *topic,
			     struct gx_out **out,
			     struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_kafka_append(struct gx_out *o, int32_t partition,
			   struct gx_slice key, struct gx_slice value,
			   int64_t from, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_kafka_forward(struct gx_out *o, int32_t partition,
			    struct gx_in *in, struct gx_msg *m, int64_t from,
			    struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_kafka_poll_out(struct gx_out *o, int timeout_ms,
			     size_t *n_in_flight,
			     struct gx_err *e) GX_MUSTCHECK;
void gx_kafka_close_out(struct gx_out **o);

#endif
