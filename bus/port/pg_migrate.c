/*
 * Migrations: the tables of a node, brought to where this program needs them.
 *
 * The folder holds files NNN_name.sql.  All that are new are applied in one
 * transaction, in the order of their numbers, each noted in gx_migration with
 * the SM3 of its bytes.  An advisory lock of that transaction lets one process
 * at a time do it; the next one finds nothing left.  If we die on any line the
 * database is as it was.
 *
 * A file that was applied and then changed, or is gone, is a stop: the
 * database would not be what the files say, and an older program must not
 * work on a newer database.
 */
#include "port/pg_int.h"

#include "base/text.h"
#include "trust/sm.h"

#include <dirent.h>
#include <errno.h>

#define FILES_MAX 512
#define FILE_BYTES (4u << 20)

struct file {
	unsigned number;
	char name[128];
};

/* "001_node.sql" */
static bool
parse_name(const char *name, struct file *f)
{
	size_t digits = strspn(name, "0123456789");
	size_t n = strlen(name);
	uint64_t v;

	if (digits == 0 || digits > 6 || name[digits] != '_' || n < 5 ||
	    n >= sizeof(f->name) || strcmp(name + n - 4, ".sql") != 0) {
		return false;
	}
	v = strtoull(name, NULL, 10);
	f->number = (unsigned)v;
	memcpy(f->name, name, n + 1);
	return true;
}

static int
by_number(const void *a, const void *b)
{
	unsigned x = ((const struct file *)a)->number;
	unsigned y = ((const struct file *)b)->number;

	return x < y ? -1 : x > y;
}

static enum gx_rc
list_files(const char *dir, struct file *files, size_t *n, struct gx_err *e)
{
	DIR *d = opendir(dir);
	struct dirent *entry;

	*n = 0;
	if (d == NULL) {
		return GX_ERR(e, GX_FATAL, "pg.migration",
			      "the folder %s cannot be read: %s", dir,
			      strerror(errno));
	}
	while ((entry = readdir(d)) != NULL && *n < FILES_MAX) {
		*n += parse_name(entry->d_name, &files[*n]);
	}
	(void)closedir(d);
	qsort(files, *n, sizeof(*files), by_number);
	for (size_t i = 1; i < *n; i++) {
		if (files[i].number == files[i - 1].number) {
			return GX_ERR(e, GX_FATAL, "pg.migration",
				      "two files of %s have the number %u", dir,
				      files[i].number);
		}
	}
	return GX_OK;
}

static enum gx_rc
read_file(const char *dir, const struct file *f, struct gx_buf *out,
	  struct gx_err *e)
{
	char path[1024], piece[4096];
	size_t n;
	FILE *in;

	gx_buf_reset(out);
	(void)snprintf(path, sizeof(path), "%s/%s", dir, f->name);
	in = fopen(path, "re");
	while (in != NULL && (n = fread(piece, 1, sizeof(piece), in)) > 0) {
		(void)gx_buf_put(out, piece, n);
	}
	if (in == NULL || ferror(in) != 0) {
		out->failed = true;
	}
	if (in != NULL) {
		(void)fclose(in);
	}
	return !out->failed ? GX_OK
			    : GX_ERR(e, GX_FATAL, "pg.migration",
				     "the file %s cannot be read", f->name);
}

/* *sum: 64 hex digits as noted, "" if the number was never applied. */
static enum gx_rc
find_applied(struct gx_pg *pg, unsigned number, char sum[65], struct gx_err *e)
{
	char text[16];
	const char *params[] = {text};
	const struct gx_rows *r;
	enum gx_rc rc;

	(void)snprintf(text, sizeof(text), "%u", number);
	rc = gx_pg_query(pg,
			 "SELECT sum FROM gx_migration WHERE number = "
			 "$1::integer",
			 1, params, &r, e);
	sum[0] = '\0';
	if (rc == GX_OK && gx_rows_n(r) > 0) {
		(void)snprintf(sum, 65, "%s", gx_rows_str(r, 0, 0));
	}
	return rc;
}

static enum gx_rc
apply(struct gx_pg *pg, const struct file *f, struct gx_buf *text,
      const char *sum, struct gx_err *e)
{
	char number[16];
	const char *params[] = {number, f->name, sum};
	enum gx_rc rc = gx_pg_exec(pg, gx_buf_str(text), e);

	if (rc != GX_OK) {
		gx_err_note(e, "%s", f->name);
		return rc == GX_REJECT ? GX_FATAL : rc;
	}
	(void)snprintf(number, sizeof(number), "%u", f->number);
	return gx_pg_query(pg,
			   "INSERT INTO gx_migration (number, name, sum) "
			   "VALUES ($1::integer, $2, $3)",
			   3, params, NULL, e);
}

static enum gx_rc
check_or_apply(struct gx_pg *pg, const char *dir, const struct file *f,
	       struct gx_buf *text, struct gx_err *e)
{
	unsigned char digest[GX_SM3];
	char sum[65], applied[65];
	enum gx_rc rc = read_file(dir, f, text, e);

	if (rc == GX_OK) {
		rc = find_applied(pg, f->number, applied, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_sm3(text->p, text->n, digest);
	gx_hex(digest, sizeof(digest), sum);
	if (applied[0] == '\0') {
		return apply(pg, f, text, sum, e);
	}
	if (strcmp(applied, sum) != 0) {
		return GX_ERR(e, GX_FATAL, "pg.migration",
			      "%s was changed after it had been applied",
			      f->name);
	}
	return GX_OK;
}

/* Has the database been moved on by a newer program? */
static enum gx_rc
check_count(struct gx_pg *pg, size_t n_files, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(pg, "SELECT count(*) FROM gx_migration", 0,
				    NULL, &r, e);

	if (rc == GX_OK && gx_rows_int(r, 0, 0) > (int64_t)n_files) {
		return GX_ERR(e, GX_FATAL, "pg.migration",
			      "the database holds %s migrations, the folder "
			      "only %zu: it belongs to a newer program",
			      gx_rows_str(r, 0, 0), n_files);
	}
	return rc;
}

static enum gx_rc
migrate(struct gx_pg *pg, const char *dir, const struct file *files, size_t n,
	struct gx_err *e)
{
	struct gx_buf text;
	enum gx_rc rc = gx_pg_exec(
		pg,
		"BEGIN; SET LOCAL statement_timeout = 0; "
		"SET LOCAL lock_timeout = '30s'; "
		"SELECT pg_advisory_xact_lock(7381239, 1); "
		"CREATE TABLE IF NOT EXISTS gx_migration ("
		"number integer PRIMARY KEY, name text NOT NULL, "
		"sum text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
		e);

	gx_buf_init(&text, FILE_BYTES);
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		rc = check_or_apply(pg, dir, &files[i], &text, e);
	}
	gx_buf_free(&text);
	if (rc == GX_OK) {
		rc = check_count(pg, n, e);
	}
	return rc == GX_OK ? gx_pg_exec(pg, "COMMIT", e) : rc;
}

enum gx_rc
gx_pg_migrate(struct gx_pg *pg, const char *dir, struct gx_err *e)
{
	struct file *files = gx_mem_new(FILES_MAX * sizeof(*files));
	size_t n;
	enum gx_rc rc = list_files(dir, files, &n, e);

	if (rc == GX_OK) {
		rc = migrate(pg, dir, files, n, e);
	}
	if (rc != GX_OK) {
		gx_pg_rollback(pg);
	}
	gx_mem_free(files);
	return rc;
}
