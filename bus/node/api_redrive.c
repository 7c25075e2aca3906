/*
 * API: the way home of what was set aside (docs/quarantine.md).
 *
 * fix mends the mapped record of an item and checks the whole of it as its
 * source's writer would; only a record without faults is kept.  replay checks
 * again, by the rules and code tables of now, makes the line and orders it: the
 * item is queued, the sealed line lies in gx_redrive, and the stream's own
 * writer takes it from there.  discard closes an item for good.
 *
 * An item may go home only while it is open, its key is known, and its own mark
 * in the stream is read back: then every later record or delete of the key
 * closes it, in the transaction in which it is taken, and a closed item never
 * goes home.  Its key stays what it was, for the same reason.
 *
 * Each command is one transaction with its line in the audit log, begun and
 * ended around these functions.  Whoever orders takes one lock first and keeps
 * it to the commit, so that numbers of replays rise in the order of commits:
 * the writer goes on behind the last one he has seen.  Many items go in steps
 * of a bounded size; if we die between two of them, the next call goes on with
 * what is still open.
 */
#include "node/api.h"

#include "base/clock.h"
#include "base/text.h"
#include "flow/store_pg.h"

#include <string.h>

#define RECORD_MAX (2u << 20)
#define STEP_ITEMS "500"
#define STEP_BYTES "4000000"
#define ORDERS_MAX (32u << 20)

/* What is on its way home; rows are lent by the query, so all is copied. */
struct item {
	char id[24], state[16];
	char time[GX_TIME_LEN + 1];
	struct gx_slice stream, pos, key; /* in the arena */
	const struct gx_resource *r;
	struct gx_buf record;
};

/* Orders of one command, as array literals. */
struct orders {
	struct gx_buf ids, lines;
	int64_t n;
};

#define ITEM_SQL                                                               \
	"SELECT q.id, q.state, q.stream, q.pos, q.key, " GX_SQL_TIME(          \
		"q.first_seen") ", q.record, q.side = 'source' AND "           \
				"q.key <> '' AND q.record IS NOT NULL AND "    \
				"coalesce(s.is_own, false), "                  \
				"q.seq < coalesce(s.next_seq, 0) "             \
				"FROM gx_quarantine q LEFT JOIN gx_stream s "  \
				"ON s.stream = q.stream "

static struct gx_slice
keep(struct gx_call *c, struct gx_slice s)
{
	const char *p = gx_arena_dup(c->arena, s.p, s.n);

	return gx_slice(p, p ? s.n : 0);
}

static void
copy_item(struct gx_call *c, const struct gx_rows *rows, int i, struct item *it)
{
	snprintf(it->id, sizeof it->id, "%s", gx_rows_str(rows, i, 0));
	snprintf(it->state, sizeof it->state, "%s", gx_rows_str(rows, i, 1));
	snprintf(it->time, sizeof it->time, "%s", gx_rows_str(rows, i, 5));
	it->stream = keep(c, gx_rows_slice(rows, i, 2));
	it->pos = keep(c, gx_rows_slice(rows, i, 3));
	it->key = keep(c, gx_rows_slice(rows, i, 4));
	it->r = gx_api_resource_of(c, it->stream);
}

/* Only an open item that can be told from all later ones may go home. */
static enum gx_rc
check_open(const struct item *it, bool has_way, bool is_taken, struct gx_err *e)
{
	if (strcmp(it->state, "queued") == 0) {
		return GX_ERR(e, GX_REJECT, "quarantine.queued",
			      "the replay of %s is ordered already", it->id);
	}
	if (strcmp(it->state, "open") != 0) {
		return GX_ERR(e, GX_REJECT, "quarantine.closed", "%s is %s",
			      it->id, it->state);
	}
	if (!has_way || it->r == NULL) {
		return GX_ERR(e, GX_REJECT, "quarantine.no_way",
			      "%s has no way home from this node", it->id);
	}
	if (!is_taken) {
		return GX_ERR(e, GX_AGAIN, "quarantine.not_taken",
			      "the mark of %s is not read back yet", it->id);
	}
	return GX_OK;
}

