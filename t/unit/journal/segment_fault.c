/* Every system call of a scripted life of segments fails once, or all of them from one on; afterwards what was synced
 * is there, and nothing half made is. The calls are replaced in this program, below the library. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "segment_build.h"
#include "segment_site.h"

enum call { OPEN, PWRITE, PWRITEV, PREAD, FDATASYNC, FSYNC, FTRUNCATE, FALLOCATE, RENAME, UNLINK, CALLS };
static const char *const call_names[CALLS] = {
    "open", "pwrite", "pwritev", "pread", "fdatasync", "fsync", "ftruncate", "fallocate", "rename", "unlink",
};

/* Where the fault is; the program has one thread. */
static struct {
    bool is_armed;
    enum call call; /* CALLS: of any kind */
    uint64_t n;     /* fails at this one, from 1; 0: never */
    bool from_on;   /* and at all later ones */
    bool is_short;  /* writes and reads do half of their work instead */
    int error;
    uint64_t count[CALLS + 1];
    uint64_t hits;
} fault;

static bool fails(enum call call)
{
    uint64_t n;

    if (!fault.is_armed)
        return false;
    fault.count[call]++;
    fault.count[CALLS]++;
    n = fault.call == CALLS || fault.call == call ? fault.count[fault.call] : 0;
    if (fault.n == 0 || n == 0 || (n != fault.n && !(fault.from_on && n > fault.n)))
        return false;
    fault.hits++;
    errno = fault.error;
    return true;
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    int mode;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, int) : 0;
    va_end(ap);
    return fails(OPEN) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    if (fails(PWRITE)) {
        if (!fault.is_short)
            return -1;
        len = (len + 1) / 2;
    }
    return syscall(SYS_pwrite64, fd, p, len, at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    if (fails(PWRITEV)) {
        struct iovec half = iov[0];

        if (!fault.is_short)
            return -1;
        half.iov_len = (half.iov_len + 1) / 2;
        return syscall(SYS_pwrite64, fd, half.iov_base, half.iov_len, at);
    }
    return syscall(SYS_pwritev, fd, iov, (unsigned long)count, (unsigned long)at, 0ul);
}

static ssize_t read_at(int fd, void *p, size_t len, off_t at)
{
    if (fails(PREAD)) {
        if (!fault.is_short)
            return -1;
        len = (len + 1) / 2;
    }
    return syscall(SYS_pread64, fd, p, len, at);
}

ssize_t pread(int fd, void *p, size_t len, off_t at)
{
    return read_at(fd, p, len, at);
}

ssize_t __pread_chk(int fd, void *p, size_t len, off_t at, size_t room); /* what fortified code calls */
ssize_t __pread_chk(int fd, void *p, size_t len, off_t at, size_t room)
{
    if (len > room)
        abort();
    return read_at(fd, p, len, at);
}

