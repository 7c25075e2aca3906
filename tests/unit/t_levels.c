/*
 * Levels: which stream may stand in which topic.  The same names are tried at
 * the node above, at the node below and at a third; what is good at one place
 * is refused at the others, so each refusal has an allowed twin.
 */
#include "node/kind.h"
#include "node/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define OWN "/450100/hrss/social/social.insured/0"
#define DOWN "/450000/gx/down-450100/social.insured/0"

static bool
belongs(const char *node, const char *parent, const char *stream,
	const char *topic)
{
	struct gx_node n = {.id = node};
	struct gx_conf *c = NULL;
	struct gx_err e = {0};
	struct gx_buf b;
	bool does;

	gx_buf_init(&b, 4096);
	(void)gx_buf_printf(&b,
			    "[node]\nid = %s\ndatabase = x\n"
			    "[kafka]\nbootstrap = a:1\n[parent]\nid = %s\n",
			    node, parent);
	assert_int_equal(
		gx_conf_parse("t.conf", gx_buf_view(&b), gx_node_keys, &c, &e),
		GX_OK);
	n.conf = c;
	does = gx_kind_sink_belongs(&n, gx_slice_str(stream),
				    gx_slice_str(topic));
	gx_conf_free(&c);
	gx_buf_free(&b);
	return does;
}

static void
batches_stand_in_their_node_s_topic(void **state)
{
	(void)state;
	assert_true(belongs("450000", "", OWN, "gx.batch.450100"));
	assert_true(belongs("450100", "450000", OWN, "gx.batch.450100"));
	assert_true(belongs("national", "", OWN, "gx.batch.450100"));
	assert_false(belongs("450000", "", OWN, "gx.batch.450200"));
	assert_false(belongs("450000", "", OWN, "gx.batch.4501000"));
	assert_false(belongs("450000", "", OWN, "gx.batch."));
	assert_false(belongs("450000", "", OWN, "450100"));
	assert_false(belongs("450000", "", "/450100/x", "gx.batch.450100"));
}

static void
what_was_made_for_a_child_stands_in_its_topic(void **state)
{
	(void)state;
	/* at the maker, read back, and at the child, from its parent */
	assert_true(belongs("450000", "national", DOWN, "gx.down.450100"));
	assert_true(belongs("450100", "450000", DOWN, "gx.down.450100"));
	/* not from another than the parent, and not at a stranger's */
	assert_false(belongs("450100", "national", DOWN, "gx.down.450100"));
	assert_false(belongs("450100", "", DOWN, "gx.down.450100"));
	assert_false(belongs("450200", "450000", DOWN, "gx.down.450100"));
	assert_false(belongs("national", "", DOWN, "gx.down.450100"));
	/* not in another child's, nor among what goes up */
	assert_false(belongs("450000", "national", DOWN, "gx.down.450200"));
	assert_false(belongs("450000", "national", DOWN, "gx.batch.450000"));
	assert_false(belongs("450200", "450000", DOWN, "gx.down.450200"));
	/* no other stream among what comes down */
	assert_false(belongs("450100", "450000", OWN, "gx.down.450100"));
	assert_false(belongs("450100", "450000",
			     "/450000/gx/own/social.insured/0",
			     "gx.down.450100"));
	assert_false(belongs("450100", "450000",
			     "/450000/hrss/down-450100/social.insured/0",
			     "gx.down.450100"));
	assert_false(belongs("450100", "450000",
			     "/450000/gx/down-/social.insured/0", "gx.down."));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_stand_in_their_node_s_topic),
		cmocka_unit_test(what_was_made_for_a_child_stands_in_its_topic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
