/*
 * Arguments and input of commands that need no node.
 *
 * Other people's test suites and scripts call these commands, so everything
 * is exact: an option that is unknown, given twice or has no value ends with
 * 2 before a byte is read, and the words after "--" are files whatever they
 * begin with.
 *
 * Input is bytes.  It is read in pieces of 64 KiB and never held as a whole
 * here, so its size has no limit; NUL and any other byte pass unchanged.  A
 * file that cannot be opened or read ends with 3 or 1, and so never looks
 * like an answer about its content.
 *
 * Nothing is written but errors, and no byte of the input stands in one.  If
 * we die on any line, there is nothing to clean up.
 */
#include "cli/raw.h"
#include "trust/seal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE (64u << 10)

int
gx_raw_fail(int exit_code, const char *code, const char *what, const char *why)
{
	static const struct gx_cli plain;

	return gx_cli_fail(&plain, exit_code, code, what, why);
}

static int
usage(const char *what, const char *word)
{
	char text[160];

	snprintf(text, sizeof text, "%s%.60s", what, word);
	return gx_raw_fail(GX_X_USAGE, "cli.usage", text, NULL);
}

/* The option that word names; *value behind its "=", if it has one. */
static struct gx_raw_opt *
find_option(struct gx_raw_opt *opts, const char *word, const char **value)
{
	const char *eq = strchr(word, '=');
	size_t n = eq ? (size_t)(eq - word) : strlen(word);

	*value = eq ? eq + 1 : NULL;
	for (; opts->name != NULL; opts++) {
		if (n > 2 && strlen(opts->name) == n - 2 &&
		    memcmp(opts->name, word + 2, n - 2) == 0) {
			return opts;
		}
	}
	return NULL;
}

/* Take argv[*i] and perhaps the next. */
static int
take_option(int argc, char **argv, int *i, struct gx_raw_opt *opts)
{
	const char *value, *word = argv[*i];
	struct gx_raw_opt *o =
		word[1] == '-' ? find_option(opts, word, &value) : NULL;

	if (o == NULL) {
		return usage("this command has no such option", "");
	}
	if (o->value != NULL) {
		return usage("given twice: --", o->name);
	}
	if (o->is_flag) {
		o->value = "";
		return value ? usage("takes no value: --", o->name) : GX_X_OK;
	}
	if (value == NULL && *i + 1 < argc) {
		value = argv[++*i];
	}
	if (value == NULL) {
		return usage("a value is missing after --", o->name);
	}
	o->value = value;
	return GX_X_OK;
}

int
gx_raw_read_files(int argc, char **argv, struct gx_raw_opt *opts,
		  const char **files, size_t max, size_t *n_files)
{
	bool is_words = false;

	*n_files = 0;
	for (int i = 1; i < argc; i++) {
		if (!is_words && strcmp(argv[i], "--") == 0) {
			is_words = true;
		} else if (!is_words && argv[i][0] == '-' && argv[i][1]) {
			int code = take_option(argc, argv, &i, opts);

			if (code != GX_X_OK) {
				return code;
			}
		} else if (*n_files < max) {
			files[(*n_files)++] = argv[i];
		} else {
			return usage(max == 1 ? "more than one file is named"
					      : "too many files are named",
				     "");
		}
	}
	for (const struct gx_raw_opt *o = opts; o->name != NULL; o++) {
		if (o->value == NULL && !o->is_optional) {
			return usage("an option is missing: --", o->name);
		}
	}
	return GX_X_OK;
}

int
gx_raw_read(int argc, char **argv, struct gx_raw_opt *opts, const char **file)
{
	size_t n;

	*file = NULL;
	return gx_raw_read_files(argc, argv, opts, file, 1, &n);
}

static int
fail_file(const char *file, int error)
{
	char text[300];

	snprintf(text, sizeof text, "%.250s cannot be read",
		 file ? file : "standard input");
	return gx_raw_fail(error == ENOENT ? GX_X_NOT_FOUND : GX_X_FAILED,
			   "cli.file", text, strerror(error));
}

int
gx_raw_pour(const char *file, gx_raw_take_f take, void *ctx)
{
	bool is_stdin = file == NULL || strcmp(file, "-") == 0;
	FILE *f = is_stdin ? stdin : fopen(file, "rbe");
	char piece[PIECE];
	bool goes_on = true;
	int error = 0;

	if (f == NULL) {
		return fail_file(file, errno);
	}
	while (goes_on) {
		size_t n = fread(piece, 1, sizeof piece, f);

		if (ferror(f)) {
			error = errno ? errno : EIO;
			break;
		}
		if (n == 0) {
			break;
		}
		goes_on = take(ctx, piece, n);
	}
	gx_mem_wipe(piece, sizeof piece);
	if (!is_stdin) {
		fclose(f);
	}
	return error ? fail_file(is_stdin ? NULL : file, error) : GX_X_OK;
}

int
gx_raw_hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
gx_raw_unhex(struct gx_buf *b, const char *hex)
{
	for (; hex[0] != '\0'; hex += 2) {
		int high = gx_raw_hex_digit(hex[0]);
		int low = high < 0 ? -1 : gx_raw_hex_digit(hex[1]);

		if (low < 0 || !gx_buf_putc(b, (char)(high << 4 | low))) {
			return false;
		}
	}
	return true;
}

int
gx_raw_trust(const char *path, struct gx_keyring **out)
{
	const char *slash = strrchr(path, '/'), *file;
	struct gx_err e = {0};
	struct gx_key *k = NULL;
	struct stat st;
	char node[33] = "";
	size_t n;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (gx_keyring_load(path, out, &e) == GX_OK) {
			return GX_X_OK;
		}
		return gx_raw_fail(GX_X_FAILED, e.code, e.text, NULL);
	}
	file = slash != NULL ? slash + 1 : path;
	n = strspn(file, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (n == 0 || n >= sizeof node || file[n] != '.') {
		return gx_raw_fail(GX_X_USAGE, "key.name",
				   "the file of --trust is not named "
				   "<node>.pem",
				   NULL);
	}
	memcpy(node, file, n);
	if (gx_key_load_public(path, &k, &e) != GX_OK) {
		return gx_raw_fail(GX_X_FAILED, e.code, e.text, NULL);
	}
	*out = gx_keyring_new();
	gx_keyring_add(*out, node, &k);
	return GX_X_OK;
}
