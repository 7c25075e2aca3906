/*
 * SQLSTATEs: every class that PostgreSQL 15 knows has its verdict here, what
 * has none is FATAL, the longest row counts, and only messages that hold no
 * values may be quoted.  Positions and quoting are tried on the way.
 */
#include "port/pg_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Appendix A of PostgreSQL's manual: the classes, and what we make of them. */
static const struct {
	const char *state;
	enum gx_rc rc;
	const char *code;
} wanted[] = {
	{"01000", GX_FATAL, "pg.failed"},
	{"02000", GX_FATAL, "pg.failed"},
	{"03000", GX_FATAL, "pg.failed"},
	{"08000", GX_AGAIN, "pg.away"},
	{"08006", GX_AGAIN, "pg.away"},
	{"08P01", GX_FATAL, "pg.failed"},
	{"09000", GX_FATAL, "pg.failed"},
	{"0A000", GX_FATAL, "pg.sql"},
	{"0B000", GX_FATAL, "pg.failed"},
	{"0F000", GX_FATAL, "pg.failed"},
	{"0L000", GX_FATAL, "pg.failed"},
	{"0P000", GX_FATAL, "pg.failed"},
	{"0Z000", GX_FATAL, "pg.failed"},
	{"20000", GX_FATAL, "pg.failed"},
	{"21000", GX_FATAL, "pg.sql"},
	{"22000", GX_REJECT, "pg.value"},
	{"22003", GX_REJECT, "pg.value"},
	{"22008", GX_REJECT, "pg.value"},
	{"22021", GX_REJECT, "pg.value"},
	{"22P02", GX_REJECT, "pg.value"},
	{"22P05", GX_REJECT, "pg.value"},
	{"23502", GX_REJECT, "pg.constraint"},
	{"23505", GX_REJECT, "pg.constraint"},
	{"23514", GX_REJECT, "pg.constraint"},
	{"23P01", GX_REJECT, "pg.constraint"},
	{"24000", GX_FATAL, "pg.failed"},
	{"25001", GX_FATAL, "pg.sql"},
	{"25006", GX_AGAIN, "pg.read_only"},
	{"25P02", GX_ABORT, "pg.aborted"},
	{"25P03", GX_AGAIN, "pg.away"},
	{"26000", GX_ABORT, "pg.stale"},
	{"27000", GX_FATAL, "pg.failed"},
	{"28000", GX_FATAL, "pg.auth"},
	{"28P01", GX_FATAL, "pg.auth"},
	{"2B000", GX_FATAL, "pg.failed"},
	{"2D000", GX_FATAL, "pg.failed"},
	{"2F000", GX_FATAL, "pg.failed"},
	{"34000", GX_FATAL, "pg.failed"},
	{"38000", GX_FATAL, "pg.failed"},
	{"39000", GX_FATAL, "pg.failed"},
	{"3B001", GX_FATAL, "pg.failed"},
	{"3D000", GX_FATAL, "pg.no_database"},
	{"3F000", GX_FATAL, "pg.failed"},
	{"40001", GX_ABORT, "pg.aborted"},
	{"40002", GX_REJECT, "pg.constraint"},
	{"40003", GX_ABORT, "pg.aborted"},
	{"40P01", GX_ABORT, "pg.aborted"},
	{"42501", GX_FATAL, "pg.right"},
	{"42601", GX_FATAL, "pg.sql"},
	{"42703", GX_FATAL, "pg.sql"},
	{"42P01", GX_FATAL, "pg.sql"},
	{"44000", GX_FATAL, "pg.failed"},
	{"53100", GX_AGAIN, "pg.full"},
	{"53200", GX_AGAIN, "pg.full"},
	{"53300", GX_AGAIN, "pg.full"},
	{"54000", GX_REJECT, "pg.value"},
	{"54001", GX_FATAL, "pg.sql"},
	{"54011", GX_FATAL, "pg.sql"},
	{"54023", GX_FATAL, "pg.sql"},
	{"55000", GX_FATAL, "pg.sql"},
	{"55006", GX_ABORT, "pg.busy"},
	{"55P03", GX_ABORT, "pg.busy"},
	{"57000", GX_FATAL, "pg.failed"},
	{"57014", GX_ABORT, "pg.busy"},
	{"57P01", GX_AGAIN, "pg.away"},
	{"57P02", GX_AGAIN, "pg.away"},
	{"57P03", GX_AGAIN, "pg.away"},
	{"57P04", GX_FATAL, "pg.failed"},
	{"57P05", GX_AGAIN, "pg.away"},
	{"58000", GX_FATAL, "pg.damaged"},
	{"58030", GX_FATAL, "pg.damaged"},
	{"72000", GX_ABORT, "pg.aborted"},
	{"F0000", GX_FATAL, "pg.failed"},
	{"HV000", GX_FATAL, "pg.failed"},
	{"P0001", GX_FATAL, "pg.failed"},
	{"XX000", GX_FATAL, "pg.damaged"},
	{"XX001", GX_FATAL, "pg.damaged"},
	{"", GX_FATAL, "pg.failed"},
	{"ZZZZZ", GX_FATAL, "pg.failed"},
};

