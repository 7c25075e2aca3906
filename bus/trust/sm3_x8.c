/*
 * SM3 of many messages, eight at a time.
 *
 * SM3 of one message is a chain of dependent steps and leaves most of a
 * processor idle.  Here each of eight lanes of 32 bits carries a message of
 * its own, and one pass of the compression function (GB/T 32905 5.3) moves all
 * eight by a block.  Messages need not be equally long: a lane that has ended
 * its message gives the hash away and takes the next, so lanes run empty only
 * when no message is left.
 *
 * A message is read where it lies.  Only its first block, which begins with
 * the prefix, and its last one or two, which hold the padding, are put
 * together in the lane's own 64 bytes.
 *
 * It is written in the vector types of GCC and clang, not in intrinsics; the
 * attribute of the two functions that use them is what makes AVX2 of it, so
 * that the rest of the program runs on any processor.  Whether this one has
 * AVX2 is asked by gx_sm3_x8_ready; without it nothing here may be called.
 *
 * There is no state between two calls, no allocation and no secret: what a
 * tree is made of is public to its reader.  Timing is not hidden.
 */
#include "trust/sm3_x8.h"

#include <stdint.h>

#define LANES 8
#define WORDS 8 /* of a state */
#define BLOCK 64

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2")))
#define AVX2_PART static inline __attribute__((target("avx2"), always_inline))

/* Small loops whose indices must be constants to stay in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

typedef uint32_t v8 __attribute__((vector_size(32)));
typedef uint8_t v32 __attribute__((vector_size(32)));

struct lane {
	const char *p; /* the message behind its prefix; NULL: idle */
	size_t n;      /* bytes with the prefix */
	size_t at;     /* block that comes next */
	size_t end;    /* blocks with the padding */
	size_t index;  /* which message */
	unsigned char block[BLOCK];
};

struct lanes {
	uint32_t state[WORDS][LANES];
	struct lane lane[LANES];
};

static const uint32_t start[WORDS] = {0x7380166f, 0x4914b2b9, 0x172442d7,
				      0xda8a0600, 0xa96f30bc, 0x163138aa,
				      0xe38dee4d, 0xb0fb0e4e};

/* Rotate each word; by whole bytes it is one shuffle. */
#define ROTATE(x, k) ((x) << (k) | (x) >> (32 - (k)))

AVX2_PART v8
rotate_8(v8 x)
{
	v32 b = (v32)x;
	return (v8)__builtin_shufflevector(
		b, b, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14, 19,
		16, 17, 18, 23, 20, 21, 22, 27, 24, 25, 26, 31, 28, 29, 30);
}

AVX2_PART v8
swap_bytes(v8 x)
{
	v32 b = (v32)x;
	return (v8)__builtin_shufflevector(
		b, b, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19,
		18, 17, 16, 23, 22, 21, 20, 27, 26, 25, 24, 31, 30, 29, 28);
}

/* Eight words of eight messages become eight messages' words. */
AVX2_PART void
transpose(v8 r[8])
{
	v8 a[8], b[8];
	UNROLL
	for (int i = 0; i < 8; i += 2) {
		a[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4,
					       12, 5, 13);
		a[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11,
						   6, 14, 7, 15);
	}
	UNROLL
	for (int i = 0; i < 8; i += 4) {
		UNROLL
		for (int k = 0; k < 2; k++) {
			v8 x = a[i + k], y = a[i + 2 + k];
			b[i + 2 * k] = __builtin_shufflevector(x, y, 0, 1, 8, 9,
							       4, 5, 12, 13);
			b[i + 2 * k + 1] = __builtin_shufflevector(
				x, y, 2, 3, 10, 11, 6, 7, 14, 15);
		}
	}
	UNROLL
	for (int i = 0; i < 4; i++) {
		r[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9,
					       10, 11);
		r[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7,
						   12, 13, 14, 15);
	}
}

/* The words of the eight blocks and their expansion (5.3.2). */
AVX2_PART void
expand(const unsigned char *const blocks[LANES], v8 w[68])
{
	for (int half = 0; half < 2; half++) {
		v8 *r = w + 8 * half;
		UNROLL
		for (int i = 0; i < LANES; i++) {
			memcpy(&r[i], blocks[i] + 32 * half, 32);
			r[i] = swap_bytes(r[i]);
		}
		transpose(r);
	}
	for (int j = 16; j < 68; j++) {
		v8 x = w[j - 16] ^ w[j - 9] ^ ROTATE(w[j - 3], 15);
		v8 y = ROTATE(x, 15);
		w[j] = x ^ y ^ rotate_8(y) ^ ROTATE(w[j - 13], 7) ^ w[j - 6];
	}
}

/*
 * Round r of the compression (5.3.3).  Words are not moved along as in the
 * standard: the names wander over s instead, and are back after four rounds.
 */
