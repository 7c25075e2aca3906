/*
 * World, the faults that happen between steps: which of them a run knows, and
 * when the hand deals them out.  Faults inside of an operation are dealt by
 * world_before() and world_after() (world.c).
 *
 * What loses something for good is noted in W.lost, so that world_check.c knows
 * what may be reported.  Nobody restores a database under a running node, and
 * whoever finds a source restored gets no new record from it.
 */
#include "world.h"

static const char *const fault_name[F_COUNT] = {
	"refused",     "cut",	     "died",	       "nested",
	"broken",      "late",	     "lost_flight",    "lost_tail",
	"restore_log", "restore_db", "restore_source", "zombie",
	"replay",      "junk",	     "unknown",	       "trim",
	"misplaced",   "same_epoch",
};

const char *
world_fault_name(enum w_fault f)
{
	return fault_name[f];
}

void
world_faults_choose(void)
{
	static const struct {
		enum w_fault f;
		unsigned percent;
	} share[] = {
		{F_REFUSE, 60},	     {F_CUT, 50},	    {F_DIE, 60},
		{F_NESTED, 50},	     {F_BREAK, 50},	    {F_LATE, 60},
		{F_LOST_FLIGHT, 60}, {F_LOST_TAIL, 40},	    {F_RESTORE_LOG, 8},
		{F_RESTORE_DB, 15},  {F_RESTORE_SOURCE, 8}, {F_ZOMBIE, 50},
		{F_REPLAY, 40},	     {F_JUNK, 30},	    {F_UNKNOWN, 40},
		{F_TRIM, 40},	     {F_MISPLACED, 8},	    {F_SAME_EPOCH, 40}};

	for (size_t i = 0; i < sizeof share / sizeof *share; i++) {
		W.has[share[i].f] = world_below(100) < share[i].percent;
	}
	W.flush_one_in = world_one_in(4) ? 80 : 6;
	W.rate = (int)(10 + world_below(120));
	W.log[CITY].is_durable = !world_one_in(5);
	W.log[HUB].is_durable = world_one_in(2);
	world_mistake_faults();
	if (W.has[F_RESTORE_LOG]) {
		W.has[F_TRIM] = false;
	}
}

static void
toggle_second(bool is_misplaced)
{
	struct part *p =
		&W.part[W.n_parts / 2 + world_below(W.n_parts - W.n_parts / 2)];

	if (p->is_on) {
		world_say("%s ends", p->name);
		world_part_end(p);
		p->is_misplaced = false;
		return;
	}
	p->is_misplaced =
		is_misplaced && p->kind == WRITER && W.n_partitions > 1;
	if (is_misplaced && !p->is_misplaced) {
		return;
	}
	world_say("%s begins%s", p->name,
		  p->is_misplaced ? ", set up wrongly" : "");
	world_part_start(p);
}

static void
restore_db(enum w_node n)
{
	if (!W.has_backup[n]) {
		return;
	}
	world_say("the database of %s is restored", n == CITY ? "city" : "hub");
	world_db_copy(&W.db[n], &W.backup[n]);
	W.lost |= n == CITY ? LOST_CITY_DB : LOST_HUB_DB;
	for (size_t i = 0; i < W.n_parts; i++) {
		struct part *p = &W.part[i];

		/* Nobody restores a database under a running node. */
		if (p->is_on && p->node == n && p->kind != LINK) {
			world_part_restart(p);
		}
	}
}

static void
restore_source(void)
{
	struct w_source *src = &W.source[world_below(W.n_sources)];

	if (src->is_lost || src->n == 0) {
		return;
	}
	world_say("source %zu is restored", src->no);
	src->n = world_below(src->n);
	src->released = src->released < src->n ? src->released : src->n;
	src->incarnation++;
	src->holder = 0;
	src->is_lost = true;
	W.lost |= (unsigned)LOST_SOURCE << src->no;
}

/* One in `more` steps, whatever the rate. */
static bool
happens(enum w_fault f, size_t more)
{
	if (!W.has[f] || !world_one_in(more)) {
		return false;
	}
	T.faults[f]++;
	return true;
}

void
world_faults_disturb(void)
{
	enum w_node n = world_one_in(2) ? CITY : HUB;

	if (happens(F_ZOMBIE, 60)) {
		toggle_second(false);
	}
	if (happens(F_MISPLACED, 80)) {
		toggle_second(true);
	}
	if (happens(F_REPLAY, 80)) {
		world_log_replay(n);
	}
	if (happens(F_JUNK, 100)) {
		world_log_junk();
	}
	if (happens(F_LOST_TAIL, 150)) {
		world_log_cut(n, false);
	}
	if (happens(F_TRIM, 40)) {
		world_log_trim();
	}
	if (happens(F_UNKNOWN, 50)) {
		size_t s = world_below(W.n_streams);

		W.is_unknown[n][s] = !W.is_unknown[n][s];
		W.is_key_unknown =
			world_one_in(6) ? !W.is_key_unknown : W.is_key_unknown;
	}
	if (W.has[F_RESTORE_DB] && world_one_in(200)) {
		world_db_copy(&W.backup[n], &W.db[n]);
		W.has_backup[n] = true;
	}
	if (happens(F_RESTORE_DB, 300)) {
		restore_db(n);
	}
	if (W.has[F_RESTORE_LOG] && world_one_in(150)) {
		world_log_keep(n);
	}
	if (happens(F_RESTORE_LOG, 300)) {
		world_log_cut(n, true);
	}
	if (happens(F_RESTORE_SOURCE, 400)) {
		restore_source();
	}
	if (happens(F_DIE, 60)) {
		struct part *p = &W.part[world_below(W.n_parts)];

		if (p->is_on) {
			world_say("%s is killed", p->name);
			world_part_restart(p);
		}
	}
}
