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
 * The mistakes live in the world or in functions that the linker puts in the
 * place of ours (see the Makefile), never in the product.  A mistake counts as
 * caught only if the same seed, with the same faults and without the mistake,
 * is clean.  A mistake that no seed catches fails the run.
 */
#include "world.h"

#include "base/clock.h"
#include "base/metric.h"
#include "flow/link.h"
#include "flow/reader.h"
#include "flow/writer.h"

#include <malloc.h>
#include <time.h>

#define MISTAKE_SEEDS 4000
#define CALM_ROUNDS 6000

static struct gx_sealer *sealer;
static struct gx_verifier *verifier;

static const char *const mistake_name[] = {
	"release on the broker's word",
	"sealing before the own marker is read",
	"no void rule",
	"no compare-and-set",
	"link resuming from what was acknowledged",
	"marker not stored with the row",
	"a stream found in two partitions",
	"resume of a stopped stream from the partition's offset",
	"a take-over forgets the quarantine of a newer one",
};
static const char *const fault_name[F_COUNT] = {
	"refused",     "cut",	     "died",	       "nested",
	"broken",      "late",	     "lost_flight",    "lost_tail",
	"restore_log", "restore_db", "restore_source", "zombie",
	"replay",      "junk",	     "unknown",	       "trim",
	"misplaced",   "same_epoch",
};

/* ---- what the linker puts in between ---- */

enum gx_verdict __real_gx_chain_batch(const struct gx_chain *c,
				      const struct gx_head *h,
				      const unsigned char head_hash[GX_HASH],
				      const struct gx_taken *taken);
enum gx_verdict __wrap_gx_chain_batch(const struct gx_chain *c,
				      const struct gx_head *h,
				      const unsigned char head_hash[GX_HASH],
				      const struct gx_taken *taken);

enum gx_verdict
__wrap_gx_chain_batch(const struct gx_chain *c, const struct gx_head *h,
		      const unsigned char head_hash[GX_HASH],
		      const struct gx_taken *taken)
{
	struct gx_head mine = *h;
	enum gx_verdict v;

	if (W.mistake == M_NO_VOID && h->epoch <= c->epoch) {
		mine.epoch = c->epoch;
		mine.writer = c->writer;
	}
	v = __real_gx_chain_batch(c, &mine, head_hash, taken);
	T.verdicts[v]++;
	if (v == GX_V_EQUIVOCATION && !(W.lost & LOST_CITY_LOG)) {
		world_fail("%.*s: honest parts meet an equivocation at %llu",
			   (int)h->stream.n, h->stream.p,
			   (unsigned long long)h->first);
	}
	return v;
}

enum gx_seal __real_gx_seal_check(struct gx_verifier *v,
				  const struct gx_head *h, bool with_leaves,
				  unsigned char head_hash[GX_HASH]);
enum gx_seal __wrap_gx_seal_check(struct gx_verifier *v,
				  const struct gx_head *h, bool with_leaves,
				  unsigned char head_hash[GX_HASH]);

enum gx_seal
__wrap_gx_seal_check(struct gx_verifier *v, const struct gx_head *h,
		     bool with_leaves, unsigned char head_hash[GX_HASH])
{
	enum gx_seal seal = __real_gx_seal_check(v, h, with_leaves, head_hash);

	return W.is_key_unknown && W.cur && W.cur->node == HUB
		       ? GX_SEAL_UNKNOWN_KEY
		       : seal;
}

/* ---- parts ---- */

static enum gx_verdict
admit(void *ctx, struct gx_slice stream, struct gx_slice schema,
      struct gx_slice topic)
{
	const struct part *p = ctx;
	size_t s = world_stream(stream);

	(void)topic;
	if (s == W.n_streams) {
		return GX_V_REFUSE;
	}
	return schema.n > 0 && W.is_unknown[p->node][s] ? GX_V_WAIT : GX_V_TAKE;
}

static uint64_t
roll(void *ctx)
{
	(void)ctx;
	return world_random();
}

