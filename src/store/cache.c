/* cache.c - ENVELOPE, BODYSTRUCTURE, BODY and header block of a message, computed once.
 *
 * key    u64 header id, u64 body id, u32 body_at, big-endian: the octets of a view never change
 * value  u32 CRC of what follows, u32 octets of the header block, u32 length of each of ENVELOPE, BODYSTRUCTURE, BODY,
 *        header block (ABSENT: too long to be kept), then these */
#include "journal/cache.h"

#include "base/crc.h"
#include "base/mem.h"
#include "mail/header.h"
#include "mail/imapform.h"
#include "store/internal.h"
#include "store/message.h"

#define CACHE_MAX_BYTES (1024ull * 1024 * 1024)
#define HEADER_KEPT_BYTES (32u * 1024)
#define PARSE_MAX_BYTES (256ull * 1024 * 1024) /* of a message whose structure is computed */
#define HEADER_READ_BYTES (16u * 1024)
#define KEY_BYTES 20
#define HEAD_BYTES 24
#define ABSENT UINT32_MAX

struct store_cache {
    struct cache *cache;
};

struct store_cache_reader {
    struct store *store;
    struct cache_reader reader;
};

int store_cache_open(struct store *s, const char *dir, struct err *err)
{
    s->cache = mem_alloc(sizeof *s->cache);
    return cache_open(&s->cache->cache, s->journal, dir, CACHE_MAX_BYTES, journal_pool(s->journal), err);
}

void store_cache_close(struct store *s)
{
    if (s->cache == NULL)
        return;
    cache_close(&s->cache->cache);
    mem_free(s->cache);
    s->cache = NULL;
}

static slice key_of(const struct body_view *b, unsigned char key[KEY_BYTES])
{
    put_be64(key, b->header_id);
    put_be64(key + 8, b->body_id);
    put_be32(key + 16, b->body_at);
    return slice_of(key, KEY_BYTES);
}

/* --- the value --------------------------------------------------------------------------------------------------- */

static bool value_decode(slice in, unsigned want, struct store_cached *out)
{
    slice *const fields[4] = { &out->envelope, &out->bodystructure, &out->body, &out->header };
    uint64_t at = HEAD_BYTES;

    if (in.len < HEAD_BYTES || get_le32(in.ptr) != crc32c(0, in.ptr + 4, in.len - 4))
        return false;
    out->header_bytes = get_le32(in.ptr + 4);
    for (unsigned i = 0; i < 4; i++) {
        uint32_t len = get_le32(in.ptr + 8 + 4 * i);

        *fields[i] = SLICE_NONE;
        if (len == ABSENT) {
            if ((want & (1u << i)) != 0)
                return false;
            continue;
        }
        if (len > in.len - at)
            return false;
        *fields[i] = slice_of(in.ptr + at, len);
        at += len;
    }
    return at == in.len;
}

static void value_encode(struct buf *out, const struct store_cached *c)
{
    const slice fields[4] = { c->envelope, c->bodystructure, c->body, c->header };

    buf_put_le32(out, 0);
    buf_put_le32(out, c->header_bytes);
    for (unsigned i = 0; i < 4; i++)
        buf_put_le32(out, i == 3 && fields[i].len > HEADER_KEPT_BYTES ? ABSENT : (uint32_t)fields[i].len);
    for (unsigned i = 0; i < 4; i++)
        if (i != 3 || fields[i].len <= HEADER_KEPT_BYTES)
            buf_put_slice(out, fields[i]);
    put_le32(out->ptr, crc32c(0, out->ptr + 4, out->len - 4));
}

/* --- computing --------------------------------------------------------------------------------------------------- */

/* Only the header block: read until its end shows. */
static int header_read(struct store *s, const struct body_view *b, struct arena *mem, struct store_cached *out,
                       struct err *err)
{
    uint64_t whole = body_view_bytes(b), step = HEADER_READ_BYTES;
    struct buf octets = BUF_INIT;
    size_t n = 0;
    int rc = 0;

