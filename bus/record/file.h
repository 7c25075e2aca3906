/*
 * Delimited and fixed-width files as records: a declared layout, a file read
 * from its beginning as a stream.  zlib is used only in file_bytes.c.
 * docs/layout.md says what a layout may hold and what is refused.
 *
 * It lives here, and not in adapters/, because the command line sees no
 * adapter and a source has to use the same piece: a source hands values to the
 * adapter host, the command prints json.
 */
#ifndef GX_RECORD_FILE_H
#define GX_RECORD_FILE_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

#define GX_FILE_COLUMNS 1024
#define GX_FILE_FIELD_BYTES ((size_t)1 << 20)  /* as UTF-8 */
#define GX_FILE_RECORD_BYTES ((size_t)4 << 20) /* as in the file */

/* A layout: immutable, may be shared by threads. */
struct gx_file_layout;
/* GX_REJECT "file.layout" with the pointer of the place.  text is not kept. */
enum gx_rc gx_file_layout_new(struct gx_slice text, struct gx_file_layout **out,
			      struct gx_err *e) GX_MUSTCHECK;
void gx_file_layout_free(struct gx_file_layout **l);
/* Declared columns, those that are in no record too; in order. */
size_t gx_file_n_columns(const struct gx_file_layout *l);
const char *gx_file_column(const struct gx_file_layout *l, size_t i);

/* One row, lent until the callback returns. */
struct gx_file_row {
	uint64_t number; /* in the file, from 1, refused ones too */
	uint64_t line, last_line;
	const char *reason;	/* NULL: taken.  static, echoes no value */
	struct gx_slice column; /* whose fault it is; n = 0: the row's */
	struct gx_slice json;	/* one object without a line end; if taken */
	/* UTF-8, unaltered, one for each column; if taken. */
	const struct gx_slice *values;
};

/* A file is given by a function that fills p with up to n bytes: how many, 0
 * at the end, -1 if it cannot be read. */
typedef ptrdiff_t gx_file_read_f(void *ctx, char *p, size_t n);
/* false ends the reading. */
typedef bool gx_file_take_f(void *ctx, const struct gx_file_row *row);

struct gx_file_in {
	gx_file_read_f *read;
	gx_file_take_f *take; /* NULL: only look at the file */
	void *ctx;
	/* Rows that begin on lines up to this one are not handed over: with
	 * the digest of the file it is the position to go on from.  It is the
	 * last_line of the last row that is done. */
	uint64_t after;
};
struct gx_file_count {
	uint64_t rows;	  /* in the file */
	uint64_t refused; /* of those handed over; 0 if none was asked for */
};

/* May a file that begins with these bytes (2 are enough) be refused after its
 * first row was handed over?  Then read it twice, the first time without
 * take, or keep its rows aside. */
bool gx_file_is_late(const struct gx_file_layout *l, struct gx_slice begin);

/*
 * A file that is being read, row by row.  in->take is not looked at.  Needs a
 * few MiB, whatever the size of the file; lent: l, and in->ctx.
 */
struct gx_file;
/* GX_REJECT "file.gzip", GX_FATAL "file.read". */
enum gx_rc gx_file_open(const struct gx_file_layout *l,
			const struct gx_file_in *in, struct gx_file **out,
			struct gx_err *e) GX_MUSTCHECK;
/*
 * GX_OK: the next row, taken or refused, lent until the next call.  GX_AGAIN:
 * the end, and the frame agrees.
 *
 * GX_REJECT: the whole file is refused: "file.header" (its names are not the
 * layout's, or missing), "file.frame" (leader or trailer missing or of another
 * form), "file.total" (a count or sum does not agree), "file.gzip" (damaged,
 * cut, or made to grow); the text has the line.  GX_FATAL "file.read": read()
 * gave up.  After these two only gx_file_close may follow.
 */
enum gx_rc gx_file_next(struct gx_file *f, struct gx_file_row *row,
			struct gx_err *e) GX_MUSTCHECK;
void gx_file_close(struct gx_file **f);

/* All of it in one go: GX_OK at the end, else as gx_file_next; GX_FATAL
 * "file.read" also if take() gave up. */
enum gx_rc gx_file_read(const struct gx_file_layout *l,
			const struct gx_file_in *in,
			struct gx_file_count *count,
			struct gx_err *e) GX_MUSTCHECK;

#endif
