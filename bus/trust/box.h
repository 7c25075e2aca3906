/*
 * Box: bytes kept at rest so that nobody without the key reads or changes them.
 * SM4-CTR, then HMAC-SM3 over all of it and over a label that says where the
 * bytes belong, so that two boxes cannot be exchanged for each other.
 *
 *   01 | iv 16 | ciphertext | code 32
 */
#ifndef GX_TRUST_BOX_H
#define GX_TRUST_BOX_H

#include "trust/sm.h"

#define GX_BOX_EXTRA (1 + GX_SM4 + GX_SM3) /* a box is longer by so much */

struct gx_box;
/* From a file that gx_secret_make made; errors are its. */
enum gx_rc gx_box_load(const char *path, struct gx_box **out,
		       struct gx_err *e) GX_MUSTCHECK;
struct gx_box *gx_box_new(const unsigned char secret[GX_SECRET]);
void gx_box_free(struct gx_box **box);

/* Append the box to out; false if that is full, or the system gives no random
 * bytes: then nothing may be written down.  Thread: one at a time per box. */
bool gx_box_seal(struct gx_box *box, struct gx_slice label,
		 struct gx_slice plain, struct gx_buf *out);
/* Append what is in it; false, and nothing appended, if a bit of it or of the
 * label is other than it was sealed. */
bool gx_box_open(struct gx_box *box, struct gx_slice label,
		 struct gx_slice sealed, struct gx_buf *out);

#endif
