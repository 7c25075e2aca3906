/*
 * A field as a member of a record.
 *
 * A column without a type is text and goes on as it is, blanks and all.  A
 * typed one is read strictly and nothing is guessed: what is no number, no
 * date that exists and no word for yes or no refuses the row.  An amount never
 * passes through a double: it stays digits, as a JSON string, because half of
 * the readers of JSON would make a double of a number.  An empty typed field
 * is a missing value, and that is a missing member.
 *
 * Sums are kept in units of 10^-12 in 128 bits, so that a trailer's total is
 * compared exactly; a number with more digits than that is not summed, and the
 * file is refused as one whose total cannot be vouched for.
 */
#include "record/file_int.h"

#define NUMBER_DIGITS 1000
#define SUM_WHOLE 22
#define SUM_FRACTION 12

bool
gx_file_out_need(struct gx_file_out *o, size_t n)
{
	size_t cap = o->cap ? o->cap : 4096;

	while (cap - o->n < n) {
		if (__builtin_mul_overflow(cap, 2u, &cap)) {
			return false;
		}
	}
	if (cap == o->cap) {
		return true;
	}
	char *p = gx_mem_grow(o->p, cap, 1);
	if (p) {
		o->p = p;
		o->cap = cap;
	}
	return p != NULL;
}

static void
put(struct gx_file_out *o, const char *p, size_t n)
{
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

/* Bytes at p that stand in JSON as they are; eight at a time. */
static size_t
count_plain(const char *p, size_t n)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	const uint64_t tops = UINT64_C(0x8080808080808080);
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t v, quote, slash;
		memcpy(&v, p + i, 8);
		quote = v ^ (ones * '"');
		slash = v ^ (ones * '\\');
		if (((v - ones * 0x20) & ~v & tops) ||
		    ((quote - ones) & ~quote & tops) ||
		    ((slash - ones) & ~slash & tops)) {
			break;
		}
	}
	while (i < n && is_plain((unsigned char)p[i])) {
		i++;
	}
	return i;
}

static void
escape_one(struct gx_file_out *o, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t";
	static const char to[] = "\"\\bfnrt";
	static const char hex[] = "0123456789abcdef";
	const char *at = c ? strchr(from, c) : NULL;

	if (at) {
		char two[2] = {'\\', to[at - from]};
		put(o, two, 2);
	} else {
		char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
		put(o, six, 6);
	}
}

bool
gx_file_out_escape(struct gx_file_out *o, struct gx_slice s)
{
	size_t i = 0;

	if (!gx_file_out_need(o, s.n)) {
		return false;
	}
	for (;;) {
		size_t n = count_plain(s.p + i, s.n - i);
		put(o, s.p + i, n);
		i += n;
		if (i == s.n) {
			return true;
		}
		if (!gx_file_out_need(o, 6 + s.n - i)) {
			return false;
		}
		escape_one(o, (unsigned char)s.p[i++]);
	}
}

/* Bytes of a blank at p: those of ASCII but line ends, U+00A0, U+3000. */
static size_t
blank_at(const char *p, size_t n)
{
	if (n >= 1 && (*p == ' ' || *p == '\t')) {
		return 1;
	}
	if (n >= 2 && memcmp(p, "\xc2\xa0", 2) == 0) {
		return 2;
	}
	return n >= 3 && memcmp(p, "\xe3\x80\x80", 3) == 0 ? 3 : 0;
}

static size_t
blank_before(const char *end, size_t n)
{
	for (size_t k = 1; k <= 3 && k <= n; k++) {
		if (blank_at(end - k, k) == k) {
			return k;
		}
	}
	return 0;
}

struct gx_slice
gx_file_value_trim(struct gx_slice v, unsigned trim)
{
	size_t k;

	while (trim & GX_FILE_TRIM_LEFT && (k = blank_at(v.p, v.n)) > 0) {
		v.p += k;
		v.n -= k;
	}
	while (trim & GX_FILE_TRIM_RIGHT &&
	       (k = blank_before(v.p + v.n, v.n)) > 0) {
		v.n -= k;
	}
	return v;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t
count_digits(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && is_digit(p[i])) {
		i++;
	}
	return i;
}

bool
gx_file_number_read(struct gx_slice v, unsigned implied,
		    struct gx_file_number *out)
{
	struct gx_slice whole, fraction = {v.p, 0};

