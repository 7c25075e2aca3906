/*
 * Store on PostgreSQL, first part: its face, and questions about streams.
 *
 * A store is one connection and what is prepared on it.  It is opened at the
 * first call, in the thread that calls, and again after it broke; what hung on
 * the old one (temporary tables, prepared statements) is then made anew.
 *
 * Every question is one statement, so that it is answered from one snapshot:
 * the rows of a partition and its offset belong together, and a reader that
 * loaded them apart could see a row that is ahead of its offset.
 *
 * If we die on any line nothing was changed, except that a stream has been
 * declared, which repeating does not change.
 *
 * What the database refuses about a value outside of records is never a
 * reason to set a record aside: there GX_REJECT becomes GX_FATAL.
 */
#include "base/text.h"
#include "flow/store_pg_int.h"

#define ARRAY_BYTES (256u << 20)

/* ---- arrays for unnest ---- */

void
gx_store_pg_arrays_init(struct spg_arrays *a)
{
	for (size_t i = 0; i < SPG_COLS; i++) {
		gx_buf_init(&a->col[i], ARRAY_BYTES);
	}
	a->n = 0;
}

void
gx_store_pg_arrays_free(struct spg_arrays *a)
{
	for (size_t i = 0; i < SPG_COLS; i++) {
		gx_buf_free(&a->col[i]);
	}
}

void
gx_store_pg_arrays_reset(struct spg_arrays *a)
{
	for (size_t i = 0; i < SPG_COLS; i++) {
		gx_buf_reset(&a->col[i]);
	}
	a->n = 0;
}

static void
open_value(struct gx_buf *col)
{
	(void)gx_buf_putc(col, col->n == 0 ? '{' : ',');
}

void
gx_store_pg_put(struct gx_buf *col, struct gx_slice v)
{
	size_t from = 0;

	open_value(col);
	(void)gx_buf_putc(col, '"');
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '"' || v.p[i] == '\\') {
			(void)gx_buf_put(col, v.p + from, i - from);
			(void)gx_buf_putc(col, '\\');
			from = i;
		} else if (v.p[i] == '\0') { /* no text holds it */
			col->failed = true;
		}
	}
	(void)gx_buf_put(col, v.p + from, v.n - from);
	(void)gx_buf_putc(col, '"');
}

void
gx_store_pg_put_u64(struct gx_buf *col, uint64_t v)
{
	open_value(col);
	(void)gx_buf_printf(col, "%llu", (unsigned long long)v);
}

/* bytea within an array literal */
void
gx_store_pg_put_hex(struct gx_buf *col, const void *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *at = p;

	open_value(col);
	(void)gx_buf_puts(col, "\"\\\\x");
	for (size_t i = 0; i < n; i++) {
		(void)gx_buf_putc(col, digits[at[i] >> 4]);
		(void)gx_buf_putc(col, digits[at[i] & 15]);
	}
	(void)gx_buf_putc(col, '"');
}

enum gx_rc
gx_store_pg_params(struct spg_arrays *a, size_t n, const char **params,
		   struct gx_err *e)
{
	for (size_t i = 0; i < n; i++) {
		(void)gx_buf_puts(&a->col[i], a->col[i].n ? "}" : "{}");
		params[i] = gx_buf_str(&a->col[i]);
		if (a->col[i].failed) {
			return GX_ERR(e, GX_FATAL, "mem.full",
				      "a column of %zu values does not fit a "
				      "statement",
				      a->n);
		}
	}
	return GX_OK;
}

bool
gx_store_pg_clean_json(struct gx_buf *out, struct gx_slice json)
{
	for (size_t i = 0; i < json.n; i++) {
		if (json.p[i] == '\\' && json.n - i >= 6 &&
		    memcmp(json.p + i, "\\u0000", 6) == 0) {
			(void)gx_buf_puts(out, "\\ufffd");
			i += 5;
		} else if (json.p[i] == '\\' && json.n - i >= 2) {
			(void)gx_buf_put(out, json.p + i, 2);
			i++;
		} else {
			(void)gx_buf_putc(out, json.p[i]);
		}
	}
	return !out->failed;
}

