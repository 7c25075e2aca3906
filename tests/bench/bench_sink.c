/*
 * What the sink reaches: the real reader (seals and roots checked, records
 * validated) over a log in memory into a real PostgreSQL.  tests/bench/sink.sh
 * runs it beside psql, which replays the same rows with COPY and one upsert.
 *
 *   bench_sink CONNINFO RESOURCES BATCHES ROUND
 *
 * RESOURCES is the declaration of social.insured.  ROUND 1 writes the rows for
 * the first time, ROUND 2 the same keys again with other content, and so on;
 * each is the next part of one stream.  Prints "records cpu_us wall_us".
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "flow/reader.h"
#include "flow/store_pg.h"
#include "port/log.h"

#include <string.h>

#define LINES 1000
#define STREAM "/450100/hrss/social/social.insured/0"
#define TOPIC "gx.batch.450100"

/* ---- a log in memory: one partition, messages made before ---- */

struct memory {
	struct gx_log log;
	struct gx_buf *msgs;
	size_t n;
	int64_t first; /* offset of msgs[0] */
	int64_t at;
};
struct gx_in {
	struct memory *m;
};

static enum gx_rc
n_partitions(struct gx_log *l, const char *topic, int32_t *n, struct gx_err *e)
{
	(void)l;
	(void)topic;
	(void)e;
	*n = 1;
	return GX_OK;
}

static enum gx_rc
range(struct gx_log *l, const char *topic, int32_t partition, int64_t *low,
      int64_t *high, struct gx_err *e)
{
	const struct memory *m = (const struct memory *)l;

	(void)topic;
	(void)partition;
	(void)e;
	*low = m->first;
	*high = m->first + (int64_t)m->n;
	return GX_OK;
}

static enum gx_rc
open_in(struct gx_log *l, const struct gx_place *places, size_t n,
	struct gx_in **out, struct gx_err *e)
{
	(void)n;
	(void)e;
	*out = gx_mem_new(sizeof **out);
	(*out)->m = (struct memory *)l;
	(*out)->m->at = places[0].offset;
	return GX_OK;
}

static enum gx_rc
next(struct gx_in *in, int timeout_ms, struct gx_msg *msg, struct gx_err *e)
{
	struct memory *m = in->m;
	int64_t i = m->at - m->first;

	(void)timeout_ms;
	(void)e;
	if (i < 0 || (size_t)i >= m->n) {
		return GX_AGAIN;
	}
	memset(msg, 0, sizeof *msg);
	msg->offset = m->at++;
	msg->from = -1;
	msg->value = gx_buf_view(&m->msgs[i]);
	msg->key = i == 0 ? GX_SLICE("/450100/hrss/social") : GX_SLICE(STREAM);
	return GX_OK;
}

static void
done(struct gx_in *in, struct gx_msg *msg)
{
	(void)in;
	(void)msg;
}

static enum gx_rc
seek(struct gx_in *in, size_t place, int64_t offset, struct gx_err *e)
{
	(void)place;
	(void)e;
	in->m->at = offset;
	return GX_OK;
}

static void
close_in(struct gx_in **in)
{
	gx_mem_free(*in);
	*in = NULL;
}

static const struct gx_log_ops memory_ops = {
	.n_partitions = n_partitions,
	.range = range,
	.open_in = open_in,
	.next = next,
	.done = done,
	.seek = seek,
	.close_in = close_in,
};

/* ---- records ---- */

/* A resident id that is valid by its check character. */
static void
put_resident(char out[19], uint64_t i)
{
	static const int weight[] = {7, 9, 10, 5,  8, 4, 2, 1, 6,
				     3, 7, 9,  10, 5, 8, 4, 2};
	int sum = 0;

	snprintf(out, 19, "450102%04d%02d%02d%03d", (int)(1950 + i % 50),
		 (int)(1 + i % 12), (int)(1 + i % 28), (int)(i % 1000));
	for (int k = 0; k < 17; k++) {
		sum += weight[k] * (out[k] - '0');
	}
	out[17] = "10X98765432"[sum % 11];
	out[18] = '\0';
}

