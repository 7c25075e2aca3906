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

/* NULL: the line may be applied; else a code of errors.def, for which it is
 * set aside.  Thread: the store's. */
typedef const char *(*gx_check_line_f)(void *ctx, const struct gx_resource *r,
				       const struct gx_line *line);

struct gx_store_pg_conf {
	const char *conninfo;
	/* Declared resources; the array is copied, the resources are lent. */
	const struct gx_resource *const *resources;
	size_t n_resources;
	const char *flow;  /* for application_name; NULL: none */
	int guard_percent; /* mass-change guard at "op":"e", 0 = off */
	uint64_t guard_floor;
	uint64_t quarantine_max_rows; /* 0: no ceiling */
	/* Asked of each u line that passed its schema; NULL: nobody. */
	gx_check_line_f check_line;
	void *check_ctx;
};

enum gx_rc gx_store_pg_new(const struct gx_store_pg_conf *conf,
			   struct gx_store **out,
			   struct gx_err *e) GX_MUSTCHECK;

#endif
