/*
 * The table of the kinds of flows.
 *
 * Its rows stand in kind.def.  Nobody asks "is it a source?": what differs
 * between kinds is a bit or an operation of the row, so that a kind that comes
 * later is wired everywhere by being there.  A word is part of people's
 * configurations and of the node's tables: it never changes its meaning.
 *
 * Constant data; there is nothing to die on.
 */
#include "node/kind.h"

#include "node/node.h"

#include <string.h>

static const struct gx_node_kind kinds[] = {
#define GX_KIND(word, needs, ops, help) {word, needs, &(ops)},
#include "node/kind.def"
#undef GX_KIND
	{NULL, 0, NULL},
};

const struct gx_node_kind *
gx_kind_find(const char *word)
{
	for (const struct gx_node_kind *k = kinds; k->word != NULL; k++) {
		if (strcmp(k->word, word) == 0) {
			return k;
		}
	}
	return NULL;
}

int64_t
gx_kind_number(const struct gx_node *n, const struct gx_node_flow *f,
	       const char *key)
{
	return gx_conf_int(n->conf, "flow", f->name, key);
}
