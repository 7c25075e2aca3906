/*
 * HTTP server on a Unix socket, behind nginx.
 *
 * libmicrohttpd reads leniently: it takes two lengths, a length and chunks,
 * two hosts, and names with blanks, all of which smuggle a second request past
 * whoever reads strictly.  nginx in front refuses them; here they are refused
 * once more, because somebody will one day connect to the socket directly.
 * A request is refused before its body is read, with the connection closed.
 *
 * A few threads serve; each handler call runs in one of them and may wait for
 * a database, while the connections of that thread wait with it.  A client
 * that is slow with its request is cut off after seconds; the clock stands
 * still while a handler works.
 *
 * Who may connect is the kernel's business: the socket has mode 0660 from
 * before it listens.  A lock file beside it says whether its owner lives; a
 * socket without owner is replaced, one with an owner never, and a file that
 * is no socket is never removed.
 *
 * Nothing is kept between requests.  If we die the socket file stays and the
 * next start replaces it.
 */
#include "port/http_int.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdint.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVER_MAGIC 0x68747470u
#define ANSWER_MAX (16u << 20)
#define N_THREADS 6
#define N_CONNECTIONS 200u
#define MEMORY_MAX ((size_t)32 * 1024)
#define READ_S 3u
#define WRITE_S 30u

struct gx_http_server {
	unsigned magic;
	struct MHD_Daemon *daemon;
	gx_http_handle_f handle;
	void *ctx;
	size_t max_body;
	int lock_fd;
	char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
};

struct request {
	struct gx_http_target target;
	struct MHD_Connection *conn;
	const char *bad; /* what is wrong with it */
	int bad_status;
	bool is_begun;
	struct gx_buf body;
};

const char *
gx_http_query(const struct gx_http_request *r, const char *name)
{
	const struct request *rq = r->impl;

	for (size_t i = 0; i < rq->target.n_params; i++) {
		if (strcmp(rq->target.params[i].name, name) == 0) {
			return rq->target.params[i].value;
		}
	}
	return NULL;
}

static const char *
header(struct MHD_Connection *conn, const char *name)
{
	return MHD_lookup_connection_value(conn, MHD_HEADER_KIND, name);
}

const char *
gx_http_header(const struct gx_http_request *r, const char *name)
{
	const struct request *rq = r->impl;

	return header(rq->conn, name);
}

/* ---- what is refused ---- */

static void
refuse(struct request *rq, int status, const char *why)
{
	if (rq->bad == NULL) {
		rq->bad = why;
		rq->bad_status = status;
	}
}

/* RFC 9110 5.6.2: token. */
static bool
is_token(const char *s)
{
	return s[0] != '\0' &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyz"
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789!#$%&'*+-.^_`|~")] == '\0';
}

/* Headers that must not come twice: what decides length, host or identity. */
struct seen {
	struct request *rq;
	unsigned mask;
};

static enum MHD_Result
see_header(void *ctx, enum MHD_ValueKind kind, const char *name,
	   const char *value)
{
	static const char *const single[] = {
		"Content-Length", "Host",	    "Authorization",
		"Content-Type",	  "X-Gx-Client-Cn", "X-Gx-Client-Verify",
		"X-Gx-Remote"};
	struct seen *seen = ctx;

	(void)kind;
	if (!is_token(name)) {
		refuse(seen->rq, 400, "a header has no proper name");
		return MHD_NO;
	}
	if (strcasecmp(name, "Transfer-Encoding") == 0) {
		refuse(seen->rq, 411, "the body has no explicit length");
		return MHD_NO;
	}
	for (const char *p = value; p != NULL && *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 && *p != '\t') {
			refuse(seen->rq, 400, "a header holds a control code");
			return MHD_NO;
		}
	}
	for (unsigned i = 0; i < sizeof single / sizeof *single; i++) {
		if (strcasecmp(name, single[i]) != 0) {
			continue;
		}
		if (seen->mask & 1u << i) {
			refuse(seen->rq, 400, "a header stands twice");
			return MHD_NO;
		}
		seen->mask |= 1u << i;
	}
	return MHD_YES;
}

