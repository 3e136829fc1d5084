/* due.c - who is due and in which order, what the scheduler is told, lists and sums, also of very many entries.
 *
 * PH_QUEUE_ENTRIES=1000000 makes the last test large; it says what it measured. */
#include "queue_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#define MAX 64

struct picked {
    struct queue_brief b[MAX];
    unsigned count;
    int64_t next_ms;
};

static bool skip_one(void *arg, uint64_t id)
{
    return *(uint64_t *)arg == id;
}

static struct picked pick(struct test *t, uint64_t dest, int64_t now_ms, unsigned max, uint64_t skipped)
{
    struct picked p = { .count = 0 };

    p.count = queue_due(t->site.queue, dest, now_ms, skipped != 0 ? skip_one : NULL, &skipped, p.b, max, &p.next_ms);
    return p;
}

static uint64_t dest_of(struct test *t, uint64_t id)
{
    struct queue_entry e;

    assert_true(test_get(t, id, &e));
    return e.dest;
}

static uint64_t put_at(struct test *t, enum queue_priority p, int64_t due_ms, const char *host)
{
    struct queue_entry e = test_entry(t, "tcp_local", host, 1);

    e.priority = p;
    if (due_ms > NOW) {
        e.state = QUEUE_DEFERRED;
        e.due_ms = due_ms;
    }
    return test_put_entry(t, &e);
}

/* Q6, over entries in memory and in tables alike. */
static void due__order_is_priority_then_time_then_id(void **state)
{
    static const struct {
        enum queue_priority p;
        int64_t due;
        unsigned place; /* in the order */
    } rows[] = {
        { QUEUE_NORMAL, 500, 5 },    { QUEUE_URGENT, 900, 2 },    { QUEUE_NONURGENT, 100, 7 },
        { QUEUE_NORMAL, 100, 3 },    { QUEUE_URGENT, 800, 1 },    { QUEUE_NORMAL, 100, 4 },
        { QUEUE_URGENT, 700, 0 },    { QUEUE_NONURGENT, 900, 8 }, { QUEUE_NORMAL, 900, 6 },
    };
    struct test *t = *state;
    uint64_t ids[ARRAY_LEN(rows)], dest;
    struct picked p;

    test_open(t);
    for (unsigned settled = 0; settled <= ARRAY_LEN(rows); settled++) {
        char host[20];

        snprintf(host, sizeof host, "h%u", settled);
        for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
            ids[i] = put_at(t, rows[i].p, NOW + rows[i].due, host);
            if (i + 1 == settled)
                test_settle(t);
        }
        dest = dest_of(t, ids[0]);
        p = pick(t, dest, NOW + 900, MAX, 0);
        assert_int_equal(p.count, ARRAY_LEN(rows));
        assert_int_equal(p.next_ms, 0);
        for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
            assert_int_equal(p.b[rows[i].place].id, ids[i]);
            assert_int_equal(p.b[rows[i].place].due_ms, NOW + rows[i].due);
            assert_int_equal(p.b[rows[i].place].priority, rows[i].p);
            assert_int_equal(p.b[rows[i].place].bytes, 17);
            assert_int_equal(p.b[rows[i].place].dest, dest);
        }
        p = pick(t, dest, NOW + 900, 4, 0); /* there are more */
        assert_int_equal(p.count, 4);
        assert_int_equal(p.next_ms, NOW + 900);
        p = pick(t, dest, NOW + 500, MAX, 0);
        assert_int_equal(p.count, 4);
        assert_int_equal(p.b[0].id, ids[3]);
        assert_int_equal(p.next_ms, NOW + 700);
        p = pick(t, dest, NOW + 99, MAX, 0);
        assert_int_equal(p.count, 0);
        assert_int_equal(p.next_ms, NOW + 100);
        p = pick(t, dest, NOW + 700, MAX, ids[6]);
        assert_int_equal(p.b[0].id, ids[3]);
        p = pick(t, dest + 12345, NOW + 900, MAX, 0);
        assert_int_equal(p.count, 0);
        assert_int_equal(p.next_ms, 0);
    }
    test_sound(t);
}

