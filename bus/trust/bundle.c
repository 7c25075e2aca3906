/*
 * Evidence bundle: written by a node that is asked, checked by anybody.
 *
 * The check needs nothing but the text: no node, no clock, no file.  It goes
 * over the text once, line by line and strictly in order, and each line must
 * be the one that can stand there: keys, headers that continue one another,
 * below each header the records asked for with their paths to its root, at
 * the end the receipts, whose heads must be among the headers.  Hashes are
 * compared on the way.  Signatures, which cost a thousand times more, come
 * after that, in the same order, and the giver's at the very end, so that the
 * first thing named is the thing that is wrong.
 *
 * Why nothing can be changed: a record is bound to the root by its path, the
 * root to the header by the signature, each header to the next by its head
 * hash and, where there is a receipt, the last to that by its head.  A key is
 * bound to its id by its hash, to its node by what it signed: a stream's
 * batches count only from the node the stream begins with, a receipt only from
 * its sink.  The claim names every count, so nothing can be cut off at a seam;
 * and the node that gives the bundle signs it as a whole, so that nobody on the
 * way can put an older receipt in the place of a newer one.  That signature
 * proves nothing about the records: a giver who lies fails all the rest.
 *
 * What a good bundle says, and no more: the maker sealed these records at
 * these places; each sink named has taken the history up to its receipt, which
 * contains them, and has set that many lines of all of it aside.  A receipt
 * whose aside is 0, or whose aside_seq names the record, settles it for that
 * record too.  A refusal proves no record and has no place here.
 *
 * Limits bound the work: what a stranger sends is parsed with no more than a
 * fixed structure and one array of as many headers as it claims.
 */
#include "trust/bundle.h"

#include "base/text.h"
#include "record/cursor.h"

struct link {
	struct gx_head head;
	unsigned char hash[GX_HASH];
};

struct walk {
	struct gx_slice text;
	size_t at;
	struct gx_bundle *b;
	struct link *links;
	size_t n_links;
	size_t n_needed; /* links that a record or receipt needs */
	uint64_t next;	 /* seq of the next record */
	struct gx_merkle *merkle;
	struct gx_slice giver_kid, giver_signed;
	unsigned char giver_text[GX_SM3]; /* of the lines before, he says */
	size_t giver_at;
	unsigned char giver_sig[GX_SIG_MAX];
	size_t giver_sig_n;
};

/* ---- writing ---- */

static void
put_text(struct gx_buf *b, const char *open, struct gx_slice s)
{
	gx_buf_puts(b, open);
	gx_buf_slice(b, s);
}

bool
gx_bundle_put_claim(struct gx_buf *b, const struct gx_bundle *what)
{
	put_text(b, "{\"v\":\"gxbus.bundle.1\",\"stream\":\"", what->stream);
	return gx_buf_printf(b,
			     "\",\"first\":%llu,\"n\":%llu,\"keys\":%llu,"
			     "\"headers\":%llu,\"receipts\":%llu}\n",
			     (unsigned long long)what->first,
			     (unsigned long long)what->n,
			     (unsigned long long)what->n_keys,
			     (unsigned long long)what->n_headers,
			     (unsigned long long)what->n_receipts);
}

bool
gx_bundle_put_key(struct gx_buf *b, struct gx_slice node,
		  const struct gx_key *k)
{
	char point[2 * GX_POINT + 1];
	gx_hex(gx_key_point(k), GX_POINT, point);
	put_text(b, "{\"v\":\"gxbus.key.1\",\"node\":\"", node);
	return gx_buf_printf(b, "\",\"kid\":\"%s\",\"point\":\"%s\"}\n",
			     gx_key_id(k), point);
}

