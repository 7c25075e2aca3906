/*
 * evidence export, evidence verify: proof of records, taken from a node and
 * checked without one.
 *
 * export asks a node for bundles (trust/bundle.h) and writes each into a file
 * of its own, or the only one to standard output.  A long range is asked for
 * in portions.  The records stand in the files with their content, so folder
 * and files are closed to others, and a file is complete or not there: it is
 * written under another name first.  The same export again replaces them.
 *
 * verify reads files alone.  It says "ok" with what is proved, the receipts,
 * and whose keys it was proved under; or "no", the line, and the first thing
 * that is wrong there, and ends with 10.  Without --trust the keys are those
 * in the file, which anybody could have made: they are printed, for the
 * reader to compare with what their owners publish.  With --trust no other key
 * counts.  No byte of a record is printed.
 */
#include "cli/offline.h"
#include "cli/raw.h"
#include "base/text.h"
#include "trust/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 4096

/* ---- export ---- */

static int
usage(const struct gx_cli *cli, const char *what, const char *why)
{
	return gx_cli_fail(cli, GX_X_USAGE, "cli.usage", what, why);
}

static int
fail_file(const struct gx_cli *cli, const char *path)
{
	return gx_cli_fail(cli, GX_X_FAILED, "cli.file", path, strerror(errno));
}

/* "17" or "17-20" */
static bool
read_range(const char *s, uint64_t *first, uint64_t *last)
{
	size_t n = strcspn(s, "-");

	return gx_parse_u64(s, n, GX_SEQ_MAX, first) && *first > 0 &&
	       (s[n] == '\0' ? (*last = *first, true)
			     : gx_parse_u64(s + n + 1, strlen(s + n + 1),
					    GX_SEQ_MAX, last) &&
				       *last >= *first);
}

/* <dir>/450100_hrss_social_social.insured_0-<first>-<last>.jsonl */
static bool
put_name(struct gx_buf *b, const char *dir, const struct gx_json *item)
{
	const char *stream = gx_json_str(item, "stream", "");
	int64_t first = gx_json_int(item, "first", 0);

	gx_buf_puts(b, dir);
	gx_buf_putc(b, '/');
	for (const char *p = stream + (*stream == '/'); *p; p++) {
		gx_buf_putc(b, *p == '/' ? '_' : *p);
	}
	return gx_buf_printf(b, "-%" PRId64 "-%" PRId64 ".jsonl", first,
			     first + gx_json_int(item, "n", 1) - 1);
}

static int
write_file(const struct gx_cli *cli, const char *path, struct gx_slice text)
{
	char part[1100];
	FILE *f;
	int fd;
	bool good;

	snprintf(part, sizeof part, "%s.part", path);
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		  0600);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f == NULL) {
		return fail_file(cli, part);
	}
	good = fwrite(text.p, 1, text.n, f) == text.n && fflush(f) == 0 &&
	       fsync(fd) == 0;
	good = fclose(f) == 0 && good;
	if (!good || rename(part, path) != 0) {
		int code = fail_file(cli, path);

		(void)unlink(part);
		return code;
	}
	puts(path);
	return GX_X_OK;
}

/* The items of one answer. */
static int
put_items(const struct gx_cli *cli, const struct gx_json *items,
	  const char *dir)
{
	int code = GX_X_OK;

	for (const struct gx_json *v = items->child; v && code == GX_X_OK;
	     v = v->next) {
		const struct gx_json *text = gx_json_get(v, "bundle");
		struct gx_buf path;

		if (text == NULL || text->type != GX_JSON_STRING) {
			return gx_cli_fail(cli, GX_X_FAILED, "cli.answer",
					   "an item holds no bundle", NULL);
		}
		if (dir == NULL) {
			(void)fwrite(text->text.p, 1, text->text.n, stdout);
			continue;
		}
		gx_buf_init(&path, 1024);
		code = put_name(&path, dir, v)
			       ? write_file(cli, gx_buf_str(&path), text->text)
			       : usage(cli, "the name of --dir is too long",
				       NULL);
		gx_buf_free(&path);
	}
	return code;
}

