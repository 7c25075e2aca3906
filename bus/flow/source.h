/*
 * Source: where a writer's records come from.  src_pg.c (logical decoding) is
 * one, the simulation's another.  A source maps and checks through the
 * adapter host; the writer sees finished records or rejects.
 *
 * A source is made from the declaration of an adapter instance, whose "kind"
 * says which one it is: a kind is one row in source_kind.c.
 *
 * Positions are opaque text (printable ASCII without quote or backslash, at
 * most 1,500 bytes) that carry the incarnation of the source; only the source
 * compares them.
 */
#ifndef GX_FLOW_SOURCE_H
#define GX_FLOW_SOURCE_H

#include "record/line.h"
#include "record/resource.h"
#include "record/schema.h"

/* What a read handed over.  Lent until the next call on the source. */
struct gx_rec {
	bool is_progress;    /* no record: only pos moved (idle, filtered) */
	size_t stream;	     /* index into the flow's streams */
	struct gx_line line; /* ready to be put; for a reject: op
				  GX_OP_SET_ASIDE with the key, or key.n = 0 */
	struct gx_slice pos; /* position after this record */
	bool is_reject;
	const struct gx_fault *faults; /* reject */
	size_t n_faults;
	struct gx_slice original; /* reject: bytes as the source gave them */
	struct gx_slice record; /* reject: the mapped record, a JSON object, as
				   far as it could be made; n = 0: none */
	/* counts for the mass-change guard */
	bool is_change; /* deletes or changes a row that was there before */
};

struct gx_source;
struct gx_source_ops {
	/* What the declaration makes: "/node/org/name", and its streams in the
	 * order that gx_rec.stream and start() use.  Lent for the life of the
	 * source, the same from first to last. */
	const char *(*origin)(const struct gx_source *s);
	size_t (*n_streams)(const struct gx_source *s);
	const char *(*stream)(const struct gx_source *s, size_t i);
	const struct gx_resource *(*resource)(const struct gx_source *s,
					      size_t i);

	/* Make the source ours; what held it before can no longer release.
	 * GX_AGAIN: away.  GX_FENCED: held by another that lives. */
	enum gx_rc (*take)(struct gx_source *s, struct gx_err *e);
	/* Begin to read: pos[i] = settled position of stream i ("" = nothing
	 * yet); released = what was noted as released ("" = nothing).
	 * GX_FATAL: "source.restored", "source.released_beyond", "slot.lost" */
	enum gx_rc (*start)(struct gx_source *s, const struct gx_slice *pos,
			    size_t n, struct gx_slice released,
			    struct gx_err *e);
	/* GX_OK: rec filled.  GX_AGAIN: nothing within the time-out; with
	 * e->code: it waits for what e says.
	 * GX_REJECT: stream rec->stream stops with e, its neighbours go on.
	 * GX_ABORT: connection lost, take over again.  GX_FENCED: another has
	 * the source.  GX_FATAL: the flow stops. */
	enum gx_rc (*read)(struct gx_source *s, int timeout_ms,
			   struct gx_rec *rec, struct gx_err *e);
	/* Look after what the source keeps for us; at any time, taken or not,
	 * and called even while nothing is read.  GX_FATAL: its ceiling was
	 * reached and it was given up.  GX_ABORT, GX_FENCED: as read. */
	enum gx_rc (*tend)(struct gx_source *s, struct gx_err *e);
	/* Everything at or below pos may be forgotten by the source. */
	enum gx_rc (*release)(struct gx_source *s, struct gx_slice pos,
			      struct gx_err *e);
	/* Let go; take() again later. */
	void (*drop)(struct gx_source *s);
	/* Bytes the source holds behind its end, -1 unknown: for metrics. */
	int64_t (*lag_bytes)(struct gx_source *s);
	void (*free)(struct gx_source **s);
};
struct gx_source { /* embedded first by implementations */
	const struct gx_source_ops *ops;
};

/* What a source is made from. */
struct gx_source_conf {
	const char *node; /* "450100": first part of the stream names */
	const char *path; /* declaration; files named in it are relative to it
			   */
	/* Declared resource by name, NULL if there is none; lent for the life
	 * of the source. */
	const struct gx_resource *(*resource)(void *ctx, const char *name);
	void *ctx;
};

/* Read and check the declaration and make the source that its "kind" names;
 * connects to nothing.  GX_REJECT "adapter.declaration" with pointer and
 * reason, "adapter.file", "json.*": a person must correct the file. */
enum gx_rc gx_source_new(const struct gx_source_conf *conf,
			 struct gx_source **out, struct gx_err *e) GX_MUSTCHECK;
/* Accepts NULL. */
static inline void
gx_source_free(struct gx_source **s)
{
	if (*s != NULL) {
		(*s)->ops->free(s);
	}
}

#endif
