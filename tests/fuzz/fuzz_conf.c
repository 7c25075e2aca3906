/*
 * Fuzz the configuration file and the readers of text below it.
 *
 * A file that is taken must answer every key of the table within its range;
 * one that is refused must say why in printable text.  The same bytes go to
 * the readers of times, units, base64, hex and foreign character sets, where
 * what comes back must be what went in.
 */
#include "base/clock.h"
#include "base/conf.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);

static const struct gx_conf_key keys[] = {
	{"a", "str", GX_CONF_STR, "x", NULL, NULL, "Text.", false},
	{"a", "int", GX_CONF_INT, "2", "-1", "64", "Number.", false},
	{"a", "size", GX_CONF_SIZE, "2k", "1k", "64M", "Size.", false},
	{"a", "time", GX_CONF_DURATION, "2s", "1s", "1h", "Time.", false},
	{"f", "list", GX_CONF_LIST, "", NULL, NULL, "Words.", true},
	{"f", "word", GX_CONF_WORD, "a", "a bc def", NULL, "One.", true},
	{"f", "yes", GX_CONF_BOOL, "no", NULL, NULL, "Or no.", true},
	{"f", "k.*", GX_CONF_STR, "", NULL, NULL, "As it is.", true},
	{NULL, NULL, GX_CONF_STR, NULL, NULL, NULL, NULL, false},
};

static void
read_conf(struct gx_slice in)
{
	struct gx_err e = {0};
	const char *suffix, *value, *name;
	struct gx_conf *c;

	if (gx_conf_parse("f", in, keys, &c, &e) != GX_OK) {
		GX_ASSERT(e.code && gx_error_find(e.code));
		GX_ASSERT(gx_text_printable(e.text, strlen(e.text)));
		return;
	}
	int64_t v = gx_conf_int(c, "a", NULL, "int");
	GX_ASSERT(v >= -1 && v <= 64);
	v = gx_conf_int(c, "a", NULL, "size");
	GX_ASSERT(v >= 1024 && v <= 64 << 20);
	v = gx_conf_int(c, "a", NULL, "time");
	GX_ASSERT(v >= 1000 && v <= 3600000);
	for (size_t i = 0; (name = gx_conf_name(c, "f", i)); i++) {
		const char *word;
		for (size_t k = 0;
		     (word = gx_conf_word(c, "f", name, "list", k)); k++) {
			GX_ASSERT(word[0] != '\0');
		}
		for (size_t k = 0;
		     gx_conf_pair(c, "f", name, "k.*", k, &suffix, &value);
		     k++) {
			GX_ASSERT(suffix[0] != '\0');
		}
	}
	gx_conf_free(&c);
}

static void
read_values(struct gx_slice in)
{
	char text[GX_TIME_LEN + 1], code[4 * 1024 + 8];
	unsigned char raw[3 * 1024];
	size_t n;
	int64_t ms, back;

	if (gx_time_parse(in.p, in.n, &ms)) {
		gx_time_format(ms, text);
		GX_ASSERT(gx_time_parse(text, GX_TIME_LEN, &back));
		/* At either end, +08:00 cannot show the outermost hours. */
		GX_ASSERT(back == ms || memcmp(text, "0000", 4) == 0 ||
			  memcmp(text, "9999", 4) == 0);
	}
	if (gx_unbase64(in.p, in.n, raw, sizeof(raw), &n)) {
		GX_ASSERT(gx_base64(raw, n, code, sizeof(code)) == in.n);
		GX_ASSERT(memcmp(code, in.p, in.n) == 0);
	}
	if (in.n / 2 <= sizeof(raw) && gx_unhex(in.p, in.n, raw, in.n / 2)) {
		char hex[2 * sizeof(raw) + 1];
		gx_hex(raw, in.n / 2, hex);
		GX_ASSERT(memcmp(hex, in.p, in.n) == 0);
	}
}

static void
read_charset(const char *charset, struct gx_slice in)
{
	struct gx_err e = {0};
	struct gx_iconv *c;
	struct gx_buf out;
	size_t bad;

	GX_ASSERT(gx_iconv_new(charset, &c, &e) == GX_OK);
	gx_buf_init(&out, (size_t)1 << 20);
	if (gx_iconv_run(c, in, &out, &bad, &e) == GX_OK) {
		GX_ASSERT(gx_utf8_check(out.p ? out.p : "", out.n) == out.n);
	} else {
		GX_ASSERT(bad < in.n && out.n == 0);
	}
	gx_buf_free(&out);
	gx_iconv_free(&c);
}

int
LLVMFuzzerTestOneInput(const unsigned char *p, size_t n)
{
	struct gx_slice in = {n ? (const char *)p : "", n};

	read_conf(in);
	read_values(in);
	read_charset("GB18030", in);
	read_charset("GBK", in);
	read_charset("UTF-8", in);
	return 0;
}
