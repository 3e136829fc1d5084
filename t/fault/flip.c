/* flip.c - J8: octets flipped, the tail cut: what is hit is reported with its position, everything else stays readable.
 *
 * A journal of four segments with one key per operation is made once; then copies of it are damaged in one place and
 * opened in a child. Each case says which operations may be missing, and what must have been reported.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "crash_sim.h"
#include "fault_run.h"
#include "kv_internal.h"
#include "kv_site.h"

#define OPS 160u
#define OPS_A_SEGMENT 40u
#define SEGMENTS 4u
#define OTHER_BOOT "00000000-0000-4000-8000-000000000007"
#define FAILURES_MAX 4u

struct item { /* an operation: where its records lie */
    struct kv_step step;
    uint64_t first_seq, last_seq;
    unsigned segment;   /* index in `segments` */
    uint64_t from, to;
};

struct place { /* a record */
    uint64_t seq, from, to, payload_end; /* the rest up to `to` is padding */
    bool is_body;
    unsigned item;
};

struct segment {
    uint64_t number, records_end, bytes;
    struct place places[2 * OPS_A_SEGMENT];
    unsigned count;
    char name[40];
};

struct flip {
    struct fault_run run;
    struct rng rng;
    struct kv_result *result;
    struct crash_sim *master;
    char data[PATH_MAX];
    struct item items[OPS];
    struct segment segments[SEGMENTS];
    uint64_t object;
    unsigned failures, tried;
};

/* --- the master copy ---------------------------------------------------------------------------------------------- */

static bool fill(struct flip *f, struct kv_journal *k, struct err *err)
{
    for (unsigned i = 0; i < OPS; i++) {
        struct item *it = &f->items[i];
        struct kv_op op;
        int rc = 0;

        it->step = (struct kv_step){ .n = i + 1, .key = i, .length = 30 + i * 7 % 300, .what = KV_OP_SET };
        if (i == 0)
            it->step.what = KV_OP_CREATE;
        else if (i % 20 == 7 || i % 20 == 8) { /* records without payload, too */
            it->step.what = i % 20 == 7 ? KV_OP_CREATE : KV_OP_DROP;
            it->step.bucket = 1;
        } else if (i % 5 == 2)
            it->step.what = KV_OP_SET_OCTETS;
        it->segment = i / OPS_A_SEGMENT;
        if (i > 0 && i % OPS_A_SEGMENT == 0)
            rc = journal_roll(k->j, err);
        if (rc == 0)
            rc = kv_op_init(&op, k->room, k->j, &it->step, f->run.seed, NULL, NULL, err);
        if (rc == 0)
            rc = journal_run(k->j, &op.op, err);
        if (rc < 0)
            return false;
        it->last_seq = op.op.seq;
        it->first_seq = i == 0 ? op.op.seq : f->items[i - 1].last_seq + 1;
        kv_op_free(&op);
    }
    f->object = f->items[0].last_seq;
    return true;
}

static void place_add(struct flip *f, struct segment *s, const struct scan_item *r)
{
    struct place *p;

    for (unsigned i = 0; i < OPS; i++) {
        struct item *it = &f->items[i];

        if (r->header.seq < it->first_seq || r->header.seq > it->last_seq)
            continue;
        if (s->count == ARRAY_LEN(s->places))
            panic("more records than expected");
        p = &s->places[s->count++];
        *p = (struct place){ r->header.seq, r->from, r->to, r->from + RECORD_HEADER_BYTES + r->header.length,
                             (r->header.flags & RECORD_BODY) != 0, i };
        if (r->header.seq == it->first_seq)
            it->from = r->from;
        if (r->header.seq == it->last_seq)
            it->to = r->to;
    }
}

