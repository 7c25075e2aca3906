/*
 * Source over this node's outbox.
 *
 * The rows of one origin are a log inside the database: ids without holes, in
 * the order of the commits (outbox.c).  So reading is asking for what lies
 * above the last id, a thousand rows at a time, and nothing can slip in below.
 * A hole means that rows were taken away by hand, and is a stop.
 *
 * Life: take() opens a connection of its own and holds the origin by an
 * advisory lock, which the server gives back when that connection ends, so
 * that a killed reader holds nobody up; start() compares what was settled and
 * released with what the tables say; read() hands over row by row; release()
 * notes; tend() deletes what is released and old, a small portion at a time,
 * and only between two fetches, because the rows in hand lie in the
 * connection's last answer.
 *
 * Each fetch asks for the head too, in the same statement.  A head of another
 * incarnation or with a lower id means that the tables were restored or made
 * anew under us: ids would then be given twice, so the flow stops, alone, and
 * says so.
 *
 * If we die on any line nothing is lost: rows are deleted only when the writer
 * had noted them as released, which is when this node's reader had taken them.
 * The newest released row of each stream stays for good.  By it a start sees
 * that the log has lost what was released, and does not read on behind it.
 *
 * Reading begins behind what was released and skips, per stream, what is
 * settled.  Every record is run through the validator of its resource, though
 * it was made here: what a stream holds is this node's promise.  A row that
 * does not pass is set aside with reasons, as any department's would be.  A row
 * of a stream that this flow does not carry is nobody's record: the flow stops.
 */
#include "flow/src_outbox.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "flow/outbox.h"
#include "record/batch.h"

#include <poll.h>

#define SRC_OUTBOX_MAGIC 0x6f757462u
#define POLL_MIN_MS 20
#define POLL_MAX_MS 200
#define TRIM_ROWS 1000
#define TRIM_MAX_MS 60000
#define TRIM_MIN_MS 200
#define POS_TEXT (GX_OUTBOX_INCARNATION + 52)
#define FAULTS 64

struct obx_stream {
	char *name;
	const struct gx_resource *r;
	struct gx_check *check;
	uint64_t settled; /* all of its rows up to here are in the log */
};

/* Columns of fetch(), in the order of its statement. */
enum col {
	COL_INCARNATION,
	COL_LAST,
	COL_ID,
	COL_STREAM,
	COL_OP,
	COL_KEY,
	COL_AT,
	COL_O,
	COL_D
};

struct src_outbox {
	struct gx_source base;
	unsigned magic;
	char *conninfo, *origin;
	bool is_down; /* made for a node below: lines name their origins */
	int64_t keep_ms;
	struct obx_stream *streams;
	size_t n_streams;

	struct gx_pg *pg; /* NULL: not taken */
	bool is_started;
	struct gx_outbox_pos at; /* the newest row handed over or skipped */
	uint64_t told_id;	 /* of it, the newest a position was given of */
	uint64_t released_id;
	int64_t poll_at_ms, pause_ms, trim_at_ms;

	/* The rows in hand: an answer of pg, good until its next call. */
	const struct gx_rows *rows;
	int n_rows, row;

	struct gx_buf pos, key;
	struct gx_fault faults[FAULTS];
	size_t n_faults;
};

static const struct gx_source_ops src_outbox_ops;

static struct src_outbox *
src_of(struct gx_source *s)
{
	struct src_outbox *src = (struct src_outbox *)s;

	GX_ASSERT(src->magic == SRC_OUTBOX_MAGIC);
	return src;
}

/* ---- positions ---- */

/* Of a row, by its columns in an answer. */
static void
mark_row(const struct gx_rows *r, int row, const int cols[GX_OUTBOX_PARTS],
	 char out[GX_OUTBOX_MARK + 1])
{
	struct gx_slice part[GX_OUTBOX_PARTS];

	for (size_t i = 0; i < GX_OUTBOX_PARTS; i++) {
		part[i] = gx_rows_slice(r, row, cols[i]);
	}
	gx_src_outbox_mark(part, out);
}

