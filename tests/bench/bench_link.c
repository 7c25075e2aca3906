/*
 * What the link costs: CPU per record of copying a topic with the real link,
 * with and without the check of seals.  tests/bench/link.sh runs it beside the
 * bare relays of bare_relay.c over the same messages and prints the ratios.
 *
 *   bench_link fill BOOTSTRAP TOPIC BATCHES     seal and append, 1,000 lines
 *   bench_link copy FROM TO TOPIC check|plain   copy all that is there
 *
 * Both make the topic with 4 partitions if it is absent.  copy prints
 * "records cpu_us wall_us"; it stops when the receiver holds as many messages
 * as the origin held at the start.
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/link.h"
#include "port/kafka.h"

#include <string.h>
#include <sys/stat.h>

#define PARTITIONS 4
#define LINES 1000
#define KEY_DIR "build/bench-keys"

static int
complain(const struct gx_err *e)
{
	fprintf(stderr, "bench_link: %s: %s\n", e->code ? e->code : "?",
		e->text);
	return 1;
}

static enum gx_rc
open_log(const char *bootstrap, const char *topic, struct gx_log **log,
	 struct gx_err *e)
{
	static const char *const none[] = {NULL};
	static const char *const props[] = {"max.message.bytes", "4194304",
					    NULL};
	struct gx_kafka_conf conf = {
		.bootstrap = bootstrap,
		.client_id = "bench",
		.props = none,
	};
	enum gx_rc rc = gx_kafka_new(&conf, log, e);

	return rc == GX_OK ? gx_kafka_create_topic(*log, topic, PARTITIONS, 1,
						   props, e)
			   : rc;
}

/* About 467 bytes, like a record of an insured person. */
static void
put_line(struct gx_buf *b, uint64_t seq)
{
	(void)gx_buf_printf(
		b,
		"{\"op\":\"u\",\"k\":[\"4501%08llu\"],"
		"\"t\":\"2026-11-24T17:00:00.000+08:00\",\"d\":{"
		"\"aac001\":\"4501%08llu\",\"aac002\":\"45010019800101%04llu\","
		"\"aac003\":\"\xe9\x9f\xa6\xe6\x98\x8e\",\"aac004\":\"1\","
		"\"aac006\":\"1980-01-01\",\"aab001\":\"91450100MA5K%06llu\","
		"\"aab004\":\"\xe5\x8d\x97\xe5\xae\x81\xe5\xb8\x82\xe6\x9f\x90"
		"\xe6\x9c\x89\xe9\x99\x90\xe5\x85\xac\xe5\x8f\xb8\","
		"\"base\":\"%llu.00\",\"region\":\"450100\","
		"\"address\":\"\xe5\xb9\xbf\xe8\xa5\xbf\xe5\x8d\x97\xe5\xae\x81"
		"\xe5\xb8\x82\xe9\x9d\x92\xe7\xa7\x80\xe5\x8c\xba\","
		"\"note\":\"invented person, made for a measurement, "
		"%016llx%016llx\"}}\n",
		(unsigned long long)seq, (unsigned long long)seq,
		(unsigned long long)(seq % 10000),
		(unsigned long long)(seq % 1000000),
		(unsigned long long)(3000 + seq % 9000),
		(unsigned long long)(seq * 0x9e3779b97f4a7c15ull),
		(unsigned long long)(seq * 0xbf58476d1ce4e5b9ull));
}

/* Keep appending when the queue is full; give up on real trouble. */
static enum gx_rc
append(struct gx_log *log, struct gx_out *out, int32_t p, const char *key,
       const struct gx_buf *msg, struct gx_err *e)
{
	size_t n_in_flight;
	enum gx_rc rc;

	while ((rc = log->ops->append(out, p, gx_slice_str(key),
				      gx_buf_view(msg), -1, e)) == GX_AGAIN) {
		rc = log->ops->poll_out(out, 20, &n_in_flight, e);
		if (rc != GX_OK && rc != GX_AGAIN) {
			break;
		}
	}
	return rc;
}

