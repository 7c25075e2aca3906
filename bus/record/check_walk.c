/*
 * The walk: containers, and what applies to what is in them.
 *
 * One function per kind of container, calling each other down to 64 levels.
 * Before a child is walked, each entry that has something to say about it
 * pushes rules; behind it they are gone, so the stacks are as deep as the
 * record, never as long.
 *
 * Names are looked up once per entry.  The first entry that knows names also
 * notices one that comes twice; names that it does not declare, or all of them
 * when nobody declares any, are kept until the object ends and then compared,
 * a few with each other, many by digest.  A name that comes twice is a fault
 * of syntax by our policy: two readers of such a text may see two records.
 *
 * Fields are the members of the record itself that the root schema declares;
 * their bytes are noted as they pass.
 */
#include "record/check_int.h"

#include <string.h>

#define FEW_NAMES 8

static bool walk_object(struct gx_check *c, struct gx_mark m);
static bool walk_array(struct gx_check *c, struct gx_mark m);

/* The value at hand, after which the kind is known. */
static bool
walk_kind(struct gx_check *c, struct gx_mark m, bool *is_string)
{
	struct gx_scan *s = &c->s;
	struct gx_str str;
	struct gx_num num;
	bool good;

	switch (*s->at) {
	case '"':
		*is_string = true;
		good = gx_scan_string(s, &str);
		if (good && c->sch) {
			gx_check_storable(c, &str);
			gx_check_string(c, m, &str);
		}
		return good;
	case '{':
		return walk_object(c, m);
	case '[':
		return walk_array(c, m);
	case 't':
		gx_check_kind(c, m, KIND_BOOL);
		return gx_scan_word(s, "true", 4);
	case 'f':
		gx_check_kind(c, m, KIND_BOOL);
		return gx_scan_word(s, "false", 5);
	case 'n':
		gx_check_kind(c, m, KIND_NULL);
		return gx_scan_word(s, "null", 4);
	case '-':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		good = gx_scan_number(s, &num);
		if (good) {
			gx_check_number(c, m, &num);
		}
		return good;
	default:
		return gx_scan_fail(s, "no value begins like this");
	}
}

bool
gx_check_walk(struct gx_check *c, struct gx_mark m, struct gx_slice *raw)
{
	bool is_string = false;

	gx_scan_space(&c->s);
	if (c->s.at == c->s.end) {
		return gx_scan_fail(&c->s, "the text ends within a value");
	}
	const char *from = c->s.at;
	if (!walk_kind(c, m, &is_string)) {
		return false;
	}
	*raw = gx_slice(from, (size_t)(c->s.at - from));
	if (!is_string) {
		gx_check_values(c, m, *raw);
	}
	gx_check_finish(c, m);
	return !c->is_over;
}

/* at stands on the opening bracket. */
static bool
enter(struct gx_check *c)
{
	if (c->depth == GX_SCAN_DEPTH) {
		return gx_scan_fail(&c->s, "nested deeper than 64 levels");
	}
	c->depth++;
	c->s.at++;
	gx_scan_space(&c->s);
	return true;
}

/* Behind an element: true at its end, with at behind the bracket. */
static inline bool
is_closed(struct gx_check *c, char close, bool *good)
{
	struct gx_scan *s = &c->s;

	if (s->end - s->at > 1 && s->at[0] == ',' &&
	    (unsigned char)s->at[1] > ' ') {
		s->at++;
		return false;
	}
	gx_scan_space(s);
	if (s->at < s->end && *s->at == close) {
		s->at++;
		*good = true;
		return true;
	}
	if (s->at == s->end || *s->at != ',') {
		*good = gx_scan_fail(s, "neither a comma nor the end of the "
					"container");
		return true;
	}
	s->at++;
	gx_scan_space(s);
	return false;
}

