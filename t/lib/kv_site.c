#include "kv_internal.h"
#include "kv_site.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"

#define MAP_BYTES (256u * 1024 * 1024)
#define AHEAD_BYTES (1024u * 1024)

int kv_journal_open(struct kv_journal *k, const struct kv_site *site, struct err *err)
{
    struct journal_conf conf = { 0 };
    struct arena mem;
    const struct journal_room *rooms[1];
    struct journal_setup setup = { .dir = site->dir, .create = true, .room_count = 1, .rooms = rooms };
    int rc = -1;

    memset(k, 0, sizeof(*k));
    arena_init(&mem, 1024);
    keys_default(&journal_keys, &conf, &mem);
    arena_free(&mem);
    conf.segment_bytes = site->segment_bytes != 0 ? site->segment_bytes : 65536;
    conf.inline_bytes = site->inline_bytes != 0 ? site->inline_bytes : 8192;
    conf.reserve_segments = site->reserve_segments != 0 ? site->reserve_segments : 2;
    conf.index_map_bytes = MAP_BYTES;
    conf.index_ahead_bytes = AHEAD_BYTES;
    conf.keep_days = 0;
    clock_init_real(&k->clock);
    k->room = kv_room_new();
    rooms[0] = kv_room_rows(k->room);
    if (!site->without_pool) {
        k->pool = pool_new("helper", 2, 64, err);
        if (k->pool == NULL)
            goto out;
    }
    setup.partitions = &site->partition;
    setup.partition_count = site->partition != NULL ? 1 : 0;
    setup.conf = &conf;
    setup.clock = site->clock != NULL ? site->clock : &k->clock;
    setup.pool = k->pool;
    setup.boot_id = site->boot_id;
    setup.discard_index = site->discard_index;
    setup.background = site->background;
    setup.rebuild_slice = site->rebuild_slice;
    rc = journal_open(&k->j, &setup, &k->report, err);
out:
    if (rc < 0)
        kv_journal_close(k);
    return rc;
}

void kv_journal_close(struct kv_journal *k)
{
    journal_close(&k->j);
    pool_destroy(&k->pool);
    kv_room_destroy(&k->room);
}

bool kv_client_ready(struct kv_journal *k, uint32_t client)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    bool is_ready = true;
    uint64_t object;

    if (journal_read_begin(k->j, &v, &err) < 0)
        return false;
    for (uint32_t slot = 0; slot < KV_BUCKETS; slot++) {
        if (!kv_name_find(&v, client, slot, &object) || journal_object_ready(k->j, object))
            continue;
        journal_demand(k->j, object, NULL, 0);
        is_ready = false;
    }
    journal_read_end(&v);
    return is_ready;
}

int kv_journal_dump(struct kv_journal *k, struct buf *out, struct err *err)
{
    struct journal_view v;
    char *text = NULL;
    size_t len = 0;
    FILE *f;
    int rc = -1;

    if (journal_settle(k->j, err) < 0 || journal_read_begin(k->j, &v, err) < 0)
        return -1;
    f = open_memstream(&text, &len);
    if (f != NULL) {
        rc = journal_dump(k->j, &v, f, err);
        fclose(f);
        buf_put(out, text, len);
        free(text);
    }
    journal_read_end(&v);
    return rc;
}

/* --- verifying ---------------------------------------------------------------------------------------------------- */

OWNED struct kv_result *kv_result_new(void)
{
    struct kv_result *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ASSERT(r != MAP_FAILED);
    return r;
}

void kv_result_destroy(struct kv_result **r)
{
    if (*r != NULL)
        munmap(*r, sizeof(**r));
    *r = NULL;
}

