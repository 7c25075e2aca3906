/*
 * Log lines for people and machines: time, level, event, flow, then key=value;
 * one line per fact, to stderr, with a "<N>" priority prefix under systemd.
 * Context (node, flow) is attached by the thread, not typed each time.  Never
 * a payload, name, identity number or record key: ids, sizes, digests only.
 * Locks: one, around the write.
 */
#ifndef GX_BASE_LOG_H
#define GX_BASE_LOG_H

#include "base/err.h"
#include "base/mem.h"

enum gx_level {
	GX_LOG_FATAL,
	GX_LOG_ERROR,
	GX_LOG_WARN,
	GX_LOG_NOTICE,
	GX_LOG_INFO,
	GX_LOG_DEBUG
};

/* min: lines above are dropped; json: one JSON object per line. */
void gx_log_setup(enum gx_level min, bool json);
bool gx_log_level_parse(const char *name, enum gx_level *out);

/* Attach the flow's name to this thread's lines; NULL clears.  Copied. */
void gx_log_flow(const char *flow);

/* fmt makes the key=value part, e.g. "topic=%s partition=%d". */
void gx_log(enum gx_level level, const char *event, const char *fmt, ...)
	GX_PRINTF(3, 4);
/* One line for an error: event = e->code, with rc, GX number and text. */
void gx_log_err(enum gx_level level, const struct gx_err *e);
/* Lines at error or fatal since start: shown in /metrics and doctor. */
unsigned long gx_log_n_errors(void);

/* The last 256 lines of any level, printed or not, oldest first.  Thread: any. */
void gx_log_recent(struct gx_buf *out);
/* The same to a file, without the lock: safe in a signal handler, may show a
 * torn line. */
void gx_log_dump(int fd);
/* On SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL: gx_log_dump to stderr, then
 * die of the signal.  For daemons, once, before threads start. */
void gx_log_crash_handler(void);

#endif
