/*
 * Comparing a resource's records at two nodes, for the commands that do.
 */
#ifndef GX_CLI_RECON_H
#define GX_CLI_RECON_H

#include "cli/cmd.h"

enum gx_recon_is {
	GX_RECON_MISSING_HERE,
	GX_RECON_MISSING_THERE,
	GX_RECON_DIFFERENT,
	GX_RECON_ASIDE,	    /* in quarantine: one end's store refused it */
	GX_RECON_UNDER_WAY, /* not yet arrived: one end is behind */
	GX_RECON_KINDS
};
const char *gx_recon_word(enum gx_recon_is is);

/* One key that differs.  Texts lie in the arena of the command. */
struct gx_recon_key {
	enum gx_recon_is is;
	const char *origin, *key; /* key: canonical JSON array */
	const char *stream;	  /* of the row with the higher seq */
	int64_t seq;
	int64_t seq_here, seq_there; /* 0: no row */
	bool is_held; /* at its source, by what either end says */
};

struct gx_recon {
	struct gx_cli *cli;
	const char *resource;
	const char *node;		    /* whose records, NULL all */
	const char *id_here, *id_there;	    /* names of the nodes */
	const struct gx_json *here, *there; /* answers for the whole */
	bool is_same_history;		    /* all heads are equal */
	bool is_same;			    /* and so are the tables */
	struct gx_recon_key *keys;
	size_t n_keys, max_keys;
	size_t n[GX_RECON_KINDS];
	int n_questions; /* to both ends together */
};

/* Who is at the two ends, and whose records both must hold: those that --node
 * names, else the lower node's where one stands above the other.  An exit
 * code, after saying what is wrong. */
int gx_recon_ends(struct gx_recon *r);
/* Compare; may be called again, which begins anew.  An exit code. */
int gx_recon_run(struct gx_recon *r);
void gx_recon_free(struct gx_recon *r);
/* Differences that time alone will not mend. */
size_t gx_recon_real(const struct gx_recon *r);

#endif
