/*
 * Kafka through librdkafka 2.0.2, which lives only in kafka*.c.  Settings and
 * defect rules: docs/kafka.md.  Manual assignment, no groups; idempotent
 * producer, one message per batch, no transactions on batch topics.
 */
#ifndef GX_PORT_KAFKA_H
#define GX_PORT_KAFKA_H

#include "port/log.h"

struct gx_kafka_conf {
	const char *bootstrap;
	const char *client_id;
	/* librdkafka properties that pass through; NULL-terminated pairs. */
	const char *const *props;
};

/* Does not connect.  GX_FATAL "kafka.conf" on an unknown property, on one that
 * is fixed (docs/kafka.md), and on a file of keys that cannot be read.  No
 * value is in the text: it may be a password. */
enum gx_rc gx_kafka_new(const struct gx_kafka_conf *c, struct gx_log **out,
			struct gx_err *e) GX_MUSTCHECK;
/* Its ins and outs must be closed before. */
void gx_kafka_free(struct gx_log **l);

/* Create topic if absent; an existing one must have n_partitions, else
 * GX_FATAL "log.partitions", and the values of props, else GX_FATAL
 * "log.topic_config".  props: NULL-terminated name, value pairs. */
enum gx_rc gx_kafka_create_topic(struct gx_log *l, const char *topic,
				 int32_t n_partitions, int replication,
				 const char *const *props,
				 struct gx_err *e) GX_MUSTCHECK;
/* Metadata round trip: GX_AGAIN "kafka.away" names the bootstrap address. */
enum gx_rc gx_kafka_ping(struct gx_log *l, int timeout_ms,
			 struct gx_err *e) GX_MUSTCHECK;
/* Delete all of a partition below upto (DeleteRecords).  GX_AGAIN: away.
 * GX_FATAL: refused. */
enum gx_rc gx_kafka_trim(struct gx_log *l, const char *topic, int32_t partition,
			 int64_t upto, struct gx_err *e) GX_MUSTCHECK;
const char *gx_kafka_version(void); /* librdkafka's */

#endif
