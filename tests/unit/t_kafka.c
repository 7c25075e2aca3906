/*
 * Kafka: the table of errors, the settings that are refused, and what we make
 * of errors that librdkafka's mock cluster answers with.  The mock proves the
 * handling of errors only; what a log promises is proved on a real broker.
 *
 * alarm() ends a test that hangs: a message that is not given back keeps
 * rd_kafka_destroy waiting for ever.
 */
#include "base/clock.h"
#include "base/log.h"
#include "port/kafka_int.h"

#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PRODUCE = 0, FETCH = 1, LIST_OFFSETS = 2, METADATA = 3 };

static rd_kafka_t *keeper;
static rd_kafka_mock_cluster_t *mock;
static struct gx_log *l;
static char topic[32];

/* ---- the table ---- */

static void
test_rows(void **state)
{
	const struct gx_kafka_row *r;
	size_t n = 0;

	(void)state;
	for (; (r = gx_kafka_err_at(n)) != NULL; n++) {
		assert_non_null(gx_error_find(r->code));
		assert_ptr_equal(gx_kafka_err_row(r->err), r); /* once */
		assert_true(r->rc != GX_OK && r->rc != GX_REJECT);
	}
	assert_true(n > 60);
}

static bool
has_row(rd_kafka_resp_err_t err)
{
	const struct gx_kafka_row *r;

	for (size_t i = 0; (r = gx_kafka_err_at(i)) != NULL; i++) {
		if (r->err == err) {
			return true;
		}
	}
	return false;
}

/* Every error the library knows: named ones as named, all others fatal. */
static void
test_default_is_fatal(void **state)
{
	const struct rd_kafka_err_desc *d;
	size_t n_others = 0;
	size_t n;

	(void)state;
	rd_kafka_get_err_descs(&d, &n);
	for (size_t i = 0; i < n; i++) {
		if (d[i].code == RD_KAFKA_RESP_ERR_NO_ERROR || !d[i].name ||
		    has_row(d[i].code)) {
			continue;
		}
		n_others++;
		assert_int_equal(gx_kafka_err_row(d[i].code)->rc, GX_FATAL);
		assert_string_equal(gx_kafka_err_row(d[i].code)->code,
				    "kafka.unknown");
	}
	assert_true(n_others > 10);
	assert_int_equal(gx_kafka_err_row((rd_kafka_resp_err_t)31999)->rc,
			 GX_FATAL);
}

static void
test_classes(void **state)
{
	static const struct {
		rd_kafka_resp_err_t err;
		enum gx_rc asked, doubt;
		const char *code;
	} want[] = {
		{RD_KAFKA_RESP_ERR__TRANSPORT, GX_AGAIN, GX_ABORT,
		 "kafka.away"},
		{RD_KAFKA_RESP_ERR__SSL, GX_AGAIN, GX_ABORT, "kafka.away"},
		{RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, GX_AGAIN, GX_ABORT,
		 "kafka.away"},
		{RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, GX_ABORT, GX_ABORT,
		 "log.out_of_range"},
		{RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, GX_ABORT,
		 GX_ABORT, "kafka.producer"},
		{RD_KAFKA_RESP_ERR__FENCED, GX_FENCED, GX_FENCED,
		 "kafka.fenced"},
		{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, GX_FATAL, GX_FATAL,
		 "log.no_topic"},
		{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, GX_FATAL,
		 GX_FATAL, "kafka.denied"},
		{RD_KAFKA_RESP_ERR__BAD_MSG, GX_FATAL, GX_FATAL, "log.corrupt"},
		{RD_KAFKA_RESP_ERR_UNKNOWN, GX_FATAL, GX_FATAL,
		 "kafka.unknown"},
	};
	struct gx_khandle h = {.bootstrap = "broker.test:9092"};

	(void)state;
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		struct gx_err e = {0};

		assert_int_equal(
			gx_kafka_err(&h, want[i].err, false, "asked", "t", &e),
			want[i].asked);
		assert_int_equal(e.rc, want[i].asked);
		assert_string_equal(e.code, want[i].code);
		assert_non_null(strstr(e.text, "broker.test:9092"));
		assert_int_equal(
			gx_kafka_err(&h, want[i].err, true, "read", "t", &e),
			want[i].doubt);
		assert_int_equal(e.rc, want[i].doubt);
	}
}

/* ---- settings ---- */

