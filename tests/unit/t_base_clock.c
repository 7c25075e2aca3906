/*
 * Time: the calendar against the C library's, the forms of RFC 3339 that are
 * taken and refused, and clocks that a test puts in.
 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* One time in each of 3,000 spans over all years that can be shown. */
static void
calendar_agrees(void **state)
{
	(void)state;

	for (int64_t ms = -62167248000000; ms < 253402271999999;
	     ms += 105172345678) {
		char text[GX_TIME_LEN + 1], want[64];
		int64_t s = ms / 1000 - (ms % 1000 < 0);
		time_t east = (time_t)(s + 8 * 3600);
		struct tm tm;
		gmtime_r(&east, &tm);
		snprintf(want, sizeof(want),
			 "%04d-%02d-%02dT%02d:%02d:%02d.%03d+08:00",
			 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
			 tm.tm_hour, tm.tm_min, tm.tm_sec,
			 (int)(ms - s * 1000));
		gx_time_format(ms, text);
		assert_string_equal(text, want);
		int64_t back;
		assert_true(gx_time_parse(text, strlen(text), &back));
		assert_true(back == ms);
	}
}

static void
forms_taken(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"1970-01-01T08:00:00+08:00", 0},
		{"1969-12-31T23:59:59.999Z", -1},
		{"1970-01-01t00:00:00z", 0},
		{"2026-11-24T17:00:00.123+08:00", 1795510800123},
		{"2026-11-24T09:00:00.1239Z", 1795510800123},
		{"2026-11-24T04:00:00.1-05:00", 1795510800100},
		{"2024-02-29T00:00:00Z", 1709164800000},
		{"2000-02-29T00:00:00Z", 951782400000},
		{"2016-12-31T23:59:60Z", 1483228800000},
	};

	for (size_t i = 0; i < N(rows); i++) {
		int64_t ms;
		if (!gx_time_parse(rows[i].text, strlen(rows[i].text), &ms) ||
		    ms != rows[i].ms) {
			fail_msg("%s", rows[i].text);
		}
	}
}

static void
forms_refused(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"",
		"2026-11-24",
		"2026-11-24T17:00:00",
		"2026-11-24 17:00:00Z",
		"2026-11-24T17:00Z",
		"2026-11-24T17:00:00.Z",
		"2026-11-24T17:00:00,1Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-11-24T24:00:00Z",
		"2026-11-24T00:60:00Z",
		"2026-11-24T00:00:61Z",
		"2026-11-24T00:00:00+24:00",
		"2026-11-24T00:00:00+08:60",
		"2026-11-24T00:00:00+0800",
		"2026-11-24T00:00:00+08:00 ",
		" 2026-11-24T00:00:00Z",
		"26-11-24T00:00:00Z",
		"2026-1-24T00:00:00Z",
	};

	for (size_t i = 0; i < N(rows); i++) {
		int64_t ms;
		if (gx_time_parse(rows[i], strlen(rows[i]), &ms)) {
			fail_msg("took %s", rows[i]);
		}
	}
	/* The length counts, not a NUL. */
	int64_t ms;
	assert_false(gx_time_parse("1970-01-01T00:00:00Z", 19, &ms));
}

static void
far_times_are_held(void **state)
{
	(void)state;
	char text[GX_TIME_LEN + 1];

	gx_time_format(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999+08:00");
	gx_time_format(INT64_MIN, text);
	assert_string_equal(text, "0000-01-01T00:00:00.000+08:00");
}

static int64_t
always_42(void)
{
	return 42000;
}

static void
clocks(void **state)
{
	(void)state;

	assert_true(gx_now_ms() > 1700000000000);
	int64_t a = gx_mono_us();
	assert_true(gx_mono_us() >= a);
	assert_true(gx_cpu_us() > 0);
	gx_clock_fake(always_42, always_42);
	assert_int_equal(gx_now_ms(), 42000);
	assert_int_equal(gx_mono_us(), 42000);
	assert_int_equal(gx_mono_ms(), 42);
	gx_clock_fake(NULL, NULL);
	assert_true(gx_now_ms() > 1700000000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calendar_agrees),
		cmocka_unit_test(forms_taken),
		cmocka_unit_test(forms_refused),
		cmocka_unit_test(far_times_are_held),
		cmocka_unit_test(clocks),
	};

	return cmocka_run_group_tests_name("base_clock", tests, NULL, NULL);
}
