/*
 * Statement codec: what a node says it held, signed by it alone.
 *
 * Neither side signs for the other.  Each says what its own database held at
 * its own moment; who lays two statements of one day side by side sees whether
 * both hold the same history and the same records, and can show both to a
 * third party.  Its first member is its context, so a signature of a batch or
 * a receipt cannot stand under it.
 *
 * Who may sign is read from the ring, never from the text: the key must be one
 * of the node that the statement names.  The signature covers every byte but
 * its own, and its own bytes have one spelling, so no byte can be changed.
 *
 * Nothing is kept.  If we die on any line no text has left that its own reader
 * had not accepted.
 */
#include "trust/statement.h"

#include "base/clock.h"
#include "base/text.h"
#include "record/cursor.h"

#define V "{\"v\":\"gxbus.statement.1\",\"node\":\""
#define SIG ",\"sig\":\""

/* Where the signed bytes end: the last member; n if there is none. */
static size_t
find_sig(struct gx_slice text)
{
	size_t n = sizeof SIG - 1;

	for (size_t i = text.n; i >= n; i--) {
		if (memcmp(text.p + i - n, SIG, n) == 0) {
			return i - n;
		}
	}
	return text.n;
}

static bool
take_sig(struct gx_slice text, size_t at, unsigned char *sig, size_t *n)
{
	struct gx_cursor c = {text, at + sizeof SIG - 1};
	struct gx_slice hex;

	if (at == text.n || !gx_cursor_text(&c, (size_t)2 * GX_SIG_MAX, &hex) ||
	    hex.n == 0 || hex.n % 2 != 0 ||
	    !gx_unhex(hex.p, hex.n, sig, hex.n / 2)) {
		return false;
	}
	*n = hex.n / 2;
	return gx_cursor_lit(&c, "}") && c.at == text.n;
}

static bool
is_stream(const struct gx_json *v)
{
	struct gx_stream_name name;

	return gx_stream_parse(gx_slice_str(gx_json_str(v, "stream", "")),
			       &name) &&
	       strlen(gx_json_str(v, "head", "")) == 64 &&
	       gx_json_int(v, "next_seq", 0) > 0;
}

static const char *
check_resources(const struct gx_json *list)
{
	if (list == NULL || list->type != GX_JSON_ARRAY) {
		return "resources";
	}
	for (const struct gx_json *v = list->child; v; v = v->next) {
		const struct gx_json *streams = gx_json_get(v, "streams");

		if (gx_json_str(v, "resource", NULL) == NULL ||
		    strlen(gx_json_str(v, "digest", "")) != 64 ||
		    gx_json_int(v, "count", -1) < 0 ||
		    gx_json_int(v, "held", -1) < 0 ||
		    gx_json_int(v, "aside", -1) < 0 || streams == NULL ||
		    streams->type != GX_JSON_ARRAY) {
			return "a resource";
		}
		for (const struct gx_json *s = streams->child; s; s = s->next) {
			if (!is_stream(s)) {
				return "a stream";
			}
		}
	}
	return NULL;
}

static const char *
read_form(struct gx_slice text, struct gx_arena *a, struct gx_statement *out)
{
	const struct gx_json *doc;
	int64_t ms;

	if (text.n < sizeof V || memcmp(text.p, V, sizeof V - 1) != 0) {
		return "version";
	}
	if (gx_json_parse(a, text, &doc, NULL) != GX_OK) {
		return "it is not JSON";
	}
	out->node = gx_json_str(doc, "node", "");
	out->scope = gx_json_str(doc, "scope", NULL);
	out->day = gx_json_str(doc, "day", "");
	out->at = gx_json_str(doc, "at", "");
	out->kid = gx_json_str(doc, "kid", "");
	out->resources = gx_json_get(doc, "resources");
	if (out->scope == NULL || strlen(out->day) != 10 ||
	    strlen(out->kid) != GX_KID ||
	    !gx_time_parse(out->at, strlen(out->at), &ms) ||
	    strcmp(gx_json_str(doc, "alg", ""), "SM2-SM3") != 0) {
		return "a member of its head";
	}
	return check_resources(out->resources);
}

const char *
gx_statement_check(struct gx_slice text, const struct gx_keyring *ring,
		   struct gx_arena *a, struct gx_statement *out)
{
	unsigned char sig[GX_SIG_MAX];
	size_t at = find_sig(text), n = 0;
	const char *why;
	bool allowed = false;
	struct gx_key *k;

	*out = (struct gx_statement){0};
	if (text.n > GX_STATEMENT_MAX) {
		return "size";
	}
	if (!take_sig(text, at, sig, &n)) {
		return "sig";
	}
	why = read_form(text, a, out);
	if (why != NULL || ring == NULL) {
		return why;
	}
	k = gx_keyring_find(ring, gx_slice_str(out->kid),
			    gx_slice_str(out->node), &allowed);
	if (k == NULL || !allowed) {
		return "its key is not one of its node";
	}
	return gx_sm2_verify(k, gx_slice(text.p, at), sig, n)
		       ? NULL
		       : "its signature does not hold";
}

enum gx_rc
gx_statement_sign(struct gx_key *k, struct gx_buf *text, struct gx_err *e)
{
	unsigned char der[GX_SM2_DER_MAX];
	char hex[2 * GX_SM2_DER_MAX + 1];
	struct gx_statement check;
	struct gx_arena *a;
	const char *why;
	size_t n = 0;
	enum gx_rc rc;

	(void)gx_buf_printf(text, ",\"alg\":\"SM2-SM3\",\"kid\":\"%s\"",
			    gx_key_id(k));
	rc = gx_sm2_sign(k, gx_buf_view(text), der, &n, e);
	if (rc != GX_OK) {
		return rc;
	}
	gx_hex(der, n, hex);
	(void)gx_buf_printf(text, SIG "%s\"}", hex);
	a = gx_arena_new(16 * (size_t)GX_STATEMENT_MAX);
	why = text->failed
		      ? "size"
		      : gx_statement_check(gx_buf_view(text), NULL, a, &check);
	gx_arena_free(&a);
	return why == NULL ? GX_OK
			   : GX_ERR(e, GX_REJECT, "statement.form",
				    "our own statement is malformed: %s", why);
}
