/*
 * Fuzz the target of a request: the only bytes of HTTP that we take apart
 * ourselves.
 *
 * What is taken has a path that begins with a slash and holds no control
 * character, parameters with names that stand once, and all of it is UTF-8
 * within the copy; what is refused says why.
 */
#include "base/text.h"
#include "port/http_int.h"

int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);

static void
check(const struct gx_http_target *t, const char *s)
{
	size_t n = strlen(s);

	GX_ASSERT(s >= t->memory && s + n <= t->memory + GX_HTTP_URI_MAX);
	GX_ASSERT(gx_text_printable(s, n));
	GX_ASSERT(gx_utf8_check(s, n) == n);
}

int
LLVMFuzzerTestOneInput(const unsigned char *p, size_t n)
{
	char *uri = gx_mem_slicedup(gx_slice((const char *)p, n));
	struct gx_http_target t;
	const char *bad = gx_http_target_parse(uri, &t);

	if (bad == NULL) {
		GX_ASSERT(t.path[0] == '/');
		check(&t, t.path);
		for (size_t i = 0; i < t.n_params; i++) {
			check(&t, t.params[i].name);
			if (t.params[i].value[0] != '\0') {
				check(&t, t.params[i].value);
			}
			for (size_t k = 0; k < i; k++) {
				GX_ASSERT(strcmp(t.params[i].name,
						 t.params[k].name) != 0);
			}
		}
	}
	gx_mem_free(t.memory);
	gx_mem_free(uri);
	return 0;
}