int fdatasync(int fd)
{
    return fails(FDATASYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fails(FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t len)
{
    return fails(FTRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int fallocate(int fd, int mode, off_t at, off_t len)
{
    return fails(FALLOCATE) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, len);
}

int rename(const char *from, const char *to)
{
    return fails(RENAME) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
    return fails(UNLINK) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* Another thread of ours, between two looks at the disk. */
static void (*on_access)(void);

int access(const char *path, int mode)
{
    void (*call)(void) = on_access;

    on_access = NULL;
    if (call != NULL)
        call();
    return (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
}

/* --- the life ----------------------------------------------------------------------------------------------------- */

#define SEGMENTS 5
struct life {
    struct segment_site site;
    uint64_t number[SEGMENTS]; /* 0: could not be made */
    unsigned records[SEGMENTS]; /* synced */
    bool is_dropped[SEGMENTS];  /* or tried to be */
    uint64_t body;              /* finished body segment */
    unsigned failures;
};

static void note(struct life *l, bool ok)
{
    l->failures += !ok;
}

static bool log_make(struct life *l, unsigned i, bool use_reserve, struct segment_writer *w)
{
    struct segment_header h = { .first_seq = i * 100 + 1 };
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    struct iovec iov[2];
    bool ok = segment_writer_open(w, l->site.dir, &h, use_reserve, &err) == 0;

    note(l, ok);
    if (!ok) {
        assert_int_not_equal(err.kind, ERR_NONE);
        segment_writer_close(w);
        return false;
    }
    l->number[i] = h.number;
    build_simple(&b, h.salt, i * 100 + 1, 0, 200);
    iov[0] = (struct iovec){ b.ptr, b.len / 2 };
    iov[1] = (struct iovec){ b.ptr + b.len / 2, b.len - b.len / 2 };
    ok = segment_writer_write(w, iov, 2, &err) == 0 && segment_writer_sync(w, &err) == 0;
    if (ok) {
        l->records[i] = 1;
        w->at += b.len;
    }
    note(l, ok);
    buf_free(&b);
    return true;
}

static void body_make(struct life *l)
{
    struct segment_header h = { .kind = SEGMENT_BODY, .partition = 1 };
    struct footer_writer footer;
    struct segment_writer w;
    bool ok = segment_create(&w, l->site.dir, &h, NULL) == 0;

    note(l, ok);
    if (!ok)
        return;
    footer_writer_init(&footer, h.salt);
    if (segment_finish(&w, &footer, NULL) == 0)
        l->body = h.number;
    else
        segment_drop(l->site.dir, h.number, NULL);
    note(l, l->body != 0);
    footer_writer_free(&footer);
}

static void seal(struct life *l, unsigned i, uint64_t records_end)
{
    struct buf mem = BUF_INIT;
    struct segment_info info;
    struct err err = ERR_INIT;
    uint64_t bad_bytes;
    bool is_sealed;
    struct footer f;

    if (l->number[i] == 0)
        return;
    is_sealed = segment_seal(l->site.dir, l->number[i], records_end, &err) == 0;
    note(l, is_sealed);
    assert_true(segment_dir_find(l->site.dir, l->number[i], &info));
    /* Without room for a footer it counts as sealed, so that it can be emptied. */
    assert_true(info.is_sealed ? is_sealed || err.kind == ERR_FULL : !is_sealed);
    if (is_sealed) {
        fault.is_armed = false; /* it is true, whatever fails from now on */
        assert_int_equal(segment_read_footer(l->site.dir, l->number[i], &f, &mem, NULL), 0);
        fault.is_armed = true;
        note(l, segment_read_footer(l->site.dir, l->number[i], &f, &mem, NULL) == 0);
    }
    note(l, segment_read_all(l->site.dir, l->number[i], &mem, &bad_bytes, NULL) == 0 && bad_bytes == 0);
    buf_free(&mem);
}

static void drop(struct life *l, unsigned i)
{
    if (l->number[i] == 0)
        return;
    l->is_dropped[i] = true;
    note(l, segment_drop(l->site.dir, l->number[i], NULL) == 0);
}

static void live(struct life *l)
{
    struct segment_writer w = { .file = NULL }, next;
    bool has;

    if (segment_dir_open(&l->site.dir, &l->site.conf, NULL) < 0) {
        note(l, false);
        return;
    }
    has = log_make(l, 0, false, &w); /* a new file */
    note(l, segment_dir_prepare(l->site.dir, NULL) == 0);
    log_make(l, 1, false, &next); /* the spare */
    segment_writer_close(&next);
    if (has) {
        segment_writer_close(&w);
        seal(l, 0, w.at);
    }
    body_make(l);
    drop(l, 0); /* becomes the spare */
    log_make(l, 2, false, &w);
    log_make(l, 3, true, &next); /* the reserve */
    segment_writer_close(&next);
    segment_writer_close(&w);
    if (l->number[2] != 0)
        seal(l, 2, w.at);
    note(l, segment_dir_prepare(l->site.dir, NULL) == 0);
    drop(l, 3); /* there is a spare: unlinked */
    segment_dir_close(&l->site.dir);
}

/* What must hold at the next start. */
static void assert_afterlife(struct life *l, const char *what)
{
    struct buf names = BUF_INIT, mem = BUF_INIT;
    struct segment_info info;
    struct scan_item item;
    struct scan scan;
    uint64_t bad_bytes, at = 0;
    struct footer f;
    struct segment_writer w;

    if (site_descriptors(&l->site) != 0)
        fail_msg("%s: descriptors left open", what);
    site_open(&l->site);
    for (unsigned root = 0; root < 2; root++) {
        site_names(&l->site, root, &names);
        if (strstr(buf_str(&names), ".new") != NULL)
            fail_msg("%s: left %s", what, buf_str(&names));
    }
    while (segment_dir_next(l->site.dir, &at, &info)) {
        if (info.is_damaged || (info.header.kind == SEGMENT_BODY && !info.is_sealed))
            fail_msg("%s: segment %llu is no good", what, (unsigned long long)info.header.number);
        if (info.is_sealed && segment_read_footer(l->site.dir, info.header.number, &f, &mem, NULL) < 0)
            fail_msg("%s: footer of segment %llu", what, (unsigned long long)info.header.number);
    }
    for (unsigned i = 0; i < SEGMENTS; i++) {
        unsigned n = 0;

        if (l->records[i] == 0 || l->is_dropped[i])
            continue;
        if (!segment_dir_find(l->site.dir, l->number[i], &info))
            fail_msg("%s: segment %u is gone", what, i);
        assert_int_equal(segment_read_all(l->site.dir, l->number[i], &mem, &bad_bytes, NULL), 0);
        scan_begin(&scan, buf_slice(&mem), info.header.salt);
        while (scan_next(&scan, &item) == SCAN_RECORD)
            n++;
        if (n < l->records[i])
            fail_msg("%s: a record of segment %u is lost", what, i);
    }
    if (l->body != 0 && !segment_dir_find(l->site.dir, l->body, &info))
        fail_msg("%s: the body is lost", what);
    /* and life goes on */
    assert_int_equal(segment_dir_prepare(l->site.dir, NULL), 0);
    site_log(&l->site, &w, 900, 1, 8);
    segment_writer_close(&w);
    assert_int_equal(segment_seal(l->site.dir, w.header.number, w.at, NULL), 0);
    buf_free(&names);
    buf_free(&mem);
}

/* One life with that fault. Returns how many calls of the kind there were. */
static uint64_t run(enum call call, uint64_t n, bool from_on, bool is_short, int error)
{
    struct life l = { .failures = 0 };
    char what[100];

    snprintf(what, sizeof(what), "%s %llu%s%s: %s", call == CALLS ? "call" : call_names[call], (unsigned long long)n,
             from_on ? " and all later" : "", is_short ? " short" : "", strerror(error));
    memset(&fault, 0, sizeof(fault));
    site_init(&l.site);
    l.site.conf.reserve_segments = 1;
    l.site.conf.segment_bytes = 16384;
    fault.call = call;
    fault.n = n;
    fault.from_on = from_on;
    fault.is_short = is_short;
    fault.error = error;
    fault.is_armed = true;
    live(&l);
    fault.is_armed = false;
    if (fault.hits == 0 || is_short) {
        if (l.failures != 0)
            fail_msg("%s: %u failures without a reason", what, l.failures);
    }
    assert_afterlife(&l, what);
    site_free(&l.site);
    return fault.count[call];
}

static void segments__every_call_fails_once(void **state)
{
    static const int errors[] = { EIO, ENOSPC };

    (void)state;
    for (unsigned call = 0; call < CALLS; call++) {
        uint64_t count = run((enum call)call, 0, false, false, 0);

        if (count == 0)
            fail_msg("%s is never called: the test is blind", call_names[call]);
        for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
            for (uint64_t n = 1; n <= count; n++)
                run((enum call)call, n, false, false, errors[e]);
        }
    }
}

/* As when the process dies there, or the disk. */
static void segments__nothing_works_from_one_call_on(void **state)
{
    uint64_t count = run(CALLS, 0, false, false, 0);

    (void)state;
    assert_true(count > 50);
    for (uint64_t n = 1; n <= count; n++)
        run(CALLS, n, true, false, EIO);
}

static void segments__full_disk(void **state)
{
    static const enum call calls[] = { PWRITE, PWRITEV, FALLOCATE };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        uint64_t count = run(calls[i], 0, false, false, 0);

        for (uint64_t n = 1; n <= count; n++)
            run(calls[i], n, true, false, ENOSPC);
    }
}

static void segments__short_transfers_and_interruptions(void **state)
{
    static const enum call calls[] = { PWRITE, PWRITEV, PREAD };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        uint64_t count = run(calls[i], 0, false, false, 0);

        for (uint64_t n = 1; n <= count; n++) {
            run(calls[i], n, false, true, 0);
            run(calls[i], n, false, false, EINTR);
        }
    }
}

/* A file system that cannot allocate ahead: spare and reserve are written instead. */
static void segments__without_fallocate(void **state)
{
    struct segment_site s;
    struct buf file = BUF_INIT;

    (void)state;
    run(FALLOCATE, 1, true, false, EOPNOTSUPP);
    site_init(&s);
    s.conf.reserve_segments = 1;
    site_open(&s);
    memset(&fault, 0, sizeof(fault));
    fault.call = FALLOCATE;
    fault.n = 1;
    fault.from_on = true;
    fault.error = EOPNOTSUPP;
    fault.is_armed = true;
    site_sealed(&s, 1, 1, 8);
    assert_int_equal(segment_drop(s.dir, 1, NULL), 0);
    site_get(&s, 0, "spare-1", &file);
    assert_int_equal(file.len, SITE_SEGMENT_BYTES);
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    site_get(&s, 0, "reserve-1", &file);
    assert_int_equal(file.len, SITE_SEGMENT_BYTES);
    fault.is_armed = false;
    buf_free(&file);
    site_free(&s);
}

/* --- single answers ----------------------------------------------------------------------------------------------- */

static void writer_open__says_that_the_disk_is_full(void **state)
{
    struct segment_header h = { .first_seq = 1 };
    struct err err = ERR_INIT;
    struct segment_site s;
    struct segment_writer w;

    (void)state;
    site_init(&s);
    s.conf.reserve_segments = 1;
    site_open(&s);
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    memset(&fault, 0, sizeof(fault));
    fault.call = FALLOCATE;
    fault.n = 1;
    fault.from_on = true;
    fault.error = ENOSPC;
    fault.is_armed = true;
    assert_int_equal(segment_writer_open(&w, s.dir, &h, false, NULL), 0); /* the spare */
    segment_writer_close(&w);
    assert_int_equal(segment_writer_open(&w, s.dir, &h, false, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    assert_int_equal(segment_writer_open(&w, s.dir, &h, true, NULL), 0); /* the reserve */
    segment_writer_close(&w);
    err = ERR_INIT;
    assert_int_equal(segment_dir_prepare(s.dir, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    fault.is_armed = false;
    site_free(&s);
}

/* The sync of the directory failed: a crash may bring the new name back, and whoever goes on with the old segment must
 * know. A rename that failed leaves no such doubt. */
static void writer_open__says_when_it_may_come_back(void **state)
{
    static const struct {
        enum call call;
        bool is_doubtful;
    } rows[] = { { RENAME, false }, { FSYNC, true }, { PWRITE, false }, { FDATASYNC, false } };
    struct segment_header h = { .first_seq = 1 };
    struct segment_site s;
    struct segment_writer w;
    struct err err = ERR_INIT;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        site_init(&s);
        site_open(&s);
        memset(&fault, 0, sizeof(fault));
        fault.call = rows[i].call;
        fault.n = 1;
        fault.error = EIO;
        fault.is_armed = true;
        assert_int_equal(segment_writer_open(&w, s.dir, &h, false, &err), -1);
        fault.is_armed = false;
        assert_int_equal(fault.hits, 1);
        assert_int_equal(w.is_doubtful, rows[i].is_doubtful);
        assert_int_equal(segment_writer_open(&w, s.dir, &h, false, &err), 0);
        assert_false(w.is_doubtful);
        segment_writer_close(&w);
        site_free(&s);
    }
}

static struct {
    struct segment_site site;
    struct life life;
} race;

static void body_meanwhile(void)
{
    race.life.site = race.site;
    body_make(&race.life);
}

static void dir_foreign__knows_what_a_helper_made_meanwhile(void **state)
{
    uint64_t number;

    (void)state;
    memset(&race, 0, sizeof(race));
    site_init(&race.site);
    site_open(&race.site);
    site_sealed(&race.site, 1, 1, 8);
    on_access = body_meanwhile;
    assert_false(segment_dir_foreign(race.site.dir, &number));
    assert_null(on_access);
    assert_int_equal(race.life.body, 2);
    site_put(&race.site, 1, "0000000000000003.body", SLICE_NONE);
    assert_true(segment_dir_foreign(race.site.dir, &number));
    assert_int_equal(number, 3);
    site_free(&race.site);
}

/* What the page cache shows after a failed sync is not on disk: the next start must seal again, all of it. */
static void seal__that_failed_is_not_found_sealed(void **state)
{
    static const struct {
        enum call call;
        unsigned n;
    } rows[] = { { PWRITE, 1 }, { FDATASYNC, 1 }, { PWRITE, 2 }, { FTRUNCATE, 1 }, { FDATASYNC, 2 } };
    struct segment_site s;
    struct segment_writer w;
    struct segment_info info;
    struct buf mem = BUF_INIT;
    struct footer f;

    (void)state;
    /* the second time round the file has its final length already, so that nothing but the trailer makes it sealed */
    for (unsigned i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        site_init(&s);
        site_open(&s);
        site_log(&s, &w, 1, 10, 200);
        segment_writer_close(&w);
        for (unsigned round = i < ARRAY_LEN(rows) ? 1 : 0; round < 2; round++) {
            memset(&fault, 0, sizeof(fault));
            fault.call = round == 0 ? FDATASYNC : rows[i % ARRAY_LEN(rows)].call;
            fault.n = round == 0 ? 2 : rows[i % ARRAY_LEN(rows)].n;
            fault.error = EIO;
            fault.is_armed = true;
            assert_int_equal(segment_seal(s.dir, 1, w.at, NULL), -1);
            fault.is_armed = false;
            assert_int_equal(fault.hits, 1);
            site_reopen(&s);
            assert_true(segment_dir_find(s.dir, 1, &info));
            assert_false(info.is_sealed || info.is_damaged);
        }
        fault.count[PWRITE] = 0;
        fault.n = 0;
        fault.is_armed = true;
        assert_int_equal(segment_seal(s.dir, 1, w.at, NULL), 0);
        fault.is_armed = false;
        assert_int_equal(fault.count[PWRITE], 2); /* front and trailer anew: pages of a failed sync count as clean */
        site_reopen(&s);
        assert_int_equal(segment_read_footer(s.dir, 1, &f, &mem, NULL), 0);
        site_free(&s);
    }
    buf_free(&mem);
}

/* Calls of that kind, and the result, when segment 1 is made certain. */
static int harden(struct segment_site *s, bool sync_fails, uint64_t *writes, uint64_t *syncs)
{
    int rc;

    memset(&fault, 0, sizeof(fault));
    fault.call = FDATASYNC;
    fault.n = sync_fails;
    fault.error = EIO;
    fault.is_armed = true;
    rc = segment_harden(s->dir, 1, NULL);
    fault.is_armed = false;
    *writes = fault.count[PWRITE];
    *syncs = fault.count[FDATASYNC];
    return rc;
}

static void harden__writes_the_trailer_that_was_found(void **state)
{
    static const struct {
        bool reopens, sync_fails;
        int rc;
        uint64_t calls;
    } rows[] = {
        { false, false, 0, 0 }, /* this process sealed it */
        { true, true, -1, 1 },  { false, true, -1, 1 },  { false, false, 0, 1 }, { false, false, 0, 0 },
        { true, false, 0, 1 },  { false, false, 0, 0 },
    };
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct segment_site s;
    uint64_t writes, syncs;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_sealed(&s, 1, 10, 200);
    site_get(&s, 0, "0000000000000001.seg", &before);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].reopens)
            site_reopen(&s);
        assert_int_equal(harden(&s, rows[i].sync_fails, &writes, &syncs), rows[i].rc);
        assert_int_equal(writes, rows[i].calls);
        assert_int_equal(syncs, rows[i].calls);
    }
    site_get(&s, 0, "0000000000000001.seg", &after);
    assert_true(slice_eq(buf_slice(&before), buf_slice(&after)));
    assert_int_equal(segment_drop(s.dir, 1, NULL), 0);
    assert_int_equal(harden(&s, false, &writes, &syncs), 0); /* it has gone: nothing hangs on it */
    buf_free(&before);
    buf_free(&after);
    site_free(&s);
}

static void read_all__counts_what_cannot_be_read(void **state)
{
    struct segment_site s;
    struct buf good = BUF_INIT, mem = BUF_INIT;
    uint64_t bad_bytes = 1;

    (void)state;
    site_init(&s);
    s.conf.copy_on_write = true;
    site_open(&s);
    site_sealed(&s, 1, 40, 200); /* 14,496 octets */
    assert_int_equal(segment_read_all(s.dir, 1, &good, &bad_bytes, NULL), 0);
    assert_true(bad_bytes == 0 && good.len > 4 * 4096);
    memset(&fault, 0, sizeof(fault));
    fault.call = PREAD; /* the whole, then block by block: the first is read well */
    fault.n = 1;
    fault.from_on = true;
    fault.error = EIO;
    fault.is_armed = true;
    assert_int_equal(segment_read_all(s.dir, 1, &mem, &bad_bytes, NULL), 0);
    fault.is_armed = false;
    assert_true(mem.len == good.len && bad_bytes == good.len);
    for (size_t i = 0; i < mem.len; i++)
        assert_int_equal(mem.ptr[i], 0);
    /* a failure that passes costs nothing */
    memset(&fault, 0, sizeof(fault));
    fault.call = PREAD;
    fault.n = 1;
    fault.error = EIO;
    fault.is_armed = true;
    assert_int_equal(segment_read_all(s.dir, 1, &mem, &bad_bytes, NULL), 0);
    fault.is_armed = false;
    assert_true(bad_bytes == 0 && slice_eq(buf_slice(&mem), buf_slice(&good)));
    buf_free(&good);
    buf_free(&mem);
    site_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments__every_call_fails_once),
        cmocka_unit_test(segments__nothing_works_from_one_call_on),
        cmocka_unit_test(segments__full_disk),
        cmocka_unit_test(segments__short_transfers_and_interruptions),
        cmocka_unit_test(segments__without_fallocate),
        cmocka_unit_test(writer_open__says_that_the_disk_is_full),
        cmocka_unit_test(writer_open__says_when_it_may_come_back),
        cmocka_unit_test(dir_foreign__knows_what_a_helper_made_meanwhile),
        cmocka_unit_test(seal__that_failed_is_not_found_sealed),
        cmocka_unit_test(harden__writes_the_trailer_that_was_found),
        cmocka_unit_test(read_all__counts_what_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
