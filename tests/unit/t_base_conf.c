/*
 * Configuration: each kind of fault with its code, line and the nearest name;
 * values, units and defaults; the sample file reads back.
 */
#include "base/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

static const struct gx_conf_key keys[] = {
	{"node", "name", GX_CONF_STR, NULL, NULL, NULL, "The node.", false},
	{"node", "data", GX_CONF_PATH, "data", NULL, NULL, "Folder.", false},
	{"node", "key", GX_CONF_SECRET, "", NULL, NULL, "Key file.", false},
	{"node", "shards", GX_CONF_INT, "2", "1", "64", "Shards.", false},
	{"node", "low", GX_CONF_INT, "-5", "-10", NULL, "Signed.", false},
	{"log", "json", GX_CONF_BOOL, "no", NULL, NULL, "As JSON?", false},
	{"log", "level", GX_CONF_STR, "info", NULL, NULL, "Level.", false},
	{"log", "to", GX_CONF_WORD, "file", "file  syslog both ", NULL,
	 "Where to.", false},
	{"log", "one", GX_CONF_WORD, "only", "only", NULL, "No choice.", false},
	{"flow", "topic", GX_CONF_STR, NULL, NULL, NULL, "Topic.", true},
	{"flow", "linger", GX_CONF_DURATION, "10ms", "0", "1m", "Wait.", true},
	{"flow", "batch", GX_CONF_SIZE, "1M", "1k", "4M", "Batch.", true},
	{"flow", "resources", GX_CONF_LIST, "", NULL, NULL, "Words.", true},
	{"flow", "kafka.*", GX_CONF_STR, "", NULL, NULL, "As it is.", true},
	{NULL, NULL, GX_CONF_STR, NULL, NULL, NULL, NULL, false},
};

static void
faults(void **state)
{
	(void)state;
	static const struct {
		const char *text, *code, *has;
	} rows[] = {
		{"[node]\nnam = x\n", "conf.unknown_key",
		 "t.conf:2: unknown key nam in [node]; did you mean name?"},
		{"[node]\nwhatever = x\n", "conf.unknown_key", "t.conf:2"},
		{"[node]\nname=x\n[nod]\n", "conf.unknown_section",
		 "t.conf:3: unknown section [nod]; did you mean [node]?"},
		{"[node]\nname=x\n\n# c\nname=y\n", "conf.duplicate",
		 "t.conf:5: key name"},
		{"[node]\nname=x\n[node]\n", "conf.duplicate", "t.conf:3"},
		{"[flow a]\ntopic=t\n[flow a]\n", "conf.duplicate",
		 "t.conf:3: section [flow a]"},
		{"[flow a]\ntopic=t\nkafka.x=1\nkafka.x=2\n", "conf.duplicate",
		 "t.conf:4: key kafka.x"},
		{"name = x\n", "conf.syntax", "t.conf:1"},
		{"[node]\nname\n", "conf.syntax", "t.conf:2"},
		{"[node\n", "conf.syntax", "t.conf:1"},
		{"[node] # c\n", "conf.syntax", "t.conf:1"},
		{"[]\n", "conf.syntax", "t.conf:1"},
		{"[node x]\n", "conf.syntax", "takes no name"},
		{"[flow]\n", "conf.syntax", "wants a name"},
		{"[flow a b]\n", "conf.syntax", "t.conf:1"},
		{"[node]\nna me = x\n", "conf.syntax", "t.conf:2"},
		{"[node]\nname = a\x01\n", "conf.syntax", "t.conf:2"},
		{"[node]\nname = \xff\n", "conf.syntax", "t.conf:2"},
		{"", "conf.missing", "section [node] wants key name"},
		{"[node]\nname=x\n[flow a]\n", "conf.missing",
		 "t.conf:3: section [flow a] wants key topic"},
		{"[node]\nshards=0\n", "conf.bad_value", "at least 1"},
		{"[node]\nshards=65\n", "conf.bad_value", "at most 64"},
		{"[node]\nshards=two\n", "conf.bad_value", "t.conf:2: shards"},
		{"[node]\nshards=\n", "conf.bad_value", "t.conf:2"},
		{"[node]\nlow=-11\n", "conf.bad_value", "at least -10"},
		{"[log]\njson=true\n", "conf.bad_value", "yes or no"},
		{"[log]\nto=fyle\n", "conf.bad_value",
		 "t.conf:2: to wants file, syslog or both (did you mean file?"},
		{"[log]\nto=bot\n", "conf.bad_value", "did you mean both?"},
		{"[log]\nto=\n", "conf.bad_value", "file, syslog or both"},
		{"[log]\nto=file syslog\n", "conf.bad_value", "syslog or both"},
		{"[log]\none=other\n", "conf.bad_value", "one wants only"},
		{"[flow a]\nlinger=10\n", "conf.bad_value", "10s"},
		{"[flow a]\nlinger=2m\n", "conf.bad_value", "at most 1m"},
		{"[flow a]\nbatch=1K\n", "conf.bad_value", "64k"},
		{"[flow a]\nbatch=512\n", "conf.bad_value", "at least 1k"},
		{"[flow a]\nresources=a,,b\n", "conf.bad_value", "commas"},
		{"[flow a]\nresources=a,\n", "conf.bad_value", "commas"},
		{"[flow a]\nkafka.=1\n", "conf.unknown_key", "t.conf:2"},
	};

	for (size_t i = 0; i < N(rows); i++) {
		struct gx_err e = {0};
		struct gx_conf *c;
		enum gx_rc rc = gx_conf_parse(
			"t.conf", gx_slice_str(rows[i].text), keys, &c, &e);
		assert_int_equal(rc, GX_REJECT);
		assert_null(c);
		if (strcmp(e.code, rows[i].code) != 0 ||
		    !strstr(e.text, rows[i].has)) {
			fail_msg("row %zu: %s: %s", i, e.code, e.text);
		}
		assert_int_not_equal(gx_error_number(e.code), 1000);
	}
}