enum gx_rc
gx_store_pg_room(void *at, size_t *max, size_t n, size_t size, struct gx_err *e)
{
	void **p = at;
	size_t want = *max ? *max : 64;
	void *grown;

	if (n <= *max) {
		return GX_OK;
	}
	while (want < n) {
		want *= 2;
	}
	grown = gx_mem_grow(*p, want, size);
	if (grown == NULL) {
		return GX_ERR(e, GX_FATAL, "mem.none",
			      "no memory for a transaction of %zu lines", n);
	}
	*p = grown;
	*max = want;
	return GX_OK;
}

/* ---- lists of streams ---- */

bool
gx_store_pg_listed(char *const *list, size_t n, struct gx_slice name)
{
	for (size_t i = 0; i < n; i++) {
		if (gx_slice_eq(gx_slice_str(list[i]), name)) {
			return true;
		}
	}
	return false;
}

void
gx_store_pg_list(char ***list, size_t *n, struct gx_slice name)
{
	if (gx_store_pg_listed(*list, *n, name) || *n == STORE_PG_STREAMS) {
		return;
	}
	if (*list == NULL) {
		*list = gx_mem_new(STORE_PG_STREAMS * sizeof(**list));
	}
	(*list)[*n] = gx_mem_slicedup(name);
	*n += (*list)[*n] != NULL;
}

void
gx_store_pg_unlist(char **list, size_t *n, struct gx_slice name)
{
	for (size_t i = 0; i < *n; i++) {
		if (gx_slice_eq(gx_slice_str(list[i]), name)) {
			gx_mem_free(list[i]);
			list[i] = list[--*n];
			return;
		}
	}
}

/* ---- connection ---- */

/* A node below that is not in our configuration any more, or not in that of
 * this daemon, is still owed what it subscribed to. */
static enum gx_rc
find_gives(struct gx_store_pg *st, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(
		st->pg, "SELECT to_regclass('gx_subscription') IS NOT NULL", 0,
		NULL, &r, e);

	if (rc == GX_OK && gx_rows_bool(r, 0, 0)) {
		rc = gx_pg_query(st->pg,
				 "SELECT EXISTS (SELECT 1 FROM "
				 "gx_subscription WHERE by <> 'ended')",
				 0, NULL, &r, e);
		st->gives = rc == GX_OK && gx_rows_bool(r, 0, 0);
	}
	return rc;
}

enum gx_rc
gx_store_pg_connect(struct gx_store_pg *st, struct gx_err *e)
{
	enum gx_rc rc;

	if (st->pg != NULL && gx_pg_alive(st->pg)) {
		return GX_OK;
	}
	gx_pg_close(&st->pg);
	for (size_t i = 0; i < st->n_tables; i++) {
		st->tables[i].has_temp = false;
		st->tables[i].is_temp_full = false;
	}
	rc = gx_pg_open(st->conninfo, st->app, false, &st->pg, e);
	return rc == GX_OK && !st->gives && st->node != NULL ? find_gives(st, e)
							     : rc;
}

enum gx_rc
gx_store_pg_undo(struct gx_store_pg *st, enum gx_rc rc, struct gx_err *e)
{
	if (rc == GX_OK) {
		return GX_OK;
	}
	if (st->pg != NULL) {
		gx_pg_rollback(st->pg);
		if (!gx_pg_alive(st->pg)) {
			gx_pg_close(&st->pg);
		}
	}
	if (rc == GX_REJECT && e != NULL) {
		e->rc = GX_FATAL;
	}
	return rc == GX_REJECT ? GX_FATAL : rc;
}

/* ---- streams ---- */

#define STREAM_COLS                                                            \
	"s.stream, s.topic, s.partition, s.is_own, s.epoch, s.writer, "        \
	"s.next_seq, s.head, s.src, s.stopped_at, s.why"

/* Columns of STREAM_COLS, beginning at col. */
static enum gx_rc
read_row(const struct gx_rows *r, int row, int col, struct gx_stream_row *out,
	 struct gx_err *e)
{
	struct gx_slice head = gx_rows_slice(r, row, col + 7);
	unsigned char writer[8];
	struct gx_slice w = gx_rows_slice(r, row, col + 5);

