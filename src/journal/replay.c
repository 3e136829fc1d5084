/* replay.c - from segments to the index: sealing what an unclean stop left open, then applying what the index lacks.
 *
 * A trusted index only gets the records behind its position. One that is rebuilt is filled by catchup.c, in phases; the
 * plain order of a rebuild is kept here for the second index that a check makes, so that either checks the other: where
 * bodies lie in compaction segments; the newest image of every part; then all records in sequence, those older than
 * their part's image left out. */
#include "journal/catchup.h"

#include <stdlib.h>

#include "base/diag.h"
#include "base/mem.h"

#define REPLAY_TXN_RECORDS 20000

struct replay {
    struct journal *j;
    const struct journal_setup *setup;
    struct journal_tx *tx;
    struct index_meta meta; /* of the index as opened */
    bool is_rebuild;
    uint64_t upto; /* records behind it do not count; 0: all do */
    uint64_t segment; /* being replayed */
    uint64_t last_seq; /* highest met */
    uint64_t number_max; /* files behind it are new; 0: none is */
    bool is_footless; /* a segment could not be sealed or not for certain: what voids its end must stay */
    unsigned in_txn;
    uint64_t done_bytes, all_bytes;
};

void replay_damage(struct journal *j, uint64_t segment, uint64_t from, uint64_t to, uint64_t first_seq,
                   uint64_t last_seq)
{
    j->report.damaged_places++;
    j->report.lost_records += last_seq - first_seq + 1;
    counter_add(&journal_counters[JC_DAMAGED], 1);
    diag_error("journal", "damage in segment %016llx, octets %llu to %llu: records %llu to %llu are lost",
               (unsigned long long)segment, (unsigned long long)from, (unsigned long long)to,
               (unsigned long long)first_seq, (unsigned long long)last_seq);
}

static void on_damage(void *arg, uint64_t segment, uint64_t from, uint64_t to, uint64_t first_seq, uint64_t last_seq)
{
    struct replay *r = arg;

    if (r->upto != 0)
        return; /* beside a running journal: the check has said so, and the end of the tail is being written */
    if (last_seq > r->last_seq)
        r->last_seq = last_seq; /* numbers that were answered are never used again */
    replay_damage(r->j, segment, from, to, first_seq, last_seq);
}

/* --- transactions of the replay -----------------------------------------------------------------------------------
 * */

static int txn_begin(struct replay *r, struct err *err)
{
    if (index_begin(r->j->index, &r->tx->view, err) < 0)
        return -1;
    tx_reset(r->tx);
    r->tx->phase = TX_REPLAY;
    r->in_txn = 0;
    return 0;
}

static int txn_commit(struct replay *r, struct err *err)
{
    struct index_meta meta = r->meta;

    if (r->last_seq > meta.applied)
        meta.applied = r->last_seq;
    tx_live_flush(r->tx);
    meta.young_from = rooms_young_from(r->j);
    if (index_commit(&r->tx->view, &meta, err) < 0)
        return -1;
    for (unsigned i = 0; i < r->j->room_count; i++)
        if (r->j->rooms[i]->committed != NULL)
            r->j->rooms[i]->committed(r->j->rooms[i]->state);
    return 0;
}

static int txn_pace(struct replay *r, struct err *err)
{
    if (++r->in_txn < REPLAY_TXN_RECORDS)
        return 0;
    if (txn_commit(r, err) < 0)
        return -1;
    if (index_reserve(r->j->index, err) < 0)
        return -1;
    return txn_begin(r, err);
}

/* --- sealing ------------------------------------------------------------------------------------------------------
 * */

