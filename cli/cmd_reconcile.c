/*
 * reconcile run: are the records of a resource the same at two nodes?
 *
 * Digests first: the whole, then 256 buckets, then only the keys of buckets
 * that differ, so that two equal tables of millions cost one question each.
 * Both nodes are read at about the same time, not at the same instant: while
 * records flow a difference may only mean "under way"; run it again.
 *
 * Only records of one origin are compared where one node stands above the
 * other: the hub holds what other cities sent, and that is no difference.
 * Which node's records that are follows from who is above; --node says it
 * otherwise.
 *
 * A node is never compared with itself: that would be equal whatever it lost.
 *
 * Exit 0 equal, 10 different with the keys, others as everywhere.  Keys go to
 * stdout because they are the answer; they stand in no log.
 */
#include "cli/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct sides {
	struct gx_cli *cli;
	const char *node; /* whose records, NULL all */
	const struct gx_json *here, *there;
	struct gx_buf out; /* items that differ */
	struct gx_jw w;
	int64_t n_differ;
};

static int
ask(struct sides *s, bool is_peer, int bucket, const struct gx_json **out)
{
	struct gx_buf b;
	int code;

	gx_buf_init(&b, 4096);
	(void)gx_buf_puts(&b, "/api/v1/reconcile/");
	gx_net_escape(&b, s->cli->args[0]);
	(void)gx_buf_puts(&b, "?v=1");
	if (s->node != NULL) {
		(void)gx_buf_puts(&b, "&node=");
		gx_net_escape(&b, s->node);
	}
	if (bucket >= 0) {
		(void)gx_buf_printf(&b, "&bucket=%d", bucket);
	}
	code = gx_net_call(s->cli, is_peer, "GET", gx_buf_str(&b), NULL, out);
	gx_buf_free(&b);
	return code;
}

/* Whose records both must hold. */
static int
choose_node(struct sides *s)
{
	const struct gx_json *a, *b;
	const char *here, *there;
	int code =
		gx_net_call(s->cli, false, "GET", "/api/v1/status", NULL, &a);

	if (code == GX_X_OK) {
		code = gx_net_call(s->cli, true, "GET", "/api/v1/status", NULL,
				   &b);
	}
	if (code != GX_X_OK) {
		return code;
	}
	s->node = gx_opt(s->cli, "node");
	here = gx_json_str(a, "node", "");
	there = gx_json_str(b, "node", "");
	if (strcmp(here, there) == 0) {
		return gx_cli_fail_same(s->cli, here);
	}
	if (s->node == NULL &&
	    strcmp(gx_json_str(b, "parent", ""), here) == 0) {
		s->node = there;
	} else if (s->node == NULL &&
		   strcmp(gx_json_str(a, "parent", ""), there) == 0) {
		s->node = here;
	}
	return code;
}

static void
put_difference(struct sides *s, const struct gx_json *row, const char *what)
{
	gx_jw_begin(&s->w, '{');
	gx_jw_kv_str(&s->w, "difference", what);
	gx_jw_kv_str(&s->w, "origin", gx_json_str(row, "origin", ""));
	gx_jw_name(&s->w, "key");
	gx_jw_raw(&s->w, gx_json_get(row, "key")->raw);
	gx_jw_end(&s->w, '}');
	s->n_differ++;
}

static int
order(const struct gx_json *a, const struct gx_json *b)
{
	int d = strcmp(gx_json_str(a, "origin", ""),
		       gx_json_str(b, "origin", ""));
	struct gx_slice x = gx_json_get(a, "key")->raw;
	struct gx_slice y = gx_json_get(b, "key")->raw;

	if (d == 0) {
		d = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
	}
	return d ? d : (x.n > y.n) - (x.n < y.n);
}

/* Both lists are in the order of order(): walk them together. */
static void
merge_keys(struct sides *s, const struct gx_json *a, const struct gx_json *b)
{
	while (a != NULL || b != NULL) {
		int d = a == NULL ? 1 : b == NULL ? -1 : order(a, b);

		if (d < 0) {
			put_difference(s, a, "only here");
			a = a->next;
		} else if (d > 0) {
			put_difference(s, b, "only there");
			b = b->next;
		} else {
			if (strcmp(gx_json_str(a, "digest", "a"),
				   gx_json_str(b, "digest", "b")) != 0) {
				put_difference(s, a, "differs");
			}
			a = a->next;
			b = b->next;
		}
	}
}

static bool
is_well_formed(const struct gx_json *items)
{
	for (const struct gx_json *v = items ? items->child : NULL; v;
	     v = v->next) {
		if (gx_json_get(v, "key") == NULL) {
			return false;
		}
	}
	return items != NULL;
}

