/*
 * Kafka, reading: one handle, any number of partitions, one message at a time.
 *
 * Each place is started at an explicit offset and leads into one queue, from
 * which messages are taken singly; batch calls of 2.0.2 lose messages around a
 * seek.  There is no group: the simple consumer keeps no offset, asks no
 * coordinator and needs no right but to read.  A seek stops one partition and
 * starts it again at the new offset (the library's own seek of several has a
 * time-out a thousand times too short); what was fetched before is dropped by
 * the library, because its version is old, and the others do not notice.
 *
 * A message is lent until done() or forward().  We keep a list of those that
 * are out, and give all of them back when the handle closes, because one
 * message that is not destroyed keeps rd_kafka_destroy waiting for ever.  A
 * forwarded one is pinned by the producer that sends it; then closing waits,
 * without blocking anybody, for the last of those to come home.
 *
 * Never silence: an offset that is not in the log, a topic that is gone, a
 * checksum that is wrong, a handle that has had no answer for half a minute
 * are errors.  A topic that was deleted and made again with at least as many
 * messages as we had read looks the same to this protocol; the chain of
 * batches finds that.
 */
#include "base/clock.h"
#include "base/text.h"
#include "port/kafka_int.h"

#define IN_MAGIC 0x6b696e00u

struct at {
	rd_kafka_topic_t *rkt; /* shared by the places of a topic */
	int32_t partition;
	bool is_started;
	int64_t next; /* offset after the last one delivered */
};

struct gx_in {
	unsigned magic;
	struct gx_khandle *h;
	rd_kafka_queue_t *queue;
	struct at *places;
	size_t n_places;
	size_t last; /* where the last message was found */
	struct gx_kmsg *lent;
	size_t n_pinned;
	bool is_closing; /* only pinned messages are left */
	int64_t moved_at_ms;
	size_t n_burst;	    /* bytes delivered since the queue was empty */
	size_t n_burst_max; /* so many say that the library stopped fetching */
};

void
gx_kmsg_push(struct gx_kmsg **list, struct gx_kmsg *km)
{
	km->prev = NULL;
	km->next = *list;
	if (*list) {
		(*list)->prev = km;
	}
	*list = km;
}

void
gx_kmsg_drop(struct gx_kmsg **list, struct gx_kmsg *km)
{
	if (km->prev) {
		km->prev->next = km->next;
	} else {
		GX_ASSERT(*list == km);
		*list = km->next;
	}
	if (km->next) {
		km->next->prev = km->prev;
	}
	km->prev = NULL;
	km->next = NULL;
}

/* ---- life ---- */

static rd_kafka_topic_t *
find_topic(struct gx_in *in, size_t n, const char *topic)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(rd_kafka_topic_name(in->places[i].rkt), topic) ==
		    0) {
			return in->places[i].rkt;
		}
	}
	return rd_kafka_topic_new(in->h->rk, topic, NULL);
}

static enum gx_rc
start(struct gx_in *in, size_t i, int64_t offset, struct gx_err *e)
{
	struct at *at = &in->places[i];
	char where[300];

	snprintf(where, sizeof where, "%s/%d", rd_kafka_topic_name(at->rkt),
		 at->partition);
	if (offset < 0) { /* these have meanings of their own in the library */
		return gx_kafka_err(in->h,
				    RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, true,
				    "cannot read", where, e);
	}
	if (rd_kafka_consume_start_queue(at->rkt, at->partition, offset,
					 in->queue) == 0) {
		at->is_started = true;
		at->next = offset;
		return GX_OK;
	}
	return gx_kafka_err(in->h, rd_kafka_last_error(), true, "cannot read",
			    where, e);
}

static void
free_topics(struct gx_in *in)
{
	for (size_t i = 0; i < in->n_places; i++) {
		rd_kafka_topic_t *rkt = in->places[i].rkt;

		for (size_t k = i; k < in->n_places; k++) {
			if (in->places[k].rkt == rkt) {
				in->places[k].rkt = NULL;
			}
		}
		if (rkt) {
			rd_kafka_topic_destroy(rkt);
		}
	}
}

static void
finish(struct gx_in *in)
{
	gx_kafka_close(&in->h);
	gx_mem_free(in->places);
	in->magic = 0;
	gx_mem_free(in);
}

