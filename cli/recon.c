/*
 * The walk that finds the records in which two nodes differ.
 *
 * Heads first: the same head hash is the same history.  It is not yet the same
 * table, so the tables are compared too: sixteen parts by the hash of origin
 * and key, each with count and digest; parts that differ are divided again,
 * down to parts of a few rows, whose keys are laid side by side.  Equal tables
 * cost one question at each end, however large; five differences in a million
 * rows cost six, of some ten kilobytes (docs/reconcile.md).
 *
 * The two ends are read at about the same time, not at the same instant.  A
 * leaf's rows come with the heads that stood when they were read, so each
 * difference can be told from a record under way: a row beyond the other end's
 * head has not arrived there; a row that only the end has which is behind may
 * have been deleted beyond its head; any other row both ends have had in their
 * hands, and the difference is real.  No clock and no patience decide.
 *
 * A key that an end's own store refused, under a seq not below the other end's
 * row, is in quarantine: explained, and still a difference.
 *
 * Only reads; if we die on any line nothing was changed anywhere.
 */
#include "cli/recon.h"

#include <stdio.h>
#include <string.h>

#define LEAF_ROWS 64
#define DIGITS 8
#define AT_ONCE 400 /* ranges in a question */
#define RANGES_MAX 200000
#define KEYS_MAX 1000000

struct range {
	char digits[DIGITS + 1];
	int64_t count;
};
struct ranges {
	struct range *list;
	size_t n, max;
};

const char *
gx_recon_word(enum gx_recon_is is)
{
	static const char *const words[] = {
		[GX_RECON_MISSING_HERE] = "missing here",
		[GX_RECON_MISSING_THERE] = "missing there",
		[GX_RECON_DIFFERENT] = "different",
		[GX_RECON_ASIDE] = "in quarantine",
		[GX_RECON_UNDER_WAY] = "not yet arrived",
	};

	GX_ASSERT((size_t)is < GX_RECON_KINDS);
	return words[is];
}

size_t
gx_recon_real(const struct gx_recon *r)
{
	return r->n_keys - r->n[GX_RECON_UNDER_WAY];
}

void
gx_recon_free(struct gx_recon *r)
{
	gx_mem_free(r->keys);
	r->keys = NULL;
	r->n_keys = r->max_keys = 0;
}

int
gx_recon_ends(struct gx_recon *r)
{
	const struct gx_json *a, *b;
	int code =
		gx_net_call(r->cli, false, "GET", "/api/v1/status", NULL, &a);

	if (code == GX_X_OK) {
		code = gx_net_call(r->cli, true, "GET", "/api/v1/status", NULL,
				   &b);
	}
	if (code != GX_X_OK) {
		return code;
	}
	r->node = gx_opt(r->cli, "node");
	r->id_here = gx_json_str(a, "node", "");
	r->id_there = gx_json_str(b, "node", "");
	if (strcmp(r->id_here, r->id_there) == 0) {
		return gx_cli_fail_same(r->cli, r->id_here);
	}
	if (r->node == NULL &&
	    strcmp(gx_json_str(b, "parent", ""), r->id_here) == 0) {
		r->node = r->id_there;
	} else if (r->node == NULL &&
		   strcmp(gx_json_str(a, "parent", ""), r->id_there) == 0) {
		r->node = r->id_here;
	}
	return code;
}

/* ---- questions ---- */

static int
ask(struct gx_recon *r, bool is_peer, const char *what,
    const struct gx_json **out)
{
	struct gx_buf b;
	int code;

	gx_buf_init(&b, 16384);
	(void)gx_buf_puts(&b, "/api/v1/reconcile/");
	gx_net_escape(&b, r->resource);
	(void)gx_buf_puts(&b, what);
	if (r->node != NULL) {
		(void)gx_buf_puts(&b, "&node=");
		gx_net_escape(&b, r->node);
	}
	code = gx_net_call(r->cli, is_peer, "GET", gx_buf_str(&b), NULL, out);
	gx_buf_free(&b);
	r->n_questions++;
	return code;
}

