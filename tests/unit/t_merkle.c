/*
 * Trees and proofs.  The roots of sizes 0 to 8 are the published ones of the
 * RFC 6962 implementations; all others are computed here from the recursive
 * definitions of RFC 9162 2.1.1, 2.1.3.1 and 2.1.4.1, word for word, which
 * share no line with the code under test.  Every proof is then changed in
 * every bit, cut, and given a node too many, and must not hold; the untouched
 * one holds before and after, as the control.
 *
 * SM3 in eight lanes is compared with OpenSSL for every length to 1200 and
 * longer ones; a tree must be the same with it and without it.
 */
#include "base/text.h"
#include "trust/merkle.h"
#include "trust/sm3_x8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define N 33 /* leaves of the trees whose proofs are all tried */

typedef unsigned char hash_t[GX_SM3];

static const struct gx_merkle_hash *const hashes[] = {
	&gx_merkle_sm3, &gx_merkle_sm3_plain, &gx_merkle_sha256};

/* The seven leaves' bytes that the published roots are made of. */
static const struct gx_slice known[] = {
	{"", 0},
	{"\x00", 1},
	{"\x10", 1},
	{"\x20\x21", 2},
	{"\x30\x31", 2},
	{"\x40\x41\x42\x43", 4},
	{"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
	{"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
	 16}};
static const char *const known_roots[] = {
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
	"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
	"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
	"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
	"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
	"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
	"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
	"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

/* ---- RFC 9162 2.1, recursive ---- */

static void
digest(const struct gx_merkle_hash *hash, const void *p, size_t n, hash_t out)
{
	struct gx_sm3 *h = hash->open();
	gx_sm3_begin(h);
	gx_sm3_add(h, p, n);
	gx_sm3_end(h, out);
	gx_sm3_free(&h);
}

static void
pair(const struct gx_merkle_hash *hash, const hash_t left, const hash_t right,
     hash_t out)
{
	unsigned char both[1 + 2 * GX_SM3] = {1};
	memcpy(both + 1, left, GX_SM3);
	memcpy(both + 1 + GX_SM3, right, GX_SM3);
	digest(hash, both, sizeof(both), out);
}

static size_t
split(size_t n)
{
	size_t k = 1;
	while (k * 2 < n) {
		k *= 2;
	}
	return k;
}

/* MTH over leaf hashes. */
static void
slow_root(const struct gx_merkle_hash *hash, hash_t *leaf, size_t n, hash_t out)
{
	hash_t left, right;
	if (n == 0) {
		digest(hash, "", 0, out);
		return;
	}
	if (n == 1) {
		memcpy(out, leaf[0], GX_SM3);
		return;
	}
	size_t k = split(n);
	slow_root(hash, leaf, k, left);
	slow_root(hash, leaf + k, n - k, right);
	pair(hash, left, right, out);
}

/* PATH(m, D_n); returns the number of nodes. */
static size_t
slow_path(const struct gx_merkle_hash *hash, size_t m, hash_t *leaf, size_t n,
	  hash_t *out)
{
	if (n == 1) {
		return 0;
	}
	size_t k = split(n), got;
	if (m < k) {
		got = slow_path(hash, m, leaf, k, out);
		slow_root(hash, leaf + k, n - k, out[got]);
	} else {
		got = slow_path(hash, m - k, leaf + k, n - k, out);
		slow_root(hash, leaf, k, out[got]);
	}
	return got + 1;
}

/* SUBPROOF(m, D_n, b) */
static size_t
slow_proof(const struct gx_merkle_hash *hash, size_t m, hash_t *leaf, size_t n,
	   bool whole, hash_t *out)
{
	if (m == n) {
		if (!whole) {
			slow_root(hash, leaf, n, out[0]);
		}
		return whole ? 0 : 1;
	}
	size_t k = split(n), got;
	if (m <= k) {
		got = slow_proof(hash, m, leaf, k, whole, out);
		slow_root(hash, leaf + k, n - k, out[got]);
	} else {
		got = slow_proof(hash, m - k, leaf + k, n - k, false, out);
		slow_root(hash, leaf, k, out[got]);
	}
	return got + 1;
}

/* ---- roots ---- */

static void
published_roots(void **state)
{
	hash_t root;
	char hex[2 * GX_SM3 + 1];
	(void)state;
	struct gx_merkle *m = gx_merkle_new_with(&gx_merkle_sha256);
	for (size_t n = 0; n <= 8; n++) {
		gx_merkle_begin(m);
		for (size_t i = 0; i < n; i++) {
			gx_merkle_add(m, known[i]);
		}
		gx_merkle_root(m, root);
		gx_hex(root, GX_SM3, hex);
		assert_string_equal(hex, known_roots[n]);
	}
	gx_merkle_free(&m);
	assert_ptr_equal(gx_merkle_hash_find("sm3"), &gx_merkle_sm3);
	assert_ptr_equal(gx_merkle_hash_find("sha256"), &gx_merkle_sha256);
	assert_null(gx_merkle_hash_find("SM3"));
	assert_null(gx_merkle_hash_find(""));
}

/* Lines of lengths 0.. in an order that mixes them, and their leaf hashes. */
static void
make_body(const struct gx_merkle_hash *hash, size_t n, struct gx_buf *body,
	  hash_t *leaf)
{
	char line[1 + 400];
	gx_buf_reset(body);
	for (size_t i = 0; i < n; i++) {
		size_t len = i * 37 % 400;
		line[0] = 0;
		for (size_t k = 0; k < len; k++) {
			line[1 + k] = (char)(32 + (i * 7 + k) % 90);
		}
		digest(hash, line, 1 + len, leaf[i]);
		assert_true(gx_buf_put(body, line + 1, len));
		assert_true(gx_buf_putc(body, '\n'));
	}
}

/* The first k lines one by one, the others as a body. */
static void
mixed_root(struct gx_merkle *m, struct gx_slice body, size_t k, hash_t out)
{
	gx_merkle_begin(m);
	while (k-- > 0 && body.n > 0) {
		const char *end = memchr(body.p, '\n', body.n);
		size_t len = (size_t)(end - body.p);
		gx_merkle_add(m, gx_slice(body.p, len));
		body = gx_slice(end + 1, body.n - len - 1);
	}
	gx_merkle_body(m, body);
	gx_merkle_root(m, out);
}

static void
roots_of_every_size(void **state)
{
	enum { MOST = 1100 };
	static hash_t leaf[MOST];
	hash_t want, got;
	struct gx_buf body;
	(void)state;
	gx_buf_init(&body, 1u << 20);
	for (size_t h = 0; h < 3; h++) {
		struct gx_merkle *m = gx_merkle_new_with(hashes[h]);
		for (size_t n = 0; n <= MOST;
		     n += n < 70 || n % 128 > 125 || n % 128 < 2 ? 1 : 31) {
			make_body(hashes[h], n, &body, leaf);
			slow_root(hashes[h], leaf, n, want);
			mixed_root(m, gx_buf_view(&body), 0, got);
			assert_memory_equal(got, want, GX_SM3);
			mixed_root(m, gx_buf_view(&body), n / 3, got);
			assert_memory_equal(got, want, GX_SM3);
			mixed_root(m, gx_buf_view(&body), n, got);
			assert_memory_equal(got, want, GX_SM3);
		}
		gx_merkle_free(&m);
	}
	gx_buf_free(&body);
}

/* ---- eight lanes ---- */

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void
check_lanes(unsigned char prefix, const struct gx_slice *msgs, size_t n,
	    hash_t *out)
{
	hash_t want;
	struct gx_sm3 *h = gx_sm3_new();
	memset(out, 0xee, (n + 1) * sizeof(out[0]));
	gx_sm3_x8(prefix, msgs, n, out);
	for (size_t i = 0; i < n; i++) {
		gx_sm3_begin(h);
		gx_sm3_add(h, &prefix, 1);
		gx_sm3_add(h, msgs[i].p, msgs[i].n);
		gx_sm3_end(h, want);
		if (memcmp(out[i], want, GX_SM3) != 0) {
			fail_msg("length %zu, %zu of %zu", msgs[i].n, i, n);
		}
	}
	memset(want, 0xee, GX_SM3);
	assert_memory_equal(out[n], want, GX_SM3); /* nothing behind */
	gx_sm3_free(&h);
}

/* What the kernel says, so that the lanes cannot go out of use unseen. */
static bool
is_avx2_processor(void)
{
	char line[8192];
	bool is_found = false;
	FILE *f = fopen("/proc/cpuinfo", "r");
	while (f && !is_found && fgets(line, sizeof(line), f)) {
		is_found = strncmp(line, "flags", 5) == 0 &&
			   strstr(line, " avx2") != NULL;
	}
	if (f) {
		fclose(f);
	}
	return is_found;
}

static void
lanes_are_sm3(void **state)
{
	enum { MOST = 1201, BIG = 100000 };
	static struct gx_slice msgs[MOST];
	static hash_t out[MOST + 1];
	char *p = gx_mem_array(MOST + BIG, 1);
	uint64_t x = 88172645463325252u;
	(void)state;
	assert_int_equal(gx_sm3_x8_ready(), is_avx2_processor());
	if (!gx_sm3_x8_ready()) {
		gx_mem_free(p);
		skip();
	}
	assert_non_null(p);
	for (size_t i = 0; i < MOST + BIG; i++) {
		p[i] = (char)next_random(&x);
	}
	/* every length, alone, among its neighbours, and all mixed */
	for (size_t n = 0; n < MOST; n++) {
		msgs[n] = gx_slice(p + n % 61, n);
		check_lanes(0, &msgs[n], 1, out);
	}
	check_lanes(0, msgs, MOST, out);
	check_lanes(1, msgs, MOST, out);
	for (size_t n = 0; n < MOST; n++) {
		msgs[n] = gx_slice(p + n, n * 787 % MOST);
	}
	check_lanes(0, msgs, MOST, out);
	for (size_t n = 0; n <= 40; n++) {
		for (size_t i = 0; i < n; i++) {
			msgs[i] = gx_slice(p + next_random(&x) % MOST,
					   next_random(&x) % BIG);
		}
		check_lanes((unsigned char)n, msgs, n, out);
	}
	gx_mem_free(p);
}

/* ---- proofs ---- */

struct tree {
	const struct gx_merkle_hash *hash;
	hash_t leaf[N], root[N + 1];
};

static void
grow(struct tree *t, const struct gx_merkle_hash *hash)
{
	t->hash = hash;
	for (size_t i = 0; i < N; i++) {
		char text[2] = {0, (char)i};
		digest(hash, text, 2, t->leaf[i]);
	}
	for (size_t n = 0; n <= N; n++) {
		slow_root(hash, t->leaf, n, t->root[n]);
	}
}

struct claim {
	bool is_inclusion;
	struct gx_inclusion in;
	struct gx_consistency con;
	hash_t node[72], a, b; /* leaf hash and root, or both roots */
	struct gx_slice proof[72];
	size_t n;
};

static bool
holds(const struct gx_merkle_hash *hash, struct claim *c)
{
	struct gx_slice a = {(const char *)c->a, GX_SM3};
	struct gx_slice b = {(const char *)c->b, GX_SM3};
	c->in.proof = c->con.proof = c->proof;
	c->in.n_proof = c->con.n_proof = c->n;
	c->in.leaf_hash = c->con.root1 = a;
	c->in.root = c->con.root2 = b;
	return c->is_inclusion ? !gx_merkle_check_inclusion(hash, &c->in)
			       : !gx_merkle_check_consistency(hash, &c->con);
}

static void
point(struct claim *c, size_t n)
{
	c->n = n;
	for (size_t i = 0; i < 72; i++) {
		c->proof[i] = gx_slice((const char *)c->node[i], GX_SM3);
	}
}

static size_t
flip_each_bit(const struct gx_merkle_hash *hash, struct claim *c,
	      unsigned char *p)
{
	size_t n_held = 0;
	for (size_t bit = 0; bit < (size_t)8 * GX_SM3; bit++) {
		p[bit / 8] ^= (unsigned char)(1 << bit % 8);
		n_held += holds(hash, c);
		p[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	return n_held;
}

/* Everything that can be done to a proof; the control is good before, after. */
static void
break_it(const struct gx_merkle_hash *hash, struct claim *c)
{
	size_t n = c->n;
	assert_true(holds(hash, c));
	assert_int_equal(flip_each_bit(hash, c, c->a), 0);
	assert_int_equal(flip_each_bit(hash, c, c->b), 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(flip_each_bit(hash, c, c->node[i]), 0);
		c->proof[i].n--; /* a byte short, and nothing at all */
		assert_false(holds(hash, c));
		c->proof[i].n = 0;
		assert_false(holds(hash, c));
		c->proof[i].n = GX_SM3;
	}
	for (size_t cut = 0; cut < n; cut++) {
		c->n = cut;
		assert_false(holds(hash, c));
		/* and from the front */
		memmove(c->proof, c->proof + (n - cut),
			cut * sizeof(c->proof[0]));
		assert_false(holds(hash, c));
		point(c, n);
	}
	for (size_t at = 0; at <= n; at++) {
		const unsigned char *more[] = {c->a, c->b, c->node[0]};
		for (size_t k = 0; k < 3; k++) {
			point(c, n + 1);
			memmove(c->proof + at + 1, c->proof + at,
				(n - at) * sizeof(c->proof[0]));
			c->proof[at] = gx_slice((const char *)more[k], GX_SM3);
			assert_false(holds(hash, c));
			c->proof[at].n = 0;
			assert_false(holds(hash, c));
		}
		point(c, n);
	}
	assert_true(holds(hash, c));
}

static void
inclusion_of_every_leaf(void **state)
{
	(void)state;
	for (size_t h = 1; h < 3; h++) {
		struct tree t;
		grow(&t, hashes[h]);
		for (size_t n = 1; n <= N; n += n < 10 ? 1 : 6) {
			for (size_t m = 0; m < n; m++) {
				struct claim c = {.is_inclusion = true};
				hash_t *leaf = t.leaf;
				size_t got =
					slow_path(t.hash, m, leaf, n, c.node);
				c.in.leaf = m;
				c.in.size = n;
				memcpy(c.a, t.leaf[m], GX_SM3);
				memcpy(c.b, t.root[n], GX_SM3);
				point(&c, got);
				break_it(t.hash, &c);
				c.in.leaf = n; /* behind the last */
				assert_false(holds(t.hash, &c));
				c.in.leaf = m + UINT64_C(1) * 64;
				assert_false(holds(t.hash, &c));
				c.in.leaf = UINT64_MAX;
				assert_false(holds(t.hash, &c));
				c.in.leaf = m ^ 1; /* its neighbour's place */
				assert_true(n == 1 || m == n - 1 ||
					    !holds(t.hash, &c));
				c.in.leaf = m;
				c.in.size = 2 * n + 1;
				assert_false(holds(t.hash, &c));
				c.in.size = 0;
				assert_false(holds(t.hash, &c));
			}
		}
	}
}

static void
consistency_of_every_pair(void **state)
{
	(void)state;
	for (size_t h = 1; h < 3; h++) {
		struct tree t;
		grow(&t, hashes[h]);
		for (size_t n = 2; n <= N; n += n < 10 ? 1 : 6) {
			for (size_t m = 1; m < n; m++) {
				struct claim c = {.is_inclusion = false};
				hash_t *leaf = t.leaf;
				size_t got = slow_proof(t.hash, m, leaf, n,
							true, c.node);
				c.con.size1 = m;
				c.con.size2 = n;
				memcpy(c.a, t.root[m], GX_SM3);
				memcpy(c.b, t.root[n], GX_SM3);
				point(&c, got);
				break_it(t.hash, &c);
				memcpy(c.a, t.root[n], GX_SM3); /* swapped */
				memcpy(c.b, t.root[m], GX_SM3);
				assert_false(holds(t.hash, &c));
				memcpy(c.a, t.root[m], GX_SM3);
				memcpy(c.b, t.root[n], GX_SM3);
				c.con.size1 = 0;
				assert_false(holds(t.hash, &c));
				c.con.size1 = n;
				assert_false(holds(t.hash, &c));
				c.con.size1 = n + 1;
				assert_false(holds(t.hash, &c));
				c.con.size1 = m;
				c.con.size2 = 2 * n;
				assert_false(holds(t.hash, &c));
				c.con.size2 = UINT64_MAX;
				assert_false(holds(t.hash, &c));
			}
		}
	}
}

/* Trees nobody can grow: the path is the definition unrolled. */
static void
largest_trees(void **state)
{
	const struct gx_merkle_hash *hash = &gx_merkle_sm3;
	struct claim c = {.is_inclusion = true};
	(void)state;
	for (size_t i = 0; i < 72; i++) {
		memset(c.node[i], (int)i + 1, GX_SM3);
	}
	memset(c.a, 0xaa, GX_SM3);
	/* the first of 2^64-1: 64 levels, always to the left */
	c.in.leaf = 0;
	c.in.size = UINT64_MAX;
	point(&c, 64);
	memcpy(c.b, c.a, GX_SM3);
	for (size_t i = 0; i < 64; i++) {
		pair(hash, c.b, c.node[i], c.b);
	}
	break_it(hash, &c);
	/* the last of 2^64-1 stands alone beside 63 complete trees */
	c.in.leaf = UINT64_MAX - 1;
	point(&c, 63);
	memcpy(c.b, c.a, GX_SM3);
	for (size_t i = 0; i < 63; i++) {
		pair(hash, c.node[i], c.b, c.b);
	}
	break_it(hash, &c);
	/* 2^63 leaves are the left half of 2^64-1 */
	c.is_inclusion = false;
	c.con.size1 = UINT64_C(1) << 63;
	c.con.size2 = UINT64_MAX;
	point(&c, 1);
	pair(hash, c.a, c.node[0], c.b);
	break_it(hash, &c);
}

static void
same_size(void **state)
{
	const struct gx_merkle_hash *hash = &gx_merkle_sm3;
	struct claim c = {.is_inclusion = false};
	(void)state;
	point(&c, 0);
	for (uint64_t n = 0; n < 3; n++) {
		c.con.size1 = c.con.size2 = n;
		assert_int_equal(holds(hash, &c), n > 0);
		c.n = 1;
		assert_false(holds(hash, &c));
		c.n = 0;
		c.b[31] ^= 1;
		assert_false(holds(hash, &c));
		c.b[31] ^= 1;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_roots),
		cmocka_unit_test(roots_of_every_size),
		cmocka_unit_test(lanes_are_sm3),
		cmocka_unit_test(inclusion_of_every_leaf),
		cmocka_unit_test(consistency_of_every_pair),
		cmocka_unit_test(largest_trees),
		cmocka_unit_test(same_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
