/*
 * Tables and publication of a PostgreSQL source: do they fit the declaration?
 *
 * What does not fit stops the streams of that one table, with the column, the
 * reason and the statement that mends it; its neighbours go on.  A column that
 * is dropped or retyped is never guessed around: a silent NULL in a hundred
 * thousand records is the worst that an exchange can do to its receivers.
 *
 * Two things are looked at before a publication is made, because they would
 * hurt the department itself: a published table without a replica identity
 * refuses the department's own UPDATEs and DELETEs; and a table that joins a
 * publication after its stream has begun has lost the changes in between.
 *
 * Nothing else is ever written in the department's database: the publication
 * and the slot, and both only when they are missing and nothing was taken yet.
 */
#include "base/log.h"
#include "flow/src_pg_int.h"

#define OLDER_MS 5000 /* a transaction may last so long before we say so */

unsigned
gx_src_pg_type_holds(uint32_t oid)
{
	static const struct {
		uint32_t oid;
		unsigned holds;
	} known[] = {
		{16, GX_ABI_HOLDS_BOOLEAN},   {18, GX_ABI_HOLDS_TEXT},
		{19, GX_ABI_HOLDS_TEXT},      {20, GX_ABI_HOLDS_INTEGER},
		{21, GX_ABI_HOLDS_INTEGER},   {23, GX_ABI_HOLDS_INTEGER},
		{25, GX_ABI_HOLDS_TEXT},      {700, GX_ABI_HOLDS_DECIMAL},
		{701, GX_ABI_HOLDS_DECIMAL},  {1042, GX_ABI_HOLDS_TEXT},
		{1043, GX_ABI_HOLDS_TEXT},    {1082, GX_ABI_HOLDS_DATE},
		{1114, GX_ABI_HOLDS_TIME},    {1184, GX_ABI_HOLDS_TIME},
		{1700, GX_ABI_HOLDS_DECIMAL}, {2950, GX_ABI_HOLDS_TEXT},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].oid == oid) {
			return known[i].holds;
		}
	}
	return 0;
}

static void
stop(struct gx_src_pg *src, struct pg_table *t, const char *code,
     const char *column, const char *why)
{
	struct gx_err err = {0};

	(void)GX_ERR(&err, GX_REJECT, code, "%s.%s%s%s: %s", t->ns, t->name,
		     column[0] ? " column " : "", column, why);
	gx_src_pg_stop_table(src, t, &err);
}

/* Remember a column's name; true if it was not known. */
static bool
see_column(struct pg_table *t, struct gx_slice name)
{
	struct gx_buf *b = &t->seen_columns;
	char line[80];
	int n = snprintf(line, sizeof(line), "\n%.*s\n",
			 (int)(name.n < 70 ? name.n : 70), name.p);

	if (b->n > 0 && memmem(b->p, b->n, line, (size_t)n) != NULL) {
		return false;
	}
	return gx_buf_put(b, line, (size_t)n);
}

/* Called for each column the table has, from catalogue or relation. */
static void
report_column(const struct pg_table *t, struct gx_slice name)
{
	gx_log(GX_LOG_NOTICE, "source.column_added",
	       "table=%s.%s column=%.*s text=\"new in the department's table "
	       "and not mapped: declare it if the resource wants it\"",
	       t->ns, t->name, (int)(name.n < 63 ? name.n : 63), name.p);
}

static int
find_column(const struct pg_table *t, struct gx_slice name)
{
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		if (gx_slice_eq(name,
				gx_slice_str(gx_host_column(t->host, i)))) {
			return (int)i;
		}
	}
	return -1;
}

