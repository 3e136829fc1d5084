/* walk.c - all that the log still says, in sequence: history of deleted segments, sealed segments, the tail. */
#include "journal/history.h"
#include "journal/internal.h"

#include <stdlib.h>

#include "base/diag.h"
#include "base/mem.h"

struct source {
    uint64_t number, first_seq;
    bool is_history;
    struct log_segment segment;
};

struct walk {
    struct journal *j;
    uint64_t from_seq, limit, last_seq;
    uint64_t segment;
    const slice *keys;
    unsigned key_count;
    journal_visit_fn *visit;
    void *arg;
    bool is_stopped;
};

static bool give(struct walk *w, const struct record *r, uint64_t offset)
{
    if (r->seq < w->from_seq || r->seq <= w->last_seq || r->seq > w->limit)
        return true;
    w->last_seq = r->seq;
    if (w->visit(w->arg, r, w->segment, offset))
        return true;
    w->is_stopped = true;
    return false;
}

static int on_walked(void *arg, const struct record *r, const struct record_header *h UNUSED, uint64_t offset,
                     struct err *err)
{
    return give(arg, r, offset) ? 0 : err_set(err, ERR_NONE, "stopped");
}

/* Whether the file is worth unpacking. */
static bool history_may_have(struct walk *w, uint64_t number, struct err *err)
{
    struct history_head h;
    struct buf filter = BUF_INIT;
    bool may_have = false;

    if (history_head(w->j, number, &h, &filter, err) == 0 && h.last_seq >= w->from_seq) {
        may_have = w->key_count == 0;
        for (unsigned i = 0; i < w->key_count && !may_have; i++)
            may_have = history_filter_has(buf_slice(&filter), w->keys[i]);
    }
    buf_free(&filter);
    return may_have;
}

/* A damaged file is said and left out. */
static void history_walk(struct walk *w, uint64_t number)
{
    struct buf mem = BUF_INIT;
    struct footer footer;
    struct footer_cursor c;
    struct footer_entry e;
    struct err err = ERR_INIT;
    slice payload;

    if (!history_may_have(w, number, &err) || history_read(w->j, number, &footer, &mem, &err) < 0) {
        if (err.kind != ERR_NONE)
            diag_warn("journal", "history is left out: %s", err.text);
        goto out;
    }
    w->segment = number;
    footer_begin(&c, &footer);
    while (footer_next(&c, &e, &payload)) {
        struct record r = { e.header.type,   e.header.flags,   e.header.part, e.header.seq,
                            e.header.object, e.header.time_ms, payload };

        if (!give(w, &r, e.offset))
            break;
    }
out:
    buf_free(&mem);
}

static int source_cmp(const void *a, const void *b)
{
    const struct source *x = a, *y = b;

    if (x->number != y->number)
        return x->number > y->number ? 1 : -1;
    return (x->is_history < y->is_history) - (x->is_history > y->is_history);
}

/* Numbers of segments rise with their sequences, so that one order serves both kinds. */
static int sources_list(struct journal *j, struct source **out, unsigned *count, struct err *err)
{
    struct history_file *files;
    struct log_segment *segments;
    unsigned file_count, segment_count, n = 0;

    if (history_list(j, &files, &file_count, err) < 0)
        return -1;
    log_segments(j, &segments, &segment_count, err);
    *out = mem_alloc_array(file_count + segment_count + 1, sizeof **out);
    for (unsigned i = 0; i < file_count; i++)
        (*out)[n++] = (struct source){ .number = files[i].number, .is_history = true };
    for (unsigned i = 0; i < segment_count; i++)
        (*out)[n++] = (struct source){ .number = segments[i].info.header.number, .segment = segments[i] };
    qsort(*out, n, sizeof **out, source_cmp);
    *count = n;
    mem_free(files);
    mem_free(segments);
    return 0;
}

int journal_walk_keys(struct journal *j, uint64_t from_seq, const slice *keys, unsigned key_count,
                      journal_visit_fn *visit, void *arg, struct err *err)
{
    struct walk w = { .j = j, .from_seq = from_seq, .limit = journal_durable_seq(j), .keys = keys,
                      .key_count = key_count, .visit = visit, .arg = arg };
    struct segment_visit v = { .record = on_walked, .arg = &w };
    struct source *list;
    unsigned n;
    int rc = 0;

    pthread_mutex_lock(&j->care); /* no segment goes while it is read */
    if (sources_list(j, &list, &n, err) < 0) {
        pthread_mutex_unlock(&j->care);
        return -1;
    }
    for (unsigned i = 0; i < n && rc == 0 && !w.is_stopped; i++) {
        const struct log_segment *s = &list[i].segment;

        if (list[i].is_history) {
            history_walk(&w, list[i].number);
        } else if (!s->info.is_sealed || s->info.last_seq >= from_seq) {
            w.segment = list[i].number;
            rc = segment_visit(j, s, w.limit, &v, NULL, NULL, err);
        }
    }
    pthread_mutex_unlock(&j->care);
    mem_free(list);
    return w.is_stopped ? 0 : rc;
}

int journal_walk(struct journal *j, uint64_t from_seq, journal_visit_fn *visit, void *arg, struct err *err)
{
    return journal_walk_keys(j, from_seq, NULL, 0, visit, arg, err);
}
