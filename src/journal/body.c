#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/bytes.h"
#include "base/crc.h"
#include "base/diag.h"
#include "base/mem.h"

#define BODY_MEMORY_MAX_BYTES (64u * 1024 * 1024) /* of all writers together; beyond it they spool */
#define SPOOL_FLUSH_BYTES (256u * 1024)
#define SPOOL_SHORT_BYTES (8u * 1024) /* while memory is short */

struct body_writer {
    struct journal *journal;
    struct buf octets; /* all so far, or (spooled) what is not yet in the file */
    uint64_t bytes; /* all so far */
    uint64_t charged; /* to journal->buffered_bytes */
    bool is_spooled;
    bool is_finished;
    /* spooled */
    struct segment_writer file;
    uint32_t chunk_crc; /* of the chunk under way */
    uint32_t chunk_bytes;
    struct buf table;
};

struct body_writer *body_writer_new(struct journal *j)
{
    struct body_writer *w = mem_alloc(sizeof *w);

    w->journal = j;
    return w;
}

static void charge(struct body_writer *w, uint64_t bytes)
{
    if (bytes >= w->charged)
        atomic_fetch_add(&w->journal->buffered_bytes, bytes - w->charged);
    else
        atomic_fetch_sub(&w->journal->buffered_bytes, w->charged - bytes);
    w->charged = bytes;
}

/* Did a batch take the spooled body? When the index cannot say, the file stays; an orphan goes at the next start. */
static bool is_adopted(struct body_writer *w, uint64_t number)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    slice value;
    bool adopted;

    if (!w->is_finished)
        return false;
    if (journal_state(w->journal, NULL) == JOURNAL_READ_ONLY || index_read_begin(w->journal->index, &v, &err) < 0)
        return true;
    adopted = journal_get_u64(&v, TABLE_ADOPT, number, &value) || v.failed;
    index_read_end(&v);
    return adopted;
}

void body_writer_destroy(struct body_writer **wp)
{
    struct body_writer *w = *wp;
    struct err err = ERR_INIT;

    *wp = NULL;
    if (w == NULL)
        return;
    charge(w, 0);
    if (w->is_spooled) {
        uint64_t number = w->file.header.number;

        segment_writer_close(&w->file);
        if (!is_adopted(w, number) && segment_drop(w->journal->segments, number, &err) < 0)
            diag_warn("journal", "spooled body %llx stays until the next start: %s", (unsigned long long)number,
                      err.text);
    }
    buf_free(&w->table);
    buf_free(&w->octets);
    mem_free(w);
}

uint64_t body_writer_bytes(const struct body_writer *w)
{
    return w->bytes;
}

bool body_writer_is_spooled(const struct body_writer *w)
{
    return w->is_spooled;
}

slice body_writer_octets(const struct body_writer *w)
{
    return w->is_spooled ? SLICE_NONE : buf_slice(&w->octets);
}

/* --- spooling ----------------------------------------------------------------------------------------------------- */

static void chunks_add(struct body_writer *w, slice s)
{
    while (s.len != 0) {
        size_t n = RECORD_CHUNK_BYTES - w->chunk_bytes;

        if (n > s.len)
            n = s.len;
        if (w->chunk_bytes == 0)
            w->chunk_crc = format_seed(w->file.header.salt);
        w->chunk_crc = crc32c(w->chunk_crc, s.ptr, n);
        w->chunk_bytes += (uint32_t)n;
        s = slice_from(s, n);
        if (w->chunk_bytes == RECORD_CHUNK_BYTES) {
            buf_put_le32(&w->table, w->chunk_crc);
            w->chunk_bytes = 0;
        }
    }
}

static int spool_put(struct body_writer *w, slice s, struct err *err)
{
    struct iovec iov = { (void *)(uintptr_t)s.ptr, s.len };

    if (s.len == 0)
        return 0;
    if (segment_writer_write(&w->file, &iov, 1, err) < 0)
        return -1;
    w->file.at += s.len;
    return 0;
}

static int spool_flush(struct body_writer *w, struct err *err)
{
    if (spool_put(w, buf_slice(&w->octets), err) < 0)
        return -1;
    buf_reset(&w->octets);
    return 0;
}

static int spool_begin(struct body_writer *w, struct err *err)
{
    struct journal *j = w->journal;
    struct segment_header h = {
        .format = JOURNAL_FORMAT,
        .kind = SEGMENT_BODY,
        .epoch = j->epoch,
        .created_ms = clock_wall_ms(j->clock),
    };

    memcpy(h.journal_id, j->id, sizeof h.journal_id);
    if (segment_create(&w->file, j->segments, &h, err) < 0)
        return -1;
    w->is_spooled = true;
    w->file.at =
        SEGMENT_PAGE_BYTES + RECORD_HEADER_BYTES; /* the header is written last, when length and checksum are known */
    chunks_add(w, buf_slice(&w->octets));
    return spool_flush(w, err);
}

