/*
 * Seal: who made a batch or marker, and that nothing of it has changed.
 *
 * A sealer belongs to one thread and borrows the node's key.  It computes the
 * root over the lines, writes the header, signs it, and reads its own message
 * back with the reader's parser before handing it out: what our own reader
 * would refuse must not enter a log that cannot be corrected.
 *
 * A keyring holds the public keys of the nodes that are believed, each with
 * the one node it speaks for.  It does not change after it is loaded, so
 * verifiers of several threads share it; to believe another key the daemon
 * loads a new ring.  A key that is not there is no forgery: the caller waits.
 * The right to seal comes from the stream's first part and the ring, from
 * nothing in the message.
 *
 * Verdicts are made anew for each message.  Nothing here writes; if we die on
 * any line no one has seen a half-sealed message.
 */
#include "trust/seal.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>

struct gx_sealer {
	struct gx_key *key; /* lent */
	struct gx_merkle *merkle;
};

struct member {
	struct member *next;
	struct gx_key *key;
	char node[33];
};

struct gx_keyring {
	struct member *first;
};

struct gx_verifier {
	const struct gx_keyring *ring; /* lent */
	struct gx_merkle *merkle;
	struct gx_sm3 *hash;
};

struct gx_sealer *
gx_sealer_new(struct gx_key *private_key)
{
	struct gx_sealer *s = gx_mem_new(sizeof(*s));
	s->key = private_key;
	s->merkle = gx_merkle_new();
	return s;
}

void
gx_sealer_free(struct gx_sealer **s)
{
	if (!*s) {
		return;
	}
	gx_merkle_free(&(*s)->merkle);
	gx_mem_free(*s);
	*s = NULL;
}

static void
body_root(struct gx_merkle *m, struct gx_slice body,
	  unsigned char root[GX_HASH])
{
	gx_merkle_begin(m);
	gx_merkle_body(m, body);
	gx_merkle_root(m, root);
}

