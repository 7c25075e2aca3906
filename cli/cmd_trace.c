/*
 * explain record: where a record came from and whose turn it is.
 *
 * The node at hand and its peer are asked for what they know of the key
 * (api_trace.c), lower node first; each shows the row's origin, stream and seq,
 * the batch that brought it, whether it is held or in quarantine, and whether
 * somebody has receipted it.  No value of the record is printed, and nobody
 * sees more than the routes of either node give to his token.
 *
 * The last line says whose turn it is: of the nodes asked, the first that is
 * behind the one below it, or holds the key in quarantine, or nobody's.  Only
 * reads.
 */
#include "cli/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct trace {
	struct gx_cli *cli;
	const struct gx_json *doc[2]; /* lower node first */
	int n;
};

/* KEY as typed: one value as it is, several as an array. */
static void
put_key(struct gx_buf *b, const char *given)
{
	struct gx_jw w;

	if (given[0] == '[') {
		(void)gx_buf_puts(b, given);
		return;
	}
	gx_jw_init(&w, b);
	gx_jw_begin(&w, '[');
	gx_jw_cstr(&w, given);
	gx_jw_end(&w, ']');
}

static int
ask(struct trace *t, bool is_peer)
{
	struct gx_buf key, path;
	int code;

	gx_buf_init(&key, 4096);
	gx_buf_init(&path, 16384);
	put_key(&key, t->cli->args[1]);
	(void)gx_buf_puts(&path, "/api/v1/trace/");
	gx_net_escape(&path, t->cli->args[0]);
	(void)gx_buf_puts(&path, "?key=");
	gx_net_escape(&path, gx_buf_str(&key));
	code = gx_net_call(t->cli, is_peer, "GET", gx_buf_str(&path), NULL,
			   &t->doc[t->n]);
	t->n += code == GX_X_OK;
	gx_buf_free(&key);
	gx_buf_free(&path);
	return code;
}

static const struct gx_json *
list(const struct gx_json *doc, const char *name)
{
	const struct gx_json *v = gx_json_get(doc, name);

	return v ? v->child : NULL;
}

static void
print_row(const struct gx_json *doc, const struct gx_json *row)
{
	const char *stream = gx_json_str(row, "stream", "");
	int64_t seq = gx_json_int(row, "seq", 0);

	printf("  from %s by stream %s, epoch %" PRId64 ", seq %" PRId64 "\n",
	       gx_json_str(row, "origin", ""), stream,
	       gx_json_int(row, "epoch", 0), seq);
	printf("  in batch %" PRId64 "-%" PRId64 ", head %.16s\n",
	       gx_json_int(row, "batch_first", 0),
	       gx_json_int(row, "batch_first", 0) +
		       gx_json_int(row, "batch_n", 1) - 1,
	       gx_json_str(row, "batch_head", "no longer kept"));
	if (gx_json_str(row, "stopped_by", "")[0] != '\0') {
		printf("  the stream stands still here: %s\n",
		       gx_json_str(row, "stopped_by", ""));
	}
	for (const struct gx_json *v = list(doc, "receipts"); v; v = v->next) {
		if (strcmp(gx_json_str(v, "stream", ""), stream) == 0) {
			printf("  receipted by %s up to seq %" PRId64 "%s\n",
			       gx_json_str(v, "sink", ""),
			       gx_json_int(v, "seq", 0),
			       gx_json_int(v, "seq", 0) >= seq
				       ? ""
				       : ": not yet this one");
		}
	}
}

static void
print_node(const struct gx_json *doc)
{
	const struct gx_json *v;

	printf("%s\n", gx_json_str(doc, "node", ""));
	if (list(doc, "rows") == NULL) {
		puts("  no row of this key");
	}
	for (v = list(doc, "rows"); v; v = v->next) {
		print_row(doc, v);
	}
	for (v = list(doc, "held"); v; v = v->next) {
		printf("  held since %s at its source, seq %" PRId64 "\n",
		       gx_json_str(v, "since", ""), gx_json_int(v, "seq", 0));
	}
	for (v = list(doc, "quarantine"); v; v = v->next) {
		printf("  quarantine %" PRId64 " (%s), %s, seq %" PRId64 "\n",
		       gx_json_int(v, "id", 0), gx_json_str(v, "side", ""),
		       gx_json_str(v, "state", ""), gx_json_int(v, "seq", 0));
	}
}

static bool
is_waiting(const struct gx_json *doc)
{
	for (const struct gx_json *v = list(doc, "quarantine"); v;
	     v = v->next) {
		if (strcmp(gx_json_str(v, "state", ""), "open") == 0) {
			return true;
		}
	}
	return false;
}

/* A row of the lower node that the upper does not have under this seq. */
static bool
is_behind(const struct gx_json *low, const struct gx_json *high)
{
	for (const struct gx_json *a = list(low, "rows"); a; a = a->next) {
		bool found = false;

		for (const struct gx_json *b = list(high, "rows"); b;
		     b = b->next) {
			found |= strcmp(gx_json_str(a, "stream", "a"),
					gx_json_str(b, "stream", "b")) == 0 &&
				 gx_json_int(b, "seq", 0) >=
					 gx_json_int(a, "seq", 0);
		}
		if (!found) {
			return true;
		}
	}
	return false;
}

static const char *
whose_turn(const struct trace *t, const char **node)
{
	for (int i = 0; i < t->n; i++) {
		*node = gx_json_str(t->doc[i], "node", "");
		if (is_waiting(t->doc[i])) {
			return "a record of the key waits in its quarantine";
		}
		if (list(t->doc[i], "held") != NULL) {
			return "the key is held: its source is to mend it";
		}
		if (i > 0 && is_behind(t->doc[i - 1], t->doc[i])) {
			return "it has not taken the newest record yet";
		}
	}
	*node = "nobody";
	return "all that were asked hold the same version";
}

int
gx_cmd_explain_record(struct gx_cli *cli)
{
	struct trace t = {.cli = cli};
	const char *node, *why;
	bool has_peer = gx_setting(cli, "peer_url") != NULL;
	int code = ask(&t, false);

	if (code == GX_X_OK && has_peer) {
		code = ask(&t, true);
	}
	if (code != GX_X_OK) {
		return code;
	}
	/* Lower first. */
	if (t.n == 2 && strcmp(gx_json_str(t.doc[1], "parent", ""),
			       gx_json_str(t.doc[0], "node", "-")) == 0) {
		const struct gx_json *low = t.doc[1];

		t.doc[1] = t.doc[0];
		t.doc[0] = low;
	}
	if (cli->output == GX_OUT_JSON || cli->output == GX_OUT_JSONL) {
		for (int i = 0; i < t.n; i++) {
			gx_table_object(cli, t.doc[i]);
		}
		return GX_X_OK;
	}
	for (int i = 0; i < t.n; i++) {
		print_node(t.doc[i]);
	}
	why = whose_turn(&t, &node);
	printf("turn: %s: %s\n", node, why);
	return list(t.doc[0], "rows") != NULL ||
			       (t.n == 2 && list(t.doc[1], "rows") != NULL) ||
			       list(t.doc[0], "quarantine") != NULL
		       ? GX_X_OK
		       : GX_X_NOT_FOUND;
}
