/*
 * The slot of a PostgreSQL source: take, make, watch, drop.
 *
 * A logical slot is the department's memory of what we have not yet got.  It
 * is exclusive: one walsender at a time.  Whoever holds it can release; so
 * taking the source means holding the slot, and a holder of ours that no
 * longer answers (a stopped process, a dead host) is ended by the server on
 * our word.  One that answers is left alone, and we are fenced: two of us that
 * end each other for ever would serve nobody.
 *
 * A slot is made only when nothing was ever taken from it.  A missing, lost or
 * advanced slot is never replaced in silence: changes are gone, and only a
 * full reading, ordered by a person, makes that good.
 *
 * A slot also pins WAL on the department's disk.  That disk is not ours to
 * fill: above the ceiling, when nothing moves any more, the slot is dropped
 * and the flow stops with the reason and the way on.  While this program is
 * not running only the server's own max_slot_wal_keep_size protects, so its
 * absence is said at every take.
 *
 * If we die on any line the server notices and frees the slot; what we had
 * confirmed was noted as released before.
 */
#include "base/log.h"
#include "flow/src_pg_int.h"

#define WAIT_FREE_MS 2000  /* a holder that is just going */
#define WAIT_ENDED_MS 5000 /* one that the server was told to end */

static enum gx_rc
check_server(struct gx_src_pg *src, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(
		src->ctl,
		"SELECT current_setting('wal_level'), pg_is_in_recovery(), "
		"current_setting('max_slot_wal_keep_size'), "
		"(SELECT rolreplication OR rolsuper FROM pg_roles "
		"WHERE rolname = current_user)",
		0, NULL, &r, e);

	if (rc != GX_OK) {
		return rc;
	}
	if (gx_rows_bool(r, 0, 1)) {
		return GX_ERR(e, GX_FATAL, "source.standby",
			      "the server is a standby: logical decoding needs "
			      "the primary; correct the connection");
	}
	if (strcmp(gx_rows_str(r, 0, 0), "logical") != 0) {
		return GX_ERR(e, GX_FATAL, "source.wal_level",
			      "the server's wal_level is %s: run ALTER SYSTEM "
			      "SET wal_level = logical there and restart it",
			      gx_rows_str(r, 0, 0));
	}
	if (!gx_rows_bool(r, 0, 3)) {
		return GX_ERR(e, GX_FATAL, "source.no_right",
			      "our role may not replicate: run ALTER ROLE ... "
			      "REPLICATION for it");
	}
	if (strcmp(gx_rows_str(r, 0, 2), "-1") == 0 && !src->has_warned) {
		gx_log(GX_LOG_WARN, "slot.unlimited",
		       "slot=%s text=\"max_slot_wal_keep_size of the server is "
		       "unlimited: while this program is down nothing bounds "
		       "the WAL kept for it; set it above %llu MB\"",
		       src->place.slot,
		       (unsigned long long)(src->slot_lag_max >> 20));
		src->has_warned = true;
	}
	return GX_OK;
}

static enum gx_rc
identify(struct gx_src_pg *src, struct gx_err *e)
{
	const struct gx_rows *r;
	enum gx_rc rc =
		gx_pg_query(src->repl, "IDENTIFY_SYSTEM", 0, NULL, &r, e);

	if (rc != GX_OK) {
		return rc;
	}
	src->place.system = strtoull(gx_rows_str(r, 0, 0), NULL, 10);
	src->place.timeline = (uint32_t)gx_rows_int(r, 0, 1);
	return GX_OK;
}

struct slot_row {
	bool is_there;
	int64_t active_pid; /* 0 none */
	uint64_t confirmed;
	bool is_lost;
};

