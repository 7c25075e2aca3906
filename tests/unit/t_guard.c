/*
 * The mass-change guard's memory: what a batch carries of it, a later writer
 * goes on with, as old as it is by then and not older or younger.
 */
#include "base/clock.h"
#include "flow/writer_int.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MINUTE INT64_C(60000)

static int64_t wall_ms = 1000000000, mono_ms = 90 * MINUTE;

static int64_t
now(void)
{
	return wall_ms;
}

static int64_t
mono(void)
{
	return mono_ms * 1000;
}

static void
pass(int64_t ms)
{
	wall_ms += ms;
	mono_ms += ms;
}

static enum gx_rc
count_rows(struct gx_store *s, struct gx_slice stream, uint64_t *n_rows,
	   struct gx_err *e)
{
	(void)s;
	(void)stream;
	(void)e;
	*n_rows = 1000;
	return GX_OK;
}

static const struct gx_store_ops ops = {.count = count_rows};
static struct gx_store store = {.ops = &ops};

/* A writer's life: guard of 20 % in an hour, floor 100, over 1000 rows. */
struct life {
	struct gx_writer w;
	struct wstream ws;
	char text[GUARD_TEXT];
};

static struct life *
begin(const struct life *before)
{
	struct life *l = gx_mem_new(sizeof *l);

	l->w.conf.guard_percent = 20;
	l->w.conf.guard_window_ms = 60 * MINUTE;
	l->w.conf.guard_floor = 100;
	l->w.store = &store;
	l->w.streams = &l->ws;
	l->w.n_streams = 1;
	l->ws.n_rows = 1000;
	l->ws.conf.stream = "/n/o/a/r.r/0";
	snprintf(l->ws.chain.src, sizeof l->ws.chain.src,
		 "{\"source\":\"x:guard:[9,9,9,9]\"%s}",
		 before ? before->text : "");
	gx_writer_guard_load(&l->w, &l->ws);
	return l;
}

/* Changes that pass until the guard stops one, at most max. */
static int
passes(struct life *l, int max)
{
	struct gx_err e = {0};

	for (int i = 0; i < max; i++) {
		if (gx_writer_guard(&l->w, &l->ws, &e) != GX_OK) {
			assert_string_equal(e.code, "guard.mass_change");
			return i;
		}
	}
	return max;
}

static struct life *
again(struct life *l)
{
	struct life *next;

	gx_writer_guard_put(&l->w, &l->ws, l->text);
	next = begin(l);
	gx_mem_free(l);
	return next;
}

static void
counts_on(void **state)
{
	struct life *l = begin(NULL);

	(void)state;
	assert_int_equal(passes(l, 120), 120);
	pass(10 * MINUTE);
	l = again(l);
	assert_int_equal(passes(l, 60), 60);
	pass(10 * MINUTE);
	l = again(l);
	assert_int_equal(passes(l, 1000), 20);
	gx_mem_free(l);
}

static void
grows_old(void **state)
{
	struct life *l = begin(NULL);

	(void)state;
	assert_int_equal(passes(l, 120), 120);
	pass(30 * MINUTE);
	assert_int_equal(passes(l, 50), 50);
	l = again(l);
	pass(33 * MINUTE); /* the 120 have left the window, the 50 have not */
	l = again(l);
	assert_int_equal(passes(l, 1000), 150);
	pass(90 * MINUTE);
	l = again(l);
	gx_writer_guard_put(&l->w, &l->ws, l->text);
	assert_string_equal(l->text, "");
	assert_int_equal(passes(l, 1000), 200);
	gx_mem_free(l);
}

/* A clock put back, or another machine's, never makes counts older. */
static void
clock_back(void **state)
{
	struct life *l = begin(NULL);

	(void)state;
	assert_int_equal(passes(l, 150), 150);
	gx_writer_guard_put(&l->w, &l->ws, l->text);
	wall_ms -= 300 * MINUTE;
	l = again(l);
	assert_int_equal(passes(l, 1000), 50);
	wall_ms += 300 * MINUTE;
	gx_mem_free(l);
}

static void
another_window(void **state)
{
	struct life *l = begin(NULL);

	(void)state;
	assert_int_equal(passes(l, 100), 100);
	pass(20 * MINUTE);
	assert_int_equal(passes(l, 100), 100);
	gx_writer_guard_put(&l->w, &l->ws, l->text);
	snprintf(l->ws.chain.src, sizeof l->ws.chain.src, "{%s}", l->text);
	l->w.conf.guard_window_ms = 10 * MINUTE;
	gx_writer_guard_load(&l->w, &l->ws);
	assert_int_equal(passes(l, 1000), 100);
	gx_mem_free(l);
}

static void
accepted(void **state)
{
	struct life *l = begin(NULL);

	(void)state;
	assert_int_equal(passes(l, 1000), 200);
	gx_writer_guard_put(&l->w, &l->ws, l->text);
	snprintf(l->ws.chain.src, sizeof l->ws.chain.src, "{%s}", l->text);
	gx_writer_guard_accept(&l->w);
	gx_writer_guard_load(&l->w, &l->ws); /* an older batch says nothing */
	assert_int_equal(passes(l, 1000), 1000);
	pass(20 * MINUTE);
	l = again(l);
	assert_int_equal(passes(l, 1000), 1000);
	pass(41 * MINUTE);
	l = again(l);
	assert_int_equal(passes(l, 1000), 200);
	gx_mem_free(l);
}

/* What is malformed counts for nothing and harms nothing; the largest fits. */
static void
bounds(void **state)
{
	static const char *const bad[] = {
		"",
		",\"guard\":[",
		",\"guard\":[]",
		",\"guard\":[1,2]",
		",\"guard\":[x,0,1,500]",
		",\"guard\":[1,99999999999999999999,1,500]",
	};
	struct life *l = begin(NULL);

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct life *next;

		snprintf(l->text, sizeof l->text, "%s", bad[i]);
		next = begin(l);
		assert_int_equal(passes(next, 1000), 200);
		gx_mem_free(next);
	}
	memset(l->ws.buckets, 0x7f, sizeof l->ws.buckets);
	l->w.conf.guard_window_ms = 168 * 60 * MINUTE;
	l->w.guard_off_until_ms = mono_ms + l->w.conf.guard_window_ms;
	gx_writer_guard_put(&l->w, &l->ws, l->text);
	l->w.guard_off_until_ms = 0;
	snprintf(l->ws.chain.src, sizeof l->ws.chain.src, "{%s}", l->text);
	gx_writer_guard_load(&l->w, &l->ws);
	assert_true(l->w.guard_off_until_ms > mono_ms);
	gx_mem_free(l);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_on),  cmocka_unit_test(grows_old),
		cmocka_unit_test(clock_back), cmocka_unit_test(another_window),
		cmocka_unit_test(accepted),   cmocka_unit_test(bounds),
	};

	gx_clock_fake(now, mono);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