static enum gx_rc
drain(struct gx_log *log, struct gx_out *out, struct gx_err *e)
{
	size_t n_in_flight = 1;
	enum gx_rc rc = GX_OK;

	while (n_in_flight > 0 && (rc == GX_OK || rc == GX_AGAIN)) {
		rc = log->ops->poll_out(out, 50, &n_in_flight, e);
	}
	return n_in_flight == 0 ? GX_OK : rc;
}

struct stream {
	char name[64];
	struct gx_chain chain;
};

static enum gx_rc
put_batch(struct gx_sealer *sealer, struct stream *st, int32_t p,
	  struct gx_buf *body, struct gx_buf *msg, struct gx_err *e)
{
	static const char schema[] =
		"social.insured@1:"
		"0000000000000000000000000000000000000000000000000000000000000"
		"000";
	char at[GX_TIME_LEN + 1];
	unsigned char hash[GX_HASH];
	struct gx_head h = {.kind = GX_MSG_BATCH};
	enum gx_rc rc;

	gx_buf_reset(body);
	for (uint64_t i = 0; i < LINES; i++) {
		put_line(body, st->chain.next_seq + i);
	}
	gx_time_format(gx_now_ms(), at);
	h.stream = gx_slice_str(st->name);
	h.partition = (uint32_t)p;
	h.epoch = 1;
	h.first = st->chain.next_seq;
	h.n = LINES;
	h.at = gx_slice_str(at);
	h.schema = gx_slice_str(schema);
	h.src = GX_SLICE("{}");
	memcpy(h.prev, st->chain.head, GX_HASH);
	rc = gx_seal_batch(sealer, &h, gx_buf_view(body), msg, hash, e);
	if (rc == GX_OK) {
		gx_chain_take_batch(&st->chain, &h, hash);
	}
	return rc;
}

static int
fill(const char *bootstrap, const char *topic, long n_batches)
{
	struct stream st[PARTITIONS];
	struct gx_log *log = NULL;
	struct gx_out *out = NULL;
	struct gx_key *key = NULL;
	struct gx_err e = {0};
	struct gx_buf body, msg;
	enum gx_rc rc = open_log(bootstrap, topic, &log, &e);

	gx_buf_init(&body, GX_BATCH_MAX);
	gx_buf_init(&msg, GX_BATCH_MAX);
	for (int p = 0; p < PARTITIONS; p++) {
		snprintf(st[p].name, sizeof st[p].name,
			 "/450100/hrss/social/social.insured/%d", p);
		gx_chain_init(&st[p].chain);
	}
	(void)mkdir("build", 0755);
	(void)mkdir(KEY_DIR, 0755);
	(void)remove(KEY_DIR "/450100.pem");
	(void)remove(KEY_DIR "/450100.pem.pub");
	if (rc == GX_OK) {
		rc = gx_key_make(KEY_DIR "/450100.pem", &e);
	}
	if (rc == GX_OK) {
		rc = gx_key_load_private(KEY_DIR "/450100.pem", &key, &e);
	}
	if (rc == GX_OK &&
	    rename(KEY_DIR "/450100.pem.pub", KEY_DIR "/450100.pem") != 0) {
		rc = GX_ERR(&e, GX_FATAL, "key.make", "cannot rename the key");
	}
	if (rc == GX_OK) {
		rc = log->ops->open_out(log, topic, &out, &e);
	}
	if (rc == GX_OK) {
		struct gx_sealer *sealer = gx_sealer_new(key);

		for (long i = 0; rc == GX_OK && i < n_batches; i++) {
			int p = (int)(i % PARTITIONS);

			rc = put_batch(sealer, &st[p], p, &body, &msg, &e);
			if (rc == GX_OK) {
				rc = append(log, out, p, st[p].name, &msg, &e);
			}
		}
		if (rc == GX_OK) {
			rc = drain(log, out, &e);
		}
		gx_sealer_free(&sealer);
		log->ops->close_out(&out);
	}
	gx_key_free(&key);
	gx_buf_free(&body);
	gx_buf_free(&msg);
	gx_kafka_free(&log);
	return rc == GX_OK ? 0 : complain(&e);
}

