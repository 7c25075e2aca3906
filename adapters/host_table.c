/*
 * The adapters of this program, by name.
 *
 * A source asks for the adapter that translates what it reads and hands it to
 * the host, which looks whether the two fit.  A new adapter is a file in_<x>.c
 * and a row here.  Nothing is loaded from outside: an adapter becomes part of
 * the program when it is built, reviewed and signed with it.
 *
 * The table never changes while the program runs; nothing here can be left
 * half done.
 */
#include "adapters/host.h"

#include <stdio.h>
#include <string.h>

static const struct gx_adapter *const adapters[] = {
	&gx_in_row_adapter,
};

#define N_ADAPTERS (sizeof(adapters) / sizeof(adapters[0]))

enum gx_rc
gx_host_find(const char *name, const char *where, const struct gx_adapter **out,
	     struct gx_err *e)
{
	char known[200] = "";
	size_t n = 0;

	*out = NULL;
	for (size_t i = 0; i < N_ADAPTERS; i++) {
		if (strcmp(adapters[i]->name, name) == 0) {
			*out = adapters[i];
			return GX_OK;
		}
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s",
				      i == 0 ? "" : ", ", adapters[i]->name);
		GX_ASSERT(n < sizeof(known)); /* of our own table */
	}
	return GX_ERR(e, GX_REJECT, "adapter.declaration",
		      "%s: no such adapter; there is %s", where, known);
}
