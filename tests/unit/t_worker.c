/*
 * Worker: what each answer of a flow leads to, that wishes are obeyed between
 * two steps, and that everything happens in the flow's one thread.  Run with
 * ThreadSanitizer by "make tsan".
 */
#include "base/clock.h"
#include "base/log.h"
#include "flow/worker.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define DEADLINE_MS 10000

/* A flow that answers what the test told it, and counts. */
struct flow {
	_Atomic int open_rc, step_rc, tend_rc; /* enum gx_rc */
	atomic_bool has_code;
	atomic_int n_open, n_step, n_close, n_accept, n_free, n_tend;
	atomic_bool is_open, is_wrong;
	pthread_t thread;
};
static struct flow *current; /* lent to the test; the worker frees it */
static atomic_int n_freed;

static enum gx_rc
answer(struct flow *f, int rc, struct gx_err *e)
{
	if (rc != GX_OK && (rc != GX_AGAIN || atomic_load(&f->has_code))) {
		return GX_ERR(e, (enum gx_rc)rc, "internal", "as told");
	}
	return (enum gx_rc)rc;
}

static void
check_thread(struct flow *f)
{
	/* An acceptance may come before the first open. */
	if (atomic_load(&f->n_open) > 0 &&
	    !pthread_equal(f->thread, pthread_self())) {
		atomic_store(&f->is_wrong, true);
	}
}

static enum gx_rc
open_flow(void *flow, struct gx_err *e)
{
	struct flow *f = flow;

	if (atomic_fetch_add(&f->n_open, 1) == 0) {
		f->thread = pthread_self();
	}
	check_thread(f);
	if (atomic_exchange(&f->is_open, true)) {
		atomic_store(&f->is_wrong, true); /* open twice, never closed */
	}
	return answer(f, atomic_load(&f->open_rc), e);
}

static enum gx_rc
step_flow(void *flow, int timeout_ms, struct gx_err *e)
{
	struct flow *f = flow;

	(void)timeout_ms;
	check_thread(f);
	if (!atomic_load(&f->is_open)) {
		atomic_store(&f->is_wrong, true);
	}
	atomic_fetch_add(&f->n_step, 1);
	sched_yield();
	return answer(f, atomic_load(&f->step_rc), e);
}

static void
close_flow(void *flow)
{
	struct flow *f = flow;

	check_thread(f);
	atomic_store(&f->is_open, false);
	atomic_fetch_add(&f->n_close, 1);
}

static enum gx_rc
tend_flow(void *flow, struct gx_err *e)
{
	struct flow *f = flow;
	int rc = atomic_load(&f->tend_rc);

	check_thread(f);
	if (atomic_load(&f->is_open)) {
		atomic_store(&f->is_wrong, true);
	}
	atomic_fetch_add(&f->n_tend, 1);
	return rc == GX_OK ? GX_OK
			   : GX_ERR(e, (enum gx_rc)rc, "slot.lag_max", "full");
}

static void
status_flow(void *flow, struct gx_jw *w)
{
	struct flow *f = flow;

	gx_jw_kv_int(w, "steps", atomic_load(&f->n_step));
}

static void
accept_flow(void *flow)
{
	struct flow *f = flow;

	check_thread(f);
	atomic_fetch_add(&f->n_accept, 1);
}

static void
free_flow(void **flow)
{
	gx_mem_free(*flow);
	*flow = NULL;
	atomic_fetch_add(&n_freed, 1);
}

static const struct gx_flow_ops ops = {
	.kind = "test",
	.open = open_flow,
	.step = step_flow,
	.close = close_flow,
	.tend = tend_flow,
	.status = status_flow,
	.accept = accept_flow,
	.free = free_flow,
};

static struct gx_worker *
start(enum gx_rc open_rc, enum gx_rc step_rc)
{
	struct gx_worker *w = NULL;
	struct gx_err e = {0};
	void *flow = current = gx_mem_new(sizeof *current);

	atomic_store(&current->open_rc, open_rc);
	atomic_store(&current->step_rc, step_rc);
	atomic_store(&current->has_code, true);
	assert_int_equal(gx_worker_start("t", &ops, &flow, &w, &e), GX_OK);
	assert_null(flow);
	return w;
}

