/*
 * SM3 (GB/T 32905) of many messages, eight at a time: one in each lane of an
 * AVX2 register.  Asked for by merkle.c; OpenSSL's SM3 does one at a time.
 */
#ifndef GX_TRUST_SM3_X8_H
#define GX_TRUST_SM3_X8_H

#include "trust/sm.h"

/* Has this processor AVX2?  The same answer for the whole run. */
bool gx_sm3_x8_ready(void);
/* out[i] = SM3(prefix || msgs[i]) for n messages of any lengths.  Only where
 * ready; out must not overlap a message.  Thread: any. */
void gx_sm3_x8(unsigned char prefix, const struct gx_slice *msgs, size_t n,
	       unsigned char (*out)[GX_SM3]);

#endif
