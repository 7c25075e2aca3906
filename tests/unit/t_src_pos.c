/*
 * Positions of a PostgreSQL source: written, read back, ordered; and every
 * damaged text refused.
 */
#include "base/err.h"
#include "flow/src_pg.h"
#include "flow/src_pg_pos.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct gx_pg_place place = {7301234567890123456u, 1, "gx_social",
					 0x16B3748};

static struct gx_slice
text_of(struct gx_buf *b, const struct gx_pg_pos *pos)
{
	gx_buf_reset(b);
	assert_true(gx_pg_pos_put(b, &place, pos));
	return gx_buf_view(b);
}

static void
there_and_back(void **state)
{
	(void)state;
	static const struct gx_pg_pos rows[] = {
		{.is_reading = true, .lsn = 0x16B3748, .until = 0x16B3748},
		{.is_reading = true,
		 .lsn = 1,
		 .until = UINT64_MAX,
		 .idx = 20000,
		 .key = {"WyI0NTAxIl0=", 12}},
		{.lsn = 0x16B3800, .idx = 2},
		{.lsn = UINT64_MAX, .idx = UINT64_MAX, .until = 3},
		{.lsn = 5, .idx = 9, .owes_end = true},
	};
	struct gx_buf b;

	gx_buf_init(&b, GX_PG_POS_MAX);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gx_slice text = text_of(&b, &rows[i]);
		struct gx_pg_place at;
		struct gx_pg_pos pos;

		assert_true(gx_pg_pos_parse(text, &at, &pos));
		assert_true(gx_pg_place_eq(&at, &place));
		assert_int_equal(at.born, place.born);
		assert_int_equal(pos.is_reading, rows[i].is_reading);
		assert_int_equal(pos.lsn, rows[i].lsn);
		assert_int_equal(pos.idx, rows[i].idx);
		assert_int_equal(pos.until, rows[i].until);
		assert_int_equal(pos.owes_end, rows[i].owes_end);
		assert_true(gx_slice_eq(pos.key, rows[i].key));
	}
	gx_buf_free(&b);
}

static void
form_stays(void **state)
{
	(void)state;
	struct gx_pg_pos pos = {.lsn = 0x16B3800, .idx = 3, .owes_end = true};
	struct gx_buf b;

	/* Written into batches for good: this text must read for ever. */
	gx_buf_init(&b, GX_PG_POS_MAX);
	assert_true(gx_slice_eq(
		text_of(&b, &pos),
		GX_SLICE("pg:7301234567890123456:1:gx_social:"
			 "00000000016b3748:C:00000000016b3800:00000003:"
			 "0000000000000000:R")));
	gx_buf_free(&b);
}

static void
damaged(void **state)
{
	(void)state;
	struct gx_pg_pos pos = {.is_reading = true,
				.lsn = 7,
				.until = 9,
				.idx = 2,
				.key = {"WyJhIl0=", 8}};
	char copy[GX_PG_POS_MAX];
	struct gx_pg_place at;
	struct gx_slice text;
	struct gx_buf b;

	gx_buf_init(&b, GX_PG_POS_MAX);
	text = text_of(&b, &pos);
	memcpy(copy, text.p, text.n);
	/* Cut anywhere but to a shorter key that is base64 again. */
	for (size_t n = 0; n < text.n; n++) {
		bool is_shorter_key = n == text.n - 4 || n == text.n - 8;

		assert_int_equal(gx_pg_pos_parse(gx_slice(copy, n), &at, &pos),
				 is_shorter_key);
	}
	for (size_t i = 0; i < text.n; i++) {
		char was = copy[i];

		copy[i] = '"';
		assert_false(
			gx_pg_pos_parse(gx_slice(copy, text.n), &at, &pos));
		copy[i] = was;
	}
	assert_true(gx_pg_pos_parse(gx_slice(copy, text.n), &at, &pos));
	gx_buf_free(&b);
}

static void
order(void **state)
{
	(void)state;
	struct gx_pg_pos c = {.lsn = 100, .idx = 4};
	struct gx_pg_pos s = {.is_reading = true, .lsn = 100, .idx = 4000};

	assert_int_equal(gx_pg_pos_cmp(&c, 99, 9), 1);
	assert_int_equal(gx_pg_pos_cmp(&c, 100, 3), 1);
	assert_int_equal(gx_pg_pos_cmp(&c, 100, 4), 0);
	assert_int_equal(gx_pg_pos_cmp(&c, 100, 5), -1);
	assert_int_equal(gx_pg_pos_cmp(&c, 101, 0), -1);
	/* The rows of a reading say nothing about changes at its LSN. */
	assert_int_equal(gx_pg_pos_cmp(&s, 100, 2), -1);
}

static void
loading(void **state)
{
	(void)state;
	struct gx_buf b;
	struct gx_pg_pos pos = {.lsn = 5, .until = 9};

	gx_buf_init(&b, GX_PG_POS_MAX);
	assert_true(gx_src_pg_is_loading(GX_SLICE("")));
	assert_true(gx_src_pg_is_loading(text_of(&b, &pos)));
	pos.lsn = 9;
	assert_false(gx_src_pg_is_loading(text_of(&b, &pos)));
	pos.is_reading = true;
	assert_true(gx_src_pg_is_loading(text_of(&b, &pos)));
	gx_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back), cmocka_unit_test(form_stays),
		cmocka_unit_test(damaged),	  cmocka_unit_test(order),
		cmocka_unit_test(loading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