void kv_say(void *arg, const char *line)
{
    struct kv_result *r = arg;
    size_t room = sizeof(r->text) - r->text_len;
    int n = snprintf(r->text + r->text_len, room, "  %s\n", line);

    r->text_len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

void kv_fault(struct kv_result *r, const char *fmt, ...)
{
    char line[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    kv_say(r, line);
    r->faults++;
}

static void go_on(struct kv_journal *k, struct kv_result *r)
{
    for (uint32_t i = 0; i < r->model.client_count; i++) {
        struct kv_client *c = &r->model.clients[i];
        struct err err = ERR_INIT;
        struct kv_step step;
        enum err_kind want;

        kv_client_next(c, &r->model.plan, &step);
        want = kv_client_expect(c, &step);
        kv_run(k->room, k->j, &step, r->model.plan.seed, &err);
        if (err.kind != want)
            kv_fault(r, "client %u operation %u (%d) after reopening: %s instead of %s (%s)", i, step.n, (int)step.what,
                  err_kind_name(err.kind), err_kind_name(want), err.text);
        if (err.kind == ERR_NONE)
            kv_client_apply(c, &step);
        c->answered = c->sent = step.n;
    }
    r->faults += kv_compare(k->room, k->j, &r->model, true, kv_say, r);
}

static void same_after_rebuild(const struct kv_site *site, struct kv_journal *k, struct kv_result *r)
{
    struct kv_site again = *site;
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct err err = ERR_INIT;

    again.discard_index = true;
    if (kv_journal_dump(k, &before, &err) < 0)
        kv_fault(r, "dumping: %s", err.text);
    kv_journal_close(k);
    if (r->faults == 0 && kv_journal_open(k, &again, &err) < 0)
        kv_fault(r, "opening without index: %s", err.text);
    if (r->faults == 0 && kv_journal_dump(k, &after, &err) < 0)
        kv_fault(r, "dumping the rebuilt index: %s", err.text);
    if (r->faults == 0 && !slice_eq(buf_slice(&before), buf_slice(&after)))
        kv_fault(r, "the rebuilt index differs: %zu octets before, %zu after", before.len, after.len);
    buf_free(&before);
    buf_free(&after);
}

void kv_verify(const struct kv_site *site, unsigned flags, struct kv_result *r)
{
    struct kv_journal k;
    struct journal_check_result found;
    struct err err = ERR_INIT;
    int n;

    r->faults = 0;
    r->text_len = 0;
    r->text[0] = 0;
    if (kv_journal_open(&k, site, &err) < 0) {
        kv_fault(r, "opening: %s", err.text);
        return;
    }
    r->report = k.report;
    if (k.report.damaged_places != 0 || k.report.lost_records != 0)
        kv_fault(r, "opening found %llu damaged places, %llu records lost", (unsigned long long)k.report.damaged_places,
              (unsigned long long)k.report.lost_records);
    if ((flags & KV_TRUSTED) != 0 && k.report.index_rebuilt)
        kv_fault(r, "the index was rebuilt: %s", k.report.index_why);
    r->faults += kv_compare(k.room, k.j, &r->model, (flags & KV_QUICK) != 0, kv_say, r);
    if ((flags & KV_CHECK) != 0 && r->faults == 0) {
        n = journal_check(k.j, kv_say, r, &found, &err);
        if (n < 0)
            kv_fault(r, "checking: %s", err.text);
        else
            r->faults += n;
    }
    if ((flags & KV_GO_ON) != 0 && r->faults == 0)
        go_on(&k, r);
    if ((flags & KV_REBUILD) != 0 && r->faults == 0)
        same_after_rebuild(site, &k, r);
    kv_journal_close(&k);
}

int kv_wait(int pid, unsigned timeout_s)
{
    struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
    int status = 0, rc;

    do {
        rc = poll(&p, 1, (int)timeout_s * 1000);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0)
        kill(pid, SIGKILL);
    if (p.fd >= 0)
        close(p.fd);
    waitpid(pid, &status, 0);
    return rc == 0 ? -1 : status;
}

/* What the journal said itself helps to understand a fault. */
static void append_diag(struct kv_result *r, int fd)
{
    size_t room = sizeof(r->text) - r->text_len - 1;
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > (off_t)room ? size - (off_t)room : 0;
    ssize_t n = pread(fd, r->text + r->text_len, room, from);

    r->text_len += n > 0 ? (size_t)n : 0;
    r->text[r->text_len] = 0;
}

int kv_in_child(kv_child_fn *fn, void *arg, unsigned timeout_s, struct kv_result *r)
{
    int diag_fd = memfd_create("diag", MFD_CLOEXEC);
    int status;
    pid_t pid;

    fflush(NULL);
    r->faults = 0;
    r->text_len = 0;
    r->text[0] = 0;
    pid = fork();
    if (pid == 0) {
        dup2(diag_fd, 2); /* also for a sanitizer's or panic's last words */
        fn(arg, r);
        exit(r->faults == 0 ? 0 : 1);
    }
    ASSERT(pid > 0);
    status = kv_wait(pid, timeout_s);
    if (status == -1)
        kv_fault(r, "it takes longer than %u s", timeout_s);
    else if (WIFSIGNALED(status))
        kv_fault(r, "it died with signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0 && r->faults == 0)
        kv_fault(r, "it ended with %d", WEXITSTATUS(status));
    if (r->faults != 0)
        append_diag(r, diag_fd);
    close(diag_fd);
    return r->faults;
}

struct verify {
    const struct kv_site *site;
    unsigned flags;
};

static void verify_run(void *arg, struct kv_result *r)
{
    struct verify *v = arg;

    kv_verify(v->site, v->flags, r);
}

int kv_verify_child(const struct kv_site *site, unsigned flags, unsigned timeout_s, struct kv_result *r)
{
    struct verify v = { site, flags };

    return kv_in_child(verify_run, &v, timeout_s, r);
}
