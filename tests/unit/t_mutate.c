/*
 * A hundred thousand changes, from a seed: nothing that was changed is taken
 * for true.
 *
 * Batches, receipts and bundles are cut at every byte, and then changed in
 * every way we know: bits, bytes, digits, spans, members and lines put in,
 * left out, doubled, moved, or taken from another bundle, another stream,
 * another history of the same maker, an older receipt.  A change that yields
 * the same bytes is none.
 *
 * Bundles meet a second, worse enemy: the node that gives them lies.  Whatever
 * was changed is closed anew under its key.  Such a node can say less than it
 * knows (an older receipt), so there what is accepted must consist of nothing
 * but lines that are genuine, and prove the very records it claims.
 *
 * The control: each original passes, before and after.  Planted: checks that
 * leave one thing out (signature, root, chain, numbers, the end of the text)
 * must be caught by the same changes, or these would be too tame.
 *
 * GX_SEED=n gives another run, GX_MUTATIONS=n another length; a failure prints
 * kind and number.
 */
#include "evid.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define STREAM "/450100/hrss/social/social.insured/0"
#define N_BUNDLES 6
#define N_RECEIPTS 5
#define TEXT_MAX (256u << 10)

enum kind { BATCH, RECEIPT, BUNDLE, LIAR, KINDS };
static const char *const kinds[KINDS] = {"batch", "receipt", "bundle",
					 "bundle of a liar"};
/* Share of each in a hundred: what needs a signature check costs most. */
static const unsigned share[KINDS] = {8, 12, 40, 40};

static struct evid v, other, fork;
static struct gx_buf bundles[N_BUNDLES], receipts[N_RECEIPTS];
static struct gx_buf genuine; /* all lines that are true, each ended by LF */
static struct gx_verifier *verifier;
static uint64_t seed = 1;

static uint64_t
next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static size_t
below(size_t n)
{
	return n ? (size_t)(next() % n) : 0;
}

static void
make_texts(void)
{
	static const int ends[N_BUNDLES][EVID_NODES] = {
		{-1, 4, 5},  {-1, 3, 4}, {-1, -1, -1},
		{-1, 2, -1}, {-1, 4, 5}, {-1, 4, 5}};
	const struct evid *of[N_BUNDLES] = {&v, &v, &v, &v, &other, &fork};
	static const uint64_t first[N_BUNDLES] = {4, 9, 2, 1, 4, 4};
	static const uint64_t n[N_BUNDLES] = {1, 4, 3, 10, 1, 1};
	for (int i = 0; i < N_BUNDLES; i++) {
		gx_buf_init(&bundles[i], TEXT_MAX);
		evid_bundle(of[i], first[i], n[i], ends[i], &bundles[i]);
		gx_buf_slice(&genuine, gx_buf_view(&bundles[i]));
	}
	for (int i = 0; i < N_RECEIPTS; i++) {
		gx_buf_init(&receipts[i], TEXT_MAX);
		evid_receipt(&v, EVID_HUB, i, &receipts[i]);
		gx_buf_slice(&genuine, gx_buf_view(&receipts[i]));
		gx_buf_cut(&receipts[i], receipts[i].n - 1);
	}
}

static int
setup(void **state)
{
	(void)state;
	const char *s = getenv("GX_SEED");
	seed = s ? strtoull(s, NULL, 10) | 1 : 20261124;
	evid_open(&v, STREAM, NULL, "a");
	evid_open(&other, "/450100/hrss/social/social.insured/1", &v, "a");
	evid_open(&fork, STREAM, &v, "b");
	gx_buf_init(&genuine, 4 * TEXT_MAX);
	make_texts();
	verifier = gx_verifier_new(v.ring);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	gx_verifier_free(&verifier);
	for (int i = 0; i < N_BUNDLES; i++) {
		gx_buf_free(&bundles[i]);
	}
	for (int i = 0; i < N_RECEIPTS; i++) {
		gx_buf_free(&receipts[i]);
	}
	gx_buf_free(&genuine);
	evid_close(&v);
	evid_close(&other);
	evid_close(&fork);
	return 0;
}

/* ---- changes ---- */

struct span {
	size_t at, n;
};

/* out = text without the span, with what in its place */
static void
replace(struct gx_buf *out, struct gx_slice text, struct span s,
	struct gx_slice what)
{
	gx_buf_put(out, text.p, s.at);
	gx_buf_slice(out, what);
	gx_buf_put(out, text.p + s.at + s.n, text.n - s.at - s.n);
}

