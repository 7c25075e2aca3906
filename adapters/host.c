/*
 * Adapter host.
 *
 * Between a source, which knows connections and positions, and an adapter,
 * which knows one way of translating, stands the host: it lends the adapter a
 * place to put items, writes them as one JSON object in the order of the
 * schema, has the validator look at it, and makes of the result either a line
 * that may travel or a reject that says everything a person needs to mend it.
 *
 * A reject keeps the key whenever the key can be told, because then the bus
 * can say "in quarantine" of that very key and leave the last good row where
 * it is.  So the key is built a second time from the key columns alone when
 * the whole record was not even JSON or did not fit.  It is told the same way
 * for a row that is gone, of which nothing but the key columns are there.
 *
 * A value that is no text is never made one: a replacement character in a name
 * would be a silent difference.  Its row is set aside, bytes and all.
 *
 * A record that is longer than a line may be is rejected with the keyword
 * record.too_large; its original is then kept with each value cut, because a
 * quarantine is no place for a scanned document.
 *
 * The host keeps nothing between two rows but warm buffers: dying on any line
 * loses only the row in hand, which the source reads again.  It refuses to go
 * on with an adapter that emits out of order or items that are not declared:
 * that is a fault of the program and not of the department's data.
 */
#include "adapters/host_int.h"

#include "base/text.h"

#define ORIGINAL_CUT 4096 /* of each value when the record is too long */
#define ORIGINAL_MAX (4u << 20)
#define LINE_EXTRA 96 /* what a line has beside key, time and data */

static void *
lend_memory(void *ctx, size_t n_bytes)
{
	struct gx_host *h = ctx;
	void *p = gx_arena_alloc(h->conf, n_bytes);

	if (p != NULL) {
		memset(p, 0, n_bytes);
	}
	return p;
}

static void
emit_item(void *ctx, size_t item, enum gx_abi_type type,
	  struct gx_abi_text value)
{
	struct gx_host *h = ctx;
	struct gx_buf *b = h->target;

	if (item >= h->r->n_fields || item < h->next_item) {
		h->is_broken = true;
		return;
	}
	h->next_item = item + 1;
	if (b->n > 1) {
		(void)gx_buf_putc(b, ',');
	}
	(void)gx_buf_puts(b, h->items[item].member);
	if (type == GX_ABI_STRING) {
		(void)gx_buf_putc(b, '"');
		if (!gx_json_escape(b, gx_slice(value.p, value.n))) {
			b->failed = true;
		}
		(void)gx_buf_putc(b, '"');
	} else {
		(void)gx_buf_put(b, value.p, value.n);
	}
}

static void
add_fault(struct gx_host *h, const char *pointer, const char *keyword,
	  const char *message)
{
	if (h->n_faults < HOST_FAULTS) {
		h->faults[h->n_faults++] = (struct gx_fault){
			gx_slice_str(pointer), gx_slice_str(keyword),
			gx_slice_str(message)};
	}
}

static void
reject_item(void *ctx, size_t item, const char *keyword, const char *message)
{
	struct gx_host *h = ctx;
	const char *pointer =
		item < h->r->n_fields ? h->items[item].pointer : "";

	h->why = message;
	add_fault(h, pointer, keyword, message);
}

static void
note_log(void *ctx, const char *text)
{
	struct gx_host *h = ctx;

	h->why = text;
}

const char *
gx_host_refuses(const struct gx_adapter *ad, char *text, size_t text_max)
{
	if (ad->major == GX_ABI_MAJOR && ad->minor <= GX_ABI_MINOR &&
	    ad->struct_size >= sizeof(struct gx_adapter)) {
		return NULL;
	}
	(void)snprintf(text, text_max,
		       "adapter speaks ABI %u.%u, this program %u.%u: build "
		       "the adapter against this program's adapter.h",
		       ad->major, ad->minor, (unsigned)GX_ABI_MAJOR,
		       (unsigned)GX_ABI_MINOR);
	return text;
}

