/*
 * Makes a stream, its receipts and bundles the way a writer, a sink and a
 * node do, with keys of the day, for tests of what is proved by them.
 */
#include "evid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

const char *const evid_nodes[EVID_NODES] = {"450100", "450000", "national"};
static const uint64_t sizes[EVID_BATCHES] = {1, 2, 7, 8, 33, 5};

static void
put_lines(struct gx_buf *b, uint64_t first, uint64_t n, const char *salt)
{
	for (uint64_t i = first; i < first + n; i++) {
		gx_buf_printf(b,
			      "{\"op\":\"u\",\"k\":[\"%06d\"],\"t\":\"" EVID_AT
			      "\",\"d\":{\"id\":\"%06d\",\"of\":\"%s\"}}\n",
			      (int)i, (int)i, salt);
	}
}

static void
seal_batch(struct evid *v, int i, struct gx_sealer *s, const char *salt)
{
	static char schema[] = "social.insured@1:00000000000000000000000000000"
			       "00000000000000000000000000000000000";
	uint64_t first = i ? v->head[i - 1].first + v->head[i - 1].n : 1;
	struct gx_buf body;
	struct gx_err e;
	struct gx_head h = {.stream = gx_slice_str(v->stream),
			    .partition = 3,
			    .epoch = i < 4 ? 1796 : 1797,
			    .writer = i < 4 ? 15 : 16,
			    .first = first,
			    .n = sizes[i],
			    .at = GX_SLICE(EVID_AT),
			    .schema = gx_slice_str(schema),
			    .src = GX_SLICE("{\"cdc\":\"1\"}")};
	if (i) {
		memcpy(h.prev, v->hash[i - 1], GX_HASH);
	}
	gx_buf_init(&body, 1 << 20);
	gx_buf_init(&v->msg[i], 1 << 20);
	put_lines(&body, first, sizes[i], salt);
	assert_int_equal(gx_seal_batch(s, &h, gx_buf_view(&body), &v->msg[i],
				       v->hash[i], &e),
			 GX_OK);
	assert_null(gx_head_parse(gx_buf_view(&v->msg[i]), &v->head[i]));
	gx_buf_free(&body);
}

void
evid_open(struct evid *v, const char *stream, const struct evid *keys,
	  const char *salt)
{
	memset(v, 0, sizeof(*v));
	v->stream = stream;
	v->ring = keys ? NULL : gx_keyring_new();
	for (int i = 0; i < EVID_NODES; i++) {
		struct gx_err e;
		struct gx_key *k = NULL;
		if (keys) {
			v->key[i] = keys->key[i];
			continue;
		}
		assert_int_equal(gx_key_random(&k, &e), GX_OK);
		v->key[i] = k;
		gx_keyring_add(v->ring, evid_nodes[i], &k);
	}
	struct gx_sealer *s = gx_sealer_new(v->key[EVID_CITY]);
	for (int i = 0; i < EVID_BATCHES; i++) {
		seal_batch(v, i, s, salt);
	}
	gx_sealer_free(&s);
}

void
evid_close(struct evid *v)
{
	gx_keyring_free(&v->ring);
	for (int i = 0; i < EVID_BATCHES; i++) {
		gx_buf_free(&v->msg[i]);
	}
}

void
evid_receipt(const struct evid *v, enum evid_node sink, int batch,
	     struct gx_buf *out)
{
	struct gx_buf text;
	struct gx_err e;
	const struct gx_head *h = &v->head[batch];
	struct gx_receipt r = {.sink = gx_slice_str(evid_nodes[sink]),
			       .stream = gx_slice_str(v->stream),
			       .epoch = h->epoch,
			       .seq = h->first + h->n - 1,
			       .aside = 1,
			       .aside_seq = GX_SLICE("[1]"),
			       .reason = GX_SLICE(""),
			       .at = GX_SLICE(EVID_AT)};
	r.applied = r.seq - 1;
	memcpy(r.head, v->hash[batch], GX_HASH);
	gx_buf_init(&text, GX_RECEIPT_MAX);
	assert_int_equal(gx_receipt_sign(v->key[sink], &r, &text, &e), GX_OK);
	gx_buf_slice(out, gx_buf_view(&text));
	gx_buf_putc(out, '\n');
	gx_buf_free(&text);
}

void
evid_give(const struct evid *v, struct gx_buf *text)
{
	struct gx_err e;
	assert_int_equal(
		gx_bundle_close(text, gx_slice_str(evid_nodes[EVID_HUB]),
				GX_SLICE(EVID_AT), v->key[EVID_HUB], &e),
		GX_OK);
}

/* Who has signed something, in the order of names. */
static void
put_keys(const struct evid *v, struct gx_buf *out, const int *batch)
{
	static const enum evid_node order[] = {EVID_HUB, EVID_CITY,
					       EVID_NATION};
	for (size_t i = 0; i < EVID_NODES; i++) {
		if (order[i] != EVID_NATION || batch[EVID_NATION] >= 0) {
			gx_bundle_put_key(out,
					  gx_slice_str(evid_nodes[order[i]]),
					  v->key[order[i]]);
		}
	}
}

void
evid_bundle(const struct evid *v, uint64_t first, uint64_t n,
	    const int batch[EVID_NODES], struct gx_buf *out)
{
	static const enum evid_node order[] = {EVID_HUB, EVID_CITY,
					       EVID_NATION};
	int from = 0, to = 0;
	struct gx_bundle what = {.stream = gx_slice_str(v->stream),
				 .first = first,
				 .n = n,
				 .n_keys = batch[EVID_NATION] >= 0 ? 3 : 2};
	while (v->head[from].first + v->head[from].n <= first) {
		from++;
	}
	while (v->head[to].first + v->head[to].n < first + n) {
		to++;
	}
	for (int i = 0; i < EVID_NODES; i++) {
		what.n_receipts += batch[i] >= 0;
		to = batch[i] > to ? batch[i] : to;
	}
	what.n_headers = (uint64_t)(to - from + 1);
	gx_buf_reset(out);
	gx_bundle_put_claim(out, &what);
	put_keys(v, out, batch);
	for (; from <= to; from++) {
		assert_true(gx_bundle_put_batch(out, &what, &v->head[from],
						gx_buf_view(&v->msg[from])));
	}
	for (size_t i = 0; i < EVID_NODES; i++) {
		if (batch[order[i]] >= 0) {
			evid_receipt(v, order[i], batch[order[i]], out);
		}
	}
	evid_give(v, out);
}
