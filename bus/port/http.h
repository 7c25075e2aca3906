/*
 * HTTP server on a Unix socket (libmicrohttpd, only in http_server.c) behind
 * nginx, and HTTPS client (libcurl, only in http_client.c).
 *
 * nginx terminates TLS and always overwrites the headers that carry identity:
 * X-Gx-Client-Verify (SUCCESS|NONE|FAILED...), X-Gx-Client-Cn, X-Gx-Remote.
 */
#ifndef GX_PORT_HTTP_H
#define GX_PORT_HTTP_H

#include "base/err.h"
#include "base/mem.h"

struct gx_http_request {
	const char *method, *path; /* path decoded, without query */
	struct gx_slice body;
	const char *authorization; /* NULL if none */
	const char *client_cn;	   /* NULL unless verified by nginx */
	const char *remote;	   /* address seen by nginx, "" if none */
	const char *accept;	   /* NULL if none */
	void *impl;
};
/* Query parameter or header by name; NULL if absent. */
const char *gx_http_query(const struct gx_http_request *r, const char *name);
const char *gx_http_header(const struct gx_http_request *r, const char *name);

struct gx_http_answer {
	int status;
	const char *content_type; /* static */
	struct gx_buf body;	  /* initialised by the server, max 16 MiB */
	char location[256];	  /* "" none */
};

/* Called from the server's threads, several at a time. */
typedef void (*gx_http_handle_f)(void *ctx, const struct gx_http_request *r,
				 struct gx_http_answer *a);

struct gx_http_server;
/* Socket mode 0660; a stale socket file is replaced, a live one is GX_FATAL
 * "http.in_use".  Bodies above max_body bytes are 413. */
enum gx_rc gx_http_serve(const char *socket_path, size_t max_body,
			 gx_http_handle_f handle, void *ctx,
			 struct gx_http_server **out,
			 struct gx_err *e) GX_MUSTCHECK;
void gx_http_stop(struct gx_http_server **s);

/* Client.  url https://..., or http+unix:///path/socket:/route for tests. */
struct gx_http_call {
	const char *method, *url;
	const char *ca_file;		  /* PEM, NULL = system's */
	const char *cert_file, *key_file; /* NULL: none */
	const char *token;		  /* bearer, NULL: none */
	struct gx_slice body;
	const char *content_type;
	long timeout_ms;
	size_t max_answer;
};
/* Fills status and body (initialised by the call, freed by the caller).
 * GX_AGAIN "http.away" when unreachable or too slow (host and port named),
 * GX_FATAL "http.tls" for certificate trouble, "http.url" for an address of
 * another kind, "http.failed" for anything else; GX_REJECT "http.too_long":
 * the answer is longer than max_answer.  No redirect is followed and no proxy
 * of the environment used.  Thread: any. */
enum gx_rc gx_http_do(const struct gx_http_call *c, long *status,
		      struct gx_buf *body, struct gx_err *e) GX_MUSTCHECK;

#endif