static int
ask(struct gx_cli *cli, const char *path, const char *dir)
{
	const struct gx_json *a, *items;
	int code = gx_net_call(cli, false, "GET", path, NULL, &a);

	if (code != GX_X_OK) {
		return code;
	}
	items = gx_json_get(a, "items");
	if (items == NULL || items->type != GX_JSON_ARRAY) {
		return gx_cli_fail(cli, GX_X_FAILED, "cli.answer",
				   "the answer has no items", NULL);
	}
	if (dir == NULL && items->n > 1) {
		return usage(cli,
			     "this key stands in several streams: one file for "
			     "each",
			     "name a folder for them by --dir");
	}
	code = put_items(cli, items, dir);
	gx_arena_reset(cli->arena);
	return code;
}

static int
export_key(struct gx_cli *cli, const char *key, const char *dir)
{
	struct gx_buf path;
	int code;

	gx_buf_init(&path, 8192);
	gx_buf_puts(&path, "/api/v1/evidence?resource=");
	gx_net_escape(&path, cli->args[0]);
	gx_buf_puts(&path, "&key=");
	gx_net_escape(&path, key);
	code = path.failed ? usage(cli, "the key is too long", NULL)
			   : ask(cli, gx_buf_str(&path), dir);
	gx_buf_free(&path);
	return code;
}

static int
export_range(struct gx_cli *cli, const char *stream, const char *dir)
{
	uint64_t first, last, n;
	struct gx_buf path;
	int code = GX_X_OK;

	if (!read_range(gx_opt(cli, "seq"), &first, &last)) {
		return usage(cli, "--seq is A-B or A, whole numbers from 1",
			     NULL);
	}
	if (dir == NULL && last - first >= GX_BUNDLE_LINES) {
		return usage(cli, "this range needs more than one file",
			     "name a folder for them by --dir");
	}
	gx_buf_init(&path, 8192);
	for (; code == GX_X_OK && first <= last; first += n) {
		n = last - first + 1;
		n = n < GX_BUNDLE_LINES ? n : GX_BUNDLE_LINES;
		gx_buf_reset(&path);
		gx_buf_puts(&path, "/api/v1/evidence?stream=");
		gx_net_escape(&path, stream);
		gx_buf_printf(&path, "&first=%" PRIu64 "&n=%" PRIu64, first, n);
		code = path.failed ? usage(cli, "the name is too long", NULL)
				   : ask(cli, gx_buf_str(&path), dir);
	}
	gx_buf_free(&path);
	return code;
}

int
gx_cmd_evidence_export(struct gx_cli *cli)
{
	const char *key = gx_opt(cli, "key"), *dir = gx_opt(cli, "dir");
	const char *stream = gx_opt(cli, "stream");
	bool by_key = key != NULL && cli->n_args == 1;
	bool by_seq = stream != NULL && gx_opt(cli, "seq") != NULL;

	if (by_key == by_seq || (key == NULL) == (stream == NULL) ||
	    (by_seq && cli->n_args == 1)) {
		return usage(cli, "it is not said which records to prove",
			     "either RESOURCE --key KEY, or --stream STREAM "
			     "--seq A-B");
	}
	if (dir != NULL && mkdir(dir, 0700) != 0 && errno != EEXIST) {
		return fail_file(cli, dir);
	}
	return by_key ? export_key(cli, key, dir)
		      : export_range(cli, stream, dir);
}

/* ---- verify ---- */

static bool
take_text(void *ctx, const char *p, size_t n)
{
	return gx_buf_put(ctx, p, n);
}

/* Is one of the records named as set aside?  Which is the first? */
static bool
names_one(const struct gx_bundle *b, const struct gx_receipt *r, uint64_t *seq)
{
	size_t at = 0;

	while (gx_receipt_next(r->aside_seq, &at, seq)) {
		if (*seq >= b->first && *seq - b->first < b->n) {
			return true;
		}
	}
	return false;
}

