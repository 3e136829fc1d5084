#include "queue_site.h"

#include <stdlib.h>

#include "base/random.h"
#include "queue/notice.h"

static void set_destroy(struct snap *snap)
{
    struct conf_set *set = CONTAINER_OF(snap, struct conf_set, snap);

    json_decref(set->document);
    arena_free(&set->mem);
    mem_free(set);
}

static void say_conf(void *arg, const char *pointer, const char *message)
{
    (void)arg;
    panic("%s: %s", pointer, message);
}

void queue_site_configure(struct queue_site *s)
{
    const struct queue_site_setup *u = &s->setup;
    struct conf_set *set = mem_alloc(sizeof *set);
    struct queue_conf *q;
    struct channels_conf *c;
    json_t *pools = NULL;

    snap_init(&set->snap, set_destroy);
    arena_init(&set->mem, 4096);
    q = arena_alloc(&set->mem, sizeof *q);
    c = arena_alloc(&set->mem, sizeof *c);
    keys_default(&queue_keys, q, &set->mem);
    q->young_max = u->young_max != 0 ? u->young_max : q->young_max;
    q->young_s = u->young_s != 0 ? u->young_s : q->young_s;
    q->entries_max = u->entries_max;
    q->entry_recipients_max = u->rcpts_max != 0 ? u->rcpts_max : q->entry_recipients_max;
    if (u->channels != NULL)
        set->document = json_parse(slice_str(u->channels), NULL);
    if (u->pools != NULL)
        pools = json_parse(slice_str(u->pools), NULL);
    channels_conf_read(set->document, pools, false, c, &set->mem, say_conf, NULL);
    json_decref(pools);
    if (u->with_notices) {
        struct notices_conf *n = arena_alloc(&set->mem, sizeof *n);

        keys_default(&notices_keys, n, &set->mem);
        notices_conf_complete(n, SLICE("mail.example.org"), &set->mem);
        set->section[CONF_NOTICES] = n;
    }
    set->section[CONF_QUEUE] = q;
    set->section[CONF_CHANNELS] = c;
    queue_configure(s->queue, set);
    snap_unref(&set->snap);
}

int queue_site_open(struct queue_site *s, const struct queue_site_setup *u, struct err *err)
{
    struct journal_conf conf = { 0 };
    const struct journal_room *rooms[1];
    struct journal_setup setup = { .dir = u->dir, .create = true, .room_count = 1, .rooms = rooms };
    struct arena mem;
    int rc = -1;

    s->setup = *u;
    if (!s->clock.is_fake)
        clock_init_fake(&s->clock, 1000, QUEUE_SITE_MS);
    arena_init(&mem, 1024);
    keys_default(&journal_keys, &conf, &mem);
    arena_free(&mem);
    conf.segment_bytes = u->segment_bytes != 0 ? u->segment_bytes : 65536;
    conf.inline_bytes = 8192;
    conf.index_map_bytes = u->map_bytes != 0 ? u->map_bytes : 256u << 20;
    conf.index_ahead_bytes = 1u << 20;
    conf.keep_days = 0;
    if (queue_new(&s->queue, &s->clock, err) < 0)
        return -1;
    queue_site_configure(s);
    rooms[0] = queue_room(s->queue);
    if (!u->without_pool && (s->pool = pool_new("helper", 2, 64, err)) == NULL)
        goto out;
    setup.conf = &conf;
    setup.clock = &s->clock;
    setup.pool = s->pool;
    setup.boot_id = u->boot_id;
    setup.discard_index = u->discard_index;
    setup.background = u->with_background;
    if (journal_open(&s->j, &setup, &s->report, err) < 0)
        goto out;
    rc = queue_attach(s->queue, s->j, err);
out:
    if (rc < 0)
        queue_site_close(s);
    return rc;
}

void queue_site_close(struct queue_site *s)
{
    journal_close(&s->j);
    pool_destroy(&s->pool);
    queue_destroy(&s->queue);
}

/* --- operations --------------------------------------------------------------------------------------------------- */

