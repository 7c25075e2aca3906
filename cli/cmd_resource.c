/*
 * "resource check": is the declaration of a resource good?
 *
 * Reads one file as a daemon does at its start, by the same loader, so what
 * passes here starts there, and what is refused is refused with the same
 * number, place and words.  It needs no node and no configuration: a
 * declaration is checked where it is written, before it goes to every node.
 *
 * What passes is shown in short, with the SM3 of the file: the digest that
 * goes into "former" when the file is changed later (docs/resource.md).  A
 * refused one is told all its faults, leaves stdout empty and ends with 5; a file that cannot be
 * opened ends with 3, so that it never looks like an answer about a
 * declaration.  Nothing is written.
 */
#include "base/text.h"
#include "cli/cmd.h"
#include "record/resource.h"
#include "trust/sm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void
put_keys(struct gx_jw *w, const struct gx_resource *r)
{
	gx_jw_name(w, "key");
	gx_jw_begin(w, '[');
	for (size_t i = 0; i < r->n_keys; i++) {
		gx_jw_str(w, gx_slice_str(r->fields[r->keys[i]].name));
	}
	gx_jw_end(w, ']');
}

static int
show(struct gx_cli *cli, const struct gx_resource *r)
{
	unsigned char hash[GX_SM3];
	char digest[2 * GX_SM3 + 1];
	const struct gx_json *doc;
	struct gx_err e = {0};
	struct gx_buf b;
	struct gx_jw w;
	int code = GX_X_OK;

	gx_sm3(r->text.p, r->text.n, hash);
	gx_hex(hash, sizeof hash, digest);
	gx_buf_init(&b, 1u << 20);
	gx_jw_init(&w, &b);
	gx_jw_begin(&w, '{');
	gx_jw_kv_int(&w, "v", 1);
	gx_jw_kv_str(&w, "resource", r->name);
	gx_jw_kv_str(&w, "title", r->title);
	gx_jw_kv_int(&w, "version", r->version);
	put_keys(&w, r);
	gx_jw_kv_int(&w, "items", (int64_t)r->n_fields);
	gx_jw_kv_int(&w, "streams", r->n_streams);
	gx_jw_kv_int(&w, "former", (int64_t)r->n_former);
	gx_jw_kv_str(&w, "sm3", digest);
	gx_jw_end(&w, '}');
	if (gx_json_parse(cli->arena, gx_buf_view(&b), &doc, &e) != GX_OK) {
		code = gx_cli_fail_err(cli, GX_X_FAILED, &e);
	} else {
		gx_table_object(cli, doc);
	}
	gx_buf_free(&b);
	return code;
}

static void
say_fault(void *ctx, const struct gx_err *fault)
{
	(void)gx_cli_fail_err(ctx, GX_X_INVALID, fault);
}

int
gx_cmd_resource_check(struct gx_cli *cli)
{
	struct gx_resource *r = NULL;
	struct gx_err e = {0};
	int code;

	if (access(cli->args[0], R_OK) != 0) {
		return gx_cli_fail(
			cli, errno == ENOENT ? GX_X_NOT_FOUND : GX_X_FAILED,
			"cli.file", cli->args[0], strerror(errno));
	}
	if (gx_resource_check(cli->args[0], say_fault, cli, &r, &e) != GX_OK) {
		return GX_X_INVALID;
	}
	code = show(cli, r);
	gx_resource_free(&r);
	return code;
}
