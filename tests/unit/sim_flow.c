/*
 * Simulation: writers, readers and links, unchanged, over a world in memory
 * whose faults come from a seed (docs/protocol.md 13).
 *
 *   sim_flow [N]                     N seeds (or SEEDS, else 2,000), then each
 *                                    planted mistake until a seed catches it
 *   sim_flow --seed S [-v]           one seed again, with a trace
 *   sim_flow --seed S --mistake M    the same with mistake number M
 *   sim_flow --from S N              N seeds from S on, no mistakes
 *
 * A run is a time of faults and then a calm, in which everything has to
 * arrive, or what was lost has to be reported.  The scheduler drives the flows
 * through their three operations as the worker does, one thread, one step at a
 * time; now and then another part runs between two operations of a step.  A
 * part that dies loses all its memory; a second instance of a part is a zombie
 * or a take-over, depending on who looks.
 *
 * Parts, faults, mistakes and invariants are in world_part.c, world_fault.c,
 * world_mistake.c and world_check.c.  A mistake counts as caught only if the
 * same seed, with the same faults and without the mistake, is clean.  A mistake
 * that no seed catches fails the run.
 */
#include "world.h"

#include "base/clock.h"
#include "base/metric.h"

#include <malloc.h>
#include <stddef.h>
#include <time.h>

#define MISTAKE_SEEDS 4000
#define CALM_ROUNDS 6000

static void
make_streams(void)
{
	W.is_long = world_one_in(10);
	W.n_partitions = 1 + (int32_t)world_below(W_PARTITIONS);
	if (W.setting == M_TWO_PARTITIONS) {
		W.n_partitions = 2;
	}
	W.n_sources = 1 + world_below(W_SOURCES);
	for (size_t i = 0; i < W.n_sources; i++) {
		struct w_source *src = &W.source[i];

		src->no = i;
		src->first = W.n_streams;
		src->n_streams = 1 + world_below(W_STREAMS);
		src->n_end = W.is_long ? 100 + world_below(90)
				       : 10 + world_below(90);
		src->incarnation = 1;
		for (size_t k = 0; k < src->n_streams; k++) {
			struct w_stream *st = &W.stream[W.n_streams++];

			snprintf(st->name, sizeof st->name, "%s/%zu",
				 i ? "/450100/civil/pop/pop.person"
				   : "/450100/hrss/social/social.insured",
				 k);
			st->source = i;
			st->partition =
				(int32_t)world_below((size_t)W.n_partitions);
		}
	}
}

static void
make_world(uint64_t seed, enum w_mistake setting, enum w_mistake mistake,
	   bool is_loud)
{
	struct gx_err e = {0};

	memset(&W, 0, offsetof(struct world, db));
	for (int n = 0; n < W_NODES; n++) {
		world_db_clear(&W.db[n]);
		world_db_clear(&W.backup[n]);
	}
	W.seed = seed;
	W.dice = seed * 0x2545f4914f6cdd1du + 99;
	W.setting = setting;
	W.mistake = mistake;
	W.is_loud = is_loud;
	W.between = world_part_between;
	world_faults_choose();
	make_streams();
	for (int n = 0; n < W_NODES; n++) {
		W.log[n].log.ops = &world_log_ops;
		W.log[n].node = (enum w_node)n;
		W.store[n].ops = &world_store_ops;
		for (int p = 0; p < W_PARTITIONS; p++) {
			W.log[n].lane[p].n_backup = -1;
			W.log[n].acked_from[p] = -1;
		}
	}
	for (size_t s = 0; s < W.n_streams; s++) {
		if (world_store_ops.declare(&W.store[CITY], W.stream[s].name,
					    W_TOPIC, W.stream[s].partition,
					    &e) != GX_OK) {
			world_fail("not declared");
		}
	}
	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < W.n_sources; i++) {
			world_part_add(WRITER, CITY, i, k == 1);
		}
		world_part_add(READER, CITY, 0, k == 1);
		world_part_add(LINK, CITY, 0, k == 1);
		world_part_add(READER, HUB, 0, k == 1);
	}
}

static void
free_world(void)
{
	for (size_t i = 0; i < W.n_parts; i++) {
		world_part_end(&W.part[i]);
	}
	world_log_free();
}

