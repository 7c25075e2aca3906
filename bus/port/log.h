/*
 * A log: topics of partitions of messages, as the flows see it.  Kafka
 * (kafka.h) is one, the simulation's in-memory log another.
 *
 * An acknowledgement says little (a batch may be in the log and still be
 * void), so append reports only trouble.  Any trouble that leaves doubt is
 * GX_ABORT: close the handle, open a new one, find out from the log itself.
 * Thread: a handle belongs to the thread that opened it.
 */
#ifndef GX_PORT_LOG_H
#define GX_PORT_LOG_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

/* One partition to read, and where to begin. */
struct gx_place {
	const char *topic; /* lent for the life of the handle */
	int32_t partition;
	int64_t offset;
};

/* A message; slices are lent until done() or forward(). */
struct gx_msg {
	size_t place; /* index into the places given to open_in */
	int64_t offset;
	int64_t from; /* header gx-from: offset at the origin log; -1 none */
	struct gx_slice key, value;
	void *impl;
};

struct gx_log;
struct gx_out;
struct gx_in;

struct gx_log_ops {
	/* Number of partitions of topic.  GX_AGAIN: cluster away; GX_FATAL
	 * "log.no_topic". */
	enum gx_rc (*n_partitions)(struct gx_log *l, const char *topic,
				   int32_t *n, struct gx_err *e);

	/* An idempotent producer for one topic. */
	enum gx_rc (*open_out)(struct gx_log *l, const char *topic,
			       struct gx_out **out, struct gx_err *e);
	/* Queue one message; bytes are copied.  from >= 0 becomes the header
	 * gx-from.  GX_AGAIN: queue full, poll first.  GX_ABORT: see above. */
	enum gx_rc (*append)(struct gx_out *o, int32_t partition,
			     struct gx_slice key, struct gx_slice value,
			     int64_t from, struct gx_err *e);
	/* Queue a message that was read, key and value byte for byte, without
	 * copying; takes m on GX_OK only. */
	enum gx_rc (*forward)(struct gx_out *o, int32_t partition,
			      struct gx_in *in, struct gx_msg *m, int64_t from,
			      struct gx_err *e);
	/* Serve deliveries; *n_in_flight = queued and not yet acknowledged.
	 * GX_ABORT: a delivery failed, or the connection broke while messages
	 * were in flight. */
	enum gx_rc (*poll_out)(struct gx_out *o, int timeout_ms,
			       size_t *n_in_flight, struct gx_err *e);
	/* Drops what is not yet delivered.  Sets *o to NULL. */
	void (*close_out)(struct gx_out **o);

	enum gx_rc (*open_in)(struct gx_log *l, const struct gx_place *places,
			      size_t n, struct gx_in **out, struct gx_err *e);
	/* GX_AGAIN: nothing within timeout.  GX_ABORT "log.out_of_range": the
	 * offset asked for is not in the log (m->place says which). */
	enum gx_rc (*next)(struct gx_in *in, int timeout_ms, struct gx_msg *m,
			   struct gx_err *e);
	void (*done)(struct gx_in *in, struct gx_msg *m);
	/* Stop and restart delivery of one place (back-pressure). */
	enum gx_rc (*seek)(struct gx_in *in, size_t place, int64_t offset,
			   struct gx_err *e);
	/* Gives back what is still lent.  Messages that an out still holds keep
	 * a part of it alive until that out is done with them. */
	void (*close_in)(struct gx_in **in);

	/* First kept offset and the one after the last. */
	enum gx_rc (*range)(struct gx_log *l, const char *topic,
			    int32_t partition, int64_t *low, int64_t *high,
			    struct gx_err *e);
};

/* Implementations embed this first. */
struct gx_log {
	const struct gx_log_ops *ops;
};

#endif
