/*
 * The adapter for rows of department tables.
 *
 * A department's table has habits: padded text, '' for missing, dates as
 * YYYYMMDD, codes of its own, full-width digits, amounts without their cents.
 * A declaration says for each item of the resource which column it comes from
 * and which of the conversions below makes the bus's form of it; no adapter of
 * a department's system needs code of its own.  The social-security adapter is
 * nothing but such a declaration (conf/adapters/social.json).
 *
 * One rule above all: a conversion never guesses.  What it does not understand
 * (a month 13, a letter in an amount, a code that is not in its table) goes on
 * as the text it was, so that the schema refuses it by its own rule and the
 * person who mends it reads that rule and not one of ours.  What is blank, ''
 * or a lone "-" is missing, and a missing value is a missing member.
 *
 * The state is the compiled list of steps, in the order of the schema, made
 * once in the host's memory; feeding a row allocates nothing and keeps
 * nothing, so dying on any line loses nothing.
 */
#include "adapters/adapter.h"

#include <string.h>

#define SCRATCH 160 /* converted forms are short; longer values go as text */

struct step;
typedef void convert_f(const struct gx_abi_host *host, const struct step *s,
		       struct gx_abi_text v);
struct step {
	struct gx_abi_map map;
	convert_f *convert;
};
struct row {
	const struct gx_abi_host *host;
	size_t n_columns;
	size_t n_steps;
	struct step *steps;
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
all_digits(struct gx_abi_text v)
{
	for (size_t i = 0; i < v.n; i++) {
		if (!is_digit(v.p[i])) {
			return false;
		}
	}
	return v.n > 0;
}

/* Bytes of a blank at p: ASCII blanks, U+00A0, U+3000; 0 if it is none. */
static size_t
blank_at(const char *p, size_t n)
{
	if (*p == ' ' || (*p >= '\t' && *p <= '\r')) {
		return 1;
	}
	if (n >= 2 && memcmp(p, "\xc2\xa0", 2) == 0) {
		return 2;
	}
	if (n >= 3 && memcmp(p, "\xe3\x80\x80", 3) == 0) {
		return 3;
	}
	return 0;
}

static struct gx_abi_text
trim(struct gx_abi_text v)
{
	size_t k;

	while (v.n > 0 && (k = blank_at(v.p, v.n)) > 0) {
		v.p += k;
		v.n -= k;
	}
	while (v.n > 0) {
		const char *end = v.p + v.n;

		if (blank_at(end - 1, 1) == 1) {
			v.n -= 1;
		} else if (v.n >= 2 && blank_at(end - 2, 2) == 2) {
			v.n -= 2;
		} else if (v.n >= 3 && blank_at(end - 3, 3) == 3) {
			v.n -= 3;
		} else {
			break;
		}
	}
	return v;
}

/* Full-width digits, letters and signs (U+FF01..U+FF5E) as their half-width
 * twins.  Answers v itself if there are none or they do not fit. */
static struct gx_abi_text
narrow(struct gx_abi_text v, char out[SCRATCH])
{
	size_t n = 0;

	if (v.n > 3 * SCRATCH || memchr(v.p, 0xEF, v.n) == NULL) {
		return v;
	}
	for (size_t i = 0; i < v.n; n++) {
		const unsigned char *p = (const unsigned char *)v.p + i;

		if (n == SCRATCH) {
			return v;
		}
		if (i + 3 <= v.n && p[0] == 0xEF &&
		    ((p[1] == 0xBC && p[2] >= 0x81) ||
		     (p[1] == 0xBD && p[2] <= 0x9E))) {
			unsigned cp = ((p[1] & 0x3Fu) << 6) | (p[2] & 0x3Fu);

			out[n] = (char)(cp - 0xF01u + 0x21u);
			i += 3;
		} else {
			out[n] = v.p[i++];
		}
	}
	return (struct gx_abi_text){out, n};
}

static void
put(const struct gx_abi_host *host, const struct step *s, const char *p,
    size_t n)
{
	host->emit(host->ctx, s->map.item, GX_ABI_STRING,
		   (struct gx_abi_text){p, n});
}

static void
convert_text(const struct gx_abi_host *host, const struct step *s,
	     struct gx_abi_text v)
{
	put(host, s, v.p, v.n);
}

static void
convert_code(const struct gx_abi_host *host, const struct step *s,
	     struct gx_abi_text v)
{
	char scratch[SCRATCH];

