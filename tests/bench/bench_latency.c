/*
 * How long from a department's commit to the hub's row, under load.
 *
 *   bench_latency DEPARTMENT HUB RATE SECONDS
 *
 * DEPARTMENT and HUB are libpq connection strings of a running demo.  One
 * thread commits RATE single-row updates a second; the main thread updates one
 * row of its own every 50 ms and looks at the hub's row, over and over, until
 * it shows.  Prints "n p50_ms p90_ms p99_ms max_ms rate_reached".  Rows of the
 * first half of the keys carry the load, of the second half the probes; all
 * updates leave valid records.
 */
#include "base/clock.h"
#include "base/log.h"
#include "port/pg.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define PROBES_MAX 4000
#define KEYS_MAX 20000
#define GIVE_UP_MS 10000

struct load {
	const char *conninfo;
	const char *const *keys;
	size_t n_keys;
	int64_t interval_us;
	atomic_bool ends;
	atomic_long n_done;
	bool is_broken;
};

static void
nap_us(int64_t us)
{
	struct timespec ts = {.tv_sec = us / 1000000,
			      .tv_nsec = us % 1000000 * 1000};

	if (us > 0) {
		(void)nanosleep(&ts, NULL);
	}
}

static enum gx_rc
update_row(struct gx_pg *pg, const char *key, long value, struct gx_err *e)
{
	char text[24];
	const char *p[] = {key, text};

	snprintf(text, sizeof text, "%ld", value);
	return gx_pg_query(pg,
			   "UPDATE ac01 SET n_months = $2::int "
			   "WHERE aac001 = $1",
			   2, p, NULL, e);
}

static void *
run_load(void *arg)
{
	struct load *ld = arg;
	struct gx_pg *pg = NULL;
	struct gx_err e = {0};
	int64_t next_us = gx_mono_us();
	enum gx_rc rc = gx_pg_open(ld->conninfo, "bench load", false, &pg, &e);

	for (long i = 0; rc == GX_OK && !atomic_load(&ld->ends); i++) {
		rc = update_row(pg, ld->keys[(size_t)i % ld->n_keys], i % 720,
				&e);
		atomic_fetch_add(&ld->n_done, 1);
		next_us += ld->interval_us;
		nap_us(next_us - gx_mono_us());
	}
	ld->is_broken = rc != GX_OK;
	if (rc != GX_OK) {
		fprintf(stderr, "bench_latency: load: %s\n", e.text);
	}
	gx_pg_close(&pg);
	return NULL;
}

/* Milliseconds until the hub's row of key shows value; < 0 on trouble. */
static double
probe(struct gx_pg *department, struct gx_pg *hub, const char *key, long value)
{
	const struct gx_rows *rows;
	struct gx_err e = {0};
	const char *p[] = {key};
	int64_t at_us;

	if (update_row(department, key, value, &e) != GX_OK) {
		fprintf(stderr, "bench_latency: %s\n", e.text);
		return -1;
	}
	at_us = gx_mono_us();
	while (gx_mono_us() - at_us < GIVE_UP_MS * 1000) {
		if (gx_pg_query(hub,
				"SELECT n_months FROM social.insured "
				"WHERE aac001 = $1",
				1, p, &rows, &e) != GX_OK) {
			fprintf(stderr, "bench_latency: %s\n", e.text);
			return -1;
		}
		if (gx_rows_n(rows) == 1 && gx_rows_int(rows, 0, 0) == value) {
			return (double)(gx_mono_us() - at_us) / 1000;
		}
		nap_us(1000);
	}
	fprintf(stderr,
		"bench_latency: a change is not at the hub after "
		"%d ms\n",
		GIVE_UP_MS);
	return -1;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Keys of rows that are good at the hub, in order. */
static size_t
read_keys(struct gx_pg *hub, const char **keys, struct gx_arena *a)
{
	const struct gx_rows *rows;
	struct gx_err e = {0};
	size_t n = 0;

	if (gx_pg_query(hub,
			"SELECT aac001 FROM social.insured ORDER BY aac001 "
			"LIMIT 20000",
			0, NULL, &rows, &e) != GX_OK) {
		fprintf(stderr, "bench_latency: %s\n", e.text);
		return 0;
	}
	for (int i = 0; i < gx_rows_n(rows) && n < KEYS_MAX; i++) {
		struct gx_slice s = gx_rows_slice(rows, i, 0);

		keys[n++] = gx_arena_dup(a, s.p, s.n);
	}
	return n;
}

static int
measure(struct gx_pg *department, struct gx_pg *hub, struct load *ld,
	const char *const *probes, size_t n_probes, long seconds)
{
	static double ms[PROBES_MAX];
	int64_t until = gx_mono_ms() + seconds * 1000, began = gx_mono_ms();
	pthread_t thread;
	size_t n = 0;

	if (pthread_create(&thread, NULL, run_load, ld) != 0) {
		return 1;
	}
	while (gx_mono_ms() < until && n < PROBES_MAX) {
		ms[n] = probe(department, hub, probes[n % n_probes],
			      (long)(n / n_probes % 2 ? 1 : 719));
		if (ms[n] < 0) {
			break;
		}
		n++;
		nap_us(50000);
	}
	atomic_store(&ld->ends, true);
	pthread_join(thread, NULL);
	if (n == 0 || ld->is_broken || gx_mono_ms() < until) {
		return 1;
	}
	qsort(ms, n, sizeof ms[0], compare);
	printf("%zu %.1f %.1f %.1f %.1f %.0f\n", n, ms[n / 2], ms[n * 9 / 10],
	       ms[n * 99 / 100], ms[n - 1],
	       (double)atomic_load(&ld->n_done) * 1000 /
		       (double)(gx_mono_ms() - began));
	return 0;
}

int
main(int argc, char **argv)
{
	static const char *keys[KEYS_MAX];
	struct gx_arena *a = gx_arena_new(4u << 20);
	struct gx_pg *department = NULL, *hub = NULL;
	struct gx_err e = {0};
	struct load ld = {0};
	size_t n;
	int rc = 1;

	if (argc != 5 || strtol(argv[3], NULL, 10) <= 0) {
		fputs("bench_latency DEPARTMENT HUB RATE SECONDS\n", stderr);
		return 2;
	}
	gx_log_setup(GX_LOG_WARN, false);
	if (gx_pg_open(argv[1], "bench", false, &department, &e) != GX_OK ||
	    gx_pg_open(argv[2], "bench", false, &hub, &e) != GX_OK) {
		fprintf(stderr, "bench_latency: %s\n", e.text);
	} else if ((n = read_keys(hub, keys, a)) < 1000) {
		fputs("bench_latency: fewer than 1,000 rows at the hub\n",
		      stderr);
	} else {
		ld.conninfo = argv[1];
		ld.keys = keys;
		ld.n_keys = n / 2;
		ld.interval_us = 1000000 / strtol(argv[3], NULL, 10);
		rc = measure(department, hub, &ld, keys + n / 2, n / 2,
			     strtol(argv[4], NULL, 10));
	}
	gx_pg_close(&department);
	gx_pg_close(&hub);
	gx_arena_free(&a);
	return rc;
}
