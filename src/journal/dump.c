#include "journal/dump.h"

#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"

void dumper_begin(struct dumper *d, const struct journal *j, struct journal_view *v)
{
    const struct journal_table *by_number[JOURNAL_TABLES_MAX + 1] = { NULL };

    memset(d, 0, sizeof *d);
    d->view = v;
    for (unsigned i = 0; i < j->room_count; i++)
        for (unsigned k = 0; k < j->rooms[i]->table_count; k++)
            by_number[j->rooms[i]->tables[k].number] = &j->rooms[i]->tables[k];
    for (unsigned n = 0; n <= JOURNAL_TABLES_MAX; n++)
        if (by_number[n] != NULL && (by_number[n]->flags & TABLE_PHYSICAL) == 0)
            d->tables[d->count++] = by_number[n];
}

void dumper_end(struct dumper *d)
{
    if (d->is_open)
        journal_cursor_end(&d->cursor);
    d->is_open = false;
    buf_free(&d->key);
}

static void hex_put(struct buf *out, slice s)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char *to = buf_extend(out, 2 * s.len);

    for (size_t i = 0; i < s.len; i++) {
        *to++ = (unsigned char)digits[s.ptr[i] >> 4];
        *to++ = (unsigned char)digits[s.ptr[i] & 15];
    }
}

/* A body counts while something refers to it; else it is only a range of octets that waits to be emptied. */
static bool body_put(struct buf *line, slice key, slice value)
{
    if (key.len != 8 || value.len != BODY_VALUE_BYTES || get_le32(value.ptr + 20) == 0)
        return false;
    buf_printf(line, "body %llu %u %u", (unsigned long long)get_be64(key.ptr), get_le32(value.ptr + 16),
               get_le32(value.ptr + 20));
    return true;
}

bool dumper_next(struct dumper *d, struct buf *line)
{
    slice key, value;

    buf_reset(line);
    while (d->at <= d->count) {
        if (!d->is_open)
            journal_cursor_begin(&d->cursor, d->view, d->at < d->count ? d->tables[d->at]->number : TABLE_BODY);
        d->is_open = true;
        while (journal_cursor_next(&d->cursor, &key, &value)) {
            if (d->at == d->count && !body_put(line, key, value))
                continue;
            if (d->at < d->count) {
                buf_printf(line, "%s ", d->tables[d->at]->name);
                hex_put(line, key);
                buf_put_byte(line, ' ');
                hex_put(line, value);
            }
            buf_reset(&d->key);
            buf_put_slice(&d->key, key);
            return true;
        }
        journal_cursor_end(&d->cursor);
        d->is_open = false;
        d->at++;
    }
    return false;
}

int dumper_cmp(const struct dumper *a, const struct dumper *b)
{
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    return slice_cmp(buf_slice(&a->key), buf_slice(&b->key));
}

int journal_dump(struct journal *j, struct journal_view *v, FILE *out, struct err *err)
{
    struct dumper d;
    struct buf line = BUF_INIT;
    int rc = 0;

    dumper_begin(&d, j, v);
    while (rc == 0 && dumper_next(&d, &line)) {
        buf_put_byte(&line, '\n');
        if (fwrite(line.ptr, 1, line.len, out) != line.len)
            rc = err_sys(err, errno, "writing the dump");
    }
    dumper_end(&d);
    buf_free(&line);
    if (rc == 0 && v->failed)
        rc = err_set(err, ERR_TEMP, "the index failed while it was dumped");
    return rc;
}