/* Find the log segments by name, in order, and the records in them. */
static bool survey(struct flip *f, const char *dir)
{
    unsigned found = 0;

    for (uint64_t number = 1; number < 64 && found < SEGMENTS; number++) {
        struct segment *s = &f->segments[found];
        struct segment_header h;
        struct scan scan;
        struct scan_item item;
        struct stat st;
        char path[PATH_MAX];
        struct buf octets = BUF_INIT;
        int fd;

        snprintf(s->name, sizeof(s->name), "journal/%016llx.seg", (unsigned long long)number);
        snprintf(path, sizeof(path), "%.4000s/%s", dir, s->name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        s->number = number;
        if (fstat(fd, &st) < 0 || pread(fd, buf_extend(&octets, (size_t)st.st_size), (size_t)st.st_size, 0) < 0)
            panic("cannot read %s", path);
        close(fd);
        s->bytes = (uint64_t)st.st_size;
        if (segment_header_decode(buf_slice(&octets), &h, NULL, NULL) < 0)
            panic("%s is no segment", path);
        scan_begin(&scan, buf_slice(&octets), h.salt);
        while (scan_next(&scan, &item) == SCAN_RECORD) {
            place_add(f, s, &item);
            s->records_end = item.to;
        }
        buf_free(&octets);
        found++;
    }
    return found == SEGMENTS;
}

static bool master_make(struct flip *f)
{
    struct kv_journal k;
    struct err err = ERR_INIT;
    char dir[PATH_MAX];
    struct kv_site site = { .dir = fault_path(&f->run, dir, "master", true), .without_pool = true };
    bool is_good;

    if (kv_journal_open(&k, &site, &err) < 0) {
        fault_note(&f->run, "opening: %s", err.text);
        return false;
    }
    is_good = fill(f, &k, &err);
    /* copied while it is open: as a crash leaves it */
    f->master = crash_sim_new(dir);
    crash_sim_base(f->master, dir);
    is_good = is_good && survey(f, dir);
    kv_journal_close(&k);
    if (!is_good)
        fault_note(&f->run, "making the master copy: %s", err.text);
    return is_good;
}

/* --- opening a damaged copy --------------------------------------------------------------------------------------- */

enum where { MUST_GO, MAY_GO };
struct expect {
    unsigned from, to; /* operations [from, to) are gone, or may be */
    enum where where;
    int64_t damaged, lost; /* exact, or -1: at least one, -2: any number */
    const char *says;      /* words in the diagnostics, or NULL */
    bool same_boot;        /* the index is trusted */
    bool check_finds;      /* journal_check must find something */
};

struct opening {
    struct flip *f;
    const struct expect *e;
};

static bool is_there(struct flip *f, struct kv_journal *k, struct journal_view *v, const struct item *it, bool may_go)
{
    struct kv_value value;
    struct buf want = BUF_INIT, have = BUF_INIT;
    struct err err = ERR_INIT;
    bool is_same;

    if (it->step.bucket == 1)
        return !may_go; /* leaves nothing to look at */
    if (it->step.what == KV_OP_CREATE) {
        struct kv_head h;

        return kv_head_get(v, f->object, &h) && h.born == it->step.n;
    }
    if (!kv_entry_find(v, f->object, kv_part_of(it->step.key), it->step.key, &value) || value.n != it->step.n)
        return false;
    kv_fill(&want, f->run.seed, 0, it->step.n, it->step.length);
    if (value.kind == KV_INLINE)
        buf_put_slice(&have, value.octets);
    else if (journal_body_load(k->j, v, value.body, UINT32_MAX, &have, &err) < 0)
        buf_put_str(&have, "unreadable");
    is_same = slice_eq(buf_slice(&want), buf_slice(&have));
    buf_free(&want);
    buf_free(&have);
    return is_same;
}

static bool is_count(uint64_t have, int64_t want)
{
    return want == -2 || (want == -1 ? have > 0 : have == (uint64_t)want);
}

static bool was_said(const char *words)
{
    char text[20000];
    ssize_t n = pread(2, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = 0;
    return strstr(text, words) != NULL;
}

static void opening_run(void *arg, struct kv_result *r)
{
    struct opening *o = arg;
    struct flip *f = o->f;
    const struct expect *e = o->e;
    struct kv_site site = { .dir = f->data, .without_pool = true, .boot_id = e->same_boot ? NULL : OTHER_BOOT };
    struct kv_journal k;
    struct journal_view v;
    struct journal_check_result found;
    struct err err = ERR_INIT;

    if (kv_journal_open(&k, &site, &err) < 0) {
        kv_fault(r, "opening: %s", err.text);
        return;
    }
    if (!is_count(k.report.damaged_places, e->damaged) || !is_count(k.report.lost_records, e->lost))
        kv_fault(r, "%llu damaged places, %llu records lost", (unsigned long long)k.report.damaged_places,
                 (unsigned long long)k.report.lost_records);
    if (e->says != NULL && !was_said(e->says))
        kv_fault(r, "nobody said \"%s\"", e->says);
    if (journal_read_begin(k.j, &v, &err) < 0)
        kv_fault(r, "reading: %s", err.text);
    for (unsigned i = 0; i < OPS; i++) {
        bool may_go = i >= e->from && i < e->to, there = is_there(f, &k, &v, &f->items[i], may_go);

        if (!there && !may_go)
            kv_fault(r, "operation %u is gone", i);
        if (there && may_go && e->where == MUST_GO)
            kv_fault(r, "operation %u is still there", i);
    }
    journal_read_end(&v);
    if (e->check_finds && r->faults == 0 && journal_check(k.j, kv_say, r, &found, &err) <= 0)
        kv_fault(r, "journal_check finds nothing");
    kv_journal_close(&k);
}

static void copy_make(struct flip *f)
{
    struct crash_choice choice = { CRASH_KILL, 1 };

    if (crash_sim_image(f->master, &choice, f->data) < 0)
        panic("cannot copy to %s", f->data);
}

static void flip_at(struct flip *f, const struct segment *s, uint64_t at, unsigned char mask)
{
    char path[PATH_MAX];
    unsigned char c;
    int fd;

    snprintf(path, sizeof(path), "%.4000s/%s", f->data, s->name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || pread(fd, &c, 1, (off_t)at) != 1)
        panic("cannot read %s at %llu", path, (unsigned long long)at);
    c ^= mask;
    if (pwrite(fd, &c, 1, (off_t)at) != 1)
        panic("cannot write %s", path);
    close(fd);
}

static unsigned char mask(struct flip *f)
{
    return rng_below(&f->rng, 2) == 0 ? 0xff : (unsigned char)(1u << rng_below(&f->rng, 8));
}

static void expect(struct flip *f, const struct expect *e, const char *what, const struct segment *s, uint64_t at)
{
    struct opening o = { f, e };

    f->tried++;
    if (kv_in_child(opening_run, &o, 20 * f->run.slow, f->result) == 0)
        return;
    f->failures++;
    fault_note(&f->run, "%s %s at %llu:\n%s", what, s->name, (unsigned long long)at, f->result->text);
    fault_keep(&f->run, f->data, what);
    fault_path(&f->run, f->data, "data", true);
}

static void finish(struct flip *f, const char *name)
{
    fault_case(&f->run, name, f->failures == 0 && f->tried > 0, "%u copies opened", f->tried);
    f->failures = f->tried = 0;
}

/* In the short form every n-th, from a seeded start. */
static bool is_chosen(struct flip *f, unsigned one_in)
{
    return f->failures < FAILURES_MAX && (f->run.soak || rng_below(&f->rng, one_in * f->run.thin) == 0);
}

/* --- the tail ----------------------------------------------------------------------------------------------------- */

static void case_last_record(struct flip *f)
{
    struct segment *s = &f->segments[SEGMENTS - 1];
    const struct place *last = &s->places[s->count - 1];

    for (uint64_t at = last->from; at < last->to && f->failures < FAILURES_MAX; at += f->run.thin) {
        bool is_padding = at >= last->payload_end;
        struct expect torn = { OPS - 1, OPS, is_padding ? MAY_GO : MUST_GO, 0, 0, NULL, false, false };
        struct expect known = { OPS - 1, OPS, MAY_GO, is_padding ? -2 : 1, is_padding ? -2 : 1, NULL, true, false };

        copy_make(f);
        flip_at(f, s, at, mask(f));
        expect(f, &torn, "last record", s, at);
        if (!is_chosen(f, 3))
            continue;
        /* the index knows that the record was there: now it is damage */
        copy_make(f);
        flip_at(f, s, at, mask(f));
        if (crash_index_adopt(f->data, crash_sim_inode(f->master, "index/index.lmdb")))
            expect(f, &known, "last record, index trusted", s, at);
    }
    finish(f, "flip: every octet of the last record");
}

static void case_cut(struct flip *f)
{
    struct segment *s = &f->segments[SEGMENTS - 1];
    uint64_t near_end = s->places[s->count - 3].from;
    char path[PATH_MAX];

    for (uint64_t at = 0; at <= s->records_end && f->failures < FAILURES_MAX; at++) {
        struct expect e = { OPS, OPS, MUST_GO, 0, 0, NULL, false, false };

        if (!is_chosen(f, at < near_end ? 60 : 1))
            continue;
        while (e.from > 0 && f->items[e.from - 1].segment == SEGMENTS - 1 && f->items[e.from - 1].to > at)
            e.from--;
        if (at < SEGMENT_HEADER_BYTES) /* whose file it was cannot be told; that it was one can */
            e.damaged = e.lost = -2;
        copy_make(f);
        snprintf(path, sizeof(path), "%.4000s/%s", f->data, s->name);
        if (truncate(path, (off_t)at) < 0)
            panic("cannot cut %s", path);
        expect(f, &e, "cut", s, at);
    }
    finish(f, "flip: the tail cut at every octet");
}

static void case_middle(struct flip *f)
{
    struct segment *s = &f->segments[SEGMENTS - 1];
    char says[100];

    for (unsigned i = 0; i + 4 < s->count && f->failures < FAILURES_MAX; i++) {
        const struct place *p = &s->places[i];
        struct expect e = { p->item, p->item + 1, MUST_GO, 1, 1, says, false, false };

        for (uint64_t at = p->from; at < p->payload_end; at++) {
            if (!is_chosen(f, (unsigned)(p->payload_end - p->from) / 2))
                continue;
            snprintf(says, sizeof(says), "segment %016llx, octets %llu to %llu: records %llu to %llu",
                     (unsigned long long)s->number, (unsigned long long)p->from, (unsigned long long)p->to,
                     (unsigned long long)p->seq, (unsigned long long)p->seq);
            copy_make(f);
            flip_at(f, s, at, mask(f));
            expect(f, &e, "middle", s, at);
        }
    }
    finish(f, "flip: damage in the middle is reported where it is");
}

/* --- headers and footers ------------------------------------------------------------------------------------------ */

static void case_header_copies(struct flip *f)
{
    struct expect e = { 0, 0, MUST_GO, 0, 0, NULL, false, false };

    for (unsigned i = 0; i < SEGMENTS; i++) {
        for (uint64_t at = 0; at < SEGMENT_HEADER_BYTES; at++) {
            uint64_t copy_at = rng_below(&f->rng, 2) * SEGMENT_HEADER_COPY_AT;

            if (!is_chosen(f, 3))
                continue;
            copy_make(f);
            flip_at(f, &f->segments[i], copy_at + at, mask(f));
            expect(f, &e, "header", &f->segments[i], copy_at + at);
        }
    }
    finish(f, "flip: one copy of a segment header is enough");
}

static void case_header_both(struct flip *f)
{
    for (unsigned i = 0; i < SEGMENTS; i++) {
        struct expect e = { i * OPS_A_SEGMENT, (i + 1) * OPS_A_SEGMENT, MAY_GO, -1, -2, f->segments[i].name + 8, false,
                            false };
        char name[40];

        snprintf(name, sizeof(name), "%016llx", (unsigned long long)f->segments[i].number);
        e.says = name;
        for (uint64_t at = 0; at < SEGMENT_HEADER_BYTES; at++) {
            if (!is_chosen(f, 8))
                continue;
            copy_make(f);
            flip_at(f, &f->segments[i], at, mask(f));
            flip_at(f, &f->segments[i], SEGMENT_HEADER_COPY_AT + at, mask(f));
            expect(f, &e, "both headers", &f->segments[i], at);
        }
    }
    finish(f, "flip: a segment without header does not hide the others");
}

static void case_footer(struct flip *f)
{
    struct segment *s = &f->segments[1];
    struct expect e = { 0, 0, MUST_GO, -2, 0, NULL, false, false };

    for (uint64_t at = s->records_end; at < s->bytes; at++) {
        if (!is_chosen(f, (unsigned)(s->bytes - s->records_end) / 120))
            continue;
        copy_make(f);
        flip_at(f, s, at, mask(f));
        expect(f, &e, "footer", s, at);
    }
    finish(f, "flip: a damaged footer costs nothing");
}

/* The log keeps what the index was made from twice: the record and its copy in the footer. Bodies stand there once. */
static void case_sealed(struct flip *f)
{
    struct segment *s = &f->segments[1];

    for (unsigned i = 0; i < s->count && f->failures < FAILURES_MAX; i++) {
        const struct place *p = &s->places[i];
        uint64_t at = p->from + rng_below(&f->rng, p->payload_end - p->from);
        bool in_body = p->is_body && at >= p->from + RECORD_HEADER_BYTES;
        struct expect e = { p->item, p->item + in_body, MUST_GO, -2, -2, NULL, false, true };

        if (!is_chosen(f, 2))
            continue;
        if (p->is_body && !in_body)
            e.to = p->item + 1, e.where = MAY_GO; /* its octets are there, its header is not */
        copy_make(f);
        flip_at(f, s, at, mask(f));
        expect(f, &e, "sealed", s, at);
    }
    finish(f, "flip: damage in a sealed segment is found by checking");
}

int main(int argc, char **argv)
{
    static void (*const cases[])(struct flip *f) = { case_last_record,   case_cut,    case_middle, case_header_copies,
                                                     case_header_both, case_footer, case_sealed };
    struct flip *f = mem_alloc(sizeof(*f));
    int rc;

    fault_begin(&f->run, "flip", argc, argv);
    fault_path(&f->run, f->data, "data", true);
    f->result = kv_result_new();
    rng_init(&f->rng, f->run.seed);
    if (!master_make(f))
        fault_case(&f->run, "flip: the journal is made", false, "see above");
    else
        for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
            cases[i](f);
    rc = fault_end(&f->run);
    crash_sim_destroy(&f->master);
    kv_result_destroy(&f->result);
    mem_free(f);
    return rc;
}