static void
make_writer(struct part *p, struct gx_err *e)
{
	const struct w_source *db = &W.source[p->source];
	struct gx_source *src = world_source_new(&W.source[p->source]);
	struct gx_writer_stream st[W_STREAMS];
	char flow[8];
	struct gx_writer_conf c = {
		.flow = flow,
		.origin =
			p->source ? "/450100/civil/pop" : "/450100/hrss/social",
		.topic = W_TOPIC,
		.streams = st,
		.n_streams = db->n_streams,
		.max_lines = 1 + world_below(6),
		.max_bytes = 4096,
		.linger_ms = (int)world_below(12),
		.max_unread = 1 + world_below(6),
		.look_ms = 1 + (int)world_below(20),
		.release_ms = 1 + (int)world_below(40),
		.random = roll,
	};
	struct gx_writer *w = NULL;

	snprintf(flow, sizeof flow, "in%zu", p->source);
	for (size_t i = 0; i < db->n_streams; i++) {
		const struct w_stream *s = &W.stream[db->first + i];

		st[i].stream = s->name;
		st[i].partition =
			(s->partition + p->is_misplaced) % W.n_partitions;
		st[i].schema_id = "social.insured@1:"
				  "0123456789abcdef0123456789abcdef"
				  "0123456789abcdef0123456789abcdef";
	}
	if (gx_writer_new(&c, &W.log[CITY].log, &W.store[CITY], sealer,
			  verifier, &src, &w, e) != GX_OK) {
		world_fail("no writer");
	}
	p->ops = &gx_writer_ops;
	p->flow = w;
}

static void
make_reader(struct part *p, struct gx_err *e)
{
	static const char *const topics[] = {W_TOPIC, NULL};
	struct gx_reader_conf c = {
		.flow = "sink",
		.topics = topics,
		.own_topic = p->node == CITY ? W_TOPIC : "gx.batch.450000",
		.admit = admit,
		.admit_ctx = p,
		.txn_lines = 1 + world_below(12),
		.txn_bytes = 4096,
		.txn_ms = (int)world_below(8),
		.retry_ms = 20 + (int)world_below(60),
	};
	struct gx_reader *r = NULL;

	if (gx_reader_new(&c, &W.log[p->node].log, &W.store[p->node], verifier,
			  &r, e) != GX_OK) {
		world_fail("no reader");
	}
	p->ops = &gx_reader_ops;
	p->flow = r;
}

static void
make_link(struct part *p, struct gx_err *e)
{
	struct gx_link_conf c = {
		.flow = "link",
		.topic = W_TOPIC,
		.max_in_flight = 1 + world_below(16),
		.check = true,
	};
	struct gx_link *l = NULL;

	c.tail = 2 * c.max_in_flight;
	if (gx_link_new(&c, &W.log[CITY].log, &W.log[HUB].log, verifier, &l,
			e) != GX_OK) {
		world_fail("no link");
	}
	p->ops = &gx_link_ops;
	p->flow = l;
}

static void
start_part(struct part *p)
{
	struct gx_err e = {0};

	p->is_on = true;
	p->is_open = false;
	p->is_dead = false;
	p->is_stopped = false;
	p->code[0] = '\0';
	p->pause_ms = 0;
	p->wait_until_ms = 0;
	p->skew_ms = (int64_t)world_below(80);
	if (p->kind == WRITER) {
		make_writer(p, &e);
	} else if (p->kind == READER) {
		make_reader(p, &e);
	} else {
		make_link(p, &e);
	}
}

static void
end_part(struct part *p)
{
	if (p->flow) {
		p->ops->free(&p->flow);
	}
	p->is_on = false;
	p->is_open = false;
	p->code[0] = '\0';
}

static void
restart_part(struct part *p)
{
	T.restarts++;
	end_part(p);
	start_part(p);
}

static void
add_part(enum w_kind kind, enum w_node node, size_t source, bool is_second)
{
	static const char *const word[] = {"writer", "reader", "link"};
	struct part *p = &W.part[W.n_parts++];

	GX_ASSERT(W.n_parts <= W_PARTS);
	p->kind = kind;
	p->node = node;
	p->source = source;
	p->is_second = is_second;
	snprintf(p->name, sizeof p->name, "%s%s%zu%s",
		 node == CITY ? "c." : "h.", word[kind], source,
		 is_second ? "'" : "");
	if (!is_second) {
		start_part(p);
	}
}

