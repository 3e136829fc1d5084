/* view.c - versions of mailboxes in memory: chunks of rows, one per page of UIDs, shared between versions. */
#include "store/internal.h"

#include <stdlib.h>

#include "base/budget.h"
#include "base/crc.h"
#include "base/diag.h"
#include "base/map.h"
#include "base/mem.h"
#include "store/views.h"

#define KEPT_VIEWS 8 /* versions held although no session does, for clients that come and go */
#define KEPT_ROWS_MAX 20000u /* larger ones are not */
#define QUICK_ROWS_MAX 4096u /* are read in about a millisecond */

struct chunk { /* shared, immutable once built */
    _Atomic uint32_t refs;
    uint32_t part, count;
    uint64_t modseq; /* of the page when it was read */
    struct store_row rows[];
};

struct keywords { /* shared, immutable */
    _Atomic uint32_t refs;
    uint32_t count;
    struct buf octets;
    uint32_t at[STORE_KEYWORDS_MAX + 1];
};

struct store_view {
    struct store *store;
    uint32_t refs; /* under views->lock */
    uint64_t mailbox, modseq;
    uint32_t uidvalidity, uidnext, count, first_unseen, chunk_count;
    struct keywords *keywords;
    struct chunk **chunks;
    uint32_t *before; /* rows in the chunks in front */
};

struct view_set {
    pthread_mutex_t lock; /* lock rank 45: the map and the counts of views */
    struct idmap latest; /* mailbox -> struct store_view; not counted */
    struct store_view *kept[KEPT_VIEWS];
    unsigned kept_at;
};

struct view_set *view_set_new(void)
{
    struct view_set *set = mem_alloc(sizeof *set);

    pthread_mutex_init(&set->lock, NULL);
    idmap_init(&set->latest);
    return set;
}

/* --- chunks ------------------------------------------------------------------------------------------------------ */

static void chunk_unref(struct chunk *c)
{
    if (c != NULL && atomic_fetch_sub(&c->refs, 1) == 1)
        mem_free(c);
}

