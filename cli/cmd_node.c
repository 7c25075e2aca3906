/*
 * Commands about flows, streams, tokens and the node.
 *
 * Each is one or two questions to a node and a way to show the answer.  The
 * node decides what may be seen and done; nothing is decided here.  Commands
 * that change something say what they do on stderr, and with --dry-run they
 * say it and stop.
 *
 * Streams are shown with their heads at both ends when a peer is known: the
 * same head hash means the same history.  A peer that does not answer makes
 * the command fail rather than show half of the truth, and so does a peer that
 * is the same node: its heads are always equal.
 */
#include "cli/cmd.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- status ---- */

int
gx_cmd_status(struct gx_cli *cli)
{
	bool watches = gx_opt(cli, "watch") != NULL;
	const struct gx_json *a;
	int code;

	for (;;) {
		code = gx_net_call(cli, false, "GET", "/api/v1/status", NULL,
				   &a);
		if (!watches && code != GX_X_OK) {
			return code;
		}
		if (code == GX_X_OK) {
			if (watches && isatty(STDOUT_FILENO)) {
				fputs("\033[H\033[2J", stdout);
			}
			gx_table_object(cli, a);
		}
		if (!watches || fflush(stdout) != 0) {
			return code;
		}
		gx_arena_reset(cli->arena);
		(void)poll(NULL, 0, 2000);
	}
}

/* ---- flows ---- */

int
gx_cmd_flow_list(struct gx_cli *cli)
{
	static const struct gx_column columns[] = {
		{"id", "FLOW", false},	      {"kind", "KIND", false},
		{"state", "STATE", false},    {"wish", "WISH", false},
		{"number", "ERROR", false},   {"since", "SINCE", false},
		{"process", "PROCESS", true}, {"detail", "DETAIL", true},
		{NULL, NULL, false}};
	const struct gx_json *a;
	int code = gx_net_call(cli, false, "GET", "/api/v1/flows", NULL, &a);

	if (code == GX_X_OK) {
		gx_table_list(cli, a, columns);
	}
	return code;
}

/* /api/v1/<noun>/<arg><rest> in the arena */
static const char *
path_of(struct gx_cli *cli, const char *noun, const char *rest)
{
	struct gx_buf b;
	const char *p;

	gx_buf_init(&b, 4096);
	(void)gx_buf_printf(&b, "/api/v1/%s/", noun);
	gx_net_escape(&b, cli->args[0]);
	(void)gx_buf_puts(&b, rest);
	p = gx_arena_dup(cli->arena, gx_buf_str(&b), b.n);
	gx_buf_free(&b);
	return p;
}

static int
show(struct gx_cli *cli, const char *noun)
{
	const struct gx_json *a;
	int code = gx_net_call(cli, false, "GET", path_of(cli, noun, ""), NULL,
			       &a);

	if (code == GX_X_OK) {
		gx_table_object(cli, a);
	}
	return code;
}

int
gx_cmd_flow_show(struct gx_cli *cli)
{
	return show(cli, "flows");
}

/* The body of a command: what it says, and why. */
static void
put_body(const struct gx_cli *cli, struct gx_buf *b, const char *flag)
{
	const char *why = gx_opt(cli, "reason");
	struct gx_jw w;

	gx_buf_init(b, 4096);
	gx_jw_init(&w, b);
	gx_jw_begin(&w, '{');
	if (flag != NULL) {
		gx_jw_kv_bool(&w, flag, true);
	}
	if (why != NULL) {
		gx_jw_kv_str(&w, "reason", why);
	}
	gx_jw_end(&w, '}');
}

static int
command(struct gx_cli *cli, const char *verb, const char *flag)
{
	const struct gx_json *a;
	struct gx_buf body;
	char rest[16];
	int code;

	if (gx_opt(cli, "dry-run") != NULL) {
		fprintf(stderr, "~ flow %s: %s\n", cli->args[0], verb);
		return show(cli, "flows");
	}
	snprintf(rest, sizeof rest, "/%s", verb);
	put_body(cli, &body, flag);
	code = gx_net_call(cli, false, "POST", path_of(cli, "flows", rest),
			   gx_buf_str(&body), &a);
	gx_buf_free(&body);
	if (code == GX_X_OK) {
		fprintf(stderr, "flow %s: %s is ordered; gxbus flow show %s\n",
			cli->args[0], verb, cli->args[0]);
		gx_table_object(cli, a);
	}
	return code;
}

int
gx_cmd_flow_pause(struct gx_cli *cli)
{
	return command(cli, "pause", NULL);
}

int
gx_cmd_flow_resume(struct gx_cli *cli)
{
	return command(cli, "resume", gx_opt(cli, "accept") ? "accept" : NULL);
}

int
gx_cmd_flow_restart(struct gx_cli *cli)
{
	return command(cli, "restart", NULL);
}

