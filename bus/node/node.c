/*
 * Node: identity, keys and declarations of one daemon.
 *
 * Everything here is read once, at start, and never changes while the daemon
 * runs: a changed declaration or trust folder wants a restart.  The keys of
 * the trust folder are read here only to see that they can be read; each
 * worker loads its own ring, because a key belongs to one thread at a time.
 *
 * A declaration that cannot be read refuses the start: a node that silently
 * lacked a resource would let its streams wait for ever.  Two files that
 * declare the same resource are refused too.
 *
 * Nothing is written.  If we die on any line there is nothing to clean up.
 */
#include "node/node.h"

#include "base/text.h"
#include "flow/store_pg.h"
#include "trust/seal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 4
#define PROPS_MAX 64

static enum gx_rc
add_resource(struct gx_node *n, const char *path, struct gx_err *e)
{
	struct gx_node_resource *slot = &n->resources[n->n_resources];
	unsigned char sum[GX_SM3];
	char hex[2 * GX_SM3 + 1];
	enum gx_rc rc;

	if (n->n_resources == GX_NODE_RESOURCES) {
		return GX_ERR(e, GX_REJECT, "node.resources",
			      "more than %d declarations of resources",
			      GX_NODE_RESOURCES);
	}
	rc = gx_resource_load(path, &slot->r, e);
	if (rc != GX_OK) {
		gx_err_note(e, "%s", path);
		return rc;
	}
	n->n_resources++;
	for (size_t i = 0; i + 1 < n->n_resources; i++) {
		if (strcmp(n->resources[i].r->name, slot->r->name) == 0) {
			return GX_ERR(e, GX_REJECT, "node.resources",
				      "%s is declared twice, the second time "
				      "in %s: keep one",
				      slot->r->name, path);
		}
	}
	gx_sm3(slot->r->text.p, slot->r->text.n, sum);
	gx_hex(sum, sizeof sum, hex);
	snprintf(slot->id, sizeof slot->id, "%s@%d:%s", slot->r->name,
		 slot->r->version, hex);
	return GX_OK;
}

static enum gx_rc
load_folder(struct gx_node *n, const char *dir, int depth, struct gx_err *e)
{
	struct dirent **list = NULL;
	int n_list = scandir(dir, &list, NULL, alphasort);
	enum gx_rc rc = GX_OK;

	if (n_list < 0) {
		return GX_ERR(e, GX_REJECT, "node.resources",
			      "[node] resources: cannot read folder %s: %s",
			      dir, strerror(errno));
	}
	for (int i = 0; i < n_list; i++) {
		const char *name = list[i]->d_name;
		size_t len = strlen(name);
		char path[1024];
		struct stat st;

		if (rc == GX_OK && name[0] != '.' &&
		    snprintf(path, sizeof path, "%s/%s", dir, name) <
			    (int)sizeof path &&
		    stat(path, &st) == 0) {
			if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
				rc = load_folder(n, path, depth + 1, e);
			} else if (S_ISREG(st.st_mode) && len > 5 &&
				   strcmp(name + len - 5, ".json") == 0) {
				rc = add_resource(n, path, e);
			}
		}
		gx_mem_free(list[i]);
	}
	gx_mem_free(list);
	return rc;
}

/* The password never stands in our configuration, only libpq's file of it. */
static char *
make_conninfo(const struct gx_conf *c)
{
	const char *passfile =
		gx_conf_str(c, "node", NULL, "database_passfile");
	struct gx_buf b;
	char *s;

	gx_buf_init(&b, 8192);
	(void)gx_buf_puts(&b, gx_conf_str(c, "node", NULL, "database"));
	if (passfile[0] != '\0') {
		(void)gx_buf_puts(&b, " passfile='");
		for (const char *p = passfile; *p != '\0'; p++) {
			if (*p == '\'' || *p == '\\') {
				(void)gx_buf_putc(&b, '\\');
			}
			(void)gx_buf_putc(&b, *p);
		}
		(void)gx_buf_putc(&b, '\'');
	}
	s = gx_mem_strdup(gx_buf_str(&b));
	gx_buf_free(&b);
	return s;
}

