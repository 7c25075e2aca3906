/*
 * Digests of JSON values.
 *
 * The hash is SipHash-2-4 with 128 bits of output and a random key: a sender
 * who knows this source still cannot make two values collide, nor make many
 * of them costly.  A value is put into one form on the way into the hash:
 * numbers as sign, significant digits and exponent, strings decoded, and an
 * object as the sum of its members' digests, so that their order is gone.  A
 * kind stands in front of each, so that "1" is not 1.
 *
 * Digests live for one run of one process; they are never written anywhere
 * and two processes do not share a key.  The text has been through the scanner
 * before; nothing is checked again and nothing is allocated.
 */
#include "record/digest.h"

#include "record/decimal.h"
#include "record/scan.h"

#include <string.h>
#include <sys/random.h>

struct sip {
	uint64_t v[4];
	unsigned char rest[8];
	size_t n; /* bytes so far */
};

void
gx_digest_key_new(struct gx_digest_key *key)
{
	/* At most 256 bytes are never cut short once the pool is ready. */
	ssize_t n = getrandom(key->k, sizeof(key->k), 0);

	GX_ASSERT(n == (ssize_t)sizeof(key->k));
}

static inline uint64_t
rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static inline void
mix(uint64_t v[4], int rounds)
{
	for (int i = 0; i < rounds; i++) {
		v[0] += v[1];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[0] = rotate(v[0], 32);
		v[2] += v[3];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[2] = rotate(v[2], 32);
	}
}

