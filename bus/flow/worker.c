/*
 * Worker: a thread, a flow, a mailbox.
 *
 * The thread opens the flow, steps it, and obeys wishes (pause, resume,
 * restart, end) only between two steps, so no flow is ever interrupted inside
 * a transaction.  What a step answers decides what happens next; the table in
 * worker.h is all there is.  Errors are logged here, once per change, and
 * nowhere below.
 *
 * A flow that rests is closed, but it may still cost somebody something: a slot
 * keeps a department's disk.  So it is tended all the same.
 *
 * The only lock is the mailbox's.  It is held while flags and the published
 * view are copied and never while the flow is called.
 *
 * If we die on any line nothing is lost: flows keep what matters in the log
 * and the store, and open() finds the place again.  An ended worker has
 * closed its flow in its own thread; a worker that does not end in time is
 * left behind by the process that exits.
 */
#include "flow/worker.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKER_MAGIC 0x776f726bu
#define STEP_MS 100
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 3000
#define STATUS_MAX (256u << 10)

struct gx_worker {
	unsigned magic;
	char name[64];
	const struct gx_flow_ops *ops;
	void *flow;
	pthread_t thread;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	bool wants_pause, wants_restart, wants_end, wants_accept;
	bool is_done;
	enum gx_worker_phase phase;
	char code[64];
	char text[400];
	int64_t since_ms;
	char *status;
};

const char *
gx_worker_phase_name(enum gx_worker_phase p)
{
	static const char *const name[] = {"starting", "running", "waiting",
					   "paused",   "stopped", "ended"};

	GX_ASSERT((unsigned)p <= GX_W_ENDED);
	return name[p];
}

const char *
gx_worker_kind(const struct gx_worker *w)
{
	return w->ops->kind;
}

/* The only place where a worker changes phase.  e may be NULL or empty. */
static void
move(struct gx_worker *w, enum gx_worker_phase phase, const struct gx_err *e)
{
	const char *code = e && e->code ? e->code : "";
	bool is_new;

	pthread_mutex_lock(&w->lock);
	is_new = w->phase != phase || strcmp(w->code, code) != 0;
	w->phase = phase;
	if (is_new) {
		w->since_ms = gx_now_ms();
	}
	snprintf(w->code, sizeof w->code, "%s", code);
	snprintf(w->text, sizeof w->text, "%s", e && e->code ? e->text : "");
	pthread_mutex_unlock(&w->lock);
	if (!is_new) {
		return;
	}
	if (code[0] && (phase == GX_W_STOPPED || e->rc == GX_FATAL)) {
		gx_log_err(GX_LOG_ERROR, e);
	} else if (code[0]) {
		gx_log_err(GX_LOG_WARN, e);
	}
	gx_log(GX_LOG_INFO, "flow.state", "state=%s",
	       gx_worker_phase_name(phase));
}

static void
publish_status(struct gx_worker *w)
{
	struct gx_buf b;
	struct gx_jw j;
	char *copy;

	gx_buf_init(&b, STATUS_MAX);
	gx_jw_init(&j, &b);
	gx_jw_begin(&j, '{');
	w->ops->status(w->flow, &j);
	gx_jw_end(&j, '}');
	copy = b.failed ? gx_mem_strdup("{}") : gx_mem_strdup(gx_buf_str(&b));
	gx_buf_free(&b);

	pthread_mutex_lock(&w->lock);
	gx_mem_free(w->status);
	w->status = copy;
	pthread_mutex_unlock(&w->lock);
}

/* Wait for a wish or the time-out.  Called without the lock. */
static void
wait_wish(struct gx_worker *w, int64_t timeout_ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += timeout_ms / 1000;
	ts.tv_nsec += (timeout_ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&w->lock);
	while (!w->wants_end && !w->wants_restart && !w->wants_accept) {
		if (pthread_cond_timedwait(&w->wake, &w->lock, &ts) != 0) {
			break;
		}
	}
	pthread_mutex_unlock(&w->lock);
}

