#include "journal/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "journal/internal.h"

#define BENCH_BYTES 4096u
#define BENCH_BYTES_MAX 65536u
#define BENCH_SECONDS_MAX 3600u
#define WRITERS_MAX 50u
#define FILE_BYTES (64u * 1024 * 1024) /* of the file written before; the loop goes round in it */
#define SAMPLES_MAX (1u << 20)         /* latencies kept of a row */

/* --- a room for what is appended ---------------------------------------------------------------------------------- */

enum { BENCH_ADD = 0x7ff0, BENCH_TABLE = 119 }; /* numbers of the tests: this journal lives for seconds */

static int apply_add(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    uint64_t body = read_le64(&in);

    if (!reader_done(&in))
        return err_set(err, ERR_DAMAGE, "record %llu does not decode", (unsigned long long)r->seq);
    journal_body_ref(tx, body, +1);
    journal_put_u64(journal_tx_view(tx), BENCH_TABLE, r->object, r->payload);
    return 0;
}

static int image_add(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part, struct err *err UNUSED)
{
    slice value;

    if (journal_get_u64(journal_tx_view(tx), BENCH_TABLE, object, &value))
        journal_emit(tx, BENCH_ADD, object, part, RECORD_IMAGE, value);
    return 0;
}

static const struct journal_type bench_types[] = {
    { .type = BENCH_ADD, .name = "bench_add", .apply = apply_add, .image = image_add },
};
static const struct journal_table bench_tables[] = { { BENCH_TABLE, "bench.add", 0 } };
static const struct journal_room bench_room = {
    .name = "bench", .types = bench_types, .type_count = 1, .tables = bench_tables, .table_count = 1
};

/* --- writers ------------------------------------------------------------------------------------------------------ */

struct row {
    const char *method; /* "journal", "raw", "raw_growing" */
    unsigned writers;
    uint64_t appends;
    double per_second;
    uint64_t p50_us, p99_us;
};

struct race { /* of the writers of one row */
    unsigned bytes;
    const unsigned char *octets;
    struct journal *journal; /* or: */
    int fd;
    uint64_t round_bytes;    /* where writing begins again at 0; 0: the file grows */
    struct clock clock;
    int64_t end_us;
    _Atomic uint64_t next;   /* append */
    _Atomic uint64_t done;
    _Atomic bool has_failed;
    pthread_mutex_t lock;    /* lock rank 90: err */
    struct err err;
    uint32_t *samples;
};

struct append {
    struct journal_op op;
    slice octets;
};

static int append_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    unsigned char payload[8];

    put_le64(payload, journal_emit_octets(tx, CONTAINER_OF(op, struct append, op)->octets));
    journal_emit(tx, BENCH_ADD, 0, 0, 0, slice_of(payload, sizeof payload));
    return 0;
}

static int append_journal(struct race *r, uint64_t n, struct err *err)
{
    struct append a = { .op = { .run = append_run, .session = n, .cost = 1, .bytes = r->bytes + 256 },
                        .octets = slice_of(r->octets, r->bytes) };

    return journal_run(r->journal, &a.op, err);
}

static int append_raw(struct race *r, uint64_t n, struct err *err)
{
    uint64_t at = n * r->bytes;

    if (r->round_bytes != 0)
        at %= r->round_bytes / r->bytes * r->bytes;
    if (pwrite(r->fd, r->octets, r->bytes, (off_t)at) != (ssize_t)r->bytes)
        return err_sys(err, errno, "pwrite");
    return fdatasync(r->fd) < 0 ? err_sys(err, errno, "fdatasync") : 0;
}

static void *writer_main(void *arg)
{
    struct race *r = arg;
    int64_t now_us = clock_mono_us(&r->clock);

    do { /* each writes once at least */
        uint64_t n = atomic_fetch_add(&r->next, 1), k;
        int64_t began_us = now_us;
        struct err err = ERR_INIT;

        if ((r->journal != NULL ? append_journal(r, n, &err) : append_raw(r, n, &err)) < 0) {
            pthread_mutex_lock(&r->lock);
            r->err = err;
            pthread_mutex_unlock(&r->lock);
            atomic_store(&r->has_failed, true);
            break;
        }
        now_us = clock_mono_us(&r->clock);
        k = atomic_fetch_add(&r->done, 1);
        r->samples[k % SAMPLES_MAX] = (uint32_t)(now_us - began_us);
    } while (now_us < r->end_us && !atomic_load(&r->has_failed));
    return NULL;
}

