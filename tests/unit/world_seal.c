/*
 * World, cheap seals: the linker puts these in the place of SM2 and SM3 in the
 * simulation only (see the Makefile).  A million runs need a signature that
 * costs a tenth of a microsecond; what the flows do with a good or a bad one
 * is the same.  The hash is no cryptographic one: nobody attacks it here.
 *
 * Nor is a message of a log read or checked twice: its bytes never change, and
 * what was found the first time is kept beside them.  Only whether the hub
 * knows the city's key is asked anew each time.
 */
#include "world.h"

struct gx_sm3 {
	uint64_t s[4];
	unsigned char rest[8];
	size_t n_rest;
};

void __wrap_gx_sm3(const void *p, size_t n, unsigned char out[GX_SM3]);
struct gx_sm3 *__wrap_gx_sm3_new(void);
void __wrap_gx_sm3_free(struct gx_sm3 **h);
void __wrap_gx_sm3_begin(struct gx_sm3 *h);
void __wrap_gx_sm3_add(struct gx_sm3 *h, const void *p, size_t n);
void __wrap_gx_sm3_end(struct gx_sm3 *h, unsigned char out[GX_SM3]);
bool __wrap_gx_sm3_x8_ready(void);
enum gx_rc __wrap_gx_sm2_sign(struct gx_key *k, struct gx_slice msg,
			      unsigned char der[GX_SM2_DER_MAX], size_t *n,
			      struct gx_err *e);
bool __wrap_gx_sm2_verify(struct gx_key *k, struct gx_slice msg,
			  const unsigned char *der, size_t n);

static void
mix(struct gx_sm3 *h, uint64_t x)
{
	h->s[0] = (h->s[0] ^ x) * 0x9e3779b97f4a7c15u;
	h->s[0] ^= h->s[0] >> 29;
	h->s[1] = (h->s[1] + h->s[0]) * 0xbf58476d1ce4e5b9u;
	h->s[1] ^= h->s[1] >> 32;
}

void
__wrap_gx_sm3_begin(struct gx_sm3 *h)
{
	*h = (struct gx_sm3){.s = {1, 2, 3, 4}};
}

void
__wrap_gx_sm3_add(struct gx_sm3 *h, const void *p, size_t n)
{
	const unsigned char *b = p;
	uint64_t x;

	for (; h->n_rest == 0 && n >= 8; b += 8, n -= 8) {
		memcpy(&x, b, 8);
		mix(h, x);
	}
	while (n > 0) {
		size_t k = 8 - h->n_rest < n ? 8 - h->n_rest : n;

		memcpy(h->rest + h->n_rest, b, k);
		h->n_rest += k;
		b += k;
		n -= k;
		if (h->n_rest == 8) {
			memcpy(&x, h->rest, 8);
			mix(h, x);
			h->n_rest = 0;
		}
	}
}

void
__wrap_gx_sm3_end(struct gx_sm3 *h, unsigned char out[GX_SM3])
{
	uint64_t x = 0;

	memcpy(&x, h->rest, h->n_rest);
	mix(h, x + ((uint64_t)h->n_rest << 56));
	mix(h, 5);
	h->s[2] = h->s[0] ^ h->s[1];
	h->s[3] = h->s[1] * 0x94d049bb133111ebu;
	memcpy(out, h->s, GX_SM3);
}

void
__wrap_gx_sm3(const void *p, size_t n, unsigned char out[GX_SM3])
{
	struct gx_sm3 h;

	__wrap_gx_sm3_begin(&h);
	__wrap_gx_sm3_add(&h, p, n);
	__wrap_gx_sm3_end(&h, out);
}

struct gx_sm3 *
__wrap_gx_sm3_new(void)
{
	return gx_mem_new(sizeof(struct gx_sm3));
}

void
__wrap_gx_sm3_free(struct gx_sm3 **h)
{
	gx_mem_free(*h);
	*h = NULL;
}

/* Or it would hash eight at a time, with real SM3. */
bool
__wrap_gx_sm3_x8_ready(void)
{
	return false;
}

static void
sign(struct gx_key *k, struct gx_slice msg, unsigned char out[GX_SM3])
{
	struct gx_sm3 h;

	__wrap_gx_sm3_begin(&h);
	__wrap_gx_sm3_add(&h, gx_key_id(k), GX_KID);
	__wrap_gx_sm3_add(&h, msg.p, msg.n);
	__wrap_gx_sm3_end(&h, out);
}

enum gx_rc
__wrap_gx_sm2_sign(struct gx_key *k, struct gx_slice msg,
		   unsigned char der[GX_SM2_DER_MAX], size_t *n,
		   struct gx_err *e)
{
	(void)e;
	sign(k, msg, der);
	*n = GX_SM3;
	return GX_OK;
}

bool
__wrap_gx_sm2_verify(struct gx_key *k, struct gx_slice msg,
		     const unsigned char *der, size_t n)
{
	unsigned char want[GX_SM3];

	sign(k, msg, want);
	return n == GX_SM3 && memcmp(der, want, n) == 0;
}

/* ---- once per message ---- */

const char *__real_gx_head_parse(struct gx_slice msg, struct gx_head *out);
const char *__wrap_gx_head_parse(struct gx_slice msg, struct gx_head *out);
enum gx_seal __real_gx_seal_check(struct gx_verifier *v,
				  const struct gx_head *h, bool with_leaves,
				  unsigned char head_hash[GX_HASH]);
enum gx_seal __wrap_gx_seal_check(struct gx_verifier *v,
				  const struct gx_head *h, bool with_leaves,
				  unsigned char head_hash[GX_HASH]);

const char *
__wrap_gx_head_parse(struct gx_slice msg, struct gx_head *out)
{
	struct w_said *said = world_said(msg);

	if (!said) {
		return __real_gx_head_parse(msg, out);
	}
	if (!said->is_parsed) {
		said->bad = __real_gx_head_parse(msg, &said->head);
		said->is_parsed = true;
	}
	*out = said->head;
	return said->bad;
}

static enum gx_seal
check_once(struct gx_verifier *v, const struct gx_head *h, bool with_leaves,
	   unsigned char head_hash[GX_HASH])
{
	/* The signed bytes begin the message and the body ends it. */
	size_t n = (size_t)(h->body.p - h->signed_bytes.p) + h->body.n;
	struct w_said *said = world_said(gx_slice(h->signed_bytes.p, n));

	if (!said) {
		return __real_gx_seal_check(v, h, with_leaves, head_hash);
	}
	if (!said->is_checked[with_leaves]) {
		said->seal[with_leaves] =
			__real_gx_seal_check(v, h, with_leaves, said->hash);
		said->is_checked[with_leaves] = true;
	}
	memcpy(head_hash, said->hash, GX_HASH);
	return said->seal[with_leaves];
}

enum gx_seal
__wrap_gx_seal_check(struct gx_verifier *v, const struct gx_head *h,
		     bool with_leaves, unsigned char head_hash[GX_HASH])
{
	enum gx_seal seal = check_once(v, h, with_leaves, head_hash);

	return W.is_key_unknown && W.cur && W.cur->node == HUB
		       ? GX_SEAL_UNKNOWN_KEY
		       : seal;
}
