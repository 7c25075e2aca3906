/* Version of this program. */
#ifndef GX_NODE_VERSION_H
#define GX_NODE_VERSION_H

#define GX_VERSION "0.1.0"

#endif
