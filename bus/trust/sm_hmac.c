/*
 * HMAC with SM3 (RFC 2104; the hash is GB/T 32905, the construction that of
 * GB/T 15852.2), over a message that comes in pieces.
 *
 * It stands on our own hash object: one of them carries the inner hash along,
 * and is used again for the outer one.  The key is only kept as the block that
 * the outer hash begins with, and that is wiped when the object is freed; what
 * the hash has taken of it is freed by OpenSSL, which clears it.
 *
 * It refuses nothing: a key longer than a block is hashed first, as the
 * standard says, and a key of no bytes is a key of zeros.  Whoever checks a
 * code compares it in constant time; nothing here compares.
 */
#include "trust/sm.h"

#define BLOCK 64

struct gx_sm_hmac {
	struct gx_sm3 *hash;
	unsigned char outer[BLOCK];
};

struct gx_sm_hmac *
gx_sm_hmac_new(struct gx_slice key)
{
	struct gx_sm_hmac *m = gx_mem_new(sizeof(*m));
	unsigned char inner[BLOCK] = {0};
	m->hash = gx_sm3_new();
	if (key.n > BLOCK) {
		gx_sm3_begin(m->hash);
		gx_sm3_add(m->hash, key.p, key.n);
		gx_sm3_end(m->hash, inner);
	} else if (key.n > 0) {
		memcpy(inner, key.p, key.n);
	}
	for (size_t i = 0; i < BLOCK; i++) {
		m->outer[i] = inner[i] ^ 0x5c;
		inner[i] ^= 0x36;
	}
	gx_sm3_begin(m->hash);
	gx_sm3_add(m->hash, inner, BLOCK);
	gx_mem_wipe(inner, sizeof(inner));
	return m;
}

void
gx_sm_hmac_free(struct gx_sm_hmac **m)
{
	if (!*m) {
		return;
	}
	gx_sm3_free(&(*m)->hash);
	gx_mem_wipe((*m)->outer, BLOCK);
	gx_mem_free(*m);
	*m = NULL;
}

void
gx_sm_hmac_add(struct gx_sm_hmac *m, const void *p, size_t n)
{
	gx_sm3_add(m->hash, p, n);
}

void
gx_sm_hmac_end(struct gx_sm_hmac *m, unsigned char out[GX_SM3])
{
	unsigned char inner[GX_SM3];
	gx_sm3_end(m->hash, inner);
	gx_sm3_begin(m->hash);
	gx_sm3_add(m->hash, m->outer, BLOCK);
	gx_sm3_add(m->hash, inner, GX_SM3);
	gx_sm3_end(m->hash, out);
}