struct wishes {
	bool end, pause, restart, accept;
};

static struct wishes
take_wishes(struct gx_worker *w)
{
	struct wishes o;

	pthread_mutex_lock(&w->lock);
	o = (struct wishes){w->wants_end, w->wants_pause, w->wants_restart,
			    w->wants_accept};
	w->wants_restart = false;
	w->wants_accept = false;
	pthread_mutex_unlock(&w->lock);
	return o;
}

/* Keep the pause between attempts short at first and bounded later. */
static int64_t
back_off(int64_t before_ms)
{
	int64_t next = before_ms ? before_ms * 2 : BACKOFF_MIN_MS;

	return next > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : next;
}

struct run {
	struct gx_worker *w;
	bool is_open;
	bool is_stopped;
	struct gx_err trouble; /* met while it rests */
	int64_t pause_ms;
	int64_t status_at_ms;
};

static void
close_flow(struct run *r)
{
	if (r->is_open) {
		r->w->ops->close(r->w->flow);
		r->is_open = false;
	}
}

/* What an answer means for the flow; the table of worker.h. */
static void
obey(struct run *r, enum gx_rc rc, struct gx_err *e)
{
	switch (rc) {
	case GX_OK:
		r->pause_ms = 0;
		move(r->w, GX_W_RUNNING, NULL);
		return;
	case GX_AGAIN:
		if (!e->code) {
			r->pause_ms = 0;
			move(r->w, GX_W_RUNNING, NULL);
			return;
		}
		move(r->w, GX_W_WAITING, e);
		break;
	case GX_ABORT:
	case GX_FENCED:
		move(r->w, GX_W_WAITING, e);
		close_flow(r);
		break;
	case GX_REJECT:
	case GX_FATAL:
		move(r->w, GX_W_STOPPED, e);
		close_flow(r);
		r->is_stopped = true;
		return;
	}
	r->pause_ms = back_off(r->pause_ms);
	wait_wish(r->w, r->pause_ms);
}

static void
publish_now_and_then(struct run *r)
{
	if (gx_mono_ms() - r->status_at_ms >= 250) {
		r->status_at_ms = gx_mono_ms();
		publish_status(r->w);
	}
}

static void
work_once(struct run *r)
{
	struct gx_err e = {0};
	enum gx_rc rc;

	if (!r->is_open) {
		r->is_open = true; /* close() is due even if open() fails */
		rc = r->w->ops->open(r->w->flow, &e);
		if (rc != GX_OK) {
			close_flow(r);
			obey(r, rc, &e);
			return;
		}
	}
	rc = r->w->ops->step(r->w->flow, STEP_MS, &e);
	obey(r, rc, &e);
	publish_now_and_then(r);
}

/* Paused or stopped: what the flow's source keeps for it is still its own. */
static void
rest(struct run *r, bool is_paused)
{
	struct gx_worker *w = r->w;
	struct gx_err e = {0};

	if (w->ops->tend != NULL && w->ops->tend(w->flow, &e) == GX_FATAL) {
		r->trouble = e;
	}
	if (is_paused) {
		move(w, GX_W_PAUSED, &r->trouble);
	} else if (r->trouble.code != NULL) {
		move(w, GX_W_STOPPED, &r->trouble);
	}
	publish_now_and_then(r);
	wait_wish(w, STEP_MS);
}

