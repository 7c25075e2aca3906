/*
 * Memory: the one file that calls malloc.
 *
 * Three kinds of memory, three ways to run out of it.  A small object of
 * fixed size that cannot be had ends the process: the servers roll back, the
 * supervisor restarts, and no caller has to carry a path that no test ever
 * walks.  What is sized by input answers NULL or false, because a large input
 * is not our fault and must not be our end.  The arena and the buffer have a
 * ceiling that is set when they are made, so that one batch or one answer
 * cannot take the memory of the others.
 *
 * An arena is a list of chunks.  Allocation moves a mark within the newest
 * chunk; a request that does not fit opens another, at least twice as large as
 * the one before up to a limit.  Reset keeps the largest chunk and gives the
 * others back, so that a flow in its stride allocates nothing at all.  Used
 * bytes count what callers asked for, rounded up to 16; the ceiling is on
 * that, not on chunks, so a batch is judged the same on its first run and on
 * the next.
 *
 * Nothing here is shared between threads.  libc's allocator is used as it is:
 * sanitizers and valgrind must see the real calls.
 */
#include "base/mem.h"

#include "base/err.h"

#include <stdint.h>

#define ARENA_MAGIC 0x61726e61u
#define CHUNK_MIN ((size_t)16 * 1024)
#define CHUNK_MAX ((size_t)1024 * 1024)
#define BUF_MIN ((size_t)256)

struct chunk {
	struct chunk *next; /* older */
	size_t cap, n;
	_Alignas(16) char bytes[];
};

struct gx_arena {
	unsigned magic;
	struct chunk *head; /* newest; NULL before the first allocation */
	size_t used, max;
};

