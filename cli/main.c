/*
 * gxbus: the table of commands, and the way from words to a command.
 *
 * The command is the row whose words begin the command line.  Its options may
 * stand anywhere after them, common ones before them too.  A word that is not known ends with 2 and names
 * the nearest command, as a statement: somebody may pipe "yes" into us.
 *
 * Nothing is read from disk or network before the command is known, so that
 * help answers at once and works where nothing is configured.
 *
 * Exit codes are those of enum gx_exit and are part of the interface.  A
 * reader that goes away (head) ends us silently by SIGPIPE.
 */
#include "base/conf.h"
#include "base/text.h"
#include "cli/cmd.h"
#include "cli/offline.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

#define ARENA_MAX (256u << 20)

static const struct gx_command commands[] = {
	{"status", gx_cmd_status, NULL, "", 0, 0,
	 "The node at one glance: servers, flows, streams, quarantine", "watch",
	 "gxbus status\ngxbus status -w\ngxbus status -o json", true},
	{"flow list", gx_cmd_flow_list, NULL, "", 0, 0,
	 "All flows with their states", "",
	 "gxbus flow list\ngxbus flow list -o wide", true},
	{"flow show", gx_cmd_flow_show, NULL, "FLOW", 1, 1,
	 "One flow: state, trouble, details", "", "gxbus flow show social",
	 true},
	{"flow pause", gx_cmd_flow_pause, NULL, "FLOW", 1, 1,
	 "Pause a flow until it is resumed", "reason,dry-run",
	 "gxbus flow pause social", true},
	{"flow resume", gx_cmd_flow_resume, NULL, "FLOW", 1, 1,
	 "Resume a flow; --accept lets a mass change pass",
	 "accept,reason,dry-run",
	 "gxbus flow resume social\ngxbus flow resume social --accept", true},
	{"flow restart", gx_cmd_flow_restart, NULL, "FLOW", 1, 1,
	 "Close a flow and open it again", "reason,dry-run",
	 "gxbus flow restart social", true},
	{"stream list", gx_cmd_stream_list, NULL, "", 0, 0,
	 "Streams with their heads, here and at the peer",
	 "peer,peer-token-file",
	 "gxbus stream list\ngxbus stream list --peer https://city.example",
	 true},
	{"stream show", gx_cmd_stream_show, NULL, "STREAM", 1, 1,
	 "One stream with its heads at both ends and its receipts",
	 "peer,peer-token-file",
	 "gxbus stream show /450100/hrss/social/social.insured/0", true},
	{"quarantine list", gx_cmd_quarantine_list, NULL, "", 0, 0,
	 "Records set aside, with reasons and without content",
	 "limit,cursor,stream,rule,side,state",
	 "gxbus quarantine list\ngxbus quarantine list --rule format\n"
	 "gxbus quarantine list --side refused",
	 true},
	{"quarantine show", gx_cmd_quarantine_show, NULL, "ID", 1, 1,
	 "One record set aside, values masked; --reveal shows its content",
	 "reveal",
	 "gxbus quarantine show 17\ngxbus quarantine show 17 --reveal", true},
	{"quarantine stats", gx_cmd_quarantine_stats, NULL, "", 0, 0,
	 "Counts of what was set aside, by stream and state", "",
	 "gxbus quarantine stats", true},
	{"quarantine fix", gx_cmd_quarantine_fix, NULL, "ID", 1, 1,
	 "Mend a record set aside; exit 5 names what is still wrong",
	 "set,reason,dry-run",
	 "gxbus quarantine fix 17 --set /aac004=1 --set /n_months=7", true},
	{"quarantine replay", gx_cmd_quarantine_replay, NULL, "[ID]", 0, 1,
	 "Send records home that pass now: one, or --all of them",
	 "all,stream,rule,reason,dry-run",
	 "gxbus quarantine replay 17\n"
	 "gxbus quarantine replay --all --rule enum\n"
	 "gxbus quarantine replay --all --dry-run",
	 true},
	{"quarantine discard", gx_cmd_quarantine_discard, NULL, "ID", 1, 1,
	 "Give a record set aside up for good", "reason,dry-run",
	 "gxbus quarantine discard 17 --reason 'a test record'", true},
	{"reconcile run", gx_cmd_reconcile_run, NULL, "RESOURCE", 1, 1,
	 "Compare a resource's records at two nodes; exit 10 if they differ",
	 "peer,peer-token-file,node,wait,repair",
	 "gxbus reconcile run social.insured --wait 30s\n"
	 "gxbus reconcile run social.insured --peer https://city.example "
	 "--repair",
	 true},
	{"reconcile report", gx_cmd_reconcile_report, NULL, "[DAY]", 0, 1,
	 "Signed statements of both nodes (DAY: of then), one a line",
	 "peer,peer-token-file,node",
	 "gxbus reconcile report > 2026-11-24.statement\n"
	 "gxbus reconcile report 2026-11-23",
	 true},
	{"reconcile verify", NULL, gx_cmd_reconcile_verify, "FILE...", 0, 0,
	 "Check statements and lay both sides together; exit 10 if not",
	 "trust",
	 "gxbus reconcile verify --trust /etc/gxbus/trust "
	 "2026-11-24.statement",
	 false},
	{"topic tail", gx_cmd_topic_tail, NULL, "TOPIC", 1, 1,
	 "The last batches of a topic, decoded", "lines",
	 "gxbus topic tail gx.batch.450100\ngxbus topic tail gx.batch.450100 "
	 "-n 1",
	 true},
	{"node list", gx_cmd_node_list, NULL, "", 0, 0,
	 "This node and its neighbours", "", "gxbus node list", true},
	{"token create", gx_cmd_token_create, NULL, "NAME", 1, 1,
	 "Make a token and print it, this once", "role,reason,dry-run",
	 "gxbus token create wang --role auditor", true},
	{"token list", gx_cmd_token_list, NULL, "", 0, 0,
	 "Tokens by name; never their text", "", "gxbus token list", true},
	{"token revoke", gx_cmd_token_revoke, NULL, "NAME", 1, 1,
	 "Revoke a token", "yes,dry-run", "gxbus token revoke wang --yes",
	 true},
	{"audit tail", gx_cmd_audit_tail, NULL, "", 0, 0,
	 "The last lines of the audit log: who did what, who was refused",
	 "last", "gxbus audit tail\ngxbus audit tail -n 100 -o wide", true},
	{"audit export", gx_cmd_audit_export, NULL, "", 0, 0,
	 "All lines of the audit log as they are chained; the head on stderr",
	 "", "gxbus audit export > audit-450000.jsonl", true},
	{"audit verify", gx_cmd_audit_verify, NULL, "[FILE...]", 0, 64,
	 "Check the chain of exported files, or of the node; exit 10 if broken",
	 "head",
	 "gxbus audit verify audit-450000.jsonl\n"
	 "gxbus audit verify audit-450000.jsonl --head 17:9f2c...",
	 false},
	{"doctor", gx_cmd_doctor, NULL, "", 0, 0,
	 "What is wrong and what to do next; exit 10 if something is", "",
	 "gxbus doctor\ngxbus doctor -o json > report.json", true},
	{"init", gx_cmd_init, NULL, "", 0, 0,
	 "Make a node's key, trust folder and configuration",
	 "role,code,dir,parent",
	 "gxbus init --role city --code 450100 --dir /etc/gxbus", false},
	{"config show", gx_cmd_config_show, NULL, "", 0, 0,
	 "Settings of this command line and where they come from", "origin",
	 "gxbus config show --origin", false},
	{"config explain", gx_cmd_config_explain, NULL, "[KEY]", 0, 1,
	 "What a setting is for", "",
	 "gxbus config explain url\ngxbus config explain guard_percent", false},
	{"resource check", gx_cmd_resource_check, NULL, "FILE", 1, 1,
	 "Check the declaration of a resource; exit 5 if it is refused", "",
	 "gxbus resource check schemas/resources/social/insured.json", false},
	{"schema check", NULL, gx_cmd_schema_check, "[FILE]", 0, 0,
	 "Check records against a schema, or the syntax of a document",
	 "schema,all,syntax",
	 "gxbus schema check --schema S.json records.jsonl\n"
	 "gxbus schema check --syntax document.json",
	 false},
	{"adapter preview", NULL, gx_cmd_adapter_preview, "[FILE]", 0, 0,
	 "Print what a file or document would publish, and what is refused",
	 "type,layout,map,xsd",
	 "gxbus adapter preview --type file --layout L.json deposits.txt\n"
	 "gxbus adapter preview --type xml --map M.json projects.xml\n"
	 "gxbus adapter preview --type xml --xsd X.xsd --map M.json "
	 "projects.xml",
	 false},
	{"record check-id", NULL, gx_cmd_record_check_id, "KIND VALUE...", 0, 0,
	 "Check identifiers and codes of the GB standards", "",
	 "gxbus record check-id region 450100", false},
	{"evidence export", gx_cmd_evidence_export, NULL, "[RESOURCE]", 0, 1,
	 "Proof of records with their content, to check without a node",
	 "key,stream,seq,dir",
	 "gxbus evidence export social.insured --key 450100000001 > E.jsonl\n"
	 "gxbus evidence export --stream "
	 "/450100/hrss/social/social.insured/0 \\\n"
	 "    --seq 1-5000 --dir evidence",
	 true},
	{"evidence verify", NULL, gx_cmd_evidence_verify, "FILE...", 0, 0,
	 "Check all files of an export; exit 10 and the first fault if not",
	 "trust",
	 "gxbus evidence verify E.jsonl\n"
	 "gxbus evidence verify --trust /etc/gxbus/trust evidence/*.jsonl",
	 false},
	{"evidence root", NULL, gx_cmd_evidence_root, "[FILE]", 0, 0,
	 "Merkle root (RFC 6962) of leaves in hex, one a line", "hash",
	 "gxbus evidence root --hash sm3 leaves.txt\n"
	 "printf '\\n00\\n' | gxbus evidence root --hash sha256",
	 false},
	{"evidence check-inclusion", NULL, gx_cmd_evidence_check_inclusion,
	 "[FILE]", 0, 0,
	 "Check that a leaf is in a tree (RFC 9162); exit 10 if not", "hash",
	 "gxbus evidence check-inclusion --hash sm3 proof.json\n"
	 "echo '{\"leafIdx\":0,\"treeSize\":2,\"leafHash\":\"...\","
	 "\"root\":\"...\",\"proof\":[\"...\"]}' |\n"
	 "    gxbus evidence check-inclusion --hash sha256",
	 false},
	{"evidence check-consistency", NULL, gx_cmd_evidence_check_consistency,
	 "[FILE]", 0, 0,
	 "Check that a tree begins with another (RFC 9162); exit 10 if not",
	 "hash",
	 "gxbus evidence check-consistency --hash sm3 proof.json\n"
	 "echo '{\"size1\":1,\"size2\":2,\"root1\":\"...\","
	 "\"root2\":\"...\",\"proof\":[\"...\"]}' |\n"
	 "    gxbus evidence check-consistency --hash sha256",
	 false},
	{"crypto sm3", NULL, gx_cmd_crypto_sm3, "[FILE]", 0, 0,
	 "SM3 of a file or of standard input", "",
	 "printf abc | gxbus crypto sm3", false},
	{"crypto hmac-sm3", NULL, gx_cmd_crypto_hmac_sm3, "[FILE]", 0, 0,
	 "HMAC-SM3 of a file or of standard input", "key",
	 "printf abc | gxbus crypto hmac-sm3 --key 00ff", false},
	{"crypto sm2-verify", NULL, gx_cmd_crypto_sm2_verify, "[FILE]", 0, 0,
	 "Check an SM2 signature of a message; exit 10 if it is none",
	 "pub,id,sig",
	 "gxbus crypto sm2-verify --pub 04... --id 1234567812345678 "
	 "--sig 3045... message",
	 false},
	{"explain record", gx_cmd_explain_record, NULL, "RESOURCE KEY", 2, 2,
	 "Where a record is at both nodes, without its values; whose turn it "
	 "is",
	 "peer,peer-token-file",
	 "gxbus explain record social.insured 450100000001", true},
	{"explain", gx_cmd_explain, NULL, "GXnnnn", 1, 1,
	 "Cause and remedy of an error", "",
	 "gxbus explain GX4001\ngxbus explain link.gap", false},
	{"completion", gx_cmd_completion, NULL, "bash", 1, 1,
	 "Print a completion script", "",
	 "gxbus completion bash > /usr/share/bash-completion/completions/gxbus",
	 false},
	{"version", gx_cmd_version, NULL, "", 0, 0,
	 "Versions of this program and of the node", "", "gxbus version",
	 false},
	{"help", gx_cmd_help, NULL, "[COMMAND]", 0, 3, "Help on a command",
	 "all", "gxbus help flow resume\ngxbus help --all", false},
	/* What the completion script calls; no help names it. */
	{"__complete", gx_cmd_complete, NULL, "", 0, GX_CLI_ARGS, NULL, "", "",
	 false},
};

