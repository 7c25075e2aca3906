/*
 * Help, completion, settings, errors by number, versions.
 *
 * All of it is data: the tables of commands, options, settings and errors are
 * printed, nothing is written twice.  Help shows examples first, because they
 * are what people look for.
 *
 * Completion: the script that "gxbus completion bash" prints calls the hidden
 * "gxbus __complete" with the words typed so far; it prints candidates, one a
 * line, and stays silent on any trouble.  Names of flows and streams are asked
 * from the node, which has a fifth of a second.
 *
 * "config explain" also knows the daemon's keys: it asks the gxbusd that lies
 * beside this program for its sample file, so there is no second table.
 */
#include "base/conf.h"
#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- help ---- */

static void
print_options(const struct gx_command *cmd, bool is_common)
{
	const struct gx_option *o;

	for (size_t i = 0; (o = gx_option_at(i)) != NULL; i++) {
		char word[48];

		if (is_common ? !o->is_common : !gx_option_is_of(cmd, o)) {
			continue;
		}
		snprintf(word, sizeof word, "--%s%s%s", o->name,
			 o->meta ? " " : "", o->meta ? o->meta : "");
		if (o->letter) {
			printf("  -%c, %-24s %s\n", o->letter, word, o->help);
		} else {
			printf("      %-24s %s\n", word, o->help);
		}
	}
}

void
gx_help_command(const struct gx_command *cmd)
{
	const char *p = cmd->examples;

	printf("%s\n\n", cmd->line);
	while (*p != '\0') {
		int n = (int)strcspn(p, "\n");

		printf("  %.*s\n", n, p);
		p += n + (p[n] == '\n');
	}
	printf("\ngxbus %s%s%s%s\n", cmd->words, cmd->args[0] ? " " : "",
	       cmd->args, cmd->raw && !cmd->options[0] ? "" : " [OPTIONS]");
	print_options(cmd, false);
	if (cmd->raw == NULL) {
		puts("\nOptions of every command:");
		print_options(cmd, true);
	}
}

static void
print_command(const struct gx_command *cmd)
{
	char head[64];

	snprintf(head, sizeof head, "%s%s%s", cmd->words,
		 cmd->args[0] ? " " : "", cmd->args);
	printf("  %-28s %s\n", head, cmd->line);
}

void
gx_help_all(bool with_options)
{
	const struct gx_command *cmd;

	puts("gxbus: what the nodes of the exchange bus do, and how to steer "
	     "them\n\n"
	     "  gxbus status\n"
	     "  gxbus flow list\n"
	     "  gxbus reconcile run social.insured\n\n"
	     "Commands:");
	for (size_t i = 0; (cmd = gx_command_at(i)) != NULL; i++) {
		if (cmd->line == NULL) {
			continue;
		}
		print_command(cmd);
		if (with_options) {
			print_options(cmd, false);
		}
	}
	if (with_options) {
		puts("\nOptions of every command:");
		print_options(gx_command_at(0), true);
	}
	puts("\ngxbus help COMMAND shows examples and options.\n"
	     "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not "
	     "allowed, 5 invalid,\n6 conflict, 7 unreachable, 8 time-out, 9 "
	     "partly done, 10 differences found.");
}

bool
gx_help_noun(const char *noun)
{
	const struct gx_command *cmd;
	size_t n = strlen(noun);
	bool is_found = false;

	for (size_t i = 0; (cmd = gx_command_at(i)) != NULL; i++) {
		if (cmd->line != NULL && n > 0 &&
		    strncmp(cmd->words, noun, n) == 0 && cmd->words[n] == ' ') {
			print_command(cmd);
			is_found = true;
		}
	}
	if (is_found) {
		puts("\ngxbus help COMMAND shows examples and options.");
	}
	return is_found;
}

int
gx_cmd_help(struct gx_cli *cli)
{
	const struct gx_command *cmd;
	char words[64] = "";

	if (cli->n_args == 0) {
		gx_help_all(gx_opt(cli, "all") != NULL);
		return GX_X_OK;
	}
	for (int i = 0; i < cli->n_args; i++) {
		size_t n = strlen(words);

		snprintf(words + n, sizeof words - n, "%s%s", i ? " " : "",
			 cli->args[i]);
	}
	for (size_t i = 0; (cmd = gx_command_at(i)) != NULL; i++) {
		if (cmd->line != NULL && strcmp(cmd->words, words) == 0) {
			gx_help_command(cmd);
			return GX_X_OK;
		}
	}
	return gx_help_noun(words)
		       ? GX_X_OK
		       : gx_cli_fail(cli, GX_X_USAGE, "cli.unknown_command",
				     "there is no help on this", NULL);
}

/* ---- explain, version ---- */

static bool
is_for_people(const struct gx_cli *cli)
{
	return cli->output == GX_OUT_TABLE || cli->output == GX_OUT_WIDE;
}

/* A document of our own, shown like those of a node. */
static void
begin(struct gx_buf *b, struct gx_jw *w, char bracket)
{
	gx_buf_init(b, 1u << 20);
	gx_jw_init(w, b);
	gx_jw_begin(w, bracket);
}