int body_writer_write(struct body_writer *w, slice octets, struct err *err)
{
    struct journal *j = w->journal;

    ASSERT(!w->is_finished);
    if (octets.len > RECORD_MAX_BYTES - w->bytes)
        return err_set(err, ERR_LIMIT, "a body is larger than %u octets", RECORD_MAX_BYTES);
    if (!w->is_spooled && (w->bytes + octets.len > CONF(j, inline_bytes) ||
                           atomic_load_explicit(&j->buffered_bytes, memory_order_relaxed) > BODY_MEMORY_MAX_BYTES ||
                           budget_is_short())) {
        if (spool_begin(w, err) < 0)
            return -1;
    }
    w->bytes += octets.len;
    if (w->is_spooled)
        chunks_add(w, octets);
    if (w->is_spooled && octets.len >= SPOOL_FLUSH_BYTES) {
        if (spool_flush(w, err) < 0 || spool_put(w, octets, err) < 0)
            return -1;
    } else {
        size_t cap = w->octets.cap;

        buf_put_slice(&w->octets, octets);
        budget_charge(w->octets.cap - cap);
        if (w->is_spooled && w->octets.len >= (budget_is_short() ? SPOOL_SHORT_BYTES : SPOOL_FLUSH_BYTES)) {
            if (spool_flush(w, err) < 0)
                return -1;
            if (budget_is_short())
                buf_free(&w->octets);
        }
    }
    charge(w, w->octets.cap);
    return 0;
}

static void header_fill(struct body_writer *w, struct record_header *h)
{
    uint32_t salt = w->file.header.salt;

    *h = (struct record_header){
        .type = RT_BODY, .flags = RECORD_BODY, .length = (uint32_t)w->bytes, .time_ms = clock_wall_ms(w->journal->clock)
    };
    if (w->bytes <= RECORD_CHUNK_BYTES) {
        /* One chunk at most: its checksum is the record's, and there is no table. */
        if (w->bytes == 0)
            h->payload_crc = format_seed(salt);
        else
            h->payload_crc = w->chunk_bytes != 0 ? w->chunk_crc : get_le32(w->table.ptr);
        buf_reset(&w->table);
        return;
    }
    if (w->chunk_bytes != 0)
        buf_put_le32(&w->table, w->chunk_crc);
    h->payload_crc = crc32c(format_seed(salt), w->table.ptr, w->table.len);
}

static int header_write(struct body_writer *w, const struct record_header *h, struct err *err)
{
    unsigned char octets[RECORD_HEADER_BYTES];
    struct iovec iov = { octets, sizeof octets };
    uint64_t end = w->file.at;
    int rc;

    record_header_encode(octets, w->file.header.salt, h);
    w->file.at = SEGMENT_PAGE_BYTES;
    rc = segment_writer_write(&w->file, &iov, 1, err);
    w->file.at = end;
    return rc;
}

int body_writer_finish(struct body_writer *w, struct err *err)
{
    static const unsigned char zeros[RECORD_ALIGN];
    struct footer_writer footer;
    struct record_header h;
    int rc = -1;

    if (w->is_finished || !w->is_spooled) {
        w->is_finished = true;
        return 0;
    }
    footer_writer_init(&footer, w->file.header.salt);
    header_fill(w, &h);
    if (spool_flush(w, err) < 0 || spool_put(w, buf_slice(&w->table), err) < 0)
        goto out;
    if (spool_put(w, slice_of(zeros, (size_t)(SEGMENT_PAGE_BYTES + record_disk_bytes(h.length) - w->file.at)), err) < 0)
        goto out;
    if (header_write(w, &h, err) < 0)
        goto out;
    footer_writer_add(&footer, SEGMENT_PAGE_BYTES, &h, SLICE_NONE);
    if (segment_finish(&w->file, &footer, err) < 0)
        goto out;
    w->is_finished = true;
    buf_free(&w->octets);
    charge(w, 0);
    rc = 0;
out:
    footer_writer_free(&footer);
    return rc;
}

/* --- adopting ----------------------------------------------------------------------------------------------------- */

