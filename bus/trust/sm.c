/*
 * SM2, SM3 and SM4 by OpenSSL, and the key files.
 *
 * A hash object owns one digest context that is set up once and only started
 * again per leaf: fetching the algorithm costs more than hashing a line.  A
 * key owns an EVP_PKEY and its id.  Nothing of a signature is kept between two
 * calls: each makes its own context, which costs microseconds beside the
 * curve's hundreds, so a key has no state that one call could leave to the
 * next and a verdict never depends on what was verified before.
 *
 * The distinguishing id is set on every context, for signing and checking.
 * A signature is looked at by hand before OpenSSL sees it: exactly one DER
 * form for each pair r, s of 1..n-1 (GB/T 32918.2 7.1 refuses others), or
 * the same signature could stand in two messages with different bytes.
 *
 * If we die on any line while a key pair is made, the files are there or not
 * there, perhaps the private one without the public one; nothing names them
 * yet and making them again refuses to overwrite what it finds.
 *
 * It refuses: keys of another curve, points off the curve, private keys that
 * others may read or that belong to another user, links in place of them.
 */
#include "trust/sm.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_MAX 16384
#define DIST_ID GX_SLICE("1234567812345678")
#define SCALAR 32

struct gx_sm3 {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
};

struct gx_key {
	EVP_PKEY *pkey;
	char id[GX_KID + 1];
	unsigned char point[GX_POINT];
};

static struct gx_sm3 *
open_hash(const char *name)
{
	struct gx_sm3 *h = gx_mem_new(sizeof(*h));
	h->md = EVP_MD_fetch(NULL, name, NULL);
	h->ctx = EVP_MD_CTX_new();
	GX_ASSERT(h->md && h->ctx);
	return h;
}

struct gx_sm3 *
gx_sm3_new(void)
{
	return open_hash("SM3");
}

struct gx_sm3 *
gx_sm3_new_sha256(void)
{
	return open_hash("SHA256");
}

void
gx_sm3_free(struct gx_sm3 **h)
{
	if (!*h) {
		return;
	}
	EVP_MD_CTX_free((*h)->ctx);
	EVP_MD_free((*h)->md);
	gx_mem_free(*h);
	*h = NULL;
}

void
gx_sm3_begin(struct gx_sm3 *h)
{
	int ok = EVP_DigestInit_ex2(h->ctx, h->md, NULL);
	GX_ASSERT(ok == 1);
}

void
gx_sm3_add(struct gx_sm3 *h, const void *p, size_t n)
{
	int ok = EVP_DigestUpdate(h->ctx, p, n);
	GX_ASSERT(ok == 1);
}

void
gx_sm3_end(struct gx_sm3 *h, unsigned char out[GX_SM3])
{
	int ok = EVP_DigestFinal_ex(h->ctx, out, NULL);
	GX_ASSERT(ok == 1);
}

void
gx_sm3(const void *p, size_t n, unsigned char out[GX_SM3])
{
	struct gx_sm3 *h = gx_sm3_new();
	gx_sm3_begin(h);
	gx_sm3_add(h, p, n);
	gx_sm3_end(h, out);
	gx_sm3_free(&h);
}

void
gx_sm4_ctr(const unsigned char key[GX_SM4], const unsigned char iv[GX_SM4],
	   const void *in, size_t n, void *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int done = 0;
	int ok = ctx && n <= INT_MAX &&
		 EVP_EncryptInit_ex(ctx, EVP_sm4_ctr(), NULL, key, iv) == 1 &&
		 EVP_EncryptUpdate(ctx, out, &done, in, (int)n) == 1;
	/* Bytes that were not ciphered must never be taken for sealed ones. */
	GX_ASSERT(ok == 1 && (size_t)done == n);
	EVP_CIPHER_CTX_free(ctx); /* clears the key */
}

/* The id of the public point.  Takes pkey in any case. */
static enum gx_rc
take_key(EVP_PKEY *pkey, struct gx_key **out, struct gx_err *e)
{
	unsigned char point[GX_POINT] = {4}, hash[GX_SM3];
	BIGNUM *x = NULL, *y = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	bool good = ctx && EVP_PKEY_is_a(pkey, "SM2") &&
		    EVP_PKEY_public_check(ctx) == 1 &&
		    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_X, &x) ==
			    1 &&
		    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &y) ==
			    1 &&
		    BN_bn2binpad(x, point + 1, SCALAR) == SCALAR &&
		    BN_bn2binpad(y, point + 1 + SCALAR, SCALAR) == SCALAR;
	BN_free(x);
	BN_free(y);
	EVP_PKEY_CTX_free(ctx);
	if (!good) {
		EVP_PKEY_free(pkey);
		return GX_ERR(e, GX_FATAL, "key.bad",
			      "not a key of the SM2 curve; make one with "
			      "gxbus init");
	}
	gx_sm3(point, sizeof(point), hash);
	*out = gx_mem_new(sizeof(**out));
	(*out)->pkey = pkey;
	gx_hex(hash, GX_KID / 2, (*out)->id);
	memcpy((*out)->point, point, sizeof(point));
	return GX_OK;
}