static void
check_length(struct request *rq, size_t max_body)
{
	const char *s = header(rq->conn, "Content-Length");
	size_t n = s ? strlen(s) : 0;

	if (s == NULL) {
		return;
	}
	if (n == 0 || strspn(s, "0123456789") != n) {
		refuse(rq, 400, "the length is no number");
	} else if (n > 18 || strtoull(s, NULL, 10) > max_body) {
		refuse(rq, 413, "the body is too long");
	}
}

static void
check_head(struct request *rq, const char *method, size_t max_body)
{
	struct seen seen = {.rq = rq};

	if (strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(method)) {
		refuse(rq, 400, "the method is no word");
	}
	(void)MHD_get_connection_values(rq->conn, MHD_HEADER_KIND, see_header,
					&seen);
	check_length(rq, max_body);
}

/* ---- answers ---- */

static void
add(struct MHD_Response *resp, const char *name, const char *value)
{
	(void)MHD_add_response_header(resp, name, value);
}

/* Takes the answer's bytes. */
static enum MHD_Result
send_answer(struct MHD_Connection *conn, struct gx_http_answer *a)
{
	struct MHD_Response *resp =
		MHD_create_response_from_buffer_with_free_callback(
			a->body.n, a->body.p, gx_mem_free);
	enum MHD_Result r;

	if (resp == NULL) {
		gx_buf_free(&a->body);
		return MHD_NO;
	}
	if (a->content_type != NULL) {
		add(resp, "Content-Type", a->content_type);
	}
	if (a->location[0] != '\0') {
		add(resp, "Location", a->location);
	}
	if (a->status == 401) {
		add(resp, "WWW-Authenticate", "Bearer");
	}
	add(resp, "Cache-Control", "no-store");
	add(resp, "X-Content-Type-Options", "nosniff");
	r = MHD_queue_response(conn, (unsigned)a->status, resp);
	MHD_destroy_response(resp);
	return r;
}

/* Our own refusals; they close the connection, whose rest is not trusted. */
static enum MHD_Result
send_refusal(struct request *rq)
{
	char text[300];
	int n = snprintf(text, sizeof text,
			 "{\"type\":\"about:blank\",\"title\":\"The request is "
			 "refused.\",\"status\":%d,\"detail\":\"%s\"}",
			 rq->bad_status, rq->bad);
	struct MHD_Response *resp = MHD_create_response_from_buffer(
		(size_t)n, text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result r;

	if (resp == NULL) {
		return MHD_NO;
	}
	add(resp, "Content-Type", "application/problem+json");
	add(resp, "Cache-Control", "no-store");
	add(resp, "Connection", "close");
	r = MHD_queue_response(rq->conn, (unsigned)rq->bad_status, resp);
	MHD_destroy_response(resp);
	return r;
}

/* ---- a request ---- */

/* The only place that sees the target as it came; the rest is told a target
 * that was cut and decoded. */
static void *
begin(void *ctx, const char *uri, struct MHD_Connection *conn)
{
	struct gx_http_server *s = ctx;
	struct request *rq = gx_mem_new(sizeof *rq);
	const char *bad = gx_http_target_parse(uri, &rq->target);

	rq->conn = conn;
	gx_buf_init(&rq->body, s->max_body);
	if (bad != NULL) {
		refuse(rq, 400, bad);
	}
	return rq;
}

static void
end(void *ctx, struct MHD_Connection *conn, void **rqp,
    enum MHD_RequestTerminationCode why)
{
	struct request *rq = *rqp;

	(void)ctx;
	(void)conn;
	(void)why;
	if (rq != NULL) {
		gx_mem_free(rq->target.memory);
		gx_buf_free(&rq->body);
		gx_mem_free(rq);
		*rqp = NULL;
	}
}

static void
set_timeout(struct MHD_Connection *conn, unsigned seconds)
{
	(void)MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT,
					seconds);
}

