/*
 * Exact decimals.
 *
 * JSON numbers are decimal texts, and so are amounts of money and limits in a
 * schema.  0.1 is no double, 1e400 neither, and a limit that two nodes round
 * differently would let a record pass here and fail there.  So numbers are
 * compared by their digits: a number is a run of significant digits and the
 * place of the last of them, and both lie in the text where they came from.
 *
 * All functions are pure, take time linear in the digits and no memory.  Only
 * the exponent is bounded: beyond 10^17 places two numbers of one sign count
 * as equally long, which no text of a record can tell from the truth in any
 * limit a schema may hold.
 */
#include "record/decimal.h"

#define EXPONENT_MAX INT64_C(100000000000000000)

static int64_t
parse_exponent(const char *p, const char *end)
{
	bool negative = *p == '-';
	int64_t v = 0;

	for (p += *p == '-' || *p == '+'; p < end; p++) {
		v = v < EXPONENT_MAX ? v * 10 + (*p - '0') : EXPONENT_MAX;
	}
	v = v < EXPONENT_MAX ? v : EXPONENT_MAX;
	return negative ? -v : v;
}

struct gx_decimal
gx_decimal_parse(const char *p, size_t n)
{
	const char *end = p + n;
	struct gx_decimal d = {.is_negative = *p == '-'};
	int64_t place = 0; /* digits behind the point so far */
	size_t n_digits = 0;
	bool behind = false;

	for (p += d.is_negative; p < end && (*p | 0x20) != 'e'; p++) {
		if (*p == '.') {
			behind = true;
			continue;
		}
		place += behind;
		n_digits += d.p != NULL;
		if (*p == '0') {
			d.low += !behind && d.p;
			continue;
		}
		if (!d.p) {
			d.p = p;
			n_digits = 1;
		}
		d.end = p + 1;
		d.n = n_digits;
		d.low = -place;
	}
	if (p < end) {
		d.low += parse_exponent(p + 1, end);
	}
	if (!d.p) {
		return (struct gx_decimal){0};
	}
	return d;
}

/* Next digit, '0' for ever behind the end. */
static char
next_digit(const char **p, const char *end)
{
	if (*p < end && **p == '.') {
		++*p;
	}
	return *p < end ? *(*p)++ : '0';
}

static int
compare_magnitude(const struct gx_decimal *a, const struct gx_decimal *b)
{
	int64_t top_a = a->low + (int64_t)a->n, top_b = b->low + (int64_t)b->n;
	const char *p = a->p, *q = b->p;

	if (top_a != top_b) {
		return top_a < top_b ? -1 : 1;
	}
	while (p < a->end || q < b->end) {
		char x = next_digit(&p, a->end), y = next_digit(&q, b->end);
		if (x != y) {
			return x < y ? -1 : 1;
		}
	}
	return 0;
}

int
gx_decimal_compare(const struct gx_decimal *a, const struct gx_decimal *b)
{
	int sign_a = a->n == 0 ? 0 : a->is_negative ? -1 : 1;
	int sign_b = b->n == 0 ? 0 : b->is_negative ? -1 : 1;

	if (sign_a != sign_b) {
		return sign_a < sign_b ? -1 : 1;
	}
	return sign_a == 0 ? 0 : sign_a * compare_magnitude(a, b);
}

bool
gx_decimal_is_integer(const struct gx_decimal *a)
{
	return a->n == 0 || a->low >= 0;
}

__extension__ typedef unsigned __int128 wide;

static uint64_t
power_of_ten(int64_t n, uint64_t modulus)
{
	wide base = 10 % modulus, v = 1 % modulus;

	for (; n > 0; n >>= 1) {
		if (n & 1) {
			v = v * base % modulus;
		}
		base = base * base % modulus;
	}
	return (uint64_t)v;
}

bool
gx_decimal_is_multiple(const struct gx_decimal *a, const struct gx_decimal *d)
{
	uint64_t modulus = 0;
	wide rest = 0;

	GX_ASSERT(d->n > 0 && d->n <= 18);
	if (a->n == 0) {
		return true;
	}
	/* Its last digit is not 0, so nothing coarser divides it. */
	if (a->low < d->low) {
		return false;
	}
	for (const char *p = d->p; p < d->end; p++) {
		if (*p != '.') {
			modulus = modulus * 10 + (uint64_t)(*p - '0');
		}
	}
	for (const char *p = a->p; p < a->end; p++) {
		if (*p != '.') {
			rest = rest * 10 + (unsigned char)(*p - '0');
			rest %= modulus;
		}
	}
	rest *= power_of_ten(a->low - d->low, modulus);
	return rest % modulus == 0;
}

bool
gx_decimal_small(const char *p, size_t n, int64_t *out)
{
	const char *end = p + n;
	bool negative = *p == '-';
	int64_t v = 0;

	p += negative;
	if (end - p > 18) {
		return false;
	}
	for (; p < end; p++) {
		if (*p < '0' || *p > '9') {
			return false;
		}
		v = v * 10 + (*p - '0');
	}
	*out = negative ? -v : v;
	return true;
}
