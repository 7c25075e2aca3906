/*
 * gxbusd: the daemon of a node.
 *
 * Life: read the configuration (any doubt ends it with 78), read keys and
 * declarations, answer HTTP if this daemon is the one with the socket, then
 * try until tables, topics and streams are there, start one worker per flow,
 * say READY, and look after wishes and states until a signal.  A server that
 * is away at the start is waited for and shown in /readyz; a login that is
 * refused, another number of partitions, a key others can read, are for a
 * person: the named error, and 78.  What is wrong with one flow alone stops
 * that flow, and its neighbours run.
 *
 * SIGTERM or SIGINT: workers end between two steps, within ten seconds; what
 * has not ended then is left behind, as kill -9 would: every state that
 * matters is in the log and the database.  A second signal ends at once.
 * SIGHUP reads log_level again and nothing else; all other keys want a
 * restart.
 *
 * Signals are blocked in all threads and taken by the main thread, in the
 * same call that paces it.  The watchdog's word is sent by this loop after the
 * states of the workers have been looked at, so a main thread that hangs in
 * the database goes silent.
 */
#include "base/clock.h"
#include "base/log.h"
#include "node/api.h"
#include "node/audit.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXIT_AWAY 75
#define EXIT_CONF 78
#define TICK_MS 300
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 3000
#define DRAIN_MS 9000
#define WATCHDOG_MS 5000

struct options {
	const char *conf, *token, *role, *token_file;
	bool checks, prints, shows_version, helps;
};

struct daemon {
	const struct options *o;
	struct gx_conf *conf;
	struct gx_node *n;
	struct gx_api *api;
	struct gx_http_server *http;
	sigset_t signals;
	char trouble[64]; /* code of the error that was last logged */
};

static const char usage[] =
	"gxbusd: the daemon of a gxbus node\n\n"
	"  gxbusd -c /etc/gxbus/gxbusd.conf\n"
	"  gxbusd -c FILE --check-config      read and check, change nothing\n"
	"  gxbusd -c FILE --create-token NAME --role operator|auditor\n"
	"                                     make a token, print it once;\n"
	"      --token-file FILE              keep the one in FILE instead\n"
	"  gxbusd --print-sample              every key, commented\n"
	"  gxbusd --version\n\n"
	"  -c, --config FILE   configuration\n"
	"  --foreground        stay in the foreground (always so)\n\n"
	"Exit codes: 0 ended as asked, 2 usage, 75 a server is away,\n"
	"78 configuration.\n";

static bool
read_options(int argc, char **argv, struct options *o)
{
	static const struct option table[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 'k'},
		{"print-sample", no_argument, NULL, 'p'},
		{"create-token", required_argument, NULL, 't'},
		{"token-file", required_argument, NULL, 'F'},
		{"role", required_argument, NULL, 'r'},
		{"foreground", no_argument, NULL, 'f'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	int ch;

	while ((ch = getopt_long(argc, argv, "c:h", table, NULL)) != -1) {
		switch (ch) {
		case 'c':
			o->conf = optarg;
			break;
		case 'k':
			o->checks = true;
			break;
		case 'p':
			o->prints = true;
			break;
		case 't':
			o->token = optarg;
			break;
		case 'F':
			o->token_file = optarg;
			break;
		case 'r':
			o->role = optarg;
			break;
		case 'V':
			o->shows_version = true;
			break;
		case 'h':
			o->helps = true;
			break;
		case 'f':
			break;
		default:
			return false;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "gxbusd: unexpected argument %s\n",
			argv[optind]);
		return false;
	}
	return true;
}

/* The three lines a person reads; the log has the rest. */
static int
complain(const struct gx_err *e, int exit_code)
{
	const struct gx_error_def *def =
		gx_error_find(e->code ? e->code : "internal");

	fprintf(stderr, "gxbusd: error GX%d: %s\n", def ? def->number : 1000,
		e->text);
	if (def != NULL) {
		fprintf(stderr, "why: %s\nnext: %s\n", def->cause, def->remedy);
	}
	return exit_code;
}

static void
set_log(const struct gx_conf *c)
{
	enum gx_level level = GX_LOG_INFO;

	(void)gx_log_level_parse(gx_conf_str(c, "node", NULL, "log_level"),
				 &level);
	gx_log_setup(level, gx_conf_bool(c, "node", NULL, "log_json"));
}

static enum gx_rc
load_conf(const char *path, struct gx_conf **out, struct gx_err *e)
{
	enum gx_rc rc = gx_conf_load(path, gx_node_keys, out, e);

	if (rc == GX_OK) {
		rc = gx_node_conf_check(*out, e);
		if (rc != GX_OK) {
			gx_err_note(e, "%s", path);
			gx_conf_free(out);
		}
	}
	return rc;
}

static enum gx_rc
check_dir(const struct gx_conf *c, struct gx_err *e)
{
	const char *dir = gx_conf_str(c, "node", NULL, "dir");
	struct stat st;

	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
	    access(dir, W_OK | X_OK) != 0) {
		return GX_ERR(e, GX_REJECT, "node.dir",
			      "[node] dir = %s is not a folder we may write to",
			      dir);
	}
	return GX_OK;
}

