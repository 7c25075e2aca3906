/*
 * Drives stores on PostgreSQL as readers and writers would, for scenarios:
 * commands on stdin, one a line; answers on stdout.
 *
 *   drive_store --conninfo C --resource F... [options] < commands
 *     --guard PERCENT FLOOR   --max-rows N (of the quarantine)
 *
 *   use N                    go on with store N (0 to 3), opened when first met
 *   declare STREAM
 *   load                     offset and streams of the partition; what is
 *                            queued is forgotten
 *   marker STREAM EPOCH      queue a new owner
 *   batch STREAM FILE        queue a batch of the lines in FILE
 *   unstop STREAM            queue the end of a stop, an operator's word
 *   touch STREAM             the same without that word
 *   stop STREAM AT CODE      queue a stop
 *   commit [MESSAGES]        commit what is queued; offset moves by MESSAGES
 *   again                    commit the same once more
 *   old                      take the offset for one lower than loaded
 *   look, count STREAM       taken STREAM FIRST
 *   aside STREAM POS SEQ KEY [EPOCH], settle STREAM SEQ [EPOCH]: else 5
 *   release FLOW POS UPTO [EPOCH], released FLOW
 *
 * Everything happens in topic gx.batch.t, partition 0.  A failure prints
 * "<command> <rc> <code> <text>".
 */
#include "base/log.h"
#include "base/text.h"
#include "flow/store_pg.h"
#include "trust/sm.h"

#define TOPIC "gx.batch.t"
#define QUEUE 600
#define STREAMS 600
#define STORES 4

struct side {
	struct gx_store *store;
	int64_t next_offset;
	struct gx_stream_row rows[STREAMS];
	bool is_new[STREAMS];
	size_t n_rows;
	struct gx_apply applies[QUEUE];
	struct gx_head heads[QUEUE];
	char *bodies[QUEUE];
	size_t n_applies;
	struct gx_stop stops[QUEUE];
	char codes[QUEUE][64];
	size_t n_stops;
	int64_t to_offset;
};

static struct side *sides[STORES], *s;
static struct gx_store_pg_conf conf;
static struct gx_resource *resources[8];

static void
say(const char *what, enum gx_rc rc, const struct gx_err *e)
{
	(void)printf("%s %s %s %s\n", what, gx_rc_name(rc),
		     e->code ? e->code : "-", e->text);
}

static void
put_row(void *ctx, const struct gx_stream_row *row)
{
	(void)ctx;
	GX_ASSERT(s->n_rows < STREAMS);
	s->is_new[s->n_rows] = false;
	s->rows[s->n_rows++] = *row;
}

static void
print_row(const struct gx_stream_row *r)
{
	char hex[2 * GX_HASH + 1];

	gx_hex(r->chain.head, GX_HASH, hex);
	(void)printf("row %s own=%d epoch=%llu writer=%llx next=%llu "
		     "head=%.8s src=%s",
		     r->stream, r->is_own, (unsigned long long)r->chain.epoch,
		     (unsigned long long)r->chain.writer,
		     (unsigned long long)r->chain.next_seq, hex, r->chain.src);
	if (r->is_stopped) {
		(void)printf(" stopped=%lld why=%s", (long long)r->stopped_at,
			     r->why);
	}
	(void)printf("\n");
}

static void
forget(void)
{
	for (size_t i = 0; i < s->n_applies; i++) {
		gx_mem_free(s->bodies[i]);
		s->bodies[i] = NULL;
	}
	s->n_applies = 0;
	s->n_stops = 0;
}

static struct gx_stream_row *
find(const char *stream)
{
	for (size_t i = 0; i < s->n_rows; i++) {
		if (strcmp(s->rows[i].stream, stream) == 0) {
			return &s->rows[i];
		}
	}
	GX_ASSERT(s->n_rows < STREAMS);
	memset(&s->rows[s->n_rows], 0, sizeof(s->rows[0]));
	(void)snprintf(s->rows[s->n_rows].stream, GX_STREAM_MAX + 1, "%s",
		       stream);
	gx_chain_init(&s->rows[s->n_rows].chain);
	s->is_new[s->n_rows] = true;
	return &s->rows[s->n_rows++];
}

static struct gx_apply *
push(const char *stream)
{
	struct gx_stream_row *row = find(stream);
	struct gx_apply *ap = &s->applies[s->n_applies++];
	bool *is_new = &s->is_new[row - s->rows];

	GX_ASSERT(s->n_applies < QUEUE);
	memset(ap, 0, sizeof(*ap));
	ap->stream = gx_slice_str(row->stream);
	ap->before = ap->after = row->chain;
	ap->is_new = *is_new;
	*is_new = false;
	return ap;
}

static char *
read_file(const char *path, size_t *n)
{
	struct gx_buf b;
	char piece[4096], *out;
	size_t got;
	FILE *f = fopen(path, "re");

	if (f == NULL) {
		perror(path);
		exit(2);
	}
	gx_buf_init(&b, 64u << 20);
	while ((got = fread(piece, 1, sizeof(piece), f)) > 0) {
		(void)gx_buf_put(&b, piece, got);
	}
	(void)fclose(f);
	*n = b.n;
	out = gx_mem_slicedup(gx_buf_view(&b));
	gx_buf_free(&b);
	return out;
}

