/*
 * What commands share that read their own arguments and need no node: the
 * arguments, the one input, hex.  Errors are said here, in the form of all.
 */
#ifndef GX_CLI_RAW_H
#define GX_CLI_RAW_H

#include "cli/cmd.h"

#include <stdio.h>

struct gx_raw_opt {
	const char *name;  /* without the dashes; NULL ends the table */
	const char *value; /* filled in, NULL if it was not given */
	bool is_optional;
	bool is_flag; /* takes no value; "" if given */
};
/* Take "--name VALUE" or "--name=VALUE" or a flag, each at most once, and at
 * most one file.  GX_X_OK, or GX_X_USAGE after saying what is wrong. */
int gx_raw_read(int argc, char **argv, struct gx_raw_opt *opts,
		const char **file);
/* The same with up to max files; *n_files counts them. */
int gx_raw_read_files(int argc, char **argv, struct gx_raw_opt *opts,
		      const char **files, size_t max, size_t *n_files);
/* Say it with number and remedy, on stderr; returns exit_code. */
int gx_raw_fail(int exit_code, const char *code, const char *what,
		const char *why);

/* Hand on what is in the file (NULL or "-": standard input), piece by piece,
 * to the end or until take answers false.  GX_X_OK, or an exit code after
 * saying that it cannot be read. */
typedef bool (*gx_raw_take_f)(void *ctx, const char *p, size_t n);
int gx_raw_pour(const char *file, gx_raw_take_f take, void *ctx);

/* The keys that --trust names: a folder of them, or one file named as in such
 * a folder.  GX_X_OK, or an exit code after saying what is wrong. */
struct gx_keyring;
int gx_raw_trust(const char *path, struct gx_keyring **out);

/* Value of a hex digit of either case, -1 if it is none. */
int gx_raw_hex_digit(char c);
/* Append the bytes of a hex text of either case; false if it is none. */
bool gx_raw_unhex(struct gx_buf *b, const char *hex);

#endif
