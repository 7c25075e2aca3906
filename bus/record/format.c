/*
 * Formats.
 *
 * JSON Schema lets an implementation treat "format" as a remark; here it is a
 * rule.  The eight of the standard follow their RFCs to the letter: RFC 3339
 * for date, time and date-time (a leap second only where one can fall), RFC
 * 4122 for uuid, RFC 5321 for email, RFC 3986 for uri, RFC 2673 and RFC 4291
 * for addresses.  The year 0000 is refused: PostgreSQL has none, and a value
 * that passes here must be one that can be stored.  Five more are the
 * identifiers of ids.h, and one the project code of GB/T 40058-2021.
 *
 * A format sees the decoded text of a string, never its escapes, and anything
 * that is not a string passes it.  All functions are pure and allocate
 * nothing; the messages are static and hold no part of the value.
 */
#include "record/format.h"

#include "record/ids.h"

#include <string.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_hex(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool
is_alnum(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Two digits, or -1. */
static int
take_two(const char *p)
{
	return is_digit(p[0]) && is_digit(p[1])
		       ? (p[0] - '0') * 10 + (p[1] - '0')
		       : -1;
}

static const char not_a_date[] = "not a date that exists (YYYY-MM-DD)";
static const char not_a_time[] =
	"not a time of RFC 3339 (HH:MM:SS with an offset)";

static const char *
check_date(const char *p, size_t n, int today_ymd)
{
	(void)today_ymd;
	if (n != 10 || p[4] != '-' || p[7] != '-') {
		return not_a_date;
	}
	int high = take_two(p), low = take_two(p + 2);
	int month = take_two(p + 5), day = take_two(p + 8);
	if (high < 0 || low < 0 ||
	    !gx_date_valid(high * 100 + low, month, day)) {
		return not_a_date;
	}
	return NULL;
}

/* Minutes east of UTC of "Z" or "+HH:MM"; false if it is neither. */
static bool
take_offset(const char *p, size_t n, int *minutes)
{
	*minutes = 0;
	if (n == 1) {
		return (*p | 0x20) == 'z';
	}
	if (n != 6 || (p[0] != '+' && p[0] != '-') || p[3] != ':') {
		return false;
	}
	int hour = take_two(p + 1), minute = take_two(p + 4);
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
		return false;
	}
	*minutes = (p[0] == '-' ? -1 : 1) * (hour * 60 + minute);
	return true;
}

static const char *
check_time(const char *p, size_t n, int today_ymd)
{
	size_t at = 8;
	int offset;

	(void)today_ymd;
	if (n < 9 || p[2] != ':' || p[5] != ':') {
		return not_a_time;
	}
	int hour = take_two(p), minute = take_two(p + 3);
	int second = take_two(p + 6);
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
	    second > 60) {
		return not_a_time;
	}
	if (p[at] == '.') {
		size_t from = ++at;
		while (at < n && is_digit(p[at])) {
			at++;
		}
		if (at == from) {
			return not_a_time;
		}
	}
	if (at >= n || !take_offset(p + at, n - at, &offset)) {
		return not_a_time;
	}
	if (second == 60) {
		/* Leap seconds are put behind 23:59:59 UTC. */
		int utc = (hour * 60 + minute - offset + 2 * 1440) % 1440;
		if (utc != 1439) {
			return "a leap second where none can be";
		}
	}
	return NULL;
}

static const char *
check_date_time(const char *p, size_t n, int today_ymd)
{
	if (n < 20 || (p[10] | 0x20) != 't') {
		return "not a date-time of RFC 3339";
	}
	const char *why = check_date(p, 10, today_ymd);
	return why ? why : check_time(p + 11, n - 11, today_ymd);
}

static const char *
check_uuid(const char *p, size_t n, int today_ymd)
{
	(void)today_ymd;
	for (size_t i = 0; i < n && n == 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? p[i] != '-' : !is_hex(p[i])) {
			n = 0;
		}
	}
	return n == 36 ? NULL : "not a UUID";
}

/* Dotted quad without leading zeros. */
static bool
is_ipv4(const char *p, size_t n)
{
	int parts = 0;

	for (size_t at = 0; parts < 4; at++) {
		size_t from = at;
		int v = 0;
		while (at < n && is_digit(p[at]) && at - from < 4) {
			v = v * 10 + (p[at++] - '0');
		}
		if (at == from || at - from > 3 || v > 255 ||
		    (p[from] == '0' && at - from > 1)) {
			return false;
		}
		parts++;
		if (at == n) {
			return parts == 4;
		}
		if (p[at] != '.') {
			return false;
		}
	}
	return false;
}

static const char *
check_ipv4(const char *p, size_t n, int today_ymd)
{
	(void)today_ymd;
	return is_ipv4(p, n) ? NULL : "not an IPv4 address";
}

