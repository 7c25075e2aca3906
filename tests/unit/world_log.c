/*
 * World, the logs.
 *
 * A log is a few arrays of counted messages.  A producer's messages lie in its
 * queue until the network moves them into the log, in order per partition, and
 * are acknowledged some time after.  Closing a producer, or its death, leaves
 * what is not yet delivered on the wire: it arrives later, or a tail of it
 * never does.  A crash of the broker breaks every producer, empties the wire,
 * and, where the log does not flush, cuts off what was not flushed, read and
 * acknowledged or not.  A restore does the same to any log, down to what its
 * backup held.  Consumers are not told: as with librdkafka 2.0, one that stands
 * above the new end is told "out of range", any other reads on.
 */
#include "world.h"

#define QUEUE 64

struct w_blob {
	unsigned n_users;
	bool is_junk, is_forged;
	struct w_said said; /* what was found when it was looked at first */
	size_t key_n, n;
	char bytes[]; /* key, value */
};

struct item {
	struct w_blob *blob;
	int32_t partition;
	int64_t from;
	bool is_there; /* in the log, not yet acknowledged */
};

struct gx_out {
	struct w_log *log;
	struct gx_out *next;
	struct item queue[QUEUE];
	size_t n;
	bool is_broken;
	bool is_gone; /* closed: only the wire still knows of it */
};

struct gx_in {
	struct w_log *log;
	size_t n;
	struct gx_place at[W_PARTITIONS];
	struct item early[W_PARTITIONS]; /* M_SEAL_EARLY */
};

static struct w_log *
log_of(struct gx_log *l)
{
	return (struct w_log *)(void *)l;
}

/* Where the living blob of this value would be listed. */
static struct w_blob **
place_of(const char *value)
{
	static struct w_blob *table[4096];

	return &table[((uintptr_t)value >> 3) * 0x9e3779b1u >> 8 & 4095];
}

static struct w_blob *
new_blob(struct gx_slice key, struct gx_slice value)
{
	struct w_blob *b = gx_mem_new(sizeof *b + key.n + value.n);

	b->n_users = 1;
	b->key_n = key.n;
	b->n = value.n;
	memcpy(b->bytes, key.p, key.n);
	memcpy(b->bytes + key.n, value.p, value.n);
	*place_of(b->bytes + key.n) = b;
	return b;
}

struct w_said *
world_said(struct gx_slice value)
{
	struct w_blob *b = *place_of(value.p);

	return b && b->bytes + b->key_n == value.p && b->n == value.n ? &b->said
								      : NULL;
}

static struct w_blob *
use(struct w_blob *b)
{
	b->n_users++;
	return b;
}

static void
leave(struct w_blob **b)
{
	if (*b && --(*b)->n_users == 0) {
		struct w_blob **at = place_of((*b)->bytes + (*b)->key_n);

		*at = *at == *b ? NULL : *at;
		gx_mem_free(*b);
	}
	*b = NULL;
}

static struct gx_slice
value_of(const struct w_blob *b)
{
	return gx_slice(b->bytes + b->key_n, b->n);
}

static void
put(struct w_log *l, int32_t p, struct w_blob *b, int64_t from)
{
	struct w_lane *la = &l->lane[p];

	if (la->n == la->cap) {
		la->cap = la->cap ? la->cap * 2 : 64;
		la->msgs = gx_mem_grow(la->msgs, (size_t)la->cap,
				       sizeof *la->msgs);
		GX_ASSERT(la->msgs != NULL);
	}
	la->msgs[la->n++] = (struct w_msg){use(b), from};
	if (l->is_durable) {
		la->n_flushed = la->n;
	}
	world_say("%s/%d[%lld] <- from %lld %.*s",
		  l->node == CITY ? "city" : "hub", p, (long long)la->n - 1,
		  (long long)from, (int)(b->n < 150 ? b->n : 150),
		  b->bytes + b->key_n);
}

static void
cut(struct w_lane *la, int64_t n)
{
	while (la->n > n) {
		leave(&la->msgs[--la->n].blob);
	}
	la->n_flushed = la->n_flushed < la->n ? la->n_flushed : la->n;
	la->low = la->low < la->n ? la->low : la->n;
}

/* ---- the network ---- */

static void
remove_item(struct gx_out *o, size_t i)
{
	leave(&o->queue[i].blob);
	o->n--;
	memmove(&o->queue[i], &o->queue[i + 1],
		(o->n - i) * sizeof o->queue[0]);
}

static void
forget_undelivered(struct gx_out *o, int32_t p)
{
	for (size_t i = o->n; i-- > 0;) {
		if (!o->queue[i].is_there &&
		    (p < 0 || o->queue[i].partition == p)) {
			remove_item(o, i);
		}
	}
}

