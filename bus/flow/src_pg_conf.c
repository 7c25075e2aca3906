/*
 * The declaration of an adapter instance over a PostgreSQL database.
 *
 * It is written by the people of a department or of a city, who know their
 * tables and not this program.  So it is strict and speaks plainly: an unknown
 * member, a resource that does not exist or a password in the open are refused
 * with the JSON pointer of the place and what would be right.  Nothing is
 * connected to here; "--check-config" runs exactly this.
 *
 * What is read lives in the source's arena as long as the source.  The
 * connection string is kept apart, because it may hold a password from a file
 * of its own, and is wiped at the end.
 */
#include "base/text.h"
#include "flow/src_pg_int.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#define DECL_MAX (4u << 20)
#define CONNINFO_MAX 8192

static enum gx_rc
refuse(struct gx_err *e, const char *pointer, const char *why)
{
	return GX_ERR(e, GX_REJECT, "adapter.declaration", "%s: %s", pointer,
		      why);
}

struct member {
	const char *name;	/* NULL ends the list */
	enum gx_json_type type; /* GX_JSON_TRUE: either boolean */
};

static bool
is_of_type(const struct gx_json *m, enum gx_json_type type)
{
	return m->type == type ||
	       (type == GX_JSON_TRUE && m->type == GX_JSON_FALSE);
}

static const char *
type_name(enum gx_json_type type)
{
	static const char *const names[] = {
		[GX_JSON_NULL] = "null",
		[GX_JSON_FALSE] = "true or false",
		[GX_JSON_TRUE] = "true or false",
		[GX_JSON_NUMBER] = "a number",
		[GX_JSON_STRING] = "a string",
		[GX_JSON_ARRAY] = "an array",
		[GX_JSON_OBJECT] = "an object",
	};

	return names[type];
}

static enum gx_rc
check_members(const struct gx_json *obj, const char *pointer,
	      const struct member *known, struct gx_err *e)
{
	if (obj == NULL || obj->type != GX_JSON_OBJECT) {
		return refuse(e, pointer, "must be an object");
	}
	for (const struct gx_json *m = obj->child; m != NULL; m = m->next) {
		const struct member *k = known;
		int n = (int)(m->name.n < 60 ? m->name.n : 60);

		while (k->name != NULL &&
		       !gx_slice_eq(m->name, gx_slice_str(k->name))) {
			k++;
		}
		if (k->name == NULL) {
			return GX_ERR(e, GX_REJECT, "adapter.declaration",
				      "%s/%.*s: unknown member; docs/"
				      "adapter.md lists those there are",
				      pointer, n, m->name.p);
		}
		if (!is_of_type(m, k->type)) {
			return GX_ERR(e, GX_REJECT, "adapter.declaration",
				      "%s/%.*s: must be %s", pointer, n,
				      m->name.p, type_name(k->type));
		}
	}
	return GX_OK;
}

static bool
is_word(const char *s, const char *extra, size_t max)
{
	size_t n = 0;

	for (; s != NULL && s[n] != '\0'; n++) {
		bool is_plain = (s[n] >= 'a' && s[n] <= 'z') ||
				(s[n] >= '0' && s[n] <= '9');

		if (!is_plain && strchr(extra, s[n]) == NULL) {
			return false;
		}
	}
	return n > 0 && n <= max;
}

static enum gx_rc
read_file(const char *path, bool is_secret, struct gx_buf *out,
	  struct gx_err *e)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	char part[4096];
	size_t n;

	if (f == NULL) {
		return GX_ERR(e, GX_REJECT, "adapter.file",
			      "%s cannot be read: %s", path, strerror(errno));
	}
	if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode) ||
	    (is_secret && (st.st_mode & 077) != 0)) {
		(void)fclose(f);
		return GX_ERR(e, GX_REJECT, "adapter.secret_mode",
			      "%s must be a plain file%s", path,
			      is_secret ? " that only its owner may read: "
					  "chmod 600 it"
					: "");
	}
	while ((n = fread(part, 1, sizeof(part), f)) > 0) {
		(void)gx_buf_put(out, part, n);
	}
	gx_mem_wipe(part, sizeof(part));
	(void)fclose(f);
	if (out->failed) {
		return GX_ERR(e, GX_REJECT, "adapter.file", "%s is too long",
			      path);
	}
	return GX_OK;
}