static struct gx_slice
pos_text(struct src_outbox *src, uint64_t id)
{
	struct gx_outbox_pos pos = src->at;

	pos.id = id;
	gx_buf_reset(&src->pos);
	(void)gx_src_outbox_pos_put(&src->pos, &pos);
	return gx_buf_view(&src->pos);
}

/* ---- made and freed ---- */

static void
drop_source(struct gx_source *s)
{
	struct src_outbox *src = src_of(s);

	gx_pg_close(&src->pg); /* and with it the lock */
	src->is_started = false;
	src->rows = NULL;
	src->n_rows = 0;
	src->row = 0;
}

static void
free_source(struct gx_source **s)
{
	struct src_outbox *src;

	if (*s == NULL) {
		return;
	}
	src = src_of(*s);
	drop_source(*s);
	*s = NULL;
	for (size_t i = 0; i < src->n_streams; i++) {
		gx_mem_free(src->streams[i].name);
		gx_check_free(&src->streams[i].check);
	}
	gx_mem_free(src->streams);
	gx_mem_free(src->conninfo);
	gx_mem_free(src->origin);
	gx_buf_free(&src->pos);
	gx_buf_free(&src->key);
	src->magic = 0;
	gx_mem_free(src);
}

static struct obx_stream *
find_stream(const struct src_outbox *src, struct gx_slice name)
{
	for (size_t i = 0; i < src->n_streams; i++) {
		if (gx_slice_eq(gx_slice_str(src->streams[i].name), name)) {
			return &src->streams[i];
		}
	}
	return NULL;
}

static enum gx_rc
add_stream(struct src_outbox *src, const struct gx_resource *r,
	   struct gx_err *e)
{
	struct obx_stream *st = &src->streams[src->n_streams];
	struct gx_stream_name parts;
	struct gx_buf name;
	enum gx_rc rc = GX_OK;

	gx_buf_init(&name, 2 * GX_STREAM_MAX);
	(void)gx_buf_printf(&name, "%s/%s/0", src->origin, r->name);
	if (!gx_stream_parse(gx_buf_view(&name), &parts)) {
		rc = GX_ERR(e, GX_REJECT, "outbox.streams",
			    "%s cannot carry %s: the name of the stream would "
			    "be too long, or malformed",
			    src->origin, r->name);
	} else if (find_stream(src, gx_buf_view(&name)) != NULL) {
		rc = GX_ERR(e, GX_REJECT, "outbox.streams",
			    "%s is to carry %s twice: name it once",
			    src->origin, r->name);
	} else {
		st->name = gx_mem_strdup(gx_buf_str(&name));
		st->r = r;
		st->check = gx_check_new(r->schema);
		src->n_streams++;
	}
	gx_buf_free(&name);
	return rc;
}

enum gx_rc
gx_src_outbox_new(const struct gx_src_outbox_conf *conf, struct gx_source **out,
		  struct gx_err *e)
{
	struct gx_stream_name name;
	struct src_outbox *src;
	struct gx_slice child;
	enum gx_rc rc = GX_OK;

	*out = NULL;
	if (conf->n_resources == 0) {
		return GX_ERR(e, GX_REJECT, "outbox.streams",
			      "%s carries no resource: name at least one",
			      conf->origin);
	}
	src = gx_mem_new(sizeof *src);
	src->base.ops = &src_outbox_ops;
	src->magic = SRC_OUTBOX_MAGIC;
	src->conninfo = gx_mem_strdup(conf->conninfo);
	src->origin = gx_mem_strdup(conf->origin);
	src->is_down = gx_origin_parse(gx_slice_str(conf->origin), &name) &&
		       gx_stream_is_down(&name, &child);
	src->keep_ms = conf->keep_ms;
	src->streams = gx_mem_new(conf->n_resources * sizeof *src->streams);
	gx_buf_init(&src->pos, POS_TEXT);
	gx_buf_init(&src->key, 8192);
	*out = &src->base;
	for (size_t i = 0; rc == GX_OK && i < conf->n_resources; i++) {
		rc = add_stream(src, conf->resources[i], e);
	}
	if (rc != GX_OK) {
		free_source(out);
	}
	return rc;
}

static const char *
origin_of(const struct gx_source *s)
{
	return ((const struct src_outbox *)s)->origin;
}

