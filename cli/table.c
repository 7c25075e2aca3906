/*
 * Output: a list or an object of an answer in the form that was asked for.
 *
 * table is for people: columns as wide as their widest cell, counted in
 * columns of a terminal, where a Chinese character takes two.  json is the
 * node's answer as it came, with "v":1 in front where a single object has none;
 * jsonl one item per line; csv is RFC 4180 with the JSON names as header, an
 * object being one row; csv-excel the same with a BOM and with a ' in front of
 * what a spreadsheet would take for a formula; name the first column alone.
 * Forms other than table and wide never change with language or terminal.
 *
 * What comes from a node is not trusted: control characters are shown as ?,
 * so that no text can steer the terminal.
 */
#include "base/text.h"
#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 16
#define CELL_MAX 4096

static bool
is_wide(uint32_t c)
{
	return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0x303e) ||
	       (c >= 0x3041 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
	       (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) ||
	       (c >= 0xff00 && c <= 0xff60) || (c >= 0xffe0 && c <= 0xffe6) ||
	       (c >= 0x1f300 && c <= 0x1f64f) ||
	       (c >= 0x1f900 && c <= 0x1f9ff) || (c >= 0x20000 && c <= 0x3fffd);
}

static bool
is_empty(uint32_t c)
{
	return (c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0xfe00 && c <= 0xfe0f) || c == 0xfeff;
}

int
gx_table_width(const char *p, size_t n)
{
	int width = 0;

	for (size_t i = 0; i < n;) {
		uint32_t c = 0;

		i += gx_utf8_next(p + i, n - i, &c);
		width += is_wide(c) ? 2 : is_empty(c) ? 0 : 1;
	}
	return width;
}

/* Text of a member as people read it, cleaned; out is reset. */
static void
put_cell(struct gx_buf *out, const struct gx_json *v)
{
	struct gx_slice s = {NULL, 0};

	gx_buf_reset(out);
	if (v != NULL && v->type == GX_JSON_STRING) {
		s = v->text;
	} else if (v != NULL && v->type != GX_JSON_NULL) {
		s = v->raw;
	}
	for (size_t i = 0; i < s.n && i < CELL_MAX; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool is_c1 = c == 0xc2 && i + 1 < s.n &&
			     (unsigned char)s.p[i + 1] < 0xa0;

		if (c < 0x20 || c == 0x7f || is_c1) {
			(void)gx_buf_putc(out, '?');
			i += is_c1;
		} else {
			(void)gx_buf_putc(out, (char)c);
		}
	}
}

static const char *
paint(const struct gx_cli *cli, const char *text)
{
	if (!cli->is_color) {
		return NULL;
	}
	if (strcmp(text, "running") == 0 || strcmp(text, "ok") == 0) {
		return "\033[32m";
	}
	if (strcmp(text, "stopped") == 0 || strcmp(text, "trouble") == 0 ||
	    strcmp(text, "away") == 0 || strcmp(text, "differs") == 0) {
		return "\033[31m";
	}
	if (strcmp(text, "waiting") == 0 || strcmp(text, "undeclared") == 0 ||
	    strcmp(text, "paused") == 0) {
		return "\033[33m";
	}
	return NULL;
}

static void
print_cell(const struct gx_cli *cli, struct gx_buf *b, int pad_to)
{
	const char *text = gx_buf_str(b);
	const char *color = paint(cli, text);
	int n = pad_to - gx_table_width(b->p ? b->p : "", b->n);

	if (color != NULL) {
		printf("%s%s\033[0m", color, text);
	} else {
		fputs(text, stdout);
	}
	for (; n > 0; n--) {
		putchar(' ');
	}
}

static void
print_table(const struct gx_cli *cli, const struct gx_json *items,
	    const struct gx_column *col)
{
	int width[COLUMNS_MAX] = {0};
	size_t last = 0;
	struct gx_buf b;

	gx_buf_init(&b, CELL_MAX + 16);
	for (size_t k = 0; col[k].key != NULL && k < COLUMNS_MAX; k++) {
		if (col[k].is_wide && cli->output != GX_OUT_WIDE) {
			width[k] = -1;
			continue;
		}
		last = k;
		width[k] = (int)strlen(col[k].title);
		for (const struct gx_json *v = items->child; v; v = v->next) {
			int w;

			put_cell(&b, gx_json_get(v, col[k].key));
			w = gx_table_width(b.p ? b.p : "", b.n);
			width[k] = w > width[k] ? w : width[k];
		}
	}
	for (size_t k = 0; k <= last; k++) {
		if (width[k] >= 0) {
			printf("%-*s%s", k == last ? 0 : width[k], col[k].title,
			       k == last ? "\n" : "  ");
		}
	}
	for (const struct gx_json *v = items->child; v; v = v->next) {
		for (size_t k = 0; k <= last; k++) {
			if (width[k] >= 0) {
				put_cell(&b, gx_json_get(v, col[k].key));
				print_cell(cli, &b, k == last ? 0 : width[k]);
				fputs(k == last ? "\n" : "  ", stdout);
			}
		}
	}
	gx_buf_free(&b);
}

static void
print_csv_cell(const struct gx_buf *b, bool is_excel)
{
	bool is_formula = is_excel && b->n > 0 && strchr("=+-@", b->p[0]);
	bool is_quoted = false;

	for (size_t i = 0; i < b->n; i++) {
		is_quoted |= b->p[i] == '"' || b->p[i] == ',';
	}
	fputs(is_quoted ? "\"" : "", stdout);
	fputs(is_formula ? "'" : "", stdout);
	for (size_t i = 0; i < b->n; i++) {
		fputs(b->p[i] == '"' ? "\"" : "", stdout);
		putchar(b->p[i]);
	}
	fputs(is_quoted ? "\"" : "", stdout);
}