static int count_torn(struct replay *r, const struct log_segment *s, uint64_t cut, struct err *err)
{
    struct buf mem = BUF_INIT;
    struct scan scan;
    struct scan_item item;
    uint64_t bad, end = cut;

    if (segment_read_all(r->j->segments, s->info.header.number, &mem, &bad, err) < 0) {
        buf_free(&mem);
        return -1;
    }
    scan_begin(&scan, buf_slice(&mem), s->info.header.salt);
    scan.at = cut;
    while (scan_next(&scan, &item) != SCAN_END)
        end = item.to;
    if (item.cause == RECORD_BAD_PAYLOAD || item.cause == RECORD_CUT)
        end = item.from + RECORD_HEADER_BYTES;
    r->j->report.torn_bytes += end - cut;
    buf_free(&mem);
    return 0;
}

/* A log segment without footer: find its end, seal it there; an empty one goes. */
static int segment_end(struct replay *r, const struct log_segment *s, struct err *err)
{
    struct segment_visit v = { .damage = on_damage, .arg = r };
    uint64_t number = s->info.header.number, cut, last_seq;
    struct err why = ERR_INIT;

    if (segment_visit(r->j, s, r->is_rebuild ? 0 : r->meta.applied, &v, &cut, &last_seq, err) < 0)
        return -1;
    if (count_torn(r, s, cut, err) < 0)
        return -1;
    if (cut == SEGMENT_PAGE_BYTES && !r->is_footless)
        return segment_drop(r->j->segments, number, err);
    if (segment_seal(r->j->segments, number, cut, &why) == 0)
        return 0;
    if (why.kind != ERR_FULL) {
        *err = why;
        return -1;
    }
    /* A full disk is no reason to stay away: it can be emptied only by a server that runs. */
    diag_warn("journal", "segment %016llx stays without footer until the next start: %s", (unsigned long long)number,
              why.text);
    r->is_footless = true;
    return 0;
}

static int seal_open_ones(struct replay *r, struct err *err)
{
    struct log_segment *list;
    struct err why = ERR_INIT;
    unsigned n;
    int rc = log_segments(r->j, &list, &n, err);

    for (unsigned i = 0; i < n && rc == 0; i++) {
        if (list[i].info.is_sealed)
            continue;
        /* it may be empty, and go: what is before it must not end elsewhere then */
        if (i > 0 && segment_harden(r->j->segments, list[i - 1].info.header.number, &why) < 0) {
            diag_warn("journal", "empty segments stay: %s", why.text);
            r->is_footless = true;
        }
        rc = segment_end(r, &list[i], err);
    }
    mem_free(list);
    return rc;
}

/* --- rebuilding: places and images first --------------------------------------------------------------------------
 * */

static int on_place(void *arg, const struct record *rec, const struct record_header *h, uint64_t offset,
                    struct err *err)
{
    struct replay *r = arg;
    struct body_info b;

    if (rec->type != RT_BODY || (journal_body_info(&r->tx->view, rec->object, &b) && b.segment != 0))
        return 0;
    b = (struct body_info){ .segment = r->segment, .offset = offset + RECORD_HEADER_BYTES, .length = h->length };
    body_value_put(r->tx, rec->object, &b);
    return txn_pace(r, err);
}

