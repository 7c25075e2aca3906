/*
 * Options, settings and errors of the command line.
 *
 * One table of options serves all commands; a row of the command table says
 * which of them it takes, any other is a usage error that names the command's
 * help.  Common options stand everywhere.
 *
 * Settings say which node to ask and how: a flag wins over the environment,
 * that over the profile.  Profiles stand in $XDG_CONFIG_HOME/gxbus/config and
 * /etc/gxbus/gxbus.conf, the first that has the profile counts.  A secret is
 * never given by a flag: flags and settings name files, whose mode is checked
 * when they are read.
 *
 * Errors are written here, in one form: what happened, why, what next, with
 * the number that "gxbus explain" takes.  They end in statements.
 */
#include "base/conf.h"
#include "cli/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct gx_option options[] = {
	{"output", 'o', "FORM", true, NULL,
	 "table, wide, json, jsonl, csv, csv-excel or name"},
	{"url", 0, "URL", true, NULL, "HTTPS address of the node"},
	{"ca", 0, "FILE", true, NULL, "CA certificates (PEM) to check it with"},
	{"token-file", 0, "FILE", true, NULL, "file of the token, mode 0600"},
	{"profile", 0, "NAME", true, NULL, "profile of the configuration file"},
	{"color", 0, "WHEN", true, NULL, "auto, always or never"},
	{"verbose", 'v', NULL, true, NULL, "say more on stderr"},
	{"help", 'h', NULL, true, NULL, "this help"},
	{"watch", 'w', NULL, false, NULL, "show again every two seconds"},
	{"accept", 0, NULL, false, NULL,
	 "accept what the mass-change guard holds"},
	{"dry-run", 0, NULL, false, NULL, "say what would be done, do nothing"},
	{"yes", 0, NULL, false, NULL, "do not ask"},
	{"peer", 0, "URL", false, NULL, "HTTPS address of the other node"},
	{"peer-token-file", 0, "FILE", false, NULL,
	 "file of the other node's token; else the same token"},
	{"node", 0, "ID", false, NULL, "only records made at this node"},
	{"wait", 0, "TIME", false, NULL,
	 "so long for records under way to arrive: 30s"},
	{"repair", 0, NULL, false, NULL,
	 "have both nodes make these rows what their signed logs say"},
	{"limit", 0, "N", false, NULL, "at most so many rows (50)"},
	{"cursor", 0, "C", false, NULL, "go on after a list's \"next\""},
	{"stream", 0, "STREAM", false, "quarantine list",
	 "only of this stream"},
	{"stream", 0, "STREAM", false, "quarantine replay",
	 "only of this stream"},
	{"side", 0, "SIDE", false, NULL,
	 "source, sink, or refused: whole batches"},
	{"state", 0, "STATE", false, NULL,
	 "open, queued, replayed, superseded or discarded"},
	{"reveal", 0, NULL, false, NULL,
	 "show the content; noted in the audit log"},
	{"set", 0, "/ITEM=VALUE", false, NULL,
	 "the item's new value; may be given often"},
	{"all", 0, NULL, false, "quarantine replay",
	 "every open item that passes its rules now"},
	{"stream", 0, "STREAM", false, "evidence export",
	 "full name of a stream; with --seq"},
	{"seq", 0, "A-B", false, NULL, "records from seq A to B, or only A"},
	{"trust", 0, "PATH", false, NULL,
	 "folder of <node>.pem, or one such file: the only keys to believe"},
	{"rule", 0, "KEYWORD", false, NULL, "only with this reason"},
	{"lines", 'n', "N", false, NULL, "messages of each partition (5)"},
	{"last", 'n', "N", false, NULL, "lines to show (20)"},
	{"head", 0, "N:HASH", false, NULL,
	 "a head that was kept: the log must hold it"},
	{"reason", 0, "TEXT", false, NULL, "why; kept in the audit log"},
	{"role", 0, "ROLE", false, "token create", "operator or auditor"},
	{"role", 0, "ROLE", false, "init", "hub, city or national"},
	{"code", 0, "CODE", false, NULL, "name of the node"},
	{"dir", 0, "DIR", false, NULL, "folder to make things in"},
	{"parent", 0, "ID", false, NULL, "name of the node above"},
	{"origin", 0, NULL, false, NULL, "say where each setting comes from"},
	{"all", 0, NULL, false, "help", "all commands with their options"},
	{"schema", 0, "FILE", false, NULL,
	 "JSON Schema, each line of [FILE] is checked against it"},
	{"all", 0, NULL, false, "schema check",
	 "every fault of a line, not only its first"},
	{"syntax", 0, NULL, false, NULL,
	 "without --schema: is [FILE] one JSON text within policy"},
	{"type", 0, "TYPE", false, NULL, "file or xml; required"},
	{"layout", 0, "FILE", false, NULL,
	 "layout of the delimited or fixed-width file; required with it"},
	{"map", 0, "FILE", false, NULL,
	 "map of the XML document; required with it"},
	{"xsd", 0, "FILE", false, NULL, "XSD that the XML document must keep"},
	{"hash", 0, "HASH", false, NULL, "sm3 or sha256; required"},
	{"key", 0, "HEX", false, "crypto hmac-sm3",
	 "key of the HMAC; required"},
	{"key", 0, "KEY", false, "evidence export",
	 "key of the record; of several fields: [\"A\",\"B\"]"},
	{"pub", 0, "HEX", false, NULL, "public key, 65 bytes, 04...; required"},
	{"id", 0, "TEXT", false, NULL,
	 "distinguishing id of the signer; required"},
	{"sig", 0, "HEX", false, NULL, "signature in DER; required"},
};

