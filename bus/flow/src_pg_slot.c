/*
 * The slot of a PostgreSQL source: take, watch, drop.
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
		"WHERE rolname = current_user), "
		"current_setting('server_encoding')",
		0, NULL, &r, e);

	if (rc != GX_OK) {
		return rc;
	}
	rc = gx_src_pg_set_charset(src, gx_rows_str(r, 0, 4), e);
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

/* For how long has the holder not answered, by our clock: since its newest
 * word changed last under our eyes?  *is_ours: by its name. */
static enum gx_rc
look_holder(struct gx_src_pg *src, int64_t pid, bool *is_ours,
	    int64_t *silent_ms, struct gx_err *e)
{
	char text[24];
	const char *params[] = {text};
	const struct gx_rows *r;
	const char *reply;
	enum gx_rc rc;

	(void)snprintf(text, sizeof(text), "%lld", (long long)pid);
	rc = gx_pg_query(src->ctl,
			 "SELECT coalesce(a.application_name, ''), "
			 "coalesce(r.reply_time::text, '') "
			 "FROM pg_stat_activity a LEFT JOIN "
			 "pg_stat_replication r ON r.pid = a.pid "
			 "WHERE a.pid = $1::int",
			 1, params, &r, e);
	if (rc != GX_OK) {
		return rc;
	}
	reply = gx_rows_n(r) > 0 ? gx_rows_str(r, 0, 1) : "";
	if (src->holder_pid != pid || strcmp(src->holder_reply, reply) != 0) {
		src->holder_pid = pid;
		src->holder_since_ms = gx_mono_ms();
		(void)snprintf(src->holder_reply, sizeof(src->holder_reply),
			       "%s", reply);
	}
	*is_ours =
		gx_rows_n(r) > 0 && strcmp(gx_rows_str(r, 0, 0), src->app) == 0;
	*silent_ms = gx_mono_ms() - src->holder_since_ms;
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
gx_src_pg_open_ctl(struct gx_src_pg *src, struct gx_err *e)
{
	enum gx_rc rc;

	if (src->ctl != NULL && gx_pg_alive(src->ctl)) {
		return GX_OK;
	}
	gx_pg_close(&src->ctl);
	rc = gx_pg_open(gx_buf_str(&src->conninfo), src->app, false, &src->ctl,
			e);
	if (rc == GX_OK) { /* an error instead of hidden rows */
		rc = gx_pg_exec(src->ctl, "SET row_security = off", e);
	}
	src->n_fetched = 0;
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
	enum gx_rc rc = gx_src_pg_open_ctl(src, e);

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
		rc = look_slot(src, &slot, e);
	}
	if (rc == GX_OK && slot.active_pid != 0) { /* from now on we count */
		bool is_ours;
		int64_t silent_ms;

		rc = look_holder(src, slot.active_pid, &is_ours, &silent_ms, e);
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
gx_src_pg_drop_slot(struct gx_src_pg *src, struct gx_err *e)
{
	const char *params[] = {src->place.slot};
	struct slot_row slot;
	const struct gx_rows *r;
	enum gx_rc rc;

	gx_src_pg_close_repl(src);
	rc = wait_free(src, WAIT_ENDED_MS, &slot, e);
	if (rc != GX_OK || !slot.is_there) {
		return rc;
	}
	gx_log(GX_LOG_WARN, "slot.dropped", "slot=%s", src->place.slot);
	src->has_slot = false;
	return gx_pg_query(src->ctl, "SELECT pg_drop_replication_slot($1)", 1,
			   params, &r, e);
}

/* restart_lsn says nothing of us: a long transaction of the department pins
 * it, and a full reading confirms nothing.  Nothing need move while what we owe
 * is below the ceiling by itself. */
static bool
has_moved(struct gx_src_pg *src, uint64_t confirmed)
{
	bool has = src->full_confirmed != confirmed ||
		   src->full_idle != src->idle_lsn ||
		   src->full_rows != src->n_read_rows ||
		   src->server_end < confirmed + src->slot_lag_max;

	src->full_confirmed = confirmed;
	src->full_idle = src->idle_lsn;
	src->full_rows = src->n_read_rows;
	return has;
}

/* Above the ceiling: wait while it moves, else give the disk back; above the
 * hard one, give it back. */
static enum gx_rc
at_ceiling(struct gx_src_pg *src, uint64_t confirmed, int64_t oldest_s,
	   struct gx_err *e)
{
	int64_t now_ms = gx_mono_ms();
	bool is_hard = (uint64_t)src->lag >= src->slot_lag_hard;
	struct gx_err ignored;

	if (has_moved(src, confirmed) || src->full_since_ms == 0) {
		src->full_since_ms = now_ms;
	}
	if (!src->drops_slot ||
	    (!is_hard && now_ms - src->full_since_ms < src->slot_lag_wait_ms)) {
		return GX_OK;
	}
	src->full_since_ms = 0;
	if (gx_src_pg_drop_slot(src, &ignored) != GX_OK) {
		return GX_ERR(e, GX_FATAL, "slot.lag_max",
			      "slot %s keeps more WAL than slot_lag_max and "
			      "could not be dropped (%s): drop it by hand "
			      "before the department's disk is full",
			      src->place.slot, ignored.code);
	}
	if (is_hard) {
		return GX_ERR(e, GX_FATAL, "slot.lag_max",
			      "slot %s kept more WAL than slot_lag_hard: it "
			      "was dropped so that the department's disk does "
			      "not fill; the oldest transaction there is open "
			      "for %lld s: end it, then restart the flow and "
			      "follow slot.lost",
			      src->place.slot, (long long)oldest_s);
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
	uint64_t restart_lsn = 0, confirmed = 0;
	int64_t holder;
	int percent;
	enum gx_rc rc = gx_pg_query(
		src->ctl,
		"SELECT pg_current_wal_lsn()::text, s.restart_lsn::text, "
		"coalesce(s.confirmed_flush_lsn, '0/0')::text, "
		"coalesce(s.active_pid, 0), coalesce((SELECT "
		"max(extract(epoch FROM now() - xact_start)) FROM "
		"pg_stat_activity WHERE backend_xid IS NOT NULL), 0)::bigint "
		"FROM (SELECT 1) one LEFT JOIN pg_replication_slots s "
		"ON s.slot_name = $1",
		1, params, &r, e);

	if (rc != GX_OK) {
		return rc == GX_AGAIN ? GX_ABORT : rc;
	}
	src->looked_at_ms = gx_mono_ms();
	if (!gx_lsn_parse(gx_rows_str(r, 0, 0), &src->server_end) ||
	    gx_rows_null(r, 0, 1) ||
	    !gx_lsn_parse(gx_rows_str(r, 0, 1), &restart_lsn) ||
	    !gx_lsn_parse(gx_rows_str(r, 0, 2), &confirmed)) {
		src->lag = -1;
		return GX_OK;
	}
	src->lag = (int64_t)(src->server_end - restart_lsn);
	if (src->lag < 0) {
		src->lag = 0;
	}
	holder = gx_rows_int(r, 0, 3);
	if (holder != 0 && holder != src->own_pid) {
		return GX_OK; /* who holds the slot looks after it */
	}
	percent = (int)(src->lag / (int64_t)(src->slot_lag_max / 100));
	warn_lag(src, percent);
	if (percent < 100) {
		src->full_since_ms = 0;
		return GX_OK;
	}
	return at_ceiling(src, confirmed, gx_rows_int(r, 0, 4), e);
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
