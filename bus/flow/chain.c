/*
 * Chain: the verdicts of docs/protocol.md 4 and nothing else.
 *
 * There is no I/O, no clock and no memory here, so that the same lines decide
 * in the writer that settles its head, in the link that watches, in the sink
 * that commits and in the simulation that tries to break them.  The caller has
 * already found the seal good and the place right; what it cannot know from
 * the bytes alone, namely which batches were taken before, it looks up and
 * hands in.
 *
 * Order in the log decides.  A verdict depends on the state and the message,
 * never on a time: the epoch may look like one, but only "higher" is asked.
 */
#include "flow/chain.h"

#include "base/text.h"

#include <string.h>

void
gx_chain_init(struct gx_chain *c)
{
	memset(c, 0, sizeof *c);
	c->next_seq = 1;
	memcpy(c->src, "{}", 3);
}

const char *
gx_verdict_name(enum gx_verdict v)
{
	static const char *const name[GX_V_COUNT] = {
		"take",		"repeat", "void", "gap",
		"equivocation", "refuse", "wait"};

	GX_ASSERT((unsigned)v < GX_V_COUNT);
	return name[v];
}

/* A run that begins below next: known to us, or older than all we kept. */
static enum gx_verdict
judge_old(const struct gx_chain *c, const struct gx_head *h,
	  const unsigned char head_hash[GX_HASH], const struct gx_taken *taken)
{
	uint64_t floor =
		taken->lowest_first ? taken->lowest_first : c->next_seq;

	if (taken->found && taken->n == h->n &&
	    memcmp(taken->head, head_hash, GX_HASH) == 0) {
		return GX_V_REPEAT;
	}
	if (!taken->found && h->first + h->n <= floor) {
		return GX_V_REPEAT;
	}
	return GX_V_EQUIVOCATION;
}

enum gx_verdict
gx_chain_batch(const struct gx_chain *c, const struct gx_head *h,
	       const unsigned char head_hash[GX_HASH],
	       const struct gx_taken *taken)
{
	if (h->epoch < c->epoch ||
	    (h->epoch == c->epoch && h->writer != c->writer)) {
		return GX_V_VOID;
	}
	if (h->epoch > c->epoch || h->first > c->next_seq) {
		return GX_V_GAP;
	}
	if (h->first < c->next_seq) {
		return judge_old(c, h, head_hash, taken);
	}
	return memcmp(h->prev, c->head, GX_HASH) == 0 ? GX_V_TAKE
						      : GX_V_EQUIVOCATION;
}

enum gx_verdict
gx_chain_marker(const struct gx_chain *c, const struct gx_head *h)
{
	return h->epoch > c->epoch ? GX_V_TAKE : GX_V_VOID;
}

void
gx_chain_take_batch(struct gx_chain *c, const struct gx_head *h,
		    const unsigned char head_hash[GX_HASH])
{
	/* The codec bounds src and seq; a longer one never got this far. */
	GX_ASSERT(h->src.n <= GX_SRC_MAX);
	c->next_seq = h->first + h->n;
	memcpy(c->head, head_hash, GX_HASH);
	memcpy(c->src, h->src.p, h->src.n);
	c->src[h->src.n] = '\0';
}

void
gx_chain_take_marker(struct gx_chain *c, const struct gx_head *h)
{
	c->epoch = h->epoch;
	c->writer = h->writer;
}

uint64_t
gx_chain_epoch(uint64_t highest_seen, int64_t now_ms)
{
	uint64_t now = now_ms > 0 ? (uint64_t)now_ms : 0;

	return highest_seen + 1 > now ? highest_seen + 1 : now;
}

static const char source_member[] = "{\"source\":\"";
static const char redrive_member[] = "\",\"redrive\":";

struct gx_slice
gx_chain_source(const struct gx_chain *c)
{
	size_t skip = sizeof source_member - 1;

	if (strncmp(c->src, source_member, skip) != 0) {
		return gx_slice("", 0);
	}
	return gx_slice(c->src + skip, strcspn(c->src + skip, "\""));
}

uint64_t
gx_chain_redrive(const struct gx_chain *c)
{
	struct gx_slice pos = gx_chain_source(c);
	const char *p = pos.p + pos.n;
	size_t skip = sizeof redrive_member - 1;
	uint64_t n = 0;

	if (strncmp(p, redrive_member, skip) != 0) {
		return 0;
	}
	p += skip;
	return gx_parse_u64(p, strspn(p, "0123456789"), INT64_MAX, &n) ? n : 0;
}
