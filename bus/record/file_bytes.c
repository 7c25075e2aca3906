/*
 * Bytes of a delivered file, line by line.
 *
 * A file comes as it was sent: plain, or packed with gzip, which is seen by
 * its first two bytes (no text in any of our encodings begins so).  The reader
 * above sees only the plain bytes, through one window that holds at least the
 * line at hand.  The window grows with the longest line met, never beyond what
 * a record may be; a line longer than that is handed out in pieces, so that
 * its end can still be found and its neighbours flow on.
 *
 * LF ends a line in all our encodings: no byte of a character of GBK or
 * GB18030 but the first is below 30, so a line can be found before a character
 * is decoded.
 *
 * gzip is a way to make a small file grow.  What it unpacks to may be a
 * hundred times its size and one MiB more; a second member, bytes behind the
 * end and a packed file within are refused; so is one whose end is missing or
 * whose checksum is wrong, as a whole: what was cut may be the end of a number.
 *
 * Nothing is written anywhere.  If we die on any line, nothing is left.
 */
#include "record/file_int.h"

#include <zlib.h>

#define WINDOW ((size_t)256 << 10)
#define PACKED ((size_t)64 << 10)
#define RATIO 100

struct zip {
	z_stream z;
	unsigned char in[PACKED];
};

static enum gx_rc
refuse_zip(struct gx_err *e, const char *why)
{
	return GX_ERR(e, GX_REJECT, "file.gzip", "%s", why);
}

/* Up to n plain bytes of what read() gives. */
static enum gx_rc
read_plain(struct gx_file_bytes *b, char *p, size_t n, size_t *n_got,
	   struct gx_err *e)
{
	ptrdiff_t got = b->read(b->ctx, p, n);

	if (got < 0) {
		return GX_ERR(e, GX_FATAL, "file.read",
			      "the file cannot be read to its end");
	}
	*n_got = (size_t)got;
	return GX_OK;
}

/* Give inflate() something to read; *is_dry at the end. */
static enum gx_rc
feed_zip(struct gx_file_bytes *b, struct zip *zip, bool *is_dry,
	 struct gx_err *e)
{
	size_t n = 0;

	*is_dry = false;
	if (zip->z.avail_in > 0) {
		return GX_OK;
	}
	enum gx_rc rc = read_plain(b, (char *)zip->in, PACKED, &n, e);
	zip->z.next_in = zip->in;
	zip->z.avail_in = (uInt)n;
	b->n_packed += n;
	*is_dry = n == 0;
	return rc;
}

/* The packed file has ended; nothing may stand behind it. */
static enum gx_rc
end_zip(struct gx_file_bytes *b, struct zip *zip, struct gx_err *e)
{
	bool is_dry;

	b->is_unpacked = true;
	enum gx_rc rc = feed_zip(b, zip, &is_dry, e);
	if (rc == GX_OK && !is_dry) {
		return refuse_zip(e, "bytes or a second file behind the end of "
				     "the packed one");
	}
	return rc;
}

static enum gx_rc
unpack(struct gx_file_bytes *b, char *p, size_t n, size_t *n_got,
       struct gx_err *e)
{
	struct zip *zip = b->zip;
	bool is_dry = false;

	*n_got = 0;
	zip->z.next_out = (unsigned char *)p;
	zip->z.avail_out = (uInt)n;
	while (!b->is_unpacked && zip->z.avail_out == n) {
		enum gx_rc rc = feed_zip(b, zip, &is_dry, e);
		if (rc != GX_OK) {
			return rc;
		}
		/* Even without more to read, there may be more to write. */
		int z = inflate(&zip->z, Z_NO_FLUSH);
		if (is_dry && z == Z_BUF_ERROR) {
			return refuse_zip(e, "the packed file is cut");
		}
		if (z != Z_OK && z != Z_STREAM_END) {
			return refuse_zip(e, "the packed file is damaged");
		}
		rc = z == Z_STREAM_END ? end_zip(b, zip, e) : GX_OK;
		if (rc != GX_OK) {
			return rc;
		}
	}
	*n_got = n - zip->z.avail_out;
	b->n_plain += *n_got;
	if (b->n_plain > b->n_packed * RATIO + ((uint64_t)1 << 20)) {
		return refuse_zip(e, "the packed file grows to more than a "
				     "hundred times its size");
	}
	return GX_OK;
}

/* More bytes at the end of the window, which has room. */
static enum gx_rc
fill(struct gx_file_bytes *b, struct gx_err *e)
{
	size_t n = 0;
	enum gx_rc rc =
		b->is_gzip ? unpack(b, b->p + b->to, b->cap - b->to, &n, e)
			   : read_plain(b, b->p + b->to, b->cap - b->to, &n, e);

	b->to += n;
	b->is_at_end = n == 0;
	return rc;
}