	memset(out, 0, sizeof(*out));
	(void)snprintf(out->stream, sizeof(out->stream), "%s",
		       gx_rows_str(r, row, col));
	(void)snprintf(out->topic, sizeof(out->topic), "%s",
		       gx_rows_str(r, row, col + 1));
	out->partition = (int32_t)gx_rows_int(r, row, col + 2);
	out->is_own = gx_rows_bool(r, row, col + 3);
	out->chain.epoch = (uint64_t)gx_rows_int(r, row, col + 4);
	out->chain.next_seq = (uint64_t)gx_rows_int(r, row, col + 6);
	(void)snprintf(out->chain.src, sizeof(out->chain.src), "%s",
		       gx_rows_str(r, row, col + 8));
	out->is_stopped = !gx_rows_null(r, row, col + 9);
	out->stopped_at = gx_rows_int(r, row, col + 9);
	(void)snprintf(out->why, sizeof(out->why), "%s",
		       gx_rows_str(r, row, col + 10));
	if (!gx_unhex(w.p, w.n, writer, sizeof(writer)) ||
	    !gx_unhex(head.p, head.n, out->chain.head, GX_HASH)) {
		return GX_ERR(e, GX_FATAL, "store.row",
			      "the row of %s in gx_stream cannot be read",
			      out->stream);
	}
	for (size_t i = 0; i < sizeof(writer); i++) {
		out->chain.writer = out->chain.writer << 8 | writer[i];
	}
	return GX_OK;
}

static enum gx_rc
load(struct gx_store *s, const char *topic, int32_t partition,
     int64_t *next_offset, gx_stream_f each, void *ctx, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	char number[16];
	const char *params[] = {topic, number};
	const struct gx_rows *r;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	(void)snprintf(number, sizeof(number), "%d", partition);
	if (rc == GX_OK) {
		rc = gx_pg_query(
			st->pg,
			"SELECT coalesce((SELECT next_offset FROM gx_read "
			"WHERE topic = $1 AND partition = $2::integer), "
			"0), " STREAM_COLS
			" FROM (SELECT 1) one LEFT JOIN gx_stream s "
			"ON s.topic = $1 AND s.partition = $2::integer",
			2, params, &r, e);
	}
	if (rc != GX_OK) {
		return gx_store_pg_undo(st, rc, e);
	}
	*next_offset = gx_rows_int(r, 0, 0);
	for (int i = 0; i < gx_rows_n(r); i++) {
		struct gx_stream_row row;

		if (gx_rows_null(r, i, 1)) {
			continue;
		}
		rc = read_row(r, i, 1, &row, e);
		if (rc != GX_OK) {
			return rc;
		}
		each(ctx, &row);
	}
	return GX_OK;
}

static enum gx_rc
look(struct gx_store *s, const char *const *streams, size_t n,
     struct gx_stream_row *rows, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	const char *params[1];
	const struct gx_rows *r;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	gx_store_pg_arrays_reset(&st->a);
	for (size_t i = 0; i < n; i++) {
		gx_store_pg_put(&st->a.col[0], gx_slice_str(streams[i]));
	}
	if (rc == GX_OK) {
		rc = gx_store_pg_params(&st->a, 1, params, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "SELECT " STREAM_COLS
				 " FROM unnest($1::text[]) WITH ORDINALITY "
				 "n(name, i) LEFT JOIN gx_stream s "
				 "ON s.stream = n.name ORDER BY n.i",
				 1, params, &r, e);
	}
	if (rc != GX_OK) {
		return gx_store_pg_undo(st, rc, e);
	}
	GX_ASSERT((size_t)gx_rows_n(r) == n);
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		if (gx_rows_null(r, (int)i, 0)) {
			return GX_ERR(e, GX_FATAL, "stream.undeclared",
				      "%s has no row: it was never declared",
				      streams[i]);
		}
		rc = read_row(r, (int)i, 0, &rows[i], e);
	}
	return rc;
}