static const struct gx_json *
end(struct gx_cli *cli, struct gx_buf *b, struct gx_jw *w, char bracket)
{
	const struct gx_json *doc = NULL;
	struct gx_err e = {0};
	char *kept;

	gx_jw_end(w, bracket);
	kept = gx_arena_dup(cli->arena, gx_buf_str(b), b->n);
	GX_ASSERT(kept != NULL && !b->failed);
	if (gx_json_parse(cli->arena, gx_slice(kept, b->n), &doc, &e) !=
	    GX_OK) {
		GX_ASSERT(false);
	}
	gx_buf_free(b);
	return doc;
}

int
gx_cmd_explain(struct gx_cli *cli)
{
	const struct gx_error_def *def = gx_error_find(cli->args[0]);
	char number[16];
	struct gx_buf b;
	struct gx_jw w;

	if (def == NULL) {
		return gx_cli_fail(cli, GX_X_NOT_FOUND, "cli.unknown_error",
				   "no error has this number or code", NULL);
	}
	if (is_for_people(cli)) {
		printf("GX%d  %s\n%s\nwhy:  %s\nnext: %s\n", def->number,
		       def->code, def->text, def->cause, def->remedy);
		return GX_X_OK;
	}
	snprintf(number, sizeof number, "GX%d", def->number);
	begin(&b, &w, '{');
	gx_jw_kv_str(&w, "number", number);
	gx_jw_kv_str(&w, "code", def->code);
	gx_jw_kv_str(&w, "text", def->text);
	gx_jw_kv_str(&w, "cause", def->cause);
	gx_jw_kv_str(&w, "remedy", def->remedy);
	gx_table_object(cli, end(cli, &b, &w, '}'));
	return GX_X_OK;
}

int
gx_cmd_version(struct gx_cli *cli)
{
	const struct gx_json *a = NULL;
	struct gx_buf b;
	struct gx_jw w;

	if (gx_setting(cli, "url") != NULL) {
		a = gx_net_try(cli, "/api/v1/version");
	}
	if (!is_for_people(cli)) {
		begin(&b, &w, '{');
		gx_jw_kv_str(&w, "gxbus", GX_CLI_VERSION);
		gx_jw_name(&w, "node");
		gx_jw_raw(&w, a ? a->raw : GX_SLICE("null"));
		gx_table_object(cli, end(cli, &b, &w, '}'));
		return GX_X_OK;
	}
	printf("gxbus %s\n", GX_CLI_VERSION);
	for (const struct gx_json *v = a ? a->child : NULL; v; v = v->next) {
		printf("node: %s %s\n", v->name.p,
		       v->type == GX_JSON_STRING
			       ? v->text.p
			       : (char *)gx_arena_dup(cli->arena, v->raw.p,
						      v->raw.n));
	}
	return GX_X_OK;
}

/* ---- completion ---- */

int
gx_cmd_completion(struct gx_cli *cli)
{
	if (strcmp(cli->args[0], "bash") != 0) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "completion is made for bash", NULL);
	}
	fputs("_gxbus() {\n"
	      "\tlocal IFS=$'\\n'\n"
	      "\tCOMPREPLY=($(gxbus __complete "
	      "\"${COMP_WORDS[@]:1:$COMP_CWORD}\" 2>/dev/null))\n"
	      "}\n"
	      "complete -o default -F _gxbus gxbus\n",
	      stdout);
	return GX_X_OK;
}

/* The i-th word of a command, n = 0 past the last. */
static struct gx_slice
word_at(const char *words, int i)
{
	size_t n;

	while (i-- > 0) {
		n = strcspn(words, " ");
		words += n + (words[n] == ' ');
	}
	return gx_slice(words, strcspn(words, " "));
}

static bool
begins(struct gx_slice w, const char *typed)
{
	size_t n = strlen(typed);

	return w.n >= n && memcmp(w.p, typed, n) == 0;
}

static void
complete_names(struct gx_cli *cli, const struct gx_command *cmd,
	       const char *typed)
{
	bool is_stream = strncmp(cmd->words, "stream", 6) == 0;
	const struct gx_json *a, *items;

	if (!is_stream && strncmp(cmd->words, "flow", 4) != 0) {
		return;
	}
	a = gx_net_try(cli, is_stream ? "/api/v1/streams" : "/api/v1/flows");
	items = a ? gx_json_get(a, "items") : NULL;
	for (const struct gx_json *v = items ? items->child : NULL; v;
	     v = v->next) {
		const char *s = gx_json_str(v, is_stream ? "stream" : "id", "");

		if (begins(gx_slice_str(s), typed)) {
			puts(s);
		}
	}
}

static void
complete_options(const struct gx_command *cmd, const char *typed)
{
	const struct gx_option *o;

	for (size_t i = 0; (o = gx_option_at(i)) != NULL; i++) {
		char word[48];

		snprintf(word, sizeof word, "--%s", o->name);
		if (((o->is_common && cmd->raw == NULL) ||
		     gx_option_is_of(cmd, o)) &&
		    begins(gx_slice_str(word), typed)) {
			puts(word);
		}
	}
}