const struct gx_option *
gx_option_at(size_t i)
{
	return i < sizeof options / sizeof options[0] ? &options[i] : NULL;
}

bool
gx_option_is_of(const struct gx_command *cmd, const struct gx_option *o)
{
	const char *p = cmd->options;
	size_t n = strlen(o->name);

	if (o->is_common || (o->of && strcmp(o->of, cmd->words) != 0)) {
		return false;
	}
	while ((p = strstr(p, o->name)) != NULL) {
		if ((p == cmd->options || p[-1] == ',') &&
		    (p[n] == ',' || p[n] == '\0')) {
			return true;
		}
		p += n;
	}
	return false;
}

const char *
gx_opt(const struct gx_cli *cli, const char *name)
{
	const struct gx_option *o;
	bool is_known = false;

	/* A name may stand in several rows; at most one is the command's. */
	for (size_t i = 0; (o = gx_option_at(i)) != NULL; i++) {
		if (strcmp(o->name, name) == 0) {
			is_known = true;
			if (cli->opts[i] != NULL) {
				return cli->opts[i];
			}
		}
	}
	GX_ASSERT(is_known);
	return NULL;
}

static int
usage(const struct gx_cli *cli, const char *what, const char *word)
{
	char text[160];

	snprintf(text, sizeof text, "%s%.60s", what, word);
	return gx_cli_fail(cli, GX_X_USAGE, "cli.usage", text, NULL);
}

/* Values of --set stand one after the other, apart by a byte that no argument
 * of a person has; of all others the last one counts. */
static void
take_value(struct gx_cli *cli, const struct gx_option *o, size_t k,
	   const char *value)
{
	struct gx_buf b;

	if (cli->opts[k] == NULL || strcmp(o->name, "set") != 0) {
		cli->opts[k] = value;
		return;
	}
	gx_buf_init(&b, 1u << 20);
	(void)gx_buf_printf(&b, "%s%c%s", cli->opts[k], GX_SET_APART, value);
	value = gx_arena_dup(cli->arena, gx_buf_str(&b), b.n);
	cli->opts[k] = value != NULL ? value : cli->opts[k];
	gx_buf_free(&b);
}

