/*
 * The scan of raw bytes in front of the XML parser.
 *
 * libxml2 compares each attribute of a tag with all others before it calls
 * anybody, so a tag of two megabytes takes a minute and no limit of ours would
 * ever be asked.  Therefore every byte is looked at first, for only this: how
 * long is a tag, how many attributes has it, is there a DTD.
 *
 * What is looked for is markup alone: '<', '>', '=', quotes and the ends of
 * comments, CDATA sections and processing instructions.  In all encodings that
 * are taken these are single units that are hardly ever part of another
 * character: the second bytes of GBK, GB18030 and Big5 begin at 0x40, the
 * digits of GB18030's four bytes end at 0x39, and '<', '=', '>' lie between.
 * Only ']' can be a second byte, so within CDATA bytes are taken in pairs if
 * the declaration names such an encoding.  UTF-16 is read in units of two
 * bytes.  Which of the two it is, the first bytes tell; anything else (UTF-32,
 * EBCDIC) is refused here, and a declared encoding that does not fit is
 * refused by the reader before the first tag.
 *
 * A document that is not well formed may be seen otherwise here than by the
 * parser.  That is harmless: the parser ends at the first fault, and up to
 * there both see the same.
 *
 * Nothing is kept but a few counters, so a piece may end anywhere.
 */
#include "record/xml_int.h"

#include <string.h>

#define TAG_MAX ((size_t)64 << 10)
#define ATTRIBUTES_MAX 256
#define OTHER_MAX ((size_t)10 << 20)

enum state {
	IN_TEXT,
	AT_TAG, /* behind '<' */
	IN_TAG, /* outside of values */
	IN_VALUE,
	AT_BANG,    /* behind "<!" */
	IN_WORD,    /* of "<!DOCTYPE", "<![CDATA[" */
	IN_DASH,    /* behind "<!-" */
	IN_COMMENT, /* matched: dashes */
	IN_CDATA,   /* matched: brackets */
	IN_PI	    /* matched: question marks */
};

static bool
fail(struct gx_xml_scan *s, const char *fault)
{
	s->fault = fault;
	return false;
}

/* What the first bytes say. */
static bool
find_width(struct gx_xml_scan *s, const unsigned char *p, size_t n)
{
	static const char other[] = "an encoding that is not taken";

	s->width = 1;
	if (n < 2) {
		return true;
	}
	unsigned two = (unsigned)p[0] << 8 | p[1];
	unsigned next = n >= 4 ? (unsigned)p[2] << 8 | p[3] : 1;
	if (two == 0 || (next == 0 && (two == 0xfffe || two == 0x3c00)) ||
	    two == 0x4c6f) {
		return fail(s, other);
	}
	s->has_bom = two == 0xefbb;
	if (two == 0xfeff || two == 0x003c) {
		s->width = 2;
		s->is_big = true;
	} else if (two == 0xfffe || two == 0x3c00) {
		s->width = 2;
	}
	return true;
}

/* Does the declaration in the first bytes name an encoding that is not of
 * single bytes or UTF-8?  The reader asks libxml2 and compares. */
static bool
is_declared_double(const char *p, size_t n)
{
	const char *end = n > 5 && memcmp(p, "<?xml", 5) == 0
				  ? memmem(p, n, "?>", 2)
				  : NULL;
	const char *at =
		end ? memmem(p, (size_t)(end - p), "encoding", 8) : NULL;

	if (!at) {
		return false;
	}
	for (at += 8; at < end && strchr(" \t\r\n=\"'", *at); at++) {
	}
	return (*at | 0x20) == 'g' || (*at | 0x20) == 'b';
}

static unsigned
begin_other(struct gx_xml_scan *s, enum state state)
{
	s->n_tag = 0;
	s->matched = 0;
	return state;
}

/* Behind '<' or "<!". */
static bool
begin(struct gx_xml_scan *s, unsigned c)
{
	if (s->state == AT_TAG) {
		s->n_tag = 1;
		s->n_equals = 0;
		s->state = c == '!'   ? AT_BANG
			   : c == '?' ? begin_other(s, IN_PI)
			   : c == '>' ? IN_TEXT
				      : IN_TAG;
	} else if (s->state == AT_BANG) {
		s->matched = 0;
		if (c == 'D') {
			s->is_dtd = true;
			return fail(s, "it has a DTD");
		}
		s->state = c == '-' ? IN_DASH : c == '[' ? IN_WORD : IN_TAG;
	} else if (s->state == IN_DASH) {
		s->state = c == '-' ? begin_other(s, IN_COMMENT) : IN_TAG;
	} else {
		static const char word[] = "CDATA[";
		if (c != (unsigned char)word[s->matched]) {
			s->state = IN_TAG; /* the parser will refuse it */
		} else if (word[++s->matched] == '\0') {
			s->state = begin_other(s, IN_CDATA);
		}
	}
	return true;
}

