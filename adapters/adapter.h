/*
 * Adapter ABI, version 1: the only header an adapter includes.
 *
 * An adapter is a translator: rows, files or records in, the items of one
 * resource out.  It has no connection, no thread, no clock and no memory but
 * what the host lends it; the host does all I/O, retry, position, checking and
 * quarantine.  So a wrong adapter can only be wrong about content, and the
 * schema of the resource catches it there.
 *
 * Driven today, by host.c: input GX_ABI_ROW with open, feed and close.  Not
 * yet: GX_ABI_FILE and GX_ABI_RECORD, which the host refuses by name
 * ("adapter.input"), and begin and end, which it does not call.
 *
 * An adapter exports one const struct gx_adapter and is found by its name in
 * host_table.c.  The host takes it when its
 * major equals GX_ABI_MAJOR and its minor is not newer; struct_size tells
 * which trailing members it has.  New members go at the end, never in between.
 */
#ifndef GX_ADAPTERS_ADAPTER_H
#define GX_ADAPTERS_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GX_ABI_MAJOR 1
#define GX_ABI_MINOR 0
#define GX_ABI_NONE SIZE_MAX /* no such column or item */

enum gx_abi_rc {
	GX_ABI_OK,
	GX_ABI_REJECT, /* this input is no record; host->reject said why */
	GX_ABI_FATAL   /* the adapter cannot go on; host->log said why */
};

enum gx_abi_input { GX_ABI_ROW = 1, GX_ABI_FILE, GX_ABI_RECORD };

/* Lent bytes, UTF-8, not ended by NUL.  p == NULL: absent (SQL NULL). */
struct gx_abi_text {
	const char *p;
	size_t n;
};

/* How an emitted value stands in the record. */
enum gx_abi_type {
	GX_ABI_STRING, /* the host quotes and escapes */
	GX_ABI_NUMBER, /* canonical JSON number text */
	GX_ABI_BOOLEAN /* "true" or "false" */
};

/* What a column may hold, as bits: says which columns a conversion takes. */
#define GX_ABI_HOLDS_TEXT 1u
#define GX_ABI_HOLDS_INTEGER 2u
#define GX_ABI_HOLDS_DECIMAL 4u
#define GX_ABI_HOLDS_DATE 8u
#define GX_ABI_HOLDS_TIME 16u
#define GX_ABI_HOLDS_BOOLEAN 32u

/* One conversion an adapter knows: checks declarations, makes their docs. */
struct gx_abi_key {
	const char *name; /* NULL ends the table */
	unsigned holds;	  /* columns it takes; 0: takes no column */
	bool has_codes;	  /* needs "codes" */
	bool has_scale;	  /* needs "scale" */
	bool has_const;	  /* needs "const" */
	const char *help; /* one sentence for people */
};

struct gx_abi_pair {
	struct gx_abi_text from, to;
};

/* One declared member: item <- convert(column).  Ascending by item. */
struct gx_abi_map {
	size_t item;   /* index in the resource's declaration */
	size_t column; /* index into a row, GX_ABI_NONE for a constant */
	const char *convert;
	const struct gx_abi_pair *codes;
	size_t n_codes;
	unsigned scale;
	struct gx_abi_text constant;
};
struct gx_abi_setup {
	size_t struct_size;
	const struct gx_abi_map *map;
	size_t n_map;
	size_t n_columns;
};

/* What the host offers.  Lent for the life of the adapter's state. */
struct gx_abi_host {
	size_t struct_size;
	void *ctx;
	/* Zeroed, lives until close; only within open.  NULL: too much. */
	void *(*alloc)(void *ctx, size_t n_bytes);
	/* One member of the record being made; items must ascend. */
	void (*emit)(void *ctx, size_t item, enum gx_abi_type type,
		     struct gx_abi_text value);
	/* A fault of the input; keyword and message are static and echo no
	 * value.  item may be GX_ABI_NONE. */
	void (*reject)(void *ctx, size_t item, const char *keyword,
		       const char *message);
	/* A line for the operator: static text, never content. */
	void (*log)(void *ctx, const char *text);
};

struct gx_adapter {
	unsigned major, minor;
	size_t struct_size;
	const char *name;
	enum gx_abi_input input;
	const struct gx_abi_key *keys;
	/* Make a state for one table or file layout. */
	enum gx_abi_rc (*open)(const struct gx_abi_host *host,
			       const struct gx_abi_setup *setup, void **state);
	/* A reading unit (a file, a snapshot) begins and ends; may be NULL. */
	enum gx_abi_rc (*begin)(void *state);
	/* One row: setup->n_columns values.  Emits the items of one record. */
	enum gx_abi_rc (*feed)(void *state, const struct gx_abi_text *row,
			       size_t n);
	enum gx_abi_rc (*end)(void *state);
	void (*close)(void *state);
};

#endif
