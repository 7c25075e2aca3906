/*
 * Kafka, the handles: settings, callbacks, making and closing.
 *
 * Every rd_kafka_t is made here, from one table of settings (docs/kafka.md
 * says why each has its value).  The properties of the configuration come on
 * top, but what the promises of a log rest on is locked: a configuration that
 * would commit offsets, skip on an unknown place or reorder on a retry is
 * refused by name.  A value is never repeated in an error: it may be a
 * password.
 *
 * Three uses.  A handle that asks questions (metadata, ends of partitions, new
 * topics) lives only while places are looked for; one reads; one writes.  None
 * joins a group: without group.id there is no coordinator, no offset kept
 * elsewhere and no right on groups that the cluster must grant.
 *
 * librdkafka's threads run two callbacks of ours, both interceptors, which set
 * an atomic and nothing else: the time of the last good answer, which is what
 * a watchdog can trust (polling a dead handle looks like life), and whether a
 * produce request ended without an answer.  Everything else, its log lines
 * too, waits in the handle's queue until our own thread polls.
 *
 * Its log lines become ours at level warn at most, one per facility in ten
 * seconds with the number of those held back: what matters comes as an error
 * of the call that needed it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "port/kafka_int.h"

#define NOISE_MS 10000

struct setting {
	const char *name, *value;
	bool is_locked;
};

static const struct setting for_all[] = {
	{"client.id", NULL, true},	   /* from gx_kafka_conf */
	{"bootstrap.servers", NULL, true}, /* from gx_kafka_conf */
	{"message.max.bytes", "4194304", false},
	{"receive.message.max.bytes", "16777216", false},
	{"socket.keepalive.enable", "true", false},
	{"socket.nagle.disable", "true", false},
	{"socket.timeout.ms", "20000", false},
	{"socket.connection.setup.timeout.ms", "10000", false},
	{"reconnect.backoff.ms", "100", false},
	{"reconnect.backoff.max.ms", "2000", false},
	{"topic.metadata.refresh.interval.ms", "30000", false},
	{"topic.metadata.propagation.max.ms", "10000", false},
	{"log.queue", "true", true},
	{"log.connection.close", "true", false},
	{"group.id", NULL, true},
	{"group.instance.id", NULL, true},
	{"transactional.id", NULL, true},
	{"enable.auto.commit", "false", true},
	{"auto.commit.enable", NULL, true}, /* the same, per topic */
	{"enable.auto.offset.store", "false", true},
	{"auto.offset.reset", "error", true},
	{"isolation.level", "read_uncommitted", true},
	{"check.crcs", "true", true},
	{"allow.auto.create.topics", "false", true},
	{"enable.partition.eof", "false", true},
	{"plugin.library.paths", NULL, true},
	{"partition.assignment.strategy", NULL, true},
	{NULL, NULL, false},
};

static const struct setting for_in[] = {
	{"fetch.message.max.bytes", "4194304", false},
	{"max.partition.fetch.bytes", NULL, false},
	{"fetch.max.bytes", "8388608", false},
	{"queued.max.messages.kbytes", "8192", false},
	{"queued.min.messages", "10000", false},
	{"fetch.wait.max.ms", "500", false},
	{"fetch.min.bytes", "1", true}, /* a batch goes at once */
	{"fetch.error.backoff.ms", "100", false},
	{NULL, NULL, false},
};

static const struct setting for_out[] = {
	{"enable.idempotence", "true", true},
	{"acks", "-1", true},
	{"request.required.acks", NULL, true},
	{"max.in.flight", "5", true},
	{"max.in.flight.requests.per.connection", NULL, true},
	{"message.timeout.ms", "0", true},
	{"delivery.timeout.ms", NULL, true},
	{"batch.num.messages", "1", true},
	{"queue.buffering.max.kbytes", "16384", false},
	{"queue.buffering.max.messages", "10000", false},
	{"linger.ms", "0", false},
	{"retries", NULL, true},
	{"message.send.max.retries", NULL, true},
	{"queuing.strategy", NULL, true},
	{"partitioner", NULL, true},
	{"compression.codec", "none", false},
	{NULL, NULL, false},
};

static bool
is_locked(const char *name)
{
	static const struct setting *const all[] = {for_all, for_in, for_out};

	for (size_t t = 0; t < 3; t++) {
		for (const struct setting *s = all[t]; s->name; s++) {
			if (s->is_locked && strcmp(s->name, name) == 0) {
				return true;
			}
		}
	}
	return false;
}

static enum gx_rc
set(rd_kafka_conf_t *conf, const char *name, const char *value,
    struct gx_err *e)
{
	char text[256];
	rd_kafka_conf_res_t r =
		rd_kafka_conf_set(conf, name, value, text, sizeof text);