static int
ask_both(struct gx_recon *r, const char *what, const struct gx_json **a,
	 const struct gx_json **b)
{
	int code = ask(r, false, what, a);

	return code == GX_X_OK ? ask(r, true, what, b) : code;
}

static void
put_question(struct gx_buf *b, const struct range *list, size_t n,
	     size_t digits)
{
	if (digits == 0) {
		(void)gx_buf_puts(b, "?keys=1&ranges=");
	} else {
		(void)gx_buf_printf(b, "?digits=%zu&ranges=", digits);
	}
	for (size_t i = 0; i < n; i++) {
		(void)gx_buf_printf(b, "%s%s", i ? "," : "", list[i].digits);
	}
}

static int
malformed(struct gx_recon *r)
{
	return gx_cli_fail(r->cli, GX_X_FAILED, "cli.answer",
			   "a list of parts or keys is not of the known form",
			   NULL);
}

/* ---- parts ---- */

static bool
add_range(struct ranges *to, const struct gx_json *v, int64_t count)
{
	const char *digits = gx_json_str(v, "range", "");

	if (strlen(digits) == 0 || strlen(digits) > DIGITS ||
	    to->n == RANGES_MAX) {
		return false;
	}
	if (to->n == to->max) {
		size_t max = to->max ? 2 * to->max : 64;
		void *p = gx_mem_grow(to->list, max, sizeof *to->list);

		if (p == NULL) {
			return false;
		}
		to->list = p;
		to->max = max;
	}
	snprintf(to->list[to->n].digits, sizeof to->list[0].digits, "%s",
		 digits);
	to->list[to->n++].count = count;
	return true;
}

/* Both lists ascend; those that differ go to leaves if they are few rows. */
static bool
merge_parts(const struct gx_json *a, const struct gx_json *b,
	    struct ranges *next, struct ranges *leaves)
{
	bool is_good = true;

	while (is_good && (a != NULL || b != NULL)) {
		int d = a == NULL   ? 1
			: b == NULL ? -1
				    : strcmp(gx_json_str(a, "range", ""),
					     gx_json_str(b, "range", ""));
		int64_t na = d <= 0 ? gx_json_int(a, "count", 0) : 0;
		int64_t nb = d >= 0 ? gx_json_int(b, "count", 0) : 0;
		const struct gx_json *v = d <= 0 ? a : b;

		if (d != 0 || strcmp(gx_json_str(a, "digest", "a"),
				     gx_json_str(b, "digest", "b")) != 0) {
			int64_t count = na > nb ? na : nb;
			bool is_leaf =
				count <= LEAF_ROWS ||
				strlen(gx_json_str(v, "range", "")) >= DIGITS;

			is_good = add_range(is_leaf ? leaves : next, v, count);
		}
		a = d <= 0 ? a->next : a;
		b = d >= 0 ? b->next : b;
	}
	return is_good;
}

static int
merge_answers(struct gx_recon *r, const struct gx_json *a,
	      const struct gx_json *b, struct ranges *next,
	      struct ranges *leaves)
{
	a = gx_json_get(a, "parts");
	b = gx_json_get(b, "parts");
	if (a == NULL || b == NULL ||
	    !merge_parts(a->child, b->child, next, leaves)) {
		return malformed(r);
	}
	return GX_X_OK;
}

static int
divide(struct gx_recon *r, const struct ranges *from, size_t digits,
       struct ranges *next, struct ranges *leaves)
{
	struct gx_buf q;
	int code = GX_X_OK;

	gx_buf_init(&q, 8192);
	for (size_t i = 0; code == GX_X_OK && i < from->n; i += AT_ONCE) {
		size_t n = from->n - i < AT_ONCE ? from->n - i : AT_ONCE;
		const struct gx_json *a, *b;

		gx_buf_reset(&q);
		put_question(&q, from->list + i, n, digits);
		code = ask_both(r, gx_buf_str(&q), &a, &b);
		if (code == GX_X_OK) {
			code = merge_answers(r, a, b, next, leaves);
		}
	}
	gx_buf_free(&q);
	return code;
}

