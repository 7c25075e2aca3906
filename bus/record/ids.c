/*
 * Identifiers of the GB standards.
 *
 * Each kind is one function that takes the bytes as they came and answers
 * with the first rule they break.  Nothing is trimmed, folded or guessed: a
 * lower-case x, a full-width digit or a blank is a fault of the source, and an
 * adapter that wants to mend it does so where it can be seen.
 *
 * The rules are those that can be computed: length, alphabet, check
 * character, a birth date that existed and is not to come, a division that
 * exists at province level.  Whether an identifier was ever given out, only
 * the register knows.  Below province level the divisions of Guangxi are
 * known to the city; the last two digits stay free until a county table is
 * loaded, since old records keep divisions that are gone.
 *
 * Answers are static text and never hold a part of the value.  There is no
 * state here: every function is pure but gx_id_today(), which reads the clock.
 */
#include "record/ids.h"

#include "base/clock.h"

#include <string.h>

static const char wrong_check[] = "check character is wrong";

bool
gx_id_kind_parse(const char *name, enum gx_id_kind *kind)
{
	static const struct {
		const char *name;
		enum gx_id_kind kind;
	} kinds[] = {
		{"resident-id", GX_ID_RESIDENT},
		{"uscc", GX_ID_USCC},
		{"org-code", GX_ID_ORG_CODE},
		{"licence-id", GX_ID_LICENCE},
		{"region", GX_ID_REGION},
		{"resource-code", GX_ID_RESOURCE_CODE},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, name) == 0) {
			*kind = kinds[i].kind;
			return true;
		}
	}
	return false;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
are_digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!is_digit(p[i])) {
			return false;
		}
	}
	return true;
}

/* 0-9, A-Z = 10..35; -1 for anything else. */
static int
base36(char c)
{
	if (is_digit(c)) {
		return c - '0';
	}
	return c >= 'A' && c <= 'Z' ? c - 'A' + 10 : -1;
}

static int
two_digits(const char *p)
{
	return (p[0] - '0') * 10 + (p[1] - '0');
}

bool
gx_date_valid(int year, int month, int day)
{
	static const int days[] = {31, 28, 31, 30, 31, 30,
				   31, 31, 30, 31, 30, 31};

	if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1) {
		return false;
	}
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return day <= days[month - 1] + (month == 2 && leap);
}

int
gx_id_today(void)
{
	char text[GX_TIME_LEN + 1];

	gx_time_format(gx_now_ms(), text);
	return (two_digits(text) * 100 + two_digits(text + 2)) * 10000 +
	       two_digits(text + 5) * 100 + two_digits(text + 8);
}

/* GB/T 2260: the first two digits, as a division of province level. */
static bool
is_province(int two)
{
	return (two >= 11 && two <= 15) || (two >= 21 && two <= 23) ||
	       (two >= 31 && two <= 37) || (two >= 41 && two <= 46) ||
	       (two >= 50 && two <= 54) || (two >= 61 && two <= 65) ||
	       two == 71 || two == 81 || two == 82;
}

static const char *
check_region(const char *p, size_t n)
{
	if (n != 6) {
		return "a region code has 6 digits";
	}
	if (!are_digits(p, n)) {
		return "a region code has digits only";
	}
	if (!is_province(two_digits(p))) {
		return "no division of province level has this code";
	}
	if (two_digits(p) == 45 && two_digits(p + 2) > 14) {
		return "Guangxi has no city with this code";
	}
	return NULL;
}

/* GB 11643, ISO 7064 MOD 11-2. */
static const char *
check_resident(const char *p, size_t n, int today_ymd)
{
	static const int weights[17] = {7, 9, 10, 5,  8, 4, 2, 1, 6,
					3, 7, 9,  10, 5, 8, 4, 2};
	int sum = 0;

	if (n != 18) {
		return "a resident id has 18 characters";
	}
	if (!are_digits(p, 17) || !(is_digit(p[17]) || p[17] == 'X')) {
		return "a resident id has 17 digits, then a digit or X";
	}
	if (!is_province(two_digits(p))) {
		return "no division of province level has this code";
	}
	int year = two_digits(p + 6) * 100 + two_digits(p + 8);
	int month = two_digits(p + 10), day = two_digits(p + 12);
	if (!gx_date_valid(year, month, day)) {
		return "the birth date does not exist";
	}
	if (year * 10000 + month * 100 + day > today_ymd) {
		return "the birth date lies in the future";
	}
	for (int i = 0; i < 17; i++) {
		sum += weights[i] * (p[i] - '0');
	}
	return "10X98765432"[sum % 11] == p[17] ? NULL : wrong_check;
}