/* A path in the declaration is relative to the declaration's folder. */
static void
resolve(const char *decl_path, const char *name, char out[PATH_MAX])
{
	const char *slash = strrchr(decl_path, '/');

	if (name[0] == '/' || slash == NULL) {
		(void)snprintf(out, PATH_MAX, "%s", name);
	} else {
		(void)snprintf(out, PATH_MAX, "%.*s/%s",
			       (int)(slash - decl_path), decl_path, name);
	}
}

static enum gx_rc
read_connection(struct gx_src_pg *src, const struct gx_json *conn,
		const char *decl_path, struct gx_err *e)
{
	static const struct member known[] = {{"conninfo", GX_JSON_STRING},
					      {"conninfo_file", GX_JSON_STRING},
					      {"passfile", GX_JSON_STRING},
					      {NULL, GX_JSON_NULL}};
	const char *conninfo = gx_json_str(conn, "conninfo", NULL);
	const char *file = gx_json_str(conn, "conninfo_file", NULL);
	const char *passfile = gx_json_str(conn, "passfile", NULL);
	char path[PATH_MAX];
	struct gx_err why = {0};
	struct gx_buf *b = &src->conninfo, text;
	enum gx_rc rc = check_members(conn, "/connection", known, e);

	if (rc != GX_OK) {
		return rc;
	}
	if ((conninfo == NULL) == (file == NULL)) {
		return refuse(e, "/connection",
			      "needs either conninfo or conninfo_file");
	}
	gx_buf_init(&text, CONNINFO_MAX);
	if (file != NULL) {
		resolve(decl_path, file, path);
		rc = read_file(path, true, &text, e);
		while (text.n > 0 && (text.p[text.n - 1] == '\n' ||
				      text.p[text.n - 1] == '\r')) {
			gx_buf_cut(&text, text.n - 1);
		}
	} else {
		(void)gx_buf_puts(&text, conninfo);
	}
	if (passfile != NULL) {
		resolve(decl_path, passfile, path);
	}
	if (rc == GX_OK &&
	    gx_pg_conninfo(gx_buf_str(&text), passfile != NULL ? path : NULL,
			   file != NULL, b, &why) != GX_OK) {
		rc = GX_ERR(e, GX_REJECT, "adapter.declaration",
			    "/connection/%s: %s; a password belongs into "
			    "passfile, or the whole string into "
			    "conninfo_file, mode 0600",
			    file != NULL ? "conninfo_file" : "conninfo",
			    why.text);
	}
	if (text.p != NULL) {
		gx_mem_wipe(text.p, text.cap);
	}
	gx_buf_free(&text);
	return rc;
}

static enum gx_rc
read_duration(const struct gx_json *d, const char *name, const char *dflt,
	      int64_t *out, struct gx_err *e)
{
	uint64_t ms = 0;

	if (!gx_parse_duration(gx_json_str(d, name, dflt), &ms) ||
	    ms > 86400000) {
		return GX_ERR(e, GX_REJECT, "adapter.declaration",
			      "/%s: must be a duration like \"10s\", at most "
			      "24h",
			      name);
	}
	*out = (int64_t)ms;
	return GX_OK;
}

static enum gx_rc
read_ceilings(struct gx_src_pg *src, const struct gx_json *d, struct gx_err *e)
{
	const char *what = gx_json_str(d, "on_slot_lag_max", "drop");
	const char *again = gx_json_str(d, "begin_again_after", NULL);
	enum gx_rc rc;

	if (!gx_parse_size(gx_json_str(d, "slot_lag_max", "512M"),
			   &src->slot_lag_max) ||
	    src->slot_lag_max < (16u << 20)) {
		return refuse(e, "/slot_lag_max",
			      "must be a size like \"512M\", at least 16M");
	}
	if (strcmp(what, "drop") != 0 && strcmp(what, "warn") != 0) {
		return refuse(e, "/on_slot_lag_max",
			      "must be \"drop\" or \"warn\"");
	}
	if (!gx_parse_size(gx_json_str(d, "slot_lag_hard", "0"),
			   &src->slot_lag_hard) ||
	    (src->slot_lag_hard != 0 &&
	     src->slot_lag_hard < src->slot_lag_max)) {
		return refuse(e, "/slot_lag_hard",
			      "must be a size like \"1G\", at least "
			      "slot_lag_max");
	}
	if (src->slot_lag_hard == 0) {
		src->slot_lag_hard = 2 * src->slot_lag_max;
	}
	src->drops_slot = strcmp(what, "drop") == 0;
	if (again != NULL && !gx_lsn_parse(again, &src->begin_again_after)) {
		return refuse(e, "/begin_again_after",
			      "must be a WAL position like \"0/16B3748\"");
	}
	rc = read_duration(d, "steal_after", "10s", &src->steal_after_ms, e);
	if (rc == GX_OK) {
		rc = read_duration(d, "slot_lag_wait", "60s",
				   &src->slot_lag_wait_ms, e);
	}
	if (rc == GX_OK) {
		rc = read_duration(d, "reload_quiet", "10s",
				   &src->reload_quiet_ms, e);
	}
	return rc;
}