	v = narrow(v, scratch);
	put(host, s, v.p, v.n);
}

static void
convert_table(const struct gx_abi_host *host, const struct step *s,
	      struct gx_abi_text v)
{
	char scratch[SCRATCH];

	v = narrow(v, scratch);
	for (size_t i = 0; i < s->map.n_codes; i++) {
		const struct gx_abi_pair *pair = &s->map.codes[i];

		if (pair->from.n == v.n &&
		    memcmp(pair->from.p, v.p, v.n) == 0) {
			put(host, s, pair->to.p, pair->to.n);
			return;
		}
	}
	put(host, s, v.p, v.n);
}

static void
convert_date8(const struct gx_abi_host *host, const struct step *s,
	      struct gx_abi_text v)
{
	char scratch[SCRATCH], out[10];

	v = narrow(v, scratch);
	if (v.n != 8 || !all_digits(v)) {
		put(host, s, v.p, v.n);
		return;
	}
	memcpy(out, v.p, 4);
	out[4] = '-';
	memcpy(out + 5, v.p + 4, 2);
	out[7] = '-';
	memcpy(out + 8, v.p + 6, 2);
	put(host, s, out, sizeof(out));
}

static void
convert_month6(const struct gx_abi_host *host, const struct step *s,
	       struct gx_abi_text v)
{
	char scratch[SCRATCH], out[7];

	v = narrow(v, scratch);
	if (v.n != 6 || !all_digits(v)) {
		put(host, s, v.p, v.n);
		return;
	}
	memcpy(out, v.p, 4);
	out[4] = '-';
	memcpy(out + 5, v.p + 4, 2);
	put(host, s, out, sizeof(out));
}

/* "YYYY-MM-DD" at the beginning of v, digits only looked at as digits. */
static bool
begins_with_date(struct gx_abi_text v)
{
	static const char form[] = "dddd-dd-dd";

	if (v.n < 10) {
		return false;
	}
	for (size_t i = 0; i < 10; i++) {
		if (form[i] == 'd' ? !is_digit(v.p[i]) : v.p[i] != '-') {
			return false;
		}
	}
	return true;
}

static void
convert_date(const struct gx_abi_host *host, const struct step *s,
	     struct gx_abi_text v)
{
	if (begins_with_date(v) && v.n > 10 &&
	    (v.p[10] == ' ' || v.p[10] == 'T') &&
	    memchr(v.p, 'B', v.n) == NULL) { /* "... BC" stays as it is */
		v.n = 10;
	}
	put(host, s, v.p, v.n);
}

/* [sign] digits [. digits], or false.  Parts are slices of v. */
static bool
split_number(struct gx_abi_text v, bool *is_negative, struct gx_abi_text *whole,
	     struct gx_abi_text *fraction)
{
	size_t i = 0;

	*is_negative = v.n > 0 && v.p[0] == '-';
	if (v.n > 0 && (v.p[0] == '-' || v.p[0] == '+')) {
		i = 1;
	}
	whole->p = v.p + i;
	while (i < v.n && is_digit(v.p[i])) {
		i++;
	}
	whole->n = (size_t)(v.p + i - whole->p);
	fraction->p = v.p + i;
	fraction->n = 0;
	if (i < v.n && v.p[i] == '.') {
		i++;
		fraction->p = v.p + i;
		while (i < v.n && is_digit(v.p[i])) {
			i++;
		}
		fraction->n = (size_t)(v.p + i - fraction->p);
	}
	while (whole->n > 0 && whole->p[0] == '0') {
		whole->p++;
		whole->n--;
	}
	return i == v.n &&
	       (whole->n + fraction->n > 0 || memchr(v.p, '0', v.n) != NULL);
}

static bool
only_zeros(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '0') {
			return false;
		}
	}
	return true;
}

/* The canonical form with scale decimals; 0 if v has none: it is no number,
 * has more decimals than the scale holds, or is longer than the scratch. */
