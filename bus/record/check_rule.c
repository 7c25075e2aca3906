/*
 * Rules for single values: kinds, strings, numbers, enum and const.
 *
 * Each function runs over the entries of the value at hand.  A string is
 * decoded at most once, and only if somebody wants to look at it; one without
 * escapes is looked at where it lies.  Lengths are counted in code points, and
 * not at all where the number of bytes decides already.  Small whole numbers
 * are compared as such, all others by their digits.
 *
 * What a rule wants to say stands in the schema; here is only decided.
 */
#include "record/check_int.h"

#include "base/text.h"
#include "record/ids.h"

#include <string.h>

static const struct gx_rule unstorable = {
	{"x-gx-resource", 13},
	{"holds \\u0000 or a lone surrogate, which no store can keep", 57}};

void
gx_check_storable(struct gx_check *c, const struct gx_str *str)
{
	if (str->is_unstorable && c->sch->columns) {
		gx_check_report(c, 0, &unstorable);
	}
}

void
gx_check_kind(struct gx_check *c, struct gx_mark m, unsigned kind)
{
	for (size_t i = m.entries; i < c->n_entries; i++) {
		const struct gx_entry *en = &c->entry[i];
		if (!(en->node->kinds & kind)) {
			gx_check_report(c, en->slot, &en->node->on_kind);
		}
	}
}

struct gx_slice
gx_check_decode(struct gx_check *c, const struct gx_str *str)
{
	if (!str->is_escaped) {
		return gx_slice(str->p, str->n);
	}
	gx_buf_reset(&c->decoded);
	if (!gx_buf_put(&c->decoded, str->p, str->n)) {
		c->is_over = true;
		return gx_slice("", 0);
	}
	size_t n = gx_scan_decode(str->p, str->n, false, c->decoded.p);
	return gx_slice(c->decoded.p, n);
}

/* Three-byte forms of lone surrogates become U+FFFD: a valid UTF-8 text for
 * those who need one. */
static void
replace_surrogates(struct gx_buf *b, size_t n)
{
	for (size_t i = 0; i + 2 < n; i++) {
		if ((unsigned char)b->p[i] == 0xed &&
		    (unsigned char)b->p[i + 1] >= 0xa0) {
			memcpy(b->p + i, "\xef\xbf\xbd", 3);
		}
	}
}

static void
check_length(struct gx_check *c, const struct gx_sch_string *s, uint32_t slot,
	     struct gx_slice t, bool is_ascii)
{
	size_t n = t.n;

	/* No more characters than bytes, no fewer than a quarter. */
	if (!is_ascii && (n > s->max || n / 4 < s->min)) {
		n = gx_utf8_count(t.p, t.n);
	}
	if (n < s->min) {
		gx_check_report(c, slot, &s->on_min);
	}
	if (n > s->max) {
		gx_check_report(c, slot, &s->on_max);
	}
}

static void
check_format(struct gx_check *c, const struct gx_sch_string *s, uint32_t slot,
	     struct gx_slice t)
{
	const char *why = s->format(t.p, t.n, c->today_ymd);

	/* Days only go by: what was past when we last looked still is. */
	if (why && !c->has_today && gx_format_wants_today(s->format)) {
		c->today_ymd = gx_id_today();
		c->has_today = true;
		why = s->format(t.p, t.n, c->today_ymd);
	}
	if (why) {
		struct gx_rule rule = {s->on_format.keyword, gx_slice_str(why)};
		gx_check_report(c, slot, &rule);
	}
}

static void
check_pattern(struct gx_check *c, const struct gx_sch_string *s, uint32_t slot,
	      struct gx_slice t)
{
	switch (gx_pattern_match(s->pattern, c->matcher, t.p, t.n)) {
	case GX_MATCH_YES:
		return;
	case GX_MATCH_NO:
		gx_check_report(c, slot, &s->on_pattern);
		return;
	case GX_MATCH_LIMIT:
		/* Not "no": that would let it pass under a "not". */
		c->slot[0].has_failed = true;
		gx_check_report(c, 0, &s->on_limit);
		return;
	}
}

static bool
is_among(const struct gx_sch_values *set, const struct gx_digest_key *key,
	 struct gx_slice text, const struct gx_str *str)
{
	if (set->n > 32) {
		struct gx_digest d =
			gx_digest_string(key, gx_slice(str->p, str->n));
		for (size_t k = 0; k < set->n; k++) {
			if (gx_digest_eq(d, set->at[k].digest)) {
				return true;
			}
		}
		return false;
	}
	for (size_t k = 0; k < set->n; k++) {
		if (set->at[k].is_string && set->at[k].text.n == text.n &&
		    memcmp(set->at[k].text.p, text.p, text.n) == 0) {
			return true;
		}
	}
	return false;
}

