/*
 * Word to the service manager.
 *
 * systemd hands us the name of a datagram socket in NOTIFY_SOCKET, and takes
 * lines such as READY=1, STOPPING=1 and WATCHDOG=1 from it.  The format is
 * small and stable, so there is no library.  A name that begins with @ lies in
 * the abstract name space of Linux.
 *
 * Nothing depends on the word arriving: without the variable, or when the
 * manager does not listen, nothing is said and nothing is logged.  The socket
 * is opened for each word and closed again; words are rare.
 */
#include "node/node.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void
gx_notify(const char *state)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *name = getenv("NOTIFY_SOCKET");
	size_t n = name ? strlen(name) : 0;
	socklen_t len;
	int fd;

	if (n < 2 || n >= sizeof to.sun_path ||
	    (name[0] != '/' && name[0] != '@')) {
		return;
	}
	memcpy(to.sun_path, name, n);
	if (name[0] == '@') {
		to.sun_path[0] = '\0';
	}
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return;
	}
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL,
		     (const struct sockaddr *)&to, len);
	(void)close(fd);
}
