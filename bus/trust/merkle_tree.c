/*
 * A whole Merkle tree in memory, to prove one of its leaves.
 *
 * merkle.c computes a root in one pass and keeps only what is open on the way
 * up; that is what writers and readers do a thousand times a second.  Whoever
 * is asked for evidence needs the neighbours too, so here every level is kept:
 * level 0 the leaves, above it each pair joined, and a last one without a
 * neighbour moved up as it is.  That is the tree of RFC 9162 2.1.1, whose left
 * part is the largest power of two: an odd one out is joined only where the
 * part it ends is.  The path of a leaf is its neighbour on each level where it
 * has one (2.1.3.1).
 *
 * The body is not believed to have any number of lines: it is counted, and a
 * tree that memory cannot hold is no tree.  It is built, asked and thrown away
 * by one thread, and lends nothing.
 */
#include "base/mem.h"
#include "record/batch.h"
#include "trust/merkle.h"

#define LEAF 0x00
#define NODE 0x01

struct gx_merkle_tree {
	size_t n_levels;
	size_t n[GX_PATH_MAX + 1];
	unsigned char (*level[GX_PATH_MAX + 1])[GX_SM3];
};

static size_t
count_lines(struct gx_slice body)
{
	struct gx_slice line;
	size_t at = 0, n = 0;
	while (gx_body_next(body, &at, &line)) {
		n++;
	}
	return n;
}

/* Room for a level of n hashes and its messages. */
static struct gx_slice *
open_level(struct gx_merkle_tree *t, size_t n)
{
	size_t k = t->n_levels;
	struct gx_slice *msgs = gx_mem_array(n, sizeof(*msgs));
	t->level[k] = gx_mem_array(n, GX_SM3);
	if (!msgs || !t->level[k]) {
		gx_mem_free(msgs);
		return NULL;
	}
	t->n[k] = n;
	t->n_levels++;
	return msgs;
}

static bool
put_leaves(struct gx_merkle_tree *t, struct gx_sm3 *h, struct gx_slice body)
{
	size_t n = count_lines(body), at = 0;
	struct gx_slice *msgs = n ? open_level(t, n) : NULL;
	if (!msgs) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		(void)gx_body_next(body, &at, &msgs[i]);
	}
	gx_merkle_sm3.many(h, LEAF, msgs, n, t->level[0]);
	gx_mem_free(msgs);
	return true;
}

static bool
put_level(struct gx_merkle_tree *t, struct gx_sm3 *h)
{
	size_t below = t->n_levels - 1, n = t->n[below], pairs = n / 2;
	struct gx_slice *msgs = open_level(t, pairs + n % 2);
	if (!msgs) {
		return false;
	}
	for (size_t i = 0; i < pairs; i++) {
		msgs[i] = gx_slice((const char *)t->level[below][2 * i],
				   (size_t)2 * GX_SM3);
	}
	gx_merkle_sm3.many(h, NODE, msgs, pairs, t->level[below + 1]);
	if (n % 2) {
		memcpy(t->level[below + 1][pairs], t->level[below][n - 1],
		       GX_SM3);
	}
	gx_mem_free(msgs);
	return true;
}

struct gx_merkle_tree *
gx_merkle_tree_new(struct gx_slice body)
{
	struct gx_merkle_tree *t = gx_mem_new(sizeof(*t));
	struct gx_sm3 *h = gx_sm3_new();
	bool good = put_leaves(t, h, body);
	while (good && t->n[t->n_levels - 1] > 1) {
		good = put_level(t, h);
	}
	gx_sm3_free(&h);
	if (!good) {
		gx_merkle_tree_free(&t);
	}
	return t;
}

void
gx_merkle_tree_free(struct gx_merkle_tree **t)
{
	if (!*t) {
		return;
	}
	for (size_t k = 0; k <= GX_PATH_MAX; k++) {
		gx_mem_free((*t)->level[k]);
	}
	gx_mem_free(*t);
	*t = NULL;
}

size_t
gx_merkle_path(const struct gx_merkle_tree *t, size_t leaf,
	       unsigned char out[GX_PATH_MAX][GX_SM3])
{
	size_t n = 0;
	GX_ASSERT(leaf < t->n[0]);
	for (size_t k = 0; k + 1 < t->n_levels; k++, leaf /= 2) {
		size_t neighbour = leaf ^ 1;
		if (neighbour < t->n[k]) {
			memcpy(out[n++], t->level[k][neighbour], GX_SM3);
		}
	}
	return n;
}