static void keywords_unref(struct keywords *k)
{
    if (k == NULL || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    buf_free(&k->octets);
    mem_free(k);
}

static void view_free(struct store_view *v)
{
    for (uint32_t i = 0; i < v->chunk_count; i++)
        chunk_unref(v->chunks[i]);
    keywords_unref(v->keywords);
    mem_free(v->chunks);
    mem_free(v->before);
    mem_free(v);
}

/* The page's rows as the transaction has them. */
static struct chunk *chunk_read(struct journal_view *jv, uint64_t mailbox, uint32_t part, const struct page_count *page)
{
    uint32_t first = (part - 1) * STORE_PAGE_ROWS;
    struct chunk *c = mem_alloc(sizeof *c + (size_t)page->messages * sizeof c->rows[0]);
    struct row_cursor cursor;

    atomic_init(&c->refs, 1);
    c->part = part;
    c->modseq = page->modseq;
    row_cursor_begin(&cursor, jv, mailbox, first == 0 ? 1 : first);
    while (c->count < page->messages && row_cursor_next(&cursor, &c->rows[c->count]) &&
           page_part(c->rows[c->count].uid) == part)
        c->count++;
    row_cursor_end(&cursor);
    return c;
}

static struct chunk *chunk_of(const struct store_view *v, uint32_t part)
{
    uint32_t low = 0, high = v->chunk_count;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (v->chunks[mid]->part == part)
            return v->chunks[mid];
        if (v->chunks[mid]->part < part)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static void chunk_add(struct store_view *v, struct chunk *c, uint32_t *cap)
{
    if (v->chunk_count == *cap) {
        *cap = *cap == 0 ? 4 : *cap * 2;
        v->chunks = mem_realloc(v->chunks, *cap * sizeof(struct chunk *));
        v->before = mem_realloc(v->before, *cap * sizeof *v->before);
    }
    v->before[v->chunk_count] = v->count;
    v->chunks[v->chunk_count++] = c;
    v->count += c->count;
}

static void chunks_read(struct store_view *v, struct journal_view *jv, const struct store_view *old)
{
    struct journal_cursor cursor;
    struct store_key from;
    slice key = key_u64_u32(&from, v->mailbox, 1), found, value;
    uint32_t cap = 0;
    bool more;

    journal_cursor_begin(&cursor, jv, STORE_TABLE_PAGE);
    for (more = journal_cursor_seek(&cursor, key, &found, &value); more;
         more = journal_cursor_next(&cursor, &found, &value)) {
        struct page_count page;
        struct chunk *c;
        uint32_t part;

        if (found.len != 12 || get_be64(found.ptr) != v->mailbox)
            break;
        part = get_be32(found.ptr + 8);
        if (!page_count_decode(value, &page) || page.messages == 0)
            continue;
        c = old != NULL ? chunk_of(old, part) : NULL;
        if (c != NULL && c->modseq == page.modseq && c->count == page.messages)
            atomic_fetch_add(&c->refs, 1);
        else
            c = chunk_read(jv, v->mailbox, part, &page);
        chunk_add(v, c, &cap);
    }
    journal_cursor_end(&cursor);
}

static struct keywords *keywords_make(const struct mailbox_head *h)
{
    struct keywords *k = mem_alloc(sizeof *k);

    atomic_init(&k->refs, 1);
    k->count = h->keyword_count;
    for (uint32_t i = 0; i < h->keyword_count; i++) {
        k->at[i] = (uint32_t)k->octets.len;
        buf_put_slice(&k->octets, h->keyword[i]);
    }
    k->at[h->keyword_count] = (uint32_t)k->octets.len;
    return k;
}

/* As many names are not the same names: a place that no message used may have got another one. */
static bool keywords_are(const struct keywords *k, const struct mailbox_head *h)
{
    if (k->count != h->keyword_count)
        return false;
    for (uint32_t i = 0; i < k->count; i++)
        if (!slice_eq(slice_of(k->octets.ptr + k->at[i], k->at[i + 1] - k->at[i]), h->keyword[i]))
            return false;
    return true;
}

static void first_unseen_find(struct store_view *v)
{
    for (uint32_t i = 0; i < v->chunk_count; i++)
        for (uint32_t k = 0; k < v->chunks[i]->count; k++)
            if ((v->chunks[i]->rows[k].system & STORE_SEEN) == 0) {
                v->first_unseen = v->before[i] + k + 1;
                return;
            }
}

/* --- versions ---------------------------------------------------------------------------------------------------- */

static bool is_present(const struct store_view *v, const struct mailbox_head *h, const struct mailbox_count *c)
{
    return v->modseq == c->max.modseq && v->uidnext == c->max.uidnext && v->count == c->messages &&
           keywords_are(v->keywords, h) && v->uidvalidity == h->uidvalidity;
}

static void unref_locked(struct view_set *set, struct store_view *v, struct store_view **dead)
{
    if (--v->refs != 0)
        return;
    if (idmap_get(&set->latest, v->mailbox) == v)
        idmap_del(&set->latest, v->mailbox);
    *dead = v;
}

struct store_view *store_view_ref(struct store_view *v)
{
    struct view_set *set = v->store->views->set;

    pthread_mutex_lock(&set->lock);
    v->refs++;
    pthread_mutex_unlock(&set->lock);
    return v;
}

void store_view_unref(struct store_view **vp)
{
    struct store_view *v = *vp, *dead = NULL;

    *vp = NULL;
    if (v == NULL)
        return;
    struct view_set *set = v->store->views->set;

    pthread_mutex_lock(&set->lock);
    unref_locked(set, v, &dead);
    pthread_mutex_unlock(&set->lock);
    if (dead != NULL)
        view_free(dead);
}

static struct store_view *latest_ref(struct view_set *set, uint64_t mailbox)
{
    struct store_view *v;

    pthread_mutex_lock(&set->lock);
    v = idmap_get(&set->latest, mailbox);
    if (v != NULL)
        v->refs++;
    pthread_mutex_unlock(&set->lock);
    return v;
}

/* v becomes the latest if it is newer; small ones are held for a while. */
static void publish(struct view_set *set, struct store_view *v)
{
    struct store_view *latest, *dead = NULL, *out;

    pthread_mutex_lock(&set->lock);
    latest = idmap_get(&set->latest, v->mailbox);
    if (latest == NULL || latest->modseq <= v->modseq)
        idmap_put(&set->latest, v->mailbox, v);
    if (v->count <= KEPT_ROWS_MAX) {
        unsigned at = set->kept_at;

        for (unsigned i = 0; i < KEPT_VIEWS; i++)
            if (set->kept[i] != NULL && set->kept[i]->mailbox == v->mailbox)
                at = i; /* one version of a mailbox is enough */
        if (at == set->kept_at)
            set->kept_at = (set->kept_at + 1) % KEPT_VIEWS;
        out = set->kept[at];
        set->kept[at] = v;
        v->refs++;
        if (out != NULL)
            unref_locked(set, out, &dead);
    }
    pthread_mutex_unlock(&set->lock);
    if (dead != NULL)
        view_free(dead);
}

void view_set_destroy(struct view_set *set)
{
    for (unsigned i = 0; i < KEPT_VIEWS; i++)
        store_view_unref(&set->kept[i]);
    if (idmap_count(&set->latest) != 0)
        diag_warn("store", "%zu mailbox views are still held at the end", idmap_count(&set->latest));
    idmap_free(&set->latest);
    pthread_mutex_destroy(&set->lock);
    mem_free(set);
}

static struct store_view *view_make(struct store *s, struct journal_view *jv, uint64_t mailbox,
                                    const struct mailbox_head *h, const struct mailbox_count *c,
                                    const struct store_view *old)
{
    struct store_view *v = mem_alloc(sizeof *v);

    v->store = s;
    v->refs = 1;
    v->mailbox = mailbox;
    v->modseq = c->max.modseq;
    v->uidvalidity = h->uidvalidity;
    v->uidnext = c->max.uidnext;
    if (old != NULL && keywords_are(old->keywords, h)) {
        v->keywords = old->keywords;
        atomic_fetch_add(&v->keywords->refs, 1);
    } else {
        v->keywords = keywords_make(h);
    }
    chunks_read(v, jv, old);
    first_unseen_find(v);
    return v;
}

/* What opening takes that nobody holds yet. */
static uint64_t view_bytes(const struct mailbox_count *c)
{
    return sizeof(struct store_view) + (uint64_t)c->messages * sizeof(struct store_row);
}

int store_view_open(struct store *s, uint64_t mailbox, struct store_view **out, struct err *err)
{
    struct view_set *set = s->views->set;
    struct store_view *old;
    struct journal_view jv;
    struct mailbox_head head;
    struct mailbox_count count;
    int rc = -1;

    *out = NULL;
    if (journal_read_begin(s->journal, &jv, err) < 0)
        return -1;
    old = latest_ref(set, mailbox);
    if (!mailbox_head_get(&jv, mailbox, &head) || (head.flags & HEAD_DOOMED) != 0) {
        err_set(err, ERR_NOTFOUND, "mailbox %llu does not exist", (unsigned long long)mailbox);
    } else if (store_account_ready(s, &jv, head.account, err)) {
        mailbox_count_get(&jv, mailbox, &count);
        if (old != NULL && is_present(old, &head, &count)) {
            *out = old;
            old = NULL;
            rc = 0;
        } else if (old == NULL && !budget_allows(view_bytes(&count))) {
            err_set(err, ERR_TEMP, "memory is short: mailbox %llu cannot be opened now", (unsigned long long)mailbox);
        } else {
            if (old != NULL)
                budget_charge(view_bytes(&count)); /* who holds the old one runs, and goes on */
            *out = view_make(s, &jv, mailbox, &head, &count, old);
            publish(set, *out);
            rc = 0;
        }
    }
    journal_read_end(&jv);
    store_view_unref(&old);
    return rc;
}

/* Rows in the pages that changed since the latest version. */
static uint64_t rows_to_read(struct journal_view *jv, uint64_t mailbox, const struct store_view *old)
{
    struct journal_cursor cursor;
    struct store_key from;
    slice key = key_u64_u32(&from, mailbox, 1), found, value;
    uint64_t rows = 0;

    journal_cursor_begin(&cursor, jv, STORE_TABLE_PAGE);
    for (bool more = journal_cursor_seek(&cursor, key, &found, &value);
         more && found.len == 12 && get_be64(found.ptr) == mailbox;
         more = journal_cursor_next(&cursor, &found, &value)) {
        struct page_count page;
        const struct chunk *c;

        if (!page_count_decode(value, &page))
            continue;
        c = old != NULL ? chunk_of(old, get_be32(found.ptr + 8)) : NULL;
        if (c == NULL || c->modseq != page.modseq || c->count != page.messages)
            rows += page.messages;
    }
    journal_cursor_end(&cursor);
    return rows;
}

bool store_view_is_heavy(struct store *s, uint64_t mailbox)
{
    struct mailbox_count count;
    struct store_view *old;
    struct journal_view jv;
    bool is_heavy = false;

    if (journal_read_begin(s->journal, &jv, NULL) < 0)
        return false;
    if (mailbox_count_get(&jv, mailbox, &count) && count.messages > QUICK_ROWS_MAX) {
        old = latest_ref(s->views->set, mailbox);
        is_heavy = (old == NULL || old->modseq != count.max.modseq) && rows_to_read(&jv, mailbox, old) > QUICK_ROWS_MAX;
        store_view_unref(&old);
    }
    journal_read_end(&jv);
    return is_heavy;
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

uint64_t store_view_mailbox(const struct store_view *v)
{
    return v->mailbox;
}

uint32_t store_view_count(const struct store_view *v)
{
    return v->count;
}

uint32_t store_view_uidvalidity(const struct store_view *v)
{
    return v->uidvalidity;
}

uint32_t store_view_uidnext(const struct store_view *v)
{
    return v->uidnext;
}

uint64_t store_view_modseq(const struct store_view *v)
{
    return v->modseq;
}

uint32_t store_view_first_unseen(const struct store_view *v)
{
    return v->first_unseen;
}

uint32_t store_view_keyword_count(const struct store_view *v)
{
    return v->keywords->count;
}

uint32_t store_view_keywords_mark(const struct store_view *v)
{
    const struct keywords *k = v->keywords;

    return crc32c(k->count, k->octets.ptr, k->octets.len) ^ crc32c(0, k->at, (k->count + 1) * sizeof k->at[0]);
}

slice store_view_keyword(const struct store_view *v, unsigned bit)
{
    const struct keywords *k = v->keywords;

    if (bit >= k->count)
        return SLICE_NONE;
    return slice_of(k->octets.ptr + k->at[bit], k->at[bit + 1] - k->at[bit]);
}

const struct store_row *store_view_row(const struct store_view *v, uint32_t number)
{
    uint32_t low = 0, high = v->chunk_count, at = number - 1;

    if (number == 0 || number > v->count)
        return NULL;
    /* Few mailboxes have holes: the chunk is where it would be without any, or next to it. */
    if (at / STORE_PAGE_ROWS < high && v->before[at / STORE_PAGE_ROWS] <= at &&
        at - v->before[at / STORE_PAGE_ROWS] < v->chunks[at / STORE_PAGE_ROWS]->count)
        return &v->chunks[at / STORE_PAGE_ROWS]->rows[at - v->before[at / STORE_PAGE_ROWS]];
    while (high - low > 1) { /* the last chunk that begins at or before it */
        uint32_t mid = (low + high) / 2;

        if (v->before[mid] <= at)
            low = mid;
        else
            high = mid;
    }
    return &v->chunks[low]->rows[at - v->before[low]];
}

uint32_t store_view_uid(const struct store_view *v, uint32_t number)
{
    const struct store_row *row = store_view_row(v, number);

    return row == NULL ? 0 : row->uid;
}

uint32_t store_view_find_ge(const struct store_view *v, uint32_t uid)
{
    uint32_t low = 0, high = v->chunk_count, part = page_part(uid);
    const struct chunk *c;
    uint32_t begin;

    if (high != 0 && part >= v->chunks[0]->part && part - v->chunks[0]->part < high &&
        v->chunks[part - v->chunks[0]->part]->part == part)
        low = high = part - v->chunks[0]->part; /* no page in front of it is empty */
    while (low < high) { /* the first chunk whose page reaches the uid */
        uint32_t mid = (low + high) / 2;

        if (v->chunks[mid]->part < part)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == v->chunk_count)
        return v->count + 1;
    c = v->chunks[low];
    begin = v->before[low];
    low = 0;
    high = c->count;
    if (uid >= c->rows[0].uid && uid - c->rows[0].uid < high && c->rows[uid - c->rows[0].uid].uid == uid)
        return begin + (uid - c->rows[0].uid) + 1; /* no hole in front of it */
    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (c->rows[mid].uid < uid)
            low = mid + 1;
        else
            high = mid;
    }
    return begin + low + 1; /* behind the chunk: the first of the next one */
}

uint32_t store_view_find(const struct store_view *v, uint32_t uid)
{
    uint32_t number = store_view_find_ge(v, uid);

    return number <= v->count && store_view_uid(v, number) == uid ? number : 0;
}

/* --- what changed ------------------------------------------------------------------------------------------------ */

/* Both chunks are in order of uid, so that one walk along both finds all: a client that flips 100,000 flags makes every
 * row differ, and a search for each would hold up the reactor. `is` may be NULL: the page is empty now. */
static void expunged_tell(const struct store_view *old, uint32_t i, const struct chunk *is, store_diff_fn *fn,
                          void *arg)
{
    const struct chunk *was = old->chunks[i];
    uint32_t n = is == NULL ? 0 : is->count;

    for (uint32_t k = was->count; k-- > 0;) { /* from the back: EXPUNGE moves the numbers behind it */
        while (n > 0 && is->rows[n - 1].uid > was->rows[k].uid)
            n--;
        if (n == 0 || is->rows[n - 1].uid != was->rows[k].uid)
            fn(arg, STORE_DIFF_EXPUNGE, old->before[i] + k + 1, was->rows[k].uid);
    }
}

static void flags_tell(const struct store_view *now, uint32_t i, const struct chunk *was, store_diff_fn *fn, void *arg)
{
    const struct chunk *is = now->chunks[i];
    uint32_t n = 0;

    for (uint32_t k = 0; k < is->count; k++) {
        while (n < was->count && was->rows[n].uid < is->rows[k].uid)
            n++;
        if (n < was->count && was->rows[n].uid == is->rows[k].uid && was->rows[n].modseq != is->rows[k].modseq)
            fn(arg, STORE_DIFF_FLAGS, now->before[i] + k + 1, is->rows[k].uid);
    }
}

void store_view_diff(const struct store_view *old, const struct store_view *now, store_diff_fn *fn, void *arg)
{
    for (uint32_t i = old->chunk_count; i-- > 0;) {
        const struct chunk *is = chunk_of(now, old->chunks[i]->part);

        if (is != old->chunks[i])
            expunged_tell(old, i, is, fn, arg);
    }
    for (uint32_t i = 0; i < now->chunk_count; i++) {
        const struct chunk *was = chunk_of(old, now->chunks[i]->part);

        if (was != NULL && was != now->chunks[i])
            flags_tell(now, i, was, fn, arg);
    }
}

struct expunged {
    struct arena *mem;
    struct uid_range *ranges;
    unsigned count, cap;
};

static void expunged_add(struct expunged *e, const struct uid_range *r)
{
    if (e->count == e->cap) {
        unsigned cap = e->cap == 0 ? 16 : e->cap * 2;
        struct uid_range *more = arena_alloc_array(e->mem, cap, sizeof *more);

        if (e->count != 0)
            memcpy(more, e->ranges, e->count * sizeof *more);
        e->ranges = more;
        e->cap = cap;
    }
    e->ranges[e->count++] = *r;
}

static int range_cmp(const void *a, const void *b)
{
    const struct uid_range *x = a, *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

static void expunged_merge(struct expunged *e)
{
    unsigned n = 0;

    if (e->count == 0)
        return;
    qsort(e->ranges, e->count, sizeof *e->ranges, range_cmp);
    for (unsigned i = 1; i < e->count; i++) {
        if (e->ranges[i].first <= e->ranges[n].last + 1) {
            if (e->ranges[i].last > e->ranges[n].last)
                e->ranges[n].last = e->ranges[i].last;
        } else {
            e->ranges[++n] = e->ranges[i];
        }
    }
    e->count = n + 1;
}

bool store_expunged_since(struct store *s UNUSED, struct journal_view *v, uint64_t mailbox, uint64_t modseq,
                          struct arena *mem, struct uid_range **out, unsigned *count)
{
    struct expunged e = { .mem = mem };
    struct mailbox_count totals;
    struct journal_cursor cursor;
    struct store_key from;
    slice key, value;

    *out = NULL;
    *count = 0;
    if (!mailbox_count_get(v, mailbox, &totals) || totals.max.floor > modseq)
        return false;
    journal_cursor_begin(&cursor, v, STORE_TABLE_TOMB);
    for (bool more = journal_cursor_seek(&cursor, key_tomb(&from, mailbox, 0, 0), &key, &value);
         more && key.len == 20 && get_be64(key.ptr) == mailbox; more = journal_cursor_next(&cursor, &key, &value)) {
        struct reader in = reader_of(slice_from(value, 8));
        struct uid_range range;

        while (get_be64(key.ptr + 12) > modseq && payload_range_next(&in, &range))
            expunged_add(&e, &range);
    }
    journal_cursor_end(&cursor);
    expunged_merge(&e);
    *out = e.ranges;
    *count = e.count;
    return true;
}