static struct gx_slice
cut(struct gx_slice text, struct span s)
{
	return gx_slice(text.p + s.at, s.n);
}

/* The piece around a random place between two bytes of this kind. */
static struct span
piece(struct gx_slice text, char end)
{
	size_t at = below(text.n), to = at;
	while (at > 0 && text.p[at - 1] != end) {
		at--;
	}
	while (to < text.n && text.p[to] != end) {
		to++;
	}
	return (struct span){at, to - at + (to < text.n)};
}

static struct span
any_span(struct gx_slice text, size_t max)
{
	struct span s = {below(text.n), 0};
	s.n = 1 + below(max);
	s.n = s.n < text.n - s.at ? s.n : text.n - s.at;
	return s;
}

static void
swap(struct gx_buf *out, struct gx_slice text, struct span a, struct span b)
{
	if (a.at > b.at) {
		struct span c = a;
		a = b;
		b = c;
	}
	if (a.at + a.n > b.at) {
		gx_buf_slice(out, text);
		return;
	}
	gx_buf_put(out, text.p, a.at);
	gx_buf_slice(out, cut(text, b));
	gx_buf_put(out, text.p + a.at + a.n, b.at - a.at - a.n);
	gx_buf_slice(out, cut(text, a));
	gx_buf_put(out, text.p + b.at + b.n, text.n - b.at - b.n);
}

static void
change_byte(struct gx_buf *out, struct gx_slice text, char with)
{
	gx_buf_slice(out, text);
	out->p[below(out->n)] = with;
}

/* Another digit where one stands, so that the form is still good. */
static void
change_digit(struct gx_buf *out, struct gx_slice text)
{
	size_t at = below(text.n);
	gx_buf_slice(out, text);
	while (at < out->n && (out->p[at] < '0' || out->p[at] > '9')) {
		at++;
	}
	if (at < out->n) {
		out->p[at] = (char)('0' + below(10));
	}
}

static struct gx_slice
stranger(enum kind k)
{
	return k == BATCH     ? gx_buf_view(below(2) ? &other.msg[below(6)]
						     : &fork.msg[below(6)])
	       : k == RECEIPT ? gx_buf_view(&receipts[below(N_RECEIPTS)])
			      : gx_buf_view(&bundles[below(N_BUNDLES)]);
}

#define CHANGES 16
static void
change(struct gx_buf *out, struct gx_slice text, struct gx_slice donor)
{
	static const char members[] = ",";
	struct span none = {below(text.n + 1), 0};
	unsigned how = (unsigned)below(CHANGES);
	char end = how % 2 ? '\n' : members[0];
	switch (how) {
	case 0:
		gx_buf_put(out, text.p, below(text.n));
		return;
	case 1:
		gx_buf_slice(out, text);
		out->p[below(out->n)] ^= (char)(1 << below(8));
		return;
	case 2:
		change_byte(out, text, (char)next());
		return;
	case 3:
		change_digit(out, text);
		return;
	case 4:
		replace(out, text, any_span(text, 8), GX_SLICE(""));
		return;
	case 5:
		replace(out, text, none, cut(text, any_span(text, 40)));
		return;
	case 6: /* a member twice */
	case 7: /* a line twice */
		none.at = piece(text, end).at;
		replace(out, text, none, cut(text, piece(text, end)));
		return;
	case 8:
	case 9:
		swap(out, text, piece(text, end), piece(text, end));
		return;
	case 10:
	case 11:
		replace(out, text, piece(text, end),
			cut(donor, piece(donor, end)));
		return;
	case 12:
	case 13:
		replace(out, text, piece(text, end), GX_SLICE(""));
		return;
	case 14:
		replace(out, text, any_span(text, 64),
			cut(donor, any_span(donor, 64)));
		return;
	default:
		gx_buf_slice(out, text);
		gx_buf_slice(out, cut(donor, any_span(donor, 80)));
		return;
	}
}

/* ---- who accepts ---- */

/* What a planted check leaves out. */
enum hole { NO_HOLE, NO_SIGNATURE, NO_LEAVES, PREFIX, EACH_LINE };

static bool
accept_batch(struct gx_slice text, enum hole hole)
{
	unsigned char hash[GX_HASH];
	struct gx_head h;
	if (gx_head_parse(text, &h)) {
		return false;
	}
	enum gx_seal s = gx_seal_check(verifier, &h, hole != NO_LEAVES, hash);
	return s == GX_SEAL_GOOD || (hole == NO_SIGNATURE && s);
}

