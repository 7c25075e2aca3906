/*
 * Adapter host: turns rows of a department's table into checked lines of one
 * resource.  It drives an adapter (adapter.h), puts the items into a record in
 * the order of the schema, runs the validator, builds the key, and where the
 * record cannot pass, builds the reject with all its reasons.
 *
 * Thread: one; a host belongs to the source that made it.  No allocation per
 * record once its buffers are warm.
 */
#ifndef GX_ADAPTERS_HOST_H
#define GX_ADAPTERS_HOST_H

#include "adapters/adapter.h"
#include "base/json.h"
#include "record/line.h"
#include "record/resource.h"

#define GX_HOST_COLUMNS 256 /* columns of one table that may be mapped */

struct gx_host;

struct gx_host_conf {
	const struct gx_adapter *adapter; /* lent, as r is */
	const struct gx_json *map;	  /* "map" array of a declaration */
	const char *where; /* its JSON pointer, for error texts */
	const struct gx_resource *r;
};

/* GX_REJECT "adapter.declaration": unknown member, item, conversion, a
 * required item without a mapping, ...: pointer and reason.
 * "adapter.version", "adapter.input": the adapter is none for this host. */
enum gx_rc gx_host_new(const struct gx_host_conf *conf, struct gx_host **out,
		       struct gx_err *e) GX_MUSTCHECK;
void gx_host_free(struct gx_host **h);

/* Columns the mapping reads; rows are given in this order. */
size_t gx_host_n_columns(const struct gx_host *h);
const char *gx_host_column(const struct gx_host *h, size_t i);
/* True if a key item is made from it. */
bool gx_host_column_is_key(const struct gx_host *h, size_t i);
/* GX_ABI_HOLDS_* bits every conversion of the column takes. */
unsigned gx_host_column_holds(const struct gx_host *h, size_t i);

/* Value i of the next row is no text: bytes that its source's encoding does
 * not know.  A row is then set aside, with the keyword "encoding" at each item
 * made from the value and no other reason; its original shows the bytes as
 * {"hex":"..."}.  No key is made of it.  Forgotten after that row or key. */
void gx_host_spoil(struct gx_host *h, size_t i);

/* A finished line or a reject.  All lent until the next call on h that makes
 * one of the same kind (row or key). */
struct gx_host_out {
	struct gx_line line; /* reject: GX_OP_SET_ASIDE, key.n = 0 if the key
				could not be told */
	bool is_reject;
	const struct gx_fault *faults;
	size_t n_faults;
	struct gx_slice original; /* reject: {"column":"text",...} */
	struct gx_slice record;	  /* reject: what the validator saw; n = 0: no
				   record could be made */
};
/* A row that is there: upsert or reject.  time is lent into out.
 * GX_FATAL "adapter.broken": the adapter broke its contract. */
enum gx_rc gx_host_row(struct gx_host *h, const struct gx_abi_text *row,
		       struct gx_slice time, struct gx_host_out *out,
		       struct gx_err *e) GX_MUSTCHECK;
/* A row that is gone: only its key columns are read.  GX_REJECT: no key can
 * be made of it, so nothing was ever published under it. */
enum gx_rc gx_host_key(struct gx_host *h, const struct gx_abi_text *row,
		       struct gx_slice time, struct gx_host_out *out,
		       struct gx_err *e) GX_MUSTCHECK;

/* An adapter of this program by its name; GX_REJECT "adapter.declaration" at
 * where, with the names there are. */
enum gx_rc gx_host_find(const char *name, const char *where,
			const struct gx_adapter **out,
			struct gx_err *e) GX_MUSTCHECK;

/* NULL if the adapter's version is one of ours, else why not, with both. */
const char *gx_host_refuses(const struct gx_adapter *ad, char *text,
			    size_t text_max);

/* The adapter for rows of tables (in_row.c), "row". */
extern const struct gx_adapter gx_in_row_adapter;

#endif
