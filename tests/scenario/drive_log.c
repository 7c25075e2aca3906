/*
 * Drives a Kafka log by hand, for scenarios: what the flows do, one step at a
 * time, with what comes out of it in plain lines.
 *
 *   drive_log BOOTSTRAP [-p NAME=VALUE]... COMMAND ARG...
 *     ping MS
 *     create TOPIC PARTITIONS
 *     count TOPIC
 *     range TOPIC PARTITION
 *     put TOPIC PARTITION N BYTES [FIRST]  messages of made-up text, settled
 *     stream TOPIC PARTITION N BYTES       the same, opening again on doubt
 *     get TOPIC PARTITION OFFSET N         digest of N messages read
 *     follow TOPIC PARTITION OFFSET N      one line per message, N of them
 *     copy TOPIC FROM-PARTITION TO-BOOTSTRAP N   forward N messages
 *     seek TOPIC PARTITION                 read 10, seek back to 3, read 10
 *     drop TOPIC PARTITION N BYTES         queue, then close at once
 *     lag TOPIC N                          append, wait for it to come, N times
 *
 * Errors: "error <rc> <code> <text>", exit 10 + rc.
 */
#include "base/clock.h"
#include "base/log.h"
#include "port/kafka.h"
#include "trust/sm.h"

#include "base/text.h"

#include <stdlib.h>
#include <sys/resource.h>

#define WAIT_MS 60000

static const char *props[33];

static int
fail(enum gx_rc rc, const struct gx_err *e)
{
	printf("error %s %s %s\n", gx_rc_name(rc), e->code ? e->code : "-",
	       e->text);
	return 10 + (int)rc;
}

static enum gx_rc
open_log(const char *bootstrap, struct gx_log **out, struct gx_err *e)
{
	struct gx_kafka_conf c = {
		.bootstrap = bootstrap, .client_id = "drive", .props = props};

	return gx_kafka_new(&c, out, e);
}

/* Message i: its number, then filler that depends on it. */
static void
make_value(struct gx_buf *b, long i, size_t n)
{
	gx_buf_reset(b);
	gx_buf_printf(b, "{\"i\":%ld}\n", i);
	while (b->n < n &&
	       gx_buf_putc(b, (char)('a' + (i + (long)b->n) % 26))) {
	}
}

static enum gx_rc
settle(struct gx_log *l, struct gx_out *o, size_t upto, struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + WAIT_MS;
	size_t n = upto + 1;
	enum gx_rc rc = GX_OK;

	while (n > upto && rc == GX_OK && gx_mono_ms() < until_ms) {
		rc = l->ops->poll_out(o, 10, &n, e);
	}
	if (rc == GX_OK && n > upto) {
		return GX_ERR(e, GX_AGAIN, "kafka.away", "not settled");
	}
	return rc;
}

static enum gx_rc
append(struct gx_log *l, struct gx_out *o, int32_t p, long i, struct gx_buf *b,
       struct gx_err *e)
{
	char key[32];
	enum gx_rc rc;

	snprintf(key, sizeof key, "k%ld", i);
	do {
		rc = l->ops->append(o, p, gx_slice_str(key), gx_buf_view(b), -1,
				    e);
		if (rc == GX_AGAIN) {
			size_t n;

			rc = l->ops->poll_out(o, 10, &n, e);
			rc = rc == GX_OK ? GX_AGAIN : rc;
		}
	} while (rc == GX_AGAIN);
	return rc;
}

static enum gx_rc
put(struct gx_log *l, char **a, long first, bool is_settled, struct gx_err *e)
{
	int32_t p = (int32_t)strtol(a[1], NULL, 10);
	long n = strtol(a[2], NULL, 10);
	size_t bytes = strtoul(a[3], NULL, 10);
	struct gx_out *o = NULL;
	struct gx_buf b;
	enum gx_rc rc = l->ops->open_out(l, a[0], &o, e);

	gx_buf_init(&b, 8u << 20);
	for (long i = first; i < first + n && rc == GX_OK; i++) {
		make_value(&b, i, bytes);
		rc = append(l, o, p, i, &b, e);
	}
	if (rc == GX_OK && is_settled) {
		rc = settle(l, o, 0, e);
	}
	l->ops->close_out(&o);
	gx_buf_free(&b);
	return rc;
}

