/*
 * reconcile run: are the records of a resource the same at two nodes, and if
 * not, which, why, and --repair.
 *
 * The walk and the verdicts are those of recon.c.  Only records of one origin
 * are compared where one node stands above the other: the hub holds what other
 * cities sent, and that is no difference.  A node is never compared with
 * itself: that would be equal whatever it lost.
 *
 * A record under way is no difference yet.  With --wait the comparison is done
 * again until none is left or the time is over; what is then still under way
 * is said, and is no fault: the flow that carries it shows its own troubles.
 *
 * --repair does not copy rows from one end to the other.  Either end is asked
 * to make these rows what its own signed log says of their keys
 * (docs/reconcile.md), so it does not matter which of the two was wrong, and
 * nobody can put anything into a table that the origin has not sealed.  Then
 * all is compared again, and that is the answer.  If we die between, some of
 * the rows are repaired; done again it finds the others.
 *
 * Exit 0 equal or under way, 10 different with the keys, others as everywhere.
 * Keys go to stdout because they are the answer; they stand in no log.
 */
#include "base/clock.h"
#include "base/text.h"
#include "cli/recon.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define AGAIN_MS 500
#define REPAIR_AT_ONCE 200

static bool
is_table(const struct gx_cli *cli)
{
	return cli->output == GX_OUT_TABLE || cli->output == GX_OUT_WIDE;
}

/* ---- answer ---- */

