/*
 * Identifiers: the published vectors hold, each change of one character of
 * them does not, and no message holds a part of a value.
 */
#include "record/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define TODAY 20261124

static const struct {
	const char *kind, *good;
} vectors[] = {
	{"resident-id", "11010519491231002X"},
	{"resident-id", "440524188001010014"},
	{"resident-id", "450103199003070012"},
	{"resident-id", "450202198511200420"},
	{"resident-id", "451402197010010036"},
	{"uscc", "91110000600037341L"},
	{"uscc", "91350100M000100Y43"},
	{"uscc", "91450100MA5KXY12X6"},
	{"uscc", "114500000074981208"},
	{"org-code", "600037341"},
	{"org-code", "M000100Y4"},
	{"org-code", "MA5KXY12X"},
	{"org-code", "007498120"},
	{"licence-id", "1.2.156.3005.2.11100000000013338W011."
		       "11430000006122244L.20230000403.001.U"},
	{"licence-id",
	 "1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9"},
	{"licence-id", "1.2.156.3005.2.11100000000013338W009."
		       "11330105002500287C.2025052201.002.0"},
};

static const char *
check(const char *kind, const char *value)
{
	enum gx_id_kind k;

	assert_true(gx_id_kind_parse(kind, &k));
	return gx_id_check(k, value, strlen(value), TODAY);
}

static void
vectors_hold(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		assert_null(check(vectors[i].kind, vectors[i].good));
	}
}

/* A check character finds every single wrong one. */
static void
one_wrong_character_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		size_t n = strlen(vectors[i].good);
		for (size_t k = 0; k < n; k++) {
			char text[100];
			/* Its letters count 10 to 35, modulo 11. */
			if (strcmp(vectors[i].kind, "org-code") == 0 &&
			    (vectors[i].good[k] > '9' || k == 8)) {
				continue;
			}
			memcpy(text, vectors[i].good, n + 1);
			for (const char *c = "0123456789AMXZ x."; *c; c++) {
				text[k] = *c;
				if (strcmp(vectors[i].kind, "org-code") == 0 &&
				    *c >= 'A' && *c <= 'Z') {
					continue;
				}
				const char *why = check(vectors[i].kind, text);
				assert_int_equal(why == NULL,
						 *c == vectors[i].good[k]);
				assert_true(!why || !strstr(why, text));
			}
		}
		assert_non_null(check(vectors[i].kind, ""));
		char longer[101];
		snprintf(longer, sizeof(longer), "%s0", vectors[i].good);
		assert_non_null(check(vectors[i].kind, longer));
	}
}

static void
resident_id_knows_dates(void **state)
{
	enum gx_id_kind k = GX_ID_RESIDENT;
	(void)state;
	/* Good on its own day, not a day before. */
	assert_null(gx_id_check(k, "450103199003070012", 18, 19900307));
	assert_string_equal(gx_id_check(k, "450103199003070012", 18, 19900306),
			    "the birth date lies in the future");
	assert_string_equal(check("resident-id", "450103199002300012"),
			    "the birth date does not exist");
	assert_string_equal(check("resident-id", "990103199003070012"),
			    "no division of province level has this code");
	assert_non_null(check("resident-id", "11010519491231002x"));
}

static void
regions_and_resource_codes(void **state)
{
	static const char *const good[] = {"450000", "450100", "451481",
					   "110000", "710000", "820000"};
	static const char *const bad[] = {"451500", "459900",  "160000",
					  "45010",  "4501000", "45010a",
					  "840000", "000000"};
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_null(check("region", good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_non_null(check("region", bad[i]));
	}
	assert_null(check("resource-code", "101001/000001"));
	assert_null(check("resource-code", "307045001002/17"));
	assert_null(check("resource-code", "101001a/1"));
	assert_non_null(check("resource-code", "401001/1"));
	assert_non_null(check("resource-code", "101001/"));
	assert_non_null(check("resource-code", "101001/1a"));
	assert_non_null(check("resource-code", "10100/1"));
	enum gx_id_kind k;
	assert_false(gx_id_kind_parse("uscc ", &k));
}

static void
dates(void **state)
{
	(void)state;
	assert_true(gx_date_valid(2024, 2, 29));
	assert_true(gx_date_valid(2000, 2, 29));
	assert_false(gx_date_valid(1900, 2, 29));
	assert_false(gx_date_valid(2023, 2, 29));
	assert_false(gx_date_valid(2023, 4, 31));
	assert_false(gx_date_valid(2023, 13, 1));
	assert_false(gx_date_valid(0, 1, 1));
	assert_true(gx_id_today() > 20250101);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_hold),
		cmocka_unit_test(one_wrong_character_is_found),
		cmocka_unit_test(resident_id_knows_dates),
		cmocka_unit_test(regions_and_resource_codes),
		cmocka_unit_test(dates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