static void
end(struct gx_worker *w)
{
	int before = atomic_load(&n_freed);

	assert_false(atomic_load(&current->is_wrong));
	assert_true(gx_worker_join(&w, DEADLINE_MS));
	assert_null(w);
	assert_int_equal(atomic_load(&n_freed), before + 1);
}

static enum gx_worker_phase
phase_of(struct gx_worker *w)
{
	struct gx_worker_view v;

	gx_worker_view(w, &v);
	gx_mem_free(v.status);
	return v.phase;
}

static void
wait_phase(struct gx_worker *w, enum gx_worker_phase phase)
{
	int64_t until = gx_mono_ms() + DEADLINE_MS;

	while (phase_of(w) != phase) {
		assert_true(gx_mono_ms() < until);
		sched_yield();
	}
}

static void
wait_more(const atomic_int *n)
{
	int64_t until = gx_mono_ms() + DEADLINE_MS;
	int before = atomic_load(n);

	while (atomic_load(n) <= before) {
		assert_true(gx_mono_ms() < until);
		sched_yield();
	}
}

/* The phase is told before the flow has let go of everything. */
static void
wait_closed(void)
{
	int64_t until = gx_mono_ms() + DEADLINE_MS;

	while (atomic_load(&current->is_open)) {
		assert_true(gx_mono_ms() < until);
		sched_yield();
	}
}

static void
runs_and_ends(void **state)
{
	struct gx_worker *w = start(GX_OK, GX_OK);

	(void)state;
	wait_phase(w, GX_W_RUNNING);
	wait_more(&current->n_step);
	assert_int_equal(atomic_load(&current->n_open), 1);
	end(w);
}

static void
what_a_step_answers(void **state)
{
	static const struct {
		enum gx_rc rc;
		enum gx_worker_phase phase;
		bool opens_again;
	} rows[] = {{GX_AGAIN, GX_W_WAITING, false},
		    {GX_ABORT, GX_W_WAITING, true},
		    {GX_FENCED, GX_W_WAITING, true},
		    {GX_REJECT, GX_W_STOPPED, false},
		    {GX_FATAL, GX_W_STOPPED, false}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct gx_worker *w = start(GX_OK, rows[i].rc);
		struct gx_worker_view v;

		wait_phase(w, rows[i].phase);
		gx_worker_view(w, &v);
		assert_string_equal(v.code, "internal");
		assert_string_equal(v.text, "as told");
		gx_mem_free(v.status);
		if (rows[i].opens_again) {
			wait_more(&current->n_open);
		} else {
			assert_int_equal(atomic_load(&current->n_open), 1);
		}
		/* A stopped flow is closed, and does nothing more. */
		if (rows[i].phase == GX_W_STOPPED) {
			int n = atomic_load(&current->n_step);

			wait_closed();
			gx_worker_resume(w, false);
			assert_int_equal(atomic_load(&current->n_step), n);
		}
		atomic_store(&current->step_rc, GX_OK);
		if (rows[i].phase == GX_W_STOPPED) {
			gx_worker_restart(w);
		}
		wait_phase(w, GX_W_RUNNING);
		end(w);
	}
}

static void
idle_is_running(void **state)
{
	struct gx_worker *w = start(GX_OK, GX_AGAIN);

	(void)state;
	wait_phase(w, GX_W_WAITING); /* the control: with a code it waits */
	atomic_store(&current->has_code, false);
	wait_phase(w, GX_W_RUNNING);
	end(w);
}

static void
an_open_that_fails_is_closed(void **state)
{
	struct gx_worker *w = start(GX_AGAIN, GX_OK);

	(void)state;
	wait_more(&current->n_close);
	assert_int_equal(atomic_load(&current->n_step), 0);
	atomic_store(&current->open_rc, GX_OK);
	wait_phase(w, GX_W_RUNNING);
	end(w);
}

