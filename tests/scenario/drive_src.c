/*
 * Drives the PostgreSQL source as a writer would, for scenarios: takes it,
 * starts it from the state file, prints what it hands over, and settles and
 * releases all of that at the end.
 *
 *   drive_src --decl F --state F --resource F... [options]
 *     --idle MS   end when nothing came for so long (1000)
 *     --max N     end after N records
 *     --wait MS   end when it still waits for something after so long
 *     --no-settle forget at the end: the next run begins where this one did
 *     --no-release settle, but let the server keep its log
 *     --stand MS  after the start, only tend for so long, as a writer does that
 *                 may not read
 *     --no-take   the same, without take and start, as one without a store
 *     --keep-up   release with each progress, not only at the end
 *     --count     print only counts per op and stream
 *     --wait-end  stay after the end, holding the source, until stdin closes
 *
 * Output: "<stream> <line>", rejects with " !<pointer> <keyword>" per fault;
 * "stop <stream> <code> <text>"; "wait <code> <text>", once; "error <rc> <code> <text>"; at the end
 * "end <records> <rejects> rss_kb=<n> lag=<n>".  Exit 0, or 10 + rc.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "flow/src_pg.h"

#include <poll.h>
#include <sys/resource.h>

#define MAX 64

struct drive {
	const char *decl, *state;
	struct gx_resource *resources[MAX];
	size_t n_resources;
	int idle_ms;
	uint64_t max;
	int stand_ms, wait_ms;
	bool has_waited;
	bool settles, releases, counts, waits_end, takes, keeps_up;
	struct gx_buf pos[MAX], released;
	uint64_t n, n_rejects, n_ops[MAX][6];
};

static const struct gx_resource *
find_resource(void *ctx, const char *name)
{
	struct drive *d = ctx;

	for (size_t i = 0; i < d->n_resources; i++) {
		if (strcmp(d->resources[i]->name, name) == 0) {
			return d->resources[i];
		}
	}
	return NULL;
}

static void
load_state(struct drive *d)
{
	char line[2000];
	FILE *f = fopen(d->state, "re");
	size_t i = 0;

	for (size_t k = 0; k < MAX; k++) {
		gx_buf_init(&d->pos[k], 2000);
	}
	gx_buf_init(&d->released, 2000);
	while (f != NULL && fgets(line, sizeof(line), f) != NULL && i <= MAX) {
		line[strcspn(line, "\n")] = '\0';
		(void)gx_buf_puts(i == 0 ? &d->released : &d->pos[i - 1], line);
		i++;
	}
	if (f != NULL) {
		(void)fclose(f);
	}
}

static void
save_state(struct drive *d, size_t n_streams)
{
	FILE *f = fopen(d->state, "we");

	if (f == NULL) {
		perror(d->state);
		exit(2);
	}
	(void)fprintf(f, "%s\n", gx_buf_str(&d->released));
	for (size_t i = 0; i < n_streams; i++) {
		(void)fprintf(f, "%s\n", gx_buf_str(&d->pos[i]));
	}
	(void)fclose(f);
}

static void
set(struct gx_buf *b, struct gx_slice s)
{
	gx_buf_reset(b);
	(void)gx_buf_slice(b, s);
}

static void
print_rec(struct drive *d, const struct gx_rec *rec)
{
	struct gx_buf b;

	d->n_ops[rec->stream][rec->line.op]++;
	if (d->counts) {
		return;
	}
	gx_buf_init(&b, 4u << 20);
	if (rec->is_reject && rec->line.key.n == 0) {
		(void)gx_buf_puts(&b, "no key");
	} else {
		(void)gx_line_put(&b, &rec->line);
	}
	(void)printf("%zu %.*s%s", rec->stream, (int)b.n, b.p,
		     rec->is_change ? " change" : "");
	for (size_t i = 0; i < rec->n_faults; i++) {
		const struct gx_fault *f = &rec->faults[i];

		(void)printf(" !%.*s %.*s", (int)f->pointer.n, f->pointer.p,
			     (int)f->keyword.n, f->keyword.p);
	}
	if (rec->is_reject) {
		(void)printf(
			" original=%.*s",
			(int)(rec->original.n < 300 ? rec->original.n : 300),
			rec->original.p);
	}
	(void)printf("\n");
	gx_buf_free(&b);
}

/* Once for each new word; the next read has no error to begin with. */
static void
say_wait(struct drive *d, struct gx_err *e)
{
	if (!d->has_waited) {
		(void)printf("wait %s %s\n", e->code, e->text);
		(void)fflush(stdout);
	}
	d->has_waited = true;
	e->code = NULL;
}

static enum gx_rc
read_all(struct drive *d, struct gx_source *s, struct gx_buf *last,
	 struct gx_err *e)
{
	int64_t since_ms = gx_mono_ms(), began_ms = since_ms;

	while (d->n < d->max && gx_mono_ms() - since_ms < d->idle_ms) {
		struct gx_rec rec;
		enum gx_rc rc = s->ops->read(s, 20, &rec, e);

		if (rc == GX_AGAIN && e->code != NULL) {
			say_wait(d, e);
			since_ms = gx_mono_ms();
			if (gx_mono_ms() - began_ms > d->wait_ms) {
				return GX_OK;
			}
		}
		if (rc == GX_AGAIN) {
			continue;
		}
		if (rc == GX_REJECT) {
			(void)printf("stop %zu %s %s\n", rec.stream, e->code,
				     e->text);
			d->releases = false; /* its changes are unread */
			e->code = NULL;
			continue;
		}
		if (rc != GX_OK) {
			return rc;
		}
		set(last, rec.pos);
		if (rec.is_progress && d->keeps_up) {
			set(&d->released, rec.pos);
			rc = s->ops->release(s, gx_buf_view(last), e);
			if (rc != GX_OK) {
				return rc;
			}
		}
		if (rec.is_progress) {
			continue;
		}
		since_ms = gx_mono_ms();
		d->n++;
		d->n_rejects += rec.is_reject;
		set(&d->pos[rec.stream], rec.pos);
		print_rec(d, &rec);
		(void)fflush(stdout);
	}
	return GX_OK;
}