/* Refuse before anything of the adapter is used but its head. */
static enum gx_rc
check_adapter(const struct gx_adapter *ad, struct gx_err *e)
{
	static const char *const input[] = {
		[GX_ABI_ROW] = "rows",
		[GX_ABI_FILE] = "files",
		[GX_ABI_RECORD] = "records",
	};
	char text[200];
	const char *why = gx_host_refuses(ad, text, sizeof(text));
	bool is_known = ad->input >= GX_ABI_ROW && ad->input <= GX_ABI_RECORD;

	if (why != NULL) {
		return GX_ERR(e, GX_REJECT, "adapter.version", "%s", why);
	}
	if (ad->input != GX_ABI_ROW) {
		return GX_ERR(e, GX_REJECT, "adapter.input",
			      "adapter %s translates %s; this program reads "
			      "rows",
			      ad->name, is_known ? input[ad->input] : "?");
	}
	return GX_OK;
}

static enum gx_rc
open_adapter(struct gx_host *h, const char *where, struct gx_err *e)
{
	struct gx_abi_setup setup = {
		.struct_size = sizeof(setup),
		.map = h->map,
		.n_map = h->n_map,
		.n_columns = h->n_columns,
	};

	h->abi = (struct gx_abi_host){
		.struct_size = sizeof(h->abi),
		.ctx = h,
		.alloc = lend_memory,
		.emit = emit_item,
		.reject = reject_item,
		.log = note_log,
	};
	if (h->ad->open(&h->abi, &setup, &h->state) != GX_ABI_OK) {
		return GX_ERR(e, GX_REJECT, "adapter.declaration", "%s: %s",
			      where, h->why ? h->why : "refused");
	}
	return GX_OK;
}

enum gx_rc
gx_host_new(const struct gx_host_conf *conf, struct gx_host **out,
	    struct gx_err *e)
{
	const struct gx_resource *r = conf->r;
	struct gx_host *h;
	enum gx_rc rc = check_adapter(conf->adapter, e);

	*out = NULL;
	if (rc != GX_OK) {
		return rc;
	}
	h = gx_mem_new(sizeof(*h));
	h->r = r;
	h->ad = conf->adapter;
	h->conf = gx_arena_new(HOST_CONF_BYTES);
	h->check = gx_check_new(r->schema);
	h->key_check = gx_check_new(r->schema);
	gx_buf_init(&h->data, GX_LINE_MAX);
	gx_buf_init(&h->key, 8192);
	gx_buf_init(&h->original, ORIGINAL_MAX);
	gx_buf_init(&h->key_data, 64 * 1024);
	gx_buf_init(&h->old_key, 8192);
	rc = gx_host_read_map(h, conf->map, conf->where, e);
	if (rc == GX_OK) {
		rc = open_adapter(h, conf->where, e);
	}
	if (rc != GX_OK) {
		gx_host_free(&h);
	}
	*out = h;
	return rc;
}

void
gx_host_free(struct gx_host **host)
{
	struct gx_host *h = *host;

	*host = NULL;
	if (h == NULL) {
		return;
	}
	if (h->state != NULL && h->ad->close != NULL) {
		h->ad->close(h->state);
	}
	gx_check_free(&h->check);
	gx_check_free(&h->key_check);
	gx_buf_free(&h->data);
	gx_buf_free(&h->key);
	gx_buf_free(&h->original);
	gx_buf_free(&h->key_data);
	gx_buf_free(&h->old_key);
	gx_arena_free(&h->conf);
	gx_mem_free(h);
}

size_t
gx_host_n_columns(const struct gx_host *h)
{
	return h->n_columns;
}

const char *
gx_host_column(const struct gx_host *h, size_t i)
{
	return h->columns[i];
}

bool
gx_host_column_is_key(const struct gx_host *h, size_t i)
{
	return h->is_key[i];
}

