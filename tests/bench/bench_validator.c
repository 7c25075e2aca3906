/*
 * What a check costs: the validator over realistic records of social.insured
 * against yajl, which only finds their tokens.  CPU time, so that neighbours
 * on the machine count less; best of several rounds for both.  Every record
 * must conform and yajl must take it, and a record with one wrong digit must
 * not conform, or it exits 1.  Run from the root of the tree.
 */
#include "base/clock.h"
#include "record/resource.h"

#include <yajl/yajl_parse.h>

#define RECORDS 1000
#define ROUNDS 30
#define PASSES 5

/* A resident id of Nanning with its check digit. */
static void
make_id(int i, char id[19])
{
	static const int weight[] = {7, 9, 10, 5,  8, 4, 2, 1, 6,
				     3, 7, 9,  10, 5, 8, 4, 2};
	int sum = 0;

	snprintf(id, 19, "450103%04d%02d%02d%03d0", 1950 + i % 50, 1 + i % 12,
		 1 + i % 28, i % 1000);
	for (int k = 0; k < 17; k++) {
		sum += weight[k] * (id[k] - '0');
	}
	id[17] = "10X98765432"[sum % 11];
}

static void
make_record(int i, struct gx_buf *b)
{
	char id[19];

	make_id(i, id);
	gx_buf_printf(
		b,
		"{\"aac001\":\"4501%08d\",\"aac002\":\"%s\","
		"\"aac003\":\"韦小明\",\"aac004\":\"%d\",\"aac005\":\"08\","
		"\"aac006\":\"%04d-%02d-%02d\",\"aac009\":\"10\","
		"\"aab001\":\"DW%06d\",\"aab004\":\"南宁市某某有限公司\","
		"\"aae140\":\"110\",\"aac031\":\"1\","
		"\"aac049\":\"2005-07-01\",\"aac030\":\"2011-03-01\","
		"\"base\":\"%d.50\",\"n_months\":%d,\"region\":\"450103\","
		"\"org_uscc\":\"91450100MA5KXY12X6\","
		"\"updated_at\":\"2026-11-24T17:00:00.000+08:00\"}",
		i, id, 1 + i % 2, 1950 + i % 50, 1 + i % 12, 1 + i % 28,
		i % 5000, 3000 + i, i % 700);
}

static double
time_yajl(struct gx_slice *rec)
{
	yajl_callbacks none = {0};
	int64_t best = INT64_MAX;

	for (int p = 0; p < PASSES; p++) {
		int64_t at_us = gx_cpu_us();
		for (int r = 0; r < ROUNDS; r++) {
			for (int i = 0; i < RECORDS; i++) {
				yajl_handle h = yajl_alloc(&none, NULL, NULL);
				yajl_status st = yajl_parse(
					h, (const unsigned char *)rec[i].p,
					rec[i].n);
				if (st != yajl_status_ok ||
				    yajl_complete_parse(h) != yajl_status_ok) {
					exit(1);
				}
				yajl_free(h);
			}
		}
		int64_t took = gx_cpu_us() - at_us;
		best = took < best ? took : best;
	}
	return (double)best * 1000 / ROUNDS / RECORDS;
}

static double
time_check(struct gx_check *c, struct gx_slice *rec)
{
	int64_t best = INT64_MAX;

	for (int p = 0; p < PASSES; p++) {
		int64_t at_us = gx_cpu_us();
		for (int r = 0; r < ROUNDS; r++) {
			for (int i = 0; i < RECORDS; i++) {
				if (!gx_check_run(c, rec[i])) {
					exit(1);
				}
			}
		}
		int64_t took = gx_cpu_us() - at_us;
		best = took < best ? took : best;
	}
	return (double)best * 1000 / ROUNDS / RECORDS;
}

int
main(void)
{
	static struct gx_slice rec[RECORDS];
	struct gx_resource *r = NULL;
	struct gx_err e = {0};
	struct gx_buf b;

	if (gx_resource_load("schemas/resources/social/insured.json", &r, &e) !=
	    GX_OK) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	gx_buf_init(&b, (size_t)1 << 20);
	for (int i = 0; i < RECORDS; i++) {
		gx_buf_reset(&b);
		make_record(i, &b);
		rec[i] = gx_slice(gx_mem_slicedup(gx_buf_view(&b)), b.n);
	}
	struct gx_check *c = gx_check_new(r->schema);
	double ours = time_check(c, rec), theirs = time_yajl(rec);
	printf("record_bytes %zu\n", rec[0].n);
	printf("validator_ns_per_record %.0f\n", ours);
	printf("yajl_ns_per_record %.0f\n", theirs);
	printf("validator_to_yajl %.2f\n", theirs / ours);
	char *wrong = gx_mem_slicedup(rec[0]);
	char *digit = strstr(wrong, "\"aac002\":\"") + 10 + 16;
	*digit = *digit == '0' ? '1' : '0';
	bool is_caught = !gx_check_run(c, gx_slice(wrong, rec[0].n));
	gx_mem_free(wrong);
	for (int i = 0; i < RECORDS; i++) {
		gx_mem_free((void *)(uintptr_t)rec[i].p);
	}
	gx_check_free(&c);
	gx_resource_free(&r);
	gx_buf_free(&b);
	return is_caught ? 0 : 1;
}
