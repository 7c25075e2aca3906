/*
 * Torture: the first allocation fails, then the second, and so on, until the
 * work is done without a failure.
 *
 * The linker sends every malloc, calloc, realloc and free of our own code here
 * (see the Makefile).  Each try runs in a child of its own.  What may happen:
 * the work ends with a named error and has given back all it took; or a small
 * object of fixed size could not be had and the process ends itself, saying
 * so.  What may not: a signal other than that, a leak, or success although
 * an allocation failed.  A planted piece of work that ignores NULL, and one
 * that leaks, must be caught.
 *
 * To add work: a function that returns its gx_rc, and a row in jobs[].
 */
#include "base/conf.h"
#include "base/json.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static long fail_at; /* the how-manieth allocation fails; 0 none */
static long n_allocations;
static long n_held;

static bool
fails(void)
{
	n_allocations++;
	return n_allocations == fail_at;
}

void *
__wrap_malloc(size_t n)
{
	void *p = fails() ? NULL : __real_malloc(n);

	n_held += p != NULL;
	return p;
}

void *
__wrap_calloc(size_t n, size_t size)
{
	void *p = fails() ? NULL : __real_calloc(n, size);

	n_held += p != NULL;
	return p;
}

void *
__wrap_realloc(void *p, size_t n)
{
	void *q = fails() ? NULL : __real_realloc(p, n);

	n_held += !p && q;
	return q;
}

void
__wrap_free(void *p)
{
	n_held -= p != NULL;
	__real_free(p);
}

static enum gx_rc
read_json(struct gx_err *e)
{
	static const char text[] =
		"{\"a\":[1,2,{\"b\":\"\\u4e2d\\n\"}],\"c\":1,\"d\":2,\"e\":3,"
		"\"f\":4,\"g\":5,\"h\":6,\"i\":7,\"j\":[[[[[[[[[[]]]]]]]]]]}";
	struct gx_arena *a = gx_arena_new((size_t)16 << 20);
	const struct gx_json *j;
	struct gx_buf b;

	gx_buf_init(&b, (size_t)1 << 20);
	gx_buf_putc(&b, '[');
	for (int i = 0; i < 100; i++) {
		gx_buf_puts(&b, text);
		gx_buf_putc(&b, ',');
	}
	gx_buf_puts(&b, text);
	gx_buf_putc(&b, ']');
	enum gx_rc rc = b.failed ? GX_ERR(e, GX_REJECT, "mem.full", "buffer")
				 : gx_json_parse(a, gx_buf_view(&b), &j, e);
	gx_buf_free(&b);
	gx_arena_free(&a);
	return rc;
}

static const struct gx_conf_key keys[] = {
	{"a", "path", GX_CONF_PATH, "x", NULL, NULL, "Path.", false},
	{"f", "list", GX_CONF_LIST, "", NULL, NULL, "Words.", true},
	{"f", "word", GX_CONF_WORD, "a", "a bc", NULL, "One.", true},
	{"f", "k.*", GX_CONF_STR, "", NULL, NULL, "As it is.", true},
	{NULL, NULL, GX_CONF_STR, NULL, NULL, NULL, NULL, false},
};

static enum gx_rc
read_conf(struct gx_err *e)
{
	static const char text[] =
		"[a]\npath = y\n[f one]\nlist = a, b\nword = bc\n"
		"k.x = 1\n[f two]\nk.y = 2\n";
	struct gx_conf *c;
	enum gx_rc rc =
		gx_conf_parse("/etc/t.conf", GX_SLICE(text), keys, &c, e);

	gx_conf_free(&c);
	return rc;
}

static enum gx_rc
decode(struct gx_err *e)
{
	static char in[20000];
	struct gx_iconv *c;
	struct gx_buf out;
	size_t bad;

	memset(in, 'x', sizeof(in));
	gx_buf_init(&out, (size_t)1 << 20);
	enum gx_rc rc = gx_iconv_new("GB18030", &c, e);
	if (rc == GX_OK) {
		rc = gx_iconv_run(c, gx_slice(in, sizeof(in)), &out, &bad, e);
	}
	gx_iconv_free(&c);
	gx_buf_free(&out);
	return rc;
}

