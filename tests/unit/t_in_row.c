/*
 * The row adapter over its ABI alone: each conversion with what departments
 * write, and the rule that what is not understood goes on as it is.
 */
#include "adapters/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ITEM 7

struct fake {
	struct gx_abi_host abi;
	void *lent[8];
	size_t n_lent;
	int n_emitted;
	enum gx_abi_type type;
	char value[512];
	const char *why;
};

static void *
lend(void *ctx, size_t n_bytes)
{
	struct fake *f = ctx;

	f->lent[f->n_lent] = calloc(1, n_bytes);
	return f->lent[f->n_lent++];
}

static void
emit(void *ctx, size_t item, enum gx_abi_type type, struct gx_abi_text value)
{
	struct fake *f = ctx;

	assert_int_equal(item, ITEM);
	assert_true(value.n < sizeof(f->value));
	f->n_emitted++;
	f->type = type;
	memcpy(f->value, value.p, value.n);
	f->value[value.n] = '\0';
}

static void
reject(void *ctx, size_t item, const char *keyword, const char *message)
{
	(void)item;
	(void)keyword;
	((struct fake *)ctx)->why = message;
}

static void
take_log(void *ctx, const char *text)
{
	((struct fake *)ctx)->why = text;
}

static enum gx_abi_rc
open_one(struct fake *f, const struct gx_abi_map *map, void **row)
{
	struct gx_abi_setup setup = {sizeof(setup), map, 1, 1};

	memset(f, 0, sizeof(*f));
	f->abi = (struct gx_abi_host){sizeof(f->abi), f,      lend,
				      emit,	      reject, take_log};
	return gx_in_row_adapter.open(&f->abi, &setup, row);
}

static void
close_one(struct fake *f, void *row)
{
	gx_in_row_adapter.close(row);
	for (size_t i = 0; i < f->n_lent; i++) {
		free(f->lent[i]);
	}
}

/* want: "" = missing, "#..." = number, "?..." = boolean, else string. */
static void
converts(const char *convert, unsigned scale, const char *in, const char *want)
{
	static const struct gx_abi_pair codes[] = {{{"1", 1}, {"01", 2}},
						   {{"2", 1}, {"02", 2}}};
	struct gx_abi_map map = {.item = ITEM,
				 .convert = convert,
				 .codes = codes,
				 .n_codes = 2,
				 .scale = scale};
	struct gx_abi_text v = {in, in ? strlen(in) : 0};
	enum gx_abi_type type = want[0] == '#'	 ? GX_ABI_NUMBER
				: want[0] == '?' ? GX_ABI_BOOLEAN
						 : GX_ABI_STRING;
	struct fake f;
	void *row;

	assert_int_equal(open_one(&f, &map, &row), GX_ABI_OK);
	assert_int_equal(gx_in_row_adapter.feed(row, &v, 1), GX_ABI_OK);
	if (want[0] == '\0') {
		assert_int_equal(f.n_emitted, 0);
	} else {
		assert_int_equal(f.n_emitted, 1);
		assert_string_equal(f.value,
				    want + (type != GX_ABI_STRING ? 1 : 0));
		assert_int_equal(f.type, type);
	}
	close_one(&f, row);
}

static void
text(void **state)
{
	(void)state;
	converts("text", 0, "  a b\t\r\n", "a b");
	converts("text", 0, "\xe3\x80\x80\xe9\x9f\xa6\xc2\xa0 ",
		 "\xe9\x9f\xa6");
	converts("text", 0, "", "");
	converts("text", 0, " \xe3\x80\x80", "");
	converts("text", 0, " - ", "");
	converts("text", 0, "--", "--");
	converts("text", 0, NULL, "");
	/* a full-width digit within a text is the department's own */
	converts("text", 0, "\xef\xbc\x91", "\xef\xbc\x91");
	/* bytes that end like a blank but are part of a character */
	converts("text", 0, "\xe4\xb8\xa0", "\xe4\xb8\xa0");
}

static void
codes(void **state)
{
	(void)state;
	converts("code", 0, " 0045 ", "0045");
	converts("code", 0, "\xef\xbc\x94\xef\xbc\x95\xef\xbc\xb8", "45X");
	converts("code", 0, "\xef\xbd\x9a\xef\xbc\x81", "z!");
	converts("code", 0, "\xef\xbc", "\xef\xbc"); /* cut character */
	converts("table", 0, "1", "01");
	converts("table", 0, "\xef\xbc\x92", "02");
	converts("table", 0, "3", "3"); /* for the schema to refuse */
}

static void
dates(void **state)
{
	(void)state;
	converts("date8", 0, "19800229", "1980-02-29");
	converts("date8", 0, "20250230", "2025-02-30"); /* no such date */
	converts("date8", 0, "2025023", "2025023");
	converts("date8", 0, "2025O230", "2025O230");
	converts("month6", 0, "202512", "2025-12");
	converts("month6", 0, "2025-12", "2025-12");
	converts("date", 0, "2025-01-31", "2025-01-31");
	converts("date", 0, "2025-01-31 00:00:00", "2025-01-31");
	converts("date", 0, "0044-03-15 BC", "0044-03-15 BC");
	converts("date", 0, "infinity", "infinity");
}

