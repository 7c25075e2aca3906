/*
 * Configuration of gxbusd: the one table of keys, and what must hold between
 * keys.  The sample file conf/gxbusd.conf is made from it.
 */
#ifndef GX_NODE_CONF_TABLE_H
#define GX_NODE_CONF_TABLE_H

#include "base/conf.h"

extern const struct gx_conf_key gx_node_keys[];

#define GX_NODE_FLOWS 32 /* of one daemon */

/* What one key alone cannot say: flows that are named exist, each kind has
 * what it needs, a link has a parent, names are of the right form.  Opens no
 * connection.  GX_REJECT "node.conf" with section and next step. */
enum gx_rc gx_node_conf_check(const struct gx_conf *c,
			      struct gx_err *e) GX_MUSTCHECK;
/* The sample file: what it is, then every key. */
void gx_node_conf_sample(struct gx_buf *out);

#endif
