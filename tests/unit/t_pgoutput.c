/*
 * pgoutput decoder: messages built byte by byte after the manual's formats,
 * each also cut at every length and with a byte too many, which must be
 * refused and never read beyond its end.
 */
#include "flow/src_pg_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct msg {
	unsigned char p[512];
	size_t n;
};

static void
put_number(struct msg *m, uint64_t v, int n_bytes)
{
	for (int i = n_bytes - 1; i >= 0; i--) {
		m->p[m->n++] = (unsigned char)(v >> (8 * i));
	}
}

static void
put_text(struct msg *m, const char *s)
{
	memcpy(m->p + m->n, s, strlen(s) + 1);
	m->n += strlen(s) + 1;
}

static void
put_value(struct msg *m, const char *s)
{
	put_number(m, 't', 1);
	put_number(m, strlen(s), 4);
	memcpy(m->p + m->n, s, strlen(s));
	m->n += strlen(s);
}

/* Parse an exact heap copy, so that a sanitizer sees one byte too far. */
static const char *
parse_copy(const struct msg *m, size_t n, struct gx_pgo_msg *out)
{
	static char *last;

	free(last);
	last = malloc(n ? n : 1);
	assert_non_null(last);
	memcpy(last, m->p, n);
	return gx_pgo_parse(gx_slice(last, n), out);
}

static void
refuses_every_cut(struct msg *m)
{
	struct gx_pgo_msg out;

	for (size_t n = 0; n < m->n; n++) {
		assert_non_null(parse_copy(m, n, &out));
	}
	m->n++;
	assert_non_null(parse_copy(m, m->n, &out));
	m->n--;
	assert_null(parse_copy(m, m->n, &out));
}

static void
begin_and_commit(void **state)
{
	(void)state;
	struct msg m = {.n = 0};
	struct gx_pgo_msg out;

	put_number(&m, 'B', 1);
	put_number(&m, 0x16B3748, 8);
	put_number(&m, 1000, 8);
	put_number(&m, 77, 4);
	assert_null(parse_copy(&m, m.n, &out));
	assert_int_equal(out.kind, GX_PGO_BEGIN);
	assert_int_equal(out.lsn, 0x16B3748);
	assert_int_equal(gx_pgo_time_ms(out.time_us), 946684800001);
	refuses_every_cut(&m);

	m.n = 0;
	put_number(&m, 'C', 1);
	put_number(&m, 0, 1);
	put_number(&m, 0x16B3748, 8);
	put_number(&m, 0x16B3800, 8);
	put_number(&m, 2000, 8);
	assert_null(parse_copy(&m, m.n, &out));
	assert_int_equal(out.kind, GX_PGO_COMMIT);
	assert_int_equal(out.end_lsn, 0x16B3800);
	refuses_every_cut(&m);
}

static void
relation(void **state)
{
	(void)state;
	struct msg m = {.n = 0};
	struct gx_pgo_msg out;
	struct gx_pgo_column col;
	size_t at = 0;

	put_number(&m, 'R', 1);
	put_number(&m, 16384, 4);
	put_text(&m, "public");
	put_text(&m, "ac01");
	put_number(&m, 'd', 1);
	put_number(&m, 2, 2);
	put_number(&m, 1, 1);
	put_text(&m, "aac001");
	put_number(&m, 25, 4);
	put_number(&m, 0xffffffff, 4);
	put_number(&m, 0, 1);
	put_text(&m, "aac003");
	put_number(&m, 1043, 4);
	put_number(&m, 104, 4);
	assert_null(parse_copy(&m, m.n, &out));
	assert_int_equal(out.kind, GX_PGO_RELATION);
	assert_int_equal(out.relation, 16384);
	assert_true(gx_slice_eq(out.ns, GX_SLICE("public")));
	assert_true(gx_slice_eq(out.name, GX_SLICE("ac01")));
	assert_int_equal(out.identity, 'd');
	assert_true(gx_pgo_column_next(&out, &at, &col));
	assert_true(col.is_key);
	assert_true(gx_slice_eq(col.name, GX_SLICE("aac001")));
	assert_true(gx_pgo_column_next(&out, &at, &col));
	assert_false(col.is_key);
	assert_int_equal(col.type, 1043);
	assert_false(gx_pgo_column_next(&out, &at, &col));
	refuses_every_cut(&m);
}