static void due__held_and_active_ones_are_left_out(void **state)
{
    struct test *t = *state;
    uint64_t ids[4], dest;
    struct picked p;

    test_open(t);
    for (unsigned settled = 0; settled < 2; settled++) {
        for (unsigned i = 0; i < 4; i++)
            ids[i] = put_at(t, QUEUE_NORMAL, 0, settled == 0 ? "a" : "b");
        dest = dest_of(t, ids[0]);
        if (settled != 0)
            test_settle(t);
        assert_int_equal(test_hand(t, QUEUE_HOLD, ids[1]), QUEUE_OK);
        queue_mark_active(t->site.queue, ids[2], true);
        p = pick(t, dest, NOW, MAX, 0);
        assert_int_equal(p.count, 2);
        assert_int_equal(p.b[0].id, ids[0]);
        assert_int_equal(p.b[1].id, ids[3]);
        queue_mark_active(t->site.queue, ids[2], false);
        assert_int_equal(test_hand(t, QUEUE_RELEASE, ids[1]), QUEUE_OK);
        assert_int_equal(pick(t, dest, NOW, MAX, 0).count, 4);
    }
}

static void due__notices_come_in_their_order(void **state)
{
    struct test *t = *state;
    uint64_t ids[4], found[8];
    int64_t next;

    t->setup.channels = "{ \"tcp_local\": { \"notices\": [\"PT10S\", \"PT20S\"] } }";
    test_open(t);
    for (unsigned i = 0; i < 4; i++) {
        ids[i] = test_put(t, "tcp_local", "a.example", 1);
        if (i == 1)
            test_settle(t);
        clock_fake_advance(&t->site.clock, 1000);
    }
    assert_int_equal(queue_notice_due(t->site.queue, NOW + 9999, found, 8, &next), 0);
    assert_int_equal(next, NOW + 10000);
    assert_int_equal(queue_notice_due(t->site.queue, NOW + 12000, found, 8, &next), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(found[i], ids[i]);
    assert_int_equal(next, NOW + 13000);
    assert_int_equal(queue_notice_due(t->site.queue, NOW + 12000, found, 2, &next), 2);
    assert_int_equal(next, NOW + 12000);
    assert_int_equal(test_hand(t, QUEUE_HOLD, ids[0]), QUEUE_OK); /* what is held is not given up */
    assert_int_equal(queue_notice_due(t->site.queue, NOW + 12000, found, 8, &next), 2);
    assert_int_equal(found[0], ids[1]);
    test_sound(t);
}

/* --- what the scheduler is told ----------------------------------------------------------------------------------- */

struct told {
    char text[2000];
};

static void on_ready(void *arg, const struct queue_brief *b, unsigned count)
{
    struct told *w = arg;

    for (unsigned i = 0; i < count; i++)
        snprintf(w->text + strlen(w->text), sizeof w->text - strlen(w->text), "+%llu ", (unsigned long long)b[i].id);
}

static void on_gone(void *arg, uint64_t dest, uint64_t id)
{
    struct told *w = arg;

    assert_true(dest != 0);
    snprintf(w->text + strlen(w->text), sizeof w->text - strlen(w->text), "-%llu ", (unsigned long long)id);
}

static void on_channel(void *arg, slice channel, bool stopped)
{
    struct told *w = arg;

    snprintf(w->text + strlen(w->text), sizeof w->text - strlen(w->text), "%.*s%s ", SLICE_ARG(channel),
             stopped ? "!" : "?");
}

static void assert_told(struct told *w, const char *fmt, uint64_t id)
{
    char want[200];

    snprintf(want, sizeof want, fmt, (unsigned long long)id, (unsigned long long)id);
    assert_string_equal(w->text, want);
    w->text[0] = 0;
}

static void due__scheduler_is_told_of_what_it_cannot_know(void **state)
{
    struct test *t = *state;
    struct told told = { "" };
    const struct queue_watch watch = { on_ready, on_gone, on_channel, &told };
    struct queue_request *r;
    struct queue_entry e;
    uint64_t id;

    test_open(t);
    queue_watch_set(t->site.queue, &watch);
    id = test_put(t, "tcp_local", "a.example", 2);
    assert_told(&told, "+%llu ", id);
    test_attempt(t, id, "dw", NOW + 60000); /* its own result */
    assert_told(&told, "", 0);
    test_hand(t, QUEUE_RETRY, id);
    assert_told(&told, "+%llu ", id);
    test_hand(t, QUEUE_HOLD, id);
    assert_told(&told, "-%llu ", id);
    test_hand(t, QUEUE_HOLD, id);
    assert_told(&told, "", 0);
    test_reroute(t, id, "tcp_local", "b.example"); /* held: not ready */
    assert_told(&told, "-%llu ", id);
    test_hand(t, QUEUE_RELEASE, id);
    assert_told(&told, "+%llu ", id);
    test_reroute(t, id, "tcp_local", "c.example");
    assert_told(&told, "-%llu +%llu ", id);
    test_hand(t, QUEUE_DELETE, id);
    assert_told(&told, "-%llu ", id);
    id = test_put(t, "tcp_local", "a.example", 1);
    assert_told(&told, "+%llu ", id);
    test_attempt(t, id, "r", 0);
    assert_told(&told, "", 0);
    e = test_entry(t, "tcp_local", "a.example", 1);
    e.state = QUEUE_HELD;
    test_put_entry(t, &e);
    assert_told(&told, "", 0);
    for (unsigned i = 0; i < 4; i++) {
        r = queue_request_new(i < 2 ? QUEUE_CHANNEL_STOP : QUEUE_CHANNEL_START);
        r->channel = SLICE("hold");
        queue_site_do(&t->site, &r, NULL);
    }
    assert_told(&told, "hold! hold? ", 0);
}

/* --- lists and sums ----------------------------------------------------------------------------------------------- */

struct list_of {
    uint64_t ids[700];
    unsigned count, stop_at;
};

static bool on_entry(void *arg, const struct queue_entry *e)
{
    struct list_of *l = arg;

    assert_true(l->count < ARRAY_LEN(l->ids));
    l->ids[l->count++] = e->id;
    return l->count != l->stop_at;
}

static void due__lists_go_through_memory_and_tables_in_order(void **state)
{
    struct test *t = *state;
    struct list_of all = { .count = 0 }, some = { .count = 0 };
    uint64_t from = 0;

    t->setup.segment_bytes = 4u << 20; /* a new one would write the young ones into the tables */
    test_open(t);
    for (unsigned i = 0; i < 600; i++) {
        test_put(t, "tcp_local", i % 2 == 0 ? "even" : "odd", 1);
        if (i == 449)
            test_settle(t);
    }
    assert_int_equal(t->site.queue->young_count, 150);
    assert_int_equal(queue_each(t->site.queue, 0, UINT32_MAX, on_entry, &all), 0);
    assert_int_equal(all.count, 600);
    for (unsigned i = 1; i < 600; i++)
        assert_true(all.ids[i - 1] < all.ids[i]);
    for (unsigned pages = 0; pages == 0 || from != 0; pages++) {
        unsigned before = some.count;

        from = queue_each(t->site.queue, from, 7, on_entry, &some);
        assert_true(some.count - before <= 7 && pages < 100);
    }
    assert_int_equal(some.count, 600);
    assert_memory_equal(some.ids, all.ids, 600 * sizeof all.ids[0]);
    some = (struct list_of){ .stop_at = 5 };
    assert_int_equal(queue_each(t->site.queue, 0, UINT32_MAX, on_entry, &some), all.ids[4] + 1);
    assert_int_equal(some.count, 5);
    some = (struct list_of){ .count = 0 };
    assert_int_equal(queue_each_of(t->site.queue, dest_of(t, all.ids[1]), 0, UINT32_MAX, on_entry, &some), 0);
    assert_int_equal(some.count, 300);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(some.ids[i], all.ids[2 * i + 1]);
    assert_int_equal(queue_each(t->site.queue, all.ids[599] + 1, 10, on_entry, &some), 0);
    assert_int_equal(some.count, 300);
    test_settle(t); /* whole slices from the tables alone */
    some = (struct list_of){ .count = 0 };
    assert_int_equal(queue_each(t->site.queue, 0, UINT32_MAX, on_entry, &some), 0);
    assert_int_equal(some.count, 600);
    assert_memory_equal(some.ids, all.ids, 600 * sizeof all.ids[0]);
    test_sound(t);
}

struct dests {
    struct queue_dest d[8];
    unsigned count;
    struct arena *mem;
};

static bool on_dest(void *arg, const struct queue_dest *d)
{
    struct dests *l = arg;

    assert_true(l->count < ARRAY_LEN(l->d));
    l->d[l->count] = *d;
    l->d[l->count].host = slice_dup(l->mem, d->host);
    l->d[l->count++].channel = slice_dup(l->mem, d->channel);
    return true;
}

static const struct queue_dest *dest_named(const struct dests *l, const char *host)
{
    for (unsigned i = 0; i < l->count; i++)
        if (slice_eq(l->d[i].host, slice_str(host)))
            return &l->d[i];
    return NULL;
}

static void due__destinations_are_counted(void **state)
{
    struct test *t = *state;
    struct dests l = { .mem = &t->mem };
    const struct queue_dest *a, *b;
    slice channel, host;
    uint64_t first, held;

    test_open(t);
    first = test_put(t, "tcp_local", "a", 2); /* a: one in tables, two in memory, one of them held */
    test_attempt(t, first, "dw", NOW + 90000);
    clock_fake_advance(&t->site.clock, 1000);
    test_put(t, "tcp_local", "a", 3);
    held = test_put(t, "tcp_local", "a", 1);
    test_hand(t, QUEUE_HOLD, held);
    test_put(t, "tcp_lmtp", "b", 1); /* b: in memory only */
    queue_dests(t->site.queue, on_dest, &l);
    assert_int_equal(l.count, 2);
    assert_true(l.d[0].dest < l.d[1].dest);
    a = dest_named(&l, "a");
    b = dest_named(&l, "b");
    assert_true(a != NULL && b != NULL);
    assert_int_equal(a->entries, 3);
    assert_int_equal(a->recipients, 5);
    assert_int_equal(a->bytes, 3 * 17);
    assert_int_equal(a->held, 1);
    assert_int_equal(a->oldest_ms, NOW);
    assert_int_equal(a->next_due_ms, NOW + 1000);
    assert_int_equal(b->entries, 1);
    assert_int_equal(b->oldest_ms, NOW + 1000);
    assert_true(slice_eq(b->channel, SLICE("tcp_lmtp")));
    assert_true(queue_has(NULL, t->site.queue, SLICE("tcp_lmtp"), SLICE("b")));
    assert_true(queue_has(NULL, t->site.queue, SLICE("tcp_local"), SLICE("a")));
    assert_false(queue_has(NULL, t->site.queue, SLICE("tcp_local"), SLICE("b")));
    assert_true(queue_dest_name(t->site.queue, b->dest, &t->mem, &channel, &host));
    assert_true(slice_eq(channel, SLICE("tcp_lmtp")));
    assert_true(slice_eq(host, SLICE("b")));
    assert_false(queue_dest_name(t->site.queue, 4711, &t->mem, &channel, &host));
    test_settle(t);
    l.count = 0;
    queue_dests(t->site.queue, on_dest, &l);
    assert_int_equal(l.count, 2);
    assert_int_equal(dest_named(&l, "a")->next_due_ms, NOW + 1000);
    assert_int_equal(dest_named(&l, "b")->recipients, 1);
    test_sound(t);
}

#define MANY_DESTS 450u

struct many_dests {
    unsigned entries[MANY_DESTS], count;
    uint64_t last;
};

static bool on_one_of_many(void *arg, const struct queue_dest *d)
{
    struct many_dests *m = arg;
    char host[20];
    unsigned i;

    snprintf(host, sizeof host, "%.*s", SLICE_ARG(d->host));
    assert_int_equal(sscanf(host, "h%u", &i), 1);
    assert_true(i < MANY_DESTS && m->entries[i] == 0);
    assert_true(d->dest > m->last);
    assert_int_equal(d->oldest_ms, NOW);
    m->last = d->dest;
    m->entries[i] = (unsigned)d->entries;
    m->count++;
    return true;
}

static void due__many_destinations_come_once_each(void **state)
{
    struct test *t = *state;
    struct many_dests m = { .count = 0 };
    char host[20];

    t->setup.segment_bytes = 4u << 20;
    test_open(t);
    for (unsigned i = 0; i < MANY_DESTS + 100; i++) { /* 400 in the tables; 50 new ones and 100 old ones in memory */
        snprintf(host, sizeof host, "h%u", i % MANY_DESTS);
        test_put(t, "tcp_local", host, 1);
        if (i == 399)
            test_settle(t);
    }
    queue_dests(t->site.queue, on_one_of_many, &m);
    assert_int_equal(m.count, MANY_DESTS);
    for (unsigned i = 0; i < MANY_DESTS; i++)
        assert_int_equal(m.entries[i], i < 100 ? 2 : 1);
}

/* Two names with the same number: another destination is given the number that this one would get. */
static void due__destinations_never_share_an_id(void **state)
{
    struct test *t = *state;
    struct queue_entry e = test_entry(t, "tcp_local", "thief", 1), got;
    struct buf octets = BUF_INIT;
    struct queue_head h;
    struct young *y;
    uint64_t wanted, id, other;

    test_open(t);
    wanted = dest_first(SLICE("tcp_local"), SLICE("a.example"));
    id = test_put_entry(t, &e);
    assert_true(test_get(t, id, &got));
    assert_int_not_equal(got.dest, wanted);
    got.dest = wanted;
    got.message = id;
    queue_entry_encode(&octets, &got);
    assert_true(queue_head_decode(buf_slice(&octets), &h));
    pthread_mutex_lock(&t->site.queue->lock); /* in memory the thief holds it now */
    y = idmap_get(&t->site.queue->young_ids, id);
    idmap_del(&t->site.queue->young_dests, y->dest->dest);
    y->dest->dest = wanted;
    idmap_put(&t->site.queue->young_dests, wanted, y->dest);
    memcpy(y->octets, octets.ptr, octets.len);
    pthread_mutex_unlock(&t->site.queue->lock);
    id = test_put(t, "tcp_local", "a.example", 1);
    assert_int_equal(dest_of(t, id), wanted + 1);
    test_settle(t);
    other = test_put(t, "tcp_local", "a.example", 1);
    assert_int_equal(dest_of(t, other), wanted + 1);
    assert_true(queue_has(NULL, t->site.queue, SLICE("tcp_local"), SLICE("a.example")));
    test_sound(t);
    test_hand(t, QUEUE_DELETE, other);
    test_hand(t, QUEUE_DELETE, id);
    assert_false(queue_has(NULL, t->site.queue, SLICE("tcp_local"), SLICE("a.example"))); /* only the other is left */
    test_sound(t);
    buf_free(&octets);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

static int spoil_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    (void)err;
    journal_put_u64(journal_tx_view(tx), QT_ENTRY, op->session, SLICE("garbage"));
    return 0;
}

static void due__damaged_entry_is_set_aside(void **state)
{
    struct test *t = *state;
    struct list_of l = { .count = 0 };
    struct queue_entry e;
    struct err err = ERR_INIT;
    int64_t before;
    uint64_t ids[3];

    test_open(t);
    diag_set_level(DIAG_ERROR);
    for (unsigned i = 0; i < 3; i++)
        ids[i] = put_at(t, QUEUE_NORMAL, 0, "a");
    test_settle(t);
    uint64_t dest = dest_of(t, ids[0]);
    struct journal_op op = { .run = spoil_run, .session = ids[1], .cost = 1, .lane = LANE_QUEUE };

    assert_int_equal(journal_run(t->site.j, &op, &err), 0);
    before = counter_get(&queue_counters[QC_DAMAGED]);
    assert_int_equal(pick(t, dest, NOW, MAX, 0).count, 3); /* nobody has looked into it yet */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(test_get(t, ids[i], &e), i != 1);
    assert_int_equal(test_hand(t, QUEUE_HOLD, ids[1]), QUEUE_GONE);
    assert_int_equal(counter_get(&queue_counters[QC_DAMAGED]), before + 1); /* said once */
    assert_int_equal(pick(t, dest, NOW, MAX, 0).count, 2);
    assert_int_equal(queue_each(t->site.queue, 0, UINT32_MAX, on_entry, &l), 0);
    assert_int_equal(l.count, 2);
    assert_true(queue_check(t->site.queue, test_say, t, &err) > 0);
    assert_non_null(strstr(t->said, "does not decode"));
    assert_int_equal(test_attempt(t, ids[2], "r", 0), QUEUE_OK); /* the rest goes on */
    queue_site_close(&t->site); /* and the journal knows better than its index */
    t->setup.discard_index = true;
    test_open(t);
    assert_true(test_get(t, ids[1], &e));
    t->said[0] = 0;
    test_sound(t);
}

/* --- very many ---------------------------------------------------------------------------------------------------- */

struct many_op {
    struct journal_op op;
    struct queue *queue;
    struct queue_entry *e;
    unsigned from, count, dests;
    char host[32];
    uint64_t body;
};

static int many_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct many_op *m = CONTAINER_OF(op, struct many_op, op);
    uint64_t body = journal_emit_octets(tx, SLICE("x"));

    for (unsigned i = m->from; i < m->from + m->count; i++) {
        struct queue_entry e = *m->e;

        e.view = (struct body_view){ .body_id = body, .body_bytes = 1 };
        snprintf(m->host, sizeof m->host, "host%u.example", i % m->dests);
        e.host = slice_str(m->host);
        e.state = QUEUE_DEFERRED;
        e.due_ms = NOW + 1 + (int64_t)(i * 7919ull % 1000000);
        if (queue_emit_enqueue(m->queue, tx, &e, err) == 0)
            return -1;
    }
    return 0;
}

