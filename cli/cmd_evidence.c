/*
 * evidence root, check-inclusion, check-consistency: Merkle trees by hand.
 *
 * A stranger who has lines and a root, or a proof from anybody, checks them
 * with these; they know no node, no batch and no file of ours.  The hash is
 * named each time, because a tree of the wrong hash is not wrong, only
 * another.
 *
 * root reads one leaf per line in hex and keeps only the line it stands in.
 * It prints nothing until the last line was good, so a cut pipe or a bad line
 * cannot look like a root.  The last line counts with and without its LF; an
 * empty line is an empty leaf.
 *
 * The checks read one JSON object with the members of the published test
 * vectors of transparency logs; others beside them are passed over.  A hash or
 * a proof that is null is empty, as the programs that write them mean it.  A
 * document of another shape, or text that is not base64, ends with 5: nobody
 * has claimed anything.  A claim that can be read and does not hold, whatever
 * its sizes and lengths, ends with 10.
 *
 * Nothing is written but the answer.
 */
#include "base/text.h"
#include "cli/offline.h"
#include "cli/raw.h"
#include "trust/merkle.h"

#include <inttypes.h>
#include <string.h>

#define LINE_MAX_BYTES (256u << 20)
#define DOC_MAX_BYTES (4u << 20)
#define DOC_ARENA_BYTES (512u << 20)

/* --hash and the file; NULL after saying what is wrong. */
static const struct gx_merkle_hash *
read_args(int argc, char **argv, const char **file)
{
	struct gx_raw_opt opts[] = {{"hash", NULL, false, false},
				    {NULL, NULL, false, false}};
	const struct gx_merkle_hash *hash;

	if (gx_raw_read(argc, argv, opts, file) != GX_X_OK) {
		return NULL;
	}
	hash = gx_merkle_hash_find(opts[0].value);
	if (hash == NULL) {
		(void)gx_raw_fail(GX_X_USAGE, "cli.usage",
				  "--hash is sm3 or sha256", NULL);
	}
	return hash;
}

/* ---- root ---- */

struct leaves {
	struct gx_merkle *merkle;
	struct gx_buf leaf;
	uint64_t line; /* that we stand in, from 1 */
	int high;      /* first digit of a pair, -1: none waits */
	bool is_open;  /* the line has a byte */
	const char *fault;
};

static bool
end_line(struct leaves *l)
{
	if (l->high >= 0) {
		l->fault = "its last byte has one digit";
		return false;
	}
	gx_merkle_add(l->merkle, gx_buf_view(&l->leaf));
	gx_buf_reset(&l->leaf);
	l->is_open = false;
	l->line++;
	return true;
}

static bool
take_digit(struct leaves *l, char c)
{
	int digit = gx_raw_hex_digit(c);

	l->is_open = true;
	if (digit < 0) {
		l->fault = "it holds what is no hex digit";
	} else if (l->high < 0) {
		l->high = digit;
	} else {
		if (!gx_buf_putc(&l->leaf, (char)(l->high << 4 | digit))) {
			l->fault = "it is longer than memory allows";
		}
		l->high = -1;
	}
	return l->fault == NULL;
}

static bool
take_leaves(void *ctx, const char *p, size_t n)
{
	struct leaves *l = ctx;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n' ? !end_line(l) : !take_digit(l, p[i])) {
			return false;
		}
	}
	return true;
}

static int
print_root(struct leaves *l)
{
	unsigned char root[GX_SM3];
	char text[2 * GX_SM3 + 1];

	if (l->fault == NULL && l->is_open) {
		(void)end_line(l);
	}
	if (l->fault != NULL) {
		char what[64];

		snprintf(what, sizeof what, "line %" PRIu64 " is not a leaf",
			 l->line);
		return gx_raw_fail(GX_X_INVALID, "cli.input", what, l->fault);
	}
	gx_merkle_root(l->merkle, root);
	gx_hex(root, sizeof root, text);
	puts(text);
	return GX_X_OK;
}

int
gx_cmd_evidence_root(int argc, char **argv)
{
	struct leaves l = {.line = 1, .high = -1};
	const char *file;
	const struct gx_merkle_hash *hash = read_args(argc, argv, &file);
	int code;

	if (hash == NULL) {
		return GX_X_USAGE;
	}
	l.merkle = gx_merkle_new_with(hash);
	gx_merkle_begin(l.merkle);
	gx_buf_init(&l.leaf, LINE_MAX_BYTES);
	code = gx_raw_pour(file, take_leaves, &l);
	if (code == GX_X_OK) {
		code = print_root(&l);
	}
	gx_buf_free(&l.leaf);
	gx_merkle_free(&l.merkle);
	return code;
}

/* ---- proofs ---- */

struct doc {
	struct gx_arena *arena;
	struct gx_buf text;
	const struct gx_json *root;
};

static bool
take_text(void *ctx, const char *p, size_t n)
{
	return gx_buf_put(ctx, p, n);
}

static int
refuse_doc(const char *what)
{
	return gx_raw_fail(GX_X_INVALID, "cli.input", "this is no proof", what);
}