static void
begin(struct sip *s, const struct gx_digest_key *key)
{
	s->v[0] = key->k[0] ^ UINT64_C(0x736f6d6570736575);
	s->v[1] = key->k[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee;
	s->v[2] = key->k[0] ^ UINT64_C(0x6c7967656e657261);
	s->v[3] = key->k[1] ^ UINT64_C(0x7465646279746573);
	s->n = 0;
}

static inline void
take_word(struct sip *s, const void *p)
{
	uint64_t m;

	memcpy(&m, p, 8);
	s->v[3] ^= m;
	mix(s->v, 2);
	s->v[0] ^= m;
}

static void
add(struct sip *s, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	size_t held = s->n % 8;

	s->n += n;
	if (held) {
		size_t take = n < 8 - held ? n : 8 - held;
		memcpy(s->rest + held, p, take);
		p += take;
		n -= take;
		if (held + take < 8) {
			return;
		}
		take_word(s, s->rest);
	}
	for (; n >= 8; p += 8, n -= 8) {
		take_word(s, p);
	}
	memcpy(s->rest, p, n);
}

static struct gx_digest
end(struct sip *s)
{
	struct gx_digest d;
	unsigned char last[8] = {0};

	memcpy(last, s->rest, s->n % 8);
	last[7] = (unsigned char)s->n;
	take_word(s, last);
	s->v[2] ^= 0xee;
	mix(s->v, 4);
	d.a = s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
	s->v[1] ^= 0xdd;
	mix(s->v, 4);
	d.b = s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
	return d;
}

struct gx_digest
gx_digest_bytes(const struct gx_digest_key *key, struct gx_slice bytes)
{
	struct sip s;

	begin(&s, key);
	add(&s, bytes.p, bytes.n);
	return end(&s);
}

struct gx_digest
gx_digest_string(const struct gx_digest_key *key, struct gx_slice inside)
{
	const char *p = inside.p, *stop = inside.p + inside.n;
	struct sip s;
	char out[16];

	begin(&s, key);
	add(&s, "\"", 1);
	while (p < stop) {
		const char *slash = memchr(p, '\\', (size_t)(stop - p));
		add(&s, p, (size_t)((slash ? slash : stop) - p));
		if (!slash) {
			break;
		}
		/* One escape, or the two of a pair. */
		size_t n = slash[1] == 'u' ? 6 : 2;
		if (n == 6 && stop - slash >= 12 && slash[6] == '\\' &&
		    slash[7] == 'u' && (slash[2] | 0x20) == 'd' &&
		    strchr("89abAB", slash[3])) {
			n = (slash[8] | 0x20) == 'd' &&
					    strchr("cdefCDEF", slash[9])
				    ? 12
				    : 6;
		}
		add(&s, out, gx_scan_decode(slash, n, false, out));
		p = slash + n;
	}
	return end(&s);
}

static struct gx_digest
digest_number(const struct gx_digest_key *key, const struct gx_num *num)
{
	struct gx_decimal d = gx_decimal_parse(num->p, num->n);
	struct sip s;

	begin(&s, key);
	add(&s, d.is_negative ? "-" : "+", 1);
	for (const char *p = d.p; p < d.end; p++) {
		if (*p != '.') {
			add(&s, p, 1);
		}
	}
	add(&s, "e", 1);
	add(&s, &d.low, sizeof(d.low));
	return end(&s);
}

/* Members of an object add up; elements of an array follow each other. */
static struct gx_digest
digest_container(const struct gx_digest_key *key, struct gx_scan *s)
{
	bool is_object = *s->at == '{';
	struct gx_digest sum = {0, 0};
	struct gx_str name;
	struct sip all, one;

	begin(&all, key);
	add(&all, s->at, 1);
	s->at++;
	for (gx_scan_space(s); *s->at != '}' && *s->at != ']';
	     gx_scan_space(s)) {
		if (*s->at == ',') {
			s->at++;
			gx_scan_space(s);
		}
		begin(&one, key);
		if (is_object) {
			(void)gx_scan_string(s, &name);
			struct gx_digest d =
				gx_digest_string(key, gx_slice(name.p, name.n));
			add(&one, &d, sizeof(d));
			gx_scan_space(s);
			s->at++; /* colon */
		}
		struct gx_digest v = gx_digest_next(key, s);
		if (!is_object) {
			add(&all, &v, sizeof(v));
			continue;
		}
		add(&one, &v, sizeof(v));
		v = end(&one);
		sum.a += v.a;
		sum.b += v.b;
	}
	s->at++;
	if (is_object) {
		add(&all, &sum, sizeof(sum));
	}
	return end(&all);
}

struct gx_digest
gx_digest_next(const struct gx_digest_key *key, struct gx_scan *s)
{
	struct gx_str str;
	struct gx_num num;

	gx_scan_space(s);
	switch (*s->at) {
	case '{':
	case '[':
		return digest_container(key, s);
	case '"':
		(void)gx_scan_string(s, &str);
		return gx_digest_string(key, gx_slice(str.p, str.n));
	case 't':
	case 'n':
		s->at += 4;
		return gx_digest_bytes(key, gx_slice(s->at - 4, 4));
	case 'f':
		s->at += 5;
		return gx_digest_bytes(key, gx_slice(s->at - 5, 5));
	default:
		(void)gx_scan_number(s, &num);
		return digest_number(key, &num);
	}
}

struct gx_digest
gx_digest_value(const struct gx_digest_key *key, struct gx_slice raw)
{
	struct gx_scan s = {raw.p, raw.p + raw.n, NULL};

	return gx_digest_next(key, &s);
}

bool
gx_digest_eq(struct gx_digest x, struct gx_digest y)
{
	return x.a == y.a && x.b == y.b;
}

static bool
is_less(const struct gx_digest *x, const struct gx_digest *y)
{
	return x->a != y->a ? x->a < y->a : x->b < y->b;
}

/* Heap sort, because qsort(3) may allocate. */
static void
sift(struct gx_digest *d, size_t at, size_t n)
{
	struct gx_digest v = d[at];

	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && is_less(&d[child], &d[child + 1])) {
			child++;
		}
		if (!is_less(&v, &d[child])) {
			break;
		}
		d[at] = d[child];
	}
	d[at] = v;
}

bool
gx_digest_has_twin(struct gx_digest *d, size_t n)
{
	for (size_t i = n / 2; i > 0; i--) {
		sift(d, i - 1, n);
	}
	for (size_t i = n; i > 1; i--) {
		struct gx_digest top = d[0];
		d[0] = d[i - 1];
		d[i - 1] = top;
		sift(d, 0, i - 1);
	}
	for (size_t i = 1; i < n; i++) {
		if (gx_digest_eq(d[i - 1], d[i])) {
			return true;
		}
	}
	return false;
}