static void
values_never_in_errors(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"[node]\nshards = geheim\n", "[log]\njson = geheim\n",
		"[node]\ngeheim\n",	     "[flow a]\nlinger = geheim\n",
		"[log]\nto = geheim\n",
	};

	for (size_t i = 0; i < N(rows); i++) {
		struct gx_err e = {0};
		struct gx_conf *c;
		assert_int_equal(
			gx_conf_parse("t", gx_slice_str(rows[i]), keys, &c, &e),
			GX_REJECT);
		assert_null(strstr(e.text, "geheim"));
	}
}

static void
long_lines(void **state)
{
	(void)state;
	struct gx_err e = {0};
	struct gx_conf *c;
	struct gx_buf b;

	gx_buf_init(&b, 10000);
	gx_buf_puts(&b, "[node]\nname=");
	while (b.n < 7 + 4096) {
		gx_buf_putc(&b, 'x');
	}
	assert_int_equal(gx_conf_parse("t", gx_buf_view(&b), keys, &c, &e),
			 GX_OK);
	gx_conf_free(&c);
	gx_buf_putc(&b, 'x');
	assert_int_equal(gx_conf_parse("t", gx_buf_view(&b), keys, &c, &e),
			 GX_REJECT);
	assert_string_equal(e.code, "conf.long_line");
	assert_string_equal(e.text, "t:2: longer than 4096 bytes");
	gx_buf_free(&b);
}

