#include "journal/history.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/diag.h"
#include "base/mem.h"
#include "journal/internal.h"

#define HISTORY_MAGIC "PHJHIST1"
#define FILTER_HASHES 7u
#define FILTER_BITS_PER_KEY 10u
#define FILTER_MIN_BYTES 64u
#define FILTER_MAX_BYTES (16u << 20)
#define FOOTER_MAX_BYTES (2ull << 30)
#define ZSTD_LEVEL 3
#define DAY_MS 86400000

/* --- the filter --------------------------------------------------------------------------------------------------- */

static uint64_t filter_bit(slice key, unsigned n, size_t bytes)
{
    uint64_t a = slice_hash_nocase(key, 0x5048), b = slice_hash_nocase(key, 0x484a) | 1;

    return (a + n * b) & (bytes * 8 - 1);
}

void history_filter_add(unsigned char *filter, size_t bytes, slice key)
{
    for (unsigned n = 0; n < FILTER_HASHES; n++) {
        uint64_t bit = filter_bit(key, n, bytes);

        filter[bit / 8] |= (unsigned char)(1u << (bit % 8));
    }
}

bool history_filter_has(slice filter, slice key)
{
    if (filter.len == 0)
        return true;
    for (unsigned n = 0; n < FILTER_HASHES; n++) {
        uint64_t bit = filter_bit(key, n, filter.len);

        if ((filter.ptr[bit / 8] & (1u << (bit % 8))) == 0)
            return false;
    }
    return true;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

int history_head_decode(slice in, struct history_head *h, struct err *err)
{
    if (in.len < HISTORY_HEADER_BYTES || memcmp(in.ptr, HISTORY_MAGIC, 8) != 0 ||
        get_le32(in.ptr + 84) != crc32c(0, in.ptr, 84))
        return err_set(err, ERR_DAMAGE, "no valid history header");
    *h = (struct history_head){
        .segment = get_le64(in.ptr + 8),
        .first_seq = get_le64(in.ptr + 16),
        .last_seq = get_le64(in.ptr + 24),
        .newest_ms = (int64_t)get_le64(in.ptr + 32),
        .salt = get_le32(in.ptr + 40),
        .filter_bytes = get_le32(in.ptr + 44),
        .packed_bytes = get_le64(in.ptr + 48),
        .footer_bytes = get_le64(in.ptr + 56),
        .head_at = get_le64(in.ptr + 64),
        .made_ms = (int64_t)get_le64(in.ptr + 72),
        .payload_crc = get_le32(in.ptr + 80),
    };
    if (h->filter_bytes > FILTER_MAX_BYTES || (h->filter_bytes & (h->filter_bytes - 1)) != 0 ||
        h->packed_bytes > FOOTER_MAX_BYTES || h->footer_bytes > FOOTER_MAX_BYTES)
        return err_set(err, ERR_DAMAGE, "a history header with impossible sizes");
    return 0;
}

static void head_encode(unsigned char out[HISTORY_HEADER_BYTES], const struct history_head *h)
{
    memcpy(out, HISTORY_MAGIC, sizeof(HISTORY_MAGIC) - 1);
    put_le64(out + 8, h->segment);
    put_le64(out + 16, h->first_seq);
    put_le64(out + 24, h->last_seq);
    put_le64(out + 32, (uint64_t)h->newest_ms);
    put_le32(out + 40, h->salt);
    put_le32(out + 44, h->filter_bytes);
    put_le64(out + 48, h->packed_bytes);
    put_le64(out + 56, h->footer_bytes);
    put_le64(out + 64, h->head_at);
    put_le64(out + 72, (uint64_t)h->made_ms);
    put_le32(out + 80, h->payload_crc);
    put_le32(out + 84, crc32c(0, out, 84));
}

static void file_path(struct buf *out, const struct journal *j, uint64_t number)
{
    buf_reset(out);
    buf_printf(out, "%s/history/%016llx.hist", j->dir, (unsigned long long)number);
}

static int octets_read(int fd, uint64_t at, struct buf *out, size_t len, struct err *err)
{
    unsigned char *to = buf_extend(out, len);

    while (len != 0) {
        ssize_t n = pread(fd, to, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "reading");
        if (n == 0)
            return err_set(err, ERR_DAMAGE, "the file is cut");
        to += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* Head and filter; with packed != NULL the compressed footer, too, and only then the checksum is looked at. */
static int file_read(struct journal *j, uint64_t number, struct history_head *h, struct buf *filter, struct buf *packed,
                     struct err *err)
{
    struct buf path = BUF_INIT, raw = BUF_INIT;
    uint32_t crc;
    int fd, rc = -1;

    file_path(&path, j, number);
    fd = open(buf_str(&path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err_sys(err, errno, "opening");
        goto out;
    }
    if (octets_read(fd, 0, &raw, HISTORY_HEADER_BYTES, err) < 0 || history_head_decode(buf_slice(&raw), h, err) < 0)
        goto out;
    if (filter != NULL && octets_read(fd, HISTORY_HEADER_BYTES, filter, h->filter_bytes, err) < 0)
        goto out;
    if (packed != NULL) {
        if (octets_read(fd, HISTORY_HEADER_BYTES + h->filter_bytes, packed, (size_t)h->packed_bytes, err) < 0)
            goto out;
        crc = crc32c(crc32c(0, filter->ptr, filter->len), packed->ptr, packed->len);
        if (crc != h->payload_crc) {
            err_set(err, ERR_DAMAGE, "the checksum does not match");
            goto out;
        }
    }
    rc = 0;
out:
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        err_prefix(err, "%s: ", buf_str(&path));
    buf_free(&path);
    buf_free(&raw);
    return rc;
}

int history_head(struct journal *j, uint64_t number, struct history_head *h, struct buf *filter, struct err *err)
{
    return file_read(j, number, h, filter, NULL, err);
}

int history_read(struct journal *j, uint64_t number, struct footer *footer, struct buf *mem, struct err *err)
{
    struct buf filter = BUF_INIT, packed = BUF_INIT;
    struct history_head h;
    int rc = -1;

    if (file_read(j, number, &h, &filter, &packed, err) < 0)
        goto out;
    buf_reset(mem);
    if (ZSTD_decompress(buf_extend(mem, (size_t)h.footer_bytes), (size_t)h.footer_bytes, packed.ptr, packed.len) !=
        h.footer_bytes)
        err_set(err, ERR_DAMAGE, "the history of segment %016llx does not unpack", (unsigned long long)number);
    else
        rc = footer_decode(buf_slice(mem), h.head_at, h.salt, footer, err);
out:
    buf_free(&filter);
    buf_free(&packed);
    return rc;
}

/* --- keeping ------------------------------------------------------------------------------------------------------ */

struct keys {
    struct journal *j;
    unsigned char *filter;
    size_t bytes;
    uint64_t count;
    uint64_t last_object; /* runs of records about one object count once */
};

static void on_key(void *arg, slice key)
{
    struct keys *k = arg;

    k->count++;
    if (k->filter != NULL)
        history_filter_add(k->filter, k->bytes, key);
}

static void keys_walk(struct keys *k, const struct footer *f)
{
    struct footer_cursor c;
    struct footer_entry e;
    slice payload;

    footer_begin(&c, f);
    while (footer_next(&c, &e, &payload)) {
        const struct journal_type *row = journal_type_find(k->j, e.header.type);
        struct record r = { e.header.type,   e.header.flags,   e.header.part, e.header.seq,
                            e.header.object, e.header.time_ms, payload };
        unsigned char id[8];

        put_be64(id, r.object);
        if (r.object != k->last_object)
            on_key(k, slice_of(id, sizeof id));
        k->last_object = r.object;
        if (row != NULL && row->keys != NULL)
            row->keys(&r, on_key, k);
    }
}

static void filter_make(struct journal *j, const struct footer *f, struct buf *out)
{
    struct keys k = { .j = j };
    size_t bytes = FILTER_MIN_BYTES;

    keys_walk(&k, f);
    while (bytes * 8 < k.count * FILTER_BITS_PER_KEY && bytes < FILTER_MAX_BYTES)
        bytes *= 2;
    k.filter = buf_extend(out, bytes);
    k.bytes = bytes;
    k.last_object = 0;
    memset(k.filter, 0, bytes);
    keys_walk(&k, f);
}

static int octets_write(int fd, slice s, struct err *err)
{
    while (s.len != 0) {
        ssize_t n = write(fd, s.ptr, s.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "writing");
        s = slice_from(s, (size_t)n);
    }
    return fdatasync(fd) < 0 ? err_sys(err, errno, "syncing") : 0;
}

static int dir_sync(struct journal *j, struct err *err)
{
    struct buf path = BUF_INIT;
    int fd, rc = 0;

    buf_printf(&path, "%s/history", j->dir);
    fd = open(buf_str(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        rc = err_sys(err, errno, "syncing the directory");
    if (fd >= 0)
        close(fd);
    buf_free(&path);
    return rc;
}

static int file_put(struct journal *j, uint64_t number, slice octets, struct err *err)
{
    struct buf path = BUF_INIT, temp = BUF_INIT;
    int fd, rc = -1;

    file_path(&path, j, number);
    buf_printf(&temp, "%s.new", buf_str(&path));
    fd = open(buf_str(&temp), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_sys(err, errno, "making");
        goto out;
    }
    if (octets_write(fd, octets, err) < 0)
        goto out;
    if (rename(buf_str(&temp), buf_str(&path)) < 0) {
        err_sys(err, errno, "renaming");
        goto out;
    }
    rc = dir_sync(j, err);
out:
    if (fd >= 0)
        close(fd);
    if (rc < 0) {
        unlink(buf_str(&temp));
        err_prefix(err, "%s: ", buf_str(&path));
    }
    buf_free(&path);
    buf_free(&temp);
    return rc;
}

int history_keep(struct journal *j, uint64_t number, struct err *err)
{
    struct segment_info info;
    struct history_head h;
    struct footer footer;
    struct buf mem = BUF_INIT, filter = BUF_INIT, file = BUF_INIT;
    size_t bound, packed;
    unsigned char *to;
    int rc = -1;

    if (CONF(j, history_days) == 0 || !segment_dir_find(j->segments, number, &info) || info.header.kind != SEGMENT_LOG)
        return 0;
    if (segment_read_footer(j->segments, number, &footer, &mem, err) < 0)
        goto out;
    filter_make(j, &footer, &filter);
    bound = ZSTD_compressBound(mem.len);
    to = buf_extend(&file, HISTORY_HEADER_BYTES + filter.len + bound);
    packed = ZSTD_compress(to + HISTORY_HEADER_BYTES + filter.len, bound, mem.ptr, mem.len, ZSTD_LEVEL);
    if (ZSTD_isError(packed)) {
        err_set(err, ERR_TEMP, "packing the footer of segment %016llx: %s", (unsigned long long)number,
                ZSTD_getErrorName(packed));
        goto out;
    }
    memcpy(to + HISTORY_HEADER_BYTES, filter.ptr, filter.len);
    h = (struct history_head){
        .segment = number,
        .first_seq = info.header.first_seq,
        .last_seq = info.last_seq,
        .newest_ms = info.newest_ms,
        .made_ms = clock_wall_ms(j->clock),
        .salt = info.header.salt,
        .filter_bytes = (uint32_t)filter.len,
        .packed_bytes = packed,
        .footer_bytes = mem.len,
        .head_at = footer.head_at,
    };
    h.payload_crc = crc32c(0, to + HISTORY_HEADER_BYTES, filter.len + packed);
    head_encode(to, &h);
    rc = file_put(j, number, slice_of(to, HISTORY_HEADER_BYTES + filter.len + packed), err);
out:
    buf_free(&mem);
    buf_free(&filter);
    buf_free(&file);
    return rc;
}

/* --- trimming ----------------------------------------------------------------------------------------------------- */

static int history_file_cmp(const void *a, const void *b)
{
    const struct history_file *x = a, *y = b;

    return (x->number > y->number) - (x->number < y->number);
}

int history_list(struct journal *j, struct history_file **out, unsigned *count, struct err *err)
{
    struct buf path = BUF_INIT;
    struct history_file *list = NULL;
    unsigned n = 0, cap = 0;
    struct dirent *entry;
    struct stat st;
    DIR *dir;

    buf_printf(&path, "%s/history", j->dir);
    dir = opendir(buf_str(&path));
    buf_free(&path);
    *out = NULL;
    *count = 0;
    if (dir == NULL)
        return err_sys(err, errno, "opening the history of %s", j->dir);
    while ((entry = readdir(dir)) != NULL) {
        slice name = slice_str(entry->d_name);
        uint64_t number;

        if (name.len != 21 || !slice_ends(name, SLICE(".hist")) || !slice_hex64(slice_sub(name, 0, 16), &number) ||
            fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
            continue;
        if (n == cap) {
            cap = cap == 0 ? 16 : cap * 2;
            list = mem_realloc(list, cap * sizeof *list);
        }
        list[n++] = (struct history_file){ number, (uint64_t)st.st_size };
    }
    closedir(dir);
    if (n != 0)
        qsort(list, n, sizeof *list, history_file_cmp);
    *out = list;
    *count = n;
    return 0;
}

static bool is_outdated(struct journal *j, uint64_t number, int64_t before_ms)
{
    struct history_head h = { 0 };
    struct err err = ERR_INIT;

    if (history_head(j, number, &h, NULL, &err) < 0) {
        diag_warn("journal", "%s", err.text);
        return false; /* the limit of octets takes it away one day */
    }
    return h.made_ms < before_ms;
}

int history_trim(struct journal *j, struct err *err)
{
    int64_t before_ms = clock_wall_ms(j->clock) - (int64_t)CONF(j, history_days) * DAY_MS;
    struct history_file *list;
    struct buf path = BUF_INIT;
    uint64_t bytes = 0;
    unsigned n;

    if (history_list(j, &list, &n, err) < 0)
        return -1;
    for (unsigned i = n; i-- > 0;) { /* the youngest stay */
        bytes += list[i].bytes;
        if (bytes <= CONF(j, history_bytes) && !is_outdated(j, list[i].number, before_ms))
            continue;
        file_path(&path, j, list[i].number);
        if (unlink(buf_str(&path)) < 0)
            diag_warn("journal", "%s stays: %s", buf_str(&path), strerror(errno));
    }
    buf_free(&path);
    mem_free(list);
    return 0;
}
