/*
 * Kafka, the errors: one table from librdkafka's codes to what we do next.
 *
 * A row says what an error means for a question that can be asked again:
 * GX_AGAIN is an outage.  Where something is under way (a delivery, a read)
 * the same outage leaves doubt, and gx_kafka_err makes GX_ABORT of it: the
 * handle is closed and the log itself is asked.  So one table serves all.
 *
 * What is not in the table is GX_FATAL "kafka.unknown": an error nobody has
 * thought about stops the flow, it is never tried again on a guess.
 *
 * A fatal error of the idempotent producer is an ordinary event with 2.0.2
 * (a lost connection can make it believe that numbers are missing): its rows
 * are GX_ABORT.  An error of TLS is an outage, never a wrong password: OpenSSL
 * 3 reports every broker that ends without a farewell that way.
 *
 * The texts name the bootstrap address, the topic and the library's own word
 * for the error.  They hold no value of a property and nothing of a message.
 */
#include "port/kafka_int.h"

#define E(name) RD_KAFKA_RESP_ERR_##name

static const struct gx_kafka_row rows[] = {
	/* The cluster is away, or a part of it moves. */
	{E(_TRANSPORT), GX_AGAIN, "kafka.away"},
	{E(_ALL_BROKERS_DOWN), GX_AGAIN, "kafka.away"},
	{E(_RESOLVE), GX_AGAIN, "kafka.away"},
	{E(_TIMED_OUT), GX_AGAIN, "kafka.away"},
	{E(_TIMED_OUT_QUEUE), GX_AGAIN, "kafka.away"},
	{E(_MSG_TIMED_OUT), GX_AGAIN, "kafka.away"},
	{E(_SSL), GX_AGAIN, "kafka.away"},
	{E(_WAIT_CACHE), GX_AGAIN, "kafka.away"},
	{E(_NODE_UPDATE), GX_AGAIN, "kafka.away"},
	{E(_INTR), GX_AGAIN, "kafka.away"},
	{E(_IN_PROGRESS), GX_AGAIN, "kafka.away"},
	{E(_RETRY), GX_AGAIN, "kafka.away"},
	{E(LEADER_NOT_AVAILABLE), GX_AGAIN, "kafka.away"},
	{E(NOT_LEADER_FOR_PARTITION), GX_AGAIN, "kafka.away"},
	{E(BROKER_NOT_AVAILABLE), GX_AGAIN, "kafka.away"},
	{E(REPLICA_NOT_AVAILABLE), GX_AGAIN, "kafka.away"},
	{E(REQUEST_TIMED_OUT), GX_AGAIN, "kafka.away"},
	{E(NETWORK_EXCEPTION), GX_AGAIN, "kafka.away"},
	{E(COORDINATOR_LOAD_IN_PROGRESS), GX_AGAIN, "kafka.away"},
	{E(COORDINATOR_NOT_AVAILABLE), GX_AGAIN, "kafka.away"},
	{E(NOT_COORDINATOR), GX_AGAIN, "kafka.away"},
	{E(NOT_CONTROLLER), GX_AGAIN, "kafka.away"},
	{E(NOT_ENOUGH_REPLICAS), GX_AGAIN, "kafka.away"},
	{E(NOT_ENOUGH_REPLICAS_AFTER_APPEND), GX_AGAIN, "kafka.away"},
	{E(KAFKA_STORAGE_ERROR), GX_AGAIN, "kafka.away"},
	{E(FENCED_LEADER_EPOCH), GX_AGAIN, "kafka.away"},
	{E(UNKNOWN_LEADER_EPOCH), GX_AGAIN, "kafka.away"},
	{E(OFFSET_NOT_AVAILABLE), GX_AGAIN, "kafka.away"},
	{E(PREFERRED_LEADER_NOT_AVAILABLE), GX_AGAIN, "kafka.away"},
	{E(ELIGIBLE_LEADERS_NOT_AVAILABLE), GX_AGAIN, "kafka.away"},
	{E(THROTTLING_QUOTA_EXCEEDED), GX_AGAIN, "kafka.away"},
	/* Our own queue. */
	{E(_QUEUE_FULL), GX_AGAIN, "kafka.queue_full"},
	/* The place to read from. */
	{E(_AUTO_OFFSET_RESET), GX_ABORT, "log.out_of_range"},
	{E(OFFSET_OUT_OF_RANGE), GX_ABORT, "log.out_of_range"},
	/* The producer: a new one finds out. */
	{E(_FATAL), GX_ABORT, "kafka.producer"},
	{E(_DESTROY), GX_ABORT, "kafka.producer"},
	{E(_PURGE_QUEUE), GX_ABORT, "kafka.producer"},
	{E(_PURGE_INFLIGHT), GX_ABORT, "kafka.producer"},
	{E(_GAPLESS_GUARANTEE), GX_ABORT, "kafka.producer"},
	{E(_INCONSISTENT), GX_ABORT, "kafka.producer"},
	{E(_STATE), GX_ABORT, "kafka.producer"},
	{E(OUT_OF_ORDER_SEQUENCE_NUMBER), GX_ABORT, "kafka.producer"},
	{E(DUPLICATE_SEQUENCE_NUMBER), GX_ABORT, "kafka.producer"},
	{E(UNKNOWN_PRODUCER_ID), GX_ABORT, "kafka.producer"},
	{E(INVALID_PRODUCER_ID_MAPPING), GX_ABORT, "kafka.producer"},
	{E(INVALID_PRODUCER_EPOCH), GX_ABORT, "kafka.producer"},
	{E(CONCURRENT_TRANSACTIONS), GX_ABORT, "kafka.producer"},
	{E(_FENCED), GX_FENCED, "kafka.fenced"},
	{E(PRODUCER_FENCED), GX_FENCED, "kafka.fenced"},
	/* For a person. */
	{E(_UNKNOWN_TOPIC), GX_FATAL, "log.no_topic"},
	{E(_UNKNOWN_PARTITION), GX_FATAL, "log.no_topic"},
	{E(UNKNOWN_TOPIC_OR_PART), GX_FATAL, "log.no_topic"},
	{E(_AUTHENTICATION), GX_FATAL, "kafka.auth"},
	{E(SASL_AUTHENTICATION_FAILED), GX_FATAL, "kafka.auth"},
	{E(UNSUPPORTED_SASL_MECHANISM), GX_FATAL, "kafka.auth"},
	{E(ILLEGAL_SASL_STATE), GX_FATAL, "kafka.auth"},
	{E(TOPIC_AUTHORIZATION_FAILED), GX_FATAL, "kafka.denied"},
	{E(CLUSTER_AUTHORIZATION_FAILED), GX_FATAL, "kafka.denied"},
	{E(GROUP_AUTHORIZATION_FAILED), GX_FATAL, "kafka.denied"},
	{E(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), GX_FATAL, "kafka.denied"},
	{E(MSG_SIZE_TOO_LARGE), GX_FATAL, "kafka.too_large"},
	{E(RECORD_LIST_TOO_LARGE), GX_FATAL, "kafka.too_large"},
	{E(INVALID_MSG_SIZE), GX_FATAL, "kafka.too_large"},
	{E(INVALID_MSG), GX_FATAL, "log.corrupt"},
	{E(_BAD_MSG), GX_FATAL, "log.corrupt"},
	{E(_BAD_COMPRESSION), GX_FATAL, "log.corrupt"},
	{E(_UNDERFLOW), GX_FATAL, "log.corrupt"},
	{E(INVALID_RECORD), GX_FATAL, "kafka.refused"},
	{E(INVALID_TIMESTAMP), GX_FATAL, "kafka.refused"},
	{E(INVALID_REQUIRED_ACKS), GX_FATAL, "kafka.refused"},
	{E(TOPIC_EXCEPTION), GX_FATAL, "kafka.refused"},
	{E(INVALID_PARTITIONS), GX_FATAL, "kafka.refused"},
	{E(INVALID_REPLICATION_FACTOR), GX_FATAL, "kafka.refused"},
	{E(INVALID_REPLICA_ASSIGNMENT), GX_FATAL, "kafka.refused"},
	{E(INVALID_CONFIG), GX_FATAL, "kafka.refused"},
	{E(INVALID_REQUEST), GX_FATAL, "kafka.refused"},
	{E(POLICY_VIOLATION), GX_FATAL, "kafka.refused"},
	{E(SECURITY_DISABLED), GX_FATAL, "kafka.refused"},
	{E(_INVALID_ARG), GX_FATAL, "kafka.refused"},
	{E(UNSUPPORTED_VERSION), GX_FATAL, "kafka.version"},
	{E(UNSUPPORTED_FOR_MESSAGE_FORMAT), GX_FATAL, "kafka.version"},
	{E(_UNSUPPORTED_FEATURE), GX_FATAL, "kafka.version"},
};

