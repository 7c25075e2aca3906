/*
 * Configuration table of gxbusd.
 *
 * Each row is a key: its section, type, default, limits, and prose for the
 * person who has to set it.  Reading, checking, the sample file and "gxbus
 * config explain" all come from these rows, so there is no second list that
 * could tell another story.
 *
 * What a row cannot say, because it concerns several keys, stands in
 * gx_node_conf_check(): a flow that is to run must have a section, a source
 * needs the declaration of its adapter, a link needs a parent.  It refuses the
 * file before anything is opened or started; a daemon with a wrong
 * configuration does nothing at all.
 *
 * Nothing here touches a disk or a server except the modes of secret files,
 * which the reader of the file checks.
 */
#include "node/conf_table.h"

#include "node/kind.h"

#include <string.h>

#define NODE "node"
#define FLOW "flow"

/* From the rows of kind.def: "source sink ..." and "source: what it is." */
static const char kind_words[] =
#define GX_KIND(word, needs, ops, help) word " "
#include "node/kind.def"
#undef GX_KIND
	;
static const char kind_help[] = "What the flow does."
#define GX_KIND(word, needs, ops, help) " " word ": " help "."
#include "node/kind.def"
#undef GX_KIND
	;

const struct gx_conf_key gx_node_keys[] = {
	{NODE, "id", GX_CONF_STR, NULL, NULL, NULL,
	 "Name of this node, given when it joined: a-z 0-9 and -, at most 32. "
	 "It is the first part of every stream made here and never changes.",
	 false},
	{NODE, "region", GX_CONF_STR, "", NULL, NULL,
	 "Region digits this node serves (GB/T 2260), for people and reports.",
	 false},
	{NODE, "key", GX_CONF_SECRET, "node.key", NULL, NULL,
	 "Private SM2 key (PKCS#8 PEM, mode 0600) that seals what is made "
	 "here. "
	 "gxbus init makes one. Needed by sources only.",
	 false},
	{NODE, "quarantine_key", GX_CONF_SECRET, "quarantine.key", NULL, NULL,
	 "Secret (64 hex digits, mode 0600) that seals what is set aside. "
	 "gxbus "
	 "init makes one. Whoever loses it cannot read what is in the "
	 "quarantine; all daemons of a node have the same.",
	 false},
	{NODE, "trust", GX_CONF_PATH, "trust", NULL, NULL,
	 "Folder of public keys of the nodes this node believes: <node>.pem. "
	 "Its own must be there too.",
	 false},
	{NODE, "resources", GX_CONF_PATH, "/usr/share/gxbus/resources", NULL,
	 NULL,
	 "Folder of resource declarations, <domain>/<name>.json. Both ends of "
	 "a link must hold the same files.",
	 false},
	{NODE, "migrations", GX_CONF_PATH, "/usr/share/gxbus/sql", NULL, NULL,
	 "Folder of numbered SQL files that make this node's tables. Each is "
	 "applied once, at start.",
	 false},
	{NODE, "dir", GX_CONF_PATH, "/var/lib/gxbus", NULL, NULL,
	 "Working folder of the daemon. It must exist and be ours.", false},
	{NODE, "socket", GX_CONF_PATH, "", NULL, NULL,
	 "Unix socket of the HTTP API, behind nginx. Set it for exactly one "
	 "daemon of a node; without it this daemon answers no requests.",
	 false},
	{NODE, "database", GX_CONF_STR, NULL, NULL, NULL,
	 "PostgreSQL database of the node as a libpq connection string, "
	 "without password.",
	 false},
	{NODE, "database_passfile", GX_CONF_SECRET, "", NULL, NULL,
	 "Password file of libpq (host:port:database:user:password), mode "
	 "0600.",
	 false},
	{NODE, "flows", GX_CONF_LIST, "", NULL, NULL,
	 "Flows this daemon runs, by the names of their sections. The flows of "
	 "one node may be spread over several daemons.",
	 false},
	{NODE, "topic_partitions", GX_CONF_INT, "4", "1", "64",
	 "Partitions of this node's batch topic. Fixed at joining and equal at "
	 "both ends of a link; never change it later.",
	 false},
	{NODE, "log_level", GX_CONF_WORD, "info",
	 "fatal error warn notice info debug", NULL,
	 "Least grave lines of the log that are written. The only key that "
	 "SIGHUP reads again.",
	 false},
	{NODE, "log_json", GX_CONF_BOOL, "no", NULL, NULL,
	 "One JSON object per line of log instead of text.", false},
	{NODE, "http_max_body", GX_CONF_SIZE, "1M", "1k", "64M",
	 "Largest body of a request; larger ones are answered with 413.",
	 false},

	{NODE, "audit_max_lines", GX_CONF_INT, "10000000", "1000", "1000000000",
	 "Lines the audit log may hold. At its end no command is done any more "
	 "until it is raised.",
	 false},

	{"kafka", "bootstrap", GX_CONF_STR, NULL, NULL, NULL,
	 "Addresses of this node's Kafka, host:port separated by commas.",
	 false},
	{"kafka", "replication", GX_CONF_INT, "1", "1", "15",
	 "Copies of each batch topic that this daemon makes.", false},
	{"kafka", "kafka.*", GX_CONF_STR, "", NULL, NULL,
	 "Handed to the Kafka client as it is: kafka.security.protocol = ssl",
	 false},

	{"parent", "id", GX_CONF_STR, "", NULL, NULL,
	 "Name of the node above. Empty: there is none.", false},
	{"parent", "kafka", GX_CONF_STR, "", NULL, NULL,
	 "Addresses of the Kafka of the node above.", false},
	{"parent", "replication", GX_CONF_INT, "1", "1", "15",
	 "Copies of this node's batch topic at the node above.", false},
	{"parent", "url", GX_CONF_STR, "", NULL, NULL,
	 "HTTPS address of the API of the node above.", false},
	{"parent", "ca", GX_CONF_PATH, "", NULL, NULL,
	 "CA certificates (PEM) that the address above is checked with.",
	 false},
	{"parent", "cert", GX_CONF_PATH, "", NULL, NULL,
	 "Client certificate (PEM) by which the node above knows us.", false},
	{"parent", "cert_key", GX_CONF_SECRET, "", NULL, NULL,
	 "Private key of the client certificate, mode 0600.", false},
	{"parent", "kafka.*", GX_CONF_STR, "", NULL, NULL,
	 "Handed to the Kafka client of the node above as it is.", false},

	{"child", "region", GX_CONF_STR, "", NULL, NULL,
	 "Region of the node below (GB/T 2260); zeros at its end are as good "
	 "as "
	 "none: 450100 is all that begins with 4501.",
	 true},
	{"child", "return", GX_CONF_LIST, "", NULL, NULL,
	 "Resources of which it gets every record that concerns it and comes "
	 "from elsewhere: gx.receipt, social.insured. The flow of kind down "
	 "that carries them is started anew after a change.",
	 true},
	{"child", "subtree", GX_CONF_LIST, "", NULL, NULL,
	 "The node below and all nodes below that one, by name. Empty: it has "
	 "none below.",
	 true},

	{FLOW, "kind", GX_CONF_WORD, NULL, kind_words, NULL, kind_help, true},
	{FLOW, "adapter", GX_CONF_PATH, "", NULL, NULL,
	 "source: declaration of the adapter instance (JSON).", true},
	{FLOW, "topics", GX_CONF_LIST, "", NULL, NULL,
	 "sink: topics to follow; link-up: topics to copy, one from the next. "
	 "Empty: this node's own. Each node below has one, gx.batch.<node>; "
	 "gx.down.<node> holds what was made for one from above.",
	 true},
	{FLOW, "batch_max_lines", GX_CONF_INT, "1000", "1", "100000",
	 "source: records after which a batch is sealed.", true},
	{FLOW, "batch_max_bytes", GX_CONF_SIZE, "1M", "4k", "1M",
	 "source: bytes after which a batch is sealed.", true},
	{FLOW, "linger", GX_CONF_DURATION, "10ms", "0ms", "10s",
	 "source: time after its first record at which a batch is sealed.",
	 true},
	{FLOW, "max_unread", GX_CONF_INT, "64", "1", "10000",
	 "source: batches sent and not yet read back, before reading stops.",
	 true},
	{FLOW, "guard_percent", GX_CONF_INT, "20", "0", "100",
	 "Mass-change guard: share of its rows that a source may change or "
	 "delete within guard_window, in percent. Above it the flow waits for "
	 "gxbus flow resume --accept. 0: no guard.",
	 true},
	{FLOW, "guard_window", GX_CONF_DURATION, "1h", "1s", "168h",
	 "Time over which the mass-change guard counts.", true},
	{FLOW, "guard_floor", GX_CONF_INT, "100", "0", "1000000000",
	 "Fewer changes than this never trip the guard.", true},
	{FLOW, "quarantine_max_rows", GX_CONF_INT, "100000", "1", "1000000000",
	 "Rows set aside after which the flow stops until some are dealt "
	 "with.",
	 true},
	{FLOW, "txn_lines", GX_CONF_INT, "10000", "1", "1000000",
	 "sink: records of one database transaction.", true},
	{FLOW, "txn_bytes", GX_CONF_SIZE, "4M", "64k", "16M",
	 "sink: bytes of one database transaction.", true},
	{FLOW, "txn_linger", GX_CONF_DURATION, "5ms", "0ms", "10s",
	 "sink: time after its first batch at which a transaction commits.",
	 true},
	{FLOW, "retry", GX_CONF_DURATION, "5s", "100ms", "10m",
	 "sink: how often a stream that met a gap looks again.", true},
	{FLOW, "max_in_flight", GX_CONF_INT, "64", "1", "10000",
	 "link-up, link-down: messages sent and not yet acknowledged.", true},
	{FLOW, "check", GX_CONF_BOOL, "yes", NULL, NULL,
	 "link-up, link-down: check seal and chain on the way, so that an "
	 "alarm rings "
	 "near its cause.",
	 true},
	{FLOW, "resources", GX_CONF_LIST, "gx.receipt", NULL, NULL,
	 "own: resources that the services of this node emit.", true},
	{FLOW, "child", GX_CONF_STR, "", NULL, NULL,
	 "down: the node below that it is for, by the name of its section "
	 "[child NAME].",
	 true},
	{FLOW, "every", GX_CONF_DURATION, "1s", "50ms", "1h",
	 "receipt: how often streams that moved are receipted.", true},
	{FLOW, "trim_every", GX_CONF_DURATION, "1m", "100ms", "24h",
	 "trim: how often the log is looked at.", true},
	{FLOW, "trim_age", GX_CONF_DURATION, "720h", "0ms", "87600h",
	 "trim: age below which no batch leaves the log. Longer than the age "
	 "of "
	 "the oldest backup, and the longest absence of a node below, from "
	 "which a store may be brought back.",
	 true},
	{FLOW, "reconcile_every", GX_CONF_DURATION, "1h", "1s", "168h",
	 "reconcile: how often. Each look reads the tables once, at both "
	 "nodes.",
	 true},
	{FLOW, "outbox_keep", GX_CONF_DURATION, "168h", "1s", "8760h",
	 "own, down: age at which rows of the outbox are deleted, once the log "
	 "holds "
	 "them for good. Longer than the age of the oldest backup that the "
	 "database may be brought back from.",
	 true},
	{NULL, NULL, GX_CONF_STR, NULL, NULL, NULL, NULL, false},
};