/* Bytes of a small file; secret: only ours. */
static enum gx_rc
read_file(const char *path, bool secret, char *buf, size_t *n, struct gx_err *e)
{
	enum gx_rc rc = GX_OK;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
				    (secret ? O_NOFOLLOW : 0));
	if (fd < 0) {
		return GX_ERR(e, GX_FATAL, "key.open",
			      "key file: %s; check path and mode",
			      strerror(errno));
	}
	*n = 0;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		rc = GX_ERR(e, GX_FATAL, "key.open",
			    "key file is not a plain file; name the file "
			    "itself");
	} else if (secret && st.st_uid != geteuid()) {
		rc = GX_ERR(e, GX_FATAL, "key.owner",
			    "private key belongs to user %u and this runs as "
			    "%u; run it as that user (setpriv --reuid %u, "
			    "sudo -u)",
			    (unsigned)st.st_uid, (unsigned)geteuid(),
			    (unsigned)st.st_uid);
	} else if (secret && (st.st_mode & 07777) != 0600 &&
		   (st.st_mode & 07777) != 0400) {
		rc = GX_ERR(e, GX_FATAL, "key.mode",
			    "private key has mode %04o; chmod 600",
			    (unsigned)(st.st_mode & 07777));
	}
	while (rc == GX_OK && *n < KEY_FILE_MAX) {
		ssize_t got = read(fd, buf + *n, KEY_FILE_MAX - *n);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			rc = GX_ERR(e, GX_FATAL, "key.open",
				    "key file: %s; check the disk",
				    strerror(errno));
		}
		if (got <= 0) {
			break;
		}
		*n += (size_t)got;
	}
	close(fd);
	return rc;
}

/* An encrypted key has no one to ask at start: refuse, never prompt. */
static int
no_password(char *buf, int n, int rw, void *arg)
{
	(void)buf;
	(void)n;
	(void)rw;
	(void)arg;
	return -1;
}

static enum gx_rc
load(const char *path, bool secret, struct gx_key **out, struct gx_err *e)
{
	char buf[KEY_FILE_MAX];
	size_t n = 0;
	EVP_PKEY *pkey = NULL;
	*out = NULL;
	enum gx_rc rc = read_file(path, secret, buf, &n, e);
	if (rc == GX_OK) {
		BIO *bio = BIO_new_mem_buf(buf, (int)n);
		if (bio && secret) {
			pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password,
						       NULL);
		} else if (bio) {
			pkey = PEM_read_bio_PUBKEY(bio, NULL, no_password,
						   NULL);
		}
		BIO_free(bio);
		rc = pkey ? take_key(pkey, out, e)
			  : GX_ERR(e, GX_FATAL, "key.bad",
				   "key file is not PEM of a %s key; make "
				   "one with gxbus init",
				   secret ? "private" : "public");
	}
	gx_mem_wipe(buf, sizeof(buf));
	return rc;
}

enum gx_rc
gx_key_load_private(const char *path, struct gx_key **out, struct gx_err *e)
{
	return load(path, true, out, e);
}

enum gx_rc
gx_key_load_public(const char *path, struct gx_key **out, struct gx_err *e)
{
	return load(path, false, out, e);
}

enum gx_rc
gx_key_from_point(struct gx_slice point, struct gx_key **out, struct gx_err *e)
{
	static char curve[] = "SM2";
	/* OpenSSL only reads them, whatever its types say */
	union {
		const char *lent;
		char *own;
	} bytes = {point.p};
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
						 curve, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
						  bytes.own, point.n),
		OSSL_PARAM_construct_end()};
	EVP_PKEY *pkey = NULL;
	*out = NULL;
	if (point.n == 1 + 2 * SCALAR && point.p[0] == 4) {
		EVP_PKEY_CTX *ctx =
			EVP_PKEY_CTX_new_from_name(NULL, "SM2", NULL);
		if (ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
		    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY,
				      params) != 1) {
			pkey = NULL;
		}
		EVP_PKEY_CTX_free(ctx);
	}
	if (!pkey || take_key(pkey, out, NULL) != GX_OK) {
		return GX_ERR(e, GX_REJECT, "key.point",
			      "not a point of the SM2 curve as 04||X||Y");
	}
	return GX_OK;
}

