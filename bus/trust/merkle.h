/*
 * RFC 6962 Merkle tree: leaf = H(0x00 || data), node = H(0x01 || left ||
 * right), empty root = H("").  The bus's own trees are of SM3; the hash is a
 * choice so that other people's trees and proofs can be checked too.
 */
#ifndef GX_TRUST_MERKLE_H
#define GX_TRUST_MERKLE_H

#include "trust/sm.h"

#include <stdint.h>

/* What a tree is made with.  All hashes have GX_SM3 bytes. */
struct gx_merkle_hash {
	const char *name; /* "sm3" */
	struct gx_sm3 *(*open)(void);
	/* out[i] = H(prefix || msgs[i]); out overlaps no message. */
	void (*many)(struct gx_sm3 *h, unsigned char prefix,
		     const struct gx_slice *msgs, size_t n,
		     unsigned char (*out)[GX_SM3]);
};
extern const struct gx_merkle_hash gx_merkle_sm3; /* fastest there is here */
extern const struct gx_merkle_hash gx_merkle_sm3_plain; /* one at a time */
extern const struct gx_merkle_hash gx_merkle_sha256;
/* "sm3" or "sha256"; NULL for anything else. */
const struct gx_merkle_hash *gx_merkle_hash_find(const char *name);

/* One pass over any number of leaves, about 24 KiB; reused.  Between begin
 * and root leaves come by add and body, in any mixture; what they are lent is
 * hashed before they return.  After root only begin may follow. */
struct gx_merkle;
struct gx_merkle *gx_merkle_new(void); /* of gx_merkle_sm3 */
struct gx_merkle *gx_merkle_new_with(const struct gx_merkle_hash *lent);
void gx_merkle_free(struct gx_merkle **m);
void gx_merkle_begin(struct gx_merkle *m);
void gx_merkle_add(struct gx_merkle *m, struct gx_slice leaf);
/* Each line of a batch's body is a leaf, without its LF.  Much faster than
 * adding them one by one where the hash takes many at a time. */
void gx_merkle_body(struct gx_merkle *m, struct gx_slice body);
void gx_merkle_root(struct gx_merkle *m, unsigned char out[GX_SM3]);

/* A proof as somebody claims it; all is lent, nothing is believed. */
struct gx_inclusion {
	uint64_t leaf, size; /* number of the leaf from 0; of leaves */
	struct gx_slice leaf_hash, root;
	const struct gx_slice *proof;
	size_t n_proof;
};
struct gx_consistency {
	uint64_t size1, size2;
	struct gx_slice root1, root2;
	const struct gx_slice *proof;
	size_t n_proof;
};
/* NULL if it holds, else a static reason.  RFC 9162 2.1.3.2: the root is the
 * one of a tree that holds this leaf hash at this place, every node of the
 * proof being used.  A root does not say how many leaves it stands for: the
 * size is the claim of whoever signed it, and to be compared with that. */
const char *gx_merkle_check_inclusion(const struct gx_merkle_hash *hash,
				      const struct gx_inclusion *p);
/* RFC 9162 2.1.4.2: the second tree begins with all leaves of the first.
 * Equal sizes: the roots are the same bytes and the proof is empty.  Nothing
 * is consistent with an empty tree, which would say nothing. */
const char *gx_merkle_check_consistency(const struct gx_merkle_hash *hash,
					const struct gx_consistency *p);

/* All nodes of the SM3 tree over a batch's body, to prove lines of it.  NULL
 * if there is no memory for them, or no line. */
#define GX_PATH_MAX 64
struct gx_merkle_tree;
struct gx_merkle_tree *gx_merkle_tree_new(struct gx_slice body);
void gx_merkle_tree_free(struct gx_merkle_tree **t);
/* RFC 9162 2.1.3.1: the path of a leaf, from the bottom.  Returns its length;
 * leaf is one of the tree's. */
size_t gx_merkle_path(const struct gx_merkle_tree *t, size_t leaf,
		      unsigned char out[GX_PATH_MAX][GX_SM3]);

#endif