/* ---- streams ---- */

static const struct gx_json *
find_stream(const struct gx_json *doc, const char *name)
{
	const struct gx_json *items = gx_json_get(doc, "items");

	for (const struct gx_json *v = items ? items->child : NULL; v;
	     v = v->next) {
		if (strcmp(gx_json_str(v, "stream", ""), name) == 0) {
			return v;
		}
	}
	return NULL;
}

static const char *
compare(const struct gx_json *a, const struct gx_json *b)
{
	int64_t x = gx_json_int(a, "next_seq", 0);
	int64_t y = b ? gx_json_int(b, "next_seq", 0) : 0;

	if (b == NULL) {
		return "absent there";
	}
	if (x != y) {
		return x < y ? "behind" : "ahead";
	}
	return strcmp(gx_json_str(a, "head", "a"), gx_json_str(b, "head", "b"))
		       ? "differs"
		       : "equal";
}

/* a's items with peer_next_seq, peer_head and ends added. */
static const struct gx_json *
join_streams(struct gx_cli *cli, const struct gx_json *a,
	     const struct gx_json *peer)
{
	const struct gx_json *items = gx_json_get(a, "items"), *out = NULL;
	struct gx_buf b;
	struct gx_jw w;
	struct gx_err e;
	char *kept;

	gx_buf_init(&b, 64u << 20);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_int(&w, "v", 1);
	gx_jw_name(&w, "items");
	gx_jw_begin(&w, '[');
	for (const struct gx_json *v = items ? items->child : NULL; v;
	     v = v->next) {
		const struct gx_json *p =
			find_stream(peer, gx_json_str(v, "stream", ""));

		gx_jw_begin(&w, '{');
		for (const struct gx_json *m = v->child; m; m = m->next) {
			gx_jw_name(&w, m->name.p);
			gx_jw_raw(&w, m->raw);
		}
		gx_jw_name(&w, "peer_next_seq");
		gx_jw_raw(&w, p ? gx_json_get(p, "next_seq")->raw
				: GX_SLICE("null"));
		gx_jw_kv_str(&w, "peer_head",
			     p ? gx_json_str(p, "head", "") : NULL);
		gx_jw_kv_str(&w, "ends", compare(v, p));
		gx_jw_end(&w, '}');
	}
	gx_jw_end(&w, ']');
	gx_jw_kv_str(&w, "next", NULL);
	gx_jw_end(&w, '}');
	kept = gx_arena_dup(cli->arena, gx_buf_str(&b), b.n);
	if (kept == NULL ||
	    gx_json_parse(cli->arena, gx_slice(kept, b.n), &out, &e) != GX_OK) {
		out = a;
	}
	gx_buf_free(&b);
	return out;
}

/* The name of the node that answers; it lives in the arena. */
static int
ask_name(struct gx_cli *cli, bool is_peer, const char **out)
{
	const struct gx_json *a;
	int code = gx_net_call(cli, is_peer, "GET", "/api/v1/status", NULL, &a);

	*out = code == GX_X_OK ? gx_json_str(a, "node", "") : "";
	return code;
}

static int
get_streams(struct gx_cli *cli, const struct gx_json **out)
{
	const char *here, *there;
	const struct gx_json *peer;
	int code = gx_net_call(cli, false, "GET", "/api/v1/streams", NULL, out);

	if (code != GX_X_OK || gx_setting(cli, "peer_url") == NULL) {
		return code;
	}
	code = ask_name(cli, false, &here);
	if (code == GX_X_OK) {
		code = ask_name(cli, true, &there);
	}
	if (code == GX_X_OK && strcmp(here, there) == 0) {
		code = gx_cli_fail_same(cli, here);
	}
	if (code == GX_X_OK) {
		code = gx_net_call(cli, true, "GET", "/api/v1/streams", NULL,
				   &peer);
	}
	if (code == GX_X_OK) {
		*out = join_streams(cli, *out, peer);
	}
	return code;
}

int
gx_cmd_stream_list(struct gx_cli *cli)
{
	static const struct gx_column columns[] = {
		{"stream", "STREAM", false},
		{"state", "STATE", false},
		{"next_seq", "NEXT", false},
		{"peer_next_seq", "PEER NEXT", false},
		{"ends", "ENDS", false},
		{"receipted_seq", "RECEIPTED UP TO", false},
		{"receipted_by", "BY", false},
		{"moved_at", "MOVED AT", false},
		{"head", "HEAD", true},
		{"peer_head", "PEER HEAD", true},
		{"code", "ERROR", true},
		{NULL, NULL, false}};
	const struct gx_json *a;
	int code = get_streams(cli, &a);

	if (code == GX_X_OK) {
		gx_table_list(cli, a, columns);
	}
	return code;
}