static enum gx_rc
taken(struct gx_store *s, struct gx_slice stream, uint64_t first,
      struct gx_taken *out, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	char name[GX_STREAM_MAX + 1], number[24];
	const char *params[] = {name, number};
	const struct gx_rows *r;
	struct gx_slice head;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	memset(out, 0, sizeof(*out));
	(void)snprintf(name, sizeof(name), "%.*s", (int)stream.n, stream.p);
	(void)snprintf(number, sizeof(number), "%llu",
		       (unsigned long long)first);
	if (rc == GX_OK) {
		rc = gx_pg_query(
			st->pg,
			"SELECT b.n, b.head, coalesce((SELECT min(first) FROM "
			"gx_batch WHERE stream = $1), 0) FROM (SELECT 1) one "
			"LEFT JOIN gx_batch b ON b.stream = $1 AND "
			"b.first = $2::bigint",
			2, params, &r, e);
	}
	if (rc != GX_OK) {
		return gx_store_pg_undo(st, rc, e);
	}
	out->lowest_first = (uint64_t)gx_rows_int(r, 0, 2);
	out->found = !gx_rows_null(r, 0, 0);
	out->n = (uint64_t)gx_rows_int(r, 0, 0);
	head = gx_rows_slice(r, 0, 1);
	if (out->found && !gx_unhex(head.p, head.n, out->head, GX_HASH)) {
		return GX_ERR(e, GX_FATAL, "store.row",
			      "a row of %s in gx_batch cannot be read", name);
	}
	return GX_OK;
}

static enum gx_rc
count(struct gx_store *s, struct gx_slice stream, uint64_t *n_rows,
      struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	char origin[GX_STREAM_MAX + 1];
	const char *params[] = {origin};
	struct gx_stream_name name;
	struct spg_table *t = NULL;
	const struct gx_rows *r;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	if (rc == GX_OK) {
		rc = gx_store_pg_table(st, stream, &name, &t, e);
	}
	if (rc == GX_OK) {
		rc = gx_store_pg_make_table(st, t, e);
	}
	if (rc == GX_OK) {
		(void)snprintf(origin, sizeof(origin), "%.*s",
			       (int)name.origin.n, name.origin.p);
		rc = gx_pg_query(st->pg, t->count, 1, params, &r, e);
	}
	if (rc != GX_OK) {
		return gx_store_pg_undo(st, rc, e);
	}
	*n_rows = (uint64_t)gx_rows_int(r, 0, 0);
	return GX_OK;
}

static enum gx_rc
declare(struct gx_store *s, const char *stream, const char *topic,
	int32_t partition, struct gx_err *e)
{
	struct gx_store_pg *st = store_pg_of(s);
	char number[16];
	const char *params[] = {stream, topic, number};
	const struct gx_rows *r;
	enum gx_rc rc = gx_store_pg_connect(st, e);

	(void)snprintf(number, sizeof(number), "%d", partition);
	if (rc == GX_OK) {
		rc = gx_pg_query(
			st->pg,
			"INSERT INTO gx_stream AS s (stream, topic, partition, "
			"is_own) VALUES ($1, $2, $3::integer, true) "
			"ON CONFLICT (stream) DO UPDATE SET is_own = true "
			"WHERE NOT s.is_own AND s.topic = $2 AND "
			"s.partition = $3::integer",
			3, params, NULL, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_query(st->pg,
				 "SELECT topic = $2 AND partition = "
				 "$3::integer FROM gx_stream WHERE stream = $1",
				 3, params, &r, e);
	}
	if (rc != GX_OK) {
		return gx_store_pg_undo(st, rc, e);
	}
	if (gx_rows_n(r) == 0 || !gx_rows_bool(r, 0, 0)) {
		return GX_ERR(e, GX_FATAL, "stream.moved",
			      "%s has its row in another topic or partition "
			      "than %s/%d",
			      stream, topic, partition);
	}
	return GX_OK;
}

/* ---- new and free ---- */

static void
free_list(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		gx_mem_free(list[i]);
	}
	gx_mem_free(list);
}

