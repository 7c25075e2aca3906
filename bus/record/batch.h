/*
 * Batch and marker messages: the format a stranger writes a verifier from.
 *
 * A batch message is text: the header line, then n lines, each ended by one
 * LF (0x0A).  The header is one JSON object, no spaces, members in exactly
 * this order:
 *
 *   {"v":"gxbus.batch.1",
 *    "stream":"/450100/hrss/social/social.insured/0",
 *    "partition":0,           of the topic it was made for
 *    "epoch":1796...,         decimal, below 2^53
 *    "writer":"0f..",         16 hex digits: 64 random bits
 *    "first":1,               seq of the first line
 *    "n":1000,                number of lines, 1..100000
 *    "at":"2026-...+08:00",   when it was sealed
 *    "schema":"social.insured@1:<64 hex: SM3 of the declaration file>",
 *    "src":{"cdc":"..."},     position in each input after the last line
 *    "prev":"<64 hex>",       head hash of the batch before, 64 zeros first
 *    "root":"<64 hex>",       RFC 6962 Merkle root (SM3) over the lines
 *    "alg":"SM2-SM3",
 *    "kid":"<32 hex>",        first 16 bytes of SM3(public point 04||X||Y)
 *    "sig":"<hex>"}           SM2 over the signed bytes, strict DER, lower hex
 *
 * Signed bytes = the header line up to, not including, `,"sig"` (or
 * `,"path"`, reserved).  Head hash = SM3 of the same bytes.  A leaf is a
 * line's bytes without its LF.
 *
 * A marker claims streams; the message is its header line alone, one LF:
 *
 *   {"v":"gxbus.marker.1","origin":"/450100/hrss/social","partition":0,
 *    "epoch":..,"writer":"..","streams":["...","..."],"at":"..",
 *    "alg":"SM2-SM3","kid":"..","sig":".."}
 *
 * Kafka key of a batch = stream; of a marker = origin.
 */
#ifndef GX_RECORD_BATCH_H
#define GX_RECORD_BATCH_H

#include "record/line.h"

#define GX_HASH 32
#define GX_STREAM_MAX 200 /* bytes of a stream name */
#define GX_SRC_MAX 2048	  /* bytes of the src object */
#define GX_SIG_MAX 80	  /* bytes of a DER signature */
#define GX_BATCH_MAX (3u << 20)
#define GX_MARKER_STREAMS 512 /* at most in one marker */
#define GX_SEQ_MAX ((1ull << 53) - 1)

enum gx_msg_kind { GX_MSG_BATCH, GX_MSG_MARKER };

/* A parsed header.  Slices lie in the message. */
struct gx_head {
	enum gx_msg_kind kind;
	struct gx_slice stream; /* batch: stream; marker: origin */
	uint32_t partition;
	uint64_t epoch, writer;
	uint64_t first, n;	/* batch */
	struct gx_slice at;	/* RFC 3339, without quotes */
	struct gx_slice schema; /* batch */
	struct gx_slice src;	/* batch: raw JSON object */
	unsigned char prev[GX_HASH], root[GX_HASH]; /* batch */
	struct gx_slice kid;			    /* 32 hex digits */
	unsigned char sig[GX_SIG_MAX];
	size_t sig_n;
	struct gx_slice streams; /* marker: raw JSON array of names */
	struct gx_slice signed_bytes;
	struct gx_slice body; /* batch: the bytes after the header's LF */
};

/* Write the bytes to be signed: the header without sig and closing brace.
 * Fields sig, signed_bytes, body of h are not read. */
bool gx_head_put_unsigned(struct gx_buf *b, const struct gx_head *h);
/* Append `,"sig":"<hex>"}` and LF. */
bool gx_head_put_sig(struct gx_buf *b, const unsigned char *der, size_t n);

/* Parse a message strictly: exactly the form above, no other byte anywhere.
 * Checks form only (also that body has n LFs and ends in one), no hash, no
 * signature.  NULL if good, else a static reason. */
const char *gx_head_parse(struct gx_slice msg, struct gx_head *out);
/* The same of a batch's header line alone, with its LF; body is empty. */
const char *gx_head_parse_line(struct gx_slice line, struct gx_head *out);

/* Walk the lines: *at starts at 0; false at the end.  line has no LF. */
bool gx_body_next(struct gx_slice body, size_t *at, struct gx_slice *line);
/* Walk a marker's stream names the same way. */
bool gx_marker_next(struct gx_slice streams, size_t *at, struct gx_slice *name);

/* "/450100/hrss/social/social.insured/0" -> parts; false if malformed.  Node
 * [a-z0-9-]{1,32}, org and adapter [a-z0-9-]{1,32}, resource
 * [a-z][a-z0-9_]*.[a-z][a-z0-9_]*, n decimal with optional ".generation". */
struct gx_stream_name {
	struct gx_slice node, org, adapter, resource, n;
	struct gx_slice origin; /* /node/org/adapter */
};
bool gx_stream_parse(struct gx_slice stream, struct gx_stream_name *out);
/* "/450100/hrss/social" -> node, org, adapter, origin; false if malformed. */
bool gx_origin_parse(struct gx_slice origin, struct gx_stream_name *out);
/* Is this the name of a stream that its node made for the node below it that
 * child is set to: org "gx", adapter "down-<child>"? */
bool gx_stream_is_down(const struct gx_stream_name *name,
		       struct gx_slice *child);

#endif