static bool
accept_receipt(struct gx_slice text, enum hole hole)
{
	struct gx_receipt r;
	if (hole == PREFIX) {
		const char *end = memchr(text.p, '}', text.n);
		text.n = end ? (size_t)(end - text.p) + 1 : text.n;
	}
	if (gx_receipt_parse(text, &r)) {
		return false;
	}
	return hole == NO_SIGNATURE ||
	       gx_receipt_check(v.ring, &r) == GX_SEAL_GOOD;
}

/* What many a verifier does: every signature is good, so all is. */
static bool
each_line_is_good(struct gx_slice text)
{
	unsigned char hash[GX_HASH];
	struct gx_slice line;
	struct gx_receipt r;
	struct gx_head h;
	size_t at = 0;
	while (gx_body_next(text, &at, &line)) {
		if (!gx_head_parse_line(gx_slice(line.p, line.n + 1), &h) &&
		    gx_seal_check(verifier, &h, false, hash)) {
			return false;
		}
		if (!gx_receipt_parse(line, &r) &&
		    gx_receipt_check(v.ring, &r)) {
			return false;
		}
	}
	return text.n > 0 && at == text.n && text.p[at - 1] == '\n';
}

static bool
accept_bundle(struct gx_slice text, enum hole hole, struct gx_bundle *b)
{
	if (hole == EACH_LINE) {
		return each_line_is_good(text);
	}
	return gx_bundle_check(text, below(2) ? v.ring : NULL, b) == NULL;
}

/* Close it anew under the giver's key, once all but that is as it must be. */
static bool
accept_lie(struct gx_buf *text, struct gx_bundle *b)
{
	const char *why = gx_bundle_check(gx_buf_view(text), v.ring, b);
	if (!why || strcmp(why, "not the text that was given") != 0) {
		return !why;
	}
	const char *p = text->p + text->n - 1;
	while (p > text->p && p[-1] != '\n') {
		p--;
	}
	gx_buf_cut(text, (size_t)(p - text->p));
	evid_give(&v, text);
	return accept_bundle(gx_buf_view(text), NO_HOLE, b);
}

static bool
is_genuine(struct gx_slice line)
{
	return memmem(genuine.p, genuine.n, line.p, line.n + 1) != NULL;
}

/* All but the claim and the giver's line stand somewhere else as well, and
 * the records are those of the claim. */
static bool
is_true(struct gx_slice text, const struct gx_bundle *b)
{
	struct gx_slice line;
	size_t at = 0, n = 0, n_records = 0;
	while (gx_body_next(text, &at, &line)) {
		bool is_own = n++ == 0 || at == text.n;
		if (!is_own && !is_genuine(line)) {
			return false;
		}
		n_records += line.n > 6 && !memcmp(line.p, "{\"op\":", 6);
	}
	return n_records == b->n;
}

/* ---- the runs ---- */

struct tally {
	unsigned long n[KINDS], accepted[KINDS], less[KINDS];
};

static bool
is_one_of(struct gx_slice text, const struct gx_buf *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (gx_slice_eq(text, gx_buf_view(&list[i]))) {
			return true;
		}
	}
	return false;
}

static bool
is_original(enum kind k, struct gx_slice text)
{
	if (k == BATCH) {
		return is_one_of(text, v.msg, EVID_BATCHES) ||
		       is_one_of(text, other.msg, EVID_BATCHES) ||
		       is_one_of(text, fork.msg, EVID_BATCHES);
	}
	return k == RECEIPT ? is_one_of(text, receipts, N_RECEIPTS)
			    : is_one_of(text, bundles, N_BUNDLES);
}

static void
meet(enum kind k, struct gx_buf *text, enum hole hole, struct tally *t)
{
	struct gx_bundle b;
	if (is_original(k, gx_buf_view(text))) {
		return;
	}
	t->n[k]++;
	switch (k) {
	case BATCH:
		t->accepted[k] += accept_batch(gx_buf_view(text), hole);
		return;
	case RECEIPT:
		t->accepted[k] += accept_receipt(gx_buf_view(text), hole);
		return;
	case BUNDLE:
		t->accepted[k] += accept_bundle(gx_buf_view(text), hole, &b);
		return;
	case LIAR:
		if (accept_lie(text, &b)) {
			bool is_less = is_true(gx_buf_view(text), &b);
			t->less[k] += is_less;
			t->accepted[k] += !is_less;
		}
		return;
	case KINDS:
		break;
	}
}