/* ---- driving a part as the worker does ---- */

static void
obey(struct part *p, enum gx_rc rc, const struct gx_err *e)
{
	const char *code = e->code ? e->code : "";
	bool closes = rc == GX_ABORT || rc == GX_FENCED;

	if (rc == GX_OK || (rc == GX_AGAIN && !e->code)) {
		p->pause_ms = 0;
		p->code[0] = '\0';
		return;
	}
	if (strcmp(p->code, code) != 0) {
		world_say("%s: %s %s", gx_rc_name(rc), code, e->text);
	}
	snprintf(p->code, sizeof p->code, "%s", code);
	if (rc == GX_FATAL || rc == GX_REJECT) {
		p->is_stopped = true;
		closes = true;
		W.has_said = W.has_said || strcmp(code, "log.lost_tail") == 0;
		if (!world_may_report(code) &&
		    strcmp(code, "writer.deposed") != 0 &&
		    !(p->is_misplaced && strncmp(code, "stream.", 7) == 0)) {
			world_fail("%s stops: %s %s", p->name, code, e->text);
		}
	}
	if (closes && p->is_open) {
		p->ops->close(p->flow);
		p->is_open = false;
	}
	p->pause_ms = p->pause_ms ? p->pause_ms * 2 : 5;
	p->pause_ms = p->pause_ms > 100 ? 100 : p->pause_ms;
	p->wait_until_ms =
		gx_mono_ms() + (int64_t)world_below((size_t)p->pause_ms);
}

/* True if something moved. */
static bool
step_part(struct part *p)
{
	struct gx_err e = {0};
	struct part *before = W.cur;
	enum gx_rc rc = GX_OK;

	if (!p->is_on || p->is_stopped || p->is_busy ||
	    gx_mono_ms() < p->wait_until_ms) {
		return false;
	}
	W.cur = p;
	p->is_busy = true;
	T.steps++;
	if (!p->is_open) {
		p->is_open = true;
		rc = p->ops->open(p->flow, &e);
		if (rc != GX_OK) {
			p->ops->close(p->flow);
			p->is_open = false;
		}
	}
	if (rc == GX_OK && p->is_open) {
		rc = p->ops->step(p->flow, (int)world_below(3), &e);
	}
	if (rc != GX_OK && rc != GX_AGAIN && !e.code && !p->is_dead) {
		world_fail("%s answers %s and does not say why", p->name,
			   gx_rc_name(rc));
	}
	if (p->is_dead) {
		restart_part(p);
	} else {
		obey(p, rc, &e);
	}
	p->is_busy = false;
	W.cur = before;
	return rc == GX_OK;
}

/* Others run while a part is between two operations. */
static void
run_between(size_t n)
{
	W.depth++;
	while (n-- > 0 && !W.is_failed) {
		struct part *p = &W.part[world_below(W.n_parts)];

		world_log_tick();
		(void)step_part(p);
		W.mono_us += n > 0 ? (int64_t)world_below(3000) : 0;
	}
	W.depth--;
}

/* ---- the world and its faults ---- */

