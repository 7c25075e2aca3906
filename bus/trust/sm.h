/*
 * SM2 and SM3 (GB/T 32918, GB/T 32905) through OpenSSL, which lives only in
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

void gx_sm3(const void *p, size_t n, unsigned char out[GX_SM3]);

struct gx_sm3; /* streaming */
struct gx_sm3 *gx_sm3_new(void);
/* The same object doing SHA-256 (32 bytes too), for trees of others. */
struct gx_sm3 *gx_sm3_new_sha256(void);
void gx_sm3_free(struct gx_sm3 **h);
void gx_sm3_begin(struct gx_sm3 *h);
void gx_sm3_add(struct gx_sm3 *h, const void *p, size_t n);
void gx_sm3_end(struct gx_sm3 *h, unsigned char out[GX_SM3]);

/* A key.  Private ones come from files with mode 0600 or 0400 owned by the
 * process's user (else GX_FATAL "key.mode"); wiped when freed. */
struct gx_key;
/* Make a key pair: PKCS#8 PEM at path (0600, must not exist), public PEM at
 * path.pub.  Used by "gxbus init". */
enum gx_rc gx_key_make(const char *path, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_key_load_private(const char *path, struct gx_key **out,
			       struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_key_load_public(const char *path, struct gx_key **out,
			      struct gx_err *e) GX_MUSTCHECK;
/* A private key in memory only: tests and the simulation. */
enum gx_rc gx_key_random(struct gx_key **out, struct gx_err *e) GX_MUSTCHECK;
void gx_key_free(struct gx_key **k);
/* First 16 bytes of SM3(04||X||Y) in hex, NUL-terminated. */
const char *gx_key_id(const struct gx_key *k);

/* Thread: a key may be used by one thread at a time. */
enum gx_rc gx_sm2_sign(struct gx_key *k, struct gx_slice msg,
		       unsigned char der[GX_SM2_DER_MAX], size_t *n,
		       struct gx_err *e) GX_MUSTCHECK;
/* True only for strict DER with r, s in 1..n-1 that verifies. */
bool gx_sm2_verify(struct gx_key *k, struct gx_slice msg,
		   const unsigned char *der, size_t n);

#endif
