/*
 * API: where one record is at this node, without its values.
 *
 * For each row of the key: origin, stream, epoch and seq as its maker gave
 * them, the batch that brought it, whether the stream stands still, and the
 * newest receipts known here for the stream, with whether they reach the seq.
 * Beside the rows: where the key is held or in quarantine, with the reasons'
 * keywords.  From this a person sees whose turn it is (gxbus explain record).
 *
 * A key that was never seen here is an answer too: no rows.  Nothing is
 * written.
 */
#include "node/api.h"

#include "base/text.h"

#include <string.h>

static enum gx_rc
put_items(struct gx_call *c, const char *name, const char *sql, int n,
	  const char *const *p, const char *fmt, struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(c->pg, sql, n, p, &rows, e);

	gx_jw_name(&c->w, name);
	gx_jw_begin(&c->w, '[');
	for (int i = 0; rc == GX_OK && i < gx_rows_n(rows); i++) {
		gx_jw_begin(&c->w, '{');
		gx_api_row(&c->w, rows, i, fmt);
		gx_jw_end(&c->w, '}');
	}
	gx_jw_end(&c->w, ']');
	return rc;
}

static enum gx_rc
put_rows(struct gx_call *c, const struct gx_resource *r, const char *key,
	 struct gx_err *e)
{
	struct gx_buf sql;
	enum gx_rc rc;

	gx_buf_init(&sql, 4096);
	(void)gx_buf_puts(
		&sql,
		"SELECT t.gx_origin AS origin, t.gx_stream AS stream, "
		"t.gx_epoch AS epoch, t.gx_seq AS seq, b.first AS batch_first, "
		"b.n AS batch_n, b.head AS batch_head, s.next_seq, "
		"CASE WHEN s.stopped_at IS NOT NULL THEN s.why ELSE '' END "
		"AS stopped_by FROM ");
	gx_api_put_table(&sql, r);
	(void)gx_buf_puts(
		&sql, " t LEFT JOIN gx_stream s ON s.stream = t.gx_stream "
		      "LEFT JOIN LATERAL (SELECT first, n, head FROM gx_batch "
		      "WHERE stream = t.gx_stream AND first <= t.gx_seq "
		      "ORDER BY first DESC LIMIT 1) b ON b.first + b.n > "
		      "t.gx_seq WHERE t.gx_key = $1 ORDER BY t.gx_origin "
		      "COLLATE \"C\" LIMIT 50");
	rc = put_items(c, "rows", gx_buf_str(&sql), 1, &key, "ssiiii?si?s", e);
	gx_buf_free(&sql);
	return rc;
}

static enum gx_rc
put_receipts(struct gx_call *c, const struct gx_resource *r, struct gx_err *e)
{
	const char *sql = NULL;
	struct gx_buf b;
	enum gx_rc rc = gx_api_receipted_sql(c, &sql, e);

	if (rc != GX_OK) {
		return rc;
	}
	gx_buf_init(&b, 4096);
	/* Without a table of receipts the subquery has no rows. */
	(void)gx_buf_printf(&b,
			    "SELECT stream, sink, seq FROM %s x WHERE "
			    "split_part(stream, '/', 5) = $1 ORDER BY stream "
			    "COLLATE \"C\", sink LIMIT 200",
			    sql);
	rc = put_items(c, "receipts", gx_buf_str(&b), 1, &r->name, "ssi", e);
	gx_buf_free(&b);
	return rc;
}

static enum gx_rc
answer(struct gx_call *c, const struct gx_resource *r, const char *key,
       struct gx_err *e)
{
	const char *p[] = {r->name, key};
	enum gx_rc rc = put_rows(c, r, key, e);

	if (rc == GX_OK) {
		rc = put_items(c, "held",
			       "SELECT origin, stream, seq, " GX_SQL_TIME(
				       "since") " AS since FROM gx_held WHERE "
						"resource = $1 AND key = $2 "
						"ORDER BY origin",
			       2, p, "ssis", e);
	}
	if (rc == GX_OK) {
		rc = put_items(
			c, "quarantine",
			"SELECT id, side, stream, seq, state, n_seen, "
			"(SELECT coalesce(jsonb_agg(x->'keyword'), '[]') FROM "
			"jsonb_array_elements(reasons) x) AS keywords FROM "
			"gx_quarantine WHERE key = $2 AND "
			"split_part(stream, '/', 5) = $1 ORDER BY id DESC "
			"LIMIT 20",
			2, p, "issisij", e);
	}
	return rc == GX_OK ? put_receipts(c, r, e) : rc;
}

enum gx_rc
gx_api_trace(struct gx_call *c, struct gx_err *e)
{
	const struct gx_node_resource *r = gx_node_resource(c->n, c->arg[0]);
	const char *key = gx_http_query(c->req, "key");
	const struct gx_json *list;
	enum gx_rc rc;

	if (r == NULL) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "no such resource is declared at this node");
	}
	if (key == NULL ||
	    gx_json_parse(c->arena, gx_slice_str(key), &list, NULL) != GX_OK ||
	    list->type != GX_JSON_ARRAY || list->n != r->r->n_keys) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "key: the canonical JSON array of the record's "
			      "key");
	}
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_int(&c->w, "v", 1);
	gx_jw_kv_str(&c->w, "node", c->n->id);
	gx_jw_kv_str(&c->w, "parent",
		     gx_conf_str(c->n->conf, "parent", NULL, "id"));
	rc = answer(c, r->r, key, e);
	gx_jw_end(&c->w, '}');
	return rc;
}
