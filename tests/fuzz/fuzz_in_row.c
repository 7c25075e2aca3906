/*
 * Any bytes through every conversion of the row adapter.  The first byte picks
 * the conversion, the second the scale.  A number must be one by JSON's
 * grammar, a boolean true or false, and nothing is emitted twice.
 */
#include "adapters/host.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct fake {
	struct gx_abi_host abi;
	void *lent[4];
	size_t n_lent;
	int n_emitted;
};

static void *
lend(void *ctx, size_t n_bytes)
{
	struct fake *f = ctx;

	f->lent[f->n_lent] = calloc(1, n_bytes);
	return f->lent[f->n_lent++];
}

static bool
is_number(struct gx_abi_text v)
{
	size_t i = v.n > 0 && v.p[0] == '-' ? 1 : 0;

	if (i == v.n || (v.p[i] == '0' && i + 1 < v.n)) {
		return false;
	}
	for (; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9') {
			return false;
		}
	}
	return true;
}

static void
emit(void *ctx, size_t item, enum gx_abi_type type, struct gx_abi_text value)
{
	struct fake *f = ctx;
	volatile char last = 0;

	if (item != 3 || f->n_emitted++ > 0 || value.n == 0) {
		abort();
	}
	for (size_t i = 0; i < value.n; i++) {
		last = value.p[i]; /* every byte is there */
	}
	(void)last;
	if (type == GX_ABI_NUMBER && !is_number(value)) {
		abort();
	}
	if (type == GX_ABI_BOOLEAN && (value.n < 4 || value.n > 5)) {
		abort();
	}
}

static void
reject(void *ctx, size_t item, const char *keyword, const char *message)
{
	(void)ctx;
	(void)item;
	(void)keyword;
	(void)message;
	abort();
}

static void
take_log(void *ctx, const char *text)
{
	(void)ctx;
	(void)text;
	abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct gx_abi_pair codes[] = {{{"1", 1}, {"01", 2}}};
	struct gx_abi_map map = {.item = 3, .codes = codes, .n_codes = 1};
	struct gx_abi_setup setup = {sizeof(setup), &map, 1, 1};
	struct fake f = {.n_lent = 0};
	struct gx_abi_text v;
	size_t n_keys = 0;
	void *row;

	if (n < 3) {
		return 0;
	}
	while (gx_in_row_adapter.keys[n_keys].holds != 0) {
		n_keys++;
	}
	map.convert = gx_in_row_adapter.keys[data[0] % n_keys].name;
	map.scale = data[1] % 31;
	v = (struct gx_abi_text){(const char *)data + 2, n - 2};
	f.abi = (struct gx_abi_host){sizeof(f.abi), &f,	    lend,
				     emit,	    reject, take_log};
	if (gx_in_row_adapter.open(&f.abi, &setup, &row) != GX_ABI_OK ||
	    gx_in_row_adapter.feed(row, &v, 1) != GX_ABI_OK) {
		abort();
	}
	gx_in_row_adapter.close(row);
	for (size_t i = 0; i < f.n_lent; i++) {
		free(f.lent[i]);
	}
	return 0;
}