/* A slot in which each element tries contains. */
static bool
open_arrays(struct gx_check *c, struct gx_mark m, size_t n)
{
	for (size_t i = m.entries; i < n; i++) {
		struct gx_entry *en = &c->entry[i];
		if (en->node->arr && en->node->arr->contains >= 0 &&
		    !gx_check_new_slot(c, true, &en->slot_in)) {
			return false;
		}
	}
	return true;
}

static bool
push_element(struct gx_check *c, struct gx_mark m, size_t n, size_t index)
{
	for (size_t i = m.entries; i < n; i++) {
		struct gx_entry *en = &c->entry[i];
		const struct gx_sch_array *a = en->node->arr;
		uint32_t slot = en->slot, slot_in = en->slot_in;
		if (!a || gx_check_is_idle(c, en)) {
			continue;
		}
		int32_t child =
			index < a->n_prefix ? a->prefix[index] : a->items;
		if (child >= 0 && !gx_check_push(c, child, slot)) {
			return false;
		}
		if (a->contains >= 0) {
			c->slot[slot_in].has_failed = false;
			if (!gx_check_push(c, a->contains, slot_in)) {
				return false;
			}
		}
	}
	return true;
}

static void
count_matches(struct gx_check *c, struct gx_mark m, size_t n)
{
	for (size_t i = m.entries; i < n; i++) {
		struct gx_entry *en = &c->entry[i];
		if (en->node->arr && en->node->arr->contains >= 0) {
			en->n_match += !c->slot[en->slot_in].has_failed;
		}
	}
}

/* Digest each element of a finished array. */
static bool
has_twin(struct gx_check *c, struct gx_slice raw, size_t n)
{
	struct gx_scan s = {raw.p + 1, raw.p + raw.n, NULL};

	if (!gx_check_grow(c, &c->digest, &c->digests_cap, n,
			   sizeof(*c->digest))) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		gx_scan_space(&s);
		c->digest[i] = gx_digest_next(&c->key, &s);
		gx_scan_space(&s);
		s.at++; /* comma */
	}
	return gx_digest_has_twin(c->digest, n);
}

static void
close_arrays(struct gx_check *c, struct gx_mark m, struct gx_slice raw,
	     size_t n_elements)
{
	for (size_t i = m.entries; i < c->n_entries; i++) {
		const struct gx_entry *en = &c->entry[i];
		const struct gx_sch_array *a = en->node->arr;
		if (!a || gx_check_is_idle(c, en)) {
			continue;
		}
		if (n_elements < a->min) {
			gx_check_report(c, en->slot, &a->on_min);
		}
		if (n_elements > a->max) {
			gx_check_report(c, en->slot, &a->on_max);
		}
		if (a->contains >= 0 && en->n_match < a->min_contains) {
			gx_check_report(c, en->slot, &a->on_few);
		}
		if (a->contains >= 0 && en->n_match > a->max_contains) {
			gx_check_report(c, en->slot, &a->on_many);
		}
		if (a->is_unique && n_elements > 1 &&
		    has_twin(c, raw, n_elements)) {
			gx_check_report(c, en->slot, &a->on_twin);
		}
	}
}

static bool
walk_array(struct gx_check *c, struct gx_mark m)
{
	const char *from = c->s.at;
	size_t n = c->n_entries, n_elements = 0;
	struct gx_slice raw;
	bool good = true;

	gx_check_kind(c, m, KIND_ARRAY);
	if (!open_arrays(c, m, n) || !enter(c)) {
		return false;
	}
	if (c->s.at < c->s.end && *c->s.at == ']') {
		c->s.at++;
	} else {
		do {
			struct gx_mark child = gx_check_mark(c);
			c->step[c->depth - 1] = (struct gx_step){
				.index = n_elements, .is_index = true};
			if (!push_element(c, m, n, n_elements++) ||
			    !gx_check_walk(c, child, &raw)) {
				return false;
			}
			count_matches(c, m, n);
		} while (!is_closed(c, ']', &good));
	}
	c->depth--;
	if (good) {
		close_arrays(c, m, gx_slice(from, (size_t)(c->s.at - from)),
			     n_elements);
	}
	return good;
}