    while (rc == 0) {
        rc = store_message_read(s, b, octets.len, step, &octets, err);
        n = header_block_bytes(buf_slice(&octets));
        if (n < octets.len || octets.len >= whole)
            break;
        step *= 2;
    }
    if (rc == 0) {
        out->header = slice_dup(mem, slice_sub(buf_slice(&octets), 0, n));
        out->header_bytes = (uint32_t)n;
    }
    buf_free(&octets);
    return rc;
}

static int compute(struct store *s, const struct body_view *b, struct arena *mem, struct store_cached *out,
                   struct err *err)
{
    struct buf octets = BUF_INIT, envelope = BUF_INIT, structure = BUF_INIT, body = BUF_INIT, value = BUF_INIT;
    unsigned char key[KEY_BYTES];
    struct mime_part *top;
    struct arena parts;
    slice message;
    int rc = -1;

    arena_init(&parts, 8192);
    if (store_message_load(s, b, PARSE_MAX_BYTES, &octets, err) < 0)
        goto out;
    message = buf_slice(&octets);
    top = mime_parse(message, &parts);
    imapform_envelope(slice_sub(message, 0, (size_t)top->header_bytes), &envelope);
    imapform_body(message, top, true, &structure);
    imapform_body(message, top, false, &body);
    out->header_bytes = (uint32_t)header_block_bytes(message);
    out->envelope = slice_dup(mem, buf_slice(&envelope));
    out->bodystructure = slice_dup(mem, buf_slice(&structure));
    out->body = slice_dup(mem, buf_slice(&body));
    out->header = slice_dup(mem, slice_sub(message, 0, out->header_bytes));
    value_encode(&value, out);
    cache_put(s->cache->cache, key_of(b, key), buf_slice(&value));
    rc = 0;
out:
    buf_free(&octets);
    buf_free(&envelope);
    buf_free(&structure);
    buf_free(&body);
    buf_free(&value);
    arena_free(&parts);
    return rc;
}

int store_message_cached(struct store *s, const struct body_view *b, unsigned want, struct arena *mem,
                         struct store_cached *out, struct err *err)
{
    struct store_cache_reader r = { .store = s };
    struct store_cached found;
    bool hit;

    *out = (struct store_cached){ 0 };
    cache_read_begin(s->cache->cache, &r.reader);
    hit = store_cache_get(&r, b, want, &found);
    if (hit) {
        out->header_bytes = found.header_bytes;
        out->envelope = (want & CACHED_ENVELOPE) != 0 ? slice_dup(mem, found.envelope) : SLICE_NONE;
        out->bodystructure = (want & CACHED_BODYSTRUCTURE) != 0 ? slice_dup(mem, found.bodystructure) : SLICE_NONE;
        out->body = (want & CACHED_BODY) != 0 ? slice_dup(mem, found.body) : SLICE_NONE;
        out->header = (want & CACHED_HEADER) != 0 ? slice_dup(mem, found.header) : SLICE_NONE;
    }
    cache_read_end(&r.reader);
    if (hit)
        return 0;
    if (want == CACHED_HEADER && body_view_bytes(b) > HEADER_READ_BYTES)
        return header_read(s, b, mem, out, err);
    return compute(s, b, mem, out, err);
}

/* --- many in one transaction ------------------------------------------------------------------------------------- */

struct store_cache_reader *store_cache_begin(struct store *s)
{
    struct store_cache_reader *r = mem_alloc(sizeof *r);

    r->store = s;
    cache_read_begin(s->cache->cache, &r->reader);
    return r;
}

bool store_cache_get(struct store_cache_reader *r, const struct body_view *b, unsigned want, struct store_cached *out)
{
    unsigned char key[KEY_BYTES];
    slice value;

    return cache_get(r->store->cache->cache, &r->reader, key_of(b, key), &value) && value_decode(value, want, out);
}

void store_cache_end(struct store_cache_reader **c)
{
    if (*c == NULL)
        return;
    cache_read_end(&(*c)->reader);
    mem_free(*c);
    *c = NULL;
}