	out->is_negative = v.n > 0 && *v.p == '-';
	if (v.n > 0 && (*v.p == '-' || *v.p == '+')) {
		v = gx_slice(v.p + 1, v.n - 1);
	}
	whole = gx_slice(v.p, count_digits(v.p, v.n));
	v = gx_slice(v.p + whole.n, v.n - whole.n);
	if (whole.n == 0 || whole.n > NUMBER_DIGITS) {
		return false;
	}
	if (v.n > 0 && implied == 0 && *v.p == '.') {
		fraction = gx_slice(v.p + 1, count_digits(v.p + 1, v.n - 1));
		v = gx_slice(v.p + 1 + fraction.n, v.n - 1 - fraction.n);
		if (fraction.n == 0 || fraction.n > NUMBER_DIGITS) {
			return false;
		}
	}
	if (implied > 0) {
		if (whole.n < implied) {
			return false;
		}
		whole.n -= implied;
		fraction = gx_slice(whole.p + whole.n, implied);
	}
	while (whole.n > 0 && *whole.p == '0') {
		whole = gx_slice(whole.p + 1, whole.n - 1);
	}
	out->whole = whole;
	out->fraction = fraction;
	return v.n == 0;
}

static bool
is_zero(struct gx_slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '0') {
			return false;
		}
	}
	return true;
}

static void
put_number(struct gx_file_out *o, const struct gx_file_number *v, int scale)
{
	size_t n = v->fraction.n;

	if (v->is_negative && !(v->whole.n == 0 && is_zero(v->fraction))) {
		put(o, "-", 1);
	}
	put(o, v->whole.n ? v->whole.p : "0", v->whole.n ? v->whole.n : 1);
	if (scale >= 0 && n > (size_t)scale) {
		n = (size_t)scale;
	}
	if (n > 0 || scale > 0) {
		put(o, ".", 1);
		put(o, v->fraction.p, n);
	}
	for (; scale >= 0 && n < (size_t)scale; n++) {
		put(o, "0", 1);
	}
}

static const char *
put_integer(struct gx_file_out *o, const struct gx_file_column *c,
	    struct gx_slice v)
{
	struct gx_file_number number;

	(void)c;
	if (!gx_file_number_read(v, 0, &number) || number.fraction.n > 0) {
		return "not an integer";
	}
	put_number(o, &number, 0);
	return NULL;
}

static const char *
put_decimal(struct gx_file_out *o, const struct gx_file_column *c,
	    struct gx_slice v)
{
	struct gx_file_number number;
	size_t scale = c->scale < 0 ? NUMBER_DIGITS : (size_t)c->scale;

	if (!gx_file_number_read(v, c->implied, &number)) {
		return "not a decimal number";
	}
	if (number.fraction.n > scale &&
	    !is_zero(gx_slice(number.fraction.p + scale,
			      number.fraction.n - scale))) {
		return "more decimals than the layout allows";
	}
	put(o, "\"", 1);
	put_number(o, &number, c->scale);
	put(o, "\"", 1);
	return NULL;
}

static bool
take(struct gx_slice *v, const char *what)
{
	size_t n = strlen(what);

	if (v->n < n || memcmp(v->p, what, n) != 0) {
		return false;
	}
	*v = gx_slice(v->p + n, v->n - n);
	return true;
}

/* min to max digits. */
static bool
take_digits(struct gx_slice *v, size_t min, size_t max, int *out)
{
	size_t n = count_digits(v->p, v->n < max ? v->n : max);

	*out = 0;
	for (size_t i = 0; i < n; i++) {
		*out = *out * 10 + (v->p[i] - '0');
	}
	*v = gx_slice(v->p + n, v->n - n);
	return n >= min;
}

/* One of - / . as in the rest of the date, nothing, or the Chinese word. */
static bool
take_between(struct gx_slice *v, char *sign, const char *word)
{
	if (*sign == 0) {
		*sign = take(v, word)  ? 'w'
			: take(v, "-") ? '-'
			: take(v, "/") ? '/'
			: take(v, ".") ? '.'
				       : 'n';
		return true;
	}
	char one[2] = {*sign, 0};
	return *sign == 'n' || take(v, *sign == 'w' ? word : one);
}

static int
days_in(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30,
				   31, 31, 30, 31, 30, 31};
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && is_leap);
}

/* YYYYMM[DD], with - / . or in words between; t: year, month, day. */
static bool
take_date(struct gx_slice *v, bool has_day, int t[3])
{
	char sign = 0;

	if (!take_digits(v, 4, 4, &t[0]) || !take_between(v, &sign, "年")) {
		return false;
	}
	size_t min = sign == 'n' ? 2 : 1;
	t[2] = 1;
	if (!take_digits(v, min, 2, &t[1]) || t[1] < 1 || t[1] > 12 ||
	    t[0] < 1) {
		return false;
	}
	if (!has_day) {
		return sign != 'w' || take(v, "月");
	}
	return take_between(v, &sign, "月") && take_digits(v, min, 2, &t[2]) &&
	       t[2] >= 1 && t[2] <= days_in(t[0], t[1]) &&
	       (sign != 'w' || take(v, "日"));
}