/* /NODE/ORG/ADAPTER/RESOURCE/N */
static bool
is_stream(const char *s)
{
	int n_parts = 0;

	while (s[0] == '/' && s[1] != '/' && s[1] != '\0') {
		s += 1 + strcspn(s + 1, "/");
		n_parts++;
	}
	return n_parts == 5 && s[0] == '\0';
}

/* s with its receipts as one more member. */
static const struct gx_json *
join_receipts(struct gx_cli *cli, const struct gx_json *s,
	      const struct gx_json *receipts)
{
	const struct gx_json *items = gx_json_get(receipts, "items");
	const struct gx_json *out = NULL;
	struct gx_buf b;
	struct gx_err e;
	char *kept;

	gx_buf_init(&b, 16u << 20);
	(void)gx_buf_put(&b, s->raw.p, s->raw.n - 1);
	(void)gx_buf_puts(&b, ",\"receipts\":");
	(void)gx_buf_slice(&b, items ? items->raw : GX_SLICE("[]"));
	(void)gx_buf_putc(&b, '}');
	kept = gx_arena_dup(cli->arena, gx_buf_str(&b), b.n);
	if (kept == NULL ||
	    gx_json_parse(cli->arena, gx_slice(kept, b.n), &out, &e) != GX_OK) {
		out = s;
	}
	gx_buf_free(&b);
	return out;
}

static int
show_stream(struct gx_cli *cli, const struct gx_json *s)
{
	static const struct gx_column columns[] = {
		{"sink", "RECEIPT OF", false},
		{"verdict", "VERDICT", false},
		{"seq", "UP TO", false},
		{"applied", "APPLIED", false},
		{"aside", "SET ASIDE", false},
		{"at", "AT", false},
		{"head", "HEAD", true},
		{"reason", "REASON", true},
		{NULL, NULL, false}};
	const struct gx_json *receipts;
	struct gx_buf path;
	int code;

	gx_buf_init(&path, 2048);
	(void)gx_buf_puts(&path, "/api/v1/receipts?stream=");
	gx_net_escape(&path, cli->args[0]);
	code = gx_net_call(cli, false, "GET", gx_buf_str(&path), NULL,
			   &receipts);
	gx_buf_free(&path);
	if (code != GX_X_OK) {
		return code;
	}
	if (cli->output != GX_OUT_TABLE && cli->output != GX_OUT_WIDE) {
		gx_table_object(cli, join_receipts(cli, s, receipts));
		return GX_X_OK;
	}
	gx_table_object(cli, s);
	putchar('\n');
	gx_table_list(cli, receipts, columns);
	return GX_X_OK;
}

int
gx_cmd_stream_show(struct gx_cli *cli)
{
	const struct gx_json *a, *s;
	int code;

	if (!is_stream(cli->args[0])) {
		return gx_cli_fail(
			cli, GX_X_USAGE, "cli.usage",
			"a stream is named /NODE/ORG/ADAPTER/RESOURCE/N",
			"for example: gxbus stream show "
			"/450100/hrss/social/social.insured/0; gxbus stream "
			"list shows all");
	}
	code = get_streams(cli, &a);
	if (code != GX_X_OK) {
		return code;
	}
	s = find_stream(a, cli->args[0]);
	if (s == NULL) {
		return gx_cli_fail(cli, GX_X_NOT_FOUND, "api.not_found",
				   "there is no such stream at this node",
				   NULL);
	}
	return show_stream(cli, s);
}

/* ---- node ---- */

int
gx_cmd_node_list(struct gx_cli *cli)
{
	static const struct gx_column columns[] = {
		{"id", "NODE", false},
		{"relation", "RELATION", false},
		{"streams", "STREAMS", false},
		{"records", "RECORDS", false},
		{"moved_at", "MOVED AT", false},
		{NULL, NULL, false}};
	const struct gx_json *a;
	int code = gx_net_call(cli, false, "GET", "/api/v1/nodes", NULL, &a);

	if (code == GX_X_OK) {
		gx_table_list(cli, a, columns);
	}
	return code;
}

int
gx_cmd_doctor(struct gx_cli *cli)
{
	static const struct gx_column columns[] = {
		{"verdict", "VERDICT", false},
		{"check", "CHECK", false},
		{"finding", "FINDING", false},
		{"next", "NEXT", false},
		{NULL, NULL, false}};
	const struct gx_json *a, *items;
	int code = gx_net_call(cli, false, "GET", "/api/v1/doctor", NULL, &a);

	if (code != GX_X_OK) {
		return code;
	}
	gx_table_list(cli, a, columns);
	items = gx_json_get(a, "items");
	for (const struct gx_json *v = items ? items->child : NULL; v;
	     v = v->next) {
		if (strcmp(gx_json_str(v, "verdict", ""), "trouble") == 0) {
			return GX_X_DIFFERS;
		}
	}
	return GX_X_OK;
}