static void
batch(const char *stream, const char *path)
{
	size_t i = s->n_applies, n;
	struct gx_apply *ap = push(stream);
	struct gx_stream_row *row = find(stream);
	struct gx_head *h = &s->heads[i];
	char src[64];

	s->bodies[i] = read_file(path, &n);
	memset(h, 0, sizeof(*h));
	h->kind = GX_MSG_BATCH;
	h->stream = ap->stream;
	h->epoch = row->chain.epoch;
	h->writer = row->chain.writer;
	h->first = row->chain.next_seq;
	h->body = gx_slice(s->bodies[i], n);
	for (size_t k = 0; k < n; k++) {
		h->n += s->bodies[i][k] == '\n';
	}
	ap->head = h;
	gx_sm3(h->body.p, h->body.n, ap->head_hash);
	(void)snprintf(src, sizeof(src), "{\"cdc\":\"%llu\"}",
		       (unsigned long long)(h->first + h->n));
	h->src = gx_slice_str(src);
	gx_chain_take_batch(&row->chain, h, ap->head_hash);
	h->src = gx_slice("", 0);
	ap->after = row->chain;
}

static void
marker(const char *stream, uint64_t epoch)
{
	struct gx_apply *ap = push(stream);
	struct gx_stream_row *row = find(stream);
	struct gx_head h = {.kind = GX_MSG_MARKER,
			    .epoch = epoch,
			    .writer = epoch * 0x1111};

	gx_chain_take_marker(&row->chain, &h);
	ap->after = row->chain;
}

static void
commit(const char *what)
{
	struct gx_txn t = {.topic = TOPIC,
			   .from_offset = s->next_offset,
			   .to_offset = s->to_offset,
			   .applies = s->applies,
			   .n_applies = s->n_applies,
			   .stops = s->stops,
			   .n_stops = s->n_stops};
	struct gx_txn_result r;
	struct gx_err e = {0};
	enum gx_rc rc = s->store->ops->commit(s->store, &t, &r, &e);

	if (rc != GX_OK) {
		say(what, rc, &e);
		return;
	}
	(void)printf("%s ok applied=%llu aside=%llu\n", what,
		     (unsigned long long)r.n_applied,
		     (unsigned long long)r.n_set_aside);
}

static enum gx_rc
aside(char *w[6], struct gx_err *e)
{
	struct gx_aside as = {
		.stream = gx_slice_str(w[1]),
		.pos = gx_slice_str(w[2]),
		.seq = strtoull(w[3], NULL, 10),
		.epoch = w[5] ? strtoull(w[5], NULL, 10) : 5,
		.key = gx_slice_str(strcmp(w[4], "-") == 0 ? "" : w[4]),
		.reasons = GX_SLICE("[{\"pointer\":\"/a\\u0000\","
				    "\"keyword\":\"format\",\"message\":"
				    "\"no\"}]"),
		.original = GX_SLICE("a\0\xff\\\"b"),
		.time = GX_SLICE("2026-11-24T17:00:00.000+08:00")};
	uint64_t upto = 0;
	enum gx_rc rc = s->store->ops->aside(s->store, &as, 1, &upto, e);

	if (rc == GX_OK) {
		(void)printf("aside ok upto=%llu\n", (unsigned long long)upto);
	}
	return rc;
}

static void
use(size_t i)
{
	struct gx_err e = {0};

	GX_ASSERT(i < STORES);
	if (sides[i] == NULL) {
		sides[i] = gx_mem_new(sizeof(*s));
		if (gx_store_pg_new(&conf, &sides[i]->store, &e) != GX_OK) {
			exit(2);
		}
	}
	s = sides[i];
}

/* Questions; false if the word is none of them. */
static bool
ask(char *w[6], struct gx_err *e, enum gx_rc *rc)
{
	const struct gx_store_ops *ops = s->store->ops;
	const char *names[] = {w[1]};
	struct gx_slice name = gx_slice_str(w[1]);
	struct gx_stream_row row;
	struct gx_taken taken;
	struct gx_buf pos;
	uint64_t n = 0;

	if (strcmp(w[0], "look") == 0) {
		*rc = ops->look(s->store, names, 1, &row, e);
		if (*rc == GX_OK) {
			print_row(&row);
		}
	} else if (strcmp(w[0], "count") == 0) {
		*rc = ops->count(s->store, name, &n, e);
		(void)printf("count %llu\n", (unsigned long long)n);
	} else if (strcmp(w[0], "taken") == 0) {
		*rc = ops->taken(s->store, name, strtoull(w[2], NULL, 10),
				 &taken, e);
		(void)printf("taken found=%d n=%llu lowest=%llu\n", taken.found,
			     (unsigned long long)taken.n,
			     (unsigned long long)taken.lowest_first);
	} else if (strcmp(w[0], "released") == 0) {
		gx_buf_init(&pos, 4096);
		*rc = ops->released(s->store, w[1], &pos, e);
		(void)printf("released [%s]\n", gx_buf_str(&pos));
		gx_buf_free(&pos);
	} else {
		return false;
	}
	return true;
}