/* One message of one partition of this producer reaches the log. */
static void
deliver(struct gx_out *o)
{
	int32_t p = (int32_t)world_below((size_t)W.n_partitions);

	if (o->is_gone && world_fault(F_LOST_FLIGHT, 1)) {
		forget_undelivered(o, p);
		return;
	}
	for (size_t i = 0; i < o->n; i++) {
		struct item *it = &o->queue[i];

		if (it->partition != p || it->is_there) {
			continue;
		}
		if (o->is_gone) {
			T.faults[F_LATE]++;
		}
		put(o->log, p, it->blob, it->from);
		it->is_there = true;
		return;
	}
}

static void
drop_gone(struct w_log *l)
{
	struct gx_out **at = &l->outs;

	while (*at) {
		struct gx_out *o = *at;
		bool is_idle = true;

		for (size_t i = 0; i < o->n; i++) {
			is_idle = is_idle && o->queue[i].is_there;
		}
		if (!o->is_gone || !is_idle) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		while (o->n > 0) {
			remove_item(o, 0);
		}
		gx_mem_free(o);
	}
}

void
world_log_tick(void)
{
	for (int k = 0; k < W_NODES; k++) {
		struct w_log *l = &W.log[k];

		for (struct gx_out *o = l->outs; o; o = o->next) {
			size_t n = world_below(4);

			/* What a dead producer left comes when it likes. */
			n = o->is_gone && !world_one_in(4) ? 0 : n;
			while (n-- > 0) {
				deliver(o);
			}
		}
		drop_gone(l);
		for (int32_t p = 0; p < W.n_partitions; p++) {
			struct w_lane *la = &l->lane[p];

			if (world_one_in(W.flush_one_in)) {
				la->n_flushed = la->n;
			}
		}
	}
}

void
world_log_calm(void)
{
	for (int k = 0; k < W_NODES; k++) {
		struct w_log *l = &W.log[k];

		for (struct gx_out *o = l->outs; o; o = o->next) {
			for (int i = 0; o->is_gone && i < QUEUE * 8; i++) {
				deliver(o);
			}
			if (o->is_gone) {
				forget_undelivered(o, -1);
			}
		}
		drop_gone(l);
	}
}

void
world_log_cut(enum w_node n, bool is_restore)
{
	struct w_log *l = &W.log[n];

	for (struct gx_out *o = l->outs; o; o = o->next) {
		forget_undelivered(o, -1);
		o->is_broken = true;
	}
	for (int32_t p = 0; p < W.n_partitions; p++) {
		struct w_lane *la = &l->lane[p];
		int64_t to = la->n_flushed +
			     (int64_t)world_below(
				     (size_t)(la->n - la->n_flushed) + 1);

		if (is_restore && la->n_backup >= 0) {
			to = la->n_backup;
		}
		if (to < la->n) {
			world_say("%s/%d loses its end: %lld -> %lld",
				  n == CITY ? "city" : "hub", p,
				  (long long)la->n, (long long)to);
			W.lost |= n == CITY ? LOST_CITY_LOG : LOST_HUB_LOG;
			W.is_hit[p] = W.is_hit[p] || n == CITY;
			cut(la, to);
		}
	}
	drop_gone(l);
}

void
world_log_keep(enum w_node n)
{
	for (int32_t p = 0; p < W.n_partitions; p++) {
		W.log[n].lane[p].n_backup = W.log[n].lane[p].n;
	}
}

void
world_log_replay(enum w_node n)
{
	int32_t p = (int32_t)world_below((size_t)W.n_partitions);
	struct w_lane *la = &W.log[n].lane[p];
	int64_t i;

	if (la->n == la->low) {
		return;
	}
	i = la->low + (int64_t)world_below((size_t)(la->n - la->low));
	world_say("somebody sends [%lld] once more", (long long)i);
	put(&W.log[n], p, la->msgs[i].blob, la->msgs[i].from);
}

/* Of a key that nobody has, often under a higher epoch, at times of the far
 * future. */
static void
forge_key(struct w_blob *b)
{
	char *value = b->bytes + b->key_n;
	char *kid = memmem(value, b->n, "\"kid\":\"", 7);
	char *epoch = memmem(value, b->n, "\"epoch\":", 8);

	if (!kid || !epoch) {
		return;
	}
	kid[7] = kid[7] == 'a' ? 'b' : 'a';
	epoch[8 + 1 + world_below(11)] = '9';
}

