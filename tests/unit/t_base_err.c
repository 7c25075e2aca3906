/*
 * Errors and their table: what is set stays, notes are added and cut between
 * characters, numbers and codes find each other, and no two rows are alike.
 */
#include "base/err.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
sets_and_returns(void **state)
{
	(void)state;
	struct gx_err e = {0};

	assert_int_equal(GX_ERR(&e, GX_REJECT, "link.gap", "at %d", 7),
			 GX_REJECT);
	assert_int_equal(e.rc, GX_REJECT);
	assert_string_equal(e.code, "link.gap");
	assert_string_equal(e.text, "at 7");
	assert_true(e.line > 0);
	assert_non_null(strstr(e.file, "t_base_err.c"));
	/* No place to put it: the word still comes back. */
	assert_int_equal(GX_ERR(NULL, GX_FENCED, "link.gap", "x"), GX_FENCED);
	gx_err_note(NULL, "x");
}

static void
notes_are_added(void **state)
{
	(void)state;
	struct gx_err e = {0};

	GX_ERR(&e, GX_ABORT, "pg.away", "no answer");
	gx_err_note(&e, "flow %s", "up");
	gx_err_note(&e, "batch %d", 3);
	assert_string_equal(e.text, "no answer (flow up) (batch 3)");
	assert_string_equal(e.code, "pg.away");
	assert_int_equal(e.rc, GX_ABORT);
}

/* Fill to every length near the end: never half a character, always NUL. */
static void
cuts_between_characters(void **state)
{
	(void)state;

	for (int pad = 0; pad < 8; pad++) {
		struct gx_err e = {0};
		char text[600];
		memset(text, 'a', sizeof(text));
		for (size_t i = (size_t)pad; i + 4 < sizeof(text); i += 3) {
			memcpy(text + i, "\xe5\x8d\x97", 3);
		}
		text[sizeof(text) - 1] = '\0';
		GX_ERR(&e, GX_REJECT, "json.syntax", "%s", text);
		size_t n = strlen(e.text);
		assert_in_range(n, sizeof(e.text) - 4, sizeof(e.text) - 1);
		assert_int_equal(gx_utf8_check(e.text, n), n);
		gx_err_note(&e, "more");
		assert_true(strlen(e.text) < sizeof(e.text));
		e.text[sizeof(e.text) - 8 - (size_t)pad] = '\0';
		gx_err_note(&e, "%s", text);
		n = strlen(e.text);
		assert_true(n < sizeof(e.text));
		assert_int_equal(e.text[n - 1], ')');
	}
}

static void
finds_rows(void **state)
{
	(void)state;
	const struct gx_error_def *d = gx_error_find("link.gap");

	assert_non_null(d);
	char number[16];
	snprintf(number, sizeof(number), "GX%d", d->number);
	assert_ptr_equal(gx_error_find(number), d);
	assert_ptr_equal(gx_error_find(number + 2), d);
	assert_int_equal(gx_error_number("link.gap"), d->number);
	assert_int_equal(gx_error_number("no.such"), 1000);
	assert_int_equal(gx_error_number(NULL), 1000);
	static const char *const unknown[] = {"",	 "GX",	  "GX0000",
					      "GX99999", "40011", "link",
					      "gx 4001", "-4001"};
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		assert_null(gx_error_find(unknown[i]));
	}
	assert_null(gx_error_find(NULL));
}

static void
rows_are_whole_and_unique(void **state)
{
	(void)state;
	const struct gx_error_def *a, *b;

	for (size_t i = 0; (a = gx_error_at(i)); i++) {
		assert_in_range(a->number, 1000, 7999);
		assert_true(strlen(a->text) > 5);
		assert_true(strlen(a->cause) > 5);
		assert_true(strlen(a->remedy) > 5);
		for (size_t k = i + 1; (b = gx_error_at(k)); k++) {
			if (a->number == b->number ||
			    strcmp(a->code, b->code) == 0) {
				fail_msg("rows %s and %s", a->code, b->code);
			}
		}
	}
	assert_null(gx_error_at(100000));
}

static void
names_codes(void **state)
{
	(void)state;

	assert_string_equal(gx_rc_name(GX_OK), "ok");
	assert_string_equal(gx_rc_name(GX_AGAIN), "again");
	assert_string_equal(gx_rc_name(GX_ABORT), "abort");
	assert_string_equal(gx_rc_name(GX_REJECT), "reject");
	assert_string_equal(gx_rc_name(GX_FENCED), "fenced");
	assert_string_equal(gx_rc_name(GX_FATAL), "fatal");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets_and_returns),
		cmocka_unit_test(notes_are_added),
		cmocka_unit_test(cuts_between_characters),
		cmocka_unit_test(finds_rows),
		cmocka_unit_test(rows_are_whole_and_unique),
		cmocka_unit_test(names_codes),
	};

	return cmocka_run_group_tests_name("base_err", tests, NULL, NULL);
}
