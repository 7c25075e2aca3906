/*
 * World, the planted mistakes: their names, the faults each of them fears, and
 * those that the linker puts in the place of functions of ours (see the
 * Makefile).  The others are one line each where the world does what the
 * mistake is about: look for W.mistake.  None of them is in the product.
 *
 * The chain's verdicts pass here anyway, so this is also where they are counted
 * and where an equivocation between honest parts is noticed.
 */
#include "world.h"

static const char *const mistake_name[] = {
	"release on the broker's word",
	"sealing before the own marker is read",
	"no void rule",
	"no compare-and-set",
	"link resuming from what was acknowledged",
	"marker not stored with the row",
	"a stream found in two partitions",
	"resume of a stopped stream from the partition's offset",
	"a take-over forgets the quarantine of a newer one",
	"a zombie takes the noted release back",
	"a lost partition stops its neighbours",
	"only a higher epoch disproves a forged key",
};

const char *
world_mistake_name(enum w_mistake m)
{
	return mistake_name[m];
}

/* What a mistake is about must be there; nothing is lost that an honest program
 * would have to report. */
void
world_mistake_faults(void)
{
	if (W.setting == M_NONE) {
		return;
	}
	W.log[CITY].is_durable = true;
	W.log[HUB].is_durable = W.setting != M_LINK_ACKED;
	W.has[F_RESTORE_LOG] = false;
	W.has[F_RESTORE_DB] = false;
	W.has[F_RESTORE_SOURCE] = false;
	W.has[F_LATE] = W.has[F_DIE] = W.has[F_ZOMBIE] = true;
	W.has[F_LOST_TAIL] = W.setting == M_LINK_ACKED;
	W.has[F_UNKNOWN] = W.setting == M_STOP_FORGOTTEN;
	W.has[F_TRIM] = W.setting == M_STOP_FORGOTTEN;
	W.has[F_MISPLACED] = W.setting == M_TWO_PARTITIONS;
	W.has[F_JUNK] |= W.setting == M_EPOCH_DECIDES;
	if (W.setting == M_LOST_ALL) {
		W.has[F_LOST_TAIL] = true;
		W.log[CITY].is_durable = false;
	}
	W.has[F_NESTED] |=
		W.setting == M_SETTLE_BLIND || W.setting == M_RELEASE_BLIND;
}

enum gx_verdict __real_gx_chain_batch(const struct gx_chain *c,
				      const struct gx_head *h,
				      const unsigned char head_hash[GX_HASH],
				      const struct gx_taken *taken);
enum gx_verdict __wrap_gx_chain_batch(const struct gx_chain *c,
				      const struct gx_head *h,
				      const unsigned char head_hash[GX_HASH],
				      const struct gx_taken *taken);

enum gx_verdict
__wrap_gx_chain_batch(const struct gx_chain *c, const struct gx_head *h,
		      const unsigned char head_hash[GX_HASH],
		      const struct gx_taken *taken)
{
	struct gx_head mine = *h;
	enum gx_verdict v;

	if (W.mistake == M_NO_VOID && h->epoch <= c->epoch) {
		mine.epoch = c->epoch;
		mine.writer = c->writer;
	}
	v = __real_gx_chain_batch(c, &mine, head_hash, taken);
	T.verdicts[v]++;
	if (v == GX_V_EQUIVOCATION && !W.is_hit[h->partition]) {
		world_fail("%.*s: honest parts meet an equivocation at %llu",
			   (int)h->stream.n, h->stream.p,
			   (unsigned long long)h->first);
	}
	return v;
}

uint64_t __real_gx_chain_epoch(uint64_t highest_seen, int64_t now_ms);
uint64_t __wrap_gx_chain_epoch(uint64_t highest_seen, int64_t now_ms);

/* What another writer has just claimed, and nobody has read yet. */
uint64_t
__wrap_gx_chain_epoch(uint64_t highest_seen, int64_t now_ms)
{
	uint64_t mine = __real_gx_chain_epoch(highest_seen, now_ms);
	uint64_t others = W.cur ? W.source[W.cur->source].claimed : 0;

	if (others > highest_seen && W.has[F_SAME_EPOCH] && world_one_in(2)) {
		T.faults[F_SAME_EPOCH]++;
		return others;
	}
	return mine;
}