/* Lock the item that the path names and open its record. */
static enum gx_rc
load_item(struct gx_call *c, struct gx_box *box, struct item *it,
	  struct gx_err *e)
{
	const struct gx_rows *rows;
	uint64_t id;
	enum gx_rc rc = GX_OK;

	gx_buf_init(&it->record, RECORD_MAX);
	if (!gx_parse_u64(c->arg[0], strlen(c->arg[0]), INT64_MAX, &id)) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "an item is named by its number");
	}
	rc = gx_pg_query(c->pg,
			 ITEM_SQL "WHERE q.id = $1::bigint FOR UPDATE OF q", 1,
			 c->arg, &rows, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_n(rows) == 0) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "there is no such row; gxbus quarantine list "
			      "names all");
	}
	copy_item(c, rows, 0, it);
	rc = check_open(it, gx_rows_bool(rows, 0, 7), gx_rows_bool(rows, 0, 8),
			e);
	if (rc == GX_OK &&
	    !gx_api_open_column(box, "record", rows, 0, 6, it->stream, it->pos,
				&it->record)) {
		return GX_ERR(e, GX_REJECT, "quarantine.damaged",
			      "the record of %s does not open", it->id);
	}
	return rc;
}

/* ---- is it good now? ---- */

static void
add_fault(struct gx_buf *b, struct gx_slice pointer, struct gx_slice keyword)
{
	(void)gx_buf_printf(b, "%s%.*s %.*s", b->n > 0 ? "; " : "",
			    (int)pointer.n, pointer.p, (int)keyword.n,
			    keyword.p);
}

/* Faults by pointer and rule, without values; "" if there are none. */
static void
find_faults(const struct item *it, struct gx_check *check, struct gx_buf *out)
{
	struct gx_slice record = gx_buf_view(&it->record);
	struct gx_buf key;

	gx_buf_init(&key, 8192);
	if (!gx_check_run(check, record)) {
		for (size_t i = 0; i < gx_check_n_faults(check); i++) {
			const struct gx_fault *f = gx_check_fault(check, i);

			add_fault(out, f->pointer, f->keyword);
		}
	}
	if (!gx_resource_key(it->r, check, &key) ||
	    !gx_slice_eq(gx_buf_view(&key), it->key)) {
		add_fault(out, GX_SLICE(""), GX_SLICE("key"));
	}
	if (record.n + it->key.n + 256 > GX_LINE_MAX) {
		add_fault(out, GX_SLICE(""), GX_SLICE("record.too_large"));
	}
	if (memchr(record.p, '\n', record.n) != NULL) {
		add_fault(out, GX_SLICE(""), GX_SLICE("line"));
	}
	gx_buf_free(&key);
}

static enum gx_rc
check_item(const struct item *it, struct gx_err *e)
{
	struct gx_check *check = gx_check_new(it->r->schema);
	struct gx_buf faults;
	enum gx_rc rc = GX_OK;

	gx_buf_init(&faults, 64u << 10);
	find_faults(it, check, &faults);
	if (faults.n > 0) {
		rc = GX_ERR(e, GX_REJECT, "quarantine.faults",
			    "%s still has faults: %.300s", it->id,
			    gx_buf_str(&faults));
	}
	gx_buf_free(&faults);
	gx_check_free(&check);
	return rc;
}

/* ---- fix ---- */

/* A text for an item that holds none is the JSON it reads as. */
static void
put_value(struct gx_jw *w, const struct gx_field *f, const struct gx_json *v)
{
	size_t at;

	if (v->type != GX_JSON_STRING) {
		gx_jw_raw(w, v->raw);
	} else if (!f->is_string && gx_json_syntax(v->text, &at) == NULL) {
		gx_jw_raw(w, v->text);
	} else {
		gx_jw_str(w, v->text);
	}
}