static size_t
n_streams_of(const struct gx_source *s)
{
	return ((const struct src_outbox *)s)->n_streams;
}

static const char *
stream_of(const struct gx_source *s, size_t i)
{
	return ((const struct src_outbox *)s)->streams[i].name;
}

static const struct gx_resource *
resource_of(const struct gx_source *s, size_t i)
{
	return ((const struct src_outbox *)s)->streams[i].r;
}

/* ---- take ---- */

/* The server must notice a holder whose machine is gone: it gives the lock
 * back when it takes the connection for dead. */
static enum gx_rc
hold(struct src_outbox *src, struct gx_err *e)
{
	const char *params[] = {src->origin};
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_exec(src->pg,
				   "SET tcp_keepalives_idle = 10; "
				   "SET tcp_keepalives_interval = 5; "
				   "SET tcp_keepalives_count = 3",
				   e);

	if (rc == GX_OK) {
		rc = gx_pg_query(src->pg,
				 "SELECT pg_try_advisory_lock("
				 "hashtextextended('gx_outbox ' || $1, 0))",
				 1, params, &r, e);
	}
	if (rc == GX_OK && !gx_rows_bool(r, 0, 0)) {
		return GX_ERR(e, GX_FENCED, "source.held",
			      "another process reads the outbox of %s",
			      src->origin);
	}
	return rc;
}

static enum gx_rc
take_source(struct gx_source *s, struct gx_err *e)
{
	struct src_outbox *src = src_of(s);
	enum gx_rc rc;

	drop_source(s);
	rc = gx_pg_open(src->conninfo, "gxbus-outbox", false, &src->pg, e);
	if (rc == GX_OK) {
		rc = hold(src, e);
	}
	if (rc == GX_OK) {
		rc = gx_outbox_declare(src->pg, src->origin, e);
	}
	if (rc != GX_OK) {
		drop_source(s);
	}
	return rc;
}

/* ---- start ---- */

static enum gx_rc
say_restored(const struct src_outbox *src, const char *what, struct gx_err *e)
{
	return GX_ERR(e, GX_FATAL, "source.restored",
		      "the outbox of %s %s: the database was restored or its "
		      "tables were made anew; put the former one back, or "
		      "rebase the streams of this origin",
		      src->origin, what);
}

static enum gx_rc
load_head(struct src_outbox *src, uint64_t *last_id, struct gx_err *e)
{
	const char *params[] = {src->origin};
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(src->pg,
				    "SELECT incarnation, last_id FROM "
				    "gx_outbox_head WHERE origin = $1",
				    1, params, &r, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(r) != 1) {
		return say_restored(src, "has no head", e);
	}
	(void)snprintf(src->at.incarnation, sizeof src->at.incarnation, "%s",
		       gx_rows_str(r, 0, 0));
	*last_id = (uint64_t)gx_rows_int(r, 0, 1);
	return GX_OK;
}

/* One position, settled or released, held against the head. */
static enum gx_rc
check_pos(const struct src_outbox *src, struct gx_slice text, uint64_t last_id,
	  uint64_t *id, struct gx_err *e)
{
	struct gx_outbox_pos pos;

	*id = 0;
	if (text.n == 0) {
		return GX_OK;
	}
	if (!gx_src_outbox_pos_parse(text, &pos)) {
		return GX_ERR(e, GX_FATAL, "source.position",
			      "a settled position of %s is not one of an "
			      "outbox: was it written by a newer version?",
			      src->origin);
	}
	if (strcmp(pos.incarnation, src->at.incarnation) != 0) {
		return say_restored(src,
				    "has another incarnation than the "
				    "one the streams were read from",
				    e);
	}
	if (pos.id > last_id) {
		return say_restored(src, "ends before what was taken from it",
				    e);
	}
	*id = pos.id;
	return GX_OK;
}

/* Is the row of a position, if it is still there, the one that was taken?  Ids
 * are given again by a database that lost its last rows, and has been spoken to
 * since. */
