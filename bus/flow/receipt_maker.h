/*
 * Receipt maker: the flow that says, signed, what this node's sink has taken.
 * Looks at gx_stream now and then, and puts one receipt for each stream that
 * moved into the outbox of /<node>/gx/own (docs/receipt.md).
 */
#ifndef GX_FLOW_RECEIPT_MAKER_H
#define GX_FLOW_RECEIPT_MAKER_H

#include "flow/worker.h"
#include "trust/receipt.h"

#include <stdint.h>

struct gx_receipt_maker_conf {
	const char *flow;
	const char *conninfo; /* of the node's database */
	const char *node;     /* the sink that signs */
	int64_t every_ms;
};

struct gx_receipt_maker;
/* Copies conf; lends the node's private key. */
struct gx_receipt_maker *gx_receipt_maker_new(
	const struct gx_receipt_maker_conf *conf, struct gx_key *key);
extern const struct gx_flow_ops gx_receipt_maker_ops;

#endif
