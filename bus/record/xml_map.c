/*
 * The map of an XML document: JSON in, a tree of steps out.
 *
 * All paths of a map, that of the record and those of its fields, are steps
 * through one tree.  The reader walks it along with the document, one node a
 * level, so an element costs a look at the few children of the node it is at,
 * whatever the number of fields.  Names are resolved to namespace and local
 * name here; a prefix means nothing later.
 *
 * It is strict: an unknown key, a key of the wrong kind, a name twice, a path
 * with anything but names in it refuses the map with the JSON pointer of the
 * place.  What is accepted does exactly what it says, and a typing mistake
 * never becomes a member that is silently missing.
 *
 * A map is immutable and owns all it lends in one arena.  If we die on any
 * line, or refuse, nothing of it stays.
 */
#include "record/xml_int.h"

#include "base/json.h"

#define MAP_MAGIC 0x786d6170u
#define TEXT_MAX ((size_t)4 << 20)

struct maker {
	struct gx_xml_map *map;
	const struct gx_json *namespaces;
	bool has_trim;
	char at[80]; /* pointer of what is being read */
	struct gx_err *e;
};

static bool
refuse(struct maker *m, const char *key, const char *why)
{
	(void)GX_ERR(m->e, GX_REJECT, "xml.map", "%s%s%.40s: %s", m->at,
		     *key ? "/" : "", key, why);
	return false;
}

/* Is the name one of these words, which are separated by blanks? */
static bool
is_word(struct gx_slice name, const char *words)
{
	for (const char *p = words; *p;) {
		size_t n = strcspn(p, " ");
		if (gx_slice_eq(name, gx_slice(p, n))) {
			return true;
		}
		p += n + (p[n] == ' ');
	}
	return false;
}

static bool
has_only(struct maker *m, const struct gx_json *obj, const char *words)
{
	for (const struct gx_json *v = obj->child; v; v = v->next) {
		if (!is_word(v->name, words)) {
			return refuse(m, "", "an unknown key in it");
		}
	}
	return true;
}

/* A string without NUL; NULL if absent, with *good left alone. */
static const char *
read_text(struct maker *m, const struct gx_json *obj, const char *key,
	  bool *good)
{
	const struct gx_json *v = gx_json_get(obj, key);

	if (!v) {
		return NULL;
	}
	if (v->type != GX_JSON_STRING || strlen(v->text.p) != v->text.n) {
		*good = refuse(m, key, "must be a string");
		return NULL;
	}
	return v->text.p;
}

static bool
read_flag(struct maker *m, const struct gx_json *obj, const char *key,
	  bool *good)
{
	const struct gx_json *v = gx_json_get(obj, key);

	if (v && v->type != GX_JSON_TRUE && v->type != GX_JSON_FALSE) {
		*good = refuse(m, key, "must be true or false");
	}
	return v && v->type == GX_JSON_TRUE;
}

/* NCName of XML, but that letters outside ASCII are not looked at closely. */
static bool
is_ncname(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
		bool is_later = (c >= '0' && c <= '9') || c == '-' || c == '.';
		if (!is_letter && c != '_' && c < 0x80 &&
		    (i == 0 || !is_later)) {
			return false;
		}
	}
	return n > 0;
}

static const char *
keep(struct maker *m, const char *p, size_t n)
{
	char *copy = gx_arena_dup(m->map->arena, p, n);

	GX_ASSERT(copy); /* the arena has room for several times the text */
	return copy;
}

/* "p:local" of n bytes. */
static bool
read_name(struct maker *m, const char *p, size_t n, bool is_attribute,
	  struct gx_xml_name *out)
{
	const char *colon = memchr(p, ':', n);
	size_t n_prefix = colon ? (size_t)(colon - p) : 0;
	const char *local = colon ? colon + 1 : p;
	size_t n_local = n - (size_t)(local - p);
	const char *uri = NULL;

	if (!is_ncname(local, n_local) || (colon && !is_ncname(p, n_prefix))) {
		return refuse(m, "", "a step of the path is no name");
	}
	if (colon || !is_attribute) {
		const struct gx_json *v =
			m->namespaces ? m->namespaces->child : NULL;
		while (v && !gx_slice_eq(v->name, gx_slice(p, n_prefix))) {
			v = v->next;
		}
		uri = v ? v->text.p : NULL;
		if (n_prefix == 3 && memcmp(p, "xml", 3) == 0) {
			uri = "http://www.w3.org/XML/1998/namespace";
		}
		if (colon && !uri) {
			return refuse(m, "", "a prefix is not in namespaces");
		}
	}
	out->uri = uri ? keep(m, uri, strlen(uri)) : NULL;
	out->local = keep(m, local, n_local);
	return true;
}

