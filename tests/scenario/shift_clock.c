/*
 * Preloaded: shifts the wall clock of a process by SHIFT_CLOCK seconds, for
 * scenarios in which two machines' clocks differ.  Time that passes, and waits,
 * stay as they are.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *ts);
int gettimeofday(struct timeval *tv, void *tz);
time_t time(time_t *out);

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	const char *shift = getenv("SHIFT_CLOCK");
	int rc = (int)syscall(SYS_clock_gettime, id, ts);

	if (id == CLOCK_REALTIME && shift != NULL) {
		ts->tv_sec += strtol(shift, NULL, 10);
	}
	return rc;
}

int
gettimeofday(struct timeval *tv, void *tz)
{
	struct timespec ts;

	(void)tz;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (out != NULL) {
		*out = ts.tv_sec;
	}
	return ts.tv_sec;
}