static int
read_doc(struct doc *d, const char *file)
{
	struct gx_err e = {0};
	int code = gx_raw_pour(file, take_text, &d->text);

	if (code != GX_X_OK) {
		return code;
	}
	if (d->text.failed) {
		return refuse_doc("it is longer than 4 MiB");
	}
	if (gx_json_parse(d->arena, gx_buf_view(&d->text), &d->root, &e) !=
	    GX_OK) {
		return refuse_doc(e.text);
	}
	return d->root->type == GX_JSON_OBJECT
		       ? GX_X_OK
		       : refuse_doc("it is not one JSON object");
}

/* A whole number as it stands, to 2^64-1. */
static bool
read_size(const struct doc *d, const char *name, uint64_t *out)
{
	const struct gx_json *v = gx_json_get(d->root, name);

	return v != NULL && v->type == GX_JSON_NUMBER &&
	       gx_parse_u64(v->text.p, v->text.n, UINT64_MAX, out);
}

static bool
read_base64(const struct doc *d, const struct gx_json *v, struct gx_slice *out)
{
	char *bytes;

	*out = gx_slice("", 0);
	if (v == NULL || v->type == GX_JSON_NULL) {
		return v != NULL;
	}
	if (v->type != GX_JSON_STRING) {
		return false;
	}
	bytes = gx_arena_alloc(d->arena, v->text.n + 1);
	out->p = bytes;
	return bytes != NULL &&
	       gx_unbase64(v->text.p, v->text.n, bytes, v->text.n + 1, &out->n);
}

static bool
read_hash(const struct doc *d, const char *name, struct gx_slice *out)
{
	return read_base64(d, gx_json_get(d->root, name), out);
}

/* Null is a proof of no nodes. */
static bool
read_proof(const struct doc *d, const struct gx_slice **out, size_t *n)
{
	const struct gx_json *v = gx_json_get(d->root, "proof");
	struct gx_slice *nodes;

	*out = NULL;
	*n = 0;
	if (v == NULL || v->type == GX_JSON_NULL) {
		return v != NULL;
	}
	if (v->type != GX_JSON_ARRAY) {
		return false;
	}
	nodes = gx_arena_alloc(d->arena, (v->n + 1) * sizeof *nodes);
	*out = nodes;
	if (nodes == NULL) {
		return false;
	}
	for (const struct gx_json *c = v->child; c != NULL; c = c->next) {
		if (!read_base64(d, c, &nodes[(*n)++])) {
			return false;
		}
	}
	return true;
}

static int
answer(const char *why)
{
	if (why == NULL) {
		puts("ok");
		return GX_X_OK;
	}
	printf("no\t%s\n", why);
	return GX_X_DIFFERS;
}

static int
check_inclusion(const struct doc *d, const struct gx_merkle_hash *hash)
{
	struct gx_inclusion p = {0};

	if (!read_size(d, "leafIdx", &p.leaf) ||
	    !read_size(d, "treeSize", &p.size)) {
		return refuse_doc("leafIdx and treeSize must be whole numbers "
				  "below 2^64");
	}
	if (!read_hash(d, "leafHash", &p.leaf_hash) ||
	    !read_hash(d, "root", &p.root) ||
	    !read_proof(d, &p.proof, &p.n_proof)) {
		return refuse_doc("leafHash and root must be base64, proof an "
				  "array of base64");
	}
	return answer(gx_merkle_check_inclusion(hash, &p));
}

static int
check_consistency(const struct doc *d, const struct gx_merkle_hash *hash)
{
	struct gx_consistency p = {0};

	if (!read_size(d, "size1", &p.size1) ||
	    !read_size(d, "size2", &p.size2)) {
		return refuse_doc("size1 and size2 must be whole numbers below "
				  "2^64");
	}
	if (!read_hash(d, "root1", &p.root1) ||
	    !read_hash(d, "root2", &p.root2) ||
	    !read_proof(d, &p.proof, &p.n_proof)) {
		return refuse_doc("root1 and root2 must be base64, proof an "
				  "array of base64");
	}
	return answer(gx_merkle_check_consistency(hash, &p));
}

typedef int (*check_f)(const struct doc *d, const struct gx_merkle_hash *hash);

static int
check(int argc, char **argv, check_f run)
{
	struct doc d = {0};
	const char *file;
	const struct gx_merkle_hash *hash = read_args(argc, argv, &file);
	int code;

	if (hash == NULL) {
		return GX_X_USAGE;
	}
	d.arena = gx_arena_new(DOC_ARENA_BYTES);
	gx_buf_init(&d.text, DOC_MAX_BYTES);
	code = read_doc(&d, file);
	if (code == GX_X_OK) {
		code = run(&d, hash);
	}
	gx_buf_free(&d.text);
	gx_arena_free(&d.arena);
	return code;
}

int
gx_cmd_evidence_check_inclusion(int argc, char **argv)
{
	return check(argc, argv, check_inclusion);
}

int
gx_cmd_evidence_check_consistency(int argc, char **argv)
{
	return check(argc, argv, check_consistency);
}