/* What a writer does: after any doubt it looks how far the log is. */
static enum gx_rc
stream(struct gx_log *l, char **a, struct gx_err *e)
{
	long n = strtol(a[2], NULL, 10);
	int32_t p = (int32_t)strtol(a[1], NULL, 10);
	int64_t until_ms = gx_mono_ms() + WAIT_MS;
	long n_doubts = 0;
	enum gx_rc rc;

	for (;;) {
		int64_t low = 0;
		int64_t high = 0;
		char left[24];
		char *b[] = {a[0], a[1], left, a[3]};

		rc = l->ops->range(l, a[0], p, &low, &high, e);
		if (rc == GX_OK && high >= n) {
			break;
		}
		if (rc == GX_OK) {
			snprintf(left, sizeof left, "%ld", n - (long)high);
			rc = put(l, b, (long)high, true, e);
		}
		if (rc == GX_OK) {
			continue;
		}
		n_doubts++;
		fprintf(stderr, "doubt %s %s %s\n", gx_rc_name(rc), e->code,
			e->text);
		if ((rc != GX_ABORT && rc != GX_AGAIN) ||
		    gx_mono_ms() > until_ms) {
			return rc;
		}
	}
	printf("streamed %ld doubts %s\n", n, n_doubts ? "yes" : "no");
	return GX_OK;
}

static enum gx_rc
next(struct gx_log *l, struct gx_in *in, struct gx_msg *m, struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + WAIT_MS;
	enum gx_rc rc;

	do {
		rc = l->ops->next(in, 100, m, e);
	} while (rc == GX_AGAIN && gx_mono_ms() < until_ms);
	return rc;
}

static enum gx_rc
get(struct gx_log *l, char **a, bool is_told, struct gx_err *e)
{
	struct gx_place at = {a[0], (int32_t)strtol(a[1], NULL, 10),
			      strtoll(a[2], NULL, 10)};
	long n = strtol(a[3], NULL, 10);
	unsigned char sum[GX_SM3];
	char hex[2 * GX_SM3 + 1];
	struct gx_in *in = NULL;
	struct gx_msg m;
	struct gx_buf b;
	struct rusage ru;
	int64_t from_us = gx_mono_us();
	enum gx_rc rc = l->ops->open_in(l, &at, 1, &in, e);

	gx_buf_init(&b, 256u << 20);
	for (long i = 0; i < n && rc == GX_OK; i++) {
		rc = next(l, in, &m, e);
		if (rc == GX_ABORT) {
			printf("place %zu\n", m.place);
		}
		if (rc != GX_OK) {
			break;
		}
		gx_sm3(m.value.p, m.value.n, sum);
		gx_hex(sum, 6, hex);
		gx_buf_printf(&b, "%.*s %s\n", (int)m.key.n, m.key.p, hex);
		if (is_told) {
			printf("%lld %.*s from=%lld n=%zu\n",
			       (long long)m.offset, (int)m.key.n, m.key.p,
			       (long long)m.from, m.value.n);
			(void)fflush(stdout);
		}
		l->ops->done(in, &m);
	}
	if (rc == GX_OK && !is_told) {
		gx_sm3(b.p ? b.p : "", b.n, sum);
		gx_hex(sum, sizeof sum, hex);
		getrusage(RUSAGE_SELF, &ru);
		printf("digest %s\n", hex);
		fprintf(stderr, "took_ms=%lld rss_kb=%ld\n",
			(long long)(gx_mono_us() - from_us) / 1000,
			ru.ru_maxrss);
	}
	l->ops->close_in(&in);
	gx_buf_free(&b);
	return rc;
}