/* The last value that is set for the item of this name. */
static const struct gx_json *
find_set(const struct gx_json *set, const char *name)
{
	const struct gx_json *out = NULL;

	for (const struct gx_json *s = set->child; s != NULL; s = s->next) {
		const char *p = gx_json_str(s, "pointer", "");

		if (p[0] == '/' && strcmp(p + 1, name) == 0) {
			out = gx_json_get(s, "value");
		}
	}
	return out;
}

static enum gx_rc
check_set(const struct item *it, const struct gx_json *set, struct gx_err *e)
{
	if (set == NULL || set->type != GX_JSON_ARRAY || set->n == 0) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "set: a list of {\"pointer\":..,\"value\":..}");
	}
	for (const struct gx_json *s = set->child; s != NULL; s = s->next) {
		const char *p = gx_json_str(s, "pointer", "");

		if (p[0] != '/' || gx_json_get(s, "value") == NULL ||
		    gx_schema_field_index(it->r->schema, gx_slice_str(p + 1)) <
			    0) {
			return GX_ERR(e, GX_REJECT, "api.bad_request",
				      "set: a pointer is / and the name of an "
				      "item of %s, with a value",
				      it->r->name);
		}
	}
	return GX_OK;
}

/* The record anew, in the order of its schema; null takes an item away. */
static enum gx_rc
apply_set(struct gx_call *c, struct item *it, const struct gx_json *set,
	  struct gx_err *e)
{
	struct gx_slice old = keep(c, gx_buf_view(&it->record));
	const struct gx_json *doc;
	struct gx_jw w;
	enum gx_rc rc = check_set(it, set, e);

