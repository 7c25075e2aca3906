/*
 * Checks: a record against a schema, in one pass.
 *
 * The scanner walks the bytes once.  At each value there is a set of rules
 * that apply to it, the entries; on the way down each entry adds the rules for
 * the child, on the way up they are dropped.  Branches of anyOf, not, if and
 * their like are entries too, side by side with the others, and differ only in
 * where their result goes: into a slot of their own, which is combined when
 * the value ends.  So no byte is read twice, with two exceptions that look at
 * a finished value again: uniqueItems, and enum or const of anything but a
 * string.
 *
 * A slot is silent if only its yes or no counts.  In others faults are kept,
 * tagged with the slot, and go to the record's when the branch turns out to
 * apply (then, else, dependentSchemas), or are dropped.
 *
 * The workspace grows to what the largest record needed and stays; a record
 * that asks for more rules at once than GX_CHECK_STACK is refused, with the
 * keyword "limit".  Faults point at messages that the schema holds; only
 * pointers are written per fault, and nothing of a value.
 *
 * One workspace belongs to one thread.  A text that is no JSON gives the one
 * fault "syntax"; what else was found before is of no use then.
 */
#include "record/check_int.h"

#include "record/ids.h"

#include <stdio.h>

#define CHECK_MAGIC 0x6368656bu
#define TEXT_MAX ((size_t)256 * 1024)

bool
gx_check_grow(struct gx_check *c, void *array, size_t *cap, size_t n,
	      size_t size)
{
	void *old;

	if (n <= *cap) {
		return true;
	}
	memcpy(&old, array, sizeof(old));
	size_t want = *cap ? *cap * 2 : 64;
	while (want < n) {
		want *= 2;
	}
	void *grown = gx_mem_grow(old, want, size);
	if (!grown) {
		c->is_over = true;
		return false;
	}
	memcpy(array, &grown, sizeof(grown));
	*cap = want;
	return true;
}

static struct gx_check *
new_check(const struct gx_schema *s)
{
	struct gx_check *c = gx_mem_new(sizeof(*c));

	c->magic = CHECK_MAGIC;
	c->sch = s;
	gx_buf_init(&c->text, TEXT_MAX);
	gx_buf_init(&c->decoded, SIZE_MAX / 4);
	if (s) {
		c->key = s->key;
		c->field = gx_mem_array(s->n_fields, sizeof(*c->field));
		GX_ASSERT(c->field); /* bounded by the schema */
		c->matcher = gx_matcher_new();
	} else {
		gx_digest_key_new(&c->key);
	}
	return c;
}

struct gx_check *
gx_check_new(const struct gx_schema *s)
{
	GX_ASSERT(s);
	return new_check(s);
}

void
gx_check_free(struct gx_check **check)
{
	struct gx_check *c = *check;

	*check = NULL;
	if (!c) {
		return;
	}
	GX_ASSERT(c->magic == CHECK_MAGIC);
	gx_mem_free(c->entry);
	gx_mem_free(c->slot);
	gx_mem_free(c->pend);
	gx_mem_free(c->word);
	gx_mem_free(c->name);
	gx_mem_free(c->digest);
	gx_mem_free(c->field);
	gx_buf_free(&c->decoded);
	gx_buf_free(&c->text);
	gx_matcher_free(&c->matcher);
	c->magic = 0;
	gx_mem_free(c);
}

/* Append one step of a pointer (RFC 6901). */
static void
put_step(struct gx_check *c, const struct gx_step *step)
{
	if (step->is_index) {
		(void)gx_buf_printf(&c->text, "/%zu", step->index);
		return;
	}
	(void)gx_buf_putc(&c->text, '/');
	size_t from = c->text.n, n = step->name.n;
	/* Room for the decoded name, which is never longer. */
	if (!gx_buf_put(&c->text, step->name.p, n)) {
		return;
	}
	if (!step->is_decoded) {
		n = gx_scan_decode(step->name.p, n, true, c->text.p + from);
		gx_buf_cut(&c->text, from + n);
	}
	size_t more = 0;
	for (size_t i = 0; i < n; i++) {
		char x = c->text.p[from + i];
		more += x == '~' || x == '/';
	}
	for (size_t i = 0; i < more; i++) {
		(void)gx_buf_putc(&c->text, ' ');
	}
	if (c->text.failed) {
		return;
	}
	/* From the end, so that nothing is overwritten before it is moved. */
	for (size_t i = n; i > 0 && more > 0; i--) {
		char x = c->text.p[from + i - 1];
		char *to = c->text.p + from + i - 1 + more;
		if (x == '~' || x == '/') {
			to[0] = x == '~' ? '0' : '1';
			to[-1] = '~';
			more--;
		} else {
			*to = x;
		}
	}
}

