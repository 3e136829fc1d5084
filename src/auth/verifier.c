#include <crypt.h>
#include <errno.h>
#include <stdio.h>

#include "auth/internal.h"
#include "base/base64.h"
#include "base/budget.h"
#include "base/random.h"

#define CRYPT_PREFIX "$y$" /* yescrypt, crypt(5), with the library's own cost */
#define CRYPT_ENTROPY_BYTES 32
#define CRYPT_BYTES (16u * 1024 * 1024) /* what a yescrypt hash of that cost takes while it is made */

static int setting_make(char out[CRYPT_GENSALT_OUTPUT_SIZE])
{
    char entropy[CRYPT_ENTROPY_BYTES];

    random_octets(entropy, sizeof(entropy));
    return crypt_gensalt_rn(CRYPT_PREFIX, 0, entropy, sizeof(entropy), out, CRYPT_GENSALT_OUTPUT_SIZE) == NULL ? -1 : 0;
}

/* crypt_rn with its 32 KiB of working memory on the heap, wiped. False when the library refuses. */
static bool hash(slice password, const char *setting, char out[CRYPT_OUTPUT_SIZE])
{
    struct crypt_data *data = mem_alloc(sizeof(*data));
    char *text = mem_slice_str(password);
    const char *found;

    budget_charge(CRYPT_BYTES); /* not asked for: a password is never called wrong because memory is short */
    found = crypt_rn(text, setting, data, sizeof(*data));
    auth_count(AUTH_C_HASHES);
    snprintf(out, CRYPT_OUTPUT_SIZE, "%s", found == NULL ? "" : found);
    mem_wipe(text, password.len);
    mem_wipe(data, sizeof(*data));
    mem_free(text);
    mem_free(data);
    return found != NULL;
}

bool verifier_check(slice known, slice password)
{
    char setting[CRYPT_OUTPUT_SIZE], found[CRYPT_OUTPUT_SIZE];
    bool is_known = known.len > 0 && known.len < sizeof(setting), is_right = false;

    if (password.len == 0 || password.len > PASSWORD_MAX_OCTETS || memchr(password.ptr, 0, password.len) != NULL)
        return false;
    if (is_known)
        snprintf(setting, sizeof(setting), "%.*s", SLICE_ARG(known));
    else if (setting_make(setting) < 0) /* an unknown user costs one hash, too */
        return false;
    if (hash(password, setting, found))
        is_right = is_known && secret_eq(known, slice_str(found));
    mem_wipe(found, sizeof(found));
    return is_right;
}

/* RFC 5803 3, without the scheme: iterations ":" salt "$" StoredKey ":" ServerKey */
static void scram_print(struct buf *out, uint32_t iterations, slice salt, const unsigned char stored[SHA256_BYTES],
                        const unsigned char server[SHA256_BYTES])
{
    buf_put_u64(out, iterations);
    buf_put_byte(out, ':');
    base64_encode(out, salt);
    buf_put_byte(out, '$');
    base64_encode(out, slice_of(stored, SHA256_BYTES));
    buf_put_byte(out, ':');
    base64_encode(out, slice_of(server, SHA256_BYTES));
}

/* RFC 5802 3 */
static void scram_make(slice password, uint32_t iterations, struct buf *out)
{
    unsigned char salt[SCRAM_SALT_BYTES], salted[SHA256_BYTES], client[SHA256_BYTES], stored[SHA256_BYTES];
    unsigned char server[SHA256_BYTES];
    struct sha256 h;

    random_octets(salt, sizeof(salt));
    pbkdf2_sha256(password, slice_of(salt, sizeof(salt)), iterations, salted);
    hmac256(slice_of(salted, sizeof(salted)), SLICE("Client Key"), client);
    hmac256(slice_of(salted, sizeof(salted)), SLICE("Server Key"), server);
    sha256_init(&h);
    sha256_put(&h, slice_of(client, sizeof(client)));
    sha256_end(&h, stored);
    scram_print(out, iterations, slice_of(salt, sizeof(salt)), stored, server);
    mem_wipe(salted, sizeof(salted));
    mem_wipe(client, sizeof(client));
}

/* Three values nobody can tell from those of a real user, without keeping anything. */
slice verifier_fake(slice secret, slice name, uint32_t iterations, struct arena *mem)
{
    static const char *const use[3] = { "salt", "stored", "server" };
    unsigned char made[3][SHA256_BYTES];
    struct buf text = BUF_INIT;
    slice out;

    for (unsigned i = 0; i < ARRAY_LEN(use); i++) {
        struct hmac256 h;

        hmac256_init(&h, secret);
        hmac256_put(&h, slice_of(use[i], strlen(use[i]) + 1)); /* with its NUL: a separator */
        hmac256_put(&h, name);
        hmac256_end(&h, made[i]);
    }
    scram_print(&text, iterations, slice_of(made[0], SCRAM_SALT_BYTES), made[1], made[2]);
    out = slice_dup(mem, buf_slice(&text));
    buf_free(&text);
    return out;
}

int auth_secrets_make(slice password, uint32_t scram_iterations, struct arena *mem, struct dir_secrets *out,
                      struct err *err)
{
    char setting[CRYPT_OUTPUT_SIZE], found[CRYPT_OUTPUT_SIZE];
    struct buf scram = BUF_INIT;

    if (password.len == 0)
        return err_set(err, ERR_SYNTAX, "the password is empty");
    if (password.len > PASSWORD_MAX_OCTETS || memchr(password.ptr, 0, password.len) != NULL)
        return err_set(err, ERR_SYNTAX, "a password has at most %d octets and no NUL", PASSWORD_MAX_OCTETS);
    if (setting_make(setting) < 0 || !hash(password, setting, found))
        return err_sys(err, errno, "hashing the password");
    scram_make(password, scram_iterations, &scram);
    out->crypt = slice_dup(mem, slice_str(found));
    out->scram_sha256 = slice_dup(mem, buf_slice(&scram));
    mem_wipe(found, sizeof(found));
    buf_free(&scram);
    return 0;
}
