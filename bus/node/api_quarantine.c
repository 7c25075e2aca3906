/*
 * API: the quarantine, looked at.
 *
 * What is set aside lies sealed in the database and is opened here, for one
 * answer, with a key that is read for it and wiped after it.  The list shows
 * rows and reasons only.  The form for one row shows the record as it was
 * mapped with its values masked: by the item's mask, or ***.  All of it is
 * shown by a route of its own, which the audit log notes before.
 *
 * A row that does not open is shown as damaged, without content: somebody
 * changed it, or the key is another one.  It is never replayed.
 *
 * The list may be long: it is paged by row id, newest first.  Batches that were
 * refused whole are listed with side=refused, from where the reader noted them.
 */
#include "node/api.h"

#include "base/text.h"
#include "flow/store_pg.h"

#include <string.h>

#define ORIGINAL_MAX (8u << 20)

#define FIRST_SEEN GX_SQL_TIME("first_seen") " AS first_seen, "
#define LAST_SEEN GX_SQL_TIME("last_seen") " AS last_seen, "
#define ASIDE_SQL                                                              \
	"SELECT id, side, stream, seq, state, n_seen, " FIRST_SEEN LAST_SEEN   \
	"is_fixed AS fixed, reasons"
#define ASIDE_FMT "issisissbj"

static enum gx_rc
list_refused(struct gx_call *c, const char *limit, struct gx_err *e)
{
	const char *p[] = {limit, gx_http_query(c->req, "stream")};
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		c->pg,
		"SELECT topic || '/' || partition || '/' || at_offset AS id, "
		"'refused' AS side, stream, at_offset AS seq, CASE WHEN "
		"is_receipted THEN 'receipted' ELSE 'refused' END AS state, "
		"1 AS n_seen, " GX_SQL_TIME("at") " AS "
						  "first_seen, " GX_SQL_TIME(
							  "at") " AS "
								"last_seen, "
								"false AS "
								"fixed, "
								"jsonb_build_"
								"array(jsonb_"
								"build_object("
								"'pointer', "
								"'', "
								"'keyword', "
								"reason, "
								"'message', "
								"'the batch "
								"was refused "
								"whole')) AS "
								"reasons "
								"FROM "
								"gx_refusal "
								"WHERE "
								"$2::text IS "
								"NULL OR "
								"stream = $2 "
								"ORDER BY at "
								"DESC, topic, "
								"partition, "
								"at_offset "
								"DESC LIMIT "
								"$1::integer",
		2, p, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "sssisissbj");
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

static enum gx_rc
list_items(struct gx_call *c, const char *const *p, int max, struct gx_err *e)
{
	char next[24] = "";
	const struct gx_rows *rows;
	int n;
	enum gx_rc rc = gx_pg_query(
		c->pg,
		ASIDE_SQL " FROM gx_quarantine "
			  "WHERE ($1::bigint IS NULL OR id < $1::bigint) "
			  "AND ($3::text IS NULL OR stream = $3) "
			  "AND ($4::text IS NULL OR reasons @> "
			  "jsonb_build_array(jsonb_build_object('keyword', "
			  "$4::text))) AND ($5::text IS NULL OR side = $5) "
			  "AND ($6::text IS NULL OR state = $6) "
			  "ORDER BY id DESC LIMIT $2::integer",
		6, p, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	n = gx_rows_n(rows) > max ? max : gx_rows_n(rows);
	gx_api_list_begin(c);
	for (int i = 0; i < n; i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, ASIDE_FMT);
		gx_jw_end(&c->w, '}');
	}
	if (gx_rows_n(rows) > max) {
		snprintf(next, sizeof next, "%s", gx_rows_str(rows, n - 1, 0));
	}
	gx_api_list_end(c, next[0] ? next : NULL);
	return GX_OK;
}

enum gx_rc
gx_api_quarantine(struct gx_call *c, struct gx_err *e)
{
	char limit[16];
	const char *p[] = {gx_http_query(c->req, "cursor"),
			   limit,
			   gx_http_query(c->req, "stream"),
			   gx_http_query(c->req, "rule"),
			   gx_http_query(c->req, "side"),
			   gx_http_query(c->req, "state")};
	uint64_t id;
	int max = 0;
	enum gx_rc rc = gx_api_limit(c, &max, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (p[0] != NULL && !gx_parse_u64(p[0], strlen(p[0]), INT64_MAX, &id)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "cursor is not one that this list gave");
	}
	if (p[4] != NULL && strcmp(p[4], "refused") == 0) {
		snprintf(limit, sizeof limit, "%d", max);
		return list_refused(c, limit, e);
	}
	snprintf(limit, sizeof limit, "%d", max + 1);
	return list_items(c, p, max, e);
}

