/* check.c - does everything still say the same: segments, index, and an index rebuilt beside it.
 *
 * Order, so that a running server is held up as little as possible: first the segments, without any transaction; then a
 * second index is rebuilt up to what is durable by then; only then a snapshot is taken, the second index follows up to
 * it, and both are compared. What is written meanwhile is not looked at. */
#include "journal/dump.h"
#include "journal/empty.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"

#define DIFFERENCES_SHOWN 10
#define LINE_SHOWN_BYTES 300

struct check {
    struct journal *j;
    journal_say_fn *say;
    void *arg;
    struct journal_check_result *result;
    uint64_t durable_seq; /* when the check began: records up to here must be there */
};

static void fault(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fault(struct check *c, const char *fmt, ...)
{
    char line[2 * LINE_SHOWN_BYTES + 200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->result->faults++;
    c->say(c->arg, line);
}

/* --- log segments ------------------------------------------------------------------------------------------------- */

struct log_check {
    struct check *c;
    const struct segment_info *info;
    uint64_t limit;      /* records from here on are not looked at: void, or being written */
    uint64_t expected;   /* next sequence */
    uint64_t durable;    /* highest durable_seq so far */
    bool has_footer;
    bool has_entry;
    struct footer footer;
    struct footer_cursor cursor;
    struct footer_entry entry;
    slice entry_payload;
};

static unsigned long long log_number(const struct log_check *l)
{
    return l->info->header.number;
}

static void entry_next(struct log_check *l)
{
    l->has_entry = l->has_footer && footer_next(&l->cursor, &l->entry, &l->entry_payload);
}

static void missing(struct log_check *l, uint64_t from, uint64_t to, uint64_t first, uint64_t last)
{
    fault(l->c, "segment %016llx, octets %llu to %llu: no valid record; records %llu to %llu are lost", log_number(l),
          (unsigned long long)from, (unsigned long long)to, (unsigned long long)first, (unsigned long long)last);
}

/* The footer repeats every record. */
static void entry_check(struct log_check *l, const struct scan_item *item)
{
    unsigned char a[RECORD_HEADER_BYTES], b[RECORD_HEADER_BYTES];
    uint32_t salt = l->info->header.salt;
    slice payload = (item->header.flags & RECORD_BODY) != 0 ? SLICE_NONE : item->payload;

    while (l->has_entry && l->entry.offset < item->from)
        entry_next(l); /* that record is damaged, which was said */
    if (!l->has_entry || l->entry.offset != item->from) {
        fault(l->c, "segment %016llx, octet %llu: record %llu is not in the footer", log_number(l),
              (unsigned long long)item->from, (unsigned long long)item->header.seq);
        return;
    }
    record_header_encode(a, salt, &item->header);
    record_header_encode(b, salt, &l->entry.header);
    if (memcmp(a, b, sizeof a) != 0 || !slice_eq(payload, l->entry_payload))
        fault(l->c, "segment %016llx, octet %llu: the footer says something else than record %llu", log_number(l),
              (unsigned long long)item->from, (unsigned long long)item->header.seq);
    entry_next(l);
}

static void record_check(struct log_check *l, const struct scan_item *item, uint64_t hole_from)
{
    const struct record_header *h = &item->header;

    l->c->result->records++;
    if ((h->flags & RECORD_BODY) != 0)
        l->c->result->bodies++;
    if (h->seq > l->expected)
        missing(l, hole_from, item->from, l->expected, h->seq - 1);
    else if (h->seq < l->expected)
        fault(l->c, "segment %016llx, octet %llu: record %llu where %llu was expected", log_number(l),
              (unsigned long long)item->from, (unsigned long long)h->seq, (unsigned long long)l->expected);
    else if (hole_from != item->from)
        fault(l->c, "segment %016llx, octets %llu to %llu: no valid record", log_number(l),
              (unsigned long long)hole_from, (unsigned long long)item->from);
    if (h->durable_seq >= h->seq || h->durable_seq < l->durable)
        fault(l->c, "segment %016llx, octet %llu: record %llu says that %llu was durable", log_number(l),
              (unsigned long long)item->from, (unsigned long long)h->seq, (unsigned long long)h->durable_seq);
    if (type_slot_find(l->c->j, h->type) == NULL)
        fault(l->c, "segment %016llx, octet %llu: record %llu has the unknown type %04x", log_number(l),
              (unsigned long long)item->from, (unsigned long long)h->seq, h->type);
    l->expected = h->seq + 1;
    if (h->durable_seq > l->durable)
        l->durable = h->durable_seq;
    if (l->has_footer)
        entry_check(l, item);
}

static void log_scan(struct log_check *l, slice octets)
{
    struct scan scan;
    struct scan_item item;
    uint64_t hole_from = 0;
    uint64_t last = l->info->is_sealed ? l->info->last_seq : l->limit - 1;

    scan_begin(&scan, octets, l->info->header.salt);
    for (;;) {
        enum scan_event event = scan_next(&scan, &item);

        if (event == SCAN_END)
            break;
        if (event == SCAN_HOLE) {
            hole_from = item.from;
            continue;
        }
        if (!l->info->is_sealed && item.header.seq >= l->limit)
            return;
        record_check(l, &item, hole_from != 0 ? hole_from : item.from);
        hole_from = 0;
    }
    if (hole_from != 0)
        item.from = hole_from;
    if (l->expected <= last)
        missing(l, item.from, octets.len, l->expected, last);
    else if (l->info->is_sealed && item.from < octets.len)
        fault(l->c, "segment %016llx, octets %llu to %llu: no valid record", log_number(l),
              (unsigned long long)item.from, (unsigned long long)octets.len);
}

static void log_check(struct check *c, const struct log_segment *s)
{
    struct log_check l = { .c = c, .info = &s->info, .expected = s->info.header.first_seq };
    struct buf mem = BUF_INIT, footer_mem = BUF_INIT;
    struct err err = ERR_INIT;
    uint64_t bad_bytes = 0;
    slice octets;

    l.limit = c->durable_seq + 1;
    if (s->void_from != 0 && s->void_from < l.limit)
        l.limit = s->void_from;
    if (segment_read_all(c->j->segments, s->info.header.number, &mem, &bad_bytes, &err) < 0) {
        if (err.kind != ERR_NOTFOUND)
            fault(c, "segment %016llx cannot be read: %s", log_number(&l), err.text);
        goto out; /* not there: said by file_check */
    }
    if (bad_bytes != 0)
        fault(c, "segment %016llx: %llu octets cannot be read", log_number(&l), (unsigned long long)bad_bytes);
    octets = buf_slice(&mem);
    if (s->info.is_sealed) {
        octets = slice_sub(octets, 0, (size_t)s->info.records_end);
        l.has_footer = !s->info.is_footless && segment_read_footer(c->j->segments, s->info.header.number, &l.footer,
                                                                   &footer_mem, &err) == 0;
        if (l.has_footer)
            footer_begin(&l.cursor, &l.footer);
        else if (!s->info.is_footless)
            fault(c, "segment %016llx: the footer does not validate: %s", log_number(&l), err.text);
        entry_next(&l);
    }
    log_scan(&l, octets);
    c->result->segments++;
    c->result->bytes += mem.len;
out:
    buf_free(&mem);
    buf_free(&footer_mem);
}

/* --- body and compaction segments: in pieces, since they may be large --------------------------------------------- */

static void bodies_file_check(struct check *c, const struct segment_info *info)
{
    unsigned long long number = info->header.number;
    struct footer footer;
    struct footer_cursor cursor;
    struct footer_entry e;
    struct segment_pin pin;
    struct buf mem = BUF_INIT;
    struct err err = ERR_INIT;
    uint64_t at = SEGMENT_PAGE_BYTES;
    slice payload;

    if (!segment_pin(c->j->segments, info->header.number, &pin))
        return; /* a spooled body that was given up */
    if (segment_read_footer(c->j->segments, info->header.number, &footer, &mem, &err) < 0) {
        fault(c, "segment %016llx: the footer does not validate: %s", number, err.text);
        goto out;
    }
    footer_begin(&cursor, &footer);
    while (footer_next(&cursor, &e, &payload)) {
        struct record_header h;
        struct err why = ERR_INIT;

        if (e.offset != at)
            fault(c, "segment %016llx, octets %llu to %llu: no record", number, (unsigned long long)at,
                  (unsigned long long)e.offset);
        if (body_verify(&pin, e.header.object, e.offset + RECORD_HEADER_BYTES, e.header.length, &h, &why) < 0)
            fault(c, "segment %016llx, octet %llu: %s", number, (unsigned long long)e.offset, why.text);
        at = e.offset + record_disk_bytes(e.header.length);
        c->result->records++;
        c->result->bodies++;
    }
    if (at != info->records_end)
        fault(c, "segment %016llx, octets %llu to %llu: no record", number, (unsigned long long)at,
              (unsigned long long)info->records_end);
    c->result->segments++;
    c->result->bytes += info->bytes;
out:
    buf_free(&mem);
    segment_unpin(&pin);
}

/* A file that was removed under us is still readable until it is closed. */
static void file_check(struct check *c, uint64_t number)
{
    struct segment_pin pin;
    struct segment_info info;
    struct stat st;

    if (!segment_pin(c->j->segments, number, &pin)) {
        if (segment_dir_find(c->j->segments, number, &info))
            fault(c, "segment %016llx cannot be opened", (unsigned long long)number);
        return;
    }
    if (fstat(pin.fd, &st) == 0 && st.st_nlink == 0 && segment_dir_find(c->j->segments, number, &info))
        fault(c, "segment %016llx: its file has been removed", (unsigned long long)number);
    segment_unpin(&pin);
}

static void segments_check(struct check *c)
{
    struct log_segment *list;
    struct segment_info info;
    unsigned n;

    for (uint64_t at = 0; segment_dir_next(c->j->segments, &at, &info);) {
        file_check(c, info.header.number);
        if (info.header.salt == 0)
            fault(c, "segment %016llx: neither copy of its header is valid", (unsigned long long)info.header.number);
        else if (info.header.kind != SEGMENT_LOG && info.is_sealed)
            bodies_file_check(c, &info);
    }
    if (log_segments(c->j, &list, &n, NULL) < 0)
        return;
    for (unsigned i = 0; i < n; i++)
        if (list[i].info.is_sealed || list[i].info.header.first_seq <= c->durable_seq)
            log_check(c, &list[i]);
    mem_free(list);
}

/* Sequence numbers between the segments: emptied, or lost. */
static void gaps_check(struct check *c, struct journal_view *v)
{
    struct log_segment *list;
    uint64_t next = 1;
    unsigned n;

    if (log_segments(c->j, &list, &n, NULL) < 0)
        return;
    for (unsigned i = 0; i < n; i++) {
        const struct segment_info *info = &list[i].info;

        if (info->header.first_seq > next && !range_is_gone(v, next, info->header.first_seq - 1))
            fault(c, "records %llu to %llu are in no segment before %016llx, and were not emptied",
                  (unsigned long long)next, (unsigned long long)info->header.first_seq - 1,
                  (unsigned long long)info->header.number);
        if (info->is_sealed && info->last_seq >= next)
            next = info->last_seq + 1;
        else if (info->header.first_seq > next)
            next = info->header.first_seq;
        if (!info->is_sealed && i + 1 < n && list[i + 1].info.header.first_seq > next)
            next = list[i + 1].info.header.first_seq;
    }
    mem_free(list);
}

/* --- bodies where the index says ---------------------------------------------------------------------------------- */

static void body_check(struct check *c, uint64_t id, const struct body_info *b)
{
    struct segment_pin pin;
    struct record_header h;
    struct err err = ERR_INIT;

    if (b->segment == 0) {
        fault(c, "body %llu: its octets are lost", (unsigned long long)id);
        return;
    }
    if (!segment_pin(c->j->segments, b->segment, &pin)) {
        fault(c, "body %llu: segment %016llx does not exist", (unsigned long long)id, (unsigned long long)b->segment);
        return;
    }
    if (body_header_verify(&pin, id, b->offset, b->length, &h, &err) < 0)
        fault(c, "%s", err.text);
    segment_unpin(&pin);
}

struct live { /* octets of referenced bodies of one segment */
    uint64_t segment, bytes;
};

static void lives_check(struct check *c, struct journal_view *v, struct idmap *lives)
{
    struct journal_cursor cursor;
    slice key, value;
    struct live *l;
    void *item;
    uint64_t number;

    journal_cursor_begin(&cursor, v, TABLE_SEGMENT);
    while (journal_cursor_next(&cursor, &key, &value)) {
        uint64_t bytes = value.len == 8 ? get_le64(value.ptr) : 0;

        number = get_be64(key.ptr);
        l = idmap_del(lives, number);
        if (bytes != (l == NULL ? 0 : l->bytes))
            fault(c, "segment %016llx: the index counts %llu octets of bodies alive, there are %llu",
                  (unsigned long long)number, (unsigned long long)bytes,
                  (unsigned long long)(l == NULL ? 0 : l->bytes));
        mem_free(l);
    }
    journal_cursor_end(&cursor);
    for (size_t at = 0; idmap_next(lives, &at, &number, &item);) {
        l = item;
        if (l->bytes != 0)
            fault(c, "segment %016llx: the index counts no bodies alive, there are %llu octets",
                  (unsigned long long)number, (unsigned long long)l->bytes);
        mem_free(l);
    }
}

static void bodies_check(struct check *c, struct journal_view *v)
{
    struct journal_cursor cursor;
    struct idmap lives;
    slice key, value;

    idmap_init(&lives);
    journal_cursor_begin(&cursor, v, TABLE_BODY);
    while (journal_cursor_next(&cursor, &key, &value)) {
        struct body_info b;
        struct live *l;

        if (key.len != 8 || value.len != BODY_VALUE_BYTES) {
            fault(c, "the index holds a body row of a wrong size");
            continue;
        }
        b = (struct body_info){ get_le64(value.ptr), get_le64(value.ptr + 8), get_le32(value.ptr + 16),
                                get_le32(value.ptr + 20) };
        if (b.refs == 0)
            continue;
        body_check(c, get_be64(key.ptr), &b);
        if (b.segment == 0)
            continue;
        l = idmap_get(&lives, b.segment);
        if (l == NULL) {
            l = mem_alloc(sizeof *l);
            l->segment = b.segment;
            idmap_put(&lives, b.segment, l);
        }
        l->bytes += b.length;
    }
    journal_cursor_end(&cursor);
    lives_check(c, v, &lives);
    idmap_free(&lives);
}

/* --- the index against one rebuilt -------------------------------------------------------------------------------- */

static void lines_say(struct check *c, int order, struct buf *have, struct buf *want)
{
    if (order < 0)
        fault(c, "only in the index: %.*s", LINE_SHOWN_BYTES, buf_str(have));
    else if (order > 0)
        fault(c, "only in the log: %.*s", LINE_SHOWN_BYTES, buf_str(want));
    else
        fault(c, "the index says %.*s, the log %.*s", LINE_SHOWN_BYTES, buf_str(have), LINE_SHOWN_BYTES, buf_str(want));
}

static int dumps_compare(struct check *c, struct journal_view *have_view, struct journal *beside,
                         struct journal_view *want_view, struct err *err)
{
    struct dumper have, want;
    struct buf a = BUF_INIT, b = BUF_INIT;
    unsigned shown = 0;
    bool more_a, more_b;

    dumper_begin(&have, c->j, have_view);
    dumper_begin(&want, beside, want_view);
    more_a = dumper_next(&have, &a);
    more_b = dumper_next(&want, &b);
    while ((more_a || more_b) && shown < DIFFERENCES_SHOWN) {
        int order = !more_a ? 1 : !more_b ? -1 : dumper_cmp(&have, &want);

        if (order != 0 || !slice_eq(buf_slice(&a), buf_slice(&b))) {
            lines_say(c, order, &a, &b);
            if (++shown == DIFFERENCES_SHOWN)
                c->say(c->arg, "further differences are not shown");
        }
        if (order <= 0)
            more_a = dumper_next(&have, &a);
        if (order >= 0)
            more_b = dumper_next(&want, &b);
    }
    dumper_end(&have);
    dumper_end(&want);
    buf_free(&a);
    buf_free(&b);
    return have_view->failed || want_view->failed ? err_set(err, ERR_TEMP, "the index failed while it was read") : 0;
}

/* A journal object around the same segments, with an index of its own and rooms with states of their own. */
struct beside {
    struct journal *j;
    struct journal_room *rooms;
    const struct journal_room **pointers;
    unsigned room_count; /* without the journal's own */
    struct buf dir;
};

static void dir_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(path);
}

static void beside_free(struct beside *b)
{
    if (b->j != NULL) {
        b->j->segments = NULL; /* the other's */
        journal_free(b->j);
    }
    for (unsigned i = 0; i < b->room_count; i++)
        if (b->rooms[i].state_destroy != NULL && b->rooms[i].state != NULL)
            b->rooms[i].state_destroy(b->rooms[i].state);
    mem_free(b->rooms);
    mem_free(b->pointers);
    dir_remove(buf_str(&b->dir));
    buf_free(&b->dir);
}

/* 1: ready; 0: a room cannot be doubled; -1. */
static int beside_new(struct beside *b, struct journal *j, struct err *err)
{
    struct index_conf conf = { .map_bytes = j->conf.index_map_bytes,
                               .ahead_bytes = 1024 * 1024,
                               .readers_max = 8,
                               .boot_id = j->boot_id };
    struct journal_setup setup = { .dir = j->dir, .conf = &j->conf, .clock = j->clock, .boot_id = j->boot_id };
    enum index_open_result trust;
    char why[128];

    memset(b, 0, sizeof *b);
    buf_printf(&b->dir, "%s/check", j->dir);
    dir_remove(buf_str(&b->dir));
    b->rooms = mem_alloc_array(j->room_count, sizeof *b->rooms);
    b->pointers = mem_alloc_array(j->room_count, sizeof *b->pointers);
    for (unsigned i = 1; i < j->room_count; i++) {
        struct journal_room *room = &b->rooms[b->room_count];

        *room = *j->rooms[i];
        if (room->state != NULL && room->state_new == NULL)
            return 0;
        room->state = room->state_new != NULL ? room->state_new() : NULL;
        b->pointers[b->room_count++] = room;
    }
    setup.rooms = b->pointers;
    setup.room_count = b->room_count;
    b->j = journal_new(&setup);
    committer_init(b->j);
    rooms_register(b->j, &setup);
    memcpy(b->j->id, j->id, sizeof b->j->id);
    b->j->epoch = j->epoch;
    b->j->segments = j->segments;
    if (mkdir(buf_str(&b->dir), 0700) < 0)
        return err_sys(err, errno, "making %s", buf_str(&b->dir));
    if (index_open(&b->j->index, buf_str(&b->dir), &conf, b->j->id, b->j->rooms, b->j->room_count, true, &trust, why,
                   err) < 0)
        return -1;
    return 1;
}

/* --- a snapshot with nothing in memory: taken by the committer right after the rooms have settled ----------------- */

struct snapshot {
    struct journal_op op;
    struct journal *j;
    struct journal_view view;
    struct err err;
    pthread_mutex_t lock; /* lock rank 90 */
    pthread_cond_t cond;
    bool is_done;
};

static int snapshot_run(struct journal_tx *tx UNUSED, struct journal_op *op UNUSED, struct err *err UNUSED)
{
    return 0;
}

static void snapshot_done(struct journal_op *op)
{
    struct snapshot *s = CONTAINER_OF(op, struct snapshot, op);

    s->err = op->err;
    if (s->err.kind == ERR_NONE)
        index_read_begin(s->j->index, &s->view, &s->err);
    pthread_mutex_lock(&s->lock);
    s->is_done = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static int snapshot_take(struct journal *j, struct journal_view *v, struct err *err)
{
    struct snapshot s = { .op = { .run = snapshot_run,
                                  .done = snapshot_done,
                                  .session = UINT64_MAX,
                                  .lane = LANE_MAINTENANCE,
                                  .flags = OP_FREES | OP_SETTLE },
                          .j = j };

    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.cond, NULL);
    if (journal_submit(j, &s.op)) {
        pthread_mutex_lock(&s.lock);
        while (!s.is_done)
            pthread_cond_wait(&s.cond, &s.lock);
        pthread_mutex_unlock(&s.lock);
    } else {
        err_set(&s.err, ERR_TEMP, "the journal takes no operations now");
    }
    pthread_cond_destroy(&s.cond);
    pthread_mutex_destroy(&s.lock);
    *v = s.view;
    v->began_ms = INT64_MAX; /* this one reads long, and knows it */
    if (s.err.kind == ERR_NONE)
        return 0;
    if (err != NULL)
        *err = s.err;
    return -1;
}

static int rebuilt_compare(struct check *c, struct beside *b, struct journal_view *v, uint64_t upto, struct err *err)
{
    struct journal_view fresh;
    int rc;

    if (replay_beside(b->j, upto, true, err) < 0 || index_read_begin(b->j->index, &fresh, err) < 0)
        return -1;
    fresh.began_ms = INT64_MAX;
    rc = dumps_compare(c, v, b->j, &fresh, err);
    index_read_end(&fresh);
    return rc;
}

static int index_check(struct check *c, struct err *err)
{
    struct beside b;
    struct journal_view v;
    struct index_meta meta;
    int ready = beside_new(&b, c->j, err), rc = -1;

    if (ready < 0 || (ready > 0 && replay_beside(b.j, c->durable_seq, false, err) < 0))
        goto out;
    if (snapshot_take(c->j, &v, err) < 0)
        goto out;
    index_meta_get(&v, &meta);
    gaps_check(c, &v);
    bodies_check(c, &v);
    rc = ready > 0 ? rebuilt_compare(c, &b, &v, meta.applied, err) : 0;
    index_read_end(&v);
    if (ready == 0)
        c->say(c->arg, "the index was not compared with the log: a room cannot be rebuilt beside itself");
out:
    beside_free(&b);
    return rc;
}

int journal_check(struct journal *j, journal_say_fn *say, void *arg, struct journal_check_result *result,
                  struct err *err)
{
    struct journal_check_result unwanted;
    struct check c = { .j = j, .say = say, .arg = arg, .result = result != NULL ? result : &unwanted };
    int rc;

    memset(c.result, 0, sizeof *c.result);
    if (catchup_refuse(j, err) < 0)
        return -1;
    pthread_mutex_lock(&j->care);
    helpers_wait(j);
    c.durable_seq = journal_durable_seq(j);
    segments_check(&c);
    rc = index_check(&c, err);
    pthread_mutex_unlock(&j->care);
    if (rc < 0)
        return -1;
    return c.result->faults > INT32_MAX ? INT32_MAX : (int)c.result->faults;
}
