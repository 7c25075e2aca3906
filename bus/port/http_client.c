/*
 * HTTP client: one call, one answer.
 *
 * HTTPS and nothing else, except HTTP over a Unix socket, which is how tests
 * and tools on the same machine reach a node without nginx.  No redirect is
 * followed, no proxy of the environment is used: a token goes to the host that
 * was named or nowhere.  The peer's certificate and name are always checked.
 *
 * Every call makes its own handle and ends it: calls are few, and nothing is
 * shared between threads but the library's one initialisation.  Time and size
 * of an answer are bounded.
 *
 * What went wrong becomes one of three: the other side is away (again later),
 * the certificates do not fit (a person), or the call was wrong.  The texts
 * name host and port; never the query, the token or the body.
 */
#include "port/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <strings.h>
#include <time.h>

#define UNIX_SCHEME "http+unix://"
#define CONNECT_MS 5000L

struct call {
	CURL *curl;
	struct curl_slist *headers;
	char peer[300];	  /* host:port or the socket, for people */
	char socket[128]; /* "" = TCP */
	struct gx_buf *body;
	char text[CURL_ERROR_SIZE];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode began = CURLE_FAILED_INIT;

static void
begin_once(void)
{
	began = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t
take_bytes(char *p, size_t size, size_t n, void *ctx)
{
	struct call *c = ctx;

	return gx_buf_put(c->body, p, size * n) ? size * n : 0;
}

/* http+unix:///path/socket:/route */
static bool
set_unix_url(struct call *c, const char *url)
{
	const char *path = url + sizeof UNIX_SCHEME - 1;
	const char *route = strstr(path, ":/");
	char local[4096];

	if (path[0] != '/' || route == NULL ||
	    (size_t)(route - path) >= sizeof c->socket ||
	    snprintf(local, sizeof local, "http://localhost%s", route + 1) >=
		    (int)sizeof local) {
		return false;
	}
	memcpy(c->socket, path, (size_t)(route - path));
	snprintf(c->peer, sizeof c->peer, "%s", c->socket);
	return curl_easy_setopt(c->curl, CURLOPT_URL, local) == CURLE_OK &&
	       curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->socket) ==
		       CURLE_OK &&
	       curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http") ==
		       CURLE_OK;
}

static bool
set_https_url(struct call *c, const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL;
	char *port = NULL;
	bool is_good;

	is_good = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) ==
			  CURLUE_OK &&
		  strncasecmp(url, "https://", 8) == 0 &&
		  curl_easy_setopt(c->curl, CURLOPT_URL, url) == CURLE_OK &&
		  curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "https") ==
			  CURLE_OK;
	if (is_good) {
		snprintf(c->peer, sizeof c->peer, "%s:%s", host, port);
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return is_good;
}

static bool
add_header(struct call *c, const char *name, const char *value)
{
	struct gx_buf b;
	struct curl_slist *list = NULL;

	gx_buf_init(&b, 4096);
	if (strpbrk(value, "\r\n") == NULL &&
	    gx_buf_printf(&b, "%s: %s", name, value)) {
		list = curl_slist_append(c->headers, gx_buf_str(&b));
	}
	if (b.p) {
		gx_mem_wipe(b.p, b.cap);
	}
	gx_buf_free(&b);
	c->headers = list ? list : c->headers;
	return list != NULL;
}

static bool
set_headers(struct call *c, const struct gx_http_call *h)
{
	char bearer[2048];
	bool is_good = add_header(c, "Accept", "application/json, */*");

	if (is_good && h->token != NULL) {
		is_good = snprintf(bearer, sizeof bearer, "Bearer %s",
				   h->token) < (int)sizeof bearer &&
			  add_header(c, "Authorization", bearer);
		gx_mem_wipe(bearer, sizeof bearer);
	}
	if (is_good && h->content_type != NULL) {
		is_good = add_header(c, "Content-Type", h->content_type);
	}
	if (is_good) {
		/* Our bodies are short: do not ask before sending them. */
		struct curl_slist *list =
			curl_slist_append(c->headers, "Expect:");

		is_good = list != NULL;
		c->headers = list ? list : c->headers;
	}
	return is_good && curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER,
					   c->headers) == CURLE_OK;
}

static void
set_tls(CURL *curl, const struct gx_http_call *h)
{
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION,
			 (long)CURL_SSLVERSION_TLSv1_2);
	if (h->ca_file != NULL) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, h->ca_file);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (h->cert_file != NULL) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, h->cert_file);
	}
	if (h->key_file != NULL) {
		curl_easy_setopt(curl, CURLOPT_SSLKEY, h->key_file);
	}
}

