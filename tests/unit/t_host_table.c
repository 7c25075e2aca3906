/*
 * Which adapters the host takes: those of the table, of this ABI, and of the
 * input it drives.  What it refuses it never opens; a twin that differs in
 * nothing but the refused word is opened, fed and closed.
 */
#include "adapters/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int n_opened, n_closed;

static enum gx_abi_rc
open_it(const struct gx_abi_host *host, const struct gx_abi_setup *setup,
	void **state)
{
	(void)host;
	(void)setup;
	n_opened++;
	*state = &n_opened;
	return GX_ABI_OK;
}

static enum gx_abi_rc
feed_it(void *state, const struct gx_abi_text *row, size_t n)
{
	(void)state;
	(void)row;
	(void)n;
	return GX_ABI_OK;
}

static void
close_it(void *state)
{
	(void)state;
	n_closed++;
}

static const struct gx_abi_key keys[] = {
	{"text", GX_ABI_HOLDS_TEXT, false, false, false, "As it is."},
	{NULL, 0, false, false, false, NULL},
};
static const struct gx_adapter good = {
	.major = GX_ABI_MAJOR,
	.minor = GX_ABI_MINOR,
	.struct_size = sizeof(struct gx_adapter),
	.name = "twin",
	.input = GX_ABI_ROW,
	.keys = keys,
	.open = open_it,
	.feed = feed_it,
	.close = close_it,
};

/* A declaration of one key item, mapped. */
static const char resource_text[] =
	"{\"type\":\"object\",\"additionalProperties\":false,"
	"\"x-gx-resource\":{\"name\":\"a.b\",\"version\":1,\"key\":[\"k\"]},"
	"\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\","
	"\"x-gx-item\":{\"type\":\"C\",\"share\":1,\"level\":1}}}}";

static enum gx_rc
host_with(const struct gx_adapter *ad, struct gx_err *e)
{
	struct gx_arena *a = gx_arena_new(1u << 20);
	struct gx_resource *r = NULL;
	struct gx_host *h = NULL;
	struct gx_host_conf conf = {.adapter = ad, .where = "/map"};
	enum gx_rc rc;

	if (gx_resource_parse(gx_slice_str(resource_text), &r, e) != GX_OK) {
		fail_msg("%s", e->text);
	}
	conf.r = r;
	assert_int_equal(
		gx_json_parse(a,
			      GX_SLICE("[{\"item\": \"k\", \"column\": \"c\","
				       " \"convert\": \"text\"}]"),
			      &conf.map, e),
		GX_OK);
	rc = gx_host_new(&conf, &h, e);
	assert_true((rc == GX_OK) == (h != NULL));
	gx_host_free(&h);
	gx_resource_free(&r);
	gx_arena_free(&a);
	return rc;
}

static void
refused(const struct gx_adapter *ad, const char *code, const char *says)
{
	struct gx_err e = {0};

	assert_int_equal(host_with(ad, &e), GX_REJECT);
	if (strcmp(e.code, code) != 0 || strstr(e.text, says) == NULL) {
		fail_msg("%s: %s", e.code, e.text);
	}
	assert_int_not_equal(gx_error_number(e.code), 1000);
}

static void
by_name(void **state)
{
	(void)state;
	const struct gx_adapter *ad;
	struct gx_err e = {0};

	assert_int_equal(gx_host_find("row", "/tables/0", &ad, &e), GX_OK);
	assert_ptr_equal(ad, &gx_in_row_adapter);
	assert_int_equal(gx_host_find("rows", "/tables/0", &ad, &e), GX_REJECT);
	assert_null(ad);
	assert_string_equal(e.code, "adapter.declaration");
	assert_non_null(strstr(e.text, "/tables/0: no such adapter"));
	assert_non_null(strstr(e.text, "there is row"));
}

static void
takes_the_twin(void **state)
{
	(void)state;
	struct gx_err e = {0};

	n_opened = n_closed = 0;
	if (host_with(&good, &e) != GX_OK) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(n_opened, 1);
	assert_int_equal(n_closed, 1);
}

static void
refuses_what_it_cannot_drive(void **state)
{
	(void)state;
	struct gx_adapter ad = good;

	n_opened = 0;
	ad.input = GX_ABI_FILE;
	refused(&ad, "adapter.input", "twin translates files");
	ad.input = GX_ABI_RECORD;
	refused(&ad, "adapter.input", "twin translates records");
	ad.input = (enum gx_abi_input)99;
	refused(&ad, "adapter.input", "reads rows");
	ad.input = (enum gx_abi_input)0;
	refused(&ad, "adapter.input", "reads rows");
	ad = good;
	ad.major++;
	refused(&ad, "adapter.version", "ABI 2.0, this program 1.0");
	ad = good;
	ad.minor++;
	refused(&ad, "adapter.version", "ABI 1.1, this program 1.0");
	ad = good;
	ad.struct_size--;
	refused(&ad, "adapter.version", "adapter.h");
	assert_int_equal(n_opened, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_name),
		cmocka_unit_test(takes_the_twin),
		cmocka_unit_test(refuses_what_it_cannot_drive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
