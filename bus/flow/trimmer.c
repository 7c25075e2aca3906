/*
 * Trimmer.
 *
 * A batch may leave the log of its topic when this node's own reader has taken
 * it, when the next hop has receipted it, and when it is old enough.  The next
 * hop of gx.batch.* is the node above; of gx.down.<child> it is that child; a
 * node with none above, and what came down to it, has no next hop.  A receipt
 * counts only if the head it names is ours at that seq: a hop that holds
 * another history has receipted nothing of this one.  The age counts from when
 * we knew of the receipt: a hop that has just taken it, and is then brought
 * back from yesterday, finds it here.  Where nobody receipts it counts from our
 * own reader's taking it.
 *
 * Streams of the bus's own resources (gx.*) get no receipts and go by age, but
 * never before the log of the node above really holds them: its last message
 * says up to which of our offsets it was copied.  That bound is kept for every
 * batch that goes up.  What a child has copied cannot be asked from here; a
 * child that is away for longer than the age has to be given such records anew.
 *
 * Of a partition nothing leaves above the first batch that may not, the place
 * where a stream stands still, what the reader has read, and its last message,
 * where a link finds its place.  What has no row, markers for example, leaves
 * only below a batch that does: so nothing is dropped that no rule spoke of.
 *
 * First the log, then its rows in gx_batch, by what the log then holds.  If we
 * die between, the next look finds the same log and takes the rows out.
 */
#include "flow/trimmer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "port/kafka.h"
#include "port/pg.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define TRIMMER_MAGIC 0x7472696du
#define PLACES_MAX 4096
#define COPIED_MS 5000

struct place {
	char topic[64];
	int32_t partition;
};

struct gx_trimmer {
	unsigned magic;
	char flow[64], node[40], parent[40];
	char *conninfo;
	int64_t every_ms, age_ms;
	struct gx_log *log, *parent_log;
	void (*free_parent)(struct gx_log **);

	struct gx_pg *pg;
	int64_t look_at_ms;
	struct place *places;
	size_t n_places;
	int64_t n_trimmed; /* messages, since the start */
	int64_t n_looks;
};

struct gx_trimmer *
gx_trimmer_new(const struct gx_trimmer_conf *conf, struct gx_log *log,
	       struct gx_log **parent, void (*free_parent)(struct gx_log **))
{
	struct gx_trimmer *t = gx_mem_new(sizeof *t);

	t->magic = TRIMMER_MAGIC;
	(void)snprintf(t->flow, sizeof t->flow, "%s", conf->flow);
	(void)snprintf(t->node, sizeof t->node, "%s", conf->node);
	(void)snprintf(t->parent, sizeof t->parent, "%s", conf->parent);
	t->conninfo = gx_mem_strdup(conf->conninfo);
	t->every_ms = conf->every_ms;
	t->age_ms = conf->age_ms;
	t->log = log;
	t->parent_log = *parent;
	*parent = NULL;
	t->free_parent = free_parent;
	t->places = gx_mem_new(PLACES_MAX * sizeof *t->places);
	return t;
}

static void
close_trimmer(void *flow)
{
	struct gx_trimmer *t = flow;

	gx_pg_close(&t->pg);
}

static void
free_trimmer(void **flow)
{
	struct gx_trimmer *t = *flow;

	if (t == NULL) {
		return;
	}
	close_trimmer(t);
	if (t->parent_log != NULL) {
		t->free_parent(&t->parent_log);
	}
	gx_mem_free(t->conninfo);
	gx_mem_free(t->places);
	t->magic = 0;
	gx_mem_free(t);
	*flow = NULL;
}

static enum gx_rc
open_trimmer(void *flow, struct gx_err *e)
{
	struct gx_trimmer *t = flow;

	GX_ASSERT(t->magic == TRIMMER_MAGIC);
	t->look_at_ms = 0;
	return gx_pg_open(t->conninfo, "gxbus-trim", false, &t->pg, e);
}

/* ---- who needs it ---- */