static void
choose_faults(void)
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
	if (W.setting != M_NONE) {
		/* What a mistake is about must be there; nothing is lost that
		 * an honest program would have to report. */
		W.log[CITY].is_durable = true;
		W.log[HUB].is_durable = W.setting != M_LINK_ACKED;
		W.has[F_RESTORE_LOG] = false;
		W.has[F_RESTORE_DB] = false;
		W.has[F_RESTORE_SOURCE] = false;
		W.has[F_LATE] = W.has[F_DIE] = W.has[F_ZOMBIE] = true;
		W.has[F_LOST_TAIL] = W.setting == M_LINK_ACKED;
		W.has[F_UNKNOWN] = W.setting == M_STOP_FORGOTTEN;
		W.has[F_TRIM] = W.setting == M_STOP_FORGOTTEN;
		W.has[F_MISPLACED] = W.setting == M_TWO_PARTITIONS;
		W.has[F_NESTED] |= W.setting == M_SETTLE_BLIND;
	}
	if (W.has[F_RESTORE_LOG]) {
		W.has[F_TRIM] = false;
	}
}

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

	memset(&W, 0, sizeof W);
	W.seed = seed;
	W.dice = seed * 0x2545f4914f6cdd1du + 99;
	W.setting = setting;
	W.mistake = mistake;
	W.is_loud = is_loud;
	W.between = run_between;
	choose_faults();
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
			add_part(WRITER, CITY, i, k == 1);
		}
		add_part(READER, CITY, 0, k == 1);
		add_part(LINK, CITY, 0, k == 1);
		add_part(READER, HUB, 0, k == 1);
	}
}

static void
free_world(void)
{
	for (size_t i = 0; i < W.n_parts; i++) {
		end_part(&W.part[i]);
	}
	world_log_free();
}

static void
toggle_second(bool is_misplaced)
{
	struct part *p =
		&W.part[W.n_parts / 2 + world_below(W.n_parts - W.n_parts / 2)];

	if (p->is_on) {
		world_say("%s ends", p->name);
		end_part(p);
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
	start_part(p);
}

static void
restore_db(enum w_node n)
{
	if (!W.has_backup[n]) {
		return;
	}
	world_say("the database of %s is restored", n == CITY ? "city" : "hub");
	W.db[n] = W.backup[n];
	W.lost |= n == CITY ? LOST_CITY_DB : LOST_HUB_DB;
	for (size_t i = 0; i < W.n_parts; i++) {
		struct part *p = &W.part[i];

		/* Nobody restores a database under a running node. */
		if (p->is_on && p->node == n && p->kind != LINK) {
			restart_part(p);
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

static void
disturb(void)
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
		W.backup[n] = W.db[n];
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
			restart_part(p);
		}
	}
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
		disturb();
		(void)step_part(&W.part[world_below(W.n_parts)]);
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
			end_part(p);
		}
		/* Somebody looks at what stopped, and tries again. */
		if (p->is_on && p->is_stopped) {
			restart_part(p);
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
			restart_part(p);
		}
	}
}

static void
run_calm(void)
{
	uint64_t best = 0;
	int n_idle = 0;

	for (int i = 0; i < CALM_ROUNDS && !W.is_failed; i++) {
		bool did = false;

		W.step++;
		W.mono_us += 2000;
		world_log_tick();
		for (size_t k = 0; k < W.n_parts; k++) {
			did = step_part(&W.part[k]) || did;
		}
		restart_deposed();
		W.mono_us += did ? 0 : 400000;
		n_idle = progress() == best ? n_idle + 1 : 0;
		best = progress();
		if (world_is_complete() || n_idle > 300) {
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
prepare(void)
{
	struct gx_keyring *ring = gx_keyring_new();
	struct gx_key *key = NULL;
	struct gx_key *again = NULL;
	struct gx_err e = {0};

	/* The reader's tables are large and mostly untouched. */
	(void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
	world_use_clocks();
	if (gx_key_random(&key, &e) != GX_OK) {
		printf("no key: %s\n", e.text);
		exit(1);
	}
	again = key; /* lent to the sealer, owned by the ring */
	gx_keyring_add(ring, "450100", &key);
	sealer = gx_sealer_new(again);
	verifier = gx_verifier_new(ring);
}

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
		printf(" %s %lu", fault_name[f], T.faults[f]);
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
		       mistake_name[m], (unsigned long long)seed, why);
		return true;
	}
	printf("mistake %d (%s): NOT CAUGHT by %d seeds\n", m, mistake_name[m],
	       MISTAKE_SEEDS);
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
	prepare();
	if (seed) {
		return replay(seed, m, is_loud);
	}
	is_good = run_many(from ? from : 1, n);
	for (int k = 0; is_good && !from && k < M_NONE; k++) {
		is_good = plant((enum w_mistake)k);
	}
	return is_good ? 0 : 1;
}
