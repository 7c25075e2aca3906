/*
 * Decimal numbers as they are written, of any length: compared exactly and
 * never through a double.
 */
#ifndef GX_RECORD_DECIMAL_H
#define GX_RECORD_DECIMAL_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

/* value = digits * 10^low.  p..end begins and ends with a digit that is not
 * zero and may hold a point; n counts the digits, 0 for zero.  Lies in the
 * text parsed. */
struct gx_decimal {
	const char *p, *end;
	size_t n;
	int64_t low;
	bool is_negative;
};

/* text is a good JSON number.  Exponents beyond +-10^17 count as that. */
struct gx_decimal gx_decimal_parse(const char *p, size_t n);
/* <0, 0, >0 */
int gx_decimal_compare(const struct gx_decimal *a, const struct gx_decimal *b);
bool gx_decimal_is_integer(const struct gx_decimal *a);
/* a is a whole multiple of d; d > 0 has at most 18 digits. */
bool gx_decimal_is_multiple(const struct gx_decimal *a,
			    const struct gx_decimal *d);
/* Plain integers of up to 18 digits: true and their value. */
bool gx_decimal_small(const char *p, size_t n, int64_t *out);

#endif