static bool
is_word(const char *s, size_t max)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n <= max && s[n] == '\0';
}

static enum gx_rc
check_parent(const struct gx_conf *c, const char *name, const char *kind,
	     struct gx_err *e)
{
	const char *kafka = gx_conf_str(c, "parent", NULL, "kafka");

	if (kafka[0] == '\0') {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[flow %s] is a %s and there is no node above: "
			      "set kafka in [parent]",
			      name, kind);
	}
	if (strcmp(kafka, gx_conf_str(c, "kafka", NULL, "bootstrap")) == 0) {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[flow %s] would copy a log onto itself: "
			      "[parent] kafka and [kafka] bootstrap are equal",
			      name);
	}
	return GX_OK;
}

static enum gx_rc
check_flow(const struct gx_conf *c, const char *name, struct gx_err *e)
{
	const struct gx_node_kind *kind =
		gx_kind_find(gx_conf_str(c, FLOW, name, "kind"));
	enum gx_rc rc = GX_OK;

	/* The key takes only words of the same table. */
	GX_ASSERT(kind != NULL);
	if (!is_word(name, 60)) {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[flow %s]: the name of a flow is a-z 0-9 and -",
			      name);
	}
	if (kind->needs & GX_NEEDS_PARENT) {
		rc = check_parent(c, name, kind->word, e);
	}
	if (rc == GX_OK && kind->ops->check != NULL) {
		rc = kind->ops->check(c, name, e);
	}
	return rc;
}

