/*
 * Any bytes as a pgoutput message: parsed or refused.  What is accepted is
 * walked to its end, every byte of every value read, so that a sanitizer sees
 * one too many; and a relation has as many columns as it says.
 */
#include "flow/src_pg_out.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t
sum_row(const struct gx_pgo_tuple *t)
{
	static struct gx_pgo_value v[GX_PGO_COLUMNS];
	size_t sum = 0;

	gx_pgo_values(t, v);
	for (unsigned i = 0; i < t->n; i++) {
		for (size_t k = 0; k < v[i].text.n; k++) {
			sum += (unsigned char)v[i].text.p[k];
		}
	}
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct gx_pgo_msg m;
	struct gx_pgo_column col;
	size_t sum = 0;
	uint32_t oid;
	size_t at = 0, n_columns = 0;

	if (gx_pgo_parse(gx_slice((const char *)data, n), &m) != NULL) {
		return 0;
	}
	if (m.old_row.kind != 0) {
		sum += sum_row(&m.old_row);
	}
	if (m.new_row.kind != 0) {
		sum += sum_row(&m.new_row);
	}
	while (gx_pgo_column_next(&m, &at, &col)) {
		sum += col.name.n;
		n_columns++;
	}
	if (n_columns != m.n_columns) {
		abort();
	}
	for (at = 0; gx_pgo_relation_next(&m, &at, &oid);) {
		sum += oid;
	}
	return sum == SIZE_MAX ? -1 : 0;
}
