/*
 * Store on PostgreSQL: the tables of schemas/sql and one base table per
 * resource, made when the resource is first met.
 *
 * A store opens its connection at its first call, and again after it broke, in
 * the thread that calls: it may be made in one thread and used in another.
 */
#ifndef GX_FLOW_STORE_PG_H
#define GX_FLOW_STORE_PG_H

#include "flow/store.h"
#include "record/line.h"
#include "record/resource.h"
#include "trust/box.h"

/* NULL: the line may be applied; else a code of errors.def, for which it is
 * set aside.  Thread: the store's. */
typedef const char *(*gx_check_line_f)(void *ctx, const struct gx_resource *r,
				       const struct gx_line *line);

struct gx_store_pg_conf {
	const char *conninfo;
	/* Declared resources; the array is copied, the resources are lent. */
	const struct gx_resource *const *resources;
	size_t n_resources;
	/* This node and all below it, for what comes down; NULL: none.  The
	 * names are copied. */
	const char *node;
	const char *const *subtree; /* NULL-terminated, with node */
	bool gives; /* there are nodes below: show them what concerns them */
	const char *flow;  /* for application_name; NULL: none */
	int guard_percent; /* mass-change guard at "op":"e", 0 = off */
	uint64_t guard_floor;
	uint64_t quarantine_max_rows; /* 0: no ceiling */
	/* What is set aside is sealed in it; lent, NULL: it is kept plain. */
	struct gx_box *box;
	/* Asked of each u line that passed its schema; NULL: nobody. */
	gx_check_line_f check_line;
	void *check_ctx;
};

enum gx_rc gx_store_pg_new(const struct gx_store_pg_conf *conf,
			   struct gx_store **out,
			   struct gx_err *e) GX_MUSTCHECK;

/* What a box of the quarantine is labelled with: its column ("original",
 * "record", "line"), stream and position, or of a line the number of its item;
 * n = 0 if that does not fit. */
#define GX_ASIDE_LABEL (GX_STREAM_MAX + 2048)
struct gx_slice gx_store_pg_label(char out[GX_ASIDE_LABEL], const char *column,
				  struct gx_slice stream, struct gx_slice pos);

/* What a node below is given of a resource: each record that concerns it and
 * comes from outside of its subtree.  region: what the item begins with; for a
 * resource that goes by stream it is not read.  is_ended: nothing any more. */
struct gx_store_pg_give {
	const char *child, *resource, *region;
	const char *const *subtree; /* NULL-terminated; child itself is in it */
	bool is_ended;
};
/* Make it so: what the child is to see or no longer to see from now on goes
 * into the outbox of /<node>/gx/down-<child>, in one transaction with the
 * note.  Done before: nothing.  The resource is one of the store's and says
 * whom a record concerns. */
enum gx_rc gx_store_pg_give(struct gx_store *s,
			    const struct gx_store_pg_give *g,
			    struct gx_err *e) GX_MUSTCHECK;

#endif
