/*
 * Inside of http_*.c only: the target of a request, taken apart.
 */
#ifndef GX_PORT_HTTP_INT_H
#define GX_PORT_HTTP_INT_H

#include "port/http.h"

#define GX_HTTP_URI_MAX 8192
#define GX_HTTP_PARAMS 32

struct gx_http_param {
	const char *name, *value; /* decoded, in the target's memory */
};

struct gx_http_target {
	char *memory; /* gx_mem_free */
	const char *path;
	struct gx_http_param params[GX_HTTP_PARAMS];
	size_t n_params;
};

/* Take "/path?name=value&..." apart and decode it, strictly.  NULL, or what is
 * wrong in a few words; t->memory is to be freed in both cases. */
const char *gx_http_target_parse(const char *uri, struct gx_http_target *t);

#endif