static int sample_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* All writers of one row. */
static int race_run(struct race *r, unsigned ms, struct row *row, struct err *err)
{
    struct thread threads[WRITERS_MAX] = { { 0 } };
    int64_t began_us = clock_mono_us(&r->clock);
    uint64_t kept;
    int rc = 0;

    r->end_us = began_us + (int64_t)ms * 1000;
    for (unsigned i = 0; i < row->writers && rc == 0; i++)
        rc = thread_start(&threads[i], "bench", 0, writer_main, r, err);
    if (rc < 0)
        atomic_store(&r->has_failed, true);
    for (unsigned i = 0; i < row->writers; i++)
        thread_join(&threads[i]);
    if (rc == 0 && r->err.kind != ERR_NONE) {
        *err = r->err;
        rc = -1;
    }
    row->appends = atomic_load(&r->done);
    row->per_second = (double)row->appends * 1e6 / (double)(clock_mono_us(&r->clock) - began_us);
    kept = row->appends < SAMPLES_MAX ? row->appends : SAMPLES_MAX;
    if (rc < 0 || kept == 0)
        return rc;
    qsort(r->samples, kept, sizeof *r->samples, sample_cmp);
    row->p50_us = r->samples[kept / 2];
    row->p99_us = r->samples[kept * 99 / 100];
    return 0;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

struct bench {
    const struct journal_bench *conf;
    unsigned bytes, row_ms;
    char dir[4096];
    unsigned char octets[BENCH_BYTES_MAX];
    uint32_t *samples;
    struct row rows[9];
    unsigned count;
};

static void race_init(struct race *r, struct bench *b)
{
    memset(r, 0, sizeof *r);
    r->bytes = b->bytes;
    r->octets = b->octets;
    r->fd = -1;
    r->samples = b->samples;
    clock_init_real(&r->clock);
    pthread_mutex_init(&r->lock, NULL);
}

static int file_fill(int fd, struct err *err)
{
    static const unsigned char zeros[65536];

    for (uint64_t at = 0; at < FILE_BYTES; at += sizeof zeros)
        if (pwrite(fd, zeros, sizeof zeros, (off_t)at) != (ssize_t)sizeof zeros)
            return err_sys(err, errno, "filling a file");
    return fsync(fd) < 0 ? err_sys(err, errno, "fsync") : 0;
}

static int raw_measure(struct bench *b, bool grows, struct row *row, struct err *err)
{
    struct buf path = BUF_INIT;
    struct race r;
    int rc = -1;

    race_init(&r, b);
    r.round_bytes = grows ? 0 : FILE_BYTES;
    buf_printf(&path, "%s/raw", b->dir);
    r.fd = open(buf_str(&path), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (r.fd < 0) {
        err_sys(err, errno, "making %s", buf_str(&path));
        goto out;
    }
    if (!grows && file_fill(r.fd, err) < 0)
        goto out;
    rc = race_run(&r, b->row_ms, row, err);
out:
    if (r.fd >= 0)
        close(r.fd);
    unlink(buf_str(&path));
    buf_free(&path);
    pthread_mutex_destroy(&r.lock);
    return rc;
}

static int journal_measure(struct bench *b, struct row *row, struct err *err)
{
    static const struct journal_room *const rooms[] = { &bench_room };
    struct journal_conf conf;
    struct arena mem;
    struct race r;
    struct buf dir = BUF_INIT;
    struct journal_setup setup = { .conf = &conf, .rooms = rooms, .room_count = 1, .create = true };
    int rc = -1;

    arena_init(&mem, 1024);
    keys_default(&journal_keys, &conf, &mem);
    race_init(&r, b);
    buf_printf(&dir, "%s/journal-%u", b->dir, row->writers);
    setup.dir = buf_str(&dir);
    setup.clock = &r.clock;
    setup.pool = pool_new("bench", 1, 64, err);
    if (setup.pool == NULL || journal_open(&r.journal, &setup, NULL, err) < 0)
        goto out;
    helpers_wait(r.journal); /* the spare is made before, as the raw loop's file is */
    rc = race_run(&r, b->row_ms, row, err);
out:
    journal_close(&r.journal);
    pool_destroy(&setup.pool);
    pthread_mutex_destroy(&r.lock);
    buf_free(&dir);
    arena_free(&mem);
    return rc;
}

static int rows_measure(struct bench *b, struct err *err)
{
    static const unsigned writers[] = { 1, 10, WRITERS_MAX };
    static const char *const methods[] = { "raw", "journal", "raw_growing" };

    for (unsigned i = 0; i < ARRAY_LEN(writers); i++) {
        for (unsigned k = 0; k < ARRAY_LEN(methods); k++) {
            struct row *row = &b->rows[b->count++];

            *row = (struct row){ .method = methods[k], .writers = writers[i] };
            if ((k == 1 ? journal_measure(b, row, err) : raw_measure(b, k == 2, row, err)) < 0)
                return -1;
        }
    }
    return 0;
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static void print_json(const struct bench *b, FILE *out)
{
    fputc('[', out);
    for (unsigned i = 0; i < b->count; i++)
        fprintf(out,
                "%s{\"method\":\"%s\",\"writers\":%u,\"bytes\":%u,\"appends\":%llu,\"per_second\":%.1f,"
                "\"p50_us\":%llu,\"p99_us\":%llu}",
                i == 0 ? "" : ",", b->rows[i].method, b->rows[i].writers, b->bytes,
                (unsigned long long)b->rows[i].appends, b->rows[i].per_second, (unsigned long long)b->rows[i].p50_us,
                (unsigned long long)b->rows[i].p99_us);
    fputs("]\n", out);
}

static void print_table(const struct bench *b, FILE *out)
{
    fprintf(out, "Appends of %u octets a second, each on disk before the next of the same writer; %.1f s a row.\n",
            b->bytes, (double)b->row_ms / 1000);
    fputs("raw: pwrite and fdatasync into a file that was written before; growing: into one that grows.\n\n", out);
    fputs("writers    journal        raw    growing   journal/raw   journal p50    p99   raw p50    p99 (ms)\n", out);
    for (unsigned i = 0; i + 2 < b->count; i += 3) {
        const struct row *raw = &b->rows[i], *j = &b->rows[i + 1], *growing = &b->rows[i + 2];

        fprintf(out, "%7u %10.0f %10.0f %10.0f %13.2f %13.2f %6.2f %9.2f %6.2f\n", raw->writers, j->per_second,
                raw->per_second, growing->per_second, raw->per_second > 0 ? j->per_second / raw->per_second : 0,
                (double)j->p50_us / 1e3, (double)j->p99_us / 1e3, (double)raw->p50_us / 1e3,
                (double)raw->p99_us / 1e3);
    }
}

static int on_remove(const char *path, const struct stat *st UNUSED, int kind UNUSED, struct FTW *ftw UNUSED)
{
    remove(path);
    return 0;
}

int journal_bench(const struct journal_bench *conf, FILE *out, struct err *err)
{
    struct bench *b;
    int rc = -1;

    if (conf->seconds > BENCH_SECONDS_MAX || conf->seconds + conf->row_ms == 0 || conf->bytes > BENCH_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "a row takes 1 to %u seconds, an append up to %u octets", BENCH_SECONDS_MAX,
                       BENCH_BYTES_MAX);
    b = mem_alloc(sizeof *b);
    b->conf = conf;
    b->row_ms = conf->row_ms != 0 ? conf->row_ms : conf->seconds * 1000;
    b->bytes = conf->bytes != 0 ? conf->bytes : BENCH_BYTES;
    memset(b->octets, 'x', sizeof b->octets);
    b->samples = mem_alloc_array(SAMPLES_MAX, sizeof *b->samples);
    if ((size_t)snprintf(b->dir, sizeof b->dir, "%s/posthouse-bench-XXXXXX", conf->dir) >= sizeof b->dir ||
        mkdtemp(b->dir) == NULL) {
        err_sys(err, errno, "making a directory in %s", conf->dir);
        goto out;
    }
    rc = rows_measure(b, err);
    nftw(b->dir, on_remove, 16, FTW_DEPTH | FTW_PHYS);
    if (rc == 0 && conf->json)
        print_json(b, out);
    else if (rc == 0)
        print_table(b, out);
out:
    mem_free(b->samples);
    mem_free(b);
    return rc;
}
