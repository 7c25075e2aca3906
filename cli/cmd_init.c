/*
 * init: what a node needs before its daemon can start for the first time.
 *
 * Makes, in one folder: an SM2 key (0600) and its public half, a trust folder
 * that holds the latter, the secret that seals the quarantine (0600), and a short configuration that "gxbusd --check-config"
 * takes as it is; addresses are to be completed.  Nothing
 * that exists is overwritten: a key that is made anew would silently end
 * every stream of the node.  If we die half-way, what is there is good, and
 * the next call names it.
 *
 * No connection is made and no secret is printed.
 */
#include "cli/cmd.h"
#include "trust/sm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
fail_file(const struct gx_cli *cli, const char *path)
{
	return gx_cli_fail(cli, errno == EEXIST ? GX_X_CONFLICT : GX_X_FAILED,
			   "cli.file", path, strerror(errno));
}

static int
write_new(const struct gx_cli *cli, const char *path, const char *text,
	  size_t n, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	bool is_good;

	if (fd < 0) {
		return fail_file(cli, path);
	}
	is_good = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
	if (close(fd) != 0 || !is_good) {
		return fail_file(cli, path);
	}
	return GX_X_OK;
}

static int
make_key(const struct gx_cli *cli, const char *dir, const char *code)
{
	char key[1100], pub[1110], trusted[1200], pem[4096], secret[1100];
	struct gx_err e = {0};
	FILE *f;
	size_t n;

	snprintf(key, sizeof key, "%s/node.key", dir);
	snprintf(pub, sizeof pub, "%s.pub", key);
	snprintf(trusted, sizeof trusted, "%s/trust/%s.pem", dir, code);
	if (access(key, F_OK) == 0) {
		errno = EEXIST;
		return fail_file(cli, key);
	}
	if (gx_key_make(key, &e) != GX_OK) {
		return gx_cli_fail_err(cli, GX_X_FAILED, &e);
	}
	snprintf(secret, sizeof secret, "%s/quarantine.key", dir);
	if (gx_secret_make(secret, &e) != GX_OK) {
		return gx_cli_fail_err(cli, GX_X_FAILED, &e);
	}
	f = fopen(pub, "re");
	if (f == NULL) {
		return fail_file(cli, pub);
	}
	n = fread(pem, 1, sizeof pem, f);
	(void)fclose(f);
	return write_new(cli, trusted, pem, n, 0644);
}

/* Where declarations and tables lie: installed beside this program, or in the
 * tree it was built in; false if neither. */
static bool
find_share(char out[PATH_MAX])
{
	static const char *const places[] = {"../share/gxbus", "../../schemas"};
	char exe[PATH_MAX], path[PATH_MAX + 32], probe[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

	for (size_t i = 0; n > 0 && i < 2; i++) {
		exe[n] = '\0';
		*strrchr(exe, '/') = '\0';
		snprintf(path, sizeof path, "%s/%s", exe, places[i]);
		exe[strlen(exe)] = '/';
		if (realpath(path, out) == NULL) {
			continue;
		}
		snprintf(probe, sizeof probe, "%s/resources", out);
		if (access(probe, R_OK) == 0) {
			return true;
		}
	}
	return false;
}

static void
put_node(struct gx_buf *b, const char *code, const char *parent)
{
	char share[PATH_MAX];

	(void)gx_buf_printf(
		b,
		"# Configuration of node %s.  \"gxbusd --print-sample\" shows "
		"every key.\n\n[node]\nid = %s\nregion = %.6s\n"
		"key = node.key\nquarantine_key = quarantine.key\n"
		"trust = trust\n",
		code, code, code);
	if (find_share(share)) {
		(void)gx_buf_printf(
			b, "resources = %s/resources\nmigrations = %s/sql\n",
			share, share);
	} else {
		(void)gx_buf_puts(b, "resources = /usr/share/gxbus/resources\n"
				     "migrations = /usr/share/gxbus/sql\n");
	}
	(void)gx_buf_printf(
		b,
		"dir = /var/lib/gxbus\nsocket = /run/gxbus/%s.sock\n"
		"database = host=localhost dbname=gxbus_%s user=gxbus\n"
		"# database_passfile = pgpass\nflows = sink%s\n\n"
		"[kafka]\nbootstrap = localhost:9092\n\n"
		"# Takes what stands in this node's log into its base tables.\n"
		"[flow sink]\nkind = sink\n",
		code, code, parent ? ", up" : "");
}

static int
make_conf(const struct gx_cli *cli, const char *dir, const char *code,
	  const char *parent)
{
	struct gx_buf b;
	char path[1100];
	int rc;

	gx_buf_init(&b, 32768);
	put_node(&b, code, parent);
	if (parent != NULL) {
		(void)gx_buf_printf(&b,
				    "\n# Copies this node's log to the node "
				    "above.\n"
				    "[flow up]\nkind = link-up\n\n"
				    "[parent]\nid = %s\n"
				    "kafka = parent.example:9092\n",
				    parent);
	}
	(void)gx_buf_puts(
		&b, "\n# A department's table: write its file as "
		    "docs/adapter.md says, take the\n# marks away and add the "
		    "name behind \"flow\" to flows above.\n"
		    "#[flow social]\n#kind = source\n"
		    "#adapter = social.json\n");
	snprintf(path, sizeof path, "%s/gxbusd.conf", dir);
	rc = write_new(cli, path, b.p, b.n, 0640);
	gx_buf_free(&b);
	return rc;
}

static bool
is_code(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && n <= 32 && s[n] == '\0';
}

int
gx_cmd_init(struct gx_cli *cli)
{
	const char *role = gx_opt(cli, "role"), *code = gx_opt(cli, "code");
	const char *dir = gx_opt(cli, "dir"), *parent = gx_opt(cli, "parent");
	char trust[1100];
	int rc;

	if (role == NULL || code == NULL || dir == NULL) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "--role, --code and --dir are needed", NULL);
	}
	if (strcmp(role, "hub") != 0 && strcmp(role, "city") != 0 &&
	    strcmp(role, "national") != 0) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "--role: hub, city or national", NULL);
	}
	if (!is_code(code) || (parent && !is_code(parent)) ||
	    strlen(dir) > 1000) {
		return gx_cli_fail(cli, GX_X_USAGE, "cli.usage",
				   "--code and --parent: a-z 0-9 and -, at "
				   "most 32",
				   NULL);
	}
	snprintf(trust, sizeof trust, "%s/trust", dir);
	if ((mkdir(dir, 0750) != 0 && errno != EEXIST) ||
	    (mkdir(trust, 0755) != 0 && errno != EEXIST)) {
		return fail_file(cli, trust);
	}
	rc = make_key(cli, dir, code);
	if (rc == GX_X_OK) {
		rc = make_conf(cli, dir, code, parent);
	}
	if (rc == GX_X_OK) {
		fprintf(stderr,
			"made node.key, quarantine.key, trust/%s.pem and "
			"gxbusd.conf in %s\n"
			"next: complete gxbusd.conf, give trust/%s.pem to the "
			"neighbours, then\n"
			"gxbusd -c %s/gxbusd.conf --check-config, as the user "
			"who owns node.key\n",
			code, dir, code, dir);
	}
	return rc;
}
