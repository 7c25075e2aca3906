/*
 * Reader: what it refuses is evidence.
 *
 * A message that is forged, or stands where it has no business, is never
 * taken, and the log may be trimmed or lost before a person looks.  So the
 * transaction that moves the offset past it also notes the place, the reason
 * and the digest of what was signed; the receipt maker then says so, signed, to
 * the owner of the stream that the message names (docs/receipt.md).
 *
 * The name of a stream is what a forger wrote: it is kept only if it has the
 * form of one, and nothing is decided by it here.  Nothing of the lines is
 * kept.  A message that is met again, by a stream that reads its partition
 * again, is the same row.
 *
 * All of this lives in the open transaction: if we die anywhere the message is
 * met again, and refused again.
 */
#include "flow/reader_int.h"

#define REFUSALS_FIRST 8

/* "batch.refused." and the reason in letters that a code may have. */
static void
put_reason(char out[64], const char *why)
{
	size_t n = (size_t)snprintf(out, 64, "batch.refused.");

	for (; *why != '\0' && n < 63; why++) {
		bool is_good = (*why >= 'a' && *why <= 'z') ||
			       (*why >= '0' && *why <= '9');

		if (is_good || out[n - 1] != '_') {
			out[n++] = *why;
			out[n - 1] = is_good ? *why : '_';
		}
	}
	out[n] = '\0';
}

void
gx_reader_note_refusal(struct place *pl, const struct gx_msg *m,
		       const char *why)
{
	struct gx_refusal *rf;
	struct gx_stream_name name;
	struct gx_head h;

	if (pl->n_refusals == pl->max_refusals) {
		size_t max = pl->max_refusals * 2 + REFUSALS_FIRST;
		void *p = gx_mem_grow(pl->refusals, max, sizeof *pl->refusals);

		GX_ASSERT(p != NULL); /* a transaction holds few */
		pl->refusals = p;
		pl->max_refusals = max;
	}
	rf = &pl->refusals[pl->n_refusals++];
	memset(rf, 0, sizeof *rf);
	rf->at = m->offset;
	put_reason(rf->reason, why);
	if (gx_head_parse(m->value, &h) == NULL) {
		gx_sm3(h.signed_bytes.p, h.signed_bytes.n, rf->digest);
		if (gx_stream_parse(h.stream, &name)) {
			memcpy(rf->stream, h.stream.p, h.stream.n);
		}
	}
	pl->is_dirty = true;
}
