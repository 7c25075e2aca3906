/* Inside of the adapter host: shared by host.c and host_map.c only. */
#ifndef GX_ADAPTERS_HOST_INT_H
#define GX_ADAPTERS_HOST_INT_H

#include "adapters/host.h"

#define HOST_FAULTS 80 /* 64 of the validator, the rest of host and adapter */
#define HOST_CONF_BYTES (1u << 20)

struct host_item {
	const char *name;
	char *member;  /* "\"name\":", ready to be put */
	char *pointer; /* "/name" */
};

struct gx_host {
	const struct gx_resource *r;
	const struct gx_adapter *ad;
	void *state;
	struct gx_arena *conf; /* strings, items, maps, the adapter's state */
	struct gx_abi_host abi;

	struct host_item *items; /* one for each field of r */
	size_t n_map;
	struct gx_abi_map *map;
	size_t n_columns;
	const char *columns[GX_HOST_COLUMNS];
	bool is_key[GX_HOST_COLUMNS];
	unsigned holds[GX_HOST_COLUMNS];
	bool is_spoilt[GX_HOST_COLUMNS]; /* in the row that comes */
	bool has_spoilt;

	/* The record being made. */
	struct gx_buf *target; /* data or key_data */
	size_t next_item;      /* lowest that may be emitted */
	bool is_broken;	       /* the adapter emitted out of order */
	const char *why;       /* last log text of the adapter */
	struct gx_buf data, key, original;
	struct gx_buf key_data, old_key;
	struct gx_check *check, *key_check;
	size_t n_faults;
	struct gx_fault faults[HOST_FAULTS];
};

/* Fill items, map and columns from the declaration. */
enum gx_rc gx_host_read_map(struct gx_host *h, const struct gx_json *map,
			    const char *where, struct gx_err *e) GX_MUSTCHECK;

#endif