static void
put_proof(struct gx_buf *b, uint64_t seq, const struct gx_merkle_tree *tree,
	  size_t leaf)
{
	unsigned char path[GX_PATH_MAX][GX_SM3];
	char hex[2 * GX_SM3 + 1];
	size_t n = gx_merkle_path(tree, leaf, path);
	gx_buf_printf(b, "{\"v\":\"gxbus.proof.1\",\"seq\":%llu,\"path\":[",
		      (unsigned long long)seq);
	for (size_t i = 0; i < n; i++) {
		gx_hex(path[i], GX_SM3, hex);
		gx_buf_printf(b, "%s\"%s\"", i ? "," : "", hex);
	}
	gx_buf_puts(b, "]}\n");
}

/* Records of the batch that are asked for. */
static bool
put_records(struct gx_buf *b, const struct gx_bundle *what,
	    const struct gx_head *h)
{
	struct gx_merkle_tree *tree = gx_merkle_tree_new(h->body);
	struct gx_slice line;
	size_t at = 0;
	if (!tree) {
		return false;
	}
	for (size_t i = 0; gx_body_next(h->body, &at, &line); i++) {
		uint64_t seq = h->first + i;
		if (seq >= what->first && seq - what->first < what->n) {
			put_proof(b, seq, tree, i);
			gx_buf_slice(b, line);
			gx_buf_putc(b, '\n');
		}
	}
	gx_merkle_tree_free(&tree);
	return !b->failed;
}

bool
gx_bundle_put_batch(struct gx_buf *b, const struct gx_bundle *what,
		    const struct gx_head *h, struct gx_slice msg)
{
	gx_buf_put(b, msg.p, (size_t)(h->body.p - msg.p));
	if (h->first - what->first >= what->n &&
	    what->first - h->first >= h->n) { /* no record of it is asked */
		return !b->failed;
	}
	return put_records(b, what, h);
}