static void
put_line(struct gx_buf *b, uint64_t i, int round)
{
	char id[19];

	put_resident(id, i);
	(void)gx_buf_printf(
		b,
		"{\"op\":\"u\",\"k\":[\"4501%010llu\"],"
		"\"t\":\"2026-11-24T17:00:00.000+08:00\",\"d\":{"
		"\"aac001\":\"4501%010llu\",\"aac002\":\"%s\","
		"\"aac003\":\"\xe9\x9f\xa6\xe6\x98\x8e\",\"aac004\":\"1\","
		"\"aac005\":\"08\",\"aac006\":\"%.4s-%.2s-%.2s\","
		"\"aab001\":\"45%08llu\","
		"\"aab004\":\"\xe5\x8d\x97\xe5\xae\x81\xe6\x9f\x90\xe5\x8e\x82"
		"\",\"aae140\":\"110\",\"aac031\":\"1\","
		"\"aac049\":\"2010-05-01\",\"base\":\"%llu.00\","
		"\"n_months\":%d,\"region\":\"450102\","
		"\"updated_at\":\"2026-09-01T08:00:00.000+08:00\"}}\n",
		(unsigned long long)i, (unsigned long long)i, id, id + 6,
		id + 10, id + 12, (unsigned long long)(i % 300),
		(unsigned long long)(3000 + (i + (uint64_t)round) % 9000),
		(int)((i + (uint64_t)round) % 720));
}

/* The messages of one round: a marker, then the batches. */
static enum gx_rc
make_messages(struct memory *m, struct gx_sealer *sealer,
	      const struct gx_resource *res, struct gx_chain *chain, int round,
	      struct gx_err *e)
{
	unsigned char sum[GX_SM3], hash[GX_HASH];
	char hex[65], schema[200], at[GX_TIME_LEN + 1];
	struct gx_head h = {.kind = GX_MSG_MARKER};
	struct gx_buf body;
	enum gx_rc rc;

	gx_sm3(res->text.p, res->text.n, sum);
	gx_hex(sum, sizeof sum, hex);
	snprintf(schema, sizeof schema, "%s@%d:%s", res->name, res->version,
		 hex);
	gx_time_format(gx_now_ms(), at);
	h.at = gx_slice_str(at);
	h.stream = GX_SLICE("/450100/hrss/social");
	h.streams = GX_SLICE("[\"" STREAM "\"]");
	h.epoch = chain->epoch + 1;
	h.writer = 1;
	rc = gx_seal_marker(sealer, &h, &m->msgs[0], e);
	chain->epoch = h.epoch;
	gx_buf_init(&body, GX_BATCH_MAX);
	for (size_t k = 1; rc == GX_OK && k < m->n; k++) {
		gx_buf_reset(&body);
		for (uint64_t i = 0; i < LINES; i++) {
			/* Keys come in no order, as changes do. */
			put_line(&body,
				 ((k - 1) * LINES + i) * 7919 %
					 ((m->n - 1) * LINES),
				 round);
		}
		h = (struct gx_head){.kind = GX_MSG_BATCH,
				     .stream = GX_SLICE(STREAM),
				     .epoch = chain->epoch,
				     .writer = 1,
				     .first = chain->next_seq,
				     .n = LINES,
				     .at = gx_slice_str(at),
				     .schema = gx_slice_str(schema),
				     .src = GX_SLICE("{}")};
		memcpy(h.prev, chain->head, GX_HASH);
		rc = gx_seal_batch(sealer, &h, gx_buf_view(&body), &m->msgs[k],
				   hash, e);
		if (rc == GX_OK) {
			gx_chain_take_batch(chain, &h, hash);
		}
	}
	gx_buf_free(&body);
	return rc;
}

static enum gx_verdict
admit(void *ctx, struct gx_slice stream, struct gx_slice schema,
      struct gx_slice topic)
{
	(void)ctx;
	(void)stream;
	(void)schema;
	(void)topic;
	return GX_V_TAKE;
}

/* ---- the run ---- */

static void
keep_row(void *ctx, const struct gx_stream_row *row)
{
	*(struct gx_stream_row *)ctx = *row;
}

