/*
 * HTTP: the target taken apart, what the server refuses, the socket's life,
 * and the client against the server.  Raw requests go over the socket as
 * somebody would send them who means no good.
 */
#include "base/clock.h"
#include "base/log.h"
#include "port/http_int.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/gx-t_http.XXXXXX";
static char path[64], base[96];
static struct gx_http_server *server;
static atomic_int n_handled;

/* ---- the target ---- */

static void
test_target(void **state)
{
	static const struct {
		const char *uri, *path;
	} good[] = {
		{"/", "/"},
		{"/api/v1/flows", "/api/v1/flows"},
		{"/a%2Fb%20c", "/a/b c"},
		{"/%E5%B9%BF?x=1", "/\xe5\xb9\xbf"},
		{"/a+b", "/a+b"},
	};
	static const char *const bad[] = {
		"",	    "a",	   "*",		 "http://h/a",
		"/%00",	    "/a%00b",	   "/%",	 "/%4",
		"/%zz",	    "/%0a",	   "/%7f",	 "/%ff",
		"/%c0%80",  "/a?x=%00",	   "/a?x=1&x=2", "/a?%0d=1",
		"/a?x=%C3", "/\x01",	   "/a?x=\x7f",	 "/%ed%a0%80",
		"/%c2%9e",  "/a?%c2%85=1",
	};
	struct gx_http_target t;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_null(gx_http_target_parse(good[i].uri, &t));
		assert_string_equal(t.path, good[i].path);
		gx_mem_free(t.memory);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_non_null(gx_http_target_parse(bad[i], &t));
		gx_mem_free(t.memory);
	}
	assert_null(gx_http_target_parse("/p?a=1&b=x%26y+z&&c&d=", &t));
	assert_int_equal(t.n_params, 4);
	assert_string_equal(t.params[1].value, "x&y z");
	assert_string_equal(t.params[2].value, "");
	gx_mem_free(t.memory);
}

/* ---- a handler that says what it was told ---- */

static void
echo(void *ctx, const struct gx_http_request *r, struct gx_http_answer *a)
{
	const char *q = gx_http_query(r, "q");
	const char *h = gx_http_header(r, "x-test");

	(void)ctx;
	atomic_fetch_add(&n_handled, 1);
	if (strcmp(r->path, "/slow") == 0) {
		/* Longer than a client may take with its request. */
		nanosleep(&(struct timespec){.tv_sec = 4}, NULL);
	}
	a->status = 200;
	a->content_type = "text/plain";
	if (strcmp(r->path, "/big") == 0) {
		while (gx_buf_puts(&a->body, "0123456789abcdef") &&
		       a->body.n < 100000) {
		}
		return;
	}
	if (strcmp(r->path, "/gone") == 0) {
		a->status = 302;
		snprintf(a->location, sizeof a->location, "/elsewhere");
	}
	gx_buf_printf(&a->body, "%s %s q=%s h=%s cn=%s remote=%s auth=%s n=%zu",
		      r->method, r->path, q ? q : "-", h ? h : "-",
		      r->client_cn ? r->client_cn : "-", r->remote,
		      r->authorization ? r->authorization : "-", r->body.n);
}

static int
begin(void **state)
{
	struct gx_err e = {0};

	(void)state;
	alarm(60);
	atomic_store(&n_handled, 0);
	if (gx_http_serve(path, 1000, echo, NULL, &server, &e) != GX_OK) {
		print_error("%s %s\n", e.code, e.text);
		return -1;
	}
	return 0;
}

static int
end(void **state)
{
	(void)state;
	gx_http_stop(&server);
	gx_http_stop(&server);
	return access(path, F_OK) == 0 ? -1 : 0;
}

/* ---- raw requests ---- */

static int
dial(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {.tv_sec = 8};

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return fd;
}

/* Everything that comes back until the other side closes. */
static size_t
talk(const char *text, size_t n, char *back, size_t max)
{
	int fd = dial();
	size_t got = 0;
	ssize_t k;

	assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), n);
	shutdown(fd, SHUT_WR);
	while (got < max - 1 &&
	       (k = recv(fd, back + got, max - 1 - got, 0)) > 0) {
		got += (size_t)k;
	}
	back[got] = '\0';
	close(fd);
	return got;
}