static int places_read(struct replay *r, struct err *err)
{
    struct segment_visit v = { .record = on_place, .damage = on_damage, .arg = r };
    struct segment_info info;

    for (uint64_t at = 0; segment_dir_next(r->j->segments, &at, &info);) {
        struct log_segment s = { .info = info };

        if (info.header.kind != SEGMENT_COMPACT || !info.is_sealed)
            continue;
        r->segment = info.header.number;
        if (segment_visit(r->j, &s, 0, &v, NULL, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static int on_image(void *arg, const struct record *rec, const struct record_header *h UNUSED, uint64_t offset UNUSED,
                    struct err *err)
{
    struct replay *r = arg;

    if ((rec->flags & (RECORD_IMAGE | RECORD_END)) == 0 || (r->upto != 0 && rec->seq > r->upto))
        return 0;
    part_note(r->tx, rec);
    return txn_pace(r, err);
}

/* --- records in sequence ------------------------------------------------------------------------------------------
 * */

int replay_record(struct journal *j, const struct record *rec, struct err *err)
{
    struct err why = ERR_INIT;

    j->tx.now_ms = rec->time_ms;
    j->report.records_replayed++;
    if (tx_apply(&j->tx, rec, &why) == 0)
        return 0;
    if (why.kind != ERR_DAMAGE) {
        *err = why;
        return -1;
    }
    j->report.damaged_places++;
    counter_add(&journal_counters[JC_DAMAGED], 1);
    diag_error("journal", "record %llu in segment %016llx is left out: %s", (unsigned long long)rec->seq,
               (unsigned long long)j->tx.segment, why.text);
    return 0;
}

static int on_record(void *arg, const struct record *rec, const struct record_header *h, uint64_t offset,
                     struct err *err)
{
    struct replay *r = arg;
    struct journal_tx *tx = r->tx;
    const struct type_slot *slot = type_slot_find(r->j, rec->type);

    if (r->upto != 0 && rec->seq > r->upto)
        return 0;
    if (rec->seq > r->last_seq)
        r->last_seq = rec->seq;
    if (!r->is_rebuild && rec->seq <= r->meta.applied) {
        if (r->meta.young_from == 0 || rec->seq < r->meta.young_from || slot == NULL ||
            (slot->row->flags & TYPE_YOUNG) == 0)
            return 0;
        tx->phase = TX_YOUNG;
    } else {
        tx->phase = TX_REPLAY;
    }
    if (r->is_rebuild && part_is_dead(&tx->view, rec->object, rec->part, rec->seq) && (rec->flags & RECORD_BODY) == 0)
        return 0;
    tx->segment = r->segment;
    tx->at = offset;
    tx->body_length = h->length;
    if (replay_record(r->j, rec, err) < 0)
        return -1;
    return txn_pace(r, err);
}

bool range_is_gone(struct journal_view *v, uint64_t first, uint64_t last)
{
    while (first <= last) {
        struct journal_cursor c;
        unsigned char below[8];
        slice key, value;
        bool found;

        put_be64(below, first + 1);
        journal_cursor_begin(&c, v, TABLE_GONE);
        found = journal_cursor_seek_last(&c, slice_of(below, sizeof below), &key, &value);
        journal_cursor_end(&c);
        if (!found || value.len != 8 || get_le64(value.ptr) < first)
            return false;
        first = get_le64(value.ptr) + 1;
    }
    return true;
}

/* Sequence numbers that no segment holds and no emptying explains. */
static void gaps_check(struct replay *r, const struct log_segment *list, unsigned n)
{
    uint64_t next = 1;

    for (unsigned i = 0; i < n; i++) {
        uint64_t first = list[i].info.header.first_seq;

        if (first > next && !range_is_gone(&r->tx->view, next, first - 1)) {
            r->j->report.damaged_places++;
            r->j->report.lost_records += first - next;
            counter_add(&journal_counters[JC_DAMAGED], 1);
            diag_error("journal", "the segment before %016llx is missing: records %llu to %llu are lost",
                       (unsigned long long)list[i].info.header.number, (unsigned long long)next,
                       (unsigned long long)first - 1);
        }
        if (list[i].info.last_seq >= next)
            next = list[i].info.last_seq + 1;
    }
}

static void progress(struct replay *r, uint64_t bytes)
{
    r->done_bytes += bytes;
    if (r->setup->progress != NULL)
        r->setup->progress(r->setup->progress_arg, r->done_bytes, r->all_bytes);
}

static int records_replay(struct replay *r, const struct log_segment *list, unsigned n, struct err *err)
{
    struct segment_visit v = { .record = on_record, .damage = on_damage, .arg = r };
    uint64_t from = r->meta.applied + 1;

    if (r->meta.young_from != 0 && r->meta.young_from < from)
        from = r->meta.young_from;
    for (unsigned i = 0; i < n; i++) {
        r->segment = list[i].info.header.number;
        if (list[i].info.last_seq > r->last_seq && r->upto == 0)
            r->last_seq = list[i].info.last_seq;
        if (!r->is_rebuild && list[i].info.is_sealed && list[i].info.last_seq < from)
            continue;
        if (segment_visit(r->j, &list[i], r->upto, &v, NULL, NULL, err) < 0)
            return -1;
        progress(r, list[i].info.bytes);
    }
    return 0;
}

static int images_read(struct replay *r, const struct log_segment *list, unsigned n, struct err *err)
{
    struct segment_visit v = { .record = on_image, .arg = r };

    for (unsigned i = 0; i < n; i++)
        if (segment_visit(r->j, &list[i], r->upto, &v, NULL, NULL, err) < 0)
            return -1;
    return 0;
}

/* --- files that no longer count -----------------------------------------------------------------------------------
 * */

struct sweep {
    struct replay *r;
    uint64_t referenced;
};

static int on_swept(void *arg, const struct record *rec, const struct record_header *h UNUSED, uint64_t offset,
                    struct err *err UNUSED)
{
    struct sweep *s = arg;
    struct journal_tx *tx = s->r->tx;
    struct body_info b;

    if (rec->type != RT_BODY || !journal_body_info(&tx->view, rec->object, &b) || b.segment != s->r->segment ||
        b.offset != offset + RECORD_HEADER_BYTES)
        return 0;
    if (b.refs != 0)
        s->referenced++;
    else
        journal_del_u64(&tx->view, TABLE_BODY, rec->object);
    return 0;
}

static uint64_t segment_live(struct journal_view *v, uint64_t number)
{
    slice value;

    return journal_get_u64(v, TABLE_SEGMENT, number, &value) && value.len == 8 ? get_le64(value.ptr) : 0;
}

/* Leftovers of a crash while segments were emptied or bodies spooled. */
static bool is_leftover(struct replay *r, const struct segment_info *info)
{
    struct journal_view *v = &r->tx->view;
    slice value;

    if (info->is_damaged || (r->number_max != 0 && info->header.number > r->number_max))
        return false;
    switch (info->header.kind) {
    case SEGMENT_LOG:
        return info->is_sealed && info->last_seq >= info->header.first_seq &&
               range_is_gone(v, info->header.first_seq, info->last_seq);
    case SEGMENT_BODY: /* whatever became of its adoption: not while something that is alive lies there */
        return !journal_get_u64(v, TABLE_ADOPT, info->header.number, &value) &&
               segment_live(v, info->header.number) == 0;
    case SEGMENT_COMPACT:
        return !info->is_sealed || segment_live(v, info->header.number) == 0;
    }
    return false;
}

static int leftovers_remove(struct replay *r, struct err *err)
{
    struct segment_info info;

    tx_live_flush(r->tx); /* the table of live octets is looked at */
    for (uint64_t at = 0; segment_dir_next(r->j->segments, &at, &info);) {
        struct sweep s = { .r = r };
        struct segment_visit v = { .record = on_swept, .arg = &s };
        struct log_segment ls = { .info = info };

        if (!is_leftover(r, &info))
            continue;
        r->segment = info.header.number;
        if (info.is_sealed && info.header.kind != SEGMENT_BODY && segment_visit(r->j, &ls, 0, &v, NULL, NULL, err) < 0)
            return -1;
        if (s.referenced != 0)
            continue; /* the log still points here */
        if (segment_drop(r->j->segments, info.header.number, err) < 0)
            return -1;
    }
    return 0;
}

static uint64_t segments_bytes(struct journal *j, uint64_t *count)
{
    struct segment_info info;
    uint64_t bytes = 0;

    *count = 0;
    for (uint64_t at = 0; segment_dir_next(j->segments, &at, &info);) {
        bytes += info.bytes;
        ++*count;
    }
    return bytes;
}

static int replay_run(struct replay *r, struct err *err)
{
    struct journal *j = r->j;
    struct log_segment *list = NULL;
    unsigned n = 0;
    int rc = -1;

    if (seal_open_ones(r, err) < 0)
        return -1;
    r->all_bytes = segments_bytes(j, &j->report.segments);
    j->report.segments_bytes = r->all_bytes;
    if (log_segments(j, &list, &n, err) < 0)
        return -1;
    if (!r->is_rebuild && n != 0 && list[n - 1].info.last_seq < r->meta.applied) {
        err_set(err, ERR_DAMAGE, "the log ends at record %llu, the index knew %llu",
                (unsigned long long)list[n - 1].info.last_seq, (unsigned long long)r->meta.applied);
        j->next_seq = r->meta.applied + 1; /* never used twice */
        goto out;
    }
    if (r->is_rebuild) {
        rc = catchup_begin(j, list, n, err);
        list = NULL;
        goto out;
    }
    if (txn_begin(r, err) < 0)
        goto out;
    if (records_replay(r, list, n, err) < 0)
        goto out;
    gaps_check(r, list, n);
    if (leftovers_remove(r, err) < 0)
        goto out;
    r->tx->phase = TX_REPLAY;
    if (txn_commit(r, err) < 0)
        goto out;
    rc = 0;
out:
    index_abort(&r->tx->view);
    mem_free(list);
    return rc;
}

int replay_commit(struct journal *j, struct err *err)
{
    struct index_meta meta = { .applied = j->next_seq - 1 };

    tx_live_flush(&j->tx);
    meta.young_from = rooms_young_from(j);
    if (index_commit(&j->tx.view, &meta, err) < 0)
        return -1;
    rooms_committed(j);
    return 0;
}

int replay_finish(struct journal *j, const struct log_segment *list, unsigned count, uint64_t number_max,
                  struct err *err)
{
    static const struct journal_setup no_setup;
    struct replay r = { .j = j, .setup = &no_setup, .tx = &j->tx, .is_rebuild = true, .number_max = number_max };

    gaps_check(&r, list, count);
    return leftovers_remove(&r, err);
}

int replay_all(struct journal *j, enum index_open_result trust, const struct journal_setup *setup, struct err *err)
{
    struct replay r = { .j = j, .setup = setup, .tx = &j->tx, .is_rebuild = trust == INDEX_NEW };
    struct journal_view v;

    if (index_read_begin(j->index, &v, err) < 0)
        return -1;
    index_meta_get(&v, &r.meta);
    index_read_end(&v);
    if (r.meta.applied == 0) /* made, but nothing was written into it */
        r.is_rebuild = true;
    if (replay_run(&r, err) < 0)
        return -1;
    if (r.last_seq >= j->next_seq)
        j->next_seq = r.last_seq + 1;
    atomic_store(&j->durable_seq, j->next_seq - 1);
    return tail_settle(j, j->next_seq - 1, err);
}

int replay_beside(struct journal *beside, uint64_t upto, bool settle, struct err *err)
{
    static const struct journal_setup no_setup;
    struct replay r = { .j = beside, .setup = &no_setup, .tx = &beside->tx, .upto = upto };
    struct log_segment *list = NULL;
    struct journal_view v;
    unsigned n = 0;
    int rc = -1;

    if (upto == 0)
        return 0;
    if (index_read_begin(beside->index, &v, err) < 0)
        return -1;
    index_meta_get(&v, &r.meta);
    index_read_end(&v);
    r.is_rebuild = r.meta.applied == 0;
    r.meta.young_from = 0; /* the rooms hold their young ones since the first call */
    if (log_segments(beside, &list, &n, err) < 0 || txn_begin(&r, err) < 0)
        goto out;
    if (r.is_rebuild && (places_read(&r, err) < 0 || images_read(&r, list, n, err) < 0))
        goto out;
    if (records_replay(&r, list, n, err) < 0)
        goto out;
    r.last_seq = upto;
    rc = txn_commit(&r, err);
out:
    index_abort(&r.tx->view);
    mem_free(list);
    beside->next_seq = upto + 1;
    return rc < 0 || !settle ? rc : tail_settle(beside, upto, err);
}
