/*
 * Counters and gauges as one table with prose (metrics.def), which also makes
 * /metrics' HELP lines and the manual.  Values are atomics: no lock per
 * record; flows add once per batch.  Labels come from closed sets (flow,
 * resource, verdict): never a key or a person.
 */
#ifndef GX_BASE_METRIC_H
#define GX_BASE_METRIC_H

#include "base/mem.h"

#include <stdint.h>

/* Ids are made from metrics.def: GX_M_<upper name>. */
enum gx_metric_id {
#define GX_METRIC(id, name, type, labels, help) GX_M_##id,
#include "base/metrics.def"
#undef GX_METRIC
	GX_M_COUNT
};

struct gx_metric_def {
	const char *name;   /* gxbus_..._total, _seconds, _bytes, _ratio */
	const char *type;   /* counter | gauge | histogram */
	const char *labels; /* comma separated label names, "" for none */
	const char *help;
};
const struct gx_metric_def *gx_metric_at(size_t i); /* NULL past the end */

/* A series: one metric with one set of label values.  Get it once, keep the
 * pointer for the life of the process.  values: NULL-terminated, in the order
 * of def.labels.  Thread: any (takes a lock; not for per-record use). */
struct gx_series;
struct gx_series *gx_metric(enum gx_metric_id id, const char *const *values);
void gx_metric_add(struct gx_series *s, int64_t delta);
void gx_metric_set(struct gx_series *s, double value);
void gx_metric_observe(struct gx_series *s, double seconds); /* histogram */
double gx_metric_get(const struct gx_series *s);

/* Prometheus text 0.0.4 of everything. */
void gx_metric_print(struct gx_buf *out);

#endif
