/*
 * Counters, gauges and histograms.
 *
 * A series is made once, kept for the life of the process and handed out as a
 * pointer, so that counting is one atomic addition and never a lock or a
 * search.  The lists of series grow under one lock; they are only ever put to
 * at the end, so printing takes the lock too but counting does not.
 *
 * Values are doubles held as bits in an atomic 64-bit word: whole numbers are
 * exact up to 2^53, which a counter of bytes reaches after nine petabytes.
 * A histogram has fixed bounds that fit what the bus promises: from five
 * milliseconds to ten minutes.
 *
 * Label values come from closed sets of ours (flow, verdict).  They are
 * escaped all the same, because a flow is named by a person.  A metric without
 * labels is printed from the start, with 0; one with labels from its first
 * series on.
 *
 * Everything is lost when we die, which is what a scraper expects of counters.
 */
#include "base/metric.h"

#include "base/err.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#define LABELS_MAX 4

static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
				2.5,   5,    10,    30,	  60,  300,  600};

#define N_BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

struct gx_series {
	struct gx_series *next;
	char *labels; /* as printed: flow="up",verdict="take"; "" for none */
	_Atomic uint64_t value;	    /* bits of a double; a histogram's sum */
	_Atomic uint64_t n;	    /* observations */
	_Atomic uint64_t buckets[]; /* N_BOUNDS of a histogram, not summed */
};

