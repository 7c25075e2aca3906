/*
 * Reader: follows the log and moves what it takes into the store
 * (docs/protocol.md 4, 6).  The node's own reader, a sink and a projection are
 * all this piece: what is applied is the store's affair.
 *
 * A stream that cannot go on stands still, its neighbours go on.  Pure
 * against the interfaces: the simulation runs it unchanged.
 */
#ifndef GX_FLOW_READER_H
#define GX_FLOW_READER_H

#include "flow/store.h"
#include "flow/worker.h"
#include "port/log.h"

/* May this stream stand in this topic (protocol 4: "declared for that node")
 * and is its schema known here?  TAKE, REFUSE or WAIT. */
typedef enum gx_verdict (*gx_admit_f)(void *ctx, struct gx_slice stream,
				      struct gx_slice schema,
				      struct gx_slice topic);

struct gx_reader_conf {
	const char *flow;
	const char *const *topics; /* NULL-terminated */
	/* Those of streams made here (gx.batch.<this node>, gx.down.<child>):
	 * their streams begin by declaration, their logs lose nothing.
	 * NULL-terminated; may name topics that are not followed. */
	const char *const *own_topics;
	gx_admit_f admit;
	void *admit_ctx;
	size_t txn_lines; /* commit at this many lines: 10,000 */
	size_t txn_bytes; /* or this many bytes: 4 MiB */
	int txn_ms;	  /* or this long after the first message: 5 */
	int retry_ms;	  /* how often a stopped stream with a gap looks
			     again whether it can go on: 5,000 */
};

struct gx_reader;
/* Copies conf.  Lends the rest. */
enum gx_rc gx_reader_new(const struct gx_reader_conf *conf, struct gx_log *log,
			 struct gx_store *store, struct gx_verifier *verifier,
			 struct gx_reader **out, struct gx_err *e) GX_MUSTCHECK;
extern const struct gx_flow_ops gx_reader_ops;

#endif