static bool
is_same(const struct gx_xml_node *node, const struct gx_xml_name *name,
	bool is_attribute)
{
	bool is_uri = node->name.uri && name->uri
			      ? strcmp(node->name.uri, name->uri) == 0
			      : node->name.uri == name->uri;

	return is_uri && node->is_attribute == is_attribute &&
	       strcmp(node->name.local, name->local) == 0;
}

/* The child of a node by this name, made if there is none. */
static bool
go_down(struct maker *m, uint32_t *at, const struct gx_xml_name *name,
	bool is_attribute)
{
	struct gx_xml_map *map = m->map;
	uint32_t *link = &map->nodes[*at].child;

	while (*link != GX_XML_NONE) {
		if (is_same(&map->nodes[*link], name, is_attribute)) {
			*at = *link;
			return true;
		}
		link = &map->nodes[*link].sibling;
	}
	if (map->n_nodes == GX_XML_NODES) {
		return refuse(m, "", "the paths have more than 4096 steps");
	}
	*link = *at = map->n_nodes++;
	map->nodes[*at] = (struct gx_xml_node){.name = *name,
					       .is_attribute = is_attribute,
					       .child = GX_XML_NONE,
					       .sibling = GX_XML_NONE,
					       .field = GX_XML_NONE};
	return true;
}

/* Walk a path down from *at; only a field's may end in an attribute. */
static bool
walk(struct maker *m, const char *path, bool is_field, uint32_t *at)
{
	for (int n_steps = 0;; n_steps++) {
		size_t n = strcspn(path, "/");
		bool is_last = path[n] == '\0';
		bool is_attribute = is_field && is_last && *path == '@';
		struct gx_xml_name name;

		if (n_steps == GX_XML_STEPS) {
			return refuse(m, "", "the path has more than 32 steps");
		}
		if (!read_name(m, path + is_attribute, n - is_attribute,
			       is_attribute, &name) ||
		    !go_down(m, at, &name, is_attribute)) {
			return false;
		}
		if (is_last) {
			return true;
		}
		path += n + 1;
	}
}

static bool
read_path(struct maker *m, const char *path, uint32_t i)
{
	struct gx_xml_map *map = m->map;
	uint32_t at = map->record;

	if (strncmp(path, "./", 2) == 0) {
		path += 2;
	}
	if (strcmp(path, ".") != 0 && !walk(m, path, true, &at)) {
		return false;
	}
	uint32_t *link = &map->nodes[at].field;
	while (*link != GX_XML_NONE) {
		link = &map->fields[*link].next;
	}
	*link = i;
	return true;
}

static bool
read_type(struct maker *m, const char *type, const char *format,
	  struct gx_xml_field *f)
{
	static const char *const words[] = {"string", "integer", "decimal",
					    "boolean"};
	size_t i = 0;

	while (type && i < 4 && strcmp(type, words[i]) != 0) {
		i++;
	}
	if (i == 4) {
		return refuse(m, "type", "is no type");
	}
	f->type = (enum gx_xml_type)i;
	if (!format) {
		return true;
	}
	f->format = gx_format_find(gx_slice_str(format));
	if (!f->format) {
		return refuse(m, "format", "is no format");
	}
	return f->type == GX_XML_STRING ||
	       refuse(m, "format", "only a string has one");
}

static bool
set_name(struct maker *m, struct gx_xml_field *f, const char *name)
{
	struct gx_buf b;

	for (uint32_t i = 0; i < m->map->n_fields; i++) {
		if (strcmp(m->map->fields[i].name, name) == 0) {
			return refuse(m, "name", "stands twice");
		}
	}
	gx_buf_init(&b, 6 * strlen(name) + 3);
	(void)gx_buf_putc(&b, '"');
	(void)gx_json_escape(&b, gx_slice_str(name));
	(void)gx_buf_puts(&b, "\":");
	f->name = keep(m, name, strlen(name));
	f->head = gx_slice(keep(m, b.p, b.n), b.n);
	gx_buf_free(&b);
	return true;
}

