/*
 * Proofs about Merkle trees: that a leaf is in a tree, that a tree begins with
 * another.  RFC 9162 2.1.3.2 and 2.1.4.2, followed step by step, so that a
 * reader can lay the text beside the code; the numbers are the steps.
 *
 * A proof comes from a stranger: sizes up to 2^64-1, hashes of any length, any
 * number of nodes.  The work is bound by the 64 levels a tree can have: a node
 * too many ends it.  Every hash that goes into a node must have 32 bytes,
 * because bytes moved from one side of a node to the other give the same node.
 *
 * Nothing is kept, nothing is allocated but one hash object, and there is no
 * verdict between yes and a reason for no.  If we die on any line nobody has
 * been told anything.
 *
 * It refuses to say anything about an empty tree: with size1 = 0 there is no
 * root that could disagree, and a yes would only look like one.
 */
#include "trust/merkle.h"

#define NODE 0x01

static const char wrong_length[] = "a hash does not have 32 bytes";
static const char surplus[] = "the proof has more nodes than the path";
static const char missing[] = "the proof has fewer nodes than the path";

static bool
are_hashes(const struct gx_slice *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (nodes[i].n != GX_SM3) {
			return false;
		}
	}
	return true;
}

/* out = H(0x01 || left || right); out may be one of them. */
static void
join(struct gx_sm3 *h, const void *left, const void *right,
     unsigned char out[GX_SM3])
{
	unsigned char prefix = NODE;
	gx_sm3_begin(h);
	gx_sm3_add(h, &prefix, 1);
	gx_sm3_add(h, left, GX_SM3);
	gx_sm3_add(h, right, GX_SM3);
	gx_sm3_end(h, out);
}

/* Where we stand on the way up: a node's number on its level and the last
 * number there (fn and sn of the RFC). */
struct way {
	uint64_t fn, sn;
};

static void
go_up(struct way *w)
{
	w->fn >>= 1;
	w->sn >>= 1;
}

/* Is there a neighbour to the left, here or after the levels on which the
 * last node has none to the right?  Leaves w where the two are joined. */
static bool
turn_left(struct way *w)
{
	if (!(w->fn & 1) && w->fn != w->sn) {
		return false;
	}
	while (!(w->fn & 1) && w->fn != 0) {
		go_up(w);
	}
	return true;
}

const char *
gx_merkle_check_inclusion(const struct gx_merkle_hash *hash,
			  const struct gx_inclusion *p)
{
	const char *why = NULL;
	unsigned char r[GX_SM3];
	if (p->leaf >= p->size) { /* 1 */
		return "the tree has no leaf of this number";
	}
	if (!are_hashes(&p->leaf_hash, 1) || !are_hashes(&p->root, 1) ||
	    !are_hashes(p->proof, p->n_proof)) {
		return wrong_length;
	}
	struct way w = {p->leaf, p->size - 1}; /* 2 */
	memcpy(r, p->leaf_hash.p, GX_SM3);     /* 3 */
	struct gx_sm3 *h = hash->open();
	for (size_t i = 0; !why && i < p->n_proof; i++) { /* 4 */
		if (w.sn == 0) {
			why = surplus;
		} else if (turn_left(&w)) {
			join(h, p->proof[i].p, r, r);
		} else {
			join(h, r, p->proof[i].p, r);
		}
		go_up(&w);
	}
	gx_sm3_free(&h);
	if (!why && w.sn != 0) { /* 5 */
		why = missing;
	}
	if (!why && memcmp(r, p->root.p, GX_SM3) != 0) {
		why = "the proof leads to another root";
	}
	return why;
}

/* Steps 3 to 7; first is the node both trees share. */
static const char *
climb_both(struct gx_sm3 *h, const struct gx_consistency *p, const char *first,
	   size_t i)
{
	unsigned char fr[GX_SM3], sr[GX_SM3];
	struct way w = {p->size1 - 1, p->size2 - 1}; /* 3 */
	while (w.fn & 1) {			     /* 4 */
		go_up(&w);
	}
	memcpy(fr, first, GX_SM3); /* 5 */
	memcpy(sr, first, GX_SM3);
	for (; i < p->n_proof; i++) { /* 6 */
		const char *c = p->proof[i].p;
		if (w.sn == 0) {
			return surplus;
		}
		if (turn_left(&w)) {
			join(h, c, fr, fr);
			join(h, c, sr, sr);
		} else {
			join(h, sr, c, sr);
		}
		go_up(&w);
	}
	if (w.sn != 0) { /* 7 */
		return missing;
	}
	if (memcmp(fr, p->root1.p, GX_SM3) != 0) {
		return "the proof leads to another first root";
	}
	if (memcmp(sr, p->root2.p, GX_SM3) != 0) {
		return "the proof leads to another second root";
	}
	return NULL;
}

/* A tree and itself: nothing is hashed, the roots are just bytes. */
static const char *
check_same(const struct gx_consistency *p)
{
	if (p->n_proof > 0) {
		return surplus;
	}
	return gx_slice_eq(p->root1, p->root2)
		       ? NULL
		       : "trees of the same size have different roots";
}

const char *
gx_merkle_check_consistency(const struct gx_merkle_hash *hash,
			    const struct gx_consistency *p)
{
	if (p->size1 == 0) {
		return "nothing can be said about an empty tree";
	}
	if (p->size1 > p->size2) {
		return "the first tree is larger than the second";
	}
	if (p->size1 == p->size2) {
		return check_same(p);
	}
	if (p->n_proof == 0) { /* 1 */
		return missing;
	}
	if (!are_hashes(&p->root1, 1) || !are_hashes(&p->root2, 1) ||
	    !are_hashes(p->proof, p->n_proof)) {
		return wrong_length;
	}
	/* 2: the first tree is complete, its root is a node of the second */
	bool is_power = (p->size1 & (p->size1 - 1)) == 0;
	struct gx_sm3 *h = hash->open();
	const char *why = climb_both(
		h, p, is_power ? p->root1.p : p->proof[0].p, is_power ? 0 : 1);
	gx_sm3_free(&h);
	return why;
}