/* Sets of names seen, and a slot for propertyNames. */
static bool
open_objects(struct gx_check *c, struct gx_mark m, size_t n, size_t *primary)
{
	*primary = n;
	for (size_t i = m.entries; i < n; i++) {
		struct gx_entry *en = &c->entry[i];
		const struct gx_sch_object *o = en->node->obj;
		if (!o) {
			continue;
		}
		if (o->names.n && *primary == n) {
			*primary = i;
		}
		if (!gx_check_grow(c, &c->word, &c->words_cap,
				   c->n_words + o->n_words, sizeof(*c->word))) {
			return false;
		}
		en->words = (uint32_t)c->n_words;
		memset(c->word + c->n_words, 0, o->n_words * sizeof(*c->word));
		c->n_words += o->n_words;
		if (o->property_names >= 0 &&
		    !gx_check_new_slot(c, true, &en->slot_in)) {
			return false;
		}
	}
	return true;
}

/* The name itself as a value. */
static bool
check_name(struct gx_check *c, size_t at, const struct gx_str *name)
{
	struct gx_mark m = gx_check_mark(c);
	const struct gx_sch_object *o = c->entry[at].node->obj;
	uint32_t slot = c->entry[at].slot_in;

	c->slot[slot].has_failed = false;
	if (!gx_check_push(c, o->property_names, slot)) {
		return false;
	}
	gx_check_string(c, m, name);
	gx_check_finish(c, m);
	if (c->slot[slot].has_failed) {
		gx_check_report(c, c->entry[at].slot, &o->on_name);
	}
	return true;
}

/* Push what patternProperties say; *n_taken counts the patterns that match. */
static bool
push_patterns(struct gx_check *c, size_t at, const struct gx_str *name,
	      size_t *n_taken)
{
	const struct gx_sch_object *o = c->entry[at].node->obj;
	static const struct gx_rule on_limit = {
		{"patternProperties", 17},
		{"a name takes too many steps to match a pattern", 46}};

	for (size_t i = 0; i < o->n_patterns; i++) {
		struct gx_slice text = gx_check_decode(c, name);
		if (name->is_unstorable) {
			text.n = gx_scan_decode(name->p, name->n, true,
						c->decoded.p);
		}
		enum gx_match got = gx_pattern_match(o->pattern[i], c->matcher,
						     text.p, text.n);
		if (got == GX_MATCH_LIMIT) {
			gx_check_report(c, 0, &on_limit);
		}
		if (got != GX_MATCH_YES) {
			continue;
		}
		++*n_taken;
		if (!gx_check_push(c, o->pattern_child[i], c->entry[at].slot)) {
			return false;
		}
	}
	return true;
}

/* What entry at says about the member; *index is the name's number there. */
static bool
push_member(struct gx_check *c, size_t at, const struct gx_str *name,
	    struct gx_slice text, int32_t *index)
{
	struct gx_entry *en = &c->entry[at];
	const struct gx_sch_object *o = en->node->obj;
	size_t n_taken = 0;

	*index = gx_schema_names_find(&o->names, text, en->guess);
	if (*index >= 0) {
		uint32_t k = (uint32_t)*index;
		en->guess = k + 1;
		c->word[en->words + k / 64] |= UINT64_C(1) << k % 64;
		n_taken = o->is_declared[k];
		if (o->child[k] >= 0 &&
		    !gx_check_push(c, o->child[k], en->slot)) {
			return false;
		}
	}
	if (o->n_patterns && !push_patterns(c, at, name, &n_taken)) {
		return false;
	}
	if (n_taken == 0 && o->additional >= 0 &&
	    !gx_check_push(c, o->additional, c->entry[at].slot)) {
		return false;
	}
	return true;
}