void
gx_kafka_close_in(struct gx_in **inp)
{
	struct gx_in *in = *inp;

	if (!in) {
		return;
	}
	GX_ASSERT(in->magic == IN_MAGIC && !in->is_closing);
	*inp = NULL;
	while (in->lent) {
		struct gx_kmsg *km = in->lent;

		gx_kmsg_drop(&in->lent, km);
		rd_kafka_message_destroy(km->rkm);
		gx_mem_free(km);
	}
	for (size_t i = 0; i < in->n_places; i++) {
		if (in->places[i].is_started) {
			rd_kafka_consume_stop(in->places[i].rkt,
					      in->places[i].partition);
		}
	}
	if (in->queue) {
		rd_kafka_queue_destroy(in->queue);
	}
	free_topics(in);
	in->is_closing = true;
	if (in->n_pinned == 0) {
		finish(in);
	}
}

static size_t
queue_bytes(rd_kafka_t *rk)
{
	char text[32];
	size_t n = sizeof text;
	uint64_t kbytes = 0;

	if (rd_kafka_conf_get(rd_kafka_conf(rk), "queued.max.messages.kbytes",
			      text, &n) != RD_KAFKA_CONF_OK ||
	    !gx_parse_u64(text, strlen(text), UINT32_MAX, &kbytes)) {
		return SIZE_MAX;
	}
	return (size_t)kbytes * 1024;
}

enum gx_rc
gx_kafka_open_in(struct gx_log *l, const struct gx_place *places, size_t n,
		 struct gx_in **out, struct gx_err *e)
{
	struct gx_kafka *k = gx_kafka_of(l);
	struct gx_in *in = gx_mem_new(sizeof *in);
	enum gx_rc rc;

	in->magic = IN_MAGIC;
	in->places = gx_mem_new((n + 1) * sizeof *in->places);
	in->moved_at_ms = gx_mono_ms();
	rc = gx_kafka_open(k, GX_K_IN, in, &in->h, e);
	if (rc != GX_OK) {
		gx_mem_free(in->places);
		gx_mem_free(in);
		return rc;
	}
	in->queue = rd_kafka_queue_new(in->h->rk);
	in->n_burst_max = queue_bytes(in->h->rk) / 4 * 3;
	for (size_t i = 0; i < n && rc == GX_OK; i++) {
		in->places[i].rkt = find_topic(in, i, places[i].topic);
		in->places[i].partition = places[i].partition;
		if (!in->places[i].rkt) {
			rc = gx_kafka_err(in->h, rd_kafka_last_error(), true,
					  "cannot read", places[i].topic, e);
			break;
		}
		in->n_places = i + 1;
		rc = start(in, i, places[i].offset, e);
	}
	if (rc != GX_OK) {
		gx_kafka_close_in(&in);
		return rc;
	}
	gx_kafka_close(&k->ask); /* places are found: no more questions */
	*out = in;
	return GX_OK;
}

/* ---- reading ---- */

static size_t
find_place(struct gx_in *in, const rd_kafka_message_t *rkm)
{
	for (size_t i = 0; i < in->n_places; i++) {
		size_t at = (in->last + i) % in->n_places;

		if (in->places[at].rkt == rkm->rkt &&
		    in->places[at].partition == rkm->partition) {
			in->last = at;
			return at;
		}
	}
	return in->n_places;
}

static int64_t
read_from(const rd_kafka_message_t *rkm)
{
	rd_kafka_headers_t *hdrs;
	const void *p;
	uint64_t from;
	size_t n;

	if (rd_kafka_message_headers(rkm, &hdrs) ||
	    rd_kafka_header_get_last(hdrs, GX_KAFKA_FROM, &p, &n) || !p ||
	    !gx_parse_u64(p, n, INT64_MAX, &from)) {
		return -1;
	}
	return (int64_t)from;
}

/* An error event of one partition, or of the handle. */
static enum gx_rc
refuse(struct gx_in *in, const rd_kafka_message_t *rkm, struct gx_msg *m,
       struct gx_err *e)
{
	const struct gx_kafka_row *row = gx_kafka_err_row(rkm->err);
	char where[300] = "its topics";
	size_t place = rkm->rkt ? find_place(in, rkm) : in->n_places;

	if (place < in->n_places) {
		m->place = place;
		m->offset = rkm->offset;
		snprintf(where, sizeof where, "%s/%d",
			 rd_kafka_topic_name(rkm->rkt), rkm->partition);
	}
	if (row->rc == GX_AGAIN && place == in->n_places) {
		return GX_AGAIN; /* it connects again by itself */
	}
	return gx_kafka_bad(in->h, rkm->err, "cannot read", where, e);
}