/* Garbage, a forged line, a message in the wrong partition. */
void
world_log_junk(void)
{
	int32_t p = (int32_t)world_below((size_t)W.n_partitions);
	struct w_lane *la = &W.log[CITY].lane[p];
	struct w_blob *b;
	size_t i;

	if (la->n == la->low || world_one_in(4)) {
		b = new_blob(GX_SLICE("x"), GX_SLICE("{\"v\":\"nothing\"}\n"));
	} else {
		const struct w_blob *old = la->msgs[la->n - 1].blob;

		b = new_blob(gx_slice(old->bytes, old->key_n), value_of(old));
		i = world_below(b->n);
		if (world_one_in(3)) {
			p = (p + 1) % W.n_partitions;
		}
		W.is_forged = true;
		b->is_forged = old->is_forged || world_one_in(3);
		if (b->is_forged) {
			forge_key(b);
		} else {
			b->bytes[b->key_n + i] ^= 1;
		}
	}
	b->is_junk = true;
	put(&W.log[CITY], p, b, -1);
	leave(&b);
}

static int64_t
lower(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Where stores and backups of a node still want to read from. */
static int64_t
kept_at(enum w_node n, int32_t p)
{
	int64_t kept = world_kept(&W.db[n], p);

	return W.has_backup[n] ? lower(kept, world_kept(&W.backup[n], p))
			       : kept;
}

/* Is there nothing in this message that the node still has to take?  A log
 * that was cut and filled again may hold such below the kept offset. */
static bool
is_receipted(const struct w_db *db, int32_t p, const struct w_blob *b)
{
	const struct w_row *row = db->row;
	struct gx_head h;
	struct gx_slice name;
	size_t at = 0;
	size_t s;

	if (b->is_junk || gx_head_parse(value_of(b), &h) != NULL ||
	    h.partition != (uint32_t)p) {
		return true;
	}
	if (h.kind == GX_MSG_BATCH) {
		s = world_stream(h.stream);
		return s == W.n_streams || W.stream[s].partition != p ||
		       h.first < row[s].row.chain.next_seq ||
		       h.epoch < row[s].row.chain.epoch;
	}
	while (gx_marker_next(h.streams, &at, &name)) {
		s = world_stream(name);
		if (s < W.n_streams && W.stream[s].partition == p &&
		    h.epoch > row[s].row.chain.epoch) {
			return false;
		}
	}
	return true;
}

static bool
is_receipted_by_all(enum w_node n, int32_t p, const struct w_blob *b)
{
	return is_receipted(&W.db[n], p, b) &&
	       (!W.has_backup[n] || is_receipted(&W.backup[n], p, b));
}

static int64_t
receipted_to(enum w_node n, int32_t p, int64_t to)
{
	const struct w_lane *la = &W.log[n].lane[p];
	int64_t i = la->low;

	while (i < to && i < la->n &&
	       is_receipted_by_all(n, p, la->msgs[i].blob)) {
		i++;
	}
	return i < to ? i : to;
}

/* Below every kept offset and what is not receipted, and below what the hub's
 * log surely holds.  The hub keeps the copy of the highest source offset: a
 * link looks for it. */
void
world_log_trim(void)
{
	for (int32_t p = 0; p < W.n_partitions; p++) {
		struct w_lane *city = &W.log[CITY].lane[p];
		struct w_lane *hub = &W.log[HUB].lane[p];
		int64_t best = -1; /* where the hub holds the highest copy */
		int64_t low;

		for (int64_t i = hub->low; i < hub->n_flushed; i++) {
			if (best < 0 ||
			    hub->msgs[i].from > hub->msgs[best].from) {
				best = i;
			}
		}
		if (best < 0) {
			continue;
		}
		low = lower(kept_at(CITY, p), hub->msgs[best].from + 1);
		low = lower(low, city->n_flushed - 1);
		low = receipted_to(CITY, p, low);
		if (low > city->low) {
			world_say("city/%d is trimmed to %lld", p,
				  (long long)low);
			city->low = low;
		}
		if (W.db[HUB].next_offset[p] > hub->n) {
			continue; /* it lost its end: nobody trims now */
		}
		low = lower(kept_at(HUB, p), best);
		low = receipted_to(HUB, p, low);
		hub->low = low > hub->low ? low : hub->low;
	}
}

void
world_log_free(void)
{
	for (int k = 0; k < W_NODES; k++) {
		struct w_log *l = &W.log[k];

		for (struct gx_out *o = l->outs; o; o = o->next) {
			o->is_gone = true;
			forget_undelivered(o, -1);
		}
		drop_gone(l);
		for (int32_t p = 0; p < W_PARTITIONS; p++) {
			cut(&l->lane[p], 0);
			gx_mem_free(l->lane[p].msgs);
		}
	}
}

/* ---- producers ---- */

static enum gx_rc
n_partitions(struct gx_log *l, const char *topic, int32_t *n, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);

	(void)l;
	(void)topic;
	*n = W.n_partitions;
	return rc;
}

