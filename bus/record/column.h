/*
 * Columns: which values of a record a PostgreSQL column can hold, and how
 * they are written for COPY.  What fits here never fails there.
 */
#ifndef GX_RECORD_COLUMN_H
#define GX_RECORD_COLUMN_H

#include "base/err.h"
#include "base/mem.h"

enum gx_column_kind {
	GX_COLUMN_TEXT,
	GX_COLUMN_DATE,
	GX_COLUMN_TIME,
	GX_COLUMN_NUMERIC,
	GX_COLUMN_INTEGER,
	GX_COLUMN_BIGINT,
	GX_COLUMN_BOOLEAN,
	GX_COLUMN_JSON
};

struct gx_column {
	enum gx_column_kind kind;
	int precision, scale; /* NUMERIC; precision 0: as it comes */
	bool is_sure;	      /* what the schema allows fits; no need to ask */
};

/* raw is good JSON text; null fits everywhere. */
bool gx_column_fits(const struct gx_column *col, struct gx_slice raw);
/* Append the value as COPY text; false if it does not fit. */
bool gx_column_put(const struct gx_column *col, struct gx_slice raw,
		   struct gx_buf *out);

#endif
