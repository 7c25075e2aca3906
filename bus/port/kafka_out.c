/*
 * Kafka, writing: an idempotent producer for one topic.
 *
 * One message per batch and per request, in order, at most five requests under
 * way.  Idempotence is there so that one connection keeps its order and a
 * retry inside the library is no second copy; it proves nothing beyond the
 * life of the handle.  There is no transaction.  An acknowledgement releases
 * nothing: the callers read the log.
 *
 * Any doubt is GX_ABORT, and from then on the handle is of no use: a delivery
 * that failed, a fatal error, a produce request that ended without an answer
 * (the connection broke under it), or half a minute without an answer.  That
 * 2.0.2 calls some of these fatal (#4438) is an ordinary event.
 *
 * A forwarded message is not copied.  It stays pinned in the handle it was
 * read from until its delivery report comes.  Closing drops what is not yet
 * delivered: purge, serve the reports for a bounded time, destroy, and then
 * give back whatever no report came for, when nobody can read it any more.
 *
 * If we die on any line the log holds a prefix of what we sent.
 */
#include "base/clock.h"
#include "port/kafka_int.h"

#define OUT_MAGIC 0x6b6f7574u
#define CLOSE_MS 3000

struct gx_out {
	unsigned magic;
	struct gx_khandle *h;
	rd_kafka_topic_t *rkt;
	int32_t n_partitions;
	size_t n_in_flight;
	struct gx_kmsg *pinned;
	rd_kafka_resp_err_t bad; /* first failed delivery */
	int64_t moved_at_ms;	 /* last report, or first append */
};

/* Delivery report; in our thread, inside rd_kafka_poll and rd_kafka_flush. */
static void
take_report(rd_kafka_t *rk, const rd_kafka_message_t *rkm, void *ctx)
{
	struct gx_khandle *h = ctx;
	struct gx_out *o = h->owner;

	(void)rk;
	GX_ASSERT(o->magic == OUT_MAGIC && o->n_in_flight > 0);
	o->n_in_flight--;
	o->moved_at_ms = gx_mono_ms();
	if (rkm->err && !o->bad) {
		o->bad = rkm->err;
	}
	if (rkm->_private) {
		struct gx_kmsg *km = rkm->_private;

		gx_kmsg_drop(&o->pinned, km);
		gx_kafka_in_unpin(km);
	}
}

void
gx_kafka_out_callbacks(rd_kafka_conf_t *conf)
{
	rd_kafka_conf_set_dr_msg_cb(conf, take_report);
}

/* The writer's first message would wait a second for what it does not know
 * yet about the topic: ask before. */
static enum gx_rc
warm(struct gx_out *o, const char *topic, struct gx_err *e)
{
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_resp_err_t err;

	o->rkt = rd_kafka_topic_new(o->h->rk, topic, NULL);
	if (!o->rkt) {
		return gx_kafka_err(o->h, rd_kafka_last_error(), false,
				    "cannot write to", topic, e);
	}
	err = rd_kafka_metadata(o->h->rk, 0, o->rkt, &md, GX_KAFKA_ASK_MS);
	if (!err) {
		rd_kafka_metadata_destroy(md);
		return GX_OK;
	}
	while (rd_kafka_poll(o->h->rk, 0) > 0) {
	}
	return gx_kafka_err(o->h, err, false, "cannot write to", topic, e);
}

enum gx_rc
gx_kafka_open_out(struct gx_log *l, const char *topic, struct gx_out **out,
		  struct gx_err *e)
{
	struct gx_out *o;
	struct gx_khandle *ask;
	int32_t n = 0;
	enum gx_rc rc = gx_kafka_ask(l, &ask, e);

