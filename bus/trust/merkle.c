/*
 * Merkle root of RFC 6962 2.1, in one pass.
 *
 * Leaves are hashed as they come, where they lie, and their hashes wait in a
 * group of up to 256.  A full group becomes the root of its subtree level by
 * level, so that a hash which does eight at a time finds many to do.  Roots of
 * full groups go onto a stack that keeps the complete subtrees to the left,
 * the largest first: one for each bit that is set in the number of groups, and
 * a new one closes as many as that number has trailing ones.
 *
 * The last group may be of any size.  On each of its levels the odd node out
 * is the root of a complete subtree; these go onto the stack too, the largest
 * first.  The root then folds the stack from the smallest to the largest,
 * which is the RFC's split at the largest power of two below n.
 *
 * SM3 is done eight at a time where the processor can, else one at a time by
 * OpenSSL.  Both give the same bytes; which one runs is chosen at run time for
 * each call and seen by nobody.
 *
 * It holds no secret and does no I/O; begin forgets whatever was before.
 * Leaf and node have different prefixes, so that no inner node can be shown
 * as a line.  It refuses nothing: any bytes are a leaf.
 */
#include "trust/merkle.h"

#include "record/batch.h"
#include "trust/sm3_x8.h"

#define GROUP 256
#define GROUP_LEVELS 9		  /* 256, 128, .. 1 */
#define STACK (64 + GROUP_LEVELS) /* a bit of the count each, and a tail */
#define LEAF 0x00
#define NODE 0x01

struct gx_merkle {
	const struct gx_merkle_hash *hash; /* lent, const for ever */
	struct gx_sm3 *one;
	uint64_t n_groups; /* full ones */
	size_t n;	   /* leaves in level[0] */
	size_t depth;
	unsigned char level[2][GROUP][GX_SM3];
	struct gx_slice todo[GROUP];
	unsigned char roots[STACK][GX_SM3];
};

static void
hash_each(struct gx_sm3 *h, unsigned char prefix, const struct gx_slice *msgs,
	  size_t n, unsigned char (*out)[GX_SM3])
{
	for (size_t i = 0; i < n; i++) {
		gx_sm3_begin(h);
		gx_sm3_add(h, &prefix, 1);
		gx_sm3_add(h, msgs[i].p, msgs[i].n);
		gx_sm3_end(h, out[i]);
	}
}

/* Two in eight lanes are still done sooner than one after the other. */
static void
hash_eight(struct gx_sm3 *h, unsigned char prefix, const struct gx_slice *msgs,
	   size_t n, unsigned char (*out)[GX_SM3])
{
	if (n > 1 && gx_sm3_x8_ready()) {
		gx_sm3_x8(prefix, msgs, n, out);
	} else {
		hash_each(h, prefix, msgs, n, out);
	}
}

const struct gx_merkle_hash gx_merkle_sm3 = {"sm3", gx_sm3_new, hash_eight};
const struct gx_merkle_hash gx_merkle_sm3_plain = {"sm3", gx_sm3_new,
						   hash_each};
const struct gx_merkle_hash gx_merkle_sha256 = {"sha256", gx_sm3_new_sha256,
						hash_each};

const struct gx_merkle_hash *
gx_merkle_hash_find(const char *name)
{
	if (strcmp(name, gx_merkle_sm3.name) == 0) {
		return &gx_merkle_sm3;
	}
	return strcmp(name, gx_merkle_sha256.name) == 0 ? &gx_merkle_sha256
							: NULL;
}

struct gx_merkle *
gx_merkle_new_with(const struct gx_merkle_hash *lent)
{
	struct gx_merkle *m = gx_mem_new(sizeof(*m));
	m->hash = lent;
	m->one = lent->open();
	return m;
}

struct gx_merkle *
gx_merkle_new(void)
{
	return gx_merkle_new_with(&gx_merkle_sm3);
}

void
gx_merkle_free(struct gx_merkle **m)
{
	if (!*m) {
		return;
	}
	gx_sm3_free(&(*m)->one);
	gx_mem_free(*m);
	*m = NULL;
}

void
gx_merkle_begin(struct gx_merkle *m)
{
	m->n_groups = 0;
	m->n = 0;
	m->depth = 0;
}

static void
push(struct gx_merkle *m, const unsigned char root[GX_SM3])
{
	GX_ASSERT(m->depth < STACK);
	memcpy(m->roots[m->depth++], root, GX_SM3);
}

/* The two topmost roots become one. */
static void
fold(struct gx_merkle *m)
{
	unsigned char *left = m->roots[m->depth - 2], both[2 * GX_SM3];
	struct gx_slice msg = {(const char *)both, sizeof(both)};
	memcpy(both, left, sizeof(both)); /* adjacent */
	m->hash->many(m->one, NODE, &msg, 1, &m->roots[m->depth - 2]);
	m->depth--;
}

/* Hash pairs of from into to; returns how many. */
static size_t
climb(struct gx_merkle *m, int from, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		m->todo[i] = gx_slice((const char *)m->level[from][2 * i],
				      (size_t)2 * GX_SM3);
	}
	m->hash->many(m->one, NODE, m->todo, n / 2, m->level[!from]);
	return n / 2;
}

/* Put the complete subtrees of the waiting leaves onto the stack. */
static void
close_group(struct gx_merkle *m)
{
	unsigned char odd[GROUP_LEVELS][GX_SM3];
	bool is_odd[GROUP_LEVELS] = {false};
	int from = 0, height = 0;
	for (size_t n = m->n; n > 0; height++, from = !from) {
		is_odd[height] = n & 1;
		if (is_odd[height]) {
			memcpy(odd[height], m->level[from][n - 1], GX_SM3);
		}
		n = n > 1 ? climb(m, from, n) : 0;
	}
	while (height-- > 0) {
		if (is_odd[height]) {
			push(m, odd[height]);
		}
	}
	m->n = 0;
}

/* Only once the group is full: a tail may not be closed early. */
static void
close_full_group(struct gx_merkle *m)
{
	if (m->n < GROUP) {
		return;
	}
	close_group(m);
	for (uint64_t bits = m->n_groups++; bits & 1; bits >>= 1) {
		fold(m);
	}
}

void
gx_merkle_add(struct gx_merkle *m, struct gx_slice leaf)
{
	m->hash->many(m->one, LEAF, &leaf, 1, &m->level[0][m->n++]);
	close_full_group(m);
}

void
gx_merkle_body(struct gx_merkle *m, struct gx_slice body)
{
	size_t at = 0, n;
	do {
		n = 0;
		while (m->n + n < GROUP &&
		       gx_body_next(body, &at, &m->todo[n])) {
			n++;
		}
		m->hash->many(m->one, LEAF, m->todo, n, &m->level[0][m->n]);
		m->n += n;
		close_full_group(m);
	} while (n > 0);
}

void
gx_merkle_root(struct gx_merkle *m, unsigned char out[GX_SM3])
{
	close_group(m);
	if (m->depth == 0) {
		gx_sm3_begin(m->one);
		gx_sm3_end(m->one, out);
		return;
	}
	while (m->depth > 1) {
		fold(m);
	}
	memcpy(out, m->roots[0], GX_SM3);
}