/* One row of the catalogue.  is_identity: part of the replica identity. */
static void
take_column(struct gx_src_pg *src, struct pg_table *t, const struct gx_rows *r,
	    int row, bool is_first)
{
	struct gx_slice name = gx_rows_slice(r, row, 0);
	int i = find_column(t, name);
	uint32_t type = (uint32_t)gx_rows_int(r, row, 1);
	uint32_t base = (uint32_t)gx_rows_int(r, row, 2);

	if (see_column(t, name) && !is_first && i < 0) {
		report_column(t, name);
	}
	if (i < 0) {
		return;
	}
	t->cat_types[i] = type;
	t->cat_holds[i] = gx_rows_bool(r, row, 5) ? GX_ABI_HOLDS_TEXT /* enum */
						  : gx_src_pg_type_holds(base);
	t->is_nullable[i] = !gx_rows_bool(r, row, 3);
	if (gx_host_column_is_key(t->host, (size_t)i) &&
	    !gx_rows_bool(r, row, 4)) {
		stop(src, t, "source.no_identity",
		     gx_host_column(t->host, (size_t)i),
		     "a key item comes from it, but a delete would not name "
		     "it: make it part of the primary key, or ALTER TABLE "
		     "... REPLICA IDENTITY FULL");
	}
}

static void
check_columns(struct gx_src_pg *src, struct pg_table *t)
{
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		const char *name = gx_host_column(t->host, i);

		if (t->cat_types[i] == 0) {
			stop(src, t, "source.column_gone", name,
			     "it is mapped but not there: put it back, or "
			     "take it out of the declaration, then restart "
			     "the flow");
		} else if ((t->cat_holds[i] &
			    gx_host_column_holds(t->host, i)) == 0) {
			stop(src, t, "source.column_retyped", name,
			     "its type does not fit its conversion: change it "
			     "back, or choose another conversion in the "
			     "declaration, then restart the flow");
		}
	}
}

/* Would a full reading and the changes be the same rows and columns? */
static void
check_same_rows(struct gx_src_pg *src, struct pg_table *t,
		const struct gx_rows *r)
{
	if (gx_rows_bool(r, 0, 11)) {
		stop(src, t, "source.filtered", "",
		     "other tables inherit from it: declare each of them by "
		     "itself, or make it a partitioned table");
	}
	if (gx_rows_bool(r, 0, 9)) {
		stop(src, t, "source.filtered", "",
		     "the publication has a row filter (WHERE) for it: take "
		     "the filter out, or let a view of the bus filter");
	}
	if (gx_rows_bool(r, 0, 12)) {
		stop(src, t, "source.filtered", "",
		     "row-level security hides rows from our role: ALTER ROLE "
		     "... BYPASSRLS");
	}
	for (int row = 0; row < gx_rows_n(r); row++) {
		int i = find_column(t, gx_rows_slice(r, row, 0));

		if (i >= 0 && gx_rows_bool(r, row, 10)) {
			stop(src, t, "source.filtered",
			     gx_host_column(t->host, (size_t)i),
			     "it is mapped, but the publication's list of "
			     "columns leaves it out: take the list out");
		}
	}
}

enum gx_rc
gx_src_pg_look_table(struct gx_src_pg *src, struct pg_table *t,
		     struct gx_err *e)
{
	const char *params[] = {t->ns, t->name, src->publication};
	bool is_first = t->seen_columns.n == 0;
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(
		src->ctl,
		"SELECT a.attname, a.atttypid::bigint, "
		"coalesce(nullif(ty.typbasetype, 0), a.atttypid)::bigint, "
		"a.attnotnull, c.relreplident = 'f' OR EXISTS ("
		"SELECT FROM pg_index i WHERE i.indrelid = c.oid AND "
		"(CASE c.relreplident WHEN 'd' THEN i.indisprimary "
		"WHEN 'i' THEN i.indisreplident ELSE false END) "
		"AND a.attnum = ANY (i.indkey)), ty.typtype = 'e', "
		"has_column_privilege(c.oid, a.attnum, 'SELECT'), "
		"p.tablename IS NOT NULL, c.oid::bigint, "
		/* By name through jsonb: older servers have no such columns. */
		"coalesce(to_jsonb(p) ->> 'rowfilter', '') <> '', "
		"a.attgenerated = '' AND to_jsonb(p) ? 'attnames' AND NOT "
		"to_jsonb(p) -> 'attnames' ? a.attname, "
		"c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i "
		"WHERE i.inhparent = c.oid), row_security_active(c.oid) "
		"FROM pg_class c LEFT JOIN pg_publication_tables p "
		"ON p.pubname = $3 AND p.schemaname = $1 AND p.tablename = $2 "
		"JOIN pg_namespace n ON n.oid = c.relnamespace "
		"JOIN pg_attribute a ON a.attrelid = c.oid "
		"JOIN pg_type ty ON ty.oid = a.atttypid "
		"WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 "
		"AND NOT a.attisdropped AND c.relkind IN ('r', 'p') "
		"ORDER BY a.attnum",
		3, params, &r, e);

	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_AGAIN : rc;
	}
	memset(t->cat_types, 0, sizeof(t->cat_types));
	if (gx_rows_n(r) == 0) {
		stop(src, t, "source.table_gone", "",
		     "there is no such table: correct the declaration, or "
		     "restore the table");
		return GX_OK;
	}
	t->is_published = gx_rows_bool(r, 0, 7);
	t->cat_oid = (uint32_t)gx_rows_int(r, 0, 8);
	check_same_rows(src, t, r);
	for (int row = 0; row < gx_rows_n(r); row++) {
		if (!gx_rows_bool(r, row, 6) &&
		    find_column(t, gx_rows_slice(r, row, 0)) >= 0) {
			return GX_ERR(e, GX_FATAL, "source.no_right",
				      "our role may not read %s.%s: run GRANT "
				      "SELECT ON %s.%s TO it",
				      t->ns, t->name, t->ns, t->name);
		}
		take_column(src, t, r, row, is_first);
	}
	if (!t->is_stopped) {
		check_columns(src, t);
	}
	return GX_OK;
}