/* What a receipt says of the records, as far as it can. */
static const char *
meaning(const struct gx_bundle *b, const struct gx_receipt *r)
{
	uint64_t seq;

	if (r->verdict == GX_RECEIPT_HELD) {
		return "held, no store there takes them";
	}
	if (r->aside == 0) {
		return "all applied";
	}
	if (names_one(b, r, &seq)) {
		return "set aside, at least one of them";
	}
	return "taken; which lines were set aside is in other receipts";
}

static void
print_good(const char *file, const struct gx_bundle *b, bool has_trust)
{
	printf("ok\t%s\t%.*s\t%" PRIu64 "-%" PRIu64 "\tgiven by %.*s at "
	       "%.*s\n",
	       file, (int)b->stream.n, b->stream.p, b->first,
	       b->first + b->n - 1, (int)b->giver.n, b->giver.p, (int)b->at.n,
	       b->at.p);
	for (size_t i = 0; i < b->n_receipts; i++) {
		const struct gx_receipt *r = &b->receipts[i];

		printf("receipt\t%.*s\tup to %" PRIu64 "\tapplied %" PRIu64
		       "\taside %" PRIu64 "\t%s\n",
		       (int)r->sink.n, r->sink.p, r->seq, r->applied, r->aside,
		       meaning(b, r));
	}
	if (b->n_receipts == 0) {
		puts("receipt\tnone: nobody has said that he took them");
	}
	for (size_t i = 0; !has_trust && i < b->n_keys; i++) {
		const struct gx_bundle_key *k = &b->keys[i];

		printf("key\t%.*s\t%.*s\n", (int)k->node.n, k->node.p,
		       (int)k->kid.n, k->kid.p);
	}
}

static int
verify(const char *file, const struct gx_keyring *trust)
{
	struct gx_bundle *b;
	struct gx_buf text;
	const char *why;
	int code;

	/* one byte more than fits tells what is too long */
	gx_buf_init(&text, GX_BUNDLE_MAX + (64u << 10));
	code = gx_raw_pour(file, take_text, &text);
	if (code == GX_X_OK) {
		b = gx_mem_new(sizeof *b);
		b->line = 1;
		why = text.failed
			      ? "larger than a bundle may be"
			      : gx_bundle_check(gx_buf_view(&text), trust, b);
		if (why == NULL) {
			print_good(file, b, trust != NULL);
		} else {
			printf("no\t%s\tline %zu: %s\n", file, b->line, why);
			code = GX_X_DIFFERS;
		}
		gx_mem_free(b);
	}
	gx_buf_free(&text);
	return code;
}

int
gx_cmd_evidence_verify(int argc, char **argv)
{
	struct gx_raw_opt opts[] = {{"trust", NULL, true, false},
				    {NULL, NULL, false, false}};
	const char **files = gx_mem_array(FILES_MAX, sizeof *files);
	struct gx_keyring *trust = NULL;
	size_t n = 0;
	int code = gx_raw_read_files(argc, argv, opts, files, FILES_MAX, &n);

	if (code == GX_X_OK && n == 0) {
		files[n++] = "-";
	}
	if (code == GX_X_OK && opts[0].value != NULL) {
		code = gx_raw_trust(opts[0].value, &trust);
	}
	for (size_t i = 0; i < n && (code == GX_X_OK || i > 0); i++) {
		int one = verify(files[i], trust);

		code = code == GX_X_OK ? one : code;
	}
	if (code == GX_X_OK && trust == NULL) {
		fputs("Proved under the keys in the files, which are named "
		      "above: compare them with\nwhat their nodes publish, or "
		      "name those you believe by --trust.\n",
		      stderr);
	}
	gx_keyring_free(&trust);
	gx_mem_free(files);
	return code;
}
