/*
 * Memory: ceilings hold to the byte and on every run, alignment holds, a
 * buffer that failed keeps its bytes, and products that overflow are refused.
 */
#include "base/err.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void
arena_ceiling(void **state)
{
	(void)state;
	struct gx_arena *a = gx_arena_new(1024);

	/* Twice: the chunk that is kept must not change the answer. */
	for (int run = 0; run < 2; run++) {
		for (int i = 0; i < 64; i++) {
			assert_non_null(gx_arena_alloc(a, 1 + (size_t)i % 16));
		}
		assert_int_equal(gx_arena_used(a), 1024);
		assert_null(gx_arena_alloc(a, 1));
		assert_null(gx_arena_alloc(a, 0));
		assert_int_equal(gx_arena_used(a), 1024);
		gx_arena_reset(a);
		assert_int_equal(gx_arena_used(a), 0);
	}
	assert_null(gx_arena_alloc(a, 1025));
	assert_null(gx_arena_alloc(a, SIZE_MAX));
	assert_null(gx_arena_alloc(a, SIZE_MAX - 15));
	assert_null(gx_arena_dup(a, "", SIZE_MAX));
	gx_arena_free(&a);
	assert_null(a);
	gx_arena_free(&a);
}

static void
arena_memory_is_apart(void **state)
{
	(void)state;
	struct gx_arena *a = gx_arena_new((size_t)16 << 20);
	enum { N = 300 };
	unsigned char *p[N];

	for (int run = 0; run < 2; run++) {
		for (size_t i = 0; i < N; i++) {
			size_t n = 1 + i * 97 % 20000;
			p[i] = gx_arena_alloc(a, n);
			assert_non_null(p[i]);
			assert_int_equal((uintptr_t)p[i] % 16, 0);
			memset(p[i], (int)(i & 255), n);
		}
		for (size_t i = 0; i < N; i++) {
			size_t n = 1 + i * 97 % 20000;
			for (size_t k = 0; k < n; k++) {
				assert_int_equal(p[i][k], i & 255);
			}
		}
		gx_arena_reset(a);
	}
	/* Larger than any chunk. */
	assert_non_null(gx_arena_alloc(a, (size_t)3 << 20));
	char *s = gx_arena_dup(a, "abc", 3);
	assert_string_equal(s, "abc");
	assert_string_equal(gx_arena_dup(a, NULL, 0), "");
	gx_arena_free(&a);
}

static void
buffer_stops_at_max(void **state)
{
	(void)state;
	struct gx_buf b;

	gx_buf_init(&b, 10);
	assert_true(gx_buf_puts(&b, "12345"));
	assert_false(gx_buf_puts(&b, "678901"));
	assert_true(b.failed);
	assert_int_equal(b.n, 5);
	/* It stays failed, also for what would fit. */
	assert_false(gx_buf_putc(&b, 'x'));
	assert_false(gx_buf_printf(&b, "%d", 1));
	assert_int_equal(b.n, 5);
	assert_string_equal(gx_buf_str(&b), "12345");
	assert_true(b.failed);
	gx_buf_reset(&b);
	assert_true(gx_buf_printf(&b, "%s", "0123456789"));
	assert_string_equal(gx_buf_str(&b), "0123456789");
	assert_int_equal(b.n, 10);
	assert_false(b.failed);
	assert_false(gx_buf_putc(&b, 'x'));
	gx_buf_free(&b);
	assert_int_equal(gx_buf_view(&b).n, 0);
	assert_string_equal(gx_buf_view(&b).p, "");
	gx_buf_free(&b);
}

static void
buffer_grows(void **state)
{
	(void)state;
	struct gx_buf b;
	char big[1000];

	memset(big, 'z', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	gx_buf_init(&b, (size_t)1 << 20);
	assert_string_equal(gx_buf_str(&b), "");
	for (int i = 0; i < 500; i++) {
		assert_true(gx_buf_printf(&b, "%s", big));
		assert_true(gx_buf_put(&b, NULL, 0));
	}
	assert_int_equal(b.n, 500 * 999);
	for (size_t i = 0; i < b.n; i++) {
		assert_int_equal(b.p[i], 'z');
	}
	gx_buf_cut(&b, 3);
	assert_string_equal(gx_buf_str(&b), "zzz");
	assert_false(gx_buf_put(&b, big, SIZE_MAX));
	assert_string_equal(gx_buf_str(&b), "zzz");
	gx_buf_free(&b);
}

static void
arrays_refuse_overflow(void **state)
{
	(void)state;

	assert_null(gx_mem_array(SIZE_MAX / 2, 3));
	int *p = gx_mem_array(3, sizeof(*p));
	assert_int_equal(p[0] | p[1] | p[2], 0);
	p[2] = 7;
	assert_null(gx_mem_grow(p, SIZE_MAX / 2, 3));
	int *q = gx_mem_grow(p, 100, sizeof(*q));
	assert_int_equal(q[2], 7);
	gx_mem_free(q);
	gx_mem_free(NULL);
}

static void
slices(void **state)
{
	(void)state;
	char secret[] = "sesame";

	assert_true(gx_slice_eq(GX_SLICE("ab"), gx_slice("abc", 2)));
	assert_false(gx_slice_eq(GX_SLICE("ab"), GX_SLICE("abc")));
	assert_false(gx_slice_eq(GX_SLICE("ab"), GX_SLICE("aB")));
	assert_true(gx_slice_eq(gx_slice(NULL, 0), GX_SLICE("")));
	assert_int_equal(gx_slice_str(NULL).n, 0);
	char *copy = gx_mem_slicedup(gx_slice("abcdef", 3));
	assert_string_equal(copy, "abc");
	gx_mem_free(copy);
	copy = gx_mem_strdup(secret);
	assert_string_equal(copy, "sesame");
	gx_mem_free(copy);
	gx_mem_wipe(secret, sizeof(secret));
	for (size_t i = 0; i < sizeof(secret); i++) {
		assert_int_equal(secret[i], 0);
	}
	gx_mem_wipe(NULL, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arena_ceiling),
		cmocka_unit_test(arena_memory_is_apart),
		cmocka_unit_test(buffer_stops_at_max),
		cmocka_unit_test(buffer_grows),
		cmocka_unit_test(arrays_refuse_overflow),
		cmocka_unit_test(slices),
	};

	return cmocka_run_group_tests_name("base_mem", tests, NULL, NULL);
}
