/*
 * Commands that need no node and read their own arguments: what is left of
 * the command line after the two words; argv[0] is the noun and verb
 * ("schema check").  They return the exit code.
 */
#ifndef GX_CLI_OFFLINE_H
#define GX_CLI_OFFLINE_H

int gx_cmd_schema_check(int argc, char **argv);
int gx_cmd_adapter_preview(int argc, char **argv);
/* The same words, with --type file or --type xml among them. */
int gx_cmd_adapter_preview_file(int argc, char **argv);
int gx_cmd_adapter_preview_xml(int argc, char **argv);
int gx_cmd_record_check_id(int argc, char **argv);
int gx_cmd_evidence_root(int argc, char **argv);
int gx_cmd_evidence_check_inclusion(int argc, char **argv);
int gx_cmd_evidence_check_consistency(int argc, char **argv);
int gx_cmd_evidence_verify(int argc, char **argv);
int gx_cmd_reconcile_verify(int argc, char **argv);
int gx_cmd_crypto_sm3(int argc, char **argv);
int gx_cmd_crypto_hmac_sm3(int argc, char **argv);
int gx_cmd_crypto_sm2_verify(int argc, char **argv);

#endif
