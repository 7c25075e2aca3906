/*
 * Drives the HTTP server and client by hand, for scenarios.
 *
 *   drive_http serve SOCKET          until stdin closes; answers say who called
 *   drive_http call METHOD URL [-ca F] [-cert F] [-key F] [-token T]
 *                   [-body TEXT] [-ms N]
 *     "<status> <body>", or "error <rc> <code> <text>" and exit 10 + rc
 */
#include "base/log.h"
#include "port/http.h"

#include <stdlib.h>
#include <unistd.h>

static void
answer(void *ctx, const struct gx_http_request *r, struct gx_http_answer *a)
{
	(void)ctx;
	a->status = 200;
	a->content_type = "text/plain";
	(void)gx_buf_printf(
		&a->body, "%s %s cn=%s remote=%s auth=%s n=%zu", r->method,
		r->path, r->client_cn ? r->client_cn : "-",
		r->remote[0] ? "yes" : "no",
		r->authorization ? r->authorization : "-", r->body.n);
}

static int
fail(enum gx_rc rc, const struct gx_err *e)
{
	printf("error %s %s %s\n", gx_rc_name(rc), e->code, e->text);
	return 10 + (int)rc;
}

static int
serve(const char *path)
{
	struct gx_http_server *s = NULL;
	struct gx_err e = {0};
	char byte;
	enum gx_rc rc = gx_http_serve(path, 100000, answer, NULL, &s, &e);

	if (rc != GX_OK) {
		return fail(rc, &e);
	}
	puts("serving");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0) {
	}
	gx_http_stop(&s);
	return 0;
}

static int
call(int n, char **a)
{
	struct gx_http_call h = {.method = a[0],
				 .url = a[1],
				 .timeout_ms = 5000,
				 .max_answer = 1u << 20};
	struct gx_buf b;
	struct gx_err e = {0};
	long status;
	enum gx_rc rc;

	for (int i = 2; i + 1 < n; i += 2) {
		if (strcmp(a[i], "-ca") == 0) {
			h.ca_file = a[i + 1];
		} else if (strcmp(a[i], "-cert") == 0) {
			h.cert_file = a[i + 1];
		} else if (strcmp(a[i], "-key") == 0) {
			h.key_file = a[i + 1];
		} else if (strcmp(a[i], "-token") == 0) {
			h.token = a[i + 1];
		} else if (strcmp(a[i], "-body") == 0) {
			h.body = gx_slice_str(a[i + 1]);
		} else if (strcmp(a[i], "-ms") == 0) {
			h.timeout_ms = strtol(a[i + 1], NULL, 10);
		} else {
			return 2;
		}
	}
	rc = gx_http_do(&h, &status, &b, &e);
	if (rc == GX_OK) {
		printf("%ld %s\n", status, gx_buf_str(&b));
	}
	gx_buf_free(&b);
	return rc == GX_OK ? 0 : fail(rc, &e);
}

int
main(int argc, char **argv)
{
	gx_log_setup(GX_LOG_INFO, false);
	if (argc == 3 && strcmp(argv[1], "serve") == 0) {
		return serve(argv[2]);
	}
	if (argc >= 4 && strcmp(argv[1], "call") == 0) {
		return call(argc - 2, argv + 2);
	}
	fprintf(stderr, "drive_http: see the top of its source\n");
	return 2;
}
