/*
 * The audit log's format: one form of a line, and a chain in which every edit,
 * removal, swap and repetition by somebody inside is found at the first line
 * that is wrong.
 */
#include "base/text.h"
#include "trust/audit.h"
#include "trust/sm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define LINES 12

static struct gx_buf line[LINES];

static void
make(void)
{
	struct gx_audit a = {.node = "450000",
			     .at = "2026-11-24T17:00:00.000+08:00",
			     .role = "operator",
			     .outcome = "done",
			     .why = "白天 \"维护\""};

	memset(a.prev, '0', 64);
	for (size_t i = 0; i < LINES; i++) {
		char who[32];

		snprintf(who, sizeof who, "person-%zu", i);
		gx_buf_init(&line[i], 2 * GX_AUDIT_LINE);
		a.n = i + 1;
		a.who = who;
		a.act = i % 2 ? "flow.pause" : "token.create";
		a.on = "sink";
		assert_true(gx_audit_put(&a, &line[i]));
		memcpy(a.prev, a.hash, sizeof a.prev);
	}
}

static void
drop(void)
{
	for (size_t i = 0; i < LINES; i++) {
		gx_buf_free(&line[i]);
	}
}

/* Read the lines in this order; the place of the first fault, n if none. */
static size_t
read_all(const struct gx_slice *lines, size_t n)
{
	struct gx_arena *arena = gx_arena_new(1u << 20);
	struct gx_audit_chain c = {.n = 0};
	size_t i = 0;

	for (; i < n; i++) {
		struct gx_audit a;

		if (gx_audit_parse(lines[i], arena, &a) ||
		    gx_audit_follow(&c, &a)) {
			break;
		}
	}
	gx_arena_free(&arena);
	return i;
}

static void
take_views(struct gx_slice *out)
{
	for (size_t i = 0; i < LINES; i++) {
		out[i] = gx_buf_view(&line[i]);
	}
}

static void
a_whole_chain_is_good(void **state)
{
	struct gx_slice v[LINES];

	(void)state;
	make();
	take_views(v);
	assert_int_equal(read_all(v, LINES), LINES);
	/* and each part of it */
	assert_int_equal(read_all(v + 3, LINES - 3), LINES - 3);
	drop();
}

static void
each_removal_swap_and_repetition_is_found(void **state)
{
	struct gx_slice v[LINES + 1];

	(void)state;
	make();
	for (size_t i = 1; i + 1 < LINES; i++) {
		take_views(v);
		memmove(v + i, v + i + 1, (LINES - i - 1) * sizeof *v);
		assert_int_equal(read_all(v, LINES - 1), i);
		take_views(v);
		v[i] = v[i + 1];
		v[i + 1] = gx_buf_view(&line[i]);
		assert_int_equal(read_all(v, LINES), i);
		take_views(v);
		memmove(v + i + 1, v + i, (LINES - i) * sizeof *v);
		assert_int_equal(read_all(v, LINES + 1), i + 1);
	}
	drop();
}

/* Any byte of any line, changed in each of its bits. */
static void
each_changed_bit_is_found(void **state)
{
	struct gx_slice v[LINES];
	size_t n_tried = 0;

	(void)state;
	make();
	take_views(v);
	for (size_t i = 0; i < LINES; i += 5) {
		for (size_t k = 0; k < line[i].n * 8; k++) {
			line[i].p[k / 8] ^= (char)(1 << k % 8);
			assert_int_equal(read_all(v, LINES), i);
			line[i].p[k / 8] ^= (char)(1 << k % 8);
			n_tried++;
		}
	}
	assert_true(n_tried > 8000);
	assert_int_equal(read_all(v, LINES), LINES);
	drop();
}

/* Somebody who edits a line and makes its hash anew is found one line on. */
static void
a_line_made_anew_is_found_by_the_next(void **state)
{
	struct gx_arena *arena = gx_arena_new(1u << 20);
	struct gx_slice v[LINES];
	struct gx_audit a;
	struct gx_buf other;

	(void)state;
	make();
	take_views(v);
	gx_buf_init(&other, 2 * GX_AUDIT_LINE);
	assert_null(gx_audit_parse(v[4], arena, &a));
	a.who = "nobody";
	assert_true(gx_audit_put(&a, &other));
	v[4] = gx_buf_view(&other);
	assert_int_equal(read_all(v, LINES), 5);
	gx_buf_free(&other);
	gx_arena_free(&arena);
	drop();
}

/* The same text in another form is no line: other readers, other meaning. */
static void
there_is_one_form_of_a_line(void **state)
{
	static const struct {
		const char *from, *to;
	} other[] = {
		{",\"n\":1,", ", \"n\":1,"},
		{",\"n\":1,", ",\"n\":1.0,"},
		{",\"who\":", ",\"extra\":1,\"who\":"},
		{"\"act\":\"token", "\"act\":\"\\u0074oken"},
		{"}", "} "},
		{"}", "}\n"},
	};
	struct gx_arena *arena = gx_arena_new(1u << 20);

	(void)state;
	make();
	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
		const char *text = gx_buf_str(&line[0]);
		const char *at = strstr(text, other[i].from);
		struct gx_audit a;
		struct gx_buf b;

		assert_non_null(at);
		gx_buf_init(&b, 2 * GX_AUDIT_LINE);
		assert_true(gx_buf_put(&b, text, (size_t)(at - text)) &&
			    gx_buf_puts(&b, other[i].to) &&
			    gx_buf_puts(&b, at + strlen(other[i].from)));
		assert_non_null(gx_audit_parse(gx_buf_view(&b), arena, &a));
		gx_buf_free(&b);
	}
	gx_arena_free(&arena);
	drop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_chain_is_good),
		cmocka_unit_test(each_removal_swap_and_repetition_is_found),
		cmocka_unit_test(each_changed_bit_is_found),
		cmocka_unit_test(a_line_made_anew_is_found_by_the_next),
		cmocka_unit_test(there_is_one_form_of_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
