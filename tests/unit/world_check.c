/*
 * World, what must hold.
 *
 * At each commit: the lines are, byte for byte, the next records of the source
 * for this stream.  At each release: every record at or below is taken at the
 * own node or set aside.  When the faults have ended: everything is everywhere
 * and the source released to its end, or what is missing was lost by a fault
 * that must be reported, and is: by a stream that stands still or a flow that
 * stopped, with a code that fits this loss.
 */
#include "world.h"

static bool
make_line(const struct w_source *src, size_t no, char out[160])
{
	if (src->rec[no - 1].kind == REC_GOOD) {
		snprintf(out, 160,
			 "{\"op\":\"u\",\"k\":[\"k%zu\"],\"t\":\"2026-11-24T"
			 "17:00:00.000+08:00\",\"d\":{\"n\":%zu}}",
			 no % 7, no);
	} else {
		snprintf(out, 160,
			 "{\"op\":\"q\",\"k\":[\"k%zu\"],\"t\":\"2026-11-24T"
			 "17:00:00.000+08:00\"}",
			 no % 7);
	}
	return true;
}

void
world_check_apply(enum w_node n, size_t s, const struct gx_head *h)
{
	const struct w_stream *st = &W.stream[s];
	size_t i = W.db[n].row[s].n_lines;
	struct gx_slice line;
	size_t at = 0;
	char want[160];

	if (h->first != i + 1) {
		world_fail("%s at %s: takes %llu, after %zu lines", st->name,
			   n == CITY ? "city" : "hub",
			   (unsigned long long)h->first, i);
		return;
	}
	while (gx_body_next(h->body, &at, &line)) {
		if (i < st->n_want &&
		    make_line(&W.source[st->source], st->want[i], want) &&
		    gx_slice_eq(line, gx_slice_str(want))) {
			i++;
			continue;
		}
		world_fail("%s at %s: line %zu is not the source's", st->name,
			   n == CITY ? "city" : "hub", i + 1);
		return;
	}
}

/* Is the record number no of a source set aside at its node? */
static bool
is_aside(const struct w_source *src, size_t no)
{
	const struct w_db *db = &W.db[CITY];

	for (size_t i = 0; i < db->n_asides; i++) {
		if (db->aside[i].is_there && db->aside[i].pos == no &&
		    db->aside[i].stream ==
			    src->first + src->rec[no - 1].stream) {
			return true;
		}
	}
	return false;
}

/* Of its partition the city's log lost something. */
static bool
is_hit(size_t s)
{
	return W.is_hit[W.stream[s].partition];
}

static size_t
n_aside_missing(const struct w_source *src, size_t upto)
{
	size_t n = 0;

	/* A quarantine that was restored, or was settled on a log that had lost
	 * what the reader had in hand: losses of rows that [02] mends. */
	for (size_t no = 1; no <= upto && !(W.lost & LOST_CITY_DB); no++) {
		enum w_record kind = src->rec[no - 1].kind;

		n += (kind == REC_BAD || kind == REC_BAD_NO_KEY) &&
		     !is_hit(src->first + src->rec[no - 1].stream) &&
		     !is_aside(src, no);
	}
	return n;
}

void
world_check_release(const struct w_source *src, size_t pos)
{
	for (size_t k = 0; k < src->n_streams; k++) {
		size_t s = src->first + k;
		size_t n = W.db[CITY].row[s].n_lines;
		const struct w_stream *st = &W.stream[s];

		if (n < st->n_want && st->want[n] <= pos) {
			world_fail("record %zu of %s is released and not taken",
				   st->want[n], st->name);
			return;
		}
	}
	if (n_aside_missing(src, pos) > 0) {
		world_fail("a bad record at or below %zu is released and not "
			   "set aside",
			   pos);
	}
}

