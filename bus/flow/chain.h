/*
 * Chain: the rules of streams and batches (docs/protocol.md) in one place.
 * Pure: bytes and state in, verdict out.  Writer, reader, link, sink and the
 * simulation all use this piece and no other.
 */
#ifndef GX_FLOW_CHAIN_H
#define GX_FLOW_CHAIN_H

#include "record/batch.h"
#include "trust/seal.h"

/* State of one stream: what has been taken.  Plain data, copied freely. */
struct gx_chain {
	uint64_t epoch, writer;	     /* of the owner: the newest marker read */
	uint64_t next_seq;	     /* 1 for a stream with no record */
	unsigned char head[GX_HASH]; /* head hash of the last batch, 0s first */
	char src[GX_SRC_MAX + 1];    /* its src object, "{}" first */
};
void gx_chain_init(struct gx_chain *c);

enum gx_verdict {
	GX_V_TAKE,   /* batch continues the chain, or marker of a new owner */
	GX_V_REPEAT, /* taken before, or older than all that is kept */
	GX_V_VOID,   /* of a deposed writer; or an old marker */
	GX_V_GAP,    /* something before it is missing */
	GX_V_EQUIVOCATION, /* two histories under one stream */
	GX_V_REFUSE, /* forged, wrong place, key not allowed, undeclared */
	GX_V_WAIT    /* key or schema not known here yet */
};
#define GX_V_COUNT 7
const char *gx_verdict_name(enum gx_verdict v);

/* What the store keeps of taken batches that are still in its log. */
struct gx_taken {
	bool found; /* a batch with this first is kept */
	uint64_t n;
	unsigned char head[GX_HASH];
	uint64_t lowest_first; /* of all kept batches of the stream, 0 none */
};

/*
 * Verdict on a batch whose seal, place and declaration were found good and
 * whose head hash is given.  taken is looked up by h->first, and is read only
 * if h->first < c->next_seq.
 */
enum gx_verdict gx_chain_batch(const struct gx_chain *c,
			       const struct gx_head *h,
			       const unsigned char head_hash[GX_HASH],
			       const struct gx_taken *taken);
/* Verdict on a good marker that names the stream: TAKE or VOID. */
enum gx_verdict gx_chain_marker(const struct gx_chain *c,
				const struct gx_head *h);
/* Move the state after a TAKE. */
void gx_chain_take_batch(struct gx_chain *c, const struct gx_head *h,
			 const unsigned char head_hash[GX_HASH]);
void gx_chain_take_marker(struct gx_chain *c, const struct gx_head *h);

/*
 * src is {"source":"<position>","redrive":<number>,"guard":[..]}, members in
 * this order, the last two only if there is something to tell.  The position of
 * the source, "" if there is none; the last replay that was ordered here, 0 if
 * there is none.
 */
struct gx_slice gx_chain_source(const struct gx_chain *c);
uint64_t gx_chain_redrive(const struct gx_chain *c);

/* The epoch a take-over chooses: the higher of highest seen + 1 and now. */
uint64_t gx_chain_epoch(uint64_t highest_seen, int64_t now_ms);

#endif
