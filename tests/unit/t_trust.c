/*
 * SM2, SM3, Merkle and seal.  Outside vectors: GB/T 32905 A.1, A.2 and the
 * signature of GB/T 32918.5 A.2.  A sealed message is then changed in every
 * bit and cut at every byte, and each of these must be refused by the parser
 * or the seal's check; the untouched one passes as the control.
 */
#include "trust/seal.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define STREAM "/450100/hrss/social/social.insured/0"
#define AT "2026-11-24T17:00:00.000+08:00"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static void
assert_hash(const unsigned char *hash, const char *hex)
{
	char got[2 * GX_SM3 + 1];
	gx_hex(hash, GX_SM3, got);
	assert_string_equal(got, hex);
}

static void
sm3_vectors(void **state)
{
	(void)state;
	unsigned char h[GX_SM3], again[GX_SM3];
	char big[1000];
	gx_sm3("abc", 3, h);
	assert_hash(h, "66c7f0f462eeedd9d1f2d46bdc10e4e2"
		       "4167c4875cf2f7a2297da02b8f4ba8e0");
	for (size_t i = 0; i < 64; i++) {
		big[i] = (char)('a' + i % 4);
	}
	gx_sm3(big, 64, h);
	assert_hash(h, "debe9ff92275b8a138604889c18e5a4d"
		       "6fdb70e5387e5765293dcba39c0c5732");
	memset(big, 'x', sizeof(big));
	struct gx_sm3 *s = gx_sm3_new();
	for (size_t n = 0; n <= 300; n++) {
		gx_sm3(big, n, h);
		gx_sm3_begin(s);
		gx_sm3_add(s, big, n / 3);
		gx_sm3_add(s, big, n - n / 3);
		gx_sm3_end(s, again);
		assert_memory_equal(h, again, GX_SM3);
	}
	gx_sm3_free(&s);
}

/* RFC 6962 2.1, word for word. */
static void
slow_root(const char *p, size_t n, unsigned char out[GX_SM3])
{
	unsigned char both[1 + 2 * GX_SM3] = {1};
	size_t k = 1;
	if (n == 0) {
		gx_sm3("", 0, out);
		return;
	}
	if (n == 1) {
		char leaf[2] = {0, p[0]};
		gx_sm3(leaf, 2, out);
		return;
	}
	while (k * 2 < n) {
		k *= 2;
	}
	slow_root(p, k, both + 1);
	slow_root(p + k, n - k, both + 1 + GX_SM3);
	gx_sm3(both, sizeof(both), out);
}

static void
merkle_is_the_rfc(void **state)
{
	(void)state;
	unsigned char want[GX_SM3], got[GX_SM3];
	char p[130];
	for (size_t i = 0; i < sizeof(p); i++) {
		p[i] = (char)i;
	}
	struct gx_merkle *m = gx_merkle_new();
	for (size_t n = 0; n <= sizeof(p); n++) {
		gx_merkle_begin(m);
		for (size_t i = 0; i < n; i++) {
			gx_merkle_add(m, gx_slice(p + i, 1));
		}
		gx_merkle_root(m, got);
		slow_root(p, n, want);
		assert_memory_equal(got, want, GX_SM3);
	}
	gx_merkle_free(&m);
}

static void
temp_path(char *path, size_t n, const char *dir, const char *file)
{
	assert_true((size_t)snprintf(path, n, "%s/%s", dir, file) < n);
}

/* Public point of GB/T 32918.5 A.2 as a PEM file. */
static struct gx_key *
standard_key(const char *dir)
{
	static const char spki[] =
		"3059301306072a8648ce3d020106082a811ccf5501822d034200"
		"0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356"
		"f35020ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6"
		"072da9ad13";
	unsigned char der[91];
	char b64[200], path[200];
	struct gx_key *k = NULL;
	struct gx_err e;
	assert_true(gx_unhex(spki, sizeof(spki) - 1, der, sizeof(der)));
	size_t n = gx_base64(der, sizeof(der), b64, sizeof(b64));
	temp_path(path, sizeof(path), dir, "std.pem");
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "-----BEGIN PUBLIC KEY-----\n%.64s\n%.*s\n", b64,
		(int)(n - 64), b64 + 64);
	fprintf(f, "-----END PUBLIC KEY-----\n");
	fclose(f);
	assert_int_equal(gx_key_load_public(path, &k, &e), GX_OK);
	unlink(path);
	return k;
}

