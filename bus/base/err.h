/*
 * Errors say what the caller does next.
 *
 * Every fallible function returns enum gx_rc, must be checked, and takes
 * struct gx_err *e last.  The struct lives on the caller's stack.  It is set
 * once, where the fault is first seen; upper layers may add context with
 * gx_err_note() and never replace it; the flow loop or the CLI logs it once.
 * No payload, name, identity number or key ever goes into the text.
 */
#ifndef GX_BASE_ERR_H
#define GX_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum gx_rc {
	GX_OK = 0,
	GX_AGAIN,  /* same call later; nothing changed (outage, empty queue) */
	GX_ABORT,  /* roll back and redo the batch, or re-open the handle */
	GX_REJECT, /* this one input can never pass: quarantine or refuse it */
	GX_FENCED, /* another instance owns the work: stop, commit nothing */
	GX_FATAL   /* stop this flow; a person must look */
};

struct gx_err {
	enum gx_rc rc;
	const char *code; /* of errors.def, e.g. "link.gap"; static */
	const char *file;
	int line;
	char text[400];
};

#define GX_MUSTCHECK __attribute__((warn_unused_result))
#define GX_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Set e (may be NULL) and return rc. */
#define GX_ERR(e, rc, code, ...)                                               \
	gx_err_set((e), (rc), (code), __FILE__, __LINE__, __VA_ARGS__)
enum gx_rc gx_err_set(struct gx_err *e, enum gx_rc rc, const char *code,
		      const char *file, int line, const char *fmt, ...)
	GX_PRINTF(6, 7);

/* Append " (context)" to e->text; keeps code and rc. */
void gx_err_note(struct gx_err *e, const char *fmt, ...) GX_PRINTF(2, 3);

/* "ok", "again", ... for logs. */
const char *gx_rc_name(enum gx_rc rc);

/* One row of errors.def.  number is what people see: GX<number>. */
struct gx_error_def {
	int number;
	const char *code;
	const char *text;   /* one line: what it is */
	const char *cause;  /* why it happens */
	const char *remedy; /* the next step */
};

/* Find by code ("link.gap") or number ("GX4032", "4032").  NULL if unknown. */
const struct gx_error_def *gx_error_find(const char *what);
/* Row i, or NULL past the end: for manuals, completion and drift checks. */
const struct gx_error_def *gx_error_at(size_t i);
/* The number for a code, 1000 ("internal") if the code has no row. */
int gx_error_number(const char *code);

/*
 * What our own code guarantees; always compiled in.  Never on anything sized
 * or shaped by input, a peer, a file or a clock.
 */
#define GX_ASSERT(cond)                                                        \
	do {                                                                   \
		if (!(cond)) {                                                 \
			gx_assert_failed(#cond, __FILE__, __LINE__);           \
		}                                                              \
	} while (0)
_Noreturn void gx_assert_failed(const char *cond, const char *file, int line);

#endif
