/*
 * What strangers' keys, signatures and codes are checked with.  Outside
 * vectors: the signature of GB/T 32918.5 A.2 and the codes of GM/T 0042-2015
 * D.3.  Every bit of key, signature, id and message is then flipped, and the
 * numbers are dressed in every other DER; all must be refused, and the vector
 * itself must pass before and after as the control.
 */
#include "base/text.h"
#include "trust/sm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define POINT                                                                  \
	"0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"   \
	"ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
#define R "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
#define S "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
#define ORDER "fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123"
#define ID "1234567812345678"
#define MESSAGE "message digest"

struct vector {
	unsigned char point[65], der[112];
	size_t n;
	char id[32], message[32];
};

static size_t
bytes(const char *hex, unsigned char *out)
{
	size_t n = strlen(hex) / 2;
	assert_true(gx_unhex(hex, 2 * n, out, n));
	return n;
}

static void
sign_as(struct vector *v, const char *der_hex)
{
	v->n = bytes(der_hex, v->der);
}

static struct vector
standard(void)
{
	struct vector v = {.id = ID, .message = MESSAGE};
	assert_int_equal(bytes(POINT, v.point), sizeof(v.point));
	sign_as(&v, "3046022100" R "022100" S);
	return v;
}

static bool
verifies(const struct vector *v)
{
	struct gx_key *k = NULL;
	size_t n = strlen(MESSAGE);
	if (gx_key_from_point(gx_slice((const char *)v->point, 65), &k, NULL) !=
	    GX_OK) {
		assert_null(k);
		return false;
	}
	struct gx_sm2_check *c = gx_sm2_check_new(k, gx_slice(v->id, 16));
	gx_sm2_check_add(c, v->message, n / 3);
	gx_sm2_check_add(c, v->message, 0);
	gx_sm2_check_add(c, v->message + n / 3, n - n / 3);
	bool good = gx_sm2_check_end(c, v->der, v->n);
	gx_sm2_check_free(&c);
	gx_key_free(&k);
	return good;
}

static void
flip_each_bit(struct vector *v, void *where, size_t n)
{
	unsigned char *p = where;
	for (size_t bit = 0; bit < 8 * n; bit++) {
		p[bit / 8] ^= (unsigned char)(1 << bit % 8);
		if (verifies(v)) {
			fail_msg("bit %zu", bit);
		}
		p[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
}

static void
every_bit_counts(void **state)
{
	(void)state;
	struct vector v = standard();
	assert_true(verifies(&v));
	flip_each_bit(&v, v.point, sizeof(v.point));
	flip_each_bit(&v, v.der, v.n);
	flip_each_bit(&v, v.id, strlen(ID));
	flip_each_bit(&v, v.message, strlen(MESSAGE));
	for (size_t n = v.n; n-- > 0;) {
		v.n = n;
		assert_false(verifies(&v));
	}
	sign_as(&v, "3046022100" R "022100" S);
	assert_true(verifies(&v));
}

/* The same numbers in other clothes, and numbers that are none. */
static void
other_encodings(void **state)
{
	static const char *const bad[] = {
		"",
		"30",
		"3000",
		"3006020100020100",	       /* 0, 0 */
		"3026020100022100" S,	       /* r = 0 */
		"3026022100" R "020100",       /* s = 0 */
		"3046022100" ORDER "022100" S, /* r = n */
		"3046022100" R "022100" ORDER, /* s = n */
		"3044"
		"0220" R "0220" S,		      /* negative */
		"3046022100" S "022100" R,	      /* swapped */
		"308146022100" R "022100" S,	      /* long length */
		"30820046022100" R "022100" S,	      /* longer */
		"3080022100" R "022100" S "0000",     /* indefinite */
		"304702220000" R "022100" S,	      /* a zero too many */
		"3046022100" R "022100" S "00",	      /* something behind */
		"3047022100" R "022100" S "00",	      /* something in it */
		"3047022100" R "022100" S,	      /* too short for it */
		"3145022100" R "022100" S,	      /* a set */
		"3046032100" R "022100" S,	      /* a bit string */
		"3046022100" R "042100" S,	      /* an octet string */
		"3069022100" R "022100" S "022100" S, /* three */
		"3023022100" R,			      /* one */
		R S,				      /* plain r and s */
	};
	(void)state;
	struct vector v = standard();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(v.der, 0, sizeof(v.der));
		assert_true(strlen(bad[i]) <= 2 * sizeof(v.der));
		sign_as(&v, bad[i]);
		if (verifies(&v)) {
			fail_msg("encoding %zu", i);
		}
	}
	sign_as(&v, "3046022100" R "022100" S);
	assert_true(verifies(&v));
}

static void
points(void **state)
{
	static const char *const bad[] = {
		"",
		"00",
		"04",
		"0209f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f3"
		"5020", /* compressed */
		"0709f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f3"
		"5020ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072d"
		"a9ad13", /* hybrid */
		POINT "00",
		"0400000000000000000000000000000000000000000000000000000000"
		"0000000000000000000000000000000000000000000000000000000000"
		"00000000000000"};
	unsigned char p[80];
	struct gx_key *k = NULL;
	struct gx_err e;
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t n = bytes(bad[i], p);
		assert_int_equal(
			gx_key_from_point(gx_slice((char *)p, n), &k, &e),
			GX_REJECT);
		assert_string_equal(e.code, "key.point");
		assert_null(k);
	}
	size_t n = bytes(POINT, p);
	assert_int_equal(gx_key_from_point(gx_slice((char *)p, n), &k, &e),
			 GX_OK);
	/* the id of a key is the same however it came */
	unsigned char hash[GX_SM3];
	char id[GX_KID + 1];
	gx_sm3(p, n, hash);
	gx_hex(hash, GX_KID / 2, id);
	assert_string_equal(gx_key_id(k), id);
	gx_key_free(&k);
}

