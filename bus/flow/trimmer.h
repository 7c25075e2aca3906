/*
 * Trimmer: the flow that takes out of this node's log what everybody who needs
 * it has (docs/protocol.md 9, docs/trim.md).
 */
#ifndef GX_FLOW_TRIMMER_H
#define GX_FLOW_TRIMMER_H

#include "flow/worker.h"
#include "port/log.h"

#include <stdint.h>

struct gx_trimmer_conf {
	const char *flow;
	const char *conninfo; /* of the node's database */
	const char *node;
	const char *parent; /* "" none */
	int64_t every_ms, age_ms;
};

struct gx_trimmer;
/* Copies conf.  Lends log; takes parent (may be NULL) and frees it by
 * free_parent. */
struct gx_trimmer *gx_trimmer_new(const struct gx_trimmer_conf *conf,
				  struct gx_log *log, struct gx_log **parent,
				  void (*free_parent)(struct gx_log **));
extern const struct gx_flow_ops gx_trimmer_ops;

#endif
