/*
 * Log lines as a reader of stderr sees them: form, levels, context, cleaning,
 * counting of repeats, the JSON form, and the last lines after a crash.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t fake_ms = 1795510800123;

static int64_t
fake_now(void)
{
	return fake_ms;
}

/* What f writes to stderr. */
static void
capture(void (*f)(void), struct gx_buf *out)
{
	int pipes[2];
	char piece[4096];
	ssize_t n;

	assert_int_equal(pipe(pipes), 0);
	fflush(stderr);
	int keep = dup(STDERR_FILENO);
	/* Lines are small: the pipe holds them all. */
	dup2(pipes[1], STDERR_FILENO);
	close(pipes[1]);
	f();
	fflush(stderr);
	dup2(keep, STDERR_FILENO);
	close(keep);
	gx_buf_reset(out);
	while ((n = read(pipes[0], piece, sizeof(piece))) > 0) {
		gx_buf_put(out, piece, (size_t)n);
	}
	close(pipes[0]);
}

static void
plain_lines(void)
{
	gx_log_setup(GX_LOG_INFO, false);
	gx_log(GX_LOG_WARN, "link.gap", "topic=%s partition=%d", "gx.x", 3);
	gx_log_flow("up");
	gx_log(GX_LOG_INFO, "flow.start", "%s", "");
	gx_log(GX_LOG_DEBUG, "flow.idle", "n=%d", 1);
	gx_log(GX_LOG_NOTICE, "x.y", "v=%s", "a\nb\x1b\xff\xc2\x85z");
	gx_log_flow(NULL);
	gx_log(GX_LOG_INFO, "end", "n=1");
}

static void
form(void **state)
{
	struct gx_buf *b = *state;

	gx_clock_fake(fake_now, NULL);
	capture(plain_lines, b);
	assert_string_equal(
		gx_buf_str(b),
		"2026-11-24T17:00:00.123+08:00 warn link.gap topic=gx.x "
		"partition=3\n"
		"2026-11-24T17:00:00.123+08:00 info flow.start flow=up\n"
		"2026-11-24T17:00:00.123+08:00 notice x.y flow=up "
		"v=a b ?  z\n"
		"2026-11-24T17:00:00.123+08:00 info end n=1\n");
}

static void
json_lines(void)
{
	struct gx_err e = {0};

	gx_log_setup(GX_LOG_INFO, true);
	gx_log_flow("up");
	gx_log(GX_LOG_WARN, "link.gap", "topic=%s n=%d text=\"a b\"", "x\"y",
	       3);
	gx_log(GX_LOG_INFO, "free", "%s", "no pairs here");
	GX_ERR(&e, GX_REJECT, "json.syntax", "a \"quoted\" word");
	gx_log_err(GX_LOG_ERROR, &e);
	gx_log_flow(NULL);
	gx_log_setup(GX_LOG_INFO, false);
	gx_log_err(GX_LOG_ERROR, &e);
}

static void
json(void **state)
{
	struct gx_arena *a = gx_arena_new((size_t)1 << 20);
	struct gx_buf *b = *state;
	const struct gx_json *j;
	struct gx_err e = {0};
	unsigned long before = gx_log_n_errors();

	gx_clock_fake(fake_now, NULL);
	capture(json_lines, b);
	assert_int_equal(gx_log_n_errors(), before + 2);
	const char *p = gx_buf_str(b);
	size_t n = strcspn(p, "\n");
	assert_int_equal(gx_json_parse(a, gx_slice(p, n), &j, &e), GX_OK);
	assert_string_equal(gx_json_str(j, "time", ""),
			    "2026-11-24T17:00:00.123+08:00");
	assert_string_equal(gx_json_str(j, "level", ""), "warn");
	assert_string_equal(gx_json_str(j, "event", ""), "link.gap");
	assert_string_equal(gx_json_str(j, "flow", ""), "up");
	const struct gx_json *with = gx_json_get(j, "with");
	assert_string_equal(gx_json_str(with, "topic", ""), "x\"y");
	assert_string_equal(gx_json_str(with, "n", ""), "3");
	assert_string_equal(gx_json_str(with, "text", ""), "a b");
	p += n + 1;
	n = strcspn(p, "\n");
	assert_int_equal(gx_json_parse(a, gx_slice(p, n), &j, &e), GX_OK);
	assert_string_equal(gx_json_str(j, "text", ""), "no pairs here");
	p += n + 1;
	n = strcspn(p, "\n");
	assert_int_equal(gx_json_parse(a, gx_slice(p, n), &j, &e), GX_OK);
	with = gx_json_get(j, "with");
	assert_string_equal(gx_json_str(with, "gx", ""), "GX1010");
	assert_string_equal(gx_json_str(with, "text", ""), "a \"quoted\" word");
	p += n + 1;
	assert_non_null(strstr(p, " error json.syntax rc=reject gx=GX1010 "
				  "text=\"a \\\"quoted\\\" word\" at="));
	gx_arena_free(&a);
}

static void
repeat_lines(void)
{
	gx_log_setup(GX_LOG_INFO, false);
	for (int i = 0; i < 5; i++) {
		gx_log(GX_LOG_WARN, "pg.away", "try=again");
		fake_ms += 1000;
	}
	gx_log(GX_LOG_INFO, "other", "n=1");
	gx_log(GX_LOG_INFO, "other", "n=2");
	gx_log(GX_LOG_INFO, "other", "n=2");
	fake_ms += 20000;
	gx_log(GX_LOG_INFO, "other", "n=2");
}