/* Messages of all partitions together. */
static enum gx_rc
count(struct gx_log *log, const char *topic, int64_t *n, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	*n = 0;
	for (int32_t p = 0; rc == GX_OK && p < PARTITIONS; p++) {
		int64_t low = 0, high = 0;

		rc = log->ops->range(log, topic, p, &low, &high, e);
		*n += high - low;
	}
	return rc;
}

static enum gx_rc
run_link(void *link, struct gx_log *to, const char *topic, int64_t n_wanted,
	 struct gx_err *e)
{
	int64_t n = 0;
	int64_t look_at = gx_mono_ms() + 200;
	enum gx_rc rc;

	while ((rc = gx_link_ops.open(link, e)) == GX_AGAIN) {
		gx_link_ops.close(link);
	}

	while (rc == GX_OK && n < n_wanted) {
		rc = gx_link_ops.step(link, 50, e);
		rc = rc == GX_AGAIN ? GX_OK : rc;
		if (rc == GX_OK && gx_mono_ms() >= look_at) {
			look_at = gx_mono_ms() + 100;
			rc = count(to, topic, &n, e);
			/* A topic made a moment ago has no leader yet. */
			rc = rc == GX_AGAIN ? GX_OK : rc;
		}
	}
	gx_link_ops.close(link);
	return rc;
}

static int
copy(const char *from, const char *to, const char *topic, bool check)
{
	struct gx_log *a = NULL, *b = NULL;
	struct gx_keyring *ring = NULL;
	struct gx_verifier *verifier = NULL;
	struct gx_link *link = NULL;
	struct gx_err e = {0};
	struct gx_link_conf conf = {
		.flow = "bench",
		.topic = topic,
		.max_in_flight = 64,
		.tail = 128,
		.check = check,
	};
	int64_t n = 0, cpu_us, wall_us;
	void *flow = NULL;
	enum gx_rc rc = open_log(from, topic, &a, &e);

	if (rc == GX_OK) {
		rc = open_log(to, topic, &b, &e);
	}
	if (rc == GX_OK) {
		rc = gx_keyring_load(KEY_DIR, &ring, &e);
	}
	if (rc == GX_OK) {
		rc = count(a, topic, &n, &e);
	}
	if (rc != GX_OK) {
		return complain(&e);
	}
	verifier = gx_verifier_new(ring);
	rc = gx_link_new(&conf, a, b, verifier, &link, &e);
	flow = link;
	cpu_us = gx_cpu_us();
	wall_us = gx_mono_us();
	if (rc == GX_OK) {
		rc = run_link(flow, b, topic, n, &e);
	}
	printf("%lld %lld %lld\n", (long long)(n * LINES),
	       (long long)(gx_cpu_us() - cpu_us),
	       (long long)(gx_mono_us() - wall_us));
	gx_link_ops.free(&flow);
	gx_verifier_free(&verifier);
	gx_keyring_free(&ring);
	gx_kafka_free(&a);
	gx_kafka_free(&b);
	return rc == GX_OK ? 0 : complain(&e);
}

int
main(int argc, char **argv)
{
	gx_log_setup(GX_LOG_WARN, false);
	if (argc == 5 && strcmp(argv[1], "fill") == 0) {
		return fill(argv[2], argv[3], strtol(argv[4], NULL, 10));
	}
	if (argc == 6 && strcmp(argv[1], "copy") == 0) {
		return copy(argv[2], argv[3], argv[4],
			    strcmp(argv[5], "check") == 0);
	}
	fputs("bench_link fill BOOTSTRAP TOPIC BATCHES | "
	      "copy FROM TO TOPIC check|plain\n",
	      stderr);
	return 2;
}