static enum gx_rc
check_mark(struct src_outbox *src, struct gx_slice text, struct gx_err *e)
{
	static const int cols[] = {0, 1, 2, 3, 4};
	struct gx_outbox_pos pos;
	char id[24], mark[GX_OUTBOX_MARK + 1];
	const char *params[] = {src->origin, id};
	const struct gx_rows *r;
	enum gx_rc rc;

	if (!gx_src_outbox_pos_parse(text, &pos) || pos.mark[0] == '\0') {
		return GX_OK;
	}
	(void)snprintf(id, sizeof id, "%llu", (unsigned long long)pos.id);
	rc = gx_pg_query(src->pg,
			 "SELECT stream, op, key, o, d FROM gx_outbox WHERE "
			 "origin = $1 AND id = $2::bigint",
			 2, params, &r, e);
	if (rc != GX_OK || gx_rows_n(r) == 0) {
		return rc;
	}
	mark_row(r, 0, cols, mark);
	return strcmp(mark, pos.mark) == 0
		       ? GX_OK
		       : say_restored(src,
				      "holds another row than the one that "
				      "was taken",
				      e);
}

/* Is the newest released row of a stream still in the log?  A row that was set
 * aside without a key has no line there. */
static enum gx_rc
check_released(struct src_outbox *src, const struct obx_stream *st,
	       struct gx_err *e)
{
	char upto[24];
	const char *params[] = {src->origin, st->name, upto,
				src->at.incarnation};
	const struct gx_rows *r;
	enum gx_rc rc;

	(void)snprintf(upto, sizeof upto, "%llu",
		       (unsigned long long)src->released_id);
	rc = gx_pg_query(src->pg,
			 "SELECT o.id FROM gx_outbox o WHERE o.origin = $1 AND "
			 "o.stream = $2 AND o.id <= $3::bigint AND NOT EXISTS "
			 "(SELECT 1 FROM gx_quarantine q WHERE q.side = "
			 "'source' AND q.stream = o.stream AND (q.pos = 'ob:' "
			 "|| $4 || ':' || o.id OR starts_with(q.pos, 'ob:' || "
			 "$4 || ':' || o.id || ':')) AND q.key = '') "
			 "ORDER BY o.id DESC LIMIT 1",
			 4, params, &r, e);
	if (rc == GX_OK && gx_rows_n(r) > 0 &&
	    (uint64_t)gx_rows_int(r, 0, 0) > st->settled) {
		return GX_ERR(e, GX_FATAL, "source.released_beyond",
			      "%s: the log ends before what was released of "
			      "the outbox, it has lost its end: copy it home "
			      "from the neighbour, or rebase the stream",
			      st->name);
	}
	return rc;
}

static enum gx_rc
start_source(struct gx_source *s, const struct gx_slice *pos, size_t n,
	     struct gx_slice released, struct gx_err *e)
{
	struct src_outbox *src = src_of(s);
	uint64_t last_id = 0;
	enum gx_rc rc;

	GX_ASSERT(n == src->n_streams && src->pg != NULL);
	rc = load_head(src, &last_id, e);
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		rc = check_pos(src, pos[i], last_id, &src->streams[i].settled,
			       e);
		if (rc == GX_OK) {
			rc = check_mark(src, pos[i], e);
		}
	}
	if (rc == GX_OK) {
		rc = check_pos(src, released, last_id, &src->released_id, e);
	}
	if (rc == GX_OK) {
		rc = check_mark(src, released, e);
	}
	for (size_t i = 0; rc == GX_OK && i < n; i++) {
		rc = check_released(src, &src->streams[i], e);
	}
	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	src->at.id = src->released_id;
	src->at.mark[0] = '\0';
	src->told_id = src->released_id;
	src->pause_ms = POLL_MIN_MS;
	src->poll_at_ms = 0;
	src->trim_at_ms = gx_mono_ms() + TRIM_MIN_MS;
	src->is_started = true;
	return GX_OK;
}

/* ---- fetching ---- */

/* Head and rows of one snapshot; one row of NULLs when nothing is new.  Bytes
 * are bounded too: the first row comes in any case. */
