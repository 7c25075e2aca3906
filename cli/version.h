/* Version of the command line. */
#ifndef GX_CLI_VERSION_H
#define GX_CLI_VERSION_H

#define GX_CLI_VERSION "0.1.0"

#endif