/* ---- still the same table, and still published? ---- */

static void
stop_replaced(struct gx_src_pg *src, struct pg_table *t)
{
	stop(src, t, "source.unpublished", "",
	     "another table was put in its place, and what it was filled with "
	     "before it was published is unread: see that it is in the "
	     "publication, and order a full reading");
}

static void
stop_unpublished(struct gx_src_pg *src, struct pg_table *t)
{
	stop(src, t, "source.unpublished", "",
	     "it is not in the publication any more, so changes may be lost: "
	     "put it back, and order a full reading");
}

enum gx_rc
gx_src_pg_look_published(struct gx_src_pg *src, struct gx_err *e)
{
	const char *params[] = {src->publication};
	const struct gx_rows *r;
	enum gx_rc rc =
		gx_pg_query(src->ctl,
			    "SELECT p.schemaname, p.tablename, c.oid::bigint "
			    "FROM pg_publication_tables p "
			    "JOIN pg_namespace n ON n.nspname = p.schemaname "
			    "JOIN pg_class c ON c.relnamespace = n.oid AND "
			    "c.relname = p.tablename WHERE p.pubname = $1",
			    1, params, &r, e);

	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	src->published_at_ms = gx_mono_ms();
	for (size_t i = 0; i < src->n_tables; i++) {
		struct pg_table *t = &src->tables[i];
		int row = 0;

		if (t->is_stopped || !t->is_published) {
			continue;
		}
		while (row < gx_rows_n(r) &&
		       (strcmp(gx_rows_str(r, row, 0), t->ns) != 0 ||
			strcmp(gx_rows_str(r, row, 1), t->name) != 0)) {
			row++;
		}
		if (row == gx_rows_n(r)) {
			stop_unpublished(src, t);
		} else if (gx_rows_int(r, row, 2) != (int64_t)t->cat_oid) {
			stop_replaced(src, t);
		}
	}
	return GX_OK;
}

/* ---- relation messages ---- */

static unsigned
relation_holds(const struct pg_table *t, size_t i, uint32_t type)
{
	return type == t->cat_types[i] ? t->cat_holds[i]
				       : gx_src_pg_type_holds(type);
}

/* A type of another class than the one handed over before, or one that no
 * conversion takes while the catalogue still has it so. */
static void
check_relation(struct gx_src_pg *src, struct pg_table *t)
{
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		unsigned takes = gx_host_column_holds(t->host, i);

		if (t->col_at[i] == UINT16_MAX) {
			continue; /* the catalogue has it again: NULL then */
		}
		if ((t->holds[i] & takes) == 0 &&
		    (t->cat_holds[i] & takes) != 0) {
			continue; /* since mended; the schema looks at it */
		}
		if ((t->holds[i] & takes) == 0 ||
		    (t->read_holds[i] != 0 &&
		     t->holds[i] != t->read_holds[i])) {
			stop(src, t, "source.column_retyped",
			     gx_host_column(t->host, i),
			     "its type has changed: change it back, or see "
			     "that its conversion in the declaration still "
			     "fits, then restart the flow");
		}
	}
}