const struct gx_command *
gx_command_at(size_t i)
{
	return i < sizeof commands / sizeof commands[0] ? &commands[i] : NULL;
}

/* How many words of argv are the command's, 0 if it is another. */
static int
count_words(const struct gx_command *cmd, int argc, char **argv)
{
	const char *p = cmd->words;
	int n = 0;

	for (;;) {
		size_t len = strcspn(p, " ");

		if (n >= argc || strlen(argv[n]) != len ||
		    memcmp(p, argv[n], len) != 0) {
			return 0;
		}
		n++;
		if (p[len] == '\0') {
			return n;
		}
		p += len + 1;
	}
}

static const struct gx_command *
find_nearest(const char *typed)
{
	const struct gx_command *cmd, *best = NULL;
	int best_distance = 4;

	for (size_t i = 0; (cmd = gx_command_at(i)) != NULL; i++) {
		int d;

		if (cmd->line == NULL) {
			continue;
		}
		/* the beginning of a command is nearer than any typo */
		d = strncmp(cmd->words, typed, strlen(typed)) == 0
			    ? 0
			    : gx_text_distance(cmd->words, typed);
		if (d < best_distance) {
			best_distance = d;
			best = cmd;
		}
	}
	return best;
}

static int
refuse(const struct gx_cli *cli, int argc, char **argv)
{
	const struct gx_command *near;
	char typed[64], why[160];

	snprintf(typed, sizeof typed, "%.30s%s%.30s", argv[0],
		 argc > 1 && argv[1][0] != '-' ? " " : "",
		 argc > 1 && argv[1][0] != '-' ? argv[1] : "");
	near = find_nearest(typed);
	if (near == NULL) {
		near = find_nearest(argv[0]);
	}
	if (near != NULL) {
		snprintf(why, sizeof why, "the nearest command is: gxbus %s",
			 near->words);
	} else {
		snprintf(why, sizeof why, "no command begins like this");
	}
	for (char *p = typed; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			*p = '?';
		}
	}
	return gx_cli_fail(cli, GX_X_USAGE, "cli.unknown_command", typed, why);
}