/* Whose receipts the topic waits for; "" nobody's. */
static const char *
hop_of(const struct gx_trimmer *t, const char *topic)
{
	if (strncmp(topic, "gx.batch.", 9) == 0) {
		return t->parent;
	}
	return strcmp(topic + 8, t->node) == 0 ? "" : topic + 8;
}

/* Up to which of our offsets, exclusive, has the node above copied? */
static enum gx_rc
find_copied(struct gx_trimmer *t, const struct place *p, int64_t *copied,
	    struct gx_err *e)
{
	const struct gx_log_ops *ops = t->parent_log->ops;
	int64_t low = 0, high = 0;
	struct gx_in *in = NULL;
	struct gx_place at = {p->topic, p->partition, 0};
	struct gx_msg m;
	enum gx_rc rc = ops->range(t->parent_log, p->topic, p->partition, &low,
				   &high, e);

	*copied = 0;
	if (rc != GX_OK || high == low) {
		return rc;
	}
	at.offset = high - 1;
	rc = ops->open_in(t->parent_log, &at, 1, &in, e);
	if (rc == GX_OK) {
		rc = ops->next(in, COPIED_MS, &m, e);
	}
	if (rc == GX_OK) {
		*copied = m.from + 1; /* -1: not a copy, 0 */
		ops->done(in, &m);
	}
	if (in != NULL) {
		ops->close_in(&in);
	}
	return rc;
}

/* Note up to where the hop has receipted, with our head, and when we knew: at
 * most a hundred times within the age, whatever it is. */
#define NOTE_SQL                                                               \
	"INSERT INTO gx_trim_seen (stream, upto) SELECT s.stream, "            \
	"max(t.seq) FROM gx_stream s JOIN %s t ON t.stream = s.stream JOIN "   \
	"LATERAL (SELECT b.first + b.n - 1 AS last, b.head FROM gx_batch b "   \
	"WHERE b.stream = t.stream AND b.first <= t.seq ORDER BY b.first "     \
	"DESC LIMIT 1) b ON b.last = t.seq AND b.head = t.head WHERE "         \
	"s.topic = $1 AND s.partition = $2::integer AND t.sink = $3 AND "      \
	"t.verdict IN ('applied', 'held') GROUP BY s.stream HAVING "           \
	"max(t.seq) > coalesce((SELECT max(x.upto) FROM gx_trim_seen x WHERE " \
	"x.stream = s.stream), 0) AND coalesce((SELECT max(x.seen_at) FROM "   \
	"gx_trim_seen x WHERE x.stream = s.stream), '-infinity') <= now() - "  \
	"$4::bigint * interval '0.01 ms'"

/* Those that a later one, old enough too, makes needless. */
#define FORGET_SEEN_SQL                                                        \
	"DELETE FROM gx_trim_seen x USING gx_trim_seen y WHERE y.stream = "    \
	"x.stream AND y.upto > x.upto AND y.seen_at <= now() - $1::bigint * "  \
	"interval '1 ms'"

/* Streams of the place with the last seq that may go, NULL any; then their
 * batches, and whether each may. */