/* Everything that can be had is at this node. */
static bool
has_all(enum w_node n, size_t s)
{
	const struct w_row *row = &W.db[n].row[s];
	const struct w_stream *st = &W.stream[s];

	return row->n_lines == st->n_want ||
	       (W.source[st->source].is_lost &&
		st->want[row->n_lines] > W.source[st->source].n);
}

bool
world_is_complete(void)
{
	for (size_t s = 0; s < W.n_streams; s++) {
		for (int n = 0; n < W_NODES; n++) {
			if (!has_all((enum w_node)n, s) ||
			    W.db[n].row[s].row.is_stopped) {
				return false;
			}
		}
	}
	for (size_t i = 0; i < W.n_sources; i++) {
		const struct w_source *src = &W.source[i];

		if (src->released < src->n ||
		    n_aside_missing(src, src->n) > 0) {
			return false;
		}
	}
	return true;
}

/* ---- what may be reported, and whether it is ---- */

static const struct {
	const char *code;
	unsigned lost;
} reports[] = {
	{"log.lost_tail", LOST_CITY_LOG},
	{"link.ahead", LOST_CITY_LOG},
	{"writer.unsettled", LOST_CITY_LOG},
	{"writer.stream_stopped", LOST_CITY_LOG},
	{"writer.unread", LOST_CITY_LOG},
	{"stream.gap", LOST_CITY_LOG},
	{"stream.marker_missing", LOST_CITY_LOG},
	{"stream.equivocation", LOST_CITY_LOG},
	{"source.released_beyond", LOST_CITY_DB},
	{"source.restored", LOST_SOURCE | LOST_SOURCE << 1},
};

bool
world_may_report(const char *code)
{
	for (size_t i = 0; i < sizeof reports / sizeof *reports; i++) {
		if (strcmp(code, reports[i].code) == 0) {
			return (W.lost & reports[i].lost) != 0;
		}
	}
	return false;
}

/* May this code be reported of this stream? */
static bool
may_say(const char *code, size_t s)
{
	unsigned source = (unsigned)LOST_SOURCE << W.stream[s].source;

	for (size_t i = 0; i < sizeof reports / sizeof *reports; i++) {
		unsigned lost = reports[i].lost & W.lost;

		if (strcmp(code, reports[i].code) != 0) {
			continue;
		}
		return ((lost & LOST_CITY_LOG) && is_hit(s)) ||
		       (lost & LOST_CITY_DB) || (lost & source);
	}
	return false;
}

/* Does this flow show, to whoever asks for its state, that something of it
 * stands still?  {"<key>":<value>, ... "<word>":"<code>" ...} */
static bool
shows(struct part *p, const char *begin, const char *word, size_t s)
{
	char code[64] = "";
	struct gx_buf b;
	struct gx_jw w;
	const char *at;
	const char *end;

	gx_buf_init(&b, 1u << 20);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '{');
	p->ops->status(p->flow, &w);
	gx_jw_end(&w, '}');
	at = strstr(gx_buf_str(&b), begin);
	end = at ? strchr(at, '}') : NULL;
	at = at ? strstr(at, word) : NULL;
	if (at && at < end) {
		at += strlen(word);
		snprintf(code, sizeof code, "%.*s", (int)strcspn(at, "\""), at);
	}
	gx_buf_free(&b);
	return may_say(code, s);
}

static bool
flow_says(enum w_kind kind, enum w_node n, size_t s)
{
	char begin[GX_STREAM_MAX + 32];
	size_t source = W.stream[s].source;

	snprintf(begin, sizeof begin,
		 kind == WRITER ? "{\"stream\":\"%s\"" : "{\"partition\":%s",
		 W.stream[s].name);
	if (kind == LINK) {
		snprintf(begin, sizeof begin, "{\"partition\":%d,",
			 W.stream[s].partition);
	}
	for (size_t i = 0; i < W.n_parts; i++) {
		struct part *p = &W.part[i];

		if (!p->is_on || p->kind != kind || p->node != n ||
		    (kind == WRITER && p->source != source)) {
			continue;
		}
		if (may_say(p->code, s) ||
		    (kind == WRITER && shows(p, begin, "\"why\":\"", s)) ||
		    (kind == LINK && shows(p, begin, "\"code\":\"", s))) {
			return true;
		}
	}
	return false;
}