static enum gx_rc
load_keys(const struct gx_node *n, struct gx_err *e)
{
	const char *dir = gx_conf_str(n->conf, "node", NULL, "trust");
	const char *path = gx_conf_str(n->conf, "node", NULL, "key");
	struct gx_keyring *ring = NULL;
	struct gx_key *key = NULL;
	enum gx_rc rc = gx_keyring_load(dir, &ring, e);

	gx_keyring_free(&ring);
	if (rc != GX_OK) {
		gx_err_note(e, "[node] trust = %s", dir);
	}
	for (size_t i = 0; rc == GX_OK && i < n->n_flows; i++) {
		if (n->flows[i].kind->needs & GX_NEEDS_KEY) {
			rc = gx_key_load_private(path, &key, e);
			gx_key_free(&key);
			if (rc != GX_OK) {
				gx_err_note(e, "[node] key = %s", path);
			}
		}
	}
	return rc;
}

static void
name_flows(struct gx_node *n)
{
	const char *name;
	unsigned wants = GX_DEP_DATABASE | GX_DEP_KAFKA | GX_DEP_FLOWS;

	for (size_t i = 0;
	     i < GX_NODE_FLOWS &&
	     (name = gx_conf_word(n->conf, "node", NULL, "flows", i)) != NULL;
	     i++) {
		struct gx_node_flow *f = &n->flows[n->n_flows++];

		f->name = name;
		f->restarts = -1;
		f->kind = gx_kind_find(
			gx_conf_str(n->conf, "flow", name, "kind"));
		if (f->kind->needs & GX_NEEDS_PARENT) {
			wants |= GX_DEP_PARENT;
		}
	}
	atomic_store(&n->wants, wants);
}

static void
add_to_subtree(struct gx_node *n, const char *id)
{
	size_t i = 0;

	while (n->subtree[i] != NULL && strcmp(n->subtree[i], id) != 0) {
		i++;
	}
	GX_ASSERT(i < GX_NODE_SUBTREE); /* conf_table.c counts them */
	n->subtree[i] = id;
}

static void
name_children(struct gx_node *n)
{
	const char *id, *below;

	n->own_topics[0] = n->topic;
	add_to_subtree(n, n->id);
	while ((id = gx_conf_name(n->conf, "child", n->n_children)) != NULL) {
		struct gx_node_child *c = &n->children[n->n_children++];

		c->id = id;
		snprintf(c->topic, sizeof c->topic, "gx.down.%s", id);
		n->own_topics[n->n_children] = c->topic;
		add_to_subtree(n, id);
		for (size_t i = 0; (below = gx_conf_word(n->conf, "child", id,
							 "subtree", i)) != NULL;
		     i++) {
			add_to_subtree(n, below);
		}
	}
}

enum gx_rc
gx_node_new(const struct gx_conf *conf, struct gx_node **out, struct gx_err *e)
{
	struct gx_node *n = gx_mem_new(sizeof *n);
	char host[48] = "localhost";
	enum gx_rc rc;

	n->conf = conf;
	n->id = gx_conf_str(conf, "node", NULL, "id");
	snprintf(n->topic, sizeof n->topic, "gx.batch.%s", n->id);
	snprintf(n->down_topic, sizeof n->down_topic, "gx.down.%s", n->id);
	(void)gethostname(host, sizeof host - 1);
	snprintf(n->process, sizeof n->process, "%s:%d", host, (int)getpid());
	n->conninfo = make_conninfo(conf);
	n->n_partitions =
		(int)gx_conf_int(conf, "node", NULL, "topic_partitions");
	name_flows(n);
	name_children(n);
	rc = load_folder(n, gx_conf_str(conf, "node", NULL, "resources"), 0, e);
	if (rc == GX_OK) {
		rc = load_keys(n, e);
	}
	if (rc != GX_OK) {
		gx_node_free(&n);
		return rc;
	}
	*out = n;
	return GX_OK;
}

void
gx_node_drop_flow(struct gx_node_flow *f)
{
	gx_source_free(&f->src);
	gx_store_free(&f->store);
	gx_box_free(&f->box);
	gx_sealer_free(&f->sealer);
	gx_key_free(&f->key);
	gx_verifier_free(&f->verifier);
	gx_keyring_free(&f->keyring);
	gx_kafka_free(&f->log);
	gx_kafka_free(&f->parent_log);
}