static enum MHD_Result
serve(struct gx_http_server *s, struct request *rq, const char *method)
{
	struct gx_http_answer a = {.status = 500};
	struct gx_http_request r = {.method = method,
				    .path = rq->target.path,
				    .body = gx_buf_view(&rq->body),
				    .impl = rq};
	const char *verify = header(rq->conn, "X-Gx-Client-Verify");
	const char *cn = header(rq->conn, "X-Gx-Client-Cn");

	r.authorization = header(rq->conn, "Authorization");
	r.accept = header(rq->conn, "Accept");
	r.remote = header(rq->conn, "X-Gx-Remote");
	r.remote = r.remote ? r.remote : "";
	if (verify && strcmp(verify, "SUCCESS") == 0 && cn && cn[0] != '\0') {
		r.client_cn = cn;
	}
	gx_buf_init(&a.body, ANSWER_MAX);
	/* The time a handler takes is not the client's, and an answer may take
	 * longer than a request: leaving 0 makes the clock begin anew. */
	set_timeout(rq->conn, 0);
	s->handle(s->ctx, &r, &a);
	set_timeout(rq->conn, WRITE_S);
	if (a.status < 100 || a.status > 599) {
		a.status = 500;
	}
	return send_answer(rq->conn, &a);
}

static enum MHD_Result
take(void *ctx, struct MHD_Connection *conn, const char *uri,
     const char *method, const char *version, const char *data, size_t *n,
     void **rqp)
{
	struct gx_http_server *s = ctx;
	struct request *rq = *rqp;

	(void)uri;
	GX_ASSERT(s->magic == SERVER_MAGIC && rq != NULL);
	if (!rq->is_begun) {
		rq->is_begun = true;
		set_timeout(conn, READ_S);
		if (strcmp(version, "HTTP/1.1") != 0 &&
		    strcmp(version, "HTTP/1.0") != 0) {
			refuse(rq, 505, "the version of HTTP is unknown");
		}
		check_head(rq, method, s->max_body);
		return rq->bad ? send_refusal(rq) : MHD_YES;
	}
	if (*n > 0) {
		if (!gx_buf_put(&rq->body, data, *n)) {
			refuse(rq, 413, "the body is too long");
		}
		*n = 0;
		return MHD_YES;
	}
	return rq->bad ? send_refusal(rq) : serve(s, rq, method);
}

static size_t
keep_escaped(void *ctx, struct MHD_Connection *conn, char *s)
{
	(void)ctx;
	(void)conn;
	return strlen(s);
}

static void __attribute__((format(printf, 2, 0)))
take_log(void *ctx, const char *fmt, va_list ap)
{
	char text[200];

	(void)ctx;
	vsnprintf(text, sizeof text, fmt, ap);
	text[strcspn(text, "\r\n\"\\")] = '\0';
	gx_log(GX_LOG_DEBUG, "http.server", "text=\"%s\"", text);
}

/* ---- the socket ---- */

static enum gx_rc
lock_path(struct gx_http_server *s, struct gx_err *e)
{
	char name[sizeof s->path + 8];

	snprintf(name, sizeof name, "%s.lock", s->path);
	s->lock_fd =
		open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0) {
		return GX_ERR(e, GX_FATAL, "http.socket", "cannot make %s: %s",
			      name, strerror(errno));
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		return GX_ERR(e, GX_FATAL, "http.in_use",
			      "another process serves %s: stop it or use "
			      "another socket",
			      s->path);
	}
	return GX_OK;
}

/* What lies at the path: nothing, a socket without owner, or a reason to
 * stop. */
static enum gx_rc
clear_path(struct gx_http_server *s, const struct sockaddr_un *sa,
	   struct gx_err *e)
{
	struct stat st;
	int fd;
	int r;