static size_t
format_number(struct gx_abi_text v, unsigned scale, char out[SCRATCH])
{
	bool is_negative;
	struct gx_abi_text whole, fraction;
	size_t n = 0;

	if (!split_number(v, &is_negative, &whole, &fraction)) {
		return 0;
	}
	if (fraction.n > scale) {
		if (!only_zeros(fraction.p + scale, fraction.n - scale)) {
			return 0;
		}
		fraction.n = scale;
	}
	if (whole.n + scale + 4 > SCRATCH) {
		return 0;
	}
	if (is_negative &&
	    (whole.n > 0 || !only_zeros(fraction.p, fraction.n))) {
		out[n++] = '-';
	}
	if (whole.n == 0) {
		out[n++] = '0';
	}
	memcpy(out + n, whole.p, whole.n);
	n += whole.n;
	if (scale > 0) {
		out[n++] = '.';
		memset(out + n, '0', scale);
		memcpy(out + n, fraction.p, fraction.n);
		n += scale;
	}
	return n;
}

static void
convert_decimal(const struct gx_abi_host *host, const struct step *s,
		struct gx_abi_text v)
{
	char scratch[SCRATCH], out[SCRATCH];
	size_t n;

	v = narrow(v, scratch);
	n = format_number(v, s->map.scale, out);
	if (n > 0) {
		put(host, s, out, n);
	} else {
		put(host, s, v.p, v.n);
	}
}

static void
convert_integer(const struct gx_abi_host *host, const struct step *s,
		struct gx_abi_text v)
{
	char scratch[SCRATCH], out[SCRATCH];
	size_t n;

	v = narrow(v, scratch);
	n = format_number(v, 0, out);
	if (n > 0) {
		host->emit(host->ctx, s->map.item, GX_ABI_NUMBER,
			   (struct gx_abi_text){out, n});
	} else {
		put(host, s, v.p, v.n);
	}
}

static void
convert_boolean(const struct gx_abi_host *host, const struct step *s,
		struct gx_abi_text v)
{
	static const char *const yes[] = {"t", "true", "1", "y", "Y"};
	static const char *const no[] = {"f", "false", "0", "n", "N"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strlen(yes[i]) == v.n && memcmp(yes[i], v.p, v.n) == 0) {
			host->emit(host->ctx, s->map.item, GX_ABI_BOOLEAN,
				   (struct gx_abi_text){"true", 4});
			return;
		}
		if (strlen(no[i]) == v.n && memcmp(no[i], v.p, v.n) == 0) {
			host->emit(host->ctx, s->map.item, GX_ABI_BOOLEAN,
				   (struct gx_abi_text){"false", 5});
			return;
		}
	}
	put(host, s, v.p, v.n);
}

/* n digits at *at -> number; moves *at behind them. */
static bool
take_digits(struct gx_abi_text v, size_t *at, size_t n, int *out)
{
	*out = 0;
	for (size_t i = 0; i < n; i++, (*at)++) {
		if (*at >= v.n || !is_digit(v.p[*at])) {
			return false;
		}
		*out = *out * 10 + (v.p[*at] - '0');
	}
	return true;
}

static bool
take_char(struct gx_abi_text v, size_t *at, const char *any_of)
{
	if (*at < v.n && v.p[*at] != 0 && strchr(any_of, v.p[*at]) != NULL) {
		(*at)++;
		return true;
	}
	return false;
}

struct instant {
	int year, month, day, hour, minute, second, ms;
	int offset_minutes; /* east of UTC */
	int offset_seconds; /* of it, before zones were kept to minutes */
};

static bool
take_offset(struct gx_abi_text v, size_t *at, struct instant *t)
{
	int hours = 0, minutes = 0, seconds = 0;
	bool is_west;

	t->offset_minutes = 8 * 60; /* none given: the department's clock */
	if (*at == v.n) {
		return true;
	}
	if (take_char(v, at, "Z")) {
		t->offset_minutes = 0;
		return *at == v.n;
	}
	is_west = v.p[*at] == '-';
	if (!take_char(v, at, "+-") || !take_digits(v, at, 2, &hours)) {
		return false;
	}
	if (*at < v.n) {
		(void)take_char(v, at, ":");
		if (!take_digits(v, at, 2, &minutes)) {
			return false;
		}
	}
	if (*at < v.n &&
	    (!take_char(v, at, ":") || !take_digits(v, at, 2, &seconds))) {
		return false;
	}
	t->offset_minutes = hours * 60 + minutes;
	t->offset_seconds = seconds;
	if (is_west) {
		t->offset_minutes = -t->offset_minutes;
		t->offset_seconds = -seconds;
	}
	return *at == v.n && hours < 24 && minutes < 60 && seconds < 60;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30,
				   31, 31, 30, 31, 30, 31};
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

