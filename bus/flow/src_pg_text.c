/*
 * Text of a PostgreSQL source: from the database's encoding into UTF-8.
 *
 * Rows are asked for as they lie in the database, neither converted nor
 * checked by the server.  If the server did it, one value with a byte that its
 * encoding does not know would end the whole stream of changes at that place
 * for ever, and in a database that is UTF-8 already nobody would look at all.
 * So it is done here, value by value: what is no text is marked, and the host
 * sets its row aside, bytes and all; its neighbours go on.
 *
 * Only encodings are taken whose tables agree with the server's own for every
 * character, because keys go back to the server as text.  A database without
 * an encoding (SQL_ASCII) is refused: nobody knows what its bytes mean.
 *
 * Nothing is kept but the converter and the buffers: dying on any line loses
 * the row in hand, which is read again.
 */
#include "base/text.h"
#include "flow/src_pg_int.h"

/* Of one value; a record may be no longer, and so its row is set aside. */
#define VALUE_MAX (2u << 20)

enum gx_rc
gx_src_pg_set_charset(struct gx_src_pg *src, const char *name, struct gx_err *e)
{
	static const struct {
		const char *name, *charset;
	} known[] = {
		{"UTF8", NULL},		  {"EUC_CN", "EUC-CN"},
		{"EUC_KR", "EUC-KR"},	  {"LATIN1", "ISO-8859-1"},
		{"LATIN2", "ISO-8859-2"}, {"LATIN9", "ISO-8859-15"},
		{"WIN1250", "CP1250"},	  {"WIN1251", "CP1251"},
		{"WIN1252", "CP1252"},
	};

	gx_iconv_free(&src->charset);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].name, name) != 0) {
			continue;
		}
		return known[i].charset == NULL
			       ? GX_OK
			       : gx_iconv_new(known[i].charset, &src->charset,
					      e);
	}
	if (strcmp(name, "SQL_ASCII") == 0) {
		return GX_ERR(e, GX_FATAL, "source.encoding",
			      "the database is SQL_ASCII: nobody knows what "
			      "its bytes mean; dump it and restore it into one "
			      "with the encoding they are in (UTF8, EUC_CN)");
	}
	return GX_ERR(e, GX_FATAL, "source.encoding",
		      "the database's encoding is %.40s, which is not read: "
		      "dump it and restore it into one that is UTF8",
		      name);
}

/* Append v to text; false if it is no text.  A value that is too long for any
 * record is cut, not within a character. */
static bool
convert(struct gx_src_pg *src, struct gx_slice v, struct gx_buf *text)
{
	size_t bad_at;
	struct gx_err why = {0};
	enum gx_rc rc;

	if (v.n > VALUE_MAX) {
		v.n = VALUE_MAX;
	}
	rc = gx_iconv_run(src->charset, v, text, &bad_at, &why);
	if (rc != GX_OK && v.n == VALUE_MAX && bad_at == v.n - 1) {
		v.n--;
		rc = gx_iconv_run(src->charset, v, text, &bad_at, &why);
	}
	/* What does not fit stands behind more than a record may be long. */
	return rc == GX_OK || strcmp(why.code, "mem.full") == 0;
}

void
gx_src_pg_decode(struct gx_src_pg *src, struct gx_abi_text *row, size_t n,
		 bool *spoilt, struct gx_buf *text)
{
	size_t at[GX_HOST_COLUMNS];

	gx_buf_reset(text);
	for (size_t i = 0; i < n; i++) {
		struct gx_slice v = gx_slice(row[i].p, row[i].n);

		at[i] = text->n;
		spoilt[i] =
			v.p != NULL &&
			(src->charset != NULL ? !convert(src, v, text)
					      : gx_utf8_check(v.p, v.n) != v.n);
		if (v.p != NULL && src->charset != NULL && !spoilt[i]) {
			row[i].n = text->n - at[i];
		}
	}
	/* The buffer moves no more. */
	for (size_t i = 0; src->charset != NULL && i < n; i++) {
		if (row[i].p != NULL && !spoilt[i]) {
			row[i].p = row[i].n > 0 ? text->p + at[i] : "";
		}
	}
}

struct gx_slice
gx_src_pg_name(struct gx_src_pg *src, struct gx_slice name)
{
	size_t bad_at;
	struct gx_err ignored;

	if (src->charset == NULL) {
		return name;
	}
	gx_buf_reset(&src->name);
	return gx_iconv_run(src->charset, name, &src->name, &bad_at,
			    &ignored) == GX_OK
		       ? gx_buf_view(&src->name)
		       : name;
}

void
gx_src_pg_spoil(const struct pg_table *t, const bool *spoilt)
{
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (spoilt[i]) {
			gx_host_spoil(t->host, i);
		}
	}
}
