/*
 * The command line: one table of commands, one of options, and what commands
 * share.  Data goes to stdout, all else to stderr.
 */
#ifndef GX_CLI_CMD_H
#define GX_CLI_CMD_H

#include "base/json.h"

#define GX_CLI_VERSION "0.1.0"

enum gx_exit {
	GX_X_OK = 0,
	GX_X_FAILED = 1,
	GX_X_USAGE = 2,
	GX_X_NOT_FOUND = 3,
	GX_X_DENIED = 4,
	GX_X_INVALID = 5,
	GX_X_CONFLICT = 6,
	GX_X_AWAY = 7,
	GX_X_TIMEOUT = 8,
	GX_X_PARTLY = 9,
	GX_X_DIFFERS = 10
};

enum gx_output {
	GX_OUT_TABLE,
	GX_OUT_WIDE,
	GX_OUT_JSON,
	GX_OUT_JSONL,
	GX_OUT_CSV,
	GX_OUT_CSV_EXCEL,
	GX_OUT_NAME
};

#define GX_CLI_ARGS 64
struct gx_cli {
	const struct gx_command *cmd;
	enum gx_output output;
	const char *args[GX_CLI_ARGS]; /* after words and options */
	int n_args;
	const char *opts[64];	 /* by row of the option table; "" = flag set */
	struct gx_conf *profile; /* of the file, NULL: none was read */
	const char *profile_name;
	char *token, *peer_token; /* read when first wanted */
	size_t n_bytes;		  /* of all answers so far */
	struct gx_arena *arena;	  /* answers and texts of this run */
	bool is_color;
};

typedef int (*gx_command_f)(struct gx_cli *cli);
struct gx_command {
	const char *words; /* "flow list" */
	gx_command_f run;
	/* needs no node, takes no common options (cli/raw.h) */
	int (*raw)(int argc, char **argv);
	const char *args; /* "FLOW", "" none, "[X]" */
	int min_args, max_args;
	const char *line;     /* what it does */
	const char *options;  /* own options by name, "peer,accept" */
	const char *examples; /* lines */
	bool needs_node;
};
const struct gx_command *gx_command_at(size_t i);

struct gx_option {
	const char *name;
	char letter;	  /* 0: none */
	const char *meta; /* NULL: a flag */
	bool is_common;	  /* taken by every command that asks or shows */
	const char *of;	  /* the one command whose row this is, NULL: any */
	const char *help;
};
const struct gx_option *gx_option_at(size_t i);
/* Is it the command's own, in this row? */
bool gx_option_is_of(const struct gx_command *cmd, const struct gx_option *o);
/* How many words at the beginning of argv are common options and values. */
int gx_opt_count_common(int argc, char **argv);
#define GX_SET_APART '\x1e' /* between the values of --set */
/* Value of an option, "" of a flag that was given, NULL if it was not. */
const char *gx_opt(const struct gx_cli *cli, const char *name);
/* Take options and arguments.  An exit code, or -1 to go on. */
int gx_opt_read(struct gx_cli *cli, int argc, char **argv);

/* Settings: flag, then environment (GXBUS_...), then profile; NULL if none, or
 * if the flag is empty.  name: "url", "ca", "token_file", "peer_url" ... */
const char *gx_setting(struct gx_cli *cli, const char *name);
/* Where it came from: "flag", "environment", "profile", "". */
const char *gx_setting_origin(struct gx_cli *cli, const char *name);
const char *gx_setting_at(size_t i, const char **help);

/* Four lines, or the RFC 9457 object under -o json; returns exit. */
int gx_cli_fail(const struct gx_cli *cli, int exit_code, const char *code,
		const char *what, const char *why);
int gx_cli_fail_err(const struct gx_cli *cli, int exit_code,
		    const struct gx_err *e);

/* Both addresses lead to the node of this name: GX_X_USAGE. */
int gx_cli_fail_same(const struct gx_cli *cli, const char *node);

/* Ask a node.  *out lives in the arena; NULL for an empty answer.  Returns an
 * exit code after saying what is wrong. */
int gx_net_call(struct gx_cli *cli, bool is_peer, const char *method,
		const char *path, const char *body, const struct gx_json **out);
/* Append s percent-encoded. */
void gx_net_escape(struct gx_buf *b, const char *s);
/* For completion: no words, short time. */
const struct gx_json *gx_net_try(struct gx_cli *cli, const char *path);

struct gx_column {
	const char *key, *title;
	bool is_wide; /* only with -o wide */
};
/* columns ends with key NULL.  doc has items. */
void gx_table_list(const struct gx_cli *cli, const struct gx_json *doc,
		   const struct gx_column *columns);
void gx_table_object(const struct gx_cli *cli, const struct gx_json *obj);
int gx_table_width(const char *p, size_t n); /* columns on a terminal */

int gx_cmd_status(struct gx_cli *cli);
int gx_cmd_flow_list(struct gx_cli *cli);
int gx_cmd_flow_show(struct gx_cli *cli);
int gx_cmd_flow_pause(struct gx_cli *cli);
int gx_cmd_flow_resume(struct gx_cli *cli);
int gx_cmd_flow_restart(struct gx_cli *cli);
int gx_cmd_stream_list(struct gx_cli *cli);
int gx_cmd_stream_show(struct gx_cli *cli);
int gx_cmd_quarantine_list(struct gx_cli *cli);
int gx_cmd_quarantine_show(struct gx_cli *cli);
int gx_cmd_quarantine_stats(struct gx_cli *cli);
int gx_cmd_quarantine_fix(struct gx_cli *cli);
int gx_cmd_quarantine_replay(struct gx_cli *cli);
int gx_cmd_quarantine_discard(struct gx_cli *cli);
int gx_cmd_node_list(struct gx_cli *cli);
int gx_cmd_evidence_export(struct gx_cli *cli);
int gx_cmd_topic_tail(struct gx_cli *cli);
int gx_cmd_reconcile_run(struct gx_cli *cli);
int gx_cmd_reconcile_report(struct gx_cli *cli);
int gx_cmd_explain_record(struct gx_cli *cli);
int gx_cmd_token_create(struct gx_cli *cli);
int gx_cmd_token_list(struct gx_cli *cli);
int gx_cmd_token_revoke(struct gx_cli *cli);
int gx_cmd_audit_tail(struct gx_cli *cli);
int gx_cmd_audit_export(struct gx_cli *cli);
int gx_cmd_audit_verify(struct gx_cli *cli);
int gx_cmd_doctor(struct gx_cli *cli);
int gx_cmd_resource_check(struct gx_cli *cli);
int gx_cmd_version(struct gx_cli *cli);
int gx_cmd_explain(struct gx_cli *cli);
int gx_cmd_completion(struct gx_cli *cli);
int gx_cmd_complete(struct gx_cli *cli);
int gx_cmd_config_show(struct gx_cli *cli);
int gx_cmd_config_explain(struct gx_cli *cli);
int gx_cmd_init(struct gx_cli *cli);
int gx_cmd_help(struct gx_cli *cli);
void gx_help_command(const struct gx_command *cmd);
void gx_help_all(bool with_options);
/* The commands that begin with this word; false if none does. */
bool gx_help_noun(const char *noun);

#endif
