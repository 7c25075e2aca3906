/*
 * Drives a source over an outbox through a failover, for scenario d12.
 *
 *   drive_outbox CONNINFO
 *
 * Five rows are said and read: what is settled in the log is id 5.  Then the
 * database is what a standby had that lacked the last two rows, and a service
 * says three more before the source begins again: ids 4, 5 and 6 are given a
 * second time.  Prints what start() says, and the key of each record that is
 * handed over after it.
 */
#include "base/err.h"
#include "flow/outbox.h"
#include "flow/src_outbox.h"

#define ORIGIN "/450100/gx/own"

static struct gx_err err;

static void
must(enum gx_rc rc, const char *what)
{
	if (rc != GX_OK) {
		(void)printf("%s %s %s\n", what, err.code ? err.code : "",
			     err.text);
		exit(1);
	}
}

static void
say(struct gx_pg *pg, const char *who, int n)
{
	for (int i = 0; i < n; i++) {
		char key[100];
		struct gx_outbox_row row = {.stream = ORIGIN "/gx.receipt/0",
					    .op = 'd'};

		(void)snprintf(key, sizeof key, "[\"s\",\"%s%d\",\"applied\"]",
			       who, i);
		row.key = gx_slice_str(key);
		must(gx_pg_exec(pg, "BEGIN", &err), "begin");
		must(gx_outbox_put(pg, ORIGIN, &row, 1, &err), "put");
		must(gx_pg_exec(pg, "COMMIT", &err), "commit");
	}
}

static void
read_all(struct gx_source *s, struct gx_buf *pos)
{
	struct gx_rec rec;

	for (int i = 0; i < 20; i++) {
		enum gx_rc rc = s->ops->read(s, 50, &rec, &err);

		if (rc == GX_OK && !rec.is_progress) {
			(void)printf("read %.*s\n", (int)rec.line.key.n,
				     rec.line.key.p);
		}
		if (rc == GX_OK) {
			gx_buf_reset(pos);
			(void)gx_buf_slice(pos, rec.pos);
		} else if (rc != GX_AGAIN) {
			must(rc, "read");
		}
	}
}

int
main(int argc, char **argv)
{
	struct gx_resource *r = NULL;
	const struct gx_resource *list[1];
	struct gx_src_outbox_conf conf = {.origin = ORIGIN,
					  .resources = list,
					  .n_resources = 1,
					  .keep_ms = 3600000};
	struct gx_slice none = {"", 0}, settled;
	struct gx_source *s = NULL;
	struct gx_pg *pg = NULL;
	struct gx_buf pos;

	if (argc != 2) {
		return 2;
	}
	gx_buf_init(&pos, 200);
	conf.conninfo = argv[1];
	must(gx_resource_load("schemas/resources/gx/receipt.json", &r, &err),
	     "resource");
	list[0] = r;
	must(gx_pg_open(argv[1], "drive", false, &pg, &err), "open");
	must(gx_src_outbox_new(&conf, &s, &err), "new");
	must(s->ops->take(s, &err), "take");
	say(pg, "before", 5);
	must(s->ops->start(s, &none, 1, none, &err), "start");
	read_all(s, &pos);
	s->ops->drop(s);
	must(gx_pg_exec(pg,
			"DELETE FROM gx_outbox WHERE id > 3; "
			"UPDATE gx_outbox_head SET last_id = 3",
			&err),
	     "failover");
	say(pg, "after", 3);
	must(s->ops->take(s, &err), "take");
	settled = gx_buf_view(&pos);
	must(s->ops->start(s, &settled, 1, none, &err), "start");
	(void)printf("start ok\n");
	read_all(s, &pos);
	gx_source_free(&s);
	gx_pg_close(&pg);
	gx_resource_free(&r);
	gx_buf_free(&pos);
	return 0;
}