static enum gx_rc
run(struct memory *m, struct gx_store *store, struct gx_verifier *verifier,
    struct gx_err *e)
{
	static const char *const topics[] = {TOPIC, NULL};
	static const char *const own[] = {"gx.batch.450000", NULL};
	struct gx_reader_conf conf = {
		.flow = "bench",
		.topics = topics,
		.own_topics = own,
		.admit = admit,
		.txn_lines = 10000,
		.txn_bytes = 4u << 20,
		.txn_ms = 50,
		.retry_ms = 5000,
	};
	struct gx_stream_row row = {0};
	struct gx_reader *r = NULL;
	int64_t kept = 0, end = m->first + (int64_t)m->n, cpu_us, wall_us;
	void *flow;
	enum gx_rc rc = gx_reader_new(&conf, &m->log, store, verifier, &r, e);

	flow = r;
	cpu_us = gx_cpu_us();
	wall_us = gx_mono_us();
	if (rc == GX_OK) {
		rc = gx_reader_ops.open(flow, e);
	}
	while ((rc == GX_OK || rc == GX_AGAIN) && kept < end) {
		rc = gx_reader_ops.step(flow, 10, e);
		if (rc == GX_AGAIN) {
			rc = store->ops->load(store, TOPIC, 0, &kept, keep_row,
					      &row, e);
		}
	}
	printf("%zu %lld %lld\n", (m->n - 1) * LINES,
	       (long long)(gx_cpu_us() - cpu_us),
	       (long long)(gx_mono_us() - wall_us));
	gx_reader_ops.close(flow);
	gx_reader_ops.free(&flow);
	if (rc == GX_OK && row.is_stopped) {
		rc = GX_ERR(e, GX_FATAL, "internal", "the stream stopped: %s",
			    row.why);
	}
	return rc;
}

int
main(int argc, char **argv)
{
	struct memory m = {.log = {.ops = &memory_ops}};
	const struct gx_resource *list[1];
	struct gx_resource *res = NULL;
	struct gx_store *store = NULL;
	struct gx_key *key = NULL;
	struct gx_keyring *ring = gx_keyring_new();
	struct gx_store_pg_conf conf = {.resources = list, .n_resources = 1};
	struct gx_stream_row row = {0};
	struct gx_chain chain;
	struct gx_err e = {0};
	enum gx_rc rc;

	if (argc != 5) {
		fputs("bench_sink CONNINFO RESOURCE BATCHES ROUND\n", stderr);
		return 2;
	}
	gx_log_setup(GX_LOG_WARN, false);
	m.n = (size_t)strtoul(argv[3], NULL, 10) + 1;
	m.msgs = gx_mem_new(m.n * sizeof *m.msgs);
	for (size_t i = 0; i < m.n; i++) {
		gx_buf_init(&m.msgs[i], GX_BATCH_MAX);
	}
	conf.conninfo = argv[1];
	gx_chain_init(&chain);
	rc = gx_resource_load(argv[2], &res, &e);
	list[0] = res;
	if (rc == GX_OK) {
		rc = gx_key_random(&key, &e);
	}
	if (rc == GX_OK) {
		rc = gx_store_pg_new(&conf, &store, &e);
	}
	if (rc == GX_OK) {
		rc = store->ops->load(store, TOPIC, 0, &m.first, keep_row, &row,
				      &e);
	}
	if (rc == GX_OK) {
		struct gx_sealer *sealer = gx_sealer_new(key);
		struct gx_verifier *verifier;

		chain = m.first > 0 ? row.chain : chain;
		gx_keyring_add(ring, "450100", &key);
		rc = make_messages(&m, sealer, res, &chain,
				   (int)strtol(argv[4], NULL, 10), &e);
		verifier = gx_verifier_new(ring);
		if (rc == GX_OK) {
			rc = run(&m, store, verifier, &e);
		}
		gx_verifier_free(&verifier);
		gx_sealer_free(&sealer);
	}
	if (rc != GX_OK) {
		fprintf(stderr, "bench_sink: %s: %s\n", e.code ? e.code : "",
			e.text);
	}
	gx_keyring_free(&ring);
	gx_store_free(&store);
	gx_resource_free(&res);
	for (size_t i = 0; i < m.n; i++) {
		gx_buf_free(&m.msgs[i]);
	}
	gx_mem_free(m.msgs);
	return rc == GX_OK ? 0 : 1;
}
