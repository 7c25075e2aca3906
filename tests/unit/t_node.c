/*
 * The configuration of the daemon: what must be refused is refused with the
 * place and the next step, what must pass passes, the sample file in conf/ is
 * the one the table makes.
 */
#include "node/conf_table.h"

#include "node/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char good[] = "[node]\nid = 450100\ndatabase = dbname=x\n"
			   "flows = sink, up\n"
			   "[kafka]\nbootstrap = a:1\n"
			   "[parent]\nid = 450000\nkafka = b:1\n"
			   "[flow sink]\nkind = sink\n"
			   "[flow up]\nkind = link-up\n"
			   "[child 450101]\nregion = 450101\n";

static enum gx_rc
check(const char *text, struct gx_err *e)
{
	struct gx_conf *c = NULL;
	enum gx_rc rc = gx_conf_parse("t.conf", gx_slice_str(text),
				      gx_node_keys, &c, e);

	if (rc == GX_OK) {
		rc = gx_node_conf_check(c, e);
	}
	gx_conf_free(&c);
	return rc;
}

static void
takes_what_is_good(void **state)
{
	(void)state;
	struct gx_err e = {0};

	assert_int_equal(check(good, &e), GX_OK);
}

/* good with one text replaced by another */
static void
spoil(const char *from, const char *to, const char *code, const char *says)
{
	const char *at = strstr(good, from);
	struct gx_err e = {0};
	struct gx_buf b;

	assert_non_null(at);
	gx_buf_init(&b, 4096);
	(void)gx_buf_put(&b, good, (size_t)(at - good));
	(void)gx_buf_puts(&b, to);
	(void)gx_buf_puts(&b, at + strlen(from));
	assert_int_equal(check(gx_buf_str(&b), &e), GX_REJECT);
	assert_string_equal(e.code, code);
	if (strstr(e.text, says) == NULL) {
		fail_msg("\"%s\" does not name %s", e.text, says);
	}
	gx_buf_free(&b);
}

static void
refuses_what_contradicts(void **state)
{
	(void)state;
	spoil("id = 450100", "id = 4501 00", "node.conf", "[node] id");
	spoil("id = 450100", "id = GX", "node.conf", "[node] id");
	spoil("flows = sink, up", "flows = sink, down", "node.conf",
	      "[flow down]");
	spoil("flows = sink, up", "flows = up, up", "node.conf", "twice");
	spoil("kind = sink", "kind = sing", "conf.bad_value",
	      "(did you mean sink?");
	spoil("kind = sink", "kind = source", "node.conf", "adapter");
	spoil("kafka = b:1", "", "node.conf", "[parent]");
	spoil("kafka = b:1", "kafka = a:1", "node.conf", "itself");
	spoil("[flow up]", "[flow Up]", "node.conf", "[flow up]");
	spoil("[parent]", "[flow B_B]\nkind = sink\n[parent]", "node.conf",
	      "[flow B_B]");
}

static void
refuses_wrong_children(void **state)
{
	(void)state;
	spoil("[child 450101]", "[child 450100]", "node.conf", "not this");
	spoil("[child 450101]", "[child A]", "node.conf", "[child A]");
	spoil("[child 450101]", "[child a123456789012345678901234567]",
	      "node.conf", "at most 27");
	spoil("region = 450101", "region = 4501O1", "node.conf", "region");
	spoil("region = 450101", "region = 45010", "node.conf", "region");
	spoil("region = 450101", "region = 45010201", "node.conf", "region");
	spoil("region = 450101", "subtree = a, B", "node.conf", "subtree");
	spoil("kind = link-up", "kind = down\nchild = 450101", "node.conf",
	      "return");
	/* What came down never goes up. */
	spoil("kind = link-up", "kind = link-up\ntopics = gx.down.450100",
	      "node.conf", "never");
}

static void
refuses_what_is_unknown(void **state)
{
	(void)state;
	spoil("bootstrap", "bootstrop", "conf.unknown_key", "t.conf:6");
	spoil("bootstrap", "bootstrop", "conf.unknown_key", "bootstrap");
	spoil("[kafka]", "[kafak]", "conf.unknown_section", "kafka");
	spoil("id = 450000", "id = 1\nid = 2", "conf.duplicate", "t.conf:9");
	spoil("flows = sink, up", "topic_partitions = 65", "conf.bad_value",
	      "64");
}

static void
empty_paths_stay_empty(void **state)
{
	(void)state;
	struct gx_conf *c = NULL;
	struct gx_err e = {0};

	assert_int_equal(gx_conf_parse("dir/t.conf", gx_slice_str(good),
				       gx_node_keys, &c, &e),
			 GX_OK);
	assert_string_equal(gx_conf_str(c, "node", NULL, "socket"), "");
	assert_string_equal(gx_conf_str(c, "flow", "sink", "adapter"), "");
	assert_null(gx_conf_word(c, "flow", "sink", "topics", 0));
	gx_conf_free(&c);
}

/* Every kind of kind.def can be written, found and started. */
static void
kinds_are_rows(void **state)
{
	(void)state;
	static const char *const words[] = {
#define GX_KIND(word, needs, ops, help) word,
#include "node/kind.def"
#undef GX_KIND
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		const struct gx_node_kind *k = gx_kind_find(words[i]);
		struct gx_err e = {0};
		char text[400];

		assert_non_null(k);
		assert_string_equal(k->word, words[i]);
		assert_non_null(k->ops->start);
		snprintf(text, sizeof text,
			 "[node]\nid = a\ndatabase = x\nflows = f\n"
			 "[kafka]\nbootstrap = a:1\n[parent]\nid = c\nurl = "
			 "https://h\n"
			 "kafka = b:1\n"
			 "[child b]\nreturn = x.y\n"
			 "[flow f]\nkind = %s\nadapter = x.json\nchild = b\n",
			 words[i]);
		assert_int_equal(check(text, &e), GX_OK);
		/* Whoever works with the node above needs one. */
		memcpy(strstr(text, "b:1"), "a:1", 3);
		assert_int_equal(check(text, &e), k->needs & GX_NEEDS_PARENT
							  ? GX_REJECT
							  : GX_OK);
	}
	assert_null(gx_kind_find("sing"));
	assert_null(gx_kind_find(""));
}

/* Run in the folder of the project, as make does. */
static void
sample_is_the_committed_one(void **state)
{
	(void)state;
	FILE *f = fopen("conf/gxbusd.conf", "re");
	struct gx_buf b, file;
	char part[4096];
	size_t n;

	assert_non_null(f);
	gx_buf_init(&b, 1u << 20);
	gx_buf_init(&file, 1u << 20);
	gx_node_conf_sample(&b);
	while ((n = fread(part, 1, sizeof part, f)) > 0) {
		(void)gx_buf_put(&file, part, n);
	}
	(void)fclose(f);
	/* gxbusd --print-sample > conf/gxbusd.conf */
	assert_string_equal(gx_buf_str(&file), gx_buf_str(&b));
	gx_buf_free(&file);
	gx_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_is_good),
		cmocka_unit_test(refuses_what_contradicts),
		cmocka_unit_test(refuses_wrong_children),
		cmocka_unit_test(refuses_what_is_unknown),
		cmocka_unit_test(empty_paths_stay_empty),
		cmocka_unit_test(kinds_are_rows),
		cmocka_unit_test(sample_is_the_committed_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