static enum gx_rc
open_out(struct gx_log *l, const char *topic, struct gx_out **out,
	 struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);
	struct gx_out *o;

	(void)topic;
	if (rc != GX_OK) {
		return rc;
	}
	o = gx_mem_new(sizeof *o);
	o->log = log_of(l);
	o->next = o->log->outs;
	o->log->outs = o;
	*out = o;
	return world_after(GX_OK, false, e);
}

static enum gx_rc
broken(struct gx_out *o, struct gx_err *e)
{
	if (!o->is_broken && o->n > 0 && world_fault(F_BREAK, 4)) {
		world_say("the connection breaks");
		o->is_broken = true;
	}
	return o->is_broken ? GX_ERR(e, GX_ABORT, "kafka.delivery",
				     "the connection broke")
			    : GX_OK;
}

static enum gx_rc
queue(struct gx_out *o, int32_t partition, struct w_blob *b, int64_t from,
      struct gx_err *e)
{
	enum gx_rc rc = broken(o, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (o->n == QUEUE || (o->n > 0 && world_one_in(12))) {
		return GX_AGAIN;
	}
	o->queue[o->n++] = (struct item){use(b), partition, from, false};
	return world_after(GX_OK, false, e);
}

static void
note_claim(struct gx_slice value)
{
	struct gx_head h;

	if (W.cur && W.cur->kind == WRITER && !gx_head_parse(value, &h) &&
	    h.kind == GX_MSG_MARKER) {
		W.source[W.cur->source].claimed = h.epoch;
	}
}

static enum gx_rc
append(struct gx_out *o, int32_t partition, struct gx_slice key,
       struct gx_slice value, int64_t from, struct gx_err *e)
{
	struct w_blob *b;
	enum gx_rc rc = world_before(GX_OK, e);

	if (rc != GX_OK) {
		return rc;
	}
	b = new_blob(key, value);
	note_claim(value_of(b));
	rc = queue(o, partition, b, from, e);
	leave(&b);
	return rc;
}

static void
done(struct gx_in *in, struct gx_msg *m)
{
	struct w_blob *b = m->impl;

	(void)in;
	leave(&b);
	m->impl = NULL;
}

static enum gx_rc
forward(struct gx_out *o, int32_t partition, struct gx_in *in, struct gx_msg *m,
	int64_t from, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_OK, e);
	bool was_dead = world_is_dead();

	if (rc == GX_OK) {
		rc = queue(o, partition, m->impl, from, e);
	}
	/* One that dies after it was queued still owns what it read. */
	if (rc == GX_OK && !was_dead) {
		done(in, m);
	}
	return rc;
}

/* What a broker says is remembered for the mistakes that believe it. */
static void
note_ack(const struct gx_out *o, const struct item *it)
{
	struct gx_head h;
	size_t s;

	if (o->log->node == HUB) {
		int64_t *top = &W.log[HUB].acked_from[it->partition];

		*top = it->from > *top ? it->from : *top;
		return;
	}
	if (W.mistake != M_BROKERS_WORD ||
	    gx_head_parse(value_of(it->blob), &h) != NULL) {
		return;
	}
	if (h.kind == GX_MSG_MARKER) {
		struct gx_slice name;
		size_t at = 0;

		while (gx_marker_next(h.streams, &at, &name)) {
			s = world_stream(name);
			if (s < W.n_streams) {
				gx_chain_take_marker(&W.acked[s], &h);
			}
		}
		return;
	}
	s = world_stream(h.stream);
	if (s < W.n_streams && h.epoch == W.acked[s].epoch) {
		W.acked[s].next_seq = h.first + h.n;
	}
}

static enum gx_rc
poll_out(struct gx_out *o, int timeout_ms, size_t *n_in_flight,
	 struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_OK, e);

	(void)timeout_ms;
	*n_in_flight = o->n;
	if (rc == GX_OK) {
		rc = broken(o, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	while (o->n > 0 && o->queue[0].is_there && !world_one_in(3)) {
		note_ack(o, &o->queue[0]);
		remove_item(o, 0);
	}
	*n_in_flight = o->n;
	return world_after(GX_OK, false, e);
}

static void
close_out(struct gx_out **o)
{
	(*o)->is_gone = true;
	if ((*o)->is_broken || !W.has[F_LATE] || world_one_in(2)) {
		forget_undelivered(*o, -1);
	}
	*o = NULL;
}

/* ---- consumers ---- */

static enum gx_rc
open_in(struct gx_log *l, const struct gx_place *places, size_t n,
	struct gx_in **out, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);
	struct gx_in *in;

	GX_ASSERT(n <= W_PARTITIONS);
	if (rc != GX_OK) {
		return rc;
	}
	in = gx_mem_new(sizeof *in);
	in->log = log_of(l);
	in->n = n;
	memcpy(in->at, places, n * sizeof *places);
	*out = in;
	return world_after(GX_OK, false, e);
}