void
gx_node_free(struct gx_node **np)
{
	struct gx_node *n = *np;

	if (n == NULL) {
		return;
	}
	*np = NULL;
	for (size_t i = 0; i < n->n_flows; i++) {
		gx_node_drop_flow(&n->flows[i]);
	}
	gx_pg_close(&n->pg);
	for (size_t i = 0; i < n->n_resources; i++) {
		gx_resource_free(&n->resources[i].r);
	}
	gx_mem_free(n->conninfo);
	gx_mem_free(n);
}

const struct gx_node_resource *
gx_node_resource(const struct gx_node *n, const char *name)
{
	for (size_t i = 0; i < n->n_resources; i++) {
		if (strcmp(n->resources[i].r->name, name) == 0) {
			return &n->resources[i];
		}
	}
	return NULL;
}

bool
gx_node_trusts(const struct gx_node *n, const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
	char path[1024];

	return len > 0 && len <= 32 && name[len] == '\0' &&
	       snprintf(path, sizeof path, "%s/%s.pem",
			gx_conf_str(n->conf, "node", NULL, "trust"),
			name) < (int)sizeof path &&
	       access(path, R_OK) == 0;
}

enum gx_rc
gx_node_kafka(const struct gx_node *n, bool is_parent, struct gx_log **out,
	      struct gx_err *e)
{
	const char *section = is_parent ? "parent" : "kafka";
	const char *props[2 * PROPS_MAX + 1] = {0};
	char client[80];
	struct gx_kafka_conf conf = {
		.bootstrap = gx_conf_str(n->conf, section, NULL,
					 is_parent ? "kafka" : "bootstrap"),
		.client_id = client,
		.props = props,
	};

	snprintf(client, sizeof client, "gxbusd-%s", n->id);
	for (size_t i = 0;
	     i < PROPS_MAX && gx_conf_pair(n->conf, section, NULL, "kafka.*", i,
					   &props[2 * i], &props[2 * i + 1]);
	     i++) {
	}
	return gx_kafka_new(&conf, out, e);
}

enum gx_rc
gx_node_box(const struct gx_node *n, struct gx_box **out, struct gx_err *e)
{
	const char *path = gx_conf_str(n->conf, "node", NULL, "quarantine_key");

	*out = NULL;
	if (access(path, F_OK) != 0) {
		return GX_ERR(e, GX_FATAL, "quarantine.key",
			      "%.300s is not there: nothing can be set aside "
			      "or read of it",
			      path);
	}
	return gx_box_load(path, out, e);
}

enum gx_rc
gx_node_store(struct gx_node *n, struct gx_node_flow *f, struct gx_store **out,
	      struct gx_err *e)
{
	const struct gx_resource *list[GX_NODE_RESOURCES + 1] = {0};
	struct gx_store_pg_conf conf = {
		.conninfo = n->conninfo,
		.resources = list,
		.n_resources = n->n_resources,
		.node = n->id,
		.subtree = n->subtree,
		.gives = n->n_children > 0,
	};

	for (size_t i = 0; i < n->n_resources; i++) {
		list[i] = n->resources[i].r;
	}
	if (f != NULL && f->box == NULL) {
		enum gx_rc rc = gx_node_box(n, &f->box, e);

		if (rc != GX_OK) {
			return rc;
		}
	}
	if (f != NULL) {
		const char *flow = f->name;

		conf.box = f->box;
		conf.flow = flow;
		conf.check_line = gx_node_check_line;
		conf.check_ctx = f;
		conf.guard_percent = (int)gx_conf_int(n->conf, "flow", flow,
						      "guard_percent");
		conf.guard_floor = (uint64_t)gx_conf_int(n->conf, "flow", flow,
							 "guard_floor");
		conf.quarantine_max_rows = (uint64_t)gx_conf_int(
			n->conf, "flow", flow, "quarantine_max_rows");
	}
	return gx_store_pg_new(&conf, out, e);
}