static int
compare_bucket(struct sides *s, int bucket)
{
	const struct gx_json *a, *b;
	int code = ask(s, false, bucket, &a);

	if (code == GX_X_OK) {
		code = ask(s, true, bucket, &b);
	}
	if (code != GX_X_OK) {
		return code;
	}
	a = gx_json_get(a, "items");
	b = gx_json_get(b, "items");
	if (!is_well_formed(a) || !is_well_formed(b)) {
		return gx_cli_fail(s->cli, GX_X_FAILED, "cli.answer",
				   "a list of keys is not of the known form",
				   NULL);
	}
	merge_keys(s, a->child, b->child);
	return GX_X_OK;
}

static const char *
bucket_digest(const struct gx_json *doc, int bucket)
{
	const struct gx_json *list = gx_json_get(doc, "buckets");

	for (const struct gx_json *v = list ? list->child : NULL; v;
	     v = v->next) {
		if (gx_json_int(v, "bucket", -1) == bucket) {
			return gx_json_str(v, "digest", "");
		}
	}
	return "";
}

static int
compare_all(struct sides *s)
{
	int code = GX_X_OK;

	for (int i = 0; code == GX_X_OK && i < 256; i++) {
		if (strcmp(bucket_digest(s->here, i),
			   bucket_digest(s->there, i)) != 0) {
			code = compare_bucket(s, i);
		}
	}
	return code;
}

static void
put_side(struct gx_jw *w, const char *name, const struct gx_json *doc)
{
	gx_jw_name(w, name);
	gx_jw_begin(w, '{');
	gx_jw_kv_str(w, "node", gx_json_str(doc, "node", ""));
	gx_jw_kv_int(w, "count", gx_json_int(doc, "count", 0));
	gx_jw_kv_int(w, "held", gx_json_int(doc, "held", 0));
	gx_jw_kv_str(w, "digest", gx_json_str(doc, "digest", ""));
	gx_jw_end(w, '}');
}

static void
print_sides(struct sides *s, bool is_equal)
{
	const struct gx_json *side[] = {s->here, s->there};

	if (s->cli->output != GX_OUT_TABLE && s->cli->output != GX_OUT_WIDE) {
		return;
	}
	for (int i = 0; i < 2; i++) {
		printf("%-10s %8" PRId64 " records  %4" PRId64
		       " held in quarantine  %.16s\n",
		       gx_json_str(side[i], "node", ""),
		       gx_json_int(side[i], "count", 0),
		       gx_json_int(side[i], "held", 0),
		       gx_json_str(side[i], "digest", ""));
	}
	if (is_equal) {
		printf("%s: both sides are equal\n", s->cli->args[0]);
	} else {
		printf("%s: %" PRId64 " records differ\n", s->cli->args[0],
		       s->n_differ);
	}
}

static int
finish(struct sides *s, bool is_equal)
{
	static const struct gx_column columns[] = {
		{"key", "KEY", false},
		{"difference", "DIFFERENCE", false},
		{"origin", "ORIGIN", false},
		{NULL, NULL, false}};
	const struct gx_json *doc;
	struct gx_err e = {0};

	gx_jw_end(&s->w, ']');
	gx_jw_kv_str(&s->w, "next", NULL);
	gx_jw_kv_str(&s->w, "resource", s->cli->args[0]);
	gx_jw_kv_bool(&s->w, "equal", is_equal);
	put_side(&s->w, "here", s->here);
	put_side(&s->w, "there", s->there);
	gx_jw_end(&s->w, '}');
	print_sides(s, is_equal);
	if (gx_json_parse(s->cli->arena, gx_buf_view(&s->out), &doc, &e) !=
	    GX_OK) {
		return gx_cli_fail_err(s->cli, GX_X_FAILED, &e);
	}
	if (!is_equal ||
	    (s->cli->output != GX_OUT_TABLE && s->cli->output != GX_OUT_WIDE)) {
		gx_table_list(s->cli, doc, columns);
	}
	return is_equal ? GX_X_OK : GX_X_DIFFERS;
}

int
gx_cmd_reconcile_run(struct gx_cli *cli)
{
	struct sides s = {.cli = cli};
	bool is_equal;
	int code = choose_node(&s);

	if (code == GX_X_OK) {
		code = ask(&s, false, -1, &s.here);
	}
	if (code == GX_X_OK) {
		code = ask(&s, true, -1, &s.there);
	}
	if (code != GX_X_OK) {
		return code;
	}
	gx_buf_init(&s.out, 128u << 20);
	gx_jw_init(&s.w, &s.out);
	gx_jw_begin(&s.w, '{');
	gx_jw_kv_int(&s.w, "v", 1);
	gx_jw_name(&s.w, "items");
	gx_jw_begin(&s.w, '[');
	is_equal = strcmp(gx_json_str(s.here, "digest", "a"),
			  gx_json_str(s.there, "digest", "b")) == 0;
	if (!is_equal) {
		code = compare_all(&s);
	}
	if (code == GX_X_OK) {
		code = finish(&s, is_equal);
	}
	gx_buf_free(&s.out);
	return code;
}