unsigned
gx_host_column_holds(const struct gx_host *h, size_t i)
{
	return h->holds[i];
}

/* Have the adapter write one object into b.  GX_REJECT: it refused the row. */
static enum gx_rc
feed(struct gx_host *h, const struct gx_abi_text *row, struct gx_buf *b,
     struct gx_err *e)
{
	enum gx_abi_rc rc;

	gx_buf_reset(b);
	(void)gx_buf_putc(b, '{');
	h->target = b;
	h->next_item = 0;
	h->is_broken = false;
	h->why = NULL;
	rc = h->ad->feed(h->state, row, h->n_columns);
	(void)gx_buf_putc(b, '}');
	if (h->is_broken || rc == GX_ABI_FATAL) {
		return GX_ERR(e, GX_FATAL, "adapter.broken", "%s: %s",
			      h->ad->name,
			      h->is_broken || h->why == NULL
				      ? "items emitted out of order"
				      : h->why);
	}
	return rc == GX_ABI_OK ? GX_OK : GX_REJECT;
}

/* The key from the key columns alone; false if it cannot be told.  Faults
 * that the adapter finds meanwhile are not of this record's concern. */
static bool
build_key(struct gx_host *h, const struct gx_abi_text *row, struct gx_buf *key)
{
	struct gx_abi_text only[GX_HOST_COLUMNS];
	size_t n_faults = h->n_faults;
	struct gx_err ignored;
	enum gx_rc rc;

	for (size_t i = 0; i < h->n_columns; i++) {
		only[i] = h->is_key[i] && !h->is_spoilt[i]
				  ? row[i]
				  : (struct gx_abi_text){NULL, 0};
	}
	rc = feed(h, only, &h->key_data, &ignored);
	h->n_faults = n_faults;
	gx_buf_reset(key);
	if (rc != GX_OK || h->key_data.failed) {
		return false;
	}
	(void)gx_check_run(h->key_check, gx_buf_view(&h->key_data));
	return gx_resource_key(h->r, h->key_check, key) && !key->failed;
}

static struct gx_slice
cut_value(struct gx_abi_text v, bool is_cut)
{
	size_t n = v.n;

	if (is_cut && n > ORIGINAL_CUT) {
		n = ORIGINAL_CUT;
		while (n > 0 && ((unsigned char)v.p[n] & 0xC0) == 0x80) {
			n--; /* not within a character */
		}
	}
	return gx_slice(v.p, n);
}

static void
put_hex(struct gx_jw *w, struct gx_abi_text v)
{
	size_t n = v.n < ORIGINAL_CUT ? v.n : ORIGINAL_CUT;
	char text[2 * ORIGINAL_CUT + 1];

	gx_hex(v.p, n, text);
	gx_jw_begin(w, '{');
	gx_jw_kv_str(w, "hex", text);
	gx_jw_end(w, '}');
}

static void
put_original(struct gx_host *h, const struct gx_abi_text *row, bool is_cut)
{
	struct gx_jw w;

	gx_buf_reset(&h->original);
	gx_jw_init(&w, &h->original);
	gx_jw_begin(&w, '{');
	for (size_t i = 0; i < h->n_columns; i++) {
		gx_jw_name(&w, h->columns[i]);
		if (row[i].p == NULL) {
			gx_jw_null(&w);
		} else if (h->is_spoilt[i]) {
			put_hex(&w, row[i]);
		} else {
			gx_jw_str(&w, cut_value(row[i], is_cut));
		}
	}
	gx_jw_end(&w, '}');
}

static void
build_reject(struct gx_host *h, const struct gx_abi_text *row, bool is_long,
	     struct gx_host_out *out)
{
	out->is_reject = true;
	out->line.op = GX_OP_SET_ASIDE;
	out->record = is_long ? gx_slice(NULL, 0) : out->line.data;
	out->line.data = gx_slice(NULL, 0);
	out->faults = h->faults;
	out->n_faults = h->n_faults;
	put_original(h, row, is_long);
	if (h->original.failed) {
		put_original(h, row, true);
	}
	out->original = gx_buf_view(&h->original);
}