/* Inside a comment, CDATA section or processing instruction. */
static bool
pass_other(struct gx_xml_scan *s, unsigned c)
{
	unsigned mark = s->state == IN_COMMENT ? '-'
			: s->state == IN_CDATA ? ']'
					       : '?';
	unsigned want = s->state == IN_PI ? 1 : 2;

	if (s->state == IN_CDATA && s->is_double && s->width == 1) {
		bool is_second = s->has_odd;
		s->has_odd = !is_second && c > 0x80;
		c = is_second ? 0 : c;
	}
	if (c == mark) {
		s->matched += s->matched < want;
	} else if (c == '>' && s->matched == want) {
		s->state = IN_TEXT;
	} else {
		s->matched = 0;
	}
	if (++s->n_tag > OTHER_MAX) {
		return fail(s, "a comment, CDATA section or processing "
			       "instruction is longer than 10 MiB");
	}
	return true;
}

static bool
step(struct gx_xml_scan *s, unsigned c)
{
	switch ((enum state)s->state) {
	case IN_TEXT:
		if (c == '<') {
			s->state = AT_TAG;
		}
		return true;
	case IN_VALUE:
		if (c == s->quote) {
			s->state = IN_TAG;
		}
		break;
	case IN_TAG:
		if (c == '>') {
			s->state = IN_TEXT;
		} else if (c == '"' || c == '\'') {
			s->quote = c;
			s->state = IN_VALUE;
		} else if (c == '=' && ++s->n_equals > ATTRIBUTES_MAX) {
			return fail(s, "a tag has more than 256 attributes");
		}
		break;
	case AT_TAG:
	case AT_BANG:
	case IN_WORD:
	case IN_DASH:
		return begin(s, c);
	case IN_COMMENT:
	case IN_CDATA:
	case IN_PI:
		return pass_other(s, c);
	}
	if (++s->n_tag > TAG_MAX) {
		return fail(s, "a tag is longer than 64 KiB");
	}
	return true;
}

/* From p to where something may end, or end. */
static const char *
leap(struct gx_xml_scan *s, const char *p, const char *end)
{
	static const bool ends_tag[256] = {
		['>'] = true, ['='] = true, ['"'] = true, ['\''] = true};
	size_t n = (size_t)(end - p);
	const char *from = p;

	if (s->state == IN_TEXT) {
		p = memchr(p, '<', n);
		return p ? p : end;
	}
	if (s->state == IN_VALUE) {
		p = memchr(p, (int)s->quote, n);
		p = p ? p : end;
	} else if (s->state == IN_TAG) {
		while (p < end && !ends_tag[(unsigned char)*p]) {
			p++;
		}
	}
	s->n_tag += (size_t)(p - from);
	return p;
}

static bool
scan_bytes(struct gx_xml_scan *s, const char *p, const char *end)
{
	while ((p = leap(s, p, end)) < end) {
		if (!step(s, (unsigned char)*p++)) {
			return false;
		}
	}
	return s->n_tag <= TAG_MAX ||
	       (s->state != IN_VALUE && s->state != IN_TAG) ||
	       fail(s, "a tag is longer than 64 KiB");
}

static bool
scan_pairs(struct gx_xml_scan *s, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!s->has_odd) {
			s->odd = p[i];
			s->has_odd = true;
			continue;
		}
		s->has_odd = false;
		unsigned high = s->is_big ? s->odd : p[i];
		unsigned low = s->is_big ? p[i] : s->odd;
		if (!step(s, high << 8 | low)) {
			return false;
		}
	}
	return true;
}

bool
gx_xml_scan(struct gx_xml_scan *s, const char *p, size_t n)
{
	const unsigned char *bytes = (const unsigned char *)p;

	if (s->fault) {
		return false;
	}
	if (s->width == 0) {
		if (!find_width(s, bytes, n)) {
			return false;
		}
		s->is_double = s->width == 1 && is_declared_double(p, n);
	}
	return s->width == 1 ? scan_bytes(s, p, p + n)
			     : scan_pairs(s, bytes, n);
}