static enum gx_rc
copy(struct gx_log *l, char **a, struct gx_err *e)
{
	struct gx_place at = {a[0], (int32_t)strtol(a[1], NULL, 10), 0};
	long n = strtol(a[3], NULL, 10);
	struct gx_log *to = NULL;
	struct gx_in *in = NULL;
	struct gx_out *o = NULL;
	struct gx_msg m;
	int64_t from_us = gx_mono_us();
	struct rusage ru;
	enum gx_rc rc = open_log(a[2], &to, e);

	if (rc == GX_OK) {
		rc = to->ops->open_out(to, a[0], &o, e);
	}
	if (rc == GX_OK) {
		rc = l->ops->open_in(l, &at, 1, &in, e);
	}
	for (long i = 0; i < n && rc == GX_OK; i++) {
		size_t k;

		rc = next(l, in, &m, e);
		while (rc == GX_OK) {
			rc = to->ops->forward(o, at.partition, in, &m, m.offset,
					      e);
			if (rc != GX_AGAIN) {
				break;
			}
			rc = to->ops->poll_out(o, 10, &k, e);
		}
		if (rc == GX_OK) {
			rc = to->ops->poll_out(o, 0, &k, e);
		}
		/* As a link: a bounded number under way. */
		if (rc == GX_OK && k >= 64) {
			rc = settle(to, o, 63, e);
		}
	}
	if (rc == GX_OK && !getenv("DRIVE_CLOSE_EARLY")) {
		rc = settle(to, o, 0, e);
	}
	if (getenv("DRIVE_IN_FIRST") && in) {
		l->ops->close_in(&in);
	}
	if (o) {
		to->ops->close_out(&o);
	}
	if (in) {
		l->ops->close_in(&in);
	}
	gx_kafka_free(&to);
	getrusage(RUSAGE_SELF, &ru);
	if (rc == GX_OK) {
		printf("copied %ld\n", n);
		fprintf(stderr, "took_ms=%lld rss_kb=%ld cpu_us=%lld\n",
			(long long)(gx_mono_us() - from_us) / 1000,
			ru.ru_maxrss, (long long)gx_cpu_us());
	}
	return rc;
}

