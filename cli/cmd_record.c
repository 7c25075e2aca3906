/*
 * "record check-id": are these identifiers well formed?
 *
 * One line per value, in the order they were given: "ok", or "reject", a TAB
 * and the rule it breaks.  A value is never printed: what stands on a command
 * line may be the number of a person, and this output goes into logs.  Values
 * are taken as they are; "--" ends the options, so that a value may begin with
 * a dash.  Exit 0 if all are good, 10 if one is not, 2 for bad usage.
 */
#include "cli/offline.h"
#include "cli/raw.h"
#include "record/ids.h"

#include <stdio.h>
#include <string.h>

static int
usage(const char *what, const char *why)
{
	return gx_raw_fail(GX_X_USAGE, "cli.usage", what, why);
}

int
gx_cmd_record_check_id(int argc, char **argv)
{
	enum gx_id_kind kind;
	int i = 2, today = gx_id_today(), rc = GX_X_OK;

	if (argc < 2 || !gx_id_kind_parse(argv[1], &kind)) {
		return usage("the first word is no kind of identifier",
			     "a kind is resident-id, uscc, org-code, "
			     "licence-id, region or resource-code");
	}
	if (i < argc && strcmp(argv[i], "--") == 0) {
		i++;
	} else if (i < argc && argv[i][0] == '-' && argv[i][1] != '\0') {
		return usage("this command has no options",
			     "-- stands before values that begin with a dash");
	}
	if (i == argc) {
		return usage("no value is given",
			     "the values stand behind KIND");
	}
	for (; i < argc; i++) {
		const char *why =
			gx_id_check(kind, argv[i], strlen(argv[i]), today);
		if (why) {
			printf("reject\t%s\n", why);
			rc = GX_X_DIFFERS;
		} else {
			puts("ok");
		}
	}
	return rc;
}