static enum gx_rc
read_names(struct gx_src_pg *src, const struct gx_json *d, const char *node,
	   struct gx_err *e)
{
	const char *name = gx_json_str(d, "name", NULL);
	const char *org = gx_json_str(d, "org", NULL);
	const char *slot = gx_json_str(d, "slot", NULL);
	const char *publication = gx_json_str(d, "publication", slot);
	char text[160];

	if (!is_word(name, "-", 32)) {
		return refuse(e, "/name", "must be 1 to 32 of a-z, 0-9 and -");
	}
	if (!is_word(org, "-", 32)) {
		return refuse(e, "/org", "must be 1 to 32 of a-z, 0-9 and -");
	}
	if (!is_word(slot, "_", GX_PG_SLOT_MAX)) {
		return refuse(e, "/slot", "must be 1 to 63 of a-z, 0-9 and _");
	}
	if (!is_word(publication, "_", 63)) {
		return refuse(e, "/publication",
			      "must be 1 to 63 of a-z, 0-9 and _");
	}
	(void)snprintf(src->place.slot, sizeof(src->place.slot), "%s", slot);
	src->publication =
		gx_arena_dup(src->conf, publication, strlen(publication));
	(void)snprintf(text, sizeof(text), "/%s/%s/%s", node, org, name);
	src->origin = gx_arena_dup(src->conf, text, strlen(text));
	/* PostgreSQL cuts the name at 63 bytes: so do we, to know ours. */
	(void)snprintf(text, 64, "gxbus %s", src->origin);
	src->app = gx_arena_dup(src->conf, text, strlen(text));
	src->may_create = gx_json_bool(d, "create_publication", true);
	return GX_OK;
}

/* "public.ac01" or "ac01". */
static bool
split_table(struct gx_src_pg *src, const char *text, struct pg_table *t)
{
	const char *dot = text == NULL ? NULL : strchr(text, '.');
	struct gx_slice ns = GX_SLICE("public");

	if (text == NULL || text[0] == '\0' || text[0] == '.' ||
	    strlen(text) > 127) {
		return false;
	}
	if (dot != NULL) {
		ns = gx_slice(text, (size_t)(dot - text));
		text = dot + 1;
	}
	t->ns = gx_arena_dup(src->conf, ns.p, ns.n);
	t->name = gx_arena_dup(src->conf, text, strlen(text));
	return t->name[0] != '\0';
}