static struct gx_slice
original(enum kind k)
{
	return k == BATCH     ? gx_buf_view(&v.msg[below(EVID_BATCHES)])
	       : k == RECEIPT ? gx_buf_view(&receipts[below(N_RECEIPTS)])
			      : gx_buf_view(&bundles[below(N_BUNDLES)]);
}

static void
one_change(enum kind k, struct gx_buf *text, enum hole hole, struct tally *t)
{
	uint64_t from = seed;
	unsigned long had = t->accepted[k];
	gx_buf_reset(text);
	change(text, original(k), stranger(k));
	if (text->n == 0) {
		return;
	}
	meet(k, text, hole, t);
	if (t->accepted[k] != had && hole == NO_HOLE) {
		fail_msg("a changed %s is accepted: seed %llu", kinds[k],
			 (unsigned long long)from);
	}
}

static void
cut_at_every_byte(void **state)
{
	(void)state;
	struct tally t = {0};
	struct gx_buf text;
	gx_buf_init(&text, TEXT_MAX);
	for (enum kind k = BATCH; k < LIAR; k++) {
		struct gx_slice all = k == BATCH     ? gx_buf_view(&v.msg[2])
				      : k == RECEIPT ? gx_buf_view(&receipts[2])
						     : gx_buf_view(&bundles[0]);
		for (size_t n = 0; n < all.n; n++) {
			gx_buf_reset(&text);
			gx_buf_put(&text, all.p, n);
			meet(k, &text, NO_HOLE, &t);
		}
		assert_int_equal(t.n[k], all.n);
		assert_int_equal(t.accepted[k], 0);
	}
	gx_buf_free(&text);
}

static void
originals_pass(void **state)
{
	(void)state;
	struct gx_bundle b;
	for (int i = 0; i < EVID_BATCHES; i++) {
		assert_true(accept_batch(gx_buf_view(&v.msg[i]), NO_HOLE));
	}
	for (int i = 0; i < N_RECEIPTS; i++) {
		assert_true(accept_receipt(gx_buf_view(&receipts[i]), NO_HOLE));
	}
	for (int i = 0; i < N_BUNDLES; i++) {
		assert_true(
			accept_bundle(gx_buf_view(&bundles[i]), NO_HOLE, &b));
		assert_true(is_true(gx_buf_view(&bundles[i]), &b));
	}
}

static void
no_change_is_accepted(void **state)
{
	const char *s = getenv("GX_MUTATIONS");
	unsigned long n = s ? strtoul(s, NULL, 10) : 100000, all = 0;
	struct tally t = {0};
	struct gx_buf text;
	(void)state;
	gx_buf_init(&text, TEXT_MAX);
	while (all < n) {
		unsigned k = 0, point = (unsigned)below(100);
		while (point >= share[k]) {
			point -= share[k++];
		}
		one_change((enum kind)k, &text, NO_HOLE, &t);
		all = t.n[0] + t.n[1] + t.n[2] + t.n[3];
	}
	for (int k = 0; k < KINDS; k++) {
		print_message("%s: %lu changes, %lu accepted, %lu true\n",
			      kinds[k], t.n[k], t.accepted[k], t.less[k]);
		assert_true(t.n[k] > n / 20);
		assert_int_equal(t.accepted[k], 0);
	}
	gx_buf_free(&text);
}

/* The same changes find each hole. */
static void
planted_holes_are_found(void **state)
{
	static const struct {
		enum kind k;
		enum hole hole;
	} planted[] = {{BATCH, NO_SIGNATURE},
		       {BATCH, NO_LEAVES},
		       {RECEIPT, NO_SIGNATURE},
		       {RECEIPT, PREFIX},
		       {BUNDLE, EACH_LINE}};
	struct gx_buf text;
	(void)state;
	gx_buf_init(&text, TEXT_MAX);
	for (size_t i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
		struct tally t = {0};
		for (int n = 0; n < 2000 && !t.accepted[planted[i].k]; n++) {
			one_change(planted[i].k, &text, planted[i].hole, &t);
		}
		if (t.accepted[planted[i].k] == 0) {
			fail_msg("hole %zu is not found", i);
		}
	}
	gx_buf_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(originals_pass),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(no_change_is_accepted),
		cmocka_unit_test(planted_holes_are_found),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