enum gx_rc
gx_key_random(struct gx_key **out, struct gx_err *e)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "SM2");
	*out = NULL;
	if (!pkey) {
		return GX_ERR(e, GX_FATAL, "sm.failed",
			      "no SM2 key could be made; check the OpenSSL "
			      "library");
	}
	return take_key(pkey, out, e);
}

void
gx_key_free(struct gx_key **k)
{
	if (!*k) {
		return;
	}
	EVP_PKEY_free((*k)->pkey); /* clears the private scalar */
	gx_mem_free(*k);
	*k = NULL;
}

const char *
gx_key_id(const struct gx_key *k)
{
	return k->id;
}

const unsigned char *
gx_key_point(const struct gx_key *k)
{
	return k->point;
}

/* A new file with these bytes, durable; false and no file if not. */
static bool
write_file(const char *path, mode_t mode, const char *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0) {
		return false;
	}
	bool good = fchmod(fd, mode) == 0;
	while (good && n > 0) {
		ssize_t put = write(fd, p, n);
		if (put < 0 && errno == EINTR) {
			continue;
		}
		good = put > 0;
		if (good) {
			p += put;
			n -= (size_t)put;
		}
	}
	good = good && fsync(fd) == 0;
	int saved = errno;
	close(fd);
	if (!good) {
		unlink(path);
		errno = saved;
	}
	return good;
}

enum gx_rc
gx_secret_make(const char *path, struct gx_err *e)
{
	unsigned char bytes[GX_SECRET];
	char hex[2 * GX_SECRET + 2];
	bool good = RAND_priv_bytes(bytes, GX_SECRET) == 1;
	gx_hex(bytes, GX_SECRET, hex);
	memcpy(hex + sizeof(hex) - 2, "\n", 2);
	good = good && write_file(path, 0600, hex, sizeof(hex) - 1);
	gx_mem_wipe(bytes, sizeof(bytes));
	gx_mem_wipe(hex, sizeof(hex));
	return good ? GX_OK
		    : GX_ERR(e, GX_FATAL, "key.make",
			     "the secret could not be made: %s",
			     strerror(errno));
}

enum gx_rc
gx_secret_load(const char *path, unsigned char out[GX_SECRET], struct gx_err *e)
{
	char buf[KEY_FILE_MAX];
	size_t n = 0;
	enum gx_rc rc = read_file(path, true, buf, &n, e);
	while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r')) {
		n--;
	}
	if (rc == GX_OK && !gx_unhex(buf, n, out, GX_SECRET)) {
		rc = GX_ERR(e, GX_FATAL, "key.bad",
			    "the file of a secret holds no %d hex digits in "
			    "lower case",
			    2 * GX_SECRET);
	}
	gx_mem_wipe(buf, sizeof(buf));
	return rc;
}

enum gx_rc
gx_key_make(const char *path, struct gx_err *e)
{
	char pub[PATH_MAX];
	struct gx_key *k = NULL;
	char *p = NULL;
	int len = snprintf(pub, sizeof(pub), "%s.pub", path);
	if (len < 0 || (size_t)len >= sizeof(pub)) {
		return GX_ERR(e, GX_FATAL, "key.make",
			      "path of the key is too long; use a shorter "
			      "one");
	}
	enum gx_rc rc = gx_key_random(&k, e);
	if (rc != GX_OK) {
		return rc;
	}
	BIO *secret = BIO_new(BIO_s_secmem()), *open_bio = BIO_new(BIO_s_mem());
	bool good = secret && open_bio &&
		    PEM_write_bio_PKCS8PrivateKey(secret, k->pkey, NULL, NULL,
						  0, NULL, NULL) == 1 &&
		    PEM_write_bio_PUBKEY(open_bio, k->pkey) == 1;
	if (!good) {
		rc = GX_ERR(e, GX_FATAL, "sm.failed",
			    "the key could not be written as PEM; check the "
			    "OpenSSL library");
	} else {
		long n = BIO_get_mem_data(secret, &p);
		good = write_file(path, 0600, p, (size_t)n);
		n = BIO_get_mem_data(open_bio, &p);
		if (good && !write_file(pub, 0644, p, (size_t)n)) {
			int saved = errno;
			unlink(path);
			errno = saved;
			good = false;
		}
		if (!good) {
			rc = GX_ERR(e, GX_FATAL, "key.make",
				    "key files: %s; choose a path where "
				    "neither exists",
				    strerror(errno));
		}
	}
	BIO_free(secret);
	BIO_free(open_bio);
	gx_key_free(&k);
	return rc;
}