enum gx_rc
gx_api_quarantine_stats(struct gx_call *c, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		c->pg,
		"SELECT stream, side, "
		"count(*) FILTER (WHERE state = 'open') AS open, "
		"count(*) FILTER (WHERE state = 'queued') AS queued, "
		"count(*) FILTER (WHERE state = 'replayed') AS replayed, "
		"count(*) FILTER (WHERE state = 'superseded') AS superseded, "
		"count(*) FILTER (WHERE state = 'discarded') AS "
		"discarded, " GX_SQL_TIME("min(first_seen) FILTER (WHERE state "
					  "= 'open')") " AS oldest_open FROM "
						       "gx_quarantine GROUP BY "
						       "stream, side "
						       "ORDER BY stream, side",
		0, NULL, &rows, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_api_list_begin(c);
	for (int i = 0; i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, "ssiiiiis");
		gx_jw_end(&c->w, '}');
	}
	gx_api_list_end(c, NULL);
	return GX_OK;
}

/* ---- one item ---- */

const struct gx_resource *
gx_api_resource_of(const struct gx_call *c, struct gx_slice stream)
{
	const struct gx_node_resource *r;
	struct gx_stream_name name;
	char word[128];

	if (!gx_stream_parse(stream, &name) || name.resource.n >= sizeof word) {
		return NULL;
	}
	snprintf(word, sizeof word, "%.*s", (int)name.resource.n,
		 name.resource.p);
	r = gx_node_resource(c->n, word);
	return r ? r->r : NULL;
}

bool
gx_api_open_column(struct gx_box *box, const char *column,
		   const struct gx_rows *rows, int row, int col,
		   struct gx_slice stream, struct gx_slice pos,
		   struct gx_buf *out)
{
	char room[GX_ASIDE_LABEL];
	struct gx_slice label = gx_store_pg_label(room, column, stream, pos);
	struct gx_buf sealed;
	bool is_good;

	gx_buf_init(&sealed, ORIGINAL_MAX + 4096);
	is_good = box != NULL && gx_rows_bytea(rows, row, col, &sealed) &&
		  gx_box_open(box, label, gx_buf_view(&sealed), out);
	gx_buf_free(&sealed);
	return is_good;
}

/* First and last characters of a text, *** for the rest. */
static void
put_ends(struct gx_jw *w, struct gx_slice s, size_t n_first, size_t n_last)
{
	char text[64];
	size_t from = 0, to = 0, total = gx_utf8_count(s.p, s.n), at = 0;
	uint32_t cp;

	if (total <= n_first + n_last) {
		n_first = n_last = 0;
	}
	for (size_t i = 0; at < s.n; i++) {
		from = i == n_first ? at : from;
		to = i == total - n_last ? at : to;
		at += gx_utf8_next(s.p + at, s.n - at, &cp);
	}
	to = n_last == 0 ? s.n : to;
	snprintf(text, sizeof text, "%.*s***%.*s", (int)(from), s.p,
		 (int)(s.n - to), s.p + to);
	gx_jw_str(w, gx_slice_str(text));
}

static void
put_masked(struct gx_jw *w, const char *mask, const struct gx_json *v)
{
	bool is_text = v->type == GX_JSON_STRING;

	if (v->type == GX_JSON_NULL) {
		gx_jw_null(w);
	} else if (is_text && mask && strcmp(mask, "name") == 0) {
		put_ends(w, v->text, 1, 0);
	} else if (is_text && mask && strcmp(mask, "resident-id") == 0) {
		put_ends(w, v->text, 6, 2);
	} else if (is_text && mask && strcmp(mask, "phone") == 0) {
		put_ends(w, v->text, 3, 2);
	} else {
		gx_jw_cstr(w, "***");
	}
}

/* The record with its values masked; null if it is none. */
static void
put_masked_record(struct gx_call *c, const struct gx_resource *r,
		  struct gx_slice record)
{
	const struct gx_json *doc = NULL;