static void
values(void **state)
{
	(void)state;
	static const char text[] = "# comment\r\n"
				   "; another\n"
				   "\n"
				   " [node] \n"
				   "  name =  a = b # not a comment  \n"
				   "data = rel/x\n"
				   "[log]\n"
				   "to = both\n"
				   "[flow up]\n"
				   "topic=t1\n"
				   "linger = 1s\n"
				   "batch=64k\n"
				   "resources = a.b , c,\td\n"
				   "kafka.linger.ms = 5\n"
				   "kafka.acks=all\n"
				   "[flow down]\n"
				   "topic=t2"; /* no newline at the end */
	struct gx_err e = {0};
	struct gx_conf *c;
	const char *suffix, *value;

	assert_int_equal(
		gx_conf_parse("/etc/gx/t.conf", GX_SLICE(text), keys, &c, &e),
		GX_OK);
	assert_string_equal(gx_conf_str(c, "node", NULL, "name"),
			    "a = b # not a comment");
	assert_string_equal(gx_conf_str(c, "node", NULL, "data"),
			    "/etc/gx/rel/x");
	assert_int_equal(gx_conf_int(c, "node", NULL, "shards"), 2);
	assert_int_equal(gx_conf_int(c, "node", NULL, "low"), -5);
	assert_false(gx_conf_bool(c, "log", NULL, "json"));
	assert_string_equal(gx_conf_str(c, "log", NULL, "level"), "info");
	assert_string_equal(gx_conf_str(c, "log", NULL, "to"), "both");
	assert_string_equal(gx_conf_str(c, "log", NULL, "one"), "only");
	assert_string_equal(gx_conf_name(c, "flow", 0), "up");
	assert_string_equal(gx_conf_name(c, "flow", 1), "down");
	assert_null(gx_conf_name(c, "flow", 2));
	assert_int_equal(gx_conf_int(c, "flow", "up", "linger"), 1000);
	assert_int_equal(gx_conf_int(c, "flow", "down", "linger"), 10);
	assert_int_equal(gx_conf_int(c, "flow", "up", "batch"), 65536);
	assert_int_equal(gx_conf_int(c, "flow", "down", "batch"), 1048576);
	assert_string_equal(gx_conf_word(c, "flow", "up", "resources", 0),
			    "a.b");
	assert_string_equal(gx_conf_word(c, "flow", "up", "resources", 1), "c");
	assert_string_equal(gx_conf_word(c, "flow", "up", "resources", 2), "d");
	assert_null(gx_conf_word(c, "flow", "up", "resources", 3));
	assert_null(gx_conf_word(c, "flow", "down", "resources", 0));
	assert_true(
		gx_conf_pair(c, "flow", "up", "kafka.*", 0, &suffix, &value));
	assert_string_equal(suffix, "linger.ms");
	assert_string_equal(value, "5");
	assert_true(
		gx_conf_pair(c, "flow", "up", "kafka.", 1, &suffix, &value));
	assert_string_equal(suffix, "acks");
	assert_false(
		gx_conf_pair(c, "flow", "up", "kafka", 2, &suffix, &value));
	assert_false(
		gx_conf_pair(c, "flow", "down", "kafka.*", 0, &suffix, &value));
	assert_null(gx_conf_str(c, "flow", "none", "topic"));
	gx_conf_free(&c);
	assert_null(c);
	gx_conf_free(&c);
}

/* Both ends of a range belong to it. */
static void
range_ends(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t shards, linger, batch;
	} rows[] = {
		{"shards=1\n[flow a]\ntopic=t\nlinger=0\nbatch=1k\n", 1, 0,
		 1024},
		{"shards=64\n[flow a]\ntopic=t\nlinger=60s\nbatch=4M\n", 64,
		 60000, 4194304},
	};

	for (size_t i = 0; i < N(rows); i++) {
		char text[200];
		struct gx_err e = {0};
		struct gx_conf *c;
		snprintf(text, sizeof(text), "[node]\nname=x\n%s",
			 rows[i].text);
		assert_int_equal(
			gx_conf_parse("t", gx_slice_str(text), keys, &c, &e),
			GX_OK);
		assert_true(gx_conf_int(c, "node", NULL, "shards") ==
			    rows[i].shards);
		assert_true(gx_conf_int(c, "flow", "a", "linger") ==
			    rows[i].linger);
		assert_true(gx_conf_int(c, "flow", "a", "batch") ==
			    rows[i].batch);
		gx_conf_free(&c);
	}
}

