/*
 * Boxes: encrypt, then authenticate (SM4-CTR, HMAC-SM3).
 *
 * A box stands alone: its version, its iv, what is in it and the code over all
 * that.  One secret of the node serves all of them; the key of the cipher and
 * that of the code are drawn from it by HMAC with a word each, so that neither
 * says anything about the other.  The iv is random: with 2^48 boxes under one
 * secret the chance that two of them meet is below 2^-33.
 *
 * The code covers a label that is not kept in the box: whoever opens it says
 * where he found it.  Its length is covered too, so that no byte can move
 * between label and content.  The code is checked first and in constant time;
 * nothing is deciphered of a box that does not hold.
 *
 * Nothing here has a state that a death could leave half done.  It refuses
 * versions that it does not know, and to seal without random bytes.
 */
#include "trust/box.h"

#include <stdint.h>
#include <sys/random.h>

#define VERSION 1

struct gx_box {
	unsigned char cipher_key[GX_SM4];
	unsigned char code_key[GX_SM3];
};

static void
derive(const unsigned char secret[GX_SECRET], const char *word,
       unsigned char *out, size_t n)
{
	unsigned char key[GX_SM3];
	struct gx_sm_hmac *m =
		gx_sm_hmac_new(gx_slice((const char *)secret, GX_SECRET));

	gx_sm_hmac_add(m, word, strlen(word));
	gx_sm_hmac_end(m, key);
	gx_sm_hmac_free(&m);
	memcpy(out, key, n);
	gx_mem_wipe(key, sizeof(key));
}

struct gx_box *
gx_box_new(const unsigned char secret[GX_SECRET])
{
	struct gx_box *box = gx_mem_new(sizeof(*box));

	derive(secret, "gxbus.box.cipher", box->cipher_key, GX_SM4);
	derive(secret, "gxbus.box.code", box->code_key, GX_SM3);
	return box;
}

enum gx_rc
gx_box_load(const char *path, struct gx_box **out, struct gx_err *e)
{
	unsigned char secret[GX_SECRET];
	enum gx_rc rc = gx_secret_load(path, secret, e);

	*out = rc == GX_OK ? gx_box_new(secret) : NULL;
	gx_mem_wipe(secret, sizeof(secret));
	return rc;
}

void
gx_box_free(struct gx_box **box)
{
	if (*box == NULL) {
		return;
	}
	gx_mem_wipe(*box, sizeof(**box));
	gx_mem_free(*box);
	*box = NULL;
}

/* Over the length of the label, the label, and the box up to its code. */
static void
code_of(const struct gx_box *box, struct gx_slice label, const void *p,
	size_t n, unsigned char out[GX_SM3])
{
	struct gx_sm_hmac *m =
		gx_sm_hmac_new(gx_slice((const char *)box->code_key, GX_SM3));
	unsigned char len[8];

	for (size_t i = 0; i < sizeof(len); i++) {
		len[i] = (unsigned char)((uint64_t)label.n >> (56 - 8 * i));
	}
	gx_sm_hmac_add(m, len, sizeof(len));
	gx_sm_hmac_add(m, label.p, label.n);
	gx_sm_hmac_add(m, p, n);
	gx_sm_hmac_end(m, out);
	gx_sm_hmac_free(&m);
}

bool
gx_box_seal(struct gx_box *box, struct gx_slice label, struct gx_slice plain,
	    struct gx_buf *out)
{
	unsigned char head[1 + GX_SM4] = {VERSION}, code[GX_SM3];
	size_t at = out->n;

	if (getrandom(head + 1, GX_SM4, 0) != GX_SM4 ||
	    !gx_buf_put(out, head, sizeof(head)) || !gx_buf_slice(out, plain)) {
		gx_buf_cut(out, at);
		out->failed = true;
		return false;
	}
	if (plain.n > 0) {
		gx_sm4_ctr(box->cipher_key, head + 1, plain.p, plain.n,
			   out->p + at + sizeof(head));
	}
	code_of(box, label, out->p + at, out->n - at, code);
	if (!gx_buf_put(out, code, sizeof(code))) {
		gx_buf_cut(out, at);
		return false;
	}
	return true;
}

bool
gx_box_open(struct gx_box *box, struct gx_slice label, struct gx_slice sealed,
	    struct gx_buf *out)
{
	const unsigned char *p = (const unsigned char *)sealed.p;
	unsigned char code[GX_SM3], differ = 0;
	size_t n, at = out->n;

	if (sealed.n < GX_BOX_EXTRA || p[0] != VERSION) {
		return false;
	}
	n = sealed.n - GX_SM3;
	code_of(box, label, p, n, code);
	for (size_t i = 0; i < GX_SM3; i++) {
		differ |= code[i] ^ p[n + i];
	}
	if (differ != 0) {
		return false;
	}
	n -= 1 + GX_SM4;
	if (!gx_buf_put(out, p + 1 + GX_SM4, n)) {
		return false;
	}
	if (n > 0) {
		gx_sm4_ctr(box->cipher_key, p + 1, p + 1 + GX_SM4, n,
			   out->p + at);
	}
	return true;
}
