/*
 * Worker: one thread that drives one flow, and the flow as the worker sees it.
 *
 * The worker knows what every flow needs and no flow should repeat: open with
 * back-off, step until something is said, pause and resume, say what state it
 * is in, log each error once, close in the thread that opened.
 *
 * States: starting -> running <-> waiting; paused by wish; stopped by an error
 * that needs a person (restart leads back to starting).
 */
#ifndef GX_FLOW_WORKER_H
#define GX_FLOW_WORKER_H

#include "base/json.h"

struct gx_flow_ops {
	const char *kind; /* "source", "sink", "link-up" */
	/* Connect and find the place.  Called again after each close. */
	enum gx_rc (*open)(void *flow, struct gx_err *e);
	/* Do one bounded piece of work, wait at most timeout_ms for it.
	 * GX_OK: something moved.  GX_AGAIN: nothing to do; with e->code set:
	 * waiting for something that is away (shown, backed off).
	 * GX_ABORT, GX_FENCED: close and open again (after a pause).
	 * GX_FATAL, GX_REJECT: the flow stops until a person restarts it. */
	enum gx_rc (*step)(void *flow, int timeout_ms, struct gx_err *e);
	void (*close)(void *flow); /* also after a failed open */
	/* Called while the flow rests, paused or stopped, and is closed; NULL:
	 * nothing to do.  GX_FATAL: shown as the flow's error from then on;
	 * else as GX_OK. */
	enum gx_rc (*tend)(void *flow, struct gx_err *e);
	/* Members for the flow's status object; called by the worker. */
	void (*status)(void *flow, struct gx_jw *w);
	/* An operator accepts what a guard held up. */
	void (*accept)(void *flow);
	void (*free)(void **flow);
};

enum gx_worker_phase {
	GX_W_STARTING,
	GX_W_RUNNING,
	GX_W_WAITING,
	GX_W_PAUSED,
	GX_W_STOPPED,
	GX_W_ENDED
};
const char *gx_worker_phase_name(enum gx_worker_phase p);

struct gx_worker_view { /* a copy, for the API */
	enum gx_worker_phase phase;
	char code[64]; /* error code while waiting or stopped, "" else */
	char text[400];
	int64_t since_ms; /* wall clock of the last change of phase */
	char *status;	  /* JSON object; gx_mem_free by the caller */
};

struct gx_worker;
/* Takes flow (freed with the worker).  The thread starts at once. */
enum gx_rc gx_worker_start(const char *name, const struct gx_flow_ops *ops,
			   void **flow, struct gx_worker **out,
			   struct gx_err *e) GX_MUSTCHECK;
const char *gx_worker_kind(const struct gx_worker *w);

/* Wishes: put in the mailbox, obeyed between two steps.  Thread: any. */
void gx_worker_pause(struct gx_worker *w);
void gx_worker_resume(struct gx_worker *w, bool accept);
void gx_worker_restart(struct gx_worker *w);
void gx_worker_view(struct gx_worker *w, struct gx_worker_view *out);

/* Ask to end; join with a deadline.  false: it did not end in time. */
void gx_worker_ask_end(struct gx_worker *w);
bool gx_worker_join(struct gx_worker **w, int64_t timeout_ms);

/* Crash points for tests: GX_CRASH_POINT="name" or "name:count" in the
 * environment kills this process (SIGKILL) at the count-th passing. */
void gx_crash_point(const char *name);

#endif