/* Room for more at the end of the window; false if it may not grow. */
static bool
make_room(struct gx_file_bytes *b)
{
	if (b->from > 0) {
		memmove(b->p, b->p + b->from, b->to - b->from);
		b->to -= b->from;
		b->seen -= b->from;
		b->from = 0;
	}
	if (b->to < b->cap) {
		return true;
	}
	if (b->cap > GX_FILE_RECORD_BYTES) {
		return false;
	}
	char *p = gx_mem_grow(b->p, b->cap * 2, 1);
	if (p) {
		b->p = p;
		b->cap *= 2;
	}
	return p != NULL;
}

static bool
is_zip(const struct gx_file_bytes *b)
{
	return b->to - b->from >= 2 &&
	       memcmp(b->p + b->from, "\x1f\x8b", 2) == 0;
}

/* What the window holds is packed: unpack from there. */
static enum gx_rc
begin_zip(struct gx_file_bytes *b, struct gx_err *e)
{
	struct zip *zip = gx_mem_new(sizeof(*zip));

	GX_ASSERT(b->to <= PACKED);
	b->zip = zip;
	if (inflateInit2(&zip->z, 16 + MAX_WBITS) != Z_OK) {
		return refuse_zip(e, "no memory to unpack it");
	}
	memcpy(zip->in, b->p, b->to);
	zip->z.next_in = zip->in;
	zip->z.avail_in = (uInt)b->to;
	b->n_packed = b->to;
	b->is_gzip = true;
	b->to = 0;
	while (b->to < 4 && !b->is_at_end) {
		enum gx_rc rc = fill(b, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	return is_zip(b) ? refuse_zip(e, "a packed file within a packed one")
			 : GX_OK;
}

enum gx_rc
gx_file_bytes_open(struct gx_file_bytes *b, gx_file_read_f *read, void *ctx,
		   struct gx_err *e)
{
	memset(b, 0, sizeof(*b));
	b->read = read;
	b->ctx = ctx;
	b->cap = WINDOW;
	b->p = gx_mem_new(WINDOW);
	/* A mark of the encoding has up to four bytes. */
	while (b->to < 4 && !b->is_at_end) {
		size_t n = 0;
		enum gx_rc rc =
			read_plain(b, b->p + b->to, PACKED - b->to, &n, e);
		if (rc != GX_OK) {
			return rc;
		}
		b->to += n;
		b->is_at_end = n == 0;
	}
	if (!is_zip(b)) {
		return GX_OK;
	}
	b->is_at_end = false;
	return begin_zip(b, e);
}

void
gx_file_bytes_close(struct gx_file_bytes *b)
{
	struct zip *zip = b->zip;

	if (zip) {
		(void)inflateEnd(&zip->z);
		gx_mem_free(zip);
	}
	gx_mem_free(b->p);
	memset(b, 0, sizeof(*b));
}

enum gx_rc
gx_file_bytes_line(struct gx_file_bytes *b, struct gx_slice *line,
		   bool *is_whole, bool *has_lf, struct gx_err *e)
{
	for (;;) {
		const char *lf = memchr(b->p + b->seen, '\n', b->to - b->seen);
		*has_lf = lf != NULL;
		*is_whole = true;
		if (lf) {
			*line = gx_slice(b->p + b->from,
					 (size_t)(lf - b->p) - b->from);
			return GX_OK;
		}
		b->seen = b->to;
		if (b->is_at_end) {
			break;
		}
		if (!make_room(b)) {
			*is_whole = false;
			break;
		}
		enum gx_rc rc = fill(b, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	*line = gx_slice(b->p + b->from, b->to - b->from);
	return line->n > 0 ? GX_OK : GX_AGAIN;
}

void
gx_file_bytes_skip(struct gx_file_bytes *b, size_t n)
{
	GX_ASSERT(n <= b->to - b->from);
	b->from += n;
	b->seen = b->from;
}

enum gx_rc
gx_file_bytes_is_last(struct gx_file_bytes *b, bool *is_last, struct gx_err *e)
{
	bool is_whole, has_lf;
	struct gx_slice line;

	*is_last = false;
	enum gx_rc rc = gx_file_bytes_line(b, &line, &is_whole, &has_lf, e);
	if (rc != GX_OK || !is_whole) {
		return rc == GX_AGAIN ? GX_OK : rc;
	}
	while (has_lf && b->from + line.n + 1 == b->to && !b->is_at_end &&
	       make_room(b)) {
		rc = fill(b, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	*is_last = b->is_at_end && b->from + line.n + has_lf == b->to;
	return GX_OK;
}
