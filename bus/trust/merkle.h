/*
 * RFC 6962 Merkle tree over SM3: leaf = H(0x00 || data), node =
 * H(0x01 || left || right), empty root = H("").  One pass, O(log n) memory.
 */
#ifndef GX_TRUST_MERKLE_H
#define GX_TRUST_MERKLE_H

#include "trust/sm.h"

#include <stdint.h>

struct gx_merkle; /* about 2 KiB; reused */
struct gx_merkle *gx_merkle_new(void);
void gx_merkle_free(struct gx_merkle **m);
void gx_merkle_begin(struct gx_merkle *m);
void gx_merkle_add(struct gx_merkle *m, struct gx_slice leaf);
void gx_merkle_root(struct gx_merkle *m, unsigned char out[GX_SM3]);

#endif