static const struct gx_command *
find_command(int argc, char **argv, int *n_words)
{
	const struct gx_command *cmd;

	for (size_t i = 0; (cmd = gx_command_at(i)) != NULL; i++) {
		*n_words = count_words(cmd, argc, argv);
		if (*n_words > 0) {
			break;
		}
	}
	return cmd;
}

/* Options that stand before the words go behind them. */
static void
move_behind(char **argv, int n_options, int n_words)
{
	int last = n_options + n_words - 1;

	for (; n_options > 0; n_options--) {
		char *word = argv[0];

		memmove(argv, argv + 1, (size_t)last * sizeof *argv);
		argv[last] = word;
	}
}

static int
run_raw(const struct gx_command *cmd, int n, int argc, char **argv)
{
	if (n < argc &&
	    (strcmp(argv[n], "--help") == 0 || strcmp(argv[n], "-h") == 0)) {
		gx_help_command(cmd);
		return GX_X_OK;
	}
	return cmd->raw(argc - n + 1, argv + n - 1);
}

static int
run(struct gx_cli *cli, int argc, char **argv)
{
	int n = 0, first = gx_opt_count_common(argc, argv), code;
	const struct gx_command *cmd =
		find_command(argc - first, argv + first, &n);

	if (cmd == NULL && argc == 2 &&
	    (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) &&
	    gx_help_noun(argv[0])) {
		return GX_X_OK;
	}
	if (cmd == NULL && (first == argc || argv[first][0] == '-')) {
		return gx_cli_fail(
			cli, GX_X_USAGE, "cli.usage",
			"a command is missing in front of its options",
			"options come after the command; only those "
			"of every command may come before it");
	}
	if (cmd == NULL) {
		return refuse(cli, argc - first, argv + first);
	}
	move_behind(argv, first, n);
	cli->cmd = cmd;
	if (cmd->raw != NULL) {
		return run_raw(cmd, n, argc, argv);
	}
	code = gx_opt_read(cli, argc - n, argv + n);
	return code >= 0 ? code : cmd->run(cli);
}

int
main(int argc, char **argv)
{
	struct gx_cli cli = {.profile_name = "default"};
	int code;

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (argc < 2 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0) {
		gx_help_all(false);
		return argc < 2 ? GX_X_USAGE : GX_X_OK;
	}
	cli.arena = gx_arena_new(ARENA_MAX);
	if (strcmp(argv[1], "--version") == 0) {
		static char word[] = "version";

		argv[1] = word;
	}
	code = run(&cli, argc - 1, argv + 1);
	if (cli.token != NULL) {
		gx_mem_wipe(cli.token, strlen(cli.token));
	}
	gx_mem_free(cli.token);
	gx_mem_free(cli.peer_token);
	gx_conf_free(&cli.profile);
	gx_arena_free(&cli.arena);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		code = code ? code : GX_X_FAILED;
	}
	return code;
}