static enum gx_rc
try_conf(const char *name, const char *value, struct gx_err *e)
{
	const char *props[] = {name, value, NULL};
	struct gx_kafka_conf c = {
		.bootstrap = "127.0.0.1:1", .client_id = "t", .props = props};
	struct gx_log *log = NULL;
	enum gx_rc rc = gx_kafka_new(&c, &log, e);

	gx_kafka_free(&log);
	return rc;
}

static void
test_settings(void **state)
{
	static const char *const locked[] = {
		"enable.idempotence", "acks",
		"auto.offset.reset",  "enable.auto.commit",
		"check.crcs",	      "group.id",
		"transactional.id",   "max.in.flight",
		"isolation.level",    "message.timeout.ms",
		"bootstrap.servers",  "client.id"};
	struct gx_err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof locked / sizeof *locked; i++) {
		assert_int_equal(try_conf(locked[i], "1", &e), GX_FATAL);
		assert_string_equal(e.code, "kafka.conf");
		assert_non_null(strstr(e.text, locked[i]));
		assert_non_null(strstr(e.text, "fixed"));
	}
	assert_int_equal(try_conf("no.such.thing", "1", &e), GX_FATAL);
	assert_non_null(strstr(e.text, "no.such.thing"));
	/* A value may be a password: it is in no text. */
	assert_int_equal(try_conf("security.protocol", "geheim42", &e),
			 GX_FATAL);
	assert_non_null(strstr(e.text, "security.protocol"));
	assert_null(strstr(e.text, "geheim42"));
	/* What only shows when a handle is made: still at the start. */
	memset(&e, 0, sizeof e);
	assert_int_equal(try_conf("ssl.ca.location", "/nowhere/ca.pem", &e),
			 GX_OK);
	{
		const char *props[] = {"security.protocol", "ssl",
				       "ssl.ca.location", "/nowhere/ca.pem",
				       NULL};
		struct gx_kafka_conf c = {.bootstrap = "127.0.0.1:1",
					  .props = props};
		struct gx_log *log = NULL;

		assert_int_equal(gx_kafka_new(&c, &log, &e), GX_FATAL);
		assert_string_equal(e.code, "kafka.conf");
	}
	assert_int_equal(try_conf("linger.ms", "1", &e), GX_OK); /* control */
}

static void
test_away(void **state)
{
	struct gx_kafka_conf c = {.bootstrap = "127.0.0.1:1"};
	struct gx_log *log = NULL;
	struct gx_err e = {0};
	int64_t from_ms = gx_mono_ms();

	(void)state;
	assert_int_equal(gx_kafka_new(&c, &log, &e), GX_OK);
	assert_int_equal(gx_kafka_ping(log, 300, &e), GX_AGAIN);
	assert_string_equal(e.code, "kafka.away");
	assert_non_null(strstr(e.text, "127.0.0.1:1"));
	assert_non_null(strstr(e.text, "refused"));
	assert_true(gx_mono_ms() - from_ms < 3000);
	gx_kafka_free(&log);
	gx_kafka_free(&log);
}

/* ---- the mock cluster ---- */

static int
begin(void **state)
{
	static int n;
	char text[200];
	struct gx_err e = {0};
	struct gx_kafka_conf c = {.client_id = "t"};

	(void)state;
	alarm(60);
	keeper = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text,
			      sizeof text);
	mock = rd_kafka_mock_cluster_new(keeper, 1);
	snprintf(topic, sizeof topic, "t%d", n++);
	rd_kafka_mock_topic_create(mock, topic, 2, 1);
	c.bootstrap = rd_kafka_mock_cluster_bootstraps(mock);
	return gx_kafka_new(&c, &l, &e) == GX_OK ? 0 : -1;
}

static int
end(void **state)
{
	(void)state;
	gx_kafka_free(&l);
	rd_kafka_mock_cluster_destroy(mock);
	rd_kafka_destroy(keeper);
	return 0;
}

static struct gx_out *
out(void)
{
	struct gx_err e = {0};
	struct gx_out *o = NULL;

	assert_int_equal(l->ops->open_out(l, topic, &o, &e), GX_OK);
	return o;
}

static struct gx_in *
in_at(int64_t offset)
{
	struct gx_place at = {topic, 0, offset};
	struct gx_err e = {0};
	struct gx_in *in = NULL;

	assert_int_equal(l->ops->open_in(l, &at, 1, &in, &e), GX_OK);
	return in;
}

