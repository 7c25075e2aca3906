/*
 * Log lines.
 *
 * A line is made in a buffer on the stack and leaves the process with one
 * write(2), so lines of threads do not mix and a line is there or not, also
 * when we die on the next instruction.  What the caller formats is cleaned:
 * control characters become spaces, so nobody can forge a second line through
 * a value, and a line that is too long is cut at a character.
 *
 * Every line, also one below the level that is printed, goes into a ring of
 * the last 256.  The ring is memory and costs nothing until we crash; then it
 * tells what led there, which no level set beforehand could.  The crash
 * handler may run with the lock held by the thread that crashed, so it takes
 * no lock and calls nothing but write(2): it may show one torn line, which is
 * better than none.
 *
 * A line identical to the one before it is counted, not repeated; the count
 * is printed before the next other line, or after ten seconds with the next
 * line of any kind.
 *
 * Under systemd, that is when $JOURNAL_STREAM names the very file stderr is,
 * lines begin with "<N>", the syslog priority.
 *
 * Locks: one, around ring and write; nothing but libc is called under it.
 */
#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define RING_LINES 256
#define RING_LINE_BYTES 320
#define REPEAT_MS 10000
#define FLOW_MAX 64

struct ring_line {
	uint16_t n;
	char text[RING_LINE_BYTES];
};

/* All but n_errors and min is guarded by lock. */
static struct {
	pthread_mutex_t lock;
	_Atomic enum gx_level min;
	atomic_ulong n_errors;
	atomic_bool json;
	bool is_setup, has_priority;
	struct ring_line ring[RING_LINES];
	size_t n_ring; /* lines ever put; the newest is at (n_ring - 1) % */
	char last[LINE_MAX_BYTES]; /* the last line without its time */
	size_t n_last;
	int64_t last_at_ms; /* when it was printed */
	unsigned long n_repeats;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .min = GX_LOG_INFO};

static _Thread_local char thread_flow[FLOW_MAX];

static const char *const level_names[] = {"fatal",  "error", "warn",
					  "notice", "info",  "debug"};
/* sd-daemon(3): critical, error, warning, notice, info, debug. */
static const char level_priority[] = "234567";

#define N_LEVELS (sizeof(level_names) / sizeof(level_names[0]))

/* $JOURNAL_STREAM is "<device>:<inode>" of the journal's socket. */
static bool
stderr_is_journal(void)
{
	const char *journal = getenv("JOURNAL_STREAM");
	struct stat st;
	char ours[64];

	if (!journal || fstat(STDERR_FILENO, &st) != 0) {
		return false;
	}
	snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino);
	return strcmp(ours, journal) == 0;
}

void
gx_log_setup(enum gx_level min, bool json)
{
	bool has_priority = stderr_is_journal();

	pthread_mutex_lock(&state.lock);
	atomic_store(&state.min, min);
	atomic_store(&state.json, json);
	state.has_priority = has_priority;
	state.is_setup = true;
	pthread_mutex_unlock(&state.lock);
}

bool
gx_log_level_parse(const char *name, enum gx_level *out)
{
	for (size_t i = 0; name && i < N_LEVELS; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*out = (enum gx_level)i;
			return true;
		}
	}
	return false;
}

void
gx_log_flow(const char *flow)
{
	snprintf(thread_flow, sizeof(thread_flow), "%s", flow ? flow : "");
}

/* Control characters to spaces, bytes that are no UTF-8 to '?'. */
static void
clean(char *p, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t good = gx_utf8_check(p + i, n - i);
		if (i + good < n) {
			p[i + good] = '?';
			good++;
		}
		i += good;
	}
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t len = gx_utf8_next(p + i, n - i, &cp);
		if (!gx_text_printable(p + i, len)) {
			memset(p + i, ' ', len);
		}
		i += len;
	}
}

/* One "key=value" or "key=\"value\"" of tail; false if the form ends. */
static bool
take_pair(struct gx_slice *tail, struct gx_slice *key, struct gx_slice *value)
{
	const char *p = tail->p, *end = p + tail->n;

	while (p < end && *p == ' ') {
		p++;
	}
	const char *from = p;
	while (p < end && *p != '=' && *p != ' ' && *p != '"') {
		p++;
	}
	if (p == end || *p != '=' || p == from) {
		return false;
	}
	*key = gx_slice(from, (size_t)(p - from));
	from = ++p;
	if (p < end && *p == '"') {
		from = ++p;
		while (p < end && *p != '"') {
			p += *p == '\\' && p + 1 < end ? 2 : 1;
		}
	} else {
		while (p < end && *p != ' ') {
			p++;
		}
	}
	*value = gx_slice(from, (size_t)(p - from));
	p += p < end && *p == '"';
	*tail = gx_slice(p, (size_t)(end - p));
	return true;
}

