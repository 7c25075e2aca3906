/*
 * A small stream with its receipts, to make evidence of: what t_bundle and
 * t_mutate work on.  Three nodes: the city makes, hub and nation receipt.
 */
#ifndef GX_TESTS_UNIT_EVID_H
#define GX_TESTS_UNIT_EVID_H

#include "trust/bundle.h"

#define EVID_AT "2026-11-24T17:00:00.000+08:00"
#define EVID_BATCHES 6
enum evid_node { EVID_CITY, EVID_HUB, EVID_NATION, EVID_NODES };

struct evid {
	const char *stream;
	struct gx_keyring *ring; /* owns the keys */
	struct gx_key *key[EVID_NODES];
	struct gx_buf msg[EVID_BATCHES];
	struct gx_head head[EVID_BATCHES];
	unsigned char hash[EVID_BATCHES][GX_HASH];
};

extern const char *const evid_nodes[EVID_NODES];

/* Six batches of 1, 2, 7, 8, 33 and 5 records; the last two of a new epoch.
 * keys NULL: new ones, else those of that other one.  salt: other content. */
void evid_open(struct evid *v, const char *stream, const struct evid *keys,
	       const char *salt);
void evid_close(struct evid *v);
/* Append the receipt and LF: this node has applied up to the end of a batch. */
void evid_receipt(const struct evid *v, enum evid_node sink, int batch,
		  struct gx_buf *out);
/* The bundle of n records from first with receipts of these nodes at the end
 * of these batches, -1: none.  Given by the hub. */
void evid_bundle(const struct evid *v, uint64_t first, uint64_t n,
		 const int batch[EVID_NODES], struct gx_buf *out);
/* Put the last line, of the hub, anew. */
void evid_give(const struct evid *v, struct gx_buf *text);

#endif