static enum gx_rc
query_rows(struct src_outbox *src, struct gx_err *e)
{
	char above[24];
	const char *params[] = {src->origin, above};
	enum gx_rc rc;

	(void)snprintf(above, sizeof above, "%llu",
		       (unsigned long long)src->at.id);
	src->row = 0;
	src->n_rows = 0;
	rc = gx_pg_query(
		src->pg,
		"SELECT h.incarnation, h.last_id, o.id, o.stream, o.op, o.key, "
		"to_char(o.at AT TIME ZONE INTERVAL '08:00', "
		"'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"+08:00\"'), o.o, o.d "
		"FROM gx_outbox_head h LEFT JOIN LATERAL (SELECT p.*, "
		"sum(octet_length(p.d)) OVER (ORDER BY p.id) - "
		"octet_length(p.d) AS before FROM (SELECT * FROM gx_outbox "
		"WHERE origin = $1 AND id > $2::bigint ORDER BY id LIMIT 1000) "
		"p) o ON o.before < 8388608 WHERE h.origin = $1 ORDER BY o.id",
		2, params, &src->rows, e);
	if (rc == GX_OK) {
		src->n_rows = gx_rows_n(src->rows);
	}
	return rc;
}

static enum gx_rc
fetch(struct src_outbox *src, struct gx_err *e)
{
	enum gx_rc rc = query_rows(src, e);
	uint64_t last_id;
	int n = src->n_rows;

	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	src->n_rows = 0; /* none of it is believed before the head is */
	if (n == 0 || strcmp(gx_rows_str(src->rows, 0, COL_INCARNATION),
			     src->at.incarnation) != 0) {
		return say_restored(src, "was replaced while it was read", e);
	}
	last_id = (uint64_t)gx_rows_int(src->rows, 0, COL_LAST);
	if (last_id < src->at.id) {
		return say_restored(src, "has become shorter", e);
	}
	if (gx_rows_null(src->rows, 0, COL_ID)
		    ? last_id > src->at.id
		    : (uint64_t)gx_rows_int(src->rows, 0, COL_ID) !=
			      src->at.id + 1) {
		return GX_ERR(e, GX_FATAL, "outbox.hole",
			      "the row behind %llu is not in the outbox of %s, "
			      "whose head says it was there",
			      (unsigned long long)src->at.id, src->origin);
	}
	src->n_rows = gx_rows_null(src->rows, 0, COL_ID) ? 0 : n;
	return GX_OK;
}

/* ---- rows to records ---- */

static void
add_fault(struct src_outbox *src, const char *keyword, const char *message)
{
	if (src->n_faults < FAULTS) {
		src->faults[src->n_faults++] =
			(struct gx_fault){GX_SLICE(""), gx_slice_str(keyword),
					  gx_slice_str(message)};
	}
}

/* What the writer puts is what readers parse: try it on the key alone. */
static bool
is_key(struct src_outbox *src, struct gx_slice key, struct gx_slice time,
       struct gx_slice o)
{
	struct gx_line line = {
		.op = GX_OP_DELETE, .key = key, .time = time, .origin = o};
	struct gx_line back;

	gx_buf_reset(&src->key);
	return key.n > 0 && gx_line_put(&src->key, &line) &&
	       gx_line_parse(gx_buf_view(&src->key), &back) == NULL;
}

static void
check_record(struct src_outbox *src, const struct obx_stream *st,
	     const struct gx_line *line)
{
	if (!gx_check_run(st->check, line->data)) {
		for (size_t i = 0;
		     i < gx_check_n_faults(st->check) && i < FAULTS - 2; i++) {
			src->faults[src->n_faults++] =
				*gx_check_fault(st->check, i);
		}
		return;
	}
	gx_buf_reset(&src->key);
	if (!gx_resource_key(st->r, st->check, &src->key) ||
	    !gx_slice_eq(gx_buf_view(&src->key), line->key)) {
		add_fault(src, "key", "the row's key is not the record's");
	}
	if (line->data.n + line->key.n + 256 > GX_LINE_MAX) {
		add_fault(src, "record.too_large",
			  "the record is longer than 1 MiB");
	}
	if (memchr(line->data.p, '\n', line->data.n) != NULL) {
		add_fault(src, "line", "the record is not on one line");
	}
}

