/*
 * World: the seed, the clocks, the trace and the hand that deals out faults.
 *
 * There is one world in one global, because the flows under test get nothing
 * but their interfaces and the operations behind these must find it.  The wall
 * clock is coarse and differs from part to part, so that two writers do choose
 * the same epoch; the other clock is common and moves only when the scheduler
 * says so.
 */
#include "world.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>

#define WALL_MS 1795500000000 /* what the wall clock begins at */

struct world W;
struct tally T;

uint64_t
world_random(void)
{
	uint64_t z = W.dice += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

size_t
world_below(size_t n)
{
	return (size_t)(world_random() % n);
}

bool
world_one_in(size_t n)
{
	return world_below(n) == 0;
}

bool
world_fault(enum w_fault f, size_t more)
{
	if (W.is_calm || !W.has[f] || !world_one_in((size_t)W.rate * more)) {
		return false;
	}
	T.faults[f]++;
	return true;
}

void
world_say(const char *fmt, ...)
{
	va_list ap;

	if (!W.is_loud) {
		return;
	}
	va_start(ap, fmt);
	printf("%6ld %8.3f %-14s ", W.step, (double)W.mono_us / 1e6,
	       W.cur ? W.cur->name : "world");
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
}

void
world_fail(const char *fmt, ...)
{
	va_list ap;

	if (W.is_failed) {
		return;
	}
	W.is_failed = true;
	va_start(ap, fmt);
	vsnprintf(W.why, sizeof W.why, fmt, ap);
	va_end(ap);
	world_say("BROKEN: %s", W.why);
}

bool
world_is_dead(void)
{
	return W.cur && W.cur->is_dead;
}

static bool
dies(void)
{
	if (!W.cur || !world_fault(F_DIE, 4)) {
		return false;
	}
	world_say("dies");
	W.cur->is_dead = true;
	return true;
}

void
world_stall(size_t more)
{
	if (W.depth > 0 || W.is_calm || !W.has[F_NESTED] || world_is_dead() ||
	    !world_one_in(more)) {
		return;
	}
	T.faults[F_NESTED]++;
	world_say("sleeps");
	W.between(1 + world_below(150));
	world_say("wakes");
}

enum gx_rc
world_before(enum gx_rc refusal, struct gx_err *e)
{
	if (world_is_dead() || dies()) {
		return GX_ABORT;
	}
	if (W.depth == 0 && world_fault(F_NESTED, 1)) {
		W.between(world_one_in(100) ? 1 + world_below(100) : 1);
	}
	if (refusal != GX_OK && world_fault(F_REFUSE, 2)) {
		world_say("is refused: %s", gx_rc_name(refusal));
		return GX_ERR(e, refusal, "kafka.away", "not now");
	}
	return GX_OK;
}

enum gx_rc
world_after(enum gx_rc rc, bool may_cut, struct gx_err *e)
{
	if (dies()) {
		return GX_ABORT;
	}
	if (may_cut && rc == GX_OK && world_fault(F_CUT, 2)) {
		world_say("it was done, the answer is lost");
		return GX_ERR(e, GX_AGAIN, "pg.away", "the answer was lost");
	}
	return rc;
}

size_t
world_stream(struct gx_slice name)
{
	for (size_t i = 0; i < W.n_streams; i++) {
		if (gx_slice_eq(name, gx_slice_str(W.stream[i].name))) {
			return i;
		}
	}
	return W.n_streams;
}

static int64_t
wall_ms(void)
{
	int64_t ms = W.mono_us / 1000 + (W.cur ? W.cur->skew_ms : 0);

	if (W.has[F_SAME_EPOCH]) {
		ms -= ms % 2000;
	}
	return WALL_MS + ms;
}

static int64_t
mono_us(void)
{
	return W.mono_us;
}

void
world_use_clocks(void)
{
	gx_clock_fake(wall_ms, mono_us);
}

/* What the flows log is part of the trace (see the Makefile). */
void __wrap_gx_log(enum gx_level level, const char *event, const char *fmt, ...)
	GX_PRINTF(3, 4);
void __wrap_gx_log_err(enum gx_level level, const struct gx_err *e);
void __wrap_gx_crash_point(const char *name);

void
__wrap_gx_log(enum gx_level level, const char *event, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	(void)level;
	if (!W.is_loud) {
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	world_say("log %s %s", event, text);
}

void
__wrap_gx_log_err(enum gx_level level, const struct gx_err *e)
{
	(void)level;
	world_say("log %s %s", e->code, e->text);
}

void
__wrap_gx_crash_point(const char *name)
{
	(void)name;
	(void)dies();
}