	if (r == RD_KAFKA_CONF_UNKNOWN) {
		return GX_ERR(e, GX_FATAL, "kafka.conf",
			      "kafka.%.60s is no property of librdkafka %s",
			      name, rd_kafka_version_str());
	}
	if (r != RD_KAFKA_CONF_OK) {
		return GX_ERR(e, GX_FATAL, "kafka.conf",
			      "kafka.%.60s does not take the value given to it",
			      name);
	}
	return GX_OK;
}

static enum gx_rc
set_table(rd_kafka_conf_t *conf, const struct setting *table, struct gx_err *e)
{
	for (const struct setting *s = table; s->name; s++) {
		enum gx_rc rc =
			s->value ? set(conf, s->name, s->value, e) : GX_OK;

		if (rc != GX_OK) {
			return rc;
		}
	}
	return GX_OK;
}

static enum gx_rc
make_conf(const struct gx_kafka *k, enum gx_kuse use, rd_kafka_conf_t **out,
	  struct gx_err *e)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	enum gx_rc rc = set(conf, "client.id", k->client_id, e);

	if (rc == GX_OK) {
		rc = set_table(conf, for_all, e);
	}
	if (rc == GX_OK) {
		rc = set_table(conf, use == GX_K_OUT ? for_out : for_in, e);
	}
	for (size_t i = 0; rc == GX_OK && k->props[i]; i += 2) {
		if (is_locked(k->props[i])) {
			rc = GX_ERR(e, GX_FATAL, "kafka.conf",
				    "kafka.%.60s is fixed: the promises of "
				    "this program rest on its value",
				    k->props[i]);
		} else {
			rc = set(conf, k->props[i], k->props[i + 1], e);
		}
	}
	if (rc != GX_OK) {
		rd_kafka_conf_destroy(conf);
		return rc;
	}
	*out = conf;
	return GX_OK;
}

/* ---- callbacks ---- */

/* Thread: librdkafka's. */
static rd_kafka_resp_err_t
see_answer(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t key,
	   int16_t version, int32_t corr, size_t n, int64_t rtt,
	   rd_kafka_resp_err_t err, void *ctx)
{
	enum { PRODUCE, FETCH };
	struct gx_khandle *h = ctx;

	(void)rk;
	(void)fd;
	(void)broker;
	(void)id;
	(void)version;
	(void)corr;
	(void)n;
	(void)rtt;
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR &&
	    key == (h->use == GX_K_OUT ? PRODUCE : FETCH)) {
		atomic_store(&h->answered_at_ms, gx_mono_ms());
	} else if (err != RD_KAFKA_RESP_ERR_NO_ERROR && key == PRODUCE) {
		atomic_store(&h->is_broken, true);
	}
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
add_interceptors(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *ctx,
		 char *text, size_t text_n)
{
	(void)conf;
	(void)text;
	(void)text_n;
	return rd_kafka_interceptor_add_on_response_received(rk, "gx",
							     see_answer, ctx);
}

static void
take_error(rd_kafka_t *rk, int err, const char *reason, void *ctx)
{
	struct gx_khandle *h = ctx;

	(void)rk;
	/* 2.0.2 reports a topic or partition that is gone here, not to the
	 * queue of its reader. */
	if (!h->bad &&
	    gx_kafka_err_row((rd_kafka_resp_err_t)err)->rc != GX_AGAIN) {
		h->bad = (rd_kafka_resp_err_t)err;
	}
	if (h->last_err == RD_KAFKA_RESP_ERR__AUTHENTICATION &&
	    err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		return; /* the reason says more than its consequence */
	}
	h->last_err = (rd_kafka_resp_err_t)err;
	if (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || !h->last_text[0]) {
		snprintf(h->last_text, sizeof h->last_text, "%s", reason);
	}
}

/* How often a facility speaks: once in NOISE_MS, with a count. */
static bool
is_due(struct gx_khandle *h, const char *fac, unsigned *n_held)
{
	int64_t now_ms = gx_mono_ms();
	struct gx_knoise *oldest = &h->noise[0];

	for (size_t i = 0; i < sizeof h->noise / sizeof *h->noise; i++) {
		struct gx_knoise *o = &h->noise[i];

		if (strncmp(o->fac, fac, sizeof o->fac - 1) == 0) {
			if (now_ms - o->printed_at_ms < NOISE_MS) {
				o->n_held++;
				return false;
			}
			oldest = o;
			break;
		}
		if (o->printed_at_ms < oldest->printed_at_ms) {
			oldest = o;
		}
	}
	*n_held = oldest->n_held;
	oldest->n_held = 0;
	oldest->printed_at_ms = now_ms;
	snprintf(oldest->fac, sizeof oldest->fac, "%s", fac);
	return true;
}

