/*
 * Messages and lines from foreign hands.  What the parser takes must be
 * written back by the writer byte for byte: the form is the only one.
 */
#include "record/batch.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
same_header(struct gx_slice msg, const struct gx_head *h)
{
	struct gx_buf b;
	gx_buf_init(&b, 2 * GX_BATCH_MAX);
	bool put = gx_head_put_unsigned(&b, h) &&
		   gx_head_put_sig(&b, h->sig, h->sig_n) &&
		   gx_buf_slice(&b, h->body);
	GX_ASSERT(put && gx_slice_eq(gx_buf_view(&b), msg));
	gx_buf_free(&b);
}

static void
same_line(struct gx_slice text, const struct gx_line *line)
{
	struct gx_buf b;
	gx_buf_init(&b, 2 * GX_LINE_MAX);
	bool put = gx_line_put(&b, line);
	GX_ASSERT(put && gx_slice_eq(gx_buf_view(&b), text));
	gx_buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct gx_slice in = {(const char *)data, n};
	struct gx_slice name;
	struct gx_head h;
	struct gx_line line;
	struct gx_stream_name parts;
	size_t at = 0;
	if (!gx_head_parse(in, &h)) {
		same_header(in, &h);
		while (h.kind == GX_MSG_MARKER &&
		       gx_marker_next(h.streams, &at, &name)) {
			GX_ASSERT(gx_stream_parse(name, &parts));
		}
	}
	at = 0;
	while (gx_body_next(in, &at, &name)) {
		if (!gx_line_parse(name, &line)) {
			same_line(name, &line);
		}
	}
	return 0;
}
