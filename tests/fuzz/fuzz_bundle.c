/*
 * Receipts and evidence bundles from foreign hands.  A receipt that is taken
 * is written back byte for byte; a bundle may be taken only if it is text to
 * its last byte, and the line that is blamed is one of its lines.
 */
#include "trust/bundle.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
same_receipt(struct gx_slice text, const struct gx_receipt *r)
{
	struct gx_buf b;
	size_t at = 0;
	uint64_t seq = 0, before = 0;
	gx_buf_init(&b, 2 * GX_RECEIPT_MAX);
	GX_ASSERT(gx_receipt_put(&b, r) && gx_slice_eq(gx_buf_view(&b), text));
	while (gx_receipt_next(r->aside_seq, &at, &seq)) {
		GX_ASSERT(seq > before && seq <= r->seq);
		before = seq;
	}
	gx_buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct gx_slice in = {(const char *)data, n}, line;
	struct gx_bundle *b = gx_mem_new(sizeof(*b));
	struct gx_receipt r;
	size_t at = 0, n_lines = 0;
	while (gx_body_next(in, &at, &line)) {
		n_lines++;
		if (!gx_receipt_parse(line, &r)) {
			same_receipt(line, &r);
		}
	}
	if (!gx_bundle_check(in, NULL, b)) {
		GX_ASSERT(in.p[n - 1] == '\n' && b->giver.n > 0);
	}
	GX_ASSERT(b->line <= n_lines + 1);
	gx_mem_free(b);
	return 0;
}