static void
standard_signature(void **state)
{
	char dir[] = "/tmp/gx_trust_XXXXXX";
	(void)state;
	static const char sig[] =
		"3046022100f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac"
		"7eaceee720b3022100b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f"
		"42d4840b69c485bbc1aa";
	unsigned char der[72], bad[80];
	struct gx_slice msg = GX_SLICE("message digest");
	assert_non_null(mkdtemp(dir));
	struct gx_key *k = standard_key(dir);
	assert_true(gx_unhex(sig, sizeof(sig) - 1, der, sizeof(der)));
	assert_true(gx_sm2_verify(k, msg, der, sizeof(der)));
	assert_false(gx_sm2_verify(k, GX_SLICE("message digesT"), der, 72));
	/* the same numbers in other clothes */
	memcpy(bad, der, 72);
	bad[72] = 0;
	assert_false(gx_sm2_verify(k, msg, bad, 73));
	memcpy(bad, "\x30\x81\x46", 3);
	memcpy(bad + 3, der + 2, 70);
	assert_false(gx_sm2_verify(k, msg, bad, 73));
	memcpy(bad, "\x30\x47\x02\x22\x00", 5);
	memcpy(bad + 5, der + 4, 68);
	assert_false(gx_sm2_verify(k, msg, bad, 73));
	for (size_t n = 0; n < 72; n++) {
		assert_false(gx_sm2_verify(k, msg, der, n));
	}
	gx_key_free(&k);
	rmdir(dir);
}

static void
key_files(void **state)
{
	char dir[] = "/tmp/gx_trust_XXXXXX", path[200], pub[200];
	struct gx_key *a = NULL, *b = NULL;
	unsigned char der[GX_SM2_DER_MAX];
	size_t n = 0;
	struct gx_err e;
	struct stat st;
	(void)state;
	assert_non_null(mkdtemp(dir));
	temp_path(path, sizeof(path), dir, "k");
	temp_path(pub, sizeof(pub), dir, "k.pub");
	assert_int_equal(gx_key_make(path, &e), GX_OK);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(gx_key_make(path, &e), GX_FATAL);
	assert_string_equal(e.code, "key.make");
	assert_int_equal(gx_key_load_private(path, &a, &e), GX_OK);
	assert_int_equal(gx_key_load_public(pub, &b, &e), GX_OK);
	assert_string_equal(gx_key_id(a), gx_key_id(b));
	assert_int_equal(gx_sm2_sign(a, GX_SLICE("m"), der, &n, &e), GX_OK);
	assert_true(gx_sm2_verify(b, GX_SLICE("m"), der, n));
	assert_int_equal(gx_sm2_sign(b, GX_SLICE("m"), der, &n, &e), GX_FATAL);
	gx_key_free(&a);
	gx_key_free(&b);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(gx_key_load_private(path, &a, &e), GX_FATAL);
	assert_string_equal(e.code, "key.mode");
	assert_null(a);
	if (geteuid() == 0) { /* only root can give it away */
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
		assert_int_equal(gx_key_load_private(path, &a, &e), GX_FATAL);
		assert_string_equal(e.code, "key.owner");
		assert_non_null(strstr(e.text, "run it as that user"));
		assert_null(a);
		assert_int_equal(chown(path, 0, (gid_t)-1), 0);
	}
	assert_int_equal(gx_key_load_private(dir, &a, &e), GX_FATAL);
	assert_string_equal(e.code, "key.open");
	assert_int_equal(gx_key_load_public(path, &a, &e), GX_FATAL);
	assert_string_equal(e.code, "key.bad");
	unlink(path);
	unlink(pub);
	rmdir(dir);
}

struct world {
	struct gx_key *key; /* lent by the ring of 450100 */
	struct gx_keyring *ring;
	struct gx_sealer *sealer;
	struct gx_verifier *verifier;
	struct gx_buf msg;
	unsigned char head[GX_HASH];
};

static void
open_world(struct world *w)
{
	struct gx_err e;
	struct gx_key *k = NULL;
	assert_int_equal(gx_key_random(&k, &e), GX_OK);
	w->key = k;
	w->ring = gx_keyring_new();
	gx_keyring_add(w->ring, "450100", &k);
	w->sealer = gx_sealer_new(w->key);
	w->verifier = gx_verifier_new(w->ring);
	gx_buf_init(&w->msg, GX_BATCH_MAX);
}

