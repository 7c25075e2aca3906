/*
 * pgoutput, protocol version 1: the messages of a logical replication stream
 * (PostgreSQL manual, "Logical Replication Message Formats").  Pure: bytes in,
 * slices of them out; nothing is copied.
 */
#ifndef GX_FLOW_SRC_PG_OUT_H
#define GX_FLOW_SRC_PG_OUT_H

#include "base/mem.h"

#include <stdint.h>

#define GX_PGO_COLUMNS 1664 /* most a PostgreSQL table can have */

enum gx_pgo_kind {
	GX_PGO_BEGIN,
	GX_PGO_COMMIT,
	GX_PGO_RELATION,
	GX_PGO_INSERT,
	GX_PGO_UPDATE,
	GX_PGO_DELETE,
	GX_PGO_TRUNCATE,
	GX_PGO_OTHER /* type, origin, message: nothing to us */
};

/* One value of a tuple. */
struct gx_pgo_value {
	char kind; /* 'n' NULL, 'u' unchanged and not sent, 't' text */
	struct gx_slice text;
};
struct gx_pgo_tuple {
	char kind;  /* 'N' new, 'K' old key, 'O' old row, 0 not there */
	uint16_t n; /* columns */
	struct gx_slice raw;
};
struct gx_pgo_column {
	bool is_key; /* part of the replica identity */
	struct gx_slice name;
	uint32_t type; /* oid */
};

struct gx_pgo_msg {
	enum gx_pgo_kind kind;
	uint64_t lsn;	   /* begin: where it will commit; commit: the same */
	uint64_t end_lsn;  /* commit: the transaction ends before it */
	int64_t time_us;   /* begin, commit: since 2000-01-01T00:00:00Z */
	uint32_t relation; /* oid; relation, insert, update, delete */
	struct gx_slice ns, name; /* relation */
	char identity;		  /* relation: 'd' 'n' 'f' 'i' */
	uint16_t n_columns;	  /* relation */
	struct gx_slice columns;  /* relation */
	struct gx_pgo_tuple old_row, new_row;
	uint32_t n_relations; /* truncate */
	struct gx_slice relations;
};

/* NULL if good, else a static reason.  Everything the walkers below touch has
 * been checked here. */
const char *gx_pgo_parse(struct gx_slice data, struct gx_pgo_msg *out);

/* Walk a relation's columns, a truncate's relations: *at starts at 0. */
bool gx_pgo_column_next(const struct gx_pgo_msg *m, size_t *at,
			struct gx_pgo_column *out);
bool gx_pgo_relation_next(const struct gx_pgo_msg *m, size_t *at,
			  uint32_t *oid);
/* Values of a tuple; out holds at least t->n. */
void gx_pgo_values(const struct gx_pgo_tuple *t, struct gx_pgo_value *out);

/* Microseconds since 2000 -> milliseconds since 1970. */
static inline int64_t
gx_pgo_time_ms(int64_t time_us)
{
	return time_us / 1000 + 946684800000;
}

#endif