	if (lstat(s->path, &st) != 0) {
		return errno == ENOENT ? GX_OK
				       : GX_ERR(e, GX_FATAL, "http.socket",
						"cannot look at %s: %s",
						s->path, strerror(errno));
	}
	if (!S_ISSOCK(st.st_mode)) {
		return GX_ERR(e, GX_FATAL, "http.socket",
			      "%s is no socket: it is not removed", s->path);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)sa, sizeof *sa);
	/* EAGAIN: its queue is full, so somebody listens. */
	if (fd >= 0 && (r == 0 || errno == EAGAIN || errno == EINPROGRESS)) {
		close(fd);
		return GX_ERR(e, GX_FATAL, "http.in_use",
			      "another process serves %s: stop it or use "
			      "another socket",
			      s->path);
	}
	if (fd >= 0) {
		close(fd);
	}
	if (unlink(s->path) != 0 && errno != ENOENT) {
		return GX_ERR(e, GX_FATAL, "http.socket",
			      "cannot replace %s: %s", s->path,
			      strerror(errno));
	}
	return GX_OK;
}

static enum gx_rc
listen_at(struct gx_http_server *s, int *out, struct gx_err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	enum gx_rc rc = lock_path(s, e);
	int fd;

	memcpy(sa.sun_path, s->path, sizeof sa.sun_path);
	if (rc == GX_OK) {
		rc = clear_path(s, &sa, e);
	}
	if (rc != GX_OK) {
		return rc;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Nobody can connect before it listens, so the mode comes in time. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
	    chmod(s->path, 0660) != 0 || listen(fd, 128) != 0) {
		rc = GX_ERR(e, GX_FATAL, "http.socket",
			    "cannot listen at %s: %s", s->path,
			    strerror(errno));
		if (fd >= 0) {
			close(fd);
		}
		return rc;
	}
	*out = fd;
	return GX_OK;
}

enum gx_rc
gx_http_serve(const char *socket_path, size_t max_body, gx_http_handle_f handle,
	      void *ctx, struct gx_http_server **out, struct gx_err *e)
{
	struct gx_http_server *s = gx_mem_new(sizeof *s);
	int fd = -1;
	enum gx_rc rc;

	s->magic = SERVER_MAGIC;
	s->handle = handle;
	s->ctx = ctx;
	s->max_body = max_body;
	s->lock_fd = -1;
	if (snprintf(s->path, sizeof s->path, "%s", socket_path) >=
	    (int)sizeof s->path) {
		s->path[0] = '\0';
		rc = GX_ERR(e, GX_FATAL, "http.socket",
			    "the path of the socket is longer than %zu bytes",
			    sizeof s->path - 1);
	} else {
		rc = listen_at(s, &fd, e);
	}
	if (rc == GX_OK) {
		s->daemon = MHD_start_daemon(
			MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0,
			NULL, NULL, take, s, MHD_OPTION_EXTERNAL_LOGGER,
			take_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
			MHD_OPTION_THREAD_POOL_SIZE, (unsigned)N_THREADS,
			MHD_OPTION_CONNECTION_LIMIT, N_CONNECTIONS,
			MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_MAX,
			MHD_OPTION_CONNECTION_TIMEOUT, READ_S,
			MHD_OPTION_STRICT_FOR_CLIENT, 1,
			MHD_OPTION_URI_LOG_CALLBACK, begin, s,
			MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL,
			MHD_OPTION_NOTIFY_COMPLETED, end, s, MHD_OPTION_END);
		if (s->daemon == NULL) {
			close(fd);
			(void)unlink(s->path);
			rc = GX_ERR(e, GX_FATAL, "http.start",
				    "cannot start threads for %s: %s", s->path,
				    strerror(errno));
		}
	}
	if (rc != GX_OK) {
		if (s->lock_fd >= 0) {
			close(s->lock_fd);
		}
		gx_mem_free(s);
		return rc;
	}
	*out = s;
	return GX_OK;
}

void
gx_http_stop(struct gx_http_server **sp)
{
	struct gx_http_server *s = *sp;

	if (s == NULL) {
		return;
	}
	GX_ASSERT(s->magic == SERVER_MAGIC);
	*sp = NULL;
	MHD_stop_daemon(s->daemon); /* closes the socket it listens at */
	(void)unlink(s->path);
	close(s->lock_fd);
	s->magic = 0;
	gx_mem_free(s);
}