enum gx_rc
gx_bundle_close(struct gx_buf *b, struct gx_slice node, struct gx_slice at,
		struct gx_key *k, struct gx_err *e)
{
	unsigned char hash[GX_SM3], der[GX_SM2_DER_MAX];
	char hex[2 * GX_SM2_DER_MAX + 1];
	size_t start = b->n, n = 0;
	gx_sm3(gx_buf_view(b).p, start, hash);
	gx_hex(hash, sizeof(hash), hex);
	put_text(b, "{\"v\":\"gxbus.export.1\",\"node\":\"", node);
	put_text(b, "\",\"at\":\"", at);
	gx_buf_printf(b,
		      "\",\"text\":\"%s\",\"alg\":\"SM2-SM3\",\"kid\":\"%s\"",
		      hex, gx_key_id(k));
	if (b->failed) {
		return GX_ERR(e, GX_REJECT, "bundle.size",
			      "evidence above %zu bytes", b->max);
	}
	enum gx_rc rc = gx_sm2_sign(k, gx_slice(b->p + start, b->n - start),
				    der, &n, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_hex(der, n, hex);
	if (!gx_buf_printf(b, ",\"sig\":\"%s\"}\n", hex)) {
		return GX_ERR(e, GX_REJECT, "bundle.size",
			      "evidence above %zu bytes", b->max);
	}
	return GX_OK;
}

/* ---- reading ---- */

/* The next line, without its LF. */
static bool
next_line(struct walk *w, struct gx_slice *line)
{
	const char *p = w->text.p + w->at;
	size_t left = w->text.n - w->at;
	const char *end = left ? memchr(p, '\n', left) : NULL;
	w->b->line++;
	if (!end) {
		return false;
	}
	*line = gx_slice(p, (size_t)(end - p));
	w->at += line->n + 1;
	return true;
}

static bool
take_number(struct gx_cursor *c, const char *lit, uint64_t max, uint64_t *out)
{
	return gx_cursor_lit(c, lit) && gx_cursor_u64(c, max, out);
}

static const char *
take_claim(struct walk *w)
{
	struct gx_bundle *b = w->b;
	struct gx_stream_name name;
	struct gx_cursor c = {.at = 0};
	if (!next_line(w, &c.s) ||
	    !gx_cursor_lit(&c, "{\"v\":\"gxbus.bundle.1\",\"stream\":\"") ||
	    !gx_cursor_text(&c, GX_STREAM_MAX, &b->stream) ||
	    !gx_stream_parse(b->stream, &name) ||
	    !take_number(&c, ",\"first\":", GX_SEQ_MAX, &b->first) ||
	    !take_number(&c, ",\"n\":", GX_BUNDLE_LINES, &b->n) ||
	    !take_number(&c, ",\"keys\":", GX_BUNDLE_KEYS, &b->n_keys) ||
	    !take_number(&c, ",\"headers\":", GX_BUNDLE_HEADERS,
			 &b->n_headers) ||
	    !take_number(&c, ",\"receipts\":", GX_BUNDLE_RECEIPTS,
			 &b->n_receipts) ||
	    !gx_cursor_lit(&c, "}") || c.at != c.s.n) {
		return "not the first line of a bundle";
	}
	if (b->first == 0 || b->n == 0 || b->n_headers == 0 ||
	    b->n - 1 > GX_SEQ_MAX - b->first) {
		return "the claim names no record";
	}
	w->next = b->first;
	return NULL;
}

static int
compare(struct gx_slice a, struct gx_slice b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static const char *
take_key(struct walk *w, struct gx_bundle_key *k)
{
	unsigned char hash[GX_SM3];
	char id[GX_KID + 1];
	struct gx_cursor c = {.at = 0};
	if (!next_line(w, &c.s) ||
	    !gx_cursor_lit(&c, "{\"v\":\"gxbus.key.1\",\"node\":\"") ||
	    !gx_cursor_node(&c, &k->node) ||
	    !gx_cursor_lit(&c, ",\"kid\":\"") ||
	    !gx_cursor_text(&c, GX_KID, &k->kid) ||
	    !gx_cursor_lit(&c, ",\"point\":\"") ||
	    !gx_cursor_hex(&c, k->point, GX_POINT) || !gx_cursor_lit(&c, "}") ||
	    c.at != c.s.n) {
		return "not a key";
	}
	gx_sm3(k->point, GX_POINT, hash);
	gx_hex(hash, GX_KID / 2, id);
	if (!gx_slice_eq(k->kid, gx_slice_str(id))) {
		return "a key is not the one of its id";
	}
	return NULL;
}

static const char *
take_keys(struct walk *w)
{
	struct gx_bundle_key *k = w->b->keys;
	for (size_t i = 0; i < w->b->n_keys; i++) {
		const char *why = take_key(w, &k[i]);
		int order =
			why || i == 0 ? -1 : compare(k[i - 1].node, k[i].node);
		if (why) {
			return why;
		}
		if (order > 0 ||
		    (order == 0 && compare(k[i - 1].kid, k[i].kid) >= 0)) {
			return "keys are not in order";
		}
	}
	return NULL;
}

/* Nodes of a path behind `"path":[`, up to and with the bracket. */
static bool
take_path(struct gx_cursor *c, unsigned char (*nodes)[GX_SM3], size_t *n)
{
	*n = 0;
	while (!gx_cursor_lit(c, "]")) {
		if (*n == GX_PATH_MAX || (*n && !gx_cursor_lit(c, ",")) ||
		    !gx_cursor_lit(c, "\"") ||
		    !gx_cursor_hex(c, nodes[*n], GX_SM3)) {
			return false;
		}
		(*n)++;
	}
	return true;
}

/* One record of the batch, and its path to the batch's root. */
static const char *
take_record(struct walk *w, const struct gx_head *h)
{
	unsigned char nodes[GX_PATH_MAX][GX_SM3], leaf[GX_SM3];
	struct gx_slice proof[GX_PATH_MAX], line;
	struct gx_inclusion p = {
		.leaf = w->next - h->first,
		.size = h->n,
		.leaf_hash = gx_slice((const char *)leaf, GX_SM3),
		.root = gx_slice((const char *)h->root, GX_SM3),
		.proof = proof};
	struct gx_cursor c = {.at = 0};
	uint64_t seq = 0;
	if (!next_line(w, &c.s) ||
	    !take_number(&c, "{\"v\":\"gxbus.proof.1\",\"seq\":", GX_SEQ_MAX,
			 &seq) ||
	    seq != w->next || !gx_cursor_lit(&c, ",\"path\":[") ||
	    !take_path(&c, nodes, &p.n_proof) || !gx_cursor_lit(&c, "}") ||
	    c.at != c.s.n) {
		return "not the path of the next record";
	}
	if (!next_line(w, &line)) {
		return "the record is missing";
	}
	for (size_t i = 0; i < p.n_proof; i++) {
		proof[i] = gx_slice((const char *)nodes[i], GX_SM3);
	}
	gx_merkle_begin(w->merkle); /* the tree of one leaf is its hash */
	gx_merkle_add(w->merkle, line);
	gx_merkle_root(w->merkle, leaf);
	w->next++;
	return gx_merkle_check_inclusion(&gx_merkle_sm3, &p)
		       ? "the record is not in its batch"
		       : NULL;
}

/* Is h the batch that comes after the one before? */
static bool
continues(const struct link *before, const struct gx_head *h)
{
	const struct gx_head *b = &before->head;
	return h->first == b->first + b->n && h->partition == b->partition &&
	       memcmp(h->prev, before->hash, GX_HASH) == 0 &&
	       (h->epoch > b->epoch ||
		(h->epoch == b->epoch && h->writer == b->writer));
}

static const char *
take_header(struct walk *w)
{
	struct link *l = &w->links[w->n_links];
	struct gx_head *h = &l->head;
	struct gx_slice line;
	if (!next_line(w, &line) ||
	    gx_head_parse_line(gx_slice(line.p, line.n + 1), h) != NULL) {
		return "not the header of a batch";
	}
	if (!gx_slice_eq(h->stream, w->b->stream)) {
		return "a batch of another stream";
	}
	if (w->n_links > 0 ? !continues(l - 1, h)
			   : w->next < h->first || w->next - h->first >= h->n) {
		return w->n_links ? "a batch that does not follow"
				  : "a batch without the first record";
	}
	gx_sm3(h->signed_bytes.p, h->signed_bytes.n, l->hash);
	w->n_links++;
	return NULL;
}

static const char *
take_batches(struct walk *w)
{
	uint64_t end = w->b->first + w->b->n;
	const char *why = NULL;
	while (!why && w->n_links < w->b->n_headers) {
		const struct gx_head *h = &w->links[w->n_links].head;
		why = take_header(w);
		while (!why && w->next < end && w->next - h->first < h->n) {
			why = take_record(w, h);
			w->n_needed = w->n_links;
		}
	}
	if (!why && w->next < end) {
		why = "records are missing";
	}
	return why;
}

/* The link whose head the receipt names, and whether it may be of that. */
static const char *
place_receipt(struct walk *w, const struct gx_receipt *r)
{
	const struct link *l = w->links, *end = w->links + w->n_links;
	while (l < end && memcmp(l->hash, r->head, GX_HASH) != 0) {
		l++;
	}
	if (l == end) {
		return "a receipt of another history";
	}
	if (r->seq != l->head.first + l->head.n - 1) {
		return "a receipt of this head with another seq";
	}
	if (r->seq < w->next - 1) {
		return "a receipt that does not cover the records";
	}
	if (r->epoch < l->head.epoch ||
	    (l + 1 < end && r->epoch > l[1].head.epoch)) {
		return "a receipt of another epoch";
	}
	if ((size_t)(l - w->links) + 1 > w->n_needed) {
		w->n_needed = (size_t)(l - w->links) + 1;
	}
	return NULL;
}

static const char *
take_receipt(struct walk *w, struct gx_receipt *r, bool is_first)
{
	struct gx_slice line;
	if (!next_line(w, &line) || gx_receipt_parse(line, r) != NULL) {
		return "not a receipt";
	}
	if (!gx_slice_eq(r->stream, w->b->stream)) {
		return "a receipt of another stream";
	}
	if (r->verdict == GX_RECEIPT_REFUSED) {
		return "a refusal proves no record";
	}
	if (!is_first && compare((r - 1)->sink, r->sink) >= 0) {
		return "receipts are not in order";
	}
	return place_receipt(w, r);
}

static const char *
take_receipts(struct walk *w)
{
	const char *why = NULL;
	for (size_t i = 0; !why && i < w->b->n_receipts; i++) {
		why = take_receipt(w, &w->b->receipts[i], i == 0);
	}
	if (!why && w->n_needed != w->n_links) {
		why = "headers that no record and no receipt needs";
	}
	return why;
}

/* The last line. */
static const char *
take_giver(struct walk *w)
{
	unsigned char id[GX_KID / 2];
	struct gx_slice hex;
	struct gx_cursor c = {.at = 0};
	w->giver_at = w->at;
	if (!next_line(w, &c.s) ||
	    !gx_cursor_lit(&c, "{\"v\":\"gxbus.export.1\",\"node\":\"") ||
	    !gx_cursor_node(&c, &w->b->giver) ||
	    !gx_cursor_lit(&c, ",\"at\":\"") ||
	    !gx_cursor_time(&c, &w->b->at) ||
	    !gx_cursor_lit(&c, ",\"text\":\"") ||
	    !gx_cursor_hex(&c, w->giver_text, sizeof(w->giver_text)) ||
	    !gx_cursor_lit(&c, ",\"alg\":\"SM2-SM3\",\"kid\":\"") ||
	    !gx_cursor_text(&c, GX_KID, &w->giver_kid) ||
	    !gx_unhex(w->giver_kid.p, w->giver_kid.n, id, sizeof(id))) {
		return "not the last line of a bundle";
	}
	w->giver_signed = gx_slice(c.s.p, c.at);
	if (!gx_cursor_lit(&c, ",\"sig\":\"") ||
	    !gx_cursor_text(&c, (size_t)2 * GX_SIG_MAX, &hex) || hex.n == 0 ||
	    hex.n % 2 != 0 ||
	    !gx_unhex(hex.p, hex.n, w->giver_sig, hex.n / 2) ||
	    !gx_cursor_lit(&c, "}") || c.at != c.s.n) {
		return "not the last line of a bundle";
	}
	w->giver_sig_n = hex.n / 2;
	if (w->at != w->text.n) {
		w->b->line++;
		return "bytes behind the end of the bundle";
	}
	return NULL;
}

/* ---- signatures ---- */

static const char *
make_ring(struct gx_bundle *b, const struct gx_keyring *trust,
	  struct gx_keyring *ring)
{
	for (size_t i = 0; i < b->n_keys; i++) {
		const struct gx_bundle_key *k = &b->keys[i];
		struct gx_key *key = NULL;
		char node[33];
		bool allowed = false;
		b->line = 2 + i;
		if (gx_key_from_point(
			    gx_slice((const char *)k->point, GX_POINT), &key,
			    NULL) != GX_OK) {
			return "a key is no point of the curve";
		}
		snprintf(node, sizeof(node), "%.*s", (int)k->node.n, k->node.p);
		gx_keyring_add(ring, node, &key);
		if (trust &&
		    (!gx_keyring_find(trust, k->kid, k->node, &allowed) ||
		     !allowed)) {
			return "a key that is not trusted for its node";
		}
	}
	return NULL;
}

static void
note_used(struct gx_bundle *b, struct gx_slice node, struct gx_slice kid)
{
	for (size_t i = 0; i < b->n_keys; i++) {
		struct gx_bundle_key *k = &b->keys[i];
		if (gx_slice_eq(k->node, node) && gx_slice_eq(k->kid, kid)) {
			k->is_used = true;
		}
	}
}

static const char *
verdict(enum gx_seal s)
{
	switch (s) {
	case GX_SEAL_GOOD:
		return NULL;
	case GX_SEAL_UNKNOWN_KEY:
		return "the key of a signature is not in the bundle";
	case GX_SEAL_NOT_ALLOWED:
		return "signed by a node that may not";
	case GX_SEAL_FORGED:
		break;
	}
	return "a signature is wrong";
}

/* The line of link i: records of the links before it stand in between. */
static size_t
line_of(const struct walk *w, size_t i)
{
	uint64_t n = 0;
	if (i > 0) {
		n = w->links[i].head.first - w->b->first;
		n = n < w->b->n ? n : w->b->n;
	}
	return (size_t)(2 + w->b->n_keys + i + 2 * n);
}

static const char *
check_giver(const struct walk *w, const struct gx_keyring *ring)
{
	bool allowed = false;
	unsigned char hash[GX_SM3];
	gx_sm3(w->text.p, w->giver_at, hash);
	if (memcmp(hash, w->giver_text, sizeof(hash)) != 0) {
		return "not the text that was given";
	}
	struct gx_key *k =
		gx_keyring_find(ring, w->giver_kid, w->b->giver, &allowed);
	if (!k || !allowed) {
		return verdict(k ? GX_SEAL_NOT_ALLOWED : GX_SEAL_UNKNOWN_KEY);
	}
	return gx_sm2_verify(k, w->giver_signed, w->giver_sig, w->giver_sig_n)
		       ? NULL
		       : verdict(GX_SEAL_FORGED);
}

static const char *
check_seals(struct walk *w, const struct gx_keyring *ring)
{
	struct gx_verifier *v = gx_verifier_new(ring);
	struct gx_bundle *b = w->b;
	struct gx_stream_name name;
	unsigned char hash[GX_HASH];
	const char *why = NULL;
	size_t last = b->line;
	(void)gx_stream_parse(b->stream, &name);
	for (size_t i = 0; !why && i < w->n_links; i++) {
		b->line = line_of(w, i);
		why = verdict(gx_seal_check(v, &w->links[i].head, false, hash));
		note_used(b, name.node, w->links[i].head.kid);
	}
	for (size_t i = 0; !why && i < b->n_receipts; i++) {
		b->line = last - (size_t)b->n_receipts + i;
		why = verdict(gx_receipt_check(ring, &b->receipts[i]));
		note_used(b, b->receipts[i].sink, b->receipts[i].kid);
	}
	if (!why) {
		b->line = last;
		why = check_giver(w, ring);
		note_used(b, b->giver, w->giver_kid);
	}
	for (size_t i = 0; !why && i < b->n_keys; i++) {
		b->line = 2 + i;
		why = b->keys[i].is_used ? NULL : "a key that signed nothing";
	}
	gx_verifier_free(&v);
	return why;
}

static const char *
check_signed(struct walk *w, const struct gx_keyring *trust)
{
	struct gx_keyring *ring = gx_keyring_new();
	size_t last = w->b->line;
	const char *why = make_ring(w->b, trust, ring);
	if (!why) {
		w->b->line = last;
		why = check_seals(w, ring);
	}
	gx_keyring_free(&ring);
	return why;
}

const char *
gx_bundle_check(struct gx_slice text, const struct gx_keyring *trust,
		struct gx_bundle *out)
{
	struct walk w = {.text = text, .b = out};
	memset(out, 0, sizeof(*out));
	out->line = text.n > GX_BUNDLE_MAX;
	const char *why = text.n > GX_BUNDLE_MAX ? "larger than a bundle may be"
						 : take_claim(&w);
	if (!why) {
		why = take_keys(&w);
	}
	if (why) {
		return why;
	}
	w.links = gx_mem_array((size_t)out->n_headers, sizeof(*w.links));
	w.merkle = gx_merkle_new();
	why = w.links ? take_batches(&w) : "no memory for its headers";
	if (!why) {
		why = take_receipts(&w);
	}
	if (!why) {
		why = take_giver(&w);
	}
	if (!why) {
		why = check_signed(&w, trust);
	}
	gx_merkle_free(&w.merkle);
	gx_mem_free(w.links);
	return why;
}
