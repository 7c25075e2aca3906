/*
 * crypto sm3, hmac-sm3, sm2-verify: the algorithms of the evidence by hand.
 *
 * With these a seal, a receipt or a code of ours can be checked by anybody
 * without trusting more of this program than its arithmetic, and published
 * vectors can be run against it.  The message is standard input or a file, of
 * any length, bytes as they are: an LF at its end belongs to it.
 *
 * sm2-verify wants the distinguishing id each time and has no default.  A
 * signature made under one id is not one under another, and a default that
 * happens to fit would hide that somebody signs without one.
 *
 * An argument that is not hex is a usage error and ends with 2.  A key that is
 * no point of the curve, a signature in another form than strict DER or with
 * numbers outside 1..n-1, or one that does not verify, ends with 10: there is
 * no valid signature.
 *
 * The HMAC key stands on the command line because the contract says so: it is
 * for vectors, not for secrets.  It is wiped here once it is read.
 */
#include "base/text.h"
#include "cli/offline.h"
#include "cli/raw.h"
#include "trust/sm.h"

#include <string.h>

#define ARG_MAX_BYTES (1u << 20)

static int
print_hash(int code, const unsigned char hash[GX_SM3])
{
	char text[2 * GX_SM3 + 1];

	if (code == GX_X_OK) {
		gx_hex(hash, GX_SM3, text);
		puts(text);
	}
	return code;
}

/* Bytes of a hex argument into b, which is made here. */
static int
read_hex(struct gx_buf *b, const struct gx_raw_opt *o)
{
	char what[80];

	gx_buf_init(b, ARG_MAX_BYTES);
	if (gx_raw_unhex(b, o->value)) {
		return GX_X_OK;
	}
	snprintf(what, sizeof what, "--%s must be pairs of hex digits",
		 o->name);
	return gx_raw_fail(GX_X_USAGE, "cli.usage", what, NULL);
}

static bool
take_sm3(void *ctx, const char *p, size_t n)
{
	gx_sm3_add(ctx, p, n);
	return true;
}

int
gx_cmd_crypto_sm3(int argc, char **argv)
{
	struct gx_raw_opt opts[] = {{NULL, NULL, false, false}};
	unsigned char hash[GX_SM3];
	const char *file;
	struct gx_sm3 *h;
	int code = gx_raw_read(argc, argv, opts, &file);

	if (code != GX_X_OK) {
		return code;
	}
	h = gx_sm3_new();
	gx_sm3_begin(h);
	code = gx_raw_pour(file, take_sm3, h);
	gx_sm3_end(h, hash);
	gx_sm3_free(&h);
	return print_hash(code, hash);
}

static bool
take_hmac(void *ctx, const char *p, size_t n)
{
	gx_sm_hmac_add(ctx, p, n);
	return true;
}

/* What "ps" shows of us, from now on. */
static void
wipe_argument(int argc, char **argv, const char *value)
{
	for (int i = 1; i < argc; i++) {
		size_t n = strlen(argv[i]);

		if (value >= argv[i] && value <= argv[i] + n) {
			gx_mem_wipe(argv[i], n);
		}
	}
}

int
gx_cmd_crypto_hmac_sm3(int argc, char **argv)
{
	struct gx_raw_opt opts[] = {{"key", NULL, false, false},
				    {NULL, NULL, false, false}};
	unsigned char hash[GX_SM3];
	const char *file;
	struct gx_sm_hmac *m;
	struct gx_buf key;
	int code = gx_raw_read(argc, argv, opts, &file);

	if (code != GX_X_OK) {
		return code;
	}
	code = read_hex(&key, &opts[0]);
	wipe_argument(argc, argv, opts[0].value);
	if (code == GX_X_OK) {
		m = gx_sm_hmac_new(gx_buf_view(&key));
		code = gx_raw_pour(file, take_hmac, m);
		gx_sm_hmac_end(m, hash);
		gx_sm_hmac_free(&m);
		code = print_hash(code, hash);
	}
	if (key.p != NULL) {
		gx_mem_wipe(key.p, key.cap);
	}
	gx_buf_free(&key);
	return code;
}

/* ctx is NULL where the key is none: the message is read all the same. */
static bool
take_signed(void *ctx, const char *p, size_t n)
{
	struct gx_sm2_check *c = *(struct gx_sm2_check **)ctx;

	if (c != NULL) {
		gx_sm2_check_add(c, p, n);
	}
	return true;
}

static int
verify(struct gx_slice pub, struct gx_slice id, struct gx_slice sig,
       const char *file)
{
	struct gx_sm2_check *c = NULL;
	struct gx_key *k = NULL;
	const char *why = NULL;
	int code;

	if (gx_key_from_point(pub, &k, NULL) != GX_OK) {
		why = "the public key is not a point of the curve";
	} else {
		c = gx_sm2_check_new(k, id);
	}
	code = gx_raw_pour(file, take_signed, &c);
	if (why == NULL &&
	    !gx_sm2_check_end(c, (const unsigned char *)sig.p, sig.n)) {
		why = "this is no signature of the message";
	}
	gx_sm2_check_free(&c);
	gx_key_free(&k);
	if (code != GX_X_OK) {
		return code;
	}
	if (why != NULL) {
		printf("no\t%s\n", why);
		return GX_X_DIFFERS;
	}
	puts("ok");
	return GX_X_OK;
}

int
gx_cmd_crypto_sm2_verify(int argc, char **argv)
{
	struct gx_raw_opt opts[] = {{"pub", NULL, false, false},
				    {"id", NULL, false, false},
				    {"sig", NULL, false, false},
				    {NULL, NULL, false, false}};
	struct gx_buf pub = {0}, sig = {0};
	const char *file;
	int code = gx_raw_read(argc, argv, opts, &file);

	if (code != GX_X_OK) {
		return code;
	}
	if (strlen(opts[1].value) > GX_SM2_ID_MAX) {
		return gx_raw_fail(GX_X_USAGE, "cli.usage",
				   "--id is longer than 8190 bytes", NULL);
	}
	code = read_hex(&pub, &opts[0]);
	if (code == GX_X_OK) {
		code = read_hex(&sig, &opts[2]);
	}
	if (code == GX_X_OK) {
		code = verify(gx_buf_view(&pub), gx_slice_str(opts[1].value),
			      gx_buf_view(&sig), file);
	}
	gx_buf_free(&pub);
	gx_buf_free(&sig);
	return code;
}