static bool
row_says(enum w_node n, size_t s)
{
	const struct gx_stream_row *row = &W.db[n].row[s].row;

	return row->is_stopped && may_say(row->why, s);
}

/* Once it was said that the own log lost what was taken, it stays said, even
 * if the log has grown again above the place. */
static bool
was_said(size_t s)
{
	return is_hit(s) && W.has_said[W.stream[s].partition];
}

/*
 * Nodes exchange heads at connect and every minute (protocol 5), which is not
 * in this world: an own log that lost what its node had taken, and grew again
 * before anybody looked, shows itself there and nowhere else.
 */
static bool
heads_say(size_t s)
{
	return is_hit(s) &&
	       W.db[HUB].row[s].n_lines < W.db[CITY].row[s].n_lines;
}

/* It waits for a forger's key and says so; what would prove it a forger's is a
 * next record, and this source gives no more. */
static bool
waits_in_vain(enum w_node n, size_t s)
{
	const struct gx_stream_row *row = &W.db[n].row[s].row;
	const struct w_source *src = &W.source[W.stream[s].source];

	return n == HUB && W.is_forged && row->is_stopped &&
	       strcmp(row->why, "stream.wait_key") == 0 &&
	       (src->is_lost || src->n == W_RECORDS ||
		flow_says(WRITER, CITY, s));
}

static bool
is_reported(enum w_node n, size_t s)
{
	if (was_said(s) || row_says(n, s) || waits_in_vain(n, s) ||
	    flow_says(READER, n, s) || flow_says(WRITER, CITY, s)) {
		return true;
	}
	if (n == CITY) {
		return false;
	}
	return flow_says(LINK, CITY, s) || heads_say(s) ||
	       (!has_all(CITY, s) && is_reported(CITY, s));
}

static void
describe(enum w_node n, size_t s)
{
	const struct w_row *row = &W.db[n].row[s];

	world_fail("%s at %s: %zu of %zu lines, %s%s; nobody says why",
		   W.stream[s].name, n == CITY ? "city" : "hub", row->n_lines,
		   W.stream[s].n_want, row->row.is_stopped ? "stopped: " : "",
		   row->row.is_stopped ? row->row.why : "not stopped");
}

/* A source is not released while one of its streams stands still. */
static bool
stream_says(size_t source)
{
	for (size_t s = 0; s < W.n_streams; s++) {
		if (W.stream[s].source == source &&
		    (was_said(s) || row_says(CITY, s) ||
		     flow_says(WRITER, CITY, s) ||
		     flow_says(READER, CITY, s))) {
			return true;
		}
	}
	return false;
}

void
world_check_end(void)
{
	if (world_is_complete()) {
		T.complete++;
		return;
	}
	for (size_t s = 0; s < W.n_streams; s++) {
		for (int n = 0; n < W_NODES; n++) {
			enum w_node node = (enum w_node)n;

			if ((!has_all(node, s) ||
			     W.db[n].row[s].row.is_stopped) &&
			    !is_reported(node, s)) {
				describe(node, s);
				return;
			}
		}
	}
	for (size_t i = 0; i < W.n_sources; i++) {
		const struct w_source *src = &W.source[i];

		if ((src->released < src->n ||
		     n_aside_missing(src, src->n) > 0) &&
		    !stream_says(i)) {
			world_fail("source %zu: released %zu of %zu, %zu bad "
				   "records not set aside; nobody says why",
				   i, src->released, src->n,
				   n_aside_missing(src, src->n));
			return;
		}
	}
	T.reported++;
}