static void
numbers(void **state)
{
	(void)state;
	converts("decimal", 2, "1234.5", "1234.50");
	converts("decimal", 2, "+0001234", "1234.00");
	converts("decimal", 2, ".5", "0.50");
	converts("decimal", 2, "-0.00", "0.00");
	converts("decimal", 2, "-0.01", "-0.01");
	converts("decimal", 2, "1.500", "1.50");
	converts("decimal", 2, "1.505", "1.505"); /* would lose a digit */
	converts("decimal", 2, "1,234.50", "1,234.50");
	converts("decimal", 2, "NaN", "NaN");
	converts("decimal", 0, "12", "12");
	converts("decimal", 2, ".", ".");
	converts("integer", 0, "0042", "#42");
	converts("integer", 0, "-0", "#0");
	converts("integer", 0, "-7", "#-7");
	converts("integer", 0, "\xef\xbc\x97", "#7");
	converts("integer", 0, "12.0", "#12");
	converts("integer", 0, "12.5", "12.5");
	converts("integer", 0, "1e3", "1e3");
	converts("boolean", 0, "t", "?true");
	converts("boolean", 0, "0", "?false");
	converts("boolean", 0, "maybe", "maybe");
}

static void
times(void **state)
{
	(void)state;
	converts("timestamp", 0, "2026-11-24 17:00:00.123456+08",
		 "2026-11-24T17:00:00.123+08:00");
	converts("timestamp", 0, "2026-11-24 17:00:00",
		 "2026-11-24T17:00:00.000+08:00");
	converts("timestamp", 0, "2025-12-31T23:30:00Z",
		 "2026-01-01T07:30:00.000+08:00");
	converts("timestamp", 0, "2024-03-01 00:10:00+09:30",
		 "2024-02-29T22:40:00.000+08:00");
	converts("timestamp", 0, "2025-03-01 00:10:00-0330",
		 "2025-03-01T11:40:00.000+08:00");
	converts("timestamp", 0, "2026-11-24", "2026-11-24T00:00:00.000+08:00");
	converts("timestamp", 0, "2025-02-29 00:00:00", "2025-02-29 00:00:00");
	converts("timestamp", 0, "2026-13-01 00:00:00", "2026-13-01 00:00:00");
	converts("timestamp", 0, "2026-11-24 25:00:00", "2026-11-24 25:00:00");
	/* before 1901 zones had seconds */
	converts("timestamp", 0, "1900-01-01 00:00:00+08:05:43",
		 "1899-12-31T23:54:17.000+08:00");
	converts("timestamp", 0, "1900-01-01 00:00:50-00:00:20",
		 "1900-01-01T08:01:10.000+08:00");
	converts("timestamp", 0, "1900-01-01 00:00:00+08:05:4",
		 "1900-01-01 00:00:00+08:05:4");
	/* none of these is a time: they go on, for the schema to refuse */
	converts("timestamp", 0, "2026-11-24 24:00:00", "2026-11-24 24:00:00");
	converts("timestamp", 0, "0044-03-15 00:00:00+08 BC",
		 "0044-03-15 00:00:00+08 BC");
	converts("timestamp", 0, "-infinity", "-infinity");
	converts("date", 0, "infinity", "infinity");
	converts("date", 0, "0044-03-15 BC", "0044-03-15 BC");
	converts("decimal", 2, "NaN", "NaN");
	converts("decimal", 2, "-Infinity", "-Infinity");
	converts("integer", 0, "NaN", "NaN");
	converts("timestamp", 0, "infinity", "infinity");
}

static void
long_values(void **state)
{
	(void)state;
	char digits[400], wide[400];

	memset(digits, '7', sizeof(digits) - 1);
	digits[sizeof(digits) - 1] = '\0';
	converts("decimal", 2, digits, digits);
	converts("date8", 0, digits, digits);
	for (size_t i = 0; i + 3 < sizeof(wide); i += 3) {
		memcpy(wide + i, "\xef\xbc\x91", 3);
		wide[i + 3] = '\0';
	}
	converts("code", 0, wide,
		 "1111111111111111111111111111111111111111111111111111111111111"
		 "1111111111111111111111111111111111111111111111111111111111111"
		 "11111111111");
}

static void
constants_and_refusals(void **state)
{
	(void)state;
	struct gx_abi_map map = {.item = ITEM,
				 .column = GX_ABI_NONE,
				 .convert = "const",
				 .constant = {"450100", 6}};
	struct gx_abi_text v[2] = {{NULL, 0}, {NULL, 0}};
	struct fake f;
	void *row;

	assert_int_equal(open_one(&f, &map, &row), GX_ABI_OK);
	assert_int_equal(gx_in_row_adapter.feed(row, v, 1), GX_ABI_OK);
	assert_string_equal(f.value, "450100");
	assert_int_equal(gx_in_row_adapter.feed(row, v, 2), GX_ABI_FATAL);
	assert_non_null(f.why);
	close_one(&f, row);

	map.convert = "guess";
	assert_int_equal(open_one(&f, &map, &row), GX_ABI_REJECT);
	assert_non_null(f.why);
	assert_null(row);
	close_one(&f, row);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text),
		cmocka_unit_test(codes),
		cmocka_unit_test(dates),
		cmocka_unit_test(numbers),
		cmocka_unit_test(times),
		cmocka_unit_test(long_values),
		cmocka_unit_test(constants_and_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