static void
give_row(struct src_outbox *src, const struct obx_stream *st,
	 struct gx_rec *rec)
{
	const struct gx_rows *r = src->rows;
	bool is_delete = gx_rows_str(r, src->row, COL_OP)[0] == 'd';
	struct gx_line *line = &rec->line;

	rec->stream = (size_t)(st - src->streams);
	line->op = is_delete ? GX_OP_DELETE : GX_OP_UPSERT;
	line->key = gx_rows_slice(r, src->row, COL_KEY);
	line->time = gx_rows_slice(r, src->row, COL_AT);
	line->data = is_delete ? gx_slice(NULL, 0)
			       : gx_rows_slice(r, src->row, COL_D);
	line->origin = gx_rows_slice(r, src->row, COL_O);
	src->n_faults = 0;
	if (!is_key(src, line->key, line->time, line->origin)) {
		line->key = gx_slice(NULL, 0);
		line->origin = gx_slice(NULL, 0);
		add_fault(src, "key", "the row's key is not a canonical one");
	} else if (!is_delete) {
		check_record(src, st, line);
	}
	if ((gx_rows_slice(r, src->row, COL_O).n > 0) != src->is_down) {
		add_fault(src, "o",
			  src->is_down ? "a line for a node below names its "
					 "origin"
				       : "this origin carries no lines of "
					 "others");
	}
	rec->is_reject = src->n_faults > 0;
	if (rec->is_reject) {
		line->op = GX_OP_SET_ASIDE;
		line->data = gx_slice(NULL, 0);
		rec->faults = src->faults;
		rec->n_faults = src->n_faults;
		rec->original = gx_rows_slice(r, src->row, COL_D);
		/* Where a line names its origin it has no way back: the
		 * quarantine does not hold that name. */
		rec->record = src->is_down ? gx_slice("", 0) : rec->original;
	}
	rec->pos = pos_text(src, src->at.id);
	src->told_id = src->at.id;
}

/* The next row in hand.  GX_AGAIN: it was settled before, go on. */
static enum gx_rc
take_row(struct src_outbox *src, struct gx_rec *rec, struct gx_err *e)
{
	static const int cols[] = {COL_STREAM, COL_OP, COL_KEY, COL_O, COL_D};
	uint64_t id = (uint64_t)gx_rows_int(src->rows, src->row, COL_ID);
	struct gx_slice name = gx_rows_slice(src->rows, src->row, COL_STREAM);
	const struct obx_stream *st = find_stream(src, name);

	if (id != src->at.id + 1) {
		return GX_ERR(e, GX_FATAL, "outbox.hole",
			      "the row behind %llu is not in the outbox of %s",
			      (unsigned long long)src->at.id, src->origin);
	}
	if (st == NULL) {
		return GX_ERR(e, GX_FATAL, "outbox.stream",
			      "row %llu of %s is of a resource that this flow "
			      "does not carry: add it to resources of the flow",
			      (unsigned long long)id, src->origin);
	}
	src->at.id = id;
	mark_row(src->rows, src->row, cols, src->at.mark);
	if (id <= st->settled) {
		src->row++;
		return GX_AGAIN;
	}
	give_row(src, st, rec);
	src->row++;
	return GX_OK;
}

/* Rows in hand, up to a record; then, if some were only passed over, a word
 * on how far.  GX_AGAIN: nothing is left. */
static enum gx_rc
give(struct src_outbox *src, struct gx_rec *rec, struct gx_err *e)
{
	while (src->row < src->n_rows) {
		enum gx_rc rc = take_row(src, rec, e);

		if (rc != GX_AGAIN) {
			return rc;
		}
	}
	if (src->told_id < src->at.id) {
		rec->is_progress = true;
		rec->pos = pos_text(src, src->at.id);
		src->told_id = src->at.id;
		return GX_OK;
	}
	return GX_AGAIN;
}

/* ---- release and trimming ---- */

static enum gx_rc
release_source(struct gx_source *s, struct gx_slice text, struct gx_err *e)
{
	struct src_outbox *src = src_of(s);
	uint64_t id;
	enum gx_rc rc = check_pos(src, text, src->at.id, &id, e);

	if (rc == GX_OK && id > src->released_id) {
		src->released_id = id;
	}
	return rc;
}

