/* Time.  The wall clock is for people and labels; no verdict depends on it. */
#ifndef GX_BASE_CLOCK_H
#define GX_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t gx_now_ms(void);  /* wall clock, ms since 1970-01-01T00:00:00Z */
int64_t gx_mono_us(void); /* monotonic, us */
int64_t gx_mono_ms(void);
int64_t gx_cpu_us(void); /* user + system CPU of this process, us */

/* Tests and the simulation replace both clocks; NULL restores them. */
void gx_clock_fake(int64_t (*now_ms)(void), int64_t (*mono_us)(void));

/* RFC 3339, ms, +08:00: "2026-11-24T17:00:00.123+08:00" (29 bytes + NUL). */
#define GX_TIME_LEN 29
void gx_time_format(int64_t ms, char out[GX_TIME_LEN + 1]);
/* Any RFC 3339 date-time with offset; false if it is not one. */
bool gx_time_parse(const char *p, size_t n, int64_t *ms);

#endif