/* Signed here under the agreed id; no other id, nor none, checks it. */
static void
ids(void **state)
{
	static char longest[GX_SM2_ID_MAX + 1];
	const struct gx_slice tried[] = {GX_SLICE("1234567812345678"),
					 GX_SLICE(""),
					 GX_SLICE("1234567812345679"),
					 GX_SLICE("123456781234567"),
					 {longest, GX_SM2_ID_MAX}};
	unsigned char der[GX_SM2_DER_MAX];
	struct gx_key *k = NULL;
	struct gx_err e;
	size_t n = 0;
	(void)state;
	assert_int_equal(gx_key_random(&k, &e), GX_OK);
	assert_int_equal(gx_sm2_sign(k, GX_SLICE("m"), der, &n, &e), GX_OK);
	for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
		struct gx_sm2_check *c = gx_sm2_check_new(k, tried[i]);
		assert_non_null(c);
		gx_sm2_check_add(c, "m", 1);
		assert_int_equal(gx_sm2_check_end(c, der, n), i == 0);
		gx_sm2_check_free(&c);
		assert_null(c);
	}
	assert_null(gx_sm2_check_new(k, gx_slice(longest, sizeof(longest))));
	gx_key_free(&k);
}

static void
hmac_vectors(void **state)
{
	static const char alphabet[] =
		"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
		"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	char key[37], same[50], hex[2 * GX_SM3 + 1];
	const struct {
		struct gx_slice key, message;
		const char *code;
	} vectors[] = {{{key, 32},
			GX_SLICE(alphabet),
			"ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf"
			"7bb408963"
			"a"},
		       {{key, 37},
			{same, 50},
			"220bf579ded555393f0159f66c99877822a3ecf610d1552154b41d"
			"44b94db3a"
			"e"}};
	unsigned char code[GX_SM3];
	(void)state;
	memset(same, 0xcd, sizeof(same));
	for (size_t i = 0; i < sizeof(key); i++) {
		key[i] = (char)(i + 1);
	}
	for (size_t i = 0; i < 2; i++) {
		struct gx_slice msg = vectors[i].message;
		for (size_t cut = 0; cut <= msg.n; cut++) {
			struct gx_sm_hmac *m = gx_sm_hmac_new(vectors[i].key);
			gx_sm_hmac_add(m, msg.p, cut);
			gx_sm_hmac_add(m, msg.p + cut, msg.n - cut);
			gx_sm_hmac_end(m, code);
			gx_sm_hmac_free(&m);
			gx_hex(code, GX_SM3, hex);
			assert_string_equal(hex, vectors[i].code);
		}
	}
}

/* A key of a block is taken as it is, a longer one as its hash, none as zeros;
 * RFC 2104 spelled out. */
static void
hmac_keys(void **state)
{
	char key[140], block[64 + 1], outer[64 + GX_SM3];
	unsigned char inner[GX_SM3], want[GX_SM3], code[GX_SM3];
	(void)state;
	memset(key, 'k', sizeof(key));
	for (size_t n = 0; n <= sizeof(key); n++) {
		memset(block, 0, sizeof(block));
		if (n > 64) {
			gx_sm3(key, n, (unsigned char *)block);
		} else {
			memcpy(block, key, n);
		}
		for (size_t i = 0; i < 64; i++) {
			outer[i] = block[i] ^ 0x5c;
			block[i] ^= 0x36;
		}
		block[64] = 'm';
		gx_sm3(block, 65, inner);
		memcpy(outer + 64, inner, GX_SM3);
		gx_sm3(outer, sizeof(outer), want);
		struct gx_sm_hmac *m =
			gx_sm_hmac_new(gx_slice(n ? key : NULL, n));
		gx_sm_hmac_add(m, "m", 1);
		gx_sm_hmac_end(m, code);
		gx_sm_hmac_free(&m);
		assert_memory_equal(code, want, GX_SM3);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(other_encodings),
		cmocka_unit_test(points),
		cmocka_unit_test(ids),
		cmocka_unit_test(hmac_vectors),
		cmocka_unit_test(hmac_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
