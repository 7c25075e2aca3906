/*
 * What the files of the file reader share: the compiled layout, the bytes, the
 * text of a line, the fields of a record, a value as JSON, exact sums.
 */
#ifndef GX_RECORD_FILE_INT_H
#define GX_RECORD_FILE_INT_H

#include "base/text.h"
#include "record/file.h"

#define GX_FILE_CHECKS 64 /* columns of leader and trailer that are checked */
#define GX_FILE_NONE SIZE_MAX

enum gx_file_encoding { GX_FILE_UTF8, GX_FILE_GBK, GX_FILE_GB18030 };

enum gx_file_type {
	GX_FILE_STRING,
	GX_FILE_INTEGER,
	GX_FILE_DECIMAL,
	GX_FILE_DATE,
	GX_FILE_MONTH,
	GX_FILE_TIMESTAMP,
	GX_FILE_BOOLEAN
};

/* Bits: at which ends blanks are no part of the value. */
#define GX_FILE_TRIM_LEFT 1u
#define GX_FILE_TRIM_RIGHT 2u

/* What a column of a leader or trailer must be. */
enum gx_file_check { GX_FILE_ANY, GX_FILE_EQUALS, GX_FILE_COUNT, GX_FILE_SUM };

struct gx_file_column {
	struct gx_slice name;
	struct gx_slice head; /* "item": as it stands in a record; n = 0: out */
	enum gx_file_type type;
	unsigned trim;
	size_t width;	  /* fixed: in the layout's unit */
	int scale;	  /* decimals of a decimal, -1: as they are */
	unsigned implied; /* decimals without a point in the file */
	bool is_required;
	size_t sum; /* of a row: which sum it adds to, or GX_FILE_NONE */

	enum gx_file_check check; /* of a leader or trailer */
	struct gx_slice equals;
	size_t of; /* index of the summed column */
};

/* One form of line. */
struct gx_file_form {
	struct gx_file_column *columns;
	size_t n;
	size_t width; /* fixed: of all columns */
};

struct gx_file_layout {
	unsigned magic;
	struct gx_arena *arena;
	bool is_fixed, has_quote, has_header, has_trailing, is_characters;
	char quote;
	enum gx_file_encoding encoding;
	struct gx_slice delimiter;
	struct gx_file_form row, leader, trailer; /* n = 0: no such line */
	size_t n_sums;
	/* Pairs of GBK and GB18030: three bytes of UTF-8 and their number in
	 * the fourth, 0 if the pair is none. */
	uint32_t *pairs;
};

/* Bytes of a file, unpacked: a window that holds at least the line at hand,
 * up to GX_FILE_RECORD_BYTES.
 *
 *	p           from          seen      to          cap
 *	|  done     |  no LF here |  unseen |  free     |
 */
struct gx_file_bytes {
	gx_file_read_f *read;
	void *ctx;
	char *p;
	size_t cap, from, seen, to;
	bool is_at_end, is_gzip, is_unpacked;
	void *zip; /* of file_bytes.c */
	uint64_t n_packed, n_plain;
};
enum gx_rc gx_file_bytes_open(struct gx_file_bytes *b, gx_file_read_f *read,
			      void *ctx, struct gx_err *e) GX_MUSTCHECK;
void gx_file_bytes_close(struct gx_file_bytes *b);
/* The line at from: its bytes without LF.  *is_whole: it is a whole line, up
 * to the LF (*has_lf) or the end of the file; else it is longer than a record
 * may be and this is a piece of it.  GX_AGAIN: the end.  The caller moves on
 * by gx_file_bytes_skip. */
enum gx_rc gx_file_bytes_line(struct gx_file_bytes *b, struct gx_slice *line,
			      bool *is_whole, bool *has_lf,
			      struct gx_err *e) GX_MUSTCHECK;
void gx_file_bytes_skip(struct gx_file_bytes *b, size_t n);
/* Is the line at from the last one of the file? */
enum gx_rc gx_file_bytes_is_last(struct gx_file_bytes *b, bool *is_last,
				 struct gx_err *e) GX_MUSTCHECK;

/* The table for pairs; GX_FATAL if iconv does not know the encoding. */
enum gx_rc gx_file_pairs_new(enum gx_file_encoding encoding, uint32_t **out,
			     struct gx_err *e) GX_MUSTCHECK;
