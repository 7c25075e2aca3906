/*
 * Identifiers of the GB standards with their check characters.
 * GB 11643 (resident id), GB 32100-2015 (USCC), GB 11714 (organisation code),
 * GB/T 36904 (electronic licence), GB/T 2260 (region), 1272 guide (resource
 * code).  Values are taken as they are: no trimming, no folding.
 */
#ifndef GX_RECORD_IDS_H
#define GX_RECORD_IDS_H

#include "base/err.h"
#include "base/mem.h"

enum gx_id_kind {
	GX_ID_RESIDENT,
	GX_ID_USCC,
	GX_ID_ORG_CODE,
	GX_ID_LICENCE,
	GX_ID_REGION,
	GX_ID_RESOURCE_CODE
};

/* "resident-id" ... -> kind; false if unknown. */
bool gx_id_kind_parse(const char *name, enum gx_id_kind *kind);
/* NULL if the value is good, else a static message that holds no part of it
 * ("check character is wrong").  today_ymd = 20261124 bounds birth dates. */
const char *gx_id_check(enum gx_id_kind kind, const char *p, size_t n,
			int today_ymd);
/* YYYY-MM-DD of the proleptic Gregorian calendar. */
bool gx_date_valid(int year, int month, int day);
/* Today in Asia/Shanghai as YYYYMMDD, for gx_id_check. */
int gx_id_today(void);

#endif