static bool
read_field(struct maker *m, const struct gx_json *v)
{
	struct gx_xml_map *map = m->map;
	struct gx_xml_field *f = &map->fields[map->n_fields];
	bool good = true;

	snprintf(m->at, sizeof(m->at), "/fields/%u", map->n_fields);
	if (v->type != GX_JSON_OBJECT) {
		return refuse(m, "", "must be an object");
	}
	if (!has_only(m, v, "name path array trim required type format")) {
		return false;
	}
	const char *name = read_text(m, v, "name", &good);
	const char *path = read_text(m, v, "path", &good);
	const char *type = read_text(m, v, "type", &good);
	const char *format = read_text(m, v, "format", &good);
	*f = (struct gx_xml_field){
		.is_array = read_flag(m, v, "array", &good),
		.is_required = read_flag(m, v, "required", &good),
		.has_trim = gx_json_get(v, "trim")
				    ? read_flag(m, v, "trim", &good)
				    : m->has_trim,
		.next = GX_XML_NONE,
	};
	if (!good) {
		return false;
	}
	if (!name || !*name || !path) {
		return refuse(m, "", "needs a name and a path");
	}
	if (!set_name(m, f, name) || !read_type(m, type, format, f) ||
	    !read_path(m, path, map->n_fields)) {
		return false;
	}
	map->n_fields++;
	return true;
}

static bool
read_fields(struct maker *m, const struct gx_json *list)
{
	if (!list || list->type != GX_JSON_ARRAY || list->n == 0 ||
	    list->n > GX_XML_FIELDS) {
		return refuse(m, "fields", "must be a list of 1 to 1024");
	}
	m->map->fields = gx_arena_alloc(m->map->arena,
					list->n * sizeof(*m->map->fields));
	GX_ASSERT(m->map->fields);
	for (const struct gx_json *v = list->child; v; v = v->next) {
		if (!read_field(m, v)) {
			return false;
		}
	}
	return true;
}

static bool
read_namespaces(struct maker *m, const struct gx_json *obj)
{
	m->namespaces = obj;
	if (obj && obj->type != GX_JSON_OBJECT) {
		return refuse(m, "namespaces", "must be an object");
	}
	for (const struct gx_json *v = obj ? obj->child : NULL; v;
	     v = v->next) {
		if (v->name.n > 0 && !is_ncname(v->name.p, v->name.n)) {
			return refuse(m, "namespaces", "a prefix is no name");
		}
		if (v->type != GX_JSON_STRING || v->text.n == 0 ||
		    strlen(v->text.p) != v->text.n) {
			return refuse(m, "namespaces", "a URI is no text");
		}
	}
	return true;
}

static bool
read_map(struct maker *m, const struct gx_json *root)
{
	struct gx_xml_map *map = m->map;
	bool good = true;

	if (root->type != GX_JSON_OBJECT) {
		return refuse(m, "", "must be an object");
	}
	if (!has_only(m, root, "record namespaces trim fields")) {
		return false;
	}
	const char *path = read_text(m, root, "record", &good);
	m->has_trim = read_flag(m, root, "trim", &good);
	if (!good || !read_namespaces(m, gx_json_get(root, "namespaces"))) {
		return false;
	}
	if (!path || path[0] != '/') {
		return refuse(m, "record", "must be a path from the root");
	}
	map->nodes =
		gx_arena_alloc(map->arena, GX_XML_NODES * sizeof(*map->nodes));
	GX_ASSERT(map->nodes);
	map->nodes[0] = (struct gx_xml_node){.child = GX_XML_NONE,
					     .sibling = GX_XML_NONE,
					     .field = GX_XML_NONE};
	map->n_nodes = 1;
	snprintf(m->at, sizeof(m->at), "/record");
	return walk(m, path + 1, false, &map->record) &&
	       read_fields(m, gx_json_get(root, "fields"));
}

enum gx_rc
gx_xml_map_new(struct gx_slice text, struct gx_xml_map **out, struct gx_err *e)
{
	struct gx_arena *a = gx_arena_new(64 * TEXT_MAX);
	struct maker m = {.e = e};
	const struct gx_json *root;
	enum gx_rc rc = GX_REJECT;
	struct gx_err why = {0};

	*out = NULL;
	m.map = gx_mem_new(sizeof(*m.map));
	m.map->magic = MAP_MAGIC;
	m.map->arena = gx_arena_new(16 * TEXT_MAX);
	if (text.n > TEXT_MAX) {
		rc = GX_ERR(e, GX_REJECT, "xml.map", "longer than 4 MiB");
	} else if (gx_json_parse(a, text, &root, &why) != GX_OK) {
		rc = GX_ERR(e, GX_REJECT, "xml.map", "%s", why.text);
	} else if (read_map(&m, root)) {
		*out = m.map;
		m.map = NULL;
		rc = GX_OK;
	}
	gx_xml_map_free(&m.map);
	gx_arena_free(&a);
	return rc;
}

void
gx_xml_map_free(struct gx_xml_map **m)
{
	if (*m) {
		GX_ASSERT((*m)->magic == MAP_MAGIC);
		gx_arena_free(&(*m)->arena);
		(*m)->magic = 0;
		gx_mem_free(*m);
		*m = NULL;
	}
}