static enum gx_rc
trim(struct src_outbox *src, struct gx_err *e)
{
	char upto[24], keep[24];
	const char *params[] = {src->origin, upto, keep};
	int64_t pause_ms = src->keep_ms / 4;
	bool is_full;
	enum gx_rc rc;

	(void)snprintf(upto, sizeof upto, "%llu",
		       (unsigned long long)src->released_id);
	(void)snprintf(keep, sizeof keep, "%lld", (long long)src->keep_ms);
	rc = gx_pg_query(
		src->pg,
		"DELETE FROM gx_outbox o USING (SELECT p.id FROM gx_outbox p "
		"WHERE p.origin = $1 AND p.id <= $2::bigint AND p.at < now() - "
		"$3::bigint * INTERVAL '1 ms' AND EXISTS (SELECT 1 FROM "
		"gx_outbox n WHERE n.origin = $1 AND n.stream = p.stream AND "
		"n.id > p.id AND n.id <= $2::bigint) ORDER BY p.id LIMIT 1000) "
		"x WHERE o.origin = $1 AND o.id = x.id",
		3, params, NULL, e);
	is_full = rc == GX_OK && gx_pg_n_changed(src->pg) == TRIM_ROWS;
	pause_ms = pause_ms > TRIM_MAX_MS ? TRIM_MAX_MS : pause_ms;
	pause_ms = pause_ms < TRIM_MIN_MS || is_full ? TRIM_MIN_MS : pause_ms;
	src->trim_at_ms = gx_mono_ms() + pause_ms;
	return rc;
}

/* What is away is for read() to report. */
static enum gx_rc
tend_source(struct gx_source *s, struct gx_err *e)
{
	struct src_outbox *src = src_of(s);
	struct gx_err away = {0};
	enum gx_rc rc;

	if (!src->is_started || src->row < src->n_rows ||
	    src->released_id == 0 || gx_mono_ms() < src->trim_at_ms) {
		return GX_OK;
	}
	rc = trim(src, &away);
	if (rc == GX_FATAL || rc == GX_REJECT) {
		*e = away;
		return GX_FATAL;
	}
	return GX_OK;
}

/* ---- read ---- */

/* false: the next poll is not due within timeout_ms. */
static bool
wait_poll(const struct src_outbox *src, int timeout_ms)
{
	int64_t left = src->poll_at_ms - gx_mono_ms();

	if (left <= 0) {
		return true;
	}
	(void)poll(NULL, 0, left < timeout_ms ? (int)left : timeout_ms);
	return left <= timeout_ms;
}

static enum gx_rc
read_source(struct gx_source *s, int timeout_ms, struct gx_rec *rec,
	    struct gx_err *e)
{
	struct src_outbox *src = src_of(s);
	enum gx_rc rc;

	memset(rec, 0, sizeof *rec);
	if (!src->is_started) {
		return GX_ERR(e, GX_ABORT, "source.not_taken",
			      "the outbox is not taken");
	}
	rc = give(src, rec, e);
	if (rc != GX_AGAIN || !wait_poll(src, timeout_ms)) {
		return rc;
	}
	/* Under load the writer tends only while rows are in hand. */
	rc = tend_source(s, e);
	if (rc == GX_OK) {
		rc = fetch(src, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	src->pause_ms = src->n_rows > 0 ? POLL_MIN_MS : src->pause_ms * 2;
	if (src->pause_ms > POLL_MAX_MS) {
		src->pause_ms = POLL_MAX_MS;
	}
	/* A full answer has more behind it. */
	src->poll_at_ms = gx_mono_ms() + (src->n_rows > 0 ? 0 : src->pause_ms);
	return give(src, rec, e);
}

static int64_t
lag_of_source(struct gx_source *s)
{
	(void)s;
	return -1; /* rows, not bytes */
}

static const struct gx_source_ops src_outbox_ops = {
	.origin = origin_of,
	.n_streams = n_streams_of,
	.stream = stream_of,
	.resource = resource_of,
	.take = take_source,
	.start = start_source,
	.read = read_source,
	.tend = tend_source,
	.release = release_source,
	.drop = drop_source,
	.lag_bytes = lag_of_source,
	.free = free_source,
};
