/*
 * Writer: from a source into this node's log (docs/protocol.md 3, 7).
 *
 * Takes the source, claims its streams with a marker, reads the log to its own
 * marker, then seals what it reads from the source into batches and sends
 * them.  What the node's own reader has taken (seen in the store) is released.
 * Pure against the interfaces: the simulation runs it unchanged.
 */
#ifndef GX_FLOW_WRITER_H
#define GX_FLOW_WRITER_H

#include "flow/source.h"
#include "flow/store.h"
#include "flow/worker.h"
#include "port/log.h"

struct gx_writer_stream {
	const char *stream; /* full name */
	int32_t partition;
	const char *schema_id; /* "social.insured@1:<hex>" */
};

struct gx_writer_conf {
	const char *flow;   /* name, key of releases */
	const char *origin; /* /node/org/adapter */
	const char *topic;  /* gx.batch.<node> */
	const struct gx_writer_stream *streams;
	size_t n_streams;
	size_t max_lines;	 /* of a batch: 1000 */
	size_t max_bytes;	 /* 1 MiB */
	int linger_ms;		 /* 10 */
	size_t max_unread;	 /* batches sent and not yet read back: 64 */
	int look_ms;		 /* how often the store is asked: 100 */
	int release_ms;		 /* how often the source is released: 1000 */
	int guard_percent;	 /* mass-change guard, 0 = off: 20 */
	int64_t guard_window_ms; /* 3,600,000 */
	uint64_t guard_floor;	 /* changes below this never trip it: 100 */
	uint64_t (*random)(void *ctx); /* 64 random bits: writer ids, pauses */
	void *random_ctx;
};

struct gx_writer;
/* Copies conf.  Lends log, store, sealer, verifier; takes *src. */
enum gx_rc gx_writer_new(const struct gx_writer_conf *conf, struct gx_log *log,
			 struct gx_store *store, struct gx_sealer *sealer,
			 struct gx_verifier *verifier, struct gx_source **src,
			 struct gx_writer **out, struct gx_err *e) GX_MUSTCHECK;
extern const struct gx_flow_ops gx_writer_ops; /* flow = struct gx_writer */

#endif
