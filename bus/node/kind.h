/*
 * Kinds of flows.  What a node does with a flow it does by its kind's row: a
 * new kind is a row of kind.def and a file kind_<x>.c with its operations.
 */
#ifndef GX_NODE_KIND_H
#define GX_NODE_KIND_H

#include "base/conf.h"

struct gx_node;
struct gx_node_flow;

/* What is made for a flow before ops->start, as bits. */
#define GX_NEEDS_STORE 1u  /* gx_node_flow.store */
#define GX_NEEDS_KEY 2u	   /* .key and .sealer: it makes batches */
#define GX_NEEDS_PARENT 4u /* .parent_log: it works with the node above */

/* All but start may be NULL.  Thread: main. */
struct gx_kind_ops {
	/* What its section must hold, beyond what each key says by itself.
	 * GX_REJECT "node.conf" with section and next step. */
	enum gx_rc (*check)(const struct gx_conf *c, const char *flow,
			    struct gx_err *e);
	/* Topic i of the node's own Kafka that the flow wants made, NULL past
	 * the last; lent from the configuration. */
	const char *(*topic)(const struct gx_node *n,
			     const struct gx_node_flow *f, size_t i);
	/* Likewise of the Kafka of the node above. */
	const char *(*parent_topic)(const struct gx_node *n,
				    const struct gx_node_flow *f, size_t i);
	/* Read the flow's own files; connects to nothing.  Done before:
	 * nothing.  GX_REJECT: a person must correct them. */
	enum gx_rc (*read)(struct gx_node *n, struct gx_node_flow *f,
			   struct gx_err *e);
	/* After read: have at the servers what the flow needs.  Done twice it
	 * changes nothing.  GX_AGAIN, GX_ABORT: a server is away. */
	enum gx_rc (*prepare)(struct gx_node *n, struct gx_node_flow *f,
			      struct gx_err *e);
	/* Build the flow of what it needs and start f->worker. */
	enum gx_rc (*start)(struct gx_node *n, struct gx_node_flow *f,
			    struct gx_err *e);
};

struct gx_node_kind {
	const char *word; /* NULL ends the table */
	unsigned needs;	  /* GX_NEEDS_* */
	const struct gx_kind_ops *ops;
};

extern const struct gx_kind_ops gx_kind_source, gx_kind_sink, gx_kind_link,
	gx_kind_link_down, gx_kind_own, gx_kind_receipt, gx_kind_down,
	gx_kind_trim, gx_kind_reconcile;

/* May the stream stand in this topic, as a sink of this node sees it? */
bool gx_kind_sink_belongs(const struct gx_node *n, struct gx_slice stream,
			  struct gx_slice topic);

/* The kind of a word; NULL if there is none. */
const struct gx_node_kind *gx_kind_find(const char *word);

/* A number of the flow's section. */
int64_t gx_kind_number(const struct gx_node *n, const struct gx_node_flow *f,
		       const char *key);

#endif
