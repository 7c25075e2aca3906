/*
 * "adapter preview --type file": a delivered file as records, offline.
 *
 * Nothing of a refused file may be printed, and whether its counts and sums
 * agree is known at its last line.  So a file that has such a frame, or is
 * packed, is read twice: once for this, once to print.  What cannot be read
 * twice, a pipe, is written into a nameless file of this user alone first,
 * which is gone with the process, also if it is killed.  A file that can only
 * be refused by its line of names is read once.  Memory is constant.
 *
 * Records go to stdout as they are made, one JSON object a line; each refused
 * row is one JSON object on stderr with its lines and the reason.  What a
 * refused row held is never printed.
 */
#include "base/json.h"
#include "cli/offline.h"
#include "cli/raw.h"
#include "record/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LAYOUT_BYTES ((size_t)4 << 20)
#define OUT_BYTES ((size_t)256 << 10)

struct preview {
	const struct gx_file_layout *l;
	int fd;
	char ahead[2]; /* read to see what it is, not handed on yet */
	size_t n_ahead;
	struct gx_buf line; /* of one refusal */
};

static bool
take_layout(void *ctx, const char *p, size_t n)
{
	return gx_buf_put(ctx, p, n);
}

static int
load_layout(const char *path, struct gx_file_layout **out)
{
	struct gx_err e = {0};
	struct gx_buf text;

	gx_buf_init(&text, LAYOUT_BYTES + 1);
	int code = gx_raw_pour(path, take_layout, &text);
	if (code == GX_X_OK &&
	    gx_file_layout_new(gx_buf_view(&text), out, &e) != GX_OK) {
		code = gx_raw_fail(GX_X_INVALID, e.code, e.text, NULL);
	}
	gx_buf_free(&text);
	return code;
}

static ptrdiff_t
read_some(void *ctx, char *p, size_t n)
{
	struct preview *v = ctx;
	ptrdiff_t got;

	if (v->n_ahead > 0) {
		size_t m = v->n_ahead < n ? v->n_ahead : n;
		memcpy(p, v->ahead, m);
		memmove(v->ahead, v->ahead + m, v->n_ahead - m);
		v->n_ahead -= m;
		return (ptrdiff_t)m;
	}
	do {
		got = read(v->fd, p, n);
	} while (got < 0 && errno == EINTR);
	return got;
}

static bool
put_refusal(struct preview *v, const struct gx_file_row *row)
{
	struct gx_jw w;

	gx_buf_reset(&v->line);
	gx_jw_init(&w, &v->line);
	gx_jw_begin(&w, '{');
	gx_jw_name(&w, "line");
	gx_jw_u64(&w, row->line);
	if (row->last_line != row->line) {
		gx_jw_name(&w, "last_line");
		gx_jw_u64(&w, row->last_line);
	}
	if (row->column.n > 0) {
		gx_jw_name(&w, "column");
		gx_jw_str(&w, row->column);
	}
	gx_jw_kv_str(&w, "reason", row->reason);
	gx_jw_end(&w, '}');
	(void)gx_buf_putc(&v->line, '\n');
	return !v->line.failed &&
	       fwrite(v->line.p, 1, v->line.n, stderr) == v->line.n;
}

static bool
take_row(void *ctx, const struct gx_file_row *row)
{
	struct preview *v = ctx;

	if (row->reason) {
		return put_refusal(v, row);
	}
	return fwrite_unlocked(row->json.p, 1, row->json.n, stdout) ==
		       row->json.n &&
	       putc_unlocked('\n', stdout) != EOF;
}

static int
fail_file(int exit_code, const char *what)
{
	return gx_raw_fail(exit_code, "cli.file", what, strerror(errno));
}

/* A file of this user alone, which nobody finds; -1 and errno. */
static int
open_nameless(void)
{
	const char *dir = getenv("TMPDIR");
	char path[512];

	int n = snprintf(path, sizeof(path), "%s/gxbus-XXXXXX",
			 dir && *dir ? dir : "/tmp");
	int fd =
		n > 0 && n < (int)sizeof(path) ? mkostemp(path, O_CLOEXEC) : -1;
	if (fd >= 0) {
		(void)unlink(path);
	}
	return fd;
}

static bool
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ptrdiff_t done = write(fd, p, n);
		if (done < 0 && errno != EINTR) {
			return false;
		}
		p += done > 0 ? done : 0;
		n -= done > 0 ? (size_t)done : 0;
	}
	return true;
}