#define FREE_SQL                                                               \
	"WITH s AS MATERIALIZED (SELECT stream, stopped_at, "                  \
	"split_part(stream, '/', 5) LIKE 'gx.%' OR $3 = '' AS by_age FROM "    \
	"gx_stream WHERE topic = $1 AND partition = $2::integer), "            \
	"r AS MATERIALIZED (SELECT s.stream, CASE WHEN NOT s.by_age THEN "     \
	"coalesce((SELECT max(x.upto) FROM gx_trim_seen x WHERE x.stream = "   \
	"s.stream AND x.seen_at <= now() - $4::bigint * interval '1 ms'), 0) " \
	"END AS upto FROM s), "                                                \
	"b AS (SELECT coalesce(b.at_offset, 0) AS at_offset, CASE WHEN "       \
	"r.upto "                                                              \
	"IS NULL THEN b.taken_at < now() - $4::bigint * interval '1 ms' ELSE " \
	"b.first + b.n - 1 <= r.upto END AND ($5::bigint IS NULL OR "          \
	"coalesce(b.at_offset, 0) < $5::bigint) AS is_free FROM r CROSS JOIN " \
	"LATERAL (SELECT at_offset, first, n, taken_at FROM gx_batch WHERE "   \
	"stream = r.stream ORDER BY first LIMIT 20000) b) "                    \
	"SELECT least(min(at_offset) FILTER (WHERE NOT is_free), "             \
	"max(at_offset) FILTER (WHERE is_free) + 1, (SELECT next_offset "      \
	"FROM gx_read WHERE topic = $1 AND partition = $2::integer), "         \
	"(SELECT min(stopped_at) FROM s), (SELECT min(l.at) FROM (SELECT "     \
	"max(b.at_offset) AS at, count(*) AS n FROM r CROSS JOIN LATERAL "     \
	"(SELECT at_offset FROM gx_batch WHERE stream = r.stream ORDER BY "    \
	"first LIMIT 20000) b GROUP BY r.stream) l WHERE l.n = 20000)) "       \
	"FROM b HAVING bool_or(is_free)"

/* No table of receipts yet: nobody has receipted anything. */
#define NO_RECEIPTS                                                            \
	"(SELECT ''::text AS sink, ''::text AS stream, ''::text AS head, "     \
	"''::text AS verdict, 0::bigint AS seq WHERE false)"

static enum gx_rc
receipts_table(struct gx_trimmer *t, const char **out, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc =
		gx_pg_query(t->pg, "SELECT to_regclass('gx.receipt') IS NULL",
			    0, NULL, &r, e);

	*out = rc == GX_OK && gx_rows_bool(r, 0, 0) ? NO_RECEIPTS
						    : "gx.receipt";
	return rc;
}