/* Anonymous memory of the process, in KiB: the index is mapped from its file and does not count. */
static long anonymous_kib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[200];
    long kib = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return kib;
}

struct took { /* since `from`, in microseconds */
    int64_t wall, cpu;
};

static struct took took_now(void)
{
    struct timespec cpu;
    struct clock real;

    clock_init_real(&real);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return (struct took){ clock_mono_us(&real), cpu.tv_sec * 1000000 + cpu.tv_nsec / 1000 };
}

static void took_say(const char *what, struct took from)
{
    struct took now = took_now();

    print_message("%s: %lld us, of these %lld on the processor\n", what, (long long)(now.wall - from.wall),
                  (long long)(now.cpu - from.cpu));
}

static void drop_cache(const struct test *t)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/index/index.lmdb", t->dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static bool on_any_dest(void *arg, const struct queue_dest *d)
{
    ++*(unsigned *)arg;
    return d->dest != 0;
}

static void many_fill(struct test *t, unsigned entries, unsigned dests)
{
    struct queue_entry e = test_entry(t, "tcp_local", "x", 1);
    struct err err = ERR_INIT;

    for (unsigned i = 0; i < entries; i += 500) {
        struct many_op m = { .op = { .run = many_run, .session = 1, .cost = 500, .bytes = 300000,
                                     .lane = LANE_RECEPTION },
                             .queue = t->site.queue, .e = &e, .from = i, .dests = dests,
                             .count = entries - i < 500 ? entries - i : 500 };

        if (journal_run(t->site.j, &m.op, &err) < 0)
            fail_msg("filling: %s", err.text);
    }
}

