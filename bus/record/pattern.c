/*
 * Patterns run by PCRE2.
 *
 * A schema's expression is translated (pattern_ecma.c), compiled with JIT
 * where the machine has it, and from then on immutable.  Many patterns of
 * registers are one class of characters, anchored at both ends and counted:
 * "^[0-9A-Za-z]{1,20}$".  Those are read off the expression and matched here
 * by a table of 128 bits, ten times as fast; the unit test runs both ways over
 * the same texts and compares.
 *
 * A text from outside may be made to send a backtracking matcher round for
 * hours.  The match limit ends that: after LIMIT steps, or when the stack for
 * JIT is full, the answer is GX_MATCH_LIMIT and the record is refused.  The
 * workspace holds the stack and the match block, so that matching allocates
 * nothing.
 *
 * Texts are valid UTF-8 by the scanner's word; PCRE2 is told not to look
 * again.
 */
#include "record/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdint.h>
#include <string.h>

#define LIMIT 200000u
#define DEPTH 2000u
#define HEAP_KIB 1024u
#define STACK_MIN ((size_t)32 * 1024)
#define STACK_MAX ((size_t)512 * 1024)

/* One class of ASCII characters, min to max times, nothing else. */
struct run {
	uint64_t set[2];
	size_t min, max;
};

struct gx_pattern {
	pcre2_code *code;
	struct run run;
	bool is_run, has_jit;
};

struct gx_matcher {
	pcre2_match_data *data;
	pcre2_match_context *ctx;
	pcre2_jit_stack *stack;
};

static bool
take_count(const char **p, const char *end, size_t *v)
{
	const char *from = *p;

	for (*v = 0; *p < end && **p >= '0' && **p <= '9'; ++*p) {
		*v = *v * 10 + (size_t)(**p - '0');
	}
	return *p > from && *p - from <= 5;
}

/* "[...]" of plain characters and ranges; no escape, no negation. */
static bool
take_class(const char **p, const char *end, uint64_t set[2])
{
	const char *q = *p + 1;

	if (q < end && (*q == '^' || *q == ']')) {
		return false;
	}
	while (q < end && *q != ']') {
		unsigned char from = (unsigned char)*q, to = from;
		if (end - q > 2 && q[1] == '-' && q[2] != ']') {
			to = (unsigned char)q[2];
			q += 2;
		}
		if (*q == '\\' || from == '\\' || from > to || to > 0x7f) {
			return false;
		}
		for (unsigned c = from; c <= to; c++) {
			set[c / 64] |= UINT64_C(1) << c % 64;
		}
		q++;
	}
	*p = q + 1;
	return q < end;
}

/* Read ^[class]{n,m}$ or ^[class]+$ off an expression. */
static bool
read_run(struct gx_slice ecma, struct run *r)
{
	const char *p = ecma.p, *end = p + ecma.n;

	if (ecma.n < 5 || p[0] != '^' || p[1] != '[' || end[-1] != '$') {
		return false;
	}
	p++;
	end--;
	if (!take_class(&p, end, r->set)) {
		return false;
	}
	r->min = r->max = 1;
	if (p == end) {
		return true;
	}
	if (end - p == 1 && (*p == '+' || *p == '*')) {
		r->min = *p == '+';
		r->max = SIZE_MAX;
		return true;
	}
	if (*p++ != '{' || !take_count(&p, end, &r->min)) {
		return false;
	}
	r->max = r->min;
	if (p < end && *p == ',') {
		p++;
		r->max = SIZE_MAX;
		if (p < end && *p != '}' && !take_count(&p, end, &r->max)) {
			return false;
		}
	}
	return end - p == 1 && *p == '}' && r->min <= r->max;
}

const char *
gx_pattern_new(struct gx_slice ecma, struct gx_pattern **out)
{
	struct gx_buf text;
	bool has_backref;
	int code;
	PCRE2_SIZE at;

	*out = NULL;
	gx_buf_init(&text, (size_t)16 * GX_PATTERN_MAX);
	const char *why = gx_pattern_translate(ecma, &text, &has_backref);
	if (why) {
		gx_buf_free(&text);
		return why;
	}
	uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C |
			   PCRE2_MATCH_UNSET_BACKREF | PCRE2_DOLLAR_ENDONLY;
	if (!has_backref) {
		options |= PCRE2_NO_AUTO_CAPTURE;
	}
	struct gx_pattern *p = gx_mem_new(sizeof(*p));
	p->code = pcre2_compile((PCRE2_SPTR)gx_buf_str(&text), text.n, options,
				&code, &at, NULL);
	gx_buf_free(&text);
	if (!p->code) {
		gx_mem_free(p);
		return "not a regular expression that PCRE2 takes";
	}
	p->has_jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
	p->is_run = read_run(ecma, &p->run);
	*out = p;
	return NULL;
}

void
gx_pattern_free(struct gx_pattern **p)
{
	if (*p) {
		pcre2_code_free((*p)->code);
		gx_mem_free(*p);
		*p = NULL;
	}
}

struct gx_matcher *
gx_matcher_new(void)
{
	struct gx_matcher *m = gx_mem_new(sizeof(*m));

	m->data = pcre2_match_data_create(1, NULL);
	m->ctx = pcre2_match_context_create(NULL);
	m->stack = pcre2_jit_stack_create(STACK_MIN, STACK_MAX, NULL);
	/* Fixed sizes: like gx_mem_new, no memory for them ends the process. */
	GX_ASSERT(m->data && m->ctx);
	pcre2_set_match_limit(m->ctx, LIMIT);
	pcre2_set_depth_limit(m->ctx, DEPTH);
	pcre2_set_heap_limit(m->ctx, HEAP_KIB);
	if (m->stack) {
		pcre2_jit_stack_assign(m->ctx, NULL, m->stack);
	}
	return m;
}

void
gx_matcher_free(struct gx_matcher **m)
{
	if (*m) {
		pcre2_match_data_free((*m)->data);
		pcre2_match_context_free((*m)->ctx);
		pcre2_jit_stack_free((*m)->stack);
		gx_mem_free(*m);
		*m = NULL;
	}
}

static bool
match_run(const struct run *r, const char *text, size_t n)
{
	if (n < r->min || n > r->max) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c > 0x7f || !(r->set[c / 64] >> c % 64 & 1)) {
			return false;
		}
	}
	return true;
}

enum gx_match
gx_pattern_match(const struct gx_pattern *p, struct gx_matcher *m,
		 const char *text, size_t n)
{
	if (p->is_run) {
		return match_run(&p->run, text, n) ? GX_MATCH_YES : GX_MATCH_NO;
	}
	PCRE2_SPTR s = (PCRE2_SPTR)(n ? text : "");
	int rc = p->has_jit
			 ? pcre2_jit_match(p->code, s, n, 0, 0, m->data, m->ctx)
			 : pcre2_match(p->code, s, n, 0, PCRE2_NO_UTF_CHECK,
				       m->data, m->ctx);
	if (rc >= 0) {
		return GX_MATCH_YES;
	}
	return rc == PCRE2_ERROR_NOMATCH ? GX_MATCH_NO : GX_MATCH_LIMIT;
}