int
gx_cmd_complete(struct gx_cli *cli)
{
	int n = cli->n_args;
	const char *typed = n > 0 ? cli->args[n - 1] : "";
	const struct gx_command *cmd;
	struct gx_slice last = {NULL, 0};

	for (size_t i = 0; (cmd = gx_command_at(i)) != NULL; i++) {
		struct gx_slice w;
		bool fits = cmd->line != NULL;
		int k = 0;

		for (; fits && k + 1 < n; k++) {
			w = word_at(cmd->words, k);
			if (w.n == 0) {
				break;
			}
			fits = gx_slice_eq(w, gx_slice_str(cli->args[k]));
		}
		w = word_at(cmd->words, k);
		if (!fits) {
			continue;
		}
		if (w.n == 0 && typed[0] == '-') {
			complete_options(cmd, typed);
		} else if (w.n == 0) {
			complete_names(cli, cmd, typed);
		} else if (begins(w, typed) && !gx_slice_eq(w, last)) {
			printf("%.*s\n", (int)w.n, w.p);
			last = w;
		}
	}
	return GX_X_OK;
}

/* ---- config ---- */

static void
show_settings(struct gx_cli *cli)
{
	static const struct gx_column columns[] = {{"name", "NAME", false},
						   {"value", "VALUE", false},
						   {"origin", "ORIGIN", false},
						   {NULL, NULL, false}};
	const char *name, *help;
	struct gx_buf b;
	struct gx_jw w;

	begin(&b, &w, '{');
	gx_jw_kv_int(&w, "v", 1);
	gx_jw_name(&w, "items");
	gx_jw_begin(&w, '[');
	for (size_t i = 0; (name = gx_setting_at(i, &help)) != NULL; i++) {
		gx_jw_begin(&w, '{');
		gx_jw_kv_str(&w, "name", name);
		gx_jw_kv_str(&w, "value", gx_setting(cli, name));
		gx_jw_kv_str(&w, "origin", gx_setting_origin(cli, name));
		gx_jw_end(&w, '}');
	}
	gx_jw_end(&w, ']');
	gx_jw_kv_str(&w, "next", NULL);
	gx_table_list(cli, end(cli, &b, &w, '}'), columns);
}

int
gx_cmd_config_show(struct gx_cli *cli)
{
	bool with_origin = gx_opt(cli, "origin") != NULL;
	const char *name, *help;

	if (!is_for_people(cli)) {
		show_settings(cli);
		return GX_X_OK;
	}
	for (size_t i = 0; (name = gx_setting_at(i, &help)) != NULL; i++) {
		const char *v = gx_setting(cli, name);

		printf("%-16s %s", name, v ? v : "(not set)");
		if (with_origin && v != NULL) {
			printf("  (%s)", gx_setting_origin(cli, name));
		}
		putchar('\n');
	}
	return GX_X_OK;
}

/* Print the paragraph of the sample file that ends in "key =". */
static bool
explain_daemon_key(const char *key)
{
	char path[1024], line[4200], block[8192] = "";
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 40);
	bool is_found = false;
	char *slash;
	FILE *f;

	if (n <= 0) {
		return false;
	}
	path[n] = '\0';
	slash = strrchr(path, '/');
	snprintf(slash + 1, sizeof path - (size_t)(slash + 1 - path), "gxbusd");
	if (access(path, X_OK) != 0 || strchr(path, '\'') != NULL) {
		return false;
	}
	snprintf(line, sizeof line, "'%s' --print-sample", path);
	f = popen(line, "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		size_t at = strlen(block), len = strlen(key);
		const char *p = line + (line[0] == '#') +
				(line[0] == '#' && line[1] == ' ');

		if (line[0] == '\n') {
			block[0] = '\0';
			continue;
		}
		snprintf(block + at, sizeof block - at, "%s", line);
		if (strncmp(p, key, len) == 0 &&
		    strncmp(p + len, " =", 2) == 0) {
			fputs(block, stdout);
			is_found = true;
			block[0] = '\0';
		}
	}
	if (f != NULL) {
		(void)pclose(f);
	}
	return is_found;
}

int
gx_cmd_config_explain(struct gx_cli *cli)
{
	const char *name, *help;

	for (size_t i = 0; (name = gx_setting_at(i, &help)) != NULL; i++) {
		if (cli->n_args == 0) {
			printf("%-16s %s\n", name, help);
		} else if (strcmp(cli->args[0], name) == 0) {
			printf("%s: %s\n", name, help);
			return GX_X_OK;
		}
	}
	if (cli->n_args == 0 || explain_daemon_key(cli->args[0])) {
		return GX_X_OK;
	}
	return gx_cli_fail(cli, GX_X_NOT_FOUND, "cli.usage",
			   "no setting has this name",
			   "neither this program nor gxbusd knows it");
}