static enum gx_rc
look_slot(struct gx_src_pg *src, struct slot_row *out, struct gx_err *e)
{
	const char *params[] = {src->place.slot};
	const struct gx_rows *r;
	enum gx_rc rc = gx_pg_query(
		src->ctl,
		"SELECT coalesce(plugin, '') = 'pgoutput' AND "
		"database = current_database(), coalesce(active_pid, 0), "
		"coalesce(confirmed_flush_lsn, '0/0')::text, "
		"coalesce(wal_status, '') = 'lost' "
		"FROM pg_replication_slots WHERE slot_name = $1",
		1, params, &r, e);

	memset(out, 0, sizeof(*out));
	if (rc != GX_OK || gx_rows_n(r) == 0) {
		return rc;
	}
	if (!gx_rows_bool(r, 0, 0)) {
		return GX_ERR(e, GX_FATAL, "slot.foreign",
			      "slot %s is not a pgoutput slot of this "
			      "database: somebody else uses the name; choose "
			      "another in the declaration",
			      src->place.slot);
	}
	out->is_there = true;
	out->active_pid = gx_rows_int(r, 0, 1);
	out->is_lost = gx_rows_bool(r, 0, 3);
	if (!gx_lsn_parse(gx_rows_str(r, 0, 2), &out->confirmed)) {
		return GX_ERR(e, GX_FATAL, "slot.foreign",
			      "slot %s has no readable position",
			      src->place.slot);
	}
	return GX_OK;
}

/* Wait until nobody holds the slot; out is the newest look. */
static enum gx_rc
wait_free(struct gx_src_pg *src, int64_t wait_ms, struct slot_row *out,
	  struct gx_err *e)
{
	int64_t until_ms = gx_mono_ms() + wait_ms;
	const struct gx_rows *r;
	enum gx_rc rc;

	for (;;) {
		rc = look_slot(src, out, e);
		if (rc != GX_OK || out->active_pid == 0 ||
		    gx_mono_ms() >= until_ms) {
			return rc;
		}
		rc = gx_pg_query(src->ctl, "SELECT pg_sleep(0.05)", 0, NULL, &r,
				 e);
		if (rc != GX_OK) {
			return rc;
		}
	}
}

/* For how long has the holder not answered?  *is_ours: by its name. */
static enum gx_rc
look_holder(struct gx_src_pg *src, int64_t pid, bool *is_ours,
	    int64_t *silent_ms, struct gx_err *e)
{
	char text[24];
	const char *params[] = {text};
	const struct gx_rows *r;
	enum gx_rc rc;

	(void)snprintf(text, sizeof(text), "%lld", (long long)pid);
	rc = gx_pg_query(src->ctl,
			 "SELECT coalesce(a.application_name, ''), "
			 "(extract(epoch FROM clock_timestamp() - "
			 "r.reply_time) * 1000)::bigint "
			 "FROM pg_stat_activity a LEFT JOIN "
			 "pg_stat_replication r ON r.pid = a.pid "
			 "WHERE a.pid = $1::int",
			 1, params, &r, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (src->holder_pid != pid) {
		src->holder_pid = pid;
		src->holder_since_ms = gx_mono_ms();
	}
	*is_ours =
		gx_rows_n(r) > 0 && strcmp(gx_rows_str(r, 0, 0), src->app) == 0;
	*silent_ms = gx_rows_n(r) > 0 && !gx_rows_null(r, 0, 1)
			     ? gx_rows_int(r, 0, 1)
			     : gx_mono_ms() - src->holder_since_ms;
	return GX_OK;
}

/* Another process holds the slot. */
static enum gx_rc
steal(struct gx_src_pg *src, struct slot_row *slot, struct gx_err *e)
{
	bool is_ours = false;
	int64_t silent_ms = 0;
	char text[24];
	const char *params[] = {text};
	const struct gx_rows *r;
	enum gx_rc rc;

	rc = look_holder(src, slot->active_pid, &is_ours, &silent_ms, e);
	if (rc != GX_OK) {
		return rc;
	}
	if (!is_ours || silent_ms < src->steal_after_ms) {
		return GX_ERR(e, GX_FENCED, "source.held",
			      "slot %s is held by server process %lld (%s): "
			      "end the other reader; this one waits",
			      src->place.slot, (long long)slot->active_pid,
			      is_ours ? "this flow in another daemon, alive"
				      : "not this flow");
	}
	(void)snprintf(text, sizeof(text), "%lld", (long long)slot->active_pid);
	gx_log(GX_LOG_NOTICE, "source.stolen",
	       "slot=%s pid=%s silent_ms=%lld text=\"the former holder does "
	       "not answer: the server ends it\"",
	       src->place.slot, text, (long long)silent_ms);
	rc = gx_pg_query(src->ctl, "SELECT pg_terminate_backend($1::int)", 1,
			 params, &r, e);
	if (rc == GX_OK) {
		rc = wait_free(src, WAIT_ENDED_MS, slot, e);
	}
	if (rc == GX_OK && slot->active_pid != 0) {
		return GX_ERR(e, GX_AGAIN, "source.held",
			      "slot %s is still held by server process %lld, "
			      "which was told to end",
			      src->place.slot, (long long)slot->active_pid);
	}
	return rc;
}

enum gx_rc
gx_src_pg_start_slot(struct gx_src_pg *src, struct gx_err *e)
{
	struct slot_row slot;
	char sql[320];
	enum gx_rc rc;

	/* Both names hold a-z, 0-9 and _ only: nothing to quote away. */
	(void)snprintf(sql, sizeof(sql),
		       "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 "
		       "(proto_version '1', publication_names '\"%s\"')",
		       src->place.slot, src->publication);
	rc = gx_pg_repl_start(src->repl, sql, e);
	if (rc == GX_OK) {
		rc = look_slot(src, &slot, e);
	}
	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_AGAIN : gx_src_pg_lost(src, e);
	}
	src->own_pid = slot.active_pid;
	src->slot_lsn = slot.confirmed;
	src->is_streaming = true;
	if (src->released_lsn < slot.confirmed) {
		src->released_lsn = slot.confirmed;
	}
	return GX_OK;
}