static void
print_csv(const struct gx_cli *cli, const struct gx_json *items,
	  const struct gx_column *col)
{
	bool is_excel = cli->output == GX_OUT_CSV_EXCEL;
	struct gx_buf b;

	gx_buf_init(&b, CELL_MAX + 16);
	fputs(is_excel ? "\xef\xbb\xbf" : "", stdout);
	for (size_t k = 0; col[k].key != NULL; k++) {
		printf("%s%s", k ? "," : "", col[k].key);
	}
	fputs("\r\n", stdout);
	for (const struct gx_json *v = items->child; v; v = v->next) {
		for (size_t k = 0; col[k].key != NULL; k++) {
			fputs(k ? "," : "", stdout);
			put_cell(&b, gx_json_get(v, col[k].key));
			print_csv_cell(&b, is_excel);
		}
		fputs("\r\n", stdout);
	}
	gx_buf_free(&b);
}

static void
print_raw(const struct gx_json *v)
{
	(void)fwrite(v->raw.p, 1, v->raw.n, stdout);
	putchar('\n');
}

static void
print_names(const struct gx_json *items, const char *key)
{
	struct gx_buf b;

	gx_buf_init(&b, CELL_MAX + 16);
	for (const struct gx_json *v = items->child; v; v = v->next) {
		put_cell(&b, gx_json_get(v, key));
		puts(gx_buf_str(&b));
	}
	gx_buf_free(&b);
}

void
gx_table_list(const struct gx_cli *cli, const struct gx_json *doc,
	      const struct gx_column *columns)
{
	const struct gx_json *items = gx_json_get(doc, "items");
	const char *next = gx_json_str(doc, "next", NULL);

	if (items == NULL) {
		return;
	}
	switch (cli->output) {
	case GX_OUT_JSON:
		print_raw(doc);
		return;
	case GX_OUT_JSONL:
		for (const struct gx_json *v = items->child; v; v = v->next) {
			print_raw(v);
		}
		break;
	case GX_OUT_CSV:
	case GX_OUT_CSV_EXCEL:
		print_csv(cli, items, columns);
		break;
	case GX_OUT_NAME:
		print_names(items, columns[0].key);
		break;
	case GX_OUT_TABLE:
	case GX_OUT_WIDE:
		print_table(cli, items, columns);
		break;
	}
	if (next != NULL) {
		fprintf(stderr, "there is more: --cursor %s\n", next);
	}
}

static void
print_members(const struct gx_cli *cli, const struct gx_json *obj, int indent)
{
	struct gx_buf b;
	int width = 0;

	gx_buf_init(&b, CELL_MAX + 16);
	for (const struct gx_json *v = obj->child; v; v = v->next) {
		int w = gx_table_width(v->name.p, v->name.n);

		width = w > width ? w : width;
	}
	for (const struct gx_json *v = obj->child; v; v = v->next) {
		printf("%*s%.*s", indent, "", (int)v->name.n, v->name.p);
		if (v->type == GX_JSON_OBJECT && v->n > 0) {
			putchar('\n');
			print_members(cli, v, indent + 2);
			continue;
		}
		printf("%*s", width - gx_table_width(v->name.p, v->name.n) + 2,
		       "");
		put_cell(&b, v);
		print_cell(cli, &b, 0);
		putchar('\n');
	}
	gx_buf_free(&b);
}

/* The version stands in each document; an item of a list brings none. */
static void
print_document(const struct gx_json *obj)
{
	if (gx_json_get(obj, "v") == NULL && obj->n > 0) {
		printf("{\"v\":1,%.*s\n", (int)obj->raw.n - 1, obj->raw.p + 1);
	} else {
		print_raw(obj);
	}
}

/* Members but the version of the form. */
static const struct gx_json *
first_member(const struct gx_json *obj)
{
	const struct gx_json *v = obj->child;

	return v != NULL && strcmp(v->name.p, "v") == 0 ? v->next : v;
}

static void
print_csv_object(const struct gx_cli *cli, const struct gx_json *obj)
{
	bool is_excel = cli->output == GX_OUT_CSV_EXCEL;
	const struct gx_json *first = first_member(obj);
	struct gx_buf b;

	gx_buf_init(&b, CELL_MAX + 16);
	fputs(is_excel ? "\xef\xbb\xbf" : "", stdout);
	for (const struct gx_json *v = first; v; v = v->next) {
		printf("%s%s", v != first ? "," : "", v->name.p);
	}
	fputs("\r\n", stdout);
	for (const struct gx_json *v = first; v; v = v->next) {
		fputs(v != first ? "," : "", stdout);
		put_cell(&b, v);
		print_csv_cell(&b, is_excel);
	}
	fputs("\r\n", stdout);
	gx_buf_free(&b);
}

void
gx_table_object(const struct gx_cli *cli, const struct gx_json *obj)
{
	struct gx_buf b;

	switch (cli->output) {
	case GX_OUT_JSON:
	case GX_OUT_JSONL:
		print_document(obj);
		break;
	case GX_OUT_CSV:
	case GX_OUT_CSV_EXCEL:
		print_csv_object(cli, obj);
		break;
	case GX_OUT_NAME:
		gx_buf_init(&b, CELL_MAX + 16);
		put_cell(&b, first_member(obj));
		puts(gx_buf_str(&b));
		gx_buf_free(&b);
		break;
	case GX_OUT_TABLE:
	case GX_OUT_WIDE:
		print_members(cli, obj, 0);
		break;
	}
}