static void
rows(void **state)
{
	(void)state;
	struct msg m = {.n = 0};
	struct gx_pgo_msg out;
	struct gx_pgo_value v[3];

	put_number(&m, 'U', 1);
	put_number(&m, 16384, 4);
	put_number(&m, 'K', 1);
	put_number(&m, 3, 2);
	put_value(&m, "old");
	put_number(&m, 'n', 1);
	put_number(&m, 'n', 1);
	put_number(&m, 'N', 1);
	put_number(&m, 3, 2);
	put_value(&m, "new");
	put_number(&m, 'u', 1);
	put_value(&m, "");
	assert_null(parse_copy(&m, m.n, &out));
	assert_int_equal(out.kind, GX_PGO_UPDATE);
	assert_int_equal(out.old_row.kind, 'K');
	gx_pgo_values(&out.old_row, v);
	assert_true(gx_slice_eq(v[0].text, GX_SLICE("old")));
	assert_int_equal(v[1].kind, 'n');
	gx_pgo_values(&out.new_row, v);
	assert_true(gx_slice_eq(v[0].text, GX_SLICE("new")));
	assert_int_equal(v[1].kind, 'u');
	assert_int_equal(v[2].kind, 't');
	assert_int_equal(v[2].text.n, 0);
	refuses_every_cut(&m);

	m.p[0] = 'D'; /* a delete has no new row */
	assert_non_null(parse_copy(&m, m.n, &out));
	m.p[0] = 'I'; /* an insert has no old one */
	assert_non_null(parse_copy(&m, m.n, &out));
}

static void
truncate_and_others(void **state)
{
	(void)state;
	struct msg m = {.n = 0};
	struct gx_pgo_msg out;
	struct gx_pgo_column col;
	uint32_t oid;
	size_t at = 0;

	put_number(&m, 'T', 1);
	put_number(&m, 2, 4);
	put_number(&m, 0, 1);
	put_number(&m, 16384, 4);
	put_number(&m, 16390, 4);
	assert_null(parse_copy(&m, m.n, &out));
	assert_true(gx_pgo_relation_next(&out, &at, &oid));
	assert_int_equal(oid, 16384);
	assert_true(gx_pgo_relation_next(&out, &at, &oid));
	assert_int_equal(oid, 16390);
	assert_false(gx_pgo_relation_next(&out, &at, &oid));
	refuses_every_cut(&m);

	m.n = 0;
	put_number(&m, 'M', 1);
	put_text(&m, "anything");
	assert_null(parse_copy(&m, m.n, &out));
	assert_int_equal(out.kind, GX_PGO_OTHER);
	at = 0; /* nothing to walk in it: found by the fuzzer */
	assert_false(gx_pgo_relation_next(&out, &at, &oid));
	assert_false(gx_pgo_column_next(&out, &at, &col));
	m.p[0] = 'S'; /* a streamed transaction was not asked for */
	assert_non_null(parse_copy(&m, m.n, &out));
}

/* Counts and lengths that lie. */
static void
lies(void **state)
{
	(void)state;
	struct msg m = {.n = 0};
	struct gx_pgo_msg out;

	put_number(&m, 'I', 1);
	put_number(&m, 1, 4);
	put_number(&m, 'N', 1);
	put_number(&m, 1, 2);
	put_number(&m, 't', 1);
	put_number(&m, 0xffffffff, 4);
	put_number(&m, 'x', 1);
	assert_non_null(parse_copy(&m, m.n, &out));

	m.n = 0;
	put_number(&m, 'T', 1);
	put_number(&m, 0x40000000, 4);
	put_number(&m, 0, 1);
	put_number(&m, 0, 4);
	assert_non_null(parse_copy(&m, m.n, &out));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begin_and_commit),
		cmocka_unit_test(relation),
		cmocka_unit_test(rows),
		cmocka_unit_test(truncate_and_others),
		cmocka_unit_test(lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
