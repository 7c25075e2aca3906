/*
 * The workspace of a check, shared by check*.c.
 */
#ifndef GX_RECORD_CHECK_INT_H
#define GX_RECORD_CHECK_INT_H

#include "record/schema_int.h"

#define GX_CHECK_FAULTS 64
#define GX_CHECK_KEPT 256    /* with those of branches not yet decided */
#define GX_CHECK_STACK 65536 /* rules, slots and branches at once */

/* Where a rule's result goes.  Slot 0 is the record's. */
struct gx_slot {
	bool has_failed;
	bool is_silent; /* faults are not kept: only yes or no counts */
};

/* A node that applies to the value at hand. */
struct gx_entry {
	const struct gx_sch_node *node;
	uint32_t slot;
	uint32_t pend;	  /* its first app among the pending */
	uint32_t words;	  /* object: its set of names seen */
	uint32_t guess;	  /* object: next name in the order of the file */
	uint32_t slot_in; /* array: slot of contains, object: of names */
	uint64_t n_match; /* array: elements that contains took */
};

/* Branches that are combined at the end of the value. */
struct gx_pend {
	const struct gx_sch_app *app;
	uint32_t slot, first;
	bool is_triggered;
};

struct gx_kept {
	struct gx_rule rule;
	size_t at, n; /* pointer in the text buffer */
	uint32_t slot;
};

/* One step down: a name as written, or the number of an element. */
struct gx_step {
	struct gx_slice name;
	size_t index;
	bool is_index, is_decoded;
};

struct gx_mark {
	uint32_t entries, pends, slots;
};

struct gx_check {
	unsigned magic;
	const struct gx_schema *sch; /* NULL: syntax only */
	struct gx_digest_key key;
	struct gx_scan s;
	bool is_over; /* more at once than the workspace holds */

	struct gx_entry *entry;
	size_t n_entries, entries_cap;
	struct gx_slot *slot;
	size_t n_slots, slots_cap;
	struct gx_pend *pend;
	size_t n_pends, pends_cap;
	uint64_t *word;
	size_t n_words, words_cap;
	struct gx_str *name; /* of open objects, not declared */
	size_t n_names, names_cap;
	struct gx_digest *digest;
	size_t digests_cap;
	struct gx_buf decoded;

	struct gx_step step[GX_SCAN_DEPTH + 2];
	size_t depth;

	struct gx_kept kept[GX_CHECK_KEPT];
	size_t n_kept;
	struct gx_buf text;
	struct gx_fault fault[GX_CHECK_FAULTS];
	size_t n_faults;

	struct gx_slice *field;
	struct gx_matcher *matcher;
	int today_ymd;
	bool has_today;
};

/* Grow an array of the workspace to hold n; false sets is_over. */
bool gx_check_grow(struct gx_check *c, void *array, size_t *cap, size_t n,
		   size_t size);
/* A rule is broken at the present place. */
void gx_check_report(struct gx_check *c, uint32_t slot,
		     const struct gx_rule *rule);
/* Let a node and its closure apply to the value that comes. */
bool gx_check_push(struct gx_check *c, int32_t node, uint32_t slot);
bool gx_check_new_slot(struct gx_check *c, bool is_silent, uint32_t *out);
/* Combine branches of the value that ends, and forget its rules. */
void gx_check_finish(struct gx_check *c, struct gx_mark m);
/* Rules of all entries from m on. */
void gx_check_string(struct gx_check *c, struct gx_mark m,
		     const struct gx_str *str);
/* A resource takes no string that no store can keep. */
void gx_check_storable(struct gx_check *c, const struct gx_str *str);
void gx_check_number(struct gx_check *c, struct gx_mark m,
		     const struct gx_num *num);
/* The same for one node. */
void gx_check_string_one(struct gx_check *c, const struct gx_sch_node *n,
			 uint32_t slot, const struct gx_str *str);
void gx_check_number_one(struct gx_check *c, const struct gx_sch_node *node,
			 uint32_t slot, const struct gx_num *num);
void gx_check_kind(struct gx_check *c, struct gx_mark m, unsigned kind);
void gx_check_values(struct gx_check *c, struct gx_mark m, struct gx_slice raw);
/* The text of a string token: as it lies there, or decoded into room that is
 * good until the next call. */
struct gx_slice gx_check_decode(struct gx_check *c, const struct gx_str *str);
/* Walk one value with what has been pushed since m. */
bool gx_check_walk(struct gx_check *c, struct gx_mark m, struct gx_slice *raw);

static inline struct gx_mark
gx_check_mark(const struct gx_check *c)
{
	return (struct gx_mark){(uint32_t)c->n_entries, (uint32_t)c->n_pends,
				(uint32_t)c->n_slots};
}

/* Nothing more can change the result of this entry. */
static inline bool
gx_check_is_idle(const struct gx_check *c, const struct gx_entry *en)
{
	return c->slot[en->slot].is_silent && c->slot[en->slot].has_failed;
}

#endif