static void
free_store(struct gx_store **s)
{
	struct gx_store_pg *st = store_pg_of(*s);

	gx_pg_close(&st->pg);
	for (size_t i = 0; i < st->n_tables; i++) {
		gx_store_pg_free_table(&st->tables[i]);
	}
	gx_mem_free(st->tables);
	free_list(st->streams, st->n_streams);
	free_list(st->accepted, st->n_accepted);
	free_list(st->subtree, st->n_subtree);
	gx_mem_free(st->units);
	gx_mem_free(st->items);
	gx_mem_free(st->slots);
	gx_mem_free(st->started);
	gx_mem_free(st->params);
	gx_mem_free(st->picked);
	gx_buf_free(&st->rows);
	gx_buf_free(&st->text);
	gx_buf_free(&st->key);
	gx_buf_free(&st->sealed);
	gx_store_pg_arrays_free(&st->a);
	gx_store_pg_arrays_free(&st->b);
	gx_store_pg_arrays_free(&st->asides);
	gx_store_pg_arrays_free(&st->starts);
	gx_store_pg_arrays_free(&st->redrives);
	gx_mem_wipe(st->conninfo, strlen(st->conninfo));
	gx_mem_free(st->conninfo);
	gx_mem_free(st->app);
	gx_mem_free(st->node);
	st->magic = 0;
	gx_mem_free(st);
	*s = NULL;
}

static const struct gx_store_ops ops = {
	.load = load,
	.look = look,
	.taken = taken,
	.commit = gx_store_pg_commit,
	.count = count,
	.declare = declare,
	.aside = gx_store_pg_aside,
	.redrive_wanted = gx_store_pg_redrive_wanted,
	.redrive = gx_store_pg_redrive,
	.settle = gx_store_pg_settle,
	.release = gx_store_pg_release,
	.released = gx_store_pg_released,
	.free = free_store,
};

static void
init_tables(struct gx_store_pg *st, const struct gx_store_pg_conf *conf)
{
	st->n_tables = conf->n_resources;
	st->tables = gx_mem_new((st->n_tables + 1) * sizeof(*st->tables));
	for (size_t i = 0; i < st->n_tables; i++) {
		st->tables[i].r = conf->resources[i];
		st->tables[i].number = (unsigned)i;
		gx_store_pg_arrays_init(&st->tables[i].touched);
	}
}

enum gx_rc
gx_store_pg_new(const struct gx_store_pg_conf *conf, struct gx_store **out,
		struct gx_err *e)
{
	struct gx_store_pg *st = gx_mem_new(sizeof(*st));
	char app[64];

	(void)e;
	st->base.ops = &ops;
	st->magic = STORE_PG_MAGIC;
	(void)snprintf(app, sizeof(app), "gxbusd%s%.50s",
		       conf->flow != NULL ? " " : "",
		       conf->flow != NULL ? conf->flow : "");
	st->conninfo = gx_mem_strdup(conf->conninfo);
	st->app = gx_mem_strdup(app);
	st->node = conf->node != NULL ? gx_mem_strdup(conf->node) : NULL;
	for (size_t i = 0; conf->subtree != NULL && conf->subtree[i]; i++) {
		gx_store_pg_list(&st->subtree, &st->n_subtree,
				 gx_slice_str(conf->subtree[i]));
	}
	st->gives = conf->gives && conf->node != NULL;
	st->guard_percent = conf->guard_percent;
	st->guard_floor = conf->guard_floor;
	st->quarantine_max_rows = conf->quarantine_max_rows;
	st->box = conf->box;
	st->check_line = conf->check_line;
	st->check_ctx = conf->check_ctx;
	init_tables(st, conf);
	gx_buf_init(&st->rows, STORE_PG_ROWS);
	gx_buf_init(&st->text, 4u << 20);
	gx_buf_init(&st->key, 64u << 10);
	gx_buf_init(&st->sealed, 9u << 20); /* more than an original may be */
	gx_store_pg_arrays_init(&st->a);
	gx_store_pg_arrays_init(&st->b);
	gx_store_pg_arrays_init(&st->asides);
	gx_store_pg_arrays_init(&st->starts);
	gx_store_pg_arrays_init(&st->redrives);
	*out = &st->base;
	return GX_OK;
}