static bool
is_ipv6(const char *p, size_t n)
{
	size_t at = 0;
	int groups = 0;
	bool gap = false;

	if (n >= 2 && p[0] == ':' && p[1] == ':') {
		gap = true;
		at = 2;
	}
	while (at < n) {
		size_t from = at;
		while (at < n && is_hex(p[at])) {
			at++;
		}
		if (at < n && p[at] == '.') {
			groups += 2;
			if (!is_ipv4(p + from, n - from)) {
				return false;
			}
			break;
		}
		if (at == from || at - from > 4) {
			return false;
		}
		groups++;
		if (at == n) {
			break;
		}
		if (p[at++] != ':' || at == n) {
			return false;
		}
		if (p[at] == ':') {
			if (gap) {
				return false;
			}
			gap = true;
			at++;
		}
	}
	return gap ? groups <= 7 : groups == 8;
}

static const char *
check_ipv6(const char *p, size_t n, int today_ymd)
{
	(void)today_ymd;
	return is_ipv6(p, n) ? NULL : "not an IPv6 address";
}

/* Labels of letters, digits and inner dashes. */
static bool
is_domain(const char *p, size_t n)
{
	size_t from = 0;

	if (n == 0 || n > 253) {
		return false;
	}
	for (size_t i = 0; i <= n; i++) {
		if (i < n && p[i] != '.') {
			if (!is_alnum(p[i]) && p[i] != '-') {
				return false;
			}
			continue;
		}
		if (i == from || i - from > 63 || p[from] == '-' ||
		    p[i - 1] == '-') {
			return false;
		}
		from = i + 1;
	}
	return true;
}

static bool
is_local_part(const char *p, size_t n)
{
	if (n == 0 || n > 64) {
		return false;
	}
	if (p[0] == '"') {
		for (size_t i = 1; i + 1 < n; i++) {
			if (p[i] == '\\') {
				i++;
			} else if (p[i] == '"') {
				return false;
			}
			if (i + 1 >= n || p[i] < 0x20 || p[i] > 0x7e) {
				return false;
			}
		}
		return n > 2 && p[n - 1] == '"';
	}
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '.') {
			if (i == 0 || i + 1 == n || p[i + 1] == '.') {
				return false;
			}
		} else if (!is_alnum(p[i]) &&
			   (p[i] == '\0' ||
			    !strchr("!#$%&'*+-/=?^_`{|}~", p[i]))) {
			return false;
		}
	}
	return true;
}

static const char *
check_email(const char *p, size_t n, int today_ymd)
{
	static const char why[] = "not an email address";
	const char *at = n ? memrchr(p, '@', n) : NULL;

	(void)today_ymd;
	if (!at || n > 254 || !is_local_part(p, (size_t)(at - p))) {
		return why;
	}
	const char *host = at + 1;
	size_t n_host = n - (size_t)(host - p);
	if (n_host > 2 && host[0] == '[' && host[n_host - 1] == ']') {
		bool v6 = n_host > 7 && strncasecmp(host + 1, "IPv6:", 5) == 0;
		return (v6 ? is_ipv6(host + 6, n_host - 7)
			   : is_ipv4(host + 1, n_host - 2))
			       ? NULL
			       : why;
	}
	return is_domain(host, n_host) ? NULL : why;
}

/* RFC 3986: unreserved, sub-delims, percent escapes and what more says. */
static bool
are_uri_chars(const char *p, size_t n, const char *more)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '%') {
			if (n - i < 3 || !is_hex(p[i + 1]) ||
			    !is_hex(p[i + 2])) {
				return false;
			}
			i += 2;
		} else if (!is_alnum(p[i]) &&
			   (p[i] == '\0' || (!strchr("-._~!$&'()*+,;=", p[i]) &&
					     !strchr(more, p[i])))) {
			return false;
		}
	}
	return true;
}

static bool
is_ip_literal(const char *p, size_t n)
{
	size_t i = 1;

	if (n == 0 || (*p | 0x20) != 'v') {
		return is_ipv6(p, n);
	}
	while (i < n && is_hex(p[i])) {
		i++;
	}
	return i > 1 && i + 1 < n && p[i] == '.' &&
	       are_uri_chars(p + i + 1, n - i - 1, ":") && !memchr(p, '%', n);
}

static bool
is_authority(const char *p, size_t n)
{
	const char *at = n ? memchr(p, '@', n) : NULL;

	if (at) {
		size_t n_user = (size_t)(at - p);
		if (!are_uri_chars(p, n_user, ":")) {
			return false;
		}
		p += n_user + 1;
		n -= n_user + 1;
	}
	const char *port = NULL;
	if (n && p[0] == '[') {
		const char *close = memchr(p, ']', n);
		if (!close || !is_ip_literal(p + 1, (size_t)(close - p) - 1)) {
			return false;
		}
		port = close + 1;
	} else {
		const char *colon = n ? memchr(p, ':', n) : NULL;
		port = colon ? colon : p + n;
		if (!are_uri_chars(p, (size_t)(port - p), "")) {
			return false;
		}
	}
	size_t n_port = n - (size_t)(port - p);
	for (size_t i = 0; i < n_port; i++) {
		if (i == 0 ? port[i] != ':' : !is_digit(port[i])) {
			return false;
		}
	}
	return true;
}