static bool
act(char *w[6], struct gx_err *e, enum gx_rc *rc)
{
	const struct gx_store_ops *ops = s->store->ops;

	if (strcmp(w[0], "declare") == 0) {
		*rc = ops->declare(s->store, w[1], w[2] ? w[2] : TOPIC, 0, e);
	} else if (strcmp(w[0], "aside") == 0) {
		*rc = aside(w, e);
	} else if (strcmp(w[0], "settle") == 0) {
		*rc = ops->settle(s->store, gx_slice_str(w[1]),
				  strtoull(w[2], NULL, 10),
				  w[3] ? strtoull(w[3], NULL, 10) : 5, e);
	} else if (strcmp(w[0], "release") == 0) {
		*rc = ops->release(s->store, w[1], gx_slice_str(w[2]),
				   strtoull(w[3], NULL, 10),
				   w[4] ? strtoull(w[4], NULL, 10) : 5, e);
	} else if (strcmp(w[0], "load") == 0) {
		forget();
		s->n_rows = 0;
		*rc = ops->load(s->store, TOPIC, 0, &s->next_offset, put_row,
				NULL, e);
		s->to_offset = s->next_offset;
		(void)printf("load %lld\n", (long long)s->next_offset);
		for (size_t i = 0; i < s->n_rows; i++) {
			print_row(&s->rows[i]);
		}
	} else {
		return false;
	}
	return true;
}

static bool
compose(char *w[6])
{
	if (strcmp(w[0], "marker") == 0) {
		marker(w[1], strtoull(w[2], NULL, 10));
	} else if (strcmp(w[0], "batch") == 0) {
		batch(w[1], w[2]);
	} else if (strcmp(w[0], "unstop") == 0) {
		push(w[1])->is_accept = true;
	} else if (strcmp(w[0], "touch") == 0) {
		(void)push(w[1]);
	} else if (strcmp(w[0], "stop") == 0) {
		struct gx_stop *sp = &s->stops[s->n_stops];

		(void)snprintf(s->codes[s->n_stops], 64, "%s", w[3]);
		*sp = (struct gx_stop){.stream =
					       gx_slice_str(find(w[1])->stream),
				       .at = strtoll(w[2], NULL, 10),
				       .code = s->codes[s->n_stops++],
				       .text = "for people"};
	} else if (strcmp(w[0], "commit") == 0) {
		s->to_offset =
			s->next_offset + (w[1] ? strtoll(w[1], NULL, 10) : 1);
		commit("commit");
	} else if (strcmp(w[0], "again") == 0) {
		commit("again");
	} else if (strcmp(w[0], "old") == 0) {
		s->next_offset--;
	} else {
		return false;
	}
	return true;
}

static void
command(char *line)
{
	char *w[6] = {0}, *save = NULL;
	struct gx_err e = {0};
	enum gx_rc rc = GX_OK;
	size_t n = 0;

	for (char *p = strtok_r(line, " \n", &save); p && n < 6;
	     p = strtok_r(NULL, " \n", &save)) {
		w[n++] = p;
	}
	if (n == 0) {
		return;
	}
	if (strcmp(w[0], "use") == 0) {
		use(strtoul(w[1], NULL, 10));
	} else if (!ask(w, &e, &rc) && !act(w, &e, &rc) && !compose(w)) {
		(void)fprintf(stderr, "unknown command %s\n", w[0]);
		exit(2);
	}
	if (rc != GX_OK) {
		say(w[0], rc, &e);
	}
	(void)fflush(stdout);
}

int
main(int argc, char **argv)
{
	const struct gx_resource *lent[8];
	char line[4096];
	struct gx_err e = {0};

	gx_log_setup(GX_LOG_INFO, false);
	conf.resources = lent;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--conninfo") == 0) {
			conf.conninfo = argv[i + 1];
		} else if (strcmp(argv[i], "--max-rows") == 0) {
			conf.quarantine_max_rows =
				strtoull(argv[i + 1], NULL, 10);
		} else if (strcmp(argv[i], "--guard") == 0) {
			conf.guard_percent = (int)strtol(argv[i + 1], NULL, 10);
			conf.guard_floor = strtoull(argv[++i + 1], NULL, 10);
		} else if (strcmp(argv[i], "--resource") != 0 ||
			   gx_resource_load(argv[i + 1],
					    &resources[conf.n_resources],
					    &e) != GX_OK) {
			(void)fprintf(stderr, "%s: %s\n", argv[i], e.text);
			return 2;
		} else {
			lent[conf.n_resources] = resources[conf.n_resources];
			conf.n_resources++;
		}
	}
	use(0);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		command(line);
	}
	for (size_t i = 0; i < STORES; i++) {
		if ((s = sides[i]) != NULL) {
			forget();
			gx_store_free(&s->store);
			gx_mem_free(s);
		}
	}
	for (size_t i = 0; i < conf.n_resources; i++) {
		gx_resource_free(&resources[i]);
	}
	return 0;
}