static bool
is_seen(const struct gx_check *c, const struct gx_entry *en, uint32_t k)
{
	return c->word[en->words + k / 64] >> k % 64 & 1;
}

/* Keep a name until the object ends. */
static bool
keep_name(struct gx_check *c, const struct gx_str *name)
{
	if (!gx_check_grow(c, &c->name, &c->names_cap, c->n_names + 1,
			   sizeof(*c->name))) {
		return false;
	}
	c->name[c->n_names++] = *name;
	return true;
}

/* Push the rules for one member; at stands behind its name. */
static bool
push_all(struct gx_check *c, struct gx_mark m, size_t n, size_t primary,
	 const struct gx_str *name, int32_t *field)
{
	bool is_kept = primary == n;

	*field = GX_SCHEMA_NONE;
	for (size_t i = m.entries; i < n; i++) {
		struct gx_entry *en = &c->entry[i];
		int32_t index;
		if (!en->node->obj ||
		    (i != primary && gx_check_is_idle(c, en))) {
			continue;
		}
		struct gx_slice text = gx_check_decode(c, name);
		if (i == primary) {
			index = gx_schema_names_find(&en->node->obj->names,
						     text, en->guess);
			is_kept = index < 0;
			if (index >= 0 && is_seen(c, en, (uint32_t)index)) {
				return gx_scan_fail(&c->s,
						    "a member name that comes "
						    "twice");
			}
		}
		if (!push_member(c, i, name, text, &index)) {
			return false;
		}
		if (c->depth == 1 && c->entry[i].node == c->sch->node &&
		    index >= 0 && (size_t)index < c->sch->n_fields) {
			*field = index;
		}
	}
	return !is_kept || keep_name(c, name);
}

/* propertyNames, before the member's own rules are pushed. */
static bool
check_names(struct gx_check *c, struct gx_mark m, size_t n,
	    const struct gx_str *name)
{
	for (size_t i = m.entries; i < n; i++) {
		const struct gx_sch_object *o = c->entry[i].node->obj;
		if (o && o->property_names >= 0 && !check_name(c, i, name)) {
			return false;
		}
	}
	return true;
}

/* A value that no rule is against must also fit its column. */
static void
check_column(struct gx_check *c, size_t field, struct gx_slice raw)
{
	static const struct gx_rule rule = {
		{"x-gx-item", 9},
		{"does not fit the column that the item's type asks for", 53}};
	const struct gx_column *col = &c->sch->columns[field];

	if (!gx_column_fits(col, raw)) {
		gx_check_report(c, 0, &rule);
	}
}

static bool
walk_member(struct gx_check *c, struct gx_mark m, size_t n, size_t primary)
{
	struct gx_mark child = gx_check_mark(c);
	struct gx_scan *s = &c->s;
	struct gx_slice raw;
	struct gx_str name;
	int32_t field;

	if (s->at == s->end || *s->at != '"') {
		return gx_scan_fail(s, "no member name where one is due");
	}
	if (!gx_scan_string(s, &name)) {
		return false;
	}
	c->step[c->depth - 1] =
		(struct gx_step){.name = gx_slice(name.p, name.n)};
	if (c->sch) {
		gx_check_storable(c, &name);
	}
	if (!check_names(c, m, n, &name) ||
	    !push_all(c, m, n, primary, &name, &field)) {
		return false;
	}
	gx_scan_space(s);
	if (s->at == s->end || *s->at != ':') {
		return gx_scan_fail(s, "no colon behind a member name");
	}
	s->at++;
	size_t n_kept = c->n_kept;
	if (!gx_check_walk(c, child, &raw)) {
		return false;
	}
	if (field >= 0) {
		c->field[field] = raw;
		if (c->sch->columns && !c->sch->columns[field].is_sure &&
		    c->n_kept == n_kept) {
			check_column(c, (size_t)field, raw);
		}
	}
	return true;
}