struct site_op {
    struct journal_op op;
    struct queue *queue;
    struct queue_entry entry;
    slice octets;
    uint64_t id;
    slice channel;
    enum queue_rcpt_state end;
    uint64_t n;
};

static int put_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct site_op *s = CONTAINER_OF(op, struct site_op, op);
    struct queue_entry e = s->entry;

    if (s->octets.len != 0)
        e.view = (struct body_view){ .body_id = journal_emit_octets(tx, s->octets),
                                     .body_bytes = (uint32_t)s->octets.len };
    s->id = queue_emit_enqueue(s->queue, tx, &e, err);
    return s->id != 0 ? 0 : -1;
}

int queue_site_put(struct queue_site *s, const struct queue_entry *e, slice octets, uint64_t *id, struct err *err)
{
    struct site_op op = { .op = { .run = put_run, .session = 1, .cost = 1, .lane = LANE_RECEPTION,
                                  .bytes = (uint32_t)octets.len + 4096 + e->rcpt_count * 600 },
                          .queue = s->queue, .entry = *e, .octets = octets };
    int rc = journal_run(s->j, &op.op, err);

    if (id != NULL)
        *id = op.id;
    return rc;
}

static int passed_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    struct site_op *s = CONTAINER_OF(op, struct site_op, op);

    queue_emit_passed(s->queue, tx, s->channel, s->end, s->n);
    return 0;
}

int queue_site_passed(struct queue_site *s, slice channel, enum queue_rcpt_state end, uint64_t n, struct err *err)
{
    struct site_op op = { .op = { .run = passed_run, .session = 1, .cost = 1, .lane = LANE_RECEPTION, .bytes = 4096 },
                          .queue = s->queue, .channel = channel, .end = end, .n = n };

    return journal_run(s->j, &op.op, err);
}

enum queue_result queue_site_do(struct queue_site *s, TAKES struct queue_request **r, struct err *err)
{
    enum queue_result result;

    queue_request_wait(s->queue, *r, err);
    result = (*r)->result;
    queue_request_destroy(r);
    return result;
}

/* --- judging ------------------------------------------------------------------------------------------------------ */

int queue_site_dump(struct queue_site *s, struct buf *out, struct err *err)
{
    struct journal_view v;
    char *text = NULL;
    size_t len = 0;
    FILE *f;
    int rc = -1;

    if (journal_settle(s->j, err) < 0 || journal_read_begin(s->j, &v, err) < 0)
        return -1;
    f = open_memstream(&text, &len);
    if (f != NULL) {
        rc = journal_dump(s->j, &v, f, err);
        fclose(f);
        buf_put(out, text, len);
        free(text);
    }
    journal_read_end(&v);
    return rc;
}

int queue_site_check(struct queue_site *s, journal_say_fn *say, void *arg, struct err *err)
{
    int faults = queue_check(s->queue, say, arg, err);
    json_t *ledger = queue_ledger(s->queue, NULL), *total = json_object_get(ledger, "total"), *n;
    json_int_t created = json_get_int(total, "created", -1), others = 0;
    const char *name;

    json_object_foreach(total, name, n)
        others += strcmp(name, "created") == 0 ? 0 : json_integer_value(n);
    if (faults >= 0 && created != others) {
        faults++;
        say(arg, "the ledger's total does not close");
    }
    json_decref(ledger);
    return faults;
}

int queue_site_empty(struct queue_site *s, uint64_t seed, unsigned max, struct err *err)
{
    uint64_t numbers[2048];
    unsigned count = 0, emptied = 0;
    struct rng rng;

    rng_init(&rng, seed);
    for (uint64_t n = 1; count < ARRAY_LEN(numbers); n++)
        numbers[count++] = n;
    while (count > 0 && emptied < max) {
        unsigned i = (unsigned)rng_below(&rng, count);
        struct err why = ERR_INIT;

        if (journal_empty_segment(s->j, numbers[i], 0, &why) == 0) {
            emptied++;
        } else if (why.kind != ERR_NOTFOUND && why.kind != ERR_EXISTS) {
            *err = why;
            return -1;
        }
        numbers[i] = numbers[--count];
    }
    return (int)emptied;
}