static void
close_world(struct world *w)
{
	gx_verifier_free(&w->verifier);
	gx_sealer_free(&w->sealer);
	gx_keyring_free(&w->ring);
	gx_buf_free(&w->msg);
}

static void
seal_one(struct world *w, const char *stream, bool marker)
{
	static const struct gx_slice body = {
		"{\"op\":\"u\",\"k\":[\"1\"],\"t\":\"" AT
		"\",\"d\":{\"a\":1}}\n"
		"{\"op\":\"d\",\"k\":[\"1\"],\"t\":\"" AT "\"}\n"
		"{\"op\":\"end\",\"t\":\"" AT "\"}\n",
		0};
	struct gx_err e;
	struct gx_head h = {
		.stream = gx_slice_str(stream),
		.epoch = 7,
		.writer = 0xf123456789abcdefull,
		.first = 1,
		.n = 3,
		.at = gx_slice_str(AT),
		.schema = gx_slice_str("social.insured@1:" ZEROS),
		.src = gx_slice_str("{\"cdc\":\"0/16B3748\",\"x\":[1,null]}"),
		.streams = gx_slice_str("[\"" STREAM "\"]")};
	if (marker) {
		assert_int_equal(gx_seal_marker(w->sealer, &h, &w->msg, &e),
				 GX_OK);
	} else {
		assert_int_equal(gx_seal_batch(w->sealer, &h,
					       gx_slice_str(body.p), &w->msg,
					       w->head, &e),
				 GX_OK);
	}
}

static bool
is_good(struct world *w, struct gx_slice msg)
{
	struct gx_head h;
	unsigned char head[GX_HASH];
	return !gx_head_parse(msg, &h) &&
	       gx_seal_check(w->verifier, &h, true, head) == GX_SEAL_GOOD;
}

static void
every_change_is_refused(void **state)
{
	struct world w;
	(void)state;
	open_world(&w);
	for (int marker = 0; marker <= 1; marker++) {
		seal_one(&w, marker ? "/450100/hrss/social" : STREAM, marker);
		struct gx_slice msg = gx_buf_view(&w.msg);
		assert_true(is_good(&w, msg));
		for (size_t i = 0; i < msg.n * 8; i++) {
			w.msg.p[i / 8] ^= (char)(1 << i % 8);
			if (is_good(&w, msg)) {
				fail_msg("bit %zu of %d", i, marker);
			}
			w.msg.p[i / 8] ^= (char)(1 << i % 8);
		}
		for (size_t n = 0; n < msg.n; n++) {
			assert_false(is_good(&w, gx_slice(msg.p, n)));
		}
		assert_true(is_good(&w, msg));
		gx_buf_putc(&w.msg, '\n');
		assert_false(is_good(&w, gx_buf_view(&w.msg)));
	}
	close_world(&w);
}

static enum gx_seal
verdict(struct world *w, const struct gx_keyring *ring, const char *stream)
{
	struct gx_head h;
	unsigned char head[GX_HASH];
	seal_one(w, stream, false);
	assert_null(gx_head_parse(gx_buf_view(&w->msg), &h));
	struct gx_verifier *v = gx_verifier_new(ring);
	enum gx_seal s = gx_seal_check(v, &h, true, head);
	assert_memory_equal(head, w->head, GX_HASH);
	gx_verifier_free(&v);
	return s;
}

static void
who_may_seal(void **state)
{
	struct world w, other;
	(void)state;
	open_world(&w);
	open_world(&other);
	assert_int_equal(verdict(&w, w.ring, STREAM), GX_SEAL_GOOD);
	assert_int_equal(verdict(&w, w.ring, "/4501/a/b/c.d/0"),
			 GX_SEAL_NOT_ALLOWED);
	assert_int_equal(verdict(&w, w.ring, "/450100-p01/a/b/c.d/0"),
			 GX_SEAL_NOT_ALLOWED);
	assert_int_equal(verdict(&w, other.ring, STREAM), GX_SEAL_UNKNOWN_KEY);
	close_world(&other);
	close_world(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sm3_vectors),
		cmocka_unit_test(merkle_is_the_rfc),
		cmocka_unit_test(standard_signature),
		cmocka_unit_test(key_files),
		cmocka_unit_test(every_change_is_refused),
		cmocka_unit_test(who_may_seal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