void
gx_check_report(struct gx_check *c, uint32_t slot, const struct gx_rule *rule)
{
	struct gx_slot *s = &c->slot[slot];

	s->has_failed = true;
	if (s->is_silent || c->n_kept == GX_CHECK_KEPT) {
		return;
	}
	struct gx_kept *k = &c->kept[c->n_kept++];
	*k = (struct gx_kept){.rule = *rule, .at = c->text.n, .slot = slot};
	for (size_t i = 0; i < c->depth; i++) {
		size_t before = c->text.n;
		put_step(c, &c->step[i]);
		if (c->text.failed) {
			/* The last place that fits is better than none. */
			c->text.failed = false;
			gx_buf_cut(&c->text, before);
			break;
		}
	}
	k->n = c->text.n - k->at;
}

bool
gx_check_new_slot(struct gx_check *c, bool is_silent, uint32_t *out)
{
	if (c->n_slots >= GX_CHECK_STACK ||
	    !gx_check_grow(c, &c->slot, &c->slots_cap, c->n_slots + 1,
			   sizeof(*c->slot))) {
		c->is_over = true;
		return false;
	}
	*out = (uint32_t)c->n_slots;
	c->slot[c->n_slots++] = (struct gx_slot){.is_silent = is_silent};
	return true;
}

/* The branches of one app, each with a slot of its own. */
static bool
push_app(struct gx_check *c, const struct gx_sch_app *app, uint32_t slot)
{
	bool parent = c->slot[slot].is_silent;
	uint32_t first = 0, at;

	if (c->n_pends >= GX_CHECK_STACK ||
	    !gx_check_grow(c, &c->pend, &c->pends_cap, c->n_pends + 1,
			   sizeof(*c->pend))) {
		c->is_over = true;
		return false;
	}
	for (uint32_t i = 0; i < app->n; i++) {
		bool tells = app->kind == APP_DEPENDENT ||
			     (app->kind == APP_IF && i > 0);
		if (!gx_check_new_slot(c, parent || !tells, &at)) {
			return false;
		}
		first = i == 0 ? at : first;
	}
	c->pend[c->n_pends++] =
		(struct gx_pend){.app = app, .slot = slot, .first = first};
	return true;
}

bool
gx_check_push(struct gx_check *c, int32_t node, uint32_t slot)
{
	const struct gx_sch_node *top = &c->sch->node[node];

	for (uint32_t i = 0; i < top->n_closure; i++) {
		const struct gx_sch_node *n = &c->sch->node[top->closure[i]];
		if (c->n_entries >= GX_CHECK_STACK ||
		    !gx_check_grow(c, &c->entry, &c->entries_cap,
				   c->n_entries + 1, sizeof(*c->entry))) {
			c->is_over = true;
			return false;
		}
		uint32_t pend = (uint32_t)c->n_pends;
		c->entry[c->n_entries++] = (struct gx_entry){
			.node = n, .slot = slot, .pend = pend};
		for (size_t k = 0; k < n->n_apps; k++) {
			if (!push_app(c, &n->apps[k], slot)) {
				return false;
			}
		}
		for (size_t k = 0; k < n->n_apps; k++) {
			const struct gx_sch_app *app = &n->apps[k];
			uint32_t first = c->pend[pend + k].first;
			for (uint32_t j = 0; j < app->n; j++) {
				if (app->branch[j] >= 0 &&
				    !gx_check_push(c, app->branch[j],
						   first + j)) {
					return false;
				}
			}
		}
	}
	return true;
}

/* Give the faults of a branch to its parent, or drop them. */
static void
settle(struct gx_check *c, uint32_t from, uint32_t to, bool applies)
{
	size_t n = 0;

	if (!c->slot[from].has_failed) {
		return;
	}
	if (applies) {
		c->slot[to].has_failed = true;
	}
	for (size_t i = 0; i < c->n_kept; i++) {
		if (c->kept[i].slot == from) {
			if (!applies) {
				continue;
			}
			c->kept[i].slot = to;
		}
		c->kept[n++] = c->kept[i];
	}
	c->n_kept = n;
}