/* "YYYY-MM-DD[ T]hh:mm[:ss[.fraction]][offset]"; a bare date is midnight. */
static bool
parse_instant(struct gx_abi_text v, struct instant *t)
{
	size_t at = 0;

	memset(t, 0, sizeof(*t));
	if (!take_digits(v, &at, 4, &t->year) || !take_char(v, &at, "-/") ||
	    !take_digits(v, &at, 2, &t->month) || !take_char(v, &at, "-/") ||
	    !take_digits(v, &at, 2, &t->day)) {
		return false;
	}
	if (t->month < 1 || t->month > 12 || t->day < 1 ||
	    t->day > days_in_month(t->year, t->month)) {
		return false;
	}
	if (at == v.n) {
		t->offset_minutes = 8 * 60;
		return true;
	}
	if (!take_char(v, &at, " T") || !take_digits(v, &at, 2, &t->hour) ||
	    !take_char(v, &at, ":") || !take_digits(v, &at, 2, &t->minute)) {
		return false;
	}
	if (take_char(v, &at, ":") && !take_digits(v, &at, 2, &t->second)) {
		return false;
	}
	if (take_char(v, &at, ".")) {
		int weight = 100;

		for (; at < v.n && is_digit(v.p[at]); at++, weight /= 10) {
			t->ms += (v.p[at] - '0') * weight;
		}
	}
	return t->hour < 24 && t->minute < 60 && t->second < 60 &&
	       take_offset(v, &at, t);
}

/* Move by minutes over at most a day and a half either way. */
static void
shift(struct instant *t, int minutes)
{
	int all = t->hour * 60 + t->minute + minutes;

	while (all < 0) {
		all += 24 * 60;
		if (--t->day < 1) {
			if (--t->month < 1) {
				t->month = 12;
				t->year--;
			}
			t->day = days_in_month(t->year, t->month);
		}
	}
	while (all >= 24 * 60) {
		all -= 24 * 60;
		if (++t->day > days_in_month(t->year, t->month)) {
			t->day = 1;
			if (++t->month > 12) {
				t->month = 1;
				t->year++;
			}
		}
	}
	t->hour = all / 60;
	t->minute = all % 60;
}

static char *
put_digits(char *p, int v, size_t n)
{
	for (size_t i = n; i-- > 0; v /= 10) {
		p[i] = (char)('0' + v % 10);
	}
	return p + n;
}

static void
convert_timestamp(const struct gx_abi_host *host, const struct step *s,
		  struct gx_abi_text v)
{
	struct instant t;
	char out[32], *p = out;

	if (!parse_instant(v, &t)) {
		put(host, s, v.p, v.n);
		return;
	}
	t.second -= t.offset_seconds;
	if (t.second < 0 || t.second > 59) { /* a minute before or after */
		t.offset_minutes += t.second < 0 ? 1 : -1;
		t.second += t.second < 0 ? 60 : -60;
	}
	shift(&t, 8 * 60 - t.offset_minutes);
	if (t.year < 0 || t.year > 9999) {
		put(host, s, v.p, v.n);
		return;
	}
	p = put_digits(p, t.year, 4);
	*p++ = '-';
	p = put_digits(p, t.month, 2);
	*p++ = '-';
	p = put_digits(p, t.day, 2);
	*p++ = 'T';
	p = put_digits(p, t.hour, 2);
	*p++ = ':';
	p = put_digits(p, t.minute, 2);
	*p++ = ':';
	p = put_digits(p, t.second, 2);
	*p++ = '.';
	p = put_digits(p, t.ms, 3);
	memcpy(p, "+08:00", 6);
	put(host, s, out, (size_t)(p + 6 - out));
}

#define TEXTS GX_ABI_HOLDS_TEXT
#define CODES (GX_ABI_HOLDS_TEXT | GX_ABI_HOLDS_INTEGER | GX_ABI_HOLDS_DECIMAL)
#define NUMBERS CODES
#define DATES (GX_ABI_HOLDS_TEXT | GX_ABI_HOLDS_DATE | GX_ABI_HOLDS_TIME)