static enum gx_rc
append(struct gx_out *o, const char *value, int64_t from)
{
	struct gx_err e = {0};

	return l->ops->append(o, 0, GX_SLICE("key"), gx_slice_str(value), from,
			      &e);
}

/* Until nothing is under way or something is wrong. */
static enum gx_rc
settle(struct gx_out *o, struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + 20000;
	size_t n = 1;
	enum gx_rc rc = GX_OK;

	while (rc == GX_OK && n > 0 && gx_mono_ms() < until_ms) {
		rc = l->ops->poll_out(o, 50, &n, e);
	}
	assert_true(rc != GX_OK || n == 0);
	return rc;
}

static enum gx_rc
next(struct gx_in *in, struct gx_msg *m, struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + 20000;
	enum gx_rc rc;

	do {
		rc = l->ops->next(in, 50, m, e);
	} while (rc == GX_AGAIN && gx_mono_ms() < until_ms);
	return rc;
}

static void
expect(struct gx_in *in, int64_t offset, const char *value, int64_t from)
{
	struct gx_err e = {0};
	struct gx_msg m;

	assert_int_equal(next(in, &m, &e), GX_OK);
	assert_int_equal(m.offset, offset);
	assert_int_equal(m.from, from);
	assert_true(gx_slice_eq(m.value, gx_slice_str(value)));
	assert_true(gx_slice_eq(m.key, GX_SLICE("key")));
	l->ops->done(in, &m);
}

static void
test_round(void **state)
{
	struct gx_err e = {0};
	struct gx_out *o = out();
	struct gx_in *in;
	int64_t low = -1;
	int64_t high = -1;
	int32_t n = 0;

	(void)state;
	assert_int_equal(gx_kafka_ping(l, 3000, &e), GX_OK);
	assert_int_equal(l->ops->n_partitions(l, topic, &n, &e), GX_OK);
	assert_int_equal(n, 2);
	assert_int_equal(append(o, "one", -1), GX_OK);
	assert_int_equal(append(o, "two", 0), GX_OK);
	assert_int_equal(append(o, "three", 77), GX_OK);
	assert_int_equal(settle(o, &e), GX_OK);
	assert_int_equal(l->ops->range(l, topic, 0, &low, &high, &e), GX_OK);
	assert_int_equal(low, 0);
	assert_int_equal(high, 3);
	assert_int_equal(
		l->ops->append(o, 2, GX_SLICE("k"), GX_SLICE("v"), -1, &e),
		GX_FATAL);
	assert_string_equal(e.code, "log.partitions");
	l->ops->close_out(&o);
	assert_null(o);
	in = in_at(0);
	expect(in, 0, "one", -1);
	expect(in, 1, "two", 0);
	expect(in, 2, "three", 77);
	assert_int_equal(l->ops->seek(in, 0, 1, &e), GX_OK);
	expect(in, 1, "two", 0);
	l->ops->close_in(&in);
	assert_null(in);
}

/* A produce request is answered with err n times. */
static void
push(int16_t key, rd_kafka_resp_err_t err, size_t n)
{
	rd_kafka_resp_err_t list[8];

	for (size_t i = 0; i < n; i++) {
		list[i] = err;
	}
	rd_kafka_mock_push_request_errors_array(mock, key, n, list);
}

static void
produce_with(rd_kafka_resp_err_t err, size_t n_errors, enum gx_rc want,
	     const char *code)
{
	struct gx_err e = {0};
	struct gx_out *o = out();
	size_t n;

	assert_int_equal(append(o, "first", -1), GX_OK);
	assert_int_equal(settle(o, &e), GX_OK);
	push(PRODUCE, err, n_errors);
	assert_int_equal(append(o, "second", -1), GX_OK);
	assert_int_equal(settle(o, &e), want);
	if (code) {
		assert_string_equal(e.code, code);
		assert_int_equal(e.rc, want);
		/* And it stays so: nobody can go on by polling again. */
		assert_int_equal(l->ops->poll_out(o, 0, &n, &e), want);
	}
	l->ops->close_out(&o);
	rd_kafka_mock_clear_request_errors(mock, PRODUCE);
	/* A new one works. */
	o = out();
	assert_int_equal(append(o, "third", -1), GX_OK);
	assert_int_equal(settle(o, &e), GX_OK);
	l->ops->close_out(&o);
}

