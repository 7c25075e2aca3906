/*
 * Time.
 *
 * Two clocks: the wall clock for labels that people read, and the monotonic
 * one for everything that waits or measures.  No verdict of the bus depends
 * on the wall clock; a node whose clock is wrong writes wrong labels and
 * nothing worse.  Tests and the simulation put their own clocks in; that is
 * meant for single-threaded programs before they start, so there is no lock.
 *
 * Times are written as RFC 3339 with milliseconds and the offset +08:00: the
 * one time zone in which the people who read them live.  The calendar is
 * computed here instead of by localtime(3): no environment variable and no
 * time zone file may change bytes that are hashed.  Reading takes any RFC
 * 3339 date-time with an offset, from year 0000 to 9999; it refuses times
 * without offset, leap seconds other than :60 at the end of a minute (counted
 * as the second after), and dates that do not exist.
 */
#include "base/clock.h"

#include "base/err.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define EAST_8_MS (8 * 3600 * INT64_C(1000))
#define DAY_MS (24 * 3600 * INT64_C(1000))

/* The fakes; NULL means the real clock. */
static int64_t (*fake_now_ms)(void);
static int64_t (*fake_mono_us)(void);

static int64_t
read_clock_us(clockid_t id)
{
	struct timespec t;
	int rc = clock_gettime(id, &t);

	/* Fails only for a clock the kernel does not have. */
	GX_ASSERT(rc == 0);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
gx_now_ms(void)
{
	if (fake_now_ms) {
		return fake_now_ms();
	}
	return read_clock_us(CLOCK_REALTIME) / 1000;
}

int64_t
gx_mono_us(void)
{
	if (fake_mono_us) {
		return fake_mono_us();
	}
	return read_clock_us(CLOCK_MONOTONIC);
}

int64_t
gx_mono_ms(void)
{
	return gx_mono_us() / 1000;
}

int64_t
gx_cpu_us(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) != 0) {
		return 0;
	}
	return ((int64_t)u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
	       u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

void
gx_clock_fake(int64_t (*now_ms)(void), int64_t (*mono_us)(void))
{
	fake_now_ms = now_ms;
	fake_mono_us = mono_us;
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar. */
static int64_t
days_of_date(int64_t year, int month, int day)
{
	/* Count years from March, so that the leap day is the last. */
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t m = month <= 2 ? month + 9 : month - 3;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * m + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 +
	       of_year - 719468;
}

static void
date_of_days(int64_t days, int *year, int *month, int *day)
{
	int64_t d = days + 719468;
	int64_t era = (d >= 0 ? d : d - 146096) / 146097;
	int64_t of_era = d - era * 146097;
	int64_t y =
		(of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) /
		365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (int)(of_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = (int)(y + era * 400 + (*month <= 2));
}

/* n decimal digits of v. */
static char *
put_digits(char *p, int64_t v, int n)
{
	for (int i = n - 1; i >= 0; i--) {
		p[i] = (char)('0' + v % 10);
		v /= 10;
	}
	return p + n;
}

void
gx_time_format(int64_t ms, char out[GX_TIME_LEN + 1])
{
	/* What four digits of year can show. */
	const int64_t min = days_of_date(0, 1, 1) * DAY_MS - EAST_8_MS;
	const int64_t max = days_of_date(10000, 1, 1) * DAY_MS - EAST_8_MS - 1;
	int year, month, day;

	ms = ms < min ? min : ms > max ? max : ms;
	ms += EAST_8_MS;
	int64_t days = ms / DAY_MS - (ms % DAY_MS < 0);
	int64_t rest = ms - days * DAY_MS;
	date_of_days(days, &year, &month, &day);
	char *p = put_digits(out, year, 4);
	*p++ = '-';
	p = put_digits(p, month, 2);
	*p++ = '-';
	p = put_digits(p, day, 2);
	*p++ = 'T';
	p = put_digits(p, rest / 3600000, 2);
	*p++ = ':';
	p = put_digits(p, rest / 60000 % 60, 2);
	*p++ = ':';
	p = put_digits(p, rest / 1000 % 60, 2);
	*p++ = '.';
	p = put_digits(p, rest % 1000, 3);
	memcpy(p, "+08:00", 7);
}

/* Reads n digits at *at; false if there are not that many. */
static bool
take_digits(const char *p, size_t n, size_t *at, int n_digits, int *out)
{
	int v = 0;

	for (int i = 0; i < n_digits; i++, (*at)++) {
		if (*at >= n || p[*at] < '0' || p[*at] > '9') {
			return false;
		}
		v = v * 10 + (p[*at] - '0');
	}
	*out = v;
	return true;
}

static bool
take_char(const char *p, size_t n, size_t *at, const char *any)
{
	if (*at >= n || p[*at] == '\0' || !strchr(any, p[*at])) {
		return false;
	}
	(*at)++;
	return true;
}

/* ".123456": the first three digits count, at least one must be there. */
static bool
take_fraction(const char *p, size_t n, size_t *at, int *ms)
{
	int scale = 100;
	size_t from;

	*ms = 0;
	if (!take_char(p, n, at, ".")) {
		return true;
	}
	for (from = *at; *at < n && p[*at] >= '0' && p[*at] <= '9'; (*at)++) {
		*ms += (p[*at] - '0') * scale;
		scale /= 10;
	}
	return *at > from;
}

static bool
take_offset(const char *p, size_t n, size_t *at, int *minutes)
{
	int h, m;

	*minutes = 0;
	if (take_char(p, n, at, "Zz")) {
		return true;
	}
	bool west = *at < n && p[*at] == '-';
	if (!take_char(p, n, at, "+-") || !take_digits(p, n, at, 2, &h) ||
	    !take_char(p, n, at, ":") || !take_digits(p, n, at, 2, &m) ||
	    h > 23 || m > 59) {
		return false;
	}
	*minutes = (h * 60 + m) * (west ? -1 : 1);
	return true;
}

static bool
date_exists(int year, int month, int day)
{
	static const char days[] = {31, 28, 31, 30, 31, 30,
				    31, 31, 30, 31, 30, 31};

	if (month < 1 || month > 12 || day < 1) {
		return false;
	}
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return day <= days[month - 1] + (month == 2 && leap);
}

bool
gx_time_parse(const char *p, size_t n, int64_t *ms)
{
	int year, month, day, h, m, s, frac, offset;
	size_t at = 0;

	if (!take_digits(p, n, &at, 4, &year) || !take_char(p, n, &at, "-") ||
	    !take_digits(p, n, &at, 2, &month) || !take_char(p, n, &at, "-") ||
	    !take_digits(p, n, &at, 2, &day) || !take_char(p, n, &at, "Tt") ||
	    !take_digits(p, n, &at, 2, &h) || !take_char(p, n, &at, ":") ||
	    !take_digits(p, n, &at, 2, &m) || !take_char(p, n, &at, ":") ||
	    !take_digits(p, n, &at, 2, &s) ||
	    !take_fraction(p, n, &at, &frac) ||
	    !take_offset(p, n, &at, &offset) || at != n) {
		return false;
	}
	if (!date_exists(year, month, day) || h > 23 || m > 59 || s > 60) {
		return false;
	}
	*ms = days_of_date(year, month, day) * DAY_MS +
	      ((int64_t)h * 3600 + m * 60 + s - offset * 60) * 1000 + frac;
	return true;
}