enum gx_rc
gx_src_pg_relation(struct gx_src_pg *src, const struct gx_pgo_msg *m,
		   struct pg_table *t, struct gx_err *e)
{
	struct gx_pgo_column col;
	bool is_partial = false;
	uint16_t n = 0;

	if (m->relation != t->cat_oid && !t->is_stopped) {
		stop_replaced(src, t);
	}
	t->oid = m->relation;
	t->identity = m->identity;
	t->n_rel_columns = m->n_columns;
	memset(t->col_at, 0xff, sizeof(t->col_at));
	for (size_t at = 0; gx_pgo_column_next(m, &at, &col); n++) {
		struct gx_slice name = gx_src_pg_name(src, col.name);
		int i = find_column(t, name);

		if (see_column(t, name) && i < 0) {
			report_column(t, name);
		}
		if (i >= 0) {
			t->col_at[i] = n;
			t->holds[i] = relation_holds(t, (size_t)i, col.type);
			is_partial |= col.type != t->cat_types[i];
		}
	}
	for (size_t i = 0; i < gx_host_n_columns(t->host); i++) {
		is_partial |= t->col_at[i] == UINT16_MAX;
	}
	if (is_partial && !t->is_stopped) {
		/* Not as at take: what does the catalogue say by now? */
		enum gx_rc rc = gx_src_pg_look_table(src, t, e);

		if (rc != GX_OK) {
			return rc == GX_AGAIN ? GX_ABORT : rc;
		}
	}
	if (!t->is_stopped) {
		check_relation(src, t);
	}
	return GX_OK;
}

/* ---- publication ---- */

#define PUBLISH "insert, update, delete, truncate"

static void
put_table(struct gx_buf *b, const struct pg_table *t)
{
	(void)gx_pg_ident(b, t->ns);
	(void)gx_buf_putc(b, '.');
	(void)gx_pg_ident(b, t->name);
}

static bool
has_nothing(const struct gx_src_pg *src, const struct pg_table *t)
{
	for (size_t k = 0; k < t->n_streams; k++) {
		const struct pg_stream *st = &src->streams[t->first_stream + k];

		if (st->has_begun || st->is_read) {
			return false;
		}
	}
	return true;
}

/* Run it, or say it. */
static enum gx_rc
run_or_say(struct gx_src_pg *src, struct gx_buf *sql, struct gx_err *e)
{
	struct gx_err why = {0};
	const char *text = gx_buf_str(sql);

	if (src->may_create) {
		enum gx_rc rc = gx_pg_exec(src->ctl, text, &why);

		if (rc == GX_OK) {
			gx_log(GX_LOG_NOTICE, "source.published",
			       "publication=%s", src->publication);
			return GX_OK;
		}
		if (rc == GX_AGAIN || rc == GX_ABORT) {
			*e = why;
			return GX_AGAIN;
		}
	}
	return GX_ERR(e, GX_FATAL, "source.publication",
		      "let the owner of the tables run: %.320s", text);
}

static enum gx_rc
create_publication(struct gx_src_pg *src, struct gx_err *e)
{
	struct gx_buf sql;
	const char *comma = "";
	enum gx_rc rc;

	if (src->has_slot) {
		return GX_ERR(e, GX_FATAL, "source.publication_gone",
			      "publication %s was dropped while slot %s lived: "
			      "changes since are lost; drop the slot and "
			      "follow slot.lost",
			      src->publication, src->place.slot);
	}
	gx_buf_init(&sql, 64 * 1024);
	(void)gx_buf_puts(&sql, "CREATE PUBLICATION ");
	(void)gx_pg_ident(&sql, src->publication);
	(void)gx_buf_puts(&sql, " FOR TABLE ");
	for (size_t i = 0; i < src->n_tables; i++) {
		if (!src->tables[i].is_stopped) {
			(void)gx_buf_puts(&sql, comma);
			put_table(&sql, &src->tables[i]);
			comma = ", ";
		}
	}
	(void)gx_buf_puts(&sql, " WITH (publish = '" PUBLISH
				"', publish_via_partition_root = true)");
	rc = comma[0] == '\0' ? GX_OK : run_or_say(src, &sql, e);
	gx_buf_free(&sql);
	for (size_t i = 0; rc == GX_OK && i < src->n_tables; i++) {
		src->tables[i].is_published = !src->tables[i].is_stopped;
	}
	return rc;
}