static const char *
check_uri(const char *p, size_t n, int today_ymd)
{
	static const char why[] = "not an absolute URI";
	const char *end = p + n, *q = p;

	(void)today_ymd;
	while (q < end &&
	       (is_alnum(*q) || *q == '+' || *q == '-' || *q == '.')) {
		q++;
	}
	if (q == p || q == end || *q != ':' || is_digit(*p) || !is_alnum(*p)) {
		return why;
	}
	p = q + 1;
	const char *hash = memchr(p, '#', (size_t)(end - p));
	if (hash &&
	    !are_uri_chars(hash + 1, (size_t)(end - hash) - 1, ":@/?")) {
		return why;
	}
	end = hash ? hash : end;
	const char *query = memchr(p, '?', (size_t)(end - p));
	if (query &&
	    !are_uri_chars(query + 1, (size_t)(end - query) - 1, ":@/?")) {
		return why;
	}
	end = query ? query : end;
	if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
		p += 2;
		const char *path = memchr(p, '/', (size_t)(end - p));
		path = path ? path : end;
		if (!is_authority(p, (size_t)(path - p))) {
			return why;
		}
		p = path;
	}
	return are_uri_chars(p, (size_t)(end - p), ":@/") ? NULL : why;
}

static const char *
check_resident(const char *p, size_t n, int today_ymd)
{
	return gx_id_check(GX_ID_RESIDENT, p, n, today_ymd);
}

static const char *
check_uscc(const char *p, size_t n, int today_ymd)
{
	return gx_id_check(GX_ID_USCC, p, n, today_ymd);
}

static const char *
check_org_code(const char *p, size_t n, int today_ymd)
{
	return gx_id_check(GX_ID_ORG_CODE, p, n, today_ymd);
}

static const char *
check_licence(const char *p, size_t n, int today_ymd)
{
	return gx_id_check(GX_ID_LICENCE, p, n, today_ymd);
}

static const char *
check_region(const char *p, size_t n, int today_ymd)
{
	return gx_id_check(GX_ID_REGION, p, n, today_ymd);
}

/*
 * YYMM-RRRRRR-DD-TT-NNNNNC, or in the older form YYYY-RRRRRR-II-TT-NNNNNN: a
 * first field that ends in a month is of the new one, else it must be a year
 * 2013 to 2020.  The formula of C is not published, so it is not verified.  A
 * region 0000.. stands for the ministries of the central government.
 */
static const char *
check_project(const char *p, size_t n, int today_ymd)
{
	static const char form[] = "0000-000000-00-00-00000";

	if (n != 24) {
		return "not a project code of 24 characters";
	}
	for (size_t i = 0; i < 23; i++) {
		if (form[i] == '0' ? !is_digit(p[i]) : p[i] != '-') {
			return "not a project code (YYMM-RRRRRR-DD-TT-NNNNNC)";
		}
	}
	int high = take_two(p), low = take_two(p + 2);
	bool is_new = low >= 1 && low <= 12;
	if (!is_new && (high != 20 || low < 13 || low > 20)) {
		return "a project code of no month and no year 2013 to 2020";
	}
	if (!is_digit(p[23]) && (!is_new || p[23] < 'A' || p[23] > 'Z')) {
		return "not a project code: its last character";
	}
	if (memcmp(p + 5, "0000", 4) != 0 &&
	    gx_id_check(GX_ID_REGION, p + 5, 6, today_ymd)) {
		return "a project code with an unknown region";
	}
	return NULL;
}

gx_format_f *
gx_format_find(struct gx_slice name)
{
	static const struct {
		const char *name;
		gx_format_f *check;
	} formats[] = {
		{"date", check_date},
		{"time", check_time},
		{"date-time", check_date_time},
		{"uuid", check_uuid},
		{"email", check_email},
		{"uri", check_uri},
		{"ipv4", check_ipv4},
		{"ipv6", check_ipv6},
		{"resident-id", check_resident},
		{"uscc", check_uscc},
		{"org-code", check_org_code},
		{"licence-id", check_licence},
		{"region", check_region},
		{"project-code", check_project},
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (gx_slice_eq(name, gx_slice_str(formats[i].name))) {
			return formats[i].check;
		}
	}
	return NULL;
}

bool
gx_format_wants_today(gx_format_f *f)
{
	return f == check_resident;
}