static const struct gx_abi_key keys[] = {
	{"text", TEXTS, false, false, false,
	 "Text without blanks at its ends."},
	{"code", CODES, false, false, false,
	 "A code or number kept as text: leading zeros stay, full-width digits "
	 "and letters become half-width."},
	{"table", CODES | GX_ABI_HOLDS_BOOLEAN, true, false, false,
	 "A code of the department, looked up in \"codes\"; one that is not "
	 "there goes on as it is, for the schema to refuse."},
	{"date8", CODES, false, false, false,
	 "YYYYMMDD becomes YYYY-MM-DD; whether the date exists is for the "
	 "schema to say."},
	{"date", DATES, false, false, false,
	 "A date column, or the date of a time."},
	{"month6", CODES, false, false, false, "YYYYMM becomes YYYY-MM."},
	{"decimal", NUMBERS, false, true, false,
	 "An amount as text with exactly \"scale\" decimals; more of them "
	 "that are not zero go on as they are."},
	{"integer", NUMBERS, false, false, false, "A count: a JSON integer."},
	{"timestamp", DATES, false, false, false,
	 "A time as RFC 3339 with milliseconds at +08:00; one without an "
	 "offset is local time."},
	{"boolean", CODES | GX_ABI_HOLDS_BOOLEAN, false, false, false,
	 "t, true, 1, y or f, false, 0, n."},
	{"const", 0, false, false, true, "The same text in every record."},
	{NULL, 0, false, false, false, NULL},
};
/* Same order as keys. */
static convert_f *const converts[] = {
	convert_text,	   convert_code,    convert_table,   convert_date8,
	convert_date,	   convert_month6,  convert_decimal, convert_integer,
	convert_timestamp, convert_boolean, convert_text,
};
_Static_assert(sizeof(converts) / sizeof(converts[0]) ==
		       sizeof(keys) / sizeof(keys[0]) - 1,
	       "each conversion has its function");

static enum gx_abi_rc
open_rows(const struct gx_abi_host *host, const struct gx_abi_setup *setup,
	  void **state)
{
	struct row *row = host->alloc(host->ctx, sizeof(*row));

	*state = NULL;
	if (row == NULL) {
		host->log(host->ctx, "the mapping is too large");
		return GX_ABI_FATAL;
	}
	row->host = host;
	row->n_columns = setup->n_columns;
	row->n_steps = setup->n_map;
	row->steps = host->alloc(host->ctx, setup->n_map * sizeof(struct step));
	if (row->steps == NULL) {
		host->log(host->ctx, "the mapping is too large");
		return GX_ABI_FATAL;
	}
	for (size_t i = 0; i < setup->n_map; i++) {
		struct step *s = &row->steps[i];

		s->map = setup->map[i];
		for (size_t k = 0; keys[k].name != NULL; k++) {
			if (strcmp(keys[k].name, s->map.convert) == 0) {
				s->convert = converts[k];
			}
		}
		if (s->convert == NULL) {
			host->reject(host->ctx, s->map.item, "convert",
				     "unknown conversion");
			return GX_ABI_REJECT;
		}
	}
	*state = row;
	return GX_ABI_OK;
}

static enum gx_abi_rc
feed_row(void *state, const struct gx_abi_text *values, size_t n)
{
	const struct row *row = state;

	if (n != row->n_columns) {
		row->host->log(row->host->ctx, "row of another width");
		return GX_ABI_FATAL;
	}
	for (size_t i = 0; i < row->n_steps; i++) {
		const struct step *s = &row->steps[i];
		struct gx_abi_text v = s->map.constant;

		if (s->map.column != GX_ABI_NONE) {
			v = values[s->map.column];
			if (v.p == NULL) {
				continue;
			}
			v = trim(v);
			if (v.n == 0 || (v.n == 1 && v.p[0] == '-')) {
				continue;
			}
		}
		s->convert(row->host, s, v);
	}
	return GX_ABI_OK;
}

static void
close_rows(void *state)
{
	(void)state; /* all of it is the host's memory */
}

const struct gx_adapter gx_in_row_adapter;
const struct gx_adapter gx_in_row_adapter = {
	.major = GX_ABI_MAJOR,
	.minor = GX_ABI_MINOR,
	.struct_size = sizeof(struct gx_adapter),
	.name = "row",
	.input = GX_ABI_ROW,
	.keys = keys,
	.open = open_rows,
	.feed = feed_row,
	.close = close_rows,
};
