/*
 * Memory has three owners: the batch arena, long-lived new/free pairs, and
 * lent views (struct gx_slice).  const means lent, ** means taken.  No other
 * file calls malloc.
 */
#ifndef GX_BASE_MEM_H
#define GX_BASE_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A lent view: valid until the arena is reset or the callback returns.
 * Input text is never assumed to end in NUL. */
struct gx_slice {
	const char *p;
	size_t n;
};

#define GX_SLICE(lit) ((struct gx_slice){(lit), sizeof(lit) - 1})

static inline struct gx_slice
gx_slice(const char *p, size_t n)
{
	return (struct gx_slice){p, n};
}

static inline struct gx_slice
gx_slice_str(const char *s)
{
	return (struct gx_slice){s, s ? strlen(s) : 0};
}

bool gx_slice_eq(struct gx_slice a, struct gx_slice b);

/* Small and fixed-size: zeroed; ends the process when there is no memory. */
void *gx_mem_new(size_t n_bytes);
/* Sized by input: zeroed; NULL on overflow of n * size or no memory. */
void *gx_mem_array(size_t n, size_t size);
/* Grow to n * size; NULL leaves p as it was. */
void *gx_mem_grow(void *p, size_t n, size_t size);
char *gx_mem_strdup(const char *s);
char *gx_mem_slicedup(struct gx_slice s); /* NUL-terminated copy */
void gx_mem_free(void *p);
/* Overwrite secrets with a call the compiler cannot drop. */
void gx_mem_wipe(void *p, size_t n);

/* Arena with a ceiling; alloc answers NULL above it, never asserts. */
struct gx_arena;
struct gx_arena *gx_arena_new(size_t max_bytes);
void gx_arena_free(struct gx_arena **a);
void *gx_arena_alloc(struct gx_arena *a, size_t n_bytes); /* aligned to 16 */
char *gx_arena_dup(struct gx_arena *a, const char *p, size_t n); /* + NUL */
void gx_arena_reset(struct gx_arena *a); /* all slices into it are void */
size_t gx_arena_used(const struct gx_arena *a);

/*
 * Growable bytes, born with their maximum.  A put that would pass max (or
 * finds no memory) leaves the bytes as they were and sets failed, which stays
 * set until reset: callers may put many times and look once.
 */
struct gx_buf {
	char *p;
	size_t n, cap, max;
	bool failed;
};
void gx_buf_init(struct gx_buf *b, size_t max_bytes);
void gx_buf_free(struct gx_buf *b);
void gx_buf_reset(struct gx_buf *b); /* n = 0, failed = false, keeps memory */
void gx_buf_cut(struct gx_buf *b, size_t n); /* back to n bytes, n <= b->n */
bool gx_buf_put(struct gx_buf *b, const void *p, size_t n);
bool gx_buf_putc(struct gx_buf *b, char c);
bool gx_buf_puts(struct gx_buf *b, const char *s);
bool gx_buf_slice(struct gx_buf *b, struct gx_slice s);
bool gx_buf_printf(struct gx_buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* NUL after the bytes (not counted); "" if it could not. */
const char *gx_buf_str(struct gx_buf *b);
static inline struct gx_slice
gx_buf_view(const struct gx_buf *b)
{
	return (struct gx_slice){b->p ? b->p : "", b->n};
}

#endif