/* ---- keys ---- */

/* What both ends answered about the same leaves. */
struct leaf {
	const struct gx_json *doc[2]; /* here, there */
};

static int
order(const struct gx_json *a, const struct gx_json *b)
{
	int d = strcmp(gx_json_str(a, "origin", ""),
		       gx_json_str(b, "origin", ""));

	return d ? d
		 : strcmp(gx_json_str(a, "key", ""), gx_json_str(b, "key", ""));
}

/* An end's head of the row's stream: next seq, 1 if it has none of it. */
static int64_t
next_seq(const struct gx_json *doc, const char *stream)
{
	const struct gx_json *list = gx_json_get(doc, "streams");

	for (const struct gx_json *v = list ? list->child : NULL; v;
	     v = v->next) {
		if (strcmp(gx_json_str(v, "stream", ""), stream) == 0) {
			return gx_json_int(v, "next_seq", 1);
		}
	}
	return 1;
}

/* The seq under which an end has set the key aside, 0 if it has not. */
static int64_t
aside_seq(const struct gx_json *doc, const char *side,
	  const struct gx_json *row)
{
	const struct gx_json *list = gx_json_get(doc, "aside");

	for (const struct gx_json *v = list ? list->child : NULL; v;
	     v = v->next) {
		if (strcmp(gx_json_str(v, "side", ""), side) == 0 &&
		    order(v, row) == 0) {
			return gx_json_int(v, "seq", 0);
		}
	}
	return 0;
}

/* Is it a row that the other end has not got, or may have lost beyond our
 * head, because one of the two is behind?  row: at this end; other: at the
 * other end, NULL if there is none. */
static bool
is_under_way(const struct gx_json *row, const struct gx_json *other,
	     const struct gx_json *here, const struct gx_json *there)
{
	const char *stream = gx_json_str(row, "stream", "");
	int64_t seq = gx_json_int(row, "seq", 0);
	int64_t a = next_seq(here, stream), b = next_seq(there, stream);

	return seq >= b || (other == NULL && a < b);
}

static enum gx_recon_is
judge(const struct leaf *l, const struct gx_json *a, const struct gx_json *b)
{
	const struct gx_json *here = l->doc[0], *there = l->doc[1];

	if ((a != NULL && is_under_way(a, b, here, there)) ||
	    (b != NULL && is_under_way(b, a, there, here))) {
		return GX_RECON_UNDER_WAY;
	}
	if ((a != NULL &&
	     aside_seq(there, "sink", a) >= gx_json_int(a, "seq", INT64_MAX)) ||
	    (b != NULL &&
	     aside_seq(here, "sink", b) >= gx_json_int(b, "seq", INT64_MAX))) {
		return GX_RECON_ASIDE;
	}
	return a == NULL   ? GX_RECON_MISSING_HERE
	       : b == NULL ? GX_RECON_MISSING_THERE
			   : GX_RECON_DIFFERENT;
}

static bool
note(struct gx_recon *r, const struct leaf *l, const struct gx_json *a,
     const struct gx_json *b)
{
	struct gx_recon_key *k;
	const struct gx_json *v;

	if (r->n_keys == r->max_keys) {
		size_t max = r->max_keys ? 2 * r->max_keys : 64;
		void *p = max <= KEYS_MAX
				  ? gx_mem_grow(r->keys, max, sizeof *r->keys)
				  : NULL;

		if (p == NULL) {
			return false;
		}
		r->keys = p;
		r->max_keys = max;
	}
	k = &r->keys[r->n_keys++];
	k->is = judge(l, a, b);
	k->seq_here = a ? gx_json_int(a, "seq", 0) : 0;
	k->seq_there = b ? gx_json_int(b, "seq", 0) : 0;
	v = b == NULL || (a != NULL && k->seq_here >= k->seq_there) ? a : b;
	k->origin = gx_json_str(v, "origin", "");
	k->key = gx_json_str(v, "key", "");
	k->stream = gx_json_str(v, "stream", "");
	k->seq = gx_json_int(v, "seq", 0);
	k->is_held = aside_seq(l->doc[0], "source", v) > 0 ||
		     aside_seq(l->doc[1], "source", v) > 0;
	r->n[k->is]++;
	return true;
}