/* A digest context for one operation, with the id set. */
static EVP_MD_CTX *
begin_sm2(struct gx_key *k, bool signing, struct gx_slice id)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
	bool good =
		ctx && pctx && EVP_PKEY_CTX_set1_id(pctx, id.p, (int)id.n) == 1;
	if (good) {
		EVP_MD_CTX_set_pkey_ctx(ctx, pctx);
		good = signing ? EVP_DigestSignInit(ctx, NULL, EVP_sm3(), NULL,
						    k->pkey) == 1
			       : EVP_DigestVerifyInit(ctx, NULL, EVP_sm3(),
						      NULL, k->pkey) == 1;
	}
	if (!good) {
		EVP_MD_CTX_free(ctx);
		EVP_PKEY_CTX_free(pctx);
		return NULL;
	}
	return ctx;
}

/* The caller's context stays his: freeing the digest's leaves it. */
static void
end_sm2(EVP_MD_CTX *ctx)
{
	EVP_PKEY_CTX *pctx = EVP_MD_CTX_get_pkey_ctx(ctx);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_CTX_free(pctx);
}

enum gx_rc
gx_sm2_sign(struct gx_key *k, struct gx_slice msg,
	    unsigned char der[GX_SM2_DER_MAX], size_t *n, struct gx_err *e)
{
	EVP_MD_CTX *ctx = begin_sm2(k, true, DIST_ID);
	*n = GX_SM2_DER_MAX;
	bool good =
		ctx && EVP_DigestSign(ctx, der, n, (const unsigned char *)msg.p,
				      msg.n) == 1;
	if (ctx) {
		end_sm2(ctx);
	}
	if (!good) {
		return GX_ERR(e, GX_FATAL, "sm.failed",
			      "signing failed; check that the key file holds "
			      "a private SM2 key");
	}
	return GX_OK;
}

/* One INTEGER of 1..n-1 in its only DER form; moves *at behind it. */
static bool
is_scalar(const unsigned char *der, size_t n, size_t *at)
{
	static const unsigned char order[SCALAR] = {
		0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0x72, 0x03, 0xdf, 0x6b, 0x21, 0xc6, 0x05, 0x2b,
		0x53, 0xbb, 0xf4, 0x09, 0x39, 0xd5, 0x41, 0x23};
	if (n - *at < 3 || der[*at] != 0x02) {
		return false;
	}
	size_t len = der[*at + 1];
	const unsigned char *p = der + *at + 2;
	if (len < 1 || len > SCALAR + 1 || len > n - *at - 2 || p[0] & 0x80) {
		return false;
	}
	*at += 2 + len;
	if (p[0] == 0) {
		/* the zero stands only where the next bit would be a sign */
		if (len == 1 || !(p[1] & 0x80)) {
			return false;
		}
		p++;
		len--;
	}
	return len < SCALAR || (len == SCALAR && memcmp(p, order, SCALAR) < 0);
}

static bool
is_strict_der(const unsigned char *der, size_t n)
{
	size_t at = 2;
	return n >= 8 && n <= 72 && der[0] == 0x30 && der[1] == n - 2 &&
	       is_scalar(der, n, &at) && is_scalar(der, n, &at) && at == n;
}

bool
gx_sm2_verify(struct gx_key *k, struct gx_slice msg, const unsigned char *der,
	      size_t n)
{
	if (!is_strict_der(der, n)) {
		return false;
	}
	EVP_MD_CTX *ctx = begin_sm2(k, false, DIST_ID);
	if (!ctx) {
		return false;
	}
	bool good = EVP_DigestVerify(ctx, der, n, (const unsigned char *)msg.p,
				     msg.n) == 1;
	end_sm2(ctx);
	return good;
}

struct gx_sm2_check {
	EVP_MD_CTX *ctx;
};

struct gx_sm2_check *
gx_sm2_check_new(struct gx_key *k, struct gx_slice id)
{
	if (id.n > GX_SM2_ID_MAX) {
		return NULL;
	}
	struct gx_sm2_check *c = gx_mem_new(sizeof(*c));
	c->ctx = begin_sm2(k, false, gx_slice(id.p ? id.p : "", id.n));
	return c;
}

void
gx_sm2_check_free(struct gx_sm2_check **c)
{
	if (!*c) {
		return;
	}
	if ((*c)->ctx) {
		end_sm2((*c)->ctx);
	}
	gx_mem_free(*c);
	*c = NULL;
}

/* What fails here is fatal to the verdict: without a context it is no. */
void
gx_sm2_check_add(struct gx_sm2_check *c, const void *p, size_t n)
{
	if (c->ctx && EVP_DigestVerifyUpdate(c->ctx, p, n) != 1) {
		end_sm2(c->ctx);
		c->ctx = NULL;
	}
}

bool
gx_sm2_check_end(struct gx_sm2_check *c, const unsigned char *der, size_t n)
{
	return c->ctx && is_strict_der(der, n) &&
	       EVP_DigestVerifyFinal(c->ctx, der, n) == 1;
}
