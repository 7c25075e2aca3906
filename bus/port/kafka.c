/*
 * Kafka as a log: the settings it is made of, and questions to the cluster.
 *
 * Questions go through a handle of their own that is made at the first one and
 * closed again when places have been found and reading begins (gx_kafka_open_in
 * does that): a flow in its stride keeps no connection and no thread for
 * asking.  Every answer is fetched from the cluster at that moment; nothing
 * here is cached, because the callers decide from it where a log ends and
 * whether something was lost.
 *
 * A cluster that does not answer is GX_AGAIN "kafka.away" with the address and
 * what the connection said last.  A topic is made only if the cluster says
 * that it is not there, and is waited for until the cluster shows it: what
 * follows would not find it otherwise.
 *
 * There is no state to lose.  If we die while a topic is made, the next start
 * finds it, or makes it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "port/kafka_int.h"

#include <time.h>

#define KAFKA_MAGIC 0x6b61666bu
#define CREATE_MS 20000
#define LOOK_MS 50

static enum gx_rc count_partitions(struct gx_log *l, const char *topic,
				   int32_t *n, struct gx_err *e);
static enum gx_rc find_range(struct gx_log *l, const char *topic,
			     int32_t partition, int64_t *low, int64_t *high,
			     struct gx_err *e);

static const struct gx_log_ops ops = {
	.n_partitions = count_partitions,
	.open_out = gx_kafka_open_out,
	.append = gx_kafka_append,
	.forward = gx_kafka_forward,
	.poll_out = gx_kafka_poll_out,
	.close_out = gx_kafka_close_out,
	.open_in = gx_kafka_open_in,
	.next = gx_kafka_next,
	.done = gx_kafka_done,
	.seek = gx_kafka_seek,
	.close_in = gx_kafka_close_in,
	.range = find_range,
};

struct gx_kafka *
gx_kafka_of(struct gx_log *l)
{
	struct gx_kafka *k = (struct gx_kafka *)l;

	GX_ASSERT(k->magic == KAFKA_MAGIC);
	return k;
}

enum gx_rc
gx_kafka_new(const struct gx_kafka_conf *c, struct gx_log **out,
	     struct gx_err *e)
{
	struct gx_kafka *k = gx_mem_new(sizeof *k);
	struct gx_log *l = &k->log;
	size_t n = 0;
	enum gx_rc rc;

	k->log.ops = &ops;
	k->magic = KAFKA_MAGIC;
	k->bootstrap = gx_mem_strdup(c->bootstrap);
	k->client_id = gx_mem_strdup(c->client_id ? c->client_id : "gxbus");
	while (c->props && c->props[n]) {
		n++;
	}
	k->props = gx_mem_new((n + 2) * sizeof *k->props);
	for (size_t i = 0; i < n; i++) {
		k->props[i] = gx_mem_strdup(c->props[i]);
	}
	if (k->bootstrap[0] == '\0' || n % 2 != 0) {
		rc = GX_ERR(e, GX_FATAL, "kafka.conf",
			    "no bootstrap address, or a property without "
			    "value");
	} else {
		rc = gx_kafka_check_conf(k, e);
	}
	if (rc != GX_OK) {
		gx_kafka_free(&l);
		return rc;
	}
	*out = l;
	return GX_OK;
}

void
gx_kafka_free(struct gx_log **l)
{
	struct gx_kafka *k;

	if (!l || !*l) {
		return;
	}
	k = gx_kafka_of(*l);
	*l = NULL;
	gx_kafka_close(&k->ask);
	for (size_t i = 0; k->props[i]; i++) {
		gx_mem_wipe(k->props[i], strlen(k->props[i]));
		gx_mem_free(k->props[i]);
	}
	gx_mem_free(k->props);
	gx_mem_free(k->bootstrap);
	gx_mem_free(k->client_id);
	k->magic = 0;
	gx_mem_free(k);
}

const char *
gx_kafka_version(void)
{
	return rd_kafka_version_str();
}

enum gx_rc
gx_kafka_ask(struct gx_log *l, struct gx_khandle **out, struct gx_err *e)
{
	struct gx_kafka *k = gx_kafka_of(l);
	enum gx_rc rc = GX_OK;

	if (!k->ask) {
		rc = gx_kafka_open(k, GX_K_ASK, k, &k->ask, e);
	}
	if (rc == GX_OK) {
		rd_kafka_poll(k->ask->rk, 0);
		*out = k->ask;
	}
	return rc;
}

/* A question failed: serve what the handle has to say about it first. */
static enum gx_rc
fail(struct gx_khandle *h, rd_kafka_resp_err_t err, const char *what,
     const char *where, struct gx_err *e)
{
	while (rd_kafka_poll(h->rk, 0) > 0) {
	}
	return gx_kafka_err(h, err, false, what, where, e);
}