/* Take argv[*i]; -1: taken. */
static int
take_option(struct gx_cli *cli, int argc, char **argv, int *i)
{
	const char *word = argv[*i];
	const char *eq = strchr(word, '=');
	size_t n = eq ? (size_t)(eq - word) : strlen(word);

	for (size_t k = 0; gx_option_at(k) != NULL; k++) {
		const struct gx_option *o = &options[k];
		bool is_long = word[1] == '-' && strlen(o->name) == n - 2 &&
			       memcmp(o->name, word + 2, n - 2) == 0;
		bool is_short = word[1] == o->letter && o->letter != 0;

		if ((!is_long && !is_short) ||
		    (!o->is_common && !gx_option_is_of(cli->cmd, o))) {
			continue;
		}
		if (o->meta == NULL) {
			if (is_long ? eq != NULL : word[2] != '\0') {
				return usage(cli, "takes no value: ", word);
			}
			cli->opts[k] = "";
		} else if (is_long && eq != NULL) {
			take_value(cli, o, k, eq + 1);
		} else if (is_short && word[2] != '\0') {
			take_value(cli, o, k, word + 2);
		} else if (*i + 1 < argc) {
			take_value(cli, o, k, argv[++*i]);
		} else {
			return usage(cli, "a value is missing after ", word);
		}
		return -1;
	}
	return usage(cli, "this command has no option ", word);
}

int
gx_opt_count_common(int argc, char **argv)
{
	const struct gx_option *o;
	int n = 0;

	while (n < argc && argv[n][0] == '-' && argv[n][1] != '\0') {
		const char *word = argv[n];
		size_t len = strcspn(word, "=");
		int taken = 0;

		for (size_t k = 0; (o = gx_option_at(k)) != NULL; k++) {
			bool is_long = word[1] == '-' &&
				       strlen(o->name) == len - 2 &&
				       memcmp(o->name, word + 2, len - 2) == 0;

			if (!o->is_common ||
			    (!is_long &&
			     (o->letter == 0 || word[1] != o->letter))) {
				continue;
			}
			/* its value is the rest of the word, or the next */
			taken = o->meta == NULL || word[is_long ? len : 2] ? 1
									   : 2;
			break;
		}
		if (taken == 0) {
			break;
		}
		n += taken;
	}
	return n < argc ? n : argc;
}

static bool
set_output(struct gx_cli *cli)
{
	static const char *const names[] = {
		"table", "wide", "json", "jsonl", "csv", "csv-excel", "name"};
	const char *word = gx_opt(cli, "output");

	for (unsigned i = 0; word != NULL && i < 7; i++) {
		if (strcmp(word, names[i]) == 0) {
			cli->output = (enum gx_output)i;
			return true;
		}
	}
	return word == NULL;
}

static void
set_color(struct gx_cli *cli)
{
	const char *when = gx_opt(cli, "color");
	const char *term = getenv("TERM");
	const char *no = getenv("NO_COLOR");

	cli->is_color = isatty(STDOUT_FILENO) && (!no || !no[0]) && term &&
			strcmp(term, "dumb") != 0;
	if (when != NULL && strcmp(when, "always") == 0) {
		cli->is_color = true;
	}
	if (when != NULL && strcmp(when, "never") == 0) {
		cli->is_color = false;
	}
}

static int check_profile(struct gx_cli *cli);

int
gx_opt_read(struct gx_cli *cli, int argc, char **argv)
{
	const struct gx_command *cmd = cli->cmd;
	bool is_words = strcmp(cmd->words, "__complete") == 0;

	for (int i = 0; i < argc; i++) {
		if (!is_words && strcmp(argv[i], "--") == 0) {
			is_words = true;
		} else if (!is_words && argv[i][0] == '-' && argv[i][1]) {
			int code = take_option(cli, argc, argv, &i);

			if (code >= 0) {
				return code;
			}
		} else if (cli->n_args < cmd->max_args &&
			   cli->n_args < GX_CLI_ARGS) {
			cli->args[cli->n_args++] = argv[i];
		} else {
			return usage(cli, "too many arguments at ", argv[i]);
		}
	}
	if (gx_opt(cli, "help") != NULL) {
		gx_help_command(cmd);
		return GX_X_OK;
	}
	if (!set_output(cli)) {
		return usage(cli, "there is no output form ",
			     gx_opt(cli, "output"));
	}
	if (cli->n_args < cmd->min_args) {
		return usage(cli, "an argument is missing: ", cmd->args);
	}
	set_color(cli);
	return check_profile(cli);
}

