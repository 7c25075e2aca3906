/*
 * The format of the audit log: written, read back strictly, followed.
 *
 * A line is made from its parts by one function, and reading is the same
 * function again: what was read is written anew and must come out byte for
 * byte.  So there is one form of each line, and no second one that a tool
 * would read in another way: no space, no other order, no member twice.
 *
 * The chain proves that nothing between two lines that a reader holds was
 * changed, taken out or moved.  It proves nothing of what stands behind the
 * last of them: that needs a head that somebody else kept, which is why heads
 * are handed out (docs/audit.md).
 *
 * Rows are written elsewhere; here is no state and no I/O.
 */
#include "trust/audit.h"

#include "base/json.h"
#include "base/text.h"
#include "trust/sm.h"

#include <string.h>

static const char version[] = "gxbus.audit.1";
static const char zeros[] = "0000000000000000000000000000000000000000"
			    "000000000000000000000000";

static bool
is_short(const char *s)
{
	return strlen(s) <= GX_AUDIT_TEXT;
}

bool
gx_audit_put(struct gx_audit *a, struct gx_buf *b)
{
	unsigned char sum[GX_SM3];
	size_t from = b->n;
	struct gx_jw w;

	if (!is_short(a->who) || !is_short(a->act) || !is_short(a->on) ||
	    !is_short(a->why) || !is_short(a->role) || !is_short(a->outcome) ||
	    !is_short(a->node)) {
		return false;
	}
	gx_jw_init(&w, b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_str(&w, "v", version);
	gx_jw_kv_str(&w, "node", a->node);
	gx_jw_name(&w, "n");
	gx_jw_u64(&w, a->n);
	gx_jw_kv_str(&w, "prev", a->prev);
	gx_jw_kv_str(&w, "at", a->at);
	gx_jw_kv_str(&w, "who", a->who);
	gx_jw_kv_str(&w, "role", a->role);
	gx_jw_kv_str(&w, "act", a->act);
	gx_jw_kv_str(&w, "on", a->on);
	gx_jw_kv_str(&w, "outcome", a->outcome);
	gx_jw_kv_str(&w, "why", a->why);
	if (b->failed) {
		return false;
	}
	gx_sm3(b->p + from, b->n - from, sum);
	gx_hex(sum, sizeof sum, a->hash);
	gx_jw_kv_str(&w, "hash", a->hash);
	gx_jw_end(&w, '}');
	return !b->failed && b->n - from <= GX_AUDIT_LINE;
}

static bool
is_hash(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* All texts are there, or what is there is no line. */
static bool
read_texts(const struct gx_json *j, struct gx_audit *out)
{
	out->node = gx_json_str(j, "node", NULL);
	out->at = gx_json_str(j, "at", NULL);
	out->who = gx_json_str(j, "who", NULL);
	out->role = gx_json_str(j, "role", NULL);
	out->act = gx_json_str(j, "act", NULL);
	out->on = gx_json_str(j, "on", NULL);
	out->outcome = gx_json_str(j, "outcome", NULL);
	out->why = gx_json_str(j, "why", NULL);
	return out->node && out->at && out->who && out->role && out->act &&
	       out->on && out->outcome && out->why;
}

const char *
gx_audit_parse(struct gx_slice line, struct gx_arena *arena,
	       struct gx_audit *out)
{
	const struct gx_json *j = NULL;
	const char *prev, *hash, *why = NULL;
	struct gx_buf again;
	struct gx_err e = {0};
	int64_t n;

	memset(out, 0, sizeof *out);
	if (line.n > GX_AUDIT_LINE) {
		return "longer than a line can be";
	}
	if (gx_json_parse(arena, line, &j, &e) != GX_OK ||
	    j->type != GX_JSON_OBJECT) {
		return "not a line of an audit log";
	}
	if (strcmp(gx_json_str(j, "v", ""), version) != 0) {
		return "not a line of an audit log of this version";
	}
	prev = gx_json_str(j, "prev", "");
	hash = gx_json_str(j, "hash", "");
	n = gx_json_int(j, "n", 0);
	if (!read_texts(j, out) || !is_hash(prev) || !is_hash(hash) || n < 1) {
		return "a member is missing or of another form";
	}
	out->n = (uint64_t)n;
	memcpy(out->prev, prev, sizeof out->prev);
	gx_buf_init(&again, 2 * GX_AUDIT_LINE);
	if (!gx_audit_put(out, &again)) {
		why = "longer than a line can be";
	} else if (memcmp(out->hash, hash, 64) != 0) {
		why = "its text was changed: the hash is another";
	} else if (again.n != line.n || memcmp(again.p, line.p, line.n) != 0) {
		why = "not written as a line is written";
	}
	gx_buf_free(&again);
	return why;
}

const char *
gx_audit_follow(struct gx_audit_chain *c, const struct gx_audit *a)
{
	if (c->n == 0) {
		if (a->n == 1 && memcmp(a->prev, zeros, 64) != 0) {
			return "the first line names one before it";
		}
		snprintf(c->node, sizeof c->node, "%s", a->node);
		c->first = a->n;
	} else if (strcmp(c->node, a->node) != 0) {
		return "a line of another node";
	} else if (a->n <= c->n) {
		return "a line that comes twice, or out of order";
	} else if (a->n != c->n + 1) {
		return "lines before this one are missing";
	} else if (memcmp(a->prev, c->hash, 64) != 0) {
		return "the line before it was replaced";
	}
	c->n = a->n;
	memcpy(c->hash, a->hash, sizeof c->hash);
	return NULL;
}