/* Nothing came.  Is there anybody at the other end? */
static enum gx_rc
look_alive(struct gx_in *in, struct gx_err *e)
{
	int64_t at_ms = atomic_load(&in->h->answered_at_ms);

	if (in->h->bad) {
		return gx_kafka_bad(in->h, in->h->bad, "cannot read",
				    in->h->last_text, e);
	}
	at_ms = at_ms > in->moved_at_ms ? at_ms : in->moved_at_ms;
	if (in->n_places > 0 && gx_mono_ms() - at_ms > GX_KAFKA_STALL_MS) {
		(void)GX_ERR(e, GX_ABORT, "kafka.stalled",
			     "no answer to a read from %s for %d s: a new "
			     "connection is tried",
			     in->h->bootstrap, GX_KAFKA_STALL_MS / 1000);
		if (in->h->last_text[0]) {
			gx_err_note(e, "%s", in->h->last_text);
		}
		return GX_ABORT;
	}
	return GX_AGAIN;
}

enum gx_rc
gx_kafka_seek(struct gx_in *in, size_t place, int64_t offset, struct gx_err *e)
{
	struct at *at;

	GX_ASSERT(in->magic == IN_MAGIC && place < in->n_places);
	at = &in->places[place];
	if (at->is_started &&
	    rd_kafka_consume_stop(at->rkt, at->partition) != 0) {
		return gx_kafka_err(in->h, rd_kafka_last_error(), true,
				    "cannot stop reading",
				    rd_kafka_topic_name(at->rkt), e);
	}
	at->is_started = false;
	return start(in, place, offset, e);
}

/* 2.0.2 sleeps a whole second once its queue was full, however fast we empty
 * it (2.2.0 has fetch.queue.backoff.ms for that): starting a partition anew
 * where it stands wakes it.  Only after a burst as large as the queue, because
 * an answer that is on its way is thrown away by this. */
static enum gx_rc
wake_fetcher(struct gx_in *in, struct gx_err *e)
{
	bool was_full = in->n_burst >= in->n_burst_max;

	in->n_burst = 0;
	if (!was_full) {
		return GX_OK;
	}
	return gx_kafka_seek(in, in->last, in->places[in->last].next, e);
}

enum gx_rc
gx_kafka_next(struct gx_in *in, int timeout_ms, struct gx_msg *m,
	      struct gx_err *e)
{
	rd_kafka_message_t *rkm;
	struct gx_kmsg *km;
	enum gx_rc rc;

	GX_ASSERT(in->magic == IN_MAGIC);
	memset(m, 0, sizeof *m);
	rd_kafka_poll(in->h->rk, 0); /* its errors and log lines */
	rkm = rd_kafka_consume_queue(in->queue, 0);
	if (!rkm) {
		rc = wake_fetcher(in, e);
		if (rc != GX_OK) {
			return rc;
		}
		rkm = rd_kafka_consume_queue(in->queue, timeout_ms);
	}
	if (!rkm) {
		return look_alive(in, e);
	}
	if (rkm->err) {
		rc = refuse(in, rkm, m, e);
		rd_kafka_message_destroy(rkm);
		return rc;
	}
	in->moved_at_ms = gx_mono_ms();
	km = gx_mem_new(sizeof *km);
	km->rkm = rkm;
	km->in = in;
	gx_kmsg_push(&in->lent, km);
	m->place = find_place(in, rkm);
	GX_ASSERT(m->place < in->n_places);
	in->places[m->place].next = rkm->offset + 1;
	in->n_burst += rkm->len;
	m->offset = rkm->offset;
	m->from = read_from(rkm);
	m->key = gx_slice(rkm->key, rkm->key_len);
	m->value = gx_slice(rkm->payload, rkm->len);
	m->impl = km;
	return GX_OK;
}

void
gx_kafka_done(struct gx_in *in, struct gx_msg *m)
{
	struct gx_kmsg *km = m->impl;

	GX_ASSERT(in->magic == IN_MAGIC && km && km->in == in);
	gx_kmsg_drop(&in->lent, km);
	rd_kafka_message_destroy(km->rkm);
	gx_mem_free(km);
	m->impl = NULL;
}

void
gx_kafka_in_pin(struct gx_in *in, struct gx_kmsg *km)
{
	GX_ASSERT(in->magic == IN_MAGIC && km->in == in);
	gx_kmsg_drop(&in->lent, km);
	in->n_pinned++;
}

void
gx_kafka_in_unpin(struct gx_kmsg *km)
{
	struct gx_in *in = km->in;

	GX_ASSERT(in->magic == IN_MAGIC && in->n_pinned > 0);
	rd_kafka_message_destroy(km->rkm);
	gx_mem_free(km);
	in->n_pinned--;
	if (in->is_closing && in->n_pinned == 0) {
		finish(in);
	}
}
