/*
 * Wiring: a flow's section of the configuration becomes a running worker.
 *
 * Each flow gets handles of its own: Kafka, store, keyring, verifier, and for
 * a source the private key.  Nothing is shared between workers but the
 * configuration and the declarations, which never change.  That costs a few
 * handles per flow and saves every lock; a flow is a pair of places, so there
 * are few.  What a flow needs, and how it is built of it, its kind says.
 *
 * What a person must mend in one flow, such as a declaration that cannot be
 * read, stops that flow and not its neighbours: the flow then has no worker,
 * only a fault, which control.c shows in the flow's row until a restart of the
 * flow tries again.  A server that is away is nobody's fault: the caller comes
 * again.
 *
 * If building fails half-way, what was made stays in the flow and is used by
 * the next attempt; nothing has been opened on a server by then but rows of
 * streams, which are to stay.
 */
#include "base/clock.h"
#include "base/log.h"
#include "node/node.h"

/* Keys and clients, made once. */
static enum gx_rc
equip(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	unsigned needs = f->kind->needs;
	enum gx_rc rc = GX_OK;

	if (f->log == NULL) {
		rc = gx_node_kafka(n, false, &f->log, e);
	}
	if (rc == GX_OK && f->keyring == NULL) {
		rc = gx_keyring_load(
			gx_conf_str(n->conf, "node", NULL, "trust"),
			&f->keyring, e);
	}
	if (rc == GX_OK && f->verifier == NULL) {
		f->verifier = gx_verifier_new(f->keyring);
	}
	if (rc == GX_OK && f->store == NULL && needs & GX_NEEDS_STORE) {
		rc = gx_node_store(n, f, &f->store, e);
	}
	if (rc == GX_OK && f->key == NULL && needs & GX_NEEDS_KEY) {
		rc = gx_key_load_private(
			gx_conf_str(n->conf, "node", NULL, "key"), &f->key, e);
	}
	if (rc == GX_OK && f->sealer == NULL && needs & GX_NEEDS_KEY) {
		f->sealer = gx_sealer_new(f->key);
	}
	if (rc == GX_OK && f->parent_log == NULL && needs & GX_NEEDS_PARENT) {
		rc = gx_node_kafka(n, true, &f->parent_log, e);
	}
	return rc;
}

static enum gx_rc
build(struct gx_node *n, struct gx_node_flow *f, struct gx_err *e)
{
	const struct gx_kind_ops *ops = f->kind->ops;
	enum gx_rc rc = GX_OK;

	if (ops->read != NULL) {
		rc = ops->read(n, f, e);
	}
	if (rc == GX_OK && ops->prepare != NULL) {
		rc = ops->prepare(n, f, e);
	}
	if (rc == GX_OK) {
		rc = equip(n, f, e);
	}
	if (rc == GX_OK) {
		rc = ops->start(n, f, e);
	}
	if (rc != GX_OK) {
		gx_err_note(e, "flow %s", f->name);
	}
	return rc;
}

enum gx_rc
gx_node_start_flow(struct gx_node *n, size_t i, struct gx_err *e)
{
	struct gx_node_flow *f = &n->flows[i];
	enum gx_rc rc;

	if (f->worker != NULL || f->fault.code != NULL) {
		return GX_OK;
	}
	if (f->is_held) {
		gx_log(GX_LOG_ERROR, "guard.mass_change",
		       "held=\"since a former start\" next=\"if it is meant: "
		       "gxbus flow resume %s --accept\"",
		       f->name);
		return GX_OK;
	}
	rc = build(n, f, e);
	if (rc == GX_REJECT || rc == GX_FATAL) {
		f->fault = *e;
		f->fault_at_ms = gx_now_ms();
		gx_log_err(GX_LOG_ERROR, e);
		return GX_OK;
	}
	if (rc == GX_OK && f->is_paused) {
		/* The worker may have begun to open it; no more. */
		gx_worker_pause(f->worker);
	}
	return rc;
}

enum gx_rc
gx_node_check(struct gx_node *n, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;

	for (size_t i = 0; rc == GX_OK && i < n->n_flows; i++) {
		struct gx_node_flow *f = &n->flows[i];

		if (f->kind->ops->read != NULL) {
			rc = f->kind->ops->read(n, f, e);
		}
		if (rc != GX_OK) {
			gx_err_note(e, "flow %s", f->name);
		}
	}
	return rc;
}