static void due__very_many_cost_no_memory_and_are_picked_at_once(void **state)
{
    const char *text = getenv("PH_QUEUE_ENTRIES");
    unsigned entries = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 6000, dests = 10000, found = 0;
    struct queue_brief *out = mem_alloc_array(1000, sizeof *out);
    struct test *t = *state;
    struct took began;
    int64_t next;
    struct queue_sum sum;
    struct queue_entry e;
    unsigned due, busiest = entries / 2;
    uint64_t id;
    long before, after;

    t->setup.segment_bytes = text != NULL ? 64u << 20 : 1u << 20;
    t->setup.map_bytes = text != NULL ? 8ull << 30 : 0;
    t->setup.young_max = 16;
    if (entries < 100000)
        dests = 100;
    test_open(t);
    before = anonymous_kib();
    began = took_now();
    many_fill(t, busiest, 1); /* half of them wait for one host */
    many_fill(t, entries - busiest, dests);
    test_settle(t);
    after = anonymous_kib();
    took_say("filling", began);
    print_message("%u entries of %u destinations; anonymous memory %ld -> %ld KiB\n", entries, dests, before, after);
    queue_sum(t->site.queue, SLICE("tcp_local"), &sum);
    assert_int_equal(sum.entries, entries);
    if (text != NULL)
        assert_true((after - before) * 1024 < (long)entries * 200);
    queue_site_close(&t->site);
    drop_cache(t);
    began = took_now();
    test_open(t);
    took_say("opening", began);
    id = test_put(t, "tcp_local", "host0.example", 1);
    assert_true(test_get(t, id, &e));
    for (unsigned i = 0; i < 4; i++) {
        queue_site_close(&t->site);
        drop_cache(t);
        test_open(t);
        began = took_now();
        due = queue_due(t->site.queue, e.dest, NOW + 1000001, NULL, NULL, out, 1000, &next);
        took_say("picking 1,000 after a restart", began);
    }
    began = took_now();
    due = queue_due(t->site.queue, e.dest, NOW + 1000001, NULL, NULL, out, 1000, &next);
    took_say("picking 1,000 again", began);
    began = took_now();
    queue_dests(t->site.queue, on_any_dest, &found);
    took_say("listing the destinations", began);
    began = took_now();
    found = 0;
    queue_dests(t->site.queue, on_any_dest, &found);
    took_say("listing them again", began);
    queue_site_close(&t->site);
    t->setup.discard_index = true;
    began = took_now();
    test_open(t);
    took_say("opening without an index", began);
    queue_sum(t->site.queue, SLICE("tcp_local"), &sum);
    assert_int_equal(sum.entries, entries + 1);
    assert_int_equal(due, busiest < 1000 ? busiest : 1000);
    for (unsigned i = 1; i < due; i++)
        assert_true(out[i - 1].due_ms <= out[i].due_ms);
    assert_int_equal(found, dests);
    if (text == NULL)
        test_sound(t);
    mem_free(out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_setup, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(due__order_is_priority_then_time_then_id),
        TEST(due__held_and_active_ones_are_left_out),
        TEST(due__notices_come_in_their_order),
        TEST(due__scheduler_is_told_of_what_it_cannot_know),
        TEST(due__lists_go_through_memory_and_tables_in_order),
        TEST(due__destinations_are_counted),
        TEST(due__many_destinations_come_once_each),
        TEST(due__destinations_never_share_an_id),
        TEST(due__damaged_entry_is_set_aside),
        TEST(due__very_many_cost_no_memory_and_are_picked_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