static enum gx_rc
read_table(struct gx_src_pg *src, const struct gx_source_conf *conf,
	   const struct gx_json *d, size_t i, struct gx_err *e)
{
	static const struct member known[] = {{"table", GX_JSON_STRING},
					      {"resource", GX_JSON_STRING},
					      {"streams", GX_JSON_NUMBER},
					      {"map", GX_JSON_ARRAY},
					      {NULL, GX_JSON_NULL}};
	struct pg_table *t = &src->tables[i];
	const char *resource = gx_json_str(d, "resource", "");
	struct gx_host_conf host = {.map = gx_json_get(d, "map")};
	char where[64];
	int64_t n;
	enum gx_rc rc;

	(void)snprintf(where, sizeof(where), "/tables/%zu", i);
	gx_buf_init(&t->seen_columns, 256 * 1024);
	rc = check_members(d, where, known, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (!split_table(src, gx_json_str(d, "table", NULL), t)) {
		return GX_ERR(e, GX_REJECT, "adapter.declaration",
			      "%s/table: must be \"schema.table\"", where);
	}
	t->resource = conf->resource(conf->ctx, resource);
	if (t->resource == NULL) {
		return GX_ERR(e, GX_REJECT, "adapter.declaration",
			      "%s/resource: no such resource is declared; "
			      "look into schemas/resources",
			      where);
	}
	for (size_t k = 0; k < i; k++) {
		struct pg_table *o = &src->tables[k];

		if (o->resource == t->resource ||
		    (strcmp(o->ns, t->ns) == 0 &&
		     strcmp(o->name, t->name) == 0)) {
			return GX_ERR(e, GX_REJECT, "adapter.declaration",
				      "%s: this table or resource stands "
				      "twice; one instance maps each once",
				      where);
		}
	}
	n = gx_json_int(d, "streams", t->resource->n_streams);
	if (n < 1 || n > 256) {
		return GX_ERR(e, GX_REJECT, "adapter.declaration",
			      "%s/streams: must be 1 to 256", where);
	}
	t->n_streams = (size_t)n;
	t->first_stream = src->n_streams;
	src->n_streams += t->n_streams;
	(void)snprintf(where, sizeof(where), "/tables/%zu/map", i);
	host.where = where;
	host.r = t->resource;
	rc = gx_host_find("row", where, &host.adapter, e);
	return rc == GX_OK ? gx_host_new(&host, &t->host, e) : rc;
}

static void
name_streams(struct gx_src_pg *src)
{
	src->streams = gx_mem_new(src->n_streams * sizeof(*src->streams));
	for (size_t i = 0; i < src->n_tables; i++) {
		struct pg_table *t = &src->tables[i];

		for (size_t k = 0; k < t->n_streams; k++) {
			struct pg_stream *st =
				&src->streams[t->first_stream + k];
			char text[256];

			(void)snprintf(text, sizeof(text), "%s/%s/%zu",
				       src->origin, t->resource->name, k);
			st->name = gx_arena_dup(src->conf, text, strlen(text));
			st->table = i;
			gx_buf_init(&st->key, GX_PG_POS_KEY + 8);
		}
	}
}

static enum gx_rc
read_tree(struct gx_src_pg *src, const struct gx_source_conf *conf,
	  const struct gx_json *d, struct gx_err *e)
{
	static const struct member known[] = {
		{"name", GX_JSON_STRING},
		{"org", GX_JSON_STRING},
		{"kind", GX_JSON_STRING},
		{"connection", GX_JSON_OBJECT},
		{"slot", GX_JSON_STRING},
		{"publication", GX_JSON_STRING},
		{"create_publication", GX_JSON_TRUE},
		{"slot_lag_max", GX_JSON_STRING},
		{"slot_lag_hard", GX_JSON_STRING},
		{"slot_lag_wait", GX_JSON_STRING},
		{"on_slot_lag_max", GX_JSON_STRING},
		{"steal_after", GX_JSON_STRING},
		{"reload_quiet", GX_JSON_STRING},
		{"begin_again_after", GX_JSON_STRING},
		{"tables", GX_JSON_ARRAY},
		{NULL, GX_JSON_NULL}};
	const struct gx_json *tables = gx_json_get(d, "tables"), *row;
	size_t i = 0;
	enum gx_rc rc = check_members(d, "", known, e);

	if (rc == GX_OK) {
		rc = read_names(src, d, conf->node, e);
	}
	if (rc == GX_OK) {
		rc = read_connection(src, gx_json_get(d, "connection"),
				     conf->path, e);
	}
	if (rc == GX_OK) {
		rc = read_ceilings(src, d, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	if (tables == NULL || tables->type != GX_JSON_ARRAY || tables->n == 0 ||
	    tables->n > SRC_PG_STREAMS / 8) {
		return refuse(e, "/tables",
			      "must be an array of {table, resource, map}");
	}
	src->tables = gx_mem_new(tables->n * sizeof(*src->tables));
	for (row = tables->child; row != NULL; row = row->next, i++) {
		src->n_tables = i + 1;
		rc = read_table(src, conf, row, i, e);
		if (rc != GX_OK) {
			return rc;
		}
	}
	if (src->n_streams > SRC_PG_STREAMS) {
		return refuse(e, "/tables", "more streams than one source has");
	}
	name_streams(src);
	return GX_OK;
}

enum gx_rc
gx_src_pg_read_conf(struct gx_src_pg *src, const struct gx_source_conf *conf,
		    struct gx_err *e)
{
	struct gx_arena *a = gx_arena_new(8u << 20);
	const struct gx_json *tree;
	struct gx_buf text;
	enum gx_rc rc;

	gx_buf_init(&text, DECL_MAX);
	gx_buf_init(&src->conninfo, CONNINFO_MAX);
	src->conf = gx_arena_new(8u << 20);
	rc = read_file(conf->path, false, &text, e);
	if (rc == GX_OK) {
		rc = gx_json_parse(a, gx_buf_view(&text), &tree, e);
	}
	if (rc == GX_OK) {
		rc = read_tree(src, conf, tree, e);
	}
	if (rc != GX_OK) {
		gx_err_note(e, "%s", conf->path);
	}
	gx_buf_free(&text);
	gx_arena_free(&a);
	return rc;
}
