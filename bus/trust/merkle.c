/*
 * Merkle root of RFC 6962 2.1 with SM3, in one pass.
 *
 * The workspace keeps the roots of the complete subtrees to the left, the
 * largest first: one for each bit that is set in the number of leaves.  A new
 * leaf closes as many of them as the number has trailing ones.  The root folds
 * them from the smallest to the largest, which is the RFC's split at the
 * largest power of two below n.  A leaf is hashed where it lies: its prefix
 * and its bytes go into one running hash, nothing is copied.
 *
 * It holds no secret and does no I/O; begin forgets whatever was before.
 * Leaf and node have different prefixes, so that no inner node can be shown
 * as a line.
 */
#include "trust/merkle.h"

#define LEVELS 64 /* a bit of the count each */

struct gx_merkle {
	struct gx_sm3 *hash;
	uint64_t n;
	size_t depth;
	unsigned char roots[LEVELS][GX_SM3];
};

struct gx_merkle *
gx_merkle_new(void)
{
	struct gx_merkle *m = gx_mem_new(sizeof(*m));
	m->hash = gx_sm3_new();
	return m;
}

void
gx_merkle_free(struct gx_merkle **m)
{
	if (!*m) {
		return;
	}
	gx_sm3_free(&(*m)->hash);
	gx_mem_free(*m);
	*m = NULL;
}

void
gx_merkle_begin(struct gx_merkle *m)
{
	m->n = 0;
	m->depth = 0;
}

/* The two topmost roots become one. */
static void
fold(struct gx_merkle *m)
{
	unsigned char *left = m->roots[m->depth - 2];
	gx_sm3_begin(m->hash);
	gx_sm3_add(m->hash, "\x01", 1);
	gx_sm3_add(m->hash, left, (size_t)2 * GX_SM3); /* adjacent */
	gx_sm3_end(m->hash, left);
	m->depth--;
}

void
gx_merkle_add(struct gx_merkle *m, struct gx_slice leaf)
{
	gx_sm3_begin(m->hash);
	gx_sm3_add(m->hash, "\0", 1);
	gx_sm3_add(m->hash, leaf.p, leaf.n);
	gx_sm3_end(m->hash, m->roots[m->depth++]);
	for (uint64_t bits = m->n++; bits & 1; bits >>= 1) {
		fold(m);
	}
}

void
gx_merkle_root(struct gx_merkle *m, unsigned char out[GX_SM3])
{
	if (m->depth == 0) {
		gx_sm3_begin(m->hash);
		gx_sm3_end(m->hash, out);
		return;
	}
	while (m->depth > 1) {
		fold(m);
	}
	memcpy(out, m->roots[0], GX_SM3);
}