/* A quoted value had its quotes and backslashes escaped: undo it for JSON. */
static void
put_json_value(struct gx_jw *w, struct gx_slice v)
{
	char plain[LINE_MAX_BYTES];
	size_t n = 0;

	for (size_t i = 0; i < v.n && n < sizeof(plain); i++) {
		if (v.p[i] == '\\' && i + 1 < v.n &&
		    (v.p[i + 1] == '"' || v.p[i + 1] == '\\')) {
			i++;
		}
		plain[n++] = v.p[i];
	}
	gx_jw_str(w, gx_slice(plain, n));
}

/* What follows time and level, as text: " event flow=up key=value". */
static void
put_text(struct gx_buf *b, const char *event, struct gx_slice tail)
{
	gx_buf_puts(b, event);
	if (thread_flow[0]) {
		gx_buf_printf(b, " flow=%s", thread_flow);
	}
	if (tail.n) {
		gx_buf_putc(b, ' ');
		gx_buf_slice(b, tail);
	}
}

/* The same as members of an object that is open. */
static void
put_json(struct gx_buf *b, const char *event, struct gx_slice tail)
{
	struct gx_slice key, value;
	struct gx_jw w;

	gx_jw_init(&w, b);
	w.need_comma = true;
	gx_jw_kv_str(&w, "event", event);
	if (thread_flow[0]) {
		gx_jw_kv_str(&w, "flow", thread_flow);
	}
	gx_jw_name(&w, "with");
	gx_jw_begin(&w, '{');
	while (take_pair(&tail, &key, &value)) {
		char name[64];
		snprintf(name, sizeof(name), "%.*s", (int)key.n, key.p);
		gx_jw_name(&w, name);
		put_json_value(&w, value);
	}
	gx_jw_end(&w, '}');
	while (tail.n && tail.p[0] == ' ') {
		tail = gx_slice(tail.p + 1, tail.n - 1);
	}
	if (tail.n) {
		gx_jw_name(&w, "text");
		gx_jw_str(&w, tail);
	}
	gx_buf_putc(b, '}');
}

/* Write all of it; a log that nobody reads must not stop us. */
static void
write_all(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDERR_FILENO, p, n);
		if (done <= 0) {
			return;
		}
		p += done;
		n -= (size_t)done;
	}
}

/* A whole line, "<N>" in front if wanted, newline behind.  Under lock. */
static void
print_line(enum gx_level level, int64_t now_ms, const char *body, size_t n)
{
	char line[LINE_MAX_BYTES + 128], at[GX_TIME_LEN + 1];
	int head;

	gx_time_format(now_ms, at);
	const char *name = level_names[level];
	char prefix[4] = "";
	if (state.has_priority) {
		snprintf(prefix, sizeof(prefix), "<%c>", level_priority[level]);
	}
	if (atomic_load(&state.json)) {
		head = snprintf(line, sizeof(line),
				"%s{\"time\":\"%s\",\"level\":\"%s\"", prefix,
				at, name);
	} else {
		head = snprintf(line, sizeof(line), "%s%s %s ", prefix, at,
				name);
	}
	if (head < 0) {
		return;
	}
	memcpy(line + head, body, n);
	line[(size_t)head + n] = '\n';
	write_all(line, (size_t)head + n + 1);
}

/* Under lock. */
static void
remember(enum gx_level level, int64_t now_ms, const char *body, size_t n)
{
	struct ring_line *r = &state.ring[state.n_ring % RING_LINES];
	char at[GX_TIME_LEN + 1];

	gx_time_format(now_ms, at);
	int head = snprintf(r->text, sizeof(r->text), "%s %s ", at,
			    level_names[level]);
	size_t room = sizeof(r->text) - (size_t)head - 1;
	n = n < room ? n : room;
	memcpy(r->text + head, body, n);
	r->text[(size_t)head + n] = '\n';
	r->n = (uint16_t)((size_t)head + n + 1);
	state.n_ring++;
}

/* Say how often the last line came again.  Under lock. */
static void
print_repeats(int64_t now_ms)
{
	char body[64];

	if (state.n_repeats == 0) {
		return;
	}
	int n = snprintf(body, sizeof(body),
			 atomic_load(&state.json)
				 ? ",\"event\":\"log.repeated\",\"n\":%lu}"
				 : "log.repeated n=%lu",
			 state.n_repeats);
	state.n_repeats = 0;
	print_line(GX_LOG_NOTICE, now_ms, body, (size_t)n);
}

