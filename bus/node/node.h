/*
 * Node: what one gxbusd holds while it runs.  Built once by the main thread;
 * after that only the main thread changes it, workers own their parts, and
 * the API's threads read what never changes (identity, resources).
 */
#ifndef GX_NODE_NODE_H
#define GX_NODE_NODE_H

#include "flow/source.h"
#include "flow/store.h"
#include "flow/worker.h"
#include "node/conf_table.h"
#include "node/kind.h"
#include "port/kafka.h"
#include "port/pg.h"
#include "record/resource.h"
#include "trust/box.h"

#include <stdatomic.h>

#define GX_VERSION "0.1.0"
#define GX_NODE_RESOURCES 256
#define GX_NODE_CHILDREN 64
#define GX_NODE_SUBTREE 256

struct gx_node_resource {
	struct gx_resource *r;
	char id[160]; /* "social.insured@1:<SM3 of the file>" */
};

/* One flow with all that its worker uses and nobody else may. */
struct gx_node_flow {
	const char *name;
	const struct gx_node_kind *kind;
	struct gx_log *log, *parent_log;
	struct gx_box *box; /* of the quarantine, for store */
	struct gx_store *store;
	struct gx_keyring *keyring;
	struct gx_verifier *verifier;
	struct gx_key *key;
	struct gx_sealer *sealer;
	struct gx_source *src; /* NULL once the writer has it */
	const char *topic;     /* of the streams it makes; NULL: the node's */
	struct gx_worker *worker;
	bool is_paused;	  /* the wish that was last obeyed */
	bool is_held;	  /* by the guard since a former life: it rests */
	bool is_renewed;  /* its worker ends and is to be built anew */
	int64_t restarts; /* likewise; -1: not read so far */
	/* code != NULL: it could not be built, no worker; a restart tries
	 * again. */
	struct gx_err fault;
	int64_t fault_at_ms;
};

/* A node below this one: a section [child NAME]. */
struct gx_node_child {
	const char *id;
	char topic[64]; /* gx.down.<id> */
};

/* What a start waits for; bits of gx_node.ready. */
enum gx_node_dep {
	GX_DEP_DATABASE = 1,
	GX_DEP_KAFKA = 2,
	GX_DEP_PARENT = 4,
	GX_DEP_FLOWS = 8
};

struct gx_node {
	const struct gx_conf *conf;
	const char *id;
	char topic[64];	     /* gx.batch.<id> */
	char down_topic[64]; /* gx.down.<id>: what comes from above */
	char process[64];    /* host:pid */
	char *conninfo;	     /* with the password file */
	int n_partitions;
	struct gx_node_child children[GX_NODE_CHILDREN];
	size_t n_children;
	/* Topics of streams made here, and the names of this node and of all
	 * below it; NULL-terminated. */
	const char *own_topics[GX_NODE_CHILDREN + 2];
	const char *subtree[GX_NODE_SUBTREE + 1];
	struct gx_node_resource resources[GX_NODE_RESOURCES];
	size_t n_resources;
	struct gx_node_flow flows[GX_NODE_FLOWS];
	size_t n_flows;
	struct gx_pg *pg; /* of the main thread */
	atomic_uint wants, ready;
};

/* Read keys and declarations; opens no connection. */
enum gx_rc gx_node_new(const struct gx_conf *conf, struct gx_node **out,
		       struct gx_err *e) GX_MUSTCHECK;
/* Workers must have ended. */
void gx_node_free(struct gx_node **n);

/* NULL if there is none by that name. */
const struct gx_node_resource *gx_node_resource(const struct gx_node *n,
						const char *name);

/* Is this the name of a node whose key the trust folder holds? */
bool gx_node_trusts(const struct gx_node *n, const char *name);

/* A client of the node's own Kafka, or of the one above. */
enum gx_rc gx_node_kafka(const struct gx_node *n, bool is_parent,
			 struct gx_log **out, struct gx_err *e) GX_MUSTCHECK;

/* Read what the flows' own files say, as a start would.  GX_REJECT: a person
 * must correct the file that is named. */
enum gx_rc gx_node_check(struct gx_node *n, struct gx_err *e) GX_MUSTCHECK;

/* One attempt to have all that the node needs: tables and topics.  Done twice it changes nothing.  GX_AGAIN: a server is away, named
 * in e; call again.  Others: a person must look. */
enum gx_rc gx_node_prepare(struct gx_node *n, struct gx_err *e) GX_MUSTCHECK;

/* Build flow i and start its worker, paused if that is the wish.  GX_OK: it
 * runs; or is held until control meets an acceptance; or has a fault, logged,
 * that control shows until a restart.  Others: a server is away, call again. */
enum gx_rc gx_node_start_flow(struct gx_node *n, size_t i,
			      struct gx_err *e) GX_MUSTCHECK;

/* Give back all that was built for the flow; its worker must have ended. */
void gx_node_drop_flow(struct gx_node_flow *f);

/* The key of the quarantine.  GX_FATAL "quarantine.key": there is none; others
 * as gx_box_load. */
enum gx_rc gx_node_box(const struct gx_node *n, struct gx_box **out,
		       struct gx_err *e) GX_MUSTCHECK;

/* A store on the node's database with its resources; flow: whose ceilings and
 * keys count, NULL for none.  Freed by gx_store_free. */
enum gx_rc gx_node_store(struct gx_node *n, struct gx_node_flow *flow,
			 struct gx_store **out, struct gx_err *e) GX_MUSTCHECK;

/* Is a line that passed its schema one that a table of this node may hold?
 * NULL, or a code of errors.def.  ctx: the flow whose key ring counts. */
const char *gx_node_check_line(void *ctx, const struct gx_resource *r,
			       const struct gx_line *line);

/* Partition of an own stream that has none yet; stable over versions. */
int32_t gx_node_partition(const char *stream, int n_partitions);
/* The partition of an own stream: that of its row, else the one it will get. */
enum gx_rc gx_node_stream_partition(struct gx_node *n, const char *stream,
				    int32_t *partition,
				    struct gx_err *e) GX_MUSTCHECK;

/* Obey the wishes in gx_flow for the flows of this process and write down
 * their states.  GX_AGAIN: the database is away; flows go on. */
enum gx_rc gx_control_begin(struct gx_node *n, struct gx_err *e) GX_MUSTCHECK;
enum gx_rc gx_control_tick(struct gx_node *n, struct gx_err *e) GX_MUSTCHECK;

/* sd_notify without a library: "READY=1".  Nothing without NOTIFY_SOCKET. */
void gx_notify(const char *state);

#endif