void
gx_host_spoil(struct gx_host *h, size_t i)
{
	GX_ASSERT(i < h->n_columns);
	h->is_spoilt[i] = true;
	h->has_spoilt = true;
}

static void
forget_spoilt(struct gx_host *h)
{
	memset(h->is_spoilt, 0, sizeof(h->is_spoilt));
	h->has_spoilt = false;
}

/* The other reasons are told when the bytes are mended. */
static void
refuse_spoilt(struct gx_host *h, const struct gx_abi_text *row,
	      struct gx_slice time, struct gx_host_out *out)
{
	for (size_t i = 0; i < h->n_map; i++) {
		const struct gx_abi_map *m = &h->map[i];

		if (m->column != GX_ABI_NONE && h->is_spoilt[m->column]) {
			add_fault(h, h->items[m->item].pointer, "encoding",
				  "bytes that are no text in the encoding of "
				  "the source");
		}
	}
	out->line.time = time;
	if (build_key(h, row, &h->key)) {
		out->line.key = gx_buf_view(&h->key);
	}
	build_reject(h, row, false, out);
	forget_spoilt(h);
}

enum gx_rc
gx_host_row(struct gx_host *h, const struct gx_abi_text *row,
	    struct gx_slice time, struct gx_host_out *out, struct gx_err *e)
{
	enum gx_rc rc;
	bool is_good, is_long, has_key = false;

	memset(out, 0, sizeof(*out));
	h->n_faults = 0;
	if (h->has_spoilt) {
		refuse_spoilt(h, row, time, out);
		return GX_OK;
	}
	rc = feed(h, row, &h->data, e);
	if (rc == GX_FATAL) {
		return rc;
	}
	is_good = rc == GX_OK;
	is_long = h->data.failed;
	gx_buf_reset(&h->key);
	if (!is_long) {
		is_good &= gx_check_run(h->check, gx_buf_view(&h->data));
		for (size_t i = 0; i < gx_check_n_faults(h->check) &&
				   h->n_faults < HOST_FAULTS - 4;
		     i++) {
			h->faults[h->n_faults++] = *gx_check_fault(h->check, i);
		}
		has_key = gx_resource_key(h->r, h->check, &h->key);
		is_long = h->data.n + h->key.n + LINE_EXTRA > GX_LINE_MAX;
	}
	if (is_long) {
		add_fault(h, "", "record.too_large",
			  "the record is longer than 1 MiB");
	}
	if (!has_key) {
		has_key = build_key(h, row, &h->key);
	}
	if (!has_key && is_good && !is_long) {
		add_fault(h, "", "key",
			  "the key is missing, longer than 256 bytes, or not "
			  "storable");
	}
	out->line.op = GX_OP_UPSERT;
	out->line.key = has_key ? gx_buf_view(&h->key) : gx_slice(NULL, 0);
	out->line.time = time;
	out->line.data = gx_buf_view(&h->data);
	if (!is_good || is_long || !has_key) {
		build_reject(h, row, is_long, out);
	}
	return GX_OK;
}

enum gx_rc
gx_host_key(struct gx_host *h, const struct gx_abi_text *row,
	    struct gx_slice time, struct gx_host_out *out, struct gx_err *e)
{
	bool has_key = build_key(h, row, &h->old_key);

	memset(out, 0, sizeof(*out));
	forget_spoilt(h);
	if (!has_key) {
		return GX_ERR(e, GX_REJECT, "adapter.no_key",
			      "no key can be made of the row that is gone");
	}
	out->line.op = GX_OP_DELETE;
	out->line.key = gx_buf_view(&h->old_key);
	out->line.time = time;
	return GX_OK;
}
