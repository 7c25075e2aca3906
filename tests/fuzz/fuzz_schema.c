/*
 * Fuzz the schema compiler, and run what it takes.
 *
 * Input: a schema, a NUL byte, then texts separated by LF.  What compiles must
 * check each text without a sanitizer's word, twice with the same answer; a
 * record has a fault exactly if it does not conform, and every fault names a
 * keyword and a pointer that is empty or begins with a slash.  A text that is
 * no JSON for gx_json_syntax must be none for the check either.
 */
#include "base/text.h"
#include "record/resource.h"

int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);

static void
run(struct gx_check *c, struct gx_slice text)
{
	size_t at;
	bool is_json = gx_json_syntax(text, &at) == NULL;
	bool good = gx_check_run(c, text);
	size_t n = gx_check_n_faults(c);

	GX_ASSERT(good == (n == 0) && at <= text.n);
	GX_ASSERT(is_json || !good);
	for (size_t i = 0; i < n; i++) {
		const struct gx_fault *f = gx_check_fault(c, i);
		GX_ASSERT(f->keyword.n > 0 && f->message.n > 0);
		GX_ASSERT(f->pointer.n == 0 || f->pointer.p[0] == '/');
		GX_ASSERT(gx_utf8_check(f->pointer.p, f->pointer.n) ==
			  f->pointer.n);
	}
	GX_ASSERT(gx_check_run(c, text) == good && gx_check_n_faults(c) == n);
}

int
LLVMFuzzerTestOneInput(const unsigned char *p, size_t n)
{
	const unsigned char *nul = n ? memchr(p, 0, n) : NULL;
	size_t n_schema = nul ? (size_t)(nul - p) : n;
	struct gx_resource *r = NULL;
	struct gx_schema *s = NULL;
	struct gx_err e = {0};

	if (gx_resource_parse(gx_slice((const char *)p, n_schema), &r, &e) ==
	    GX_OK) {
		gx_resource_free(&r);
	}
	if (gx_schema_compile(gx_slice((const char *)p, n_schema), &s, &e) !=
	    GX_OK) {
		GX_ASSERT(e.rc == GX_REJECT && e.text[0]);
		return 0;
	}
	struct gx_check *c = gx_check_new(s);
	const char *at = (const char *)p + n_schema + (nul != NULL);
	const char *end = (const char *)p + n;
	while (nul && at <= end) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((lf ? lf : end) - at);
		run(c, gx_slice(at, len));
		at += len + 1;
	}
	gx_check_free(&c);
	gx_schema_free(&s);
	return 0;
}
