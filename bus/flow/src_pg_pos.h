/*
 * Positions in a PostgreSQL source; the text form stands in src_pg.h.
 */
#ifndef GX_FLOW_SRC_PG_POS_H
#define GX_FLOW_SRC_PG_POS_H

#include "base/mem.h"

#include <stdint.h>

#define GX_PG_POS_MAX 1500 /* bytes of the text */
#define GX_PG_POS_KEY 1200 /* bytes of the key in base64 */
#define GX_PG_SLOT_MAX 63

/* Which server and slot a position belongs to. */
struct gx_pg_place {
	uint64_t system;
	uint32_t timeline;
	char slot[GX_PG_SLOT_MAX + 1];
	uint64_t born; /* LSN the full reading of this slot began at */
};
/* Same server and slot; born is not compared: of two, the higher is newer. */
bool gx_pg_place_eq(const struct gx_pg_place *a, const struct gx_pg_place *b);

struct gx_pg_pos {
	bool is_reading;     /* S, else C */
	bool owes_end;	     /* R */
	uint64_t lsn;	     /* C: commit; S: where changes begin afterwards */
	uint64_t idx;	     /* C: change of the transaction; S: rows so far */
	uint64_t until;	     /* loading while lsn < until */
	struct gx_slice key; /* S: base64 of the last key taken, n = 0 none */
};

/* Append the text.  false if it does not fit into b. */
bool gx_pg_pos_put(struct gx_buf *b, const struct gx_pg_place *place,
		   const struct gx_pg_pos *pos);
/* Strict; out->key lies in text. */
bool gx_pg_pos_parse(struct gx_slice text, struct gx_pg_place *place,
		     struct gx_pg_pos *out);
/* -1, 0, 1 by (lsn, idx); a position in a reading stands at (lsn, 0). */
int gx_pg_pos_cmp(const struct gx_pg_pos *a, uint64_t lsn, uint64_t idx);

#endif