const struct gx_kafka_row *
gx_kafka_err_at(size_t i)
{
	return i < sizeof rows / sizeof *rows ? &rows[i] : NULL;
}

const struct gx_kafka_row *
gx_kafka_err_row(rd_kafka_resp_err_t err)
{
	static const struct gx_kafka_row other = {RD_KAFKA_RESP_ERR_UNKNOWN,
						  GX_FATAL, "kafka.unknown"};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (rows[i].err == err) {
			return &rows[i];
		}
	}
	return &other;
}

enum gx_rc
gx_kafka_err(struct gx_khandle *h, rd_kafka_resp_err_t err, bool is_doubt,
	     const char *what, const char *where, struct gx_err *e)
{
	const struct gx_kafka_row *row = gx_kafka_err_row(err);
	enum gx_rc rc = row->rc;

	if (is_doubt && rc == GX_AGAIN) {
		rc = GX_ABORT;
	}
	(void)gx_err_set(e, rc, row->code, __FILE__, __LINE__,
			 "%s %s at %s: %s", what, where, h->bootstrap,
			 rd_kafka_err2name(err));
	if (strcmp(row->code, "kafka.away") == 0 && h->last_text[0]) {
		gx_err_note(e, "%s", h->last_text);
	}
	return rc;
}

enum gx_rc
gx_kafka_bad(struct gx_khandle *h, rd_kafka_resp_err_t err, const char *what,
	     const char *where, struct gx_err *e)
{
	enum gx_rc rc;

	if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		return GX_OK;
	}
	rc = gx_kafka_err(h, err, true, what, where, e);
	if (strcmp(gx_kafka_err_row(err)->code, "log.no_topic") == 0) {
		rc = GX_ABORT;
		if (e) {
			e->rc = rc;
		}
	}
	return rc;
}
