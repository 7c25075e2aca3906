/*
 * Reading the "map" of a declaration.
 *
 * The declaration is written by people who know their department's table and
 * not this program, so every refusal names the place by JSON pointer and says
 * what would be right.  It is refused as a whole: an instance with half a
 * mapping would publish half a record and call it good.
 *
 * All that is made here lives in the host's arena until the host is freed;
 * nothing of the caller's tree is kept.
 */
#include "adapters/host_int.h"

struct place {
	const char *where;
	size_t i;
};

static enum gx_rc
refuse(struct gx_err *e, struct place at, const char *member, const char *why)
{
	return GX_ERR(e, GX_REJECT, "adapter.declaration", "%s/%zu%s%s: %s",
		      at.where, at.i, member[0] ? "/" : "", member, why);
}

static const char *
keep(struct gx_host *h, struct gx_slice s)
{
	return gx_arena_dup(h->conf, s.p, s.n);
}

static const struct gx_abi_key *
find_convert(const struct gx_host *h, const char *name)
{
	for (const struct gx_abi_key *k = h->ad->keys; k->name != NULL; k++) {
		if (strcmp(k->name, name) == 0) {
			return k;
		}
	}
	return NULL;
}

static enum gx_rc
check_members(const struct gx_json *row, struct place at, struct gx_err *e)
{
	static const struct {
		const char *name;
		enum gx_json_type type;
	} known[] = {{"item", GX_JSON_STRING},	  {"column", GX_JSON_STRING},
		     {"convert", GX_JSON_STRING}, {"codes", GX_JSON_OBJECT},
		     {"scale", GX_JSON_NUMBER},	  {"const", GX_JSON_STRING}};

	if (row->type != GX_JSON_OBJECT) {
		return refuse(e, at, "", "must be an object");
	}
	for (const struct gx_json *m = row->child; m != NULL; m = m->next) {
		bool is_known = false;

		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
			if (!gx_slice_eq(m->name,
					 gx_slice_str(known[k].name))) {
				continue;
			}
			is_known = true;
			if (m->type != known[k].type) {
				return refuse(e, at, known[k].name,
					      "is of another type than it "
					      "must be");
			}
		}
		if (!is_known) {
			return GX_ERR(e, GX_REJECT, "adapter.declaration",
				      "%s/%zu/%.*s: unknown member; known: "
				      "item, column, convert, codes, scale, "
				      "const",
				      at.where, at.i,
				      (int)(m->name.n < 40 ? m->name.n : 40),
				      m->name.p);
		}
	}
	return GX_OK;
}

static size_t
find_item(const struct gx_host *h, const char *name)
{
	int i = name == NULL ? -1
			     : gx_schema_field_index(h->r->schema,
						     gx_slice_str(name));

	return i < 0 ? GX_ABI_NONE : (size_t)i;
}

/* Index of the column, added if new; GX_ABI_NONE if there are too many. */
static size_t
add_column(struct gx_host *h, const char *name)
{
	for (size_t i = 0; i < h->n_columns; i++) {
		if (strcmp(h->columns[i], name) == 0) {
			return i;
		}
	}
	if (h->n_columns == GX_HOST_COLUMNS) {
		return GX_ABI_NONE;
	}
	h->columns[h->n_columns] = keep(h, gx_slice_str(name));
	h->holds[h->n_columns] = ~0u;
	return h->n_columns++;
}

static enum gx_rc
read_codes(struct gx_host *h, const struct gx_json *codes, struct gx_abi_map *m,
	   struct place at, struct gx_err *e)
{
	struct gx_abi_pair *pairs;
	size_t n = 0;

	if (codes == NULL || codes->type != GX_JSON_OBJECT || codes->n == 0) {
		return refuse(e, at, "codes",
			      "must be an object of strings, like "
			      "{\"1\":\"01\"}");
	}
	pairs = gx_arena_alloc(h->conf, codes->n * sizeof(*pairs));
	if (pairs == NULL) {
		return refuse(e, at, "codes", "the mapping is too large");
	}
	for (const struct gx_json *c = codes->child; c != NULL; c = c->next) {
		const char *from = keep(h, c->name), *to = keep(h, c->text);

		if (c->type != GX_JSON_STRING || from == NULL || to == NULL) {
			return refuse(e, at, "codes",
				      "each value must be a string");
		}
		pairs[n].from = (struct gx_abi_text){from, c->name.n};
		pairs[n++].to = (struct gx_abi_text){to, c->text.n};
	}
	m->codes = pairs;
	m->n_codes = n;
	return GX_OK;
}

/* Members that the conversion needs, and none that it does not. */
static enum gx_rc
read_arguments(struct gx_host *h, const struct gx_json *row,
	       const struct gx_abi_key *k, struct gx_abi_map *m,
	       struct place at, struct gx_err *e)
{
	const struct gx_json *constant = gx_json_get(row, "const");
	int64_t scale = gx_json_int(row, "scale", -1);

	if ((gx_json_get(row, "codes") != NULL) != k->has_codes) {
		return refuse(e, at, "codes",
			      k->has_codes ? "is missing"
					   : "only goes with convert table");
	}
	if ((gx_json_get(row, "scale") != NULL) != k->has_scale) {
		return refuse(e, at, "scale",
			      k->has_scale ? "is missing"
					   : "only goes with convert decimal");
	}
	if ((constant != NULL) != k->has_const) {
		return refuse(e, at, "const",
			      k->has_const ? "is missing"
					   : "only goes with convert const");
	}
	if (k->has_scale && (scale < 0 || scale > 30)) {
		return refuse(e, at, "scale", "must be 0 to 30");
	}
	m->scale = k->has_scale ? (unsigned)scale : 0;
	if (k->has_const) {
		const char *text = keep(h, constant->text);

		if (constant->type != GX_JSON_STRING || text == NULL) {
			return refuse(e, at, "const", "must be a string");
		}
		m->constant = (struct gx_abi_text){text, constant->text.n};
	}
	return k->has_codes ? read_codes(h, gx_json_get(row, "codes"), m, at, e)
			    : GX_OK;
}