/* GB 11714. */
static const char *
check_org_code(const char *p, size_t n)
{
	static const int weights[8] = {3, 7, 9, 10, 5, 8, 4, 2};
	int sum = 0;

	if (n != 9) {
		return "an organisation code has 9 characters";
	}
	for (int i = 0; i < 8; i++) {
		int v = base36(p[i]);
		if (v < 0) {
			return "an organisation code has digits and capital "
			       "letters only";
		}
		sum += weights[i] * v;
	}
	return "0X987654321"[sum % 11] == p[8] ? NULL : wrong_check;
}

/* Its alphabet has no I, O, S, V and Z; -1 for what is not in it. */
static int
uscc_value(char c)
{
	static const signed char letters[26] = {
		10, 11, 12, 13, 14, 15, 16, 17, -1, 18, 19, 20, 21,
		22, -1, 23, 24, 25, -1, 26, 27, -1, 28, 29, 30, -1};

	if (is_digit(c)) {
		return c - '0';
	}
	return c >= 'A' && c <= 'Z' ? letters[c - 'A'] : -1;
}

/* GB 32100-2015; the ministries' division is 100000, so it is digits only. */
static const char *
check_uscc(const char *p, size_t n)
{
	static const int weights[17] = {1,  3,	9,  27, 19, 26, 16, 17, 20,
					29, 25, 13, 8,	24, 10, 30, 28};
	int sum = 0;

	if (n != 18) {
		return "a unified social credit code has 18 characters";
	}
	for (int i = 0; i < 18; i++) {
		int v = uscc_value(p[i]);
		if (v < 0) {
			return "a character that no unified social credit code "
			       "has";
		}
		/* The weight of the check character makes the sum 0. */
		sum += i < 17 ? v * weights[i] : v;
	}
	if (!are_digits(p + 2, 6)) {
		return "characters 3 to 8 are a region of digits";
	}
	if (sum % 31 != 0) {
		return wrong_check;
	}
	return check_org_code(p + 8, 9)
		       ? "check character of the organisation code is wrong"
		       : NULL;
}

/* Take [0-9A-Z]+ up to the next point into the sum of ISO 7064 MOD 37,36. */
static bool
take_part(const char **p, const char *end, size_t min, size_t max, int *sum)
{
	const char *from = *p;

	for (; *p < end && **p != '.'; ++*p) {
		int v = base36(**p);
		if (v < 0) {
			return false;
		}
		int s = (*sum + v) % 36;
		*sum = 2 * (s ? s : 36) % 37;
	}
	size_t n = (size_t)(*p - from);
	if (n < min || n > max || *p == end) {
		return false;
	}
	++*p;
	return true;
}

/* GB/T 36904. */
static const char *
check_licence(const char *p, size_t n)
{
	static const char prefix[] = "1.2.156.3005.2.";
	static const char form[] =
		"a licence id is 1.2.156.3005.2.type.issuer.serial.version"
		".check";
	const char *end = p + n;
	int sum = 36;

	if (n > 128 || n < sizeof(prefix) - 1 ||
	    memcmp(p, prefix, sizeof(prefix) - 1) != 0) {
		return form;
	}
	p += sizeof(prefix) - 1;
	if (!take_part(&p, end, 21, 21, &sum) ||
	    !take_part(&p, end, 1, 18, &sum) ||
	    !take_part(&p, end, 1, 64, &sum) ||
	    !take_part(&p, end, 3, 3, &sum)) {
		return form;
	}
	if (end - p != 1 || base36(*p) < 0 || !are_digits(p - 4, 3)) {
		return form;
	}
	return base36(*p) == (37 - sum) % 36 ? NULL : wrong_check;
}

/* 1272 guide: class, item, sub-item, detail, then a number. */
static const char *
check_resource_code(const char *p, size_t n)
{
	static const char form[] =
		"a resource code is class 1 to 3, five digits, a detail of "
		"letters and digits, a slash and a number";
	size_t i = 6;

	if (n < 8 || n > 128 || p[0] < '1' || p[0] > '3' ||
	    !are_digits(p + 1, 5)) {
		return form;
	}
	while (i < n && (base36(p[i]) >= 0 || (p[i] >= 'a' && p[i] <= 'z'))) {
		i++;
	}
	if (i + 1 >= n || p[i] != '/' || !are_digits(p + i + 1, n - i - 1)) {
		return form;
	}
	return NULL;
}

const char *
gx_id_check(enum gx_id_kind kind, const char *p, size_t n, int today_ymd)
{
	switch (kind) {
	case GX_ID_RESIDENT:
		return check_resident(p, n, today_ymd);
	case GX_ID_USCC:
		return check_uscc(p, n);
	case GX_ID_ORG_CODE:
		return check_org_code(p, n);
	case GX_ID_LICENCE:
		return check_licence(p, n);
	case GX_ID_REGION:
		return check_region(p, n);
	case GX_ID_RESOURCE_CODE:
		return check_resource_code(p, n);
	}
	return "no such kind of identifier";
}