/* ---- settings ---- */

static const struct {
	const char *name, *option, *env, *other_env, *help;
} settings[] = {
	{"url", "url", "GXBUS_URL", NULL, "HTTPS address of the node to ask."},
	{"ca", "ca", "GXBUS_CA", "GX_CA",
	 "CA certificates (PEM) its address is checked with. GX_CA may name "
	 "them too."},
	{"token_file", "token-file", "GXBUS_TOKEN_FILE", NULL,
	 "File of the bearer token, mode 0600. GX_TOKEN may name it too, or "
	 "hold the token itself."},
	{"peer_url", "peer", "GXBUS_PEER_URL", NULL,
	 "HTTPS address of the node that is compared with."},
	{"peer_token_file", "peer-token-file", "GXBUS_PEER_TOKEN_FILE", NULL,
	 "File of that node's token; else the same token is used."},
	{"cert", NULL, "GXBUS_CERT", NULL, "Client certificate (PEM), if any."},
	{"cert_key", NULL, "GXBUS_CERT_KEY", NULL,
	 "Its private key, mode 0600."},
};
#define N_SETTINGS (sizeof settings / sizeof settings[0])

static const struct gx_conf_key profile_keys[] = {
	{"profile", "url", GX_CONF_STR, "", NULL, NULL, "address", true},
	{"profile", "ca", GX_CONF_PATH, "", NULL, NULL, "CA file", true},
	{"profile", "token_file", GX_CONF_PATH, "", NULL, NULL, "token", true},
	{"profile", "peer_url", GX_CONF_STR, "", NULL, NULL, "peer", true},
	{"profile", "peer_token_file", GX_CONF_PATH, "", NULL, NULL,
	 "token of the peer", true},
	{"profile", "cert", GX_CONF_PATH, "", NULL, NULL, "cert", true},
	{"profile", "cert_key", GX_CONF_PATH, "", NULL, NULL, "key", true},
	{NULL, NULL, GX_CONF_STR, NULL, NULL, NULL, NULL, false},
};

const char *
gx_setting_at(size_t i, const char **help)
{
	if (i >= N_SETTINGS) {
		return NULL;
	}
	*help = settings[i].help;
	return settings[i].name;
}

static bool
has_profile(const struct gx_conf *c, const char *name)
{
	const char *s;

	for (size_t i = 0; (s = gx_conf_name(c, "profile", i)) != NULL; i++) {
		if (strcmp(s, name) == 0) {
			return true;
		}
	}
	return false;
}

static bool
load_profile(struct gx_cli *cli, const char *path)
{
	struct gx_err e = {0};

	if (access(path, R_OK) != 0) {
		return false;
	}
	if (gx_conf_load(path, profile_keys, &cli->profile, &e) != GX_OK) {
		(void)gx_cli_fail_err(cli, GX_X_USAGE, &e);
		exit(GX_X_USAGE);
	}
	if (has_profile(cli->profile, cli->profile_name)) {
		return true;
	}
	gx_conf_free(&cli->profile);
	return false;
}

static const char *
from_profile(struct gx_cli *cli, const char *name)
{
	const char *given = gx_opt(cli, "profile");
	const char *xdg = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	const char *v;
	char path[1024];

	if (given == NULL) {
		given = getenv("GXBUS_PROFILE");
	}
	if (given != NULL) {
		cli->profile_name = given;
	}
	if (cli->profile == NULL) {
		snprintf(path, sizeof path, "%s%s/gxbus/config",
			 xdg && xdg[0] ? xdg : (home ? home : ""),
			 xdg && xdg[0] ? "" : "/.config");
		if (!load_profile(cli, path) &&
		    !load_profile(cli, "/etc/gxbus/gxbus.conf")) {
			return NULL;
		}
	}
	v = gx_conf_str(cli->profile, "profile", cli->profile_name, name);
	return v[0] ? v : NULL;
}

/* A profile that was named must be there, even if the environment says all
 * that it could. */