static void
set_call(struct call *c, const struct gx_http_call *h)
{
	CURL *curl = c->curl;

	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "gxbus");
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, c->text);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, h->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
			 h->timeout_ms > 0 && h->timeout_ms < CONNECT_MS
				 ? h->timeout_ms
				 : CONNECT_MS);
	if (strcmp(h->method, "HEAD") == 0) {
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
		return;
	}
	if (h->body.n > 0 || strcmp(h->method, "POST") == 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)h->body.n);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
				 h->body.p ? h->body.p : "");
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, h->method);
}

/* ---- what went wrong ---- */

static const struct {
	CURLcode code;
	enum gx_rc rc;
	const char *name;
} rows[] = {
	{CURLE_COULDNT_RESOLVE_HOST, GX_AGAIN, "http.away"},
	{CURLE_COULDNT_CONNECT, GX_AGAIN, "http.away"},
	{CURLE_OPERATION_TIMEDOUT, GX_AGAIN, "http.away"},
	{CURLE_GOT_NOTHING, GX_AGAIN, "http.away"},
	{CURLE_RECV_ERROR, GX_AGAIN, "http.away"},
	{CURLE_SEND_ERROR, GX_AGAIN, "http.away"},
	{CURLE_PARTIAL_FILE, GX_AGAIN, "http.away"},
	{CURLE_PEER_FAILED_VERIFICATION, GX_FATAL, "http.tls"},
	{CURLE_SSL_CONNECT_ERROR, GX_FATAL, "http.tls"},
	{CURLE_SSL_CERTPROBLEM, GX_FATAL, "http.tls"},
	{CURLE_SSL_CACERT_BADFILE, GX_FATAL, "http.tls"},
	{CURLE_SSL_ISSUER_ERROR, GX_FATAL, "http.tls"},
	{CURLE_SSL_CIPHER, GX_FATAL, "http.tls"},
	{CURLE_URL_MALFORMAT, GX_FATAL, "http.url"},
	{CURLE_UNSUPPORTED_PROTOCOL, GX_FATAL, "http.url"},
	{CURLE_WRITE_ERROR, GX_REJECT, "http.too_long"},
};

static enum gx_rc
explain(const struct call *c, CURLcode code, struct gx_err *e)
{
	enum gx_rc rc = GX_FATAL;
	const char *name = "http.failed";
	const char *text = c->text[0] ? c->text : curl_easy_strerror(code);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (rows[i].code == code) {
			rc = rows[i].rc;
			name = rows[i].name;
		}
	}
	/* TLS 1.3 refuses a client's certificate only after the handshake. */
	if (code == CURLE_RECV_ERROR && strstr(text, "alert") != NULL) {
		rc = GX_FATAL;
		name = "http.tls";
	}
	if (code == CURLE_WRITE_ERROR) {
		text = "the answer is longer than allowed";
	}
	return gx_err_set(e, rc, name, __FILE__, __LINE__, "%s: %s", c->peer,
			  text);
}

/* A peer that goes away while we write is an error, not the end of us: held
 * back for this thread, because handlers of signals belong to the program. */
static CURLcode
perform(CURL *curl)
{
	static const struct timespec none;
	sigset_t pipe_only;
	sigset_t before;
	sigset_t pending;
	bool was_pending;
	CURLcode code;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	code = curl_easy_perform(curl);
	if (!was_pending) {
		(void)sigtimedwait(&pipe_only, NULL, &none);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}

enum gx_rc
gx_http_do(const struct gx_http_call *h, long *status, struct gx_buf *body,
	   struct gx_err *e)
{
	struct call c = {.body = body};
	bool is_unix =
		strncmp(h->url, UNIX_SCHEME, sizeof UNIX_SCHEME - 1) == 0;
	enum gx_rc rc = GX_OK;
	CURLcode code;

	*status = 0;
	gx_buf_init(body, h->max_answer);
	pthread_once(&once, begin_once);
	c.curl = began == CURLE_OK ? curl_easy_init() : NULL;
	if (c.curl == NULL) {
		return GX_ERR(e, GX_FATAL, "http.failed",
			      "libcurl cannot begin");
	}
	if (!(is_unix ? set_unix_url(&c, h->url) : set_https_url(&c, h->url))) {
		rc = GX_ERR(e, GX_FATAL, "http.url",
			    "the address is neither https://HOST/... "
			    "nor " UNIX_SCHEME "/SOCKET:/...");
		goto out;
	}
	set_call(&c, h);
	set_tls(c.curl, h);
	if (!set_headers(&c, h)) {
		rc = GX_ERR(e, GX_FATAL, "http.failed",
			    "%s: a header or token cannot be sent", c.peer);
		goto out;
	}
	code = perform(c.curl);
	if (code == CURLE_OK) {
		curl_easy_getinfo(c.curl, CURLINFO_RESPONSE_CODE, status);
	} else {
		rc = explain(&c, code, e);
	}
out:
	curl_slist_free_all(c.headers);
	curl_easy_cleanup(c.curl);
	return rc;
}
