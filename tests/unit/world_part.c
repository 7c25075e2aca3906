/*
 * World, the parts: writers, readers and links as the product makes them, and
 * each driven through its three operations as the worker does.
 *
 * A part that dies loses all its memory and is made anew.  One that answers
 * GX_FATAL stands until a person restarts it; that its code may be reported in
 * this run is checked here, and that no part waits without saying why.  Sizes
 * and times of a part come from the seed each time it is made.
 */
#include "world.h"

#include "base/clock.h"
#include "flow/link.h"
#include "flow/reader.h"
#include "flow/writer.h"

static struct gx_sealer *sealer;
static struct gx_verifier *verifier;

/* A point that all runs share (GB/T 32918.5, the base point): a key's id is in
 * every message, and a seed must always say the same.  Nothing signs with it
 * here (world_seal.c). */
static const unsigned char point[65] = {
	0x04, 0x32, 0xc4, 0xae, 0x2c, 0x1f, 0x19, 0x81, 0x19, 0x5f, 0x99,
	0x04, 0x46, 0x6a, 0x39, 0xc9, 0x94, 0x8f, 0xe3, 0x0b, 0xbf, 0xf2,
	0x66, 0x0b, 0xe1, 0x71, 0x5a, 0x45, 0x89, 0x33, 0x4c, 0x74, 0xc7,
	0xbc, 0x37, 0x36, 0xa2, 0xf4, 0xf6, 0x77, 0x9c, 0x59, 0xbd, 0xce,
	0xe3, 0x6b, 0x69, 0x21, 0x53, 0xd0, 0xa9, 0x87, 0x7c, 0xc6, 0x2a,
	0x47, 0x40, 0x02, 0xdf, 0x32, 0xe5, 0x21, 0x39, 0xf0, 0xa0};

void
world_parts_prepare(void)
{
	struct gx_keyring *ring = gx_keyring_new();
	struct gx_key *key = NULL;
	struct gx_key *again = NULL;
	struct gx_err e = {0};

	if (gx_key_from_point(gx_slice((const void *)point, sizeof point), &key,
			      &e) != GX_OK) {
		printf("no key: %s\n", e.text);
		exit(1);
	}
	again = key; /* lent to the sealer, owned by the ring */
	gx_keyring_add(ring, "450100", &key);
	sealer = gx_sealer_new(again);
	verifier = gx_verifier_new(ring);
}

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
	static const char *const of_city[] = {W_TOPIC, NULL};
	static const char *const of_hub[] = {"gx.batch.450000", NULL};
	struct gx_reader_conf c = {
		.flow = "sink",
		.topics = topics,
		.own_topics = p->node == CITY ? of_city : of_hub,
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

void
world_part_start(struct part *p)
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

void
world_part_end(struct part *p)
{
	if (p->flow) {
		p->ops->free(&p->flow);
	}
	p->is_on = false;
	p->is_open = false;
	p->code[0] = '\0';
}

void
world_part_restart(struct part *p)
{
	T.restarts++;
	world_part_end(p);
	world_part_start(p);
}

void
world_part_add(enum w_kind kind, enum w_node node, size_t source,
	       bool is_second)
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
		world_part_start(p);
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
		for (int k = 0;
		     strcmp(code, "log.lost_tail") == 0 && k < W.n_partitions;
		     k++) {
			W.has_said[k] = true; /* of all its partitions */
		}
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
bool
world_part_step(struct part *p)
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
		world_part_restart(p);
	} else {
		obey(p, rc, &e);
	}
	p->is_busy = false;
	W.cur = before;
	return rc == GX_OK;
}

/* Others run while a part is between two operations. */
void
world_part_between(size_t n)
{
	W.depth++;
	while (n-- > 0 && !W.is_failed) {
		struct part *p = &W.part[world_below(W.n_parts)];

		world_log_tick();
		(void)world_part_step(p);
		W.mono_us += n > 0 ? (int64_t)world_below(3000) : 0;
	}
	W.depth--;
}