AVX2_PART void
turn(v8 s[WORDS], int r, const v8 w[68], int j, uint32_t t)
{
	v8 *a = &s[-r & 3], *b = &s[(1 - r) & 3], *c = &s[(2 - r) & 3];
	v8 *d = &s[(3 - r) & 3], *e = &s[4 + (-r & 3)];
	v8 *f = &s[4 + ((1 - r) & 3)], *g = &s[4 + ((2 - r) & 3)];
	v8 *h = &s[4 + ((3 - r) & 3)];
	v8 a12 = ROTATE(*a, 12);
	v8 ss1 = a12 + (*e + t);
	v8 ff, gg;
	ss1 = ROTATE(ss1, 7);
	if (j < 16) {
		ff = *a ^ *b ^ *c;
		gg = *e ^ *f ^ *g;
	} else {
		ff = (*a & *b) | ((*a | *b) & *c);
		gg = *g ^ (*e & (*f ^ *g));
	}
	v8 tt1 = (ff + *d + (w[j] ^ w[j + 4])) + (ss1 ^ a12);
	v8 tt2 = (gg + *h + w[j]) + ss1;
	v8 p = ROTATE(tt2, 9);
	*b = ROTATE(*b, 9);
	*d = tt1;
	*f = ROTATE(*f, 19);
	*h = tt2 ^ p ^ rotate_8(p);
}

static AVX2 void
compress(uint32_t state[WORDS][LANES], const unsigned char *const blocks[LANES])
{
	v8 w[68], s[WORDS], was[WORDS];
	uint32_t t = 0x79cc4519;
	expand(blocks, w);
	memcpy(s, state, sizeof(s));
	memcpy(was, state, sizeof(was));
	for (int j = 0; j < 16; j += 4) {
		UNROLL
		for (int r = 0; r < 4; r++) {
			turn(s, r, w, j + r, t);
			t = ROTATE(t, 1);
		}
	}
	t = ROTATE(UINT32_C(0x7a879d8a), 16);
	for (int j = 16; j < 64; j += 4) {
		UNROLL
		for (int r = 0; r < 4; r++) {
			turn(s, r, w, j + r, t);
			t = ROTATE(t, 1);
		}
	}
	UNROLL
	for (int i = 0; i < WORDS; i++) {
		s[i] ^= was[i];
	}
	memcpy(state, s, sizeof(s));
}

/* A block that holds the prefix or padding, put together. */
static const unsigned char *
make_block(struct lane *l, unsigned char prefix)
{
	size_t from = l->at * BLOCK;
	size_t skip = from == 0; /* the prefix is not in p */
	size_t n = from >= l->n ? 0 : l->n - from < BLOCK ? l->n - from : BLOCK;
	memset(l->block, 0, BLOCK);
	if (skip) {
		l->block[0] = prefix;
	}
	if (n > skip) {
		memcpy(l->block + skip, l->p + from + skip - 1, n - skip);
	}
	if (n < BLOCK && from + n == l->n) {
		l->block[n] = 0x80;
	}
	if (l->at + 1 == l->end) {
		uint64_t bits = (uint64_t)l->n * 8;
		for (int i = 0; i < 8; i++) {
			l->block[BLOCK - 1 - i] =
				(unsigned char)(bits >> (8 * i));
		}
	}
	return l->block;
}

static const unsigned char *
next_block(struct lane *l, unsigned char prefix)
{
	static const unsigned char nothing[BLOCK];
	if (!l->p) {
		return nothing;
	}
	if (l->at > 0 && (l->at + 1) * BLOCK <= l->n) {
		return (const unsigned char *)l->p + l->at * BLOCK - 1;
	}
	return make_block(l, prefix);
}

/* Lane i begins message number index. */
static void
fill_lane(struct lanes *x, int i, const struct gx_slice *msgs, size_t index)
{
	struct lane *l = &x->lane[i];
	l->p = msgs[index].p ? msgs[index].p : "";
	l->n = msgs[index].n + 1;
	l->at = 0;
	l->end = (l->n + 8) / BLOCK + 1;
	l->index = index;
	for (int k = 0; k < WORDS; k++) {
		x->state[k][i] = start[k];
	}
}

static void
take_hash(const struct lanes *x, int i, unsigned char out[GX_SM3])
{
	for (int k = 0; k < WORDS; k++) {
		uint32_t v = x->state[k][i];
		out[4 * k] = (unsigned char)(v >> 24);
		out[4 * k + 1] = (unsigned char)(v >> 16);
		out[4 * k + 2] = (unsigned char)(v >> 8);
		out[4 * k + 3] = (unsigned char)v;
	}
}

void
gx_sm3_x8(unsigned char prefix, const struct gx_slice *msgs, size_t n,
	  unsigned char (*out)[GX_SM3])
{
	struct lanes x = {0};
	const unsigned char *blocks[LANES];
	size_t next = 0, n_done = 0;
	for (int i = 0; i < LANES && next < n; i++) {
		fill_lane(&x, i, msgs, next++);
	}
	while (n_done < n) {
		for (int i = 0; i < LANES; i++) {
			blocks[i] = next_block(&x.lane[i], prefix);
		}
		compress(x.state, blocks);
		for (int i = 0; i < LANES; i++) {
			struct lane *l = &x.lane[i];
			if (!l->p || ++l->at < l->end) {
				continue;
			}
			take_hash(&x, i, out[l->index]);
			n_done++;
			l->p = NULL;
			if (next < n) {
				fill_lane(&x, i, msgs, next++);
			}
		}
	}
}

bool
gx_sm3_x8_ready(void)
{
	return __builtin_cpu_supports("avx2");
}

#else

bool
gx_sm3_x8_ready(void)
{
	return false;
}

void
gx_sm3_x8(unsigned char prefix, const struct gx_slice *msgs, size_t n,
	  unsigned char (*out)[GX_SM3])
{
	(void)prefix;
	(void)msgs;
	(void)n;
	(void)out;
	GX_ASSERT(false);
}

#endif