uint64_t journal_emit_body(struct journal_tx *tx, struct body_writer *w)
{
    unsigned char payload[28];
    uint64_t id;

    ASSERT(w->is_finished);
    if (!w->is_spooled)
        return tx_emit_reference(tx, RT_BODY, 0, 0, RECORD_BODY, buf_slice(&w->octets));
    put_le64(payload, 0);
    put_le64(payload + 8, w->file.header.number);
    put_le64(payload + 16, SEGMENT_PAGE_BYTES + RECORD_HEADER_BYTES);
    put_le32(payload + 24, (uint32_t)w->bytes);
    id = journal_emit(tx, RT_ADOPT, 0, 0, 0, slice_of(payload, sizeof payload));
    return id;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

int journal_body_pin(struct journal *j, struct journal_view *v, uint64_t body_id, struct body_pin *pin, struct err *err)
{
    struct body_info b;

    *pin = (struct body_pin){ 0 };
    if (!journal_body_info(v, body_id, &b))
        return err_set(err, ERR_NOTFOUND, "there is no body %llu", (unsigned long long)body_id);
    if (b.segment == 0)
        return err_set(err, ERR_DAMAGE, "the octets of body %llu are lost", (unsigned long long)body_id);
    if (!segment_pin(j->segments, b.segment, &pin->pin)) {
        /* The snapshot is older than the emptying of that segment: a fresh one knows the new place. */
        struct journal_view fresh;
        bool known;

        if (index_read_begin(j->index, &fresh, err) < 0)
            return -1;
        known =
            journal_body_info(&fresh, body_id, &b) && b.segment != 0 && segment_pin(j->segments, b.segment, &pin->pin);
        index_read_end(&fresh);
        if (!known)
            return err_set(err, ERR_DAMAGE, "segment %llx with body %llu is missing", (unsigned long long)b.segment,
                           (unsigned long long)body_id);
    }
    pin->offset = b.offset;
    pin->length = b.length;
    return 0;
}

void journal_body_unpin(struct body_pin *pin)
{
    segment_unpin(&pin->pin);
    *pin = (struct body_pin){ 0 };
}

static int read_at(const struct body_pin *pin, uint64_t at, void *out, size_t len, struct err *err)
{
    unsigned char *to = out;

    while (len != 0) {
        ssize_t n = pread(pin->pin.fd, to, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "reading a body");
        if (n == 0)
            return err_set(err, ERR_DAMAGE, "a body ends early");
        to += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int journal_body_read(const struct body_pin *pin, uint64_t at, void *out, size_t len, struct err *err)
{
    if (at > pin->length || len > pin->length - at)
        return err_set(err, ERR_BUG, "read beyond the end of a body");
    return read_at(pin, pin->offset + at, out, len, err);
}

int journal_body_load(struct journal *j, struct journal_view *v, uint64_t body_id, uint64_t max_bytes, struct buf *out,
                      struct err *err)
{
    struct body_pin pin;
    struct record_header h;
    unsigned char *raw = NULL;
    slice payload;
    size_t whole;
    int rc = -1;

    if (journal_body_pin(j, v, body_id, &pin, err) < 0)
        return -1;
    if (pin.length > max_bytes) {
        err_set(err, ERR_LIMIT, "body %llu has %llu octets", (unsigned long long)body_id,
                (unsigned long long)pin.length);
        goto out;
    }
    whole = (size_t)record_disk_bytes((uint32_t)pin.length);
    if ((raw = mem_try(whole)) == NULL) {
        err_set(err, ERR_TEMP, "no memory for %zu octets", whole);
        goto out;
    }
    if (read_at(&pin, pin.offset - RECORD_HEADER_BYTES, raw, whole, err) < 0)
        goto out;
    if (record_decode(slice_of(raw, whole), pin.pin.salt, &h, &payload) != RECORD_OK) {
        err_set(err, ERR_DAMAGE, "body %llu at %llx:%llu does not validate", (unsigned long long)body_id,
                (unsigned long long)pin.pin.number, (unsigned long long)pin.offset);
        goto out;
    }
    buf_put_slice(out, payload);
    rc = 0;
out:
    mem_free(raw);
    journal_body_unpin(&pin);
    return rc;
}

/* --- views -------------------------------------------------------------------------------------------------------- */

void body_view_encode(struct buf *out, const struct body_view *v)
{
    buf_put_le64(out, v->header_id);
    buf_put_le64(out, v->body_id);
    buf_put_le32(out, v->body_at);
    buf_put_le32(out, v->header_bytes);
    buf_put_le32(out, v->body_bytes);
}

void body_view_decode(struct reader *r, struct body_view *v)
{
    v->header_id = read_le64(r);
    v->body_id = read_le64(r);
    v->body_at = read_le32(r);
    v->header_bytes = read_le32(r);
    v->body_bytes = read_le32(r);
}