static void
run_faults(void)
{
	size_t n_steps = (200 + world_below(700)) * (W.is_long ? 3 : 1);

	for (size_t i = 0; i < n_steps && !W.is_failed; i++) {
		W.step++;
		W.mono_us +=
			(int64_t)world_below(world_one_in(20) ? 60000 : 3000);
		if (world_one_in(4)) {
			world_source_fill(world_below(4));
		}
		if (world_one_in(2)) {
			world_log_tick();
		}
		world_faults_disturb();
		(void)world_part_step(&W.part[world_below(W.n_parts)]);
	}
}

/* ---- calm ---- */

static void
calm_down(void)
{
	bool keeps_second = world_one_in(2);

	world_say("calm");
	W.is_calm = true;
	memset(W.is_unknown, 0, sizeof W.is_unknown);
	W.is_key_unknown = false;
	world_log_calm();
	world_source_fill(10 * W_RECORDS);
	for (size_t i = 0; i < W.n_parts; i++) {
		struct part *p = &W.part[i];

		if (p->is_second && p->is_on &&
		    (!keeps_second || p->is_misplaced)) {
			world_part_end(p);
		}
		/* Somebody looks at what stopped, and tries again. */
		if (p->is_on && p->is_stopped) {
			world_part_restart(p);
		}
	}
}

/* Anything that grows while the world gets on. */
static uint64_t
progress(void)
{
	uint64_t sum = 0;

	for (int n = 0; n < W_NODES; n++) {
		for (size_t s = 0; s < W.n_streams; s++) {
			sum += W.db[n].row[s].n_lines;
		}
		for (int p = 0; p < W.n_partitions; p++) {
			sum += (uint64_t)W.db[n].next_offset[p] +
			       (uint64_t)W.log[n].lane[p].n;
		}
	}
	for (size_t i = 0; i < W.n_sources; i++) {
		sum += W.source[i].released;
	}
	return sum;
}

/* Each of two ended for the other, which then died: a person restarts one. */
static void
restart_deposed(void)
{
	for (size_t i = 0; i < W.n_parts; i++) {
		struct part *p = &W.part[i];
		bool has_other = false;

		for (size_t k = 0; k < W.n_parts; k++) {
			const struct part *o = &W.part[k];

			has_other =
				has_other ||
				(o != p && o->is_on && !o->is_stopped &&
				 o->kind == WRITER && o->source == p->source);
		}
		if (p->is_on && p->is_stopped && !has_other &&
		    strcmp(p->code, "writer.deposed") == 0) {
			world_part_restart(p);
		}
	}
}

/* One of which nothing was verified has no row to say so. */
static bool
waits_for_key(size_t s)
{
	const struct w_row *row = &W.db[HUB].row[s];

	return W.is_forged &&
	       (!row->is_there || strcmp(row->row.why, "stream.wait_key") == 0);
}

/* Rounds without progress that show that none will come.  Who doubts a forged
 * message reads its partition again and again, a message a round, and so may
 * two readers that take turns. */
static int
patience(void)
{
	return W.is_forged ? 2500 : 300;
}

static bool
is_helped(size_t source)
{
	bool waits = false;
	bool is_fed = false;

	for (size_t s = 0; s < W.n_streams; s++) {
		waits = waits ||
			(W.stream[s].source == source && waits_for_key(s));
	}
	for (size_t s = 0; waits && s < W.n_streams; s++) {
		is_fed = (W.stream[s].source == source &&
			  world_source_nudge(s)) ||
			 is_fed;
	}
	return is_fed;
}

/* A stream waits for a key that nobody has: a person restarts the flow at its
 * origin, and its department goes on working. */
static void
help_waiting(void)
{
	for (size_t k = 0; k < W.n_sources; k++) {
		if (!is_helped(k)) {
			continue;
		}
		for (size_t i = 0; i < W.n_parts; i++) {
			struct part *p = &W.part[i];

			if (p->is_on && !p->is_stopped && p->kind == WRITER &&
			    p->source == k) {
				world_part_restart(p);
			}
		}
	}
}

static void
run_calm(void)
{
	uint64_t best = 0;
	int n_idle = 0;
	int n_helped = 0;

	for (int i = 0; i < CALM_ROUNDS && !W.is_failed; i++) {
		bool did = false;

		W.step++;
		W.mono_us += 2000;
		world_log_tick();
		for (size_t k = 0; k < W.n_parts; k++) {
			did = world_part_step(&W.part[k]) || did;
		}
		restart_deposed();
		W.mono_us += did ? 0 : 400000;
		n_idle = progress() == best ? n_idle + 1 : 0;
		if (n_idle % 800 == 100 && n_helped++ < 5) {
			W.mono_us += 20000000; /* people take their time */
			help_waiting();
		}
		best = progress();
		if (world_is_complete() || n_idle > patience()) {
			break;
		}
	}
}