enum gx_rc
gx_kafka_ping(struct gx_log *l, int timeout_ms, struct gx_err *e)
{
	const struct rd_kafka_metadata *md = NULL;
	struct gx_khandle *h;
	rd_kafka_resp_err_t err;
	enum gx_rc rc = gx_kafka_ask(l, &h, e);

	if (rc != GX_OK) {
		return rc;
	}
	err = rd_kafka_metadata(h->rk, 0, NULL, &md, timeout_ms);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		rd_kafka_metadata_destroy(md);
		h->last_err = RD_KAFKA_RESP_ERR_NO_ERROR;
		h->last_text[0] = '\0';
		return GX_OK;
	}
	while (rd_kafka_poll(h->rk, 0) > 0) {
	}
	if (h->last_err == RD_KAFKA_RESP_ERR__AUTHENTICATION) {
		err = h->last_err;
	}
	return gx_kafka_err(h, err, false, "no answer from", "the cluster", e);
}

enum gx_rc
gx_kafka_count(struct gx_khandle *h, const char *topic, int timeout_ms,
	       int32_t *n, struct gx_err *e)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(h->rk, topic, NULL);
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_resp_err_t err;

	if (!rkt) {
		return fail(h, rd_kafka_last_error(), "cannot use topic", topic,
			    e);
	}
	err = rd_kafka_metadata(h->rk, 0, rkt, &md, timeout_ms);
	rd_kafka_topic_destroy(rkt);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		err = md->topic_cnt == 1 ? md->topics[0].err
					 : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
		*n = err ? 0 : md->topics[0].partition_cnt;
		rd_kafka_metadata_destroy(md);
	}
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR && *n == 0) {
		err = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
	}
	return err ? fail(h, err, "asked for topic", topic, e) : GX_OK;
}

static enum gx_rc
count_partitions(struct gx_log *l, const char *topic, int32_t *n,
		 struct gx_err *e)
{
	struct gx_khandle *h;
	enum gx_rc rc = gx_kafka_ask(l, &h, e);

	return rc == GX_OK ? gx_kafka_count(h, topic, GX_KAFKA_ASK_MS, n, e)
			   : rc;
}

static enum gx_rc
find_range(struct gx_log *l, const char *topic, int32_t partition, int64_t *low,
	   int64_t *high, struct gx_err *e)
{
	struct gx_khandle *h;
	rd_kafka_resp_err_t err;
	char where[300];
	enum gx_rc rc = gx_kafka_ask(l, &h, e);

	if (rc != GX_OK) {
		return rc;
	}
	err = rd_kafka_query_watermark_offsets(h->rk, topic, partition, low,
					       high, GX_KAFKA_ASK_MS);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		return GX_OK;
	}
	snprintf(where, sizeof where, "%s/%d", topic, partition);
	return fail(h, err, "asked for the ends of", where, e);
}

/* ---- making topics ---- */

static rd_kafka_resp_err_t
created(rd_kafka_event_t *ev)
{
	const rd_kafka_CreateTopics_result_t *res =
		rd_kafka_event_CreateTopics_result(ev);
	const rd_kafka_topic_result_t **list;
	rd_kafka_resp_err_t err = rd_kafka_event_error(ev);
	size_t n = 0;

	if (err || !res) {
		return err ? err : RD_KAFKA_RESP_ERR__BAD_MSG;
	}
	list = rd_kafka_CreateTopics_result_topics(res, &n);
	return n == 1 ? rd_kafka_topic_result_error(list[0])
		      : RD_KAFKA_RESP_ERR__BAD_MSG;
}