static enum gx_rc
stand(struct drive *d, struct gx_source *s, struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + d->stand_ms;
	enum gx_rc rc = GX_OK;

	while (rc == GX_OK && gx_mono_ms() < until_ms) {
		rc = s->ops->tend(s, e);
		(void)poll(NULL, 0, 20);
	}
	return rc;
}

static enum gx_rc
run(struct drive *d, struct gx_source *s, struct gx_err *e)
{
	struct gx_slice pos[MAX];
	size_t n = s->ops->n_streams(s);
	struct gx_buf last;
	enum gx_rc rc = d->takes ? s->ops->take(s, e) : stand(d, s, e);

	if (!d->takes) {
		return rc;
	}
	gx_buf_init(&last, 2000);
	for (size_t i = 0; i < n; i++) {
		pos[i] = gx_buf_view(&d->pos[i]);
	}
	if (rc == GX_OK) {
		rc = s->ops->start(s, pos, n, gx_buf_view(&d->released), e);
	}
	if (rc == GX_OK) {
		rc = stand(d, s, e);
	}
	if (rc == GX_OK) {
		rc = read_all(d, s, &last, e);
	}
	if (rc == GX_OK && d->settles && d->releases && last.n > 0) {
		set(&d->released, gx_buf_view(&last));
		save_state(d, n);
		rc = s->ops->release(s, gx_buf_view(&last), e);
	} else if (d->settles) {
		save_state(d, n);
	}
	gx_buf_free(&last);
	return rc;
}

static void
print_end(const struct drive *d, struct gx_source *s)
{
	static const char *const ops[] = {"u", "d", "q", "s", "e", "end"};
	struct rusage use;

	for (size_t i = 0; d->counts && i < s->ops->n_streams(s); i++) {
		(void)printf("%zu", i);
		for (size_t k = 0; k < 5; k++) {
			(void)printf(" %s=%llu", ops[k],
				     (unsigned long long)d->n_ops[i][k]);
		}
		(void)printf("\n");
	}
	(void)getrusage(RUSAGE_SELF, &use);
	(void)printf("end %llu %llu rss_kb=%ld lag=%lld\n",
		     (unsigned long long)d->n, (unsigned long long)d->n_rejects,
		     use.ru_maxrss, (long long)s->ops->lag_bytes(s));
	(void)fflush(stdout);
}

static void
parse_args(struct drive *d, int argc, char **argv)
{
	struct gx_err e = {0};

	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		const char *v = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(a, "--no-settle") == 0) {
			d->settles = false;
		} else if (strcmp(a, "--no-release") == 0) {
			d->releases = false;
		} else if (strcmp(a, "--keep-up") == 0) {
			d->keeps_up = true;
		} else if (strcmp(a, "--no-take") == 0) {
			d->takes = false;
		} else if (strcmp(a, "--count") == 0) {
			d->counts = true;
		} else if (strcmp(a, "--wait-end") == 0) {
			d->waits_end = true;
		} else {
			i++;
			if (strcmp(a, "--decl") == 0) {
				d->decl = v;
			} else if (strcmp(a, "--state") == 0) {
				d->state = v;
			} else if (strcmp(a, "--stand") == 0) {
				d->stand_ms = (int)strtol(v, NULL, 10);
			} else if (strcmp(a, "--wait") == 0) {
				d->wait_ms = (int)strtol(v, NULL, 10);
			} else if (strcmp(a, "--idle") == 0) {
				d->idle_ms = (int)strtol(v, NULL, 10);
			} else if (strcmp(a, "--max") == 0) {
				d->max = strtoull(v, NULL, 10);
			} else if (strcmp(a, "--resource") != 0 ||
				   gx_resource_load(
					   v, &d->resources[d->n_resources++],
					   &e) != GX_OK) {
				(void)fprintf(stderr, "%s %s: %s\n", a, v,
					      e.text);
				exit(2);
			}
		}
	}
}

int
main(int argc, char **argv)
{
	struct drive d = {.idle_ms = 1000,
			  .wait_ms = INT32_MAX,
			  .max = UINT64_MAX,
			  .settles = true,
			  .releases = true,
			  .takes = true};
	struct gx_source_conf conf = {
		.node = "450100", .resource = find_resource, .ctx = &d};
	struct gx_source *s = NULL;
	struct gx_err e = {0};
	enum gx_rc rc;

	parse_args(&d, argc, argv);
	gx_log_setup(GX_LOG_INFO, false);
	load_state(&d);
	conf.path = d.decl;
	rc = gx_source_new(&conf, &s, &e);
	if (rc == GX_OK) {
		rc = run(&d, s, &e);
	}
	if (rc != GX_OK) {
		(void)printf("error %s %s %s\n", gx_rc_name(rc), e.code,
			     e.text);
	}
	if (s != NULL) {
		print_end(&d, s);
		while (d.waits_end && getchar() != EOF) {
			continue;
		}
		s->ops->drop(s);
		s->ops->free(&s);
	}
	for (size_t i = 0; i < MAX; i++) {
		gx_buf_free(&d.pos[i]);
	}
	gx_buf_free(&d.released);
	for (size_t i = 0; i < d.n_resources; i++) {
		gx_resource_free(&d.resources[i]);
	}
	return rc == GX_OK ? 0 : 10 + (int)rc;
}