static void
wishes_are_obeyed(void **state)
{
	struct gx_worker *w = start(GX_OK, GX_OK);
	int n;

	(void)state;
	wait_phase(w, GX_W_RUNNING);
	gx_worker_pause(w);
	wait_phase(w, GX_W_PAUSED);
	wait_closed();
	n = atomic_load(&current->n_step);
	gx_worker_restart(w); /* a paused flow stays paused */
	wait_phase(w, GX_W_PAUSED);
	assert_int_equal(atomic_load(&current->n_step), n);
	gx_worker_resume(w, true);
	wait_phase(w, GX_W_RUNNING);
	assert_int_equal(atomic_load(&current->n_accept), 1);
	n = atomic_load(&current->n_open);
	gx_worker_restart(w);
	wait_more(&current->n_close);
	wait_phase(w, GX_W_RUNNING);
	assert_true(atomic_load(&current->n_open) > n);
	end(w);
}

static void
wait_code(struct gx_worker *w, const char *code)
{
	int64_t until = gx_mono_ms() + DEADLINE_MS;
	struct gx_worker_view v;
	bool is_there;

	do {
		gx_worker_view(w, &v);
		gx_mem_free(v.status);
		is_there = strcmp(v.code, code) == 0;
		assert_true(is_there || gx_mono_ms() < until);
		sched_yield();
	} while (!is_there);
}

/* What rests is tended; trouble met there is shown until it runs again. */
static void
rest_is_tended(void **state)
{
	struct gx_worker *w = start(GX_OK, GX_OK);
	int n;

	(void)state;
	wait_phase(w, GX_W_RUNNING);
	assert_int_equal(atomic_load(&current->n_tend), 0);
	gx_worker_pause(w);
	wait_phase(w, GX_W_PAUSED);
	wait_more(&current->n_tend);
	atomic_store(&current->tend_rc, GX_ABORT); /* nobody's trouble */
	wait_more(&current->n_tend);
	wait_more(&current->n_tend);
	wait_code(w, "");
	atomic_store(&current->tend_rc, GX_FATAL);
	wait_code(w, "slot.lag_max");
	atomic_store(&current->tend_rc, GX_OK);
	wait_more(&current->n_tend);
	wait_more(&current->n_tend);
	wait_code(w, "slot.lag_max");
	assert_int_equal(phase_of(w), GX_W_PAUSED);
	gx_worker_resume(w, false);
	wait_phase(w, GX_W_RUNNING);
	wait_code(w, "");
	n = atomic_load(&current->n_tend);
	wait_more(&current->n_step);
	assert_int_equal(atomic_load(&current->n_tend), n);
	atomic_store(&current->step_rc, GX_FATAL);
	wait_phase(w, GX_W_STOPPED);
	wait_code(w, "internal");
	wait_more(&current->n_tend);
	atomic_store(&current->tend_rc, GX_FATAL);
	wait_code(w, "slot.lag_max");
	assert_int_equal(phase_of(w), GX_W_STOPPED);
	end(w);
}

/* Many askers at once, while it works. */
static atomic_bool asks;

static void *
ask(void *arg)
{
	struct gx_worker *w = arg;

	while (atomic_load(&asks)) {
		gx_worker_pause(w);
		(void)phase_of(w);
		gx_worker_resume(w, true);
		gx_worker_restart(w);
	}
	return NULL;
}

static void
many_may_ask(void **state)
{
	struct gx_worker *w = start(GX_OK, GX_ABORT);
	pthread_t t[4];
	int64_t until = gx_mono_ms() + 300;

	(void)state;
	atomic_store(&asks, true);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&t[i], NULL, ask, w), 0);
	}
	while (gx_mono_ms() < until) {
		sched_yield();
	}
	atomic_store(&asks, false);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
	}
	atomic_store(&current->step_rc, GX_OK);
	gx_worker_restart(w);
	wait_phase(w, GX_W_RUNNING);
	end(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_and_ends),
		cmocka_unit_test(what_a_step_answers),
		cmocka_unit_test(idle_is_running),
		cmocka_unit_test(an_open_that_fails_is_closed),
		cmocka_unit_test(wishes_are_obeyed),
		cmocka_unit_test(rest_is_tended),
		cmocka_unit_test(many_may_ask),
	};

	gx_log_setup(GX_LOG_FATAL, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