/* ---- one-shot commands ---- */

/* One token for several nodes: made at one, kept at the others. */
static enum gx_rc
read_token(const char *path, char out[GX_TOKEN_LEN + 1], struct gx_err *e)
{
	struct stat st;
	FILE *f = fopen(path, "re");
	bool is_good = f != NULL && fstat(fileno(f), &st) == 0 &&
		       S_ISREG(st.st_mode) && (st.st_mode & 077) == 0 &&
		       fgets(out, GX_TOKEN_LEN + 1, f) != NULL &&
		       strlen(out) == GX_TOKEN_LEN;

	if (f != NULL) {
		(void)fclose(f);
	}
	return is_good ? GX_OK
		       : GX_ERR(e, GX_REJECT, "node.token_file",
				"%s holds no token, or others can read it",
				path);
}

static int
create_token(const struct options *o, struct gx_node *n)
{
	char token[GX_TOKEN_LEN + 1] = "";
	struct gx_pg *pg = NULL;
	struct gx_err e = {0};
	enum gx_rc rc = GX_OK;

	if (o->token_file != NULL) {
		rc = read_token(o->token_file, token, &e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_open(n->conninfo, "gxbusd token", false, &pg, &e);
	}

	if (rc == GX_OK) {
		rc = gx_pg_migrate(
			pg, gx_conf_str(n->conf, "node", NULL, "migrations"),
			&e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_exec(pg, "BEGIN", &e);
	}
	if (rc == GX_OK) {
		rc = gx_api_token_make(pg, o->token, o->role ? o->role : "",
				       token, &e);
	}
	if (rc == GX_OK) {
		struct gx_act a = {.node = n->id,
				   .who = "gxbusd --create-token",
				   .role = "system",
				   .act = "token.create",
				   .on = o->token,
				   .outcome = "done",
				   .why = ""};
		rc = gx_audit_append(pg, &a, 0, &e);
	}
	if (rc == GX_OK) {
		rc = gx_pg_exec(pg, "COMMIT", &e);
	}
	gx_pg_close(&pg);
	if (rc != GX_OK) {
		return complain(&e, rc == GX_AGAIN ? EXIT_AWAY : EXIT_CONF);
	}
	printf("%s\n", token);
	gx_mem_wipe(token, sizeof token);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* ---- signals and pace ---- */

static int
wait_signal(const struct daemon *d, int64_t timeout_ms)
{
	struct timespec ts = {.tv_sec = timeout_ms / 1000,
			      .tv_nsec = timeout_ms % 1000 * 1000000};

	return sigtimedwait(&d->signals, NULL, &ts);
}

static void
reload(const struct daemon *d)
{
	struct gx_conf *c = NULL;
	struct gx_err e = {0};

	if (load_conf(d->o->conf, &c, &e) != GX_OK) {
		gx_log_err(GX_LOG_WARN, &e);
		return;
	}
	set_log(c);
	gx_log(GX_LOG_NOTICE, "node.reload", "key=log_level value=%s",
	       gx_conf_str(c, "node", NULL, "log_level"));
	gx_conf_free(&c);
}

/* True when the daemon shall end. */
static bool
pace(const struct daemon *d, int64_t timeout_ms)
{
	int sig = wait_signal(d, timeout_ms);

	if (sig == SIGHUP) {
		reload(d);
	}
	return sig == SIGTERM || sig == SIGINT;
}

/* Log an error when it is another than before; "" when all is well. */
static void
note_trouble(struct daemon *d, const struct gx_err *e)
{
	const char *code = e && e->code ? e->code : "";

	if (strcmp(d->trouble, code) == 0) {
		return;
	}
	snprintf(d->trouble, sizeof d->trouble, "%s", code);
	if (code[0] != '\0') {
		gx_log_err(GX_LOG_WARN, e);
	}
}

/* ---- phases ---- */

static enum gx_rc
start_flows(struct gx_node *n, struct gx_err *e)
{
	enum gx_rc rc = gx_control_begin(n, e);

	for (size_t i = 0; rc == GX_OK && i < n->n_flows; i++) {
		rc = gx_node_start_flow(n, i, e);
	}
	if (rc == GX_OK) {
		atomic_fetch_or(&n->ready, GX_DEP_FLOWS);
	}
	return rc;
}

/* -1: go on; else the exit code. */
static int
bring_up(struct daemon *d)
{
	int64_t pause_ms = BACKOFF_MIN_MS;

	for (;;) {
		struct gx_err e = {0};
		enum gx_rc rc = gx_node_prepare(d->n, &e);

		if (rc == GX_OK) {
			rc = start_flows(d->n, &e);
		}
		if (rc == GX_OK) {
			note_trouble(d, NULL);
			return -1;
		}
		if (rc != GX_AGAIN && rc != GX_ABORT) {
			return complain(&e, EXIT_CONF);
		}
		note_trouble(d, &e);
		if (pace(d, pause_ms)) {
			return 0;
		}
		pause_ms = pause_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS
							 : pause_ms * 2;
	}
}

static void
look_after(struct daemon *d)
{
	int64_t word_at = 0;

	while (!pace(d, TICK_MS)) {
		struct gx_err e = {0};
		enum gx_rc rc = gx_control_tick(d->n, &e);

		note_trouble(d, rc == GX_OK ? NULL : &e);
		if (gx_mono_ms() - word_at >= WATCHDOG_MS) {
			word_at = gx_mono_ms();
			gx_notify("WATCHDOG=1");
		}
	}
}

/* True if all workers ended. */
static bool
drain(struct daemon *d)
{
	int64_t until = gx_mono_ms() + DRAIN_MS;
	bool is_done = true;

	gx_notify("STOPPING=1");
	gx_log(GX_LOG_NOTICE, "node.stop", "flows=%zu", d->n->n_flows);
	for (size_t i = 0; i < d->n->n_flows; i++) {
		if (d->n->flows[i].worker != NULL) {
			gx_worker_ask_end(d->n->flows[i].worker);
		}
	}
	for (size_t i = 0; i < d->n->n_flows; i++) {
		while (d->n->flows[i].worker != NULL &&
		       !gx_worker_join(&d->n->flows[i].worker, 50)) {
			int sig = wait_signal(d, 0);

			if (sig == SIGTERM || sig == SIGINT) {
				_exit(1);
			}
			if (gx_mono_ms() > until) {
				gx_log(GX_LOG_WARN, "node.stop_late", "flow=%s",
				       d->n->flows[i].name);
				is_done = false;
				break;
			}
		}
	}
	return is_done;
}

static int
serve(struct daemon *d)
{
	const char *socket_path = gx_conf_str(d->conf, "node", NULL, "socket");
	struct gx_err e = {0};
	int code;

	if (socket_path[0] != '\0') {
		d->api = gx_api_new(d->n);
		if (gx_http_serve(socket_path,
				  (size_t)gx_conf_int(d->conf, "node", NULL,
						      "http_max_body"),
				  gx_api_handle, d->api, &d->http,
				  &e) != GX_OK) {
			gx_api_free(&d->api);
			return complain(&e, EXIT_CONF);
		}
	}
	code = bring_up(d);
	if (code < 0) {
		gx_notify("READY=1");
		gx_log(GX_LOG_NOTICE, "node.ready", "node=%s flows=%zu",
		       d->n->id, d->n->n_flows);
		look_after(d);
		code = 0;
	}
	if (!drain(d)) {
		_exit(code); /* a thread is still at work: leave it */
	}
	if (d->http != NULL) {
		gx_http_stop(&d->http);
	}
	gx_api_free(&d->api);
	return code;
}

static int
run(const struct options *o)
{
	struct daemon d = {.o = o};
	struct gx_err e = {0};
	enum gx_rc rc = load_conf(o->conf, &d.conf, &e);
	int code;

	if (rc != GX_OK) {
		return complain(&e, EXIT_CONF);
	}
	set_log(d.conf);
	if (!o->checks && o->token == NULL) {
		rc = check_dir(d.conf, &e);
	}
	if (rc == GX_OK) {
		rc = gx_node_new(d.conf, &d.n, &e);
	}
	if (rc == GX_OK && o->checks) {
		rc = gx_node_check(d.n, &e);
	}
	if (rc != GX_OK) {
		code = complain(&e, EXIT_CONF);
	} else if (o->checks) {
		printf("%s: good, %zu flows, %zu resources\n", o->conf,
		       d.n->n_flows, d.n->n_resources);
		code = 0;
	} else if (o->token != NULL) {
		code = create_token(o, d.n);
	} else {
		sigemptyset(&d.signals);
		sigaddset(&d.signals, SIGTERM);
		sigaddset(&d.signals, SIGINT);
		sigaddset(&d.signals, SIGHUP);
		(void)sigprocmask(SIG_BLOCK, &d.signals, NULL);
		(void)signal(SIGPIPE, SIG_IGN);
		(void)prctl(PR_SET_DUMPABLE, 0);
		gx_log_crash_handler();
		code = serve(&d);
	}
	gx_node_free(&d.n);
	gx_conf_free(&d.conf);
	return code;
}

int
main(int argc, char **argv)
{
	struct options o = {0};
	struct gx_buf b;

	if (!read_options(argc, argv, &o)) {
		fputs(usage, stderr);
		return 2;
	}
	if (o.helps) {
		fputs(usage, stdout);
		return 0;
	}
	if (o.shows_version) {
		puts("gxbusd " GX_VERSION);
		return 0;
	}
	if (o.prints) {
		gx_buf_init(&b, 1u << 20);
		gx_node_conf_sample(&b);
		fputs(gx_buf_str(&b), stdout);
		gx_buf_free(&b);
		return 0;
	}
	if (o.conf == NULL) {
		fputs("gxbusd: name the configuration: gxbusd -c FILE\n",
		      stderr);
		return 2;
	}
	return run(&o);
}