static enum gx_rc
seek(struct gx_log *l, char **a, struct gx_err *e)
{
	int32_t p = (int32_t)strtol(a[1], NULL, 10);
	struct gx_place at[2] = {{a[0], p, 0}, {a[0], p + 1, 0}};
	struct gx_in *in = NULL;
	struct gx_msg m;
	long n_other = 0;
	enum gx_rc rc = l->ops->open_in(l, at, 2, &in, e);

	for (int i = 0; i < 20 && rc == GX_OK;) {
		rc = next(l, in, &m, e);
		if (rc != GX_OK) {
			break;
		}
		if (m.place == 0) {
			printf("%lld\n", (long long)m.offset);
			i++;
		} else {
			/* The other place goes on without a break. */
			if (m.offset != n_other++) {
				printf("other place: %lld\n",
				       (long long)m.offset);
			}
		}
		l->ops->done(in, &m);
		if (m.place == 0 && i == 10) {
			rc = l->ops->seek(in, 0, 3, e);
		}
	}
	if (in) {
		l->ops->close_in(&in);
	}
	return rc;
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a;
	int64_t y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static enum gx_rc
lag(struct gx_log *l, char **a, struct gx_err *e)
{
	struct gx_place at = {a[0], 0, 0};
	static int64_t us[1000];
	long n = strtol(a[1], NULL, 10);
	struct gx_out *o = NULL;
	struct gx_in *in = NULL;
	int64_t low;
	struct gx_msg m;
	size_t k;
	enum gx_rc rc = l->ops->range(l, a[0], 0, &low, &at.offset, e);

	n = n > 1000 ? 1000 : n;
	if (rc == GX_OK) {
		rc = l->ops->open_out(l, a[0], &o, e);
	}
	if (rc == GX_OK) {
		rc = l->ops->open_in(l, &at, 1, &in, e);
	}
	for (long i = 0; i < n && rc == GX_OK; i++) {
		us[i] = gx_mono_us();
		rc = l->ops->append(o, 0, GX_SLICE("k"), GX_SLICE("value"), -1,
				    e);
		if (rc == GX_OK) {
			rc = next(l, in, &m, e);
		}
		if (rc == GX_OK) {
			us[i] = gx_mono_us() - us[i];
			l->ops->done(in, &m);
			rc = l->ops->poll_out(o, 0, &k, e);
		}
	}
	if (rc == GX_OK && n > 0) {
		printf("first_us=%lld ", (long long)us[0]);
		qsort(us, (size_t)n, sizeof *us, compare);
		printf("p50_us=%lld p99_us=%lld\n", (long long)us[n / 2],
		       (long long)us[n * 99 / 100]);
	}
	if (o) {
		l->ops->close_out(&o);
	}
	if (in) {
		l->ops->close_in(&in);
	}
	return rc;
}

static enum gx_rc
create(struct gx_log *l, char **a, struct gx_err *e)
{
	static const char *const p[] = {"retention.ms", "-1",
					"max.message.bytes", "4194304", NULL};

	return gx_kafka_create_topic(l, a[0], (int32_t)strtol(a[1], NULL, 10),
				     1, p, e);
}

static enum gx_rc
run(struct gx_log *l, int n, char **a, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;
	int64_t low = 0;
	int64_t high = 0;
	int32_t parts = 0;

	if (n == 2 && strcmp(a[0], "ping") == 0) {
		rc = gx_kafka_ping(l, (int)strtol(a[1], NULL, 10), e);
		puts(rc == GX_OK ? "pong" : "");
	} else if (n == 3 && strcmp(a[0], "create") == 0) {
		rc = create(l, a + 1, e);
	} else if (n == 2 && strcmp(a[0], "count") == 0) {
		rc = l->ops->n_partitions(l, a[1], &parts, e);
		printf("count %d\n", parts);
	} else if (n == 3 && strcmp(a[0], "range") == 0) {
		rc = l->ops->range(l, a[1], (int32_t)strtol(a[2], NULL, 10),
				   &low, &high, e);
		printf("range %lld %lld\n", (long long)low, (long long)high);
	} else if (n >= 5 && strcmp(a[0], "put") == 0) {
		rc = put(l, a + 1, n > 5 ? strtol(a[5], NULL, 10) : 0, true, e);
	} else if (n == 5 && strcmp(a[0], "drop") == 0) {
		rc = put(l, a + 1, 0, false, e);
	} else if (n == 5 && strcmp(a[0], "stream") == 0) {
		rc = stream(l, a + 1, e);
	} else if (n == 5 && strcmp(a[0], "get") == 0) {
		rc = get(l, a + 1, false, e);
	} else if (n == 5 && strcmp(a[0], "follow") == 0) {
		rc = get(l, a + 1, true, e);
	} else if (n == 5 && strcmp(a[0], "copy") == 0) {
		rc = copy(l, a + 1, e);
	} else if (n == 3 && strcmp(a[0], "seek") == 0) {
		rc = seek(l, a + 1, e);
	} else if (n == 3 && strcmp(a[0], "lag") == 0) {
		rc = lag(l, a + 1, e);
	} else {
		fprintf(stderr, "drive_log: see the top of its source\n");
		exit(2);
	}
	return rc;
}

int
main(int argc, char **argv)
{
	struct gx_err e = {0};
	struct gx_log *l = NULL;
	size_t n_props = 0;
	int at = 2;
	enum gx_rc rc;

	gx_log_setup(GX_LOG_INFO, false);
	while (at + 1 < argc && strcmp(argv[at], "-p") == 0 && n_props < 32) {
		char *eq = strchr(argv[at + 1], '=');

		if (!eq) {
			return 2;
		}
		*eq = '\0';
		props[n_props++] = argv[at + 1];
		props[n_props++] = eq + 1;
		at += 2;
	}
	if (at >= argc) {
		return 2;
	}
	rc = open_log(argv[1], &l, &e);
	if (rc == GX_OK) {
		rc = run(l, argc - at, argv + at, &e);
	}
	gx_kafka_free(&l);
	return rc == GX_OK ? 0 : fail(rc, &e);
}
