/*
 * The peers the link is measured against: bare librdkafka, nothing of ours.
 *
 *   bare_relay batch FROM TO TOPIC N     N messages as they are, consumed and
 *                                        produced again without copying
 *   bare_relay record FROM TO TOPIC N    the lines of N messages as records of
 *                                        their own, transactions of 5,000,
 *                                        as a record-by-record bridge does it
 *
 * Prints "records cpu_us wall_us".  TOPIC must be there at both ends with 4
 * partitions; record writes to TOPIC.records.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define PARTITIONS 4
#define TXN_RECORDS 5000

struct relay {
	rd_kafka_t *in, *out;
	rd_kafka_topic_t *topic;
	long n_records, in_txn;
};

static long long
now_us(int cpu)
{
	struct rusage ru;
	struct timespec ts;

	if (cpu) {
		getrusage(RUSAGE_SELF, &ru);
		return (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000LL +
		       ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

static void
give_up(const char *what)
{
	fprintf(stderr, "bare_relay: %s\n", what);
	exit(1);
}

static void
set(rd_kafka_conf_t *c, const char *name, const char *value)
{
	char text[200];

	if (rd_kafka_conf_set(c, name, value, text, sizeof text) !=
	    RD_KAFKA_CONF_OK) {
		give_up(text);
	}
}

/* The consumed message is the opaque of its copy. */
static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	(void)rk;
	(void)opaque;
	if (m->err) {
		give_up(rd_kafka_err2str(m->err));
	}
	if (m->_private) {
		rd_kafka_message_destroy(m->_private);
	}
}

static void
open_in(struct relay *r, const char *from, const char *topic)
{
	rd_kafka_conf_t *c = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(PARTITIONS);
	char text[200];

	set(c, "bootstrap.servers", from);
	set(c, "group.id", "bench");
	set(c, "enable.auto.commit", "false");
	set(c, "enable.auto.offset.store", "false");
	set(c, "auto.offset.reset", "error");
	set(c, "check.crcs", "true");
	set(c, "fetch.message.max.bytes", "4194304");
	set(c, "queued.max.messages.kbytes", "8192");
	r->in = rd_kafka_new(RD_KAFKA_CONSUMER, c, text, sizeof text);
	if (!r->in) {
		give_up(text);
	}
	for (int p = 0; p < PARTITIONS; p++) {
		rd_kafka_topic_partition_list_add(list, topic, p)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	}
	rd_kafka_poll_set_consumer(r->in);
	rd_kafka_assign(r->in, list);
	rd_kafka_topic_partition_list_destroy(list);
}

static void
check_error(rd_kafka_error_t *e)
{
	if (e) {
		give_up(rd_kafka_error_string(e));
	}
}

static void
open_out(struct relay *r, const char *to, const char *topic, int has_txn)
{
	rd_kafka_conf_t *c = rd_kafka_conf_new();
	const struct rd_kafka_metadata *md = NULL;
	char text[200];

	set(c, "bootstrap.servers", to);
	set(c, "enable.idempotence", "true");
	set(c, "message.max.bytes", "4194304");
	set(c, "linger.ms", has_txn ? "5" : "0");
	if (has_txn) {
		set(c, "transactional.id", "bench");
	}
	rd_kafka_conf_set_dr_msg_cb(c, delivered);
	r->out = rd_kafka_new(RD_KAFKA_PRODUCER, c, text, sizeof text);
	if (!r->out) {
		give_up(text);
	}
	if (has_txn) {
		check_error(rd_kafka_init_transactions(r->out, 30000));
	}
	r->topic = rd_kafka_topic_new(r->out, topic, NULL);
	if (!r->topic || rd_kafka_metadata(r->out, 0, r->topic, &md, 10000)) {
		give_up("no metadata of the receiving topic");
	}
	rd_kafka_metadata_destroy(md);
	if (has_txn) {
		check_error(rd_kafka_begin_transaction(r->out));
	}
}

static void
produce(struct relay *r, int p, const void *value, size_t n, const void *key,
	size_t key_n, void *opaque, int flags)
{
	void *v;

	memcpy(&v, &value, sizeof v); /* librdkafka only reads it */
	while (rd_kafka_produce(r->topic, p, flags, v, n, key, key_n, opaque) !=
	       0) {
		if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			give_up("produce failed");
		}
		rd_kafka_poll(r->out, 10);
	}
}

static void
commit(struct relay *r)
{
	check_error(rd_kafka_commit_transaction(r->out, -1));
	check_error(rd_kafka_begin_transaction(r->out));
	r->in_txn = 0;
}

static void
relay_records(struct relay *r, rd_kafka_message_t *m)
{
	const char *p = m->payload;
	const char *end = p + m->len;
	const char *lf = memchr(p, '\n', m->len); /* after the header */

	for (p = lf ? lf + 1 : end; p < end; p = lf + 1) {
		lf = memchr(p, '\n', (size_t)(end - p));
		if (!lf) {
			break;
		}
		produce(r, m->partition, p, (size_t)(lf - p), p, 30, NULL,
			RD_KAFKA_MSG_F_COPY);
		r->n_records++;
		if (++r->in_txn == TXN_RECORDS) {
			commit(r);
		}
	}
	rd_kafka_poll(r->out, 0);
}

/* Count lines, as any relay that reports records has to. */
static void
relay_batch(struct relay *r, rd_kafka_message_t *m)
{
	const char *p = m->payload;
	const char *end = p + m->len;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		r->n_records++;
		p++;
	}
	r->n_records--; /* the header */
	produce(r, m->partition, m->payload, m->len, m->key, m->key_len, m, 0);
	rd_kafka_poll(r->out, 0);
}

int
main(int argc, char **argv)
{
	int by_record = argc == 6 && strcmp(argv[1], "record") == 0;
	char topic[200];
	struct relay r = {0};
	long long cpu_us, wall_us;
	long n;

	if (argc != 6) {
		fputs("bare_relay batch|record FROM TO TOPIC N\n", stderr);
		return 2;
	}
	n = strtol(argv[5], NULL, 10);
	snprintf(topic, sizeof topic, "%s%s", argv[4],
		 by_record ? ".records" : "");
	cpu_us = now_us(1);
	wall_us = now_us(0);
	open_in(&r, argv[2], argv[4]);
	open_out(&r, argv[3], topic, by_record);
	while (n > 0) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(r.in, 1000);

		if (!m) {
			continue;
		}
		if (m->err) {
			give_up(rd_kafka_message_errstr(m));
		}
		n--;
		if (by_record) {
			relay_records(&r, m);
			rd_kafka_message_destroy(m);
		} else {
			relay_batch(&r, m);
		}
	}
	if (by_record) {
		check_error(rd_kafka_commit_transaction(r.out, -1));
	}
	rd_kafka_flush(r.out, 60000);
	printf("%ld %lld %lld\n", r.n_records, now_us(1) - cpu_us,
	       now_us(0) - wall_us);
	rd_kafka_topic_destroy(r.topic);
	rd_kafka_consumer_close(r.in);
	rd_kafka_destroy(r.in);
	rd_kafka_destroy(r.out);
	return 0;
}