static bool
has_section(const struct gx_conf *c, const char *flow)
{
	const char *name;

	for (size_t i = 0; (name = gx_conf_name(c, FLOW, i)) != NULL; i++) {
		if (strcmp(name, flow) == 0) {
			return true;
		}
	}
	return false;
}

static enum gx_rc
check_names(const struct gx_conf *c, struct gx_err *e)
{
	const char *id = gx_conf_str(c, NODE, NULL, "id");
	const char *name;

	if (!is_word(id, 32)) {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[node] id: write a-z 0-9 and -, at most 32");
	}
	for (size_t i = 0;
	     (name = gx_conf_word(c, NODE, NULL, "flows", i)) != NULL; i++) {
		if (i == GX_NODE_FLOWS) {
			return GX_ERR(e, GX_REJECT, "node.conf",
				      "[node] flows names more than %d: spread "
				      "them over several daemons",
				      GX_NODE_FLOWS);
		}
		if (!has_section(c, name)) {
			return GX_ERR(e, GX_REJECT, "node.conf",
				      "[node] flows names %s, and there is no "
				      "section [flow %s]",
				      name, name);
		}
		for (size_t k = 0; k < i; k++) {
			if (strcmp(gx_conf_word(c, NODE, NULL, "flows", k),
				   name) == 0) {
				return GX_ERR(e, GX_REJECT, "node.conf",
					      "[node] flows names %s twice",
					      name);
			}
		}
	}
	return GX_OK;
}

