/*
 * SM2, SM3 and SM4 (GB/T 32918, 32905, 32907) through OpenSSL, which lives only in
 * sm.c.  The distinguishing id is always set (default 1234567812345678):
 * without it OpenSSL signs something nobody else can check.
 */
#ifndef GX_TRUST_SM_H
#define GX_TRUST_SM_H

#include "base/err.h"
#include "base/mem.h"

#define GX_SM3 32
#define GX_SM2_DER_MAX 80 /* strict DER SEQUENCE{r,s} is at most 72 bytes */
#define GX_KID 32	  /* hex digits of a key id */
#define GX_POINT 65	  /* bytes of a public point, 04||X||Y */

void gx_sm3(const void *p, size_t n, unsigned char out[GX_SM3]);

struct gx_sm3; /* streaming */
struct gx_sm3 *gx_sm3_new(void);
/* The same object doing SHA-256 (32 bytes too), for trees of others. */
struct gx_sm3 *gx_sm3_new_sha256(void);
void gx_sm3_free(struct gx_sm3 **h);
void gx_sm3_begin(struct gx_sm3 *h);
void gx_sm3_add(struct gx_sm3 *h, const void *p, size_t n);
void gx_sm3_end(struct gx_sm3 *h, unsigned char out[GX_SM3]);

/* HMAC (GB/T 15852.2, RFC 2104) with SM3 over a message that comes in
 * pieces.  A key of any length, also none; it is wiped when freed. */
struct gx_sm_hmac;
struct gx_sm_hmac *gx_sm_hmac_new(struct gx_slice key);
void gx_sm_hmac_free(struct gx_sm_hmac **m);
void gx_sm_hmac_add(struct gx_sm_hmac *m, const void *p, size_t n);
/* Once, after the last piece. */
void gx_sm_hmac_end(struct gx_sm_hmac *m, unsigned char out[GX_SM3]);

/* SM4 in counter mode (GB/T 32907, GB/T 17964): n bytes, the same both ways.
 * One iv never serves twice under one key. */
#define GX_SM4 16
void gx_sm4_ctr(const unsigned char key[GX_SM4], const unsigned char iv[GX_SM4],
		const void *in, size_t n, void *out);

/* A secret of random bytes in a file of hex digits, with the rules of private
 * keys for mode and owner; make refuses to overwrite. */
#define GX_SECRET 32
enum gx_rc gx_secret_make(const char *path, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_secret_load(const char *path, unsigned char out[GX_SECRET],
			  struct gx_err *e) GX_MUSTCHECK;

/* A key.  Private ones come from files with mode 0600 or 0400 owned by the
 * process's user (else GX_FATAL "key.mode" or "key.owner"); wiped when freed. */
struct gx_key;
/* Make a key pair: PKCS#8 PEM at path (0600, must not exist), public PEM at
 * path.pub.  Used by "gxbus init". */
enum gx_rc gx_key_make(const char *path, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_key_load_private(const char *path, struct gx_key **out,
			       struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_key_load_public(const char *path, struct gx_key **out,
			      struct gx_err *e) GX_MUSTCHECK;
/* A public key from its point 04||X||Y, 65 bytes.  GX_REJECT "key.point" if
 * it is of another form or not on the curve. */
enum gx_rc gx_key_from_point(struct gx_slice point, struct gx_key **out,
			     struct gx_err *e) GX_MUSTCHECK;
/* A private key in memory only: tests and the simulation. */
enum gx_rc gx_key_random(struct gx_key **out, struct gx_err *e) GX_MUSTCHECK;
void gx_key_free(struct gx_key **k);
/* First 16 bytes of SM3(04||X||Y) in hex, NUL-terminated. */
const char *gx_key_id(const struct gx_key *k);
/* Its public point, GX_POINT bytes. */
const unsigned char *gx_key_point(const struct gx_key *k);

/* Thread: a key may be used by one thread at a time. */
enum gx_rc gx_sm2_sign(struct gx_key *k, struct gx_slice msg,
		       unsigned char der[GX_SM2_DER_MAX], size_t *n,
		       struct gx_err *e) GX_MUSTCHECK;
/* True only for strict DER with r, s in 1..n-1 that verifies. */
bool gx_sm2_verify(struct gx_key *k, struct gx_slice msg,
		   const unsigned char *der, size_t n);

/* The same for a message that comes in pieces, under a distinguishing id of
 * the caller's, which may be empty.  k is lent until the end.  NULL if id is
 * longer than GX_SM2_ID_MAX bytes. */
#define GX_SM2_ID_MAX 8190
struct gx_sm2_check;
struct gx_sm2_check *gx_sm2_check_new(struct gx_key *k, struct gx_slice id);
void gx_sm2_check_free(struct gx_sm2_check **c);
void gx_sm2_check_add(struct gx_sm2_check *c, const void *p, size_t n);
/* Once, after the last piece. */
bool gx_sm2_check_end(struct gx_sm2_check *c, const unsigned char *der,
		      size_t n);

#endif