/* The first n characters of the time t, as a JSON string. */
static void
put_time(struct gx_file_out *o, const int t[6], size_t n)
{
	char text[] = "0000-00-00T00:00:00.000+08:00";
	static const size_t ends[] = {4, 7, 10, 13, 16, 19};

	for (size_t i = 0; i < 6; i++) {
		int v = t[i];
		for (char *p = text + ends[i]; v > 0; v /= 10) {
			*--p = (char)('0' + v % 10);
		}
	}
	put(o, "\"", 1);
	put(o, text, n);
	put(o, "\"", 1);
}

static const char *
put_date(struct gx_file_out *o, const struct gx_file_column *c,
	 struct gx_slice v)
{
	int t[6] = {0};

	(void)c;
	if (!take_date(&v, true, t) || v.n > 0) {
		return "not a date";
	}
	put_time(o, t, 10);
	return NULL;
}

static const char *
put_month(struct gx_file_out *o, const struct gx_file_column *c,
	  struct gx_slice v)
{
	int t[6] = {0};

	(void)c;
	if (!take_date(&v, false, t) || v.n > 0) {
		return "not a month";
	}
	put_time(o, t, 7);
	return NULL;
}

static const char *
put_timestamp(struct gx_file_out *o, const struct gx_file_column *c,
	      struct gx_slice v)
{
	int t[6] = {0};

	(void)c;
	bool is_bare = count_digits(v.p, v.n) == v.n;
	bool good = take_date(&v, true, t) &&
		    (is_bare || take(&v, " ") || take(&v, "T")) &&
		    take_digits(&v, 2, 2, &t[3]) && t[3] < 24 &&
		    (is_bare || take(&v, ":")) &&
		    take_digits(&v, 2, 2, &t[4]) && t[4] < 60 &&
		    (is_bare || take(&v, ":")) &&
		    take_digits(&v, 2, 2, &t[5]) && t[5] < 60;
	if (!good || v.n > 0) {
		return "not a date with a time";
	}
	put_time(o, t, 29);
	return NULL;
}

static const char *
put_boolean(struct gx_file_out *o, const struct gx_file_column *c,
	    struct gx_slice v)
{
	static const char *const words[][2] = {{"1", "0"}, {"true", "false"},
					       {"t", "f"}, {"Y", "N"},
					       {"y", "n"}, {"是", "否"}};

	(void)c;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (gx_slice_eq(v, gx_slice_str(words[i][0]))) {
			put(o, "true", 4);
			return NULL;
		}
		if (gx_slice_eq(v, gx_slice_str(words[i][1]))) {
			put(o, "false", 5);
			return NULL;
		}
	}
	return "neither yes nor no";
}

typedef const char *put_f(struct gx_file_out *o, const struct gx_file_column *c,
			  struct gx_slice v);
static put_f *const puts_by_type[] = {
	[GX_FILE_INTEGER] = put_integer,     [GX_FILE_DECIMAL] = put_decimal,
	[GX_FILE_DATE] = put_date,	     [GX_FILE_MONTH] = put_month,
	[GX_FILE_TIMESTAMP] = put_timestamp, [GX_FILE_BOOLEAN] = put_boolean,
};

const char *
gx_file_value_put(struct gx_file_out *o, const struct gx_file_column *c,
		  struct gx_slice v, bool *is_put)
{
	static const char no_memory[] = "no memory for the record";

	*is_put = false;
	v = gx_file_value_trim(v, c->trim);
	if (v.n == 0 && (c->is_required || c->type != GX_FILE_STRING)) {
		return c->is_required ? "a required value is missing" : NULL;
	}
	/* A number has room for its digits, sign, point and scale. */
	if (!gx_file_out_need(o, c->head.n + v.n + 128)) {
		return no_memory;
	}
	*is_put = true;
	put(o, c->head.p, c->head.n);
	if (c->type != GX_FILE_STRING) {
		return puts_by_type[c->type](o, c, v);
	}
	put(o, "\"", 1);
	if (!gx_file_out_escape(o, v) || !gx_file_out_need(o, 8)) {
		return no_memory;
	}
	put(o, "\"", 1);
	return NULL;
}

bool
gx_file_sum_add(struct gx_file_sum *s, const struct gx_file_number *v)
{
	__extension__ __int128 units = 0;

	if (v->whole.n > SUM_WHOLE ||
	    (v->fraction.n > SUM_FRACTION &&
	     !is_zero(gx_slice(v->fraction.p + SUM_FRACTION,
			       v->fraction.n - SUM_FRACTION)))) {
		return false;
	}
	for (size_t i = 0; i < v->whole.n; i++) {
		units = units * 10 + (v->whole.p[i] - '0');
	}
	for (size_t i = 0; i < SUM_FRACTION; i++) {
		int digit = i < v->fraction.n ? v->fraction.p[i] - '0' : 0;
		units = units * 10 + digit;
	}
	return !__builtin_add_overflow(
		s->units, v->is_negative ? -units : units, &s->units);
}