static void
test_produce_retriable(void **state)
{
	struct gx_in *in;

	(void)state;
	produce_with(RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 2, GX_OK,
		     NULL);
	in = in_at(0);
	expect(in, 0, "first", -1);
	expect(in, 1, "second", -1); /* once, in its place */
	expect(in, 2, "third", -1);
	l->ops->close_in(&in);
}

static void
test_produce_abortable(void **state)
{
	(void)state;
	produce_with(RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1,
		     GX_ABORT, "kafka.producer");
	produce_with(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1, GX_ABORT,
		     "kafka.producer");
	produce_with(RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, 1, GX_ABORT,
		     "kafka.producer");
}

static void
test_produce_broken(void **state)
{
	(void)state;
	produce_with(RD_KAFKA_RESP_ERR__TRANSPORT, 1, GX_ABORT, "kafka.broken");
}

static void
test_produce_fenced(void **state)
{
	(void)state;
	produce_with(RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, GX_FENCED,
		     "kafka.fenced");
}

static void
test_produce_fatal(void **state)
{
	(void)state;
	produce_with(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1, GX_FATAL,
		     "kafka.too_large");
	produce_with(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1, GX_FATAL,
		     "kafka.denied");
	produce_with(RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, 1, GX_FATAL,
		     "kafka.refused");
}

static void
test_fetch(void **state)
{
	struct gx_err e = {0};
	struct gx_msg m;
	struct gx_out *o = out();
	struct gx_in *in;

	(void)state;
	assert_int_equal(append(o, "one", -1), GX_OK);
	assert_int_equal(settle(o, &e), GX_OK);
	l->ops->close_out(&o);

	push(FETCH, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 2);
	in = in_at(0);
	expect(in, 0, "one", -1); /* an outage passes by itself */
	l->ops->close_in(&in);

	in = in_at(9); /* beyond the end */
	assert_int_equal(next(in, &m, &e), GX_ABORT);
	assert_string_equal(e.code, "log.out_of_range");
	assert_int_equal(m.place, 0);
	l->ops->close_in(&in);

	push(FETCH, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
	in = in_at(0);
	assert_int_equal(next(in, &m, &e), GX_FATAL);
	assert_string_equal(e.code, "kafka.denied");
	l->ops->close_in(&in);

	struct gx_place bad = {topic, 0, -2}; /* not "from the beginning" */
	assert_int_equal(l->ops->open_in(l, &bad, 1, &in, &e), GX_ABORT);
	assert_string_equal(e.code, "log.out_of_range");
}

static void
test_ask(void **state)
{
	struct gx_err e = {0};
	int64_t low;
	int64_t high;

	(void)state;
	push(LIST_OFFSETS, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 2);
	assert_int_equal(l->ops->range(l, topic, 0, &low, &high, &e), GX_FATAL);
	assert_string_equal(e.code, "kafka.denied");
	rd_kafka_mock_clear_request_errors(mock, LIST_OFFSETS);
	assert_int_equal(l->ops->range(l, topic, 0, &low, &high, &e), GX_OK);
	assert_int_equal(l->ops->range(l, topic, 7, &low, &high, &e), GX_FATAL);
	assert_string_equal(e.code, "log.no_topic");
}

static void
fill(int n)
{
	struct gx_err e = {0};
	struct gx_out *o = out();

	for (int i = 0; i < n; i++) {
		assert_int_equal(append(o, "value", -1), GX_OK);
	}
	assert_int_equal(settle(o, &e), GX_OK);
	l->ops->close_out(&o);
}

/* Messages that are lent when the handle closes are given back. */
static void
test_close_lent(void **state)
{
	struct gx_err e = {0};
	struct gx_msg m[3];
	struct gx_in *in;

	(void)state;
	fill(5);
	in = in_at(0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(next(in, &m[i], &e), GX_OK);
	}
	l->ops->done(in, &m[1]);
	l->ops->close_in(&in);
}

static void
forward_all(struct gx_in *in, struct gx_out *o, int n)
{
	struct gx_err e = {0};
	struct gx_msg m;

	for (int i = 0; i < n; i++) {
		assert_int_equal(next(in, &m, &e), GX_OK);
		assert_int_equal(
			l->ops->forward(o, 1, in, &m, 100 + m.offset, &e),
			GX_OK);
		assert_null(m.impl);
	}
}

static void
test_forward(void **state)
{
	struct gx_place at = {topic, 1, 0};
	struct gx_err e = {0};
	struct gx_msg m;
	struct gx_in *in;
	struct gx_out *o;

	(void)state;
	fill(5);
	in = in_at(0);
	o = out();
	forward_all(in, o, 5);
	/* The reader goes first; the writer still holds its messages. */
	l->ops->close_in(&in);
	assert_int_equal(settle(o, &e), GX_OK);
	l->ops->close_out(&o);
	assert_int_equal(l->ops->open_in(l, &at, 1, &in, &e), GX_OK);
	for (int i = 0; i < 5; i++) {
		expect(in, i, "value", 100 + i); /* header replaced */
	}
	assert_int_equal(l->ops->next(in, 0, &m, &e), GX_AGAIN);
	l->ops->close_in(&in);
}

/* Undelivered messages, the broker gone: closing drops them, in bounded time,
 * in either order. */
static void
test_close_undelivered(void **state)
{
	(void)state;
	for (int is_in_first = 0; is_in_first < 2; is_in_first++) {
		struct gx_in *in;
		struct gx_out *o;
		int64_t from_ms;

		rd_kafka_mock_broker_set_up(mock, 1);
		fill(5);
		in = in_at(0);
		o = out();
		for (size_t i = 0; i < 8; i++) {
			push(PRODUCE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 8);
		}
		forward_all(in, o, 5);
		rd_kafka_mock_broker_set_down(mock, 1);
		from_ms = gx_mono_ms();
		if (is_in_first) {
			l->ops->close_in(&in);
		}
		l->ops->close_out(&o);
		if (!is_in_first) {
			l->ops->close_in(&in);
		}
		assert_true(gx_mono_ms() - from_ms < 8000);
		rd_kafka_mock_clear_request_errors(mock, PRODUCE);
	}
}

/* The queue is bounded; full is GX_AGAIN and sets no error. */
static void
test_queue_full(void **state)
{
	static char big[1 << 20];
	struct gx_err e = {0};
	struct gx_out *o = out();
	int n = 0;

	(void)state;
	memset(big, 'x', sizeof big);
	rd_kafka_mock_broker_set_down(mock, 1);
	while (n < 64 &&
	       l->ops->append(o, 0, GX_SLICE("k"), gx_slice(big, sizeof big),
			      -1, &e) == GX_OK) {
		n++;
	}
	assert_in_range(n, 8, 17); /* 16 MiB */
	assert_null(e.code);
	assert_int_equal(l->ops->append(o, 0, GX_SLICE("k"),
					gx_slice(big, sizeof big), -1, &e),
			 GX_AGAIN);
	l->ops->close_out(&o);
}

/* A handle without answers is noticed by its silence, not by its errors. */
static int64_t shift_us;
static int64_t
shifted_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 + shift_us;
}