	if (rc == GX_OK) {
		rc = gx_json_parse(c->arena, old, &doc, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	gx_buf_reset(&it->record);
	gx_jw_init(&w, &it->record);
	gx_jw_begin(&w, '{');
	for (size_t i = 0; i < it->r->n_fields; i++) {
		const struct gx_field *f = &it->r->fields[i];
		const struct gx_json *was = gx_json_get(doc, f->name);
		const struct gx_json *now = find_set(set, f->name);

		if (now != NULL && now->type != GX_JSON_NULL) {
			gx_jw_name(&w, f->name);
			put_value(&w, f, now);
		} else if (now == NULL && was != NULL) {
			gx_jw_name(&w, f->name);
			gx_jw_raw(&w, was->raw);
		}
	}
	gx_jw_end(&w, '}');
	return it->record.failed ? GX_ERR(e, GX_REJECT, "quarantine.faults",
					  "the record would be too long")
				 : GX_OK;
}

/* "\x" and hex digits of the box, a bytea. */
static enum gx_rc
seal(struct gx_box *box, const char *column, struct gx_slice stream,
     struct gx_slice pos, struct gx_slice plain, struct gx_buf *out,
     struct gx_err *e)
{
	char room[GX_ASIDE_LABEL];
	struct gx_slice label = gx_store_pg_label(room, column, stream, pos);
	struct gx_buf sealed;
	bool is_good;

	gx_buf_init(&sealed, RECORD_MAX + GX_BOX_EXTRA);
	is_good = label.n > 0 && gx_box_seal(box, label, plain, &sealed) &&
		  gx_buf_puts(out, "\\x");
	for (size_t i = 0; is_good && i < sealed.n; i++) {
		char hex[3];

		gx_hex(sealed.p + i, 1, hex);
		is_good = gx_buf_puts(out, hex);
	}
	gx_buf_free(&sealed);
	return is_good ? GX_OK
		       : GX_ERR(e, GX_AGAIN, "mem.full",
				"a record set aside cannot be sealed now");
}

static enum gx_rc
keep_record(struct gx_call *c, struct gx_box *box, const struct item *it,
	    struct gx_err *e)
{
	struct gx_buf hex;
	const char *p[] = {it->id, NULL};
	enum gx_rc rc;

	gx_buf_init(&hex, 3 * RECORD_MAX);
	rc = seal(box, "record", it->stream, it->pos, gx_buf_view(&it->record),
		  &hex, e);
	p[1] = gx_buf_str(&hex);
	if (rc == GX_OK) {
		rc = gx_pg_query(c->pg,
				 "UPDATE gx_quarantine SET record = $2::bytea, "
				 "is_fixed = true WHERE id = $1::bigint",
				 2, p, NULL, e);
	}
	gx_buf_free(&hex);
	return rc;
}

enum gx_rc
gx_api_quarantine_fix(struct gx_call *c, struct gx_err *e)
{
	struct item it = {0};
	struct gx_box *box = NULL;
	enum gx_rc rc = gx_node_box(c->n, &box, e);

	if (rc == GX_OK) {
		rc = load_item(c, box, &it, e);
	}
	if (rc == GX_OK) {
		rc = apply_set(c, &it,
			       c->body ? gx_json_get(c->body, "set") : NULL, e);
	}
	if (rc == GX_OK) {
		rc = check_item(&it, e);
	}
	if (rc == GX_OK) {
		rc = keep_record(c, box, &it, e);
	}
	gx_buf_free(&it.record);
	gx_box_free(&box);
	return rc == GX_OK ? gx_api_quarantine_one(c, e) : rc;
}

/* ---- replay ---- */

static void
begin_orders(struct orders *o)
{
	o->n = 0;
	gx_buf_init(&o->ids, 64u << 10);
	gx_buf_init(&o->lines, ORDERS_MAX);
	(void)gx_buf_putc(&o->ids, '{');
	(void)gx_buf_putc(&o->lines, '{');
}

static void
free_orders(struct orders *o)
{
	gx_buf_free(&o->ids);
	gx_buf_free(&o->lines);
}

static enum gx_rc
add_order(struct gx_box *box, const struct item *it, struct orders *o,
	  struct gx_err *e)
{
	struct gx_line line = {
		.op = GX_OP_UPSERT,
		.key = it->key,
		.time = gx_slice_str(it->time),
		.data = gx_buf_view(&it->record),
	};
	struct gx_buf text;
	enum gx_rc rc = GX_OK;

	gx_buf_init(&text, RECORD_MAX);
	(void)gx_buf_puts(&o->lines, o->n > 0 ? ",\"\\" : "\"\\");
	if (!gx_line_put(&text, &line)) {
		rc = GX_ERR(e, GX_AGAIN, "mem.full", "a line is too long");
	}
	if (rc == GX_OK) {
		rc = seal(box, "line", it->stream, gx_slice_str(it->id),
			  gx_buf_view(&text), &o->lines, e);
	}
	gx_buf_free(&text);
	(void)gx_buf_putc(&o->lines, '"');
	(void)gx_buf_printf(&o->ids, "%s%s", o->n > 0 ? "," : "", it->id);
	o->n++;
	return rc;
}

/* Queue what was ordered: the items, and their lines for the writer. */
static enum gx_rc
order(struct gx_call *c, struct orders *o, struct gx_err *e)
{
	const char *p[] = {NULL, NULL, c->caller};
	enum gx_rc rc;

	if (o->n == 0) {
		return GX_OK;
	}
	if (!gx_buf_putc(&o->ids, '}') || !gx_buf_putc(&o->lines, '}')) {
		return GX_ERR(e, GX_AGAIN, "mem.full",
			      "the replays do not fit a statement");
	}
	p[0] = gx_buf_str(&o->ids);
	p[1] = gx_buf_str(&o->lines);
	rc = gx_pg_query(
		c->pg,
		"WITH r AS (INSERT INTO gx_redrive (item, stream, line, by) "
		"SELECT q.id, q.stream, v.line, $3 FROM unnest($1::bigint[], "
		"$2::bytea[]) v(id, line) JOIN gx_quarantine q ON "
		"q.id = v.id AND q.state = 'open' ORDER BY q.id "
		"RETURNING item) UPDATE gx_quarantine q SET state = 'queued' "
		"FROM r WHERE q.id = r.item",
		3, p, NULL, e);
	if (rc == GX_OK && gx_pg_n_changed(c->pg) != o->n) {
		return GX_ERR(e, GX_AGAIN, "api.unavailable",
			      "an item was closed this moment");
	}
	return rc;
}

static enum gx_rc
lock_orders(struct gx_call *c, struct gx_err *e)
{
	return gx_pg_query(c->pg, "SELECT pg_advisory_xact_lock(7381239, 8)", 0,
			   NULL, NULL, e);
}

enum gx_rc
gx_api_quarantine_replay(struct gx_call *c, struct gx_err *e)
{
	struct item it = {0};
	struct gx_box *box = NULL;
	struct orders o;
	enum gx_rc rc = gx_node_box(c->n, &box, e);

	begin_orders(&o);
	if (rc == GX_OK) {
		rc = lock_orders(c, e);
	}
	if (rc == GX_OK) {
		rc = load_item(c, box, &it, e);
	}
	if (rc == GX_OK) {
		rc = check_item(&it, e);
	}
	if (rc == GX_OK) {
		rc = add_order(box, &it, &o, e);
	}
	if (rc == GX_OK) {
		rc = order(c, &o, e);
	}
	gx_buf_free(&it.record);
	free_orders(&o);
	gx_box_free(&box);
	return rc == GX_OK ? gx_api_quarantine_one(c, e) : rc;
}

/* ---- many ---- */

struct step {
	struct gx_box *box;
	struct orders orders;
	const struct gx_resource *r; /* that check is of */
	struct gx_check *check;
	int64_t n_refused;
	char last[24]; /* id of the last item met, "" none */
};

/* One of the items of a step: ordered, or it still breaks a rule. */
static enum gx_rc
take_item(struct gx_call *c, struct step *s, const struct gx_rows *rows, int i,
	  struct gx_err *e)
{
	struct item it = {0};
	struct gx_buf faults;
	enum gx_rc rc = GX_OK;
	bool is_good;

	copy_item(c, rows, i, &it);
	snprintf(s->last, sizeof s->last, "%s", it.id);
	if (it.r != NULL && it.r != s->r) {
		gx_check_free(&s->check);
		s->check = gx_check_new(it.r->schema);
		s->r = it.r;
	}
	gx_buf_init(&it.record, RECORD_MAX);
	gx_buf_init(&faults, 64u << 10);
	is_good = it.r != NULL &&
		  gx_api_open_column(s->box, "record", rows, i, 6, it.stream,
				     it.pos, &it.record);
	if (is_good) {
		find_faults(&it, s->check, &faults);
		is_good = faults.n == 0;
	}
	s->n_refused += !is_good;
	if (is_good) {
		rc = add_order(s->box, &it, &s->orders, e);
	}
	gx_buf_free(&faults);
	gx_buf_free(&it.record);
	return rc;
}

/* $1 after, $2 stream, $3 rule; records of about STEP_BYTES at most. */
static enum gx_rc
take_step(struct gx_call *c, struct step *s, const char *const *p,
	  struct gx_err *e)
{
	const struct gx_rows *rows;
	enum gx_rc rc = gx_pg_query(
		c->pg,
		ITEM_SQL
		"WHERE q.id IN (SELECT id FROM (SELECT id, n, sum(n) OVER "
		"(ORDER BY id) AS so_far FROM (SELECT k.id, "
		"octet_length(k.record) AS n FROM gx_quarantine k JOIN "
		"gx_stream t ON t.stream = k.stream AND t.is_own AND "
		"k.seq < t.next_seq WHERE k.side = 'source' AND "
		"k.state = 'open' AND k.key <> '' AND k.record IS NOT NULL AND "
		"k.id > $1::bigint AND ($2::text IS NULL OR k.stream = $2) AND "
		"($3::text IS NULL OR k.reasons @> jsonb_build_array("
		"jsonb_build_object('keyword', $3::text))) ORDER BY k.id "
		"LIMIT " STEP_ITEMS ") x) y WHERE so_far - n <= " STEP_BYTES
		") "
		"AND q.state = 'open' ORDER BY q.id FOR UPDATE OF q",
		3, p, &rows, e);

	for (int i = 0; rc == GX_OK && i < gx_rows_n(rows); i++) {
		rc = take_item(c, s, rows, i, e);
	}
	return rc;
}

static void
put_step(struct gx_call *c, const struct step *s, bool is_dry)
{
	gx_jw_begin(&c->w, '{');
	gx_jw_kv_int(&c->w, "v", 1);
	gx_jw_kv_bool(&c->w, "dry_run", is_dry);
	gx_jw_kv_int(&c->w, "queued", s->orders.n);
	gx_jw_kv_int(&c->w, "refused", s->n_refused);
	gx_jw_kv_str(&c->w, "next", s->last[0] ? s->last : NULL);
	gx_jw_end(&c->w, '}');
}

enum gx_rc
gx_api_quarantine_replay_all(struct gx_call *c, struct gx_err *e)
{
	const char *after = c->body ? gx_json_str(c->body, "after", "0") : "0";
	const char *p[] = {
		after, c->body ? gx_json_str(c->body, "stream", NULL) : NULL,
		c->body ? gx_json_str(c->body, "rule", NULL) : NULL};
	bool is_dry = c->body && gx_json_bool(c->body, "dry_run", false);
	struct step s = {0};
	uint64_t id;
	enum gx_rc rc;

	if (!gx_parse_u64(after, strlen(after), INT64_MAX, &id)) {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "after is not one that an answer gave as next");
	}
	begin_orders(&s.orders);
	rc = gx_node_box(c->n, &s.box, e);
	if (rc == GX_OK) {
		rc = lock_orders(c, e);
	}
	if (rc == GX_OK) {
		rc = take_step(c, &s, p, e);
	}
	if (rc == GX_OK && !is_dry) {
		rc = order(c, &s.orders, e);
	}
	c->act = is_dry ? "quarantine.replay_dry" : c->act;
	if (rc == GX_OK) {
		put_step(c, &s, is_dry);
	}
	gx_check_free(&s.check);
	free_orders(&s.orders);
	gx_box_free(&s.box);
	return rc;
}

/* ---- discard ---- */

enum gx_rc
gx_api_quarantine_discard(struct gx_call *c, struct gx_err *e)
{
	const char *why = c->body ? gx_json_str(c->body, "reason", "") : "";
	const struct gx_rows *rows;
	struct item it = {0};
	uint64_t id;
	enum gx_rc rc;

	if (why[0] == '\0') {
		return GX_ERR(e, GX_REJECT, "api.bad_request",
			      "reason: why the record is given up");
	}
	if (!gx_parse_u64(c->arg[0], strlen(c->arg[0]), INT64_MAX, &id)) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "an item is named by its number");
	}
	rc = gx_pg_query(c->pg,
			 ITEM_SQL "WHERE q.id = $1::bigint FOR UPDATE OF q", 1,
			 c->arg, &rows, e);
	if (rc == GX_OK && gx_rows_n(rows) == 0) {
		return GX_ERR(e, GX_REJECT, "api.not_found",
			      "there is no such row; gxbus quarantine list "
			      "names all");
	}
	if (rc == GX_OK) {
		static const struct gx_resource any;

		copy_item(c, rows, 0, &it);
		it.r = &any; /* whatever it is, it can be given up */
		rc = check_open(&it, true, true, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_query(c->pg,
				 "UPDATE gx_quarantine SET state = 'discarded' "
				 "WHERE id = $1::bigint",
				 1, c->arg, NULL, e);
	}
	return rc == GX_OK ? gx_api_quarantine_one(c, e) : rc;
}