static void
take_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
	struct gx_khandle *h = rd_kafka_opaque(rk);
	static const char *const use[] = {"ask", "read", "write"};
	enum gx_level our = level <= 4	 ? GX_LOG_WARN
			    : level == 5 ? GX_LOG_NOTICE
			    : level == 6 ? GX_LOG_INFO
					 : GX_LOG_DEBUG;
	unsigned n_held = 0;
	char clean[300];

	if (strcmp(fac, "CONFWARN") == 0) {
		return; /* one table serves readers and writers */
	}
	if (our < GX_LOG_DEBUG && !is_due(h, fac, &n_held)) {
		our = GX_LOG_DEBUG;
	}
	snprintf(clean, sizeof clean, "%s", text);
	for (char *p = clean; *p; p++) {
		*p = *p == '"' || *p == '\\' ? '\'' : *p;
	}
	gx_log(our, "kafka.client",
	       "use=%s facility=%s bootstrap=%s held=%u text=\"%s\"",
	       use[h->use], fac, h->bootstrap, n_held, clean);
}

/* ---- life ---- */

enum gx_rc
gx_kafka_check_conf(const struct gx_kafka *k, struct gx_err *e)
{
	static const enum gx_kuse uses[] = {GX_K_ASK, GX_K_OUT};

	for (size_t i = 0; i < 2; i++) {
		rd_kafka_conf_t *conf = NULL;
		char text[300];
		enum gx_rc rc = make_conf(k, uses[i], &conf, e);
		rd_kafka_t *rk;

		if (rc != GX_OK) {
			return rc;
		}
		/* Without bootstrap.servers it has nowhere to connect to; it
		 * reads the files of keys and looks for contradictions. */
		rd_kafka_conf_set_log_cb(conf, NULL);
		rk = rd_kafka_new(uses[i] == GX_K_OUT ? RD_KAFKA_PRODUCER
						      : RD_KAFKA_CONSUMER,
				  conf, text, sizeof text);
		if (!rk) {
			rd_kafka_conf_destroy(conf);
			return GX_ERR(e, GX_FATAL, "kafka.conf",
				      "librdkafka %s refuses the settings: %s",
				      rd_kafka_version_str(), text);
		}
		rd_kafka_destroy(rk);
	}
	return GX_OK;
}

enum gx_rc
gx_kafka_open(const struct gx_kafka *k, enum gx_kuse use, void *owner,
	      struct gx_khandle **out, struct gx_err *e)
{
	struct gx_khandle *h = gx_mem_new(sizeof *h);
	rd_kafka_conf_t *conf = NULL;
	char text[300];
	enum gx_rc rc = make_conf(k, use, &conf, e);

	if (rc == GX_OK) {
		rc = set(conf, "bootstrap.servers", k->bootstrap, e);
	}
	if (rc != GX_OK) {
		goto out;
	}
	h->use = use;
	h->owner = owner;
	h->bootstrap = k->bootstrap;
	atomic_store(&h->answered_at_ms, gx_mono_ms());
	rd_kafka_conf_set_opaque(conf, h);
	rd_kafka_conf_set_error_cb(conf, take_error);
	rd_kafka_conf_set_log_cb(conf, take_log);
	if (use == GX_K_OUT) {
		gx_kafka_out_callbacks(conf);
	}
	(void)rd_kafka_conf_interceptor_add_on_new(conf, "gx", add_interceptors,
						   h);
	h->rk = rd_kafka_new(use == GX_K_OUT ? RD_KAFKA_PRODUCER
					     : RD_KAFKA_CONSUMER,
			     conf, text, sizeof text);
	if (!h->rk) {
		/* conf is left to leak: 2.0.2 has freed the interceptors in it
		 * already and would free them again (fixed in 2.13.0, #4142).
		 * The settings were tried before, so this is rare. */
		rc = GX_ERR(e, GX_FATAL, "kafka.conf",
			    "librdkafka %s cannot begin: %s",
			    rd_kafka_version_str(), text);
		conf = NULL;
		goto out;
	}
	rd_kafka_set_log_queue(h->rk, NULL);
	*out = h;
	return GX_OK;
out:
	if (conf) {
		rd_kafka_conf_destroy(conf);
	}
	gx_mem_free(h);
	return rc;
}

void
gx_kafka_close(struct gx_khandle **hp)
{
	struct gx_khandle *h = *hp;

	if (!h) {
		return;
	}
	*hp = NULL;
	rd_kafka_poll(h->rk, 0);
	rd_kafka_destroy(h->rk);
	gx_mem_free(h);
}