static rd_kafka_resp_err_t
send_create(struct gx_khandle *h, rd_kafka_NewTopic_t *topic)
{
	rd_kafka_AdminOptions_t *opt = rd_kafka_AdminOptions_new(
		h->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_queue_t *q = rd_kafka_queue_new(h->rk);
	rd_kafka_event_t *ev;
	rd_kafka_resp_err_t err;
	char text[100];

	(void)rd_kafka_AdminOptions_set_request_timeout(opt, CREATE_MS / 2,
							text, sizeof text);
	(void)rd_kafka_AdminOptions_set_operation_timeout(opt, CREATE_MS / 2,
							  text, sizeof text);
	rd_kafka_CreateTopics(h->rk, &topic, 1, opt, q);
	ev = rd_kafka_queue_poll(q, CREATE_MS);
	err = ev ? created(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (ev) {
		rd_kafka_event_destroy(ev);
	}
	rd_kafka_queue_destroy(q);
	rd_kafka_AdminOptions_destroy(opt);
	return err;
}

static enum gx_rc
create(struct gx_khandle *h, const char *topic, int32_t n_partitions,
       int replication, const char *const *props, struct gx_err *e)
{
	char text[200] = "";
	rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(
		topic, n_partitions, replication, text, sizeof text);
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

	if (!t) {
		return GX_ERR(e, GX_FATAL, "kafka.refused",
			      "topic %s cannot be made: %s", topic, text);
	}
	for (size_t i = 0; !err && props && props[i] && props[i + 1]; i += 2) {
		err = rd_kafka_NewTopic_set_config(t, props[i], props[i + 1]);
	}
	if (!err) {
		err = send_create(h, t);
	}
	rd_kafka_NewTopic_destroy(t);
	if (err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
		return GX_OK; /* somebody was faster; it is looked at below */
	}
	if (err) {
		return fail(h, err, "cannot make topic", topic, e);
	}
	gx_log(GX_LOG_NOTICE, "kafka.topic_made",
	       "topic=%s partitions=%d replication=%d", topic, n_partitions,
	       replication);
	return GX_OK;
}

/* Wait until the cluster shows it; what follows would not find it. */
static enum gx_rc
wait_visible(struct gx_khandle *h, const char *topic, int32_t *n,
	     struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + CREATE_MS;
	static const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
	enum gx_rc rc;

	for (;;) {
		rc = gx_kafka_count(h, topic, GX_KAFKA_ASK_MS, n, e);
		if (rc == GX_OK || gx_mono_ms() >= until_ms ||
		    (rc == GX_FATAL &&
		     (!e || strcmp(e->code, "log.no_topic") != 0))) {
			break;
		}
		nanosleep(&pause, NULL);
	}
	return rc;
}

enum gx_rc
gx_kafka_create_topic(struct gx_log *l, const char *topic, int32_t n_partitions,
		      int replication, const char *const *props,
		      struct gx_err *e)
{
	struct gx_err mine = {0};
	struct gx_khandle *h;
	int32_t n = 0;
	enum gx_rc rc;

	e = e ? e : &mine;
	rc = gx_kafka_ask(l, &h, e);
	if (rc != GX_OK) {
		return rc;
	}
	rc = gx_kafka_count(h, topic, GX_KAFKA_ASK_MS, &n, e);
	if (rc == GX_FATAL && strcmp(e->code, "log.no_topic") == 0) {
		rc = create(h, topic, n_partitions, replication, props, e);
		if (rc == GX_OK) {
			rc = wait_visible(h, topic, &n, e);
		}
	}
	if (rc == GX_OK && n != n_partitions) {
		return GX_ERR(e, GX_FATAL, "log.partitions",
			      "%s has %d partitions at %s, %d are wanted: the "
			      "number is fixed when a node joins",
			      topic, n, h->bootstrap, n_partitions);
	}
	return rc == GX_OK ? gx_kafka_check_topic(h, topic, props, e) : rc;
}
