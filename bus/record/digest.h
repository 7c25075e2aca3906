/*
 * Digests of JSON values: two values that JSON Schema calls equal have the
 * same digest (1 and 1.0, members in any order, any escapes), and two that
 * are not have different ones but for a chance of 2^-128 that nobody outside
 * can steer, since the key is random.  Used where values are compared many to
 * many: uniqueItems, enum, const, names of an object.
 */
#ifndef GX_RECORD_DIGEST_H
#define GX_RECORD_DIGEST_H

#include "base/err.h"
#include "base/mem.h"

#include <stdint.h>

struct gx_scan;

struct gx_digest_key {
	uint64_t k[2];
};
struct gx_digest {
	uint64_t a, b;
};

/* From the kernel; ends the process if it has none. */
void gx_digest_key_new(struct gx_digest_key *key);
/* Of bytes as they are. */
struct gx_digest gx_digest_bytes(const struct gx_digest_key *key,
				 struct gx_slice bytes);
/* Of the value whose good JSON text this is; depth <= 64. */
struct gx_digest gx_digest_value(const struct gx_digest_key *key,
				 struct gx_slice raw);
/* The same for the value that s stands at (behind white space); s moves
 * behind it. */
struct gx_digest gx_digest_next(const struct gx_digest_key *key,
				struct gx_scan *s);
/* Of a string token's inside (decoded on the way). */
struct gx_digest gx_digest_string(const struct gx_digest_key *key,
				  struct gx_slice inside);
bool gx_digest_eq(struct gx_digest x, struct gx_digest y);
/* Sorts; true if two are equal. */
bool gx_digest_has_twin(struct gx_digest *d, size_t n);

#endif