static int
check_profile(struct gx_cli *cli)
{
	const char *name = gx_opt(cli, "profile");
	char text[120];

	if (name == NULL) {
		return -1;
	}
	(void)from_profile(cli, "url");
	if (cli->profile != NULL) {
		return -1;
	}
	snprintf(text, sizeof text, "there is no profile %.60s", name);
	return gx_cli_fail(cli, GX_X_NOT_FOUND, "cli.profile", text,
			   "profiles are sections [profile NAME] of "
			   "~/.config/gxbus/config or /etc/gxbus/gxbus.conf");
}

/* NULL if neither variable is set to something. */
static const char *
from_environment(size_t i)
{
	const char *v = getenv(settings[i].env);

	if ((v == NULL || v[0] == '\0') && settings[i].other_env != NULL) {
		v = getenv(settings[i].other_env);
	}
	return v != NULL && v[0] != '\0' ? v : NULL;
}

static const char *
look_up(struct gx_cli *cli, const char *name, const char **origin)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const char *v;

		if (strcmp(settings[i].name, name) != 0) {
			continue;
		}
		*origin = "flag";
		v = settings[i].option ? gx_opt(cli, settings[i].option) : NULL;
		if (v == NULL) {
			*origin = "environment";
			v = from_environment(i);
		}
		if (v == NULL) {
			*origin = "profile";
			v = from_profile(cli, name);
		}
		if (v == NULL) {
			*origin = "";
		}
		/* an empty flag says that there shall be none */
		return v != NULL && v[0] != '\0' ? v : NULL;
	}
	GX_ASSERT(false);
	return NULL;
}

const char *
gx_setting(struct gx_cli *cli, const char *name)
{
	const char *origin;

	return look_up(cli, name, &origin);
}

const char *
gx_setting_origin(struct gx_cli *cli, const char *name)
{
	const char *origin = "";

	(void)look_up(cli, name, &origin);
	return origin;
}

/* ---- errors ---- */

static void
print_problem(int number, const struct gx_error_def *def, const char *what,
	      const char *why)
{
	struct gx_buf b;
	struct gx_jw w;
	char id[16], type[32];

	snprintf(id, sizeof id, "GX%d", number);
	snprintf(type, sizeof type, "/errors/%s", id);
	gx_buf_init(&b, 64u << 10);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_str(&w, "type", type);
	gx_jw_kv_str(&w, "title", def ? def->text : "An error.");
	gx_jw_kv_str(&w, "detail", what);
	gx_jw_kv_str(&w, "reason", why);
	gx_jw_kv_str(&w, "code", id);
	gx_jw_kv_str(&w, "remedy", def ? def->remedy : "");
	gx_jw_end(&w, '}');
	fprintf(stderr, "%s\n", gx_buf_str(&b));
	gx_buf_free(&b);
}

int
gx_cli_fail(const struct gx_cli *cli, int exit_code, const char *code,
	    const char *what, const char *why)
{
	const struct gx_error_def *def = gx_error_find(code);
	int number = def ? def->number : 1000;
	bool is_red = isatty(STDERR_FILENO) && cli->is_color;

	(void)fflush(stdout);
	if (cli->output == GX_OUT_JSON || cli->output == GX_OUT_JSONL) {
		print_problem(number, def, what, why);
		return exit_code;
	}
	fprintf(stderr, "%serror GX%d:%s %s\n", is_red ? "\033[31m" : "",
		number, is_red ? "\033[0m" : "", what);
	fprintf(stderr, "why: %s\n", why ? why : (def ? def->cause : ""));
	if (def != NULL) {
		fprintf(stderr, "next: %s\n", def->remedy);
	}
	return exit_code;
}

int
gx_cli_fail_same(const struct gx_cli *cli, const char *node)
{
	char text[96];

	snprintf(text, sizeof text, "node %.40s would be compared with itself",
		 node);
	return gx_cli_fail(cli, GX_X_USAGE, "cli.same_node", text, NULL);
}

int
gx_cli_fail_err(const struct gx_cli *cli, int exit_code, const struct gx_err *e)
{
	return gx_cli_fail(cli, exit_code, e->code ? e->code : "internal",
			   e->text, NULL);
}