static size_t
count(const char *text, const char *word)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, word)); p++) {
		n++;
	}
	return n;
}

static void
repeats(void **state)
{
	struct gx_buf *b = *state;

	gx_clock_fake(fake_now, NULL);
	capture(repeat_lines, b);
	const char *text = gx_buf_str(b);
	assert_int_equal(count(text, " pg.away"), 1);
	assert_int_equal(count(text, "log.repeated n=4\n"), 1);
	assert_int_equal(count(text, "log.repeated n=1\n"), 1);
	assert_int_equal(count(text, "other n=1\n"), 1);
	assert_int_equal(count(text, "other n=2\n"), 2);
}

static void
journal_lines(void)
{
	struct stat st;
	char ours[64];

	fstat(STDERR_FILENO, &st);
	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", ours, 1);
	gx_log_setup(GX_LOG_DEBUG, false);
	for (int i = GX_LOG_FATAL; i <= GX_LOG_DEBUG; i++) {
		gx_log((enum gx_level)i, "x", "i=%d", i);
	}
	/* Inherited from a service, but stderr is another file. */
	setenv("JOURNAL_STREAM", "1:2", 1);
	gx_log_setup(GX_LOG_INFO, false);
	gx_log(GX_LOG_WARN, "elsewhere", "i=9");
	unsetenv("JOURNAL_STREAM");
}

static void
journal(void **state)
{
	struct gx_buf *b = *state;

	gx_clock_fake(fake_now, NULL);
	capture(journal_lines, b);
	const char *p = gx_buf_str(b);
	for (int i = 2; i <= 7; i++) {
		char want[8];
		snprintf(want, sizeof(want), "<%d>20", i);
		assert_memory_equal(p, want, strlen(want));
		p += strcspn(p, "\n") + 1;
	}
	assert_memory_equal(p, "2026", 4);
}

static void
long_line(void)
{
	char big[5000];

	memset(big, '\\', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	gx_log_setup(GX_LOG_INFO, false);
	gx_log(GX_LOG_INFO, "big", "v=%s", big);
	gx_log_setup(GX_LOG_INFO, true);
	gx_log(GX_LOG_INFO, "big", "v=%s", big);
	gx_log_setup(GX_LOG_INFO, false);
}

static void
long_lines(void **state)
{
	struct gx_buf *b = *state;

	capture(long_line, b);
	const char *p = gx_buf_str(b);
	assert_int_equal(count(p, "\n"), 2);
	assert_in_range(strcspn(p, "\n"), 900, 2200);
}

/* 300 lines below the level, then the crash: the last 256 are told. */
static void
crash_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		gx_clock_fake(NULL, NULL);
		gx_log_setup(GX_LOG_WARN, false);
		gx_log_crash_handler();
		for (int i = 0; i < 300; i++) {
			gx_log(GX_LOG_DEBUG, "step", "i=%d", i);
		}
		GX_ASSERT(getpid() == 0);
		_exit(0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void
crash_tells(void **state)
{
	struct gx_buf *b = *state;

	capture(crash_child, b);
	const char *text = gx_buf_str(b);
	assert_non_null(strstr(text, "assertion failed: getpid() == 0"));
	assert_int_equal(count(text, " debug step i="), 256);
	assert_non_null(strstr(text, "step i=299\n"));
	assert_non_null(strstr(text, "step i=44\n"));
	assert_null(strstr(text, "step i=43\n"));
}

static void
recent_lines(void **state)
{
	struct gx_buf *b = *state;

	for (int i = 0; i < 300; i++) {
		gx_log(GX_LOG_DEBUG, "recent", "i=%d", i);
	}
	gx_buf_reset(b);
	gx_log_recent(b);
	const char *text = gx_buf_str(b);
	assert_int_equal(count(text, " debug recent i="), 256);
	assert_non_null(strstr(text, "recent i=299\n"));
	assert_null(strstr(text, "recent i=43\n"));
}

static void
levels(void **state)
{
	(void)state;
	enum gx_level l;

	assert_true(gx_log_level_parse("warn", &l));
	assert_int_equal(l, GX_LOG_WARN);
	assert_true(gx_log_level_parse("debug", &l));
	assert_int_equal(l, GX_LOG_DEBUG);
	assert_false(gx_log_level_parse("Warn", &l));
	assert_false(gx_log_level_parse("", &l));
	assert_false(gx_log_level_parse(NULL, &l));
}

static int
teardown(void **state)
{
	(void)state;
	gx_clock_fake(NULL, NULL);
	return 0;
}

int
main(void)
{
	struct gx_buf b;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(form, teardown),
		cmocka_unit_test_teardown(json, teardown),
		cmocka_unit_test_teardown(repeats, teardown),
		cmocka_unit_test_teardown(journal, teardown),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(crash_tells),
		cmocka_unit_test(recent_lines),
		cmocka_unit_test(levels),
	};
	struct CMUnitTest with[sizeof(tests) / sizeof(tests[0])];

	gx_buf_init(&b, (size_t)1 << 20);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		with[i] = tests[i];
		with[i].initial_state = &b;
	}
	int failed = cmocka_run_group_tests_name("base_log", with, NULL, NULL);
	gx_buf_free(&b);
	return failed;
}