	/* Through the handle that never makes a topic by asking for it. */
	if (rc == GX_OK) {
		rc = gx_kafka_count(ask, topic, GX_KAFKA_ASK_MS, &n, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	o = gx_mem_new(sizeof *o);
	o->magic = OUT_MAGIC;
	o->n_partitions = n;
	o->moved_at_ms = gx_mono_ms();
	rc = gx_kafka_open(gx_kafka_of(l), GX_K_OUT, o, &o->h, e);
	if (rc == GX_OK) {
		rc = warm(o, topic, e);
	}
	if (rc != GX_OK) {
		gx_kafka_close_out(&o);
		return rc;
	}
	*out = o;
	return GX_OK;
}

void
gx_kafka_close_out(struct gx_out **op)
{
	struct gx_out *o = *op;
	int64_t until_ms = gx_mono_ms() + CLOSE_MS;

	if (!o) {
		return;
	}
	GX_ASSERT(o->magic == OUT_MAGIC);
	*op = NULL;
	if (o->h) {
		rd_kafka_purge(o->h->rk, RD_KAFKA_PURGE_F_QUEUE |
						 RD_KAFKA_PURGE_F_INFLIGHT);
		while (o->n_in_flight > 0 && gx_mono_ms() < until_ms) {
			rd_kafka_poll(o->h->rk, 10);
		}
	}
	if (o->rkt) {
		rd_kafka_topic_destroy(o->rkt);
	}
	gx_kafka_close(&o->h);
	while (o->pinned) {
		struct gx_kmsg *km = o->pinned;

		gx_kmsg_drop(&o->pinned, km);
		gx_kafka_in_unpin(km);
	}
	o->magic = 0;
	gx_mem_free(o);
}

/* Is the handle still good for anything? */
static enum gx_rc
check(struct gx_out *o, struct gx_err *e)
{
	struct gx_khandle *h = o->h;
	const char *topic = rd_kafka_topic_name(o->rkt);
	char text[200];
	rd_kafka_resp_err_t fatal =
		rd_kafka_fatal_error(h->rk, text, sizeof text);
	int64_t at_ms = atomic_load(&h->answered_at_ms);

	if (fatal) {
		/* Its cause may be for a person; that it is over, is not. */
		(void)GX_ERR(e, GX_ABORT, "kafka.producer",
			     "the producer for %s at %s gave up: %s (%s)",
			     topic, h->bootstrap, rd_kafka_err2name(fatal),
			     text);
		return GX_ABORT;
	}
	if (o->bad) {
		return gx_kafka_err(h, o->bad, true, "a delivery failed to",
				    topic, e);
	}
	if (h->bad) {
		return gx_kafka_bad(h, h->bad, "cannot write to", topic, e);
	}
	if (o->n_in_flight == 0) {
		atomic_store(&h->is_broken, false);
		return GX_OK;
	}
	if (atomic_load(&h->is_broken)) {
		return GX_ERR(e, GX_ABORT, "kafka.broken",
			      "the connection to %s broke while %zu messages "
			      "to %s were under way",
			      h->bootstrap, o->n_in_flight, topic);
	}
	at_ms = at_ms > o->moved_at_ms ? at_ms : o->moved_at_ms;
	if (gx_mono_ms() - at_ms > GX_KAFKA_STALL_MS) {
		return GX_ERR(e, GX_ABORT, "kafka.stalled",
			      "no answer from %s for %d s while %zu messages "
			      "to %s are under way",
			      h->bootstrap, GX_KAFKA_STALL_MS / 1000,
			      o->n_in_flight, topic);
	}
	return GX_OK;
}

/* What librdkafka takes without const and does not change. */
static void *
lend(struct gx_slice s)
{
	void *p;

	memcpy(&p, &s.p, sizeof p);
	return p;
}

struct item {
	int32_t partition;
	struct gx_slice key, value;
	int64_t from;
	struct gx_kmsg *pin; /* NULL: copy the value */
};

static enum gx_rc
put(struct gx_out *o, const struct item *it, struct gx_err *e)
{
	int flags = it->pin ? 0 : RD_KAFKA_MSG_F_COPY;
	rd_kafka_resp_err_t err;
	char from[24];
	ssize_t n = snprintf(from, sizeof from, "%lld", (long long)it->from);
	void *value = lend(it->value);
	void *key = lend(it->key);
	void *pin = it->pin;

	/* The macros around these are no standard C.  producev, not produceva:
	 * that one frees headers twice if a partition is missing (#4628). */
	if (it->from >= 0) {
		err = rd_kafka_producev(
			o->h->rk, RD_KAFKA_VTYPE_RKT, o->rkt,
			RD_KAFKA_VTYPE_PARTITION, it->partition,
			RD_KAFKA_VTYPE_MSGFLAGS, flags, RD_KAFKA_VTYPE_KEY, key,
			it->key.n, RD_KAFKA_VTYPE_VALUE, value, it->value.n,
			RD_KAFKA_VTYPE_HEADER, GX_KAFKA_FROM, from, n,
			RD_KAFKA_VTYPE_OPAQUE, pin, RD_KAFKA_VTYPE_END);
	} else {
		err = rd_kafka_producev(
			o->h->rk, RD_KAFKA_VTYPE_RKT, o->rkt,
			RD_KAFKA_VTYPE_PARTITION, it->partition,
			RD_KAFKA_VTYPE_MSGFLAGS, flags, RD_KAFKA_VTYPE_KEY, key,
			it->key.n, RD_KAFKA_VTYPE_VALUE, value, it->value.n,
			RD_KAFKA_VTYPE_OPAQUE, pin, RD_KAFKA_VTYPE_END);
	}
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
		return GX_AGAIN; /* e stays: this is no outage */
	}
	if (err) {
		return gx_kafka_err(o->h, err, true, "cannot write to",
				    rd_kafka_topic_name(o->rkt), e);
	}
	if (o->n_in_flight == 0) {
		o->moved_at_ms = gx_mono_ms();
	}
	o->n_in_flight++;
	return GX_OK;
}

static enum gx_rc
put_checked(struct gx_out *o, const struct item *it, struct gx_err *e)
{
	enum gx_rc rc;

	GX_ASSERT(o->magic == OUT_MAGIC);
	rc = check(o, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (it->partition < 0 || it->partition >= o->n_partitions) {
		return GX_ERR(e, GX_FATAL, "log.partitions",
			      "%s has no partition %d",
			      rd_kafka_topic_name(o->rkt), it->partition);
	}
	return put(o, it, e);
}

enum gx_rc
gx_kafka_append(struct gx_out *o, int32_t partition, struct gx_slice key,
		struct gx_slice value, int64_t from, struct gx_err *e)
{
	struct item it = {partition, key, value, from, NULL};

	return put_checked(o, &it, e);
}

enum gx_rc
gx_kafka_forward(struct gx_out *o, int32_t partition, struct gx_in *in,
		 struct gx_msg *m, int64_t from, struct gx_err *e)
{
	struct gx_kmsg *km = m->impl;
	struct item it = {partition, m->key, m->value, from, km};
	enum gx_rc rc = put_checked(o, &it, e);

	if (rc == GX_OK) {
		/* Reports come only when we poll: the order is safe. */
		gx_kafka_in_pin(in, km);
		gx_kmsg_push(&o->pinned, km);
		m->impl = NULL;
	}
	return rc;
}

enum gx_rc
gx_kafka_poll_out(struct gx_out *o, int timeout_ms, size_t *n_in_flight,
		  struct gx_err *e)
{
	GX_ASSERT(o->magic == OUT_MAGIC);
	rd_kafka_poll(o->h->rk, o->n_in_flight > 0 ? timeout_ms : 0);
	*n_in_flight = o->n_in_flight;
	return check(o, e);
}