/* All that is to come into a file that can be read twice: v->fd from now on. */
static int
spool(struct preview *v)
{
	char piece[65536];
	ptrdiff_t n;
	int fd = open_nameless();

	if (fd < 0) {
		return fail_file(GX_X_FAILED, "no temporary file can be made");
	}
	while ((n = read_some(v, piece, sizeof(piece))) > 0) {
		if (!write_all(fd, piece, (size_t)n)) {
			(void)close(fd);
			return fail_file(GX_X_FAILED,
					 "the temporary file has no room");
		}
	}
	if (n < 0) {
		(void)close(fd);
		return fail_file(GX_X_FAILED, "the input cannot be read");
	}
	if (v->fd != STDIN_FILENO) {
		(void)close(v->fd);
	}
	v->fd = fd;
	return GX_X_OK;
}

static int
fail_reading(enum gx_rc rc, const struct gx_err *e)
{
	return gx_raw_fail(rc == GX_REJECT ? GX_X_INVALID : GX_X_FAILED,
			   e->code, e->text, NULL);
}

/* The first time: only whether the file is refused. */
static int
look_through(struct preview *v, struct gx_file_count *count)
{
	struct gx_file_in in = {.read = read_some, .ctx = v};
	struct gx_err e = {0};
	off_t at = lseek(v->fd, 0, SEEK_CUR);

	if (at < 0) {
		int code = spool(v);
		if (code != GX_X_OK) {
			return code;
		}
		at = 0;
	} else {
		at -= (off_t)v->n_ahead;
	}
	v->n_ahead = 0;
	if (lseek(v->fd, at, SEEK_SET) < 0) {
		return fail_file(GX_X_FAILED, "the input cannot be read");
	}
	enum gx_rc rc = gx_file_read(v->l, &in, count, &e);
	if (rc != GX_OK) {
		return fail_reading(rc, &e);
	}
	return lseek(v->fd, at, SEEK_SET) < 0
		       ? fail_file(GX_X_FAILED, "the input cannot be read")
		       : GX_X_OK;
}

static int
print_rows(struct preview *v, struct gx_file_count *count)
{
	struct gx_file_in in = {.read = read_some, .take = take_row, .ctx = v};
	struct gx_err e = {0};

	enum gx_rc rc = gx_file_read(v->l, &in, count, &e);
	if ((fflush(stdout) != 0 || fflush(stderr) != 0) && rc == GX_OK) {
		return fail_file(GX_X_FAILED, "the records cannot be written");
	}
	if (rc != GX_OK) {
		return fail_reading(rc, &e);
	}
	return count->refused ? GX_X_DIFFERS : GX_X_OK;
}

/* The first two bytes say whether it is packed. */
static bool
look_ahead(struct preview *v)
{
	while (v->n_ahead < sizeof(v->ahead)) {
		ptrdiff_t n;
		do {
			n = read(v->fd, v->ahead + v->n_ahead,
				 sizeof(v->ahead) - v->n_ahead);
		} while (n < 0 && errno == EINTR);
		if (n <= 0) {
			return n == 0;
		}
		v->n_ahead += (size_t)n;
	}
	return true;
}

static int
run(struct preview *v)
{
	struct gx_file_count first = {0}, count = {0};

	if (!look_ahead(v)) {
		return fail_file(GX_X_FAILED, "the input cannot be read");
	}
	if (!gx_file_is_late(v->l, gx_slice(v->ahead, v->n_ahead))) {
		return print_rows(v, &count);
	}
	int code = look_through(v, &first);
	if (code == GX_X_OK) {
		code = print_rows(v, &count);
	}
	if ((code == GX_X_OK || code == GX_X_DIFFERS) &&
	    first.rows != count.rows) {
		return gx_raw_fail(GX_X_FAILED, "file.read",
				   "the file changed while it was read", NULL);
	}
	return code;
}

static int
preview(const struct gx_file_layout *l, const char *file)
{
	bool is_stdin = file == NULL || strcmp(file, "-") == 0;
	struct preview v = {.l = l};

	v.fd = is_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	if (v.fd < 0) {
		return fail_file(errno == ENOENT ? GX_X_NOT_FOUND : GX_X_FAILED,
				 "the input cannot be read");
	}
	(void)setvbuf(stdout, NULL, _IOFBF, OUT_BYTES);
	/* A file of which all rows are refused is no slower than a good one. */
	(void)setvbuf(stderr, NULL, _IOFBF, OUT_BYTES);
	gx_buf_init(&v.line, 65536 * 32);
	int code = run(&v);
	gx_buf_free(&v.line);
	if (v.fd != STDIN_FILENO) {
		(void)close(v.fd);
	}
	return code;
}

int
gx_cmd_adapter_preview_file(int argc, char **argv)
{
	struct gx_raw_opt opts[] = {{"type", NULL, false, false},
				    {"layout", NULL, false, false},
				    {NULL, NULL, false, false}};
	struct gx_file_layout *l = NULL;
	const char *file;

	int code = gx_raw_read(argc, argv, opts, &file);
	if (code == GX_X_OK) {
		code = load_layout(opts[1].value, &l);
	}
	if (code == GX_X_OK) {
		code = preview(l, file);
	}
	gx_file_layout_free(&l);
	return code;
}
