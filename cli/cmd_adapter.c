/*
 * "adapter preview": what would be published, and what is refused.
 *
 * Needs no node.  Which kind of input it is, --type says; all other words are
 * for the one who reads that kind (cmd_adapter_*.c), and so are all promises:
 * records on stdout, one JSON object a line; on stderr one JSON object for
 * each that is refused; nothing on stdout if the whole input is refused.
 *
 * Here nothing is opened and nothing is written but errors.
 */
#include "cli/offline.h"
#include "cli/raw.h"

#include <string.h>

/* The value of --type, NULL if it is not given. */
static const char *
find_type(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strncmp(argv[i], "--type=", 7) == 0) {
			return argv[i] + 7;
		}
		if (strcmp(argv[i], "--type") == 0) {
			return i + 1 < argc ? argv[i + 1] : NULL;
		}
	}
	return NULL;
}

int
gx_cmd_adapter_preview(int argc, char **argv)
{
	const char *type = find_type(argc, argv);

	if (type && strcmp(type, "xml") == 0) {
		return gx_cmd_adapter_preview_xml(argc, argv);
	}
	if (type && strcmp(type, "file") == 0) {
		return gx_cmd_adapter_preview_file(argc, argv);
	}
	return gx_raw_fail(GX_X_USAGE, "cli.usage",
			   "--type must say which kind of input it is: file "
			   "or xml",
			   NULL);
}