static const char *
default_convert(const struct gx_json *row)
{
	if (gx_json_get(row, "const") != NULL) {
		return "const";
	}
	return gx_json_get(row, "codes") != NULL ? "table" : "text";
}

static enum gx_rc
read_row(struct gx_host *h, const struct gx_json *row, struct gx_abi_map *m,
	 struct place at, struct gx_err *e)
{
	const char *convert, *column;
	const struct gx_abi_key *k;
	enum gx_rc rc = check_members(row, at, e);

	if (rc != GX_OK) {
		return rc;
	}
	m->item = find_item(h, gx_json_str(row, "item", NULL));
	if (m->item == GX_ABI_NONE) {
		return refuse(e, at, "item",
			      "is missing or not declared by the resource");
	}
	convert = gx_json_str(row, "convert", default_convert(row));
	k = find_convert(h, convert);
	if (k == NULL) {
		return refuse(e, at, "convert",
			      "unknown conversion; docs/adapter.md lists them");
	}
	m->convert = k->name;
	column = gx_json_str(row, "column", NULL);
	m->column = GX_ABI_NONE;
	if ((column != NULL && column[0] != '\0') != (k->holds != 0)) {
		return refuse(e, at, "column",
			      k->holds != 0 ? "is missing"
					    : "does not go with a constant");
	}
	if (k->holds != 0) {
		m->column = add_column(h, column);
		if (m->column == GX_ABI_NONE) {
			return refuse(e, at, "column",
				      "more columns than one table may map");
		}
		h->holds[m->column] &= k->holds;
		h->is_key[m->column] |= h->r->fields[m->item].is_key;
	}
	return read_arguments(h, row, k, m, at, e);
}

/* Put in its place by item; false if the item is mapped already. */
static bool
insert_map(struct gx_host *h, const struct gx_abi_map *m)
{
	size_t at = h->n_map;

	for (size_t i = 0; i < h->n_map; i++) {
		if (h->map[i].item == m->item) {
			return false;
		}
	}
	for (; at > 0 && h->map[at - 1].item > m->item; at--) {
		h->map[at] = h->map[at - 1];
	}
	h->map[at] = *m;
	h->n_map++;
	return true;
}

static enum gx_rc
check_complete(const struct gx_host *h, const char *where, struct gx_err *e)
{
	for (size_t f = 0; f < h->r->n_fields; f++) {
		const struct gx_field *field = &h->r->fields[f];
		bool is_mapped = false;

		for (size_t i = 0; i < h->n_map; i++) {
			is_mapped |= h->map[i].item == f;
		}
		if (!is_mapped && (field->is_required || field->is_key)) {
			return GX_ERR(e, GX_REJECT, "adapter.declaration",
				      "%s: required item %s of %s has no "
				      "mapping",
				      where, field->name, h->r->name);
		}
	}
	for (size_t c = 0; c < h->n_columns; c++) {
		if (h->holds[c] == 0) {
			return GX_ERR(e, GX_REJECT, "adapter.declaration",
				      "%s: column %s is mapped by conversions "
				      "that no one type fits",
				      where, h->columns[c]);
		}
	}
	return GX_OK;
}

static enum gx_rc
name_items(struct gx_host *h, struct gx_err *e)
{
	h->items = gx_arena_alloc(h->conf, h->r->n_fields * sizeof(*h->items));
	for (size_t i = 0; h->items != NULL && i < h->r->n_fields; i++) {
		const char *name = h->r->fields[i].name;
		size_t n = strlen(name);
		struct host_item *it = &h->items[i];

		it->name = name;
		it->member = gx_arena_alloc(h->conf, n + 4);
		it->pointer = gx_arena_alloc(h->conf, n + 2);
		if (it->member == NULL || it->pointer == NULL) {
			h->items = NULL;
			break;
		}
		(void)snprintf(it->member, n + 4, "\"%s\":", name);
		(void)snprintf(it->pointer, n + 2, "/%s", name);
	}
	if (h->items == NULL && h->r->n_fields > 0) {
		return GX_ERR(e, GX_REJECT, "adapter.declaration",
			      "resource %s has too many items", h->r->name);
	}
	return GX_OK;
}

enum gx_rc
gx_host_read_map(struct gx_host *h, const struct gx_json *map,
		 const char *where, struct gx_err *e)
{
	struct place at = {where, 0};
	enum gx_rc rc = name_items(h, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (map == NULL || map->type != GX_JSON_ARRAY || map->n == 0) {
		return GX_ERR(e, GX_REJECT, "adapter.declaration",
			      "%s: must be an array of {item, column, ...}",
			      where);
	}
	h->map = gx_arena_alloc(h->conf, map->n * sizeof(*h->map));
	if (h->map == NULL) {
		return refuse(e, at, "", "the mapping is too large");
	}
	for (const struct gx_json *row = map->child; row != NULL;
	     row = row->next, at.i++) {
		struct gx_abi_map m;

		memset(&m, 0, sizeof(m));
		rc = read_row(h, row, &m, at, e);
		if (rc != GX_OK) {
			return rc;
		}
		if (!insert_map(h, &m)) {
			return refuse(e, at, "item", "is mapped twice");
		}
	}
	return check_complete(h, where, e);
}