static void
test_stalled(void **state)
{
	struct gx_err e = {0};
	struct gx_msg m;
	struct gx_in *in;
	struct gx_out *o;
	size_t n;

	(void)state;
	fill(1);
	gx_clock_fake(NULL, shifted_us);
	in = in_at(0);
	expect(in, 0, "value", -1);
	assert_int_equal(l->ops->next(in, 0, &m, &e), GX_AGAIN);
	o = out();
	rd_kafka_mock_broker_set_rtt(mock, 1, 15000);
	assert_int_equal(append(o, "late", -1), GX_OK);
	shift_us = (GX_KAFKA_STALL_MS + 1000) * INT64_C(1000);
	assert_int_equal(l->ops->next(in, 0, &m, &e), GX_ABORT);
	assert_string_equal(e.code, "kafka.stalled");
	assert_int_equal(l->ops->poll_out(o, 0, &n, &e), GX_ABORT);
	assert_string_equal(e.code, "kafka.stalled");
	gx_clock_fake(NULL, NULL);
	shift_us = 0;
	l->ops->close_in(&in);
	l->ops->close_out(&o);
}

#define MOCK(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_default_is_fatal),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_away),
		MOCK(test_round),
		MOCK(test_produce_retriable),
		MOCK(test_produce_abortable),
		MOCK(test_produce_broken),
		MOCK(test_produce_fenced),
		MOCK(test_produce_fatal),
		MOCK(test_fetch),
		MOCK(test_ask),
		MOCK(test_close_lent),
		MOCK(test_forward),
		MOCK(test_close_undelivered),
		MOCK(test_queue_full),
		MOCK(test_stalled),
	};

	gx_log_setup(GX_LOG_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