static void
every_class(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const struct gx_pg_state *st =
			gx_pg_state_find(wanted[i].state);

		if (st->rc != wanted[i].rc ||
		    strcmp(st->code, wanted[i].code) != 0) {
			fail_msg("%s: %s %s", wanted[i].state,
				 gx_rc_name(st->rc), st->code);
		}
	}
}

/* Each row is met by a state above, so that none stands there unseen; each
 * code has a text for people; no row stands twice. */
static void
every_row(void **state)
{
	(void)state;
	for (size_t i = 0; gx_pg_state_at(i) != NULL; i++) {
		const struct gx_pg_state *st = gx_pg_state_at(i);
		bool is_met = false;

		assert_non_null(gx_error_find(st->code));
		for (size_t k = 0; k < sizeof(wanted) / sizeof(wanted[0]);
		     k++) {
			is_met |= gx_pg_state_find(wanted[k].state) == st;
		}
		for (size_t k = i + 1; gx_pg_state_at(k) != NULL; k++) {
			assert_string_not_equal(st->prefix,
						gx_pg_state_at(k)->prefix);
		}
		if (!is_met) {
			fail_msg("row \"%s\" is tried by no state", st->prefix);
		}
	}
}

/* Messages of these may carry a value, or anything at all. */
static void
values_are_not_quoted(void **state)
{
	static const char *const silent[] = {"22P02", "22008", "22003",
					     "P0001", "38000", "42601",
					     "2F000", "ZZZZZ"};

	(void)state;
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		assert_false(gx_pg_state_find(silent[i])->is_quotable);
	}
	assert_true(gx_pg_state_find("42P01")->is_quotable);
}

static void
only_values_are_rejected(void **state)
{
	(void)state;
	for (size_t i = 0; gx_pg_state_at(i) != NULL; i++) {
		const struct gx_pg_state *st = gx_pg_state_at(i);

		if (st->rc == GX_REJECT) {
			assert_true(strncmp(st->prefix, "22", 2) == 0 ||
				    strncmp(st->prefix, "23", 2) == 0 ||
				    strncmp(st->prefix, "54", 2) == 0 ||
				    strcmp(st->prefix, "40002") == 0);
		}
	}
}

static void
positions(void **state)
{
	static const char *const bad[] = {
		"",	"0",	"/0",	       "0/",   "0/G",  "1/2/3",
		"0/0 ", " 0/0", "0/123456789", "-1/0", "0x1/0"};
	char text[24];
	uint64_t lsn = 7;

	(void)state;
	assert_true(gx_lsn_parse("0/16B3748", &lsn));
	assert_true(lsn == 0x16B3748);
	assert_true(gx_lsn_parse("FFFFFFFF/fffffffe", &lsn));
	assert_true(lsn == UINT64_MAX - 1);
	gx_lsn_format(lsn, text);
	assert_string_equal(text, "FFFFFFFF/FFFFFFFE");
	gx_lsn_format(0x16B3748, text);
	assert_string_equal(text, "0/16B3748");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(gx_lsn_parse(bad[i], &lsn));
	}
}

static void
quoting(void **state)
{
	struct gx_buf b;

	(void)state;
	gx_buf_init(&b, 1000);
	assert_true(gx_pg_ident(&b, "a\"b"));
	assert_true(gx_pg_literal(&b, GX_SLICE("c'd\\e")));
	assert_string_equal(gx_buf_str(&b), "\"a\"\"b\"'c''d\\e'");
	assert_false(gx_pg_literal(&b, GX_SLICE("a\0b")));
	assert_true(b.failed);
	gx_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_class),
		cmocka_unit_test(every_row),
		cmocka_unit_test(values_are_not_quoted),
		cmocka_unit_test(only_values_are_rejected),
		cmocka_unit_test(positions),
		cmocka_unit_test(quoting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