struct gx_file_text {
	const struct gx_file_layout *l;
	struct gx_iconv *four; /* for characters of four bytes */
	struct gx_buf scratch;
};
enum gx_rc gx_file_text_open(struct gx_file_text *t,
			     const struct gx_file_layout *l,
			     struct gx_err *e) GX_MUSTCHECK;
void gx_file_text_close(struct gx_file_text *t);
/* Room that so many bytes need when they are UTF-8. */
#define GX_FILE_TEXT_ROOM(n) ((n) + (n) / 2 + 16)
/* Decode n bytes into out, which has that room; returns how many it has
 * become.  What is no character becomes a byte FF, which no delimiter or quote
 * can hold, and *is_bad is set.  If the piece is not the last of its line, up
 * to 3 bytes at its end may be left: *n_left. */
size_t gx_file_text_decode(struct gx_file_text *t, struct gx_slice in,
			   char *out, bool is_last, bool *is_bad,
			   size_t *n_left);

/* The record at hand: fields lie in text. */
struct gx_file_record {
	const struct gx_file_layout *l;
	struct gx_file_bytes bytes;
	struct gx_file_text decoder;
	char *text;
	size_t cap, n_text;
	uint64_t line, last_line; /* first and last line of it */
	struct gx_slice *fields;  /* GX_FILE_COLUMNS + 1 */
	size_t n_fields;
	const char *reason; /* its first fault, NULL: none */
	size_t column;	    /* of the fault, GX_FILE_NONE: the row's */
	/* While it is being split: */
	struct gx_file_place {
		size_t from, n;
	} * places;
	enum {
		GX_FILE_AT_START, /* of a field */
		GX_FILE_PLAIN,
		GX_FILE_QUOTED,
		GX_FILE_CLOSED /* behind a quote in a quoted field */
	} state;
	bool is_header;	 /* set by the reader: the last delimiter may lack */
	size_t n_bytes;	 /* of it in the file */
	size_t begin;	 /* of the field at hand in text */
	bool is_bad;	 /* holds bytes outside of the encoding */
	bool is_dead;	 /* too long: only its end is looked for */
	bool is_trailed; /* ends with a delimiter */
};
enum gx_rc gx_file_record_open(struct gx_file_record *rec,
			       const struct gx_file_layout *l,
			       const struct gx_file_in *in,
			       struct gx_err *e) GX_MUSTCHECK;
void gx_file_record_close(struct gx_file_record *rec);
/* The next record, split by a form; reason says what is wrong with it, and
 * n_fields is form->n if nothing is.  GX_AGAIN: no more. */
enum gx_rc gx_file_record_next(struct gx_file_record *rec,
			       const struct gx_file_form *form,
			       struct gx_err *e) GX_MUSTCHECK;
void gx_file_record_fault(struct gx_file_record *rec, const char *reason,
			  size_t column);

/* Text being made, of any length: n bytes more fit after a need(). */
struct gx_file_out {
	char *p;
	size_t n, cap;
};
bool gx_file_out_need(struct gx_file_out *o, size_t n);
/* s as the inside of a JSON string. */
bool gx_file_out_escape(struct gx_file_out *o, struct gx_slice s);
/* "item":value of one column; NULL, or why it is none: static.  A missing
 * value puts nothing.  *is_put if it put something. */
const char *gx_file_value_put(struct gx_file_out *o,
			      const struct gx_file_column *c, struct gx_slice v,
			      bool *is_put);
struct gx_slice gx_file_value_trim(struct gx_slice v, unsigned trim);
/* "[+-]digits[.digits]": parts without leading zeros; false if it is none. */
struct gx_file_number {
	bool is_negative;
	struct gx_slice whole, fraction;
};
bool gx_file_number_read(struct gx_slice v, unsigned implied,
			 struct gx_file_number *out);

/* An exact sum: units of 10^-12. */
struct gx_file_sum {
	__extension__ __int128 units;
};
/* Add a number; false if it has more than 22 digits before the point or 12
 * behind, or the sum has no room. */
bool gx_file_sum_add(struct gx_file_sum *s, const struct gx_file_number *v);

#endif