enum gx_rc
gx_src_pg_take_slot(struct gx_src_pg *src, struct gx_err *e)
{
	const char *conninfo = gx_buf_str(&src->conninfo);
	struct slot_row slot;
	enum gx_rc rc = gx_pg_open(conninfo, src->app, false, &src->ctl, e);

	if (rc == GX_OK) {
		rc = gx_pg_open(conninfo, src->app, true, &src->repl, e);
	}
	if (rc == GX_OK) {
		rc = check_server(src, e);
	}
	if (rc == GX_OK) {
		rc = identify(src, e);
	}
	for (size_t i = 0; rc == GX_OK && i < src->n_tables; i++) {
		rc = gx_src_pg_look_table(src, &src->tables[i], e);
	}
	if (rc == GX_OK) {
		rc = wait_free(src, WAIT_FREE_MS, &slot, e);
	}
	if (rc == GX_OK && slot.active_pid != 0) {
		rc = steal(src, &slot, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	src->has_slot = slot.is_there && !slot.is_lost;
	src->is_slot_lost = slot.is_there && slot.is_lost;
	src->slot_lsn = slot.confirmed;
	src->released_lsn = slot.confirmed;
	if (src->has_slot) {
		rc = gx_src_pg_start_slot(src, e);
	}
	return rc == GX_OK ? gx_src_pg_look(src, e) : rc;
}

enum gx_rc
gx_src_pg_make_slot(struct gx_src_pg *src, char *snapshot, size_t snapshot_max,
		    struct gx_err *e)
{
	const struct gx_rows *r;
	char sql[160];
	enum gx_rc rc;

	(void)snprintf(sql, sizeof(sql),
		       "CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput "
		       "EXPORT_SNAPSHOT",
		       src->place.slot);
	rc = gx_pg_query(src->repl, sql, 0, NULL, &r, e);
	if (rc != GX_OK) {
		gx_err_note(e, "making slot %s", src->place.slot);
		return rc;
	}
	if (!gx_lsn_parse(gx_rows_str(r, 0, 1), &src->slot_lsn)) {
		return GX_ERR(e, GX_FATAL, "slot.foreign",
			      "slot %s was made without a position",
			      src->place.slot);
	}
	(void)snprintf(snapshot, snapshot_max, "%s", gx_rows_str(r, 0, 2));
	gx_log(GX_LOG_NOTICE, "slot.made",
	       "slot=%s text=\"a full reading begins\"", src->place.slot);
	src->has_slot = true;
	return GX_OK;
}

enum gx_rc
gx_src_pg_drop_slot(struct gx_src_pg *src, struct gx_err *e)
{
	const char *params[] = {src->place.slot};
	struct slot_row slot;
	const struct gx_rows *r;
	enum gx_rc rc;

	gx_pg_close(&src->repl);
	src->is_streaming = false;
	rc = wait_free(src, WAIT_ENDED_MS, &slot, e);
	if (rc != GX_OK || !slot.is_there) {
		return rc;
	}
	gx_log(GX_LOG_WARN, "slot.dropped", "slot=%s", src->place.slot);
	src->has_slot = false;
	return gx_pg_query(src->ctl, "SELECT pg_drop_replication_slot($1)", 1,
			   params, &r, e);
}

/* Above the ceiling: wait while it moves, else give the disk back. */
static enum gx_rc
at_ceiling(struct gx_src_pg *src, uint64_t restart_lsn, struct gx_err *e)
{
	int64_t now_ms = gx_mono_ms();
	struct gx_err ignored;

	if (src->full_lsn != restart_lsn) {
		src->full_lsn = restart_lsn;
		src->full_since_ms = now_ms;
	}
	if (!src->drops_slot ||
	    now_ms - src->full_since_ms < src->slot_lag_wait_ms) {
		return GX_OK;
	}
	if (gx_src_pg_drop_slot(src, &ignored) != GX_OK) {
		return GX_ERR(e, GX_FATAL, "slot.lag_max",
			      "slot %s keeps more WAL than slot_lag_max and "
			      "could not be dropped (%s): drop it by hand "
			      "before the department's disk is full",
			      src->place.slot, ignored.code);
	}
	return GX_ERR(e, GX_FATAL, "slot.lag_max",
		      "slot %s kept more WAL than slot_lag_max and nothing "
		      "moved for %lld s: it was dropped so that the "
		      "department's disk does not fill; mend what held the "
		      "flow up, then restart it and follow slot.lost",
		      src->place.slot,
		      (long long)(src->slot_lag_wait_ms / 1000));
}

static void
warn_lag(struct gx_src_pg *src, int percent)
{
	int step = percent >= 90 ? 90 : percent >= 70 ? 70 : 0;

	if (step > src->warned_percent) {
		gx_log(GX_LOG_WARN, "slot.lag",
		       "slot=%s percent=%d text=\"the department keeps WAL for "
		       "us; at 100 %% of slot_lag_max, if nothing moves for "
		       "%lld s, %s\"",
		       src->place.slot, percent,
		       (long long)(src->slot_lag_wait_ms / 1000),
		       src->drops_slot
			       ? "the slot is dropped and a full reading needed"
			       : "it goes on growing, as on_slot_lag_max says");
	}
	if (step > src->warned_percent || percent < 60) {
		src->warned_percent = step;
	}
}

enum gx_rc
gx_src_pg_look(struct gx_src_pg *src, struct gx_err *e)
{
	const char *params[] = {src->place.slot};
	const struct gx_rows *r;
	uint64_t restart_lsn = 0;
	int percent;
	enum gx_rc rc = gx_pg_query(
		src->ctl,
		"SELECT pg_current_wal_lsn()::text, s.restart_lsn::text "
		"FROM (SELECT 1) one LEFT JOIN pg_replication_slots s "
		"ON s.slot_name = $1",
		1, params, &r, e);

	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	src->looked_at_ms = gx_mono_ms();
	if (!gx_lsn_parse(gx_rows_str(r, 0, 0), &src->server_end) ||
	    gx_rows_null(r, 0, 1) ||
	    !gx_lsn_parse(gx_rows_str(r, 0, 1), &restart_lsn)) {
		src->lag = -1;
		return GX_OK;
	}
	src->lag = (int64_t)(src->server_end - restart_lsn);
	if (src->lag < 0) {
		src->lag = 0;
	}
	percent = (int)(src->lag / (int64_t)(src->slot_lag_max / 100));
	warn_lag(src, percent);
	return percent < 100 ? GX_OK : at_ceiling(src, restart_lsn, e);
}

enum gx_rc
gx_src_pg_lost(struct gx_src_pg *src, struct gx_err *e)
{
	struct slot_row slot;
	struct gx_err ignored;

	if (src->ctl != NULL && gx_pg_alive(src->ctl) &&
	    look_slot(src, &slot, &ignored) == GX_OK && slot.active_pid != 0 &&
	    slot.active_pid != src->own_pid) {
		return GX_ERR(e, GX_FENCED, "source.held",
			      "slot %s was taken by server process %lld: "
			      "another daemon runs this flow",
			      src->place.slot, (long long)slot.active_pid);
	}
	return e->rc == GX_FATAL ? GX_FATAL : GX_ABORT;
}