/* Province, city, county, township, village. */
static bool
is_region_length(size_t n)
{
	return n == 2 || n == 4 || n == 6 || n == 9 || n == 12;
}

static enum gx_rc
check_child(const struct gx_conf *c, const char *id, size_t *n_below,
	    struct gx_err *e)
{
	const char *region = gx_conf_str(c, "child", id, "region");
	const char *below;

	/* "down-<id>" is one part of a stream's name. */
	if (!is_word(id, 27) ||
	    strcmp(id, gx_conf_str(c, NODE, NULL, "id")) == 0) {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[child %s]: the name of a node below is a-z 0-9 "
			      "and -, at most 27, and not this node's",
			      id);
	}
	if (region[strspn(region, "0123456789")] != '\0' ||
	    (region[0] != '\0' && !is_region_length(strlen(region)))) {
		return GX_ERR(e, GX_REJECT, "node.conf",
			      "[child %s] region: write its digits: 2, 4, 6, 9 "
			      "or 12 of them",
			      id);
	}
	for (size_t i = 0;
	     (below = gx_conf_word(c, "child", id, "subtree", i)) != NULL;
	     i++) {
		if (!is_word(below, 32) || ++*n_below > 100) {
			return GX_ERR(e, GX_REJECT, "node.conf",
				      "[child %s] subtree: names of nodes, at "
				      "most 100 of all children",
				      id);
		}
	}
	return GX_OK;
}

static enum gx_rc
check_children(const struct gx_conf *c, struct gx_err *e)
{
	const char *id;
	size_t n_below = 0;
	enum gx_rc rc = GX_OK;

	for (size_t i = 0;
	     rc == GX_OK && (id = gx_conf_name(c, "child", i)) != NULL; i++) {
		if (i == 64) {
			return GX_ERR(e, GX_REJECT, "node.conf",
				      "[child %s] is one too many: at most 64",
				      id);
		}
		rc = check_child(c, id, &n_below, e);
	}
	return rc;
}

enum gx_rc
gx_node_conf_check(const struct gx_conf *c, struct gx_err *e)
{
	const char *name;
	enum gx_rc rc = check_names(c, e);

	if (rc == GX_OK) {
		rc = check_children(c, e);
	}
	for (size_t i = 0;
	     rc == GX_OK && (name = gx_conf_name(c, FLOW, i)) != NULL; i++) {
		rc = check_flow(c, name, e);
	}
	return rc;
}

void
gx_node_conf_sample(struct gx_buf *out)
{
	(void)gx_buf_puts(
		out, "# Configuration of gxbusd: every key with its default.\n"
		     "# Made by \"gxbusd --print-sample\"; \"gxbus init\" "
		     "writes a short one to start from.\n\n");
	gx_conf_sample(gx_node_keys, out);
}
