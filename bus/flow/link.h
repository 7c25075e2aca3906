/*
 * Link: copies one topic of one log to its like in another, partition to
 * partition, byte for byte, in order (docs/protocol.md 5).
 *
 * Verdicts are the readers'; the link checks header, signature and chain on
 * the way only so that the alarm rings near the cause.
 */
#ifndef GX_FLOW_LINK_H
#define GX_FLOW_LINK_H

#include "flow/chain.h"
#include "flow/worker.h"
#include "port/log.h"

struct gx_link_conf {
	const char *flow;
	const char *topic;
	size_t max_in_flight; /* messages: 64 */
	size_t tail; /* messages of the receiving log looked at to find the
			place: at least 2 x max_in_flight */
	bool check;  /* signature and chain on the way */
};

struct gx_link;
/* Copies conf.  Lends the logs; verifier may be NULL if !check. */
enum gx_rc gx_link_new(const struct gx_link_conf *conf, struct gx_log *from,
		       struct gx_log *to, struct gx_verifier *verifier,
		       struct gx_link **out, struct gx_err *e) GX_MUSTCHECK;
extern const struct gx_flow_ops gx_link_ops;

#endif
