/*
 * Errors: setting them, and the table that explains them.
 *
 * An error is a value on the caller's stack.  It is filled once, where the
 * fault is first seen, and carried up unchanged except for context in
 * brackets behind the text.  Nothing here allocates, locks or prints, so an
 * error can be set on any path, also when memory is what ran out.  A text
 * that does not fit is cut, never refused, and cut between characters: the
 * text goes into JSON and into logs, where half a character would be a second
 * error.
 *
 * The table is errors.def.  It gives each code its number for people, what it
 * is, why it happens and the next step.  It is searched row by row: it has a
 * few hundred rows and is read only when somebody is about to read a line of
 * text anyway.  A code without a row is answered with 1000 rather than with
 * nothing, so that a forgotten row shows up in the log and not as a crash;
 * lint finds it before that.
 *
 * A failed assertion ends the process at once: what our own code guarantees
 * is broken, so no clean-up can be trusted.  Open transactions are rolled
 * back by the servers, and the supervisor starts us again.
 */
#include "base/err.h"

#include <stdarg.h>
#include <string.h>

static const struct gx_error_def errors[] = {
#define GX_ERROR(number, code, text, cause, remedy)                            \
	{number, code, text, cause, remedy},
#include "base/errors.def"
#undef GX_ERROR
};

#define N_ERRORS (sizeof(errors) / sizeof(errors[0]))

/* Cut a text of n bytes that was truncated inside a character. */
static void
trim_character(char *text, size_t n)
{
	size_t i = n;

	while (i > 0 && n - i < 4 &&
	       ((unsigned char)text[i - 1] & 0xc0) == 0x80) {
		i--;
	}
	if (i == 0 || ((unsigned char)text[i - 1] & 0x80) == 0) {
		return;
	}
	unsigned char lead = (unsigned char)text[i - 1];
	size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
	if (n - (i - 1) < want) {
		text[i - 1] = '\0';
	}
}

static void __attribute__((format(printf, 3, 0)))
append(struct gx_err *e, size_t at, const char *fmt, va_list ap)
{
	size_t room = sizeof(e->text) - at;
	int n = vsnprintf(e->text + at, room, fmt, ap);

	if (n < 0) {
		e->text[at] = '\0';
	} else if ((size_t)n >= room) {
		trim_character(e->text, sizeof(e->text) - 1);
	}
}

enum gx_rc
gx_err_set(struct gx_err *e, enum gx_rc rc, const char *code, const char *file,
	   int line, const char *fmt, ...)
{
	if (!e) {
		return rc;
	}
	va_list ap;
	e->rc = rc;
	e->code = code;
	e->file = file;
	e->line = line;
	va_start(ap, fmt);
	append(e, 0, fmt, ap);
	va_end(ap);
	return rc;
}

void
gx_err_note(struct gx_err *e, const char *fmt, ...)
{
	if (!e) {
		return;
	}
	size_t at = strnlen(e->text, sizeof(e->text) - 1);
	/* Room for " (", at least one byte, and ")". */
	if (at + 5 > sizeof(e->text)) {
		return;
	}
	memcpy(e->text + at, " (", 3);
	va_list ap;
	va_start(ap, fmt);
	append(e, at + 2, fmt, ap);
	va_end(ap);
	size_t n = strlen(e->text);
	if (n + 1 >= sizeof(e->text)) {
		n = sizeof(e->text) - 2;
		e->text[n] = '\0';
		trim_character(e->text, n);
		n = strlen(e->text);
	}
	memcpy(e->text + n, ")", 2);
}

const char *
gx_rc_name(enum gx_rc rc)
{
	switch (rc) {
	case GX_OK:
		return "ok";
	case GX_AGAIN:
		return "again";
	case GX_ABORT:
		return "abort";
	case GX_REJECT:
		return "reject";
	case GX_FENCED:
		return "fenced";
	case GX_FATAL:
		return "fatal";
	}
	return "?";
}

/* "GX4032" or "4032" to 4032; 0 if it is no number. */
static int
parse_number(const char *what)
{
	if ((what[0] == 'G' || what[0] == 'g') &&
	    (what[1] == 'X' || what[1] == 'x')) {
		what += 2;
	}
	size_t n = strlen(what);
	if (n != 4 || strspn(what, "0123456789") != 4) {
		return 0;
	}
	int number = 0;
	for (size_t i = 0; i < n; i++) {
		number = number * 10 + (what[i] - '0');
	}
	return number;
}

const struct gx_error_def *
gx_error_find(const char *what)
{
	if (!what) {
		return NULL;
	}
	int number = parse_number(what);
	for (size_t i = 0; i < N_ERRORS; i++) {
		if (errors[i].number == number ||
		    strcmp(errors[i].code, what) == 0) {
			return &errors[i];
		}
	}
	return NULL;
}

const struct gx_error_def *
gx_error_at(size_t i)
{
	return i < N_ERRORS ? &errors[i] : NULL;
}

int
gx_error_number(const char *code)
{
	for (size_t i = 0; code && i < N_ERRORS; i++) {
		if (strcmp(errors[i].code, code) == 0) {
			return errors[i].number;
		}
	}
	return 1000;
}

void
gx_assert_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "gxbus: assertion failed: %s (%s:%d)\n", cond, file,
		line);
	fflush(stderr);
	abort();
}
