/* rebuild.c - how fast a lost index comes back.
 *
 *   rebuild DIR MESSAGES [ACCOUNTS [BYTES]]
 *
 * Fills DIR/data with MESSAGES deliveries, each with a body of BYTES octets and a header block of its own, round the
 * INBOXes of ACCOUNTS; a file DIR/filled says that this was done by an earlier run. Then it opens the journal without
 * its index and says how long it took until a server could begin, until an account that was asked for at that moment
 * could be read, and until everything was there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "store/store.h"

#define PER_OP 20u
#define HEADER_BYTES 160u

struct bench {
    char data[4096], filled[4096];
    unsigned long messages;
    unsigned accounts, bytes;
    struct clock clock;
    struct pool *pool;
    struct store *store;
    struct journal *j;
    uint64_t *account;
};

static void must(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "rebuild: %s\n", err->text);
    exit(1);
}

static void bench_open(struct bench *b, bool discard)
{
    struct journal_conf conf = { 0 };
    const struct journal_room *rooms[1];
    struct journal_setup setup = {
        .dir = b->data, .create = true, .discard_index = discard, .background = true, .rooms = rooms, .room_count = 1
    };
    struct err err = ERR_INIT;
    struct arena mem;

    arena_init(&mem, 1024);
    keys_default(&journal_keys, &conf, &mem);
    arena_free(&mem);
    conf.allow_remote_fs = true;
    must(store_new(&b->store, &b->clock, &err), &err);
    b->pool = pool_new("helper", 2, 64, &err);
    rooms[0] = store_room(b->store);
    setup.conf = &conf;
    setup.clock = &b->clock;
    setup.pool = b->pool;
    must(journal_open(&b->j, &setup, NULL, &err), &err);
    must(store_attach(b->store, b->j, b->data, &err), &err);
}

static void bench_close(struct bench *b)
{
    journal_close(&b->j);
    pool_destroy(&b->pool);
    store_destroy(&b->store);
}

static void accounts_make(struct bench *b)
{
    for (unsigned i = 0; i < b->accounts; i++) {
        struct store_request *r = store_request_new(STORE_ACCOUNT_ENSURE);
        struct err err = ERR_INIT;

        r->owner = i + 1;
        r->owner_name = SLICE("somebody");
        must(store_request_wait(b->store, r, &err), &err);
        b->account[i] = r->account;
        store_request_destroy(&r);
    }
}

struct batch {
    struct journal_op op;
    struct bench *bench;
    const char *body, *header;
    unsigned long from;
};

static int batch_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    struct batch *a = CONTAINER_OF(op, struct batch, op);

    for (unsigned i = 0; i < PER_OP; i++) {
        struct store_delivery_target t = {
            .account = a->bench->account[(a->from + i) * 7919 % a->bench->accounts],
            .mailbox = SLICE("INBOX"),
            .header = slice_of((const unsigned char *)a->header, HEADER_BYTES),
        };
        uint64_t body = journal_emit_octets(tx, slice_of((const unsigned char *)a->body, a->bench->bytes));

        store_deliver_emit(a->bench->store, tx, body, a->bench->bytes, &t, 1);
    }
    return 0;
}

static void fill(struct bench *b)
{
    char *octets = mem_alloc(b->bytes + HEADER_BYTES);
    FILE *mark;

    memset(octets, 'x', b->bytes + HEADER_BYTES);
    accounts_make(b);
    for (unsigned long n = 0; n < b->messages; n += PER_OP) {
        struct batch a = { .bench = b, .body = octets, .header = octets + b->bytes, .from = n };
        struct err err = ERR_INIT;

        a.op = (struct journal_op){ .run = batch_run, .cost = PER_OP, .bytes = PER_OP * (b->bytes + 600) };
        must(journal_run(b->j, &a.op, &err), &err);
    }
    mem_free(octets);
    mark = fopen(b->filled, "w");
    if (mark != NULL)
        fclose(mark);
}

static void measure(struct bench *b)
{
    int64_t began_ms = clock_mono_ms(&b->clock), open_ms, account_ms = -1, all_ms;
    struct timespec pause = { .tv_nsec = 1000000 };
    struct journal_view v;
    uint64_t account = 0;

    bench_open(b, true);
    open_ms = clock_mono_ms(&b->clock) - began_ms;
    while (journal_rebuilding(b->j, NULL)) {
        if (account_ms < 0 && journal_read_begin(b->j, &v, NULL) == 0) {
            if (store_account_find(b->store, &v, b->accounts / 2 + 1, &account) &&
                store_account_ready(b->store, &v, account, NULL))
                account_ms = clock_mono_ms(&b->clock) - began_ms;
            journal_read_end(&v);
        }
        nanosleep(&pause, NULL);
    }
    all_ms = clock_mono_ms(&b->clock) - began_ms;
    printf("messages %lu accounts %u open_ms %lld account_ms %lld all_ms %lld messages_per_s %.0f\n", b->messages,
           b->accounts, (long long)open_ms, (long long)account_ms, (long long)all_ms,
           all_ms == 0 ? 0.0 : (double)b->messages * 1000.0 / (double)all_ms);
    bench_close(b);
}

int main(int argc, char **argv)
{
    struct bench *b = mem_alloc(sizeof *b);

    if (argc < 3) {
        fprintf(stderr, "usage: rebuild DIR MESSAGES [ACCOUNTS [BYTES]]\n");
        return 64;
    }
    clock_init_real(&b->clock);
    b->messages = strtoul(argv[2], NULL, 10);
    b->accounts = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1000;
    b->bytes = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 500;
    snprintf(b->data, sizeof b->data, "%s/data", argv[1]);
    snprintf(b->filled, sizeof b->filled, "%s/filled", argv[1]);
    b->account = mem_alloc_array(b->accounts, sizeof *b->account);
    if (access(b->filled, F_OK) != 0) {
        bench_open(b, false);
        fill(b);
        bench_close(b);
    }
    measure(b);
    mem_free(b->account);
    mem_free(b);
    return 0;
}
