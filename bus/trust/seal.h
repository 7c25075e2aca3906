/*
 * Seal: root and signature over a batch or marker, and who may sign what.
 * Formats stand in record/batch.h.  No I/O but reading key files.
 */
#ifndef GX_TRUST_SEAL_H
#define GX_TRUST_SEAL_H

#include "record/batch.h"
#include "trust/merkle.h"

/* Signs for one thread: owns hashing workspace, lends the key. */
struct gx_sealer;
struct gx_sealer *gx_sealer_new(struct gx_key *private_key);
void gx_sealer_free(struct gx_sealer **s);
/* Write the whole message (header, LF, body) to out (reset first).  h->root
 * and h->kid are filled in here; body holds h->n lines, each ended by LF.
 * head_hash is what the next batch names as prev. */
enum gx_rc gx_seal_batch(struct gx_sealer *s, struct gx_head *h,
			 struct gx_slice body, struct gx_buf *out,
			 unsigned char head_hash[GX_HASH],
			 struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_seal_marker(struct gx_sealer *s, struct gx_head *h,
			  struct gx_buf *out, struct gx_err *e) GX_MUSTCHECK;

/* Public keys of the nodes this node believes: a folder of PEM files named
 * <node>.pem or <node>.<anything>.pem.  A key may seal streams and markers
 * whose name begins with /<node>/ and nothing else. */
struct gx_keyring;
enum gx_rc gx_keyring_load(const char *dir, struct gx_keyring **out,
			   struct gx_err *e) GX_MUSTCHECK;
struct gx_keyring *gx_keyring_new(void); /* empty */
/* Takes *k. */
void gx_keyring_add(struct gx_keyring *r, const char *node, struct gx_key **k);
void gx_keyring_free(struct gx_keyring **r);
/* The key with this id, lent; NULL if it is not there.  allowed: it speaks for
 * this node. */
struct gx_key *gx_keyring_find(const struct gx_keyring *r, struct gx_slice kid,
			       struct gx_slice node, bool *allowed);

enum gx_seal {
	GX_SEAL_GOOD,
	GX_SEAL_UNKNOWN_KEY, /* wait: ask for it, never refuse for that */
	GX_SEAL_NOT_ALLOWED, /* this key may not seal this stream */
	GX_SEAL_FORGED	     /* signature or root wrong */
};

/* Checks for one thread.  head_hash is filled in for any verdict.  The leaves
 * are only hashed when with_leaves (who takes checks them, a link does not).
 * The last few verified signatures are not remembered: each is checked. */
struct gx_verifier;
struct gx_verifier *gx_verifier_new(const struct gx_keyring *lent);
void gx_verifier_free(struct gx_verifier **v);
enum gx_seal gx_seal_check(struct gx_verifier *v, const struct gx_head *h,
			   bool with_leaves, unsigned char head_hash[GX_HASH]);

#endif