static void
write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static void
secrets_and_files(void **state)
{
	(void)state;
	char folder[] = "/tmp/t_base_conf.XXXXXX";
	char conf[64], key[64];
	static const struct {
		mode_t mode;
		bool good;
	} rows[] = {{0600, true},  {0400, true},  {0640, false}, {0604, false},
		    {0644, false}, {0700, false}, {0200, false}, {0660, false}};
	struct gx_err e = {0};
	struct gx_conf *c;

	assert_non_null(mkdtemp(folder));
	snprintf(conf, sizeof(conf), "%s/t.conf", folder);
	snprintf(key, sizeof(key), "%s/key.pem", folder);
	assert_int_equal(gx_conf_load(conf, keys, &c, &e), GX_REJECT);
	assert_string_equal(e.code, "conf.open");
	assert_int_equal(gx_conf_load(folder, keys, &c, &e), GX_REJECT);
	assert_string_equal(e.code, "conf.open");
	write_file(conf, "[node]\nname=x\nkey=key.pem\n", 0644);
	/* Not there yet: its reader will say so. */
	assert_int_equal(gx_conf_load(conf, keys, &c, &e), GX_OK);
	assert_string_equal(gx_conf_str(c, "node", NULL, "key"), key);
	gx_conf_free(&c);
	for (size_t i = 0; i < N(rows); i++) {
		write_file(key, "k", rows[i].mode | 0200);
		assert_int_equal(chmod(key, rows[i].mode), 0);
		enum gx_rc rc = gx_conf_load(conf, keys, &c, &e);
		assert_int_equal(rc, rows[i].good ? GX_OK : GX_REJECT);
		if (rc != GX_OK) {
			assert_string_equal(e.code, "conf.secret_mode");
			assert_non_null(strstr(e.text, "t.conf:3: "));
		}
		gx_conf_free(&c);
		unlink(key);
	}
	assert_int_equal(mkdir(key, 0600), 0);
	assert_int_equal(gx_conf_load(conf, keys, &c, &e), GX_REJECT);
	assert_string_equal(e.code, "conf.secret_mode");
	rmdir(key);
	unlink(conf);
	rmdir(folder);
}

/* The sample names every key, and with '#' taken away it is a good file. */
static void
sample_reads_back(void **state)
{
	(void)state;
	struct gx_err e = {0};
	struct gx_conf *c;
	struct gx_buf b, live;

	gx_buf_init(&b, 65536);
	gx_buf_init(&live, 65536);
	gx_conf_sample(keys, &b);
	for (const char *p = gx_buf_str(&b); *p;) {
		size_t n = strcspn(p, "\n");
		assert_in_range(n, 0, 80);
		bool is_key = p[0] == '#' && p[1] != ' ' &&
			      !memchr(p, '*', n) && n > 1;
		if (is_key || p[0] == '[') {
			struct gx_slice line = gx_slice(p + is_key, n - is_key);
			gx_buf_slice(&live, line);
			if (memcmp(line.p, "name =", 6) == 0 ||
			    memcmp(line.p, "topic =", 7) == 0) {
				gx_buf_puts(&live, " x");
			}
			gx_buf_putc(&live, '\n');
		}
		p += n + (p[n] == '\n');
	}
	if (gx_conf_parse("sample", gx_buf_view(&live), keys, &c, &e)) {
		fail_msg("%s\n%s", e.text, gx_buf_str(&live));
	}
	assert_string_equal(gx_conf_name(c, "flow", 0), "NAME");
	gx_conf_free(&c);
	assert_non_null(strstr(gx_buf_str(&b), "# It is file, syslog or both.\n"
					       "#to = file\n"));
	for (const struct gx_conf_key *k = keys; k->section; k++) {
		char want[64];
		snprintf(want, sizeof(want), "\n#%s =", k->key);
		assert_non_null(strstr(gx_buf_str(&b), want));
		assert_non_null(strstr(gx_buf_str(&b), k->help));
	}
	gx_buf_free(&live);
	gx_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults),
		cmocka_unit_test(values_never_in_errors),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(values),
		cmocka_unit_test(range_ends),
		cmocka_unit_test(secrets_and_files),
		cmocka_unit_test(sample_reads_back),
	};

	return cmocka_run_group_tests_name("base_conf", tests, NULL, NULL);
}
