/* fill.c - a queue of any size, made straight through operations of the journal.
 *
 *   fill DIR ENTRIES DESTINATIONS PORT DEAD_PORT
 *
 * DIR is a data directory made by `init`, with no daemon. Entries with one recipient and a small body of their own go
 * round the destinations: even ones are [127.1.x.y]:PORT, odd ones [127.2.x.y]:DEAD_PORT, all of channel tcp_local and
 * due at once. One line says how long it took. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "dir/dir.h"
#include "intake/intake.h"
#include "queue/queue.h"
#include "store/store.h"

#define PER_OP 100u
#define BODY_BYTES 400u

struct fill {
    unsigned long entries, dests;
    unsigned port, dead_port;
    struct clock clock;
    struct pool *pool;
    struct dir *dir;
    struct store *store;
    struct queue *queue;
    struct journal *j;
};

struct batch {
    struct journal_op op;
    const struct fill *fill;
    unsigned long from;
};

static void must(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "fill: %s\n", err->text);
    exit(1);
}

static int entry_emit(const struct batch *b, struct journal_tx *tx, unsigned long n, struct err *err)
{
    unsigned long dest = n % b->fill->dests;
    bool is_dead = dest % 2 == 1;
    char host[64], id[64], session[24], body[BODY_BYTES];
    struct queue_rcpt rcpt = { .address = SLICE("somebody@far.test") };
    struct queue_entry e = { .channel = SLICE("tcp_local"), .sender = SLICE("sender@source.test"),
                             .source = SLICE("tcp_submit"), .rcpts = &rcpt, .rcpt_count = 1 };
    int len;

    snprintf(host, sizeof host, "[127.%u.%lu.%lu]:%u", is_dead ? 2u : 1u, dest / 250 % 250, dest % 250 + 1,
             is_dead ? b->fill->dead_port : b->fill->port);
    snprintf(id, sizeof id, "<%lu.fill@source.test>", n);
    snprintf(session, sizeof session, "fill%lu", n);
    len = snprintf(body, sizeof body, "From: <sender@source.test>\r\nMessage-ID: %s\r\n\r\n", id);
    memset(body + len, 'x', sizeof body - (size_t)len);
    memcpy(body + sizeof body - 2, "\r\n", 2);
    e.host = slice_str(host);
    e.message_id = slice_str(id);
    e.session = slice_str(session);
    e.view = (struct body_view){ .body_id = journal_emit_octets(tx, slice_of((const unsigned char *)body, sizeof body)),
                                 .body_bytes = sizeof body };
    return queue_emit_enqueue(b->fill->queue, tx, &e, err) != 0 ? 0 : -1;
}

static int batch_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct batch *b = CONTAINER_OF(op, struct batch, op);

    for (unsigned long n = b->from; n < b->from + PER_OP && n < b->fill->entries; n++)
        if (entry_emit(b, tx, n, err) < 0)
            return -1;
    return 0;
}

/* With all rooms that the daemon has, so that it finds its directory as it left it. */
static void fill_open(struct fill *f, const char *dir, struct conf_set *conf)
{
    const struct journal_room *rooms[4];
    struct err err = ERR_INIT;
    struct journal_setup setup = { .dir = dir, .rooms = rooms, .clock = &f->clock, .room_count = ARRAY_LEN(rooms) };

    clock_init_real(&f->clock);
    f->pool = pool_new("helper", 2, 64, &err);
    must(dir_new(&f->dir, &f->clock, &err), &err);
    must(store_new(&f->store, &f->clock, &err), &err);
    must(queue_new(&f->queue, &f->clock, &err), &err);
    store_configure(f->store, conf_section(conf, CONF_STORE));
    queue_configure(f->queue, conf);
    rooms[0] = store_room(f->store);
    rooms[1] = dir_room(f->dir);
    rooms[2] = &intake_journal_room;
    rooms[3] = queue_room(f->queue);
    setup.conf = conf_section(conf, CONF_JOURNAL);
    setup.pool = f->pool;
    must(journal_open(&f->j, &setup, NULL, &err), &err);
    dir_attach(f->dir, f->j);
    must(store_attach(f->store, f->j, dir, &err), &err);
    must(queue_attach(f->queue, f->j, &err), &err);
}

static void fill_close(struct fill *f)
{
    pool_drain(f->pool);
    journal_close(&f->j);
    store_detach(f->store);
    pool_destroy(&f->pool);
    queue_destroy(&f->queue);
    store_destroy(&f->store);
    dir_destroy(&f->dir);
}

int main(int argc, char **argv)
{
    struct fill f = { .entries = 0 };
    struct err err = ERR_INIT;
    struct conf_set *conf = NULL;
    int64_t began_ms;

    if (argc != 6) {
        fprintf(stderr, "usage: fill DIR ENTRIES DESTINATIONS PORT DEAD_PORT\n");
        return 64;
    }
    f.entries = strtoul(argv[2], NULL, 10);
    f.dests = strtoul(argv[3], NULL, 10);
    f.port = (unsigned)strtoul(argv[4], NULL, 10);
    f.dead_port = (unsigned)strtoul(argv[5], NULL, 10);
    if (f.dests == 0 || f.dests > 62500)
        return 64;
    must(config_open_dir(argv[1], &conf, &err), &err);
    fill_open(&f, argv[1], conf);
    began_ms = clock_mono_ms(&f.clock);
    for (unsigned long n = 0; n < f.entries; n += PER_OP) {
        struct batch b = { .fill = &f, .from = n };

        b.op = (struct journal_op){ .run = batch_run, .cost = PER_OP, .bytes = PER_OP * (BODY_BYTES + 1600),
                                    .lane = LANE_RECEPTION, .session = 1 };
        must(journal_run(f.j, &b.op, &err), &err);
    }
    printf("entries %lu seconds %.1f\n", f.entries,
           (double)(clock_mono_ms(&f.clock) - began_ms) / 1000.0);
    fill_close(&f);
    snap_unref(&conf->snap);
    return 0;
}