bool
gx_slice_eq(struct gx_slice a, struct gx_slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static _Noreturn void
die_of_memory(size_t n_bytes)
{
	fprintf(stderr, "gxbus: no memory for %zu bytes\n", n_bytes);
	abort();
}

void *
gx_mem_new(size_t n_bytes)
{
	void *p = calloc(1, n_bytes ? n_bytes : 1);

	if (!p) {
		die_of_memory(n_bytes);
	}
	return p;
}

void *
gx_mem_array(size_t n, size_t size)
{
	size_t n_bytes;

	if (__builtin_mul_overflow(n, size, &n_bytes)) {
		return NULL;
	}
	return calloc(1, n_bytes ? n_bytes : 1);
}

void *
gx_mem_grow(void *p, size_t n, size_t size)
{
	size_t n_bytes;

	if (__builtin_mul_overflow(n, size, &n_bytes)) {
		return NULL;
	}
	return realloc(p, n_bytes ? n_bytes : 1);
}

char *
gx_mem_strdup(const char *s)
{
	return gx_mem_slicedup(gx_slice_str(s));
}

char *
gx_mem_slicedup(struct gx_slice s)
{
	char *p = gx_mem_new(s.n + 1);

	if (s.n) {
		memcpy(p, s.p, s.n);
	}
	return p;
}

void
gx_mem_free(void *p)
{
	free(p);
}

void
gx_mem_wipe(void *p, size_t n)
{
	if (p && n) {
		explicit_bzero(p, n);
	}
}

struct gx_arena *
gx_arena_new(size_t max_bytes)
{
	struct gx_arena *a = gx_mem_new(sizeof(*a));

	a->magic = ARENA_MAGIC;
	a->max = max_bytes;
	return a;
}

void
gx_arena_free(struct gx_arena **a)
{
	if (!a || !*a) {
		return;
	}
	GX_ASSERT((*a)->magic == ARENA_MAGIC);
	for (struct chunk *c = (*a)->head; c;) {
		struct chunk *next = c->next;
		free(c);
		c = next;
	}
	(*a)->magic = 0;
	free(*a);
	*a = NULL;
}

/* Open a chunk that holds at least n_bytes. */
static struct chunk *
add_chunk(struct gx_arena *a, size_t n_bytes)
{
	size_t cap = a->head ? a->head->cap * 2 : CHUNK_MIN;

	if (cap > CHUNK_MAX) {
		cap = CHUNK_MAX;
	}
	if (cap < n_bytes) {
		cap = n_bytes;
	}
	if (cap > SIZE_MAX - sizeof(struct chunk)) {
		return NULL;
	}
	struct chunk *c = malloc(sizeof(*c) + cap);
	if (!c) {
		return NULL;
	}
	c->next = a->head;
	c->cap = cap;
	c->n = 0;
	a->head = c;
	return c;
}

void *
gx_arena_alloc(struct gx_arena *a, size_t n_bytes)
{
	if (n_bytes > SIZE_MAX - 15) {
		return NULL;
	}
	size_t n = n_bytes ? (n_bytes + 15) & ~(size_t)15 : 16;
	if (n > a->max || a->used > a->max - n) {
		return NULL;
	}
	struct chunk *c = a->head;
	if (!c || c->cap - c->n < n) {
		c = add_chunk(a, n);
		if (!c) {
			return NULL;
		}
	}
	void *p = c->bytes + c->n;
	c->n += n;
	a->used += n;
	return p;
}

char *
gx_arena_dup(struct gx_arena *a, const char *p, size_t n)
{
	if (n == SIZE_MAX) {
		return NULL;
	}
	char *copy = gx_arena_alloc(a, n + 1);
	if (!copy) {
		return NULL;
	}
	if (n) {
		memcpy(copy, p, n);
	}
	copy[n] = '\0';
	return copy;
}

void
gx_arena_reset(struct gx_arena *a)
{
	struct chunk *keep = NULL;

	GX_ASSERT(a->magic == ARENA_MAGIC);
	for (struct chunk *c = a->head; c;) {
		struct chunk *next = c->next;
		if (!keep) {
			keep = c;
		} else if (c->cap > keep->cap) {
			free(keep);
			keep = c;
		} else {
			free(c);
		}
		c = next;
	}
	if (keep) {
		keep->next = NULL;
		keep->n = 0;
	}
	a->head = keep;
	a->used = 0;
}

size_t
gx_arena_used(const struct gx_arena *a)
{
	return a->used;
}

void
gx_buf_init(struct gx_buf *b, size_t max_bytes)
{
	*b = (struct gx_buf){.max = max_bytes};
}

void
gx_buf_free(struct gx_buf *b)
{
	if (!b) {
		return;
	}
	free(b->p);
	*b = (struct gx_buf){.max = b->max};
}

void
gx_buf_reset(struct gx_buf *b)
{
	b->n = 0;
	b->failed = false;
}

void
gx_buf_cut(struct gx_buf *b, size_t n)
{
	GX_ASSERT(n <= b->n);
	b->n = n;
}

/*
 * Make room for n more bytes.  Capacity may pass max by the one byte that
 * gx_buf_str() wants for its NUL.
 */
static bool
reserve(struct gx_buf *b, size_t n, size_t n_spare)
{
	if (b->failed || n > b->max || b->n > b->max - n) {
		b->failed = true;
		return false;
	}
	size_t want = b->n + n + n_spare;
	if (want <= b->cap) {
		return true;
	}
	size_t cap = b->cap ? b->cap : BUF_MIN;
	while (cap < want) {
		cap = cap > SIZE_MAX / 2 ? want : cap * 2;
	}
	if (cap > b->max && b->max + n_spare >= want) {
		cap = b->max + n_spare;
	}
	char *p = realloc(b->p, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

bool
gx_buf_put(struct gx_buf *b, const void *p, size_t n)
{
	if (b->failed || n > b->cap - b->n || n > b->max - b->n) {
		if (!reserve(b, n, 0)) {
			return false;
		}
	}
	if (n) {
		memcpy(b->p + b->n, p, n);
		b->n += n;
	}
	return true;
}

bool
gx_buf_putc(struct gx_buf *b, char c)
{
	if (b->failed || b->n >= b->cap || b->n >= b->max) {
		if (!reserve(b, 1, 0)) {
			return false;
		}
	}
	b->p[b->n++] = c;
	return true;
}

bool
gx_buf_puts(struct gx_buf *b, const char *s)
{
	return gx_buf_put(b, s, strlen(s));
}

bool
gx_buf_slice(struct gx_buf *b, struct gx_slice s)
{
	return gx_buf_put(b, s.p, s.n);
}

bool
gx_buf_printf(struct gx_buf *b, const char *fmt, ...)
{
	va_list ap;
	char small[256];

	va_start(ap, fmt);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->failed = true;
		return false;
	}
	if ((size_t)n < sizeof(small)) {
		return gx_buf_put(b, small, (size_t)n);
	}
	if (!reserve(b, (size_t)n, 1)) {
		return false;
	}
	va_start(ap, fmt);
	vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
	return true;
}

const char *
gx_buf_str(struct gx_buf *b)
{
	bool failed = b->failed;

	/* A full buffer still gets its NUL; a failed one keeps its bytes. */
	b->failed = false;
	bool ok = b->n < b->cap || reserve(b, 0, 1);
	b->failed = failed;
	if (!ok) {
		return "";
	}
	b->p[b->n] = '\0';
	return b->p;
}
