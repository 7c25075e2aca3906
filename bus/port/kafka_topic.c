/*
 * Kafka topics that are there already: are they what a batch topic must be,
 * and what leaves them.
 *
 * A broker with auto-creation, or a person with another tool, may have made
 * the topic first.  Then records would leave it by age or by key, or an
 * acknowledged batch would not be on the disk, and nothing would say so until
 * records are missing.  So the settings a topic is asked for are compared with
 * those it has, and one that differs stops the start with its name, both
 * values and the command that mends it.
 *
 * Nothing is changed here: librdkafka 2.0.2 can only replace all settings of a
 * topic at once, and a topic that somebody set up otherwise is for a person.
 */
#include "port/kafka_int.h"

#define DESCRIBE_MS 10000
#define TRIM_MS 15000

static const char *
find_value(const rd_kafka_ConfigResource_t *res, const char *name)
{
	size_t n = 0;
	const rd_kafka_ConfigEntry_t **list =
		rd_kafka_ConfigResource_configs(res, &n);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(rd_kafka_ConfigEntry_name(list[i]), name) == 0) {
			return rd_kafka_ConfigEntry_value(list[i]);
		}
	}
	return NULL;
}

static enum gx_rc
compare(const struct gx_khandle *h, const rd_kafka_ConfigResource_t *res,
	const char *topic, const char *const *props, struct gx_err *e)
{
	for (size_t i = 0; props && props[i] && props[i + 1]; i += 2) {
		const char *value = find_value(res, props[i]);

		if (value && strcmp(value, props[i + 1]) == 0) {
			continue;
		}
		return GX_ERR(e, GX_FATAL, "log.topic_config",
			      "%s at %s has %s = %.60s, %s is needed: "
			      "kafka-configs.sh --alter --topic %s "
			      "--add-config %s=%s",
			      topic, h->bootstrap, props[i],
			      value ? value : "nothing", props[i + 1], topic,
			      props[i], props[i + 1]);
	}
	return GX_OK;
}

static enum gx_rc
judge(struct gx_khandle *h, rd_kafka_event_t *ev, const char *topic,
      const char *const *props, struct gx_err *e)
{
	const rd_kafka_ConfigResource_t **list = NULL;
	rd_kafka_resp_err_t err =
		ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	size_t n = 0;

	if (!err) {
		list = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(ev), &n);
		err = n == 1 ? rd_kafka_ConfigResource_error(list[0])
			     : RD_KAFKA_RESP_ERR__BAD_MSG;
	}
	if (err) {
		return gx_kafka_err(h, err, false, "asked for the settings of",
				    topic, e);
	}
	return compare(h, list[0], topic, props, e);
}

enum gx_rc
gx_kafka_check_topic(struct gx_khandle *h, const char *topic,
		     const char *const *props, struct gx_err *e)
{
	rd_kafka_AdminOptions_t *opt = rd_kafka_AdminOptions_new(
		h->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_queue_t *q = rd_kafka_queue_new(h->rk);
	rd_kafka_ConfigResource_t *res =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	rd_kafka_event_t *ev;
	char text[100];
	enum gx_rc rc;

	(void)rd_kafka_AdminOptions_set_request_timeout(opt, DESCRIBE_MS / 2,
							text, sizeof text);
	rd_kafka_DescribeConfigs(h->rk, &res, 1, opt, q);
	ev = rd_kafka_queue_poll(q, DESCRIBE_MS);
	rc = judge(h, ev, topic, props, e);
	if (ev) {
		rd_kafka_event_destroy(ev);
	}
	rd_kafka_ConfigResource_destroy(res);
	rd_kafka_queue_destroy(q);
	rd_kafka_AdminOptions_destroy(opt);
	return rc;
}

/* ---- trimming ---- */

static enum gx_rc
judge_trim(struct gx_khandle *h, rd_kafka_event_t *ev, const char *topic,
	   struct gx_err *e)
{
	rd_kafka_resp_err_t err =
		ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;

	if (!err) {
		const rd_kafka_topic_partition_list_t *list =
			rd_kafka_DeleteRecords_result_offsets(
				rd_kafka_event_DeleteRecords_result(ev));
		err = list->cnt == 1 ? list->elems[0].err
				     : RD_KAFKA_RESP_ERR__BAD_MSG;
	}
	return err ? gx_kafka_err(h, err, false, "trimmed", topic, e) : GX_OK;
}

enum gx_rc
gx_kafka_trim(struct gx_log *l, const char *topic, int32_t partition,
	      int64_t upto, struct gx_err *e)
{
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_DeleteRecords_t *del;
	rd_kafka_AdminOptions_t *opt;
	struct gx_khandle *h;
	rd_kafka_queue_t *q;
	rd_kafka_event_t *ev;
	char text[100];
	enum gx_rc rc = gx_kafka_ask(l, &h, e);

	if (rc != GX_OK) {
		return rc;
	}
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, topic, partition)->offset =
		upto;
	del = rd_kafka_DeleteRecords_new(list);
	opt = rd_kafka_AdminOptions_new(h->rk, RD_KAFKA_ADMIN_OP_DELETERECORDS);
	(void)rd_kafka_AdminOptions_set_request_timeout(opt, TRIM_MS / 2, text,
							sizeof text);
	q = rd_kafka_queue_new(h->rk);
	rd_kafka_DeleteRecords(h->rk, &del, 1, opt, q);
	ev = rd_kafka_queue_poll(q, TRIM_MS);
	rc = judge_trim(h, ev, topic, e);
	if (ev) {
		rd_kafka_event_destroy(ev);
	}
	rd_kafka_queue_destroy(q);
	rd_kafka_AdminOptions_destroy(opt);
	rd_kafka_DeleteRecords_destroy(del);
	rd_kafka_topic_partition_list_destroy(list);
	return rc;
}