/* True if the line is the last one again and only counts.  Under lock. */
static bool
is_repeat(int64_t now_ms, const char *body, size_t n)
{
	if (n == state.n_last && memcmp(body, state.last, n) == 0 &&
	    now_ms - state.last_at_ms < REPEAT_MS &&
	    now_ms >= state.last_at_ms) {
		state.n_repeats++;
		return true;
	}
	print_repeats(now_ms);
	memcpy(state.last, body, n);
	state.n_last = n;
	state.last_at_ms = now_ms;
	return false;
}

void
gx_log(enum gx_level level, const char *event, const char *fmt, ...)
{
	char tail[LINE_MAX_BYTES / 2];
	va_list ap;

	va_start(ap, fmt);
	int len = vsnprintf(tail, sizeof(tail), fmt, ap);
	va_end(ap);
	size_t n = len < 0 ? 0 : (size_t)len;
	n = n < sizeof(tail) ? n : sizeof(tail) - 1;
	clean(tail, n);
	if (level <= GX_LOG_ERROR) {
		atomic_fetch_add(&state.n_errors, 1);
	}

	struct gx_buf text, json;
	gx_buf_init(&text, LINE_MAX_BYTES);
	gx_buf_init(&json, LINE_MAX_BYTES);
	put_text(&text, event, gx_slice(tail, n));
	/* No memory: the event alone is better than nothing. */
	struct gx_slice plain =
		text.failed ? gx_slice_str(event) : gx_buf_view(&text);
	struct gx_slice body = plain;
	bool is_printed = level <= atomic_load(&state.min);
	if (is_printed && atomic_load(&state.json)) {
		put_json(&json, event, gx_slice(tail, n));
		/* Escapes may have made it too long: better less than torn. */
		body = json.failed ? GX_SLICE(",\"event\":\"log.too_long\"}")
				   : gx_buf_view(&json);
	}

	int64_t now_ms = gx_now_ms();
	pthread_mutex_lock(&state.lock);
	remember(level, now_ms, plain.p, plain.n);
	if (is_printed && !is_repeat(now_ms, body.p, body.n)) {
		print_line(level, now_ms, body.p, body.n);
	}
	pthread_mutex_unlock(&state.lock);
	gx_buf_free(&json);
	gx_buf_free(&text);
}

void
gx_log_err(enum gx_level level, const struct gx_err *e)
{
	char text[2 * sizeof(e->text)];
	size_t n = 0;

	/* The text becomes a quoted value. */
	for (const char *p = e->text; *p && n + 2 < sizeof(text); p++) {
		if (*p == '"' || *p == '\\') {
			text[n++] = '\\';
		}
		text[n++] = *p;
	}
	text[n] = '\0';
	gx_log(level, e->code ? e->code : "internal",
	       "rc=%s gx=GX%04d text=\"%s\" at=%s:%d", gx_rc_name(e->rc),
	       gx_error_number(e->code), text, e->file ? e->file : "-",
	       e->line);
}

unsigned long
gx_log_n_errors(void)
{
	return atomic_load(&state.n_errors);
}

void
gx_log_recent(struct gx_buf *out)
{
	pthread_mutex_lock(&state.lock);
	size_t n = state.n_ring < RING_LINES ? state.n_ring : RING_LINES;
	for (size_t i = state.n_ring - n; i < state.n_ring; i++) {
		const struct ring_line *r = &state.ring[i % RING_LINES];
		gx_buf_put(out, r->text, r->n);
	}
	pthread_mutex_unlock(&state.lock);
}

void
gx_log_dump(int fd)
{
	size_t n = state.n_ring < RING_LINES ? state.n_ring : RING_LINES;

	for (size_t i = state.n_ring - n; i < state.n_ring; i++) {
		const struct ring_line *r = &state.ring[i % RING_LINES];
		if (write(fd, r->text, r->n) < 0) {
			return;
		}
	}
}

static void
crash(int signo)
{
	static const char head[] = "gxbus: crash; the last lines:\n";
	static const char tail[] = "gxbus: end of the last lines\n";

	write_all(head, sizeof(head) - 1);
	gx_log_dump(STDERR_FILENO);
	write_all(tail, sizeof(tail) - 1);
	/* SA_RESETHAND: the second one is the real end, with its core. */
	raise(signo);
}

void
gx_log_crash_handler(void)
{
	static const int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};
	struct sigaction sa = {.sa_handler = crash};

	sa.sa_flags = (int)(SA_RESETHAND | SA_NODEFER);
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaction(signals[i], &sa, NULL);
	}
}