static void *
run(void *arg)
{
	struct gx_worker *w = arg;
	struct run r = {.w = w};

	GX_ASSERT(w->magic == WORKER_MAGIC);
	gx_log_flow(w->name);
	for (;;) {
		struct wishes wish = take_wishes(w);

		if (wish.end) {
			break;
		}
		if (wish.accept) {
			w->ops->accept(w->flow);
		}
		if (wish.restart || wish.accept) {
			close_flow(&r);
			r.is_stopped = false;
			r.trouble.code = NULL;
			r.pause_ms = 0;
			move(w, GX_W_STARTING, NULL);
		}
		if (wish.pause) {
			close_flow(&r);
			rest(&r, true);
		} else if (r.is_stopped) {
			rest(&r, false);
		} else {
			r.trouble.code = NULL;
			work_once(&r);
		}
	}
	close_flow(&r);
	move(w, GX_W_ENDED, NULL);
	pthread_mutex_lock(&w->lock);
	w->is_done = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void
free_worker(struct gx_worker *w)
{
	w->ops->free(&w->flow);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	gx_mem_free(w->status);
	w->magic = 0;
	gx_mem_free(w);
}

enum gx_rc
gx_worker_start(const char *name, const struct gx_flow_ops *ops, void **flow,
		struct gx_worker **out, struct gx_err *e)
{
	struct gx_worker *w = gx_mem_new(sizeof *w);
	pthread_condattr_t attr;

	w->magic = WORKER_MAGIC;
	snprintf(w->name, sizeof w->name, "%s", name);
	w->ops = ops;
	w->flow = *flow;
	*flow = NULL;
	w->since_ms = gx_now_ms();
	w->status = gx_mem_strdup("{}");
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&w->thread, NULL, run, w) != 0) {
		free_worker(w);
		return GX_ERR(e, GX_FATAL, "worker.thread",
			      "no thread for flow %s: raise the limit of "
			      "processes of this user",
			      name);
	}
	*out = w;
	return GX_OK;
}

static void
wish(struct gx_worker *w, bool *flag, bool value)
{
	pthread_mutex_lock(&w->lock);
	*flag = value;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

void
gx_worker_pause(struct gx_worker *w)
{
	wish(w, &w->wants_pause, true);
}

void
gx_worker_resume(struct gx_worker *w, bool accept)
{
	wish(w, &w->wants_pause, false);
	if (accept) {
		wish(w, &w->wants_accept, true);
	}
}

void
gx_worker_restart(struct gx_worker *w)
{
	wish(w, &w->wants_restart, true);
}

void
gx_worker_ask_end(struct gx_worker *w)
{
	wish(w, &w->wants_end, true);
}

void
gx_worker_view(struct gx_worker *w, struct gx_worker_view *out)
{
	pthread_mutex_lock(&w->lock);
	out->phase = w->phase;
	memcpy(out->code, w->code, sizeof out->code);
	memcpy(out->text, w->text, sizeof out->text);
	out->since_ms = w->since_ms;
	out->status = gx_mem_strdup(w->status);
	pthread_mutex_unlock(&w->lock);
}

bool
gx_worker_join(struct gx_worker **wp, int64_t timeout_ms)
{
	struct gx_worker *w = *wp;
	int64_t end_ms = gx_mono_ms() + timeout_ms;
	bool is_done;

	gx_worker_ask_end(w);
	do {
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_nsec += 50000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		pthread_mutex_lock(&w->lock);
		if (!w->is_done) {
			pthread_cond_timedwait(&w->wake, &w->lock, &ts);
		}
		is_done = w->is_done;
		pthread_mutex_unlock(&w->lock);
	} while (!is_done && gx_mono_ms() < end_ms);
	if (!is_done) {
		return false;
	}
	pthread_join(w->thread, NULL);
	free_worker(w);
	*wp = NULL;
	return true;
}

void
gx_crash_point(const char *name)
{
	static const char *want;
	static int is_read;
	static int n_left;
	size_t n = strlen(name);

	if (!__atomic_load_n(&is_read, __ATOMIC_ACQUIRE)) {
		const char *env = getenv("GX_CRASH_POINT");
		const char *colon = env ? strchr(env, ':') : NULL;

		n_left = colon ? (int)strtol(colon + 1, NULL, 10) : 1;
		want = env;
		__atomic_store_n(&is_read, 1, __ATOMIC_RELEASE);
	}
	if (!want || strncmp(want, name, n) != 0 ||
	    (want[n] != '\0' && want[n] != ':')) {
		return;
	}
	if (__atomic_sub_fetch(&n_left, 1, __ATOMIC_ACQ_REL) == 0) {
		raise(SIGKILL);
	}
}