/* Both lists are in the order of order(): walk them together. */
static bool
merge_keys(struct gx_recon *r, const struct leaf *l, const struct gx_json *a,
	   const struct gx_json *b)
{
	bool is_good = true;

	while (is_good && (a != NULL || b != NULL)) {
		int d = a == NULL ? 1 : b == NULL ? -1 : order(a, b);

		if (d != 0) {
			is_good =
				note(r, l, d < 0 ? a : NULL, d < 0 ? NULL : b);
		} else if (strcmp(gx_json_str(a, "digest", "a"),
				  gx_json_str(b, "digest", "b")) != 0) {
			is_good = note(r, l, a, b);
		}
		a = d <= 0 ? a->next : a;
		b = d >= 0 ? b->next : b;
	}
	return is_good;
}

static int
compare_leaves(struct gx_recon *r, const struct ranges *leaves)
{
	struct gx_buf q;
	int code = GX_X_OK;

	gx_buf_init(&q, 8192);
	for (size_t i = 0; code == GX_X_OK && i < leaves->n; i += AT_ONCE) {
		size_t n = leaves->n - i < AT_ONCE ? leaves->n - i : AT_ONCE;
		struct leaf l;

		gx_buf_reset(&q);
		put_question(&q, leaves->list + i, n, 0);
		code = ask_both(r, gx_buf_str(&q), &l.doc[0], &l.doc[1]);
		if (code == GX_X_OK) {
			const struct gx_json *a =
				gx_json_get(l.doc[0], "items");
			const struct gx_json *b =
				gx_json_get(l.doc[1], "items");

			if (a == NULL || b == NULL ||
			    !merge_keys(r, &l, a->child, b->child)) {
				code = malformed(r);
			}
		}
	}
	gx_buf_free(&q);
	return code;
}

/* ---- all of it ---- */

static bool
has_same_heads(const struct gx_json *a, const struct gx_json *b)
{
	a = gx_json_get(a, "streams");
	b = gx_json_get(b, "streams");
	a = a ? a->child : NULL;
	b = b ? b->child : NULL;
	for (; a != NULL && b != NULL; a = a->next, b = b->next) {
		if (strcmp(gx_json_str(a, "stream", "a"),
			   gx_json_str(b, "stream", "b")) != 0 ||
		    strcmp(gx_json_str(a, "head", "a"),
			   gx_json_str(b, "head", "b")) != 0) {
			return false;
		}
	}
	return a == NULL && b == NULL;
}

static int
walk(struct gx_recon *r)
{
	struct ranges level = {0}, next = {0}, leaves = {0};
	int code = merge_answers(r, r->here, r->there, &level, &leaves);

	for (size_t digits = 2; code == GX_X_OK && level.n > 0; digits++) {
		next.n = 0;
		code = divide(r, &level, digits, &next, &leaves);
		struct ranges t = level;

		level = next;
		next = t;
	}
	if (code == GX_X_OK) {
		code = compare_leaves(r, &leaves);
	}
	gx_mem_free(level.list);
	gx_mem_free(next.list);
	gx_mem_free(leaves.list);
	return code;
}

int
gx_recon_run(struct gx_recon *r)
{
	int code;

	r->n_keys = 0;
	memset(r->n, 0, sizeof r->n);
	code = ask_both(r, "?digits=1", &r->here, &r->there);
	if (code != GX_X_OK) {
		return code;
	}
	r->is_same_history = has_same_heads(r->here, r->there);
	if (strcmp(gx_json_str(r->here, "digest", "a"),
		   gx_json_str(r->there, "digest", "b")) != 0) {
		code = walk(r);
	}
	r->is_same = r->n_keys == 0;
	return code;
}