/* The controls: what must be caught. */
static enum gx_rc
ignore_null(struct gx_err *e)
{
	char *p = gx_mem_array(10, 1);

	(void)e;
	memcpy(p, "123456789", 10);
	gx_mem_free(p);
	return GX_OK;
}

static enum gx_rc
leak_on_error(struct gx_err *e)
{
	char *p = gx_mem_array(10, 1);
	char *q = gx_mem_array(10, 1);

	if (!p || !q) {
		return GX_ERR(e, GX_REJECT, "mem.full", "leaks the other");
	}
	gx_mem_free(p);
	gx_mem_free(q);
	return GX_OK;
}

static enum gx_rc
swallow(struct gx_err *e)
{
	char *p = gx_mem_array(10, 1);

	(void)e;
	gx_mem_free(p);
	return GX_OK;
}

enum end {
	END_GOOD = 50, /* no allocation failed: the work is done */
	END_ERROR,     /* a named error, nothing left behind */
	END_LEAK,
	END_SWALLOWED,
	END_UNNAMED
};

/* In the child. */
static _Noreturn void
try_once(enum gx_rc (*work)(struct gx_err *e), long at)
{
	const struct rlimit no_core = {0, 0};
	struct gx_err e = {0};

	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGABRT, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	n_allocations = 0;
	n_held = 0;
	fail_at = at;
	enum gx_rc rc = work(&e);
	bool failed = n_allocations >= at;
	if (n_held != 0) {
		_exit(END_LEAK);
	}
	if (!failed) {
		_exit(rc == GX_OK ? END_GOOD : END_UNNAMED);
	}
	if (rc == GX_OK) {
		_exit(END_SWALLOWED);
	}
	_exit(e.code && gx_error_find(e.code) ? END_ERROR : END_UNNAMED);
}

/* What is wrong with the work, NULL if nothing; *n_tries is how often. */
static const char *
torture(enum gx_rc (*work)(struct gx_err *e), long *n_tries)
{
	for (long at = 1; at < 20000; at++) {
		int status = 0;
		*n_tries = at;
		pid_t pid = fork();
		if (pid == 0) {
			/* "no memory" is said on stderr: thousands of times. */
			if (!freopen("/dev/null", "w", stderr)) {
				_exit(END_UNNAMED);
			}
			try_once(work, at);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid) {
			return "no child";
		}
		if (WIFSIGNALED(status)) {
			if (WTERMSIG(status) == SIGABRT) {
				continue;
			}
			return "a signal";
		}
		switch (WEXITSTATUS(status)) {
		case END_GOOD:
			return NULL;
		case END_ERROR:
			break;
		case END_LEAK:
			return "a leak";
		case END_SWALLOWED:
			return "success without memory";
		default:
			return "an end without a named error";
		}
	}
	return "no end";
}

static void
survives(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		enum gx_rc (*work)(struct gx_err *e);
	} jobs[] = {
		{"json", read_json},
		{"conf", read_conf},
		{"iconv", decode},
	};

	for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
		long n = 0;
		const char *wrong = torture(jobs[i].work, &n);
		if (wrong) {
			fail_msg("%s: allocation %ld: %s", jobs[i].name, n,
				 wrong);
		}
		print_message("%s: %ld allocations failed in turn\n",
			      jobs[i].name, n - 1);
		/* The wrapping works: there was something to fail. */
		assert_true(n > 2);
	}
}

static void
controls_are_caught(void **state)
{
	(void)state;
	long n;

	assert_string_equal(torture(leak_on_error, &n), "a leak");
	assert_string_equal(torture(swallow, &n), "success without memory");
	assert_non_null(torture(ignore_null, &n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives),
		cmocka_unit_test(controls_are_caught),
	};

	return cmocka_run_group_tests_name("torture", tests, NULL, NULL);
}