/* *upto: all below may go, 0 nothing. */
static enum gx_rc
find_free(struct gx_trimmer *t, const struct place *p, const char *receipts,
	  int64_t *upto, struct gx_err *e)
{
	const char *hop = hop_of(t, p->topic);
	bool goes_up = hop == t->parent && t->parent_log != NULL;
	char sql[2000], partition[16], age[24], copied[24];
	const char *params[] = {p->topic, partition, hop, age,
				goes_up ? copied : NULL};
	const struct gx_rows *r;
	int64_t n_copied = 0;
	enum gx_rc rc = GX_OK;

	*upto = 0;
	if (goes_up) {
		rc = find_copied(t, p, &n_copied, e);
	}
	snprintf(sql, sizeof sql, NOTE_SQL, receipts);
	snprintf(partition, sizeof partition, "%d", (int)p->partition);
	snprintf(age, sizeof age, "%" PRId64, t->age_ms);
	snprintf(copied, sizeof copied, "%" PRId64, n_copied);
	if (rc == GX_OK && hop[0] != '\0') {
		rc = gx_pg_query(t->pg, sql, 4, params, NULL, e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_query(t->pg, FREE_SQL, 5, params, &r, e);
	}
	if (rc == GX_OK && gx_rows_n(r) > 0) {
		*upto = gx_rows_int(r, 0, 0);
	}
	return rc;
}

/* ---- taking it out ---- */

static enum gx_rc
forget_rows(struct gx_trimmer *t, const struct place *p, int64_t low,
	    struct gx_err *e)
{
	char partition[16], below[24];
	const char *params[] = {p->topic, partition, below};

	snprintf(partition, sizeof partition, "%d", (int)p->partition);
	snprintf(below, sizeof below, "%" PRId64, low);
	return gx_pg_query(t->pg,
			   "DELETE FROM gx_batch b USING gx_stream s WHERE "
			   "s.topic = $1 AND s.partition = $2::integer AND "
			   "b.stream = s.stream AND b.at_offset < $3::bigint",
			   3, params, NULL, e);
}

static enum gx_rc
trim_place(struct gx_trimmer *t, const struct place *p, const char *receipts,
	   struct gx_err *e)
{
	int64_t low = 0, high = 0, upto = 0;
	enum gx_rc rc = t->log->ops->range(t->log, p->topic, p->partition, &low,
					   &high, e);

	if (rc == GX_OK) {
		rc = find_free(t, p, receipts, &upto, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	upto = upto < high - 1 ? upto : high - 1;
	if (upto > low) {
		rc = gx_kafka_trim(t->log, p->topic, p->partition, upto, e);
		if (rc != GX_OK) {
			return rc;
		}
		gx_crash_point("trim.after_log");
		gx_log(GX_LOG_INFO, "log.trimmed_by_us",
		       "topic=%s partition=%d from=%" PRId64 " upto=%" PRId64,
		       p->topic, (int)p->partition, low, upto);
		t->n_trimmed += upto - low;
		low = upto;
	}
	return low > 0 ? forget_rows(t, p, low, e) : GX_OK;
}

static enum gx_rc
list_places(struct gx_trimmer *t, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(t->pg,
				    "SELECT topic, partition FROM gx_read "
				    "ORDER BY topic, partition LIMIT 4096",
				    0, NULL, &r, e);

	t->n_places = 0;
	for (int i = 0; rc == GX_OK && i < gx_rows_n(r); i++) {
		struct place *p = &t->places[t->n_places++];

		snprintf(p->topic, sizeof p->topic, "%s", gx_rows_str(r, i, 0));
		p->partition = (int32_t)gx_rows_int(r, i, 1);
	}
	return rc;
}

/* What one topic cannot have now holds up no other; the first error is told
 * when all were looked at. */
static enum gx_rc
trim_places(struct gx_trimmer *t, const char *receipts, struct gx_err *e)
{
	char age[24];
	const char *params[] = {age};
	enum gx_rc first = GX_OK;
	enum gx_rc rc;

	for (size_t i = 0; i < t->n_places && gx_pg_alive(t->pg); i++) {
		struct gx_err mine = {0};

		rc = trim_place(t, &t->places[i], receipts, &mine);
		if (rc != GX_OK && first == GX_OK) {
			first = rc;
			*e = mine;
		}
	}
	snprintf(age, sizeof age, "%" PRId64, t->age_ms);
	rc = first == GX_OK
		     ? gx_pg_query(t->pg, FORGET_SEEN_SQL, 1, params, NULL, e)
		     : first;
	return rc;
}

/* ---- stepping ---- */

static enum gx_rc
step_trimmer(void *flow, int timeout_ms, struct gx_err *e)
{
	struct gx_trimmer *t = flow;
	int64_t left_ms = t->look_at_ms - gx_mono_ms();
	const char *receipts = NULL;
	enum gx_rc rc;

	if (left_ms > 0) {
		(void)poll(NULL, 0,
			   left_ms < timeout_ms ? (int)left_ms : timeout_ms);
		return GX_AGAIN;
	}
	t->look_at_ms = gx_mono_ms() + t->every_ms;
	rc = list_places(t, e);
	if (rc == GX_OK) {
		rc = receipts_table(t, &receipts, e);
	}
	if (rc == GX_OK) {
		rc = trim_places(t, receipts, e);
	}
	t->n_looks += rc == GX_OK;
	return rc == GX_AGAIN ? GX_ABORT : rc;
}

static void
status_trimmer(void *flow, struct gx_jw *w)
{
	struct gx_trimmer *t = flow;

	gx_jw_kv_int(w, "partitions", (int64_t)t->n_places);
	gx_jw_kv_int(w, "messages_trimmed", t->n_trimmed);
	gx_jw_kv_int(w, "looks", t->n_looks);
}

static void
accept_trimmer(void *flow)
{
	(void)flow; /* there is no guard here */
}

const struct gx_flow_ops gx_trimmer_ops = {
	.kind = "trim",
	.open = open_trimmer,
	.step = step_trimmer,
	.close = close_trimmer,
	.status = status_trimmer,
	.accept = accept_trimmer,
	.free = free_trimmer,
};