static void
put_key(struct gx_jw *w, const struct gx_recon_key *k)
{
	gx_jw_begin(w, '{');
	gx_jw_kv_str(w, "difference", gx_recon_word(k->is));
	gx_jw_kv_str(w, "origin", k->origin);
	gx_jw_name(w, "key");
	gx_jw_raw(w, gx_slice_str(k->key));
	gx_jw_kv_str(w, "stream", k->stream);
	gx_jw_kv_int(w, "seq_here", k->seq_here);
	gx_jw_kv_int(w, "seq_there", k->seq_there);
	gx_jw_kv_bool(w, "held", k->is_held);
	gx_jw_end(w, '}');
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
put_answer(const struct gx_recon *r, struct gx_buf *out)
{
	struct gx_jw w;

	gx_jw_init(&w, out);
	gx_jw_begin(&w, '{');
	gx_jw_kv_int(&w, "v", 1);
	gx_jw_name(&w, "items");
	gx_jw_begin(&w, '[');
	for (size_t i = 0; i < r->n_keys; i++) {
		put_key(&w, &r->keys[i]);
	}
	gx_jw_end(&w, ']');
	gx_jw_kv_str(&w, "next", NULL);
	gx_jw_kv_str(&w, "resource", r->resource);
	gx_jw_kv_bool(&w, "equal", r->is_same);
	gx_jw_kv_bool(&w, "same_history", r->is_same_history);
	gx_jw_kv_int(&w, "differ", (int64_t)gx_recon_real(r));
	gx_jw_kv_int(&w, "under_way", (int64_t)r->n[GX_RECON_UNDER_WAY]);
	put_side(&w, "here", r->here);
	put_side(&w, "there", r->there);
	gx_jw_kv_int(&w, "questions", r->n_questions);
	gx_jw_kv_int(&w, "bytes", (int64_t)r->cli->n_bytes);
	gx_jw_end(&w, '}');
}

static void
print_sides(const struct gx_recon *r)
{
	const struct gx_json *side[] = {r->here, r->there};

	for (int i = 0; i < 2; i++) {
		printf("%-10s %8" PRId64 " records  %4" PRId64
		       " held in quarantine  %.16s\n",
		       gx_json_str(side[i], "node", ""),
		       gx_json_int(side[i], "count", 0),
		       gx_json_int(side[i], "held", 0),
		       gx_json_str(side[i], "digest", ""));
	}
	printf("heads      %s\n", r->is_same_history
					  ? "equal: both hold the same history"
					  : "one end is behind the other");
	if (r->is_same) {
		printf("%s: both sides are equal\n", r->resource);
		return;
	}
	printf("%s: %zu records differ\n", r->resource, gx_recon_real(r));
	if (r->n[GX_RECON_UNDER_WAY] > 0) {
		printf("%zu records have not yet arrived: not counted as "
		       "different\n",
		       r->n[GX_RECON_UNDER_WAY]);
	}
}

static int
finish(const struct gx_recon *r)
{
	static const struct gx_column columns[] = {
		{"key", "KEY", false},
		{"difference", "DIFFERENCE", false},
		{"origin", "ORIGIN", false},
		{"stream", "STREAM", true},
		{"seq_here", "SEQ HERE", true},
		{"seq_there", "SEQ THERE", true},
		{NULL, NULL, false}};
	const struct gx_json *doc;
	struct gx_err e = {0};
	struct gx_buf out;
	enum gx_rc rc;

	gx_buf_init(&out, 128u << 20);
	put_answer(r, &out);
	rc = gx_json_parse(r->cli->arena, gx_buf_view(&out), &doc, &e);
	if (rc == GX_OK && is_table(r->cli)) {
		print_sides(r);
	}
	if (rc == GX_OK && (!r->is_same || !is_table(r->cli))) {
		gx_table_list(r->cli, doc, columns);
	}
	gx_buf_free(&out);
	if (rc != GX_OK) {
		return gx_cli_fail_err(r->cli, GX_X_FAILED, &e);
	}
	return gx_recon_real(r) == 0 ? GX_X_OK : GX_X_DIFFERS;
}

/* ---- repair ---- */

/* Those of keys i.. that are of one stream and differ for good. */
static size_t
put_order(const struct gx_recon *r, size_t i, struct gx_buf *b, size_t *n_keys)
{
	const char *stream = r->keys[i].stream;
	int64_t from = INT64_MAX;
	struct gx_jw w;
	size_t n = 0;

	gx_buf_reset(b);
	gx_jw_init(&w, b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_str(&w, "stream", stream);
	gx_jw_name(&w, "keys");
	gx_jw_begin(&w, '[');
	for (; i < r->n_keys && n < REPAIR_AT_ONCE; i++) {
		const struct gx_recon_key *k = &r->keys[i];

		if (strcmp(k->stream, stream) != 0) {
			break;
		}
		if (k->is == GX_RECON_UNDER_WAY || k->is == GX_RECON_ASIDE) {
			continue;
		}
		gx_jw_raw(&w, gx_slice_str(k->key));
		from = k->seq < from ? k->seq : from;
		n++;
	}
	gx_jw_end(&w, ']');
	gx_jw_kv_int(&w, "from", from == INT64_MAX ? 1 : from);
	gx_jw_end(&w, '}');
	*n_keys = n;
	return i;
}

static void
say_repair(const char *id, const struct gx_json *doc)
{
	fprintf(stderr,
		"%s: %" PRId64 " written, %" PRId64 " deleted, %" PRId64
		" already as its log says, %" PRId64 " left\n",
		id, gx_json_int(doc, "written", 0),
		gx_json_int(doc, "deleted", 0), gx_json_int(doc, "same", 0),
		gx_json_int(doc, "left", 0));
}

static int
send_order(struct gx_recon *r, const char *body)
{
	struct gx_buf path;
	const struct gx_json *doc;
	int code = GX_X_OK;

	gx_buf_init(&path, 4096);
	(void)gx_buf_puts(&path, "/api/v1/repair/");
	gx_net_escape(&path, r->resource);
	for (int i = 0; code == GX_X_OK && i < 2; i++) {
		code = gx_net_call(r->cli, i == 1, "POST", gx_buf_str(&path),
				   body, &doc);
		if (code == GX_X_OK) {
			say_repair(i ? r->id_there : r->id_here, doc);
		}
	}
	gx_buf_free(&path);
	return code;
}

static int
repair(struct gx_recon *r)
{
	struct gx_buf b;
	int code = GX_X_OK;

	gx_buf_init(&b, 4u << 20);
	for (size_t i = 0; code == GX_X_OK && i < r->n_keys;) {
		size_t n;

		i = put_order(r, i, &b, &n);
		if (n > 0) {
			code = send_order(r, gx_buf_str(&b));
		}
	}
	gx_buf_free(&b);
	return code;
}

/* ---- run ---- */

static int
read_wait(struct gx_recon *r, uint64_t *ms)
{
	const char *word = gx_opt(r->cli, "wait");

	*ms = 0;
	if (word != NULL && (!gx_parse_duration(word, ms) || *ms > 3600000)) {
		return gx_cli_fail(r->cli, GX_X_USAGE, "cli.usage",
				   "--wait: a time such as 30s, at most 1h",
				   NULL);
	}
	return GX_X_OK;
}

/* Compare until nothing is under way, or something differs for good. */
static int
compare(struct gx_recon *r, uint64_t wait_ms)
{
	int64_t until = gx_mono_ms() + (int64_t)wait_ms;
	int code = gx_recon_run(r);

	while (code == GX_X_OK && !r->is_same && gx_recon_real(r) == 0 &&
	       gx_mono_ms() < until) {
		(void)poll(NULL, 0, AGAIN_MS);
		code = gx_recon_run(r);
	}
	return code;
}

int
gx_cmd_reconcile_run(struct gx_cli *cli)
{
	struct gx_recon r = {.cli = cli, .resource = cli->args[0]};
	uint64_t wait_ms;
	int code = read_wait(&r, &wait_ms);

	if (code == GX_X_OK) {
		code = gx_recon_ends(&r);
	}
	if (code == GX_X_OK) {
		code = compare(&r, wait_ms);
	}
	if (code == GX_X_OK && gx_opt(cli, "repair") != NULL &&
	    gx_recon_real(&r) > 0) {
		code = repair(&r);
		if (code == GX_X_OK) {
			code = compare(&r, wait_ms);
		}
	}
	if (code == GX_X_OK) {
		code = finish(&r);
	}
	gx_recon_free(&r);
	return code;
}