	gx_jw_name(&c->w, "record");
	if (record.n == 0 ||
	    gx_json_parse(c->arena, record, &doc, NULL) != GX_OK ||
	    doc->type != GX_JSON_OBJECT) {
		gx_jw_null(&c->w);
		return;
	}
	gx_jw_begin(&c->w, '{');
	for (const struct gx_json *v = doc->child; v != NULL; v = v->next) {
		int i = r ? gx_schema_field_index(r->schema, v->name) : -1;

		gx_jw_name(&c->w, v->name.p);
		put_masked(&c->w, i >= 0 ? r->fields[i].mask : NULL, v);
	}
	gx_jw_end(&c->w, '}');
}

static void
put_content(struct gx_call *c, const struct gx_rows *rows,
	    struct gx_slice record, struct gx_slice original)
{
	size_t at;

	gx_jw_name(&c->w, "key");
	gx_jw_raw(&c->w, gx_rows_slice(rows, 0, 10).n > 0
				 ? gx_rows_slice(rows, 0, 10)
				 : GX_SLICE("null"));
	gx_jw_name(&c->w, "record");
	gx_jw_raw(&c->w, record.n > 0 && gx_json_syntax(record, &at) == NULL
				 ? record
				 : GX_SLICE("null"));
	gx_jw_name(&c->w, "original");
	gx_jw_str(&c->w, original);
}

/* Columns 10 key, 11 pos, 12 is_released, 13 is_sealed, 14 original, 15
 * record. */
static enum gx_rc
put_item(struct gx_call *c, const struct gx_rows *rows, bool is_revealed,
	 struct gx_err *e)
{
	struct gx_slice stream = gx_rows_slice(rows, 0, 2);
	struct gx_slice pos = gx_rows_slice(rows, 0, 11);
	struct gx_buf original, record;
	struct gx_box *box = NULL;
	bool is_good = true;
	enum gx_rc rc = GX_OK;

	if (gx_rows_bool(rows, 0, 13)) {
		rc = gx_node_box(c->n, &box, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_buf_init(&original, ORIGINAL_MAX);
	gx_buf_init(&record, ORIGINAL_MAX);
	if (gx_rows_bool(rows, 0, 13) && gx_rows_slice(rows, 0, 14).n > 2) {
		is_good = gx_api_open_column(box, "original", rows, 0, 14,
					     stream, pos, &original);
	} else {
		(void)gx_rows_bytea(rows, 0, 14, &original);
	}
	if (!gx_rows_null(rows, 0, 15)) {
		is_good &= gx_api_open_column(box, "record", rows, 0, 15,
					      stream, pos, &record);
	}
	if (!is_good) {
		gx_buf_reset(&original);
		gx_buf_reset(&record);
	}
	gx_jw_begin(&c->w, '{');
	gx_api_row(&c->w, rows, 0, ASIDE_FMT);
	gx_jw_kv_bool(&c->w, "damaged", !is_good);
	if (is_revealed) {
		put_content(c, rows, gx_buf_view(&record),
			    gx_buf_view(&original));
	} else {
		put_masked_record(c, gx_api_resource_of(c, stream),
				  gx_buf_view(&record));
	}
	gx_jw_end(&c->w, '}');
	gx_buf_free(&original);
	gx_buf_free(&record);
	gx_box_free(&box);
	return GX_OK;
}

static enum gx_rc
show_item(struct gx_call *c, bool is_revealed, struct gx_err *e)
{
	const struct gx_rows *rows = NULL;
	uint64_t id;
	enum gx_rc rc = GX_OK;
	bool is_id = gx_parse_u64(c->arg[0], strlen(c->arg[0]), INT64_MAX, &id);

	if (is_id) {
		rc = gx_pg_query(c->pg,
				 ASIDE_SQL ", key, pos, is_released, "
					   "is_sealed, original, record "
					   "FROM gx_quarantine "
					   "WHERE id = $1::bigint",
				 1, c->arg, &rows, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	if (!is_id || gx_rows_n(rows) == 0) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "there is no such row; gxbus quarantine list "
			      "names all");
	}
	return put_item(c, rows, is_revealed, e);
}

enum gx_rc
gx_api_quarantine_one(struct gx_call *c, struct gx_err *e)
{
	return show_item(c, false, e);
}

enum gx_rc
gx_api_quarantine_content(struct gx_call *c, struct gx_err *e)
{
	return show_item(c, true, e);
}