static bool
run_seed(uint64_t seed, enum w_mistake setting, enum w_mistake mistake,
	 bool is_loud)
{
	make_world(seed, setting, mistake, is_loud);
	run_faults();
	calm_down();
	run_calm();
	if (!W.is_failed) {
		world_check_end();
	}
	free_world();
	return !W.is_failed;
}

/* ---- the whole run ---- */

static void
print_tally(uint64_t n, double s)
{
	printf("%llu seeds clean in %.0f s (%.0f/s): %lu complete, %lu with a "
	       "reported loss; %lu steps, %lu restarts, %lu records, %lu "
	       "releases\n",
	       (unsigned long long)n, s, s > 0 ? (double)n / s : 0, T.complete,
	       T.reported, T.steps, T.restarts, T.records, T.releases);
	printf("verdicts:");
	for (int v = 0; v < GX_V_COUNT; v++) {
		const char *values[3] = {
			"sink", gx_verdict_name((enum gx_verdict)v), NULL};

		printf(" %s %.0f", values[1],
		       gx_metric_get(gx_metric(GX_M_BATCHES, values)));
	}
	printf("\nfaults:");
	for (int f = 0; f < F_COUNT; f++) {
		printf(" %s %lu", world_fault_name((enum w_fault)f),
		       T.faults[f]);
	}
	printf("\n");
	fflush(stdout);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool
run_many(uint64_t from, uint64_t n)
{
	double began = seconds();

	for (uint64_t i = 0; i < n; i++) {
		if (!run_seed(from + i, M_NONE, M_NONE, false)) {
			printf("seed %llu: %s\n",
			       (unsigned long long)(from + i), W.why);
			return false;
		}
		if ((i + 1) % 50000 == 0 && i + 1 < n) {
			print_tally(i + 1, seconds() - began);
		}
	}
	print_tally(n, seconds() - began);
	return true;
}

/* Some seed must catch it, and its honest twin must be clean. */
static bool
plant(enum w_mistake m)
{
	char why[sizeof W.why];

	for (uint64_t seed = 1; seed <= MISTAKE_SEEDS; seed++) {
		if (run_seed(seed, m, m, false)) {
			continue;
		}
		memcpy(why, W.why, sizeof why);
		if (!run_seed(seed, m, M_NONE, false)) {
			printf("mistake %d, seed %llu fails without it: %s\n",
			       m, (unsigned long long)seed, W.why);
			return false;
		}
		printf("mistake %d (%s): caught by seed %llu: %s\n", m,
		       world_mistake_name(m), (unsigned long long)seed, why);
		return true;
	}
	printf("mistake %d (%s): NOT CAUGHT by %d seeds\n", m,
	       world_mistake_name(m), MISTAKE_SEEDS);
	return false;
}

static int
replay(uint64_t seed, enum w_mistake m, bool is_loud)
{
	if (run_seed(seed, m, m, is_loud)) {
		printf("seed %llu: clean\n", (unsigned long long)seed);
		return 0;
	}
	printf("seed %llu: %s\n", (unsigned long long)seed, W.why);
	return 1;
}

int
main(int argc, char **argv)
{
	const char *env = getenv("SEEDS");
	uint64_t n = env ? strtoull(env, NULL, 10) : 2000;
	uint64_t seed = 0;
	uint64_t from = 0;
	enum w_mistake m = M_NONE;
	bool is_loud = false;
	bool is_good;

	for (int i = 1; i < argc; i++) {
		bool has_more = i + 1 < argc;

		if (strcmp(argv[i], "--seed") == 0 && has_more) {
			seed = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--from") == 0 && has_more) {
			from = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--mistake") == 0 && has_more) {
			m = (enum w_mistake)strtoul(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "-v") == 0) {
			is_loud = true;
		} else {
			n = strtoull(argv[i], NULL, 10);
		}
	}
	/* The reader's tables are large and mostly untouched. */
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
	(void)mallopt(M_TOP_PAD, 4 << 20);
	world_use_clocks();
	world_parts_prepare();
	if (seed) {
		return replay(seed, m, is_loud);
	}
	is_good = run_many(from ? from : 1, n);
	for (int k = 0; is_good && !from && k < M_NONE; k++) {
		is_good = plant((enum w_mistake)k);
	}
	return is_good ? 0 : 1;
}
