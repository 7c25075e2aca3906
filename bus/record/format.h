/* Values of "format": each is asserted, an unknown name is refused. */
#ifndef GX_RECORD_FORMAT_H
#define GX_RECORD_FORMAT_H

#include "base/err.h"
#include "base/mem.h"

/* p is decoded text; today_ymd as of gx_id_check.  NULL if it conforms, else
 * a static message without any part of the value. */
typedef const char *gx_format_f(const char *p, size_t n, int today_ymd);

/* NULL if there is no such format. */
gx_format_f *gx_format_find(struct gx_slice name);
/* True if the check looks at the clock. */
bool gx_format_wants_today(gx_format_f *f);

#endif