static int
status_of(const char *text)
{
	char back[4096];

	return talk(text, strlen(text), back, sizeof back) > 12 &&
			       strncmp(back, "HTTP/1.", 7) == 0
		       ? (int)strtol(back + 9, NULL, 10)
		       : 0;
}

#define POST "POST /x HTTP/1.1\r\nHost: a\r\n"
#define GET "GET /x HTTP/1.1\r\nHost: a\r\n"

static void
test_refused(void **state)
{
	static const struct {
		const char *text;
		int status;
	} bad[] = {
		{POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
		      "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
		 411},
		{POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		 411},
		{POST "Transfer-Encoding: xchunked\r\n\r\n", 411},
		{POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		 400},
		{POST "Content-Length : 3\r\n\r\nabc", 400},
		{POST "Content-Length: +3\r\n\r\nabc", 400},
		{POST "Content-Length: 3, 3\r\n\r\nabc", 400},
		{GET "Host: b\r\n\r\n", 400},
		{GET "Authorization: a\r\nAuthorization: b\r\n\r\n", 400},
		{GET "X-Gx-Client-Cn: a\r\nx-gx-client-cn: b\r\n\r\n", 400},
		{"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /a%0d%0aX HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /?q=1&q=2 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"G<T /x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET /x HTTP/1.1\r\n\r\n", 400}, /* no Host */
		{POST "Content-Length: 1001\r\n\r\n", 413},
		{POST "Content-Length: 99999999999999999999\r\n\r\n", 413},
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int status = status_of(bad[i].text);

		if (status != bad[i].status) {
			print_error("case %zu: %d, wanted %d\n", i, status,
				    bad[i].status);
		}
		assert_int_equal(status, bad[i].status);
	}
	assert_int_equal(atomic_load(&n_handled), 0);
	/* Their allowed twins. */
	assert_int_equal(status_of(POST "Content-Length: 3\r\n\r\nabc"), 200);
	assert_int_equal(status_of(GET "Authorization: a\r\n\r\n"), 200);
	assert_int_equal(status_of("GET /a%20b?q=1 HTTP/1.1\r\nHost: a\r\n"
				   "\r\n"),
			 200);
	assert_int_equal(atomic_load(&n_handled), 3);
}

static void
test_limits(void **state)
{
	static char text[70000];
	char back[4096];
	int n = snprintf(text, sizeof text, GET "X-Long: ");

	(void)state;
	memset(text + n, 'x', sizeof text - (size_t)n - 5);
	memcpy(text + sizeof text - 5, "\r\n\r\n", 5);
	/* It may close before it has read all: no answer is an answer. */
	assert_int_not_equal(status_of(text), 200);
	n = snprintf(text, sizeof text, "GET /");
	memset(text + n, 'x', 9000);
	snprintf(text + n + 9000, 100, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_not_equal(status_of(text), 200);
	assert_int_equal(atomic_load(&n_handled), 0);
	/* Many requests on one connection. */
	n = 0;
	for (int i = 0; i < 20; i++) {
		n += snprintf(text + n, sizeof text - (size_t)n,
			      "GET /%d HTTP/1.1\r\nHost: a\r\n%s\r\n", i,
			      i == 19 ? "Connection: close\r\n" : "");
	}
	talk(text, (size_t)n, back, sizeof back);
	assert_int_equal(atomic_load(&n_handled), 20);
}

/* A client that stops in the middle is cut off; another is served. */
static void
test_slow_client(void **state)
{
	int fd = dial();
	char back[10];
	int64_t from_ms = gx_mono_ms();

	(void)state;
	assert_int_equal(send(fd, "GET /x HT", 9, MSG_NOSIGNAL), 9);
	assert_int_equal(status_of(GET "\r\n"), 200);
	assert_true(recv(fd, back, sizeof back, 0) <= 0);
	assert_in_range(gx_mono_ms() - from_ms, 1000, 7000);
	close(fd);
}

/* ---- client and server ---- */

static enum gx_rc
call(const char *method, const char *route, const char *body, long *status,
     struct gx_buf *answer, struct gx_err *e)
{
	char url[300];
	struct gx_http_call h = {.method = method,
				 .url = url,
				 .token = "secret-token",
				 .body = gx_slice_str(body),
				 .content_type = body ? "text/plain" : NULL,
				 .timeout_ms = 8000,
				 .max_answer = 50000};

	snprintf(url, sizeof url, "%s%s", base, route);
	return gx_http_do(&h, status, answer, e);
}

static void
test_round(void **state)
{
	static const char verified[] =
		GET "X-Gx-Client-Verify: SUCCESS\r\nX-Gx-Client-Cn: node:1\r\n"
		    "X-Gx-Remote: 10.0.0.1\r\nX-Test: y\r\n"
		    "Connection: close\r\n\r\n";
	static const char claimed[] =
		GET "X-Gx-Client-Verify: NONE\r\nX-Gx-Client-Cn: node:1\r\n"
		    "Connection: close\r\n\r\n";
	struct gx_buf b;
	struct gx_err e = {0};
	long status;
	char back[4096];

	(void)state;
	assert_int_equal(call("GET", "/a?q=x%20y", NULL, &status, &b, &e),
			 GX_OK);
	assert_int_equal(status, 200);
	assert_string_equal(gx_buf_str(&b), "GET /a q=x y h=- cn=- remote= "
					    "auth=Bearer secret-token n=0");
	gx_buf_free(&b);
	assert_int_equal(call("POST", "/p", "12345", &status, &b, &e), GX_OK);
	assert_non_null(strstr(gx_buf_str(&b), "POST /p "));
	assert_non_null(strstr(gx_buf_str(&b), "n=5"));
	gx_buf_free(&b);
	assert_int_equal(call("POST", "/p", NULL, &status, &b, &e), GX_OK);
	assert_non_null(strstr(gx_buf_str(&b), "n=0"));
	gx_buf_free(&b);
	assert_int_equal(call("DELETE", "/d", NULL, &status, &b, &e), GX_OK);
	assert_non_null(strstr(gx_buf_str(&b), "DELETE /d "));
	gx_buf_free(&b);
	/* A redirect is not followed: a token goes where it was sent. */
	assert_int_equal(call("GET", "/gone", NULL, &status, &b, &e), GX_OK);
	assert_int_equal(status, 302);
	gx_buf_free(&b);
	/* Too long for the caller. */
	assert_int_equal(call("GET", "/big", NULL, &status, &b, &e), GX_REJECT);
	assert_string_equal(e.code, "http.too_long");
	gx_buf_free(&b);
	/* Identity only with nginx's word for it. */
	talk(verified, strlen(verified), back, sizeof back);
	assert_non_null(strstr(back, "h=y cn=node:1 remote=10.0.0.1"));
	assert_non_null(strstr(back, "nosniff"));
	talk(claimed, strlen(claimed), back, sizeof back);
	assert_non_null(strstr(back, "cn=- "));
}

static void
test_long_handler(void **state)
{
	struct gx_buf b;
	struct gx_err e = {0};
	long status = 0;

	(void)state;
	assert_int_equal(call("GET", "/slow", NULL, &status, &b, &e), GX_OK);
	assert_int_equal(status, 200);
	gx_buf_free(&b);
}

static void *
call_many(void *ctx)
{
	int *n_good = ctx;

	for (int i = 0; i < 50; i++) {
		struct gx_buf b;
		struct gx_err e = {0};
		long status = 0;

		*n_good += call("POST", "/p", "x", &status, &b, &e) == GX_OK &&
			   status == 200;
		gx_buf_free(&b);
	}
	return NULL;
}

static void
test_threads(void **state)
{
	pthread_t t[4];
	int n_good[4] = {0};

	(void)state;
	for (int i = 0; i < 4; i++) {
		pthread_create(&t[i], NULL, call_many, &n_good[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(n_good[i], 50);
	}
	assert_int_equal(atomic_load(&n_handled), 200);
}

static void
test_client_errors(void **state)
{
	static const struct {
		const char *url;
		enum gx_rc rc;
		const char *code;
	} bad[] = {
		{"http://127.0.0.1/x", GX_FATAL, "http.url"},
		{"file:///etc/hostname", GX_FATAL, "http.url"},
		{"ftp://127.0.0.1/x", GX_FATAL, "http.url"},
		{"http+unix://relative:/x", GX_FATAL, "http.url"},
		{"http+unix:///no/route", GX_FATAL, "http.url"},
		{"https://", GX_FATAL, "http.url"},
		{"", GX_FATAL, "http.url"},
		{"http+unix:///nowhere/s:/x", GX_AGAIN, "http.away"},
		{"https://127.0.0.1:1/x?q=geheim42", GX_AGAIN, "http.away"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct gx_http_call h = {.method = "GET",
					 .url = bad[i].url,
					 .token = "geheim42",
					 .timeout_ms = 3000,
					 .max_answer = 100};
		struct gx_buf b;
		struct gx_err e = {0};
		long status = 1;

		assert_int_equal(gx_http_do(&h, &status, &b, &e), bad[i].rc);
		assert_string_equal(e.code, bad[i].code);
		assert_int_equal(status, 0);
		assert_null(strstr(e.text, "geheim42"));
		gx_buf_free(&b);
		if (i == 8) {
			assert_non_null(strstr(e.text, "127.0.0.1:1"));
			h.token = "a\r\nX-Evil: 1";
			assert_int_equal(gx_http_do(&h, &status, &b, &e),
					 GX_FATAL);
			assert_string_equal(e.code, "http.failed");
			h.token = NULL;
			h.ca_file = "/nowhere/ca.pem";
			h.url = "https://127.0.0.1:1/";
			assert_int_not_equal(gx_http_do(&h, &status, &b, &e),
					     GX_OK);
		}
	}
}

/* ---- the socket ---- */

static void
test_socket(void **state)
{
	struct gx_http_server *other = NULL;
	struct gx_err e = {0};
	struct stat st;
	char text[200];
	int fd;

	(void)state;
	begin(NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(gx_http_serve(path, 10, echo, NULL, &other, &e),
			 GX_FATAL);
	assert_string_equal(e.code, "http.in_use");
	assert_null(other);
	assert_int_equal(status_of(GET "\r\n"), 200); /* it was not hurt */

	/* Somebody else's: the lock file is gone, the listener lives. */
	snprintf(text, sizeof text, "%s.lock", path);
	assert_int_equal(unlink(text), 0);
	assert_int_equal(gx_http_serve(path, 10, echo, NULL, &other, &e),
			 GX_FATAL);
	assert_string_equal(e.code, "http.in_use");
	assert_int_equal(status_of(GET "\r\n"), 200);
	end(NULL);

	/* A killed daemon leaves its socket: it is replaced. */
	if (fork() == 0) {
		begin(NULL);
		_exit(0);
	}
	wait(NULL);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(begin(NULL), 0);
	assert_int_equal(status_of(GET "\r\n"), 200);
	end(NULL);

	/* A file that is no socket is never removed. */
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(gx_http_serve(path, 10, echo, NULL, &other, &e),
			 GX_FATAL);
	assert_string_equal(e.code, "http.socket");
	assert_int_equal(unlink(path), 0);

	memset(text, 'x', sizeof text - 1);
	text[0] = '/';
	text[sizeof text - 1] = '\0';
	assert_int_equal(gx_http_serve(text, 10, echo, NULL, &other, &e),
			 GX_FATAL);
	assert_int_equal(
		gx_http_serve("/nowhere/s", 10, echo, NULL, &other, &e),
		GX_FATAL);
	assert_string_equal(e.code, "http.socket");
}

#define SERVED(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_target),
		SERVED(test_refused),
		SERVED(test_limits),
		SERVED(test_slow_client),
		SERVED(test_round),
		SERVED(test_long_handler),
		SERVED(test_threads),
		cmocka_unit_test(test_client_errors),
		cmocka_unit_test(test_socket),
	};
	char text[96];
	int rc;

	if (mkdtemp(dir) == NULL) {
		return 1;
	}
	snprintf(path, sizeof path, "%s/s", dir);
	snprintf(base, sizeof base, "http+unix://%s:", path);
	gx_log_setup(GX_LOG_ERROR, false);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(text, sizeof text, "%s.lock", path);
	(void)unlink(text);
	(void)rmdir(dir);
	return rc;
}
