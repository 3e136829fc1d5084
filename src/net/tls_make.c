#include "net/tls_make.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"

#define PEM_BYTES 4096
#define SERIAL_OCTETS 16
#define HOSTNAME_MAX_OCTETS 253
#define COMMON_NAME_MAX_OCTETS 64 /* ub-common-name, RFC 5280 A.1 */
#define VALID_S (3650LL * 86400)
#define BACKDATED_S 86400 /* clocks of clients differ */

struct maker {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_pk_context key;
    mbedtls_x509write_cert cert;
};

static int file_write(const char *path, mode_t mode, const char *text, struct err *err)
{
    const size_t len = strlen(text);
    char tmp[4096];

    if ((size_t)snprintf(tmp, sizeof tmp, "%s.new", path) >= sizeof tmp)
        return err_set(err, ERR_LIMIT, "the path %s is too long", path);
    unlink(tmp); /* of an earlier attempt, perhaps with another mode */
    const int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return err_sys(err, errno, "%s", tmp);
    const bool is_ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    const int sys = errno;
    close(fd);
    if (!is_ok) {
        unlink(tmp);
        return err_sys(err, sys, "writing %s", tmp);
    }
    return rename(tmp, path) == 0 ? 0 : err_sys(err, errno, "renaming %s", tmp);
}

static void date_print(time_t at, char out[16])
{
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(out, 16, "%Y%m%d%H%M%S", &tm);
}

/* Letters, digits, dots, hyphens: anything else would be syntax in a distinguished name. */
static bool hostname_is_valid(const char *hostname)
{
    const slice s = slice_str(hostname);

    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_alnum(s.ptr[i]) && s.ptr[i] != '.' && s.ptr[i] != '-')
            return false;
    }
    return s.len > 0 && s.len <= HOSTNAME_MAX_OCTETS;
}

static int cert_describe(struct maker *m, const char *hostname)
{
    struct clock clock;
    unsigned char serial[SERIAL_OCTETS];
    char name[COMMON_NAME_MAX_OCTETS + 4], from[16], until[16];
    mbedtls_x509_san_list san = { 0 };
    int rc;

    clock_init_real(&clock);
    const time_t now = (time_t)(clock_wall_ms(&clock) / 1000);
    random_octets(serial, sizeof serial);
    serial[0] &= 0x7f; /* positive, RFC 5280 4.1.2.2 */
    serial[0] |= 0x40;
    snprintf(name, sizeof name, "CN=%s", strlen(hostname) <= COMMON_NAME_MAX_OCTETS ? hostname : "posthouse");
    date_print(now - BACKDATED_S, from);
    date_print(now + VALID_S, until);
    san.node.type = MBEDTLS_X509_SAN_DNS_NAME;
    san.node.san.unstructured_name.p = (unsigned char *)(uintptr_t)hostname;
    san.node.san.unstructured_name.len = strlen(hostname);
    mbedtls_x509write_crt_set_version(&m->cert, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&m->cert, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&m->cert, &m->key);
    mbedtls_x509write_crt_set_issuer_key(&m->cert, &m->key);
    rc = mbedtls_x509write_crt_set_subject_name(&m->cert, name);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_issuer_name(&m->cert, name);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_serial_raw(&m->cert, serial, sizeof serial);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_validity(&m->cert, from, until);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_basic_constraints(&m->cert, 0, -1);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_subject_alternative_name(&m->cert, &san);
    return rc;
}

int tls_self_signed(const char *hostname, const char *cert_path, const char *key_path, struct err *err)
{
    struct maker *m = mem_alloc(sizeof *m);
    char *pem = mem_alloc(PEM_BYTES), *secret = mem_alloc(PEM_BYTES), text[96];
    int rc, result = -1;

    mbedtls_entropy_init(&m->entropy);
    mbedtls_ctr_drbg_init(&m->random);
    mbedtls_pk_init(&m->key);
    mbedtls_x509write_crt_init(&m->cert);
    if (!hostname_is_valid(hostname)) {
        err_set(err, ERR_SYNTAX, "\"%.100s\" is not a host name of letters, digits, dots and hyphens", hostname);
        goto out;
    }
    rc = psa_crypto_init() == PSA_SUCCESS ? 0 : MBEDTLS_ERR_ERROR_GENERIC_ERROR;
    if (rc == 0)
        rc = mbedtls_ctr_drbg_seed(&m->random, mbedtls_entropy_func, &m->entropy, NULL, 0);
    if (rc == 0)
        rc = mbedtls_pk_setup(&m->key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (rc == 0)
        rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(m->key), mbedtls_ctr_drbg_random, &m->random);
    if (rc == 0)
        rc = cert_describe(m, hostname);
    if (rc == 0)
        rc = mbedtls_x509write_crt_pem(&m->cert, (unsigned char *)pem, PEM_BYTES, mbedtls_ctr_drbg_random, &m->random);
    if (rc == 0)
        rc = mbedtls_pk_write_key_pem(&m->key, (unsigned char *)secret, PEM_BYTES);
    if (rc != 0) {
        mbedtls_strerror(rc, text, sizeof text);
        err_set(err, ERR_PERM, "making a certificate: %s", text);
        goto out;
    }
    if (file_write(key_path, 0600, secret, err) == 0 && file_write(cert_path, 0644, pem, err) == 0)
        result = 0;
out:
    mem_wipe(secret, PEM_BYTES);
    mem_free(secret);
    mem_free(pem);
    mbedtls_x509write_crt_free(&m->cert);
    mbedtls_pk_free(&m->key);
    mbedtls_ctr_drbg_free(&m->random);
    mbedtls_entropy_free(&m->entropy);
    mem_free(m);
    return result;
}