/* M_SEAL_EARLY: the own marker, still in the queue, passes for read. */
static bool
read_early(struct gx_in *in, size_t i, struct gx_msg *m)
{
	const struct gx_out *o = in->log->outs; /* the newest is our own */

	if (W.mistake != M_SEAL_EARLY || !W.cur || W.cur->kind != WRITER ||
	    !o) {
		return false;
	}
	for (size_t k = 0; k < o->n; k++) {
		const struct item *it = &o->queue[k];

		if (it->partition == in->at[i].partition && !o->is_gone) {
			m->impl = use(it->blob);
			m->from = -1;
			return true;
		}
	}
	return false;
}

static void
fill(struct gx_in *in, size_t i, struct gx_msg *m)
{
	const struct w_lane *la = &in->log->lane[in->at[i].partition];
	const struct w_blob *b;

	if (!read_early(in, i, m)) {
		m->impl = use(la->msgs[in->at[i].offset].blob);
		m->from = la->msgs[in->at[i].offset].from;
	}
	if (W.mistake == M_LINK_ACKED && W.cur && W.cur->kind == LINK &&
	    in->log->node == HUB &&
	    in->log->acked_from[in->at[i].partition] > m->from) {
		m->from = in->log->acked_from[in->at[i].partition];
	}
	b = m->impl;
	if (W.mistake == M_EPOCH_DECIDES && W.cur && W.cur->node == HUB &&
	    !b->is_junk) {
		m->from = 0; /* nothing stands behind anything */
	}
	m->place = i;
	m->offset = in->at[i].offset++;
	m->key = gx_slice(b->bytes, b->key_n);
	m->value = value_of(b);
	if (W.cur) {
		W.cur->at_partition = in->at[i].partition;
	}
}

static enum gx_rc
next(struct gx_in *in, int timeout_ms, struct gx_msg *m, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_OK, e);
	size_t from = world_below(in->n);

	(void)timeout_ms;
	if (rc != GX_OK) {
		return rc;
	}
	if (world_fault(F_BREAK, 8)) {
		return GX_ERR(e, GX_ABORT, "kafka.away", "connection lost");
	}
	for (size_t k = 0; k < in->n; k++) {
		size_t i = (from + k) % in->n;
		const struct gx_place *at = &in->at[i];
		const struct w_lane *la = &in->log->lane[at->partition];

		if (at->offset < la->low || at->offset > la->n) {
			m->place = i;
			return GX_ERR(e, GX_ABORT, "log.out_of_range",
				      "%lld is not in the log",
				      (long long)at->offset);
		}
		if (at->offset < la->n && !world_one_in(6)) {
			fill(in, i, m);
			return GX_OK;
		}
	}
	return GX_AGAIN;
}

static enum gx_rc
seek(struct gx_in *in, size_t place, int64_t offset, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);

	if (rc == GX_OK) {
		in->at[place].offset = offset;
	}
	return rc;
}

static void
close_in(struct gx_in **in)
{
	gx_mem_free(*in);
	*in = NULL;
}

static enum gx_rc
range(struct gx_log *l, const char *topic, int32_t partition, int64_t *low,
      int64_t *high, struct gx_err *e)
{
	enum gx_rc rc = world_before(GX_AGAIN, e);

	(void)topic;
	for (int32_t p = 0; p < W.n_partitions; p++) {
		if (W.mistake == M_LOST_ALL && l == &W.log[CITY].log &&
		    W.log[CITY].lane[p].n < W.db[CITY].next_offset[p]) {
			partition = p; /* one for all */
		}
	}
	*low = log_of(l)->lane[partition].low;
	*high = log_of(l)->lane[partition].n;
	return rc;
}

const struct gx_log_ops world_log_ops = {
	.n_partitions = n_partitions,
	.open_out = open_out,
	.append = append,
	.forward = forward,
	.poll_out = poll_out,
	.close_out = close_out,
	.open_in = open_in,
	.next = next,
	.done = done,
	.seek = seek,
	.close_in = close_in,
	.range = range,
};