/* Rows of a transaction that was open when its table joined are in no change
 * that we are sent, so the snapshot must see them: wait until every
 * transaction of the first look is over.  What was met first is kept, so that
 * later ones do not hold us up for ever. */
enum gx_rc
gx_src_pg_wait_older(struct gx_src_pg *src, struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + OLDER_MS;
	const struct gx_rows *r;
	bool has_new = false;
	char seen[24];

	for (size_t i = 0; i < src->n_tables; i++) {
		const struct pg_table *t = &src->tables[i];

		has_new |= !t->is_stopped && has_nothing(src, t);
	}
	for (;;) {
		const char *params[] = {seen};
		enum gx_rc rc;

		(void)snprintf(seen, sizeof(seen), "%lld",
			       (long long)src->older_than_xid);
		rc = gx_pg_query(
			src->ctl,
			"SELECT x.seen, x.seen <= pg_snapshot_xmin(x.s)::text"
			"::bigint, coalesce((SELECT min(pid) FROM "
			"pg_stat_activity WHERE backend_xid IS NOT NULL), 0) "
			"FROM (SELECT s, coalesce(nullif($1::bigint, 0), "
			"pg_snapshot_xmax(s)::text::bigint) seen "
			"FROM pg_current_snapshot() s) x",
			1, params, &r, e);
		if (!has_new || rc != GX_OK) {
			return rc;
		}
		src->older_than_xid = gx_rows_int(r, 0, 0);
		if (gx_rows_bool(r, 0, 1)) {
			src->older_than_xid = 0;
			return GX_OK;
		}
		if (gx_mono_ms() >= until_ms) {
			return GX_ERR(e, GX_ABORT, "source.open_transaction",
				      "a table joined the publication while a "
				      "transaction was open that is not over "
				      "yet (server process %lld?): its rows "
				      "would be lost; waiting",
				      (long long)gx_rows_int(r, 0, 2));
		}
		rc = gx_pg_query(src->ctl, "SELECT pg_sleep(0.05)", 0, NULL, &r,
				 e);
		if (rc != GX_OK) {
			return rc;
		}
	}
}

static enum gx_rc
add_table(struct gx_src_pg *src, struct pg_table *t, struct gx_err *e)
{
	struct gx_buf sql;
	enum gx_rc rc;

	if (!has_nothing(src, t)) {
		stop_unpublished(src, t);
		return GX_OK;
	}
	gx_buf_init(&sql, 1024);
	(void)gx_buf_puts(&sql, "ALTER PUBLICATION ");
	(void)gx_pg_ident(&sql, src->publication);
	(void)gx_buf_puts(&sql, " ADD TABLE ");
	put_table(&sql, t);
	rc = run_or_say(src, &sql, e);
	gx_buf_free(&sql);
	t->is_published = rc == GX_OK;
	return rc;
}

enum gx_rc
gx_src_pg_publish(struct gx_src_pg *src, struct gx_err *e)
{
	const char *params[] = {src->publication};
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(
		src->ctl,
		"SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate "
		"FROM pg_publication WHERE pubname = $1",
		1, params, &r, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(r) == 0) {
		return create_publication(src, e);
	}
	if (!gx_rows_bool(r, 0, 0)) {
		return GX_ERR(e, GX_FATAL, "source.publication",
			      "publication %s leaves something out: run ALTER "
			      "PUBLICATION \"%s\" SET (publish = '" PUBLISH
			      "')",
			      src->publication, src->publication);
	}
	for (size_t i = 0; rc == GX_OK && i < src->n_tables; i++) {
		struct pg_table *t = &src->tables[i];

		if (!t->is_stopped && !t->is_published) {
			rc = add_table(src, t, e);
		}
	}
	return rc;
}