/* Do two of the names from on come twice? */
static bool
has_twin_name(struct gx_check *c, size_t from)
{
	size_t n = c->n_names - from;
	if (n < 2) {
		return false;
	}
	const struct gx_str *name = c->name + from;
	bool is_plain = n <= FEW_NAMES;

	for (size_t i = 0; i < n && is_plain; i++) {
		is_plain = !name[i].is_escaped;
	}
	if (is_plain) {
		for (size_t i = 1; i < n; i++) {
			for (size_t k = 0; k < i; k++) {
				if (name[i].n == name[k].n &&
				    memcmp(name[i].p, name[k].p, name[i].n) ==
					    0) {
					return true;
				}
			}
		}
		return false;
	}
	if (!gx_check_grow(c, &c->digest, &c->digests_cap, n,
			   sizeof(*c->digest))) {
		return false; /* is_over ends the check */
	}
	for (size_t i = 0; i < n; i++) {
		c->digest[i] = gx_digest_string(&c->key,
						gx_slice(name[i].p, name[i].n));
	}
	return gx_digest_has_twin(c->digest, n);
}

/* Report a member that is missing at the place where it should be. */
static void
report_missing(struct gx_check *c, const struct gx_entry *en, uint32_t k,
	       const struct gx_rule *rule)
{
	c->step[c->depth++] = (struct gx_step){
		.name = en->node->obj->names.at[k], .is_decoded = true};
	gx_check_report(c, en->slot, rule);
	c->depth--;
}

static void
check_needs(struct gx_check *c, const struct gx_entry *en)
{
	const struct gx_sch_object *o = en->node->obj;
	const struct gx_sch_node *node = en->node;

	for (size_t i = 0; i < o->n_words && o->n_required; i++) {
		uint64_t gone = o->required[i] & ~c->word[en->words + i];
		for (; gone; gone &= gone - 1) {
			report_missing(c, en,
				       (uint32_t)(i * 64) +
					       (uint32_t)__builtin_ctzll(gone),
				       &o->on_required);
		}
	}
	for (size_t i = 0; i < o->n_needs; i++) {
		if (is_seen(c, en, o->needs[i].trigger) &&
		    !is_seen(c, en, o->needs[i].needed)) {
			report_missing(c, en, o->needs[i].needed, &o->on_need);
		}
	}
	for (size_t i = 0; i < node->n_apps; i++) {
		if (node->apps[i].kind == APP_DEPENDENT) {
			c->pend[en->pend + i].is_triggered =
				is_seen(c, en, node->apps[i].trigger);
		}
	}
}

static void
close_objects(struct gx_check *c, struct gx_mark m, size_t n_members)
{
	for (size_t i = m.entries; i < c->n_entries; i++) {
		const struct gx_entry *en = &c->entry[i];
		const struct gx_sch_object *o = en->node->obj;
		if (!o || gx_check_is_idle(c, en)) {
			continue;
		}
		if (n_members < o->min) {
			gx_check_report(c, en->slot, &o->on_min);
		}
		if (n_members > o->max) {
			gx_check_report(c, en->slot, &o->on_max);
		}
		check_needs(c, en);
	}
}

/* A value to which one simple node applies, without the stacks. */
static bool
walk_simple(struct gx_check *c, const struct gx_sch_node *node, uint32_t slot,
	    struct gx_slice *raw)
{
	struct gx_scan *s = &c->s;
	const char *from = s->at;
	struct gx_str str;
	struct gx_num num;