static void
combine(struct gx_check *c, const struct gx_pend *p)
{
	const struct gx_sch_app *app = p->app;
	const struct gx_slot *s = &c->slot[p->first];
	uint32_t n_good = 0;

	if (app->kind == APP_IF) {
		settle(c, p->first + 1, p->slot, !s[0].has_failed);
		settle(c, p->first + 2, p->slot, s[0].has_failed);
		return;
	}
	if (app->kind == APP_DEPENDENT) {
		settle(c, p->first, p->slot, p->is_triggered);
		return;
	}
	for (uint32_t i = 0; i < app->n; i++) {
		n_good += !s[i].has_failed;
	}
	if (app->kind == APP_NOT ? n_good > 0 : n_good == 0) {
		gx_check_report(c, p->slot, &app->rule);
	} else if (app->kind == APP_ONE && n_good > 1) {
		gx_check_report(c, p->slot, &app->on_second);
	}
}

void
gx_check_finish(struct gx_check *c, struct gx_mark m)
{
	/* Inner branches were pushed later and are decided first. */
	for (size_t i = c->n_pends; i > m.pends; i--) {
		combine(c, &c->pend[i - 1]);
	}
	c->n_entries = m.entries;
	c->n_pends = m.pends;
	c->n_slots = m.slots;
}

static void
publish_faults(struct gx_check *c)
{
	c->n_faults = c->n_kept < GX_CHECK_FAULTS ? c->n_kept : GX_CHECK_FAULTS;
	for (size_t i = 0; i < c->n_faults; i++) {
		const struct gx_kept *k = &c->kept[i];
		c->fault[i] = (struct gx_fault){
			.pointer =
				gx_slice(k->n ? c->text.p + k->at : "", k->n),
			.keyword = k->rule.keyword,
			.message = k->rule.message};
	}
}

/* The one fault of a text that could not be checked to its end. */
static bool
fail_whole(struct gx_check *c)
{
	c->n_faults = 1;
	c->fault[0] = (struct gx_fault){
		.pointer = GX_SLICE(""),
		.keyword = c->is_over ? GX_SLICE("limit") : GX_SLICE("syntax"),
		.message = c->is_over
				   ? GX_SLICE("more rules apply at one place "
					      "than a check can hold")
				   : gx_slice_str(c->s.fault)};
	return false;
}

static void
reset(struct gx_check *c, struct gx_slice json)
{
	c->s = (struct gx_scan){json.p, json.p + json.n, NULL};
	c->is_over = false;
	c->n_entries = c->n_slots = c->n_pends = 0;
	c->n_words = c->n_names = 0;
	c->depth = c->n_kept = c->n_faults = 0;
	c->has_today = false;
	gx_buf_reset(&c->text);
	if (c->sch && c->sch->n_fields) {
		memset(c->field, 0, c->sch->n_fields * sizeof(*c->field));
	}
}

/* The whole text: one value and white space. */
static bool
walk_text(struct gx_check *c, struct gx_slice json)
{
	struct gx_slice raw;
	uint32_t slot;

	reset(c, json.p ? json : GX_SLICE(""));
	if (!gx_check_new_slot(c, false, &slot)) {
		return false;
	}
	struct gx_mark m = gx_check_mark(c);
	if (c->sch && !gx_check_push(c, 0, slot)) {
		return false;
	}
	if (!gx_check_walk(c, m, &raw)) {
		return false;
	}
	gx_scan_space(&c->s);
	return c->s.at == c->s.end ||
	       gx_scan_fail(&c->s, "something behind the value");
}

bool
gx_check_run(struct gx_check *c, struct gx_slice json)
{
	GX_ASSERT(c->magic == CHECK_MAGIC);
	if (!walk_text(c, json)) {
		return fail_whole(c);
	}
	publish_faults(c);
	return !c->slot[0].has_failed;
}

size_t
gx_check_n_faults(const struct gx_check *c)
{
	return c->n_faults;
}

const struct gx_fault *
gx_check_fault(const struct gx_check *c, size_t i)
{
	return i < c->n_faults ? &c->fault[i] : NULL;
}

struct gx_slice
gx_check_field(const struct gx_check *c, size_t i)
{
	return i < c->sch->n_fields ? c->field[i] : gx_slice("", 0);
}

const char *
gx_json_syntax(struct gx_slice json, size_t *at)
{
	struct gx_check *c = new_check(NULL);
	const char *why = NULL;

	*at = 0;
	if (!walk_text(c, json)) {
		why = c->is_over ? "no memory" : c->s.fault;
		*at = json.p ? (size_t)(c->s.at - json.p) : 0;
	}
	gx_check_free(&c);
	return why;
}
