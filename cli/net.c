/*
 * Asking a node over HTTPS.
 *
 * One call, one answer, and every way it can fail becomes one exit code with
 * four lines of why: nobody answers (7), too slow (8), not allowed (4), not
 * there (3), already so (6).  An answer that is no JSON is a wrong address
 * more often than a fault.
 *
 * The token is read from its file when the first call wants it; the file must
 * be ours and closed to others.  GX_TOKEN may name such a file too, or hold
 * the token's text, which is how the demo's environment hands it over.  A
 * token goes into the Authorization header and nowhere else.
 */
#include "port/http.h"
#include "base/conf.h"
#include "cli/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALL_MS 30000
#define TRY_MS 200
#define ANSWER_MAX (64u << 20)
#define TOKEN_MAX 200

/* NULL and an error said, or the first line of the file. */
static char *
read_token(const struct gx_cli *cli, const char *path)
{
	char line[TOKEN_MAX + 2] = "";
	struct stat st;
	FILE *f = fopen(path, "re");

	if (f == NULL || fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode) ||
	    (st.st_mode & 077) != 0 || fgets(line, sizeof line, f) == NULL) {
		if (f != NULL) {
			(void)fclose(f);
		}
		(void)gx_cli_fail(cli, GX_X_DENIED, "cli.token_file", path,
				  NULL);
		return NULL;
	}
	(void)fclose(f);
	line[strcspn(line, "\r\n")] = '\0';
	return gx_mem_strdup(line);
}

/* An exit code, or -1.  No token at all is no fault: a certificate may do. */
static int
find_token(struct gx_cli *cli, bool is_peer, char **out)
{
	const char *path =
		gx_setting(cli, is_peer ? "peer_token_file" : "token_file");
	const char *env = getenv("GX_TOKEN");

	if (*out != NULL) {
		return -1;
	}
	if (path == NULL && is_peer) {
		int code = find_token(cli, false, &cli->token);

		*out = cli->token ? gx_mem_strdup(cli->token) : NULL;
		return code;
	}
	if (path == NULL && env != NULL && env[0] != '\0') {
		if (access(env, F_OK) != 0) {
			*out = gx_mem_strdup(env);
			return -1;
		}
		path = env;
	}
	if (path == NULL) {
		return -1;
	}
	*out = read_token(cli, path);
	return *out ? -1 : GX_X_DENIED;
}

void
gx_net_escape(struct gx_buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		    (*s >= '0' && *s <= '9') || strchr("-._~", *s)) {
			(void)gx_buf_putc(b, *s);
		} else {
			(void)gx_buf_printf(b, "%%%02X", (unsigned char)*s);
		}
	}
}

static int
exit_of(long status)
{
	switch (status) {
	case 401:
	case 403:
		return GX_X_DENIED;
	case 404:
		return GX_X_NOT_FOUND;
	case 409:
		return GX_X_CONFLICT;
	case 400:
	case 422:
		return GX_X_INVALID;
	case 502:
	case 503:
		return GX_X_AWAY;
	case 408:
	case 504:
		return GX_X_TIMEOUT;
	default:
		return GX_X_FAILED;
	}
}

static int
refuse(const struct gx_cli *cli, long status, const struct gx_json *answer)
{
	char what[64];
	const char *code = gx_json_str(answer, "code", NULL);

	if (code == NULL) {
		snprintf(what, sizeof what, "the node answered with status %ld",
			 status);
		return gx_cli_fail(cli, exit_of(status),
				   status == 502 || status == 503
					   ? "api.unavailable"
					   : "cli.answer",
				   what, NULL);
	}
	return gx_cli_fail(cli, exit_of(status), code,
			   gx_json_str(answer, "detail", ""), NULL);
}