static const struct gx_metric_def defs[] = {
#define GX_METRIC(id, name, type, labels, help) {name, type, labels, help},
#include "base/metrics.def"
#undef GX_METRIC
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gx_series *first[GX_M_COUNT]; /* guarded by lock */

const struct gx_metric_def *
gx_metric_at(size_t i)
{
	return i < GX_M_COUNT ? &defs[i] : NULL;
}

static bool
is_histogram(const struct gx_metric_def *d)
{
	return d->type[0] == 'h';
}

/* Escaped for the text format: backslash, quote and newline. */
static void
put_label_value(struct gx_buf *b, const char *v)
{
	for (; *v; v++) {
		if (*v == '\n') {
			gx_buf_puts(b, "\\n");
			continue;
		}
		if (*v == '"' || *v == '\\') {
			gx_buf_putc(b, '\\');
		}
		gx_buf_putc(b, *v);
	}
}

/* flow="up",verdict="take" from "flow,verdict" and the values. */
static void
put_labels(struct gx_buf *b, const char *names, const char *const *values)
{
	size_t i = 0;

	while (*names) {
		size_t n = strcspn(names, ",");
		/* A caller that gives fewer values than labels is wrong. */
		GX_ASSERT(i < LABELS_MAX && values && values[i]);
		if (i > 0) {
			gx_buf_putc(b, ',');
		}
		gx_buf_put(b, names, n);
		gx_buf_puts(b, "=\"");
		put_label_value(b, values[i++]);
		gx_buf_putc(b, '"');
		names += n + (names[n] == ',');
	}
}

/* Find or make.  Under lock. */
static struct gx_series *
find_or_add(enum gx_metric_id id, const char *labels)
{
	struct gx_series **at = &first[id];

	for (; *at; at = &(*at)->next) {
		if (strcmp((*at)->labels, labels) == 0) {
			return *at;
		}
	}
	size_t n = is_histogram(&defs[id]) ? N_BOUNDS : 0;
	struct gx_series *s =
		gx_mem_new(sizeof(*s) + n * sizeof(s->buckets[0]));
	s->labels = gx_mem_strdup(labels);
	*at = s;
	return s;
}

struct gx_series *
gx_metric(enum gx_metric_id id, const char *const *values)
{
	struct gx_buf labels;

	GX_ASSERT(id < GX_M_COUNT);
	gx_buf_init(&labels, 4096);
	put_labels(&labels, defs[id].labels, values);
	/* Small and fixed: without it we would count for another series. */
	GX_ASSERT(!labels.failed);
	pthread_mutex_lock(&lock);
	struct gx_series *s = find_or_add(id, gx_buf_str(&labels));
	pthread_mutex_unlock(&lock);
	gx_buf_free(&labels);
	return s;
}

static double
value_of(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static uint64_t
bits_of(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static void
add(struct gx_series *s, double delta)
{
	uint64_t old = atomic_load(&s->value);

	while (!atomic_compare_exchange_weak(&s->value, &old,
					     bits_of(value_of(old) + delta))) {
	}
}

void
gx_metric_add(struct gx_series *s, int64_t delta)
{
	add(s, (double)delta);
}

void
gx_metric_set(struct gx_series *s, double value)
{
	atomic_store(&s->value, bits_of(value));
}

void
gx_metric_observe(struct gx_series *s, double seconds)
{
	/* A clock that went back shows as 0, not as a negative sum. */
	double v = seconds > 0 ? seconds : 0;

	for (size_t i = 0; i < N_BOUNDS; i++) {
		if (v <= bounds[i]) {
			atomic_fetch_add(&s->buckets[i], 1);
			break;
		}
	}
	atomic_fetch_add(&s->n, 1);
	add(s, v);
}

double
gx_metric_get(const struct gx_series *s)
{
	return value_of(atomic_load(&s->value));
}

static void
put_value(struct gx_buf *b, double v)
{
	if (isnan(v)) {
		gx_buf_puts(b, " NaN\n");
	} else if (isinf(v)) {
		gx_buf_puts(b, v > 0 ? " +Inf\n" : " -Inf\n");
	} else if (fabs(v) < 9e15 && fabs(v - trunc(v)) <= 0) {
		gx_buf_printf(b, " %.0f\n", v);
	} else {
		gx_buf_printf(b, " %.9g\n", v);
	}
}

/* name{labels} value */
static void
put_sample(struct gx_buf *b, const char *name, const char *labels, double v)
{
	gx_buf_puts(b, name);
	if (labels[0]) {
		gx_buf_printf(b, "{%s}", labels);
	}
	put_value(b, v);
}

static void
put_histogram(struct gx_buf *b, const char *name, const struct gx_series *s)
{
	const char *comma = s->labels[0] ? "," : "";
	uint64_t n = 0;

	for (size_t i = 0; i < N_BOUNDS; i++) {
		n += atomic_load(&s->buckets[i]);
		gx_buf_printf(b, "%s_bucket{%s%sle=\"%g\"}", name, s->labels,
			      comma, bounds[i]);
		put_value(b, (double)n);
	}
	/* n is counted after its bucket: never let +Inf be below the last. */
	uint64_t all = atomic_load(&s->n);
	all = all > n ? all : n;
	gx_buf_printf(b, "%s_bucket{%s%sle=\"+Inf\"}", name, s->labels, comma);
	put_value(b, (double)all);
	const char *open = s->labels[0] ? "{" : "";
	const char *close = s->labels[0] ? "}" : "";
	gx_buf_printf(b, "%s_sum%s%s%s", name, open, s->labels, close);
	put_value(b, value_of(atomic_load(&s->value)));
	gx_buf_printf(b, "%s_count%s%s%s", name, open, s->labels, close);
	put_value(b, (double)all);
}

static void
put_metric(struct gx_buf *b, const struct gx_metric_def *d,
	   const struct gx_series *s)
{
	gx_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->help,
		      d->name, d->type);
	if (!s) {
		put_sample(b, d->name, "", 0);
	}
	for (; s; s = s->next) {
		if (is_histogram(d)) {
			put_histogram(b, d->name, s);
		} else {
			put_sample(b, d->name, s->labels, gx_metric_get(s));
		}
	}
}

void
gx_metric_print(struct gx_buf *out)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < GX_M_COUNT; i++) {
		const struct gx_metric_def *d = &defs[i];
		if (first[i] || (!d->labels[0] && !is_histogram(d))) {
			put_metric(out, d, first[i]);
		}
	}
	pthread_mutex_unlock(&lock);
}