static void
print_message(const struct gx_json *v)
{
	const struct gx_json *lines = gx_json_get(v, "lines");

	printf("%s %" PRId64 ":%" PRId64 " %s epoch=%" PRId64,
	       gx_json_str(v, "kind", ""), gx_json_int(v, "partition", 0),
	       gx_json_int(v, "offset", 0), gx_json_str(v, "stream", ""),
	       gx_json_int(v, "epoch", 0));
	if (lines == NULL) {
		printf(" at=%s\n", gx_json_str(v, "at", ""));
		return;
	}
	printf(" first=%" PRId64 " n=%" PRId64 " at=%s\n",
	       gx_json_int(v, "first", 0), gx_json_int(v, "n", 0),
	       gx_json_str(v, "at", ""));
	for (const struct gx_json *l = lines->child; l; l = l->next) {
		printf("  %s\n", l->text.p);
	}
}

int
gx_cmd_topic_tail(struct gx_cli *cli)
{
	static const struct gx_column columns[] = {
		{"offset", "OFFSET", false}, {"kind", "KIND", false},
		{"stream", "STREAM", false}, {"first", "FIRST", false},
		{"n", "N", false},	     {"at", "AT", false},
		{NULL, NULL, false}};
	const struct gx_json *a, *items;
	char rest[64];
	int code;

	snprintf(rest, sizeof rest, "/tail?n=%.20s",
		 gx_opt(cli, "lines") ? gx_opt(cli, "lines") : "5");
	code = gx_net_call(cli, false, "GET", path_of(cli, "topics", rest),
			   NULL, &a);
	if (code != GX_X_OK) {
		return code;
	}
	if (cli->output != GX_OUT_TABLE) {
		gx_table_list(cli, a, columns);
		return code;
	}
	items = gx_json_get(a, "items");
	for (const struct gx_json *v = items ? items->child : NULL; v;
	     v = v->next) {
		print_message(v);
	}
	return code;
}

/* ---- tokens ---- */

int
gx_cmd_token_create(struct gx_cli *cli)
{
	const char *role = gx_opt(cli, "role");
	const struct gx_json *a;
	struct gx_buf b;
	struct gx_jw w;
	int code;

	if (role == NULL) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "--role is missing",
				   "a token has a role: operator or auditor");
	}
	if (gx_opt(cli, "dry-run") != NULL) {
		/* As the node would say. */
		if (strcmp(role, "operator") != 0 &&
		    strcmp(role, "auditor") != 0) {
			return gx_cli_fail(cli, GX_X_INVALID, "api.bad_request",
					   "role: write operator or auditor",
					   NULL);
		}
		fprintf(stderr, "+ token %s, role %s\n", cli->args[0], role);
		return GX_X_OK;
	}
	gx_buf_init(&b, 4096);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_str(&w, "name", cli->args[0]);
	gx_jw_kv_str(&w, "role", role);
	if (gx_opt(cli, "reason") != NULL) {
		gx_jw_kv_str(&w, "reason", gx_opt(cli, "reason"));
	}
	gx_jw_end(&w, '}');
	code = gx_net_call(cli, false, "POST", "/api/v1/tokens", gx_buf_str(&b),
			   &a);
	gx_buf_free(&b);
	if (code != GX_X_OK) {
		return code;
	}
	fprintf(stderr, "shown this once; keep it in a file with mode 0600\n");
	if (cli->output == GX_OUT_JSON) {
		gx_table_object(cli, a);
	} else {
		puts(gx_json_str(a, "token", ""));
	}
	return code;
}

int
gx_cmd_token_list(struct gx_cli *cli)
{
	static const struct gx_column columns[] = {
		{"name", "NAME", false},
		{"role", "ROLE", false},
		{"created_at", "CREATED AT", false},
		{"expires_at", "EXPIRES AT", false},
		{NULL, NULL, false}};
	const struct gx_json *a;
	int code = gx_net_call(cli, false, "GET", "/api/v1/tokens", NULL, &a);

	if (code == GX_X_OK) {
		gx_table_list(cli, a, columns);
	}
	return code;
}

int
gx_cmd_token_revoke(struct gx_cli *cli)
{
	const struct gx_json *a;
	int code;

	if (gx_opt(cli, "dry-run") != NULL) {
		fprintf(stderr, "- token %s\n", cli->args[0]);
		return GX_X_OK;
	}
	if (gx_opt(cli, "yes") == NULL) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "--yes is missing",
				   "a revoked token never works again");
	}
	code = gx_net_call(cli, false, "DELETE", path_of(cli, "tokens", ""),
			   NULL, &a);
	if (code == GX_X_OK) {
		fprintf(stderr, "token %s is revoked\n", cli->args[0]);
	}
	return code;
}