static int
call(struct gx_cli *cli, bool is_peer, struct gx_http_call *h,
     const struct gx_json **out)
{
	struct gx_err e = {0};
	struct gx_buf body = {0};
	long status = 0;
	enum gx_rc rc = gx_http_do(h, &status, &body, &e);
	const struct gx_json *answer = NULL;
	char *kept;
	int code = GX_X_OK;

	(void)is_peer;
	*out = NULL;
	if (rc != GX_OK) {
		gx_buf_free(&body);
		if (strcmp(e.code, "http.tls") == 0 && h->ca_file == NULL) {
			return gx_cli_fail(cli, GX_X_FAILED, "cli.no_ca",
					   e.text, NULL);
		}
		return gx_cli_fail_err(cli,
				       rc == GX_AGAIN ? GX_X_AWAY
				       : strcmp(e.code, "http.url") == 0
					       ? GX_X_USAGE
					       : GX_X_FAILED,
				       &e);
	}
	cli->n_bytes += body.n;
	kept = gx_arena_dup(cli->arena, body.p ? body.p : "", body.n);
	if (kept != NULL && body.n > 0 &&
	    gx_json_parse(cli->arena, gx_slice(kept, body.n), &answer, &e) !=
		    GX_OK) {
		answer = NULL;
	}
	gx_buf_free(&body);
	if (status < 200 || status > 299) {
		code = refuse(cli, status, answer);
	} else if (answer == NULL) {
		code = gx_cli_fail(cli, GX_X_FAILED, "cli.answer",
				   "the answer is not JSON", NULL);
	}
	*out = answer;
	return code;
}

int
gx_net_call(struct gx_cli *cli, bool is_peer, const char *method,
	    const char *path, const char *body, const struct gx_json **out)
{
	const char *base = gx_setting(cli, is_peer ? "peer_url" : "url");
	char **token = is_peer ? &cli->peer_token : &cli->token;
	struct gx_http_call h = {.method = method,
				 .timeout_ms = CALL_MS,
				 .max_answer = ANSWER_MAX};
	struct gx_buf url;
	int code;

	*out = NULL;
	if (base == NULL) {
		return gx_cli_fail(
			cli, GX_X_USAGE, is_peer ? "cli.no_peer" : "cli.no_url",
			is_peer ? "no other node is named" : "no node is named",
			NULL);
	}
	h.ca_file = gx_setting(cli, "ca");
	if (h.ca_file != NULL && access(h.ca_file, R_OK) != 0) {
		char what[320];

		snprintf(what, sizeof what,
			 "the file of the CA cannot be read: %.256s",
			 h.ca_file);
		return gx_cli_fail(cli, GX_X_USAGE, "cli.ca_file", what,
				   strerror(errno));
	}
	code = find_token(cli, is_peer, token);
	if (code >= 0) {
		return code;
	}
	gx_buf_init(&url, 8192);
	(void)gx_buf_printf(&url, "%.*s%s",
			    (int)(strlen(base) -
				  (base[0] && base[strlen(base) - 1] == '/')),
			    base, path);
	h.url = gx_buf_str(&url);
	h.cert_file = gx_setting(cli, "cert");
	h.key_file = gx_setting(cli, "cert_key");
	h.token = *token;
	if (body != NULL) {
		h.body = gx_slice_str(body);
		h.content_type = "application/json";
	}
	code = call(cli, is_peer, &h, out);
	gx_buf_free(&url);
	return code;
}

const struct gx_json *
gx_net_try(struct gx_cli *cli, const char *path)
{
	const char *base = gx_setting(cli, "url");
	struct gx_http_call h = {
		.method = "GET", .timeout_ms = TRY_MS, .max_answer = 1u << 20};
	const struct gx_json *answer = NULL;
	struct gx_buf url, body = {0};
	struct gx_err e = {0};
	long status = 0;
	char *kept;

	if (base == NULL || find_token(cli, false, &cli->token) >= 0) {
		return NULL;
	}
	gx_buf_init(&url, 4096);
	(void)gx_buf_printf(&url, "%s%s", base, path);
	h.url = gx_buf_str(&url);
	h.ca_file = gx_setting(cli, "ca");
	h.token = cli->token;
	if (gx_http_do(&h, &status, &body, &e) == GX_OK && status == 200) {
		kept = gx_arena_dup(cli->arena, body.p, body.n);
		if (kept == NULL ||
		    gx_json_parse(cli->arena, gx_slice(kept, body.n), &answer,
				  &e) != GX_OK) {
			answer = NULL;
		}
	}
	gx_buf_free(&body);
	gx_buf_free(&url);
	return answer;
}