/* Header, signature and body into out, then read back. */
static enum gx_rc
seal(struct gx_sealer *s, struct gx_head *h, struct gx_slice body,
     struct gx_buf *out, struct gx_slice *signed_bytes, struct gx_err *e)
{
	unsigned char der[GX_SM2_DER_MAX];
	struct gx_head check;
	size_t n = 0;
	h->kid = gx_slice(gx_key_id(s->key), GX_KID);
	gx_buf_reset(out);
	if (!gx_head_put_unsigned(out, h)) {
		return GX_ERR(e, GX_REJECT, "seal.size",
			      "header does not fit; use shorter positions");
	}
	enum gx_rc rc = gx_sm2_sign(s->key, gx_buf_view(out), der, &n, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (!gx_head_put_sig(out, der, n) || !gx_buf_slice(out, body)) {
		return GX_ERR(e, GX_REJECT, "seal.size",
			      "message above %zu bytes; seal fewer lines",
			      out->max);
	}
	const char *why = gx_head_parse(gx_buf_view(out), &check);
	if (why) {
		return GX_ERR(e, GX_FATAL, "seal.form",
			      "our own message is malformed at %s; nothing "
			      "was sent, report it",
			      why);
	}
	*signed_bytes = check.signed_bytes;
	return GX_OK;
}

enum gx_rc
gx_seal_batch(struct gx_sealer *s, struct gx_head *h, struct gx_slice body,
	      struct gx_buf *out, unsigned char head_hash[GX_HASH],
	      struct gx_err *e)
{
	struct gx_slice bytes;
	h->kind = GX_MSG_BATCH;
	body_root(s->merkle, body, h->root);
	enum gx_rc rc = seal(s, h, body, out, &bytes, e);
	if (rc == GX_OK) {
		gx_sm3(bytes.p, bytes.n, head_hash);
	}
	return rc;
}

enum gx_rc
gx_seal_marker(struct gx_sealer *s, struct gx_head *h, struct gx_buf *out,
	       struct gx_err *e)
{
	struct gx_slice bytes;
	h->kind = GX_MSG_MARKER;
	return seal(s, h, GX_SLICE(""), out, &bytes, e);
}

struct gx_keyring *
gx_keyring_new(void)
{
	return gx_mem_new(sizeof(struct gx_keyring));
}

void
gx_keyring_add(struct gx_keyring *r, const char *node, struct gx_key **k)
{
	struct member *m = gx_mem_new(sizeof(*m));
	size_t n = strlen(node);
	GX_ASSERT(n > 0 && n < sizeof(m->node));
	memcpy(m->node, node, n);
	m->key = *k;
	*k = NULL;
	m->next = r->first;
	r->first = m;
}

void
gx_keyring_free(struct gx_keyring **r)
{
	if (!*r) {
		return;
	}
	while ((*r)->first) {
		struct member *m = (*r)->first;
		(*r)->first = m->next;
		gx_key_free(&m->key);
		gx_mem_free(m);
	}
	gx_mem_free(*r);
	*r = NULL;
}

/* The node a file speaks for: 1 yes, 0 not a key file, -1 a bad name. */
static int
node_of_file(const char *file, char node[33])
{
	size_t n = strlen(file);
	if (file[0] == '.' || n < 4 || strcmp(file + n - 4, ".pem") != 0) {
		return 0;
	}
	n = strcspn(file, ".");
	if (n == 0 || n > 32 ||
	    strspn(file, "abcdefghijklmnopqrstuvwxyz0123456789-") < n) {
		return -1;
	}
	memcpy(node, file, n);
	node[n] = '\0';
	return 1;
}

static enum gx_rc
load_one(struct gx_keyring *r, const char *dir, const char *file,
	 struct gx_err *e)
{
	char path[PATH_MAX], node[33];
	struct gx_key *k = NULL;
	int kind = node_of_file(file, node);
	if (kind == 0) {
		return GX_OK;
	}
	int n = snprintf(path, sizeof(path), "%s/%s", dir, file);
	if (kind < 0 || n < 0 || (size_t)n >= sizeof(path)) {
		return GX_ERR(e, GX_FATAL, "key.name",
			      "a key file is not named <node>.pem; rename it");
	}
	enum gx_rc rc = gx_key_load_public(path, &k, e);
	if (rc != GX_OK) {
		gx_err_note(e, "key of node %s", node);
		return rc;
	}
	gx_keyring_add(r, node, &k);
	return GX_OK;
}

enum gx_rc
gx_keyring_load(const char *dir, struct gx_keyring **out, struct gx_err *e)
{
	*out = NULL;
	DIR *d = opendir(dir);
	if (!d) {
		return GX_ERR(e, GX_FATAL, "key.open",
			      "folder of public keys: %s; check path and mode",
			      strerror(errno));
	}
	struct gx_keyring *r = gx_keyring_new();
	enum gx_rc rc = GX_OK;
	while (rc == GX_OK) {
		errno = 0;
		const struct dirent *f = readdir(d);
		if (!f) {
			if (errno != 0) {
				rc = GX_ERR(e, GX_FATAL, "key.open",
					    "folder of public keys: %s; check "
					    "the disk",
					    strerror(errno));
			}
			break;
		}
		rc = load_one(r, dir, f->d_name, e);
	}
	closedir(d);
	if (rc != GX_OK) {
		gx_keyring_free(&r);
	}
	*out = r;
	return rc;
}

struct gx_verifier *
gx_verifier_new(const struct gx_keyring *lent)
{
	struct gx_verifier *v = gx_mem_new(sizeof(*v));
	v->ring = lent;
	v->merkle = gx_merkle_new();
	v->hash = gx_sm3_new();
	return v;
}

void
gx_verifier_free(struct gx_verifier **v)
{
	if (!*v) {
		return;
	}
	gx_merkle_free(&(*v)->merkle);
	gx_sm3_free(&(*v)->hash);
	gx_mem_free(*v);
	*v = NULL;
}

/* The node of "/<node>/..."; empty if it is no such name. */
static struct gx_slice
maker(struct gx_slice stream)
{
	const char *end = stream.n > 1 && stream.p[0] == '/'
				  ? memchr(stream.p + 1, '/', stream.n - 1)
				  : NULL;
	return end ? gx_slice(stream.p + 1, (size_t)(end - stream.p - 1))
		   : GX_SLICE("");
}

struct gx_key *
gx_keyring_find(const struct gx_keyring *r, struct gx_slice kid,
		struct gx_slice node, bool *allowed)
{
	struct gx_key *found = NULL;
	*allowed = false;
	for (const struct member *m = r->first; m && !*allowed; m = m->next) {
		if (kid.n == GX_KID &&
		    memcmp(gx_key_id(m->key), kid.p, GX_KID) == 0) {
			found = m->key;
			*allowed = gx_slice_eq(node, gx_slice_str(m->node));
		}
	}
	return found;
}

enum gx_seal
gx_seal_check(struct gx_verifier *v, const struct gx_head *h, bool with_leaves,
	      unsigned char head_hash[GX_HASH])
{
	unsigned char root[GX_HASH];
	bool allowed = false;
	gx_sm3_begin(v->hash);
	gx_sm3_add(v->hash, h->signed_bytes.p, h->signed_bytes.n);
	gx_sm3_end(v->hash, head_hash);
	struct gx_key *k =
		gx_keyring_find(v->ring, h->kid, maker(h->stream), &allowed);
	if (!k) {
		return GX_SEAL_UNKNOWN_KEY;
	}
	if (!allowed) {
		return GX_SEAL_NOT_ALLOWED;
	}
	if (!gx_sm2_verify(k, h->signed_bytes, h->sig, h->sig_n)) {
		return GX_SEAL_FORGED;
	}
	if (with_leaves && h->kind == GX_MSG_BATCH) {
		body_root(v->merkle, h->body, root);
		if (memcmp(root, h->root, GX_HASH) != 0) {
			return GX_SEAL_FORGED;
		}
	}
	return GX_SEAL_GOOD;
}