void
gx_check_string_one(struct gx_check *c, const struct gx_sch_node *n,
		    uint32_t slot, const struct gx_str *str)
{
	const struct gx_sch_string *s = n->str;

	if (!(n->kinds & KIND_STRING)) {
		gx_check_report(c, slot, &n->on_kind);
	}
	if (!s && !n->values) {
		return;
	}
	struct gx_slice text = str->is_escaped ? gx_check_decode(c, str)
					       : gx_slice(str->p, str->n);
	for (const struct gx_sch_values *v = n->values; v; v = v->next) {
		if (!is_among(v, &c->key, text, str)) {
			gx_check_report(c, slot, &v->rule);
		}
	}
	if (!s) {
		return;
	}
	check_length(c, s, slot, text, str->is_ascii && !str->is_escaped);
	if (s->format) {
		check_format(c, s, slot, text);
	}
	if (s->pattern) {
		if (str->is_unstorable) {
			replace_surrogates(&c->decoded, text.n);
		}
		check_pattern(c, s, slot, text);
	}
}

void
gx_check_string(struct gx_check *c, struct gx_mark m, const struct gx_str *str)
{
	for (size_t i = m.entries; i < c->n_entries; i++) {
		const struct gx_entry *en = &c->entry[i];
		if (!gx_check_is_idle(c, en)) {
			gx_check_string_one(c, en->node, en->slot, str);
		}
	}
}

/* A bound's verdict on a value. */
static bool
is_within(const struct gx_bound *limit, bool is_low, bool is_small,
	  int64_t small, const struct gx_decimal *value)
{
	int order;

	if (is_small && limit->is_small) {
		order = (small > limit->small) - (small < limit->small);
	} else {
		order = gx_decimal_compare(value, &limit->value);
	}
	if (order == 0) {
		return !limit->is_exclusive;
	}
	return is_low ? order > 0 : order < 0;
}

void
gx_check_number_one(struct gx_check *c, const struct gx_sch_node *node,
		    uint32_t slot, const struct gx_num *num)
{
	const struct gx_sch_number *n = node->num;
	struct gx_decimal value = {0};
	int64_t small = 0;
	bool is_small =
		num->is_plain && gx_decimal_small(num->p, num->n, &small);
	bool is_whole = is_small;

	if (!is_small || (n && !n->is_small)) {
		value = gx_decimal_parse(num->p, num->n);
		is_whole = gx_decimal_is_integer(&value);
	}
	if (!(node->kinds & (is_whole ? KIND_INTEGER : KIND_FRACTION))) {
		gx_check_report(c, slot, &node->on_kind);
	}
	for (int k = 0; n && k < 4; k++) {
		bool is_low = k < 2;
		const struct gx_bound *limit =
			is_low ? &n->low[k] : &n->high[k - 2];
		if (limit->is_set &&
		    !is_within(limit, is_low, is_small, small, &value)) {
			gx_check_report(c, slot, &limit->rule);
		}
	}
	if (n && n->has_multiple &&
	    !gx_decimal_is_multiple(&value, &n->multiple)) {
		gx_check_report(c, slot, &n->on_multiple);
	}
}

void
gx_check_number(struct gx_check *c, struct gx_mark m, const struct gx_num *num)
{
	for (size_t i = m.entries; i < c->n_entries; i++) {
		const struct gx_entry *en = &c->entry[i];
		if (!gx_check_is_idle(c, en)) {
			gx_check_number_one(c, en->node, en->slot, num);
		}
	}
}

void
gx_check_values(struct gx_check *c, struct gx_mark m, struct gx_slice raw)
{
	struct gx_digest d = {0, 0};
	bool has_digest = false;

	for (size_t i = m.entries; i < c->n_entries; i++) {
		const struct gx_entry *en = &c->entry[i];
		for (const struct gx_sch_values *v = en->node->values; v;
		     v = v->next) {
			size_t k = 0;
			if (!has_digest) {
				d = gx_digest_value(&c->key, raw);
				has_digest = true;
			}
			while (k < v->n && !gx_digest_eq(d, v->at[k].digest)) {
				k++;
			}
			if (k == v->n) {
				gx_check_report(c, en->slot, &v->rule);
			}
		}
	}
}