	if (s->at < s->end && *s->at == '"') {
		if (!gx_scan_short_string(s, &str)) {
			if (!gx_scan_string(s, &str)) {
				return false;
			}
			gx_check_storable(c, &str);
		}
		gx_check_string_one(c, node, slot, &str);
	} else if (s->at < s->end && *s->at >= '0' && *s->at <= '9' &&
		   !node->values) {
		if (!gx_scan_number(s, &num)) {
			return false;
		}
		gx_check_number_one(c, node, slot, &num);
	} else {
		struct gx_mark m = gx_check_mark(c);
		return gx_check_push(c, (int32_t)(node - c->sch->node), slot) &&
		       gx_check_walk(c, m, raw);
	}
	*raw = gx_slice(from, (size_t)(s->at - from));
	return true;
}

/* Does the name stand here as it is declared, with its colon? */
static inline bool
is_at_name(const struct gx_scan *s, const struct gx_sch_usual *u,
	   struct gx_slice name)
{
	uint64_t x[2];

	if (s->end - s->at >= GX_LEAD && u->care[0]) {
		memcpy(x, s->at, GX_LEAD);
		return (((x[0] ^ u->text[0]) & u->care[0]) |
			((x[1] ^ u->text[1]) & u->care[1])) == 0;
	}
	return (size_t)(s->end - s->at) >= name.n + 4 && s->at[0] == '"' &&
	       s->at[name.n + 1] == '"' && s->at[name.n + 2] == ':' &&
	       memcmp(s->at + 1, name.p, name.n) == 0;
}

/*
 * The usual member, taken as a whole: the next name in the order of the file,
 * written as it is declared, with one simple rule for its value.  False if it
 * is not so, with nothing changed; *good is what became of it otherwise.
 */
static inline bool
walk_usual(struct gx_check *c, size_t at, bool is_root, bool *good)
{
	struct gx_entry *en = &c->entry[at];
	const struct gx_sch_object *o = en->node->obj;
	struct gx_scan *s = &c->s;
	uint32_t k = en->guess;

	if (k >= o->names.n) {
		return false;
	}
	const struct gx_sch_usual *u = &o->usual[k];
	struct gx_slice name = o->names.at[k];
	uint64_t *word = &c->word[en->words + k / 64];
	if (!u->node || !is_at_name(s, u, name) || *word >> k % 64 & 1) {
		return false;
	}
	size_t n_kept = c->n_kept;
	struct gx_slice raw;
	en->guess = k + 1;
	*word |= UINT64_C(1) << k % 64;
	c->step[c->depth - 1] = (struct gx_step){.name = name};
	s->at += name.n + 3;
	gx_scan_space(s);
	*good = walk_simple(c, u->node, en->slot, &raw);
	if (*good && is_root) {
		c->field[k] = raw;
		if (c->sch->columns && !c->sch->columns[k].is_sure &&
		    c->n_kept == n_kept) {
			check_column(c, k, raw);
		}
	}
	return true;
}

static bool
walk_object(struct gx_check *c, struct gx_mark m)
{
	size_t n = c->n_entries, n_members = 0, primary;
	size_t words = c->n_words, names = c->n_names;
	bool good = true;

	gx_check_kind(c, m, KIND_OBJECT);
	if (!open_objects(c, m, n, &primary) || !enter(c)) {
		return false;
	}
	bool is_usual = n == m.entries + 1 && primary < n &&
			c->entry[primary].node->obj->is_plain;
	bool is_root = is_usual && c->entry[primary].node == c->sch->node &&
		       c->depth == 1;
	if (c->s.at < c->s.end && *c->s.at == '}') {
		c->s.at++;
	} else {
		do {
			n_members++;
			if (is_usual &&
			    walk_usual(c, primary, is_root, &good)) {
				if (!good) {
					return false;
				}
			} else if (!walk_member(c, m, n, primary)) {
				return false;
			}
		} while (!is_closed(c, '}', &good));
	}
	c->depth--;
	if (good && has_twin_name(c, names)) {
		return gx_scan_fail(&c->s, "a member name that comes twice");
	}
	if (good) {
		close_objects(c, m, n_members);
	}
	c->n_words = words;
	c->n_names = names;
	return good;
}
