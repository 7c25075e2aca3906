/*
 * Metrics: adding from threads loses nothing, the page is what Prometheus'
 * own promtool takes (where it is installed), labels are escaped.
 */
#include "base/metric.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 50000 };

static struct gx_series *
series(enum gx_metric_id id, const char *a, const char *b)
{
	const char *values[] = {a, b, NULL};

	return gx_metric(id, values);
}

static void *
count(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		gx_metric_add(series(GX_M_BATCHES, "t", "take"), 1);
	}
	return arg;
}

static void
threads_lose_nothing(void **state)
{
	(void)state;
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_create(&t[i], NULL, count, NULL), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
	}
	double v = gx_metric_get(series(GX_M_BATCHES, "t", "take"));
	assert_int_equal((int)v, THREADS * ROUNDS);
}

static void
same_labels_same_series(void **state)
{
	(void)state;

	assert_ptr_equal(series(GX_M_BATCHES, "a", "b"),
			 series(GX_M_BATCHES, "a", "b"));
	assert_ptr_not_equal(series(GX_M_BATCHES, "a", "b"),
			     series(GX_M_BATCHES, "b", "a"));
	assert_ptr_equal(gx_metric(GX_M_LOG_ERRORS, NULL),
			 gx_metric(GX_M_LOG_ERRORS, NULL));
}

static const char *
page(struct gx_buf *b)
{
	gx_buf_reset(b);
	gx_metric_print(b);
	assert_false(b->failed);
	return gx_buf_str(b);
}

static void
has(struct gx_buf *b, const char *line)
{
	if (!strstr(page(b), line)) {
		fail_msg("no %s in\n%s", line, b->p);
	}
}

static void
prints(void **state)
{
	(void)state;
	struct gx_buf b;

	gx_buf_init(&b, (size_t)1 << 20);
	has(&b, "\ngxbus_log_errors_total 0\n");
	assert_null(strstr(page(&b), "gxbus_takeovers_total"));
	gx_metric_add(series(GX_M_TAKEOVERS, "q\"b\\n\n", NULL), 3);
	has(&b, "# HELP gxbus_takeovers_total ");
	has(&b, "\n# TYPE gxbus_takeovers_total counter\n"
		"gxbus_takeovers_total{flow=\"q\\\"b\\\\n\\n\"} 3\n");
	gx_metric_set(series(GX_M_FLOW_STATE, "up", NULL), 0.25);
	has(&b, "\ngxbus_flow_state{flow=\"up\"} 0.25\n");
	gx_metric_set(series(GX_M_FLOW_STATE, "up", NULL), 4);
	has(&b, "\ngxbus_flow_state{flow=\"up\"} 4\n");
	struct gx_series *h = series(GX_M_END_TO_END, "up", NULL);
	static const double seen[] = {-1, 0.005, 0.006, 3, 1e6};
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
		gx_metric_observe(h, seen[i]);
	}
	has(&b, "_seconds_bucket{flow=\"up\",le=\"0.005\"} 2\n");
	has(&b, "_seconds_bucket{flow=\"up\",le=\"0.01\"} 3\n");
	has(&b, "_seconds_bucket{flow=\"up\",le=\"2.5\"} 3\n");
	has(&b, "_seconds_bucket{flow=\"up\",le=\"5\"} 4\n");
	has(&b, "_seconds_bucket{flow=\"up\",le=\"600\"} 4\n");
	has(&b, "_seconds_bucket{flow=\"up\",le=\"+Inf\"} 5\n");
	has(&b, "_seconds_count{flow=\"up\"} 5\n");
	has(&b, "_seconds_sum{flow=\"up\"} 1000003.01\n");
	gx_buf_free(&b);
}

/* Exit code of promtool; 127 if it is not installed. */
static int
ask_promtool(const char *text)
{
	FILE *p = popen("promtool check metrics 2>/dev/null", "w");

	assert_non_null(p);
	fputs(text, p);
	return WEXITSTATUS(pclose(p));
}

/* Every metric of the table at once, and a page that must be refused. */
static void
promtool_takes_it(void **state)
{
	(void)state;
	struct gx_buf b;

	if (ask_promtool("") == 127) {
		skip();
	}
	for (size_t i = 0; i < GX_M_COUNT; i++) {
		const char *values[] = {"x", "x", "x", "x", NULL};
		gx_metric((enum gx_metric_id)i, values);
	}
	gx_buf_init(&b, (size_t)1 << 20);
	assert_int_equal(ask_promtool(page(&b)), 0);
	/* It does look: one line that is none. */
	gx_buf_puts(&b, "gxbus_flow_state{flow=up} 4\n");
	assert_int_not_equal(ask_promtool(gx_buf_str(&b)), 0);
	gx_buf_free(&b);
}

static void
table(void **state)
{
	(void)state;

	for (size_t i = 0; i < GX_M_COUNT; i++) {
		const struct gx_metric_def *d = gx_metric_at(i);
		assert_memory_equal(d->name, "gxbus_", 6);
		bool counter = strcmp(d->type, "counter") == 0;
		size_t n = strlen(d->name);
		bool total = strcmp(d->name + n - 6, "_total") == 0;
		if (counter != total) {
			fail_msg("%s", d->name);
		}
		assert_true(strlen(d->help) > 5);
	}
	assert_null(gx_metric_at(GX_M_COUNT));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_lose_nothing),
		cmocka_unit_test(same_labels_same_series),
		cmocka_unit_test(prints),
		cmocka_unit_test(promtool_takes_it),
		cmocka_unit_test(table),
	};

	return cmocka_run_group_tests_name("base_metric", tests, NULL, NULL);
}
